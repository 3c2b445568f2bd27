//! The interlocks of safety.md, one file each. Only this room can make a `Permit`, and without one no driver cuts power.
pub mod empty;
pub mod flash;
pub mod identity;
mod permit;
pub mod readings;

pub use permit::{Permit, permit};
pub use readings::{Pins, Readings};
