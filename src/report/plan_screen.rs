//! `pitstop plan`: what would happen, to whom, in which order, how long, and what would stop it.
use super::text::{Mark, Screen, about, plural};
use crate::{
    model::{NodeName, Relax, Skip, Span},
    plan::{Note, Plan, PlannedNode},
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

/// The plans of one command, one per cluster, for `--json`.
#[derive(Debug, Serialize)]
pub struct Screens<'a> {
    pub plans: Vec<Shown<'a>>,
}

#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    /// Of the plan's stored bytes.
    pub digest: &'a str,
    /// Who goes when.
    pub order: Vec<&'a NodeName>,
    pub estimate: Span,
    pub plan: &'a Plan,
}

/// What only the command line knows.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// As it was typed.
    pub playbook: &'a str,
    /// `edge-[01-04]`, `--where rack=r1`, `--all`.
    pub selection: &'a str,
    /// Where the plan was written.
    pub output: Option<&'a Path>,
}
impl Asked<'_> {
    fn next(&self) -> String {
        match self.output {
            Some(file) => format!("To run exactly this: pitstop run --plan {}", file.display()),
            None => {
                let command = ["pitstop plan", self.playbook, self.selection].into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
                format!("To run exactly this: {command} -o tonight.json, then pitstop run --plan tonight.json")
            }
        }
    }
}

pub fn shown<'a>(plans: &'a [(Plan, String)]) -> Screens<'a> {
    let shown =
        |(plan, digest): &'a (Plan, String)| Shown { digest, order: order(plan).into_iter().map(|(name, _)| name).collect(), estimate: estimate(plan), plan };
    Screens { plans: plans.iter().map(shown).collect() }
}

/// 0: something would be done, or nothing is due; 4: preflight refuses every node; 5: some.
pub fn exit_code(plans: &[(Plan, String)]) -> u8 {
    let refused = plans.iter().flat_map(|(plan, _)| plan.skipped.values()).filter(|skip| matches!(skip, Skip::Refused { .. })).count();
    let rest = plans.iter().map(|(plan, _)| plan.nodes.len() + plan.skipped.len()).sum::<usize>() - refused;
    match (refused, rest) {
        (0, _) => 0,
        (_, 0) => 4,
        _ => 5,
    }
}

pub fn text(plans: &[(Plan, String)], asked: Asked<'_>, screen: Screen) -> String {
    let mut out = String::new();
    for (i, (plan, digest)) in plans.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        one(&mut out, plan, digest, asked, screen, plans.len() > 1);
    }
    let last = match plans.iter().any(|(plan, _)| !plan.nodes.is_empty()) {
        true => format!("Nothing was changed. {}", asked.next()),
        false => "Nothing was changed, and there is nothing to run.".into(),
    };
    let _ = writeln!(out, "{}", screen.wrapped(0, &last));
    out
}

fn one(out: &mut String, plan: &Plan, digest: &str, asked: Asked<'_>, screen: Screen, several: bool) {
    let count = plural(plan.nodes.len() + plan.skipped.len(), "node");
    let selection = match asked.selection.split_once("--where ") {
        Some((_, filter)) => format!("{count} of {}", filter.replace('=', " ")),
        None => count,
    };
    let cluster = if several { format!(" · cluster {}", plan.cluster) } else { String::new() };
    let time = if plan.nodes.is_empty() { String::new() } else { format!(" · about {}", about(estimate(plan)).trim_start_matches('~')) };
    let title = if plan.description.is_empty() { plan.playbook.clone() } else { format!("{}: {}", plan.playbook, lower_first(&plan.description)) };
    let facts = format!("plan {}{cluster} · {selection}{time}", digest.get(..4).unwrap_or(digest));
    let gap = screen.width.saturating_sub(title.chars().count() + facts.chars().count());
    let _ = match gap {
        0..3 => writeln!(out, "{}\n{facts}", screen.wrapped(0, &title)),
        _ => writeln!(out, "{title}{:gap$}{facts}", ""),
    };
    nodes(out, plan, screen);
    stops(out, plan, screen);
    let steps: Vec<&str> = plan.steps.iter().take(plan.forward as usize).map(|s| s.step.kind.as_str()).collect();
    let _ = writeln!(out, "{}", screen.wrapped(0, &format!("Steps: {}. {}", steps.join(", "), limits(plan))));
    for note in plan.notes.iter().filter(|n| !n.stops) {
        let node = note.node.as_ref().map(|n| format!("{n}: ")).unwrap_or_default();
        let _ = writeln!(out, "{}", screen.wrapped(0, &format!("Note: {node}{}", note.text)));
    }
    if !plan.nodes.is_empty() {
        let _ = writeln!(out, "{}", screen.wrapped(0, &evidence(plan)));
    }
}

fn nodes(out: &mut String, plan: &Plan, screen: Screen) {
    let names = plan.nodes.keys().chain(plan.skipped.keys());
    let widest = names.map(|n| n.0.chars().count()).max().unwrap_or(0);
    let indent = 4 + widest + 2;
    let order = order(plan);
    let waves = order.iter().map(|(_, n)| n.wave).max().unwrap_or(0);
    let mut wave = 0;
    for (i, (name, node)) in order.iter().enumerate() {
        if waves > 1 && node.wave != wave {
            wave = node.wave;
            let shared: Vec<String> = plan.limits.within.iter().filter_map(|l| node.labels.get(l).map(|v| format!("{l} {v}"))).collect();
            let of = if shared.is_empty() { String::new() } else { format!(": {}", shared.join(", ")) };
            let _ = writeln!(out, "wave {wave}{of}");
        }
        let mut facts = node.expect.load.clone();
        facts.extend(node.due.iter().map(|why| format!("due: {why}")));
        let time = node.expect.estimate.map(|span| about(Span(plan.time.of(span)))).unwrap_or_default();
        let facts = facts.join(" · ");
        let room = Screen { width: screen.width.saturating_sub(time.chars().count() + 2), ..screen };
        let facts = room.wrapped(indent, &facts);
        let (first, rest) = facts.split_once('\n').map_or((facts.as_str(), String::new()), |(first, rest)| (first, format!("\n{rest}")));
        let gap = screen.width.saturating_sub(indent + first.chars().count() + time.chars().count());
        let line = format!("{first}{:gap$}{time}{rest}", "");
        let _ = writeln!(out, "{:>2}  {:widest$}  {line}", i + 1, name);
    }
    for (name, skip) in &plan.skipped {
        let line = match skip {
            Skip::NotDue { why } => screen.wrapped(indent, &format!("not due: {why}")),
            Skip::Refused { fault } => format!("{}  {}", screen.mark(Mark::Bad, "REFUSED"), screen.fault(indent + 9, fault)),
        };
        let _ = writeln!(out, " -  {name:widest$}  {line}");
    }
}

fn stops(out: &mut String, plan: &Plan, screen: Screen) {
    let stops: Vec<&Note> = plan.notes.iter().filter(|n| n.stops).collect();
    if stops.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}", screen.mark(Mark::Waiting, "Will stop tonight unless changed:"));
    let widest = stops.iter().filter_map(|n| n.node.as_ref()).map(|n| n.0.chars().count()).max().unwrap_or(0);
    for note in stops {
        let node = note.node.as_ref().map_or("", |n| n.0.as_str());
        let _ = writeln!(out, " {node:widest$}  {}", screen.wrapped(widest + 3, &note.text));
        if let Some(remedy) = &note.remedy {
            let indent = widest + 3;
            let _ = writeln!(out, "{:indent$}{}", "", screen.wrapped(indent, &format!("its owner can: {remedy}")));
        }
    }
}

fn limits(plan: &Plan) -> String {
    let limits = &plan.limits;
    let mut words = vec![format!("{} out at a time", limits.max_unavailable), format!("failure budget {}", limits.failure_budget)];
    if limits.canary > 0 {
        words.push(format!("{} alone first", plural(limits.canary as usize, "canary").replace("canarys", "canaries")));
    }
    if !limits.within.is_empty() {
        words.push(format!("within one {}", limits.within.join(" and ")));
    }
    words.extend(limits.max_per.iter().map(|(label, n)| format!("{n} per {label}")));
    if !limits.window.is_empty() {
        let next = limits
            .window
            .iter()
            .flat_map(|w| &w.open)
            .min()
            .map(|(opens, _)| if *opens <= plan.made_at { ", open now".into() } else { format!(", next {opens}") });
        words.push(format!("window {}{}", limits.window.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" or "), next.unwrap_or_default()));
    }
    format!("Limits: {}", words.join(" · "))
}

/// What will prove that it was the right machine and that it really rebooted; and which stores were asked.
fn evidence(plan: &Plan) -> String {
    let all = plan.nodes.len();
    let mut reboots: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    plan.nodes.iter().for_each(|(name, node)| reboots.entry(&node.expect.evidence).or_default().push(&name.0));
    let reboot = |(marker, names): (&&str, &Vec<&str>)| match names.len() {
        n if n == all => format!("{marker} {n}/{all}"),
        n => format!("{marker} {n}/{all} ({})", names.join(", ")),
    };
    let proven = plan.nodes.values().filter(|n| n.expect.chain.as_deref().is_some_and(|c| !c.contains("pinned"))).count();
    let pinned = if proven < all { format!(", {} by a pin", all - proven) } else { String::new() };
    let words: Vec<String> = [format!("identity {all}/{all}{pinned}")].into_iter().chain(reboots.iter().map(reboot)).chain([storage(plan)]).collect();
    format!("Evidence: {}", words.join(" · "))
}

/// Whose word was asked on which nodes. That they bear it is why the nodes stand in the plan.
fn storage(plan: &Plan) -> String {
    let mut gates: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, node) in &plan.nodes {
        let gate = match (node.relaxed.contains(&Relax::Storage), node.expect.stores.is_empty()) {
            (true, _) => "relaxed by name".to_owned(),
            (false, true) => "none seen".to_owned(),
            (false, false) => format!("{} asked", node.expect.stores.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        };
        gates.entry(gate).or_default().push(&name.0);
    }
    let all = plan.nodes.len();
    let words: Vec<String> = gates.into_iter().map(|(gate, names)| if names.len() == all { gate } else { format!("{gate} on {}", names.join(", ")) }).collect();
    format!("storage: {}", words.join("; "))
}

fn order(plan: &Plan) -> Vec<(&NodeName, &PlannedNode)> {
    let mut order: Vec<_> = plan.nodes.iter().collect();
    order.sort_by_key(|(name, node)| (node.wave, *name));
    order
}

/// Waves follow each other; within one, as many at a time as the limits let.
fn estimate(plan: &Plan) -> Span {
    let mut waves: BTreeMap<u32, Vec<Duration>> = BTreeMap::new();
    plan.nodes.values().for_each(|n| waves.entry(n.wave).or_default().push(n.expect.estimate.map_or(Duration::ZERO, |s| s.0)));
    let at_once = plan.limits.max_unavailable.max(1) as usize;
    let wave = |all: &Vec<Duration>| {
        let longest = all.iter().max().copied().unwrap_or_default();
        let sum: Duration = all.iter().sum();
        longest.max(sum / u32::try_from(at_once.min(all.len()).max(1)).unwrap_or(1))
    };
    Span(plan.time.of(Span(waves.values().map(wave).sum())))
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    // `VMs first`, `BMC reset`: an abbreviation stays one.
    match letters.clone().next() {
        Some(second) if second.is_uppercase() => text.into(),
        _ => first + letters.as_str(),
    }
}
