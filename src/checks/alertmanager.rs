//! Check `alertmanager`: no firing alert matches.
use super::{Check, Probe, Verdict, http, tool};
use crate::{
    kinds,
    model::{Blocker, Fault, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `http://alertmanager.example:9093`.
    pub url: String,
    /// Alertmanager's own: `severity="critical"`, `instance=~"{name}.*"`. All of them must match.
    pub matching: Vec<String>,
    /// Alerts by name that mean nothing here.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Silenced alerts count too.
    #[serde(default)]
    pub silenced: bool,
    #[serde(default)]
    pub insecure: bool,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(15)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "alertmanager";
    const ABOUT: &'static str = "Alertmanager has no firing alert that matches";
    fn validate(&self) -> Result<(), String> {
        http::check_url(&self.url)?;
        // `=`, `!=`, `=~`, `!~` after a label.
        let label = |m: &str| m.find("!~").into_iter().chain(m.find('=')).min().map(|at| m[..at].trim_end_matches('!').trim().to_owned());
        match self.matching.iter().find(|m| label(m).is_none_or(|label| label.is_empty())) {
            Some(m) => Err(format!("`{m}` is no matcher: such as severity=\"critical\"")),
            None if self.matching.is_empty() => Err("`matching` is empty: every alert of every machine would count".into()),
            None if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("alertmanager: none with {}", self.matching.join(", "))
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let filters: String = self.matching.iter().map(|m| format!("&filter={}", http::encoded(m))).collect();
        let base = self.url.trim_end_matches('/');
        let url = format!("{base}/api/v2/alerts?active=true&inhibited=false&silenced={}{filters}", self.silenced);
        let who = format!("Alertmanager at {}", self.url);
        let (status, answer) = http::json(probe, &who, url, self.insecure, self.limit).await?;
        if status != 200 {
            return Err(http::odd(&who, format!("answered {status}: {}", answer.to_string().chars().take(120).collect::<String>())));
        }
        let alerts = answer.as_array().ok_or_else(|| http::odd(&who, "its answer is no list of alerts".into()))?;
        let mut wrong = Vec::new();
        for alert in alerts {
            let labels = alert["labels"].as_object().filter(|l| !l.is_empty()).ok_or_else(|| http::odd(&who, "an alert without labels".into()))?;
            // One without a name is still one.
            let name = labels.get("alertname").and_then(|n| n.as_str()).unwrap_or("without a name");
            if !self.ignore.iter().any(|i| i == name) {
                let told = ["instance", "severity"].iter().filter_map(|l| alert["labels"][*l].as_str()).collect::<Vec<_>>().join(", ");
                let summary = alert["annotations"]["summary"].as_str().unwrap_or("firing");
                wrong.push(Blocker::new(format!("alert {name}"), format!("{summary}{}", if told.is_empty() { told } else { format!(" ({told})") })));
            }
        }
        Ok(tool::verdict(tool::few(wrong, "Alertmanager"), json!({ "ignored": alerts.len() })))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::{
        drivers::net::{HttpSeen, fake::Canned},
        kinds::Config as _,
        model::{FaultKind, NodeName},
    };

    fn config(matching: &[&str], ignore: &[&str]) -> Config {
        let own = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
        Config { url: "http://am.example:9093".into(), matching: own(matching), ignore: own(ignore), silenced: false, insecure: false, limit: limit() }
    }
    async fn of(config: &Config, status: u16, body: &str) -> Result<Verdict, Fault> {
        let net = Canned { http: Ok(HttpSeen { status, body: body.into() }), tcp: Ok(()) };
        config.look(&Probe::of(&NodeName("edge-01".into()), None, &net)).await
    }
    const ONE: &str = r#"[{"labels":{"alertname":"NodeDown","instance":"edge-01:9100","severity":"critical"},"annotations":{"summary":"node is down"},"status":{"state":"active"}}]"#;

    #[tokio::test]
    async fn firing_ones_are_named() {
        let all = config(&[r#"severity="critical""#], &[]);
        well(of(&all, 200, "[]").await);
        assert_eq!(wrong(of(&all, 200, ONE).await), ["alert NodeDown: node is down (edge-01:9100, critical)"]);
        assert_eq!(well(of(&config(&["a=b"], &["NodeDown"]), 200, ONE).await)["ignored"], 1);
        let nameless = r#"[{"labels":{"job":"disks"},"annotations":{}}]"#;
        assert_eq!(wrong(of(&all, 200, nameless).await), ["alert without a name: firing"]);
        let many = format!("[{}]", vec![ONE.trim_matches(['[', ']']); 30].join(","));
        assert_eq!(wrong(of(&all, 200, &many).await).last().unwrap(), "Alertmanager: and 22 more");
    }
    #[tokio::test]
    async fn nonsense_is_never_healthy() {
        let all = config(&["a=b"], &[]);
        for (status, body) in [
            (200, ""),
            (200, "{}"),
            (200, "[{}]"),
            (200, r#"[{"labels":{}}]"#),
            (200, "null"),
            (200, "<html>"),
            (200, &ONE[..50]),
            (400, "\"bad matcher format: x\""),
            (500, "[]"),
        ] {
            assert_eq!(of(&all, status, body).await.unwrap_err().kind, FaultKind::Invalid, "{status} {body}");
        }
        let long = format!("[{}", vec![ONE.trim_matches(['[', ']']); 500].join(","));
        assert!(of(&all, 200, &long).await.unwrap_err().to_string().contains("longer than is read"));
        let down = Canned { http: Err(Fault::new(FaultKind::Unreachable, "refused")), tcp: Ok(()) };
        assert_eq!(all.look(&Probe::of(&NodeName("edge-01".into()), None, &down)).await.unwrap_err().kind, FaultKind::Unreachable);
    }
    #[test]
    fn senseless_settings_are_refused() {
        for bad in [
            config(&[], &[]),
            config(&["severity"], &[]),
            config(&["=x"], &[]),
            config(&["!~x"], &[]),
            config(&["!=x"], &[]),
            Config { url: "am".into(), ..config(&["a=b"], &[]) },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
        for good in ["a=b", "a!=b", "a=~\"b|c\"", "a!~\"b=c\"", " instance =~ \"edge-01.*\" "] {
            assert!(config(&[good], &[]).validate().is_ok(), "{good}");
        }
    }
}
