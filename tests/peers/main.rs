//! Our drivers against other people's servers, and other people's clients against our lab. A peer that is not installed fails its test and names `tests/setup`.
mod ipmi;
mod peer;
mod rmcp_replay;
mod ssh;
