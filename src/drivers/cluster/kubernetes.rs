//! Plain Kubernetes: cordon, drain by evictions, restore the node as it was.
use super::{Ask, Cluster, ClusterConfig, Reached, kube_api::*};
use crate::{
    kinds,
    model::{Act, Blocker, Connect, Fault, FaultKind, FilePath, LeaseAnswer, Loan, LoanId, Member, NodeView, Repeat, RunId, Span, Unmovable, Workload, marks},
};
use async_trait::async_trait;
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::version::Info};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
        Ok(Arc::new(Kubernetes { api: Api::new(access)?, heartbeats: Heartbeats::default(), config: self.clone() }))
    }
}

struct Kubernetes {
    api: Api,
    heartbeats: Heartbeats,
    config: Config,
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
        let what = "read the version of the API server";
        let version: Info = self.api.ask(what, Call::Get { path: "", name: "version" }).await?.parse(what)?;
        let mut warnings = Vec::new();
        if !self.api.verified().await? {
            warnings.push("TLS is not verified: the kubeconfig says insecure-skip-tls-verify".into());
        }
        let missing_rights = match missing(&self.api, &self.rights()).await {
            Ok(missing) => missing,
            // Old or closed servers: what is missing shows when it is needed.
            Err(f) if matches!(f.kind, FaultKind::Unable | FaultKind::Denied) => {
                warnings.push(format!("rights could not be asked for: {f}"));
                Vec::new()
            }
            Err(f) => return Err(f),
        };
        let what = format!("kubernetes {} at {}", version.git_version, self.api.url().await?);
        Ok(Reached { what, lease: true, missing_rights, warnings })
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let (nodes, _) = self.api.list::<Node>("list nodes", NODES, None).await?;
        Ok(nodes.into_iter().map(|n| member(&KubeNode(n))).collect())
    }

    async fn look(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        let (kube, _) = KubeNode::read(&self.api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
        let (heartbeat, pods) = futures::try_join!(self.heartbeats.stale(&self.api, node), list_pods(&self.api, node))?;
        let (pods, server_now) = pods;
        let policy = Policy { delete_emptydir_data: self.config.delete_emptydir_data, force: self.config.force };
        let mut left = classify(&pods, policy);
        if ask.unmovable != Unmovable::Refuse && !left.impossible.is_empty() {
            left.notes.push("kubernetes cannot stop a pod and start it again: `unmovable` changes nothing here".into());
        }
        // Budgets matter only to pods that are yet to be asked to leave.
        let (budgets, blind) = match left.must.iter().all(|p| p.metadata.deletion_timestamp.is_some()) {
            true => (Vec::new(), None),
            false => match budgets(&self.api).await {
                Ok(budgets) => (budgets, None),
                Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => {
                    (Vec::new(), Some(format!("PodDisruptionBudgets were not looked at: {f}")))
                }
                Err(f) => return Err(f),
            },
        };
        left.notes.extend(blind);

        let workloads: Vec<Workload> = left
            .must
            .iter()
            .map(|pod| Workload {
                kind: "pod".into(),
                name: target(pod).to_string(),
                leaving: pod.metadata.deletion_timestamp.is_some(),
                stuck: stuck(pod, &budgets, server_now),
            })
            .collect();
        let mut blockers: Vec<Blocker> = workloads.iter().filter_map(|w| w.stuck.as_ref().map(|why| Blocker::new(format!("pod {}", w.name), why))).collect();
        let moves = match held_by(&kube, ask) {
            Hold::Ours => left.must.iter().zip(&workloads).filter(|(_, w)| !w.leaving).map(|(pod, _)| eviction(target(pod))).collect(),
            Hold::Free => vec![cordon(node, kube.was_unschedulable().filter(|_| is_ours(&kube, ask)).unwrap_or(false), ask)],
            Hold::Cordoned => vec![cordon(node, true, ask)],
            Hold::OtherRun(run) => {
                blockers.push(Blocker::new(format!("node {node}"), format!("marked by pitstop run {run}: finish or release that one first")));
                Vec::new()
            }
        };
        let mut not_ready: Vec<String> = kube.not_ready().map(|(why, _)| why).into_iter().collect();
        not_ready.extend(heartbeat);
        Ok(NodeView {
            identity: kube.identity(),
            boot: kube.boot(),
            ready: not_ready.is_empty(),
            not_ready,
            enabled: !kube.unschedulable() && kube.maintenance_taint().is_none(),
            in_maintenance: kube.unschedulable(),
            marked_by: kube.run().map(str::to_owned),
            workloads,
            fixed: left.fixed,
            moves,
            blockers,
            impossible: left.impossible,
            notes: left.notes,
        })
    }

    async fn act(&self, node: &str, act: &Act, ask: &Ask) -> Result<(), Fault> {
        let order: Order = serde_json::from_value(act.args.clone())
            .map_err(|e| Fault::new(FaultKind::Unable, format!("{}: not an act of kubernetes", act.what)).caused_by(&e))?;
        match order {
            Order::Cordon { was_unschedulable } => self.cordon(node, was_unschedulable, ask).await,
            Order::Evict(target) => evict(&self.api, &target, node).await,
            Order::Fence => self.taint(node, true).await,
            Order::Unfence => self.taint(node, false).await,
            Order::Restore { unschedulable, run } => self.restore(node, unschedulable, run.as_deref(), ask).await,
        }
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
        let Some(run) = kube.run().map(|run| RunId(run.to_owned())) else { return Ok(Some(Vec::new())) };
        // A mark without its other half: what was before is unknown, and left cordoned is the least harm.
        let was = kube.was_unschedulable().unwrap_or(true);
        let cordoned = cordon(node, was, &Ask { run: Some(run), ..Ask::default() });
        let tainted = self.fenced(node).filter(|_| kube.is_out_of_service());
        Ok(Some([Some(cordoned), tainted].into_iter().flatten().filter_map(|act| act.borrows).collect()))
    }

    fn give_back(&self, node: &str, loan: &Loan) -> Act {
        if loan.id.0.ends_with(FENCE) {
            let mut act = Act::new(CLUSTER, format!("take the out-of-service taint off {node}"), Repeat::Freely);
            act.args = json!(Order::Unfence);
            return act;
        }
        let Before { unschedulable, run } = before(loan);
        let what = if unschedulable { format!("take our marks off {node}") } else { format!("uncordon {node}") };
        let mut act = Act::new(CLUSTER, what, Repeat::Freely);
        act.args = json!(Order::Restore { unschedulable, run });
        act
    }

    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        let Some((kube, _)) = KubeNode::read(&self.api, node).await? else {
            // Deleted: there is nothing left to give back.
            return Ok(true);
        };
        if loan.id.0.ends_with(FENCE) {
            return Ok(!kube.is_out_of_service());
        }
        Ok(kube.run().is_none() && kube.unschedulable() == before(loan).unschedulable)
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
            right("get", "coordination.k8s.io", "leases", Some("kube-node-lease")),
            right("create", "coordination.k8s.io", "leases", own),
            Right { name: marks::PROGRAM, ..right("get", "coordination.k8s.io", "leases", own) },
            Right { name: marks::PROGRAM, ..right("update", "coordination.k8s.io", "leases", own) },
        ]
    }

    async fn cordon(&self, node: &str, was_unschedulable: bool, ask: &Ask) -> Result<(), Fault> {
        let what = format!("cordon {node}");
        let run = ask.run.as_ref().ok_or_else(|| Fault::new(FaultKind::Unable, format!("{what}: only a run may, and leaves its mark")))?;
        let (kube, _) = KubeNode::read(&self.api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
        match held_by(&kube, ask) {
            // A repeat of what was answered but not heard.
            Hold::Ours => return Ok(()),
            Hold::OtherRun(other) => return Err(Fault::new(FaultKind::Unwilling, format!("{what}: marked by pitstop run {other} meanwhile"))),
            Hold::Cordoned if !was_unschedulable => return Err(Fault::new(FaultKind::Unwilling, format!("{what}: somebody else cordoned it meanwhile"))),
            Hold::Free if was_unschedulable && !is_ours(&kube, ask) => {
                return Err(Fault::new(FaultKind::Unwilling, format!("{what}: somebody else uncordoned it meanwhile")));
            }
            Hold::Free | Hold::Cordoned => {}
        }
        let mut annotations = json!({ marks::RUN: run.0, marks::WAS_UNSCHEDULABLE: was_unschedulable.to_string() });
        if let Some(reason) = &ask.reason {
            annotations[marks::REASON] = json!(reason);
        }
        // Only if nobody wrote to the node since: what was there before must be remembered rightly.
        self.patch(&what, &kube, kube.version(), annotations, true).await
    }

    async fn restore(&self, node: &str, unschedulable: bool, taken_by: Option<&str>, ask: &Ask) -> Result<(), Fault> {
        let what = format!("uncordon {node}");
        let Some((kube, _)) = KubeNode::read(&self.api, node).await? else { return Ok(()) };
        // The mark itself remembers too: a node cordoned before us is never uncordoned.
        let unschedulable = unschedulable || kube.was_unschedulable() == Some(true);
        match kube.run() {
            Some(mark) if Some(mark) != taken_by && !is_ours(&kube, ask) => {
                let fault = Fault::new(FaultKind::Unwilling, format!("{what}: marked by pitstop run {mark}"));
                return Err(fault.next(format!("pitstop resume {mark}")));
            }
            None if kube.unschedulable() == unschedulable => return Ok(()),
            None => {
                let now = if kube.unschedulable() { "cordoned" } else { "schedulable" };
                let fault = Fault::new(FaultKind::Unwilling, format!("{what}: our mark is gone and it is {now}: somebody else decided that"));
                return Err(fault.next(format!("kubectl {} {node}, if that is wrong", if unschedulable { "cordon" } else { "uncordon" })));
            }
            Some(_) => {}
        }
        let gone = json!({ marks::RUN: null, marks::WAS_UNSCHEDULABLE: null, marks::REASON: null });
        // No other run writes here while the mark is ours, and a kubelet's status must not hinder a node's way back.
        self.patch(&what, &kube, None, gone, unschedulable).await
    }

    /// Only the one taint, only if nobody wrote to the node since it was read.
    async fn taint(&self, node: &str, on: bool) -> Result<(), Fault> {
        let what = if on { format!("taint {node} out of service") } else { format!("take the out-of-service taint off {node}") };
        let (kube, _) = KubeNode::read(&self.api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
        if kube.is_out_of_service() == on {
            return Ok(());
        }
        let body = json!({ "metadata": { "resourceVersion": kube.version() }, "spec": { "taints": kube.taints_with(on) } });
        self.api.ask(&what, Call::Patch { path: NODES, name: kube.name(), body }).await.map(|_| ())
    }

    /// Marks and cordon in one write.
    async fn patch(&self, what: &str, kube: &KubeNode, unless_after: Option<&str>, annotations: Value, unschedulable: bool) -> Result<(), Fault> {
        let mut metadata = json!({ "annotations": annotations });
        if let Some(version) = unless_after {
            metadata["resourceVersion"] = json!(version);
        }
        let body = json!({
            "metadata": metadata,
            // As kubectl does: the field is absent on a schedulable node.
            "spec": { "unschedulable": if unschedulable { json!(true) } else { Value::Null } },
        });
        self.api.ask(what, Call::Patch { path: NODES, name: kube.name(), body }).await.map(|_| ())
    }
}

/// In whose hands the node is.
enum Hold {
    /// Cordoned, with our mark.
    Ours,
    /// Schedulable (and perhaps marked by us: somebody uncordoned it under our hands).
    Free,
    /// Cordoned, without any mark.
    Cordoned,
    OtherRun(String),
}

fn is_ours(kube: &KubeNode, ask: &Ask) -> bool {
    // What an earlier run left and this one has taken over is ours, mark and all.
    kube.run().is_some_and(|mark| ask.run.iter().chain(&ask.inherited).any(|run| run.0 == mark))
}

fn held_by(kube: &KubeNode, ask: &Ask) -> Hold {
    match kube.run() {
        Some(other) if !is_ours(kube, ask) => Hold::OtherRun(other.to_owned()),
        Some(_) if kube.unschedulable() => Hold::Ours,
        None if kube.unschedulable() => Hold::Cordoned,
        _ => Hold::Free,
    }
}

fn cordon(node: &str, was_unschedulable: bool, ask: &Ask) -> Act {
    let run = ask.run.as_ref().map(|r| r.0.clone());
    let (what, owed) = match was_unschedulable {
        true => (format!("mark {node} (cordoned before)"), format!("take our marks off {node}")),
        false => (format!("cordon {node}"), format!("uncordon {node}")),
    };
    let mut act = Act::new(CLUSTER, what, Repeat::Freely);
    act.args = json!(Order::Cordon { was_unschedulable });
    let before = json!(Before { unschedulable: was_unschedulable, run });
    act.borrows = Some(Loan { id: LoanId("cordon".into()), to: CLUSTER.into(), owed, before, first: false });
    act
}

fn eviction(target: Target) -> Act {
    let mut act = Act::new(CLUSTER, format!("evict {target}"), Repeat::Freely);
    act.args = json!(Order::Evict(target));
    act
}

fn target(pod: &k8s_openapi::api::core::v1::Pod) -> Target {
    let text = |v: &Option<String>| v.clone().unwrap_or_default();
    Target { namespace: text(&pod.metadata.namespace), name: text(&pod.metadata.name), uid: text(&pod.metadata.uid) }
}

/// A loan this driver did not write means the least harm: leave it cordoned.
fn before(loan: &Loan) -> Before {
    serde_json::from_value(loan.before.clone()).unwrap_or(Before { unschedulable: true, run: None })
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
