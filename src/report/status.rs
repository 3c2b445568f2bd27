//! `pitstop status`: every node that is out of service, ours or foreign, oldest first.
use super::{Paint, summary};
use crate::model::{ClusterName, RunId, Timestamp, since};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for a person.
    Held,
    /// Waits for hands, as its playbook wants it.
    Paused,
    /// A run works on it.
    Ours,
    /// Its run has no engine, or our mark stands and the store knows nothing of it.
    #[serde(rename = "ours-lost")]
    Lost,
    /// Left out of service by a run that is over, as its playbook or a person wanted.
    Out,
    /// Not by us.
    Foreign,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusRow {
    /// Ours by its name in the inventory, a foreign one by its name in the cluster.
    pub node: String,
    pub cluster: ClusterName,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// RFC 3339, as the journal or the cluster says.
    pub since: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl StatusRow {
    pub fn word(&self) -> &'static str {
        match self.state {
            State::Held => "HELD",
            State::Paused => "PAUSED",
            State::Ours => "ours",
            State::Lost => "ours, lost",
            State::Out => "out",
            State::Foreign => "foreign",
        }
    }
    fn started(&self) -> Option<Timestamp> {
        self.since.as_ref().and_then(|at| at.parse().ok())
    }
}

/// Oldest first; of unknown age before all, as nobody can say how long it has been so.
pub fn sort(rows: &mut [StatusRow]) {
    rows.sort_by(|a, b| (a.started(), &a.node).cmp(&(b.started(), &b.node)));
}

/// `foreign_seen`: an inventory was there, and the clusters were asked. `now` is for ages only.
pub fn text(rows: &[StatusRow], foreign_seen: bool, unseen: bool, now: Timestamp, paint: Paint) -> String {
    let width = rows.iter().map(|r| r.node.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for r in rows {
        let (word, colour) = match r.state {
            State::Held => ("HELD", "31"),
            State::Paused => ("PAUSED", "33"),
            State::Ours => ("ours", "33"),
            State::Lost => ("ours, lost", "31"),
            State::Out => ("out", "33"),
            State::Foreign => ("foreign", "0"),
        };
        let age = r.started().map(|at| summary::span(since(at, now).as_secs_f64())).unwrap_or_else(|| "?".into());
        let word = paint.code(colour, &format!("{word:<10}"));
        let run = r.run.as_ref().map(|run| format!("run {run}: ")).unwrap_or_default();
        out.push_str(&format!("{:<width$}  {word}  {age:>6}  {}  {run}{}\n", r.node, r.cluster, r.why));
        if let Some(next) = &r.next {
            out.push_str(&format!("{:indent$}next: {next}\n", "", indent = width + 2));
        }
    }
    if rows.is_empty() {
        out.push_str(if foreign_seen && !unseen { "every node is in service\n" } else { "no node of ours is out of service\n" });
    }
    if !foreign_seen {
        out.push_str("without an inventory the clusters were not asked: nodes that others took out are not shown\n");
    }
    out
}
