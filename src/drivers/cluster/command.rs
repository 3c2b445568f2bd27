//! Cluster `command`: a system that pitstop has no driver for, behind five commands of the operator (docs/command-cluster.md).
//!
//! They are trusted no further than any other system: accepted is not done, what is not said is not known, and empty means looked at.
use super::{Ask, Cluster, ClusterConfig, Reached};
use crate::{
    kinds,
    model::{Act, Connect, Fault, FaultKind, LeaseAnswer, Loan, Member, NodeView, Repeat, SecretRef, Span},
};
use answers::{NodeSaid, Resolved, Status, Workloads};
use async_trait::async_trait;
use program::Programs;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

mod answers;
mod program;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Lists every node of the system. Each is a program with its arguments; the node's name comes after them.
    pub resolve: Vec<String>,
    pub enter: Vec<String>,
    pub status: Vec<String>,
    pub leave: Vec<String>,
    pub workloads: Vec<String>,
    /// Secrets that the commands get in their environment, by these names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, SecretRef>,
    /// For each command; then it is killed with all its children.
    #[serde(default = "one_minute")]
    pub timeout: Span,
}
fn one_minute() -> Span {
    Span::seconds(60)
}

impl Config {
    fn commands(&self) -> [(&'static str, &Vec<String>); 5] {
        [("resolve", &self.resolve), ("enter", &self.enter), ("status", &self.status), ("leave", &self.leave), ("workloads", &self.workloads)]
    }
}

impl kinds::Config<dyn ClusterConfig> for Config {
    const NAME: &'static str = "command";
    const ABOUT: &'static str = "any other system, behind five commands of the operator";
    fn validate(&self) -> Result<(), String> {
        if let Some((name, _)) = self.commands().iter().find(|(_, argv)| argv.first().is_none_or(|program| program.trim().is_empty())) {
            return Err(format!("`{name}` names no program: write [\"PROGRAM\", \"ARGUMENT\", …]"));
        }
        if let Some(name) = self.env.keys().find(|k| k.is_empty() || k.contains(['=', '\0']) || k.starts_with("PITSTOP_")) {
            return Err(format!("`env` cannot set `{name}`"));
        }
        if self.timeout.0.is_zero() { Err("`timeout` must be longer than nothing".into()) } else { Ok(()) }
    }
    fn make(self) -> Box<dyn ClusterConfig> {
        Box::new(self)
    }
}

impl ClusterConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Cluster>, Fault> {
        self.env.values().try_for_each(|from| cx.secret(from).map(drop))?; // a missing secret is said now
        let programs = Programs { cx: cx.clone(), limit: self.timeout.0, env: self.env.clone() };
        Ok(Arc::new(Commands { config: self.clone(), programs }))
    }
}

struct Commands {
    config: Config,
    programs: Programs,
}

/// sysexits.h, where a program says more than "failed".
const UNAVAILABLE: i32 = 69;
const TRY_LATER: i32 = 75;
const NO_PERMISSION: i32 = 77;
const USAGE: [i32; 2] = [64, 78];

impl Commands {
    async fn read<T: DeserializeOwned>(&self, name: &str, argv: &[String], node: Option<&str>) -> Result<T, Fault> {
        let what = format!("`{name}`{} ({})", node.map(|n| format!(" of {n}")).unwrap_or_default(), argv[0]);
        let ended = self.programs.run(argv, node, &[("PITSTOP_ASKS", name)], &what).await?;
        if ended.code != Some(0) {
            return Err(failed(&what, &ended, false));
        }
        answers::parse(&ended.stdout, &what)
    }

    async fn resolve(&self) -> Result<Resolved, Fault> {
        let resolved: Resolved = self.read("resolve", &self.config.resolve, None).await?;
        if resolved.nodes.is_empty() {
            return Err(Fault::new(FaultKind::Invalid, format!("`resolve` ({}) lists no node at all", self.config.resolve[0])));
        }
        Ok(resolved)
    }

    async fn status(&self, said: &NodeSaid) -> Result<Status, Fault> {
        let status: Status = self.read("status", &self.config.status, Some(&said.name)).await?;
        answers::about(said, "status", &status.node, &status.id)?;
        Ok(status)
    }
}

/// What the end of a command proves. A write that died may have happened.
fn failed(what: &str, ended: &program::Ended, write: bool) -> Fault {
    let kind = match ended.code {
        Some(TRY_LATER) => FaultKind::Unwilling,
        Some(UNAVAILABLE) => FaultKind::Unable,
        Some(NO_PERMISSION) => FaultKind::Denied,
        Some(code) if USAGE.contains(&code) => FaultKind::Unable,
        _ if write => FaultKind::Unknown,
        _ => FaultKind::Unwilling,
    };
    let end = ended.code.map_or("ended by a signal".into(), |code| format!("exit {code}"));
    let fault = Fault::new(kind, what).cause(end);
    if ended.complaint.is_empty() { fault } else { fault.cause(&ended.complaint) }
}

#[async_trait]
impl Cluster for Commands {
    async fn probe(&self) -> Result<Reached, Fault> {
        let nodes = self.resolve().await?.nodes.len();
        let what = format!("{nodes} nodes by {}", self.config.resolve[0]);
        let warnings = vec!["commands of your own: what they may do is not known before they do it".into()];
        Ok(Reached { what, lease: false, missing_rights: Vec::new(), warnings })
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        Ok(self.resolve().await?.nodes.iter().map(answers::member).collect())
    }

    async fn look(&self, node: &str, _: &Ask) -> Result<NodeView, Fault> {
        let resolved = self.resolve().await?;
        let said = answers::find(&resolved, node)?;
        // The state first: if the node took nothing new before its workloads were listed, none has come since.
        let status = self.status(said).await?;
        let here: Workloads = self.read("workloads", &self.config.workloads, Some(node)).await?;
        answers::about(said, "workloads", &here.node, &here.id)?;
        Ok(answers::view(said, &status, &here))
    }

    async fn act(&self, node: &str, act: &Act, ask: &Ask) -> Result<(), Fault> {
        let (name, argv) = match act.args["do"].as_str() {
            Some("enter") => ("enter", &self.config.enter),
            Some("leave") => ("leave", &self.config.leave),
            _ => return Err(Fault::new(FaultKind::Invalid, format!("no command for `{}`", act.what))),
        };
        let what = format!("{} ({})", act.what, argv[0]);
        let run = ask.run.as_ref().map(|r| r.0.clone()).unwrap_or_default();
        let more = [("PITSTOP_ASKS", name), ("PITSTOP_RUN", run.as_str()), ("PITSTOP_REASON", ask.reason.as_deref().unwrap_or_default())];
        let ended = self.programs.run(argv, Some(node), &more, &what).await?;
        if ended.code == Some(0) { Ok(()) } else { Err(failed(&what, &ended, true)) }
    }

    fn give_back(&self, _: &str, loan: &Loan) -> Act {
        // The contract says that leaving twice is leaving once.
        let mut act = Act::new("cluster", loan.owed.clone(), Repeat::Freely);
        act.args = json!({ "do": "leave" });
        act
    }

    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        let resolved = self.resolve().await?;
        let said = answers::find(&resolved, node)?;
        if loan.before["id"] != said.id.as_str() {
            let what = format!("{node} is another node now (id {}, not {}): who gave it that name?", said.id, loan.before["id"]);
            return Err(Fault::new(FaultKind::Invalid, what));
        }
        Ok(self.status(said).await?.state == "in-service")
    }

    async fn lease(&self, _: &str, _: Duration) -> Result<LeaseAnswer, Fault> {
        Ok(LeaseAnswer::Unsupported)
    }
    async fn lease_holder(&self) -> Result<LeaseAnswer, Fault> {
        Ok(LeaseAnswer::Unsupported)
    }
    async fn drop_lease(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }
}
