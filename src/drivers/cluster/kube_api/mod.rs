//! The Kubernetes API as pitstop uses it: shared by every driver whose system is, below, a Kubernetes cluster.
//! Nothing here decides; it reads, judges what was read, or sends one exchange.
mod answer;
mod api;
mod budget;
mod eviction;
mod lock;
mod node;
mod pods;
mod rights;
mod stores;

pub use answer::refused;
pub use api::{Access, Api, Call};
pub use budget::{Budget, budgets, matching};
pub use eviction::{Target, evict};
pub use lock::Lock;
pub use node::{Heartbeats, KubeNode, NODES};
pub use pods::{Policy, classify, list_pods, stuck};
pub use rights::{Right, missing};
pub use stores::stores;
