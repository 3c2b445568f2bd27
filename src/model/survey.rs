//! The world as it was read once, for check, plan, preflight and admission.
use super::{BmcView, BootOverride, ClusterName, DataStore, Fault, HostView, LiveTask, Member, NodeName, NodeView, Relax, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    pub at: Timestamp,
    pub clusters: BTreeMap<ClusterName, ClusterSurvey>,
    pub nodes: BTreeMap<NodeName, NodeSurvey>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterSurvey {
    /// `kubernetes at https://…, v1.31`.
    pub what: String,
    pub members: Result<Vec<Member>, Fault>,
    /// Can it carry a lock that others see?
    pub lease: bool,
    /// Who holds that lock now, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    #[serde(default)]
    pub took_ms: u64,
    /// What we may do there, and rights that are missing.
    #[serde(default)]
    pub missing_rights: Vec<String>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One way in to a BMC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaySeen {
    pub protocol: String,
    pub endpoint: String,
    /// The endpoint is on the loopback interface: only there may time be scaled.
    pub loopback: bool,
    /// The host as the inventory writes it, then the addresses it resolves to.
    #[serde(default)]
    pub hosts: Vec<String>,
    pub took_ms: u64,
    pub seen: Result<BmcView, Fault>,
    /// Update tasks that are not at their end; None: not asked, because it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Result<Vec<LiveTask>, Fault>>,
}

/// One reason in the playbook's `[due]`, as read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DueSeen {
    pub kind: String,
    /// `Ok(Some(why))`: due. `Ok(None)`: not due, `why_not` says how. `Err`: neither yes nor no.
    pub due: Result<Option<String>, Fault>,
    #[serde(default)]
    pub why_not: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSurvey {
    pub bmc: Vec<WaySeen>,
    /// By cluster, in the order the node enters them.
    pub clusters: Vec<(ClusterName, Result<NodeView, Fault>)>,
    /// None: the inventory names no host.
    pub host: Option<Result<HostView, Fault>>,
    #[serde(default)]
    pub host_took_ms: u64,
    #[serde(default)]
    pub due: Vec<DueSeen>,
    #[serde(default)]
    pub at_power: AtPower,
}

/// What would stand against a power verb now, by the same judgement that the guards make at that moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AtPower {
    /// Every store that keeps data on the node.
    pub stores: Vec<DataStore>,
    /// None: the BMC has no such thing, or does not say.
    pub boot: Option<BootOverride>,
    pub refused: Vec<Refused>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// By which name a person may relax it; none: nobody may.
    pub relax: Option<Relax>,
    pub fault: Fault,
    /// A boot override that stands: a run that was asked to puts it aside itself.
    #[serde(default)]
    pub clears: bool,
}

/// Why a selected node is not worked on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Skip {
    /// Nothing to do: `running kernel is the newest installed`.
    NotDue { why: String },
    /// Preflight refused it; nothing was touched.
    Refused { fault: Fault },
}
