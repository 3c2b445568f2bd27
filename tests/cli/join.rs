//! One rack, every command, and what they say of it agrees with what the rack saw.
use crate::rig::{Lab, text, time};
use serde_json::Value;
use std::collections::BTreeMap;

/// Must-show 2.
#[test]
fn run_status_report_and_the_racks_record_agree() {
    let lab = Lab::start(6, &[]);
    let check = lab.ask(&["check", "--json"]).ends(0).json();
    assert_eq!((check["ready"].as_u64(), check["refused"].as_u64()), (Some(6), Some(0)));
    let plan = lab.ask(&["plan", "reboot", "--all", "--json"]).ends(0);
    let before = lab.rack();
    let nodes = before.nodes();
    let checked: Vec<String> = check["nodes"].as_array().unwrap().iter().map(|n| text(&n["node"])).collect();
    assert_eq!(checked, nodes);
    nodes.iter().for_each(|n| assert!(plan.out.contains(&format!("\"{n}\"")), "{n} is not in the plan"));
    assert!(before.kind("api-write").is_empty() && before.kind("power").is_empty());

    let mut run = lab.start_command(&["run", "reboot", "--all", "--json", "--reason", "ticket 4711"]);
    run.until("act_intended");
    // While it works: what is out is said to be out, by the same run.
    let mut out = Vec::new();
    crate::rig::until("status to show a node of ours", || {
        out = lab.ask(&["status", "--json"]).ends(0).json()["out"].as_array().unwrap().clone();
        assert!(run.child.try_wait().unwrap().is_none(), "the run was over before status was asked");
        out.iter().any(|row| row["state"] == "ours")
    });
    let ran = run.ended().ends(0);
    let events = ran.lines();
    let rack = lab.rack();

    let mut runs: BTreeMap<String, String> = BTreeMap::new();
    for e in events.iter().filter(|e| e["event"] == "run_started") {
        runs.insert(text(&e["cluster"]), text(&e["run"]));
        assert_eq!(e["reason"], "ticket 4711");
    }
    assert_eq!(runs.keys().collect::<Vec<_>>(), ["edge", "vault"]);
    for row in &out {
        assert_eq!(text(&row["run"]), runs[row["cluster"].as_str().unwrap()], "{row}");
        let node = text(&row["node"]);
        let admitted = events.iter().find(|e| e["event"] == "node_admitted" && e["node"] == row["node"]).unwrap();
        assert!(time(&row["since"]) >= time(&admitted["at"]), "{row}");
        assert!(nodes.contains(&node));
    }
    assert!(lab.ask(&["status", "--json"]).ends(0).json()["out"].as_array().unwrap().is_empty());

    let listed = lab.ask(&["runs", "--json"]).ends(0).json();
    let mut seen: Vec<String> = Vec::new();
    for (cluster, run) in &runs {
        let row = listed.as_array().unwrap().iter().find(|r| r["run"] == run.as_str()).unwrap();
        assert_eq!((row["cluster"].as_str().unwrap(), row["state"].as_str().unwrap()), (cluster.as_str(), "finished"));
        let report = lab.ask(&["report", run, "--json"]).ends(0).json();
        assert_eq!((report["run"].as_str(), report["cluster"].as_str()), (Some(run.as_str()), Some(cluster.as_str())));
        let mine: Vec<&Value> = events.iter().filter(|e| e["run"] == run.as_str()).collect();
        assert_eq!(report["started"], mine[0]["at"]);
        assert_eq!(report["last"], mine.last().unwrap()["at"]);
        for node in report["nodes"].as_array().unwrap() {
            let name = text(&node["name"]);
            let ended = mine.iter().find(|e| e["event"] == "node_ended" && e["node"] == name.as_str()).unwrap();
            assert_eq!((&node["end"], &node["ended"]), (&ended["end"], &ended["at"]), "{name}");
            assert_eq!(node["end"], "done");
            assert_eq!(rack.boots(&name), [text(&node["to_boot"])], "{name}");
            assert_ne!(node["from_boot"], node["to_boot"]);
            // The rack saw the boot while the node was out, by both clocks.
            let boot = rack.of(&name, "boot").into_iter().find(|l| l["boot_id"] == node["to_boot"]).unwrap();
            assert!(time(&node["admitted"]) < time(&boot["t"]) && time(&boot["t"]) < time(&node["ended"]), "{name}");
            rack.in_service(&name);
            seen.push(name);
        }
    }
    seen.sort();
    assert_eq!(seen, nodes);
    // Without a run: what the last command did, in every cluster.
    let last = lab.ask(&["report", "--json"]).ends(0).out;
    let both: Vec<String> = serde_json::Deserializer::from_str(&last).into_iter::<Value>().map(|r| text(&r.unwrap()["run"])).collect();
    assert_eq!(both.len(), 2, "{last}");
    assert!(runs.values().all(|run| both.contains(run)), "{both:?}");
    rack.intended(&events);
    rack.nothing_lost();
}
