//! Cluster drivers on the wire: against the lab, against scripted servers, and against real ones where the environment names one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
mod command;
mod kubernetes;
mod kubevirt;
mod node_maintenance;
mod openvcloud;
mod operators;
mod palette;
mod probe;
mod rows;
mod vergeos;
