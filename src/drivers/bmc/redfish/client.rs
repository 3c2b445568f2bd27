//! HTTP to one BMC: one connection per request, bounded bodies, a session that is logged in once, and writes that are sent once.
use super::{
    account::{Account, Keys},
    etag,
    faults::{Sent, broken, refused},
    quirks, read, retry,
};
use crate::model::{Fault, FaultKind, Turn};
use reqwest::{
    Method, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::Instant,
};

/// Enough for any resource; a BMC that sends more is broken.
const BODY_LIMIT: usize = 16 << 20;
/// BMCs are small: more at once makes some of them drop connections or crash.
pub const IN_FLIGHT: usize = 2;
const REDIRECTS: usize = 5;
pub const ROOT: &str = "/redfish/v1/";
/// Where the standard puts it when the root does not say.
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A session; Basic where the BMC has none, or none free.
    #[default]
    Auto,
    Session,
    Basic,
}

/// What a request shows to be let in.
#[derive(Clone)]
enum Pass {
    Token { token: HeaderValue, session: Option<Url> },
    Basic { account: Account, instead: Option<String> },
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}
impl Reply {
    fn is_json(&self) -> bool {
        // Absent is believed; HTML from a wedged web server is not.
        self.headers.get(header::CONTENT_TYPE).is_none_or(|v| v.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains("json")))
    }
    pub fn json(&self) -> Option<Value> {
        if self.is_json() { serde_json::from_slice(&self.body).ok() } else { None }
    }
    /// The beginning of a body that should have been something else.
    pub fn excerpt(&self) -> String {
        read::shown(&String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]))
    }
}

pub struct Client {
    pub http: reqwest::Client,
    pub base: Url,
    pub auth: Auth,
    pub keys: Keys,
    /// What a person does to trust another certificate.
    pub trust: String,
    lanes: Semaphore,
    /// It asked to be left alone until then (`Retry-After`).
    rests: std::sync::Mutex<Option<Instant>>,
    pass: Mutex<Option<Pass>>,
    root: Mutex<Option<Value>>,
}

pub fn http(tls: rustls::ClientConfig, connect: Duration, whole: Duration) -> reqwest::Result<reqwest::Client> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    // Some BMCs answer a compressed resource with another ETag, or not at all.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // Some reset connections that are used a second time.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(ODATA_VERSION, HeaderValue::from_static("4.0"));
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .default_headers(headers)
        .user_agent(concat!("pitstop/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect)
        .timeout(whole)
        .pool_max_idle_per_host(0)
        .retry(reqwest::retry::never())
        // Followed by hand: a token goes to one origin only, and a write is never sent twice.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // A proxy meant for the Internet must not see BMCs.
        .no_proxy()
        .build()
}

impl Client {
    pub fn new(http: reqwest::Client, base: Url, auth: Auth, trust: String, keys: Keys) -> Client {
        Client {
            http,
            base,
            auth,
            keys,
            trust,
            lanes: Semaphore::new(IN_FLIGHT),
            rests: std::sync::Mutex::default(),
            pass: Mutex::new(None),
            root: Mutex::new(None),
        }
    }

    fn subject(&self, method: &Method, url: &Url) -> String {
        format!("{}: {method} {}", self.base.as_str().trim_end_matches('/'), url.path())
    }

    /// An address that the service named. Only this origin is ever asked.
    pub fn url(&self, named: &str) -> Result<Url, Fault> {
        let url = self.base.join(named).ok().filter(|url| url.origin() == self.base.origin());
        url.ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{}: it points to `{}`, which is not itself", self.base, read::shown(named))))
    }

    fn request(&self, method: Method, url: &Url, pass: Option<&Pass>) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url.clone());
        match pass {
            None => request,
            Some(Pass::Token { token, .. }) => request.header(X_AUTH_TOKEN, token.clone()),
            Some(Pass::Basic { account, .. }) => request.basic_auth(account.username.expose(), Some(account.password.expose())),
        }
    }

    async fn lane(&self) -> SemaphorePermit<'_> {
        self.lanes.acquire().await.expect("BUG: the lanes of a client are never closed")
    }

    fn rests(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.rests.lock().expect("BUG: a holder of a time panicked")
    }

    /// Nothing is sent to a BMC that asked for time. Waiting is the caller's.
    fn awake(&self, subject: &str) -> Result<(), Fault> {
        let left = self.rests().map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        left.map_or(Ok(()), |left| {
            let what = format!("{subject}: not sent, the BMC asked for {} s more without requests", left.as_secs() + 1);
            Err(Fault::new(FaultKind::Unwilling, what))
        })
    }

    /// A refusal that names a time.
    fn note_rest(&self, reply: &Reply) {
        if matches!(reply.status.as_u16(), 429 | 503)
            && let Some(wait) = retry::after(&reply.headers)
        {
            *self.rests() = Some(Instant::now() + wait);
        }
    }

    /// One request, one answer.
    async fn send(&self, sent: Sent, subject: &str, request: reqwest::RequestBuilder, _lane: SemaphorePermit<'_>) -> Result<Reply, Fault> {
        let began = Instant::now();
        let answer = request.send().await;
        let elapsed_ms = began.elapsed().as_millis() as u64;
        let mut response = answer.map_err(|e| broken(subject, &e, &self.trust)).inspect_err(|fault| {
            tracing::debug!(driver = "redfish", op = subject, elapsed_ms, %fault, "no answer");
        })?;
        tracing::debug!(driver = "redfish", op = subject, elapsed_ms, status = response.status().as_u16(), "answer");
        let mut reply = Reply { status: response.status(), headers: std::mem::take(response.headers_mut()), body: Vec::new() };
        loop {
            let broken = match response.chunk().await {
                Ok(Some(chunk)) if reply.body.len() + chunk.len() <= BODY_LIMIT => {
                    reply.body.extend_from_slice(&chunk);
                    continue;
                }
                Ok(Some(_)) => Fault::new(FaultKind::Invalid, format!("{subject}: the answer is longer than {} MiB", BODY_LIMIT >> 20)),
                Ok(None) => return Ok(reply),
                Err(e) => broken(subject, &e, &self.trust),
            };
            // For a write, and for a refusal, the status says it all.
            return if sent == Sent::Write || !reply.status.is_success() { Ok(reply) } else { Err(broken) };
        }
    }

    /// A GET, redirected within the origin where the service wants that.
    async fn fetch(&self, path: &str, pass: Option<&Pass>) -> Result<(String, Reply), Fault> {
        let mut url = self.url(path)?;
        for _ in 0..=REDIRECTS {
            let subject = self.subject(&Method::GET, &url);
            let lane = self.lane().await;
            self.awake(&subject)?;
            let reply = self.send(Sent::Read, &subject, self.request(Method::GET, &url, pass), lane).await?;
            self.note_rest(&reply);
            let location = reply.headers.get(header::LOCATION).and_then(|v| v.to_str().ok());
            match location {
                Some(location) if reply.status.is_redirection() => {
                    let next = url.join(location).ok().filter(|next| next.origin() == self.base.origin());
                    url = next.ok_or_else(|| {
                        Fault::new(FaultKind::Invalid, format!("{subject}: it redirects to `{}`, another origin: not followed", read::shown(location)))
                    })?;
                }
                _ => return Ok((subject, reply)),
            }
        }
        Err(Fault::new(FaultKind::Invalid, format!("{}: more than {REDIRECTS} redirects", self.subject(&Method::GET, &url))))
    }

    fn document(subject: &str, reply: &Reply) -> Result<Value, Fault> {
        if !reply.status.is_success() {
            return Err(refused(Sent::Read, subject, reply));
        }
        let object = reply.json().filter(Value::is_object);
        object
            .ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{subject}: the answer is no JSON object")).cause(format!("it begins `{}`", reply.excerpt())))
    }

    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        let (subject, reply) = self.read(path).await?;
        Self::document(&subject, &reply)
    }

    /// With its ETag, which a write may have to name: from the body, or else from the header.
    pub async fn get_tagged(&self, path: &str) -> Result<(Value, Option<String>), Fault> {
        let (subject, reply) = self.read(path).await?;
        let doc = Self::document(&subject, &reply)?;
        let header = reply.headers.get(header::ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let tag = read::text(doc.get("@odata.etag")).or(header);
        Ok((doc, tag))
    }

    async fn read(&self, path: &str) -> Result<(String, Reply), Fault> {
        let pass = self.pass().await?;
        let turn = self.shows(&pass).await?;
        let (subject, reply) = self.fetch(path, Some(&pass)).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            taken(turn, reply.status);
            return Ok((subject, reply));
        }
        let fault = turn.refused(refused(Sent::Read, &subject, &reply));
        // A session expires, and a BMC forgets it when it restarts: log in once more.
        let pass = self.renew(&pass, fault).await?;
        let turn = self.shows(&pass).await?;
        let (subject, reply) = self.fetch(path, Some(&pass)).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            self.forget(&pass).await;
            return Err(turn.refused(refused(Sent::Read, &subject, &reply)));
        }
        taken(turn, reply.status);
        Ok((subject, reply))
    }

    /// Basic is a login with every request; a session's token shows nothing of the account.
    async fn shows(&self, pass: &Pass) -> Result<Turn, Fault> {
        match pass {
            Pass::Token { .. } => Ok(Turn::free()),
            Pass::Basic { account, .. } => self.keys.turn(account).await,
        }
    }

    /// One POST, never repeated. `last` is called when nothing but writing the request is left to do.
    pub async fn post(&self, target: &Url, body: Vec<u8>, last: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        self.post_as(target, "application/json", body, None, last).await
    }

    /// The same for any kind of body; `limit` where the usual one is too short for it.
    pub async fn post_as(
        &self,
        target: &Url,
        kind: &str,
        body: Vec<u8>,
        limit: Option<Duration>,
        last: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let pass = self.pass().await?;
        let subject = self.subject(&Method::POST, target);
        let mut request = self.request(Method::POST, target, Some(&pass)).header(header::CONTENT_TYPE, kind).body(body);
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        let turn = self.shows(&pass).await?;
        let lane = self.lane().await;
        self.awake(&subject)?;
        last()?;
        let reply = self.send(Sent::Write, &subject, request, lane).await?;
        self.note_rest(&reply);
        if reply.status == StatusCode::UNAUTHORIZED {
            self.forget(&pass).await;
            return Err(turn.refused(refused(Sent::Write, &subject, &reply)));
        }
        taken(turn, reply.status);
        if reply.status.is_success() { Ok(()) } else { Err(refused(Sent::Write, &subject, &reply)) }
    }

    /// One PATCH of a resource that was just read, never repeated once the BMC has looked at it. `etag` is what the reading showed: only where
    /// nobody changed it since. A refusal of the condition alone (412, 428) is proof that nothing was changed; only then is the next form tried. A change
    /// of somebody else in between is lost on makers that take no exact tag: whoever writes looks again afterwards.
    pub async fn patch(&self, target: &Url, etag: Option<String>, body: Value) -> Result<(), Fault> {
        let pass = self.pass().await?;
        let subject = self.subject(&Method::PATCH, target);
        let mut forms = etag::forms(etag.as_deref()).into_iter();
        let mut form = forms.next().flatten();
        loop {
            let mut request = self.request(Method::PATCH, target, Some(&pass)).header(header::CONTENT_TYPE, "application/json").body(body.to_string());
            if let Some(etag) = &form {
                request = request.header(header::IF_MATCH, etag);
            }
            let turn = self.shows(&pass).await?;
            let lane = self.lane().await;
            self.awake(&subject)?;
            let reply = self.send(Sent::Write, &subject, request, lane).await?;
            self.note_rest(&reply);
            if reply.status == StatusCode::UNAUTHORIZED {
                self.forget(&pass).await;
                return Err(turn.refused(refused(Sent::Write, &subject, &reply)));
            }
            taken(turn, reply.status);
            match reply.status {
                status if status.is_success() => return Ok(()),
                StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED => {
                    if let Some(next) = forms.next() {
                        form = next;
                        continue;
                    }
                }
                _ => {}
            }
            return Err(refused(Sent::Write, &subject, &reply));
        }
    }

    /// The service root, which the standard leaves open to all. None: this one does not.
    pub async fn root(&self) -> Result<Option<Value>, Fault> {
        let mut known = self.root.lock().await;
        if known.is_none() {
            let (subject, reply) = self.fetch(ROOT, None).await?;
            if !matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                *known = Some(Self::document(&subject, &reply)?);
            }
        }
        Ok(known.clone())
    }

    async fn pass(&self) -> Result<Pass, Fault> {
        let mut held = self.pass.lock().await;
        match &*held {
            Some(pass) => Ok(pass.clone()),
            None => Ok(held.insert(self.log_in().await?).clone()),
        }
    }

    /// A pass was refused: another one, unless somebody else has fetched it already.
    async fn renew(&self, refused: &Pass, fault: Fault) -> Result<Pass, Fault> {
        let mut held = self.pass.lock().await;
        match &*held {
            Some(pass) if !pass.is(refused) => return Ok(pass.clone()),
            _ => *held = None,
        }
        if let Pass::Basic { account, instead } = refused {
            // The same password is not tried twice: accounts lock.
            let now = self.keys.account()?;
            if now.same(account) {
                return Err(instead.iter().fold(fault, |fault, why| fault.cause(format!("Basic was tried because {why}"))));
            }
        }
        Ok(held.insert(self.log_in().await?).clone())
    }

    async fn forget(&self, refused: &Pass) {
        let mut held = self.pass.lock().await;
        if held.as_ref().is_some_and(|pass| pass.is(refused)) {
            *held = None;
        }
    }

    async fn log_in(&self) -> Result<Pass, Fault> {
        let account = self.keys.account()?;
        if self.auth == Auth::Basic {
            return Ok(Pass::Basic { account, instead: None });
        }
        let root = self.root().await?;
        let none = root.as_ref().is_some_and(|root| root.pointer("/Links/Sessions").or(root.get("SessionService")).is_none());
        if none && self.auth == Auth::Auto {
            // Not tried all the same: who guards every address alike answers 401 to it, which reads like a wrong password.
            return Ok(Pass::Basic { account, instead: Some("it shows no sessions".into()) });
        }
        let sessions = root.and_then(|root| read::link(root.pointer("/Links/Sessions")));
        let url = self.url(sessions.as_deref().unwrap_or(SESSIONS))?;
        match self.open_session(&url, account.clone()).await {
            Err(fault) if fault.kind == FaultKind::Denied => {
                let again = self.keys.account()?;
                if again.same(&account) { Err(fault) } else { self.open_session(&url, again).await }
            }
            other => other,
        }
    }

    async fn open_session(&self, url: &Url, account: Account) -> Result<Pass, Fault> {
        let subject = self.subject(&Method::POST, url);
        let body = json!({ "UserName": account.username.expose(), "Password": account.password.expose() });
        let request = self.request(Method::POST, url, None).header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        let turn = self.keys.turn(&account).await?;
        let lane = self.lane().await;
        let reply = self.send(Sent::Write, &subject, request, lane).await?;
        let refusal = reply.json().map(|doc| read::Refusal::read(&doc)).unwrap_or_default();
        let token = reply.headers.get(X_AUTH_TOKEN).cloned().filter(|_| reply.status.is_success());
        if let Some(mut token) = token {
            turn.taken();
            token.set_sensitive(true);
            // Some put their own host name into Location; the path is what counts.
            let location = reply.headers.get(header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let named = location.or_else(|| reply.json().and_then(|doc| read::link(Some(&doc))));
            let path = named.and_then(|l| self.base.join(&l).ok()).map(|l| l.path().to_owned());
            return Ok(Pass::Token { token, session: path.and_then(|p| self.url(&p).ok()) });
        }
        let full = refusal.says(&["SessionLimitExceeded", "CreateLimitReachedForResource"]) || refusal.says(&quirks::NO_SESSION_FREE);
        let instead = match reply.status.as_u16() {
            200..=299 => "its sessions come without a token",
            404 | 405 | 410 | 501 => "it has no sessions",
            500..=599 => "no session is free",
            _ if full => "no session is free",
            // The body may repeat the password: its text goes nowhere.
            _ => {
                let fault = refused(Sent::Read, &subject, &Reply { body: Vec::new(), ..reply });
                // Who must change the password first has shown the right one.
                let login = fault.kind == FaultKind::Denied && !refusal.says(&["PasswordChangeRequired"]);
                return Err(if login { turn.refused(fault) } else { fault });
            }
        };
        if self.auth == Auth::Auto {
            tracing::debug!(driver = "redfish", op = subject, status = reply.status.as_u16(), instead, "Basic instead of a session");
            return Ok(Pass::Basic { account, instead: Some(format!("{instead} ({})", reply.status.as_u16())) });
        }
        let fault = refused(Sent::Read, &subject, &Reply { body: Vec::new(), ..reply });
        Err(fault.cause(instead).next("set `auth = \"auto\"` or `\"basic\"`, or close sessions at the BMC"))
    }

    /// Gives the session back. What cannot be closed expires.
    pub async fn close(&self) {
        let held = self.pass.lock().await.take();
        if let Some(pass @ Pass::Token { session: Some(url), .. }) = &held {
            let subject = self.subject(&Method::DELETE, url);
            let lane = self.lane().await;
            if let Err(fault) = self.send(Sent::Write, &subject, self.request(Method::DELETE, url, Some(pass)), lane).await {
                tracing::debug!(driver = "redfish", op = subject, %fault, "the session is left to expire");
            }
        }
    }
}

/// An answer that is about more than the account: it was let in. One that broke inside says nothing.
fn taken(turn: Turn, status: StatusCode) {
    if !status.is_server_error() {
        turn.taken();
    }
}

impl Pass {
    fn is(&self, other: &Pass) -> bool {
        match (self, other) {
            (Pass::Token { token: a, .. }, Pass::Token { token: b, .. }) => a == b,
            (Pass::Basic { account: a, .. }, Pass::Basic { account: b, .. }) => a.same(b),
            _ => false,
        }
    }
}
