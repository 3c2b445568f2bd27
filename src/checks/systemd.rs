//! Check `systemd`: the units named are active, and on request no unit has failed.
use super::{Check, Probe, Repair, Verdict};
use crate::{
    drivers::host::Host,
    kinds,
    model::{Blocker, Command, Fault, FaultKind, NodeName, Output, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Units that must be active; without a suffix a service is meant.
    #[serde(default)]
    pub active: Vec<String>,
    /// No unit at all may be in state failed.
    #[serde(default)]
    pub no_failed: bool,
    /// What is not active is started, what failed is restarted; once per boot.
    #[serde(default)]
    pub repair: bool,
    /// How long the host may take to answer.
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(30)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "systemd";
    const ABOUT: &'static str = "systemd units are active, and on request none has failed";
    fn validate(&self) -> Result<(), String> {
        if self.active.is_empty() && !self.no_failed {
            return Err("nothing to check: name units in `active`, or set `no_failed = true`".into());
        }
        match self.active.iter().find(|unit| !is_unit(unit)) {
            Some(unit) => Err(format!("`{unit}` is not the name of a systemd unit")),
            None if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

/// systemd.unit(5): what a unit name is made of. No globs: one that matches nothing would look like one whose units are all well.
fn is_unit(name: &str) -> bool {
    let of_unit = |c: char| c.is_ascii_alphanumeric() || ":-_.@\\".contains(c);
    (1..256).contains(&name.len()) && !name.starts_with(['-', '.']) && name.chars().all(of_unit)
}

/// For `sh`: `\` in escaped unit names (`dev-disk-by\x2dlabel-data.device`) is the one character that needs it.
fn quoted(unit: &str) -> String {
    if unit.contains('\\') { format!("'{unit}'") } else { unit.to_owned() }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        let mut what = self.active.clone();
        what.extend(self.no_failed.then(|| "no failed unit".to_owned()));
        format!("systemd: {}", what.join(", "))
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let host =
            probe.host.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: systemd is asked over the host, and the inventory names none", probe.node)))?;
        // Names reach the shell: a plan could have been written by another hand than `validate`'s.
        kinds::Config::validate(self).map_err(|why| Fault::new(FaultKind::Invalid, why))?;
        let mut blockers = Vec::new();
        let mut states = Vec::new();
        if !self.active.is_empty() {
            let units: Vec<_> = self.active.iter().map(|u| quoted(u)).collect();
            let out = self.ask(probe.node, host, format!("systemctl show -p Id,LoadState,ActiveState,SubState {}", units.join(" "))).await?;
            states = units_in(&out.stdout);
            if states.len() != self.active.len() {
                let what = format!("{}: systemctl show was asked about {} units and answered about {}", probe.node, self.active.len(), states.len());
                return Err(Fault::new(FaultKind::Invalid, what).cause(first_line(&out.stdout)));
            }
            for (name, state) in self.active.iter().zip(&states) {
                blockers.extend(state.wrong().map(|why| Blocker::new(name, why)));
            }
        }
        if self.no_failed {
            // An empty list is what healthy looks like: the manager's own count proves that it was asked.
            let line = "systemctl list-units --state=failed --no-legend --plain --no-pager && systemctl show -p NFailedUnits";
            let out = self.ask(probe.node, host, line.to_owned()).await?;
            let failed = failed_in(&out.stdout)
                .map_err(|why| Fault::new(FaultKind::Invalid, format!("{}: the list of failed units: {why}", probe.node)).cause(first_line(&out.stdout)))?;
            blockers.extend(failed.into_iter().filter(|unit| !self.active.iter().any(|a| named(a, unit))).map(|unit| Blocker::new(unit, "failed")));
        }
        if blockers.is_empty() {
            let active: Vec<_> = states.iter().map(|s| json!({ "unit": s.id, "state": format!("{} ({})", s.active, s.sub) })).collect();
            return Ok(Verdict::Healthy(json!({ "units": active, "no_failed": self.no_failed })));
        }
        Ok(Verdict::Unhealthy(blockers))
    }
    fn repair(&self, wrong: &[Blocker]) -> Option<Repair> {
        // A unit on its way needs time, not a restart; one that does not exist or is masked is for a person.
        let helps =
            |b: &&Blocker| is_unit(&b.object) && (b.why == "failed" || ["failed (", "inactive ("].iter().any(|s| b.why.starts_with(s)) && b.why.ends_with(')'));
        let units: Vec<&str> = wrong.iter().filter(helps).map(|b| b.object.as_str()).collect();
        (self.repair && !units.is_empty()).then(|| Repair { what: format!("restart {}", units.join(", ")), args: json!({ "units": units }) })
    }
    async fn mend(&self, probe: &Probe<'_>, repair: &Repair) -> Result<(), Fault> {
        let host = probe.host.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: no host to repair units on", probe.node)))?;
        let units: Vec<String> = serde_json::from_value(repair.args["units"].clone()).unwrap_or_default();
        if units.is_empty() || !units.iter().all(|u| is_unit(u)) {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: `{}` names no unit", probe.node, repair.what)));
        }
        let units = units.iter().map(|u| quoted(u)).collect::<Vec<_>>().join(" ");
        // A unit that failed too often is not started before its count is forgotten. Not waited for: the looks that follow say how it went.
        let line = format!("systemctl reset-failed {units}; systemctl --no-block restart {units}");
        let out = host.exec(&Command::as_root(&line, self.limit)).await?;
        match out.status {
            0 => Ok(()),
            _ => {
                Err(Fault::new(FaultKind::Unable, format!("{}: `{}` ended with status {}", probe.node, repair.what, out.status)).cause(first_line(&out.stderr)))
            }
        }
    }
}

impl Config {
    async fn ask(&self, node: &NodeName, host: &dyn Host, line: String) -> Result<Output, Fault> {
        let out = host.exec(&Command { line, limit: self.limit, stdin: None }).await?;
        if out.status != 0 {
            let what = match out.status {
                126 | 127 => format!("{node}: there is no systemctl on the host"),
                status => format!("{node}: systemctl ended with status {status}"),
            };
            return Err(Fault::new(FaultKind::Unable, what).cause(first_line(&out.stderr)));
        }
        if out.dropped > 0 {
            return Err(Fault::new(FaultKind::Invalid, format!("{node}: systemctl said more than is read: {} bytes were dropped", out.dropped)));
        }
        Ok(out)
    }
}

/// `backup.timer loaded failed failed Backup`, and at the end `NFailedUnits=1`.
fn failed_in(text: &str) -> Result<Vec<&str>, String> {
    let (list, count) = text.trim_end().rsplit_once("NFailedUnits=").ok_or("it has no end")?;
    let count: usize = count.parse().map_err(|_| format!("`{}` is no number of units", count.chars().take(20).collect::<String>()))?;
    // Older versions put a bullet before the name in spite of `--plain`.
    let lines = list.lines().map(|l| l.trim_start_matches(['●', '*', '×', ' '])).filter(|l| !l.trim().is_empty());
    let failed: Option<Vec<&str>> = lines.map(|l| l.split_whitespace().next().filter(|unit| is_unit(unit) && unit.contains('.'))).collect();
    let failed = failed.ok_or("a line of it names no unit")?;
    // A unit may fail, or recover, between the two questions; none of several is no such case.
    if failed.is_empty() && count > 0 { Err(format!("it is empty, and {count} have failed")) } else { Ok(failed) }
}
fn named(wanted: &str, unit: &str) -> bool {
    unit == wanted || unit.strip_suffix(".service") == Some(wanted)
}
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("no output").chars().take(200).collect()
}

#[derive(Debug, Default, PartialEq)]
struct UnitState {
    id: String,
    load: String,
    active: String,
    sub: String,
}

impl UnitState {
    fn wrong(&self) -> Option<String> {
        match (self.load.as_str(), self.active.as_str()) {
            (_, "active") => None,
            ("not-found", _) => Some("there is no such unit".into()),
            ("loaded" | "", active) => Some(format!("{active} ({})", self.sub)),
            (load, active) => Some(format!("{active} ({}), unit is {load}", self.sub)),
        }
    }
}

/// One block a unit, in the order asked. By order and not by `Id`, which is another name where an alias was asked for.
fn units_in(text: &str) -> Vec<UnitState> {
    let text = text.replace("\r\n", "\n");
    let mut units = Vec::new();
    for block in text.split("\n\n").filter(|b| !b.trim().is_empty()) {
        let mut unit = UnitState::default();
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            match key.trim() {
                "Id" => unit.id = value.trim().to_owned(),
                "LoadState" => unit.load = value.trim().to_owned(),
                "ActiveState" => unit.active = value.trim().to_owned(),
                "SubState" => unit.sub = value.trim().to_owned(),
                _ => {}
            }
        }
        // A block without a state is no answer about a unit.
        if !unit.active.is_empty() {
            units.push(unit);
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks,
        drivers::{host::fake::Canned, net},
        kinds::Config as _,
    };

    fn units(active: &[&str]) -> Config {
        Config { active: active.iter().map(|s| s.to_string()).collect(), no_failed: false, repair: false, limit: limit() }
    }
    async fn look(config: &Config, host: Option<&dyn Host>) -> Result<Verdict, Fault> {
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        config.look(&checks::Probe::of(&NodeName("edge-01".into()), host, &net)).await
    }
    const BOTH: &str = "Id=multipathd.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\nId=node-agent.service\nLoadState=loaded\nActiveState=";

    #[tokio::test]
    async fn active_units_are_healthy_and_the_line_names_them() {
        let host = Canned::says(0, &format!("{BOTH}active\nSubState=running\n"), "");
        assert!(matches!(look(&units(&["multipathd", "node-agent"]), Some(&host)).await, Ok(Verdict::Healthy(_))));
        assert_eq!(host.lines(), ["systemctl show -p Id,LoadState,ActiveState,SubState multipathd node-agent"]);
    }

    #[tokio::test]
    async fn each_unit_that_is_not_active_is_named_with_its_state() {
        let host = Canned::says(0, &format!("{BOTH}failed\nSubState=failed\n"), "");
        let verdict = look(&units(&["multipathd", "node-agent"]), Some(&host)).await;
        assert_eq!(verdict, Ok(Verdict::Unhealthy(vec![Blocker::new("node-agent", "failed (failed)")])));
        let gone = Canned::says(0, "Id=x.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n", "");
        assert_eq!(look(&units(&["x"]), Some(&gone)).await, Ok(Verdict::Unhealthy(vec![Blocker::new("x", "there is no such unit")])));
        let masked = Canned::says(0, "Id=x.service\nLoadState=masked\nActiveState=inactive\nSubState=dead\n", "");
        assert_eq!(look(&units(&["x"]), Some(&masked)).await, Ok(Verdict::Unhealthy(vec![Blocker::new("x", "inactive (dead), unit is masked")])));
        let starting = Canned::says(0, "Id=x.service\nLoadState=loaded\nActiveState=activating\nSubState=start-pre\n", "");
        assert_eq!(look(&units(&["x"]), Some(&starting)).await, Ok(Verdict::Unhealthy(vec![Blocker::new("x", "activating (start-pre)")])));
    }

    #[tokio::test]
    async fn what_could_not_be_asked_is_a_fault() {
        let kind = |verdict: Result<Verdict, Fault>| verdict.unwrap_err().kind;
        let missing = Canned::says(127, "", "sh: 1: systemctl: not found\n");
        assert_eq!(kind(look(&units(&["x"]), Some(&missing)).await), FaultKind::Unable);
        let no_bus = Canned::says(1, "", "System has not been booted with systemd as init system (PID 1). Can't operate.\n");
        assert_eq!(kind(look(&units(&["x"]), Some(&no_bus)).await), FaultKind::Unable);
        assert_eq!(kind(look(&units(&["x"]), None).await), FaultKind::Unable);
        for garbage in ["", "hello\n", "ActiveState\n", "Id=x.service\n\n\n", "ActiveState=active\n\nActiveState=active\n"] {
            assert_eq!(kind(look(&units(&["x"]), Some(&Canned::says(0, garbage, ""))).await), FaultKind::Invalid, "{garbage:?}");
        }
        let silent = Canned::answers(Err(Fault::new(FaultKind::Unknown, "no answer")));
        assert_eq!(kind(look(&units(&["x"]), Some(&silent)).await), FaultKind::Unknown);
    }

    #[tokio::test]
    async fn no_failed_names_the_failed_ones() {
        let config = Config { active: vec![], no_failed: true, repair: false, limit: limit() };
        assert!(matches!(look(&config, Some(&Canned::says(0, "NFailedUnits=0\n", ""))).await, Ok(Verdict::Healthy(_))));
        let failed = Canned::says(
            0,
            "● nfs-mount.service loaded failed failed NFS\n× a.mount loaded failed failed A\nbackup.timer loaded failed failed Backup\nNFailedUnits=3\n",
            "",
        );
        let named = ["nfs-mount.service", "a.mount", "backup.timer"].map(|unit| Blocker::new(unit, "failed")).to_vec();
        assert_eq!(look(&config, Some(&failed)).await, Ok(Verdict::Unhealthy(named)));
        for garbage in ["", "hello\n", "hello world\nNFailedUnits=1\n", "NFailedUnits=\n", "NFailedUnits=2\n", "a.service loaded failed\nNFailedUnits=x\n"] {
            let fault = look(&config, Some(&Canned::says(0, garbage, ""))).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Invalid, "{garbage:?}");
        }
    }

    #[tokio::test]
    async fn what_failed_is_restarted_where_asked() {
        let wrong = |why: &[(&str, &str)]| why.iter().map(|(u, w)| Blocker::new(*u, *w)).collect::<Vec<_>>();
        let mends = Config { repair: true, ..units(&["a", "b", "c", "d"]) };
        let ill =
            wrong(&[("a", "failed (failed)"), ("b", "inactive (dead)"), ("c", "activating (start)"), ("d", "there is no such unit"), ("e.timer", "failed")]);
        assert_eq!(units(&["a"]).repair(&ill), None, "not asked for");
        let repair = mends.repair(&ill).unwrap();
        assert_eq!(repair.what, "restart a, b, e.timer");
        assert_eq!(mends.repair(&wrong(&[("c", "activating (auto-restart)"), ("d", "inactive (dead), unit is masked"), ("x;y", "failed")])), None);

        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        let name = NodeName("edge-01".into());
        let host = Canned::says(0, "", "");
        mends.mend(&checks::Probe::of(&name, Some(&host), &net), &repair).await.unwrap();
        assert!(host.lines()[0].contains("systemctl reset-failed a b e.timer; systemctl --no-block restart a b e.timer"), "{:?}", host.lines());
        let refuses = Canned::says(1, "", "sudo: a password is required\n");
        let fault = mends.mend(&checks::Probe::of(&name, Some(&refuses), &net), &repair).await.unwrap_err();
        assert!(fault.to_string().contains("a password is required"), "{fault}");
        let forged = Repair { what: "x".into(), args: json!({ "units": ["a;reboot"] }) };
        let host = Canned::says(0, "", "");
        assert_eq!(mends.mend(&checks::Probe::of(&name, Some(&host), &net), &forged).await.unwrap_err().kind, FaultKind::Invalid);
        assert!(host.lines().is_empty());
    }

    #[tokio::test]
    async fn nothing_but_a_unit_name_reaches_the_shell() {
        for bad in ["", "a;reboot", "$(reboot)", "a b", "--help", "a'b", "*", "a\nb", "`x`", "a&b"] {
            assert!(units(&[bad]).validate().is_err(), "{bad}");
            let host = Canned::says(0, "", "");
            assert_eq!(look(&units(&[bad]), Some(&host)).await.unwrap_err().kind, FaultKind::Invalid);
            assert!(host.lines().is_empty(), "{bad} reached the host");
        }
        assert!(units(&["getty@tty1.service", "dev-disk-by\\x2dlabel-data.device", "multipathd"]).validate().is_ok());
        assert!(units(&[]).validate().is_err());
        assert_eq!(quoted("a\\x2db"), "'a\\x2db'");
    }
}
