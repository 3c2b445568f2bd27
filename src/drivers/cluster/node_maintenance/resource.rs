//! The NodeMaintenance resource and what its statuses mean: `Succeeded` may be a lie, `Failed` may be an open node, and a silent operator says nothing at all.
use crate::{
    drivers::cluster::kube_api::{Api, Call, refused},
    model::{Fault, FaultKind, RunId, Timestamp, marks},
};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

pub const GROUP: &str = "nodemaintenance.medik8s.io";
pub const PATH: &str = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances";
/// Who holds the lease of a node while the operator maintains it.
const OPERATOR: &str = "node-maintenance";

#[derive(Debug, Clone)]
pub struct Maintenance(pub Value);

/// How a NodeMaintenance stands, as far as its words can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// The operator works; how far it says to be.
    Draining(String),
    /// The operator says that it is done. Whether the node is empty, only its pods say.
    SaysDone,
    Leaving,
    /// Nobody works on it.
    Silent(String),
    /// Someone else holds the node's lease: they fence it, or have taken it back.
    Contested(String),
    Failed(String),
}

impl Maintenance {
    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }
    pub fn node(&self) -> &str {
        self.text("/spec/nodeName")
    }
    /// The run that made it.
    pub fn run(&self) -> Option<&str> {
        self.0["metadata"]["annotations"][marks::RUN].as_str()
    }
    /// Whoever it belongs to, in words.
    pub fn told(&self) -> String {
        let reason = self.text("/spec/reason");
        // Ours says the run itself.
        let reason = self.run().map_or(reason, |run| reason.trim_end_matches(&format!("(pitstop run {run})")).trim_end());
        let reason = Some(reason).filter(|r| !r.is_empty()).map(|r| format!(" ({r})")).unwrap_or_default();
        match self.run() {
            Some(run) => format!("NodeMaintenance {} by pitstop run {run}{reason}", self.name()),
            None => format!("NodeMaintenance {}{reason}", self.name()),
        }
    }
    pub fn created(&self) -> Option<&str> {
        Some(self.text("/metadata/creationTimestamp")).filter(|t| !t.is_empty())
    }
    pub fn leaving(&self) -> bool {
        !self.0["metadata"]["deletionTimestamp"].is_null()
    }
    /// The last failure; the operator never takes it back, so it says nothing about now.
    pub fn last_error(&self) -> Option<&str> {
        Some(self.text("/status/lastError")).filter(|e| !e.is_empty())
    }

    /// Pure. `patience`: an operator that says nothing for so long is dead; one that works says something twice as often.
    pub fn state(&self, now: Option<Timestamp>, patience: std::time::Duration) -> State {
        let since = |pointer: &str| {
            let at: Timestamp = self.text(pointer).parse().ok()?;
            Some(now?.as_second() - at.as_second())
        };
        let patience = patience.as_secs().max(1) as i64;
        let error = self.last_error().unwrap_or("no reason given");
        let lease_lost = self.0["status"]["errorOnLeaseCount"].as_i64().unwrap_or(0) > 3;
        match self.text("/status/phase") {
            _ if self.leaving() => State::Leaving,
            "Succeeded" => State::SaysDone,
            "Failed" if lease_lost || error.contains("lease") => {
                State::Contested(format!("the operator lost the node's lease, gave up and uncordoned the node itself: {error}"))
            }
            "Failed" => State::Failed(error.to_owned()),
            "Running" if error.contains("not owned by us") => State::Contested(error.to_owned()),
            "Running" => match since("/status/lastUpdate") {
                Some(age) if age > 2 * patience => State::Silent(format!("the operator has not said anything for {age} s")),
                _ => State::Draining(self.progress()),
            },
            _ => match since("/metadata/creationTimestamp") {
                Some(age) if age > patience => State::Silent(format!("no operator has taken it up for {age} s")),
                _ => State::Draining("not yet taken up by the operator".into()),
            },
        }
    }

    /// `drainProgress` may be negative where new pods arrive; then it says nothing.
    fn progress(&self) -> String {
        let status = &self.0["status"];
        let pending = match status["pendingPodsRefs"].as_array() {
            Some(refs) => refs.len(),
            None => status["pendingPods"].as_array().map_or(0, Vec::len),
        };
        match status["drainProgress"].as_i64().unwrap_or(0) {
            done if done >= 0 => format!("the operator drains: {done} % done, {pending} pods pending"),
            _ => format!("the operator drains: {pending} pods pending, more than when it began"),
        }
    }
}

pub async fn all(api: &Api) -> Result<(Vec<Maintenance>, Option<Timestamp>), Fault> {
    let (items, date) = api.list::<Value>("list NodeMaintenances", PATH, None).await.map_err(|fault| match fault.kind {
        FaultKind::Unable => not_installed().cause(fault.what),
        _ => fault,
    })?;
    Ok((items.into_iter().map(Maintenance).collect(), date))
}

pub fn not_installed() -> Fault {
    Fault::new(FaultKind::Unable, format!("this cluster has no NodeMaintenance ({GROUP})"))
        .next("install medik8s' Node Maintenance Operator, or call the cluster's table [clusters.….kubernetes]")
}

/// Somebody other than the operator who holds the node's lease now.
pub async fn foreign_holder(api: &Api, namespace: &str, node: &str) -> Result<Option<String>, Fault> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let found = match api.get::<Lease>(&format!("read lease {namespace}/node-{node}"), &path, &format!("node-{node}")).await {
        Ok(found) => found,
        // What we may not see does not hinder: the operator's own words about the lease still count.
        Err(fault) if fault.kind == FaultKind::Denied => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let Some((lease, now)) = found else { return Ok(None) };
    let Some(spec) = lease.spec else { return Ok(None) };
    let holder = spec.holder_identity.filter(|h| !h.is_empty() && h != OPERATOR);
    let lapsed = match (now, spec.renew_time, spec.lease_duration_seconds) {
        (Some(now), Some(renewed), Some(seconds)) => now.as_second() > renewed.0.as_second() + i64::from(seconds) + 1,
        _ => false,
    };
    Ok(holder.filter(|_| !lapsed))
}

pub fn body(name: &str, node: &str, run: &RunId, reason: Option<&str>) -> Value {
    let reason = format!("{} (pitstop run {})", reason.unwrap_or("maintenance"), run.0);
    json!({ "apiVersion": "nodemaintenance.medik8s.io/v1beta1", "kind": "NodeMaintenance",
        "metadata": { "name": name, "annotations": { marks::RUN: run.0 } }, "spec": { "nodeName": node, "reason": reason } })
}

/// What came of asking for one.
#[derive(Debug)]
pub enum Asked {
    Created,
    /// There is one for this node, or of this name: whose, must be looked at.
    Exists,
}

/// One exchange, and the webhook's refusals by their words: it has no codes for them.
pub async fn create(api: &Api, what: &str, body: Value) -> Result<Asked, Fault> {
    let reply = api.send(what, Call::Create { path: PATH, body }).await?;
    if reply.ok() {
        return Ok(Asked::Created);
    }
    let status = reply.status();
    let said = |word: &str| status.message.contains(word);
    let fault = |kind, why: &str| Fault::new(kind, format!("{what}: {why}")).cause(&status.message);
    match reply.code {
        409 => Ok(Asked::Exists),
        404 => Err(not_installed()),
        _ if said("already exists") => Ok(Asked::Exists),
        _ if said("no node with name") => Err(fault(FaultKind::Unable, "the operator knows no such node").next("kubectl get nodes")),
        _ if said("violate etcd quorum") => Err(fault(FaultKind::Unwilling, "etcd would lose its quorum")
            .next("wait until every other control plane node is Ready: kubectl -n openshift-etcd get pdb,pods; exactly one PodDisruptionBudget must be there")),
        _ if said("please try again") => Err(fault(FaultKind::Unwilling, "the operator's webhook could not read the nodes")),
        _ if said("failed calling webhook") => Err(fault(FaultKind::Unwilling, "the operator's webhook does not answer")
            .next("its single pod may have been on a node that was drained: kubectl get pods -A | grep node-maintenance-operator")),
        _ if said("isn't allowed") => Err(fault(FaultKind::Unable, "the operator's webhook does not allow it")),
        _ => Err(refused(what, &status, true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn state(status: Value) -> State {
        let nm = Maintenance(json!({ "metadata": { "name": "n", "creationTimestamp": "2026-01-05T10:00:00Z" }, "status": status }));
        nm.state("2026-01-05T10:01:00Z".parse().ok(), Duration::from_secs(60))
    }

    #[test]
    fn the_words_of_the_operator_are_weighed() {
        let running = json!({ "phase": "Running", "drainProgress": 40, "evictionPods": 5, "totalpods": 19, "lastUpdate": "2026-01-05T10:00:07Z",
            "pendingPods": ["web-0"], "pendingPodsRefs": [{ "namespace": "shop", "name": "web-0" }],
            "lastError": "error when evicting pods/\"web-0\" -n \"shop\": global timeout reached: 30s" });
        assert_eq!(state(running.clone()), State::Draining("the operator drains: 40 % done, 1 pods pending".into()));
        let mut negative = running.clone();
        negative["drainProgress"] = json!(-20);
        assert_eq!(state(negative), State::Draining("the operator drains: 1 pods pending, more than when it began".into()));
        let mut old = running;
        old["lastUpdate"] = json!("2026-01-05T09:58:00Z");
        assert!(matches!(state(old), State::Silent(why) if why.contains("180 s")));
        assert!(matches!(state(json!({})), State::Draining(_)), "60 s are not more than 60 s");
        // lastError is never cleared: it says nothing about a success.
        assert_eq!(state(json!({ "phase": "Succeeded", "lastError": "global timeout reached" })), State::SaysDone);
        let lost = json!({ "phase": "Failed", "errorOnLeaseCount": 4, "lastError": "can't update or invalidate a lease that is not owned by us" });
        assert!(matches!(state(lost), State::Contested(_)));
        assert_eq!(state(json!({ "phase": "Failed", "lastError": "nodes \"x\" not found" })), State::Failed("nodes \"x\" not found".into()));
    }
}
