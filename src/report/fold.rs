//! What a run's records amount to, for people and for `--json`. Pure; holds up under any history, also an unfinished or a newer one.
use crate::{
    event::{Decision, End, Event, Halt, Record, Stop},
    model::{Blocker, ClusterName, Difference, Loan, LoanId, NodeName, RunId, Timestamp, hostlist},
    plan::{Limits, Plan},
};
use serde::{Deserialize, Serialize};

/// Of the JSON that `report` prints; fields are only added.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    pub version: u32,
    pub run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub cluster: ClusterName,
    pub playbook: String,
    /// Digest of the stored plan.
    pub plan: String,
    pub program: String,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub started: Timestamp,
    /// When it finished or came to rest; none while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Of the last record.
    pub last: Timestamp,
    pub state: RunState,
    /// Why no further node was admitted, also where the run then finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stop>,
    /// What we lost sight of, while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<String>,
    pub resumed: u32,
    /// Events of a newer program that could not be read: this report may lack what they say.
    #[serde(default)]
    pub unknown_events: u64,
    pub counts: Counts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<String>,
    /// `edge-02: storage`: what a person relaxed by name in the command that made the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relaxed: Vec<String>,
    pub nodes: Vec<NodeReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Neither finished nor at rest: an engine works on it, or died.
    Open,
    /// At rest: a limit, a window, or a person is waited for.
    Halted,
    /// Stopped before its end.
    Interrupted,
    Finished,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub done: usize,
    pub returned: usize,
    pub held: usize,
    #[serde(default)]
    pub paused: usize,
    pub out: usize,
    pub refused: usize,
    pub not_due: usize,
    pub waiting: usize,
    pub in_work: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    Done,
    Returned,
    Held,
    /// Waits for hands, as its playbook wants it.
    Paused,
    Out,
    Refused,
    NotDue,
    Waiting,
    InWork,
}
impl NodeState {
    pub fn word(self) -> &'static str {
        match self {
            NodeState::Done => "done",
            NodeState::Returned => "returned",
            NodeState::Held => "HELD",
            NodeState::Paused => "PAUSED",
            NodeState::Out => "out",
            NodeState::Refused => "REFUSED",
            NodeState::NotDue => "not due",
            NodeState::Waiting => "waiting",
            NodeState::InWork => "in work",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    pub name: NodeName,
    pub end: NodeState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The next command to type, or what a person should do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The step it is in, or was held at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// When it came into this state or step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// From admission to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_boot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_boot: Option<String>,
    /// Step attempts that began.
    pub attempts: u32,
    #[serde(default)]
    pub steps: Vec<StepReport>,
    #[serde(default)]
    pub acts: Vec<ActReport>,
    /// Loans still open.
    #[serde(default)]
    pub owed: Vec<Loan>,
    #[serde(default)]
    pub blockers: Vec<Blocker>,
    #[serde(default)]
    pub decisions: Vec<DecisionReport>,
    /// What came back otherwise than it went, and held nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Difference>,
    /// It came with loans of an earlier run: never returned without verify.
    #[serde(skip)]
    pub(super) inherited: bool,
}
impl NodeReport {
    fn new(name: NodeName) -> NodeReport {
        NodeReport {
            name,
            end: NodeState::Waiting,
            why: None,
            next: None,
            step: None,
            since: None,
            admitted: None,
            ended: None,
            seconds: None,
            from_boot: None,
            to_boot: None,
            attempts: 0,
            steps: Vec::new(),
            acts: Vec::new(),
            owed: Vec::new(),
            blockers: Vec::new(),
            decisions: Vec::new(),
            changed: Vec::new(),
            inherited: false,
        }
    }
    /// From the first intent to change power on, nothing is turned back.
    pub fn power_touched(&self) -> bool {
        self.acts.iter().any(|a| a.power)
    }
    /// Something was changed, or may have been.
    pub fn touched(&self) -> bool {
        self.acts.iter().any(|a| a.answer.may_have_happened())
    }
    pub fn kept_out(&self) -> bool {
        self.end == NodeState::Out && self.decisions.last().is_some_and(|d| d.decision == Decision::KeepOut)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    pub kind: String,
    pub attempt: u32,
    pub started: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Timestamp>,
    /// `done`, `retry` or `hold`; none while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActReport {
    pub what: String,
    pub to: String,
    pub at: Timestamp,
    pub answer: Heard,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    #[serde(default)]
    pub power: bool,
    /// It opened its own loan.
    #[serde(skip)]
    pub(super) opened: bool,
    #[serde(skip)]
    pub(super) borrows: Option<Loan>,
    #[serde(skip)]
    pub(super) returns: Option<LoanId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// Intended; whether it was sent is not known.
    Nothing,
    Accepted,
    /// It did not happen.
    Failed,
    /// Sent, no answer.
    Unknown,
}
impl Heard {
    pub(super) fn may_have_happened(self) -> bool {
        self != Heard::Failed
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionReport {
    pub at: Timestamp,
    pub by: String,
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// None: the records do not begin with `run_started`.
pub fn fold(records: &[Record], plan: Option<&Plan>) -> Option<RunReport> {
    let (first, rest) = records.split_first()?;
    let mut report = RunReport::begin(first, plan)?;
    rest.iter().for_each(|record| report.apply(record));
    Some(report)
}

/// The same over what is stored, one text per record: an event of a newer program is counted, not a reason to show nothing.
pub fn fold_lines<'a>(lines: impl IntoIterator<Item = &'a str>, plan: Option<&Plan>) -> Option<RunReport> {
    let read: Vec<Option<Record>> = lines.into_iter().map(|line| serde_json::from_str(line).ok()).collect();
    let known: Vec<Record> = read.iter().flatten().cloned().collect();
    let mut report = fold(&known, plan)?;
    report.unknown_events = read.iter().filter(|r| r.is_none()).count() as u64;
    Some(report)
}

impl RunReport {
    pub fn begin(record: &Record, plan: Option<&Plan>) -> Option<RunReport> {
        let Event::RunStarted { cluster, group, playbook, plan: digest, program, by, reason, nodes, .. } = &record.event else { return None };
        let mut report = RunReport {
            version: VERSION,
            run: record.run.clone(),
            group: group.clone(),
            cluster: cluster.clone(),
            playbook: playbook.clone(),
            plan: digest.clone(),
            program: program.clone(),
            by: by.clone(),
            reason: reason.clone(),
            started: record.at,
            ended: None,
            last: record.at,
            state: RunState::Open,
            halt: None,
            why: None,
            stopping: None,
            blind: None,
            resumed: 0,
            unknown_events: 0,
            counts: Counts::default(),
            limits: plan.map(|p| p.limits.clone()),
            vouched: plan.and_then(|p| p.vouched.clone()),
            relaxed: plan.map(|p| p.nodes.iter().flat_map(|(name, n)| n.relaxed.iter().map(move |r| format!("{name}: {r}"))).collect()).unwrap_or_default(),
            nodes: nodes.iter().cloned().map(NodeReport::new).collect(),
            next: None,
        };
        // What the plan left out needs no event of its own.
        for (name, why) in plan.iter().flat_map(|p| &p.skipped) {
            report.node(name).skip(why, record.at);
        }
        report.settle();
        Some(report)
    }

    pub fn apply(&mut self, record: &Record) {
        let at = record.at;
        self.last = at;
        match &record.event {
            Event::RunStarted { .. } => {}
            Event::RunResumed { .. } => {
                self.resumed += 1;
                (self.state, self.ended, self.halt, self.stopping, self.blind) = (RunState::Open, None, None, None, None);
            }
            Event::StopRequested { how, .. } => self.stopping = Some(how.clone()),
            Event::RunHalted { why } => {
                self.state =
                    if matches!(why, Halt::Stopped | Halt::AfterCanary { .. } | Halt::SightLost { .. }) { RunState::Interrupted } else { RunState::Halted };
                (self.halt, self.ended) = (Some(why.clone()), Some(at));
            }
            Event::RunFinished => (self.state, self.ended) = (RunState::Finished, Some(at)),
            Event::ClusterSeen { .. } => self.blind = None,
            Event::SightLost { why } => self.blind = Some(why.to_string()),
            event => {
                if let Some(name) = event.node() {
                    self.node(name).apply(at, event);
                    if let Event::NodeEnded { end: End::Returned, .. } = event {
                        // Once what stood in the way is gone.
                        let next = format!("pitstop plan {} {name}", self.playbook);
                        self.node(name).next = Some(next);
                    }
                }
            }
        }
        self.settle();
    }

    /// Never fails: a node that the first record does not name is shown all the same.
    fn node(&mut self, name: &NodeName) -> &mut NodeReport {
        let at = self.nodes.iter().position(|n| n.name == *name).unwrap_or_else(|| {
            self.nodes.push(NodeReport::new(name.clone()));
            self.nodes.len() - 1
        });
        &mut self.nodes[at]
    }

    pub fn find(&self, name: &NodeName) -> Option<&NodeReport> {
        self.nodes.iter().find(|n| n.name == *name)
    }

    /// What follows from the nodes: counts, reasons in words, next commands.
    fn settle(&mut self) {
        let mut counts = Counts::default();
        for node in &self.nodes {
            *match node.end {
                NodeState::Done => &mut counts.done,
                NodeState::Returned => &mut counts.returned,
                NodeState::Held => &mut counts.held,
                NodeState::Paused => &mut counts.paused,
                NodeState::Out => &mut counts.out,
                NodeState::Refused => &mut counts.refused,
                NodeState::NotDue => &mut counts.not_due,
                NodeState::Waiting => &mut counts.waiting,
                NodeState::InWork => &mut counts.in_work,
            } += 1;
        }
        self.counts = counts;
        self.why = self.halt.as_ref().map(halt_words);
        let with = |end: NodeState| self.nodes.iter().find(|n| n.end == end).and_then(|n| n.next.clone());
        let held = with(NodeState::Held).or_else(|| with(NodeState::Paused));
        let open = self.counts.in_work > 0 || self.counts.waiting > 0;
        self.next = match self.state {
            RunState::Finished => self.once_there_is_room(),
            RunState::Open => Some(format!("pitstop resume {}", self.run)),
            RunState::Interrupted if open && matches!(self.halt, Some(Halt::SightLost { .. })) => {
                Some(format!("correct the credential, then pitstop resume {}", self.run))
            }
            RunState::Interrupted if open => Some(format!("pitstop resume {}", self.run)),
            RunState::Interrupted | RunState::Halted => held.or_else(|| open.then(|| format!("pitstop resume {}", self.run))),
        };
    }

    /// A limit or the window kept due nodes from being begun: nothing of theirs is unfinished, they are simply asked for again.
    fn once_there_is_room(&self) -> Option<String> {
        let waiting = self.nodes.iter().filter(|n| n.end == NodeState::Waiting).map(|n| n.name.0.as_str());
        let again = (self.counts.waiting > 0).then(|| format!("pitstop run {} {}", self.playbook, hostlist::compress(waiting)))?;
        match &self.halt {
            Some(Halt::NoRoom { .. }) => Some(format!("pitstop status says what brings those back; then {again}")),
            Some(Halt::WindowClosed { .. }) => Some(format!("{again}, once the window is open")),
            Some(Halt::FailureBudget { .. }) => Some(format!("once the failed nodes are looked at: {again}")),
            _ => Some(again),
        }
    }
}

pub fn halt_words(halt: &Halt) -> String {
    let names = |nodes: &[NodeName]| nodes.iter().map(|n| n.0.as_str()).collect::<Vec<_>>().join(", ");
    match halt {
        Halt::NoRoom { out } => format!("no room within the limits: out of service are {}", out.join(", ")),
        Halt::FailureBudget { failed } => format!("the failure budget is used up: {}", names(failed)),
        Halt::WindowClosed { reopens: Some(at) } => format!("the window is closed; it opens at {at:.0}"),
        Halt::WindowClosed { reopens: None } => "the window is closed and does not open again within the plan".into(),
        Halt::WaitingForPerson { held } => format!("{} {} for a person", names(held), if held.len() == 1 { "waits" } else { "wait" }),
        Halt::Stopped => "stopped".into(),
        Halt::SightLost { why } => why.to_string(),
        Halt::AfterCanary { done } => format!("paused after {done} canary {}", if *done == 1 { "node" } else { "nodes" }),
    }
}
