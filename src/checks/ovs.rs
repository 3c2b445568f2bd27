//! Check `ovs`: every service of Open vStorage runs. Two witnesses: the init system, unit by unit, and its own `ovs monitor services`.
use super::{
    Check, Probe, Repair, Verdict,
    ovs_text::{self, Service},
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Command, Fault, FaultKind, NodeName, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Services that must be among those that run: a list that lacks one is not healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Is `ovs monitor services` asked too? It never ends by itself and is cut off.
    #[serde(default = "yes")]
    pub monitor: bool,
    /// After so long.
    #[serde(default = "monitor_for")]
    pub monitor_for: Span,
    /// What does not run is started, once per boot.
    #[serde(default = "yes")]
    pub repair: bool,
    /// A host without Open vStorage: `"fail"`, or `"skip"`.
    #[serde(default)]
    pub missing: Missing,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(60)
}
fn monitor_for() -> Span {
    Span::seconds(5)
}
fn yes() -> bool {
    true
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "ovs";
    const ABOUT: &'static str = "every service of Open vStorage runs";
    fn validate(&self) -> Result<(), String> {
        match self.services.iter().find(|s| !is_name(s)) {
            Some(bad) => Err(format!("`{bad}` is not the name of a service")),
            None if self.monitor_for.0.is_zero() || self.limit <= self.monitor_for => {
                Err("`limit` must be longer than `monitor_for`, and both than nothing".into())
            }
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

/// Names reach the host's shell.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 100 && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c))
}

/// `/proc/1/comm` tells which init it is. systemd is asked about each unit: a failed one stands in neither block of the oldest monitor.
const UNITS: &str = "LC_ALL=C; export LC_ALL; i=$(cat /proc/1/comm) || exit 9; echo \"init=$i\"; \
    if [ \"$i\" = systemd ]; then for u in $(systemctl list-unit-files --type=service --no-legend --no-pager | sed -n 's/^\\(ovs-[^ ]*\\).*/\\1/p'); do \
    case $u in *@.service) continue;; esac; echo \"$u $(systemctl is-active \"$u\")\"; done; \
    else initctl list | grep '^ovs-'; fi; echo end";
/// Without a terminal the newer ones print when they are interrupted, the oldest (`watch`) say that they need one.
fn monitored(span: Span) -> String {
    let seconds = span.0.as_secs_f64();
    format!("command -v ovs >/dev/null || absent; TERM=dumb timeout -s INT -k 5 {seconds} ovs monitor services </dev/null 2>&1; true")
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        "ovs: every service of Open vStorage runs".into()
    }

    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let (systemd, mut units) = match tool::run(probe, "init system", UNITS, true, self.limit, Missing::Fail).await? {
            Asked::Said(out) if out.status == 0 => ovs_text::units(&out.stdout).map_err(|why| unread(probe.node, "the list of services", &why))?,
            Asked::Said(out) => return Err(tool::failed(probe, "the list of services", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        if self.monitor {
            // With units and no command the init system alone is asked.
            let missing = if units.is_empty() { self.missing } else { Missing::Skip };
            match tool::run(probe, "ovs", &monitored(self.monitor_for), true, self.limit, missing).await? {
                Asked::Settled(verdict) if units.is_empty() => return Ok(verdict),
                Asked::Settled(_) => {}
                Asked::Said(out) if out.status != 0 => return Err(tool::failed(probe, "ovs monitor services", &out)),
                Asked::Said(out) if needs_terminal(&out.stdout) => {}
                Asked::Said(out) => {
                    let seen = ovs_text::monitor(&out.stdout).map_err(|why| unread(probe.node, "ovs monitor services", &why))?;
                    add(&mut units, seen.not_running, false);
                    add(&mut units, seen.running, true);
                }
            }
        } else if units.is_empty() && self.missing == Missing::Skip {
            return Ok(tool::skipped("Open vStorage"));
        }
        let mut wrong: Vec<Blocker> = units.iter().filter(|s| !s.runs).map(|s| Blocker::new(&s.name, &s.state)).collect();
        let runs = |name: &String| units.iter().any(|s| s.runs && (s.name == *name || s.name.split(' ').next() == Some(name)));
        for name in self.services.iter().filter(|name| !runs(name)) {
            if !wrong.iter().any(|b| b.object == *name) {
                wrong.push(Blocker::new(name, "is not among the services of this host"));
            }
        }
        if wrong.is_empty() && units.is_empty() {
            wrong.push(Blocker::new("Open vStorage", "runs no service at all"));
        }
        if wrong.is_empty() {
            let running: Vec<&str> = units.iter().map(|s| s.name.as_str()).collect();
            return Ok(Verdict::Healthy(json!({ "init": if systemd { "systemd" } else { "upstart" }, "running": running })));
        }
        Ok(Verdict::Unhealthy(wrong))
    }

    /// upstart's states have a slash. `ovs start services` reads `/etc/init` alone: on a host with systemd it does nothing, and says that it did.
    fn repair(&self, wrong: &[Blocker]) -> Option<Repair> {
        let dead = |b: &&Blocker| b.why.starts_with("stop/") || b.why.starts_with("inactive") || b.why.starts_with("failed");
        let (upstart, systemd): (Vec<&Blocker>, Vec<&Blocker>) = wrong.iter().filter(dead).partition(|b| b.why.contains('/'));
        let names = |of: Vec<&Blocker>| of.iter().map(|b| b.object.clone()).filter(|n| is_name(n)).collect::<Vec<_>>();
        let instances = upstart.iter().any(|b| b.object.contains('('));
        let (upstart, systemd) = (names(upstart), names(systemd));
        let all = [upstart.clone(), systemd.clone()].concat();
        let what = match (all.is_empty(), instances) {
            (true, false) => return None,
            (true, true) => "start the services of Open vStorage".to_owned(),
            (false, _) => format!("start {}", all.join(", ")),
        };
        self.repair.then(|| Repair { what, args: json!({ "upstart": upstart, "systemd": systemd, "all": instances }) })
    }

    async fn mend(&self, probe: &Probe<'_>, repair: &Repair) -> Result<(), Fault> {
        let host = tool::host(probe, "ovs")?;
        let names = |key: &str| serde_json::from_value::<Vec<String>>(repair.args[key].clone()).unwrap_or_default();
        let (upstart, systemd) = (names("upstart"), names("systemd"));
        if !upstart.iter().chain(&systemd).all(|n| is_name(n)) {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: `{}` names no service", probe.node, repair.what)));
        }
        let mut line = String::new();
        if !upstart.is_empty() || repair.args["all"] == true {
            // One that runs already complains, and that is well; one that has no such verb prints its help, and starts nothing.
            line += "ovs start services >/dev/null 2>&1; ";
            line.extend(upstart.iter().map(|u| format!("initctl start {u} >/dev/null 2>&1; ")));
        }
        if !systemd.is_empty() {
            let units = systemd.join(" ");
            line += &format!("systemctl reset-failed {units} 2>/dev/null; systemctl --no-block start {units} || exit 1; ");
        }
        let out = host.exec(&Command::as_root(&format!("{line}true"), self.limit)).await?;
        match out.status {
            0 => Ok(()),
            status => Err(Fault::new(FaultKind::Unable, format!("{}: `{}` ended with status {status}", probe.node, repair.what)).cause(out.stderr.trim())),
        }
    }
}

/// `watch` without a terminal: this version can only be asked by the init system. Its help: this one has no monitor.
fn needs_terminal(text: &str) -> bool {
    text.trim_start().starts_with("Error opening terminal") || text.contains("Open vStorage CLI launcher")
}

/// What the monitor says besides. Not running beats running: two witnesses that disagree are no good news.
fn add(units: &mut Vec<Service>, said: Vec<Service>, runs: bool) {
    for service in said {
        match units.iter_mut().find(|u| u.name == service.name) {
            Some(known) if known.runs && !runs => *known = service,
            Some(_) => {}
            None => units.push(service),
        }
    }
}

fn unread(node: &NodeName, what: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("{node}: {what} cannot be read")).cause(why)
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::drivers::{host::fake::Canned, net};

    fn config() -> Config {
        Config {
            services: vec![],
            monitor: true,
            monitor_for: Span(std::time::Duration::from_millis(300)),
            repair: true,
            missing: Missing::Fail,
            limit: limit(),
        }
    }
    const NET: fn() -> net::fake::Canned = || net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };

    /// A host with these tools: really run by `sh`, the monitor never ends by itself.
    async fn on(init: &str, units: &str, monitor: &str) -> Result<Verdict, Fault> {
        asked(&config(), init, units, monitor).await
    }
    async fn asked(check: &Config, init: &str, units: &str, monitor: &str) -> Result<Verdict, Fault> {
        let cat = format!("echo {init}");
        let initctl = format!("printf '{units}'");
        let systemctl = format!(
            "case $1 in list-unit-files) echo 'ovs-workers.service enabled'; echo 'ovs-webapp-api.service enabled' ;; *) printf '{units}' | sed -n \"s/^$2 //p\" ;; esac"
        );
        let ovs = format!("trap 'printf \"{monitor}\"; exit 0' INT; while :; do sleep 0.1; done");
        let mut tools = vec![("cat", cat.as_str()), ("initctl", &initctl), ("systemctl", &systemctl)];
        if !monitor.is_empty() {
            tools.push(("ovs", &ovs));
        }
        Tools::new(&tools).look(check).await
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let fails = Config { monitor: false, ..config() };
        assert_eq!(look(&config(), None).await.unwrap_err().kind, FaultKind::Unable, "no host");
        let silent = Canned::answers(Err(Fault::new(FaultKind::Unknown, "no answer")));
        assert_eq!(look(&config(), Some(&silent)).await.unwrap_err().kind, FaultKind::Unknown);
        for (status, said) in [(0, ""), (0, "hello\n"), (0, "init=systemd\n"), (0, "init=init\novs-a start/run"), (127, ""), (1, "init=init\nend\n"), (9, "")] {
            for check in [&fails, &Config { missing: Missing::Skip, ..fails.clone() }] {
                assert!(of(check, status, said).await.is_err(), "{status} {said}");
            }
        }
        let skips = Config { missing: Missing::Skip, ..config() };
        assert!(well(asked(&skips, "init", "", "").await)["skipped"].is_string());
        assert!(well(asked(&Config { monitor: false, ..skips.clone() }, "init", "", "").await)["skipped"].is_string());
        assert_eq!(wrong(asked(&fails, "init", "", "").await), ["Open vStorage: runs no service at all"]);
        // Skipped is only where there is nothing of it: a unit that has failed is not passed over.
        assert_eq!(wrong(asked(&skips, "init", "ovs-workers stop/waiting\\n", "").await), ["ovs-workers: stop/waiting"]);
    }
    const WELL: &str = "OVS running processes\\n====\\novs-workers start/running\\n\\nOVS non-running processes\\n====\\n";

    #[tokio::test(flavor = "multi_thread")]
    async fn the_monitor_that_never_ends_is_cut_and_both_witnesses_count() {
        let begun = std::time::Instant::now();
        let well = on("init", "ovs-workers start/running, process 7\\n", WELL).await;
        assert!(matches!(well, Ok(Verdict::Healthy(_))), "{well:?}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
        // The monitor says that all is well; the unit that failed stands in none of its blocks.
        let failed = on("systemd", "ovs-workers.service active\\novs-webapp-api.service failed\\n", WELL).await;
        assert_eq!(failed, Ok(Verdict::Unhealthy(vec![Blocker::new("ovs-webapp-api", "failed")])));
        let other = on("init", "ovs-workers start/running, process 7\\n", &format!("{WELL}ovs-arakoon-x stop/waiting\\n")).await;
        assert_eq!(other, Ok(Verdict::Unhealthy(vec![Blocker::new("ovs-arakoon-x", "stop/waiting")])));
        let garbage = on("init", "ovs-workers start/running, process 7\\n", "Welcome\\n").await;
        assert_eq!(garbage.unwrap_err().kind, FaultKind::Invalid);
        let old = on("init", "ovs-workers start/running, process 7\\n", "Error opening terminal: unknown.\\n").await;
        assert!(matches!(old, Ok(Verdict::Healthy(_))), "the init system alone is asked: {old:?}");
        assert_eq!(on("init", "", "").await.unwrap_err().kind, FaultKind::Unable, "no ovs at all");
        assert!(matches!(on("init", "", WELL.replace("ovs-workers start/running", "").as_str()).await, Ok(Verdict::Unhealthy(_))), "nothing runs");
    }

    #[tokio::test]
    async fn what_does_not_run_is_started_the_way_its_init_wants() {
        let (name, net) = (NodeName("cpu-01".into()), NET());
        for (why, command) in
            [("stop/waiting", "initctl start ovs-a"), ("failed", "systemctl --no-block start ovs-a"), ("inactive (dead)", "reset-failed ovs-a")]
        {
            let repair = config().repair(&[Blocker::new("ovs-a", why), Blocker::new("ovs-b", "activating")]).unwrap();
            assert_eq!(repair.what, "start ovs-a");
            let host = Canned::says(0, "", "");
            config().mend(&Probe::of(&name, Some(&host), &net), &repair).await.unwrap();
            assert!(host.lines()[0].contains(command), "{:?}", host.lines());
        }
        assert_eq!(config().repair(&[Blocker::new("ovs-b", "activating")]), None, "it needs time, not a start");
        assert_eq!(Config { repair: false, ..config() }.repair(&[Blocker::new("ovs-a", "failed")]), None);
        let forged = Repair { what: "x".into(), args: json!({ "systemd": ["a;reboot"] }) };
        let host = Canned::says(0, "", "");
        assert_eq!(config().mend(&Probe::of(&name, Some(&host), &net), &forged).await.unwrap_err().kind, FaultKind::Invalid);
        assert!(host.lines().is_empty());
    }
}
