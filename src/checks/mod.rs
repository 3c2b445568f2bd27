//! Is the node healthy? One file per kind of check. To add one: write `<name>.rs` here, then the two lines marked below.
use crate::{
    drivers::{bmc::Bmc, cluster::Cluster, host::Host, net::Net},
    kinds::Kind,
    model::{Blocker, Fault, NodeName, Past},
};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

pub mod ceph;
pub mod command;
pub mod http;
pub mod stores;
pub mod systemd;
pub mod tcp;
// line 1 of a new check: `pub mod <name>;`

pub const KINDS: &[Kind<dyn Check>] = &[
    Kind::of::<systemd::Config>(),
    Kind::of::<command::Config>(),
    Kind::of::<http::Config>(),
    Kind::of::<tcp::Config>(),
    Kind::of::<stores::Config>(),
    Kind::of::<ceph::Config>(),
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

#[async_trait]
pub trait Check: Send + Sync {
    /// `systemd: multipathd, node-agent`.
    fn describe(&self) -> String;
    /// Reads only. A fault means that it could not be asked: never healthy.
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault>;
}
