//! Kubernetes whose nodes are maintained by medik8s' Node Maintenance Operator: it cordons and drains, we ask for it, look at the pods ourselves, and see to the way back.
mod order;
mod resource;
mod view;

use super::{Ask, Cluster, ClusterConfig, Reached, kube_api::*};
use crate::{
    kinds,
    model::{Act, Connect, DataStore, Fault, FaultKind, FilePath, LeaseAnswer, Loan, Member, NodeView, Repeat, Span, marks},
};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use order::{Before, Order};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The kubeconfig file; certificates and credential plugins it names are used as kubectl uses them.
    pub kubeconfig: FilePath,
    /// The context in it; its current one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Limit of every single request to the API server.
    #[serde(default = "thirty_seconds")]
    pub request_timeout: Span,
    /// Where the Lease `pitstop` lies, by which pitstops elsewhere know that this cluster is taken.
    #[serde(default = "kube_system")]
    pub lease_namespace: String,
    /// Where the operator keeps its leases of nodes.
    #[serde(default = "medik8s_leases")]
    pub operator_lease_namespace: String,
    /// An operator that takes up nothing for so long is dead.
    #[serde(default = "a_minute")]
    pub operator_timeout: Span,
    /// How long a node is watched after its NodeMaintenance is gone: the operator may cordon it once more.
    #[serde(default = "thirty_seconds")]
    pub watch_after: Span,
    /// Let the operator evict pods whose emptyDir data is lost thereby: it does not ask.
    #[serde(default = "yes")]
    pub delete_emptydir_data: bool,
    /// Let the operator evict pods that no controller starts again elsewhere: it does not ask.
    #[serde(default)]
    pub force: bool,
    /// Take the only control-plane node out, although nothing answers meanwhile.
    #[serde(default)]
    pub allow_control_plane_outage: bool,
}

fn thirty_seconds() -> Span {
    Span::seconds(30)
}
fn a_minute() -> Span {
    Span::seconds(60)
}
fn kube_system() -> String {
    "kube-system".into()
}
fn medik8s_leases() -> String {
    "medik8s-leases".into()
}
fn yes() -> bool {
    true
}

impl kinds::Config<dyn ClusterConfig> for Config {
    const NAME: &'static str = "node_maintenance";
    const ABOUT: &'static str = "Kubernetes with medik8s' Node Maintenance Operator: a NodeMaintenance per node";
    fn make(self) -> Box<dyn ClusterConfig> {
        Box::new(self)
    }
    fn validate(&self) -> Result<(), String> {
        match () {
            _ if self.kubeconfig.0.is_empty() => Err("`kubeconfig` names no file".into()),
            _ if self.request_timeout.0.is_zero() => Err("`request_timeout` must be longer than 0s".into()),
            _ if self.operator_timeout.0 < Duration::from_secs(1) => Err("`operator_timeout` must be 1s or longer".into()),
            _ if self.lease_namespace.is_empty() => Err("`lease_namespace` names no namespace".into()),
            _ if self.operator_lease_namespace.is_empty() => Err("`operator_lease_namespace` names no namespace".into()),
            _ => Ok(()),
        }
    }
}

impl ClusterConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Cluster>, Fault> {
        let access = Access { kubeconfig: cx.path(&self.kubeconfig), context: self.context.clone(), limit: self.request_timeout.0 };
        let gone_since = Mutex::new(BTreeMap::new());
        Ok(Arc::new(NodeMaintenance {
            api: Api::new(access, cx)?,
            heartbeats: Heartbeats::default(),
            around: Around::default(),
            config: self.clone(),
            gone_since,
        }))
    }
}

struct NodeMaintenance {
    api: Api,
    heartbeats: Heartbeats,
    around: Around,
    config: Config,
    /// Since when we see a node of ours without its NodeMaintenance, on our own clock.
    gone_since: Mutex<BTreeMap<String, Instant>>,
}

/// The caller puts its own name for this cluster in place of it.
const CLUSTER: &str = "cluster";

#[async_trait]
impl Cluster for NodeMaintenance {
    async fn probe(&self) -> Result<Reached, Fault> {
        let (version, missing_rights, warnings) = probe(&self.api, self.rights()).await?;
        resource::all(&self.api).await?;
        let what = format!("kubernetes {version} with the Node Maintenance Operator at {}", self.api.url().await?);
        Ok(Reached { what, lease: true, missing_rights, warnings })
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let ((nodes, _), (held, _)) = futures::try_join!(self.api.list::<Node>("list nodes", NODES, None), resource::all(&self.api))?;
        Ok(nodes.into_iter().map(|n| view::member(&KubeNode(n), &held)).collect())
    }

    async fn look(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        self.view(node, ask).await
    }

    async fn act(&self, node: &str, act: &Act, ask: &Ask) -> Result<(), Fault> {
        let order: Order = serde_json::from_value(act.args.clone())
            .map_err(|e| Fault::new(FaultKind::Unable, format!("{}: not an act of node_maintenance", act.what)).caused_by(&e))?;
        match order {
            Order::Mark(before) => self.mark(node, &before, ask).await,
            Order::Create => self.create(node, ask).await,
            Order::Delete { name, run } => self.delete(node, &name, run.as_deref(), ask).await,
            Order::Restore(before) => self.restore(node, &before, ask).await,
            Order::Guest(order) => kubevirt::act(&self.api, node, &order, ask).await,
        }
    }

    async fn stores(&self, node: &str) -> Result<Vec<DataStore>, Fault> {
        stores(&self.api, node).await
    }

    async fn marked(&self, node: &str) -> Result<Option<Vec<Loan>>, Fault> {
        let Some((kube, _)) = KubeNode::read(&self.api, node).await? else { return Ok(Some(Vec::new())) };
        let (held, _) = resource::all(&self.api).await?;
        let mut owed: Vec<Loan> = order::marked(node, &kube).into_iter().collect();
        owed.extend(held.iter().filter(|m| m.node() == node).filter_map(order::lent_of));
        // Once it is over, whatever still evacuates VMs is cancelled with the node's own loan.
        owed.extend(kubevirt::marked(&self.api, node, false).await?.into_iter().map(|loan| Loan { to: CLUSTER.into(), ..loan }));
        Ok(Some(owed))
    }

    fn give_back(&self, node: &str, loan: &Loan) -> Act {
        let of = |what: String, order: Order| {
            let mut act = Act::new(CLUSTER, what, Repeat::Freely);
            act.args = json!(order);
            act
        };
        if let Some((what, order)) = kubevirt::give_back(loan) {
            return of(what, Order::Guest(order));
        }
        match order::lent(loan) {
            order::Lent::Maintenance { name, run } => of(format!("delete NodeMaintenance {name}"), Order::Delete { name, run }),
            order::Lent::Node(before) => of(format!("leave {node} as it was"), Order::Restore(before)),
        }
    }

    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        if let Some(paid) = kubevirt::is_paid(&self.api, loan).await? {
            return Ok(paid);
        }
        match order::lent(loan) {
            order::Lent::Maintenance { name, run } => {
                let (all, _) = resource::all(&self.api).await?;
                Ok(!all.iter().any(|m| m.name() == name && m.node() == node && m.run() == run.as_deref()))
            }
            order::Lent::Node(Before { unschedulable, .. }) => {
                let Some((kube, _)) = KubeNode::read(&self.api, node).await? else { return Ok(true) };
                Ok(kube.run().is_none() && kube.unschedulable() == unschedulable)
            }
        }
    }

    async fn lease(&self, owner: &str, ttl: Duration) -> Result<LeaseAnswer, Fault> {
        self.lock().take(owner, ttl).await
    }
    async fn lease_holder(&self) -> Result<LeaseAnswer, Fault> {
        // There is no word for free: `Ours` says that nobody else has it.
        Ok(self.lock().holder(None).await?.unwrap_or(LeaseAnswer::Ours))
    }
    async fn drop_lease(&self, owner: &str) -> Result<(), Fault> {
        self.lock().drop(owner).await
    }
}

impl NodeMaintenance {
    fn lock(&self) -> Lock<'_> {
        Lock { api: &self.api, namespace: &self.config.lease_namespace }
    }

    fn rights(&self) -> Vec<Right<'_>> {
        let own = Some(self.config.lease_namespace.as_str());
        let right = |verb, group, resource, namespace| Right { verb, group, resource, namespace, name: "" };
        let mut rights: Vec<Right<'_>> = ["get", "list", "patch"].map(|verb| right(verb, "", "nodes", None)).into();
        rights.extend(["get", "list"].map(|verb| right(verb, "", "pods", None)));
        rights.push(right("create", "", "pods/eviction", None));
        rights.push(right("list", "policy", "poddisruptionbudgets", None));
        rights.push(right("list", "apps", "daemonsets", None));
        rights.push(right("list", "storage.k8s.io", "volumeattachments", None));
        rights.push(right("get", "storage.k8s.io", "csinodes", None));
        rights.extend(["persistentvolumes", "persistentvolumeclaims"].map(|resource| right("get", "", resource, None)));
        rights.extend(["list", "create", "delete"].map(|verb| right(verb, resource::GROUP, "nodemaintenances", None)));
        rights.push(right("get", "coordination.k8s.io", "leases", Some("kube-node-lease")));
        rights.push(right("get", "coordination.k8s.io", "leases", Some(&self.config.operator_lease_namespace)));
        rights.push(right("create", "coordination.k8s.io", "leases", own));
        rights.extend(["get", "update"].map(|verb| Right { name: marks::PROGRAM, ..right(verb, "coordination.k8s.io", "leases", own) }));
        rights
    }
}
