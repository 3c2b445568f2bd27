//! The loop: journal, pure core (`node`, `fleet`), dispatcher (`run`), the one task every step runs in.
//! The engine knows acts, loans, repeats and times, never kinds: the name of a step, driver or verb in here is a bug.
pub mod fleet;
pub mod node;
pub mod run;
pub mod store;
pub mod task;
