//! What a machine shows to prove who it is, for a person to compare before it is pinned.
use serde::Serialize;

/// The certificate that a BMC shows in its TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Of its DER, 64 hex digits: what a pin names.
    pub sha256: String,
    pub subject: String,
    pub issuer: String,
    /// RFC 3339.
    pub not_before: String,
    pub not_after: String,
    pub self_issued: bool,
    /// Why the inventory's own `tls` setting would not believe it; None: it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_believed: Option<String>,
}

/// The key that a host shows in its SSH handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostKey {
    /// As in known_hosts: `ssh-ed25519 AAAA…`.
    pub line: String,
    /// As `ssh-keygen -l` prints it: `SHA256:…`.
    pub fingerprint: String,
}
