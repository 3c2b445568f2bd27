//! A simulated rack in this process, on loopback sockets and real protocols. It knows nothing of the engine.
pub mod clusters;
pub mod command;
mod event_log;
pub mod family;
pub mod faults;
pub mod flash;
pub mod ipmi;
pub mod kubernetes;
pub mod openvcloud;
pub mod palette;
pub mod quirks;
pub mod rack;
mod record;
pub mod redfish;
pub mod setup;
pub mod ssh;
pub mod tls;
pub mod vergeos;
