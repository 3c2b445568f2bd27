//! Facts → what people and programs read: progress while a run goes on, its summary and exit code, the screens of check, plan and status.
//! Nothing here can influence a run; times come from what is shown.
pub mod check_screen;
pub mod exit;
pub mod fold;
mod node;
pub mod node_screen;
pub mod paint;
pub mod plan_screen;
pub mod progress;
pub mod runs;
pub mod status;
pub mod summary;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub mod text;

pub use fold::{RunReport, fold};
pub use paint::Paint;
pub use progress::{JsonLines, Observer, Plain, Terminal};
pub use text::{Screen, plural};
