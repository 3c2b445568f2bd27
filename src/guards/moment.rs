//! What only counts at the moment of power, and is read just before it: what boots next, and what the stores on the node say.
use super::{
    Readings,
    carries::{self, Asked, Needed},
    readings::Witnesses,
};
use crate::{
    drivers::{bmc::Bmc, cluster::Cluster},
    model::{BootOverride, ClusterName, DataStore, Fault, NodeName},
};
use futures::future::join_all;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Moment {
    pub boot: Result<BootOverride, Fault>,
    /// By cluster: the stores it knows that keep data on this node.
    pub stores: Vec<(ClusterName, Result<Vec<DataStore>, Fault>)>,
    /// What the run needs and the node carries.
    pub carries: Vec<Needed>,
}

/// Asks afresh; the guards judge it beside the witnesses of the same moment.
pub async fn read(from: &Witnesses<'_>, node: &NodeName, readings: &Readings) -> Moment {
    let (own, pins) = (readings.addresses(), &readings.pins);
    let asked =
        Asked { node, net: from.net, own: &own, carries: &pins.carries, resolvers: &pins.own.resolvers, through: &pins.through, clusters: &from.clusters };
    let (boot, stores, carries) = futures::join!(boot(from.bmc), stores(&from.clusters), carries::read(&asked));
    Moment { boot, stores, carries }
}

pub async fn boot(bmc: &dyn Bmc) -> Result<BootOverride, Fault> {
    bmc.boot_override().await
}

pub async fn stores(clusters: &[(ClusterName, String, Arc<dyn Cluster>)]) -> Vec<(ClusterName, Result<Vec<DataStore>, Fault>)> {
    join_all(clusters.iter().map(|(name, node, driver)| async move { (name.clone(), driver.stores(node).await) })).await
}

impl Moment {
    /// Nothing stands against power: for tests of what lies beside it.
    pub fn quiet() -> Moment {
        Moment { boot: Ok(BootOverride { enabled: "Disabled".into(), target: "None".into(), mode: None }), stores: Vec::new(), carries: Vec::new() }
    }
}
