//! The REST exchange with VergeOS: one request, bounded in time and size, its failure turned into a `Fault`.
use super::super::{
    https::{self, LARGEST, Tls, base_of, encoded, shortened},
    pause::Pause,
};
use super::budget::Budget;
use crate::model::{Connect, Credential, Fault, FaultKind, Secret, SecretRef, Span, Turn};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

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
    pause: Pause,
    pub budget: Budget,
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
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure { status: None, fault }
    }
}

impl Rest {
    pub fn new(url: &str, auth: Auth, tls: &Tls, limit: Span, budget: Budget, cx: &Connect) -> Result<Rest, Fault> {
        let base = base_of(url).map_err(|why| Fault::new(FaultKind::Invalid, why))?;
        let client = https::client(&base, tls, limit, cx)?;
        let rest = Rest { client, base, auth, cx: cx.clone(), pause: Pause::default(), budget };
        rest.authorized(rest.client.get(&rest.base)).map(drop)?; // a missing secret is said now
        Ok(rest)
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Secrets are read for every request, so that a rotated one is found.
    fn authorized(&self, request: reqwest::RequestBuilder) -> Result<(reqwest::RequestBuilder, Vec<Secret>), Fault> {
        Ok(match &self.auth {
            Auth::ApiKey(key) => {
                let key = self.cx.secret(key)?;
                (request.bearer_auth(key.expose()), vec![key])
            }
            Auth::Basic { username, password } => {
                let (username, password) = (self.cx.secret(username)?, self.cx.secret(password)?);
                (request.basic_auth(username.expose(), Some(password.expose())), vec![username, password])
            }
        })
    }
    /// Every request is a login.
    async fn turn(&self, shown: Vec<Secret>) -> Result<Turn, Fault> {
        let credential: Credential = match &self.auth {
            Auth::ApiKey(key) => self.cx.credential("API key", key, None),
            Auth::Basic { username, password } => self.cx.credential("password", password, Some(username)),
        };
        self.cx.turn(&credential, &self.base, shown).await
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
        let mut request = self.client.request(method, url).header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let (request, shown) = self.authorized(request)?;
        let turn = self.turn(shown).await?;
        self.budget.spend();
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let wait = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let refused = https::judged(turn, status);
        if status.as_u16() == 429 {
            self.pause.refused(wait.as_deref());
        } else {
            self.pause.answered();
        }
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
        let fault = refused.map_or(fault.clone(), |turn| turn.refused(fault));
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
}
