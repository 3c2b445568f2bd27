//! What a node can be reached by: families that never import a sibling, one real-world system each.
//! A driver looks, or does one exchange: it never sleeps, never loops until something holds, never retries a write.
pub mod bmc;
pub mod cluster;
pub mod host;
pub mod net;
