//! The BMC itself as the patient: one whose web server is wedged behind an evacuated node.
use crate::rig::Lab;
use std::fs;

/// `edge-02` alone, with a reset of its BMC where that is wedged.
fn book(lab: &Lab, steps: &str) -> String {
    let path = lab.dir.path().join("wedged.toml");
    let text = format!(
        "description = \"x\"\n[[steps]]\nevacuate = {{}}\n{steps}[[steps]]\nreset = {{}}\ntimeout = \"90m\"\n[[steps]]\nverify = {{}}\n[[steps]]\nenable = {{}}\n"
    );
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_wedged_bmc_is_reset_once_by_its_other_way_in_and_the_node_goes_on() {
    let lab = Lab::start(2, &["bmc-wedges"]);
    let ran = lab.ask(&["run", &book(&lab, "[[steps]]\nbmc-reset = {}\ntimeout = \"60m\"\n"), "edge-02", "--json"]).ends(0);
    let rack = lab.rack();
    let resets = rack.of("edge-02", "bmc-reset");
    assert!(resets.len() == 1 && resets[0]["via"] == "ipmi", "{resets:?}");
    assert_eq!((rack.of("edge-02", "bmc-wedged").len(), rack.boots("edge-02").len()), (1, 1));
    rack.in_service("edge-02");
    rack.nothing_lost();
    rack.intended(&ran.lines());
    let intended = ran.lines().iter().filter(|e| e["event"] == "act_intended" && e["act"]["what"] == "reset the BMC itself").count();
    assert_eq!(intended, 1, "in the journal before it was sent");
    assert_eq!(rack.of("edge-01", "bmc-reset").len(), 0);
}

/// Without the step nothing resets a BMC; while its tasks cannot be read no verb is sent: held, with the BMC's own words.
#[test]
fn a_wedged_bmc_without_that_step_gets_no_verb() {
    let lab = Lab::start(2, &["bmc-wedges"]);
    let ran = lab.ask(&["run", &book(&lab, ""), "edge-02"]).ends(5);
    ran.says("504");
    let rack = lab.rack();
    assert_eq!((rack.of("edge-02", "bmc-reset").len(), rack.verbs("edge-02").len()), (0, 0));
    let status = lab.ask(&["status", "--json"]).ends(0).json();
    assert_eq!((status["out"][0]["node"].as_str(), status["out"][0]["state"].as_str()), (Some("edge-02"), Some("held")), "{status}");
    rack.nothing_lost();
}

/// A BMC that answers is left alone, unless it is asked for.
#[test]
fn a_bmc_that_answers_is_reset_only_where_the_playbook_says_always() {
    let lab = Lab::start(2, &[]);
    lab.ask(&["run", &book(&lab, "[[steps]]\nbmc-reset = {}\n"), "edge-01"]).ends(0);
    assert_eq!(lab.rack().kind("bmc-reset").len(), 0);
    lab.ask(&["run", &book(&lab, "[[steps]]\nbmc-reset = { when = \"always\" }\n"), "edge-02"]).ends(0);
    let rack = lab.rack();
    assert!(rack.kind("bmc-reset").len() == 1 && rack.of("edge-02", "bmc-reset")[0]["via"] == "redfish", "{:?}", rack.kind("bmc-reset"));
    rack.in_service("edge-02");
}
