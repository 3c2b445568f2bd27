//! `pitstop resume`: takes up a run where the journal stands. Needs no inventory: the plan holds everything.
use super::{
    args::{Resume, TestHooks},
    context::Context,
    failure::{Failure, USAGE},
    history,
    launch::{self, Job},
};
use crate::{
    engine::{
        node::Phase,
        store::{RunFilter, RunHead, Store},
    },
    model::ClusterName,
};
use std::{collections::BTreeSet, sync::Arc};

pub async fn run(cx: &Context, args: Resume) -> Result<u8, Failure> {
    let store = cx.store().await?;
    let heads = match &args.run {
        Some(typed) => vec![one(&*store, typed).await?],
        None => {
            let mut open = Vec::new();
            for head in store.runs(&RunFilter { unfinished: true, ..RunFilter::default() }).await? {
                if head.holder.is_none() && to_do(&*store, &head).await? {
                    open.push(head);
                }
            }
            open
        }
    };
    if heads.is_empty() {
        cx.say("nothing to resume: every run is finished, at work, or waits for a person");
        return Ok(0);
    }
    take_up(cx, store, heads, &args.test).await
}

/// The run that was typed: a unique head or tail of its id.
pub async fn one(store: &dyn Store, typed: &str) -> Result<RunHead, Failure> {
    let mut found: Vec<RunHead> = store.runs(&RunFilter::default()).await?.into_iter().filter(|h| h.run.matches(typed)).collect();
    match (found.len(), found.pop()) {
        (1, Some(head)) => Ok(head),
        (0, _) => Err(Failure::new(USAGE, format!("no run `{typed}`")).next("pitstop runs")),
        (n, _) => Err(Failure::new(USAGE, format!("`{typed}` could be {n} runs")).next("type more of its id; pitstop runs --json shows them whole")),
    }
}

/// Something would move by itself: not only nodes that wait for a person. Also where only the last word is missing.
async fn to_do(store: &dyn Store, head: &RunHead) -> Result<bool, Failure> {
    let fleet = history::fold(store, &head.run).await?;
    let cut_short = fleet.halted.is_none() || fleet.open().next().is_none();
    Ok(cut_short
        || fleet.nodes.values().any(|n| matches!(n.phase, Phase::Ready { .. } | Phase::Working { .. } | Phase::Waiting))
        || !store.asked(&head.run).await?.is_empty())
}

pub async fn take_up(cx: &Context, store: Arc<dyn Store>, heads: Vec<RunHead>, test: &TestHooks) -> Result<u8, Failure> {
    let owner = cx.owner();
    let mut jobs: Vec<Job> = Vec::new();
    let mut finished = None;
    // Kept until the runs are over: a node in several clusters holds all of them.
    let mut others = Vec::new();
    for head in heads {
        if head.finished {
            finished = Some(head.run);
            continue;
        }
        // One run at a time has a cluster, and this process is one.
        if let Some(first) = jobs.iter().find(|job| job.plan.clusters.contains_key(&head.cluster)) {
            cx.say(&format!("run {} waits for run {} on cluster {}; next: pitstop resume {}", head.run, first.run, head.cluster, head.run));
            continue;
        }
        let plan = store.plan(&head.run).await?;
        let lock = launch::locked(&*store, &head.cluster, &owner, &head.run).await?;
        for cluster in plan.clusters.keys().filter(|c| **c != head.cluster) {
            others.push(launch::locked(&*store, cluster, &owner, &head.run).await?);
        }
        let digest = super::plan::digest_of(&plan);
        jobs.push(Job { run: head.run, plan, digest, lock });
    }
    match (jobs.is_empty(), finished) {
        (true, Some(run)) => {
            cx.say(&format!("run {run} is finished; nothing to resume"));
            Ok(0)
        }
        _ => {
            let code = launch::all(cx, store.clone(), jobs, test).await?;
            for lock in others {
                store.unlock(&lock).await.ok(); // freed with the process at the latest
            }
            Ok(code)
        }
    }
}

/// For timers: what is unfinished on these clusters goes first.
pub async fn unfinished_of(cx: &Context, store: &dyn Store, clusters: &BTreeSet<ClusterName>, test: &TestHooks) -> Result<u8, Failure> {
    let mut heads = Vec::new();
    for cluster in clusters {
        for head in store.runs(&RunFilter { cluster: Some(cluster.clone()), unfinished: true }).await? {
            if history::fold(store, &head.run).await?.open().next().is_some() {
                heads.push(head);
            }
        }
    }
    if heads.is_empty() { Ok(0) } else { take_up(cx, cx.store().await?, heads, test).await }
}
