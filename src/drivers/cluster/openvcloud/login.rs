//! The three ways into a portal: a token of ItsYou.online (given, or fetched), a session, the portal's own secret.
use super::super::https::{LARGEST, encoded};
use super::portal::{Failure, Portal};
use crate::model::{Connect, Credential, Fault, FaultKind, Secret, SecretRef, Turn};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::sync::Mutex;

pub enum Way {
    /// A JWT that something else renews.
    Jwt(SecretRef),
    /// Fetched with an application key; the client is one of its own, the portal's certificate is not theirs.
    Client {
        id: SecretRef,
        secret: SecretRef,
        token_url: String,
        client: Client,
    },
    Session {
        username: SecretRef,
        password: SecretRef,
    },
    /// The portal's secret: its user `admin`.
    Secret(SecretRef),
}

pub struct Login {
    pub way: Way,
    pub cx: Connect,
    /// What was fetched last.
    pub held: Mutex<Option<Secret>>,
}

impl Login {
    /// Can an expired one be renewed?
    pub fn renews(&self) -> bool {
        matches!(self.way, Way::Client { .. } | Way::Session { .. })
    }

    /// Secrets that are given are read for every request, so that a rotated one is found; those that are fetched are kept until refused.
    pub async fn word(&self, portal: &Portal, fresh: bool) -> Result<Secret, Failure> {
        if let Way::Jwt(from) | Way::Secret(from) = &self.way {
            return Ok(self.cx.secret(from)?);
        }
        let held = self.held.lock().expect("BUG: poisoned").clone();
        if let (Some(held), false) = (held, fresh) {
            return Ok(held);
        }
        let word = match &self.way {
            Way::Client { id, secret, token_url, client } => self.token(id, secret, token_url, client).await?,
            Way::Session { username, password } => self.session(portal, username, password).await?,
            Way::Jwt(from) | Way::Secret(from) => self.cx.secret(from)?,
        };
        *self.held.lock().expect("BUG: poisoned") = Some(word.clone());
        Ok(word)
    }

    /// The body of the answer is the token.
    async fn token(&self, id: &SecretRef, secret: &SecretRef, url: &str, client: &Client) -> Result<Secret, Fault> {
        let credential = self.cx.credential("application key", secret, Some(id));
        let (id, secret) = (self.cx.secret(id)?, self.cx.secret(secret)?);
        let turn = self.cx.turn(&credential, url, vec![id.clone(), secret.clone()]).await?;
        let form = [("grant_type", "client_credentials"), ("client_id", id.expose()), ("client_secret", secret.expose()), ("response_type", "id_token")];
        let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form.join("&"));
        let text = answer(request, &format!("fetch a token from {url}"), turn).await?;
        let token = text.trim().trim_matches('"').to_owned();
        match token.split('.').count() {
            3 => Ok(Secret::new(token)),
            _ => Err(Fault::new(FaultKind::Invalid, format!("{url} answered with something that is no token"))),
        }
    }

    /// The key is a JSON string.
    async fn session(&self, portal: &Portal, username: &SecretRef, password: &SecretRef) -> Result<Secret, Fault> {
        let credential = self.cx.credential("password", password, Some(username));
        let (username, password) = (self.cx.secret(username)?, self.cx.secret(password)?);
        let body = json!({ "username": username.expose(), "password": password.expose() });
        let turn = self.cx.turn(&credential, &portal.base, vec![username, password]).await?;
        let what = format!("log in at {}", portal.base);
        let request = portal.client.post(format!("{}/restmachine/cloudapi/users/authenticate", portal.base)).header("accept", "application/json").json(&body);
        let text = answer(request, &what, turn).await?;
        match serde_json::from_str::<Value>(&text).ok().as_ref().and_then(Value::as_str) {
            // It goes into a header: nothing but what such keys are made of.
            Some(key) if !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) => Ok(Secret::new(key.to_owned())),
            _ => Err(Fault::new(FaultKind::Invalid, what).cause("the answer is no session key")),
        }
    }

    /// What is given, and not fetched, is shown with every request.
    pub async fn shown(&self, portal: &Portal, word: &Secret) -> Result<Turn, Fault> {
        let credential: Credential = match &self.way {
            Way::Jwt(from) => self.cx.credential("token", from, None),
            Way::Secret(from) => self.cx.credential("portal secret", from, None),
            Way::Client { .. } | Way::Session { .. } => return Ok(Turn::free()),
        };
        self.cx.turn(&credential, &portal.base, vec![word.clone()]).await
    }

    pub fn in_headers(&self, request: RequestBuilder, word: &Secret) -> RequestBuilder {
        match &self.way {
            Way::Jwt(_) | Way::Client { .. } => request.header("authorization", format!("bearer {}", word.expose())),
            Way::Secret(_) => request.header("authorization", format!("authkey {}", word.expose())),
            Way::Session { .. } => request.header("cookie", format!("beaker.session.id={}", word.expose())),
        }
    }

    /// A session key in the body is told apart when it has expired (419); never in the URL, which is logged.
    pub fn in_body(&self, body: &Value, word: &Secret) -> Value {
        let mut body = body.clone();
        if let (Way::Session { .. }, Some(row)) = (&self.way, body.as_object_mut()) {
            row.insert("authkey".into(), word.expose().into());
        }
        body
    }

    /// As the portal names this account, where that can be told.
    pub async fn user(&self, portal: &Portal) -> Result<Option<String>, Failure> {
        Ok(match &self.way {
            Way::Secret(_) => Some("admin".into()),
            Way::Session { username, .. } => Some(self.cx.secret(username)?.expose().to_owned()),
            Way::Jwt(_) | Way::Client { .. } => user_of(self.word(portal, false).await?.expose()),
        })
    }
}

/// `<username>@<issuer>`.
fn user_of(jwt: &str) -> Option<String> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(format!("{}@{}", claims["username"].as_str()?, claims["iss"].as_str()?))
}

/// Everything that is sent here is a credential: a refusal is Denied, and what it says is not repeated.
async fn answer(request: RequestBuilder, what: &str, turn: Turn) -> Result<String, Fault> {
    let lost = |e: reqwest::Error| {
        let kind = if e.is_connect() { FaultKind::Unreachable } else { FaultKind::Unknown };
        Fault::new(kind, what).caused_by(&e.without_url())
    };
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status();
    if !status.is_success() {
        let kind = match status.as_u16() {
            503 | 429 => FaultKind::Unwilling,
            500..600 => FaultKind::Unwilling,
            _ => FaultKind::Denied,
        };
        let fault = Fault::new(kind, what).cause(format!("HTTP {}", status.as_u16())).next("check the account and its secret");
        return Err(if matches!(status.as_u16(), 401 | 403) { turn.refused(fault) } else { fault });
    }
    turn.taken();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST >> 8 {
            return Err(Fault::new(FaultKind::Invalid, what).cause("the answer is far too long"));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_user() {
        let jwt = |claims: &str| format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(user_of(&jwt(r#"{"username":"ops","iss":"itsyouonline"}"#)).as_deref(), Some("ops@itsyouonline"));
        for bad in [jwt("{}"), jwt("nonsense"), "a.b".into(), "".into(), "a.!!.c".into()] {
            assert_eq!(user_of(&bad), None, "{bad}");
        }
    }
}
