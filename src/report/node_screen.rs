//! `pitstop node NODE`: everything of one node on one screen, ending in what to type next.
use super::{check_screen::CheckedNode, status::StatusRow, text::Screen};
use crate::model::{DataStore, Fault, LiveTask, Loan, LogEntry, NodeName, NodeSurvey};
use serde::Serialize;
use std::fmt::Write;

#[derive(Debug, Clone, Serialize)]
pub struct NodeScreen {
    pub node: NodeName,
    /// Out of service by us, where it is: held, at work, lost, left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusRow>,
    /// The planner's verdict, as `check` gives it.
    pub check: CheckedNode,
    pub seen: NodeSurvey,
    /// None: the BMC has no such thing over this protocol.
    pub tasks: Option<Result<Vec<LiveTask>, Fault>>,
    pub log: Option<Result<Vec<LogEntry>, Fault>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light: Option<bool>,
    pub owed: Vec<Loan>,
    pub next: String,
}

/// The last so many records of the BMC's log.
const LOG: usize = 3;

impl NodeScreen {
    pub fn text(&self, screen: Screen) -> String {
        let mut out = String::new();
        let head = match &self.status {
            Some(row) => format!("{}: {}", row.word(), row.why),
            None if self.check.ready => "in service, nothing stands against a reset".into(),
            None => "no run has it".into(),
        };
        let _ = writeln!(out, "{}   {}", self.node, screen.wrapped(self.node.0.chars().count() + 3, &head));
        let mut line = |name: &str, text: &str| {
            let _ = writeln!(out, "{name:<9} {}", screen.wrapped(10, text));
        };
        line("power", &self.power());
        line("identity", &self.identity());
        for (cluster, view) in &self.seen.clusters {
            line(
                "cluster",
                &match view {
                    Ok(view) => {
                        let ready = if view.ready { "ready".into() } else { format!("NOT READY: {}", view.not_ready.join(", ")) };
                        let service = match (view.in_maintenance, &view.marked_by) {
                            (false, _) if view.enabled => "takes work".into(),
                            (_, Some(by)) => format!("out of service by run {by}"),
                            (_, None) => "out of service, not by us".into(),
                        };
                        let runs: Vec<String> = view.workloads.iter().take(4).map(|w| w.name.clone()).collect();
                        let more = if view.workloads.len() > 4 { format!(" and {} more", view.workloads.len() - 4) } else { String::new() };
                        let runs = if runs.is_empty() { "nothing has to leave".into() } else { format!("runs {}{more}", runs.join(", ")) };
                        format!("{cluster}: {ready} · {service} · {runs} · {} of its own", view.fixed)
                    }
                    Err(fault) => format!("{cluster}: {fault}"),
                },
            );
        }
        line("storage", &self.storage());
        if let Some(host) = &self.seen.host {
            line(
                "host",
                &match host {
                    Ok(h) => {
                        let people = if h.people.is_empty() { String::new() } else { format!(" · logged in: {}", h.people.join(", ")) };
                        let kernel = h.kernel.as_deref().unwrap_or("unknown");
                        let units = h.system_state.as_deref().unwrap_or("unknown");
                        format!("up {} · kernel {kernel} · units: {units}{people}", super::summary::span(h.uptime_s))
                    }
                    Err(fault) => fault.to_string(),
                },
            );
        }
        let owed: Vec<&str> = self.owed.iter().map(|l| l.owed.as_str()).collect();
        line("owed", &if owed.is_empty() { "nothing".to_owned() } else { owed.join(", ") });
        match &self.log {
            Some(Ok(log)) if log.is_empty() => line("log", "the BMC's log is empty"),
            Some(Ok(log)) => {
                for entry in log.iter().rev().take(LOG) {
                    line("log", &format!("{} {} {}", entry.at.as_deref().unwrap_or(&entry.id), entry.severity, entry.message));
                }
            }
            Some(Err(fault)) => line("log", &fault.to_string()),
            None => line("log", "not over this protocol"),
        }
        if let Some(fault) = &self.check.fault {
            line("REFUSED", &fault.to_string());
        }
        for note in &self.check.notes {
            line("note", note);
        }
        line("next", &self.next);
        out
    }

    fn power(&self) -> String {
        let ways: Vec<String> = (self.seen.bmc.iter())
            .map(|way| match &way.seen {
                Ok(view) => format!("{} by {}", view.power, crate::plan::spoken(&way.protocol)),
                Err(fault) => format!("{}: {fault}", crate::plan::spoken(&way.protocol)),
            })
            .collect();
        let boot = match &self.seen.at_power.boot {
            None => "boot override: not said".into(),
            Some(boot) if boot.is_off() => "boot override: none".into(),
            Some(boot) => format!("boot override: {} ({})", boot.target, boot.enabled),
        };
        let tasks = match &self.tasks {
            None => "BMC tasks: not over this protocol".into(),
            Some(Err(fault)) => format!("BMC tasks: {fault}"),
            Some(Ok(tasks)) if tasks.is_empty() => "no BMC task".into(),
            Some(Ok(tasks)) => tasks.iter().map(|t| format!("{} {}", t.name, t.state)).collect::<Vec<_>>().join(", "),
        };
        let light = if self.light == Some(true) { " · light on" } else { "" };
        format!("{} · {boot} · {tasks}{light}", ways.join(" · "))
    }

    /// All sides, where they do not close.
    fn identity(&self) -> String {
        if let Some(closed) = &self.check.identity {
            return format!("{closed} ({})", self.check.evidence.join(" + "));
        }
        let clusters = self.seen.clusters.iter().map(|(c, v)| (c.0.clone(), v.as_ref().map(|v| v.identity.shown())));
        let host = self.seen.host.iter().map(|h| ("host".to_owned(), h.as_ref().map(|h| h.identity.shown())));
        let bmc = self.seen.bmc.iter().map(|w| (crate::plan::spoken(&w.protocol), w.seen.as_ref().map(|v| v.identity.shown())));
        let said = clusters.chain(host).chain(bmc).map(|(who, said)| format!("{who} says {}", said.unwrap_or_else(|_| "nothing: no answer".into())));
        said.collect::<Vec<_>>().join(" · ")
    }

    fn storage(&self) -> String {
        let one = |s: &DataStore| {
            let what = s.refuses.iter().chain(&s.rebuilding).cloned().collect::<Vec<_>>().join(", ");
            format!("{} {}: {}", s.kind, s.name, if what.is_empty() { "bears it".into() } else { what })
        };
        let seen: Vec<String> = self.seen.at_power.stores.iter().map(one).collect();
        if seen.is_empty() { "no store seen".into() } else { seen.join(" · ") }
    }
}
