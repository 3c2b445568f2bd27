//! What only counts at the moment of power, and is read just before it: what boots next, and what the stores on the node say.
use super::{
    Readings,
    carries::{self, Asked, Needed},
    readings::Witnesses,
    storage::Raids,
};
use crate::{
    drivers::{bmc::Bmc, cluster::Cluster, host::Host},
    model::{BootOverride, ClusterName, DataStore, Fault, FaultKind, NodeName, Raid},
};
use futures::future::join_all;
use std::{sync::Arc, time::Duration};

#[derive(Debug, Clone)]
pub struct Moment {
    pub boot: Result<BootOverride, Fault>,
    /// By cluster: the stores it knows that keep data on this node.
    pub stores: Vec<(ClusterName, Result<Vec<DataStore>, Fault>)>,
    pub raids: Raids,
    /// What the run needs and the node carries.
    pub carries: Vec<Needed>,
}

/// Asks afresh; the guards judge it beside the witnesses of the same moment.
pub async fn read(from: &Witnesses<'_>, node: &NodeName, readings: &Readings) -> Moment {
    let (own, pins) = (readings.addresses(), &readings.pins);
    let asked =
        Asked { node, net: from.net, own: &own, carries: &pins.carries, resolvers: &pins.own.resolvers, through: &pins.through, clusters: &from.clusters };
    // One after the other: BMCs are small.
    let bmc = async { (boot(from.bmc).await, raid_of_bmc(from.bmc).await) };
    let ((boot, bmc), host, stores, carries) =
        futures::join!(bmc, raid_of_host(from.host.filter(|_| matches!(readings.host, Some(Ok(_))))), stores(&from.clusters), carries::read(&asked));
    Moment { boot, stores, raids: Raids { bmc, host }, carries }
}

pub async fn boot(bmc: &dyn Bmc) -> Result<BootOverride, Fault> {
    bmc.boot_override().await
}

pub async fn raids(bmc: Option<&dyn Bmc>, host: Option<&dyn Host>) -> Raids {
    let bmc = async {
        match bmc {
            Some(bmc) => raid_of_bmc(bmc).await,
            None => None,
        }
    };
    let (bmc, host) = futures::join!(bmc, raid_of_host(host));
    Raids { bmc, host }
}
/// Longer, and what was read before it would be too old to act on.
const SLOW: Duration = Duration::from_secs(20);

async fn raid_of_bmc(bmc: &dyn Bmc) -> Option<Result<Raid, Fault>> {
    match tokio::time::timeout(SLOW, bmc.raid()).await {
        // The protocol, or this machine, has no such thing.
        Ok(Err(fault)) if fault.kind == FaultKind::Unable => None,
        Ok(said) => Some(said),
        Err(_) => Some(Err(Fault::new(FaultKind::Unknown, format!("{}: its storage is not told within {} s", bmc.endpoint(), SLOW.as_secs())))),
    }
}
/// A host that is silent is named by other guards, and is not asked here: its silence would take until the readings are too old.
async fn raid_of_host(host: Option<&dyn Host>) -> Option<Result<Raid, Fault>> {
    let host = host?;
    let unread = || vec![format!("the RAID tools of {}: no answer within {} s", host.endpoint(), SLOW.as_secs())];
    Some(tokio::time::timeout(SLOW, host.raid()).await.unwrap_or_else(|_| Ok(Raid { unread: unread(), ..Raid::default() })))
}

pub async fn stores(clusters: &[(ClusterName, String, Arc<dyn Cluster>)]) -> Vec<(ClusterName, Result<Vec<DataStore>, Fault>)> {
    join_all(clusters.iter().map(|(name, node, driver)| async move { (name.clone(), driver.stores(node).await) })).await
}

impl Moment {
    /// Nothing stands against power: for tests of what lies beside it.
    pub fn quiet() -> Moment {
        Moment {
            boot: Ok(BootOverride { enabled: "Disabled".into(), target: "None".into(), mode: None }),
            stores: Vec::new(),
            raids: Raids::default(),
            carries: Vec::new(),
        }
    }
}
