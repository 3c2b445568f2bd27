//! The Kubernetes API as pitstop uses it: shared by every driver whose system is, below, a Kubernetes cluster.
//! Nothing here decides; it reads, judges what was read, or sends one exchange.
mod answer;
mod api;
mod budget;
mod deadlock;
mod dry_run;
mod eviction;
mod fit;
pub mod kubevirt;
mod lock;
mod node;
pub mod pods;
mod quantity;
mod quorum;
mod rights;
mod rivals;
mod room;
mod stores;
mod volumes;

pub use answer::refused;
pub use api::{Access, Api, Call};
pub use budget::{Budget, budgets, matching};
pub use deadlock::behind;
pub use dry_run::{dry_run_eviction, eviction_body};
pub use eviction::{Target, dry_run, evict};
pub use fit::{Picture, csi_drivers};
pub use lock::Lock;
pub use node::{Heartbeats, KubeNode, NODES};
pub use pods::{Left, Policy, classify, leaving, list_pods, name, name as pod_name, stuck};
pub use quantity::quantity;
pub use quorum::quorum;
pub use rights::{Right, missing};
pub use rivals::rivals;
pub use room::{Surroundings, asked, judge as feasible};
pub use stores::stores;
pub use volumes::attached;
