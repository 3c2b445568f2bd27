//! What `trust.toml` says of one node: written by `pitstop inventory trust` alone, frozen into the plan.
use super::Identity;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// SHA-256 of the BMC certificate's DER, 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// SSH host keys as in known_hosts: `ssh-ed25519 AAAA…`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<String>,
    /// The machine that it is: one more witness, that contradicts another board, and stands in for one that cannot say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// When and why another machine took the place of the one that was pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
