//! The Kubernetes API as pitstop uses it: shared by every driver whose system is, below, a Kubernetes cluster.
//! Nothing here decides; it reads, judges what was read, or sends one exchange.
mod answer;
mod api;
mod budget;
mod dry_run;
mod eviction;
pub mod kubevirt;
mod lock;
mod node;
mod pods;
mod rights;
mod stores;

pub use answer::refused;
pub use api::{Access, Api, Call};
pub use budget::{Budget, budgets, matching};
pub use dry_run::{dry_run_eviction, eviction_body};
pub use eviction::{Target, evict};
pub use lock::Lock;
pub use node::{Heartbeats, KubeNode, NODES};
pub use pods::{Policy, classify, leaving, list_pods, name, stuck};
pub use rights::{Right, missing};
pub use stores::stores;
