//! Check `libvirt`: the domains named run on this host.
use super::{
    Check, Probe, Repair, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Command, Fault, FaultKind, Past, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Domains that must run.
    pub running: Vec<String>,
    /// One that this run stopped is started again, once per boot. No other: where a domain has moved away, its definition here is stale, and started
    /// twice it writes one disk from two hosts.
    #[serde(default = "yes")]
    pub repair: bool,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(30)
}
fn yes() -> bool {
    true
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "libvirt";
    const ABOUT: &'static str = "libvirt domains run on the host";
    fn validate(&self) -> Result<(), String> {
        match self.running.iter().find(|d| !is_domain(d)) {
            Some(bad) => Err(format!("`{bad}` is not the name of a domain")),
            None if self.running.is_empty() => Err("nothing to check: name domains in `running`".into()),
            None if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

/// Names reach the host's shell.
fn is_domain(name: &str) -> bool {
    !name.is_empty() && name.len() < 100 && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// `virsh list --all`: a heading, a rule, then id (or `-`), name, state, which may be of several words.
fn domains(text: &str) -> Result<Vec<(String, String)>, String> {
    if !text.ends_with('\n') {
        return Err("it broke off in the middle of a line".into());
    }
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    if !lines.next().is_some_and(|l| l.split_whitespace().eq(["Id", "Name", "State"])) {
        return Err("its heading is missing".into());
    }
    if !lines.next().is_some_and(|l| l.chars().all(|c| c == '-')) {
        return Err("it broke off after its heading".into());
    }
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, name, state @ ..] = words.as_slice() else { return None };
        let state = state.join(" ");
        let known =
            ["running", "idle", "paused", "in shutdown", "shut off", "crashed", "dying", "pmsuspended", "no state", "blocked"].contains(&state.as_str());
        (known && (*id == "-" || id.parse::<u64>().is_ok())).then(|| ((*name).to_owned(), state))
    };
    lines.map(|l| row(l).ok_or_else(|| format!("`{}` is no row of a domain", l.chars().take(80).collect::<String>()))).collect()
}

/// A loan names what was stopped: open, or just given back.
fn stopped_by_us(past: Option<&Past>, domain: &str) -> bool {
    past.is_some_and(|past| past.loans.iter().chain(&past.returned).any(|loan| loan.before["domain"] == domain))
}
const OURS: &str = "shut off, and this run stopped it";

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("libvirt: {}", self.running.join(", "))
    }

    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let line = "LC_ALL=C virsh -c qemu:///system list --all </dev/null";
        let out = match tool::ask(probe, "virsh", line, true, self.limit, Missing::Fail).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "virsh", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        let seen = domains(&out.stdout).map_err(|why| Fault::new(FaultKind::Invalid, format!("{}: `virsh list` cannot be read", probe.node)).cause(why))?;
        let wrong: Vec<Blocker> = (self.running.iter())
            .filter_map(|name| match seen.iter().find(|(n, _)| n == name).map(|(_, state)| state.as_str()) {
                Some("running" | "idle" | "blocked") => None,
                Some("shut off") if stopped_by_us(probe.past, name) => Some(Blocker::new(name, OURS)),
                Some(state) => Some(Blocker::new(name, state)),
                None => Some(Blocker::new(name, "is not defined on this host")),
            })
            .collect();
        Ok(tool::verdict(wrong, json!({ "running": self.running })))
    }

    fn repair(&self, wrong: &[Blocker]) -> Option<Repair> {
        let ours: Vec<&str> = wrong.iter().filter(|b| b.why == OURS && is_domain(&b.object)).map(|b| b.object.as_str()).collect();
        (self.repair && !ours.is_empty()).then(|| Repair { what: format!("start {}", ours.join(", ")), args: json!({ "domains": ours }) })
    }

    async fn mend(&self, probe: &Probe<'_>, repair: &Repair) -> Result<(), Fault> {
        let host = tool::host(probe, "libvirt")?;
        let domains: Vec<String> = serde_json::from_value(repair.args["domains"].clone()).unwrap_or_default();
        if domains.is_empty() || !domains.iter().all(|d| is_domain(d)) {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: `{}` names no domain", probe.node, repair.what)));
        }
        let line: String = domains.iter().map(|d| format!("virsh -c qemu:///system start {d} </dev/null || exit 1; ")).collect();
        let out = host.exec(&Command::as_root(&format!("{line}true"), self.limit)).await?;
        match out.status {
            0 => Ok(()),
            status => Err(Fault::new(FaultKind::Unable, format!("{}: `{}` ended with status {status}", probe.node, repair.what)).cause(out.stderr.trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::{
        drivers::{host::fake::Canned, net},
        model::{Loan, LoanId, NodeName},
    };

    const LIST: &str = " Id   Name            State\n--------------------------------\n 1    vm-7            running\n -    routeros_00c8   shut off\n\n";

    #[test]
    fn a_table_of_samples() {
        let seen = domains(LIST).unwrap();
        assert_eq!(seen, [("vm-7".to_owned(), "running".to_owned()), ("routeros_00c8".to_owned(), "shut off".to_owned())]);
        assert_eq!(domains(" Id    Name                           State\n----------------------------------------------------\n\n").unwrap(), []);
        for bad in ["", "hello\n", " Id Name State\n", &LIST[..80], &LIST[..LIST.len() - 6], &LIST.replace("shut off", "shut up"), "error: failed to connect\n"]
        {
            assert!(domains(bad).is_err(), "{bad:?}");
        }
    }

    fn config(running: &[&str]) -> Config {
        Config { running: running.iter().map(|d| d.to_string()).collect(), repair: true, limit: limit() }
    }
    #[tokio::test]
    async fn domains_that_run_are_healthy_and_the_others_named() {
        well(of(&config(&["vm-7"]), 0, LIST).await);
        assert_eq!(wrong(of(&config(&["vm-7", "routeros_00c8", "gone"]), 0, LIST).await), ["routeros_00c8: shut off", "gone: is not defined on this host"]);
        for state in ["paused", "crashed", "pmsuspended", "in shutdown", "no state"] {
            assert_eq!(wrong(of(&config(&["vm-7"]), 0, &LIST.replace("running", state)).await), [format!("vm-7: {state}")]);
        }
        // libvirt 1.3 (Ubuntu 16.04) pads its columns to a width of its own.
        let old = " Id    Name                           State\n----------------------------------------------------\n 2     vm-7                           running\n\n";
        well(of(&config(&["vm-7"]), 0, old).await);
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let down =
            "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory\n";
        never_silently_healthy(&config(&["vm-7"]), None, &[(0, ""), (0, "hello\n"), (0, &LIST[..80]), (1, down)]).await;
    }

    #[tokio::test]
    async fn only_what_this_run_stopped_is_started() {
        let config = config(&["vm-7", "routeros_00c8", "gone"]);
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        let (name, host) = (NodeName("cpu-01".into()), Canned::says(0, LIST, ""));
        let loan = Loan { id: LoanId("x".into()), to: "cpu".into(), owed: "start".into(), before: json!({ "domain": "routeros_00c8" }), first: false };
        let ours = Past { returned: vec![loan], ..Past::default() };
        for (past, why, repairs) in [(None, "shut off", false), (Some(&ours), OURS, true)] {
            let probe = Probe { past, ..Probe::of(&name, Some(&host), &net) };
            let wrong = vec![Blocker::new("routeros_00c8", why), Blocker::new("gone", "is not defined on this host")];
            assert_eq!(config.look(&probe).await, Ok(Verdict::Unhealthy(wrong.clone())));
            let repair = config.repair(&wrong);
            assert_eq!(repair.is_some(), repairs);
            if let Some(repair) = repair {
                config.mend(&probe, &repair).await.unwrap();
                assert!(host.lines().last().unwrap().contains("start routeros_00c8 ") && !host.lines().last().unwrap().contains("gone"));
                assert_eq!(mended(&config, &repair, 1, "error: Requested operation is not valid\n").await.unwrap_err().kind, FaultKind::Unable);
            }
        }
        let forged = Repair { what: "x".into(), args: json!({ "domains": ["a;reboot"] }) };
        assert_eq!(mended(&config, &forged, 0, "").await.unwrap_err().kind, FaultKind::Invalid);
    }
}
