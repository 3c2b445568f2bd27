//! One exchange with an OpenvCloud portal: `restmachine` calls methods, `restextmachine` lists rows. Its failures become faults.
use super::super::https::{self, LARGEST, encoded, shortened};
use super::login::Login;
use crate::model::{Fault, FaultKind, Secret};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

pub struct Portal {
    pub client: Client,
    pub base: String,
    pub login: Login,
}

/// A fault, and what else the answer proves.
#[derive(Debug)]
pub struct Failure {
    pub status: Option<u16>,
    /// 404 "Could not find method": this generation has no such call, and nothing happened.
    pub no_method: bool,
    pub fault: Fault,
}
impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        failure.fault
    }
}
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure { status: None, no_method: false, fault }
    }
}

/// What a list says. The store behind it ends every list at 200 rows without a word: then nobody knows what is missing.
pub struct Rows {
    pub rows: Vec<Value>,
    pub cut: bool,
}
const ENDS_AT: usize = 200;

impl Rows {
    pub fn of(rows: Vec<Value>) -> Rows {
        Rows { cut: rows.len() >= ENDS_AT, rows }
    }
    /// All of them, or a fault that says why nobody knows.
    pub fn whole(self, what: &str) -> Result<Vec<Value>, Fault> {
        match self.cut {
            false => Ok(self.rows),
            true => Err(Fault::new(FaultKind::Invalid, format!("{what}: the portal ends its lists at {ENDS_AT} rows, and there are as many"))),
        }
    }
}

enum Ask<'a> {
    Get(String),
    Post(String, &'a Value),
}

impl Portal {
    /// A method that only reads.
    pub async fn read(&self, method: &str, args: &Value) -> Result<Value, Failure> {
        let ask = Ask::Post(format!("{}/restmachine/{method}", self.base), args);
        self.exchange(ask, false, &format!("ask {} for {method}", self.base)).await
    }

    /// A method that only reads and may be asked by GET.
    pub async fn get(&self, method: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let ask = Ask::Get(format!("{}/restmachine/{method}{}", self.base, queried(query)));
        self.exchange(ask, false, &format!("ask {} for {method}", self.base)).await
    }

    /// Whatever a change answers (`true`, `null`, `"ENABLED"`) proves only that it was accepted.
    pub async fn change(&self, method: &str, args: &Value, what: &str) -> Result<(), Failure> {
        let ask = Ask::Post(format!("{}/restmachine/{method}", self.base), args);
        self.exchange(ask, true, what).await.map(drop)
    }

    /// Rows of a model. 404 is what it answers to a guest and to a user without the portal's admin group alike: never "there are none".
    pub async fn find(&self, model: &str, query: &[(&str, &str)]) -> Result<Rows, Failure> {
        let ask = Ask::Get(format!("{}/restextmachine/{model}{}", self.base, queried(query)));
        let what = format!("list {model} at {}", self.base);
        match self.exchange(ask, false, &what).await? {
            Value::Array(rows) => Ok(Rows::of(rows)),
            other => Err(Fault::new(FaultKind::Invalid, what).cause(format!("not a list of rows: {}", shortened(&other.to_string()))).into()),
        }
    }

    /// A login that has expired is renewed once, and the request sent once more: it was refused before anything was done.
    async fn exchange(&self, ask: Ask<'_>, write: bool, what: &str) -> Result<Value, Failure> {
        let login = self.login.word(self, false).await?;
        match self.once(&ask, &login, write, what).await {
            Err(failure) if self.login.renews() && expired(&failure, &ask) => {
                let login = self.login.word(self, true).await?;
                self.once(&ask, &login, write, what).await
            }
            answer => answer,
        }
        .map_err(|failure| explained(failure, &ask))
    }

    async fn once(&self, ask: &Ask<'_>, login: &Secret, write: bool, what: &str) -> Result<Value, Failure> {
        let request = match ask {
            Ask::Get(url) => self.client.request(Method::GET, url),
            Ask::Post(url, body) => self.client.request(Method::POST, url).json(&self.login.in_body(body, login)),
        };
        let request = self.login.in_headers(request.header("accept", "application/json"), login);
        let lost = |e: reqwest::Error| {
            let kind = match () {
                () if e.is_builder() => FaultKind::Unable,
                () if e.is_connect() => FaultKind::Unreachable,
                () => FaultKind::Unknown,
            };
            Failure::from(Fault::new(kind, what).caused_by(&e.without_url()))
        };
        let turn = self.login.shown(self, login).await?;
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let refused = https::judged(turn, status);
        let text = match text_of(&mut response).await {
            Ok(text) => text,
            // The status line alone answers a write; the body of a read has to be whole.
            Err(_) if write && status.is_success() => return Ok(Value::Null),
            Err(Some(e)) => return Err(lost(e)),
            Err(None) => return Err(Fault::new(FaultKind::Invalid, what).cause(format!("more than {} MiB", LARGEST >> 20)).into()),
        };
        let json = serde_json::from_str::<Value>(&text);
        match json {
            Ok(value) if status.is_success() => Ok(value),
            Err(_) if status.is_success() && write => Ok(Value::Null),
            Err(_) if status.is_success() => Err(Fault::new(FaultKind::Invalid, what).cause(format!("not JSON: {}", shortened(&text))).into()),
            said => {
                let mut failure = failed(status, write, what, said.ok().as_ref().and_then(Value::as_str).unwrap_or(&text));
                if let Some(turn) = refused {
                    failure.fault = turn.refused(failure.fault);
                }
                Err(failure)
            }
        }
    }
}

async fn text_of(response: &mut Response) -> Result<String, Option<reqwest::Error>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Some)? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An expired session is a guest: 401 on restmachine, 404 on restextmachine, 419 where it was given as `authkey`.
fn expired(failure: &Failure, ask: &Ask<'_>) -> bool {
    let listed = matches!(ask, Ask::Get(url) if url.contains("/restextmachine/"));
    matches!(failure.status, Some(401 | 419)) || (listed && failure.status == Some(404))
}

fn failed(status: StatusCode, write: bool, what: &str, said: &str) -> Failure {
    let no_method = status == StatusCode::NOT_FOUND && said.trim_start_matches(['"', ' ']).starts_with("Could not find method");
    let mut fault = Fault::new(kind_of(status, write), what).cause(plain(said));
    if let Some(eco) = eco_in(said) {
        fault = fault.cause(format!("the portal's error record {eco}"));
    }
    fault = fault.cause(format!("HTTP {}", status.as_u16()));
    Failure { status: Some(status.as_u16()), no_method, fault }
}

/// What a person has to do, where it is not said by the answer itself.
fn explained(mut failure: Failure, ask: &Ask<'_>) -> Failure {
    let listed = matches!(ask, Ask::Get(url) if url.contains("/restextmachine/"));
    let fault = failure.fault;
    failure.fault = match failure.status {
        Some(401 | 419) => fault.next("check the login: it was renewed once where it can be, and refused again"),
        Some(403) => fault.next("give the account level 2 or 3, or admin, on the portal; a user of ItsYou.online must have logged in there once"),
        Some(404) if listed => Fault { kind: FaultKind::Denied, ..fault }
            .next("restextmachine answers 404 to guests and to accounts outside the portal's admin group alike: check the login and its groups"),
        Some(300..=399) => fault.next("the portal sends us to a login page: use client or jwt, or the portal's secret"),
        _ => fault,
    };
    failure
}

/// What a status proves. A write that was answered by "something broke in here" may have happened.
fn kind_of(status: StatusCode, write: bool) -> FaultKind {
    match status.as_u16() {
        401 | 403 | 419 | 300..=399 => FaultKind::Denied,
        400 | 409 | 412 | 422 | 423 | 429 | 503 => FaultKind::Unwilling,
        404 | 405 | 410 | 501 => FaultKind::Unable,
        _ if write => FaultKind::Unknown,
        500..600 => FaultKind::Unwilling,
        _ => FaultKind::Invalid,
    }
}

/// `eco-1-5b6c…`, which the portal mentions where it has written the error down.
fn eco_in(text: &str) -> Option<&str> {
    let from = text.find("eco-")?;
    let of_eco = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let found = text[from..].split(of_eco).next()?;
    (found.len() > 4).then_some(found)
}

/// Error pages are HTML: only their text is worth printing.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut tag = false;
    for c in text.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => {
                tag = false;
                out.push(' ');
            }
            _ if tag => {}
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    shortened(&out.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A value with `+` or `=` in it is not understood by restextmachine even when escaped; ours are numbers and words.
fn queried(query: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, write: bool, said: &str) -> Failure {
        failed(StatusCode::from_u16(status).unwrap(), write, "enter", said)
    }

    #[test]
    fn a_missing_method_is_told_from_a_missing_object() {
        assert!(failure(404, true, "Could not find method, path was /cloudbroker/computenode/maintenance").no_method);
        let gone = failure(404, true, "ComputeNode with id 4 not found");
        assert!(!gone.no_method && gone.fault.kind == FaultKind::Unable);
    }

    #[test]
    fn the_error_record_of_a_500_is_named_and_markup_is_not_printed() {
        let broken = failure(500, true, "<h1>Unexpected</h1>\nplease mention eco-1-5b6c7d8e when you complain");
        assert_eq!(broken.fault.kind, FaultKind::Unknown);
        assert!(broken.fault.causes.contains(&"the portal's error record eco-1-5b6c7d8e".to_owned()), "{}", broken.fault);
        assert!(broken.fault.causes[0].starts_with("Unexpected please mention"), "{}", broken.fault);
        assert_eq!(failure(500, false, "").fault.kind, FaultKind::Unwilling);
    }

    #[test]
    fn two_hundred_rows_are_never_all_of_them() {
        assert!(Rows::of(vec![Value::Null; 199]).whole("stacks").is_ok());
        assert!(Rows::of(vec![Value::Null; 200]).whole("stacks").is_err());
    }
}
