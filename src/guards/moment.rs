//! What only counts at the moment of power, and is read just before it: what boots next, and what the stores on the node say.
use super::readings::Witnesses;
use crate::{
    drivers::{bmc::Bmc, cluster::Cluster},
    model::{BootOverride, ClusterName, DataStore, Fault},
};
use futures::future::join_all;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Moment {
    pub boot: Result<BootOverride, Fault>,
    /// By cluster: the stores it knows that keep data on this node.
    pub stores: Vec<(ClusterName, Result<Vec<DataStore>, Fault>)>,
}

/// Asks afresh; the guards judge it beside the witnesses of the same moment.
pub async fn read(from: &Witnesses<'_>) -> Moment {
    let (boot, stores) = futures::join!(boot(from.bmc), stores(&from.clusters));
    Moment { boot, stores }
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
        Moment { boot: Ok(BootOverride { enabled: "Disabled".into(), target: "None".into(), mode: None }), stores: Vec::new() }
    }
}
