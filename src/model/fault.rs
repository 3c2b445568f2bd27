//! What went wrong, in the six words that decide what may be done next.
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nothing was sent.
    Unreachable,
    /// It cannot, whoever asks: no such verb, not implemented.
    Unable,
    /// It could, but will not now: wrong state, busy, a budget.
    Unwilling,
    /// Credentials or rights.
    Denied,
    /// Sent, and no answer: it may have happened.
    Unknown,
    /// A senseless answer, or a setting that makes no sense.
    Invalid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    /// Names the object and what happened; lower case, no full stop.
    pub what: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The next command or action for a person, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The credential that a server refused, or that is not used any more because servers refused it: where it lies, never its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl Fault {
    pub fn new(kind: FaultKind, what: impl Into<String>) -> Fault {
        Fault { kind, what: what.into(), causes: Vec::new(), next: None, credential: None }
    }
    pub fn cause(mut self, cause: impl fmt::Display) -> Fault {
        self.causes.push(cause.to_string());
        self
    }
    /// The whole chain of an error, outermost first.
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Fault {
        let mut next = Some(error);
        while let Some(e) = next {
            self.causes.push(e.to_string());
            next = e.source();
        }
        self
    }
    pub fn next(mut self, next: impl Into<String>) -> Fault {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}
impl std::error::Error for Fault {}

/// What exactly keeps us waiting: the pod and its PodDisruptionBudget, the VM, the volume, the BMC task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    pub object: String,
    pub why: String,
}
impl Blocker {
    pub fn new(object: impl Into<String>, why: impl Into<String>) -> Blocker {
        Blocker { object: object.into(), why: why.into() }
    }
}
impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.why)
    }
}
