//! Shared by the checks that ask a tool on the host: what it means that the tool is not there is said by the inventory, never by us.
use super::{Probe, Verdict};
use crate::{
    drivers::host::Host,
    model::{Blocker, Command, Fault, FaultKind, Output, Span},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `missing = "fail"` (default) or `"skip"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Not healthy: nothing was learnt.
    #[default]
    Fail,
    /// Passed over, and said so in the evidence.
    Skip,
}

pub enum Asked {
    Said(Output),
    /// There is no such tool, and the inventory says what that means.
    Settled(Verdict),
}

/// Said by our own line, and by nothing else: status 127 alone may be a `sudo` that is not there.
pub const ABSENT: &str = "@@there is no such tool here";

pub fn host<'a>(probe: &Probe<'a>, tool: &str) -> Result<&'a dyn Host, Fault> {
    probe.host.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: {tool} is asked over the host, and the inventory names none", probe.node)))
}

/// One command on the host. As root where the tool needs it.
pub async fn ask(probe: &Probe<'_>, tool: &str, line: &str, root: bool, limit: Span, missing: Missing) -> Result<Asked, Fault> {
    run(probe, tool, &format!("command -v {tool} >/dev/null 2>&1 || absent\n{line}"), root, limit, missing).await
}
/// The line itself says `absent` where there is nothing to ask.
pub async fn run(probe: &Probe<'_>, what: &str, line: &str, root: bool, limit: Span, missing: Missing) -> Result<Asked, Fault> {
    let host = host(probe, what)?;
    let line = format!("PATH=$PATH:/usr/sbin:/sbin; export PATH; absent() {{ echo '{ABSENT}'; exit 127; }}\n{line}");
    let command = if root { Command::as_root(&line, limit) } else { Command { line, limit, stdin: None } };
    let out = host.exec(&command).await?;
    match missing {
        _ if out.dropped > 0 => {
            Err(Fault::new(FaultKind::Invalid, format!("{}: {what} said more than is read: {} bytes were dropped", probe.node, out.dropped)))
        }
        _ if !(out.status == 127 && out.stdout.trim_end().ends_with(ABSENT)) => Ok(Asked::Said(out)),
        Missing::Skip => Ok(Asked::Settled(skipped(what))),
        Missing::Fail => {
            let next = "install it there, or let `where` leave that node out, or, where the check has it, write missing = \"skip\"";
            Err(Fault::new(FaultKind::Unable, format!("{}: there is no {what} on the host", probe.node)).next(next))
        }
    }
}
pub fn skipped(what: &str) -> Verdict {
    Verdict::Healthy(json!({ "skipped": format!("no {what} on the host, and the check says missing = \"skip\"") }))
}

pub fn verdict(wrong: Vec<Blocker>, evidence: Value) -> Verdict {
    if wrong.is_empty() { Verdict::Healthy(evidence) } else { Verdict::Unhealthy(wrong) }
}
/// The first few, and how many there are besides.
pub fn few(mut wrong: Vec<Blocker>, object: &str) -> Vec<Blocker> {
    const NAMED: usize = 8;
    if wrong.len() > NAMED {
        let more = wrong.len() - NAMED;
        wrong.truncate(NAMED);
        wrong.push(Blocker::new(object, format!("and {more} more")));
    }
    wrong
}

/// Arrays, pools: each found one with what is wrong with it, beside those that the inventory wants.
pub fn each(kind: &str, what: &str, wanted: &[String], found: &[(String, Vec<String>)], missing: Missing) -> Verdict {
    // Nothing to look at is nothing learnt, unless the inventory says that it may be so.
    if found.is_empty() && wanted.is_empty() {
        return match missing {
            Missing::Skip => skipped(what),
            Missing::Fail => Verdict::Unhealthy(vec![Blocker::new(kind, format!("there is no {what}"))]),
        };
    }
    let gone = wanted.iter().filter(|w| !found.iter().any(|(name, _)| name == *w)).map(|w| Blocker::new(w.clone(), format!("there is no such {what}")));
    let ill = found.iter().flat_map(|(name, why)| why.iter().map(move |w| Blocker::new(name.clone(), w.clone())));
    let names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
    verdict(gone.chain(ill).collect(), json!({ "found": names }))
}

/// The tool ended otherwise than it does when it answers.
pub fn failed(probe: &Probe<'_>, tool: &str, out: &Output) -> Fault {
    Fault::new(FaultKind::Unable, format!("{}: {tool} ended with status {}", probe.node, out.status)).cause(last_line(if out.stderr.trim().is_empty() {
        &out.stdout
    } else {
        &out.stderr
    }))
}
/// It answered, and not in its own language.
pub fn garbage(probe: &Probe<'_>, tool: &str, text: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("{}: {tool} gave an answer that makes no sense", probe.node)).cause(last_line(text))
}

/// The last line with something on it: where programs say what went wrong.
pub fn last_line(text: &str) -> String {
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("nothing").trim().chars().take(200).collect()
}

/// A path as fstab and `/proc/mounts` write it: blanks, tabs and backslashes as three octal digits.
pub fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")].iter().fold(path.to_owned(), |path, (code, is)| path.replace(code, is))
}

/// For `sh`.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
pub mod test {
    use crate::{
        checks::{Check, Probe, Repair, Verdict},
        drivers::{
            host::{
                Host,
                fake::{self, Canned, Sh},
            },
            net,
        },
        model::{Blocker, Fault, FaultKind, NodeName},
    };

    /// What the line says where the tool is missing.
    pub const GONE: &str = concat!("@@there is no such tool here", "\n");

    pub async fn look(check: &dyn Check, host: Option<&dyn Host>) -> Result<Verdict, Fault> {
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        check.look(&Probe::of(&NodeName("edge-01".into()), host, &net)).await
    }
    /// What a check makes of this answer.
    pub async fn of(check: &dyn Check, status: i32, said: &str) -> Result<Verdict, Fault> {
        look(check, Some(&Canned::says(status, said, ""))).await
    }
    /// A host whose `sh` really runs the line, with these tools in front; whoever runs the tests counts as root.
    pub struct Tools(tempfile::TempDir);
    impl Tools {
        pub fn new(tools: &[(&str, &str)]) -> Tools {
            let dir = tempfile::tempdir().unwrap();
            for (name, script) in tools.iter().chain(&[("id", "echo 0")]) {
                fake::program(&dir.path().join(name), script);
            }
            Tools(dir)
        }
        pub async fn look(&self, check: &dyn Check) -> Result<Verdict, Fault> {
            look(check, Some(&Sh { path: format!("{}:/usr/bin:/bin", self.0.path().display()) })).await
        }
    }
    #[track_caller]
    pub fn wrong(verdict: Result<Verdict, Fault>) -> Vec<String> {
        match verdict {
            Ok(Verdict::Unhealthy(why)) => why.iter().map(Blocker::to_string).collect(),
            other => panic!("not unhealthy: {other:?}"),
        }
    }
    #[track_caller]
    pub fn well(verdict: Result<Verdict, Fault>) -> serde_json::Value {
        match verdict {
            Ok(Verdict::Healthy(evidence)) => evidence,
            other => panic!("not healthy: {other:?}"),
        }
    }
    /// Sends the repair to a host that answers so: the lines that it was given.
    pub async fn mended(check: &dyn Check, repair: &Repair, status: i32, said: &str) -> Result<Vec<String>, Fault> {
        let host = Canned::says(status, said, "");
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        check.mend(&Probe::of(&NodeName("edge-01".into()), Some(&host), &net), repair).await.map(|()| host.lines())
    }
    /// Whoever forgets what must never be healthy: no host, no answer, a missing tool, nonsense.
    pub async fn never_silently_healthy(fails: &dyn Check, skips: Option<&dyn Check>, nonsense: &[(i32, &str)]) {
        assert_eq!(look(fails, None).await.unwrap_err().kind, FaultKind::Unable, "no host");
        let silent = Canned::answers(Err(Fault::new(FaultKind::Unknown, "no answer")));
        assert_eq!(look(fails, Some(&silent)).await.unwrap_err().kind, FaultKind::Unknown, "no answer");
        let missing = of(fails, 127, GONE).await.unwrap_err();
        assert!(missing.kind == FaultKind::Unable && missing.to_string().contains("there is no"), "missing tool: {missing}");
        if let Some(skips) = skips {
            assert!(well(of(skips, 127, GONE).await)["skipped"].as_str().is_some_and(|why| why.contains("missing = \"skip\"")), "skipped and said so");
            assert_eq!(of(skips, 127, "").await.unwrap_err().kind, FaultKind::Unable, "a sudo that is not there is no missing tool");
        }
        for (status, said) in nonsense {
            let fault = of(fails, *status, said).await;
            assert!(matches!(&fault, Err(f) if matches!(f.kind, FaultKind::Invalid | FaultKind::Unable)), "{status} {said:?}: {fault:?}");
        }
    }
}
