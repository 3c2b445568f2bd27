//! The frozen decision for one cluster: everything the engine needs, nothing it has to look up. Pure.
//! `BTreeMap` and `Vec` only, so that its bytes are stable and its digest means something.
use crate::model::{ClusterName, Fault, Identity, Loan, NodeName, Relax, RunId, Setting, Skip, Span, TimeScale, Timestamp, Trust};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub mod drift;
mod evidence;
pub mod input;
pub mod make;
mod order;
pub mod verdict;

pub use crate::model::OnFailure;
pub use drift::drift;
pub use input::{ClusterInput, History, Input, NodeInput, PlaybookInput, StepInput};
pub use make::make;
pub use verdict::{Verdict, World, spoken};

/// Of the stored plan; a newer one is refused by an older program.
pub const FORMAT: u32 = 1;

/// The step whose words the clusters are asked in.
const EVACUATE: &str = "evacuate";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub format: u32,
    pub made_at: Timestamp,
    pub playbook: String,
    pub description: String,
    /// The cluster whose lock the run holds and whose journal it writes.
    pub cluster: ClusterName,
    /// Every cluster a node of the plan is in.
    pub clusters: BTreeMap<ClusterName, Setting>,
    /// Kind `none`, vouched for: in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<String>,
    /// The inventory's directory, for paths in settings. Its files are not read again.
    pub base: String,
    pub time: TimeScale,
    /// `forward` steps to go through, then the way back of a node that is turned back.
    pub steps: Vec<PlannedStep>,
    pub forward: u32,
    /// Where `release … verify` goes on.
    pub verify_at: Option<u32>,
    pub limits: Limits,
    /// A person is asked before each node.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ask: bool,
    /// The run ends after its canaries; a resume takes the others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pause_after_canary: bool,
    /// The playbook's reasons, read again after verify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<Setting>,
    pub nodes: BTreeMap<NodeName, PlannedNode>,
    /// Selected, but not worked on: not due, or refused by preflight.
    pub skipped: BTreeMap<NodeName, Skip>,
    /// What will stop tonight unless changed, and other things the operator should read.
    #[serde(default)]
    pub notes: Vec<Note>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub step: Setting,
    pub timeout: Span,
    pub attempts: u32,
    pub on_failure: OnFailure,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub max_unavailable: u32,
    pub failure_budget: u32,
    /// Nodes out at one time share one value of each of these labels.
    #[serde(default)]
    pub within: Vec<String>,
    /// At most so many out per value of a label.
    #[serde(default)]
    pub max_per: BTreeMap<String, u32>,
    /// The first so many go alone, one after another.
    #[serde(default)]
    pub canary: u32,
    /// Admission only inside one of these; empty: always.
    #[serde(default)]
    pub window: Vec<Window>,
    pub max_resets: u32,
}

/// `Sun 02:00-05:00 Europe/Berlin`, resolved at plan time into instants, so that the core needs no time zones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub text: String,
    /// `[opens, closes)` pairs from the plan's making on, for the next weeks.
    pub open: Vec<(Timestamp, Timestamp)>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedNode {
    /// Nodes are admitted by wave, then by name.
    pub wave: u32,
    /// In the order in which they are entered; left in reverse.
    pub seats: Vec<PlannedSeat>,
    pub labels: BTreeMap<String, String>,
    pub bmc: Vec<Setting>,
    /// The BMC's host in the inventory, then the addresses it resolved to: as `model::chain` reads it.
    pub bmc_host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Setting>,
    #[serde(default)]
    pub trust: Trust,
    /// Identity values that other nodes of the fleet share.
    #[serde(default)]
    pub shared: Vec<String>,
    #[serde(default)]
    pub checks: Vec<PlannedCheck>,
    /// Why it is due; empty: every selected node is.
    #[serde(default)]
    pub due: Vec<String>,
    /// What an earlier run left standing on it.
    #[serde(default)]
    pub inherits: Vec<Loan>,
    /// The runs that left it: their marks are ours now.
    #[serde(default)]
    pub inherits_from: Vec<RunId>,
    /// Resets within the last 24 hours, over all runs.
    #[serde(default)]
    pub resets_today: u32,
    /// What a person relaxed by name for this node in this command.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub relaxed: BTreeSet<Relax>,
    /// The inventory's word on how its root disk unlocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlock: Option<String>,
    pub expect: Expect,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedSeat {
    pub cluster: ClusterName,
    pub node: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedCheck {
    /// `before`, `booted` or `settled`.
    pub at: String,
    pub check: Setting,
}

/// What the reviewer saw; `run --plan` refuses where this has moved.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Expect {
    pub identity: Vec<Identity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Was it in service?
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Which evidence of a reboot the node offers: `boot id`, `started`, `Off seen, then On seen`.
    pub evidence: String,
    /// `14 pods`, `2 VMs will migrate`.
    #[serde(default)]
    pub load: Vec<String>,
    /// Kinds of the stores that keep data on it and were asked: `ceph`, `vsan`, `mdraid`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stores: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Span>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    pub text: String,
    /// What the owner can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// It will stop the node unless changed.
    #[serde(default)]
    pub stops: bool,
}

/// The kind of cluster that has no system behind it: it witnesses nothing.
pub const NO_CLUSTER: &str = "none";

/// Why a plan could not be made at all (exit 3): the object, and what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal(pub Fault);
