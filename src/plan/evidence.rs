//! What the reviewer reads of one node: what runs there, how a reboot will be proven, how long it takes.
use super::{Expect, PlaybookInput};
use crate::model::{Boot, Chain, NodeSurvey, NodeView, Span};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

pub const BOOT_ID: &str = "boot id";
pub const STARTED: &str = "start time in the cluster";
pub const OFF_ON: &str = "Off seen, then On seen";

pub fn expect(seen: &NodeSurvey, chain: &Chain, playbook: &PlaybookInput) -> Expect {
    let views: Vec<&NodeView> = seen.clusters.iter().filter_map(|(_, view)| view.as_ref().ok()).collect();
    let host = seen.host.as_ref().and_then(|h| h.as_ref().ok());
    let bmcs = seen.bmc.iter().filter_map(|way| way.seen.as_ref().ok());
    let identity = views.iter().map(|v| &v.identity).chain(host.map(|h| &h.identity)).chain(bmcs.map(|b| &b.identity)).cloned().collect();
    let (boot, evidence) = boot(seen, &views);
    Expect {
        identity,
        chain: Some(format!("{} ({})", chain.closed_by, chain.evidence.join(" + "))),
        enabled: views.iter().all(|v| v.enabled),
        boot,
        evidence,
        load: load(&views),
        stores: seen.at_power.stores.iter().map(|store| store.kind.clone()).collect(),
        estimate: Some(estimate(&views, playbook)),
    }
}

/// The best marker the node offers (safety.md, 3).
fn boot(seen: &NodeSurvey, views: &[&NodeView]) -> (Option<String>, String) {
    let by_host = seen.host.as_ref().and_then(|h| h.as_ref().ok()).map(|h| h.boot_id.clone()).filter(|id| !id.is_empty());
    let by_cluster = |wanted: fn(&Boot) -> bool| views.iter().filter_map(|v| v.boot.as_ref()).find(|boot| wanted(boot)).map(Boot::to_string);
    if let Some(id) = by_host.or_else(|| by_cluster(|boot| matches!(boot, Boot::Id(_)))) {
        return (Some(id), BOOT_ID.into());
    }
    if let Some(started) = by_cluster(|boot| matches!(boot, Boot::Started(_))) {
        return (Some(started), STARTED.into());
    }
    let marker = seen.bmc.iter().filter_map(|way| way.seen.as_ref().ok()).find_map(|view| view.reset_marker.clone());
    (marker, OFF_ON.into())
}

/// `14 pods`, `2 VMs`, and what the driver has to say about them.
fn load(views: &[&NodeView]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    views.iter().flat_map(|v| &v.workloads).for_each(|w| *counts.entry(&w.kind).or_default() += 1);
    let counted = |(kind, n): (&&str, &usize)| {
        let many = if *n == 1 { "" } else { "s" };
        match *kind {
            "vm" => format!("{n} VM{many}"),
            kind => format!("{n} {kind}{many}"),
        }
    };
    let mut load: Vec<String> = counts.iter().map(counted).collect();
    if load.is_empty() && !views.is_empty() {
        load.push("nothing to move".into());
    }
    load.extend(views.iter().flat_map(|v| v.notes.iter().cloned()));
    load
}

/// A rough one, from what is typical of servers: power-on self tests dominate. It is printed as "about".
fn estimate(views: &[&NodeView], playbook: &PlaybookInput) -> Span {
    let each = |kind: &str| if kind == "vm" { 60 } else { 5 };
    let moving: u64 = views.iter().flat_map(|v| &v.workloads).map(|w| each(&w.kind)).sum();
    let of = |step: &super::StepInput| match step.step.kind.as_str() {
        "evacuate" => Duration::from_secs(30 + moving),
        "reset" | "pause" => Duration::from_secs(6 * 60),
        "verify" => Duration::from_secs(30) + hold_for(&step.step.body),
        "firmware" => Duration::from_secs(10 * 60),
        "settle" => Duration::from_secs(60),
        _ => Duration::from_secs(15),
    };
    Span(playbook.steps.iter().map(of).sum())
}

fn hold_for(body: &Value) -> Duration {
    body.get("hold_for").and_then(Value::as_str).and_then(|text| text.parse::<Span>().ok()).map_or(Duration::ZERO, |span| span.0)
}
