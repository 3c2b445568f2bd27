//! Inventory + playbook + survey → one plan per cluster, every choice made.
use super::{
    EVACUATE, FORMAT, Input, NO_CLUSTER, NodeInput, Note, OnFailure, Plan, PlannedNode, PlannedStep, Refusal, StepInput, evidence, order,
    verdict::{World, bmc_host},
};
use crate::model::{ClusterName, Fault, FaultKind, NodeName, Setting, Skip, Span};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Kinds of step that the order of a playbook hangs on. The engine does not know them: the plan tells it in numbers.
const PREFLIGHT: &str = "preflight";
const RESET: &str = "reset";
const PAUSE: &str = "pause";
const VERIFY: &str = "verify";
const ENABLE: &str = "enable";

/// One plan per cluster, in the order of their names. What no survey could change is a refusal; a node that preflight refuses is skipped with its reason.
pub fn make(input: &Input<'_>) -> Result<Vec<Plan>, Vec<Refusal>> {
    let refusals: Vec<Refusal> =
        [order::labelled(input), known_clusters(input), one_seat_each(input), scaled_on_loopback_only(input)].into_iter().flatten().collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let world = World::of(input);
    let mut by_cluster: BTreeMap<&ClusterName, BTreeMap<&NodeName, &NodeInput>> = BTreeMap::new();
    for (name, node) in &input.nodes {
        by_cluster.entry(&node.seats[0].cluster).or_default().insert(name, node);
    }
    Ok(by_cluster.into_iter().map(|(cluster, nodes)| plan(input, &world, cluster, &nodes)).collect())
}

fn plan(input: &Input<'_>, world: &World<'_>, cluster: &ClusterName, selected: &BTreeMap<&NodeName, &NodeInput>) -> Plan {
    let playbook = &input.playbook;
    let (steps, forward) = steps(&playbook.steps);
    let clusters: BTreeMap<ClusterName, Setting> = (selected.values())
        .flat_map(|node| &node.seats)
        .filter_map(|seat| input.clusters.get(&seat.cluster).map(|c| (seat.cluster.clone(), c.setting.clone())))
        .collect();
    let mut skipped = BTreeMap::new();
    let mut taken = BTreeMap::new();
    let mut notes = cluster_notes(input, &clusters, selected);
    for (name, node) in selected {
        match choose(input, world, name, node) {
            Ok((due, verdict)) => {
                notes.extend(verdict.notes.iter().cloned());
                taken.insert((*name).clone(), (*node, due, verdict.chain));
            }
            Err(why) => {
                skipped.insert((*name).clone(), why);
            }
        }
    }
    let carry = |name: &NodeName| input.survey.nodes.get(name).is_some_and(|seen| !seen.at_power.carries.is_empty());
    let last = taken.iter().filter(|(name, (node, ..))| !node.carries.is_empty() || carry(name)).map(|(name, _)| name.clone()).collect();
    let waves = order::waves(&taken.iter().map(|(name, (node, ..))| (name.clone(), *node)).collect(), &last, &playbook.limits);
    let nodes = taken.into_iter().map(|(name, (node, due, chain))| {
        let seen = &input.survey.nodes[&name];
        let history = input.history.get(&name).cloned().unwrap_or_default();
        let planned = PlannedNode {
            wave: waves[&name],
            seats: node.seats.clone(),
            labels: node.labels.clone(),
            bmc: node.bmc.clone(),
            bmc_host: bmc_host(seen),
            host: node.host.clone(),
            trust: node.trust.clone(),
            shared: world.shared_with(&name),
            checks: node.checks.clone(),
            due,
            inherits: history.inherits,
            inherits_from: history.inherits_from,
            resets_today: history.resets_today,
            relaxed: node.relaxed.clone(),
            unlock: node.unlock.clone(),
            known_containers: node.known_containers.clone(),
            carries: node.carries.clone(),
            expect: evidence::expect(seen, &chain, playbook),
        };
        (name, planned)
    });
    Plan {
        format: FORMAT,
        made_at: input.made_at,
        playbook: playbook.name.clone(),
        description: playbook.description.clone(),
        cluster: cluster.clone(),
        vouched: clusters.keys().find_map(|c| input.clusters[c].vouched.clone()),
        clusters,
        base: input.base.clone(),
        time: input.time,
        verify_at: steps[..forward].iter().position(|s| s.step.kind == VERIFY).map(number),
        steps,
        forward: number(forward),
        limits: playbook.limits.clone(),
        ask: false,
        pause_after_canary: false,
        due: playbook.reasons.clone(),
        nodes: nodes.collect(),
        skipped,
        notes,
    }
}

/// Is there a reason to work on it, and does preflight let us? A node without a reason is left alone whatever else is wrong with it.
fn choose(input: &Input<'_>, world: &World<'_>, name: &NodeName, node: &NodeInput) -> Result<(Vec<String>, super::Verdict), Skip> {
    let refused = |fault: Fault| Skip::Refused { fault };
    let reasons = input.survey.nodes.get(name).map(|seen| seen.due.as_slice()).unwrap_or_default();
    let due: Vec<String> = reasons.iter().filter_map(|r| r.due.as_ref().ok().cloned().flatten()).collect();
    let unread: Vec<&Fault> = reasons.iter().filter_map(|r| r.due.as_ref().err()).collect();
    if input.playbook.due && due.is_empty() && unread.is_empty() && !reasons.is_empty() {
        let why: Vec<String> = reasons.iter().map(|r| r.why_not.clone().unwrap_or_else(|| format!("{}: no", r.kind))).collect();
        return Err(Skip::NotDue { why: why.join(", ") });
    }
    let history = input.history.get(name).cloned().unwrap_or_default();
    let mut verdict = world.verdict(name, node, &history).map_err(refused)?;
    if input.playbook.due && due.is_empty() {
        let fault = Fault::new(FaultKind::Unable, format!("whether {name} is due cannot be read: neither yes nor no"));
        return Err(refused(unread.into_iter().fold(fault, Fault::cause).next(format!("pitstop check {name}"))));
    }
    verdict.notes.extend(unread.into_iter().map(|fault| Note {
        node: Some(name.clone()),
        text: format!("one reason could not be read: {fault}"),
        remedy: None,
        stops: false,
    }));
    let resets = input.playbook.steps.iter().any(|s| [RESET, PAUSE].contains(&s.step.kind.as_str()));
    let limit = input.playbook.limits.max_resets;
    if resets && history.resets_today >= limit && input.time.0 == 1.0 {
        let what = format!("{name} was reset {} times within 24 hours, limit {limit} (max_resets)", history.resets_today);
        return Err(refused(Fault::new(FaultKind::Unwilling, what).next("find out why it needs that many, or wait")));
    }
    let found = input.survey.nodes.get(name).map(|seen| seen.at_power.carries.as_slice()).unwrap_or_default();
    let said = || node.carries.iter().map(|carried| carried.name.clone()).collect();
    for carried in if found.is_empty() { said() } else { found.to_vec() } {
        verdict.notes.push(Note { node: Some(name.clone()), text: format!("goes last: it carries {carried}"), remedy: None, stops: false });
    }
    Ok((due, verdict))
}

/// Preflight first, the playbook's own steps, then the way back of a node that is turned back.
fn steps(written: &[StepInput]) -> (Vec<PlannedStep>, usize) {
    // Until power is touched, and only where this run itself took the node out of service, giving back is safe: a playbook that begins with a
    // node that is out already must not enable it because verify failed.
    let own = written.iter().any(|s| s.step.kind == EVACUATE);
    let first_hold = written.iter().position(|s| [RESET, PAUSE, VERIFY, ENABLE, "fence"].contains(&s.step.kind.as_str())).unwrap_or(written.len());
    let default = |index: usize| if own && index < first_hold { OnFailure::Return } else { OnFailure::Hold };
    let bare = |kind: &str| Setting { kind: kind.into(), body: Value::Object(Map::new()) };
    let planned = |index: usize, s: &StepInput| PlannedStep {
        step: s.step.clone(),
        timeout: s.timeout.unwrap_or(usual_limit(&s.step.kind)),
        attempts: s.attempts.unwrap_or(1),
        on_failure: s.on_failure.unwrap_or(default(index)),
    };
    // A single action that is refused before power leaves nothing to hold.
    let first = written.first().and_then(|s| s.on_failure).filter(|f| *f == OnFailure::Return).unwrap_or(default(0));
    let mut preflight = bare(PREFLIGHT);
    if written.iter().any(|s| super::verdict::dark(&s.step)) {
        preflight.body["dark"] = Value::Bool(true);
    }
    if !written.iter().any(|s| super::verdict::empties(&s.step)) {
        preflight.body["stays"] = Value::Bool(true);
    }
    let mut steps = vec![PlannedStep { step: preflight, timeout: usual_limit(PREFLIGHT), attempts: 1, on_failure: first }];
    steps.extend(written.iter().enumerate().map(|(i, s)| planned(i, s)));
    let forward = steps.len();
    let enable = written.iter().find(|s| s.step.kind == ENABLE);
    steps.push(PlannedStep {
        step: enable.map_or_else(|| bare(ENABLE), |s| s.step.clone()),
        timeout: enable.and_then(|s| s.timeout).unwrap_or(usual_limit(ENABLE)),
        attempts: enable.and_then(|s| s.attempts).unwrap_or(1),
        on_failure: OnFailure::Hold,
    });
    (steps, forward)
}

/// Where the playbook names no timeout.
fn usual_limit(kind: &str) -> Span {
    match kind {
        // A cluster that is busy says so for minutes.
        PREFLIGHT => Span::minutes(5),
        EVACUATE => Span::minutes(45),
        // Graceful, then force, then the longest self test that has been seen (26 minutes).
        RESET | PAUSE => Span::minutes(60),
        // Slow BMCs, large images, and their own restarts.
        "firmware" => Span::minutes(120),
        VERIFY => Span::minutes(15),
        ENABLE => Span::minutes(10),
        _ => Span::minutes(30),
    }
}

fn cluster_notes(input: &Input<'_>, clusters: &BTreeMap<ClusterName, Setting>, selected: &BTreeMap<&NodeName, &NodeInput>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut say = |text: String, stops: bool| notes.push(Note { node: None, text, remedy: None, stops });
    for (name, setting) in clusters {
        if let Some(words) = &input.clusters[name].vouched {
            say(format!("{name}: that its nodes are empty is vouched for, not witnessed: \"{words}\""), false);
        }
        let Some(seen) = input.survey.clusters.get(name) else { continue };
        if !seen.lease {
            say(format!("{name}: not protected against pitstop elsewhere"), false);
        }
        if let Some(by) = &seen.held_by {
            say(format!("{name} is locked by {by} now"), true);
        }
        seen.warnings.iter().for_each(|warning| say(format!("{}/{name}: {warning}", setting.kind), false));
        let ours = |member: &str| selected.values().any(|n| n.seats.iter().any(|s| s.cluster == *name && s.node == member));
        let out: Vec<String> =
            (seen.members.iter().flatten()).filter(|m| !ours(&m.name)).filter_map(|m| m.out.as_ref().map(|why| format!("{} ({why})", m.name))).collect();
        let limit = input.playbook.limits.max_unavailable as usize;
        if out.len() >= limit && !out.is_empty() {
            say(format!("{name}: no room: {} of {limit} places taken by {}", out.len(), out.join(", ")), true);
        }
    }
    if input.time.0 != 1.0 {
        say(format!("time scale {}: every wait is that much shorter; loopback BMCs only", input.time.0), false);
    }
    notes
}

fn known_clusters(input: &Input<'_>) -> Vec<Refusal> {
    let wrong = |what: String| Refusal(Fault::new(FaultKind::Invalid, what).next("correct the inventory"));
    let homeless = input.nodes.iter().filter(|(_, n)| n.seats.is_empty()).map(|(name, _)| wrong(format!("{name} is in no cluster")));
    let unknown = input.nodes.iter().flat_map(|(name, n)| n.seats.iter().map(move |s| (name, s)));
    let unknown =
        unknown.filter(|(_, s)| !input.clusters.contains_key(&s.cluster)).map(|(name, s)| wrong(format!("{name}: there is no cluster {}", s.cluster)));
    homeless.chain(unknown).collect()
}

/// Two rows for one node of a cluster would empty one machine and reset another.
fn one_seat_each(input: &Input<'_>) -> Vec<Refusal> {
    let mut taken: BTreeMap<(&ClusterName, &str), &NodeName> = BTreeMap::new();
    let mut refusals = Vec::new();
    for (name, node) in &input.nodes {
        for seat in node.seats.iter().filter(|s| input.clusters.get(&s.cluster).is_some_and(|c| c.setting.kind != NO_CLUSTER)) {
            if let Some(other) = taken.insert((&seat.cluster, &seat.node), name) {
                let what = format!("{other} and {name} are both node {} of cluster {}", seat.node, seat.cluster);
                refusals.push(Refusal(Fault::new(FaultKind::Invalid, what).next("correct one of them in the inventory")));
            }
        }
    }
    refusals
}

/// A scaled wait is too short for every real machine.
fn scaled_on_loopback_only(input: &Input<'_>) -> Vec<Refusal> {
    if input.time.0 == 1.0 {
        return Vec::new();
    }
    let far = |name: &NodeName| {
        let ways = input.survey.nodes.get(name).map(|seen| seen.bmc.as_slice()).unwrap_or_default();
        ways.iter().find(|way| !way.loopback).map(|way| way.endpoint.clone())
    };
    let refuse = |(name, endpoint): (&NodeName, String)| {
        let what = format!("time scale {} is for simulated machines, and the BMC of {name} at {endpoint} is not on loopback", input.time.0);
        Refusal(Fault::new(FaultKind::Invalid, what).next("take [time] scale out of the inventory"))
    };
    input.nodes.keys().filter_map(|name| far(name).map(|endpoint| (name, endpoint))).map(refuse).collect()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
