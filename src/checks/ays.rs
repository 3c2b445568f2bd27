//! Check `ays`: every service that JumpScale's `ays status` lists is RUNNING. Judged by its rows: its exit status means nothing before 2018.
use super::{
    Check, Probe, Repair, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Command, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is HALTED is started, once per boot.
    #[serde(default = "yes")]
    pub repair: bool,
    /// A host without `ays` (containers took its place in 2.4): `"fail"`, or `"skip"`.
    #[serde(default)]
    pub missing: Missing,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(60)
}
fn yes() -> bool {
    true
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "ays";
    const ABOUT: &'static str = "every service of JumpScale's `ays status` is RUNNING";
    fn validate(&self) -> Result<(), String> {
        if self.limit.0.is_zero() { Err("`limit` must be longer than nothing".into()) } else { Ok(()) }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    pub instance: String,
    pub running: bool,
}

/// `DOMAIN NAME Instance Prio Status Ports`, a rule, rows. Long instances shift the columns: five words, then ports.
pub fn rows(text: &str) -> Result<Vec<Row>, String> {
    let plain = plain(text)?;
    if !plain.is_empty() && !plain.ends_with('\n') {
        return Err("it broke off in the middle of a line".into());
    }
    let mut lines = plain.lines().map(str::trim).filter(|l| !l.is_empty());
    let heading = lines.by_ref().find(|l| l.to_ascii_uppercase().split_whitespace().eq(["DOMAIN", "NAME", "INSTANCE", "PRIO", "STATUS", "PORTS"]));
    heading.ok_or("its heading is missing")?;
    let mut ruled = false;
    let mut rows = Vec::new();
    for line in lines {
        if line.chars().all(|c| c == '=') {
            ruled = true;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, name, instance, prio, status, ..] = words.as_slice() else { return Err(format!("`{}` is no row of a service", shown(line))) };
        let running = match *status {
            "RUNNING" => true,
            "HALTED" => false,
            _ => return Err(format!("`{}` has no status that is known", shown(line))),
        };
        if prio.parse::<i64>().is_err() || !ruled {
            return Err(format!("`{}` is no row of a service", shown(line)));
        }
        rows.push(Row { name: (*name).into(), instance: (*instance).into(), running });
    }
    if ruled { Ok(rows) } else { Err("it broke off after its heading".into()) }
}

/// Without colours; anything else that a terminal would have to draw is not read.
fn plain(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut parts = text.split('\u{1b}');
    out.extend(parts.next());
    for part in parts {
        let body = part.strip_prefix('[').ok_or("it is drawn for a terminal")?;
        let end = body.find(|c: char| !(c.is_ascii_digit() || c == ';')).ok_or("it broke off in an escape sequence")?;
        out.push_str(body[end..].strip_prefix('m').ok_or("it is drawn for a terminal")?);
    }
    Ok(out.replace('\r', ""))
}
fn shown(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(80).collect()
}
/// Names reach the host's shell.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 100 && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        "ays: every service of JumpScale runs".into()
    }

    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let out = match tool::ask(probe, "ays", "LC_ALL=C ays status </dev/null", true, self.limit, self.missing).await? {
            Asked::Said(out) if matches!(out.status, 0 | 1) => out,
            Asked::Said(out) => return Err(tool::failed(probe, "`ays status`", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        let rows = rows(&out.stdout).map_err(|why| Fault::new(FaultKind::Invalid, format!("{}: `ays status` cannot be read", probe.node)).cause(why))?;
        if rows.is_empty() {
            return Ok(Verdict::Unhealthy(vec![Blocker::new("ays", "lists no service at all")]));
        }
        let wrong: Vec<Blocker> = rows.iter().filter(|r| !r.running).map(|r| Blocker::new(format!("{} {}", r.name, r.instance), "HALTED")).collect();
        Ok(tool::verdict(wrong, json!({ "running": rows.len() })))
    }

    fn repair(&self, wrong: &[Blocker]) -> Option<Repair> {
        let halted = wrong.iter().filter(|b| b.why == "HALTED").filter_map(|b| b.object.split_once(' ')).filter(|(n, i)| is_name(n) && is_name(i));
        let halted: Vec<(&str, &str)> = halted.collect();
        let names: Vec<String> = halted.iter().map(|(name, instance)| format!("{name} {instance}")).collect();
        (self.repair && !halted.is_empty()).then(|| Repair { what: format!("start {}", names.join(", ")), args: json!({ "services": halted }) })
    }

    async fn mend(&self, probe: &Probe<'_>, repair: &Repair) -> Result<(), Fault> {
        let host = tool::host(probe, "ays")?;
        let services: Vec<(String, String)> = serde_json::from_value(repair.args["services"].clone()).unwrap_or_default();
        if services.is_empty() || !services.iter().all(|(n, i)| is_name(n) && is_name(i)) {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: `{}` names no service", probe.node, repair.what)));
        }
        let starts: Vec<String> = services.iter().map(|(n, i)| format!("ays start -n {n} -i {i} </dev/null >/dev/null 2>&1")).collect();
        // Its exit status means nothing before 2018: the next look tells.
        let line = format!("command -v ays >/dev/null || exit 127; {}; true", starts.join("; "));
        let out = host.exec(&Command::as_root(&line, self.limit)).await?;
        match out.status {
            0 => Ok(()),
            status => Err(Fault::new(FaultKind::Unable, format!("{}: `{}` ended with status {status}", probe.node, repair.what)).cause(shown(&out.stderr))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use proptest::prelude::*;

    const HEAD: &str =
        "DOMAIN          NAME                 Instance   Prio Status   Ports\n======================================================================\n\n";
    const WELL: &str = "jumpscale       redis                system        1 RUNNING  9999\njumpscale       agentcontroller2_client main     100 RUNNING  \n";
    const ILL: &str = "jumpscale       jsagent              main        100 HALTED   4446, 4447\n";

    fn halted(text: &str) -> Result<Vec<String>, String> {
        rows(text).map(|rows| rows.into_iter().filter(|r| !r.running).map(|r| format!("{} {}", r.name, r.instance)).collect())
    }

    #[test]
    fn a_table_of_samples() {
        let coloured = format!("{HEAD}{}", ILL.replace("HALTED", "\u{1b}[31mHALTED\u{1b}[0m"));
        let long = format!("{HEAD}openvcloud      vncproxy             a_very_long_instance_name 100 HALTED 8001\n");
        for (text, names) in [
            (format!("{HEAD}{WELL}"), vec![]),
            (format!("{HEAD}{WELL}{ILL}"), vec!["jsagent main"]),
            (coloured, vec!["jsagent main"]),
            (long, vec!["vncproxy a_very_long_instance_name"]),
            (format!("loading…\n{HEAD}{WELL}").replace('\n', "\r\n"), vec![]),
        ] {
            assert_eq!(halted(&text), Ok(names.iter().map(|s| s.to_string()).collect()), "{text}");
        }
        assert_eq!(rows(HEAD).unwrap(), [], "no rows, which the check calls not healthy");
        for bad in [
            "",
            "hello\n",
            WELL,
            &HEAD[..60],
            &format!("{HEAD}{}", &WELL[..50]),
            &format!("{HEAD}{}", &WELL[..WELL.len() - 2]),
            &format!("{HEAD}jumpscale redis system one RUNNING\n"),
            &format!("{HEAD}jumpscale redis system 1 FINE\n"),
            &format!("{HEAD}\u{1b}[2J{WELL}"),
            &format!("{HEAD}Traceback (most recent call last):\n"),
            "\u{1b}",
        ] {
            assert!(rows(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_text_makes_it_panic_and_a_row_that_halted_is_never_lost(noise in "(\\PC|\n|\u{1b}\\[31m|RUNNING|HALTED|=){0,60}", at in 0..400usize) {
            rows(&noise).ok();
            let whole = format!("{HEAD}{WELL}{ILL}");
            let cut: String = whole.chars().take(at).collect();
            if let Ok(seen) = rows(&cut) && cut.contains("HALTED") {
                prop_assert!(seen.iter().any(|r| !r.running));
            }
            if let Ok(seen) = rows(&format!("{whole}{noise}\n")) {
                prop_assert!(seen.iter().any(|r| r.name == "jsagent" && !r.running));
            }
        }
    }

    fn config() -> Config {
        Config { repair: true, missing: Missing::Fail, limit: limit() }
    }

    #[tokio::test]
    async fn rows_decide_and_not_the_exit_status() {
        for status in [0, 1] {
            assert_eq!(wrong(of(&config(), status, &format!("{HEAD}{WELL}{ILL}")).await), ["jsagent main: HALTED"]);
            assert_eq!(well(of(&config(), status, &format!("{HEAD}{WELL}")).await)["running"], 2);
        }
        assert_eq!(wrong(of(&config(), 0, HEAD).await), ["ays: lists no service at all"]);
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let skips = Config { missing: Missing::Skip, ..config() };
        never_silently_healthy(&config(), Some(&skips), &[(0, ""), (0, "hello\n"), (0, WELL), (1, "Traceback (most recent call last):\n"), (2, HEAD)]).await;
    }
    #[tokio::test]
    async fn the_line_that_is_sent() {
        let ays = format!("[ \"$1\" = status ] && printf '{}'", format!("{HEAD}{WELL}{ILL}").replace('\n', "\\n"));
        assert_eq!(wrong(Tools::new(&[("ays", &ays)]).look(&config()).await), ["jsagent main: HALTED"]);
        assert!(Tools::new(&[]).look(&config()).await.unwrap_err().to_string().contains("there is no ays on the host"));
    }

    #[tokio::test]
    async fn what_halted_is_started_by_name() {
        let repair = config().repair(&[Blocker::new("jsagent main", "HALTED"), Blocker::new("x; reboot", "HALTED")]).unwrap();
        assert_eq!(repair.what, "start jsagent main");
        assert_eq!(Config { repair: false, ..config() }.repair(&[Blocker::new("jsagent main", "HALTED")]), None);
        assert!(mended(&config(), &repair, 0, "").await.unwrap()[0].contains("ays start -n jsagent -i main "));
        assert_eq!(mended(&config(), &repair, 127, "").await.unwrap_err().kind, FaultKind::Unable);
        let forged = Repair { what: "x".into(), args: json!({ "services": [["a;reboot", "main"]] }) };
        assert_eq!(mended(&config(), &forged, 0, "").await.unwrap_err().kind, FaultKind::Invalid);
    }
}
