//! Acts and loans: every change to the world as data, journalled before it is sent; and what of it is still owed.
use super::{Fault, FaultKind, Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// May the same act be sent again after an answer that never came, or after a crash?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// Sending it twice is the same as once.
    Freely,
    /// Not before this long after the last time, and never while that one is in doubt.
    AfterQuiet(Span),
    Never,
}

/// One change to the world. Whoever made it reads `args` again; the engine reads only the other fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    pub what: String,
    /// Which driver of the node carries it out: a cluster's name, or `bmc`.
    pub to: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    pub repeat: Repeat,
    /// A change of power: from its intent on the node is held on failure, never returned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub power: bool,
    /// Borrows something: what must be given back, and how it stood before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrows: Option<Loan>,
    /// Gives this loan back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<LoanId>,
}

impl Act {
    pub fn new(to: impl Into<String>, what: impl Into<String>, repeat: Repeat) -> Act {
        Act { what: what.into(), to: to.into(), args: Value::Null, repeat, power: false, borrows: None, returns: None }
    }
    /// The same act, as far as `repeat` is concerned.
    pub fn same(&self, other: &Act) -> bool {
        self.to == other.to && self.what == other.what && self.args == other.args
    }
}

/// Unique among a node's loans: `edge/cordon`, `bmc/power-off`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoanId(pub String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loan {
    pub id: LoanId,
    /// The driver it came from and goes back to: a cluster's name, or `bmc`.
    pub to: String,
    /// In words, for people: `uncordon edge-04`.
    pub owed: String,
    /// How it stood before; whoever lent it reads this again.
    pub before: Value,
    /// Paid before all others (power On), whatever its age.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// What is known of an act. Only `Unknown`, and an intent with no answer at all, leave it in doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Accepted,
    /// Nothing happened: refused, or never sent. The fault's kind says which.
    Failed(Fault),
    /// Sent, no answer.
    Unknown(Fault),
}
impl Answer {
    pub fn of(result: Result<(), Fault>) -> Answer {
        match result {
            Ok(()) => Answer::Accepted,
            // An answer we could not make sense of proves neither.
            Err(f) if matches!(f.kind, FaultKind::Unknown | FaultKind::Invalid) => Answer::Unknown(f),
            Err(f) => Answer::Failed(f),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done {
        evidence: Value,
    },
    Retry {
        fault: Fault,
    },
    Hold {
        fault: Fault,
    },
    /// As the playbook wants it: a person has something to do there. Nothing has failed.
    Pause {
        fault: Fault,
    },
}

/// An act of this node in this run, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    pub step: u32,
    pub attempt: u32,
    pub act: Act,
    pub before: Value,
    pub at: Timestamp,
    pub answer: Option<Answer>,
}
impl Done {
    pub fn in_doubt(&self) -> bool {
        matches!(self.answer, None | Some(Answer::Unknown(_)))
    }
    pub fn accepted(&self) -> bool {
        self.answer == Some(Answer::Accepted)
    }
    /// It may have taken effect: accepted, or in doubt.
    pub fn may_have_happened(&self) -> bool {
        self.accepted() || self.in_doubt()
    }
}

/// All a step may know besides what it looks at now. A fold over the journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    pub acts: Vec<Done>,
    /// What settled steps found, by step kind; the latest wins.
    pub evidence: BTreeMap<String, Value>,
    /// What is still owed, oldest first.
    pub loans: Vec<Loan>,
    /// What was given back in this run.
    pub returned: Vec<Loan>,
    /// It came with loans of an earlier run, which may have cut its power: only verify leads back into service.
    pub inherited: bool,
    /// The last act opened its own loan: if it provably did not happen, that loan is not owed.
    pub opened: bool,
    /// When this process took over, if it did.
    pub resumed_at: Option<Timestamp>,
    /// When the step that runs now was first started in this run.
    pub step_since: Option<Timestamp>,
    /// When a person last decided about this node: what was sent before may be sent again.
    pub released_at: Option<Timestamp>,
    /// It waits for a person because its playbook says so.
    pub paused: bool,
    /// When a person said, after such a pause, that it may go on.
    pub let_go_at: Option<Timestamp>,
    /// Differences a person accepted at a release: `link:eth1`.
    pub accepted: Vec<String>,
}
impl Past {
    pub fn power_acts(&self) -> impl Iterator<Item = &Done> {
        self.acts.iter().filter(|d| d.act.power)
    }
    /// A change of power was intended: from then on the node is held on failure, never turned back.
    pub fn power_touched(&self) -> bool {
        self.power_acts().next().is_some()
    }
    /// The first picture wins: borrowing twice must not record our own change as "before". Says whether this one is it.
    pub fn borrow(&mut self, loan: &Loan) -> bool {
        let first = !self.loans.iter().any(|l| l.id == loan.id);
        if first {
            self.loans.push(loan.clone());
        }
        first
    }
    pub fn pay(&mut self, id: &LoanId) {
        let paid: Vec<Loan> = self.loans.extract_if(.., |l| l.id == *id).collect();
        self.returned.extend(paid);
    }
    /// The next loan to pay: what must go first, then the newest.
    pub fn next_due(&self) -> Option<&Loan> {
        self.loans.iter().find(|l| l.first).or(self.loans.last())
    }
}
