//! A firmware update as data: what is asked of a BMC, and the tasks by which it says how far it is.
use super::{Fault, FaultKind, LiveTask, Loan, NodeName, Past};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Redfish `@Redfish.OperationApplyTime`, the two that pitstop asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apply {
    Immediate,
    /// Staged; takes effect with the next reset, which is the playbook's own.
    #[default]
    OnReset,
}

/// Where the image is: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The BMC fetches it from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// pitstop sends it, or serves it where the BMC must fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// One update of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Of the firmware inventory: `BIOS`.
    pub id: String,
    pub version: String,
    pub image: Image,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    pub apply: Apply,
    /// `ADDRESS:PORT` of this machine, as the BMC reaches it: there the file is served where a BMC must fetch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<String>,
}

/// A task as the BMC tells of it, at its end or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    #[serde(flatten)]
    pub task: LiveTask,
    /// None: live. Ok: at its end, well. Err: failed, in its own words.
    pub ended: Option<Result<(), String>>,
}

/// Whom a started update is owed to: not a driver, but the step that has to see the new version.
pub const FIRMWARE: &str = "firmware";

/// An update that was started or staged and has not yet been seen to its end: a loan in the node's ledger, so that the next run knows of it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub update: Update,
    /// Version before.
    #[serde(default)]
    pub from: Option<String>,
    /// Tasks that stood at the BMC before it was asked: not ours.
    #[serde(default)]
    pub tasks_before: Vec<String>,
}
impl Started {
    pub fn of(loan: &Loan) -> Option<Started> {
        if loan.to == FIRMWARE { serde_json::from_value(loan.before.clone()).ok() } else { None }
    }
    /// Those of this node that are still open.
    pub fn open(past: &Past) -> Vec<Started> {
        past.loans.iter().filter_map(Started::of).collect()
    }
    pub fn is_ours(&self, task: &LiveTask) -> bool {
        !self.tasks_before.contains(&task.id)
    }
    /// Staged by us, waiting for the reset: what that reset is for.
    pub fn waits(&self, task: &LiveTask) -> bool {
        // The standard's `Starting` is where BIOS updates wait for the host to be reset.
        let begun = task.percent.is_some_and(|p| p > 0);
        self.update.apply == Apply::OnReset && self.is_ours(task) && (task.waits_for_reset || (task.state == "Starting" && !begun))
    }
    pub fn as_before(&self) -> Value {
        serde_json::to_value(self).expect("BUG: plain data is always JSON")
    }
    pub fn named(&self, node: &NodeName) -> String {
        format!("update of {} to {} on {node}", self.update.id, self.update.version)
    }
}

impl LiveTask {
    /// Why no power goes to this node now: the same words in check, in plan and before the verb.
    pub fn refusal(&self, node: &NodeName) -> Fault {
        let percent = self.percent.map(|p| format!(", {p} %")).unwrap_or_default();
        let what = format!("flash: task `{}` of the BMC of {node} is not at its end: {}{percent} ({})", self.name, self.state, self.id);
        let next = match self.waits_for_reset {
            true => format!("it waits for a reset that is not its own: remove it at the BMC or let its owner finish it, then pitstop check {node}"),
            false => format!("wait until it is at its end, then pitstop check {node}"),
        };
        Fault::new(FaultKind::Unwilling, what).next(next)
    }
}
