//! pitstop takes bare-metal servers out of service, through firmware, patches and reboots, and back, safely, out of band.
pub mod checks;
pub mod drivers;
pub mod due;
pub mod engine;
pub mod event;
pub mod guards;
pub mod inventory;
pub mod kinds;
pub mod lab;
pub mod model;
pub mod plan;
pub mod playbook;
pub mod report;
pub mod steps;
pub mod survey;
pub mod wire;
