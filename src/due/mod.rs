//! What makes a node due: one file per reason. To add one: write `<name>.rs` here, then the two lines marked below.
//! In a playbook a reason without options is its bare name (`"reboot-required"`), one with options a table (`{ uptime-over = "90d" }`).
use crate::{
    drivers::{bmc::Bmc, host::Host},
    kinds::Kind,
    model::{Fault, HostView, NodeName, Timestamp},
};
use async_trait::async_trait;

pub mod command;
pub mod firmware_below;
pub mod kernel_outdated;
pub mod last_maintained_before;
pub mod packages_pending;
pub mod reboot_required;
pub mod uptime_over;
// line 1 of a new reason: `pub mod <name>;`

pub const KINDS: &[Kind<dyn Due>] = &[
    Kind::of::<reboot_required::Config>(),
    Kind::of::<packages_pending::Config>(),
    Kind::of::<command::Config>(),
    Kind::of::<kernel_outdated::Config>(),
    Kind::of::<uptime_over::Config>(),
    Kind::of::<firmware_below::Config>(),
    Kind::of::<last_maintained_before::Config>(),
    // line 2: `Kind::of::<<name>::Config>(),`
];

pub struct DueProbe<'a> {
    pub node: &'a NodeName,
    pub host: Option<&'a dyn Host>,
    /// The first way in that answers.
    pub bmc: Option<&'a dyn Bmc>,
    /// The survey's look, so that nothing is asked twice.
    pub view: Option<&'a HostView>,
    /// None: nobody looked into the store.
    pub served: Option<Served>,
}

/// What the store knows of earlier services of the node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    pub now: Timestamp,
    /// When a run last took it through service and back, verified.
    pub last: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DueAnswer {
    Due(String),
    /// How it was found not to be.
    NotDue(String),
}

#[async_trait]
pub trait Due: Send + Sync {
    /// Reads only. A fault is neither yes nor no (safety.md, 17).
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault>;
}
