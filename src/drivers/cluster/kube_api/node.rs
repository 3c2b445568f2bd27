//! A node as its cluster sees it: identity, boot, heartbeat, cordon and marks.
use super::Api;
use crate::model::{Boot, Fault, FaultKind, Identity, Timestamp, marks};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

pub const NODES: &str = "/api/v1/nodes";

/// Taints that keep new work away while somebody maintains the node. A workload's own taints (GPU, control plane) are no maintenance.
const MAINTENANCE_TAINTS: [&str; 4] = ["node.kubernetes.io/unschedulable", "medik8s.io/drain", "kubevirt.io/drain", "node.kubernetes.io/out-of-service"];

/// There until what the node needs has come up.
const STARTUP_TAINTS: [&str; 5] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/uninitialized",
];
const OUT_OF_SERVICE: &str = MAINTENANCE_TAINTS[3];

pub struct KubeNode(pub Node);

impl KubeNode {
    pub async fn read(api: &Api, name: &str) -> Result<Option<(KubeNode, Option<Timestamp>)>, Fault> {
        let found = api.get::<Node>(&format!("read node {name}"), NODES, name).await?;
        Ok(found.map(|(node, date)| (KubeNode(node), date)))
    }
    pub fn missing(name: &str) -> Fault {
        Fault::new(FaultKind::Unable, format!("node {name}: the cluster does not know it")).next("kubectl get nodes")
    }
    pub fn name(&self) -> &str {
        self.0.metadata.name.as_deref().unwrap_or_default()
    }
    pub fn version(&self) -> Option<&str> {
        self.0.metadata.resource_version.as_deref()
    }
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.0.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
    pub fn label(&self, key: &str) -> Option<&str> {
        self.0.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }
    pub fn label_values(&self) -> Vec<String> {
        self.0.metadata.labels.iter().flat_map(|l| l.values().cloned()).collect()
    }
    pub fn taint(&self, key: &str) -> Option<&k8s_openapi::api::core::v1::Taint> {
        self.0.spec.iter().flat_map(|s| s.taints.iter().flatten()).find(|t| t.key == key)
    }
    pub fn condition(&self, kind: &str) -> Option<&str> {
        self.0.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == kind).map(|c| c.status.as_str())
    }
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.0.status.iter().flat_map(|s| s.addresses.iter().flatten()).map(|a| a.address.as_str())
    }
    /// What a node shows that is not wholly up yet. Conditions that nobody here knows are no failures.
    pub fn starting(&self) -> Vec<String> {
        const PRESSURE: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"];
        let conditions = PRESSURE.iter().filter(|kind| self.condition(kind) == Some("True")).map(|kind| format!("condition {kind} is True"));
        let taints = self.0.spec.iter().flat_map(|s| s.taints.iter().flatten());
        let starts = |key: &str| STARTUP_TAINTS.contains(&key) || key.ends_with("agent-not-ready");
        conditions.chain(taints.filter(|t| starts(&t.key)).map(|t| format!("taint {} is still there", t.key))).collect()
    }
    /// May a new pod like this one be placed here, as far as labels and taints say?
    pub fn takes(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let labels = self.0.metadata.labels.as_ref();
        let named = spec.node_selector.iter().flatten().all(|(k, v)| self.label(k) == Some(v));
        let tolerated = |t: &k8s_openapi::api::core::v1::Taint| {
            spec.tolerations.iter().flatten().any(|tol| {
                let same_key = tol.key.as_deref().is_none_or(|k| k.is_empty() || k == t.key);
                let same_value =
                    tol.operator.as_deref() == Some("Exists") || tol.value.as_deref().unwrap_or_default() == t.value.as_deref().unwrap_or_default();
                same_key && same_value && tol.effect.as_deref().is_none_or(|e| e.is_empty() || e == t.effect)
            })
        };
        let mut hard = self.0.spec.iter().flat_map(|s| s.taints.iter().flatten()).filter(|t| t.effect != "PreferNoSchedule");
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref());
        let wanted = affinity.is_none_or(|a| {
            a.node_selector_terms.iter().any(|term| {
                let rules = term.match_expressions.as_deref().unwrap_or_default();
                rules.iter().all(|rule| {
                    let value = labels.and_then(|l| l.get(&rule.key));
                    let listed = value.is_some_and(|v| rule.values.as_deref().unwrap_or_default().contains(v));
                    match rule.operator.as_str() {
                        "In" => listed,
                        "NotIn" => !listed,
                        "Exists" => value.is_some(),
                        "DoesNotExist" => value.is_none(),
                        // Greater and less: nobody can say here, so it is not said that it cannot.
                        _ => true,
                    }
                })
            })
        });
        named && wanted && hard.all(tolerated)
    }
    /// The run whose mark it carries.
    pub fn run(&self) -> Option<&str> {
        self.annotation(marks::RUN)
    }
    /// How it stood before the run that marked it.
    pub fn was_unschedulable(&self) -> Option<bool> {
        self.annotation(marks::WAS_UNSCHEDULABLE).map(|v| v == "true")
    }
    pub fn unschedulable(&self) -> bool {
        self.0.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false)
    }
    pub fn maintenance_taint(&self) -> Option<&str> {
        let taints = self.0.spec.iter().flat_map(|s| s.taints.iter().flatten());
        taints.map(|t| t.key.as_str()).find(|key| MAINTENANCE_TAINTS.contains(key))
    }
    pub fn is_out_of_service(&self) -> bool {
        self.0.spec.iter().flat_map(|s| s.taints.iter().flatten()).any(|t| t.key == OUT_OF_SERVICE)
    }
    /// All its taints, with or without the one for a node that is off for good. A merge patch replaces the list.
    pub fn taints_with(&self, out_of_service: bool) -> serde_json::Value {
        let others = self.0.spec.iter().flat_map(|s| s.taints.iter().flatten()).filter(|t| t.key != OUT_OF_SERVICE);
        let mut taints: Vec<serde_json::Value> = others.map(|t| serde_json::json!(t)).collect();
        if out_of_service {
            taints.push(serde_json::json!({ "key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute" }));
        }
        serde_json::json!(taints)
    }
    /// Since when nothing new is placed here, as the node controller noted it.
    pub fn cordoned_since(&self) -> Option<String> {
        let mut taints = self.0.spec.iter().flat_map(|s| s.taints.iter().flatten());
        let taint = taints.find(|t| t.key == MAINTENANCE_TAINTS[0])?;
        Some(taint.time_added.as_ref()?.0.to_string())
    }
    pub fn identity(&self) -> Identity {
        let info = self.0.status.as_ref().and_then(|s| s.node_info.as_ref());
        let text = |v: &str| Some(v.to_owned()).filter(|v| !v.is_empty());
        Identity { uuid: info.and_then(|i| text(&i.system_uuid)), machine_id: info.and_then(|i| text(&i.machine_id)), ..Identity::default() }
    }
    /// IP addresses of its status.
    pub fn reached_at(&self) -> Vec<String> {
        let all = self.0.status.iter().flat_map(|s| s.addresses.iter().flatten());
        all.filter(|a| a.type_ == "InternalIP" || a.type_ == "ExternalIP").map(|a| a.address.clone()).collect()
    }
    /// Where an API server of the cluster itself usually runs.
    pub fn is_control_plane(&self) -> bool {
        let labels = || self.0.metadata.labels.iter().flatten();
        labels().any(|(key, _)| key == "node-role.kubernetes.io/control-plane" || key == "node-role.kubernetes.io/master")
    }
    pub fn boot(&self) -> Option<Boot> {
        let id = &self.0.status.as_ref()?.node_info.as_ref()?.boot_id;
        (!id.is_empty()).then(|| Boot::Id(id.clone()))
    }
    /// Why the Ready condition is not true, and since when.
    pub fn not_ready(&self) -> Option<(String, Option<String>)> {
        let mut conditions = self.0.status.iter().flat_map(|s| s.conditions.iter().flatten());
        match conditions.find(|c| c.type_ == "Ready") {
            None => Some(("no Ready condition".into(), None)),
            Some(c) if c.status == "True" => None,
            Some(c) => {
                let why = c.message.clone().or(c.reason.clone()).unwrap_or_default();
                Some((format!("NotReady (Ready is {}): {why}", c.status), c.last_transition_time.as_ref().map(|t| t.0.to_string())))
            }
        }
    }
}

/// Is the node's heartbeat fresh? Right after power-off a node still reads Ready for most of a minute; its Lease in `kube-node-lease` tells sooner.
/// The node's own clock wrote it and may be wrong by years, so what counts first is whether the Lease is seen to move.
#[derive(Default)]
pub struct Heartbeats(Mutex<BTreeMap<String, Beat>>);

struct Beat {
    renewed: Option<Timestamp>,
    /// When we first saw this value, on our own monotonic clock.
    since: Instant,
    /// We saw it change into this value.
    moved: bool,
}

/// After so many times its duration the node controller, which watches it move too, has long changed the Ready condition:
/// an older Lease under a true condition is a wrong clock.
const CONTROLLER_KNOWS: i64 = 5;

impl Heartbeats {
    pub async fn stale(&self, api: &Api, node: &str) -> Result<Option<String>, Fault> {
        let what = format!("read the heartbeat of {node}");
        match api.get::<Lease>(&what, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", node).await {
            Ok(Some((lease, date))) => Ok(self.judge(node, &lease, date, Instant::now())),
            // A cluster without node Leases, or one that hides them from us: the condition alone speaks.
            Ok(None) => Ok(None),
            Err(f) if f.kind == FaultKind::Denied => Ok(None),
            Err(f) => Err(f),
        }
    }

    fn judge(&self, node: &str, lease: &Lease, server_now: Option<Timestamp>, now: Instant) -> Option<String> {
        let spec = lease.spec.as_ref()?;
        let renewed = spec.renew_time.as_ref().map(|t| t.0);
        let limit = i64::from(spec.lease_duration_seconds.unwrap_or(40));
        let mut seen = self.0.lock().expect("BUG: a holder of the heartbeats panicked");
        let beat = seen.entry(node.to_owned()).or_insert(Beat { renewed, since: now, moved: false });
        if beat.renewed != renewed {
            *beat = Beat { renewed, since: now, moved: true };
        }
        let watched = now.duration_since(beat.since);
        if watched > Duration::from_secs(limit.unsigned_abs()) {
            return Some(format!("its heartbeat has not moved for more than {limit} s"));
        }
        if beat.moved {
            return None;
        }
        // `Date` has whole seconds, and two good clocks differ by a little.
        let age = server_now?.as_second() - renewed?.as_second();
        (limit + 2..=limit * CONTROLLER_KNOWS).contains(&age).then(|| format!("its heartbeat was last renewed more than {limit} s ago"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(renewed: &str) -> Lease {
        serde_json::from_value(json!({ "metadata": {}, "spec": { "renewTime": renewed, "leaseDurationSeconds": 40 } })).unwrap()
    }

    #[test]
    fn a_heartbeat_is_judged_by_the_servers_clock_and_by_its_moving() {
        let at = |text: &str| Some(text.parse().unwrap());
        let t0 = Instant::now();
        let beats = Heartbeats::default();
        let judge = |renewed: &str, now: &str, secs: u64| beats.judge("n", &lease(renewed), at(now), t0 + Duration::from_secs(secs)).is_none();
        assert!(judge("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:20Z", 0), "fresh");
        assert!(!judge("2026-01-01T00:00:00.000000Z", "2026-01-01T00:01:20Z", 60), "seen, and still");
        assert!(judge("2026-01-01T00:01:30.000000Z", "2026-01-01T00:01:30Z", 70), "moved");
        assert!(!judge("2026-01-01T00:01:30.000000Z", "2026-01-01T00:03:30Z", 190), "and stopped");
        // A clock that starts in 1970 after its battery died: it moves, so the node lives.
        assert!(judge("1970-01-01T00:00:10.000000Z", "2026-01-01T00:03:40Z", 200), "moved, whatever it says");
        assert!(!judge("1970-01-01T00:00:10.000000Z", "2026-01-01T00:04:30Z", 250), "stopped");
        // At first sight only the clocks speak, and only where the condition cannot know better.
        let first = |renewed: &str| Heartbeats::default().judge("n", &lease(renewed), at("2026-01-01T01:00:00Z"), t0).is_none();
        assert!(!first("2026-01-01T00:59:00.000000Z"), "a minute old");
        assert!(first("2026-01-01T00:30:00.000000Z") && first("1970-01-01T00:00:00.000000Z") && first("2031-01-01T00:00:00.000000Z"), "a wrong clock");
    }
}
