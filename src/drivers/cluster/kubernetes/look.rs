//! One look at a node: what is read, and what follows from it.
use super::{
    Kubernetes,
    hands::{self, Hold},
};
use crate::{
    drivers::cluster::{Ask, kube_api::*},
    model::{Act, Blocker, Fault, FaultKind, Here, NodeView, Timestamp, Unmovable, Workload},
};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::{collections::BTreeMap, sync::Mutex};

/// What watches tell amid drains. A look that finds a drain at its end reads everything anew.
#[derive(Default)]
pub(super) struct Drains {
    nodes: Mutex<BTreeMap<String, Drain>>,
    budgets: tokio::sync::Mutex<Option<Watched>>,
}
struct Drain {
    node: Watched,
    pods: Watched,
}

/// The node and its pods, as read or as watched.
struct Read {
    kube: KubeNode,
    launchers: Vec<Pod>,
    pods: Vec<Pod>,
    server_now: Option<Timestamp>,
    heartbeat: Option<String>,
    /// What was listed just now; none where watches told it.
    listed: Option<Listed>,
}

impl Kubernetes {
    fn policy(&self) -> Policy {
        Policy { delete_emptydir_data: self.config.delete_emptydir_data, force: self.config.force }
    }

    /// Amid a drain of ours, with something left to leave: as the watches say. Else nothing: whether it is over they do not decide.
    fn watched(&self, node: &str, ask: &Ask) -> Option<Read> {
        let (kube, (items, server_now)) = {
            let drains = self.drains.nodes.lock().expect("BUG: poisoned");
            let drain = drains.get(node)?;
            (drain.node.now()?.0.pop()?, drain.pods.now()?)
        };
        let kube = KubeNode(serde_json::from_value::<Node>(kube).ok()?);
        let pods: Vec<Pod> = items.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().ok()?;
        let (launchers, pods) = kubevirt::split(pods);
        let goes_on = hands::is_ours(&kube, ask) && kube.unschedulable() && !(classify(&pods, self.policy()).must.is_empty() && launchers.is_empty());
        goes_on.then_some(Read { kube, launchers, pods, server_now, heartbeat: None, listed: None })
    }

    async fn read(&self, node: &str, ask: &Ask) -> Result<Read, Fault> {
        if let Some(read) = self.watched(node, ask) {
            return Ok(read);
        }
        let (kube, _) = KubeNode::read(&self.api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
        let (heartbeat, listed) = futures::try_join!(self.heartbeats.stale(&self.api, node), pods_listed(&self.api, node))?;
        let pods: Vec<Pod> = listed
            .items
            .iter()
            .cloned()
            .map(serde_json::from_value)
            .collect::<Result<_, _>>()
            .map_err(|e| Fault::new(FaultKind::Invalid, format!("list the pods of {node}: an item that makes no sense")).caused_by(&e))?;
        let (launchers, pods) = kubevirt::split(pods);
        Ok(Read { kube, launchers, pods, server_now: listed.date, heartbeat, listed: Some(listed) })
    }

    /// The next looks are told by watches.
    fn watch(&self, kube: &KubeNode, listed: &Listed) {
        let mut drains = self.drains.nodes.lock().expect("BUG: poisoned");
        if drains.get(kube.name()).is_some_and(|d| d.pods.rests()) {
            return;
        }
        let (name, version) = (kube.name().to_owned(), kube.version().unwrap_or("0").to_owned());
        let Ok(item) = serde_json::to_value(&kube.0) else { return };
        let this = Listed { items: vec![item], date: listed.date, version };
        let node = Watched::begin(&self.api, NODES, Some(format!("metadata.name={name}")), &this);
        let pods = Watched::begin(&self.api, pods::PODS, Some(pods::on(&name)), listed);
        drains.insert(name, Drain { node, pods });
    }

    async fn budgets(&self, ask: &Ask, draining: bool) -> Result<Vec<Budget>, Fault> {
        match draining && ask.run.is_some() {
            true => budgets_kept(&self.api, &self.drains.budgets).await,
            false => budgets(&self.api).await,
        }
    }

    pub(super) async fn view(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        let Read { kube, launchers, pods, server_now, heartbeat, listed } = self.read(node, ask).await?;
        let mut left = classify(&pods, self.policy());
        if ask.unmovable != Unmovable::Refuse && !left.impossible.is_empty() {
            left.notes.push("kubernetes cannot stop a pod and start it again: `unmovable` changes nothing here".into());
        }
        let taken = hands::is_ours(&kube, ask);
        let draining = taken && kube.unschedulable() && !(left.must.is_empty() && launchers.is_empty());
        match (draining, &listed) {
            (true, Some(listed)) => self.watch(&kube, listed),
            (true, None) => {}
            (false, _) => drop(self.drains.nodes.lock().expect("BUG: poisoned").remove(node)),
        }
        let sets = self.around.orphans(&self.api, &pods, self.config.force, &mut left).await?;
        // Budgets matter only to pods that are yet to be asked to leave.
        let (budgets, blind) = match left.must.iter().all(|p| pods::leaving(p)) {
            true => (Vec::new(), None),
            false => match self.budgets(ask, draining).await {
                Ok(budgets) => (budgets, None),
                Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => {
                    (Vec::new(), Some(format!("PodDisruptionBudgets were not looked at: {f}")))
                }
                Err(f) => return Err(f),
            },
        };
        left.notes.extend(blind);
        let mut workloads = self.workloads(&kube, &left, &budgets, server_now, ask).await;
        let mut blockers: Vec<Blocker> = workloads.iter().filter_map(|w| w.stuck.as_ref().map(|why| Blocker::new(format!("pod {}", w.name), why))).collect();

        let quorum = quorum(&self.api, &kube, &pods, self.config.allow_control_plane_outage).await?;
        let open = quorum.not_now.is_none();
        blockers.extend(quorum.not_now);
        let scene = Scene { api: &self.api, kube: &kube, pods: &pods, budgets: &budgets };
        if !taken {
            left.impossible.extend(quorum.never);
            self.around.entering(scene, By::Us, &mut left, &mut blockers, ask).await?;
        }
        let hold = kubevirt::Hold { taken: taken && kube.unschedulable(), evicts: true };
        let mut moves = match hands::held_by(&kube, ask) {
            Hold::Ours => evictions(&left.must, &budgets),
            Hold::OtherRun(run) => {
                blockers.push(Blocker::new(format!("node {node}"), format!("marked by pitstop run {run}: finish or release that one first")));
                Vec::new()
            }
            // Without a majority nothing is begun.
            Hold::Free | Hold::Cordoned if !open => Vec::new(),
            Hold::Free => vec![hands::cordon(node, kube.was_unschedulable().filter(|_| taken).unwrap_or(false), ask)],
            Hold::Cordoned => vec![hands::cordon(node, true, ask)],
        };

        let guests = kubevirt::look(&self.api, node, &launchers, ask, hold).await?;
        moves.extend(guests.moves.into_iter().map(hands::guest));
        workloads.extend(guests.workloads);
        blockers.extend(guests.blockers);
        left.impossible.extend(guests.impossible);
        left.notes.extend(guests.notes);

        let mut not_ready: Vec<String> = kube.not_ready().map(|(why, _)| why).into_iter().collect();
        not_ready.extend(heartbeat);
        if taken {
            let empty = kube.unschedulable() && left.must.is_empty() && launchers.is_empty();
            let (lacks, attached) = self.around.taken(scene, &mut left, empty, sets.as_ref()).await?;
            not_ready.extend(lacks);
            blockers.extend(attached);
        }
        Ok(NodeView {
            here: Here { addresses: kube.reached_at(), guest_uuids: guests.uuids, stays: left.stays },
            identity: kube.identity(),
            boot: kube.boot(),
            ready: not_ready.is_empty(),
            not_ready,
            enabled: !kube.unschedulable() && kube.maintenance_taint().is_none(),
            in_maintenance: kube.unschedulable(),
            marked_by: kube.run().map(str::to_owned),
            workloads,
            fixed: left.fixed,
            moves,
            blockers,
            impossible: left.impossible,
            notes: left.notes,
        })
    }

    async fn workloads(&self, kube: &KubeNode, left: &Left<'_>, budgets: &[Budget], now: Option<Timestamp>, ask: &Ask) -> Vec<Workload> {
        let mut causes: BTreeMap<(String, String), Option<String>> = BTreeMap::new();
        let mut workloads = Vec::new();
        for pod in &left.must {
            let mut why = stuck(pod, budgets, now);
            if let (Some(why), [one]) = (&mut why, matching(budgets, pods::namespace(pod), pod.metadata.labels.as_ref()).as_slice())
                && !pods::leaving(pod)
                && one.current < one.desired
            {
                let key = (one.namespace.clone(), one.name.clone());
                let cause = match causes.get(&key) {
                    Some(cause) => cause.clone(),
                    None => causes.entry(key).or_insert(behind(&self.api, one).await).clone(),
                };
                *why = cause.map_or(why.clone(), |cause| format!("{why}: {cause}"));
            }
            if why.is_none() && hands::is_ours(kube, ask) && !pods::leaving(pod) && placed_after_cordon(pod, kube) {
                let owner = pods::owner(pod).unwrap_or("nobody");
                why = Some(format!("was placed here after the cordon ({owner} ignores it); if it belongs to the node, label it cluster.x-k8s.io/drain: skip"));
            }
            workloads.push(Workload { kind: "pod".into(), name: Target::of(pod).to_string(), leaving: pods::leaving(pod), stuck: why });
        }
        workloads
    }
}

/// A controller that writes `spec.nodeName` itself does not ask the scheduler. Both times are the API server's.
fn placed_after_cordon(pod: &Pod, kube: &KubeNode) -> bool {
    let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let cordoned = kube.taint("node.kubernetes.io/unschedulable").and_then(|t| t.time_added.as_ref()).map(|t| t.0);
    // A pod that was bound a moment before the cordon is no such case: times are whole seconds.
    created.zip(cordoned).is_some_and(|(created, cordoned)| created.as_second() > cordoned.as_second() + 5)
}

/// Those that their budgets let go now. What a budget forbids is not asked for again and again: the look shows when it allows it.
fn evictions(must: &[&Pod], budgets: &[Budget]) -> Vec<Act> {
    let mut spent: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut moves = Vec::new();
    for pod in must.iter().filter(|p| !pods::leaving(p) && !pods::completes_by_itself(p)) {
        let goes = match matching(budgets, pods::namespace(pod), pod.metadata.labels.as_ref()).as_slice() {
            [] => true,
            [one] if one.needs_not(pods::ready(pod)) => true,
            [one] => {
                let spent = spent.entry((&one.namespace, &one.name)).or_default();
                *spent += 1;
                *spent <= one.allowed
            }
            _ => false,
        };
        if goes {
            moves.push(hands::eviction(Target::of(pod)));
        }
    }
    moves
}
