//! HTTPS to a cluster's API, for every system here: whose certificate is trusted, and a client that neither retries nor follows.
use crate::{
    model::{Connect, Fault, FaultKind, FilePath, Span, Turn},
    wire::{self, pin},
};
use reqwest::{Certificate, Client, ClientBuilder, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};

/// How the server's certificate is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// By the certificates this machine trusts.
    #[default]
    System,
    /// By the authorities in this PEM file alone.
    CaFile(FilePath),
    /// This certificate alone: SHA-256 of its DER, 64 hex digits, colons allowed.
    Sha256(String),
    /// Not at all: whoever sits between reads the credential.
    Insecure,
}

/// More than any table of ours; what is longer is not read into memory.
pub const LARGEST: usize = 32 << 20;

/// What an answer says of the credential that was shown: refused, for whoever makes the fault; else taken, unless the server broke before it looked.
pub fn judged(turn: Turn, status: StatusCode) -> Option<Turn> {
    match status.as_u16() {
        401 => Some(turn),
        status if status < 500 => {
            turn.taken();
            None
        }
        _ => None,
    }
}

/// `https`; plain HTTP only to this machine itself, where nobody can listen in.
pub fn base_of(url: &str) -> Result<String, String> {
    let parsed = Url::parse(url).map_err(|e| format!("`{url}` is not a URL: {e}"))?;
    let host = parsed.host_str().unwrap_or_default();
    let loopback = host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match parsed.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(format!("`{url}` is not an https:// URL")),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("credentials do not belong in a URL: it is printed and journalled".into());
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(format!("`{url}` must end with the host, or with a path"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// `base`, for messages.
pub fn client(base: &str, tls: &Tls, limit: Span, cx: &Connect) -> Result<Client, Fault> {
    // reqwest asks the process for its provider; a second installation changes nothing.
    (*wire::tls::provider()).clone().install_default().ok();
    let builder = Client::builder()
        .user_agent(concat!("pitstop/", env!("CARGO_PKG_VERSION")))
        .timeout(limit.0)
        .connect_timeout(limit.0.mul_f64(0.8))
        // An idle connection that the server has closed would leave a write in doubt that was never read; and the address may move to another node.
        .pool_max_idle_per_host(0)
        .retry(reqwest::retry::never())
        // A redirect would carry the credential somewhere else.
        .redirect(redirect::Policy::none())
        .no_proxy();
    verified(builder, tls, cx)?.build().map_err(|e| Fault::new(FaultKind::Invalid, format!("TLS for {base}")).caused_by(&e))
}

pub fn shortened(text: &str) -> String {
    match text.trim() {
        "" => "no text".into(),
        text => text.chars().take(300).collect(),
    }
}

/// For a query: everything but letters, digits and `-._~`: `#` would be a fragment, `+` a space.
pub fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len() * 2);
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn verified(builder: ClientBuilder, tls: &Tls, cx: &Connect) -> Result<ClientBuilder, Fault> {
    Ok(match tls {
        Tls::System => builder,
        Tls::Sha256(text) => {
            let invalid = |what: String| Fault::new(FaultKind::Invalid, what);
            let pin = pin::fingerprint(text).map_err(invalid)?;
            builder.tls_backend_preconfigured(pin::client(pin).map_err(|e| invalid("TLS cannot be set up".into()).caused_by(&e))?)
        }
        Tls::Insecure => builder.tls_danger_accept_invalid_certs(true),
        Tls::CaFile(path) => {
            let path = cx.path(path);
            let wrong = |e: &dyn std::error::Error| Fault::new(FaultKind::Invalid, format!("read the CA file {}", path.display())).caused_by(e);
            let pem = std::fs::read(&path).map_err(|e| wrong(&e))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| wrong(&e))?;
            if certificates.is_empty() {
                return Err(Fault::new(FaultKind::Invalid, format!("the CA file {} has no certificate", path.display())));
            }
            builder.tls_certs_only(certificates)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("machine#status#started as started"), "machine%23status%23started%20as%20started");
        assert_eq!(encoded("node eq 2"), "node%20eq%202");
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        assert_eq!(base_of("https://vault.example/").as_deref(), Ok("https://vault.example"));
        assert!(base_of("http://127.0.0.1:8080").is_ok() && base_of("http://[::1]:80").is_ok());
        for bad in ["http://vault.example", "vault.example", "https://u:p@vault.example", "https://vault.example?x=1", "ftp://vault.example", ""] {
            assert!(base_of(bad).is_err(), "{bad}");
        }
    }
}
