//! What a refusal of the API server means, in the six words.
use crate::model::{Fault, FaultKind};
use kube::core::response::Status;

/// An admission webhook said no, or could not be asked.
pub fn from_webhook(message: &str) -> bool {
    message.contains("admission webhook") || message.contains("failed calling webhook")
}

/// A refusal of anything but an eviction, whose answers mean more.
pub fn refused(what: &str, status: &Status, writes: bool) -> Fault {
    let kind = match status.code {
        401 => FaultKind::Denied,
        _ if from_webhook(&status.message) => FaultKind::Unwilling,
        403 => FaultKind::Denied,
        409 | 410 | 429 | 503 => FaultKind::Unwilling,
        // The store below may have taken it all the same.
        500.. if writes => FaultKind::Unknown,
        500.. => FaultKind::Unwilling,
        // 400, 404, 405, 415, 422, and redirects, which an API server never sends.
        _ => FaultKind::Unable,
    };
    let fault = Fault::new(kind, format!("{what}: {}", named(status.code)));
    let fault = if status.message.is_empty() { fault } else { fault.cause(&status.message) };
    match status.code {
        401 => fault.next("check the credentials in the kubeconfig"),
        403 if kind == FaultKind::Denied => fault.next("give the account the rights in docs/kubernetes.md"),
        _ => fault,
    }
}

fn named(code: u16) -> String {
    match code {
        401 => "the API server does not accept our credentials".into(),
        403 => "not allowed".into(),
        404 => "not found".into(),
        409 => "changed meanwhile".into(),
        410 => "the list expired while it was read".into(),
        429 => "the API server is overloaded".into(),
        503 => "the API server is not available".into(),
        504 => "the API server ran out of time".into(),
        code => format!("the API server answered {code}"),
    }
}
