//! Is the node healthy? One file per kind of check. To add one: write `<name>.rs` here, then the two lines marked below.
use crate::{
    drivers::{host::Host, net::Net},
    kinds::Kind,
    model::{Blocker, Fault, NodeName},
};
use async_trait::async_trait;
use serde_json::Value;

pub mod command;
pub mod http;
pub mod systemd;
pub mod tcp;
// line 1 of a new check: `pub mod <name>;`

pub const KINDS: &[Kind<dyn Check>] = &[
    Kind::of::<systemd::Config>(),
    Kind::of::<command::Config>(),
    Kind::of::<http::Config>(),
    Kind::of::<tcp::Config>(),
    // line 2: `Kind::of::<<name>::Config>(),`
];

/// What a check may use.
pub struct Probe<'a> {
    pub node: &'a NodeName,
    pub host: Option<&'a dyn Host>,
    pub net: &'a dyn Net,
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
