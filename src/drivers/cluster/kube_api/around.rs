//! What a look asks beyond the node's own pods, alike for every driver of the family: who else acts on the node, whether it can be emptied at all, and whether it is whole again.
use super::{
    Api, Budget, DaemonSets, KubeNode, Left, Picture, asked, attached, csi_drivers, feasible, matching, pods, pods::leaving, rivals, rivals::By,
    room::Surroundings,
};
use crate::{
    drivers::cluster::Ask,
    model::{Blocker, Fault, FaultKind, marks},
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// What need not be asked at every look. Nothing of it is ever the proof of anything.
#[derive(Default)]
pub struct Around {
    pub daemonsets: DaemonSets,
    /// How the nodes were when nobody had taken them yet.
    pictures: Mutex<BTreeMap<String, Picture>>,
    surroundings: Surroundings,
}

/// The node, and what was read of it.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub api: &'a Api,
    pub kube: &'a KubeNode,
    /// All but those that carry VMs.
    pub pods: &'a [Pod],
    pub budgets: &'a [Budget],
}

fn unseen(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Denied | FaultKind::Unable)
}

impl Around {
    pub fn picture(&self, node: &str) -> Option<Picture> {
        self.pictures.lock().expect("BUG: poisoned").get(node).cloned()
    }

    /// What only a node that nobody has taken yet is asked: who else acts on it, how it is now, and for a plan whether it can be emptied at all.
    pub async fn entering(&self, scene: Scene<'_>, by: By, left: &mut Left<'_>, blockers: &mut Vec<Blocker>, ask: &Ask) -> Result<(), Fault> {
        let Scene { api, kube, pods: here, budgets } = scene;
        let rivals = rivals(api, kube, by, &self.daemonsets).await?;
        left.impossible.extend(rivals.found);
        left.notes.extend(rivals.notes);
        if ask.run.is_some() {
            let picture = Picture::take(kube, here, csi(api, kube).await?);
            self.pictures.lock().expect("BUG: poisoned").insert(kube.name().to_owned(), picture);
            return Ok(());
        }
        for pod in &left.must {
            // Permanent until its owner acts: no run tonight would get past it.
            let covering = matching(budgets, pods::namespace(pod), pod.metadata.labels.as_ref());
            if !leaving(pod) && (covering.len() > 1 || covering.iter().any(|b| b.sync_failed.is_some())) {
                let object = format!("pod {}", pods::name(pod));
                let why = blockers.extract_if(.., |b| b.object == object).next().map(|b| b.why).unwrap_or_default();
                left.impossible.push(Blocker::new(object, why));
            }
        }
        match self.surroundings.read(api).await {
            Ok(seen) => {
                let found = feasible(kube, &left.must, budgets, &seen);
                left.impossible.extend(found.impossible);
                left.notes.extend(found.notes);
            }
            Err(f) if unseen(&f) => left.notes.push(format!("room elsewhere was not looked at: {f}")),
            Err(f) => return Err(f),
        }
        let (refused, notes) = asked(api, kube.name(), &left.must, budgets).await;
        blockers.extend(refused);
        left.notes.extend(notes);
        Ok(())
    }

    /// A node of ours: rebooted, what it lacks of what it was; else, where nothing is left that moves (`empty`), the volumes that still hang on it.
    pub async fn taken(
        &self,
        scene: Scene<'_>,
        left: &mut Left<'_>,
        empty: bool,
        sets: Option<&BTreeSet<String>>,
    ) -> Result<(Vec<String>, Vec<Blocker>), Fault> {
        let Scene { api, kube, pods: here, .. } = scene;
        let before = kube.annotation(marks::WAS_FIT).and_then(|text| serde_json::from_str::<Picture>(text).ok());
        match before {
            Some(before) if before.boot != kube.boot() => Ok((before.missing(kube, here, &csi(api, kube).await?, sets), Vec::new())),
            // Its pods are gone, and it still runs: their volumes have to be, too, before its power goes.
            _ if empty => {
                let staying: Vec<&Pod> = here.iter().filter(|p| !left.must.iter().any(|m| std::ptr::eq(*m, *p))).filter(|p| !pods::finished(p)).collect();
                match attached(api, kube, &staying).await {
                    Ok(still) => Ok((Vec::new(), still)),
                    Err(f) if unseen(&f) => {
                        left.notes.push(format!("volumes were not looked at: {f}"));
                        Ok(Default::default())
                    }
                    Err(f) => Err(f),
                }
            }
            _ => Ok(Default::default()),
        }
    }

    /// Pods whose DaemonSet is gone: nothing brings them back, and nothing keeps them here. None: it cannot be told.
    pub async fn orphans<'p>(&self, api: &Api, here: &'p [Pod], force: bool, left: &mut Left<'p>) -> Result<Option<BTreeSet<String>>, Fault> {
        let owned: Vec<(&Pod, String)> = here.iter().filter(|p| !pods::finished(p)).filter_map(|p| pods::daemon_set(p).map(|set| (p, set))).collect();
        if owned.is_empty() {
            return Ok(None);
        }
        let sets = match self.daemonsets.names(api, owned.iter().map(|(_, set)| set.as_str())).await {
            Ok(sets) => sets,
            Err(f) if unseen(&f) => {
                left.notes.push(format!("DaemonSets were not looked at: {f}"));
                return Ok(None);
            }
            Err(f) => return Err(f),
        };
        for (pod, set) in owned.into_iter().filter(|(_, set)| !sets.contains(set)) {
            left.fixed -= 1;
            left.stays.retain(|stays| *stays != pods::name(pod));
            left.must.push(pod);
            if leaving(pod) {
                continue;
            }
            match force {
                true => left.notes.push(format!("DaemonSet {set} is gone, its pod will not come back: {}", pods::name(pod))),
                false => {
                    let why = format!("its DaemonSet {set} is gone; `force = true` in the cluster's table lets it be evicted for good");
                    left.impossible.push(Blocker::new(format!("pod {}", pods::name(pod)), why));
                }
            }
        }
        Ok(Some(sets))
    }
}

async fn csi(api: &Api, kube: &KubeNode) -> Result<BTreeSet<String>, Fault> {
    let path = "/apis/storage.k8s.io/v1/csinodes";
    match api.get::<Value>(&format!("read the CSI drivers of {}", kube.name()), path, kube.name()).await {
        Ok(found) => Ok(found.map(|(csi, _)| csi_drivers(&csi)).unwrap_or_default()),
        Err(f) if unseen(&f) => Ok(BTreeSet::new()),
        Err(f) => Err(f),
    }
}
