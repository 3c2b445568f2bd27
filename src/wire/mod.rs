//! Pure codecs that a driver and the lab both need.
pub mod pin;
pub mod tls;
