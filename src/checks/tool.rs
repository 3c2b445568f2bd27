//! Shared by the checks that ask a tool on the host: what it means that the tool is not there is said by the inventory, never by us.
use super::{Probe, Verdict};
use crate::model::{Command, Fault, FaultKind, Output, Span};
use serde::{Deserialize, Serialize};
use serde_json::json;

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

/// One command on the host. Status 127 means that its tool is not there. As root where the tool needs it.
pub async fn ask(probe: &Probe<'_>, tool: &str, line: &str, root: bool, limit: Span, missing: Missing) -> Result<Asked, Fault> {
    let node = probe.node;
    let host = probe.host.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{node}: {tool} is asked over the host, and the inventory names none")))?;
    let line = format!("command -v {tool} >/dev/null 2>&1 || [ -x /usr/sbin/{tool} ] || exit 127\nPATH=$PATH:/usr/sbin:/sbin\n{line}");
    let command = if root { Command::as_root(&line, limit) } else { Command { line, limit, stdin: None } };
    let out = host.exec(&command).await?;
    match (out.status, missing) {
        (127, Missing::Skip) => Ok(Asked::Settled(skipped(tool))),
        (127, Missing::Fail) => {
            let next = format!("install {tool} there, or write missing = \"skip\" in the check");
            Err(Fault::new(FaultKind::Unable, format!("{node}: there is no {tool} on the host")).next(next))
        }
        _ if out.dropped > 0 => Err(Fault::new(FaultKind::Invalid, format!("{node}: {tool} said more than is read: {} bytes were dropped", out.dropped))),
        _ => Ok(Asked::Said(out)),
    }
}

pub fn skipped(tool: &str) -> Verdict {
    Verdict::Healthy(json!({ "skipped": format!("no {tool} on the host, and the check says missing = \"skip\"") }))
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

/// For `sh`.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
pub mod test {
    use crate::{
        checks::{Check, Probe, Verdict},
        drivers::{
            host::{Host, fake::Canned},
            net,
        },
        model::{Blocker, Fault, FaultKind, NodeName},
    };

    pub async fn look(check: &dyn Check, host: Option<&dyn Host>) -> Result<Verdict, Fault> {
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        check.look(&Probe::of(&NodeName("edge-01".into()), host, &net)).await
    }
    /// What a check makes of this answer.
    pub async fn of(check: &dyn Check, status: i32, said: &str) -> Result<Verdict, Fault> {
        look(check, Some(&Canned::says(status, said, ""))).await
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
    /// Whoever forgets what must never be healthy: no host, no answer, a missing tool, nonsense.
    pub async fn never_silently_healthy(fails: &dyn Check, skips: Option<&dyn Check>, nonsense: &[(i32, &str)]) {
        assert_eq!(look(fails, None).await.unwrap_err().kind, FaultKind::Unable, "no host");
        let silent = Canned::answers(Err(Fault::new(FaultKind::Unknown, "no answer")));
        assert_eq!(look(fails, Some(&silent)).await.unwrap_err().kind, FaultKind::Unknown, "no answer");
        let missing = of(fails, 127, "").await.unwrap_err();
        assert_eq!(missing.kind, FaultKind::Unable, "missing tool");
        if let Some(skips) = skips {
            assert!(well(of(skips, 127, "").await)["skipped"].as_str().is_some_and(|why| why.contains("missing = \"skip\"")), "skipped and said so");
        }
        for (status, said) in nonsense {
            let fault = of(fails, *status, said).await;
            assert!(matches!(&fault, Err(f) if matches!(f.kind, FaultKind::Invalid | FaultKind::Unable)), "{status} {said:?}: {fault:?}");
        }
    }
}
