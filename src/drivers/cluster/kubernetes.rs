//! Plain Kubernetes: cordon, drain by evictions, restore the node as it was.
mod hands;
mod look;

use super::{Ask, Cluster, ClusterConfig, Reached, kube_api::*};
use crate::{
    kinds,
    model::{Act, Connect, DataStore, Fault, FaultKind, FilePath, LeaseAnswer, Loan, LoanId, Member, NodeView, Repeat, RunId, Span, marks},
};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{sync::Arc, time::Duration};

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
    /// Evict pods whose emptyDir data is lost thereby.
    #[serde(default = "yes")]
    pub delete_emptydir_data: bool,
    /// Evict pods that no controller starts again elsewhere.
    #[serde(default)]
    pub force: bool,
    /// Take the only control-plane node out, although nothing answers meanwhile.
    #[serde(default)]
    pub allow_control_plane_outage: bool,
}

fn thirty_seconds() -> Span {
    Span::seconds(30)
}
fn kube_system() -> String {
    "kube-system".into()
}
fn yes() -> bool {
    true
}

impl kinds::Config<dyn ClusterConfig> for Config {
    const NAME: &'static str = "kubernetes";
    const ABOUT: &'static str = "Kubernetes: cordon and drain";
    fn make(self) -> Box<dyn ClusterConfig> {
        Box::new(self)
    }
    fn validate(&self) -> Result<(), String> {
        match () {
            _ if self.kubeconfig.0.is_empty() => Err("`kubeconfig` names no file".into()),
            _ if self.request_timeout.0.is_zero() => Err("`request_timeout` must be longer than 0s".into()),
            _ if self.lease_namespace.is_empty() => Err("`lease_namespace` names no namespace".into()),
            _ => Ok(()),
        }
    }
}

impl ClusterConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Cluster>, Fault> {
        let access = Access { kubeconfig: cx.path(&self.kubeconfig), context: self.context.clone(), limit: self.request_timeout.0 };
        let api = Arc::new(Api::new(access, cx)?);
        Ok(Arc::new(Kubernetes { api, config: self.clone(), heartbeats: Heartbeats::default(), around: Around::default(), drains: look::Drains::default() }))
    }
}

struct Kubernetes {
    api: Arc<Api>,
    config: Config,
    heartbeats: Heartbeats,
    around: Around,
    drains: look::Drains,
}

/// What an act of this driver says in its `args`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Order {
    /// Cordon and mark in one patch; where somebody cordoned before us, only the mark is new.
    Cordon {
        was_unschedulable: bool,
    },
    Evict(Target),
    /// What is done to a VM.
    Guest(kubevirt::Order),
    /// The out-of-service taint (Kubernetes 1.28): its pods are deleted and its volumes detached at once.
    Fence,
    Unfence,
    /// As before us, without our marks.
    Restore {
        unschedulable: bool,
        /// The run that took it, whose loan may have passed to another.
        run: Option<String>,
    },
}

/// What the loan `cordon` remembers.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    unschedulable: bool,
    #[serde(default)]
    run: Option<String>,
}

/// The caller puts its own name for this cluster in place of it.
const CLUSTER: &str = "cluster";
/// The loan of a dead node's taint.
const FENCE: &str = "fence";

#[async_trait]
impl Cluster for Kubernetes {
    async fn probe(&self) -> Result<Reached, Fault> {
        let (version, missing_rights, warnings) = probe(&self.api, self.rights()).await?;
        let what = format!("kubernetes {version} at {}", self.api.url().await?);
        Ok(Reached { what, lease: true, missing_rights, warnings })
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let (nodes, _) = self.api.list::<Node>("list nodes", NODES, None).await?;
        Ok(nodes.into_iter().map(|n| member(&KubeNode(n))).collect())
    }

    async fn look(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        self.view(node, ask).await
    }

    async fn act(&self, node: &str, act: &Act, ask: &Ask) -> Result<(), Fault> {
        let order: Order = serde_json::from_value(act.args.clone())
            .map_err(|e| Fault::new(FaultKind::Unable, format!("{}: not an act of kubernetes", act.what)).caused_by(&e))?;
        match order {
            Order::Cordon { was_unschedulable } => self.cordon(node, was_unschedulable, ask).await,
            Order::Evict(target) => evict(&self.api, &target, node).await,
            Order::Guest(order) => kubevirt::act(&self.api, node, &order, ask).await,
            Order::Fence => self.taint(node, true).await,
            Order::Unfence => self.taint(node, false).await,
            Order::Restore { unschedulable, run } => self.restore(node, unschedulable, run.as_deref(), ask).await,
        }
    }

    async fn stores(&self, node: &str) -> Result<Vec<DataStore>, Fault> {
        stores(&self.api, node).await
    }

    fn fenced(&self, node: &str) -> Option<Act> {
        let mut act = Act::new(CLUSTER, format!("taint {node} out of service"), Repeat::Freely);
        act.args = json!(Order::Fence);
        let owed = format!("take the out-of-service taint off {node}");
        act.borrows = Some(Loan { id: LoanId(FENCE.into()), to: CLUSTER.into(), owed, before: json!({ "tainted": false }), first: false });
        Some(act)
    }

    async fn marked(&self, node: &str) -> Result<Option<Vec<Loan>>, Fault> {
        let Some((kube, _)) = KubeNode::read(&self.api, node).await? else { return Ok(Some(Vec::new())) };
        let mut owed = kubevirt::marked(&self.api, node, kube.run().is_some()).await?;
        owed.iter_mut().for_each(|loan| loan.to = CLUSTER.into());
        let Some(run) = kube.run().map(|run| RunId(run.to_owned())) else { return Ok(Some(owed)) };
        // A mark without its other half: what was before is unknown, and left cordoned is the least harm.
        let was = kube.was_unschedulable().unwrap_or(true);
        let mut cordoned = hands::cordon(node, was, &Ask { run: Some(run), ..Ask::default() });
        if let Some(loan) = &mut cordoned.borrows {
            loan.before["boot"] = json!(boot_when_taken(&kube));
        }
        let tainted = self.fenced(node).filter(|_| kube.is_out_of_service());
        // In the order in which they were taken: the node's own comes back last.
        Ok(Some([Some(cordoned), tainted].into_iter().flatten().filter_map(|act| act.borrows).chain(owed).collect()))
    }

    fn give_back(&self, node: &str, loan: &Loan) -> Act {
        if let Some((what, order)) = kubevirt::give_back(loan) {
            let mut act = Act::new(CLUSTER, what, Repeat::Freely);
            act.args = json!(Order::Guest(order));
            return act;
        }
        if loan.id.0.ends_with(FENCE) {
            let mut act = Act::new(CLUSTER, format!("take the out-of-service taint off {node}"), Repeat::Freely);
            act.args = json!(Order::Unfence);
            return act;
        }
        let Before { unschedulable, run } = hands::before(loan);
        let what = if unschedulable { format!("take our marks off {node}") } else { format!("uncordon {node}") };
        let mut act = Act::new(CLUSTER, what, Repeat::Freely);
        act.args = json!(Order::Restore { unschedulable, run });
        act
    }

    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        if let Some(paid) = kubevirt::is_paid(&self.api, loan).await? {
            return Ok(paid);
        }
        let Some((kube, _)) = KubeNode::read(&self.api, node).await? else {
            // Deleted: there is nothing left to give back.
            return Ok(true);
        };
        if loan.id.0.ends_with(FENCE) {
            return Ok(!kube.is_out_of_service());
        }
        Ok(kube.run().is_none() && kube.unschedulable() == hands::before(loan).unschedulable)
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

impl Kubernetes {
    fn lock(&self) -> Lock<'_> {
        Lock { api: &self.api, namespace: &self.config.lease_namespace }
    }

    fn rights(&self) -> Vec<Right<'_>> {
        let own = Some(self.config.lease_namespace.as_str());
        let right = |verb, group, resource, namespace| Right { verb, group, resource, namespace, name: "" };
        vec![
            right("get", "", "nodes", None),
            right("list", "", "nodes", None),
            right("patch", "", "nodes", None),
            right("get", "", "pods", None),
            right("list", "", "pods", None),
            right("create", "", "pods/eviction", None),
            right("list", "policy", "poddisruptionbudgets", None),
            right("list", "apps", "daemonsets", None),
            right("list", "storage.k8s.io", "volumeattachments", None),
            right("get", "storage.k8s.io", "csinodes", None),
            right("get", "", "persistentvolumes", None),
            right("get", "", "persistentvolumeclaims", None),
            right("get", "coordination.k8s.io", "leases", Some("kube-node-lease")),
            right("create", "coordination.k8s.io", "leases", own),
            Right { name: marks::PROGRAM, ..right("get", "coordination.k8s.io", "leases", own) },
            Right { name: marks::PROGRAM, ..right("update", "coordination.k8s.io", "leases", own) },
        ]
    }
}

fn member(kube: &KubeNode) -> Member {
    let reason = kube.annotation(marks::REASON).map(|r| format!(" ({r})")).unwrap_or_default();
    let cordoned = kube.unschedulable().then(|| match kube.run() {
        Some(run) => format!("SchedulingDisabled by pitstop run {run}{reason}"),
        None => "SchedulingDisabled".into(),
    });
    let tainted = kube.maintenance_taint().filter(|_| !kube.unschedulable()).map(|taint| format!("tainted {taint}"));
    let (not_ready, since) = kube.not_ready().unzip();
    let why: Vec<String> = [not_ready, cordoned, tainted].into_iter().flatten().collect();
    Member {
        name: kube.name().to_owned(),
        out: (!why.is_empty()).then(|| why.join(", ")),
        run: kube.run().map(str::to_owned),
        identity: kube.identity(),
        since: since.flatten().or_else(|| kube.cordoned_since()),
    }
}
