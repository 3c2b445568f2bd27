//! Cluster `palette`: machines of a cluster that Spectro Cloud Palette manages, over its REST API.
//!
//! A node is emptied by Palette's maintenance mode: an agent in the cluster cordons and drains it. Neither the accepted request nor `Completed` proves that
//! anything has left; the pods are looked at, in the cluster itself where a kubeconfig is given. Nothing is remembered that must not be forgotten: what this
//! process took is also in the loan, by the machine's uid.
use super::{
    Ask, Cluster as Driver, ClusterConfig, Reached,
    https::{self, Tls},
    kube_api::Access,
};
use crate::{
    kinds,
    model::{Act, Connect, Fault, FaultKind, FilePath, LeaseAnswer, Loan, Member, NodeView, Repeat, SecretRef, Span},
};
use async_trait::async_trait;
use rest::{Failure, Rest};
use rows::{Cluster, Machine, Mode, Pool, Remediation, text};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use view::{Before, Seen};
use witness::Witness;

mod rest;
mod rows;
mod view;
mod witness;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Of a self-hosted Palette; its SaaS by default.
    #[serde(default = "saas")]
    pub url: String,
    /// Of a user with Project or Cluster Editor's rights.
    pub api_key: SecretRef,
    /// The project's name.
    pub project: String,
    /// The cluster's name in Palette.
    pub cluster: String,
    /// As in the API's paths (`maas`, `edge-native`, …), where Palette's own word for it is not the one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_type: Option<String>,
    /// Of the workload cluster: then it is asked itself whether the node is cordoned, and what runs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<FilePath>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// What to do about auto-remediation, which deletes nodes that are away for long.
    #[serde(default)]
    pub remediation: OnRemediation,
    /// `"system"`, `{ ca_file = "…" }`, `{ sha256 = "…" }` or `"insecure"`.
    #[serde(default)]
    pub tls: Tls,
    /// For one request.
    #[serde(default = "request_timeout")]
    pub request_timeout: Span,
}
fn saas() -> String {
    "https://api.spectrocloud.com".into()
}
fn request_timeout() -> Span {
    Span::seconds(30)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemediation {
    /// No node goes while it cannot be ruled out.
    #[default]
    Refuse,
    /// Disabled for the project, on loan.
    DisableAndRestore,
}

impl kinds::Config<dyn ClusterConfig> for Config {
    const NAME: &'static str = "palette";
    const ABOUT: &'static str = "Spectro Cloud Palette: maintenance mode of its machines, over the REST API";
    fn validate(&self) -> Result<(), String> {
        https::base_of(&self.url)?;
        if let Tls::Sha256(pin) = &self.tls {
            crate::wire::pin::fingerprint(pin)?;
        }
        match () {
            _ if self.project.is_empty() => Err("`project` names no project".into()),
            _ if self.cluster.is_empty() => Err("`cluster` names no cluster".into()),
            _ if self.context.is_some() && self.kubeconfig.is_none() => Err("`context` is one of a `kubeconfig`: name that too".into()),
            _ if self.request_timeout.0.is_zero() => Err("`request_timeout` must be longer than nothing".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn ClusterConfig> {
        Box::new(self)
    }
}

impl ClusterConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Driver>, Fault> {
        let rest = Rest::new(&self.url, self.api_key.clone(), &self.tls, self.request_timeout, cx)?;
        let access = |file: &FilePath| Access { kubeconfig: cx.path(file), context: self.context.clone(), limit: self.request_timeout.0 };
        let witness = self.kubeconfig.as_ref().map(|file| Witness::new(access(file), cx)).transpose()?;
        Ok(Arc::new(Palette { rest, witness, config: self.clone(), known: Mutex::default() }))
    }
}

struct Palette {
    rest: Rest,
    witness: Option<Witness>,
    config: Config,
    known: Mutex<Known>,
}

/// What this process has found out. Losing it costs requests, and no safety.
#[derive(Default)]
struct Known {
    /// uids of project and cluster.
    scope: Option<(String, String)>,
    /// By the name the inventory uses.
    machines: BTreeMap<String, (Pool, String)>,
    /// uids of machines that we put into maintenance.
    taken: BTreeMap<String, String>,
    /// By the uid of a machine that was taken: how often Palette was asked since to read the pods anew.
    refreshed: BTreeMap<String, u32>,
    switched_off: bool,
}

struct Scope {
    project: String,
    uid: String,
    cluster: Cluster,
}
impl Scope {
    fn machine(&self, pool: &str, uid: &str) -> String {
        format!("{}/machinePools/{pool}/machines/{uid}", self.cluster.path())
    }
}

impl Palette {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("BUG: a holder of what Palette told panicked")
    }

    async fn uids(&self) -> Result<(String, String), Fault> {
        if let Some(known) = self.known().scope.clone() {
            return Ok(known);
        }
        let Config { project, cluster, .. } = &self.config;
        let what = format!("find project {project} at {}", self.rest.base());
        let path = format!("/v1/dashboard/projects/metadata?name={}", https::encoded(project));
        // The server's filter saves traffic; what it lets through is judged here again.
        let projects = self.rest.get(&path, None, &what).await?;
        let project_uid = one(&projects["items"], project, |item| (text(&item["metadata"], "name"), text(&item["metadata"], "uid")), &what)?;
        let what = format!("find cluster {cluster} of project {project} at {}", self.rest.base());
        let clusters = self.rest.get("/v1/dashboard/spectroclusters/metadata", Some(&project_uid), &what).await?;
        let of = |item: &Value| (text(item, "name").or_else(|| text(&item["metadata"], "name")), text(item, "uid").or_else(|| text(&item["metadata"], "uid")));
        let uids = (project_uid, one(&clusters["items"], cluster, of, &what)?);
        self.known().scope = Some(uids.clone());
        Ok(uids)
    }

    async fn scope(&self) -> Result<Scope, Fault> {
        let (project, uid) = self.uids().await?;
        let what = format!("read cluster {} at {}", self.config.cluster, self.rest.base());
        let row = self.rest.get(&format!("/v1/spectroclusters/{uid}"), Some(&project), &what).await.map_err(|failure| self.forget_if_gone(failure))?;
        Ok(Scope { cluster: Cluster::of(&row, self.config.cloud_type.as_deref())?, project, uid })
    }
    /// Re-created under its old name, perhaps: the next look finds out.
    fn forget_if_gone(&self, failure: Failure) -> Fault {
        if failure.status == Some(404) {
            self.known().scope = None;
        }
        failure.fault
    }

    async fn machines(&self, scope: &Scope) -> Result<Vec<Machine>, Fault> {
        let what = format!("list the machines of {} at {}", self.config.cluster, self.rest.base());
        let config = self.rest.get(&scope.cluster.path(), Some(&scope.project), &what).await?;
        let mut all = Vec::new();
        for pool in rows::pools(&config)? {
            let path = format!("{}/machinePools/{}/machines", scope.cluster.path(), pool.name);
            let rows = self.rest.list(&path, Some(&scope.project), &what).await?;
            all.extend(rows.iter().map(|row| Machine::of(row, &pool)).collect::<Result<Vec<_>, _>>()?);
        }
        if all.is_empty() {
            return Err(Fault::new(FaultKind::Invalid, what).cause("not one machine"));
        }
        Ok(all)
    }

    /// None: Palette has no machine of that uid (any more).
    async fn machine(&self, scope: &Scope, pool: &Pool, uid: &str) -> Result<Option<Machine>, Fault> {
        let what = format!("read machine {uid} at {}", self.rest.base());
        match self.rest.get(&scope.machine(&pool.name, uid), Some(&scope.project), &what).await {
            Ok(row) => Machine::of(&row, pool).map(Some),
            Err(Failure { status: Some(404), .. }) => Ok(None),
            Err(failure) => Err(failure.fault),
        }
    }

    /// The machine of that name, and all others where they were read to find it.
    async fn resolve(&self, scope: &Scope, name: &str) -> Result<(Machine, Option<Vec<Machine>>), Fault> {
        let known = self.known().machines.get(name).cloned();
        if let Some((pool, uid)) = known
            && let Some(machine) = self.machine(scope, &pool, &uid).await?
        {
            return Ok((machine, None));
        }
        self.known().machines.remove(name);
        let mut all = self.machines(scope).await?;
        let found = rows::find(&all, name)?.map(|m| m.uid.clone());
        let Some(at) = all.iter().position(|m| Some(&m.uid) == found.as_ref()) else {
            let taken = self.known().taken.get(name).cloned();
            let names: Vec<&str> = all.iter().map(|m| m.name.as_str()).collect();
            return Err(match taken {
                Some(uid) => replaced(name, &uid),
                None => Fault::new(FaultKind::Unable, format!("Palette's cluster {} has no machine {name}", self.config.cluster))
                    .cause(format!("it has {}", names.join(", "))),
            });
        };
        let machine = all.swap_remove(at);
        self.known().machines.insert(name.to_owned(), (machine.pool.clone(), machine.uid.clone()));
        Ok((machine, Some(all)))
    }

    async fn remediation(&self, scope: &Scope) -> Result<Remediation, Failure> {
        let what = format!("read the auto-remediation of project {} at {}", self.config.project, self.rest.base());
        let path = format!("/v1/projects/{}/preferences/clusterSettings", scope.project);
        Ok(Remediation::of(&self.rest.get(&path, Some(&scope.project), &what).await?))
    }

    async fn before(&self, scope: &Scope, name: &str, peers: Option<Vec<Machine>>) -> Result<Before, Fault> {
        let peers = match peers {
            Some(peers) => peers,
            None => {
                let own = self.known().machines.get(name).map(|(_, uid)| uid.clone());
                self.machines(scope).await?.into_iter().filter(|m| Some(&m.uid) != own.as_ref()).collect()
            }
        };
        let remediation = match self.remediation(scope).await {
            Ok(seen) => Ok(seen),
            Err(Failure { status: Some(403 | 404), fault }) => Err(fault.to_string()),
            Err(failure) => return Err(failure.fault),
        };
        Ok(Before { peers, remediation, policy: self.config.remediation, switched_off: self.known().switched_off })
    }

    async fn pods(&self, scope: &Scope) -> Result<Vec<rows::Pod>, Fault> {
        let what = format!("list the pods of {} at {}", self.config.cluster, self.rest.base());
        let path = format!("/v1/dashboard/spectroclusters/{}/workloads/pod", scope.uid);
        let answer = self.rest.ask(&path, &json!({ "filter": { "namespaces": [] } }), Some(&scope.project), &what).await?;
        rows::pods(&answer).ok_or_else(|| Fault::new(FaultKind::Invalid, what).cause("not a list of pods"))
    }

    async fn maintenance(&self, node: &str, action: &str, at: &Value, what: &str) -> Result<(), Fault> {
        let (Some(uid), Some(pool)) = (text(at, "machine"), text(at, "pool")) else {
            return Err(Fault::new(FaultKind::Invalid, format!("{what}: without its machine's uid")));
        };
        let scope = self.scope().await?;
        let path = format!("{}/maintenance", scope.machine(&rows::segment(pool)?, &rows::segment(uid.clone())?));
        let answer = self.rest.write(reqwest::Method::PUT, &path, &json!({ "action": action }), Some(&scope.project), what).await;
        let mut known = self.known();
        match answer {
            // In doubt it may be ours too.
            Ok(()) | Err(Failure { fault: Fault { kind: FaultKind::Unknown, .. }, .. }) if action == "cordon" => {
                known.taken.insert(node.to_owned(), uid.clone());
                known.refreshed.remove(&uid);
            }
            Err(Failure { status: Some(404), .. }) if action == "cordon" => drop(known.machines.remove(node)),
            Err(Failure { status: Some(404), .. }) => return Err(replaced(node, &uid)),
            Ok(()) => drop(known.taken.remove(node)),
            _ => {}
        }
        drop(known);
        Ok(answer?)
    }

    async fn remediate(&self, node: &str, act: &Act, what: &str) -> Result<(), Fault> {
        let (disabled, enabled) = (act.args["disabled"] == true, act.args["enabled"] == true);
        let scope = self.scope().await?;
        if act.args["back"] == true {
            // It guards every node that is out, not only the one whose loan it is.
            let own = self.known().machines.get(node).map(|(_, uid)| uid.clone());
            let out = self.machines(&scope).await?.into_iter().find(|m| Some(&m.uid) != own.as_ref() && m.mode() != Mode::InService);
            if let Some(other) = out {
                return Err(Fault::new(FaultKind::Unwilling, what).cause(format!("{} is still in maintenance, and would be deleted", other.name)));
            }
        }
        let path = format!("/v1/projects/{}/preferences/clusterSettings/nodesAutoRemediationSetting", scope.project);
        let body = json!({ "disableNodesAutoRemediation": disabled, "isEnabled": enabled });
        self.rest.write(reqwest::Method::PUT, &path, &body, Some(&scope.project), what).await?;
        self.known().switched_off = act.args["back"] != true;
        Ok(())
    }

    /// The name in the inventory, where it is another than Palette's.
    fn called(&self, machine: &Machine) -> String {
        let known = self.known();
        let asked = known.machines.iter().find(|(_, (_, uid))| *uid == machine.uid).map(|(name, _)| name.clone());
        asked.unwrap_or_else(|| machine.name.clone())
    }
}

fn replaced(name: &str, uid: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("Palette replaced {name}: machine {uid}, which was taken, is gone"))
        .next("stop: find out in Palette's events whether remediation or a repave did that, before any other node goes")
}

/// The uid of the only item with exactly that name.
fn one(items: &Value, name: &str, of: impl Fn(&Value) -> (Option<String>, Option<String>), what: &str) -> Result<String, Fault> {
    let items: Vec<(Option<String>, Option<String>)> = items.as_array().into_iter().flatten().map(of).collect();
    let mut found = items.iter().filter(|(n, _)| n.as_deref() == Some(name));
    match (found.next(), found.next()) {
        (Some((_, Some(uid))), None) => rows::segment(uid.clone()),
        (Some(_), _) => Err(Fault::new(FaultKind::Invalid, what).cause("not one, with a uid")),
        (None, _) => {
            let known: Vec<&str> = items.iter().filter_map(|(n, _)| n.as_deref()).collect();
            let fault = Fault::new(FaultKind::Unable, what).cause(format!("there are {}", if known.is_empty() { "none".into() } else { known.join(", ") }));
            Err(fault.next("check the name, and that the key's user may see it"))
        }
    }
}

#[async_trait]
impl Driver for Palette {
    async fn probe(&self) -> Result<Reached, Fault> {
        let scope = self.scope().await?;
        let mut missing_rights = Vec::new();
        let mut right = |name: &str, answer: Result<Value, Failure>| match answer {
            Ok(_) => Ok(()),
            Err(Failure { status: Some(403), .. }) => {
                missing_rights.push(name.to_owned());
                Ok(())
            }
            Err(failure) => Err(failure.fault),
        };
        let what = format!("what may be read at {}", self.rest.base());
        right("cloudconfig.get", self.rest.get(&scope.cluster.path(), Some(&scope.project), &what).await)?;
        right("project.get (its cluster settings)", self.remediation(&scope).await.map(|_| json!({})))?;
        // Palette has no question for it; a Viewer would be refused only at the first write.
        let mut warnings = vec!["Palette does not say whether this key may change maintenance (machine.update)".to_owned()];
        warnings.extend((self.config.tls == Tls::Insecure).then(|| format!("TLS of {} is not verified", self.rest.base())));
        warnings.extend(
            self.witness
                .is_none()
                .then(|| "no `kubeconfig`: pods are known from Palette's own list alone, and nodes with static pods can not be proven empty".to_owned()),
        );
        let what = format!("Palette cluster {} ({}) at {}", self.config.cluster, scope.cluster.cloud, self.rest.base());
        Ok(Reached { what, lease: false, missing_rights, warnings })
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let scope = self.scope().await?;
        Ok(self.machines(&scope).await?.iter().map(|m| view::member(m, &self.called(m))).collect())
    }

    async fn look(&self, node: &str, _: &Ask) -> Result<NodeView, Fault> {
        let scope = self.scope().await?;
        let (machine, peers) = self.resolve(&scope, node).await?;
        let taken = self.known().taken.get(node).cloned();
        let replaced = taken.filter(|uid| *uid != machine.uid);
        let before = match machine.mode() {
            Mode::InService => Some(self.before(&scope, node, peers).await?),
            _ => None,
        };
        // The node's state first: if it was cordoned before the pods were read, none has come since.
        let (kube, pods) = match &self.witness {
            Some(witness) => (Some(witness.look(&machine).await?), Vec::new()),
            None => (None, self.pods(&scope).await?),
        };
        let refreshed = self.known().refreshed.get(&machine.uid).copied().unwrap_or(0);
        Ok(view::view(&Seen { machine, cluster: scope.cluster, before, pods, kube, refreshed, replaced }))
    }

    async fn act(&self, node: &str, act: &Act, _: &Ask) -> Result<(), Fault> {
        let what = format!("{} at {}", act.what, self.rest.base());
        match act.args["do"].as_str() {
            Some(action @ ("cordon" | "uncordon")) => self.maintenance(node, action, &act.args["at"], &what).await,
            Some("remediation") => self.remediate(node, act, &what).await,
            Some("refresh") => {
                let scope = self.scope().await?;
                let path = format!("/v1/spectroclusters/{}/workloads/sync", scope.uid);
                self.rest.write(reqwest::Method::POST, &path, &json!({}), Some(&scope.project), &what).await?;
                let mut known = self.known();
                if let Some((_, uid)) = known.machines.get(node).cloned() {
                    *known.refreshed.entry(uid).or_default() += 1;
                }
                Ok(())
            }
            _ => Err(Fault::new(FaultKind::Invalid, format!("Palette knows no act `{}`", act.what))),
        }
    }

    fn give_back(&self, _: &str, loan: &Loan) -> Act {
        // Giving back twice is giving back once.
        let mut act = Act::new("cluster", loan.owed.clone(), Repeat::Freely);
        let was = &loan.before["remediation"];
        act.args = match was {
            Value::Null => json!({ "do": "uncordon", "at": loan.before["maintenance"] }),
            was => json!({ "do": "remediation", "disabled": was["disabled"], "enabled": was["enabled"], "back": true }),
        };
        act
    }

    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        let scope = self.scope().await?;
        if let was @ Value::Object(_) = &loan.before["remediation"] {
            return Ok(self.remediation(&scope).await?.project == (was["disabled"] == true, was["enabled"] == true));
        }
        let at = &loan.before["maintenance"];
        let (Some(uid), Some(pool)) = (text(at, "machine"), text(at, "pool")) else { return Err(rows::lacks("loan", "machine")) };
        let pool = Pool { name: rows::segment(pool)?, control_plane: false };
        let machine = self.machine(&scope, &pool, &rows::segment(uid.clone())?).await?.ok_or_else(|| replaced(node, &uid))?;
        let uncordoned = match (&self.witness, machine.mode()) {
            (_, mode) if mode != Mode::InService => return Ok(false),
            (Some(witness), _) => !witness.look(&machine).await?.cordoned,
            (None, _) => true,
        };
        Ok(uncordoned)
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
