//! The REST exchange with Palette: one request, bounded in time and size, its failure turned into a `Fault`.
use super::super::{
    https::{self, LARGEST, Tls, base_of, encoded, shortened},
    pause::Pause,
};
use crate::model::{Connect, Fault, FaultKind, SecretRef, Span};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

pub struct Rest {
    client: Client,
    base: String,
    key: SecretRef,
    cx: Connect,
    pause: Pause,
}

/// A fault, and the HTTP status where the server gave one.
#[derive(Debug)]
pub struct Failure {
    pub status: Option<u16>,
    pub fault: Fault,
}
impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        failure.fault
    }
}

/// More pages than the largest cluster has, at 50 machines each.
const PAGES: usize = 500;
const PAGE: &str = "50";

impl Rest {
    pub fn new(url: &str, key: SecretRef, tls: &Tls, limit: Span, cx: &Connect) -> Result<Rest, Fault> {
        let base = base_of(url).map_err(|why| Fault::new(FaultKind::Invalid, why))?;
        let client = https::client(&base, tls, limit, cx)?;
        cx.secret(&key)?; // a missing secret is said now
        Ok(Rest { client, base, key, cx: cx.clone(), pause: Pause::default() })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// `project`: the scope; none is the tenant.
    pub async fn get(&self, path: &str, project: Option<&str>, what: &str) -> Result<Value, Failure> {
        let answer = self.exchange(Method::GET, path, None, project, what, false).await?;
        if answer.is_object() { Ok(answer) } else { Err(senseless(what, "not an object")) }
    }

    /// A question that takes a body.
    pub async fn ask(&self, path: &str, body: &Value, project: Option<&str>, what: &str) -> Result<Value, Failure> {
        let answer = self.exchange(Method::POST, path, Some(body), project, what, false).await?;
        if answer.is_object() { Ok(answer) } else { Err(senseless(what, "not an object")) }
    }

    /// A whole list: `listmeta.continue` is followed until it is empty.
    pub async fn list(&self, path: &str, project: Option<&str>, what: &str) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES {
            let more = if token.is_empty() { String::new() } else { format!("&continue={}", encoded(&token)) };
            let mut page = self.get(&format!("{path}?limit={PAGE}{more}"), project, what).await?;
            match page["items"].take() {
                Value::Array(items) => all.extend(items),
                // Empty fields are left out of answers; but a list that says nothing of itself is none.
                Value::Null if page["listmeta"].is_object() => {}
                _ => return Err(senseless(what, "a list without items")),
            }
            let next = page["listmeta"]["continue"].as_str().unwrap_or_default();
            if next.is_empty() {
                return Ok(all);
            }
            if next == token {
                return Err(senseless(what, "its pages never end"));
            }
            token = next.to_owned();
        }
        Err(senseless(what, "its pages never end"))
    }

    /// A write. What it answers is not read further: only the next look says what became of it.
    pub async fn write(&self, method: Method, path: &str, body: &Value, project: Option<&str>, what: &str) -> Result<(), Failure> {
        self.exchange(method, path, Some(body), project, what, true).await.map(drop)
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>, project: Option<&str>, what: &str, write: bool) -> Result<Value, Failure> {
        self.pause.over(what).map_err(|fault| Failure { status: None, fault })?;
        let fault = |kind: FaultKind| Fault::new(kind, what);
        let lost = |e: reqwest::Error| {
            let kind = match () {
                () if e.is_builder() => FaultKind::Unable,
                () if e.is_connect() => FaultKind::Unreachable,
                () => FaultKind::Unknown,
            };
            Failure { status: None, fault: fault(kind).caused_by(&e.without_url()) }
        };
        // Read for every request, so that a rotated one is found.
        let key = self.cx.secret(&self.key).map_err(|fault| Failure { status: None, fault })?;
        let mut request = self.client.request(method, format!("{}{path}", self.base)).header("accept", "application/json").header("ApiKey", key.expose());
        if let Some(project) = project {
            request = request.header("ProjectUid", project);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let credential = self.cx.credential("API key", &self.key, None);
        let turn = self.cx.turn(&credential, &self.base, vec![key]).await.map_err(|fault| Failure { status: None, fault })?;
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let refused = https::judged(turn, status);
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
        if status.as_u16() == 429 {
            self.pause.refused(wait.as_deref());
        } else {
            self.pause.answered();
        }
        if status.is_success() {
            if !write && json.is_null() {
                return Err(Failure { status: None, fault: fault(FaultKind::Invalid).cause(format!("not JSON: {}", shortened(&text))) });
            }
            return Ok(json);
        }
        let fault = fault(kind_of(status, write)).cause(complaint(&json).unwrap_or_else(|| shortened(&text))).cause(format!("HTTP {}", status.as_u16()));
        let fault = match status.as_u16() {
            401 => fault.next("the API key is wrong or has expired: make a new one; it is not tried again by itself"),
            403 => fault.next("either the role lacks rights (machine.update, cloudconfig.get, cloudconfig.update, cluster.get: Project or Cluster Editor), or `project` names the wrong project"),
            _ => fault,
        };
        let fault = refused.map_or(fault.clone(), |turn| turn.refused(fault));
        Err(Failure { status: Some(status.as_u16()), fault })
    }
}

fn senseless(what: &str, why: &str) -> Failure {
    Failure { status: None, fault: Fault::new(FaultKind::Invalid, what).cause(why) }
}

/// What a status proves. A write that was answered by "something broke in here", or by a proxy, may have happened.
fn kind_of(status: StatusCode, write: bool) -> FaultKind {
    match status.as_u16() {
        401 | 403 => FaultKind::Denied,
        409 | 422 | 423 | 429 => FaultKind::Unwilling,
        300..=499 if status.as_u16() != 408 => FaultKind::Unable,
        _ if write => FaultKind::Unknown,
        500..=599 => FaultKind::Unwilling,
        _ => FaultKind::Invalid,
    }
}

/// `{ code, message, ref }`; a proxy in between says something else.
fn complaint(answer: &Value) -> Option<String> {
    let said = |key: &str| answer[key].as_str().filter(|s| !s.is_empty());
    let (code, message) = (said("code"), said("message"));
    let text = match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (one, other) => one.or(other)?.to_owned(),
    };
    Some(shortened(&said("ref").map_or(text.clone(), |reference| format!("{text} (ref {reference})"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_proves_what_it_proves() {
        let of = |status: u16, write| kind_of(StatusCode::from_u16(status).unwrap(), write);
        use FaultKind::*;
        for (status, read, write) in [
            (401, Denied, Denied),
            (403, Denied, Denied),
            (404, Unable, Unable),
            (400, Unable, Unable),
            (429, Unwilling, Unwilling),
            (500, Unwilling, Unknown),
            (502, Unwilling, Unknown),
            (408, Invalid, Unknown),
            (302, Unable, Unable),
        ] {
            assert_eq!((of(status, false), of(status, true)), (read, write), "{status}");
        }
    }

    #[test]
    fn code_message_and_reference_are_shown() {
        let full = json!({ "code": "ResourceNotFound", "message": "machine", "ref": "x-17", "details": {} });
        assert_eq!(complaint(&full).as_deref(), Some("ResourceNotFound: machine (ref x-17)"));
        assert_eq!(complaint(&json!({ "message": "no" })).as_deref(), Some("no"));
        assert_eq!((complaint(&json!(null)), complaint(&json!({ "code": "" }))), (None, None));
    }
}
