//! The REST exchange with VergeOS: one request, bounded in time and size, its failure turned into a `Fault`.
use crate::{
    model::{Connect, Fault, FaultKind, FilePath, SecretRef, Span},
    wire::{self, pin},
};
use reqwest::{Certificate, Client, ClientBuilder, Method, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

#[derive(Debug, Clone)]
pub enum Auth {
    ApiKey(SecretRef),
    Basic { username: SecretRef, password: SecretRef },
}

pub struct Rest {
    client: Client,
    base: String,
    auth: Auth,
    cx: Connect,
}

/// A fault, and the HTTP status where the server gave one.
pub struct Failure {
    pub status: Option<u16>,
    pub fault: Fault,
}
impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        failure.fault
    }
}

/// More than any table of ours; what is longer is not read into memory.
const LARGEST: usize = 32 << 20;

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

impl Rest {
    pub fn new(url: &str, auth: Auth, tls: &Tls, limit: Span, cx: &Connect) -> Result<Rest, Fault> {
        let base = base_of(url).map_err(|why| Fault::new(FaultKind::Invalid, why))?;
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
        let client = verified(builder, tls, cx)?.build().map_err(|e| Fault::new(FaultKind::Invalid, format!("TLS for {base}")).caused_by(&e))?;
        let rest = Rest { client, base, auth, cx: cx.clone() };
        rest.authorized(rest.client.get(&rest.base)).map(drop)?; // a missing secret is said now
        Ok(rest)
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Secrets are read for every request, so that a rotated one is found.
    fn authorized(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder, Fault> {
        Ok(match &self.auth {
            Auth::ApiKey(key) => request.bearer_auth(self.cx.secret(key)?.expose()),
            Auth::Basic { username, password } => request.basic_auth(self.cx.secret(username)?.expose(), Some(self.cx.secret(password)?.expose())),
        })
    }

    pub async fn get(&self, table: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let url = format!("{}/api/v4/{table}?{}", self.base, pairs.join("&"));
        let what = format!("read {table} at {}", self.base);
        match self.exchange(Method::GET, &url, None, &what).await? {
            Value::Array(rows) => Ok(rows),
            row @ Value::Object(_) if complaint(&row).is_none() && row.get("$key").is_some() => Ok(vec![row]),
            other => Err(Failure {
                status: None,
                fault: Fault::new(FaultKind::Invalid, what).cause(format!("not a list of rows: {}", shortened(&other.to_string()))),
            }),
        }
    }

    /// A write. Whatever it answers is not read further than whether it complains: only the next look says what became of it.
    pub async fn post(&self, path: &str, body: &Value, what: &str) -> Result<(), Failure> {
        let url = format!("{}/api/v4/{path}", self.base);
        let answer = self.exchange(Method::POST, &url, Some(body), what).await?;
        match complaint(&answer) {
            Some(why) => Err(Failure { status: None, fault: Fault::new(FaultKind::Unwilling, what).cause(why) }),
            None => Ok(()),
        }
    }

    async fn exchange(&self, method: Method, url: &str, body: Option<&Value>, what: &str) -> Result<Value, Failure> {
        let write = method != Method::GET;
        let fault = |kind: FaultKind| Fault::new(kind, what);
        let lost = |e: reqwest::Error| {
            let kind = match () {
                () if e.is_builder() => FaultKind::Unable,
                () if e.is_connect() => FaultKind::Unreachable,
                () => FaultKind::Unknown,
            };
            Failure { status: None, fault: fault(kind).caused_by(&e.without_url()) }
        };
        let mut request = self.client.request(method, url).header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let request = self.authorized(request).map_err(|fault| Failure { status: None, fault })?;
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let wait = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        // The status line alone answers a write; the body of a read has to be whole.
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= LARGEST => bytes.extend_from_slice(&chunk),
                Ok(Some(_)) => return Err(Failure { status: None, fault: fault(FaultKind::Invalid).cause(format!("more than {} MiB", LARGEST >> 20)) }),
                Ok(None) => break,
                Err(_) if write && status.is_success() => break,
                Err(e) => return Err(lost(e)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            if !write && json.is_null() {
                return Err(Failure { status: None, fault: fault(FaultKind::Invalid).cause(format!("not JSON: {}", shortened(&text))) });
            }
            return Ok(json);
        }
        let mut fault = fault(kind_of(status, write)).cause(complaint(&json).unwrap_or_else(|| shortened(&text))).cause(format!("HTTP {}", status.as_u16()));
        if let Some(wait) = wait {
            fault = fault.cause(format!("asks to wait: retry-after {wait}"));
        }
        fault = match status.as_u16() {
            401 => fault.next("check the API key or the login; it is not tried again by itself"),
            403 => fault.next("give the account the right to list, read and modify nodes"),
            _ => fault,
        };
        Err(Failure { status: Some(status.as_u16()), fault })
    }
}

/// What a status proves. A write that was answered by "something broke in here" may have happened.
fn kind_of(status: StatusCode, write: bool) -> FaultKind {
    match status.as_u16() {
        401 | 403 => FaultKind::Denied,
        409 | 422 | 423 | 429 | 503 | 507 => FaultKind::Unwilling,
        400 | 404 | 405 | 410 | 501 => FaultKind::Unable,
        300..400 => FaultKind::Unable,
        _ if write => FaultKind::Unknown,
        500..600 => FaultKind::Unwilling,
        _ => FaultKind::Invalid,
    }
}

/// The error text of an answer: in `err`, else `error`, else `message`; `err` may be `true` with the text in `message`.
fn complaint(answer: &Value) -> Option<String> {
    let said = |value: &Value| match value {
        Value::String(s) if !s.is_empty() => Some(s.clone()),
        Value::Object(row) => row.get("message").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let row = answer.as_object()?;
    let failed = ["err", "error"].iter().filter_map(|key| row.get(*key)).find(|v| !matches!(v, Value::Null | Value::Bool(false)) && v.as_str() != Some(""))?;
    Some(shortened(&said(failed).or_else(|| row.get("message").and_then(said)).unwrap_or_else(|| failed.to_string())))
}

fn shortened(text: &str) -> String {
    match text.trim() {
        "" => "no text".into(),
        text => text.chars().take(300).collect(),
    }
}

/// Everything but letters, digits and `-._~`: `#` would be a fragment, `+` a space.
fn encoded(value: &str) -> String {
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
    use serde_json::json;

    #[test]
    fn error_texts_are_found_in_every_shape() {
        for (answer, text) in [
            (json!({ "err": "tier 1 is not redundant" }), Some("tier 1 is not redundant")),
            (json!({ "err": true, "message": "no" }), Some("no")),
            (json!({ "error": { "message": "no" } }), Some("no")),
            (json!({ "err": true }), Some("true")),
            (json!({ "err": false, "$key": 1 }), None),
            (json!({ "message": "queued" }), None),
            (json!({ "$key": 1 }), None),
            (json!(null), None),
        ] {
            assert_eq!(complaint(&answer).as_deref(), text, "{answer}");
        }
    }

    #[test]
    fn a_status_proves_what_it_proves() {
        let write = |status: u16| kind_of(StatusCode::from_u16(status).unwrap(), true);
        assert_eq!((write(401), write(422), write(429), write(404)), (FaultKind::Denied, FaultKind::Unwilling, FaultKind::Unwilling, FaultKind::Unable));
        assert_eq!((write(500), write(502), write(408), write(503)), (FaultKind::Unknown, FaultKind::Unknown, FaultKind::Unknown, FaultKind::Unwilling));
    }

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
