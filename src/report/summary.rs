//! The end of a run as text: one line per node, a block per hold, and what to type next.
use super::{
    Paint,
    fold::{Heard, NodeReport, NodeState, RunReport, RunState},
};
use crate::model::{Level, Timestamp};

pub use super::fold::fold;

/// Two units are enough for a person: `8m12s`, `6h12m`, `3d4h`.
pub fn span(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0 if seconds > 0.0 => format!("{:.0}ms", (seconds * 1000.0).ceil()),
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Enough of a boot id to tell two apart.
pub fn short_boot(boot: &str) -> String {
    let mut head: String = boot.chars().take(4).collect();
    if head.len() < boot.len() {
        head.push('…');
    }
    head
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// The width of the name column.
pub fn name_width<'a>(nodes: impl IntoIterator<Item = &'a NodeReport>) -> usize {
    nodes.into_iter().map(|n| n.name.0.chars().count()).max().unwrap_or(0)
}

pub fn text(report: &RunReport, paint: Paint) -> String {
    let mut out = String::new();
    let width = name_width(&report.nodes);
    heading(&mut out, report);
    for node in &report.nodes {
        // A column of words, padded before it is coloured.
        let state = paint.state(node.end, &format!("{:<8}", head_word(node)));
        let line = format!("{:<width$}  {state}  {}", node.name.0, said(node));
        out.push_str(line.trim_end());
        out.push('\n');
        detail(&mut out, report, node, width + 2);
    }
    footer(&mut out, report);
    out
}

fn heading(out: &mut String, report: &RunReport) {
    let r = report;
    out.push_str(&format!("run {}  {}  cluster {}  plan {}", r.run, r.playbook, r.cluster, r.plan.get(..4).unwrap_or(&r.plan)));
    out.push('\n');
    let mut by = format!("by {} at {:.0}", r.by, r.started);
    if let Some(reason) = &r.reason {
        by.push_str(&format!(", reason: {reason}"));
    }
    if r.resumed > 0 {
        by.push_str(&format!(", resumed {}", if r.resumed == 1 { "once".into() } else { format!("{} times", r.resumed) }));
    }
    out.push_str(&by);
    out.push('\n');
    if let Some(vouched) = &r.vouched {
        out.push_str(&format!("emptiness vouched for by the inventory, not proven: {vouched}\n"));
    }
    for relaxed in &r.relaxed {
        out.push_str(&format!("UNSAFE: relaxed for {relaxed}\n"));
    }
    if r.unknown_events > 0 {
        out.push_str(&format!("{} events of a newer pitstop are not shown\n", r.unknown_events));
    }
}

fn head_word(node: &NodeReport) -> String {
    node.end.word().to_owned()
}

/// What is true of a node now, in one line after its state.
pub fn said(node: &NodeReport) -> String {
    let why = node.why.as_deref().unwrap_or_default();
    let took = node.seconds.map(|s| format!(" after {}", span(s))).unwrap_or_default();
    match node.end {
        NodeState::Done => {
            let boots = match (&node.from_boot, &node.to_boot) {
                (Some(from), Some(to)) => format!("   boot id {} → {}", short_boot(from), short_boot(to)),
                _ => String::new(),
            };
            format!("in service{took}{boots}")
        }
        NodeState::Returned => format!("given back{took}: {why}"),
        NodeState::Out => format!("out of service{took}{}", if why.is_empty() { String::new() } else { format!(": {why}") }),
        NodeState::Held => format!("at {}: {why}", node.step.as_deref().unwrap_or("preflight")),
        NodeState::Refused | NodeState::NotDue | NodeState::Paused => why.to_owned(),
        NodeState::Waiting => "not started".into(),
        NodeState::InWork => match (&node.step, why) {
            (Some(step), _) => format!("at {step}"),
            (None, "") => "between two steps".into(),
            (None, why) => format!("being given back: {why}"),
        },
    }
}

/// Of what came back otherwise, so many lines.
const CHANGED: usize = 6;
fn detail(out: &mut String, report: &RunReport, node: &NodeReport, indent: usize) {
    let mut line = |text: String| {
        out.push_str(&format!("{:indent$}{text}\n", ""));
    };
    if node.end == NodeState::Held {
        line(format!("what pitstop did: {}", did(node)));
        let others = match &report.limits {
            Some(limits) if report.counts.waiting > 0 => {
                format!(", or start another node (limit: {} out, {} may fail; {} held)", limits.max_unavailable, limits.failure_budget, report.counts.held)
            }
            _ => String::new(),
        };
        line(format!("what it will not do: enable it{others}"));
    }
    for blocker in &node.blockers {
        line(format!("waiting for {blocker}"));
    }
    // Expected ones stand first; modules and ports may be many.
    for one in node.changed.iter().take(CHANGED) {
        line(format!("changed{}: {}", if one.level == Level::Expected { ", expected" } else { "" }, one.line));
    }
    if node.changed.len() > CHANGED {
        line(format!("changed: and {} more, in pitstop report {} --json", node.changed.len() - CHANGED, report.run));
    }
    // A loan that stands is said also of a node that ended.
    if !node.owed.is_empty() {
        let owed: Vec<&str> = node.owed.iter().map(|l| l.owed.as_str()).collect();
        line(format!("owed: {}", owed.join(", ")));
    }
    for decision in &node.decisions {
        let word = serde_json::to_value(decision.decision).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let accepted = if decision.accepted.is_empty() { String::new() } else { format!(", accepting {}", decision.accepted.join(", ")) };
        let reason = decision.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
        line(format!("released by {} at {}: {word}{accepted}{reason}", decision.by, clock(decision.at)));
    }
    if let Some(next) = &node.next {
        line(format!("next: {next}"));
    }
}

/// The steps that are through and every act of power, in the order in which they happened.
fn did(node: &NodeReport) -> String {
    let steps = node.steps.iter().filter(|s| s.outcome.as_deref() == Some("done")).filter_map(|s| Some((s.settled?, format!("{} done", s.kind))));
    let acts = node.acts.iter().filter(|a| a.power).map(|a| {
        let heard = match a.answer {
            Heard::Accepted => "",
            Heard::Failed => " (refused)",
            Heard::Unknown | Heard::Nothing => " (no answer)",
        };
        (a.at, format!("{}{heard}", a.what))
    });
    let mut all: Vec<(Timestamp, String)> = steps.chain(acts).collect();
    all.sort_by_key(|(at, _)| *at);
    let said: Vec<String> = all.into_iter().map(|(at, what)| format!("{what} {}", clock(at))).collect();
    match (said.is_empty(), node.touched()) {
        (false, _) => said.join(", "),
        (true, true) => format!("{} changes, none of power", node.acts.iter().filter(|a| a.answer != Heard::Failed).count()),
        (true, false) => "nothing yet".into(),
    }
}

/// `2 done, 1 held`.
pub fn counted(report: &RunReport) -> String {
    let c = &report.counts;
    let all = [
        (c.done, "done"),
        (c.returned, "returned"),
        (c.out, "out"),
        (c.held, "held"),
        (c.paused, "paused"),
        (c.refused, "refused"),
        (c.in_work, "in work"),
        (c.waiting, "not started"),
        (c.not_due, "not due"),
    ];
    let said: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if said.is_empty() { "no nodes".into() } else { said.join(", ") }
}

fn footer(out: &mut String, report: &RunReport) {
    let state = match report.state {
        RunState::Open => "not ended",
        RunState::Halted => "halted",
        RunState::Interrupted => "interrupted",
        RunState::Finished => "finished",
    };
    let took = span(crate::model::since(report.started, report.ended.unwrap_or(report.last)).as_secs_f64());
    let why = report.why.as_ref().map(|w| format!(": {w}")).unwrap_or_default();
    out.push_str(&format!("{} in {took} · {state}{why}\n", counted(report)));
    if let Some(blind) = &report.blind {
        out.push_str(&format!("not seen: {blind}\n"));
    }
    // A hold has said its own next command above.
    if let Some(next) = report.next.as_ref().filter(|n| !report.nodes.iter().any(|node| node.next.as_ref() == Some(n))) {
        out.push_str(&format!("next: {next}\n"));
    }
}
