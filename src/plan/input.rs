//! What a plan is made of: the inventory's and playbook's choices for the selected nodes, the survey, and what the store remembers.
use super::{EVACUATE, Limits, NO_CLUSTER, OnFailure, Plan, PlannedCheck, PlannedNode, PlannedSeat, Window};
use crate::{
    inventory::Inventory,
    model::{ClusterName, Loan, NodeName, Relax, RunId, Setting, Span, Survey, TimeScale, Timestamp, Trust},
    playbook::{self, Playbook},
};
use serde_json::Value;
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
    /// How its root disk unlocks, in words.
    pub unlock: Option<String>,
    /// By a person, for this node in this command; never from a file.
    pub relaxed: BTreeSet<Relax>,
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
    /// Its reasons, for the engine to read again.
    pub reasons: Vec<Setting>,
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
    /// When a run last took it through service and back, verified.
    pub served: Option<Timestamp>,
}

impl From<Setting> for ClusterInput {
    fn from(setting: Setting) -> ClusterInput {
        let words = (setting.kind == NO_CLUSTER).then(|| setting.body.get("vouched")).flatten();
        ClusterInput { vouched: words.and_then(|w| w.as_str()).map(Into::into), setting }
    }
}

impl From<&PlannedNode> for NodeInput {
    fn from(planned: &PlannedNode) -> NodeInput {
        NodeInput {
            seats: planned.seats.clone(),
            labels: planned.labels.clone(),
            bmc: planned.bmc.clone(),
            host: planned.host.clone(),
            trust: planned.trust.clone(),
            checks: planned.checks.clone(),
            carries: BTreeSet::new(),
            unlock: planned.unlock.clone(),
            relaxed: planned.relaxed.clone(),
        }
    }
}

impl NodeInput {
    /// The node as the inventory has it; none of that name, nothing.
    pub fn of(inventory: &Inventory, name: &NodeName) -> Option<NodeInput> {
        let entry = inventory.nodes.get(name)?;
        Some(NodeInput {
            seats: entry.seats.iter().map(|s| PlannedSeat { cluster: s.cluster.clone(), node: s.node.clone() }).collect(),
            labels: entry.labels.clone(),
            bmc: entry.bmc.clone(),
            host: entry.host.clone(),
            trust: inventory.trust.get(name).cloned().unwrap_or_default(),
            checks: entry.checks.iter().map(|c| PlannedCheck { at: c.at.clone(), check: c.setting.clone() }).collect(),
            carries: entry.carries.iter().cloned().collect(),
            unlock: entry.unlock.clone(),
            relaxed: BTreeSet::new(),
        })
    }
}

impl PlaybookInput {
    /// For `check`: nothing is to be done.
    pub fn none() -> PlaybookInput {
        let limits = limits(&playbook::Limits::default(), Timestamp::UNIX_EPOCH);
        PlaybookInput { name: String::new(), description: String::new(), steps: Vec::new(), limits, due: false, reasons: Vec::new() }
    }
    pub fn of(playbook: &Playbook, now: Timestamp) -> PlaybookInput {
        let step = |s: &playbook::StepEntry| StepInput { step: s.setting.clone(), timeout: s.timeout, attempts: s.attempts, on_failure: s.on_failure };
        PlaybookInput {
            name: playbook.name.clone(),
            description: playbook.description.clone(),
            steps: playbook.steps.iter().map(step).collect(),
            limits: limits(&playbook.limits, now),
            due: !playbook.due.is_empty(),
            reasons: playbook.due.clone(),
        }
    }
    /// What `evacuate` says: the clusters are asked in its words, for what cannot move is judged before anything is entered.
    pub fn evacuate(&self) -> Value {
        said_by_evacuate(self.steps.iter().map(|s| &s.step))
    }
}

fn said_by_evacuate<'a>(mut steps: impl Iterator<Item = &'a Setting>) -> Value {
    steps.find(|s| s.kind == EVACUATE).map(|s| s.body.clone()).unwrap_or_default()
}

impl Plan {
    pub fn evacuate(&self) -> Value {
        said_by_evacuate(self.steps.iter().map(|s| &s.step))
    }
}

fn limits(written: &playbook::Limits, now: Timestamp) -> Limits {
    let windows = playbook::windows(&written.window, now);
    Limits {
        max_unavailable: written.max_unavailable,
        failure_budget: written.failure_budget,
        within: written.within.clone(),
        max_per: written.max_per.clone(),
        canary: written.canary,
        window: windows.into_iter().map(|w| Window { text: w.text, open: w.open }).collect(),
        max_resets: written.max_resets,
    }
}

impl<'a> Input<'a> {
    pub fn new(
        inventory: &Inventory,
        selected: impl IntoIterator<Item = NodeName>,
        playbook: PlaybookInput,
        survey: &'a Survey,
        history: BTreeMap<NodeName, History>,
        made_at: Timestamp,
    ) -> Input<'a> {
        let nodes: BTreeMap<NodeName, NodeInput> = selected.into_iter().filter_map(|name| NodeInput::of(inventory, &name).map(|n| (name, n))).collect();
        let named: BTreeSet<&ClusterName> = nodes.values().flat_map(|n| &n.seats).map(|s| &s.cluster).collect();
        Input {
            made_at,
            base: inventory.base.display().to_string(),
            time: inventory.time,
            clusters: (inventory.clusters.iter())
                .filter(|(name, _)| named.contains(name))
                .map(|(name, entry)| (name.clone(), entry.setting.clone().into()))
                .collect(),
            nodes,
            playbook,
            survey,
            history,
        }
    }

    /// The reviewed plan's own choices before a new look at the world, for `drift`: inventory and playbook are not read again.
    pub fn again(reviewed: &Plan, due: bool, survey: &'a Survey, history: BTreeMap<NodeName, History>) -> Input<'a> {
        let steps = reviewed.steps.iter().take(reviewed.forward as usize).skip(1);
        Input {
            made_at: survey.at,
            base: reviewed.base.clone(),
            time: reviewed.time,
            clusters: reviewed.clusters.iter().map(|(name, setting)| (name.clone(), setting.clone().into())).collect(),
            nodes: reviewed.nodes.iter().map(|(name, planned)| (name.clone(), planned.into())).collect(),
            playbook: PlaybookInput {
                name: reviewed.playbook.clone(),
                description: reviewed.description.clone(),
                steps: steps
                    .map(|s| StepInput { step: s.step.clone(), timeout: Some(s.timeout), attempts: Some(s.attempts), on_failure: Some(s.on_failure) })
                    .collect(),
                limits: reviewed.limits.clone(),
                due,
                reasons: reviewed.due.clone(),
            },
            survey,
            history,
        }
    }
}
