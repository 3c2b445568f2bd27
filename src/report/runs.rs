//! `pitstop runs`: one line per run, oldest first.
use super::{
    fold::{RunReport, RunState},
    summary,
};
use crate::model::{ClusterName, RunId, Timestamp, since};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    pub run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub cluster: ClusterName,
    pub playbook: String,
    pub started: Timestamp,
    pub last: Timestamp,
    pub state: RunState,
    /// Who works on it now: without one, an open run has lost its engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    pub nodes: usize,
    /// `2 done, 1 held`.
    pub counts: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl RunRow {
    pub fn of(report: &RunReport, holder: Option<String>) -> RunRow {
        // Nothing to type for a run that somebody works on.
        let next = if holder.is_some() { None } else { report.next.clone() };
        RunRow {
            run: report.run.clone(),
            group: report.group.clone(),
            cluster: report.cluster.clone(),
            playbook: report.playbook.clone(),
            started: report.started,
            last: report.last,
            state: report.state,
            holder,
            nodes: report.nodes.len(),
            counts: summary::counted(report),
            next,
        }
    }
    fn word(&self) -> &'static str {
        match (self.state, &self.holder) {
            (RunState::Finished, _) => "finished",
            (_, Some(_)) => "running",
            (RunState::Open, None) => "no engine",
            (RunState::Halted, None) => "halted",
            (RunState::Interrupted, None) => "stopped",
        }
    }
}

/// `now` is for ages only.
pub fn text(rows: &[RunRow], now: Timestamp) -> String {
    if rows.is_empty() {
        return "no runs\n".into();
    }
    let width = |of: fn(&RunRow) -> &str| rows.iter().map(|r| of(r).chars().count()).max().unwrap_or(0);
    let (playbooks, clusters) = (width(|r| &r.playbook), width(|r| &r.cluster.0));
    let mut out = String::new();
    for r in rows {
        let age = format!("{} ago", summary::span(since(r.started, now).as_secs_f64()));
        let line = format!("{:<6}  {:<playbooks$}  {:<clusters$}  {:>10}  {:<9}  {}", r.run.short(), r.playbook, r.cluster.0, age, r.word(), r.counts);
        out.push_str(line.trim_end());
        out.push('\n');
        if let Some(holder) = &r.holder {
            out.push_str(&format!("        held by {holder}\n"));
        }
        if let Some(next) = &r.next {
            out.push_str(&format!("        next: {next}\n"));
        }
    }
    out
}
