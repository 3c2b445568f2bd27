//! The ways of stopping, and deciding about a held node.
use crate::{
    rig::{Lab, Said, text},
    world,
};

fn id(said: &Said) -> String {
    text(&said.lines()[0]["run"])
}

#[test]
fn stop_from_a_second_terminal_takes_the_node_in_work_through() {
    let lab = Lab::start(3, &[]);
    let mut run = lab.start_command(&["run", "reboot", "--all", "--json"]);
    run.until("act_intended");
    lab.ask(&["stop"]).ends(0).says("admits no further node");
    let ended = run.ended();
    let rack = lab.rack();
    assert_eq!((rack.boots("edge-01").len(), rack.boots("edge-02").len(), rack.boots("edge-03").len()), (1, 0, 0));
    rack.nodes().iter().for_each(|n| rack.in_service(n));
    // Two nodes wait: not done, and a resume would go on.
    let ended = ended.ends(7);
    lab.ask(&["stop", &id(&ended)]).says("nothing to stop");
    lab.ask(&["resume", &id(&ended)]).ends(0);
    let rack = lab.rack();
    rack.nodes().iter().for_each(|n| assert_eq!(rack.boots(n).len(), 1, "{n}"));
}

#[test]
fn give_back_returns_what_is_not_yet_reset() {
    let lab = Lab::start(3, &["pdb-blocked"]);
    let mut run = lab.start_command(&["run", "reboot", "edge-02", "--json"]);
    run.until("PodDisruptionBudget");
    lab.ask(&["stop", "--give-back"]).ends(0);
    run.ended().ends(5);
    let rack = lab.rack();
    assert_eq!((rack.service("edge-02").as_deref(), rack.verbs("edge-02").len()), (Some("uncordon"), 0));
}

#[test]
fn signals_end_it_resumable() {
    let lab = Lab::start(2, &[]);
    // SIGTERM, as systemd sends: running steps settle.
    let mut run = lab.start_command(&["run", "reboot", "edge-01", "--json"]);
    run.until("act_intended");
    run.signal("TERM");
    let ended = run.ended().ends(7);
    lab.ask(&["resume", &id(&ended)]).ends(0);
    let rack = lab.rack();
    assert_eq!((rack.boots("edge-01").len(), rack.service("edge-01").as_deref()), (1, Some("uncordon")));
    rack.nothing_lost();

    // Ctrl-C twice is the same.
    let mut run = lab.start_command(&["run", "reboot", "edge-02", "--json"]);
    run.until("act_intended");
    run.signal("INT");
    run.until("no further node is admitted");
    run.signal("INT");
    let ended = run.ended().ends(7);
    ended.says("stopping after the running steps");
    lab.ask(&["run", "reboot", "edge-02"]).ends(7).says("next: pitstop resume");
    lab.ask(&["resume"]).ends(0);
    let rack = lab.rack();
    assert_eq!((rack.boots("edge-02").len(), rack.service("edge-02").as_deref()), (1, Some("uncordon")));
    rack.intended(&[id(&ended)].iter().flat_map(|id| lab.ask(&["report", id, "--events"]).lines()).chain(every_event(&lab)).collect::<Vec<_>>());
}

fn every_event(lab: &Lab) -> Vec<serde_json::Value> {
    let runs = lab.ask(&["runs", "--json"]).ends(0).json();
    runs.as_array().unwrap().iter().flat_map(|r| lab.ask(&["report", &text(&r["run"]), "--events"]).ends(0).lines()).collect()
}

#[test]
fn a_held_node_is_released_once_mended_or_kept_out() {
    let lab = Lab::start(3, &["service-missing"]);
    let held = lab.ask(&["run", "reboot", "edge-02"]).ends(5);
    held.says("HELD      at verify");
    held.says("pitstop release edge-02 verify");
    lab.ask(&["status", "--json"]).ends(0).says("\"held\"");
    lab.ask(&["release", "edge-02", "return"]).ends(2).says("edge-02 cannot be returned");
    lab.ask(&["release", "edge-01", "verify"]).ends(2).says("edge-01 is not held");
    // Not mended: held again, and nothing but looking was done.
    let again = lab.ask(&["release", "edge-02", "verify"]).ends(5);
    again.says("HELD      at verify");

    world::on_host(&lab, "edge-02", "systemctl start node-agent");
    lab.ask(&["release", "edge-02", "verify", "--reason", "started it"]).ends(0);
    let rack = lab.rack();
    assert_eq!((rack.boots("edge-02").len(), rack.service("edge-02").as_deref()), (1, Some("uncordon")));
    lab.ask(&["status"]).ends(0).says("every node is in service");

    let lab = Lab::start(3, &["service-missing"]);
    lab.ask(&["run", "reboot", "edge-02"]).ends(5);
    lab.ask(&["release", "edge-02", "keep-out"]).ends(5);
    assert_eq!(lab.rack().service("edge-02").as_deref(), Some("cordon"));
    lab.ask(&["status"]).ends(0).says("next: pitstop run return edge-02");
}
