//! `pitstop release --from-marks`: what a run left behind whose store is gone. The marks in the cluster say what was there before;
//! each node goes through verify and enable like any other. Where a system has no room for marks its nodes are listed, never touched.
use super::{
    connect,
    context::Context,
    failure::{CONFIGURATION, Failure, USAGE},
    node, run,
};
use crate::{
    engine::store::Store,
    inventory::Inventory,
    model::{Loan, LoanId, NodeName, RunId},
    plan::History,
    report::exit,
    steps::reset,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the clusters say about what is out, node by node.
#[derive(Default)]
struct Found {
    ours: BTreeMap<NodeName, History>,
    /// Out, and nobody can say whose doing that is.
    unexplained: Vec<String>,
    /// Out by somebody else.
    foreign: Vec<String>,
}

pub async fn run(cx: &Context, only: Option<&str>) -> Result<u8, Failure> {
    let inventory = cx.inventory()?;
    if let Some(name) = only.filter(|n| !inventory.nodes.contains_key(&NodeName((*n).to_owned()))) {
        return Err(Failure::new(USAGE, format!("the inventory has no node {name}")).next("pitstop inventory"));
    }
    let store = cx.store().await?;
    let mut found = look(cx, &*store, &inventory).await?;
    if let Some(name) = only {
        found.ours.retain(|n, _| n.0 == name);
    }
    found.foreign.iter().for_each(|row| cx.say(&format!("foreign, left as it is: {row}")));
    found.unexplained.iter().for_each(|row| cx.say(&format!("unexplained, not touched: {row}")));
    if found.ours.is_empty() {
        cx.say("no mark of a run that this store does not know");
    }
    let mut code = if found.unexplained.is_empty() { 0 } else { 5 };
    for (name, mut history) in found.ours {
        // A cluster is told that a node is off for good only once Off was proven: that mark says that On is owed, too.
        let fenced = history.inherits.iter().any(|loan| loan.id.0.ends_with("/fence"));
        let mut playbook = if fenced { node::rescue() } else { cx.playbook("return")? };
        if fenced {
            history.inherits.push(off());
        }
        // They are out already: to bring one back takes nobody's place.
        playbook.limits.max_unavailable = u32::MAX;
        playbook.limits.failure_budget = u32::MAX;
        let owed: Vec<&str> = history.inherits.iter().map(|l| l.owed.as_str()).collect();
        let by: Vec<String> = history.inherits_from.iter().map(ToString::to_string).collect();
        cx.say(&format!("{name}: left by run {}: {}", by.join(", "), owed.join(", ")));
        let one = BTreeSet::from([name.clone()]);
        code = exit::worst(code, run::settling(cx, &inventory, &playbook, &one, BTreeMap::from([(name, history)])).await?);
    }
    Ok(code)
}

async fn look(cx: &Context, store: &dyn Store, inventory: &Inventory) -> Result<Found, Failure> {
    let mut found = Found::default();
    for (name, entry) in &inventory.clusters {
        let driver = connect::cluster_of(cx, &inventory.base, name, &entry.setting)?;
        // What others left elsewhere is settled all the same.
        let members = match driver.members().await {
            Ok(members) => members,
            Err(fault) => {
                found.unexplained.push(format!("all of cluster {name}: it was not seen: {fault}"));
                continue;
            }
        };
        for member in members {
            let Some(why) = &member.out else { continue };
            let row = format!("{} in cluster {name}: {why}", member.name);
            let node = inventory.nodes.iter().find(|(_, n)| n.seats.iter().any(|s| s.cluster == *name && s.node == member.name)).map(|(n, _)| n.clone());
            let marks = driver.marked(&member.name).await.map_err(|f| Failure::new(CONFIGURATION, format!("{row}: {f}")))?;
            match (node, marks, member.run) {
                (_, None, _) => found.unexplained.push(row),
                (_, Some(_), None) => found.foreign.push(row),
                (_, Some(loans), _) if loans.is_empty() => found.foreign.push(row),
                (None, ..) => found.unexplained.push(format!("{row}; it is not in the inventory")),
                (Some(node), Some(loans), Some(run)) => {
                    let run = RunId(run);
                    if store.plan(&run).await.is_ok() {
                        cx.say(&format!("{node} is of run {run}, which this store knows; next: pitstop resume {run}, or pitstop run return {node}"));
                        continue;
                    }
                    let history = found.ours.entry(node).or_default();
                    history.inherits.extend(loans.into_iter().map(|loan| addressed(loan, &name.0)));
                    history.inherits_from.push(run);
                }
            }
        }
    }
    Ok(found)
}

fn off() -> Loan {
    let to = reset::BMC;
    Loan { id: LoanId(format!("{to}/power")), to: to.into(), owed: "power On".into(), before: serde_json::json!("On"), first: true }
}

/// A driver does not know its cluster's name in the inventory; the ledger does.
fn addressed(loan: Loan, cluster: &str) -> Loan {
    Loan { id: LoanId(format!("{cluster}/{}", loan.id.0)), to: cluster.to_owned(), ..loan }
}
