//! Runs a command or script on the host, once or as often as it takes, and holds what it said as evidence.
use super::{Cx, Next, Step};
use crate::{
    kinds,
    model::{Act, Answer, Command, Fault, FaultKind, Output, Past, Repeat, Span, Timestamp},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// The receiver of a command in the journal.
pub const HOST: &str = "host";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A line, or a whole script in `'''`, for the host's `sh`. `{node}` is not filled in: every node runs the same; `PITSTOP_NODE` says which it is.
    pub run: String,
    /// As environment variables. No secrets: they stand in plan and journal.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// As root, by `sudo -n` where the login is another user.
    #[serde(default)]
    pub root: bool,
    /// As this user, by `sudo -n -u`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ended there, on the host too.
    #[serde(default = "limit")]
    pub limit: Span,
    /// Exit statuses that mean success.
    #[serde(default = "zero")]
    pub expect: Vec<i32>,
    /// After an answer that never came.
    #[serde(default)]
    pub repeat: Again,
}
fn limit() -> Span {
    Span::minutes(10)
}
fn zero() -> Vec<i32> {
    vec![0]
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    /// A person looks whether it ran.
    #[default]
    Once,
    /// Running it twice is the same as once.
    Freely,
}

impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "runs a command or script on the host";
    fn validate(&self) -> Result<(), String> {
        let name = |n: &str| !n.is_empty() && !n.starts_with(|c: char| c.is_ascii_digit()) && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match () {
            _ if self.run.trim().is_empty() => Err("`run` is empty".into()),
            _ if self.run.len() > 60_000 => Err("`run` is longer than 60000 bytes: put the script on the host and call it".into()),
            _ if self.env.keys().any(|k| !name(k)) => Err("a name in `env` is none of an environment variable".into()),
            _ if self.root && self.user.is_some() => Err("`root` and `user` exclude each other".into()),
            _ if self.user.as_ref().is_some_and(|u| !name(&u.replace(['-', '.'], "_")) || u.starts_with('-')) => Err("`user` is no user name".into()),
            _ if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            _ if self.expect.is_empty() || self.expect.iter().any(|s| !(0..=255).contains(s)) => Err("`expect` holds exit statuses, 0 to 255".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Step> {
        Box::new(Exec { config: self, said: Mutex::default() })
    }
}

struct Exec {
    config: Config,
    /// What it said, from the act to the look after it. Lost with the process; the answer in the journal is not.
    said: Mutex<Option<Value>>,
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
/// The end of a long output: where programs say how it went.
fn tail(text: &str) -> String {
    let from = text.len().saturating_sub(4000);
    let from = (from..text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
    text[from..].to_owned()
}

impl Config {
    /// Its first line, for people.
    fn short(&self) -> String {
        let first = self.run.lines().find(|l| !l.trim().is_empty()).unwrap_or_default().trim();
        let short: String = first.chars().take(60).collect();
        let more = if short.len() < self.run.trim().len() { " …" } else { "" };
        format!("`{short}{more}`")
    }
    fn act(&self) -> Act {
        let repeat = if self.repeat == Again::Freely { Repeat::Freely } else { Repeat::Never };
        Act::new(HOST, format!("run {}", self.short()), repeat)
    }
    fn command(&self, node: &str) -> Command {
        let env: String = self.env.iter().map(|(k, v)| format!("{k}={}; export {k}\n", quoted(v))).collect();
        let script = format!("PITSTOP_NODE={}; export PITSTOP_NODE\n{env}{}", quoted(node), self.run);
        match &self.user {
            None if self.root => Command::as_root(&script, self.limit),
            None => Command { line: script, limit: self.limit, stdin: None },
            Some(user) => {
                let seconds = self.limit.0.as_secs().max(1);
                let line = format!(
                    "if [ \"$(id -un)\" = {user} ]; then exec sh -c {0}; else exec sudo -n -u {user} timeout -k 5 {seconds} sh -c {0}; fi",
                    quoted(&script)
                );
                Command { line, limit: self.limit, stdin: None }
            }
        }
    }
    fn judge(&self, out: &Output) -> Result<Value, Fault> {
        let said = json!({ "status": out.status, "stdout": tail(&out.stdout), "stderr": tail(&out.stderr), "dropped": out.dropped });
        if self.expect.contains(&out.status) {
            return Ok(said);
        }
        let words = if out.stderr.trim().is_empty() { &out.stdout } else { &out.stderr };
        let last: Vec<String> = tail(words).lines().rev().filter(|l| !l.trim().is_empty()).take(3).map(str::to_owned).collect();
        // It ran, and says that it failed: an answer, not a doubt.
        Err(Fault { causes: last.into_iter().rev().collect(), ..Fault::new(FaultKind::Unable, format!("{} ended with status {}", self.short(), out.status)) })
    }
}

#[async_trait]
impl Step for Exec {
    async fn look(&self, cx: &Cx, past: &Past, _: Timestamp) -> Result<Next, Fault> {
        let act = self.config.act();
        // Of this step, and since a person last decided.
        let since = past.step_since.max(past.released_at);
        let last = past.acts.iter().rev().find(|d| d.act.same(&act) && since.is_none_or(|s| d.at >= s));
        let before = past.acts.iter().any(|d| d.act.same(&act) && past.released_at.is_some_and(|r| d.at <= r));
        Ok(match last.map(|d| &d.answer) {
            // A person looked, and says that it has done what it was to do.
            None if before && past.accepted.iter().any(|a| a == "exec") => Next::Done(json!({ "said": "a person takes it for done" })),
            None => Next::Act(vec![(act, Value::Null)]),
            Some(Some(Answer::Accepted)) => {
                let said = self.said.lock().expect("BUG: poisoned").take();
                Next::Done(said.unwrap_or_else(|| json!({ "said": "not kept: pitstop was ended in between" })))
            }
            Some(Some(Answer::Failed(fault))) if fault.kind == FaultKind::Unreachable => Next::Act(vec![(act, Value::Null)]),
            Some(Some(Answer::Failed(fault))) => Next::Hold(fault.clone().next(format!("look at {}, then pitstop release {} retry", cx.node, cx.node))),
            Some(None | Some(Answer::Unknown(_))) if self.config.repeat == Again::Freely => Next::Act(vec![(act, Value::Null)]),
            Some(answer) => {
                let why = answer
                    .as_ref()
                    .map_or_else(|| "pitstop was ended while it ran".to_owned(), |a| if let Answer::Unknown(f) = a { f.to_string() } else { String::new() });
                let fault = Fault::new(FaultKind::Unknown, format!("whether {} has run on {} is not known", self.config.short(), cx.node)).cause(why);
                Next::Hold(
                    fault.next(format!(
                        "look there; to run it again: pitstop release {0} retry; if it has run: pitstop release {0} retry --accept exec",
                        cx.node
                    )),
                )
            }
        })
    }
    async fn act(&self, cx: &Cx, _: &Act) -> Result<(), Fault> {
        let host =
            cx.host.as_ref().ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: commands run on the host, and the inventory names none", cx.node)))?;
        let (listener, node) = (cx.listener.clone(), cx.node.clone());
        let hear = Arc::new(move |line: &str| listener.line(&node, "exec", line));
        let masked = |f: Fault| Fault { causes: f.causes.iter().map(|cause| cx.listener.masked(cause)).collect(), ..f };
        let out = host.exec_heard(&self.config.command(&cx.node.0), hear).await;
        cx.listener.over(&cx.node);
        let out = out.map_err(masked)?;
        // The journal is read by more people than the host's terminal.
        let out = Output { stdout: cx.listener.masked(&out.stdout), stderr: cx.listener.masked(&out.stderr), ..out };
        *self.said.lock().expect("BUG: poisoned") = Some(self.config.judge(&out)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drivers::host::{Host, fake},
        kinds::Config as _,
    };

    fn config(run: &str) -> Config {
        Config { run: run.into(), env: BTreeMap::new(), root: false, user: None, limit: limit(), expect: zero(), repeat: Again::Once }
    }

    #[tokio::test]
    async fn environment_statuses_and_what_was_said() {
        let sh = fake::Sh { path: "/usr/bin:/bin".into() };
        let env = BTreeMap::from([("WHAT".to_owned(), "it's; $(x)".to_owned())]);
        let says = Config { env, expect: vec![0, 3], ..config("printf '%s %s' \"$PITSTOP_NODE\" \"$WHAT\"\nexit 3") };
        let out = sh.exec(&says.command("edge-01")).await.unwrap();
        let said = says.judge(&out).unwrap();
        assert_eq!((said["status"].as_i64(), said["stdout"].as_str()), (Some(3), Some("edge-01 it's; $(x)")));
        let fails = config("echo one >&2; echo no space left >&2; exit 1");
        let fault = fails.judge(&sh.exec(&fails.command("edge-01")).await.unwrap()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unable);
        assert!(fault.to_string().contains("ended with status 1") && fault.causes.last().unwrap() == "no space left", "{fault}");
        assert!(tail(&"ä".repeat(5000)).len() <= 4000);
    }

    #[test]
    fn other_users_without_a_terminal() {
        let root = Config { root: true, ..config("id") }.command("n").line;
        assert!(root.contains("exec sudo -n timeout -k 5 600 sh -c"), "{root}");
        let other = Config { user: Some("backup".into()), ..config("id") }.command("n").line;
        assert!(other.contains("exec sudo -n -u backup timeout -k 5 600 sh -c"), "{other}");
    }

    #[test]
    fn senseless_settings_are_refused() {
        let user = |u: &str| Config { user: Some(u.into()), ..config("x") };
        let env = |k: &str| Config { env: BTreeMap::from([(k.to_owned(), String::new())]), ..config("x") };
        for bad in [
            config(" "),
            user("a b"),
            user("-u"),
            user("$(x)"),
            env("A-B"),
            env("1A"),
            env("A;x"),
            Config { expect: vec![], ..config("x") },
            Config { expect: vec![256], ..config("x") },
            Config { root: true, ..user("x") },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
        assert!(user("www-data").validate().is_ok());
    }
}
