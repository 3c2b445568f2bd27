//! OpenvCloud's `stop` as a user meets it: refused until what goes dark is named, and what was stopped runs again after `kill -9`.
use crate::rig::{Rack, Running, pitstop, text};
use std::fs;
use tempfile::TempDir;

fn playbook(evacuate: &str) -> String {
    let steps = ["reset = { how = \"graceful\", then = \"force\" }", "verify = { hold_for = \"10s\" }", "enable = {}", "settle = {}"];
    let steps: String = steps.iter().map(|s| format!("[[steps]]\n{s}\ntimeout = \"60m\"\n")).collect();
    format!("description = \"Stopped where they are\"\n[[steps]]\nevacuate = {{ {evacuate} }}\ntimeout = \"60m\"\n{steps}")
}

#[test]
fn what_was_stopped_runs_again_after_a_kill_and_what_was_halted_stays_so() {
    let home = TempDir::new().unwrap();
    let mut lab = Running::start(pitstop(home.path(), &["lab", "--dir", "lab", "--nodes", "3", "--cluster", "openvcloud"]), home.path());
    lab.until("next, in a second terminal");
    fs::create_dir(home.path().join("playbooks")).unwrap();
    fs::write(home.path().join("playbooks/unnamed.toml"), playbook("how = \"stop\"")).unwrap();
    fs::write(home.path().join("playbooks/dark.toml"), playbook("how = \"stop\", cloudspaces = [\"space-cpu-02\"]")).unwrap();
    let start = |more: &[&str]| {
        let args = [&["-i", "lab/inventory", "--store", "sqlite:pitstop.db", "--playbooks", "playbooks"], more].concat();
        Running::start(pitstop(home.path(), &args), home.path())
    };
    let rack = || Rack::read(&home.path().join("lab/rack.jsonl"));
    let writes = || rack().of("cpu-02", "api-write").iter().map(|l| text(&l["what"])).collect::<Vec<_>>();

    let refused = start(&["plan", "unnamed", "cpu-02"]).ended();
    refused.says("firewall routeros_00c9 of cloud space space-cpu-02: goes dark");
    refused.says("cloudspaces = [\"space-cpu-02\"]");
    assert!(writes().is_empty(), "{:?}", writes());

    let mut run = start(&["run", "dark", "cpu-02"]);
    run.until("enter maintenance cpu-02");
    run.signal("KILL");
    run.ended();
    assert_eq!(writes()[..3], ["stop vm web-cpu-02", "stop vm db-cpu-02", "stop firewall space-cpu-02"]);
    start(&["resume"]).ended().ends(0);

    let rack = rack();
    assert_eq!((rack.boots("cpu-02").len(), rack.verbs("cpu-02")), (1, vec!["GracefulRestart".to_owned()]));
    rack.nothing_lost();
    rack.in_service("cpu-02");
    // Started wherever the scheduler liked: written down where each stood.
    let all: Vec<String> = rack.kind("api-write").iter().map(|l| text(&l["what"])).collect();
    for what in ["start vm web-cpu-02", "start vm db-cpu-02"] {
        assert!(all.iter().any(|w| w == what), "{what}: {all:?}");
    }
    assert!(!all.iter().any(|w| w.contains("old-cpu-02")), "it was halted before: {all:?}");
}

/// Named, started once by the check's own repair, in the journal before it is sent, and looked at again.
#[test]
fn a_service_of_open_vstorage_that_did_not_come_back_is_started_once() {
    let demo = crate::demo::Demo::run(&["--cluster", "openvcloud", "--fault", "ovs-down", "--json"]);
    assert_eq!(demo.said.code, 0, "{}", demo.said.err);
    let repairs: Vec<_> = demo.events.iter().filter(|e| e["event"] == "act_intended" && e["act"]["to"] == "check").collect();
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    assert_eq!((text(&repairs[0]["node"]).as_str(), text(&repairs[0]["act"]["args"]["what"]).as_str()), ("cpu-02", "start ovs-webapp-api"));
}
