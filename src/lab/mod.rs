//! A simulated rack in this process, on loopback sockets and real protocols. It knows nothing of the engine.
pub mod rack;
pub mod tls;
pub mod vergeos;
