//! Hands in the data centre, with the built binary: off and lit, and no process has to stay.
use crate::rig::{Lab, text};
use std::fs;

#[test]
fn hands_on_waits_for_release_and_brings_it_back() {
    let lab = Lab::start(3, &[]);
    let ran = lab.ask(&["run", "hands-on", "edge-01", "edge-02", "--json"]).ends(7);
    let mut events = ran.lines();
    let rack = lab.rack();
    assert_eq!(rack.verbs("edge-01"), ["GracefulShutdown"], "off, and nothing after it");
    assert_eq!((rack.service("edge-01").as_deref(), rack.service("edge-02")), (Some("cordon"), None), "one at a time");

    // What the machine itself says, and what every screen says of it.
    let node = lab.ask(&["node", "edge-01", "--json"]).ends(0).json();
    assert_eq!(node["light"], true, "{node}");
    assert_eq!(text(&node["status"]["state"]), "paused");
    let out = lab.ask(&["status", "--json"]).ends(0).json();
    let row = &out["out"][0];
    assert_eq!((text(&row["node"]), text(&row["state"]), text(&row["next"])), ("edge-01".into(), "paused".into(), "pitstop release edge-01".into()));
    assert!(text(&row["why"]).contains("is off, its locating light is on; waits for hands"), "{row}");
    let run = text(&row["run"]);
    let report = lab.ask(&["report", &run]).ends(0);
    report.says("PAUSED");
    report.says("owed: uncordon edge-01, power On, locating light off");
    report.says("next: when the work is done: pitstop release edge-01");

    // It waits for nothing but a person; a second run starts nothing beside it.
    lab.ask(&["resume"]).ends(7).says("edge-01 waits for a person");
    lab.ask(&["run", "reboot", "edge-01"]).ends(7).says("is not finished");
    lab.ask(&["release", "edge-02"]).ends(2).says("edge-02 is not held by any run");
    assert_eq!(lab.rack().verbs("edge-01"), ["GracefulShutdown"]);

    // Released: on, dark, verified, enabled; then the next one pauses.
    events.extend(lab.ask(&["release", "edge-01", "--json"]).ends(7).lines());
    let rack = lab.rack();
    assert_eq!(rack.verbs("edge-01"), ["GracefulShutdown", "On"]);
    assert_eq!((rack.boots("edge-01").len(), rack.verbs("edge-02")), (1, vec!["GracefulShutdown".to_owned()]));
    rack.in_service("edge-01");
    assert_eq!(lab.ask(&["node", "edge-01", "--json"]).ends(0).json()["light"], false);
    events.extend(lab.ask(&["release", "edge-02", "--json"]).ends(0).lines());
    let rack = lab.rack();
    rack.in_service("edge-02");
    rack.nothing_lost();
    rack.intended(&events);

    // What was just maintained is not due for it; what never was is.
    let book = lab.dir.path().join("monthly.toml");
    fs::write(&book, "description = \"x\"\n[due]\nany = [{ last-maintained-before = \"30d\" }]\n[[steps]]\nevacuate = {}\n[[steps]]\nenable = {}\n").unwrap();
    let plan = lab.ask(&["plan", book.to_str().unwrap(), "--all"]).ends(0);
    let words = plan.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("due: no run of this store has maintained it yet"), "{words}");
    for node in ["edge-01", "edge-02"] {
        assert!(plan.out.lines().any(|l| l.contains(node) && l.contains("not due: last maintained")), "{}", plan.out);
    }
    let report = lab.ask(&["report", &run, "--json"]).ends(0).json();
    assert_eq!(text(&report["state"]), "finished", "{report}");
}
