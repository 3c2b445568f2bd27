//! How a cluster sees one of its nodes.
use super::{Act, Blocker, Identity};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The best mark of a boot that the witness offers. Compared for change only; clocks of two machines never are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boot {
    /// The kernel's boot id.
    Id(String),
    /// The cluster's own start time of the node (VergeOS `started`).
    Started(String),
}
impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Boot::Id(s) | Boot::Started(s) => f.write_str(s),
        }
    }
}

/// Something that runs on the node and must not be there when power goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// `pod`, `vm`, `tenant`.
    pub kind: String,
    /// `shop/cart-7d9f`.
    pub name: String,
    /// Already on its way out.
    #[serde(default)]
    pub leaving: bool,
    /// Why it cannot move, where the cluster says so already now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
}

/// What to do with what cannot move: the same words for every driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unmovable {
    #[default]
    Refuse,
    StopAndRestart,
    StopAndStartElsewhere,
}

/// How a node is emptied where the system offers two ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    #[default]
    Move,
    /// Stopped here, started again when the node is back: whole networks may go dark.
    Stop,
}

/// What the cluster knows besides of the machine and of what is on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// IP addresses by which it knows the node. No proof of who that is: what is reached there goes away with the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Pods that belong to the node itself and stay: `kube-system/cni-x7x2k`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<String>,
    /// System UUIDs of the virtual machines on it, where it says them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guest_uuids: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    pub identity: Identity,
    pub boot: Option<Boot>,
    /// The cluster calls the node healthy, on a heartbeat that is fresh.
    pub ready: bool,
    /// Why not, in the cluster's words.
    #[serde(default)]
    pub not_ready: Vec<String>,
    /// New work may be placed here.
    pub enabled: bool,
    /// The maintenance state this driver wants before power is in force (cordoned, in maintenance mode).
    pub in_maintenance: bool,
    /// Whose doing that is, as far as the mark in the cluster says: our run's id, or a foreign reason.
    #[serde(default)]
    pub marked_by: Option<String>,
    /// What still runs here and has to leave. Empty twice in a row is the proof of emptiness.
    pub workloads: Vec<Workload>,
    /// What runs here and belongs to the node itself (DaemonSet and mirror pods): stays.
    #[serde(default)]
    pub fixed: usize,
    /// What would bring the node closer to empty, in order. A driver offers; the step decides when.
    #[serde(default)]
    pub moves: Vec<Act>,
    /// What keeps the rest from moving.
    #[serde(default)]
    pub blockers: Vec<Blocker>,
    /// Why it can never be emptied under the given policy: judged in the plan, before entering.
    #[serde(default)]
    pub impossible: Vec<Blocker>,
    /// For the plan: `largest grace period 600 s (shop/ledger-0)`, `PodDisruptionBudget …`.
    #[serde(default)]
    pub notes: Vec<String>,
    #[serde(default)]
    pub here: Here,
}

/// A node in the cluster's own list, in the inventory or not: what limits count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// As the cluster names it.
    pub name: String,
    /// Down, cordoned, in maintenance: why it takes a place in the limits.
    #[serde(default)]
    pub out: Option<String>,
    /// Our mark on it: the run's id.
    #[serde(default)]
    pub run: Option<String>,
    #[serde(default)]
    pub identity: Identity,
    /// Since when it is out, where the cluster says so (RFC 3339).
    #[serde(default)]
    pub since: Option<String>,
}

/// What the cluster's own lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAnswer {
    /// We hold it until its expiry; asking again renews it.
    Ours,
    Held {
        by: String,
        since: String,
    },
    /// This system has no room for one.
    Unsupported,
}
