//! The loop: journal, pure core, dispatcher, the one task every step runs in.
pub mod store;
