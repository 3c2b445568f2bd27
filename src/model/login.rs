//! Leave to log in: who asks, with which credential, and what came of it. So that a wrong one is not tried on every machine of a fleet (safety.md, 8).
use super::{Fault, NodeName, Secret};
use std::fmt;

/// By its references, never its value: `the password in file /etc/x of the user in environment variable BMC_USER`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credential(pub String);
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One login that is about to be sent.
#[derive(Debug)]
pub struct Login {
    pub credential: Credential,
    /// Where it would be shown, for people: `https://192.0.2.11`.
    pub at: String,
    pub node: Option<NodeName>,
    /// What would be shown, only to tell it from another. None: nobody here knows it, an agent or a plugin does.
    pub shown: Vec<Secret>,
}

/// What whoever gave a turn is told about it. Dropped without a word: there was no answer.
pub trait Told: Send {
    fn taken(&mut self);
    /// Says with the fault what the refusal means for others.
    fn refused(&mut self, fault: Fault) -> Fault;
}

/// Leave for one login. Its place is free again when it goes.
pub struct Turn(Option<Box<dyn Told>>);
impl Turn {
    pub fn of(told: Box<dyn Told>) -> Turn {
        Turn(Some(told))
    }
    /// Nobody counts: what is shown is no login.
    pub fn free() -> Turn {
        Turn(None)
    }
    /// The credential is right.
    pub fn taken(mut self) {
        self.0.iter_mut().for_each(|told| told.taken());
    }
    /// The server really refused the login.
    pub fn refused(mut self, fault: Fault) -> Fault {
        match &mut self.0 {
            Some(told) => told.refused(fault),
            None => fault,
        }
    }
}
