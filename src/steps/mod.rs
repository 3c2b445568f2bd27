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
    due::Due,
    guards::{self, Permit, Pins, Readings, moment, readings},
    kinds::Kind,
    model::{Act, Blocker, ClusterName, DataStore, Fault, FaultKind, Loan, LoanId, NodeName, Past, ResetType, Span, Started, TimeScale, Timestamp},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

pub mod baseline;
pub mod bmc_reset;
pub mod enable;
pub mod evacuate;
pub mod exec;
pub mod fence;
pub mod firmware;
mod on_bmc;
pub mod pause;
pub mod preflight;
mod repair;
pub mod reset;
pub mod settle;
mod stranger;
pub mod verify;
// line 1 of a new step: `pub mod <name>;`

pub const KINDS: &[Kind<dyn Step>] = &[
    Kind::of::<preflight::Config>(),
    Kind::of::<baseline::Config>(),
    Kind::of::<evacuate::Config>(),
    Kind::of::<exec::Config>(),
    Kind::of::<reset::Config>(),
    Kind::of::<verify::Config>(),
    Kind::of::<enable::Config>(),
    Kind::of::<settle::Config>(),
    Kind::of::<firmware::Config>(),
    Kind::of::<fence::Config>(),
    Kind::of::<pause::Config>(),
    Kind::of::<bmc_reset::Config>(),
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
    /// What made nodes of this run due: read again after verify.
    pub due: Vec<(String, Box<dyn Due>)>,
    pub pins: Pins,
    pub ask: Ask,
    pub time: TimeScale,
}

impl Seat {
    pub async fn is_paid(&self, loan: &Loan) -> Result<bool, Fault> {
        self.driver.is_paid(&self.node, loan).await
    }
}

impl Cx {
    /// The seat that an act or loan names.
    pub fn seat(&self, cluster: &str) -> Result<&Seat, Fault> {
        let wrong = || Fault::new(FaultKind::Invalid, format!("BUG: {} is not in cluster {cluster}", self.node));
        self.seats.iter().find(|s| s.cluster.0 == cluster).ok_or_else(wrong)
    }
    /// Between two looks: as the most reluctant of its clusters asks for.
    pub fn look_every(&self) -> Span {
        self.seats.iter().map(|seat| seat.driver.look_every()).max().unwrap_or(Span::seconds(2))
    }
    /// Every witness afresh; what the host said before our own first rung silenced it is carried over.
    pub async fn read(&self, past: &Past) -> Readings {
        let carried = past.power_touched().then(|| reset::host_before(past)).flatten();
        let mut seen = readings::read(&self.witnesses(), &self.ask, &self.pins, carried).await;
        seen.started = Started::open(past);
        seen
    }
    fn witnesses(&self) -> readings::Witnesses<'_> {
        let clusters = self.seats.iter().map(|s| (s.cluster.clone(), s.node.clone(), s.driver.clone())).collect();
        readings::Witnesses { bmc: self.bmc.as_ref(), clusters, host: self.host.as_deref() }
    }
    /// The right to cut a dead node off.
    pub async fn fencing(&self, readings: &mut Readings) -> Result<Permit, Fault> {
        readings.moment = Some(moment::read(&self.witnesses()).await);
        guards::fencing(&self.node, readings)
    }
    /// What each cluster says of the stores it knows on this node.
    pub async fn stores(&self) -> Vec<(ClusterName, Result<Vec<DataStore>, Fault>)> {
        moment::stores(&self.witnesses().clusters).await
    }
    /// The right to reset the BMC itself.
    pub async fn restart_of_bmc(&self, wedged: bool, readings: &mut Readings) -> Result<Permit, Fault> {
        readings.moment = Some(moment::read(&self.witnesses()).await);
        guards::restart_of_bmc(&self.node, wedged, readings)
    }
    /// The right to one verb, from these readings and from what only counts at the moment of power.
    pub async fn permit(&self, verb: ResetType, readings: &mut Readings) -> Result<Permit, Fault> {
        readings.moment = Some(moment::read(&self.witnesses()).await);
        guards::permit(&self.node, verb, readings)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Done(Value),
    /// Not yet, and nothing to do: why, by name.
    Wait(Vec<Blocker>),
    /// Send these, one after another, each with the picture to judge it by later.
    Act(Vec<(Act, Value)>),
    /// Found already given back: closed without an act.
    Paid(LoanId),
    Hold(Fault),
    /// Waits for a person, as its playbook wants it.
    Pause(Fault),
}

#[async_trait]
pub trait Step: Send + Sync {
    /// Reads, then one pure `judge(view, past, now)` in the same file, which is what the unit tests test.
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault>;
    /// One exchange.
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault>;
}
