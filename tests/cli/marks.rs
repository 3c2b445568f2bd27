//! A run that died, with its store and without: what it left is found by its marks, and nothing else is touched.
use crate::{
    rig::{Lab, text, until},
    world,
};
use std::{fs, thread};

fn lose_the_store(lab: &Lab) {
    for file in ["pitstop.db", "pitstop.db-wal", "pitstop.db-shm"] {
        fs::remove_file(lab.dir.path().join(file)).ok();
    }
    world::expire_lock(lab);
}

/// In the middle of a reboot, by SIGKILL.
fn die_at_power(lab: &Lab, node: &str) {
    let mut run = lab.start_command(&["run", "reboot", node, "--json"]);
    run.until("\"power\":true");
    until("the boot", || lab.rack().boots(node).len() == 1 || !lab.rack().verbs(node).is_empty());
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    until("the boot", || lab.rack().boots(node).len() == 1);
}

#[test]
fn inv_07_without_its_store_a_run_is_settled_by_its_marks_and_what_is_foreign_or_unexplained_stays() {
    let lab = Lab::start(6, &[]);
    thread::scope(|s| {
        for node in ["edge-02", "vault-01"] {
            let lab = &lab;
            s.spawn(move || die_at_power(lab, node));
        }
    });
    lose_the_store(&lab);
    world::cordon(&lab, "edge-03", true);
    lab.ask(&["status"]).ends(0).says("pitstop release --from-marks");
    lab.ask(&["node", "edge-02"]).ends(0).says("next      pitstop release edge-02 --from-marks");
    let said = lab.ask(&["release", "--from-marks"]).ends(5);
    said.says("edge-02: left by run");
    said.says("uncordon edge-02");
    said.says("foreign, left as it is: edge-03");
    said.says("unexplained, not touched: vault-01");
    let rack = lab.rack();
    rack.in_service("edge-02");
    assert_eq!((rack.service("edge-03").as_deref(), rack.service("vault-01").as_deref()), (Some("cordon"), Some("enter maintenance")));
    assert_eq!((rack.boots("edge-02").len(), rack.boots("vault-01").len()), (1, 1), "no second reset");
    let node = world::get(&lab, "/api/v1/nodes/edge-02");
    assert!(node["metadata"]["annotations"]["pitstop/run"].is_null(), "{node}");
}

/// Killed once the cluster was told: the node is off, or just on its way.
fn rescue_that_dies() -> Lab {
    let lab = Lab::start(3, &["hung"]);
    world::until_not_ready(&lab, "edge-02");
    let mut run = lab.start_command(&["node", "edge-02", "rescue", "--yes", "--reason", "kernel hangs"]);
    until("the taint", || world::get(&lab, "/api/v1/nodes/edge-02")["spec"]["taints"].to_string().contains("out-of-service"));
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    lab
}

#[track_caller]
fn is_back(lab: &Lab) {
    let rack = lab.rack();
    assert_eq!((rack.verbs("edge-02"), rack.boots("edge-02").len()), (vec!["ForceOff".into(), "On".into()], 1), "one each");
    rack.in_service("edge-02");
    let node = world::get(lab, "/api/v1/nodes/edge-02");
    assert!(node["spec"]["taints"].is_null() && node["metadata"]["annotations"]["pitstop/run"].is_null(), "{node}");
}

#[test]
fn a_rescue_killed_in_the_middle_is_resumed_and_without_its_store_settled_by_its_marks() {
    thread::scope(|s| {
        s.spawn(|| {
            let lab = rescue_that_dies();
            lab.ask(&["status"]).ends(0).says("ours, lost");
            lab.ask(&["node", "edge-02", "rescue", "--yes", "--reason", "again"]).ends(7).says("nothing was started");
            lab.ask(&["resume"]).ends(0);
            is_back(&lab);
        });
        s.spawn(|| {
            let lab = rescue_that_dies();
            lose_the_store(&lab);
            world::cordon(&lab, "edge-03", true);
            let said = lab.ask(&["release", "--from-marks"]).ends(0);
            said.says("take the out-of-service taint off edge-02, power On");
            said.says("foreign, left as it is: edge-03");
            is_back(&lab);
            assert_eq!(lab.rack().service("edge-03").as_deref(), Some("cordon"));
            let writes: Vec<String> = lab.rack().of("edge-02", "api-write").iter().map(|l| text(&l["what"])).collect();
            assert_eq!(writes, ["cordon edge-02", "update node edge-02", "update node edge-02", "uncordon edge-02"]);
        });
    });
}
