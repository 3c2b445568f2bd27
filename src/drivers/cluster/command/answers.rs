//! What the commands may answer, and what is made of it: pure. What is not said is not known, and what is not known is never good news.
use crate::model::{Act, Blocker, Boot, Fault, FaultKind, Here, Identity, Loan, LoanId, Member, NodeView, Repeat, Workload};
use serde::Deserialize;
use serde_json::json;

/// `resolve`: every node that the system has.
#[derive(Debug, Clone, Deserialize)]
pub struct Resolved {
    pub nodes: Vec<NodeSaid>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct NodeSaid {
    pub name: String,
    /// The system's own number of it.
    pub id: String,
    pub state: String,
    #[serde(default)]
    pub why: Option<String>,
    #[serde(default)]
    pub identity: Identity,
}

/// `status NODE`
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// The node asked for, again: an answer about another one is none.
    pub node: String,
    pub id: String,
    /// `in-service`, `entering`, `maintenance`, `leaving`, `failed`; anything else is not known.
    pub state: String,
    pub ready: bool,
    #[serde(default)]
    pub why: Option<String>,
    /// Moves at every boot of the node.
    #[serde(default)]
    pub started: Option<String>,
}

/// `workloads NODE`
#[derive(Debug, Clone, Deserialize)]
pub struct Workloads {
    pub node: String,
    pub id: String,
    pub workloads: Vec<Item>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Item {
    pub kind: String,
    pub name: String,
    /// Belongs to the node itself and stays.
    #[serde(default)]
    pub fixed: bool,
    #[serde(default)]
    pub leaving: bool,
    /// Why it can not move.
    #[serde(default)]
    pub stuck: Option<String>,
}

pub fn parse<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|e| {
        let shown: String = text.trim().chars().take(120).collect();
        Fault::new(FaultKind::Invalid, what).cause(format!("it printed {shown:?}")).cause(e).next("docs/command-cluster.md has the answers that are expected")
    })
}

pub fn find<'a>(resolved: &'a Resolved, node: &str) -> Result<&'a NodeSaid, Fault> {
    let mut found = resolved.nodes.iter().filter(|n| n.name == node);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Fault::new(FaultKind::Invalid, format!("`resolve` lists several nodes named {node}"))),
        (None, _) => {
            let known: Vec<&str> = resolved.nodes.iter().map(|n| n.name.as_str()).collect();
            Err(Fault::new(FaultKind::Unable, format!("`resolve` lists no node {node}")).cause(format!("it lists {}", known.join(", "))))
        }
    }
}

/// Is the answer about the node that was asked for?
pub fn about(said: &NodeSaid, command: &str, node: &str, id: &str) -> Result<(), Fault> {
    if (node, id) == (said.name.as_str(), said.id.as_str()) {
        return Ok(());
    }
    let what = format!("`{command}` answers about {node} (id {id}), not about {} (id {})", said.name, said.id);
    Err(Fault::new(FaultKind::Invalid, what))
}

pub fn view(said: &NodeSaid, status: &Status, here: &Workloads) -> NodeView {
    let workload = |i: &Item| Workload { kind: i.kind.clone(), name: i.name.clone(), leaving: i.leaving, stuck: i.stuck.clone() };
    let why = status.why.clone().filter(|w| !w.trim().is_empty());
    let told = why.as_ref().map(|w| format!(": {w}")).unwrap_or_default();
    let mut view = NodeView {
        here: Here::default(),
        identity: said.identity.clone(),
        boot: status.started.clone().filter(|s| !s.trim().is_empty()).map(Boot::Started),
        ready: status.ready,
        not_ready: if status.ready { Vec::new() } else { vec![why.clone().unwrap_or_else(|| "`status` says not ready".into())] },
        enabled: status.state == "in-service",
        in_maintenance: status.state == "maintenance",
        marked_by: None,
        workloads: here.workloads.iter().filter(|i| !i.fixed).map(workload).collect(),
        fixed: here.workloads.iter().filter(|i| i.fixed).count(),
        moves: Vec::new(),
        blockers: Vec::new(),
        impossible: Vec::new(),
        notes: Vec::new(),
    };
    match status.state.as_str() {
        "maintenance" => {}
        "in-service" => {
            let stuck = here.workloads.iter().filter(|i| !i.fixed).filter_map(|i| Some((i, i.stuck.as_ref()?)));
            view.impossible = stuck.map(|(i, why)| Blocker::new(format!("{} {}", i.kind, i.name), why)).collect();
            if view.impossible.is_empty() {
                view.moves.push(enter(said));
            }
        }
        "entering" | "leaving" => view.blockers.push(Blocker::new(&said.name, format!("is {}{told}", status.state))),
        "failed" => view.impossible.push(Blocker::new(&said.name, format!("the system failed to empty it{told}"))),
        other => view.blockers.push(Blocker::new(&said.name, format!("its state `{other}` is not known here{told}"))),
    }
    view
}

fn enter(said: &NodeSaid) -> Act {
    // Freely: the contract says that entering twice is entering once, and it is offered only while the node is seen in service.
    let mut act = Act::new("cluster", format!("enter maintenance {}", said.name), Repeat::Freely);
    act.args = json!({ "do": "enter" });
    act.borrows = Some(Loan {
        id: LoanId("maintenance".into()),
        to: "cluster".into(),
        owed: format!("leave maintenance {}", said.name),
        before: json!({ "id": said.id }),
        first: false,
    });
    act
}

/// A node in the list that limits count.
pub fn member(said: &NodeSaid) -> Member {
    let why = said.why.as_ref().filter(|w| !w.trim().is_empty()).map(|w| format!(": {w}")).unwrap_or_default();
    let out = (said.state != "in-service").then(|| format!("{}{why}", if said.state.is_empty() { "state unknown" } else { &said.state }));
    Member { name: said.name.clone(), out, run: None, identity: said.identity.clone(), since: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> NodeSaid {
        serde_json::from_value(json!({ "name": "n1", "id": "17", "state": "in-service" })).unwrap()
    }
    fn judged(state: &str, workloads: serde_json::Value) -> NodeView {
        let status = serde_json::from_value(json!({ "node": "n1", "id": "17", "state": state, "ready": true })).unwrap();
        view(&said(), &status, &serde_json::from_value(json!({ "node": "n1", "id": "17", "workloads": workloads })).unwrap())
    }

    #[test]
    fn only_the_word_maintenance_is_maintenance() {
        for (state, maintenance, moves) in [
            ("in-service", false, 1),
            ("entering", false, 0),
            ("maintenance", true, 0),
            ("Maintenance", false, 0),
            ("", false, 0),
            ("failed", false, 0),
            ("ok", false, 0),
        ] {
            let view = judged(state, json!([{ "kind": "vm", "name": "db" }, { "kind": "agent", "name": "a", "fixed": true }]));
            assert_eq!((view.in_maintenance, view.moves.len(), view.workloads.len(), view.fixed), (maintenance, moves, 1, 1), "{state}");
        }
        assert!(!judged("failed", json!([])).impossible.is_empty());
        let stuck = judged("in-service", json!([{ "kind": "vm", "name": "gpu", "stuck": "passthrough" }]));
        assert_eq!((stuck.impossible[0].object.as_str(), stuck.moves.len()), ("vm gpu", 0));
    }

    #[test]
    fn what_is_not_said_is_not_assumed() {
        for text in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"node":"n1","id":"17"}"#,
            r#"{"node":"n1","id":"17","workloads":null}"#,
            r#"{"node":"n1","id":"17","workloads":[{"name":"x"}]}"#,
        ] {
            assert!(parse::<Workloads>(text, "w").is_err(), "{text}");
        }
        for text in [r#"{"node":"n1","id":"17","state":"maintenance"}"#, r#"{"node":"n1","id":"17","ready":true}"#, r#"{"nodes":[]}"#] {
            assert!(parse::<Status>(text, "s").is_err(), "{text}");
        }
        assert!(about(&said(), "status", "n1", "17").is_ok() && about(&said(), "status", "n2", "17").is_err() && about(&said(), "status", "n1", "18").is_err());
        let odd = NodeSaid { state: "".into(), ..said() };
        assert!(member(&odd).out.is_some() && member(&said()).out.is_none());
        let twins = Resolved { nodes: vec![said(), said()] };
        assert_eq!(find(&twins, "n1").unwrap_err().kind, FaultKind::Invalid);
    }
}
