//! `pitstop demo`, and every run of one: where it lies, what it left in the store and in the rack's record.
use crate::rig::{Rack, Running, Said, pitstop};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A demo that is over.
pub struct Demo {
    pub said: Said,
    pub rack: Rack,
    /// Every record of its runs.
    pub events: Vec<Value>,
    home: TempDir,
}

impl Demo {
    pub fn run(args: &[&str]) -> Demo {
        let home = TempDir::new().unwrap();
        let said = Running::start(pitstop(home.path(), &[&["demo"], args].concat()), home.path()).ended();
        let dir = private_dir(home.path());
        let store = format!("sqlite:{}", dir.join("pitstop.db").display());
        let ask = |args: &[&str]| crate::rig::ask(home.path(), &[&["--store", &store], args].concat()).ends(0);
        let mut events = Vec::new();
        for run in ask(&["runs", "--json"]).json().as_array().unwrap() {
            events.extend(ask(&["report", run["run"].as_str().unwrap(), "--events"]).lines());
        }
        Demo { said, rack: Rack::read(&dir.join("rack.jsonl")), events, home }
    }
    /// `edge-02` → `done`, `returned`, `held`, `refused`, `waiting`, of the last report of its run.
    pub fn ends(&self) -> std::collections::BTreeMap<String, String> {
        let store = format!("sqlite:{}", private_dir(self.home.path()).join("pitstop.db").display());
        let ask = |args: &[&str]| crate::rig::ask(self.home.path(), &[&["--store", &store], args].concat()).ends(0).json();
        let mut ends = std::collections::BTreeMap::new();
        for run in ask(&["runs", "--json"]).as_array().unwrap() {
            for node in ask(&["report", run["run"].as_str().unwrap(), "--json"])["nodes"].as_array().unwrap() {
                ends.insert(crate::rig::text(&node["name"]), crate::rig::text(&node["end"]));
            }
        }
        ends
    }
}

/// In the temporary directory, which is the user's to choose.
fn private_dir(home: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = home.read_dir().unwrap().map(|e| e.unwrap().path()).filter(|p| p.join("rack.jsonl").exists()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Must-show 1: exit 0, one boot each with another boot id, every power verb announced, nothing lost, everything back in service.
#[test]
fn every_node_is_rebooted_once_and_back_in_service() {
    let demo = Demo::run(&["--json"]);
    let printed = demo.said.lines();
    assert_eq!(demo.said.code, 0, "{}", demo.said.err);
    let (nodes, rack) = (demo.rack.nodes(), &demo.rack);
    assert_eq!(nodes, ["edge-01", "edge-02", "edge-03", "edge-04", "vault-01", "vault-02"]);
    let mut ids = Vec::new();
    for node in &nodes {
        let boots = rack.boots(node);
        assert_eq!(boots.len(), 1, "{node}: {boots:?}");
        ids.extend(boots);
        assert_eq!(rack.verbs(node), ["GracefulRestart"], "{node}");
        rack.in_service(node);
        assert!(rack.service(node).is_some(), "{node} was never taken out: what was tested here?");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), nodes.len());
    rack.nothing_lost();
    rack.intended(&printed);
    assert_eq!(demo.ends().values().filter(|e| *e == "done").count(), 6);
    // What it streamed is what it stored.
    let sorted = |records: &[Value]| {
        let mut all: Vec<String> = records.iter().map(Value::to_string).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&printed), sorted(&demo.events));
    // And what the report says of boots is what the rack saw.
    demo.said.says("next: pitstop demo --fault list");
}
