//! What the interlocks judge: one node as read just now, from every witness it has.
use super::{Moment, Own, permit, storage, unlock};
use crate::{
    drivers::{
        bmc::Bmc,
        cluster::{Ask, Cluster},
        host::Host,
    },
    model::{BmcView, BootOverride, ClusterName, Fault, FaultKind, HostView, Identity, LiveTask, NodeName, NodeView, Relax, ResetType, Started},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;

/// What the plan froze about who this node is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pins {
    /// From `trust.toml`.
    pub identity: Option<Identity>,
    /// Address of the BMC in the inventory: VergeOS knows it as `ipmi_address`.
    pub bmc_host: String,
    /// Values that two nodes of the fleet share: they prove nothing.
    pub shared: Vec<String>,
    /// In words: nothing can witness that the node is empty, and the inventory vouches for it.
    pub vouched: Option<String>,
    /// Its clusters of a kind that has no system behind it: these witness nothing. Every other one has to speak.
    pub clusterless: Vec<ClusterName>,
    /// What a person relaxed by name for this node, in the command that made the run.
    pub relaxed: BTreeSet<Relax>,
    /// The inventory's word on how its root disk unlocks.
    pub unlock: Option<String>,
    /// Where this process runs.
    pub own: Own,
}
impl Pins {
    pub fn witnesses(&self, cluster: &ClusterName) -> bool {
        !self.clusterless.contains(cluster)
    }
}

/// One witness: a fresh answer, its fault, or what it said before the first rung silenced it.
#[derive(Debug, Clone)]
pub struct Readings {
    /// When the oldest fresh answer was asked for.
    pub read_at: Instant,
    pub bmc: Result<BmcView, Fault>,
    pub clusters: Vec<(ClusterName, Result<NodeView, Fault>)>,
    /// None: the inventory names no host.
    pub host: Option<Result<HostView, Fault>>,
    /// What the host said before it was silenced by our own first rung.
    pub carried_host: Option<HostView>,
    /// Update tasks of the BMC that are not at their end.
    pub tasks: Result<Vec<LiveTask>, Fault>,
    /// What we started or staged ourselves and have not yet seen to its end.
    pub started: Vec<Started>,
    pub pins: Pins,
    /// None: not read, and no power without it.
    pub moment: Option<Moment>,
}

pub struct Witnesses<'a> {
    pub bmc: &'a dyn Bmc,
    pub clusters: Vec<(ClusterName, String, Arc<dyn Cluster>)>,
    pub host: Option<&'a dyn Host>,
}

/// Asks every witness afresh, at the same time.
pub async fn read(from: &Witnesses<'_>, ask: &Ask, pins: &Pins, carried_host: Option<HostView>) -> Readings {
    let read_at = Instant::now();
    // Twice in a row: a pod that was bound just before the cordon shows up in the second list.
    let clusters = async {
        let mut seen = Vec::new();
        for (name, node, driver) in &from.clusters {
            let view = match driver.look(node, ask).await {
                Ok(first) => driver.look(node, ask).await.map(|second| both(first, second)),
                Err(fault) => Err(fault),
            };
            seen.push((name.clone(), view));
        }
        seen
    };
    let host = async {
        match from.host {
            Some(host) => Some(host.look().await),
            None => None,
        }
    };
    // One after the other: BMCs are small.
    let bmc = async { (from.bmc.look().await, from.bmc.live_tasks().await) };
    let ((bmc, tasks), clusters, host) = futures::join!(bmc, clusters, host);
    Readings { read_at, bmc, clusters, host, carried_host, tasks, started: Vec::new(), pins: pins.clone(), moment: None }
}

/// The second look, with what only the first one saw.
fn both(first: NodeView, mut second: NodeView) -> NodeView {
    let gone = first.workloads.into_iter().filter(|w| !second.workloads.iter().any(|s| s.name == w.name)).collect::<Vec<_>>();
    second.workloads.extend(gone);
    second.in_maintenance &= first.in_maintenance;
    second
}

impl Readings {
    /// Would a permit be given, were it not for the boot override?
    pub fn only_left_over(&self, node: &NodeName, verb: ResetType) -> bool {
        let mut without = self.clone();
        without.pins.relaxed.insert(Relax::BootOrder);
        self.left_over().is_some() && unlock::judge(node, self.host_word(), self.pins.unlock.as_deref()).is_ok() && permit(node, verb, &without).is_ok()
    }
    /// A store rebuilds, which ends by itself.
    pub fn only_rebuilds(&self) -> bool {
        self.moment.as_ref().is_some_and(|m| storage::only_rebuilds(&m.stores, self.host_word()))
    }
    /// A boot override that stands.
    pub fn left_over(&self) -> Option<&BootOverride> {
        self.moment.as_ref().and_then(|m| m.boot.as_ref().ok()).filter(|seen| !seen.is_off())
    }
    /// A machine that is off has no host to ask: its silence says nothing, its cluster and its BMC still have to agree.
    pub fn of_machine_off(&self) -> Readings {
        let mut readings = self.clone();
        if matches!(&self.host, Some(Err(fault)) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unknown)) && self.carried_host.is_none() {
            readings.host = None;
        }
        readings
    }

    /// The host's latest word: fresh, or carried over once we silenced it ourselves.
    pub fn host_word(&self) -> Option<&HostView> {
        match &self.host {
            Some(Ok(view)) => Some(view),
            Some(Err(_)) => self.carried_host.as_ref(),
            None => None,
        }
    }
}
