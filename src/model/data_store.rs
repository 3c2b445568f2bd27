//! A store that keeps data on a node, and whether it bears losing the node for a while.
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataStore {
    /// `ceph`, `longhorn`, `vsan`, `alba`, `mdraid`, `zfs`, …
    pub kind: String,
    /// `rook-ceph/rook-ceph`, `tier 1`, `md0`.
    pub name: String,
    /// Why it would not survive without the node, or why nobody can say. Empty: it says that it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuses: Vec<String>,
    /// What rebuilds now, with its numbers: the next node waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebuilding: Vec<String>,
}
impl DataStore {
    pub fn bears_it(&self) -> bool {
        self.refuses.is_empty() && self.rebuilding.is_empty()
    }
}

/// The kind of a volume of a RAID controller.
pub const HARDWARE_RAID: &str = "hardware raid";

/// RAID controllers and their volumes, as one witness tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raid {
    pub volumes: Vec<DataStore>,
    /// Controllers that told of their volumes, also of none.
    pub told: usize,
    /// Controllers that are there and told nothing: which, and why.
    pub unread: Vec<String>,
}
