//! Cluster `vergeos`: nodes of a VergeOS system, over its REST API (v4).
//!
//! A node is emptied by its maintenance mode, which live-migrates what runs there. Neither the accepted request nor the mode's flag proves that
//! anything has moved: `view` counts what the tables of machines and of VMs still place on the node.
use super::{
    Ask, Cluster, ClusterConfig, Reached,
    https::{self, Tls},
};
use crate::{
    kinds,
    model::{Act, Connect, DataStore, Fault, FaultKind, LeaseAnswer, Loan, Member, NodeView, Repeat, SecretRef, Span},
};
use async_trait::async_trait;
use budget::Budget;
use rest::{Auth, Failure, Rest};
use rows::{Key, LINE, Line, MACHINE, Machine, NODE, Node, TIER, Tier, VM, Vm};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use view::Seen;

mod budget;
mod rest;
mod rows;
mod tiers;
mod view;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `https://vault.example`: where the system's own UI answers.
    pub url: String,
    /// Of a user that may list, read and modify nodes. Either this, or `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// `"system"`, `{ ca_file = "…" }`, `{ sha256 = "…" }` or `"insecure"`.
    #[serde(default)]
    pub tls: Tls,
    /// For one request.
    #[serde(default = "request_timeout")]
    pub request_timeout: Span,
    /// What one account may ask within an hour. Looks become rarer as it is used up.
    #[serde(default = "requests_per_hour")]
    pub requests_per_hour: u32,
}
fn requests_per_hour() -> u32 {
    1000
}
fn request_timeout() -> Span {
    Span::seconds(30)
}

impl Config {
    fn auth(&self) -> Result<Auth, String> {
        match (&self.api_key, &self.username, &self.password) {
            (Some(key), None, None) => Ok(Auth::ApiKey(key.clone())),
            (None, Some(username), Some(password)) => Ok(Auth::Basic { username: username.clone(), password: password.clone() }),
            (None, None, None) => Err("no credential: give `api_key`, or `username` and `password`".into()),
            (None, ..) => Err("`username` and `password` belong together".into()),
            (Some(_), ..) => Err("either `api_key`, or `username` and `password`".into()),
        }
    }
}

impl kinds::Config<dyn ClusterConfig> for Config {
    const NAME: &'static str = "vergeos";
    const ABOUT: &'static str = "VergeOS: maintenance mode of its nodes, over the REST API";
    fn validate(&self) -> Result<(), String> {
        https::base_of(&self.url)?;
        self.auth()?;
        if let Tls::Sha256(pin) = &self.tls {
            crate::wire::pin::fingerprint(pin)?;
        }
        if self.requests_per_hour < 100 {
            return Err("`requests_per_hour` must be at least 100: one look at a node takes four".into());
        }
        if self.request_timeout.0.is_zero() { Err("`request_timeout` must be longer than nothing".into()) } else { Ok(()) }
    }
    fn make(self) -> Box<dyn ClusterConfig> {
        Box::new(self)
    }
}

impl ClusterConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Cluster>, Fault> {
        let auth = self.auth().map_err(|why| Fault::new(FaultKind::Invalid, why))?;
        let rest = Rest::new(&self.url, auth, &self.tls, self.request_timeout, Budget::new(self.requests_per_hour), cx)?;
        Ok(Arc::new(VergeOs { rest, insecure: self.tls == Tls::Insecure }))
    }
}

struct VergeOs {
    rest: Rest,
    insecure: bool,
}

/// The two ends of the maintenance mode. Clients of three ages send three shapes; only an answer that proves that nothing happened leads to the next.
#[derive(Clone, Copy)]
enum Maintenance {
    Enter,
    Leave,
}
impl Maintenance {
    fn action(self) -> &'static str {
        match self {
            Maintenance::Enter => "enable_maintenance",
            Maintenance::Leave => "disable_maintenance",
        }
    }
}

impl VergeOs {
    async fn nodes(&self) -> Result<Vec<Node>, Fault> {
        let rows = self.rest.get("nodes", &[("fields", NODE)]).await?;
        if rows.is_empty() {
            return Err(
                Fault::new(FaultKind::Invalid, format!("{} lists no node at all", self.rest.base())).next("does the account have the right to list nodes?")
            );
        }
        rows.iter().map(Node::of).collect()
    }

    /// By its exact name: a filter on the server could match another one.
    async fn node(&self, name: &str) -> Result<(Node, Vec<Node>), Fault> {
        let (mut found, peers): (Vec<Node>, Vec<Node>) = self.nodes().await?.into_iter().partition(|n| n.name == name);
        match (found.pop(), found.is_empty()) {
            (Some(node), true) => Ok((node, peers)),
            (Some(_), false) => Err(Fault::new(FaultKind::Invalid, format!("{} has several nodes named {name}", self.rest.base()))),
            (None, _) => {
                let known: Vec<&str> = peers.iter().map(|n| n.name.as_str()).collect();
                Err(Fault::new(FaultKind::Unable, format!("{} has no node {name}", self.rest.base())).cause(format!("it has {}", known.join(", "))))
            }
        }
    }

    async fn vms(&self) -> Result<Vec<Vm>, Failure> {
        Ok(self.rest.get("vms", &[("filter", "is_snapshot eq false"), ("fields", VM)]).await?.iter().map(Vm::of).collect())
    }

    /// What is placed on the node. The server's filter saves traffic; what it lets through is judged here again.
    async fn machines(&self, key: &Key) -> Result<Vec<Machine>, Failure> {
        let filter = format!("node eq {}", key.0);
        let rows = self.rest.get("machine_status", &[("filter", &filter), ("fields", MACHINE)]).await?;
        Ok(rows.iter().map(Machine::of).filter(|m| m.node.is_none() || m.node.as_ref() == Some(key)).collect())
    }

    /// What the machines' logs say while they move: progress for people, never a proof. A log that cannot be read takes nothing away.
    async fn lines(&self) -> Vec<Line> {
        let asked = self.rest.get("machine_logs", &[("sort", "-timestamp"), ("limit", "50"), ("fields", LINE)]).await;
        asked.map(|rows| rows::lines(&rows)).unwrap_or_default()
    }

    async fn tiers(&self) -> Result<Result<Vec<Tier>, String>, Failure> {
        match self.rest.get("cluster_tiers", &[("fields", TIER)]).await {
            Ok(rows) => Ok(Ok(rows.iter().map(Tier::of).collect())),
            Err(Failure { status: Some(404), fault }) => Ok(Err(fault.to_string())),
            Err(failure) => Err(failure),
        }
    }

    async fn maintenance(&self, name: &str, key: &Key, to: Maintenance) -> Result<(), Fault> {
        let action = to.action();
        let what = match to {
            Maintenance::Enter => format!("enter maintenance of node {name} at {}", self.rest.base()),
            Maintenance::Leave => format!("leave maintenance of node {name} at {}", self.rest.base()),
        };
        let shapes = [
            (format!("nodes/{}/{action}", key.0), json!({})),
            (format!("node_actions/{action}"), json!({ "node": key.json() })),
            ("node_actions".to_owned(), json!({ "node": key.json(), "action": action, "params": {} })),
        ];
        let mut unknown = Fault::new(FaultKind::Unable, what.clone());
        for (path, body) in shapes {
            match self.rest.post(&path, &body, &what).await {
                Err(Failure { status: Some(status @ (404 | 405)), fault }) => {
                    unknown = unknown.cause(format!("POST {path}: {status} {}", fault.causes.first().map_or("", String::as_str)));
                }
                answer => return answer.map_err(Fault::from),
            }
        }
        Err(unknown)
    }

    async fn vm_action(&self, vm: &str, action: &str, what: &str) -> Result<(), Fault> {
        let key = Key(vm.to_owned());
        Ok(self.rest.post("vm_actions", &json!({ "vm": key.json(), "action": action }), what).await?)
    }

    /// From the act or the loan; without one by name.
    async fn key_for(&self, node: &str, noted: &Value) -> Result<Key, Fault> {
        match Key::of(noted) {
            Some(key) => Ok(key),
            None => Ok(self.node(node).await?.0.key().clone()),
        }
    }
}

#[async_trait]
impl Cluster for VergeOs {
    async fn probe(&self) -> Result<Reached, Fault> {
        let mut missing_rights = Vec::new();
        let mut right = |table: &str, answer: Result<Vec<Value>, Failure>| match answer {
            Ok(rows) => Ok(rows),
            Err(Failure { status: Some(403), .. }) => {
                missing_rights.push(format!("list and read {table}"));
                Ok(Vec::new())
            }
            Err(failure) => Err(failure.fault),
        };
        let system = right("system", self.rest.get("system", &[("fields", "$key,yb_version,os_version,cloud_name")]).await)?;
        for table in ["nodes", "machine_status", "vms"] {
            right(table, self.rest.get(table, &[("fields", "$key"), ("limit", "1")]).await)?;
        }
        let version = system.first().and_then(|row| ["yb_version", "os_version"].iter().find_map(|f| row[*f].as_str())).unwrap_or("(version unknown)");
        // Rights on actions cannot be read; the first refusal would come after the plan.
        let mut warnings = vec!["VergeOS does not say whether this account may change the maintenance mode of nodes".to_owned()];
        warnings.extend(self.insecure.then(|| format!("TLS of {} is not verified", self.rest.base())));
        Ok(Reached { what: format!("VergeOS {version} at {}", self.rest.base()), lease: false, missing_rights, warnings })
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        Ok(self.nodes().await?.iter().filter(|n| n.physical != Some(false)).map(view::member).collect())
    }

    async fn look(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        // The node's state first: if it was in maintenance before the tables were read, nothing has come since.
        let (node, peers) = self.node(node).await?;
        // In maintenance its own copies are away anyhow, and nothing asks about them before it is back.
        let tiers = if node.maintenance { Ok(Vec::new()) } else { self.tiers().await? };
        let machines = self.machines(node.key()).await?;
        let vms = self.vms().await?;
        let lines = if view::moving(&node) { self.lines().await } else { Vec::new() };
        Ok(view::view(&Seen { node, peers, machines, vms, tiers, lines }, ask.unmovable))
    }

    async fn act(&self, node: &str, act: &Act, _: &Ask) -> Result<(), Fault> {
        let what = format!("{} at {}", act.what, self.rest.base());
        let vm = act.args["vm"].as_str();
        match (act.args["do"].as_str(), vm) {
            (Some("enter"), _) => self.maintenance(node, &self.key_for(node, &act.args["node"]).await?, Maintenance::Enter).await,
            (Some("leave"), _) => self.maintenance(node, &self.key_for(node, &act.args["node"]).await?, Maintenance::Leave).await,
            // It was in maintenance before we came and stays so.
            (Some("nothing"), _) => Ok(()),
            // ACPI: the guest may finish its work. `kill` is never sent.
            (Some("poweroff"), Some(vm)) => self.vm_action(vm, "poweroff", &what).await,
            (Some("poweron"), Some(vm)) => self.vm_action(vm, "poweron", &what).await,
            _ => Err(Fault::new(FaultKind::Invalid, format!("VergeOS knows no act `{}`", act.what))),
        }
    }

    fn look_every(&self) -> Span {
        self.rest.budget.look_every()
    }

    async fn stores(&self, node: &str) -> Result<Vec<DataStore>, Fault> {
        let (node, _) = self.node(node).await?;
        Ok(tiers::stores(&node, &self.tiers().await?))
    }

    fn give_back(&self, _: &str, loan: &Loan) -> Act {
        // Giving back twice is giving back once.
        let mut act = Act::new("cluster", loan.owed.clone(), Repeat::Freely);
        act.args = match (loan.before["vm"].as_str(), loan.before["maintenance"].as_bool()) {
            (Some(vm), _) => json!({ "do": "poweron", "vm": vm }),
            (None, Some(true)) => json!({ "do": "nothing" }),
            (None, _) => json!({ "do": "leave", "node": loan.before["node"] }),
        };
        act
    }

    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        if let Some(vm) = loan.before["vm"].as_str() {
            let vms = self.vms().await?;
            // Deleted meanwhile: there is nothing left to start.
            return Ok(vms.iter().find(|row| row.key.as_ref().is_some_and(|k| k.0 == vm)).is_none_or(|row| row.status == "running"));
        }
        if loan.before["maintenance"] == json!(true) {
            return Ok(true);
        }
        Ok(view::has_left(&self.node(node).await?.0))
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
