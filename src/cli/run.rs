//! `pitstop run`: locks, survey, plan, engines. A command over several clusters starts one run each, side by side.
use super::{
    args::{RunArgs, TestHooks},
    connect::Wiring,
    context::Context,
    failure::{CONFIGURATION, Failure, USAGE},
    history,
    launch::{self, Job},
    plan::{self, PlanFile, clusters_of, digest_of},
};
use crate::{
    engine::store::{Lock, Store},
    inventory::Inventory,
    model::{ClusterName, NodeName, Relax, RunId},
    plan::{History, Input, Plan, drift, make},
    playbook::Playbook,
    survey,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

pub async fn run(cx: &Context, args: RunArgs) -> Result<u8, Failure> {
    if let Some(path) = &args.plan {
        return reviewed(cx, path, &args).await;
    }
    let name = args.playbook.clone().unwrap_or_default();
    let inventory = cx.inventory()?;
    let playbook = cx.playbook(&name)?;
    let nodes = cx.selected(&inventory, &args.selection)?;
    let relaxed: BTreeSet<Relax> = args.relax.iter().copied().collect();
    if nodes.len() != 1 && !relaxed.is_empty() {
        return Err(Failure::new(USAGE, format!("--unsafe is for one node, these are {}", nodes.len())).next("name one node"));
    }
    relaxing(cx, &relaxed)?;
    if args.resume_first {
        let store = cx.store().await?;
        let clusters = clusters_of(&inventory, &nodes);
        let code = super::resume::unfinished_of(cx, &*store, &clusters, &args.test).await?;
        if code != 0 {
            return Ok(code);
        }
    }
    let manner = Manner { test: &args.test, ask: args.ask, pause_after_canary: args.pause_after_canary };
    these_after(cx, &inventory, &playbook, &nodes, &relaxed, &manner, BTreeMap::new()).await
}

/// Without a reason nothing is relaxed, and what is given up is printed before anything is done.
pub fn relaxing(cx: &Context, relaxed: &BTreeSet<Relax>) -> Result<(), Failure> {
    if !relaxed.is_empty() && cx.global.reason.is_none() {
        return Err(Failure::new(USAGE, "--unsafe needs --reason TEXT: it stands in the journal and in the report").next("the same command with --reason TEXT"));
    }
    for relax in relaxed {
        cx.say(&format!("UNSAFE, relaxed by name for this one command: {relax}: {}", relax.means()));
    }
    Ok(())
}

/// One named node, by `pitstop node`.
pub async fn these(
    cx: &Context,
    inventory: &Inventory,
    playbook: &Playbook,
    nodes: &BTreeSet<NodeName>,
    relaxed: &BTreeSet<Relax>,
    test: &TestHooks,
) -> Result<u8, Failure> {
    these_after(cx, inventory, playbook, nodes, relaxed, &Manner { test, ..Manner::default() }, BTreeMap::new()).await
}

/// With what marks in the clusters say is owed.
pub async fn settling(
    cx: &Context,
    inventory: &Inventory,
    playbook: &Playbook,
    nodes: &BTreeSet<NodeName>,
    owed: BTreeMap<NodeName, History>,
) -> Result<u8, Failure> {
    these_after(cx, inventory, playbook, nodes, &BTreeSet::new(), &Manner::default(), owed).await
}

/// How a person wants to stand by; frozen into the plan, so that a resume does the same.
struct Manner<'a> {
    test: &'a TestHooks,
    ask: bool,
    pause_after_canary: bool,
}
impl Default for Manner<'_> {
    fn default() -> Self {
        Manner { test: &TestHooks { kill_at: None, lease: None }, ask: false, pause_after_canary: false }
    }
}

async fn these_after(
    cx: &Context,
    inventory: &Inventory,
    playbook: &Playbook,
    nodes: &BTreeSet<NodeName>,
    relaxed: &BTreeSet<Relax>,
    manner: &Manner<'_>,
    owed: BTreeMap<NodeName, History>,
) -> Result<u8, Failure> {
    let (name, store, clusters) = (&playbook.name, cx.store().await?, clusters_of(inventory, nodes));
    let mut locks = take(cx, &*store, &clusters, nodes).await?;
    cx.say(&format!(
        "{name}: {} {}: {}",
        nodes.len(),
        if nodes.len() == 1 { "node" } else { "nodes" },
        crate::model::hostlist::compress(nodes.iter().map(|n| n.0.as_str()))
    ));
    let mut plans = plan::make_plans(cx, inventory, playbook, nodes, Some(&*store), relaxed, owed).await?;
    for plan in &mut plans {
        (plan.ask, plan.pause_after_canary) = (manner.ask, manner.pause_after_canary);
    }
    let jobs = submit(&*store, plans, &mut locks).await?;
    let code = launch::all(cx, store.clone(), jobs, manner.test).await?;
    give_up(&*store, locks).await;
    Ok(code)
}

type Locks = BTreeMap<ClusterName, (RunId, Lock)>;

/// In name order, so that two commands never wait for each other; then nothing unfinished may be in the way.
async fn take(cx: &Context, store: &dyn Store, clusters: &BTreeSet<ClusterName>, nodes: &BTreeSet<NodeName>) -> Result<Locks, Failure> {
    let owner = cx.owner();
    let mut locks = Locks::new();
    for cluster in clusters {
        let run = launch::new_run();
        let lock = launch::locked(store, cluster, &owner, &run).await?;
        locks.insert(cluster.clone(), (run, lock));
    }
    history::refuse_unfinished(&history::unfinished(store, clusters, nodes).await?)?;
    Ok(locks)
}

async fn submit(store: &dyn Store, plans: Vec<Plan>, locks: &mut Locks) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    for plan in plans {
        let (run, lock) = locks.remove(&plan.cluster).ok_or_else(|| Failure::new(super::failure::INTERNAL, format!("BUG: no lock for {}", plan.cluster)))?;
        let digest = store.submit(&run, &plan).await?;
        jobs.push(Job { run, plan, digest, lock });
    }
    Ok(jobs)
}

async fn give_up(store: &dyn Store, locks: Locks) {
    for (_, (_, lock)) in locks {
        store.unlock(&lock).await.ok(); // freed with the process at the latest
    }
}

/// Exactly the reviewed plan, unless the world has moved in a way that matters.
async fn reviewed(cx: &Context, path: &Path, args: &RunArgs) -> Result<u8, Failure> {
    let wrong = |e: String| {
        Failure::new(CONFIGURATION, format!("{} is no plan of this program: {e}", path.display())).next("make a new one: pitstop plan PLAYBOOK NODES -o FILE")
    };
    let text = fs::read(path).map_err(|e| Failure::new(CONFIGURATION, format!("cannot read {}: {e}", path.display())))?;
    let file: PlanFile = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
    if let Some(plan) = file.plans.iter().find(|p| p.format != crate::plan::FORMAT) {
        return Err(wrong(format!("format {}, this program reads {}", plan.format, crate::plan::FORMAT)));
    }
    let store = cx.store().await?;
    let clusters: BTreeSet<ClusterName> = file.plans.iter().flat_map(|p| p.clusters.keys().cloned()).collect();
    let nodes: BTreeSet<NodeName> = file.plans.iter().flat_map(|p| p.nodes.keys().cloned()).collect();
    let mut locks = take(cx, &*store, &clusters, &nodes).await?;
    let histories = history::of(&*store, &clusters, cx.clock.now()).await?;
    let mut moved = Vec::new();
    for plan in &file.plans {
        let mut doors = Wiring::of_plan(plan).doors(cx).await;
        doors.raids = plan.steps.iter().any(|s| plan::touches_power(&s.step.kind));
        // The look's answers depend on what may be done with what cannot move; the survey itself does not.
        let survey = survey::take(cx.clock.now(), &doors, &[], &cx.ask().to_evacuate(&plan.evacuate())).await;
        let fresh = make(&Input::again(plan, false, &survey, histories.clone())).map_err(plan::refused)?;
        let same = fresh.iter().find(|f| f.cluster == plan.cluster);
        match same {
            Some(fresh) => moved.extend(drift(plan, fresh)),
            None => moved.push(format!("nothing of cluster {} can be planned any more", plan.cluster)),
        }
    }
    if !moved.is_empty() {
        return Err(Failure::new(CONFIGURATION, format!("the world has moved since this plan was made: {}", moved.join("; ")))
            .next("look at it anew: pitstop plan PLAYBOOK NODES -o FILE"));
    }
    for plan in &file.plans {
        cx.say(&format!("plan {}: {} nodes of cluster {}", digest_of(plan).get(..4).unwrap_or_default(), plan.nodes.len(), plan.cluster));
    }
    let jobs = submit(&*store, file.plans, &mut locks).await?;
    let code = launch::all(cx, store.clone(), jobs, &args.test).await?;
    give_up(&*store, locks).await;
    Ok(code)
}
