//! A person who stands by: asked before each node, or wants to look after the first; and the computer that must not go to sleep meanwhile.
use crate::rig::{Lab, Running};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

/// As systemd's tool is asked: it holds for as long as what it runs.
fn stub(lab: &Lab) -> String {
    let bin = lab.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let tool = bin.join("systemd-inhibit");
    fs::write(&tool, "#!/bin/sh\necho \"held $1 $2 $3 $4\" >> \"$HOME/inhibit.log\"\ncat > /dev/null\necho given back >> \"$HOME/inhibit.log\"\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

fn answered(lab: &Lab, mut command: Command, answers: &str) -> Running {
    let (mut writer, reader) = { std::os::unix::net::UnixStream::pair().unwrap() };
    writer.write_all(answers.as_bytes()).unwrap();
    drop(writer);
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(reader)));
    Running::start(command, lab.dir.path())
}

#[test]
fn a_person_agrees_to_each_node_and_looks_after_the_canary() {
    let lab = Lab::start(3, &[]);
    let log = lab.dir.path().join("inhibit.log");
    let mut command = lab.command(&["run", "reboot", "--all", "--ask"]);
    command.env("PATH", stub(&lab));
    // No to the first, yes to the second, silence about the third.
    let said = answered(&lab, command, "no\nyes\n").ended().ends(5);
    said.says("edge-02 is next: take it out of service?");
    said.says("edge-01 was asked about and not agreed to");
    said.says("next: pitstop run reboot edge-03");
    let rack = lab.rack();
    assert_eq!(["edge-01", "edge-02", "edge-03"].map(|n| rack.boots(n).len()), [0, 1, 0]);
    assert_eq!((rack.service("edge-01"), rack.service("edge-03")), (None, None), "never touched");
    // Held while it worked, given back with its end.
    crate::rig::until("the lock to be given back", || fs::read_to_string(&log).unwrap().contains("given back"));
    let held = fs::read_to_string(&log).unwrap();
    assert!(held.contains("--what=shutdown:sleep --who=pitstop --mode=block --why=servers are out of service, run "), "{held}");

    let paused = lab.ask(&["run", "reboot", "edge-01", "edge-03", "--pause-after-canary"]).ends(7);
    paused.says("paused after 1 canary node");
    paused.says("next: pitstop resume");
    let rack = lab.rack();
    assert_eq!((rack.boots("edge-01").len(), rack.boots("edge-03").len()), (1, 0));
    lab.ask(&["status"]).ends(0).says("every node is in service");
    lab.ask(&["resume"]).ends(0);
    let rack = lab.rack();
    assert_eq!((rack.boots("edge-01").len(), rack.boots("edge-03").len()), (1, 1));
    rack.in_service("edge-03");
}

#[test]
fn the_computers_sleep_lock_ends_with_the_process_however_it_ends() {
    let lab = Lab::start(2, &[]);
    let log = lab.dir.path().join("inhibit.log");
    let mut command = lab.command(&["run", "reboot", "edge-01"]);
    command.env("PATH", stub(&lab));
    let mut run = Running::start(command, lab.dir.path());
    crate::rig::until("the lock", || fs::read_to_string(&log).is_ok_and(|l| l.contains("held")));
    run.until("edge-01 evacuate: started");
    assert!(!fs::read_to_string(&log).unwrap().contains("given back"));
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    crate::rig::until("the lock to be given back", || fs::read_to_string(&log).unwrap().contains("given back"));
}
