//! `pitstop status`: every node that is out of service, ours or foreign, oldest first.
use super::{Paint, summary};
use crate::model::{ClusterName, NodeName, RunId, Timestamp, since};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// Waits for a person.
    Held,
    /// A run works on it.
    Ours,
    /// Its run has no engine, or our mark stands and the store knows nothing of it.
    OursLost,
    /// Not by us.
    Foreign,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusRow {
    pub node: NodeName,
    pub cluster: ClusterName,
    pub state: Whose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Oldest first; of unknown age before all, as nobody can say how long it has been so.
pub fn sort(rows: &mut [StatusRow]) {
    rows.sort_by(|a, b| (a.since, &a.node).cmp(&(b.since, &b.node)));
}

/// `foreign_seen`: an inventory was there, and the clusters were asked. `now` is for ages only.
pub fn text(rows: &[StatusRow], foreign_seen: bool, now: Timestamp, paint: Paint) -> String {
    let width = rows.iter().map(|r| r.node.0.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for r in rows {
        let (word, colour) = match r.state {
            Whose::Held => ("HELD", "31"),
            Whose::Ours => ("ours", "33"),
            Whose::OursLost => ("ours, lost", "31"),
            Whose::Foreign => ("foreign", "0"),
        };
        let age = r.since.map(|at| summary::span(since(at, now).as_secs_f64())).unwrap_or_else(|| "?".into());
        let word = paint.code(colour, &format!("{word:<10}"));
        let run = r.run.as_ref().map(|run| format!("run {run}: ")).unwrap_or_default();
        out.push_str(&format!("{:<width$}  {word}  {age:>6}  {}  {run}{}\n", r.node.0, r.cluster, r.why));
        if let Some(next) = &r.next {
            out.push_str(&format!("{:indent$}next: {next}\n", "", indent = width + 2));
        }
    }
    if rows.is_empty() {
        out.push_str(if foreign_seen { "every node is in service\n" } else { "no node of ours is out of service\n" });
    }
    if !foreign_seen {
        out.push_str("without an inventory the clusters were not asked: nodes that others took out are not shown\n");
    }
    out
}
