//! Check `http`: a GET is answered with the wanted status, and where asked with the wanted text.
use super::{Check, Probe, Verdict, tool};
use crate::{
    drivers::net::HttpAsk,
    kinds,
    model::{Blocker, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `http://` or `https://`. Redirects are answers, not followed.
    pub url: String,
    /// The status that means healthy.
    #[serde(default = "ok")]
    pub status: u16,
    /// Text that the first 64 KiB of the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// The certificate is not verified.
    #[serde(default)]
    pub insecure: bool,
    /// For the whole exchange.
    #[serde(default = "limit")]
    pub limit: Span,
}
fn ok() -> u16 {
    200
}
fn limit() -> Span {
    Span::seconds(10)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "http";
    const ABOUT: &'static str = "an HTTP GET is answered with the wanted status and text";
    fn validate(&self) -> Result<(), String> {
        check_url(&self.url)?;
        match () {
            _ if !(100..600).contains(&self.status) => Err(format!("`status` {} is no HTTP status", self.status)),
            _ if self.contains.as_deref() == Some("") => Err("`contains` is empty: every answer contains that".into()),
            _ if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

pub fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
    match () {
        _ if authority.is_empty() => Err(format!("`{url}` is not an http:// or https:// URL")),
        _ if authority.contains('@') => Err("credentials do not belong in a URL: it is printed and journalled".into()),
        _ => Ok(()),
    }
}

/// A value of a URL's query.
pub fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A GET of a server that answers in JSON, a small one: its status and what it said. `who` is for people: `Prometheus at http://…`.
pub async fn json(probe: &Probe<'_>, who: &str, url: String, insecure: bool, limit: Span) -> Result<(u16, Value), Fault> {
    let seen = probe.net.http(&HttpAsk { url, limit, insecure, headers: BTreeMap::new() }).await?;
    let said = || tool::last_line(&seen.body).chars().take(120).collect::<String>();
    match serde_json::from_str(&seen.body) {
        Ok(answer) => Ok((seen.status, answer)),
        Err(e) if e.is_eof() && seen.body.len() > 1000 => Err(odd(who, "its answer is longer than is read: ask for less".into())),
        Err(_) => Err(odd(who, format!("answered {} with what is no JSON: {}", seen.status, said()))),
    }
}
pub fn odd(who: &str, why: String) -> Fault {
    Fault::new(FaultKind::Invalid, format!("{who}: {why}"))
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("http: {}", self.url)
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let ask = HttpAsk { url: self.url.clone(), limit: self.limit, insecure: self.insecure, headers: BTreeMap::new() };
        let unhealthy = |why: String| Ok(Verdict::Unhealthy(vec![Blocker::new(&self.url, why)]));
        match probe.net.http(&ask).await {
            Ok(seen) if seen.status != self.status => unhealthy(format!("answered {}, not {}", seen.status, self.status)),
            Ok(seen) => match &self.contains {
                Some(wanted) if !seen.body.contains(wanted.as_str()) => unhealthy(format!("answered {} without `{wanted}`", seen.status)),
                _ => Ok(Verdict::Healthy(json!({ "url": self.url, "status": seen.status }))),
            },
            // Silence is what this check is there to find.
            Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unknown) => unhealthy(fault.to_string()),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drivers::net::{HttpSeen, fake::Canned},
        kinds::Config as _,
        model::NodeName,
    };

    fn config(contains: Option<&str>) -> Config {
        Config { url: "https://app.example/health".into(), status: 200, contains: contains.map(str::to_owned), insecure: false, limit: limit() }
    }
    async fn look(config: Config, http: Result<HttpSeen, Fault>) -> Result<Verdict, Fault> {
        let net = Canned { http, tcp: Ok(()) };
        config.look(&Probe::of(&NodeName("edge-01".into()), None, &net)).await
    }
    fn seen(status: u16, body: &str) -> Result<HttpSeen, Fault> {
        Ok(HttpSeen { status, body: body.into() })
    }

    #[tokio::test]
    async fn the_status_and_the_text_decide() {
        assert!(matches!(look(config(None), seen(200, "")).await, Ok(Verdict::Healthy(_))));
        assert!(matches!(look(config(Some("ready")), seen(200, "all ready")).await, Ok(Verdict::Healthy(_))));
        let url = "https://app.example/health";
        assert_eq!(look(config(None), seen(503, "")).await, Ok(Verdict::Unhealthy(vec![Blocker::new(url, "answered 503, not 200")])));
        assert_eq!(look(config(Some("ready")), seen(200, "\u{0}\u{1}")).await, Ok(Verdict::Unhealthy(vec![Blocker::new(url, "answered 200 without `ready`")])));
    }

    #[tokio::test]
    async fn silence_is_unhealthy_and_what_could_not_be_asked_a_fault() {
        assert_eq!(look(config(None), Err(Fault::new(FaultKind::Denied, "no"))).await.unwrap_err().kind, FaultKind::Denied);
        for kind in [FaultKind::Unreachable, FaultKind::Unknown] {
            assert!(matches!(look(config(None), Err(Fault::new(kind, "no"))).await, Ok(Verdict::Unhealthy(_))));
        }
        assert_eq!(look(config(None), Err(Fault::new(FaultKind::Invalid, "no"))).await.unwrap_err().kind, FaultKind::Invalid);
    }

    #[test]
    fn senseless_settings_are_refused() {
        for url in ["app.example", "ftp://app.example", "https://", "http:///x", "https://user:pw@app.example/"] {
            assert!(Config { url: url.into(), ..config(None) }.validate().is_err(), "{url}");
        }
        assert!(Config { status: 0, ..config(None) }.validate().is_err());
        assert!(config(Some("")).validate().is_err());
        assert!(config(Some("x")).validate().is_ok());
    }
}
