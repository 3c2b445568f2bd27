//! Check `redfish-health`: the BMC calls the machine well, and its log has nothing new since the picture before the reset.
use super::{
    Check, Probe, Verdict,
    tool::{self, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Fault, FaultKind},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `OK`, or `Warning` where that is good enough.
    #[serde(default = "ok")]
    pub worst: String,
    /// New entries of the event log that are worse than OK are not healthy. Needs a `baseline` step: it notes where the log stood.
    #[serde(default)]
    pub log: bool,
    /// A BMC that has no such thing.
    #[serde(default)]
    pub missing: Missing,
}
fn ok() -> String {
    "OK".into()
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "redfish-health";
    const ABOUT: &'static str = "the BMC's health roll-up is OK, and its log has no new errors";
    fn validate(&self) -> Result<(), String> {
        if ["OK", "Warning"].contains(&self.worst.as_str()) { Ok(()) } else { Err(format!("`worst` is \"OK\" or \"Warning\", not `{}`", self.worst)) }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("redfish-health: {}{}", self.worst, if self.log { ", no new errors in the log" } else { "" })
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let bmc = probe.bmc.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: there is no BMC to ask here", probe.node)))?;
        let health = match bmc.health().await {
            Err(fault) if fault.kind == FaultKind::Unable && self.missing == Missing::Skip => {
                return Ok(Verdict::Healthy(json!({ "skipped": format!("{fault}, and the check says missing = \"skip\"") })));
            }
            other => other?,
        };
        let good = |rollup: &str| rollup == "OK" || rollup == self.worst;
        let mut wrong = Vec::new();
        match health.rollup.as_deref() {
            Some(rollup) if good(rollup) => {}
            Some(rollup) => wrong.push(Blocker::new("BMC", format!("calls the machine {rollup}{}", list(&health.not_ok)))),
            None => wrong.push(Blocker::new("BMC", "does not say whether the machine is well")),
        }
        // A roll-up that is well above a part that is not.
        if wrong.is_empty() {
            let ill = health.not_ok.iter().filter(|part| !good(part.rsplit(": ").next().unwrap_or_default()));
            wrong.extend(ill.map(|part| Blocker::new("BMC", format!("calls the machine well, and {part}"))));
        }
        if self.log {
            let mark = probe.past.and_then(|p| p.evidence.get("baseline")).and_then(|b| b["log"].as_str());
            let Some(mark) = mark else {
                let what = format!("{}: nobody noted where the BMC's log stood before", probe.node);
                return Err(Fault::new(FaultKind::Unable, what).next("put a `baseline` step first in the playbook, or take `log` out of the check"));
            };
            let new = bmc.log_since((!mark.is_empty()).then_some(mark)).await?;
            let bad = new.iter().filter(|e| !["OK", "Ok", "ok", "Informational", "Info"].contains(&e.severity.as_str()));
            wrong
                .extend(bad.map(|e| Blocker::new(format!("BMC log {}", e.id), format!("{}: {}", e.severity, e.message.chars().take(200).collect::<String>()))));
        }
        Ok(tool::verdict(tool::few(wrong, "BMC"), json!({ "rollup": health.rollup })))
    }
}

fn list(not_ok: &[String]) -> String {
    if not_ok.is_empty() { String::new() } else { format!(": {}", not_ok.iter().take(8).cloned().collect::<Vec<_>>().join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::{
        drivers::{bmc::Bmc, net},
        guards::Permit,
        model::{BmcView, Health, LogEntry, NodeName, Past, ResetType},
    };

    struct Fake(Result<Health, Fault>, Vec<LogEntry>);
    #[async_trait]
    impl Bmc for Fake {
        fn protocol(&self) -> &'static str {
            "Redfish"
        }
        fn endpoint(&self) -> String {
            "fake".into()
        }
        async fn look(&self) -> Result<BmcView, Fault> {
            Err(Fault::new(FaultKind::Unable, "not asked here"))
        }
        async fn power(&self, _: ResetType, _: &mut Permit) -> Result<(), Fault> {
            Err(Fault::new(FaultKind::Unable, "not asked here"))
        }
        async fn health(&self) -> Result<Health, Fault> {
            self.0.clone()
        }
        async fn log_since(&self, id: Option<&str>) -> Result<Vec<LogEntry>, Fault> {
            assert_eq!(id, Some("41"));
            Ok(self.1.clone())
        }
        async fn close(&self) {}
    }
    async fn look(config: &Config, bmc: Option<&Fake>, mark: Option<&str>) -> Result<Verdict, Fault> {
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        let mut past = Past::default();
        past.evidence.extend(mark.map(|id| ("baseline".to_owned(), json!({ "log": id }))));
        let name = NodeName("edge-01".into());
        config.look(&Probe { bmc: bmc.map(|b| b as &dyn Bmc), past: Some(&past), ..Probe::of(&name, None, &net) }).await
    }
    fn config(log: bool, missing: Missing) -> Config {
        Config { worst: ok(), log, missing }
    }
    fn says(rollup: Option<&str>, not_ok: &[&str]) -> Fake {
        Fake(Ok(Health { rollup: rollup.map(str::to_owned), not_ok: not_ok.iter().map(|s| s.to_string()).collect() }), vec![])
    }

    #[tokio::test]
    async fn the_roll_up_decides_and_names() {
        let strict = config(false, Missing::Fail);
        well(look(&strict, Some(&says(Some("OK"), &[])), None).await);
        let ill = says(Some("Warning"), &["DIMM A3: Warning"]);
        assert_eq!(wrong(look(&strict, Some(&ill), None).await), ["BMC: calls the machine Warning: DIMM A3: Warning"]);
        well(look(&Config { worst: "Warning".into(), ..strict.clone() }, Some(&ill), None).await);
        assert_eq!(wrong(look(&strict, Some(&says(None, &[])), None).await), ["BMC: does not say whether the machine is well"]);
        assert_eq!(wrong(look(&strict, Some(&says(Some("ok??"), &[])), None).await).len(), 1, "garbage is not OK");
        let torn = says(Some("OK"), &["MemorySummary: Warning", "Fan 3: Critical"]);
        let both = ["BMC: calls the machine well, and MemorySummary: Warning", "BMC: calls the machine well, and Fan 3: Critical"];
        assert_eq!(wrong(look(&strict, Some(&torn), None).await), both);
        assert_eq!(wrong(look(&Config { worst: "Warning".into(), ..strict.clone() }, Some(&torn), None).await), both[1..]);
    }
    #[tokio::test]
    async fn new_entries_of_the_log() {
        let entry = |id: &str, severity: &str| LogEntry { id: id.into(), at: None, severity: severity.into(), message: "Uncorrectable ECC, DIMM A3".into() };
        let fake = Fake(says(Some("OK"), &[]).0, vec![entry("42", "OK"), entry("43", "Critical"), entry("44", "unknown"), entry("45", "")]);
        let told = wrong(look(&config(true, Missing::Fail), Some(&fake), Some("41")).await);
        assert_eq!(
            (told.len(), told[0].as_str()),
            (3, "BMC log 43: Critical: Uncorrectable ECC, DIMM A3"),
            "one that does not say how bad it is counts: {told:?}"
        );
        let quiet = Fake(says(Some("OK"), &[]).0, vec![entry("42", "OK"), entry("43", "Informational")]);
        well(look(&config(true, Missing::Fail), Some(&quiet), Some("41")).await);
        assert_eq!(look(&config(true, Missing::Fail), Some(&fake), None).await.unwrap_err().kind, FaultKind::Unable, "no mark, no answer");
    }
    #[tokio::test]
    async fn never_silently() {
        let cannot = Fake(Err(Fault::new(FaultKind::Unable, "fake: no health roll-up")), vec![]);
        assert_eq!(look(&config(false, Missing::Fail), Some(&cannot), None).await.unwrap_err().kind, FaultKind::Unable);
        assert!(well(look(&config(false, Missing::Skip), Some(&cannot), None).await)["skipped"].is_string());
        assert_eq!(look(&config(false, Missing::Skip), None, None).await.unwrap_err().kind, FaultKind::Unable, "no BMC at all");
        let silent = Fake(Err(Fault::new(FaultKind::Unknown, "no answer")), vec![]);
        assert_eq!(look(&config(false, Missing::Skip), Some(&silent), None).await.unwrap_err().kind, FaultKind::Unknown);
    }
}
