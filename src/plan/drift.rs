//! `run --plan`: has the world moved since the review in a way that matters?
use super::{Plan, PlannedNode};
use crate::model::{NodeName, Skip};
use std::collections::BTreeSet;

/// What moved, one line each; empty: the reviewed plan may be run. `fresh` is made from `Input::again`.
pub fn drift(reviewed: &Plan, fresh: &Plan) -> Vec<String> {
    let mut moved = Vec::new();
    if reviewed.cluster != fresh.cluster {
        moved.push(format!("the plan is for cluster {}, not {}", reviewed.cluster, fresh.cluster));
    }
    for (name, setting) in &reviewed.clusters {
        if fresh.clusters.get(name) != Some(setting) {
            moved.push(format!("{name}: the settings of this cluster changed"));
        }
    }
    let parts = [
        ("playbook or steps", (&reviewed.playbook, &reviewed.steps, reviewed.forward) == (&fresh.playbook, &fresh.steps, fresh.forward)),
        ("limits", reviewed.limits == fresh.limits),
        ("time scale", reviewed.time == fresh.time),
        ("what the inventory vouches for", reviewed.vouched == fresh.vouched),
    ];
    moved.extend(parts.iter().filter(|(_, same)| !same).map(|(what, _)| format!("{what} changed")));
    for (name, before) in &reviewed.nodes {
        match (fresh.nodes.get(name), fresh.skipped.get(name)) {
            (Some(now), _) => moved.extend(node(name, before, now)),
            (None, Some(Skip::NotDue { why })) => moved.push(format!("{name} is no longer due: {why}")),
            (None, Some(Skip::Refused { fault })) => moved.push(format!("{name} is refused now: {fault}")),
            (None, None) => moved.push(format!("{name} is no longer part of the plan")),
        }
    }
    moved
}

fn node(name: &NodeName, before: &PlannedNode, now: &PlannedNode) -> Vec<String> {
    let mut moved = Vec::new();
    let values = |node: &PlannedNode| node.expect.identity.iter().flat_map(|i| i.values()).collect::<BTreeSet<_>>();
    let (was, is) = (values(before), values(now));
    if was != is {
        let gone = was.difference(&is).cloned().collect::<Vec<_>>().join(", ");
        let new = is.difference(&was).cloned().collect::<Vec<_>>().join(", ");
        moved.push(format!("{name} is another machine: identity {} became {}", or_nothing(&gone), or_nothing(&new)));
    }
    if before.expect.boot != now.expect.boot {
        let shown = |boot: &Option<String>| boot.clone().unwrap_or_else(|| "unknown".into());
        moved.push(format!("{name} was rebooted since the review ({} {} became {})", now.expect.evidence, shown(&before.expect.boot), shown(&now.expect.boot)));
    }
    if before.expect.enabled != now.expect.enabled {
        let shown = |enabled: bool| if enabled { "in service" } else { "out of service" };
        moved.push(format!("{name} was {} at the review and is {} now", shown(before.expect.enabled), shown(now.expect.enabled)));
    }
    let parts = [
        ("its clusters", before.seats == now.seats),
        ("its BMC's settings", before.bmc == now.bmc),
        ("the address of its BMC", before.bmc_host == now.bmc_host),
        ("its host's settings", before.host == now.host),
        ("its pins", before.trust == now.trust),
        ("the identity values it shares with others", before.shared == now.shared),
        ("how its root disk unlocks", before.unlock == now.unlock),
        ("its checks", before.checks == now.checks),
        ("what an earlier run left on it", before.inherits == now.inherits),
    ];
    moved.extend(parts.iter().filter(|(_, same)| !same).map(|(what, _)| format!("{name}: {what} changed")));
    if now.resets_today > before.resets_today && before.expect.boot == now.expect.boot {
        moved.push(format!("{name} was reset by another run since the review"));
    }
    moved
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}
