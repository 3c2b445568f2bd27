//! Every fact of a run: appended in order by one writer; journal, progress, report and `--json` all speak it.
//! Evolution: variants are never renamed or removed; a new field has `#[serde(default)]`; a changed meaning is a new variant.
use crate::model::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of the journal. `id` tells our own record from another's after a lost commit answer; `token` says under which lock it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub run: RunId,
    pub seq: u64,
    pub id: String,
    pub token: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    // the run
    RunStarted {
        cluster: ClusterName,
        /// Common to the runs that one command started; for display only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        playbook: String,
        /// Digest of the stored plan.
        plan: String,
        format: u32,
        program: String,
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        nodes: Vec<NodeName>,
    },
    RunResumed {
        program: String,
        by: String,
    },
    StopRequested {
        how: Stop,
        by: String,
    },
    RunHalted {
        why: Halt,
    },
    RunFinished,
    /// What the cluster said before an admission: limits count this.
    ClusterSeen {
        /// Members out of service for whatever reason, ours too, by their name in the cluster, with the reason.
        out: Vec<(String, String)>,
        members: usize,
    },
    /// We lost sight of the cluster, the store or a credential: nothing new is admitted until it is back.
    SightLost {
        why: Fault,
    },

    // a node
    NodeSkipped {
        node: NodeName,
        why: Skip,
    },
    NodeAdmitted {
        node: NodeName,
        wave: u32,
        /// What an earlier run left standing on it; owed by this run from here on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inherits: Vec<Loan>,
    },
    StepStarted {
        node: NodeName,
        step: u32,
        kind: String,
        attempt: u32,
    },
    WaitChanged {
        node: NodeName,
        blockers: Vec<Blocker>,
    },
    ActIntended {
        node: NodeName,
        step: u32,
        attempt: u32,
        act: Act,
        #[serde(default)]
        before: Value,
    },
    ActSettled {
        node: NodeName,
        answer: Answer,
    },
    /// A loan found already paid (someone else uncordoned): closed without an act.
    LoanFoundPaid {
        node: NodeName,
        loan: LoanId,
    },
    StepSettled {
        node: NodeName,
        step: u32,
        kind: String,
        attempt: u32,
        outcome: Outcome,
    },
    /// Gives everything back and enables, from wherever it stands. Never after a power intent.
    NodeTurnedBack {
        node: NodeName,
        step: u32,
        why: Fault,
    },
    NodeReleased {
        node: NodeName,
        by: String,
        decision: Decision,
        /// Where it goes on: the verify step, or the way back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<u32>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        accepted: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    NodeEnded {
        node: NodeName,
        end: End,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// First Ctrl-C, `pitstop stop`: admit no more, take the nodes in work through to enable.
    Drain,
    /// Second Ctrl-C, SIGTERM: let running steps settle, then end resumable.
    Settle,
    /// `stop --give-back`: returns what is not yet reset.
    GiveBack,
}

/// Why no further node is admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Halt {
    /// The limits are used up: by whom.
    NoRoom {
        out: Vec<String>,
    },
    /// More nodes failed than the playbook allows.
    FailureBudget {
        failed: Vec<NodeName>,
    },
    WindowClosed {
        reopens: Option<Timestamp>,
    },
    /// Every open node waits for a person.
    WaitingForPerson {
        held: Vec<NodeName>,
    },
    Stopped,
    /// The canaries are done, and a person wanted to look before the others: resumable.
    AfterCanary {
        done: u32,
    },
    /// A credential was refused too often and is not used any more: nodes in work stay as they are, neither failed nor counted. Resumable.
    SightLost {
        why: Fault,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// The held step again.
    Retry,
    /// On from verify: a person did what was missing.
    Verify,
    /// Give everything back and enable; refused once power was touched.
    Return,
    /// Stays out of service, with its loans in the ledger.
    KeepOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Through the whole playbook and in service.
    Done,
    /// Not through, given back, in service.
    Returned,
    /// Out of service, as the playbook or a person wanted.
    Out,
}

impl Event {
    pub fn node(&self) -> Option<&NodeName> {
        use Event::*;
        match self {
            RunStarted { .. } | RunResumed { .. } | StopRequested { .. } | RunHalted { .. } | RunFinished | ClusterSeen { .. } | SightLost { .. } => None,
            NodeSkipped { node, .. }
            | NodeAdmitted { node, .. }
            | StepStarted { node, .. }
            | WaitChanged { node, .. }
            | ActIntended { node, .. }
            | ActSettled { node, .. }
            | LoanFoundPaid { node, .. }
            | StepSettled { node, .. }
            | NodeTurnedBack { node, .. }
            | NodeReleased { node, .. }
            | NodeEnded { node, .. } => Some(node),
        }
    }
}
