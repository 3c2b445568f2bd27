//! What earlier runs left behind, folded from the store: loans that stand, resets of the day, work that is not finished.
use super::failure::{Failure, UNFINISHED};
use crate::{
    engine::{
        fleet::Fleet,
        node::{Node, Phase},
        store::{RunFilter, RunHead, Store},
    },
    event::{End, Event},
    model::{ClusterName, Done, FIRMWARE, Loan, NodeName, RunId, Timestamp, since},
    plan::History,
    steps::exec::HOST,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const DAY: Duration = Duration::from_secs(86_400);

/// One run as it stands.
pub async fn fold(store: &dyn Store, run: &RunId) -> Result<Fleet, Failure> {
    let mut fleet = Fleet::default();
    for record in store.load(run, 0).await? {
        fleet.apply(&record).map_err(|e| Failure::new(super::failure::INTERNAL, format!("run {run}: {e}")))?;
    }
    Ok(fleet)
}

/// By node of these clusters. A node whose last run ended `out` owes what that run still owed; any later run has taken it over.
pub async fn of(store: &dyn Store, clusters: &BTreeSet<ClusterName>, now: Timestamp) -> Result<BTreeMap<NodeName, History>, Failure> {
    let mut histories: BTreeMap<NodeName, History> = BTreeMap::new();
    let mut owed: BTreeMap<NodeName, (Vec<Loan>, BTreeSet<RunId>)> = BTreeMap::new();
    for cluster in clusters {
        for head in store.runs(&RunFilter { cluster: Some(cluster.clone()), unfinished: false }).await? {
            let mut fleet = Fleet::default();
            let mut done: BTreeMap<NodeName, Timestamp> = BTreeMap::new();
            for record in store.load(&head.run, 0).await? {
                if let Event::NodeEnded { node, end: End::Done } = &record.event {
                    done.insert(node.clone(), record.at);
                }
                fleet.apply(&record).map_err(|e| Failure::new(super::failure::INTERNAL, format!("run {}: {e}", head.run)))?;
                if let Event::ActIntended { node, act, .. } = &record.event
                    && act.power
                    && act.returns.is_none()
                    && since(record.at, now) < DAY
                {
                    histories.entry(node.clone()).or_default().resets_today += 1;
                }
            }
            for (name, node) in fleet.nodes {
                if let Some(at) = done.get(&name).filter(|_| served(&node)) {
                    let last = &mut histories.entry(name.clone()).or_default().served;
                    *last = (*last).max(Some(*at));
                }
                match node.phase {
                    Phase::Ended(End::Out) => {
                        let mut runs = owed.remove(&name).map(|(_, runs)| runs).unwrap_or_default();
                        runs.insert(head.run.clone());
                        owed.insert(name, (node.past.loans, runs));
                    }
                    Phase::Ended(_) => {
                        owed.remove(&name);
                    }
                    _ => {}
                }
            }
        }
    }
    for (name, (loans, runs)) in owed {
        let history = histories.entry(name).or_default();
        history.inherits = loans;
        history.inherits_from = runs.into_iter().collect();
    }
    Ok(histories)
}

/// Something was done to the machine itself, and it was proven healthy afterwards. To take a node out and back is no service.
fn served(node: &Node) -> bool {
    let machine = |d: &Done| d.accepted() && (d.act.power || [HOST, FIRMWARE].contains(&d.act.to.as_str()));
    node.past.evidence.contains_key("verify") && node.past.acts.iter().any(machine)
}

/// Runs on these clusters that have one of these nodes out. An expired lock is not a free one: a new run starts nothing beside them.
pub async fn unfinished(
    store: &dyn Store,
    clusters: &BTreeSet<ClusterName>,
    nodes: &BTreeSet<NodeName>,
) -> Result<Vec<(RunHead, Vec<NodeName>, bool)>, Failure> {
    let mut found = Vec::new();
    for cluster in clusters {
        for head in store.runs(&RunFilter { cluster: Some(cluster.clone()), unfinished: true }).await? {
            let fleet = fold(store, &head.run).await?;
            let open: Vec<NodeName> = fleet.open().map(|(n, _)| n.clone()).filter(|n| nodes.contains(n)).collect();
            if !open.is_empty() {
                let held = fleet.open().all(|(_, n)| matches!(n.phase, Phase::Held { .. }));
                found.push((head, open, held));
            }
        }
    }
    Ok(found)
}

pub fn refuse_unfinished(found: &[(RunHead, Vec<NodeName>, bool)]) -> Result<(), Failure> {
    let Some((head, open, held)) = found.first() else { return Ok(()) };
    let nodes: Vec<String> = open.iter().map(ToString::to_string).collect();
    // What waits for a person does not move by being resumed.
    let next = match open.first() {
        Some(node) if *held => format!("pitstop report {}, then pitstop release {node} retry, verify, return or keep-out", head.run),
        _ => format!("pitstop resume {}", head.run),
    };
    Err(Failure::new(
        UNFINISHED,
        format!(
            "run {} ({}) of cluster {} is not finished: {} of its nodes here; nothing was started",
            head.run,
            head.playbook,
            head.cluster,
            nodes.join(", ")
        ),
    )
    .next(next))
}
