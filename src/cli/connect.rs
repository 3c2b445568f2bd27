//! Settings become drivers: the one place that knows every family.
use super::{context::Context, machine};
use crate::{
    checks,
    drivers::{
        bmc::{self, Bmc, ways::Ways},
        cluster::{self, Ask, Cluster},
        host::{self, Host},
        net::probe::Probe,
    },
    due,
    guards::{Pins, Through},
    inventory::Inventory,
    kinds,
    model::{Carried, ClusterName, Fault, FaultKind, NodeName, RunId, Setting, Trust},
    plan::{NO_CLUSTER, Plan, PlannedNode},
    steps::{At, Cx, Listener, Seat},
    survey::{BmcDoor, Doors, NodeDoors},
};
use futures::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

const RESOLVED_AT_ONCE: usize = 64;

/// What has to be connected, from an inventory or from a frozen plan.
pub struct Wiring {
    pub base: PathBuf,
    pub clusters: BTreeMap<ClusterName, Setting>,
    pub nodes: BTreeMap<NodeName, NodeWiring>,
}
pub struct NodeWiring {
    pub seats: Vec<(ClusterName, String)>,
    pub bmc: Vec<Setting>,
    pub host: Option<Setting>,
    pub trust: Trust,
    pub unlock: Option<String>,
    pub carries: BTreeSet<Carried>,
    pub known_containers: Vec<String>,
}

impl Wiring {
    pub fn of_inventory(inventory: &Inventory, nodes: &BTreeSet<NodeName>) -> Wiring {
        let nodes: BTreeMap<_, _> = inventory
            .nodes
            .iter()
            .filter(|(name, _)| nodes.contains(*name))
            .map(|(name, n)| {
                let seats = n.seats.iter().map(|s| (s.cluster.clone(), s.node.clone())).collect();
                let trust = inventory.trust.get(name).cloned().unwrap_or_default();
                (
                    name.clone(),
                    NodeWiring {
                        seats,
                        bmc: n.bmc.clone(),
                        host: n.host.clone(),
                        trust,
                        unlock: n.unlock.clone(),
                        carries: n.carries.iter().cloned().collect(),
                        known_containers: n.known_containers.clone(),
                    },
                )
            })
            .collect();
        let used: BTreeSet<&ClusterName> = nodes.values().flat_map(|n| &n.seats).map(|(c, _)| c).collect();
        let clusters = inventory.clusters.iter().filter(|(name, _)| used.contains(name)).map(|(name, c)| (name.clone(), c.setting.clone())).collect();
        Wiring { base: inventory.base.clone(), clusters, nodes }
    }

    pub fn of_plan(plan: &Plan) -> Wiring {
        let node = |n: &PlannedNode| NodeWiring {
            seats: n.seats.iter().map(|s| (s.cluster.clone(), s.node.clone())).collect(),
            bmc: n.bmc.clone(),
            host: n.host.clone(),
            trust: n.trust.clone(),
            unlock: n.unlock.clone(),
            carries: n.carries.clone(),
            known_containers: n.known_containers.clone(),
        };
        Wiring { base: PathBuf::from(&plan.base), clusters: plan.clusters.clone(), nodes: plan.nodes.iter().map(|(name, n)| (name.clone(), node(n))).collect() }
    }

    /// For a survey: every way in on its own, and what cannot be made refuses its node alone.
    pub async fn doors(&self, cx: &Context) -> Doors {
        let clusters = self.clusters.iter().map(|(name, setting)| (name.clone(), cluster_of(cx, &self.base, name, setting))).collect();
        // Names are resolved side by side: one slow answer each, a thousand times after another, is a quarter of an hour.
        let nodes = stream::iter(&self.nodes).map(|(name, wiring)| async move {
            let host = wiring.host.as_ref().map(|h| host_of(cx, &self.base, name, h, &wiring.trust));
            let mut doors = NodeDoors {
                seats: wiring.seats.clone(),
                host,
                jumps: jumps(cx, &self.base, name, wiring.host.as_ref(), &wiring.trust).await,
                bmc: Vec::new(),
                unlock: wiring.unlock.clone(),
                carries: wiring.carries.clone(),
                known_containers: wiring.known_containers.clone(),
            };
            for setting in &wiring.bmc {
                doors.bmc.push(door(cx, &self.base, name, setting, &wiring.trust).await);
            }
            (name.clone(), doors)
        });
        Doors { clusters, nodes: nodes.buffer_unordered(RESOLVED_AT_ONCE).collect().await, own: machine::own(), net: Some(Arc::new(Probe)), ..Doors::default() }
    }
}

async fn door(cx: &Context, base: &Path, node: &NodeName, setting: &Setting, trust: &Trust) -> BmcDoor {
    let (endpoint, host) = match kinds::make(bmc::KINDS, setting) {
        Ok(config) => (config.endpoint(), config.host()),
        Err(_) => (setting.kind.clone(), String::new()),
    };
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), 0)).await;
    let addresses = found.map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default();
    BmcDoor { protocol: setting.kind.clone(), endpoint, host, addresses, driver: bmc_of(cx, base, node, setting, trust) }
}

/// Addresses of the machines through which a host is reached. What cannot be told or resolved is found when the host is asked.
async fn jumps(cx: &Context, base: &Path, node: &NodeName, setting: Option<&Setting>, trust: &Trust) -> Vec<IpAddr> {
    let config = setting.and_then(|setting| kinds::make(host::KINDS, setting).ok());
    let hosts = config.and_then(|config| config.carried_by(&cx.connect(base, Some(node), trust.clone())).ok()).unwrap_or_default();
    let mut all = Vec::new();
    for host in hosts {
        all.extend(tokio::net::lookup_host((host.trim_matches(['[', ']']), 0)).await.into_iter().flatten().map(|a| a.ip()));
    }
    all
}

fn senseless(what: String) -> Fault {
    Fault::new(FaultKind::Invalid, what)
}

pub fn cluster_of(cx: &Context, base: &Path, name: &ClusterName, setting: &Setting) -> Result<Arc<dyn Cluster>, Fault> {
    let config = kinds::make(cluster::KINDS, setting).map_err(senseless)?;
    config.connect(&cx.connect(base, None, Trust::default())).map_err(|f| Fault { what: format!("cluster {name}: {}", f.what), ..f })
}
pub fn bmc_of(cx: &Context, base: &Path, node: &NodeName, setting: &Setting, trust: &Trust) -> Result<Arc<dyn Bmc>, Fault> {
    let config = kinds::make(bmc::KINDS, setting).map_err(senseless)?;
    config.connect(&cx.connect(base, Some(node), trust.clone()))
}
pub fn host_of(cx: &Context, base: &Path, node: &NodeName, setting: &Setting, trust: &Trust) -> Result<Arc<dyn Host>, Fault> {
    let config = kinds::make(host::KINDS, setting).map_err(senseless)?;
    config.connect(&cx.connect(base, Some(node), trust.clone()))
}

pub type Clusters = BTreeMap<ClusterName, Arc<dyn Cluster>>;

/// Everything the engine works through, from the frozen plan alone.
pub async fn for_run(cx: &Context, run: &RunId, plan: &Plan, listener: Arc<dyn Listener>) -> Result<(BTreeMap<NodeName, Arc<Cx>>, Clusters), Fault> {
    let base = PathBuf::from(&plan.base);
    let own = machine::own();
    let through = through(cx, &base, plan).await;
    let mut clusters = BTreeMap::new();
    for (name, setting) in &plan.clusters {
        clusters.insert(name.clone(), cluster_of(cx, &base, name, setting)?);
    }
    let mut nodes = BTreeMap::new();
    for (name, planned) in &plan.nodes {
        // One proven way in is enough; what cannot be made is missed only where it was the last.
        let (ways, broken): (Vec<_>, Vec<_>) = planned.bmc.iter().map(|s| bmc_of(cx, &base, name, s, &planned.trust)).partition(Result::is_ok);
        let ways: Vec<_> = ways.into_iter().filter_map(Result::ok).collect();
        if let (true, Some(fault)) = (ways.is_empty(), broken.into_iter().find_map(Result::err)) {
            return Err(fault);
        }
        let host = planned.host.as_ref().map(|s| host_of(cx, &base, name, s, &planned.trust)).transpose()?;
        let missing = |cluster: &ClusterName| senseless(format!("BUG: the plan does not hold cluster {cluster} of {name}"));
        let seats: Result<Vec<Seat>, Fault> = planned
            .seats
            .iter()
            .map(|s| {
                Ok(Seat { cluster: s.cluster.clone(), node: s.node.clone(), driver: clusters.get(&s.cluster).cloned().ok_or_else(|| missing(&s.cluster))? })
            })
            .collect();
        let checks: Result<Vec<_>, Fault> = planned
            .checks
            .iter()
            .map(|c| {
                let at = serde_json::from_value(c.at.clone().into()).map_err(|e| senseless(format!("check of {name}: {e}")))?;
                Ok::<(At, _), _>((at, kinds::make(checks::KINDS, &c.check).map_err(senseless)?))
            })
            .collect();
        let due: Result<Vec<_>, Fault> = plan.due.iter().map(|s| Ok((s.kind.clone(), kinds::make(due::KINDS, s).map_err(senseless)?))).collect();
        nodes.insert(
            name.clone(),
            Arc::new(Cx {
                node: name.clone(),
                seats: seats?,
                bmc: Arc::new(Ways(ways)),
                host,
                net: Arc::new(Probe),
                checks: checks?,
                due: due?,
                pins: Pins {
                    identity: planned.trust.identity.clone(),
                    bmc_host: planned.bmc_host.clone(),
                    shared: planned.shared.clone(),
                    vouched: plan.vouched.clone(),
                    clusterless: clusterless(plan, planned),
                    relaxed: planned.relaxed.clone(),
                    unlock: planned.unlock.clone(),
                    carries: planned.carries.clone(),
                    containers: planned.known_containers.clone(),
                    through: through.clone(),
                    own: own.clone(),
                },
                ask: Ask { run: Some(run.clone()), reason: cx.global.reason.clone(), inherited: planned.inherits_from.clone(), ..Ask::default() }
                    .to_evacuate(&plan.evacuate()),
                time: plan.time,
                listener: listener.clone(),
            }),
        );
    }
    Ok((nodes, clusters))
}

/// The BMCs of the run, by the addresses that they had when it was planned, and the jump hosts.
async fn through(cx: &Context, base: &Path, plan: &Plan) -> Through {
    let mut all: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
    for (name, node) in &plan.nodes {
        for ip in node.bmc_host.split_whitespace().filter_map(|word| word.parse::<IpAddr>().ok()) {
            all.entry(ip.to_canonical()).or_default().insert(format!("the BMC of {name}"));
        }
        for ip in jumps(cx, base, name, node.host.as_ref(), &node.trust).await {
            all.entry(ip.to_canonical()).or_default().insert(format!("the jump host of {name}"));
        }
    }
    Arc::new(all)
}

/// By the planned kind, never by what a view happens to lack: a cluster that does not say who its node is must not count as none.
fn clusterless(plan: &Plan, node: &PlannedNode) -> Vec<ClusterName> {
    let none = |cluster: &ClusterName| plan.clusters.get(cluster).is_some_and(|setting| setting.kind == NO_CLUSTER);
    node.seats.iter().map(|s| s.cluster.clone()).filter(none).collect()
}
