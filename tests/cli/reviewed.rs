//! `plan -o`, a person reads it, `run --plan`: exactly that, or nothing.
use crate::{
    rig::{Lab, Rack, until},
    world,
};

#[test]
fn the_reviewed_plan_is_what_runs() {
    let lab = Lab::start(3, &[]);
    lab.ask(&["plan", "reboot", "edge-02", "-o", "tonight.json"]).ends(0).says("pitstop run --plan tonight.json");
    // The inventory may say something else by now: the plan stands for itself.
    lab.ask(&["run", "--plan", "tonight.json"]).ends(0);
    let rack = lab.rack();
    let boots: Vec<usize> = rack.nodes().iter().map(|n| rack.boots(n).len()).collect();
    assert_eq!(boots, [0, 1, 0]);

    // It was for that night: the node was rebooted since.
    let again = lab.ask(&["run", "--plan", "tonight.json"]).ends(3);
    again.says("the world has moved");
    again.says("edge-02 was rebooted since the review");
    again.says("next: look at it anew: pitstop plan");
    assert_eq!(lab.rack().boots("edge-02").len(), 1);
}

#[test]
fn a_world_that_moved_is_refused_by_name() {
    let lab = Lab::start(3, &[]);
    lab.ask(&["plan", "reboot", "edge-01", "edge-02", "-o", "tonight.json"]).ends(0);
    let writes = |rack: &Rack| rack.kind("api-write").iter().filter(|l| !l["what"].as_str().unwrap().contains(" lease ")).count();

    world::cordon(&lab, "edge-02", true);
    let before = writes(&lab.rack());
    let refused = lab.ask(&["run", "--plan", "tonight.json"]).ends(3);
    refused.says("edge-02 was in service at the review and is out of service now");
    assert_eq!((writes(&lab.rack()), lab.rack().kind("power").len()), (before, 0));
    world::cordon(&lab, "edge-02", false);

    world::on_host(&lab, "edge-01", "reboot");
    until("edge-01 to boot", || lab.rack().boots("edge-01").len() == 1);
    let before = writes(&lab.rack());
    // The host answers a moment after its boot.
    until("the boot to be seen", || {
        let refused = lab.ask(&["run", "--plan", "tonight.json"]).ends(3);
        refused.all().contains("edge-01 was rebooted since the review")
    });
    assert_eq!(writes(&lab.rack()), before);
    assert!(lab.ask(&["runs", "--json"]).ends(0).json().as_array().unwrap().is_empty());

    std::fs::write(lab.dir.path().join("torn.json"), "{ \"plans\": [").unwrap();
    lab.ask(&["run", "--plan", "torn.json"]).ends(3).says("torn.json is no plan");
    lab.ask(&["run", "--plan", "none.json"]).ends(3).says("none.json");
    lab.ask(&["run", "reboot", "--plan", "tonight.json"]).ends(2);
}
