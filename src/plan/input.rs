//! What a plan is made of: the inventory's and playbook's choices for the selected nodes, the survey, and what the store remembers.
use super::{Limits, OnFailure, Plan, PlannedCheck, PlannedSeat};
use crate::model::{ClusterName, Loan, NodeName, RunId, Setting, Span, Survey, TimeScale, Timestamp, Trust};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
pub struct Input<'a> {
    pub made_at: Timestamp,
    /// The inventory's directory, for paths in settings.
    pub base: String,
    pub time: TimeScale,
    pub clusters: BTreeMap<ClusterName, ClusterInput>,
    /// The selected nodes.
    pub nodes: BTreeMap<NodeName, NodeInput>,
    pub playbook: PlaybookInput,
    /// May cover more than the selected nodes: every further one makes a shared identity or a swapped cable easier to see.
    pub survey: &'a Survey,
    pub history: BTreeMap<NodeName, History>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ClusterInput {
    pub setting: Setting,
    /// Kind `none`, vouched for: in words.
    pub vouched: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeInput {
    /// In the order in which they are entered; the run belongs to the first one's cluster.
    pub seats: Vec<PlannedSeat>,
    pub labels: BTreeMap<String, String>,
    pub bmc: Vec<Setting>,
    pub host: Option<Setting>,
    pub trust: Trust,
    pub checks: Vec<PlannedCheck>,
    /// What the run itself may need: `dns`, `cluster-api`. Goes last.
    pub carries: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub struct PlaybookInput {
    pub name: String,
    pub description: String,
    /// As written; preflight and the way back are added here.
    pub steps: Vec<StepInput>,
    pub limits: Limits,
    /// It has a `[due]`: a node without a reason is not worked on.
    pub due: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StepInput {
    pub step: Setting,
    pub timeout: Option<Span>,
    pub attempts: Option<u32>,
    pub on_failure: Option<OnFailure>,
}

/// What earlier runs left behind, folded from the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    pub inherits: Vec<Loan>,
    /// The runs that left it: their marks are ours now.
    pub inherits_from: Vec<RunId>,
    pub resets_today: u32,
}

impl<'a> Input<'a> {
    /// The reviewed plan's own choices before a new look at the world, for `drift`: inventory and playbook are not read again.
    pub fn again(reviewed: &Plan, due: bool, survey: &'a Survey, history: BTreeMap<NodeName, History>) -> Input<'a> {
        let node = |planned: &super::PlannedNode| NodeInput {
            seats: planned.seats.clone(),
            labels: planned.labels.clone(),
            bmc: planned.bmc.clone(),
            host: planned.host.clone(),
            trust: planned.trust.clone(),
            checks: planned.checks.clone(),
            carries: BTreeSet::new(),
        };
        let cluster =
            |setting: &Setting| ClusterInput { setting: setting.clone(), vouched: reviewed.vouched.clone().filter(|_| setting.kind == super::NO_CLUSTER) };
        let steps = reviewed.steps.iter().take(reviewed.forward as usize).skip(1);
        Input {
            made_at: survey.at,
            base: reviewed.base.clone(),
            time: reviewed.time,
            clusters: reviewed.clusters.iter().map(|(name, setting)| (name.clone(), cluster(setting))).collect(),
            nodes: reviewed.nodes.iter().map(|(name, planned)| (name.clone(), node(planned))).collect(),
            playbook: PlaybookInput {
                name: reviewed.playbook.clone(),
                description: reviewed.description.clone(),
                steps: steps
                    .map(|s| StepInput { step: s.step.clone(), timeout: Some(s.timeout), attempts: Some(s.attempts), on_failure: Some(s.on_failure) })
                    .collect(),
                limits: reviewed.limits.clone(),
                due,
            },
            survey,
            history,
        }
    }
}
