//! In whose hands the node is: taking it with a cordon and our marks, and giving it back as it was.
use super::{Before, CLUSTER, Kubernetes, Order};
use crate::{
    drivers::cluster::{Ask, kube_api::*},
    model::{Act, Fault, FaultKind, Loan, LoanId, Repeat, marks},
};
use serde_json::{Value, json};

impl Kubernetes {
    pub(super) async fn cordon(&self, node: &str, was_unschedulable: bool, ask: &Ask) -> Result<(), Fault> {
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
        // The first picture wins: taken again after a reboot, it would show what the reboot has made of the node.
        if let (None, Some(picture)) = (kube.annotation(marks::WAS_FIT), self.around.picture(node)) {
            annotations[marks::WAS_FIT] = json!(json!(picture).to_string());
        }
        // Only if nobody wrote to the node since: what was there before must be remembered rightly.
        self.patch(&what, &kube, kube.version(), annotations, true).await
    }

    pub(super) async fn restore(&self, node: &str, unschedulable: bool, taken_by: Option<&str>, ask: &Ask) -> Result<(), Fault> {
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
        let gone = json!({ marks::RUN: null, marks::WAS_UNSCHEDULABLE: null, marks::WAS_FIT: null, marks::REASON: null });
        // No other run writes here while the mark is ours, and a kubelet's status must not hinder a node's way back.
        self.patch(&what, &kube, None, gone, unschedulable).await
    }

    /// Only the one taint, only if nobody wrote to the node since it was read.
    pub(super) async fn taint(&self, node: &str, on: bool) -> Result<(), Fault> {
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
pub(super) enum Hold {
    /// Cordoned, with our mark.
    Ours,
    /// Schedulable (and perhaps marked by us: somebody uncordoned it under our hands).
    Free,
    /// Cordoned, without any mark.
    Cordoned,
    OtherRun(String),
}

pub(super) fn is_ours(kube: &KubeNode, ask: &Ask) -> bool {
    // What an earlier run left and this one has taken over is ours, mark and all.
    kube.run().is_some_and(|mark| ask.run.iter().chain(&ask.inherited).any(|run| run.0 == mark))
}

pub(super) fn held_by(kube: &KubeNode, ask: &Ask) -> Hold {
    match kube.run() {
        Some(other) if !is_ours(kube, ask) => Hold::OtherRun(other.to_owned()),
        Some(_) if kube.unschedulable() => Hold::Ours,
        None if kube.unschedulable() => Hold::Cordoned,
        _ => Hold::Free,
    }
}

pub(super) fn cordon(node: &str, was_unschedulable: bool, ask: &Ask) -> Act {
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

pub(super) fn eviction(target: Target) -> Act {
    let mut act = Act::new(CLUSTER, format!("evict {target}"), Repeat::Freely);
    act.args = json!(Order::Evict(target));
    act
}

pub(super) fn guest(todo: kubevirt::Move) -> Act {
    let mut act = Act::new(CLUSTER, todo.what, Repeat::Freely);
    act.args = json!(Order::Guest(todo.order));
    act.borrows = todo.borrows.map(|loan| Loan { to: CLUSTER.into(), ..loan });
    act
}

/// A loan this driver did not write means the least harm: leave it cordoned.
pub(super) fn before(loan: &Loan) -> Before {
    serde_json::from_value(loan.before.clone()).unwrap_or(Before { unschedulable: true, run: None })
}
