//! One look at a node: what is read, and what follows from it.
use super::{
    Kubernetes,
    hands::{self, Hold},
};
use crate::{
    drivers::cluster::{Ask, kube_api::*},
    model::{Act, Blocker, Fault, FaultKind, NodeView, Unmovable, Workload, marks},
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// What need not be asked at every look. Nothing of it is ever the proof of anything.
#[derive(Default)]
pub(super) struct Known {
    daemonsets: tokio::sync::Mutex<Option<(Instant, Arc<BTreeSet<String>>)>>,
    /// How the nodes were when nobody had taken them yet.
    pictures: Mutex<BTreeMap<String, Picture>>,
    surroundings: Surroundings,
}

impl Known {
    pub fn picture(&self, node: &str) -> Option<Picture> {
        self.pictures.lock().expect("BUG: poisoned").get(node).cloned()
    }
}

/// DaemonSets come and go with installations.
const SETS_KNOWN_FOR: Duration = Duration::from_secs(60);

impl Kubernetes {
    pub(super) async fn view(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        let (kube, _) = KubeNode::read(&self.api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
        let (heartbeat, pods) = futures::try_join!(self.heartbeats.stale(&self.api, node), list_pods(&self.api, node))?;
        let ((launchers, pods), server_now) = (kubevirt::split(pods.0), pods.1);
        let mut left = classify(&pods, Policy { delete_emptydir_data: self.config.delete_emptydir_data, force: self.config.force });
        if ask.unmovable != Unmovable::Refuse && !left.impossible.is_empty() {
            left.notes.push("kubernetes cannot stop a pod and start it again: `unmovable` changes nothing here".into());
        }
        let sets = self.orphans(&pods, &mut left).await?;
        // Budgets matter only to pods that are yet to be asked to leave.
        let (budgets, blind) = match left.must.iter().all(|p| pods::leaving(p)) {
            true => (Vec::new(), None),
            false => match budgets(&self.api).await {
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

        let taken = hands::is_ours(&kube, ask);
        let quorum = quorum(&self.api, &kube, &pods, self.config.allow_control_plane_outage).await?;
        let open = quorum.not_now.is_none();
        blockers.extend(quorum.not_now);
        if !taken {
            left.impossible.extend(quorum.never);
            self.entering(&kube, &pods, &budgets, &mut left, &mut blockers, ask).await?;
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
        let before = kube.annotation(marks::WAS_FIT).filter(|_| taken).and_then(|text| serde_json::from_str::<Picture>(text).ok());
        match before {
            Some(before) if before.boot != kube.boot() => {
                let csi = self.csi(&kube).await?;
                not_ready.extend(before.missing(&kube, &pods, &csi, sets.as_deref()));
            }
            // Its pods are gone, and it still runs: their volumes have to be, too, before its power goes.
            _ if taken && kube.unschedulable() && left.must.is_empty() && launchers.is_empty() => {
                let staying: Vec<&Pod> = pods.iter().filter(|p| !left.must.iter().any(|m| std::ptr::eq(*m, *p))).filter(|p| !pods::finished(p)).collect();
                match attached(&self.api, &kube, &staying).await {
                    Ok(still) => blockers.extend(still),
                    Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => left.notes.push(format!("volumes were not looked at: {f}")),
                    Err(f) => return Err(f),
                }
            }
            _ => {}
        }
        Ok(NodeView {
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

    /// What only a node that nobody has taken yet is asked: who else acts on it, how it is now, and for a plan whether it can be emptied at all.
    async fn entering(
        &self,
        kube: &KubeNode,
        here: &[Pod],
        budgets: &[Budget],
        left: &mut Left<'_>,
        blockers: &mut Vec<Blocker>,
        ask: &Ask,
    ) -> Result<(), Fault> {
        let rivals = rivals(&self.api, kube).await?;
        left.impossible.extend(rivals.found);
        left.notes.extend(rivals.notes);
        if ask.run.is_some() {
            let picture = Picture::take(kube, here, self.csi(kube).await?);
            self.known.pictures.lock().expect("BUG: poisoned").insert(kube.name().to_owned(), picture);
            return Ok(());
        }
        for pod in &left.must {
            // Permanent until its owner acts: no run tonight would get past it.
            let covering = matching(budgets, pods::namespace(pod), pod.metadata.labels.as_ref());
            if !pods::leaving(pod) && (covering.len() > 1 || covering.iter().any(|b| b.sync_failed.is_some())) {
                let object = format!("pod {}", pods::name(pod));
                let why = blockers.extract_if(.., |b| b.object == object).next().map(|b| b.why).unwrap_or_default();
                left.impossible.push(Blocker::new(object, why));
            }
        }
        match self.known.surroundings.read(&self.api).await {
            Ok(seen) => {
                let found = feasible(kube, &left.must, budgets, &seen);
                left.impossible.extend(found.impossible);
                left.notes.extend(found.notes);
            }
            Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => left.notes.push(format!("room elsewhere was not looked at: {f}")),
            Err(f) => return Err(f),
        }
        let (refused, notes) = asked(&self.api, kube.name(), &left.must, budgets).await;
        blockers.extend(refused);
        left.notes.extend(notes);
        Ok(())
    }

    async fn workloads(&self, kube: &KubeNode, left: &Left<'_>, budgets: &[Budget], now: Option<crate::model::Timestamp>, ask: &Ask) -> Vec<Workload> {
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

    /// Pods whose DaemonSet is gone: nothing brings them back, and nothing keeps them here. None: it cannot be told.
    async fn orphans<'p>(&self, pods: &'p [Pod], left: &mut Left<'p>) -> Result<Option<Arc<BTreeSet<String>>>, Fault> {
        let owned: Vec<(&Pod, String)> = pods.iter().filter(|p| !pods::finished(p)).filter_map(|p| pods::daemon_set(p).map(|set| (p, set))).collect();
        if owned.is_empty() {
            return Ok(None);
        }
        let sets = match self.daemonsets(&owned).await {
            Ok(sets) => sets,
            Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => {
                left.notes.push(format!("DaemonSets were not looked at: {f}"));
                return Ok(None);
            }
            Err(f) => return Err(f),
        };
        for (pod, set) in owned.into_iter().filter(|(_, set)| !sets.contains(set)) {
            left.fixed -= 1;
            left.must.push(pod);
            if pods::leaving(pod) {
                continue;
            }
            match self.config.force {
                true => left.notes.push(format!("DaemonSet {set} is gone, its pod will not come back: {}", pods::name(pod))),
                false => {
                    let why = format!("its DaemonSet {set} is gone; `force = true` in the cluster's table lets it be evicted for good");
                    left.impossible.push(Blocker::new(format!("pod {}", pods::name(pod)), why));
                }
            }
        }
        Ok(Some(sets))
    }

    async fn daemonsets(&self, owned: &[(&Pod, String)]) -> Result<Arc<BTreeSet<String>>, Fault> {
        let mut known = self.known.daemonsets.lock().await;
        if let Some((at, sets)) = &*known
            && at.elapsed() < SETS_KNOWN_FOR
            && owned.iter().all(|(_, set)| sets.contains(set))
        {
            return Ok(sets.clone());
        }
        let (list, _) = self.api.list::<Value>("list DaemonSets", "/apis/apps/v1/daemonsets", None).await?;
        let name = |v: &Value| format!("{}/{}", v["metadata"]["namespace"].as_str().unwrap_or_default(), v["metadata"]["name"].as_str().unwrap_or_default());
        let sets: Arc<BTreeSet<String>> = Arc::new(list.iter().map(name).collect());
        *known = Some((Instant::now(), sets.clone()));
        Ok(sets)
    }

    async fn csi(&self, kube: &KubeNode) -> Result<BTreeSet<String>, Fault> {
        let path = "/apis/storage.k8s.io/v1/csinodes";
        match self.api.get::<Value>(&format!("read the CSI drivers of {}", kube.name()), path, kube.name()).await {
            Ok(found) => Ok(found.map(|(csi, _)| csi_drivers(&csi)).unwrap_or_default()),
            Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => Ok(BTreeSet::new()),
            Err(f) => Err(f),
        }
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
