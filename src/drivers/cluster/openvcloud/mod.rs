//! Cluster `openvcloud`: nodes of an OpenvCloud 2.x installation, over its portal.
//!
//! A node is emptied by the maintenance of its stack, which says that it is in force before anything has moved and keeps its failures to itself:
//! `view` counts what the portal still places on the stack. What is to be stopped is stopped by name, one act each, so that the journal knows it.
use super::{
    Ask, Cluster, ClusterConfig, Reached,
    https::{self, Tls},
};
use crate::{
    kinds,
    model::{Act, Connect, DataStore, Fault, FaultKind, LeaseAnswer, Loan, Member, NodeView, SecretRef, Span},
};
use async_trait::async_trait;
use login::{Login, Way};
use portal::{Failure, Portal};
use rows::{Node, Stack};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use view::Generation;

mod acts;
mod health;
mod login;
mod portal;
mod read;
mod rows;
mod view;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    /// 2.1 to 2.3 and 3.0.
    Stack,
    /// From 2.4.4.
    Node,
}

/// What the maintenance left behind without a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Leftovers {
    /// It is named, and the evacuation waits for a person until it is out of time.
    #[default]
    Name,
    /// It is moved, one by one, never by force.
    Move,
}

/// An application key of ItsYou.online.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub id: SecretRef,
    pub secret: SecretRef,
    #[serde(default = "token_url")]
    pub token_url: String,
    #[serde(default)]
    pub tls: Tls,
}
fn token_url() -> String {
    "https://itsyou.online/v1/oauth/access_token".into()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `https://ovc.example`: the portal.
    pub url: String,
    /// A token that something else renews. One of `jwt`, `client`, `username` with `password`, `portal_secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portal_secret: Option<SecretRef>,
    #[serde(default)]
    pub tls: Tls,
    /// `"stack"` or `"node"`; without it the portal is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<Said>,
    #[serde(default)]
    leftovers: Leftovers,
    /// The uptime monitor acts on what it knew up to this long ago: so long an emptied node is left alone before its power is touched.
    #[serde(default = "settle")]
    pub settle: Span,
    /// For one request. Entering maintenance alone takes five seconds to answer.
    #[serde(default = "request_timeout")]
    pub request_timeout: Span,
}
fn settle() -> Span {
    // Its cache holds for 300 s, and our word takes a moment to arrive.
    Span::seconds(330)
}
fn request_timeout() -> Span {
    Span::seconds(60)
}

impl Config {
    fn way(&self, connect: Option<&Connect>) -> Result<Way, Fault> {
        let invalid = |why: &str| Fault::new(FaultKind::Invalid, why);
        let session = match (&self.username, &self.password) {
            (Some(username), Some(password)) => Some(Way::Session { username: username.clone(), password: password.clone() }),
            (None, None) => None,
            _ => return Err(invalid("`username` and `password` belong together")),
        };
        let client = match (&self.client, connect) {
            (Some(c), cx) => {
                let url = https::base_of(&c.token_url).map_err(|why| invalid(&why))?;
                let made = cx.map(|cx| https::client(&url, &c.tls, self.request_timeout, cx)).transpose()?;
                Some(Way::Client { id: c.id.clone(), secret: c.secret.clone(), token_url: url, client: made.unwrap_or_default() })
            }
            (None, _) => None,
        };
        let given = [self.jwt.clone().map(Way::Jwt), self.portal_secret.clone().map(Way::Secret), session, client];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(way), None) => Ok(way),
            (None, _) => Err(invalid("no credential: give `jwt`, `client`, `username` and `password`, or `portal_secret`")),
            (Some(_), Some(_)) => Err(invalid("one credential is enough: `jwt`, `client`, `username` and `password`, or `portal_secret`")),
        }
    }
}

impl kinds::Config<dyn ClusterConfig> for Config {
    const NAME: &'static str = "openvcloud";
    const ABOUT: &'static str = "OpenvCloud 2.x: maintenance of its stacks and nodes, over the portal";
    fn validate(&self) -> Result<(), String> {
        https::base_of(&self.url)?;
        let given = [self.jwt.is_some(), self.client.is_some(), self.username.is_some() || self.password.is_some(), self.portal_secret.is_some()];
        match given.iter().filter(|g| **g).count() {
            1 => {}
            0 => return Err("no credential: give `jwt`, `client`, `username` and `password`, or `portal_secret`".into()),
            _ => return Err("one credential is enough: `jwt`, `client`, `username` and `password`, or `portal_secret`".into()),
        }
        if self.username.is_some() != self.password.is_some() {
            return Err("`username` and `password` belong together".into());
        }
        if let Some(client) = &self.client {
            https::base_of(&client.token_url)?;
        }
        for tls in [Some(&self.tls), self.client.as_ref().map(|c| &c.tls)].into_iter().flatten() {
            if let Tls::Sha256(pin) = tls {
                crate::wire::pin::fingerprint(pin)?;
            }
        }
        if self.request_timeout.0.is_zero() { Err("`request_timeout` must be longer than nothing".into()) } else { Ok(()) }
    }
    fn make(self) -> Box<dyn ClusterConfig> {
        Box::new(self)
    }
}

impl ClusterConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Cluster>, Fault> {
        let base = https::base_of(&self.url).map_err(|why| Fault::new(FaultKind::Invalid, why))?;
        let client = https::client(&base, &self.tls, self.request_timeout, cx)?;
        let way = self.way(Some(cx))?;
        // A missing secret is said now.
        match &way {
            Way::Jwt(a) | Way::Secret(a) => drop(cx.secret(a)?),
            Way::Client { id: a, secret: b, .. } | Way::Session { username: a, password: b } => {
                cx.secret(a)?;
                cx.secret(b)?;
            }
        }
        let login = Login { way, cx: cx.clone(), held: Mutex::default() };
        Ok(Arc::new(OpenvCloud {
            portal: Portal { client, base, login },
            said: self.generation.map(|said| if said == Said::Stack { Generation::Stack } else { Generation::Node }),
            found: Mutex::default(),
            leftovers: self.leftovers == Leftovers::Move,
            settle: self.settle,
            insecure: self.tls == Tls::Insecure,
            names: Mutex::default(),
            watched: Mutex::default(),
        }))
    }
}

struct OpenvCloud {
    portal: Portal,
    said: Option<Generation>,
    /// What the portal's answers have shown.
    found: Mutex<Option<Generation>>,
    leftovers: bool,
    settle: Span,
    insecure: bool,
    /// Cloud spaces, by number.
    names: Mutex<BTreeMap<i64, Option<String>>>,
    /// By node: what the last looks found left behind, and how many in a row found just that.
    watched: Mutex<BTreeMap<i64, (BTreeSet<String>, u32)>>,
}

impl OpenvCloud {
    /// Whichever call exists. "Could not find method" proves that nothing happened, and leads to the other generation's call once.
    async fn either(&self, first: Generation, calls: [(Generation, &str, Value); 2], what: &str) -> Result<(), Fault> {
        let (chosen, other): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(generation, ..)| *generation == first);
        let mut missing = Fault::new(FaultKind::Unable, what);
        for (generation, method, args) in chosen.into_iter().chain(other) {
            match self.portal.change(method, &args, what).await {
                Err(Failure { no_method: true, .. }) => missing = missing.cause(format!("{method} is not a method of this portal")),
                Err(failure) => return Err(failure.fault),
                Ok(()) => {
                    *self.found.lock().expect("BUG: poisoned") = Some(generation);
                    return Ok(());
                }
            }
        }
        Err(missing)
    }

    async fn enter(&self, args: &Value, ask: &Ask, what: &str) -> Result<(), Fault> {
        let vmaction = args["vmaction"].as_str().filter(|a| ["move", "stop"].contains(a));
        // The later generation takes any word and says 200.
        let Some(vmaction) = vmaction else { return Err(Fault::new(FaultKind::Invalid, format!("{what}: `vmaction` must be move or stop"))) };
        let stack = json!({ "id": args["stack"], "gid": args["grid"], "vmaction": vmaction, "message": message(ask) });
        let node = json!({ "nid": args["node"], "vmaction": vmaction });
        let calls = [(Generation::Stack, "cloudbroker/computenode/maintenance", stack), (Generation::Node, "cloudbroker/node/maintenance", node)];
        self.either(self.generation(&args["grid"]).await?, calls, what).await
    }

    async fn enable(&self, args: &Value, ask: &Ask, what: &str) -> Result<(), Fault> {
        let stack = json!({ "id": args["stack"], "gid": args["grid"], "message": message(ask) });
        let node = json!({ "nid": args["node"], "message": message(ask) });
        let calls = [(Generation::Stack, "cloudbroker/computenode/enable", stack), (Generation::Node, "cloudbroker/node/enable", node)];
        self.either(self.generation(&args["grid"]).await?, calls, what).await
    }
}

/// Fewer than 30 characters, and never empty: that would count as missing.
fn message(ask: &Ask) -> String {
    let run = ask.run.as_ref().map(|run| run.to_string()).unwrap_or_default();
    let tail: String = run.chars().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect();
    format!("pitstop {tail}").trim().to_owned()
}

#[async_trait]
impl Cluster for OpenvCloud {
    async fn probe(&self) -> Result<Reached, Fault> {
        let mut missing_rights = Vec::new();
        let nodes = self.nodes().await?;
        let generation = match nodes.first() {
            Some(node) => Some(self.generation(&node.gid.into()).await.or_else(|fault| match fault.kind {
                FaultKind::Denied => {
                    missing_rights.push("level 1 of the portal, to list stacks".to_owned());
                    Ok(Generation::Stack)
                }
                _ => Err(fault),
            })?),
            None => None,
        };
        let mut warnings = Vec::new();
        match self.portal.find("cloudbroker/stack", &[("id", "0")]).await.map_err(Fault::from) {
            Ok(_) => match self.level().await {
                Ok(Some(true)) => {}
                Ok(Some(false)) => missing_rights.push("level 2 or 3 of the portal, to enter and leave maintenance".to_owned()),
                Ok(None) => warnings.push("whether this account may enter maintenance (level 2 or 3) could not be read".to_owned()),
                Err(fault) => warnings.push(format!("whether this account may enter maintenance could not be read: {fault}")),
            },
            Err(fault) if fault.kind == FaultKind::Denied => missing_rights.push("the portal's admin group, to list what runs on a node".to_owned()),
            Err(fault) => return Err(fault),
        }
        warnings.extend(self.insecure.then(|| format!("TLS of {} is not verified", self.portal.base)));
        let shape = match generation {
            Some(Generation::Stack) => "maintenance of stacks",
            Some(Generation::Node) => "maintenance of nodes",
            None => "no nodes",
        };
        Ok(Reached { what: format!("OpenvCloud ({shape}) at {}", self.portal.base), lease: false, missing_rights, warnings })
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let (nodes, stacks) = self.all().await?;
        Ok(nodes.iter().map(|node| view::member(node, stack_of(node, &stacks))).collect())
    }

    async fn look(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        let seen = self.see(node, ask).await?;
        Ok(view::view(&seen, ask, self.leftovers))
    }

    async fn act(&self, _: &str, act: &Act, ask: &Ask) -> Result<(), Fault> {
        let what = format!("{} at {}", act.what, self.portal.base);
        let args = &act.args;
        let change = async |method: &str, args: Value| self.portal.change(method, &args, &what).await.map_err(Fault::from);
        let reason = message(ask);
        match args["do"].as_str() {
            Some("enter") => self.enter(args, ask, &what).await,
            Some("enable") => self.enable(args, ask, &what).await,
            Some("stop-vm") => change("cloudbroker/machine/stopMachines", json!({ "machineIds": [args["vm"]], "reason": reason })).await,
            Some("start-vm") => change("cloudbroker/machine/startMachines", json!({ "machineIds": [args["vm"]], "reason": reason })).await,
            Some("stop-firewall") => change("cloudbroker/cloudspace/stopVFW", json!({ "cloudspaceId": args["space"] })).await,
            Some("start-firewall") => change("cloudbroker/cloudspace/startVFW", json!({ "cloudspaceId": args["space"] })).await,
            Some("move-vm") => {
                let mut body = json!({ "machineId": args["vm"], "reason": reason, "force": false });
                if !args["stack"].is_null() {
                    body["targetStackId"] = args["stack"].clone();
                }
                change("cloudbroker/machine/moveToDifferentComputeNode", body).await
            }
            Some("move-firewall") => {
                let body = json!({ "cloudspaceId": args["space"], "targetNid": args["node"] });
                change("cloudbroker/cloudspace/moveVirtualFirewallToFirewallNode", body).await
            }
            _ => Err(Fault::new(FaultKind::Invalid, format!("OpenvCloud knows no act `{}`", act.what))),
        }
    }

    fn can_stop(&self) -> bool {
        true
    }
    fn settles_for(&self) -> Span {
        self.settle
    }

    async fn stores(&self, node: &str) -> Result<Vec<DataStore>, Fault> {
        self.storage(node).await
    }

    fn give_back(&self, _: &str, loan: &Loan) -> Act {
        acts::give_back(loan)
    }

    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        self.paid(node, loan).await
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

fn stack_of<'a>(node: &Node, stacks: &'a [Stack]) -> Option<&'a Stack> {
    stacks.iter().find(|s| s.refers_to == Some(node.id) && s.gid == node.gid)
}
