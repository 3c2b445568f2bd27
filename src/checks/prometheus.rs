//! Check `prometheus`: a query gives what is wanted.
use super::{Check, Probe, Verdict, http, tool};
use crate::{
    kinds,
    model::{Blocker, Fault, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `http://prometheus.example:9090`.
    pub url: String,
    /// PromQL; an instant query.
    pub query: String,
    /// Healthy when the query finds nothing: `up{instance="{name}"} == 0`.
    #[serde(default)]
    pub empty: bool,
    /// Healthy when it finds something, and every value is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// … and at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(default)]
    pub insecure: bool,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(15)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "prometheus";
    const ABOUT: &'static str = "a Prometheus query finds nothing, or values within bounds";
    fn validate(&self) -> Result<(), String> {
        http::check_url(&self.url)?;
        match () {
            _ if self.query.trim().is_empty() => Err("`query` is empty".into()),
            _ if self.empty == (self.min.is_some() || self.max.is_some()) => Err("say what is healthy: `empty = true`, or `min` and `max`".into()),
            // NaN is a number in TOML, and every value is within it.
            _ if [self.min, self.max].into_iter().flatten().any(f64::is_nan) => Err("`min` and `max` are numbers".into()),
            _ if self.min.zip(self.max).is_some_and(|(min, max)| min > max) => Err("`min` is above `max`: nothing could be healthy".into()),
            _ if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("prometheus: {}", self.query)
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let url = format!("{}/api/v1/query?query={}", self.url.trim_end_matches('/'), http::encoded(&self.query));
        let who = format!("Prometheus at {}", self.url);
        let odd = |why: String| http::odd(&who, why);
        let (status, answer) = http::json(probe, &who, url, self.insecure, self.limit).await?;
        if answer["status"] != "success" {
            return Err(odd(format!("answered {status}: {}", answer["error"].as_str().unwrap_or("no success"))));
        }
        // Thanos and others answer with what they could reach, and warn: what they did not reach is not nothing.
        if let Some(warning) = answer["warnings"].as_array().and_then(|w| w.first()) {
            return Err(odd(format!("answered in part: {}", warning.as_str().unwrap_or("a warning"))));
        }
        let samples = samples(&answer["data"]).ok_or_else(|| odd("its answer makes no sense".into()))?;
        let bad = |value: f64| value.is_nan() || self.min.is_some_and(|m| value < m) || self.max.is_some_and(|m| value > m);
        let wrong: Vec<Blocker> = match (self.empty, samples.is_empty()) {
            (true, true) => vec![],
            (true, false) => samples.iter().map(|(name, value)| Blocker::new(name.clone(), format!("`{}` finds it, at {value}", self.query))).collect(),
            // Nothing found: the exporter may be down, which is not health.
            (false, true) => vec![Blocker::new(self.query.clone(), "finds nothing")],
            (false, false) => {
                let wrong = samples.iter().filter(|(_, v)| bad(*v));
                wrong.map(|(name, v)| Blocker::new(name.clone(), format!("is {v}, wanted {}", self.wanted()))).collect()
            }
        };
        Ok(tool::verdict(tool::few(wrong, "Prometheus"), json!({ "query": self.query, "samples": samples.len() })))
    }
}
impl Config {
    fn wanted(&self) -> String {
        let said = [self.min.map(|m| format!("at least {m}")), self.max.map(|m| format!("at most {m}"))];
        said.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }
}

/// Vector or scalar: names and values.
fn samples(data: &Value) -> Option<Vec<(String, f64)>> {
    let value = |pair: &Value| pair[1].as_str()?.parse::<f64>().ok();
    match data["resultType"].as_str()? {
        "scalar" => Some(vec![("scalar".to_owned(), value(&data["result"])?)]),
        "vector" => data["result"].as_array()?.iter().map(|row| Some((name(&row["metric"]), value(&row["value"])?))).collect(),
        _ => None,
    }
}
fn name(metric: &Value) -> String {
    let labels: Vec<String> = metric.as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    if labels.is_empty() { "the result".to_owned() } else { labels.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::{
        drivers::net::{HttpSeen, fake::Canned},
        kinds::Config as _,
        model::{FaultKind, NodeName},
    };

    fn config(empty: bool, min: Option<f64>) -> Config {
        Config { url: "http://prometheus.example:9090/".into(), query: "up == 0".into(), empty, min, max: None, insecure: false, limit: limit() }
    }
    async fn of(config: &Config, body: &str) -> Result<Verdict, Fault> {
        let net = Canned { http: Ok(HttpSeen { status: 200, body: body.into() }), tcp: Ok(()) };
        config.look(&Probe::of(&NodeName("edge-01".into()), None, &net)).await
    }
    const ONE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"instance":"edge-01"},"value":[1763737415.1,"0"]}]}}"#;
    const NONE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

    #[tokio::test]
    async fn empty_and_bounds() {
        well(of(&config(true, None), NONE).await);
        assert_eq!(wrong(of(&config(true, None), ONE).await), ["instance=edge-01: `up == 0` finds it, at 0"]);
        assert_eq!(wrong(of(&config(false, Some(1.0)), ONE).await), ["instance=edge-01: is 0, wanted at least 1"]);
        well(of(&config(false, Some(1.0)), &ONE.replace("\"0\"", "\"1\"")).await);
        let notes = ONE.replace("\"0\"", "\"1\"").replace("\"data\"", "\"infos\":[\"metric might not be a counter\"],\"data\"");
        well(of(&config(false, Some(1.0)), &notes).await);
        let most = Config { max: Some(2.0), ..config(false, None) };
        well(of(&most, r#"{"status":"success","data":{"resultType":"scalar","result":[1763737415.1,"2"]}}"#).await);
        assert_eq!(wrong(of(&most, &ONE.replace("\"0\"", "\"+Inf\"")).await), ["instance=edge-01: is inf, wanted at most 2"]);
        let many = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, vec![r#"{"metric":{},"value":[1,"0"]}"#; 20].join(","));
        assert_eq!(wrong(of(&config(true, None), &many).await).last().unwrap(), "Prometheus: and 12 more");
        assert_eq!(wrong(of(&config(false, Some(1.0)), NONE).await), ["up == 0: finds nothing"]);
        assert_eq!(wrong(of(&config(false, Some(1.0)), &ONE.replace("\"0\"", "\"NaN\"")).await).len(), 1);
    }
    #[tokio::test]
    async fn nonsense_is_never_healthy() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"status":"error","error":"parse error"}"#,
            &ONE.replace("vector", "matrix"),
            &ONE.replace("\"0\"", "{}"),
            &ONE[..40],
            r#"{"status":"success","warnings":["No StoreAPIs matched for this query"],"data":{"resultType":"vector","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"string","result":[1.0,"x"]}}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":null}}"#,
            &ONE.replace("value\"", "histogram\""),
        ] {
            assert_eq!(of(&config(true, None), body).await.unwrap_err().kind, FaultKind::Invalid, "{body}");
        }
        let down = Canned { http: Err(Fault::new(FaultKind::Unreachable, "refused")), tcp: Ok(()) };
        assert!(config(true, None).look(&Probe::of(&NodeName("edge-01".into()), None, &down)).await.is_err());
    }
    #[test]
    fn senseless_settings_are_refused() {
        let (above, nan) = (Config { max: Some(0.0), ..config(false, Some(1.0)) }, config(false, Some(f64::NAN)));
        for bad in [above, nan, config(true, Some(1.0)), config(false, None), Config { url: "prometheus".into(), ..config(true, None) }] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
