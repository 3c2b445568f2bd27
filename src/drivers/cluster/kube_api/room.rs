//! Feasibility, for the plan: what would leave, what would stand in its way, and whether there is room for it elsewhere. Reads, and evictions by dry-run.
use super::{Api, Budget, KubeNode, NODES, Target, dry_run, matching, pods, quantity};
use crate::model::{Blocker, Fault, FaultKind};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The whole cluster, read once for all nodes that are looked at together.
#[derive(Default)]
pub struct Surroundings(tokio::sync::Mutex<Option<(Instant, Arc<Seen>)>>);

pub struct Seen {
    nodes: Vec<KubeNode>,
    pods: Vec<Pod>,
}

/// A plan looks at all of its nodes within this.
const FRESH: Duration = Duration::from_secs(2);
/// Nobody wants to wait for thousands of them.
const DRY_RUNS: usize = 200;

impl Surroundings {
    pub async fn read(&self, api: &Api) -> Result<Arc<Seen>, Fault> {
        let mut known = self.0.lock().await;
        if let Some((at, seen)) = &*known
            && at.elapsed() < FRESH
        {
            return Ok(seen.clone());
        }
        let (nodes, pods) = futures::try_join!(api.list::<Node>("list nodes", NODES, None), api.list::<Pod>("list pods", "/api/v1/pods", None))?;
        let seen = Arc::new(Seen { nodes: nodes.0.into_iter().map(KubeNode).collect(), pods: pods.0 });
        *known = Some((Instant::now(), seen.clone()));
        Ok(seen)
    }
}

#[derive(Debug, Default)]
pub struct Feasible {
    pub impossible: Vec<Blocker>,
    pub notes: Vec<String>,
}

pub fn judge(node: &KubeNode, must: &[&Pod], budgets: &[Budget], seen: &Seen) -> Feasible {
    let mut found = Feasible::default();
    found.notes.extend(classes(must));
    found.notes.extend(crowded(must, budgets));
    let single: Vec<String> = must.iter().filter(|p| alone(p, seen)).map(|p| pods::name(p)).collect();
    if !single.is_empty() {
        found.notes.push(format!("only pod of its controller, gone until its successor runs: {}", single.join(", ")));
    }
    let claims: Vec<String> = must.iter().filter(|p| pods::volumes(p).any(|v| v.persistent_volume_claim.is_some())).map(|p| pods::name(p)).collect();
    if !claims.is_empty() {
        found.notes.push(format!("volumes must be detached from here first: {}", claims.join(", ")));
    }
    let others: Vec<&KubeNode> = seen.nodes.iter().filter(|n| n.name() != node.name() && !n.unschedulable() && n.not_ready().is_none()).collect();
    let only_here: Vec<String> = must.iter().filter(|p| !others.iter().any(|n| n.takes(p))).map(|p| pods::name(p)).collect();
    if !only_here.is_empty() {
        found.notes.push(format!("no other node takes it, Pending until this one is back: {}", only_here.join(", ")));
    }
    let movable: Vec<&&Pod> = must.iter().filter(|p| others.iter().any(|n| n.takes(p))).collect();
    for what in ["cpu", "memory"] {
        let needed: f64 = movable.iter().map(|p| pods::requests(p, what)).sum();
        let free: f64 = others.iter().map(|n| free(n, what, seen)).sum();
        if needed > free {
            let why =
                format!("its pods request {} {what}, the {} other nodes that take work have {} left", shown(what, needed), others.len(), shown(what, free));
            found.impossible.push(Blocker::new(format!("capacity without {}", node.name()), why));
        } else if needed > 0.0 {
            found.notes.push(format!("its pods request {} {what}, {} free on {} other nodes", shown(what, needed), shown(what, free), others.len()));
        }
    }
    found
}

fn classes(must: &[&Pod]) -> Option<String> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in must {
        *kinds.entry(pods::owner(pod).unwrap_or("no controller")).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, n)| format!("{n} of {kind}")).collect();
    (!kinds.is_empty()).then(|| format!("to evict: {}", kinds.join(", ")))
}

/// Each eviction alone may pass, and all together not: one by one then.
fn crowded(must: &[&Pod], budgets: &[Budget]) -> Vec<String> {
    let under = |b: &Budget| must.iter().filter(|p| b.covers(pods::namespace(p), p.metadata.labels.as_ref())).count();
    let many = budgets.iter().map(|b| (b, under(b))).filter(|(b, n)| *n > 1 && (*n as i64) > b.allowed);
    many.map(|(b, n)| format!("{n} pods under PodDisruptionBudget {}/{}, which allows {} at a time", b.namespace, b.name, b.allowed)).collect()
}

fn alone(pod: &Pod, seen: &Seen) -> bool {
    let uid = |p: &Pod| p.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true)).map(|o| o.uid.clone());
    let Some(owner) = uid(pod) else { return false };
    seen.pods.iter().filter(|p| uid(p).as_ref() == Some(&owner) && !pods::finished(p)).count() == 1
}

fn free(node: &KubeNode, what: &str, seen: &Seen) -> f64 {
    let room = node.0.status.as_ref().and_then(|s| s.allocatable.as_ref()).and_then(|a| a.get(what)).and_then(|q| quantity(&q.0)).unwrap_or(0.0);
    let here = seen.pods.iter().filter(|p| p.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node.name()) && !pods::finished(p));
    (room - here.map(|p| pods::requests(p, what)).sum::<f64>()).max(0.0)
}

fn shown(what: &str, amount: f64) -> String {
    match what {
        "memory" => format!("{:.1} GiB", amount / 1073741824.0),
        _ => format!("{amount:.1}"),
    }
}

/// Asks the server what it would answer to each eviction: webhooks speak here, and nothing is changed.
pub async fn asked(api: &Api, node: &str, must: &[&Pod], budgets: &[Budget]) -> (Vec<Blocker>, Vec<String>) {
    // What a budget says is known already, and better.
    let free = |p: &&&Pod| !pods::leaving(p) && matching(budgets, pods::namespace(p), p.metadata.labels.as_ref()).iter().all(|b| b.allowed > 0);
    let mut targets: Vec<Target> = must.iter().filter(free).map(|p| Target::of(p)).collect();
    let mut notes = Vec::new();
    if targets.len() > DRY_RUNS {
        notes.push(format!("{} of {} evictions were tried by dry-run", DRY_RUNS, targets.len()));
        targets.truncate(DRY_RUNS);
    }
    let (refused, unasked) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeSet::new()));
    let one = async |target: Target| match dry_run(api, &target, node).await {
        Ok(()) => {}
        Err(f) if f.kind == FaultKind::Unwilling => {
            let next = f.next.as_ref().map(|n| format!("; {n}")).unwrap_or_default();
            let told = f.to_string();
            let why = told.strip_prefix(&format!("evict {target}: ")).unwrap_or(&told).to_owned();
            refused.lock().expect("BUG: poisoned").insert(target.to_string(), format!("{why}{next}"));
        }
        Err(f) => drop(unasked.lock().expect("BUG: poisoned").insert(f.to_string())),
    };
    stream::iter(targets).map(one).buffer_unordered(10).collect::<Vec<()>>().await;
    let (refused, unasked) = (refused.into_inner().expect("BUG: poisoned"), unasked.into_inner().expect("BUG: poisoned"));
    notes.extend(unasked.into_iter().take(1).map(|why| format!("not tried by dry-run: {why}")));
    (refused.into_iter().map(|(pod, why)| Blocker::new(format!("pod {pod}"), why)).collect(), notes)
}
