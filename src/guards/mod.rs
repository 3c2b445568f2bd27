//! The interlocks of safety.md, one file each. Only this room can make a `Permit`, and without one no driver cuts power.
pub mod boot_order;
pub mod branch;
pub mod dead;
pub mod empty;
pub mod flash;
pub mod identity;
pub mod moment;
mod permit;
pub mod readings;
pub mod storage;
pub mod unlock;

pub use branch::Own;
pub use moment::Moment;
pub use permit::{Permit, fencing, permit, restart_of_bmc};
pub use readings::{Pins, Readings};
