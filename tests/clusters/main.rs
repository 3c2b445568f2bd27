//! Cluster drivers on the wire: against the lab, against scripted servers, and against real ones where the environment names one.
mod kubernetes;
