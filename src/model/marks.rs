//! The marks pitstop leaves in a cluster, so that a node can be settled without our store.

/// The run that took the node.
pub const RUN: &str = "pitstop/run";
/// Was it unschedulable before we came?
pub const WAS_UNSCHEDULABLE: &str = "pitstop/was-unschedulable";
/// What the node was before its reboot (pods of its own, CSI drivers, room), for the comparison after it.
pub const WAS_FIT: &str = "pitstop/was-fit";
/// Why: the operator's `--reason`.
pub const REASON: &str = "pitstop/reason";
/// Who we are in fields that name a writer (field manager, user agent).
pub const PROGRAM: &str = "pitstop";
