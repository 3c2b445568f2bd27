//! Our drivers against other people's servers, and other people's clients against our lab. A peer that is not installed fails its test and names `tests/setup`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
mod binary;
mod ipmi;
mod machine;
mod monitoring;
mod peer;
mod picture;
mod redfish;
mod refusals;
mod rmcp_replay;
mod ssh;
mod ssh_jump;
mod ssh_live;
mod ssh_many;
mod systemd;
mod vergeos;
mod vm;
mod vouched;
