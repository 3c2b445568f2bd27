//! Check `ceph`: Ceph itself, asked by its CLI on the node's host, is whole and says that the node's OSDs and monitor may stop.
use super::{Check, Probe, Verdict, tool};
use crate::{
    drivers::host::Host,
    kinds,
    model::{Blocker, Command, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How the CLI is called there: `sudo ceph`, `cephadm shell -- ceph`.
    #[serde(default = "ceph")]
    pub command: String,
    /// The host's name in the CRUSH map; its short host name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crush_host: Option<String>,
    /// Warnings that do not matter here: `["RECENT_CRASH"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Of every single command.
    #[serde(default = "limit")]
    pub limit: Span,
}
fn ceph() -> String {
    "ceph".into()
}
fn limit() -> Span {
    Span::seconds(30)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "ceph";
    const ABOUT: &'static str = "Ceph is healthy, all its placement groups are clean, and this host's daemons may stop";
    fn validate(&self) -> Result<(), String> {
        // It goes to a shell, and a CRUSH name is a plain word.
        let word = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        match () {
            _ if self.command.trim().is_empty() => Err("`command` is empty".into()),
            _ if self.crush_host.as_deref().is_some_and(|h| !word(h)) => Err("`crush_host` is no name in a CRUSH map".into()),
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
        "ceph".into()
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let host = tool::host(probe, "ceph")?;
        let status = self.json(host, "-s").await?;
        let mut wrong = judge(&status, &self.allow);
        let name = self.crush_host.as_deref().unwrap_or("$(hostname -s)");
        let ids = self.json(host, &format!("osd ls-tree {name}")).await?;
        // They go to the shell: numbers and nothing else. Anything but a list is no answer, and never "no OSDs here".
        let ids: Option<Vec<String>> = ids.as_array().and_then(|ids| ids.iter().map(|id| id.as_u64().map(|id| id.to_string())).collect());
        let ids = ids.ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{}: `ceph osd ls-tree` gave an answer that makes no sense", probe.node)))?;
        if !ids.is_empty() {
            wrong.extend(self.may_stop(host, &format!("OSDs {}", ids.join(", ")), &format!("osd ok-to-stop {}", ids.join(" "))).await?);
        }
        let mons = self.json(host, "mon dump").await?;
        let own = self.run(host, &format!("echo {name}")).await?.1;
        let mons = mons["mons"].as_array().filter(|mons| !mons.is_empty() && mons.iter().all(|m| m["name"].is_string()));
        let mons = mons.ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{}: `ceph mon dump` names no monitor", probe.node)))?;
        if own.trim().is_empty() {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: the host does not say its name", probe.node)).next("set `crush_host`"));
        }
        if mons.iter().any(|m| m["name"] == own.trim()) {
            wrong.extend(self.may_stop(host, &format!("monitor {}", own.trim()), &format!("mon ok-to-stop {name}")).await?);
        }
        Ok(tool::verdict(wrong, json!({ "health": status["health"]["status"], "osds": ids })))
    }
}

impl Config {
    async fn run(&self, host: &dyn Host, line: &str) -> Result<(i32, String, String), Fault> {
        let out = host.exec(&Command { line: line.to_owned(), limit: self.limit, stdin: None }).await?;
        Ok((out.status, out.stdout, out.stderr))
    }

    async fn json(&self, host: &dyn Host, what: &str) -> Result<Value, Fault> {
        let line = format!("{} {what} -f json", self.command);
        let (status, out, err) = self.run(host, &line).await?;
        if status != 0 {
            return Err(
                Fault::new(FaultKind::Unable, format!("`{line}` ended with status {status}")).cause(err.trim().lines().last().unwrap_or("nothing said"))
            );
        }
        // A container's own talk may come first.
        let json = out.find(['{', '[']).map_or(out.as_str(), |at| &out[at..]);
        serde_json::from_str(json.trim()).map_err(|e| Fault::new(FaultKind::Invalid, format!("`{line}`: an answer that makes no sense")).caused_by(&e))
    }

    async fn may_stop(&self, host: &dyn Host, object: &str, what: &str) -> Result<Option<Blocker>, Fault> {
        let line = format!("{} {what}", self.command);
        let (status, out, err) = self.run(host, &line).await?;
        if matches!(status, 126 | 127) {
            return Err(Fault::new(FaultKind::Unable, format!("`{line}` cannot be run, status {status}")));
        }
        let said = if err.trim().is_empty() { out } else { err };
        Ok((status != 0).then(|| Blocker::new(object, format!("may not stop now: {}", said.trim().lines().last().unwrap_or("nothing said")))))
    }
}

/// `ceph -s`: pure.
fn judge(status: &Value, allow: &[String]) -> Vec<Blocker> {
    let mut wrong = Vec::new();
    let mut say = |object: &str, why: String| wrong.push(Blocker::new(object, why));
    let health = status["health"]["status"].as_str().unwrap_or("unknown");
    let checks = status["health"]["checks"].as_object();
    let named: Vec<&String> = checks.into_iter().flat_map(|c| c.keys()).filter(|key| !allow.contains(key)).collect();
    for key in &named {
        let check = &status["health"]["checks"][key.as_str()];
        // Muted there is not allowed here.
        let muted = if check["muted"] == true { " (muted in Ceph; `allow` it in the check to pass)" } else { "" };
        say("ceph", format!("{key}: {}{muted}", check["summary"]["message"].as_str().unwrap_or("no summary")));
    }
    // A health that is neither, or bad without a reason, is no health.
    if !matches!(health, "HEALTH_OK" | "HEALTH_WARN") || (health == "HEALTH_WARN" && checks.is_none_or(|c| c.is_empty())) {
        say("ceph", format!("its health is {health}"));
    }
    let osds = |field: &str| status["osdmap"][field].as_u64().or(status["osdmap"]["osdmap"][field].as_u64());
    match (osds("num_osds"), osds("num_up_osds"), osds("num_in_osds")) {
        (Some(all), Some(up), Some(within)) if up < all || within < all => say("ceph", format!("{up} of {all} OSDs are up, {within} in")),
        (Some(_), Some(_), Some(_)) => {}
        _ => say("ceph", "does not say how many OSDs are up".into()),
    }
    let states = status["pgmap"]["pgs_by_state"].as_array();
    if states.is_none() {
        say("ceph", "does not say how its placement groups are".into());
    }
    for state in states.into_iter().flatten() {
        let name = state["state_name"].as_str().unwrap_or("unknown");
        if !clean(name) {
            say("ceph", format!("{} placement groups are {name}", state["count"]));
        }
    }
    wrong
}

fn clean(state: &str) -> bool {
    let parts: Vec<&str> = state.split('+').collect();
    parts.contains(&"active")
        && parts.contains(&"clean")
        && parts.iter().all(|p| matches!(*p, "active" | "clean" | "scrubbing" | "deep" | "snaptrim" | "snaptrim_wait"))
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::{drivers::host::fake::Canned, kinds::Config as _};

    const TREE: &str = "[3,4]";
    const MONS: &str = r#"{"epoch":3,"mons":[{"rank":0,"name":"edge-01"},{"rank":1,"name":"edge-02"}]}"#;
    /// A `ceph` of its own, answering by what it is asked.
    async fn look(status: &str, ok_to_stop: &str, config: Value) -> Result<Verdict, Fault> {
        ask(status, TREE, MONS, ok_to_stop, "echo quorum should be preserved >&2", config).await
    }
    async fn ask(status: &str, tree: &str, mons: &str, osd_ok: &str, mon_ok: &str, config: Value) -> Result<Verdict, Fault> {
        let script = format!(
            "case \"$*\" in\n'-s -f json') echo '{status}';;\n'osd ls-tree edge-01 -f json') echo '{tree}';;\n\
             'mon dump -f json') echo '{mons}'; echo dumped monmap epoch 3 >&2;;\n'osd ok-to-stop 3 4') {osd_ok};;\n\
             'mon ok-to-stop edge-01') {mon_ok};;\n*) echo \"Error: not asked for: $*\" >&2; exit 22;;\nesac"
        );
        let config: Config = serde_json::from_value(config).unwrap();
        Tools::new(&[("ceph", &script)]).look(&config).await
    }

    fn status(health: &str, checks: &str, up: u32, state: &str) -> String {
        format!(
            r#"{{"health":{{"status":"{health}","checks":{{{checks}}}}},"osdmap":{{"num_osds":6,"num_up_osds":{up},"num_in_osds":6}},"pgmap":{{"pgs_by_state":[{{"state_name":"active+clean","count":90}},{{"state_name":"{state}","count":7}}]}}}}"#
        )
    }

    #[tokio::test]
    async fn ceph_whole_and_willing_is_healthy_and_everything_else_is_named() {
        let here = json!({ "crush_host": "edge-01" });
        let yes = "echo '{\"ok_to_stop\":true}'";
        let said = async |status: String, ok: &str, config: Value| match look(&status, ok, config).await.unwrap() {
            Verdict::Healthy(_) => String::new(),
            Verdict::Unhealthy(wrong) => wrong.iter().map(Blocker::to_string).collect::<Vec<_>>().join("; "),
        };
        assert_eq!(said(status("HEALTH_OK", "", 6, "active+clean+scrubbing+deep"), yes, here.clone()).await, "");
        let no = "echo 'Error EBUSY: unsafe to stop osd(s) at this time (9 PGs are or would become offline)' >&2; exit 16";
        let refused = said(status("HEALTH_OK", "", 6, "active+clean"), no, here.clone()).await;
        assert_eq!(refused, "OSDs 3, 4: may not stop now: Error EBUSY: unsafe to stop osd(s) at this time (9 PGs are or would become offline)");
        let down = r#""OSD_DOWN":{"severity":"HEALTH_WARN","summary":{"message":"1 osds down"}}"#;
        let degraded = said(status("HEALTH_WARN", down, 5, "active+undersized+degraded"), yes, here.clone()).await;
        assert_eq!(degraded, "ceph: OSD_DOWN: 1 osds down; ceph: 5 of 6 OSDs are up, 6 in; ceph: 7 placement groups are active+undersized+degraded");
        let crash = r#""RECENT_CRASH":{"severity":"HEALTH_WARN","summary":{"message":"1 daemons have recently crashed"}}"#;
        let warn = || status("HEALTH_WARN", crash, 6, "active+clean");
        assert_eq!(said(warn(), yes, here.clone()).await, "ceph: RECENT_CRASH: 1 daemons have recently crashed");
        assert_eq!(said(warn(), yes, json!({ "crush_host": "edge-01", "allow": ["RECENT_CRASH"] })).await, "");
        assert_eq!(said(status("HEALTH_ERR", "", 6, "active+clean"), yes, here.clone()).await, "ceph: its health is HEALTH_ERR");
    }

    /// `ceph -s -f json` as releases write it: Nautilus nests the OSD map, Octopus and later do not, Quincy and later have mutes.
    #[tokio::test]
    async fn every_release_is_read() {
        let here = json!({ "crush_host": "edge-01" });
        let yes = "echo '{\"ok_to_stop\":true,\"osds\":[3,4],\"num_ok_pgs\":90,\"num_not_ok_pgs\":0,\"ok_become_degraded\":[\"1.0\"]}'";
        let nautilus = r#"{"fsid":"f","health":{"checks":{},"status":"HEALTH_OK"},"quorum_names":["a"],"osdmap":{"osdmap":{"epoch":5,"num_osds":6,"num_up_osds":6,"num_in_osds":6,"num_remapped_pgs":0}},"pgmap":{"pgs_by_state":[{"state_name":"active+clean","count":97}],"num_pgs":97}}"#;
        let squid = r#"{"fsid":"f","health":{"status":"HEALTH_OK","checks":{},"mutes":[]},"quorum_age":9,"osdmap":{"epoch":5,"num_osds":6,"num_up_osds":6,"osd_up_since":1,"num_in_osds":6,"osd_in_since":1,"num_remapped_pgs":0},"pgmap":{"pgs_by_state":[{"state_name":"active+clean","count":97}],"num_pgs":97,"num_pools":2},"progress_events":{}}"#;
        let empty = squid.replace(r#"[{"state_name":"active+clean","count":97}]"#, "[]");
        for said in [nautilus, squid, &empty] {
            well(look(said, yes, here.clone()).await);
        }
        assert_eq!(wrong(look(&nautilus.replace(r#""num_up_osds":6"#, r#""num_up_osds":4"#), yes, here.clone()).await), ["ceph: 4 of 6 OSDs are up, 6 in"]);
        let muted = r#"{"OSDMAP_FLAGS":{"severity":"HEALTH_WARN","summary":{"message":"noout flag(s) set","count":1},"muted":true}}"#;
        let muted = squid.replace(r#""checks":{}"#, &format!(r#""checks":{muted}"#));
        let named = wrong(look(&muted, yes, here.clone()).await);
        assert_eq!(named, ["ceph: OSDMAP_FLAGS: noout flag(s) set (muted in Ceph; `allow` it in the check to pass)"]);
        well(look(&muted, yes, json!({ "crush_host": "edge-01", "allow": ["OSDMAP_FLAGS"] })).await);
        for state in
            ["active+undersized+degraded+remapped+backfill_wait", "peering", "active+clean+inconsistent", "unknown", "stale+active+clean", "active+clean+wait"]
        {
            assert_eq!(wrong(look(&squid.replace("active+clean", state), yes, here.clone()).await), [format!("ceph: 97 placement groups are {state}")]);
        }
    }

    #[tokio::test]
    async fn a_monitor_that_may_not_stop_and_a_host_without_osds() {
        let here = json!({ "crush_host": "edge-01" });
        let ok = status("HEALTH_OK", "", 6, "active+clean");
        let yes = "true";
        let no = "echo 'Error EBUSY: not enough monitors would be available (edge-02) after stopping mons [edge-01]' >&2; exit 16";
        let named = wrong(ask(&ok, TREE, MONS, yes, no, here.clone()).await);
        assert_eq!(named, ["monitor edge-01: may not stop now: Error EBUSY: not enough monitors would be available (edge-02) after stopping mons [edge-01]"]);
        // No OSD here and no monitor: nothing of it may be asked to stop.
        let elsewhere = MONS.replace("edge-01", "edge-03");
        assert_eq!(well(ask(&ok, "[]", &elsewhere, "exit 1", "exit 1", here).await)["osds"], json!([]));
    }

    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let here = json!({ "crush_host": "edge-01" });
        let ok = status("HEALTH_OK", "", 6, "active+clean");
        for tree in ["{}", "null", "[\"a\"]", "[\"$(reboot)\"]", "[-1]", "[3.5]", "3", ""] {
            assert_eq!(ask(&ok, tree, MONS, "true", "true", here.clone()).await.unwrap_err().kind, FaultKind::Invalid, "{tree}: never \"no OSDs here\"");
        }
        for mons in ["{}", "[]", "{\"mons\":[]}", "{\"mons\":[{}]}", "null", "x"] {
            assert_eq!(ask(&ok, TREE, mons, "true", "true", here.clone()).await.unwrap_err().kind, FaultKind::Invalid, "{mons}");
        }
        for odd in ["{}", "[]", r#"{"health":{"status":"HEALTH_OK"}}"#, r#"{"health":{"status":"HEALTH_FINE","checks":{}}}"#] {
            assert!(!wrong(ask(odd, TREE, MONS, "true", "true", here.clone()).await).is_empty(), "{odd}");
        }
        for gone in ["osdmap", "pgmap", "health"] {
            assert!(!wrong(look(&ok.replace(gone, "x"), "true", here.clone()).await).is_empty(), "without its {gone}");
        }
        let config: Config = serde_json::from_value(here.clone()).unwrap();
        let missing = super::super::tool::test::look(&config, Some(&Canned::says(127, "", "sh: 1: ceph: not found\n"))).await.unwrap_err();
        assert_eq!((missing.kind, missing.to_string()), (FaultKind::Unable, "`ceph -s -f json` ended with status 127: sh: 1: ceph: not found".to_owned()));
        assert_eq!(super::super::tool::test::look(&config, None).await.unwrap_err().kind, FaultKind::Unable, "no host");
        let vanishes = ask(&ok, TREE, MONS, "exit 127", "true", here).await.unwrap_err();
        assert_eq!(vanishes.kind, FaultKind::Unable, "gone between two questions");
    }

    #[tokio::test]
    async fn a_ceph_that_cannot_be_asked_is_never_healthy() {
        let fault = look("{}", "true", json!({ "crush_host": "elsewhere" })).await.unwrap_err();
        assert_eq!(fault.to_string(), "`ceph osd ls-tree elsewhere -f json` ended with status 22: Error: not asked for: osd ls-tree elsewhere -f json");
        assert!(look("not json", "true", json!({ "crush_host": "edge-01" })).await.is_err());
        for bad in [json!({ "command": " " }), json!({ "crush_host": "a; reboot" }), json!({ "crush_host": "" })] {
            assert!(serde_json::from_value::<Config>(bad.clone()).unwrap().validate().is_err(), "{bad}");
        }
    }
}
