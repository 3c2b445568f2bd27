//! `pitstop check`: can every witness be reached, do they speak of one machine, and may we act?
use super::text::{Mark, Screen, plural, took};
use crate::{
    model::{ClusterName, Fault, NodeName},
    plan::{Input, NO_CLUSTER, World, spoken},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub clusters: BTreeMap<ClusterName, CheckedCluster>,
    pub nodes: Vec<CheckedNode>,
    pub ready: usize,
    pub refused: usize,
    pub took_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckedCluster {
    pub kind: String,
    pub what: String,
    pub took_ms: u64,
    /// Can it carry a lock that pitstop elsewhere sees?
    pub lease: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    pub missing_rights: Vec<String>,
    pub warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckedNode {
    pub node: NodeName,
    pub ready: bool,
    pub ways: Vec<CheckedWay>,
    /// None: the inventory names no host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_ms: Option<u64>,
    /// `kubernetes/edge`.
    pub clusters: Vec<String>,
    /// How the chain closed: `cluster = host = BMC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckedWay {
    pub protocol: String,
    pub endpoint: String,
    pub took_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// The same verdict that a plan would give each node, without a playbook.
pub fn check(input: &Input<'_>, took: Duration) -> Check {
    let world = World::of(input);
    let nodes: Vec<CheckedNode> = input.nodes.keys().map(|name| node(input, &world, name)).collect();
    let ready = nodes.iter().filter(|n| n.ready).count();
    let cluster = |(name, seen): (&ClusterName, &crate::model::ClusterSurvey)| {
        let checked = CheckedCluster {
            kind: input.clusters.get(name).map(|c| c.setting.kind.clone()).unwrap_or_default(),
            what: seen.what.clone(),
            took_ms: seen.took_ms,
            lease: seen.lease,
            held_by: seen.held_by.clone(),
            missing_rights: seen.missing_rights.clone(),
            warnings: seen.warnings.clone(),
            fault: seen.members.as_ref().err().cloned(),
        };
        (name.clone(), checked)
    };
    Check {
        clusters: input.survey.clusters.iter().map(cluster).collect(),
        refused: nodes.len() - ready,
        ready,
        nodes,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

fn node(input: &Input<'_>, world: &World<'_>, name: &NodeName) -> CheckedNode {
    let planned = &input.nodes[name];
    let seen = input.survey.nodes.get(name);
    let ways = seen.into_iter().flat_map(|s| &s.bmc).map(|way| CheckedWay {
        protocol: way.protocol.clone(),
        endpoint: way.endpoint.clone(),
        took_ms: way.took_ms,
        product: way.seen.as_ref().ok().and_then(|view| view.product.clone()),
        fault: way.seen.as_ref().err().cloned(),
    });
    let kind = |cluster: &ClusterName| input.clusters.get(cluster).map_or(NO_CLUSTER, |c| c.setting.kind.as_str());
    let verdict = world.verdict(name, planned, &input.history.get(name).cloned().unwrap_or_default());
    CheckedNode {
        node: name.clone(),
        ready: verdict.is_ok(),
        ways: ways.collect(),
        host_ms: seen.and_then(|s| s.host.as_ref().is_some_and(Result::is_ok).then_some(s.host_took_ms)),
        clusters: planned.seats.iter().map(|seat| format!("{}/{}", kind(&seat.cluster), seat.cluster)).collect(),
        identity: verdict.as_ref().ok().map(|v| v.chain.closed_by.clone()),
        evidence: verdict.as_ref().map(|v| v.chain.evidence.clone()).unwrap_or_default(),
        fault: verdict.as_ref().err().cloned(),
        notes: verdict.map(|v| v.notes.into_iter().map(|n| n.text).collect()).unwrap_or_default(),
    }
}

/// Up to so many nodes, those that are well are lines too.
const ALL_LISTED: usize = 64;

impl Check {
    /// 0: all ready; 4: none; 5: some.
    pub fn exit_code(&self) -> u8 {
        match (self.ready, self.refused) {
            (_, 0) => 0,
            (0, _) => 4,
            _ => 5,
        }
    }

    pub fn text(&self, screen: Screen) -> String {
        let mut out = String::new();
        let widest = self.nodes.iter().map(|n| n.node.0.chars().count()).max().unwrap_or(0);
        let indent = widest + 2 + 10;
        let protocols: BTreeSet<&str> = self.nodes.iter().flat_map(|n| &n.ways).map(|w| w.protocol.as_str()).collect();
        // Of a whole fleet only those are lines that a person has to look at.
        let listed =
            |node: &&CheckedNode| self.nodes.len() <= ALL_LISTED || !node.ready || !node.notes.is_empty() || node.ways.iter().any(|w| w.fault.is_some());
        for node in self.nodes.iter().filter(listed) {
            let _ = write!(out, "{:widest$}  ", node.node);
            match &node.fault {
                Some(fault) => {
                    let _ = writeln!(out, "{}   {}", screen.mark(Mark::Bad, "REFUSED"), screen.fault(indent, fault));
                }
                None => {
                    let line = reached(node);
                    let identity = format!("identity: {}{}", node.identity.as_deref().unwrap_or("not proven"), absent(node, &protocols));
                    let _ = write!(out, "{}     ", screen.mark(Mark::Good, "ready"));
                    if indent + line.chars().count() + 5 + identity.chars().count() <= screen.width {
                        let _ = writeln!(out, "{line}     {identity}");
                    } else {
                        let _ = writeln!(out, "{}\n{:indent$}{identity}", screen.wrapped(indent, &line), "");
                    }
                }
            }
            for note in &node.notes {
                let _ = writeln!(out, "{:indent$}{}", "", screen.wrapped(indent, &format!("{} {note}", screen.mark(Mark::Waiting, "note:"))));
            }
        }
        for (name, cluster) in &self.clusters {
            let mut say = |text: String| {
                let _ = writeln!(out, "{}", screen.wrapped(0, &format!("{}/{name}: {text}", cluster.kind)));
            };
            if cluster.fault.is_none() && !cluster.lease && cluster.kind != NO_CLUSTER {
                say("not protected against pitstop elsewhere".into());
            }
            cluster.held_by.iter().for_each(|by| say(format!("locked by {by} now")));
            cluster.warnings.iter().for_each(|warning| say(warning.clone()));
        }
        let _ = writeln!(out, "{} ready, {} refused in {}", self.ready, self.refused, took(Duration::from_millis(self.took_ms)));
        let silent = self.nodes.len() - self.nodes.iter().filter(listed).count();
        if silent > 0 {
            let _ = writeln!(out, "{} ready and well, not listed; --json has all", plural(silent, "node"));
        }
        if self.nodes.is_empty() {
            return format!("{} checked: the selection is empty\n", plural(0, "node"));
        }
        out
    }
}

/// `Redfish 210 ms · IPMI 34 ms · SSH 40 ms · kubernetes/edge`.
fn reached(node: &CheckedNode) -> String {
    let way = |w: &CheckedWay| match &w.fault {
        None => format!("{} {}", spoken(&w.protocol), took(Duration::from_millis(w.took_ms))),
        Some(_) => format!("{} FAILED", spoken(&w.protocol)),
    };
    let host = node.host_ms.map(|ms| format!("SSH {}", took(Duration::from_millis(ms))));
    node.ways.iter().map(way).chain(host).chain(node.clusters.iter().cloned()).collect::<Vec<_>>().join(" · ")
}

/// Ways in that other nodes of the selection have.
fn absent(node: &CheckedNode, protocols: &BTreeSet<&str>) -> String {
    let absent = protocols.iter().filter(|p| !node.ways.iter().any(|w| w.protocol == **p));
    absent.map(|p| format!("   {}: not in inventory", spoken(p))).collect()
}
