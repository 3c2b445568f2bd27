//! `pitstop status`: every node out of service, ours or foreign, oldest first. Reads only.
use super::{
    args::StatusArgs,
    connect,
    context::Context,
    failure::{CONFIGURATION, Failure},
    history,
};
use crate::{
    engine::{
        node::{Node, Phase},
        store::{RunFilter, RunHead, Store},
    },
    event::End,
    inventory::Inventory,
    model::{Blocker, ClusterName, LeaseAnswer, Member, NodeName},
    report::status::{self, State, StatusRow},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub async fn run(cx: &Context, args: StatusArgs) -> Result<u8, Failure> {
    loop {
        let code = once(cx).await?;
        if !args.watch {
            return Ok(code);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn once(cx: &Context) -> Result<u8, Failure> {
    let ours = match cx.store_url()?.exists() {
        true => ours(&*cx.store().await?).await?,
        false => Vec::new(),
    };
    let inventory = match cx.inventory() {
        Ok(inventory) => Some(inventory),
        // Configured and wrong is an error; not there at all is said below.
        Err(failure) if cx.global.inventory.is_some() || failure.code != CONFIGURATION || cx.inventory_path().is_ok() => return Err(failure),
        Err(_) => None,
    };
    let mut rows: Vec<StatusRow> = ours.iter().map(|(head, name, node)| row(head, name, node)).collect();
    let mut unseen = Vec::new();
    if let Some(inventory) = &inventory {
        let (foreign, faults) = foreign(cx, inventory, &ours).await;
        rows.extend(foreign);
        unseen = faults;
    }
    status::sort(&mut rows);
    let locks = locks(cx, inventory.as_ref(), &rows).await?;
    if cx.json {
        cx.data(&serde_json::json!({ "out": rows, "foreign_looked_at": inventory.is_some(), "unseen": unseen, "locks": locks }))?;
        return Ok(0);
    }
    out!("{}", status::text(&rows, inventory.is_some(), !unseen.is_empty(), cx.clock.now(), cx.paint()));
    locks.iter().for_each(|lock| outln!("{}  locked since {} by {}, with no node out", lock.cluster, lock.since, lock.by));
    unseen.iter().for_each(|fault| cx.say(fault));
    Ok(0)
}

/// A cluster at which somebody works, or has died, without a node that would tell of it.
#[derive(serde::Serialize)]
struct BareLock {
    cluster: ClusterName,
    by: String,
    since: String,
}

async fn locks(cx: &Context, inventory: Option<&Inventory>, rows: &[StatusRow]) -> Result<Vec<BareLock>, Failure> {
    let told = |cluster: &ClusterName| rows.iter().any(|row| row.cluster == *cluster && row.run.is_some());
    let mut found: Vec<BareLock> = Vec::new();
    if cx.store_url()?.exists() {
        for head in cx.store().await?.runs(&RunFilter { unfinished: true, ..RunFilter::default() }).await? {
            if let Some(owner) = head.holder.as_ref().filter(|_| !told(&head.cluster)) {
                found.push(BareLock { by: owner.with(&head.run), since: head.started.to_string(), cluster: head.cluster });
            }
        }
    }
    for (name, entry) in inventory.iter().flat_map(|i| &i.clusters).filter(|(name, _)| !told(name)) {
        // One that cannot be asked is named with its nodes already.
        let Ok(driver) = connect::cluster_of(cx, &inventory.map(|i| i.base.clone()).unwrap_or_default(), name, &entry.setting) else { continue };
        if let Ok(LeaseAnswer::Held { by, since }) = driver.lease_holder().await
            && !found.iter().any(|lock| lock.cluster == *name)
        {
            found.push(BareLock { cluster: name.clone(), by, since });
        }
    }
    Ok(found)
}

/// Nodes that runs of this store have out: at work, held, lost with a dead engine, or left out on purpose.
pub async fn ours(store: &dyn Store) -> Result<Vec<(RunHead, NodeName, Node)>, Failure> {
    let mut found: BTreeMap<NodeName, (RunHead, Node)> = BTreeMap::new();
    for head in store.runs(&RunFilter::default()).await? {
        for (name, node) in history::fold(store, &head.run).await?.nodes {
            match node.phase {
                Phase::Ready { .. } | Phase::Working { .. } | Phase::Held { .. } | Phase::Ended(End::Out) => {
                    found.insert(name, (head.clone(), node));
                }
                // A later run has taken it back into service.
                Phase::Ended(_) => {
                    found.remove(&name);
                }
                Phase::Waiting | Phase::Skipped(_) => {}
            }
        }
    }
    Ok(found.into_iter().map(|(name, (head, node))| (head, name, node)).collect())
}

pub fn row(head: &RunHead, name: &NodeName, node: &Node) -> StatusRow {
    let waits: Vec<String> = node.blockers.iter().map(Blocker::to_string).collect();
    let (state, why, since, next) = match &node.phase {
        Phase::Held { fault, since, .. } if node.paused() => (State::Paused, fault.to_string(), *since, format!("pitstop release {name}")),
        Phase::Held { fault, since, .. } => (State::Held, fault.to_string(), *since, format!("pitstop report {}", head.run)),
        Phase::Ended(_) => (State::Out, format!("left out by run {} ({})", head.run, head.playbook), head.last, format!("pitstop run return {name}")),
        _ if head.holder.is_none() => (State::Lost, format!("run {} has no engine", head.run), head.last, format!("pitstop resume {}", head.run)),
        Phase::Working { since, .. } | Phase::Ready { since, .. } => {
            (State::Ours, if waits.is_empty() { "in work".into() } else { waits.join("; ") }, *since, format!("pitstop stop {}", head.run))
        }
        Phase::Waiting | Phase::Skipped(_) => (State::Ours, String::new(), head.last, String::new()),
    };
    StatusRow {
        node: name.0.clone(),
        cluster: head.cluster.clone(),
        state,
        since: Some(since.to_string()),
        run: Some(head.run.clone()),
        why,
        next: Some(next).filter(|n| !n.is_empty()),
    }
}

async fn foreign(cx: &Context, inventory: &Inventory, ours: &[(RunHead, NodeName, Node)]) -> (Vec<StatusRow>, Vec<String>) {
    let known: BTreeSet<(&ClusterName, &str)> = ours
        .iter()
        .flat_map(|(_, name, _)| {
            inventory.nodes.get(name).map(|n| n.seats.iter().map(|s| (&s.cluster, s.node.as_str())).collect::<Vec<_>>()).unwrap_or_default()
        })
        .collect();
    let mut rows = Vec::new();
    let mut faults = Vec::new();
    for (name, entry) in &inventory.clusters {
        let members = match connect::cluster_of(cx, &inventory.base, name, &entry.setting) {
            Ok(driver) => driver.members().await,
            Err(fault) => Err(fault),
        };
        match members {
            Ok(members) => rows.extend(members.into_iter().filter(|m| !known.contains(&(name, m.name.as_str()))).filter_map(|m| out_of(name, m))),
            Err(fault) => faults.push(format!("cluster {name} was not seen: {fault}")),
        }
    }
    (rows, faults)
}

fn out_of(cluster: &ClusterName, member: Member) -> Option<StatusRow> {
    let why = member.out?;
    let (state, next) = match &member.run {
        Some(run) => (State::Lost, format!("the store of run {run} is elsewhere: pitstop --store … resume {run}; or it is gone: pitstop release --from-marks")),
        None => (State::Foreign, "not ours".to_owned()),
    };
    Some(StatusRow { node: member.name, cluster: cluster.clone(), state, since: member.since, run: member.run.map(crate::model::RunId), why, next: Some(next) })
}
