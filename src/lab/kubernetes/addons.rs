//! What is installed in the cluster besides Kubernetes itself, and what goes wrong there, by name. Troubles come and go while it runs.
use super::store::Resource;
use std::{
    collections::BTreeSet,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard},
};

#[derive(Clone, Default)]
pub struct Addons {
    /// medik8s' Node Maintenance Operator.
    pub node_maintenance: bool,
    pub kubevirt: bool,
    pub troubles: Troubles,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    SucceededLies,
    OperatorDead,
    OldOperator,
    ReCordon,
    WebhookDown,
    WebhookHiccup,
    EtcdQuorum,
    NoWebhook,
    MigrationFails,
    MigrationHangs,
    VirtApiDown,
    NoEvacuateCancel,
}

/// Name, and what it does.
pub const TROUBLES: [(&str, Trouble, &str); 12] = [
    ("succeeded-lies", Trouble::SucceededLies, "a NodeMaintenance says Succeeded at once, and nothing was evicted"),
    ("operator-dead", Trouble::OperatorDead, "nobody works on NodeMaintenances, nor on their deletion"),
    ("operator-old", Trouble::OldOperator, "as up to v0.19: a lost lease is never given up on, and hinders deletion for ever"),
    ("re-cordon", Trouble::ReCordon, "the node is cordoned once more after its NodeMaintenance is gone"),
    ("webhook-down", Trouble::WebhookDown, "the NodeMaintenance webhook does not answer"),
    ("webhook-hiccup", Trouble::WebhookHiccup, "the NodeMaintenance webhook cannot read the nodes"),
    ("etcd-quorum", Trouble::EtcdQuorum, "the NodeMaintenance webhook sees the etcd quorum in danger"),
    ("webhook-absent", Trouble::NoWebhook, "no NodeMaintenance is judged before it is stored"),
    ("migration-fails", Trouble::MigrationFails, "every live migration fails"),
    ("migration-hangs", Trouble::MigrationHangs, "live migrations run and never end"),
    ("virt-api-down", Trouble::VirtApiDown, "KubeVirt's eviction webhook does not answer"),
    ("no-evacuate-cancel", Trouble::NoEvacuateCancel, "as before KubeVirt 1.7: an evacuation cannot be cancelled"),
];

impl FromStr for Trouble {
    type Err = String;
    fn from_str(name: &str) -> Result<Trouble, String> {
        let known = || TROUBLES.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
        TROUBLES.iter().find(|(n, ..)| *n == name).map(|(_, trouble, _)| *trouble).ok_or_else(|| format!("no trouble `{name}`; there are {}", known()))
    }
}

#[derive(Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeSet<Trouble>>>);
impl Troubles {
    fn set(&self) -> MutexGuard<'_, BTreeSet<Trouble>> {
        self.0.lock().expect("BUG: a holder of the troubles panicked")
    }
    pub fn begin(&self, trouble: Trouble) {
        self.set().insert(trouble);
    }
    pub fn end(&self, trouble: Trouble) {
        self.set().remove(&trouble);
    }
    pub fn has(&self, trouble: Trouble) -> bool {
        self.set().contains(&trouble)
    }
}

pub const NODE_MAINTENANCE: &str = "nodemaintenance.medik8s.io/v1beta1";
pub const KUBEVIRT: &str = "kubevirt.io/v1";

impl Addons {
    /// Without its operator a kind does not exist.
    pub fn serves(&self, version: &str) -> bool {
        match version {
            NODE_MAINTENANCE => self.node_maintenance,
            KUBEVIRT => self.kubevirt,
            _ => true,
        }
    }
}

/// A resource that a CustomResourceDefinition made: it has no strategic merge, and its finalizers hold it.
pub fn is_custom(resource: &Resource) -> bool {
    matches!(resource.version, NODE_MAINTENANCE | KUBEVIRT)
}
