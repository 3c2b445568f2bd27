//! `pitstop demo --cluster KIND`: the whole chain on one cluster of every kind the lab has.
use crate::demo::Demo;

/// Every node of the rack is out once, reset once and back in service, and nothing that ran was cut off.
fn whole_chain(kind: &str, prefix: &str) -> Demo {
    let demo = Demo::run(&["--cluster", kind, "--json"]);
    assert_eq!(demo.said.code, 0, "{}", demo.said.err);
    let (nodes, rack) = (demo.rack.nodes(), &demo.rack);
    assert_eq!(nodes.len(), 6);
    for node in &nodes {
        assert!(node.starts_with(prefix), "{node} is none of {kind}'s");
        assert_eq!((rack.boots(node).len(), rack.verbs(node)), (1, vec!["GracefulRestart".to_owned()]), "{node}");
        rack.in_service(node);
        assert!(rack.service(node).is_some(), "{node} was never taken out: what was tested here?");
    }
    rack.nothing_lost();
    rack.intended(&demo.said.lines());
    assert!(demo.ends().values().all(|end| end == "done"), "{:?}", demo.ends());
    demo
}

#[test]
fn kubernetes() {
    whole_chain("kubernetes", "edge-");
}

#[test]
fn vergeos() {
    whole_chain("vergeos", "vault-");
}

#[test]
fn palette() {
    whole_chain("palette", "dc-");
}

/// Behind five commands of an operator: a script that knows the machines by files alone.
#[test]
fn command() {
    whole_chain("command", "rig-");
}

#[test]
fn openvcloud() {
    let demo = whole_chain("openvcloud", "cpu-");
    // The uptime monitor shuts down what falls silent too soon after it was ENABLED: it found nothing to do.
    assert!(demo.rack.kind("power").iter().all(|l| l["via"] != "uptime-monitor"));
}

#[test]
fn node_maintenance() {
    whole_chain("node_maintenance", "metal-");
}
