//! The built binary, driven as a user would (architecture.md, 7). The lab's own record judges, not what pitstop says of itself.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]
mod attended;
mod bmc;
mod cluster_faults;
mod configuration;
mod credentials;
mod demo;
mod demo_clusters;
mod faults;
mod health;
mod imported;
mod interlocks;
mod join;
mod locked;
mod marks;
mod node;
mod openvcloud;
mod pause;
mod playbooks;
mod reading;
mod reviewed;
mod rig;
mod stop;
mod trust;
mod usage;
mod world;
