//! The shipped playbooks beside `reboot`, each on one node.
use crate::rig::{Lab, text, time};

#[test]
fn evacuate_takes_out_and_return_brings_back() {
    let lab = Lab::start(3, &[]);
    lab.ask(&["run", "evacuate", "edge-02"]).ends(0);
    let out = lab.ask(&["status", "--json"]).ends(0).json();
    let row = &out["out"][0];
    assert_eq!((text(&row["node"]), text(&row["state"]), text(&row["next"])), ("edge-02".into(), "out".into(), "pitstop run return edge-02".into()));
    assert_eq!(out["out"].as_array().unwrap().len(), 1);
    lab.ask(&["status"]).ends(0).says("next: pitstop run return edge-02");
    assert_eq!(lab.rack().service("edge-02").as_deref(), Some("cordon"));

    // It counts as out for everybody: no second one beside it.
    lab.ask(&["run", "reboot", "edge-03"]).ends(6).says("edge-02");
    assert_eq!(lab.rack().service("edge-03"), None);

    lab.ask(&["run", "return", "edge-02"]).ends(0);
    let rack = lab.rack();
    assert_eq!(rack.service("edge-02").as_deref(), Some("uncordon"));
    assert!(rack.kind("power").is_empty());
    rack.nothing_lost();
    lab.ask(&["status"]).ends(0).says("every node is in service");
}

#[test]
fn power_cycle_is_off_then_on_and_one_boot() {
    let lab = Lab::start(4, &[]);
    for node in ["edge-01", "vault-01"] {
        let ran = lab.ask(&["run", "power-cycle", node, "--json"]).ends(0);
        let rack = lab.rack();
        let verbs = rack.verbs(node);
        assert_eq!(
            (verbs.first().map(|v| v == "GracefulShutdown" || v == "ForceOff"), verbs.last().map(String::as_str)),
            (Some(true), Some("On")),
            "{verbs:?}"
        );
        assert_eq!(rack.boots(node).len(), 1, "{verbs:?}");
        let (power, boot) = (rack.of(node, "power"), rack.of(node, "boot"));
        assert!(time(&power.last().unwrap()["t"]) < time(&boot.last().unwrap()["t"]));
        assert!(["uncordon", "leave maintenance"].contains(&rack.service(node).unwrap().as_str()));
        let events = ran.lines();
        assert!(events.iter().all(|e| e["node"].is_null() || e["node"] == node));
        rack.nothing_lost();
    }
}
