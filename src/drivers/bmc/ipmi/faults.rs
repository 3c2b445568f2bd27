//! What IPMI's codes, and silence, mean in the six words of `FaultKind`.
use crate::{
    model::{Fault, FaultKind},
    wire::{lan::code, rakp::status},
};
use std::{io, time::Duration};

/// An exchange without an answer.
#[derive(Debug)]
pub enum Lost {
    /// The datagram did not leave.
    Unsent(io::Error),
    /// The network says that nobody takes it; whether an earlier datagram was taken it does not say.
    Broken(io::Error),
    Silent(Duration),
}

impl Lost {
    fn why(&self) -> String {
        match self {
            Lost::Unsent(e) => format!("not sent: {e}"),
            Lost::Broken(e) => format!("refused by the network: {e}"),
            Lost::Silent(limit) => format!("no answer within {limit:?}"),
        }
    }
    /// Of a login or a read: nothing can have happened.
    pub fn before_anything(self, endpoint: &str, doing: &str) -> Fault {
        Fault::new(FaultKind::Unreachable, format!("{endpoint} does not answer {doing}")).cause(self.why())
    }
    /// Of a write: only what did not leave cannot have happened.
    pub fn after_write(self, endpoint: &str, doing: &str) -> Fault {
        match self {
            Lost::Unsent(_) => self.before_anything(endpoint, doing),
            _ => Fault::new(FaultKind::Unknown, format!("{endpoint} got {doing} and did not answer: it may have happened")).cause(self.why()),
        }
    }
}

/// A completion code other than 00h.
pub fn completion(endpoint: &str, doing: &str, code: u8) -> Fault {
    let kind = match code {
        code::PRIVILEGE => FaultKind::Denied,
        code::INVALID_COMMAND..=code::INVALID_FOR_LUN | code::TRUNCATED..=code::ILLEGAL_FOR_SENSOR | code::DISABLED => FaultKind::Unable,
        code::BUSY | code::OUT_OF_SPACE | code::RESERVATION_LOST | code::SDR_UPDATE..=code::DESTINATION_UNAVAILABLE | code::WRONG_STATE => FaultKind::Unwilling,
        // The BMC has begun, and lost track; a duplicate says that the first one arrived.
        code::TIMEOUT | code::NO_RESPONSE | code::DUPLICATED => FaultKind::Unknown,
        _ => FaultKind::Invalid,
    };
    Fault::new(kind, format!("{endpoint} refuses {doing}")).cause(format!("{} ({code:02x}h)", code::name(code)))
}

/// A status other than 0 while logging in.
pub fn refused(who: &str, doing: &str, status: u8) -> Fault {
    let kind = match status {
        // No session, so no command was sent: another way in may be tried (safety.md, 12).
        status::NO_RESOURCES | status::NO_RESOURCES_AT_ROLE | status::INVALID_SESSION | status::INACTIVE_SESSION => FaultKind::Unreachable,
        status::INVALID_ROLE | status::UNAUTHORISED_ROLE | status::INVALID_NAME_LENGTH..=status::INVALID_CHECK => FaultKind::Denied,
        _ => FaultKind::Unable,
    };
    let fault = Fault::new(kind, format!("{who} refuses {doing}")).cause(format!("{} ({status:02x}h)", status::name(status)));
    match kind {
        FaultKind::Denied => fault.next("check user name, password and privilege of bmc.ipmi"),
        FaultKind::Unreachable => fault.next("close other sessions on the BMC, or wait until they expire"),
        _ => fault,
    }
}
