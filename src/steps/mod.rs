//! One goal for one node. `look` reads and says what comes next; `act` sends one change. The loop around them is `engine::task`.
//! To add a step: write `<name>.rs` here, then the two lines marked below.
use crate::{
    checks::Check,
    drivers::{
        bmc::Bmc,
        cluster::{Ask, Cluster},
        host::Host,
        net::Net,
    },
    guards::Pins,
    kinds::Kind,
    model::{Act, Blocker, ClusterName, Fault, NodeName, Past, TimeScale, Timestamp},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

// line 1 of a new step: `pub mod <name>;`

pub const KINDS: &[Kind<dyn Step>] = &[
    // line 2: `Kind::of::<<name>::Config>(),`
];

/// When a check is made (architecture.md, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// Before evacuation: preflight.
    Before,
    /// What the host runs by itself: gates enable.
    Booted,
    /// What the cluster places there: after enable, gates the next admission.
    Settled,
}

/// One cluster the node is in.
#[derive(Clone)]
pub struct Seat {
    pub cluster: ClusterName,
    /// The node's name in that cluster.
    pub node: String,
    pub driver: Arc<dyn Cluster>,
}

/// What a step may know and use. No clock of its own, no journal of its own.
pub struct Cx {
    pub node: NodeName,
    /// In the order in which they are entered.
    pub seats: Vec<Seat>,
    pub bmc: Arc<dyn Bmc>,
    pub host: Option<Arc<dyn Host>>,
    pub net: Arc<dyn Net>,
    pub checks: Vec<(At, Box<dyn Check>)>,
    pub pins: Pins,
    pub ask: Ask,
    pub time: TimeScale,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Done(Value),
    /// Not yet, and nothing to do: why, by name.
    Wait(Vec<Blocker>),
    /// Send these, one after another, each with the picture to judge it by later.
    Act(Vec<(Act, Value)>),
    Hold(Fault),
}

#[async_trait]
pub trait Step: Send + Sync {
    /// Reads, then one pure `judge(view, past, now)` in the same file, which is what the unit tests test.
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault>;
    /// One exchange.
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault>;
}
