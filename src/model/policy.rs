//! What a playbook may decide about a failed step.
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Give everything back and go on, as far as the failure budget allows: only before power was touched.
    Return,
    /// Keep the node as it is, for a person.
    Hold,
}
