//! Two runs never touch one cluster; what died is found, and taken up again.
use crate::rig::{Lab, text};

/// Must-show 6.
#[test]
fn a_second_run_on_a_cluster_at_work_names_its_owner() {
    let lab = Lab::start(2, &[]);
    let mut first = lab.start_command(&["run", "reboot", "edge-01", "--json"]);
    first.until("act_intended");
    let second = lab.ask(&["run", "reboot", "edge-02"]).ends(8);
    second.says("edge is held by ");
    second.says(&format!("(pid {})", first.child.id()));
    let run = text(&first.ended().ends(0).lines()[0]["run"]);
    second.says(&format!("run {}", &run[run.len() - 6..]));
    second.says("next: pitstop status");
    let rack = lab.rack();
    assert_eq!((rack.boots("edge-01").len(), rack.verbs("edge-02").len(), rack.service("edge-02")), (1, 0, None));

    // Another store knows nothing of the first run; the lock in the cluster does.
    let mut first = lab.start_command(&["run", "reboot", "edge-01", "--json"]);
    first.until("act_intended");
    let elsewhere = crate::rig::pitstop(lab.dir.path(), &["-i", "lab/inventory", "--store", "sqlite:elsewhere.db", "run", "reboot", "edge-02"]);
    let second = crate::rig::Running::start(elsewhere, lab.dir.path()).ended().ends(8);
    second.says("edge is held by ");
    second.says("says the lock in the cluster itself");
    first.ended().ends(0);
    assert_eq!(lab.rack().verbs("edge-02").len(), 0);
}

/// Must-show 5.
#[test]
fn after_kill_9_the_next_run_starts_nothing_and_resume_finishes() {
    let lab = Lab::start(3, &[]);
    let mut run = lab.start_command(&["run", "reboot", "--all", "--json"]);
    run.until("GracefulRestart");
    run.child.kill().unwrap();
    let died = run.ended();
    let id = text(&died.lines()[0]["run"]);
    let (short, before) = (&id[id.len() - 6..], lab.rack().kind("api-write").len());

    let lost = lab.ask(&["status"]).ends(0);
    lost.says("ours, lost");
    lost.says(&format!("next: pitstop resume {short}"));
    let next = lab.ask(&["run", "reboot", "--all"]).ends(7);
    next.says(&format!("next: pitstop resume {short}"));
    next.says("nothing was started");
    assert_eq!(lab.rack().kind("api-write").len(), before);
    assert_eq!(lab.ask(&["runs", "--json"]).json().as_array().unwrap().len(), 1);
    lab.ask(&["stop"]).ends(2).says("no run is at work");

    // At once: the dead engine's lock in the cluster is ours to take over.
    lab.ask(&["resume", short]).ends(0);
    let (rack, events) = (lab.rack(), lab.ask(&["report", short, "--events"]).ends(0).lines());
    for node in rack.nodes() {
        assert_eq!(rack.boots(&node).len(), 1, "{node}");
        assert_eq!(rack.service(&node).as_deref(), Some("uncordon"), "{node}");
    }
    rack.intended(&events);
    rack.nothing_lost();
    assert!(events.iter().any(|e| e["event"] == "run_resumed"));
    lab.ask(&["resume", short]).ends(0).says("nothing to resume");
    lab.ask(&["status"]).ends(0).says("every node is in service");
}
