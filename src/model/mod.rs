//! The words everyone shares: plain data and pure judgements over it. No I/O, no clock, no async.
//! A noun moves in here when a second room names it; one file each.
mod act;
mod bmc_seen;
mod bmc_view;
pub mod chain;
mod connect;
mod data_store;
mod fault;
mod host_view;
pub mod hostlist;
mod identity;
pub mod marks;
mod name;
mod node_view;
mod policy;
mod secret;
mod setting;
mod survey;
mod time;
mod trust;

pub use act::{Act, Answer, Done, Loan, LoanId, Outcome, Past, Repeat};
pub use bmc_seen::{BootOverride, Firmware, Health, LiveTask, LogEntry};
pub use bmc_view::{BmcView, Power, ResetType};
pub use connect::{Connect, FilePath};
pub use data_store::DataStore;
pub use fault::{Blocker, Fault, FaultKind};
pub use host_view::{Command, HostView, Output};
pub use identity::{Chain, Identity};
pub use name::{ClusterName, NodeName, RunId};
pub use node_view::{Boot, How, LeaseAnswer, Member, NodeView, Unmovable, Workload};
pub use policy::OnFailure;
pub use secret::{Secret, SecretRef, Secrets};
pub use setting::Setting;
pub use survey::{ClusterSurvey, DueSeen, NodeSurvey, Skip, Survey, WaySeen};
pub use time::{Clock, Span, TimeScale, Timestamp, since};
pub use trust::Trust;
