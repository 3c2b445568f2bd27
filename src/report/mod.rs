//! Facts → what people and programs read. Nothing here can influence a run; times come from what is shown.
pub mod check_screen;
pub mod plan_screen;
mod text;

pub use text::Screen;
