//! Cluster drivers against the lab, over the wire.
mod probe;
mod vergeos;
