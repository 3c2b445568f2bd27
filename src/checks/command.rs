//! Check `command`: a line for the host's `sh` ends with the status, and where asked with the output, that mean healthy.
use super::{Check, Probe, Verdict};
use crate::{
    kinds,
    model::{Blocker, Command, Fault, FaultKind, Output, Span},
};
use async_trait::async_trait;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// For the host's `sh`. It must only read.
    pub run: String,
    /// The exit status that means healthy.
    #[serde(default)]
    pub status: i32,
    /// Text that standard output must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// A regular expression that some line of standard output must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Standard output is JSON, and what stands at this pointer (RFC 6901) must equal `equals`, or be a number from `min` to `max`: `/health/status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Ended there, on the host too.
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(30)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "command";
    const ABOUT: &'static str = "a command on the host ends with the wanted status and output";
    fn validate(&self) -> Result<(), String> {
        match () {
            _ if self.run.trim().is_empty() => Err("`run` is empty".into()),
            _ if !(0..=255).contains(&self.status) => Err(format!("`status` {} is no exit status: 0 to 255", self.status)),
            _ if self.stdout.as_deref() == Some("") => Err("`stdout` is empty: every output contains that".into()),
            _ if self.json.is_some() != (self.equals.is_some() || self.bounded()) => {
                Err("`json` says where, `equals` or `min` and `max` say what: one needs the other".into())
            }
            _ if self.equals.is_some() && self.bounded() => Err("`equals`, or `min` and `max`: not both".into()),
            _ if [self.min, self.max].into_iter().flatten().any(f64::is_nan) => Err("`min` and `max` are numbers".into()),
            _ if self.json.as_ref().is_some_and(|p| !p.is_empty() && !p.starts_with('/')) => Err("`json` is a pointer such as /health/status".into()),
            _ if self.regex.as_deref() == Some("") => Err("`regex` is empty: every line matches that".into()),
            _ if self.pattern().is_err() => self.pattern().map(drop),
            _ if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

impl Config {
    fn pattern(&self) -> Result<Option<Regex>, String> {
        self.regex.as_ref().map(|p| Regex::new(p).map_err(|e| format!("`{p}` is no regular expression: {e}"))).transpose()
    }
    /// What of the output is not as wanted. An answer of which a part was not read is none.
    fn wrong(&self, node: &crate::model::NodeName, out: &Output) -> Result<Option<String>, Fault> {
        let invalid = |why: String| Fault::new(FaultKind::Invalid, format!("{node}: `{}`: {why}", self.run));
        if let Some(pattern) = self.pattern().map_err(invalid)?
            && !out.stdout.lines().any(|l| pattern.is_match(l))
        {
            let dropped = if out.dropped > 0 { format!(" ({} further bytes were not read)", out.dropped) } else { String::new() };
            return Ok(Some(format!("no line matches `{pattern}`; the last says: {}{dropped}", line_of(&out.stdout))));
        }
        let Some(pointer) = &self.json else { return Ok(None) };
        let said: Value = serde_json::from_str(&out.stdout).map_err(|e| invalid(format!("its output is no JSON: {e}")))?;
        let Some(found) = said.pointer(pointer) else { return Ok(Some(format!("its answer has no {pointer}"))) };
        if let Some(wanted) = &self.equals {
            // 3 and 3.0 are one number.
            let same = found == wanted || found.as_f64().zip(wanted.as_f64()).is_some_and(|(a, b)| a == b);
            return Ok((!same).then(|| format!("{pointer} is {found}, not {wanted}")));
        }
        let within = found.as_f64().is_some_and(|n| self.min.is_none_or(|min| n >= min) && self.max.is_none_or(|max| n <= max));
        let bounds = [self.min.map(|m| format!("at least {m}")), self.max.map(|m| format!("at most {m}"))];
        Ok((!within).then(|| format!("{pointer} is {found}, wanted {}", bounds.into_iter().flatten().collect::<Vec<_>>().join(" and "))))
    }
    fn bounded(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("command: {}", self.run)
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let host =
            probe.host.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: commands run on the host, and the inventory names none", probe.node)))?;
        let out = host.exec(&Command { line: self.run.clone(), limit: self.limit, stdin: None }).await?;
        let object = format!("`{}`", self.run);
        if out.status != self.status {
            // 126 and 127 are the shell's: the command itself never ran, so nothing was learnt about the node.
            if matches!(out.status, 126 | 127) {
                let what = format!("{}: {object} cannot be run, status {}", probe.node, out.status);
                return Err(Fault::new(FaultKind::Unable, what).cause(line_of(&out.stderr)));
            }
            let said = if out.stderr.trim().is_empty() { &out.stdout } else { &out.stderr };
            return Ok(Verdict::Unhealthy(vec![Blocker::new(object, format!("ended with status {}, not {}: {}", out.status, self.status, line_of(said)))]));
        }
        match &self.stdout {
            Some(wanted) if !out.stdout.contains(wanted.as_str()) => {
                let dropped = if out.dropped > 0 { format!(" ({} further bytes were not read)", out.dropped) } else { String::new() };
                Ok(Verdict::Unhealthy(vec![Blocker::new(object, format!("did not say `{wanted}` but: {}{dropped}", line_of(&out.stdout)))]))
            }
            _ if let Some(why) = self.wrong(probe.node, &out)? => Ok(Verdict::Unhealthy(vec![Blocker::new(object, why)])),
            _ => Ok(Verdict::Healthy(json!({ "run": self.run, "status": out.status, "said": line_of(&out.stdout) }))),
        }
    }
}

/// The last line with something on it: where programs say what went wrong.
fn line_of(text: &str) -> String {
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("nothing").trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drivers::{
            host::{Host, fake},
            net,
        },
        kinds::Config as _,
        model::NodeName,
    };

    async fn look(config: &Config, host: Option<&dyn Host>) -> Result<Verdict, Fault> {
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        config.look(&Probe::of(&NodeName("edge-01".into()), host, &net)).await
    }
    fn config(run: &str, status: i32, stdout: Option<&str>) -> Config {
        Config { run: run.into(), status, stdout: stdout.map(str::to_owned), regex: None, json: None, equals: None, min: None, max: None, limit: limit() }
    }

    #[tokio::test]
    async fn the_status_and_the_output_decide() {
        let sh = fake::Sh { path: "/usr/bin:/bin".into() };
        assert!(matches!(look(&config("true", 0, None), Some(&sh)).await, Ok(Verdict::Healthy(_))));
        assert!(matches!(look(&config("exit 3", 3, None), Some(&sh)).await, Ok(Verdict::Healthy(_))));
        assert!(matches!(look(&config("echo link up", 0, Some("up")), Some(&sh)).await, Ok(Verdict::Healthy(_))));
        let Ok(Verdict::Unhealthy(why)) = look(&config("echo no route >&2; exit 2", 0, None), Some(&sh)).await else { panic!("healthy") };
        assert_eq!(why[0].why, "ended with status 2, not 0: no route");
        let Ok(Verdict::Unhealthy(why)) = look(&config("echo link down", 0, Some("up")), Some(&sh)).await else { panic!("healthy") };
        assert_eq!(why[0].why, "did not say `up` but: link down");
        let Ok(Verdict::Unhealthy(why)) = look(&config("true", 1, None), Some(&sh)).await else { panic!("healthy") };
        assert_eq!(why[0].why, "ended with status 0, not 1: nothing");
    }

    #[tokio::test]
    async fn lines_and_json() {
        let sh = fake::Sh { path: "/usr/bin:/bin".into() };
        let line = |regex: &str| Config { regex: Some(regex.into()), ..config("printf 'eth0 up\\neth1 down\\n'", 0, None) };
        assert!(matches!(look(&line("^eth0 +up$"), Some(&sh)).await, Ok(Verdict::Healthy(_))));
        let Ok(Verdict::Unhealthy(why)) = look(&line("^eth1 +up$"), Some(&sh)).await else { panic!("healthy") };
        assert_eq!(why[0].why, "no line matches `^eth1 +up$`; the last says: eth1 down");
        let at = |pointer: &str, wanted: Value| {
            let run = r#"echo '{"health":{"status":"HEALTH_WARN","osds":3}}'"#;
            Config { json: Some(pointer.into()), equals: Some(wanted), ..config(run, 0, None) }
        };
        assert!(matches!(look(&at("/health/osds", json!(3)), Some(&sh)).await, Ok(Verdict::Healthy(_))));
        let Ok(Verdict::Unhealthy(why)) = look(&at("/health/status", json!("HEALTH_OK")), Some(&sh)).await else { panic!("healthy") };
        assert_eq!(why[0].why, r#"/health/status is "HEALTH_WARN", not "HEALTH_OK""#);
        let Ok(Verdict::Unhealthy(why)) = look(&at("/state", json!(1)), Some(&sh)).await else { panic!("healthy") };
        assert_eq!(why[0].why, "its answer has no /state");
        assert!(matches!(look(&at("/health/osds", json!(3.0)), Some(&sh)).await, Ok(Verdict::Healthy(_))), "one number");
        let bounds = |min, max| Config { equals: None, min, max, ..at("/health/osds", json!(null)) };
        assert!(matches!(look(&bounds(Some(3.0), Some(3.0)), Some(&sh)).await, Ok(Verdict::Healthy(_))));
        let Ok(Verdict::Unhealthy(why)) = look(&bounds(Some(4.0), Some(9.0)), Some(&sh)).await else { panic!("healthy") };
        assert_eq!(why[0].why, "/health/osds is 3, wanted at least 4 and at most 9");
        let Ok(Verdict::Unhealthy(why)) = look(&Config { json: Some("/health/status".into()), ..bounds(None, Some(9.0)) }, Some(&sh)).await else {
            panic!("healthy")
        };
        assert_eq!(why[0].why, r#"/health/status is "HEALTH_WARN", wanted at most 9"#);
        for bad in [bounds(None, None), bounds(Some(f64::NAN), None), Config { equals: Some(json!(1)), ..bounds(Some(1.0), None) }, line("")] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
        let garbage = Config { run: "echo hello".into(), ..at("/state", json!(1)) };
        assert_eq!(look(&garbage, Some(&sh)).await.unwrap_err().kind, FaultKind::Invalid);
        assert!(line("(").validate().is_err() && Config { equals: None, ..at("/a", json!(1)) }.validate().is_err() && at("a", json!(1)).validate().is_err());
    }

    #[tokio::test]
    async fn a_command_that_never_ran_is_a_fault() {
        let sh = fake::Sh { path: "/nowhere".into() };
        assert_eq!(look(&config("multipath-is-well", 0, None), Some(&sh)).await.unwrap_err().kind, FaultKind::Unable);
        assert_eq!(look(&config("true", 0, None), None).await.unwrap_err().kind, FaultKind::Unable);
        let silent = fake::Canned::answers(Err(Fault::new(FaultKind::Unknown, "no exit status")));
        assert_eq!(look(&config("true", 0, None), Some(&silent)).await.unwrap_err().kind, FaultKind::Unknown);
    }

    #[test]
    fn senseless_settings_are_refused() {
        for bad in [config(" ", 0, None), config("true", 256, None), config("true", -1, None), config("true", 0, Some(""))] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
        assert!(config("true", 0, Some("x")).validate().is_ok());
    }
}
