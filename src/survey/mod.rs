//! Drivers → `model::Survey`: the world read once, for check and plan. Reads only; nothing here can write.
use crate::{
    drivers::{
        bmc::Bmc,
        cluster::{Ask, Cluster},
        host::Host,
        net::Net,
    },
    due::{Due, DueAnswer, DueProbe, Served},
    guards::{Own, Through, boot_order, branch, carries, empty, moment, storage, unlock},
    model::{
        AtPower, Blocker, Boot, BootOverride, Carried, ClusterName, ClusterSurvey, DueSeen, Fault, FaultKind, HostView, How, LeaseAnswer, NodeName, NodeSurvey,
        NodeView, Refused, Relax, Survey, Timestamp, WaySeen,
    },
};
use futures::{StreamExt, future::join_all, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Connections held side by side: the usual limit of 1024 descriptors bears so many. A node takes what it may need at most,
/// so that BMCs alone are asked by the hundred, and nodes whose cluster and host are asked as well by fewer.
const CONNECTIONS: usize = 900;
/// Of a cluster for one node, and of a host.
const OF_OTHERS: usize = 2;
/// Drivers bound every exchange themselves; this only ends a look that one of them forgot to.
const LIMIT: Duration = Duration::from_secs(90);
/// Between the tries of a read that the cluster could answer and would not just then, as a busy one says (429, 503): one such answer refuses no plan.
const AGAIN: [Duration; 3] = [Duration::from_millis(500), Duration::from_millis(1500), Duration::from_secs(3)];

/// What a survey may look through. A client that could not be made (a secret that is missing) refuses its node, not the survey.
#[derive(Default)]
pub struct Doors {
    pub clusters: BTreeMap<ClusterName, Result<Arc<dyn Cluster>, Fault>>,
    pub nodes: BTreeMap<NodeName, NodeDoors>,
    /// Counts the nodes that were looked at, for whoever shows how far it is.
    pub looked_at: Arc<AtomicUsize>,
    /// Where this process runs.
    pub own: Own,
    /// A run will touch power: how hardware RAID is costs a small BMC some requests.
    pub raids: bool,
    /// For asking whether what a node carries answers from elsewhere; none: nobody asks.
    pub net: Option<Arc<dyn Net>>,
    /// When runs of this store last served the nodes; none: nobody looked.
    pub served: Option<BTreeMap<NodeName, Timestamp>>,
}

#[derive(Default)]
pub struct NodeDoors {
    /// Every way in on its own: a second one that fails behind a working first must be seen.
    pub bmc: Vec<BmcDoor>,
    /// Cluster and the node's name there, in the order in which they are entered.
    pub seats: Vec<(ClusterName, String)>,
    pub host: Option<Result<Arc<dyn Host>, Fault>>,
    /// Addresses of the jump hosts on the way to it.
    pub jumps: Vec<IpAddr>,
    /// The inventory's word on how its root disk unlocks.
    pub unlock: Option<String>,
    /// Containers that belong to the machine.
    pub known_containers: Vec<String>,
    /// What it carries that the run needs, as the inventory says.
    pub carries: BTreeSet<Carried>,
}

impl NodeDoors {
    fn connections(&self) -> u32 {
        let of_host = if self.host.is_some() { OF_OTHERS } else { 0 };
        let ways = self.bmc.iter().filter_map(|door| door.driver.as_ref().ok()).map(|bmc| bmc.connections()).sum::<usize>();
        let all = ways + self.seats.len() * OF_OTHERS + of_host;
        all.clamp(1, CONNECTIONS) as u32
    }
}

pub struct BmcDoor {
    pub protocol: String,
    /// Without credentials.
    pub endpoint: String,
    /// As the inventory writes it.
    pub host: String,
    /// What that resolves to; empty where it does not.
    pub addresses: Vec<IpAddr>,
    pub driver: Result<Arc<dyn Bmc>, Fault>,
}
impl BmcDoor {
    /// Only there may time be scaled: every address of it has to be.
    pub fn loopback(&self) -> bool {
        !self.addresses.is_empty() && self.addresses.iter().all(|a| a.to_canonical().is_loopback())
    }
    /// As `model::chain` compares a BMC's address.
    fn hosts(&self) -> Vec<String> {
        let mut hosts = vec![self.host.clone()];
        let addresses: BTreeSet<IpAddr> = self.addresses.iter().map(IpAddr::to_canonical).collect();
        hosts.extend(addresses.iter().map(IpAddr::to_string).filter(|a| *a != self.host));
        hosts
    }
}

/// One reason of the playbook's `[due]`.
pub struct Reason {
    pub kind: String,
    pub driver: Box<dyn Due>,
}

pub async fn take(at: Timestamp, doors: &Doors, due: &[Reason], ask: &Ask) -> Survey {
    let through = &through(doors);
    let clusters = join_all(doors.clusters.iter().map(|(name, driver)| async move { (name.clone(), cluster(name, driver.as_ref()).await) }));
    let free = Semaphore::new(CONNECTIONS);
    // Boxed: the future of a node holds those of every driver it asks, and there are many.
    let nodes = stream::iter(&doors.nodes).map(|(name, node)| {
        let free = &free;
        Box::pin(async move {
            let _held = free.acquire_many(node.connections()).await.expect("BUG: the connections of a survey are never closed");
            let seen = look(name, node, doors, through, at, due, ask).await;
            doors.looked_at.fetch_add(1, Ordering::Relaxed);
            (name.clone(), seen)
        })
    });
    let nodes = nodes.buffer_unordered(CONNECTIONS).collect::<BTreeMap<_, _>>();
    let (clusters, nodes) = futures::join!(clusters, nodes);
    Survey { at, clusters: clusters.into_iter().collect(), nodes }
}

/// The BMCs and jump hosts of all nodes, by their addresses: what is reached through a node is one of them.
fn through(doors: &Doors) -> Through {
    let mut all: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
    for (name, node) in &doors.nodes {
        for ip in node.bmc.iter().flat_map(|door| &door.addresses) {
            all.entry(ip.to_canonical()).or_default().insert(format!("the BMC of {name}"));
        }
        for ip in &node.jumps {
            all.entry(ip.to_canonical()).or_default().insert(format!("the jump host of {name}"));
        }
    }
    Arc::new(all)
}

/// Before an admission: who is out of service besides `leave_out` (this run's own nodes, by their names in the cluster), and how many there are in all.
pub async fn cluster_seen(driver: &dyn Cluster, leave_out: &BTreeSet<String>) -> Result<(Vec<(String, String)>, usize), Fault> {
    let members = limited("the cluster's list of nodes", driver.members()).await?;
    let count = members.len();
    let out = members.into_iter().filter(|m| !leave_out.contains(&m.name)).filter_map(|m| m.out.map(|why| (m.name, why)));
    Ok((out.collect(), count))
}

async fn cluster(name: &ClusterName, driver: Result<&Arc<dyn Cluster>, &Fault>) -> ClusterSurvey {
    let begun = Instant::now();
    let unseen = |fault: Fault| ClusterSurvey {
        what: name.0.clone(),
        members: Err(fault),
        lease: false,
        held_by: None,
        took_ms: ms(begun),
        missing_rights: vec![],
        warnings: vec![],
    };
    let driver = match driver {
        Ok(driver) => driver,
        Err(fault) => return unseen(fault.clone()),
    };
    let reached = match patiently(&format!("cluster {name}"), || driver.probe()).await {
        Ok(reached) => reached,
        Err(fault) => return unseen(fault),
    };
    let holder = async { if reached.lease { Some(limited(&format!("the lock in cluster {name}"), driver.lease_holder()).await) } else { None } };
    let list = format!("the list of nodes of cluster {name}");
    let (members, holder) = futures::join!(patiently(&list, || driver.members()), holder);
    let mut warnings = reached.warnings;
    let held_by = match holder {
        Some(Ok(LeaseAnswer::Held { by, since })) => Some(format!("{by} since {since}")),
        Some(Err(fault)) => {
            warnings.push(format!("its lock cannot be read: {fault}"));
            None
        }
        Some(Ok(LeaseAnswer::Ours | LeaseAnswer::Unsupported)) | None => None,
    };
    ClusterSurvey { what: reached.what, members, lease: reached.lease, held_by, took_ms: ms(begun), missing_rights: reached.missing_rights, warnings }
}

async fn look(name: &NodeName, node: &NodeDoors, doors: &Doors, through: &Through, now: Timestamp, due: &[Reason], ask: &Ask) -> NodeSurvey {
    let clusters = &doors.clusters;
    // What boots next is a question to one of them: the first, unless it is dead.
    let bmc = join_all(node.bmc.iter().enumerate().map(|(nth, door)| way(door, nth == 0)));
    let seats = join_all(node.seats.iter().map(|(cluster, here)| async move {
        let seen = match clusters.get(cluster) {
            Some(Ok(driver)) => {
                let seen = patiently(&format!("{here} in cluster {cluster}"), || driver.look(here, ask)).await;
                let stop = ask.how == How::Stop && !driver.can_stop();
                seen.map(|mut view| {
                    view.impossible
                        .extend(stop.then(|| Blocker::new(format!("cluster {cluster}"), "evacuate.how = \"stop\" is not offered by a cluster of its kind")));
                    view
                })
            }
            Some(Err(fault)) => Err(fault.clone()),
            None => Err(Fault::new(FaultKind::Invalid, format!("BUG: {name} is in cluster {cluster}, which is not connected"))),
        };
        (cluster.clone(), seen)
    }));
    let host = async {
        let begun = Instant::now();
        let seen = match &node.host {
            None => None,
            Some(Err(fault)) => Some(Err(fault.clone())),
            Some(Ok(host)) => Some(limited(&format!("the host {}", host.endpoint()), host.look()).await),
        };
        let took = ms(begun);
        (seen, took)
    };
    let (bmc, clusters, (host, host_took_ms)) = futures::join!(bmc, seats, host);
    let (bmc, boots): (Vec<WaySeen>, Vec<Option<BootSeen>>) = bmc.into_iter().unzip();
    let view = host.as_ref().and_then(|h| h.as_ref().ok());
    let served = doors.served.as_ref().map(|all| Served { now, last: all.get(name).copied() });
    let due = reasons(name, node, &bmc, view, served, due).await;
    let at_power = at_power(name, node, doors, through, &clusters, view, (&bmc, boots)).await;
    if let Some(Ok(host)) = &node.host {
        host.close().await;
    }
    // A BMC has few sessions: none of ours stays behind.
    join_all(node.bmc.iter().filter_map(|door| door.driver.as_ref().ok()).map(|bmc| bmc.close())).await;
    NodeSurvey { bmc, clusters, host, host_took_ms, due, at_power }
}

/// Would power be allowed now? Judged by the guards themselves (safety.md, 14 to 16).
async fn at_power(
    name: &NodeName,
    node: &NodeDoors,
    doors: &Doors,
    through: &Through,
    seen: &[(ClusterName, Result<NodeView, Fault>)],
    host: Option<&HostView>,
    (ways, boots): (&[WaySeen], Vec<Option<BootSeen>>),
) -> AtPower {
    // The first way that answered: a dead one was named already, and would only be waited for again.
    let bmc = node.bmc.iter().zip(ways).filter(|(_, way)| way.seen.is_ok()).find_map(|(door, _)| door.driver.as_ref().ok());
    let boot = async {
        match bmc {
            _ if boots.iter().any(Option::is_some) => boots.into_iter().flatten().next(),
            Some(bmc) => Some(limited(&format!("the boot override of {name}"), moment::boot(bmc.as_ref())).await),
            None => None,
        }
    };
    let seats: Vec<_> = node.seats.iter().filter_map(|(c, here)| Some((c.clone(), here.clone(), doors.clusters.get(c)?.as_ref().ok()?.clone()))).collect();
    let late = |what: &str| Fault::new(FaultKind::Unknown, format!("{what} of {name}: no answer within {} s", LIMIT.as_secs()));
    // Silence is no word that nothing is there.
    let stores = async {
        let unseen = |_| seats.iter().map(|(cluster, ..)| (cluster.clone(), Err(late("the stores")))).collect();
        tokio::time::timeout(LIMIT, moment::stores(&seats)).await.unwrap_or_else(unseen)
    };
    let raids = async {
        let ssh = node.host.as_ref().and_then(|h| h.as_ref().ok()).filter(|_| host.is_some());
        match doors.raids {
            true => moment::raids(bmc.map(AsRef::as_ref), ssh.map(AsRef::as_ref)).await,
            false => storage::Raids::default(),
        }
    };
    let views = || seen.iter().filter_map(|(_, view)| view.as_ref().ok());
    let told = views().flat_map(|v| v.here.addresses.iter().chain(&v.identity.addresses));
    let own = carries::reachable(told.chain(host.into_iter().flat_map(|h| &h.identity.addresses)));
    let needed = async {
        let Some(net) = &doors.net else { return Vec::new() };
        let asked =
            carries::Asked { node: name, net: net.as_ref(), own: &own, carries: &node.carries, resolvers: &doors.own.resolvers, through, clusters: &seats };
        let unseen = |_| vec![carries::Needed { what: "what the run needs".into(), elsewhere: Err(vec![late("what is carried").to_string()]) }];
        tokio::time::timeout(LIMIT, carries::read(&asked)).await.unwrap_or_else(unseen)
    };
    let (boot, stores, needed, raids) = futures::join!(boot, stores, needed, raids);
    let boots = views().filter_map(|v| match &v.boot {
        Some(Boot::Id(id)) => Some(id),
        _ => None,
    });
    let bmcs = ways.iter().filter_map(|way| way.seen.as_ref().ok()).map(|b| &b.identity);
    let identities = views().map(|v| &v.identity).chain(host.map(|h| &h.identity)).chain(bmcs);
    let guests = host.into_iter().flat_map(|h| &h.guest_uuids).chain(views().flat_map(|v| &v.here.guest_uuids));
    let judged = [
        (None, branch::sits_on(name, &doors.own, boots.chain(host.map(|h| &h.boot_id)), identities, guests)),
        (None, carries::judge(name, &needed)),
        (Some(Relax::Storage), storage::judge(name, &stores, host, &raids)),
        (Some(Relax::BootOrder), unlock::judge(name, host, node.unlock.as_deref())),
    ];
    let override_left = boot.as_ref().and_then(|boot| boot_order::judge(name, boot, host).err());
    let clears = boot.as_ref().is_some_and(|boot| boot.as_ref().is_ok_and(|seen| !seen.is_off()));
    let override_left = override_left.map(|fault| Refused { relax: Some(Relax::BootOrder), fault, clears });
    AtPower {
        stores: storage::seen(&stores, host, &raids).into_iter().cloned().collect(),
        boot: boot.and_then(Result::ok),
        carries: carries::shown(&needed),
        unread: raids.unread(),
        strays: host.map(|host| empty::strays(host, seen, &node.known_containers)).unwrap_or_default(),
        refused: judged
            .into_iter()
            .filter_map(|(relax, judged)| judged.err().map(|fault| Refused { relax, fault, clears: false }))
            .chain(override_left)
            .collect(),
    }
}

type BootSeen = Result<BootOverride, Fault>;

async fn way(door: &BmcDoor, with_boot: bool) -> (WaySeen, Option<BootSeen>) {
    let begun = Instant::now();
    let what = format!("the BMC at {}", door.endpoint);
    let (seen, boot) = match &door.driver {
        Ok(bmc) if with_boot => match limited(&what, bmc.look_and_boot()).await {
            Ok((view, boot)) => (Ok(view), Some(boot)),
            Err(fault) => (Err(fault), None),
        },
        Ok(bmc) => (limited(&what, bmc.look()).await, None),
        Err(fault) => (Err(fault.clone()), None),
    };
    let took_ms = ms(begun);
    let tasks = match (&door.driver, &seen) {
        (Ok(bmc), Ok(_)) => Some(limited(&format!("the tasks of the BMC at {}", door.endpoint), bmc.live_tasks()).await),
        _ => None,
    };
    let way =
        WaySeen { protocol: door.protocol.clone(), endpoint: door.endpoint.clone(), loopback: door.loopback(), hosts: door.hosts(), took_ms, seen, tasks };
    (way, boot)
}

async fn reasons(name: &NodeName, node: &NodeDoors, ways: &[WaySeen], view: Option<&HostView>, served: Option<Served>, due: &[Reason]) -> Vec<DueSeen> {
    let host = node.host.as_ref().and_then(|h| h.as_ref().ok()).filter(|_| view.is_some());
    let bmc = node.bmc.iter().zip(ways).find(|(_, way)| way.seen.is_ok()).and_then(|(door, _)| door.driver.as_ref().ok());
    let probe = DueProbe { node: name, host: host.map(AsRef::as_ref), bmc: bmc.map(AsRef::as_ref), view, served };
    // One after another: they share one SSH connection.
    let mut seen = Vec::new();
    for reason in due {
        let kind = reason.kind.clone();
        seen.push(match limited(&format!("{kind} of {name}"), reason.driver.look(&probe)).await {
            Ok(DueAnswer::Due(why)) => DueSeen { kind, due: Ok(Some(why)), why_not: None },
            Ok(DueAnswer::NotDue(why)) => DueSeen { kind, due: Ok(None), why_not: Some(why) },
            Err(fault) => DueSeen { kind, due: Err(fault), why_not: None },
        });
    }
    if let (Some(bmc), false) = (bmc, due.is_empty()) {
        bmc.close().await;
    }
    seen
}

async fn patiently<T, F: Future<Output = Result<T, Fault>>>(what: &str, read: impl Fn() -> F) -> Result<T, Fault> {
    for wait in AGAIN {
        match limited(what, read()).await {
            Err(fault) if fault.kind == FaultKind::Unwilling => tokio::time::sleep(wait).await,
            answer => return answer,
        }
    }
    limited(what, read()).await
}

async fn limited<T>(what: &str, reading: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(LIMIT, reading).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::new(FaultKind::Unknown, format!("{what}: no answer within {} s", LIMIT.as_secs()))),
    }
}

fn ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
