//! How a command ends when it cannot do its work: which exit code, why, and what to type next.
use crate::{
    engine::store::{OpenError, StoreError},
    model::Fault,
};
use serde_json::json;

pub const INTERNAL: u8 = 1;
pub const USAGE: u8 = 2;
pub const CONFIGURATION: u8 = 3;
pub const UNFINISHED: u8 = 7;
pub const LOCKED: u8 = 8;

#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub code: u8,
    pub what: String,
    pub next: Option<String>,
}

impl Failure {
    pub fn new(code: u8, what: impl Into<String>) -> Failure {
        Failure { code, what: what.into(), next: None }
    }
    pub fn next(mut self, next: impl Into<String>) -> Failure {
        self.next = Some(next.into());
        self
    }
    pub fn tell(self, as_json: bool) -> u8 {
        if as_json {
            outln!("{}", json!({ "error": self.what, "next": self.next, "exit": self.code }));
        }
        eprintln!("pitstop: {}", self.what);
        if let Some(next) = &self.next {
            eprintln!("next: {next}");
        }
        self.code
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match &error {
            StoreError::Locked { .. } => Failure::new(LOCKED, error.to_string()).next("pitstop status, or wait for it"),
            StoreError::LostLock { .. } => Failure::new(UNFINISHED, error.to_string()).next("pitstop status"),
            StoreError::NotFound { .. } => Failure::new(USAGE, error.to_string()).next("pitstop runs"),
            _ => Failure::new(INTERNAL, error.to_string()),
        }
    }
}
impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        Failure::new(CONFIGURATION, error.to_string())
    }
}
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure { code: CONFIGURATION, what: fault.to_string(), next: fault.next }
    }
}
