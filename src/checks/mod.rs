//! Is the node healthy? One file per kind of check. To add one: write `<name>.rs` here, then the two lines marked below.
use crate::{
    drivers::{bmc::Bmc, cluster::Cluster, host::Host, net::Net},
    kinds::Kind,
    model::{Blocker, Fault, FaultKind, NodeName, Past},
};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

pub mod alertmanager;
pub mod chrony;
pub mod command;
pub mod disk_space;
pub mod http;
pub mod kernel_log;
pub mod mdraid;
pub mod mounts;
pub mod prometheus;
pub mod redfish_health;
pub mod smart;
pub mod systemd;
pub mod tcp;
mod tool;
pub mod zfs;
// line 1 of a new check: `pub mod <name>;`

pub const KINDS: &[Kind<dyn Check>] = &[
    Kind::of::<systemd::Config>(),
    Kind::of::<command::Config>(),
    Kind::of::<http::Config>(),
    Kind::of::<tcp::Config>(),
    Kind::of::<alertmanager::Config>(),
    Kind::of::<chrony::Config>(),
    Kind::of::<disk_space::Config>(),
    Kind::of::<kernel_log::Config>(),
    Kind::of::<mdraid::Config>(),
    Kind::of::<mounts::Config>(),
    Kind::of::<prometheus::Config>(),
    Kind::of::<redfish_health::Config>(),
    Kind::of::<smart::Config>(),
    Kind::of::<zfs::Config>(),
    // line 2: `Kind::of::<<name>::Config>(),`
];

/// What a check may use.
pub struct Probe<'a> {
    pub node: &'a NodeName,
    pub host: Option<&'a dyn Host>,
    pub net: &'a dyn Net,
    pub bmc: Option<&'a dyn Bmc>,
    /// Each with the node's name in it.
    pub clusters: &'a [(String, Arc<dyn Cluster>)],
    /// What was seen and done so far in this run: the picture from before. None outside a run.
    pub past: Option<&'a Past>,
}
impl<'a> Probe<'a> {
    /// Host and network alone.
    pub fn of(node: &'a NodeName, host: Option<&'a dyn Host>, net: &'a dyn Net) -> Self {
        Probe { node, host, net, bmc: None, clusters: &[], past: None }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Healthy(Value),
    /// What is wrong, by name.
    Unhealthy(Vec<Blocker>),
}

/// What would make well what a look found wrong. It is issued as an act: in the journal first, once per boot and check, and then looked at again.
#[derive(Debug, Clone, PartialEq)]
pub struct Repair {
    /// In words, for people and journal: `start node-agent`.
    pub what: String,
    /// The check reads this again when the act is sent.
    pub args: Value,
}

#[async_trait]
pub trait Check: Send + Sync {
    /// `systemd: multipathd, node-agent`.
    fn describe(&self) -> String;
    /// Reads only. A fault means that it could not be asked: never healthy.
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault>;
    /// None: nothing known that would help, or not asked for in the inventory. Pure.
    fn repair(&self, _wrong: &[Blocker]) -> Option<Repair> {
        None
    }
    /// Sends the repair: one exchange. Whether it helped is what the next look says.
    async fn mend(&self, _probe: &Probe<'_>, repair: &Repair) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unable, format!("BUG: {} has no repair `{}`", self.describe(), repair.what)))
    }
}
