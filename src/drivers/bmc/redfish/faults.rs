//! Which of the six words a refusal or a broken exchange is. The heart of it: could the request have been carried out?
use super::{
    client::Reply,
    quirks, read,
    tls::{Refused, tls_error},
};
use crate::model::{Fault, FaultKind};
use reqwest::{StatusCode, header};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Read,
    /// Carried out, perhaps, unless it was clearly refused.
    Write,
}

/// Standard messages that tell a wrong moment from a missing ability.
const NOT_NOW: [&str; 7] = [
    "ActionParameterValueConflict",
    "ResourceInUse",
    "ResourceInStandby",
    "ServiceInUnknownState",
    "ServiceShuttingDown",
    "ServiceTemporarilyUnavailable",
    "ServiceDisabled",
];

/// An answer that is no success.
pub fn refused(sent: Sent, subject: &str, reply: &Reply) -> Fault {
    let refusal = reply.json().map(|doc| read::Refusal::read(&doc)).unwrap_or_default();
    let status = reply.status;
    let mut what = format!("{subject} answered {}", status.as_u16());
    if let Some(reason) = status.canonical_reason() {
        what = format!("{what} {reason}");
    }
    if let Some(after) = reply.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()) {
        what = format!("{what}, retry after {}", read::shown(after));
    }
    let mut fault = Fault::new(kind(sent, status, &refusal), what);
    fault.causes = refusal.texts.clone();
    if refusal.texts.is_empty() && !reply.body.is_empty() {
        fault.causes.push(reply.excerpt());
    }
    if status == StatusCode::UNAUTHORIZED {
        fault.next = Some("check user name and password of bmc.redfish, and at the BMC whether the account is locked; nothing is tried again by itself".into());
    }
    if refusal.says(&["PasswordChangeRequired"]) {
        fault.next = Some("log in to the BMC and change the password of this account".into());
    }
    fault
}

fn kind(sent: Sent, status: StatusCode, refusal: &read::Refusal) -> FaultKind {
    let not_now = refusal.says(&NOT_NOW) || refusal.says(&quirks::NOT_NOW);
    match (status.as_u16(), sent) {
        (401 | 403, _) => FaultKind::Denied,
        (503 | 429, _) => FaultKind::Unwilling,
        (404 | 405 | 410 | 501, _) => FaultKind::Unable,
        // The request was read, and what became of it is not said: sushy-emulator queues the reset and answers 500.
        (500..=599 | 408, Sent::Write) => FaultKind::Unknown,
        (500..=599 | 408, Sent::Read) => FaultKind::Unwilling,
        (409 | 412 | 423 | 425 | 428, _) => FaultKind::Unwilling,
        (400..=499, _) if not_now => FaultKind::Unwilling,
        (400..=499, _) => FaultKind::Unable,
        // A redirect of a write is not followed, and a strange status proves nothing.
        (_, Sent::Write) => FaultKind::Unknown,
        (_, Sent::Read) => FaultKind::Invalid,
    }
}

/// The exchange broke.
pub fn broken(subject: &str, error: &reqwest::Error, trust: &str) -> Fault {
    if let Some(refused) = Refused::find(error) {
        return Fault::new(FaultKind::Denied, format!("{subject}: its TLS certificate is not trusted"))
            .cause(refused)
            .next(format!("compare it with the BMC's own console, then {trust}"));
    }
    // `error` names the whole URL again; only what lies below it is news.
    let with = |fault: Fault| match std::error::Error::source(error) {
        Some(source) => fault.caused_by(source),
        None => fault.cause(error),
    };
    match () {
        _ if error.is_connect() && error.is_timeout() => with(Fault::new(FaultKind::Unreachable, format!("{subject}: no connection in time"))),
        _ if error.is_connect() => match tls_error(error) {
            None => with(Fault::new(FaultKind::Unreachable, format!("{subject}: no connection"))),
            // TLS 1.0 only, or no TLS at all behind that port.
            Some(rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(_) | rustls::Error::InvalidMessage(_)) => {
                with(Fault::new(FaultKind::Unable, format!("{subject}: it speaks no TLS 1.2 or 1.3 that we know")))
                    .next("update the BMC's firmware, or name `bmc.ipmi` as its way in")
            }
            // A certificate without its key, a handshake that was tampered with: no reason to show another door the password.
            Some(_) => with(Fault::new(FaultKind::Denied, format!("{subject}: it did not prove who it is"))),
        },
        _ if error.is_builder() => with(Fault::new(FaultKind::Unreachable, format!("{subject}: the request cannot be made"))),
        _ if error.is_timeout() => with(Fault::new(FaultKind::Unknown, format!("{subject}: no answer in time"))),
        _ => with(Fault::new(FaultKind::Unknown, format!("{subject}: the connection broke before the answer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_word() {
        let check = |status: u16, id: &str, write: FaultKind, reading: FaultKind| {
            let refusal = read::Refusal { ids: vec![id.into()], texts: vec![] };
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(kind(Sent::Write, status, &refusal), write, "write, {status} {id}");
            assert_eq!(kind(Sent::Read, status, &refusal), reading, "read, {status} {id}");
        };
        use FaultKind::*;
        check(401, "", Denied, Denied);
        check(403, "InsufficientPrivilege", Denied, Denied);
        check(400, "ActionParameterValueNotInList", Unable, Unable);
        check(400, "InvalidOperationForSystemState", Unwilling, Unwilling);
        check(404, "", Unable, Unable);
        check(405, "", Unable, Unable);
        check(501, "", Unable, Unable);
        check(409, "PSU501", Unwilling, Unwilling);
        check(503, "", Unwilling, Unwilling);
        check(429, "", Unwilling, Unwilling);
        check(500, "SYS518", Unknown, Unwilling);
        check(504, "", Unknown, Unwilling);
        check(307, "", Unknown, Invalid);
    }
}
