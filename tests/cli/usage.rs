//! Usage errors, what is said when there is nothing, and readers that stop reading.
use crate::rig::{ask, pitstop};
use std::process::Stdio;
use tempfile::TempDir;

#[test]
fn usage_errors_exit_2_and_say_what_to_type() {
    let home = TempDir::new().unwrap();
    let ask = |args: &[&str]| ask(home.path(), args);
    ask(&[]).ends(2);
    ask(&["rum"]).ends(2).says("run");
    ask(&["run"]).ends(2);
    ask(&["check", "--nope"]).ends(2);
    ask(&["demo", "--fault", "gremlins"]).ends(2).says("no fault `gremlins`; there are bmc-silent");
    ask(&["lab", "--dir", "d", "--fault", "gremlins"]).ends(2).says("next: --fault list");
    ask(&["lab", "--dir", "d", "--nodes", "0"]).ends(2);
    ask(&["demo", "--cluster", "beos"]).ends(2).says("there are kubernetes, ");
    ask(&["lab", "--dir", "d", "--cluster", "beos"]).ends(2).says("the lab has no `beos` cluster");
    ask(&["release", "edge-01", "perhaps"]).ends(2).says("keep-out");
    assert_eq!(home.path().read_dir().unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 0, "nothing was made");
    let list = ask(&["demo", "--fault", "list"]).ends(0);
    for fault in ["bmc-silent", "bmc-late", "reset-ignored", "bmc-lies", "pdb-blocked", "service-missing", "wrong-bmc", "shifted-row", "never-boots"] {
        assert_eq!(list.out.lines().filter(|l| l.split_whitespace().next() == Some(fault)).count(), 1, "{fault}: {}", list.out);
    }
    assert_eq!(ask(&["lab", "--dir", "d", "--fault", "list"]).ends(0).out, list.out);
    ask(&["--help"]).ends(0).says("Usage: pitstop");
    ask(&["--version"]).ends(0).says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn nothing_there_is_said_with_the_next_command() {
    let home = TempDir::new().unwrap();
    let ask = |args: &[&str]| ask(home.path(), args);
    for command in [&["check"][..], &["plan", "reboot", "--all"], &["run", "reboot", "--all"], &["inventory"]] {
        let said = ask(command).ends(3);
        said.says("no inventory: neither ./inventory nor /etc/pitstop/inventory exists");
        said.says("next: pitstop -i DIR");
    }
    ask(&["-i", "nowhere", "check"]).ends(3).says("no inventory at nowhere");
    ask(&["status"]).ends(0).says("without an inventory the clusters were not asked");
    ask(&["runs"]).ends(0).says("no runs in sqlite:");
    ask(&["report"]).ends(2).says("no runs yet");
    ask(&["report", "abc"]).ends(2).says("no run `abc`");
    ask(&["resume"]).ends(0).says("nothing to resume");
    ask(&["stop"]).ends(2).says("no run is at work");
    ask(&["release", "edge-01", "verify"]).ends(2).says("edge-01 is not held");
    let failed = ask(&["check", "--json"]).ends(3).json();
    assert_eq!(failed["exit"], 3);
}

#[test]
fn never_all_by_omission() {
    let home = TempDir::new().unwrap();
    std::fs::create_dir(home.path().join("inventory")).unwrap();
    std::fs::write(
        home.path().join("inventory/a.toml"),
        "[clusters.none.none]\nvouched = \"spare\"\n[[nodes]]\nname = \"db[1-3]\"\ncluster = \"none\"\nbmc.ipmi = { host = \"192.0.2.{n}\", username = { env = \"U\" }, password = { env = \"P\" } }\n",
    )
    .unwrap();
    ask(home.path(), &["inventory"]).ends(0);
    for command in ["run", "plan"] {
        let said = ask(home.path(), &[command, "reboot"]).ends(2);
        said.says("say --all for all 3");
        ask(home.path(), &[command, "reboot", "db4"]).ends(2).says("unknown node db4");
        ask(home.path(), &[command, "rebot", "db1"]).ends(3).says("rebot");
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let home = TempDir::new().unwrap();
    for args in [&["demo", "--fault", "list"][..], &["runs", "--json"], &["playbook", "reboot"], &["playbook"], &["status", "--json"], &["util", "man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = pitstop(home.path(), args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), said.contains("panicked")), (Some(0), false), "{args:?}: {said}");
    }
}
