//! Drivers against servers, and the lab against clients, that nobody here wrote. `tests/setup` installs them.
#![allow(clippy::unwrap_used)]
mod peer;
mod redfish;
