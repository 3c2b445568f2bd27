//! Two runs never touch one cluster; what died is found, and taken up again.
use crate::{
    rig::{Lab, Running, text, until},
    world,
};

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

/// Must-show 6 of the moment of power, from the kill to the end: nobody helps the lock to expire.
#[test]
fn inv_09_a_dead_runs_lock_runs_out_and_still_nothing_new_begins_before_it_is_resumed() {
    let lab = Lab::start(3, &[]);
    let mut command = lab.command(&["run", "reboot", "edge-01", "--json"]);
    command.env("PITSTOP_TEST_LEASE", "3s");
    let mut run = Running::start(command, lab.dir.path());
    run.until("GracefulRestart");
    run.child.kill().unwrap(); // SIGKILL
    let id = text(&run.ended().lines()[0]["run"]);
    let short = &id[id.len() - 6..];

    // By the cluster's own clock, and still in the dead run's name.
    let lease = || {
        world::get(&lab, "/apis/coordination.k8s.io/v1/leases")["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|l| l["metadata"]["name"] == "pitstop")
            .unwrap()
            .clone()
    };
    assert_eq!(lease()["spec"]["leaseDurationSeconds"], 3);
    until("the lock in the cluster to run out", || {
        let renewed: jiff::Timestamp = text(&lease()["spec"]["renewTime"]).parse().unwrap();
        jiff::Timestamp::now().as_second() > renewed.as_second() + 3 + 2
    });
    assert!(text(&lease()["spec"]["holderIdentity"]).contains(&id));
    lab.ask(&["status"]).ends(0).says("ours, lost");

    let (writes, power) = (lab.rack().kind("api-write").len(), lab.rack().kind("power").len());
    let second = lab.ask(&["run", "reboot", "edge-[01-02]"]).ends(7);
    second.says("nothing was started");
    second.says(&format!("next: pitstop resume {short}"));
    assert_eq!((lab.rack().kind("api-write").len(), lab.rack().kind("power").len()), (writes, power), "nothing was touched");
    assert_eq!(lab.ask(&["runs", "--json"]).json().as_array().unwrap().len(), 1);

    // A timer's way: what is unfinished first, then its own.
    lab.ask(&["run", "reboot", "edge-02", "--resume-first"]).ends(0);
    let rack = lab.rack();
    for node in ["edge-01", "edge-02"] {
        assert_eq!(rack.boots(node).len(), 1, "{node}: one reset");
        rack.in_service(node);
    }
    rack.nothing_lost();
    let runs = lab.ask(&["runs", "--json"]).json();
    let ids: Vec<String> = runs.as_array().unwrap().iter().map(|r| text(&r["run"])).collect();
    assert_eq!((ids.len(), ids.contains(&id)), (2, true), "{runs}");
    let events: Vec<_> = ids.iter().flat_map(|id| lab.ask(&["report", id, "--events"]).ends(0).lines()).collect();
    rack.intended(&events);
    assert!(events.iter().any(|e| e["event"] == "run_resumed" && e["run"] == id.as_str()));
    assert_eq!(events.iter().filter(|e| e["event"] == "run_finished").count(), 2);
}
