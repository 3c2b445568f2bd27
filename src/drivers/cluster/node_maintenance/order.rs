//! The acts: mark the node, ask for its maintenance, end it, and leave the node as it was, whatever the operator made of it.
use super::{
    CLUSTER, NodeMaintenance,
    resource::{self, Asked, Maintenance, PATH},
    view::is_ours,
};
use crate::{
    drivers::cluster::{Ask, kube_api::*},
    model::{Act, Fault, FaultKind, Loan, LoanId, Repeat, RunId, marks},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::MutexGuard, time::Instant};

/// What an act of this driver says in its `args`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Order {
    /// Our marks and a cordon, in one write before anything else: what was there before is remembered there too.
    Mark(Before),
    Create,
    Delete {
        name: String,
        run: Option<String>,
    },
    Restore(Before),
    Guest(kubevirt::Order),
}

/// How the node stood before us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Before {
    pub unschedulable: bool,
    /// The run that took it, whose loan may have passed to another.
    pub run: Option<String>,
    /// Others kept remediators away from it already.
    #[serde(default)]
    pub excluded: bool,
    /// VMs that somebody else was evacuating already: not ours to cancel.
    #[serde(default)]
    pub evacuating: Vec<String>,
}

pub enum Lent {
    Maintenance { name: String, run: Option<String> },
    Node(Before),
}

const EXCLUDE: &str = "remediation.medik8s.io/exclude-from-remediation";
const DRAIN: &str = "medik8s.io/drain";
const NODE_LOAN: &str = "node";

fn named(node: &str) -> String {
    format!("{}-{node}", marks::PROGRAM)
}

pub fn lent(loan: &Loan) -> Lent {
    let run = loan.before["run"].as_str().map(str::to_owned);
    match loan.before["name"].as_str() {
        Some(name) => Lent::Maintenance { name: name.to_owned(), run },
        // A loan this driver did not write means the least harm: leave it cordoned.
        None => {
            Lent::Node(serde_json::from_value(loan.before.clone()).unwrap_or(Before { unschedulable: true, run: None, excluded: true, evacuating: Vec::new() }))
        }
    }
}

pub fn mark(node: &str, kube: &KubeNode, evacuating: Vec<String>, ask: &Ask) -> Act {
    let was = kube.was_unschedulable().filter(|_| is_ours(kube.run(), ask)).unwrap_or(kube.unschedulable());
    let before = Before { unschedulable: was, run: ask.run.as_ref().map(|r| r.0.clone()), excluded: kube.label(EXCLUDE).is_some(), evacuating };
    let what = if is_ours(kube.run(), ask) { format!("cordon {node} again") } else { format!("cordon {node}") };
    let mut act = Act::new(CLUSTER, what, Repeat::Freely);
    act.borrows = Some(node_loan(node, &before));
    act.args = json!(Order::Mark(before));
    act
}

/// What the node's own marks say that we owe.
pub fn marked(node: &str, kube: &KubeNode) -> Option<Loan> {
    let run = kube.run()?.to_owned();
    // A mark without its other half: what was before is unknown, and left cordoned is the least harm. The label is the operator's to take off.
    let before = Before { unschedulable: kube.was_unschedulable().unwrap_or(true), run: Some(run), excluded: true, evacuating: Vec::new() };
    let mut loan = node_loan(node, &before);
    loan.before["boot"] = json!(boot_when_taken(kube));
    Some(loan)
}
/// The same of a NodeMaintenance.
pub fn lent_of(held: &Maintenance) -> Option<Loan> {
    let before = json!({ "name": held.name(), "run": held.run()? });
    Some(Loan { id: LoanId("maintenance".into()), to: CLUSTER.into(), owed: format!("delete NodeMaintenance {}", held.name()), before, first: false })
}
fn node_loan(node: &str, before: &Before) -> Loan {
    let owed = format!("leave {node} {}", if before.unschedulable { "cordoned, as it was" } else { "schedulable" });
    Loan { id: LoanId(NODE_LOAN.into()), to: CLUSTER.into(), owed, before: json!(before), first: false }
}

pub fn create(node: &str, ask: &Ask) -> Act {
    let mut act = Act::new(CLUSTER, format!("create NodeMaintenance {}", named(node)), Repeat::Freely);
    act.args = json!(Order::Create);
    let before = json!({ "name": named(node), "run": ask.run });
    act.borrows =
        Some(Loan { id: LoanId("maintenance".into()), to: CLUSTER.into(), owed: format!("delete NodeMaintenance {}", named(node)), before, first: false });
    act
}

pub fn guest(todo: kubevirt::Move) -> Act {
    let mut act = Act::new(CLUSTER, todo.what, Repeat::Freely);
    act.args = json!(Order::Guest(todo.order));
    act.borrows = todo.borrows.map(|loan| Loan { to: CLUSTER.into(), ..loan });
    act
}

fn unwilling(what: String) -> Fault {
    Fault::new(FaultKind::Unwilling, what)
}

impl NodeMaintenance {
    fn watch(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.gone_since.lock().expect("BUG: a holder of the watch panicked")
    }

    pub async fn mark(&self, node: &str, before: &Before, ask: &Ask) -> Result<(), Fault> {
        let what = format!("cordon {node}");
        let run = run_of(&what, ask)?;
        let (kube, _) = KubeNode::read(&self.api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
        match kube.run() {
            Some(_) if is_ours(kube.run(), ask) && kube.unschedulable() => return Ok(()),
            Some(other) if !is_ours(kube.run(), ask) => return Err(unwilling(format!("{what}: marked by pitstop run {other} meanwhile"))),
            None if kube.unschedulable() != before.unschedulable => return Err(unwilling(format!("{what}: somebody else changed its cordon meanwhile"))),
            _ => {}
        }
        self.watch().remove(node);
        let mut annotations = json!({ marks::RUN: run.0, marks::WAS_UNSCHEDULABLE: before.unschedulable.to_string() });
        if let Some(reason) = &ask.reason {
            annotations[marks::REASON] = json!(reason);
        }
        // The first picture wins: taken again after a reboot, it would show what the reboot has made of the node.
        if let (None, Some(picture)) = (kube.annotation(marks::WAS_FIT), self.around.picture(node)) {
            annotations[marks::WAS_FIT] = json!(json!(picture).to_string());
        }
        // Only if nobody wrote to the node since: what was there before must be remembered rightly.
        let body = json!({ "metadata": { "annotations": annotations, "resourceVersion": kube.version() }, "spec": { "unschedulable": true } });
        self.api.ask(&what, Call::Merge { path: NODES, name: node, body }).await.map(|_| ())
    }

    pub async fn create(&self, node: &str, ask: &Ask) -> Result<(), Fault> {
        let name = named(node);
        let what = format!("create NodeMaintenance {name}");
        let run = run_of(&what, ask)?;
        match resource::create(&self.api, &what, resource::body(&name, node, run, ask.reason.as_deref())).await? {
            Asked::Created => Ok(()),
            Asked::Exists => {
                let (all, _) = resource::all(&self.api).await?;
                let there = all.iter().find(|m| m.node() == node || m.name() == name);
                match there {
                    // Asked for, and the answer was lost.
                    Some(m) if is_ours(m.run(), ask) && m.node() == node && !m.leaving() => Ok(()),
                    Some(m) if m.leaving() => Err(unwilling(format!("{what}: {} is still being deleted", m.told()))),
                    Some(m) => Err(unwilling(format!("{what}: {node} is held by {}, which is not ours", m.told())).next("whoever made it must end it first")),
                    None => Err(unwilling(format!("{what}: there was another a moment ago"))),
                }
            }
        }
    }

    pub async fn delete(&self, node: &str, name: &str, taken_by: Option<&str>, ask: &Ask) -> Result<(), Fault> {
        let what = format!("delete NodeMaintenance {name}");
        let Some((found, _)) = self.api.get::<Value>(&what, PATH, name).await? else { return Ok(()) };
        let found = Maintenance(found);
        if found.node() != node || found.leaving() {
            return Ok(());
        }
        if !(is_ours(found.run(), ask) || taken_by.is_some() && found.run() == taken_by) {
            return Err(unwilling(format!("{what}: it is {}, not ours", found.told())));
        }
        let reply = self.api.send(&what, Call::Delete { path: PATH, name, uid: found.uid() }).await?;
        match reply.code {
            404 => Ok(()),
            _ if reply.ok() => Ok(()),
            _ => Err(refused(&what, &reply.status(), true)),
        }
    }

    /// Once the operator has let go: the operator always uncordons, may cordon once more afterwards, and never stops KubeVirt's evacuations.
    pub async fn restore(&self, node: &str, before: &Before, ask: &Ask) -> Result<(), Fault> {
        let what = format!("leave {node} as it was");
        let Some((kube, _)) = KubeNode::read(&self.api, node).await? else { return Ok(()) };
        let unschedulable = before.unschedulable || kube.was_unschedulable() == Some(true);
        match kube.run() {
            Some(mark) if Some(mark) != before.run.as_deref() && !is_ours(Some(mark), ask) => {
                return Err(unwilling(format!("{what}: marked by pitstop run {mark}")).next(format!("pitstop resume {mark}")));
            }
            None if kube.unschedulable() == unschedulable => return Ok(()),
            None => {
                let now = if kube.unschedulable() { "cordoned" } else { "schedulable" };
                let fault = unwilling(format!("{what}: our mark is gone and it is {now}: somebody else decided that"));
                return Err(fault.next(format!("kubectl {} {node}, if that is wrong", if unschedulable { "cordon" } else { "uncordon" })));
            }
            Some(_) => {}
        }
        let (all, _) = resource::all(&self.api).await?;
        if let Some(there) = all.iter().find(|m| m.node() == node) {
            self.watch().remove(node);
            return Err(match (there.leaving(), there.last_error().filter(|_| there.leaving())) {
                (true, Some(error)) => unwilling(format!("{what}: {} is still being deleted; the operator's last error: {error}", there.told()))
                    .next(format!("kubectl describe nodemaintenance {}; the operator has to take its finalizer off", there.name())),
                (true, None) => unwilling(format!("{what}: {} is still being deleted", there.told())),
                (false, _) => unwilling(format!("{what}: {} holds it", there.told())),
            });
        }
        let since = self.watch().entry(node.to_owned()).or_insert_with(Instant::now).elapsed();
        if let Some(left) = self.config.watch_after.0.checked_sub(since).filter(|left| !left.is_zero()) {
            let why = format!("watched for {} s more: an operator may cordon a node once more after its NodeMaintenance is gone", left.as_secs() + 1);
            return Err(unwilling(format!("{what}: {why}")));
        }
        kubevirt::cancel_all(&self.api, node, &before.evacuating).await?;
        let mut metadata = json!({ "annotations": { marks::RUN: null, marks::WAS_UNSCHEDULABLE: null, marks::WAS_FIT: null, marks::REASON: null } });
        if !before.excluded && kube.label(EXCLUDE).is_some() {
            metadata["labels"] = json!({ EXCLUDE: null });
        }
        let mut spec = json!({ "unschedulable": if unschedulable { json!(true) } else { Value::Null } });
        let taints = kube.0.spec.as_ref().and_then(|s| s.taints.as_ref());
        if let Some(taints) = taints.filter(|t| t.iter().any(|t| t.key == DRAIN)) {
            // A merge patch writes lists whole: only onto what was read.
            metadata["resourceVersion"] = json!(kube.version());
            spec["taints"] = json!(taints.iter().filter(|t| t.key != DRAIN).collect::<Vec<_>>());
        }
        self.api.ask(&what, Call::Merge { path: NODES, name: node, body: json!({ "metadata": metadata, "spec": spec }) }).await.map(|_| ())
    }
}

fn run_of<'a>(what: &str, ask: &'a Ask) -> Result<&'a RunId, Fault> {
    ask.run.as_ref().ok_or_else(|| Fault::new(FaultKind::Unable, format!("{what}: only a run may, and leaves its mark")))
}
