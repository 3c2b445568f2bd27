//! Facts → what people and programs read. Nothing here can influence a run; times come from what is shown.
pub mod check_screen;
pub mod plan_screen;
pub mod text;

pub use text::Screen;
//! Turns events into output: progress while a run goes on, a summary and an exit code at its end. Time comes from the records; nothing here can influence a run.
pub mod exit;
pub mod fold;
mod node;
pub mod paint;
pub mod progress;
pub mod runs;
pub mod status;
pub mod summary;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub use fold::{RunReport, fold};
pub use paint::{Color, Paint};
pub use progress::{JsonLines, Observer, Plain, Terminal};
