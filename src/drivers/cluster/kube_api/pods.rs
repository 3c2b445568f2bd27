//! The pods of a node: what must leave, what belongs to the node, what can never leave. The filters of `kubectl drain`, in its order.
use super::{Api, Budget, Listed, matching};
use crate::model::{Blocker, Fault, Timestamp};
use k8s_openapi::api::core::v1::Pod;

/// The cluster's table in the inventory, as far as pods go.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub delete_emptydir_data: bool,
    pub force: bool,
}

/// What became of the list: `must` leave, `fixed` stays.
#[derive(Debug, Default)]
pub struct Left<'a> {
    pub must: Vec<&'a Pod>,
    pub fixed: usize,
    /// Those that stay, by name.
    pub stays: Vec<String>,
    pub impossible: Vec<Blocker>,
    pub notes: Vec<String>,
}

pub async fn list_pods(api: &Api, node: &str) -> Result<(Vec<Pod>, Option<Timestamp>), Fault> {
    api.list(&format!("list the pods of {node}"), "/api/v1/pods", Some(&format!("spec.nodeName={node}"))).await
}

/// The same as it came, for a watch to go on from.
pub async fn pods_listed(api: &Api, node: &str) -> Result<Listed, Fault> {
    api.listed(&format!("list the pods of {node}"), PODS, Some(&on(node))).await
}
pub const PODS: &str = "/api/v1/pods";
pub fn on(node: &str) -> String {
    format!("spec.nodeName={node}")
}

pub fn name(pod: &Pod) -> String {
    format!("{}/{}", namespace(pod), pod.metadata.name.as_deref().unwrap_or("?"))
}
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}
pub fn leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Runs no more.
pub fn finished(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(|phase| phase == "Succeeded" || phase == "Failed")
}
pub fn ready(pod: &Pod) -> bool {
    pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True")
}
/// `DaemonSet kube-system/cni`, `static pod kube-system/api-proxy-n1`: what belongs to the node itself.
pub fn belongs(pod: &Pod) -> Option<String> {
    match marked(pod, MIRROR) {
        true => Some(format!("static pod {}", name(pod))),
        false => daemon_set(pod).map(|set| format!("DaemonSet {set}")),
    }
}
/// Namespace and name of the DaemonSet it is of. A kind that only calls itself so is none: its pods would not be left alone by kubectl either.
pub fn daemon_set(pod: &Pod) -> Option<String> {
    let owner = pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true))?;
    (owner.kind == "DaemonSet" && owner.api_version == "apps/v1").then(|| format!("{}/{}", namespace(pod), owner.name))
}
/// Sum over its containers; what is not requested counts as nothing.
pub fn requests(pod: &Pod, what: &str) -> f64 {
    let of = |c: &k8s_openapi::api::core::v1::Container| c.resources.as_ref()?.requests.as_ref()?.get(what).and_then(|q| super::quantity(&q.0));
    pod.spec.iter().flat_map(|s| s.containers.iter()).filter_map(of).sum()
}
/// It asks to be waited for, not evicted (Cluster API's convention).
pub fn completes_by_itself(pod: &Pod) -> bool {
    label(pod, DRAIN) == Some("wait-completed")
}
fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}
const MIRROR: &str = "kubernetes.io/config.mirror";
const DRAIN: &str = "cluster.x-k8s.io/drain";

pub fn owner(pod: &Pod) -> Option<&str> {
    pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true)).map(|o| o.kind.as_str())
}
fn marked(pod: &Pod, key: &str) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(key))
}
pub fn volumes(pod: &Pod) -> impl Iterator<Item = &k8s_openapi::api::core::v1::Volume> {
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten())
}

pub fn classify(pods: &[Pod], policy: Policy) -> Left<'_> {
    let mut left = Left::default();
    let (mut done, mut emptydir, mut bare, mut host_path) = (0, Vec::new(), Vec::new(), Vec::new());
    for pod in pods {
        // A mirror pod stands for a static one that the kubelet runs by itself; a DaemonSet's tolerates the cordon and would come back at once.
        if belongs(pod).is_some() || label(pod, DRAIN) == Some("skip") {
            left.fixed += 1;
            left.stays.push(name(pod));
            continue;
        }
        if finished(pod) {
            // It runs no more: nothing to lose at power-off, and nobody asked us to tidy up.
            done += 1;
            continue;
        }
        left.must.push(pod);
        if leaving(pod) || completes_by_itself(pod) {
            continue;
        }
        if owner(pod).is_none() {
            if policy.force {
                bare.push(name(pod));
            } else {
                let why = "no controller would start it again elsewhere; `force = true` in the cluster's table lets it be evicted for good";
                left.impossible.push(Blocker::new(format!("pod {}", name(pod)), why));
            }
        }
        if volumes(pod).any(|v| v.empty_dir.is_some()) {
            if policy.delete_emptydir_data {
                emptydir.push(name(pod));
            } else {
                let why = "its emptyDir data would be lost; `delete_emptydir_data = true` in the cluster's table allows it";
                left.impossible.push(Blocker::new(format!("pod {}", name(pod)), why));
            }
        }
        if volumes(pod).any(|v| v.host_path.is_some()) {
            host_path.push(name(pod));
        }
    }
    let grace = |pod: &&&Pod| pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
    if let Some(longest) = left.must.iter().max_by_key(grace) {
        left.notes.push(format!("largest grace period {} s ({})", grace(&longest), name(longest)));
    }
    let mut say = |what: &str, pods: Vec<String>| {
        if !pods.is_empty() {
            left.notes.push(format!("{what}: {}", pods.join(", ")));
        }
    };
    say("emptyDir data will be deleted", emptydir);
    say("without a controller, will not come back", bare);
    say("uses a hostPath volume, whose data stays on this node", host_path);
    if done > 0 {
        left.notes.push(format!("{done} finished pods stay listed"));
    }
    left
}

/// A pod on its way out may take longer than its grace period. Then somebody must know why.
pub const PATIENCE_S: i64 = 60;

/// Why a pod that must leave is still here, as far as the cluster says so.
pub fn stuck(pod: &Pod, budgets: &[Budget], server_now: Option<Timestamp>) -> Option<String> {
    if let Some(deadline) = &pod.metadata.deletion_timestamp {
        let late = server_now.map(|now| now.as_second() - deadline.0.as_second());
        let finalizers = pod.metadata.finalizers.as_deref().unwrap_or_default();
        return Some(match late {
            Some(late) if late > PATIENCE_S && !finalizers.is_empty() => {
                let look = format!("kubectl -n {} get pod {} -o yaml", namespace(pod), pod.metadata.name.as_deref().unwrap_or("?"));
                format!(
                    "terminating, held by finalizer {}; ask the owner of that finalizer why its controller does not take it off: {look}",
                    finalizers.join(", ")
                )
            }
            Some(late) if late > PATIENCE_S => {
                let cure = "if its containers cannot be ended, a reset of this node is the cure: move it away by hand, then pitstop node power";
                format!("terminating, more than {} past its grace period: the kubelet does not answer or cannot unmount; {cure}", roughly(late))
            }
            _ => format!("terminating, grace period {} s", pod.metadata.deletion_grace_period_seconds.unwrap_or(30)),
        });
    }
    if completes_by_itself(pod) {
        return Some(format!("runs until it is done by itself (label {DRAIN}: wait-completed)"));
    }
    let covering = matching(budgets, namespace(pod), pod.metadata.labels.as_ref());
    match covering.as_slice() {
        [] => None,
        [one] if one.lets_go(ready(pod)) => None,
        [one] => Some(format!("{}; {}", one.state(), one.advice())),
        many => {
            let names: Vec<_> = many.iter().map(|b| format!("{}/{}", b.namespace, b.name)).collect();
            Some(format!(
                "more than one PodDisruptionBudget covers it ({}): the API server refuses every eviction; their owner must leave one budget per pod",
                names.join(", ")
            ))
        }
    }
}

/// An age that does not change at every look, so that a blocker that is the same reads the same.
pub fn roughly(seconds: i64) -> String {
    match seconds {
        ..120 => "a minute".into(),
        120..3600 => {
            let minutes = [2, 5, 10, 20, 30].into_iter().rfind(|m| m * 60 <= seconds).unwrap_or(2);
            format!("{minutes} minutes")
        }
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const STRICT: Policy = Policy { delete_emptydir_data: false, force: false };

    fn pod(more: Value) -> Pod {
        let mut pod = json!({ "metadata": { "name": "p", "namespace": "shop", "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true }] },
            "spec": { "containers": [] }, "status": { "phase": "Running" } });
        merge(&mut pod, more);
        serde_json::from_value(pod).unwrap()
    }
    fn merge(into: &mut Value, more: Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => more.into_iter().for_each(|(k, v)| merge(into.entry(k).or_insert(Value::Null), v)),
            (into, more) => *into = more,
        }
    }
    fn check(more: Value, policy: Policy) -> (usize, usize, usize) {
        let pods = [pod(more)];
        let left = classify(&pods, policy);
        (left.must.len(), left.fixed, left.impossible.len())
    }

    #[test]
    fn each_filter_decides_as_kubectl_does() {
        let daemon =
            json!({ "metadata": { "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": true }] } });
        let mirror = json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" }, "ownerReferences": null } });
        let emptydir = json!({ "spec": { "volumes": [{ "name": "tmp", "emptyDir": { "medium": "Memory" } }] } });
        let bare = json!({ "metadata": { "ownerReferences": null } });
        let finished = json!({ "metadata": { "ownerReferences": null }, "status": { "phase": "Succeeded" } });
        assert_eq!(check(json!({}), STRICT), (1, 0, 0));
        assert_eq!(check(daemon, STRICT), (0, 1, 0));
        assert_eq!(check(mirror, STRICT), (0, 1, 0));
        assert_eq!(check(emptydir.clone(), STRICT), (1, 0, 1));
        assert_eq!(check(emptydir, Policy { delete_emptydir_data: true, ..STRICT }), (1, 0, 0));
        assert_eq!(check(bare.clone(), STRICT), (1, 0, 1));
        assert_eq!(check(bare, Policy { force: true, ..STRICT }), (1, 0, 0));
        assert_eq!(check(finished, STRICT), (0, 0, 0));
    }

    #[test]
    fn a_pod_on_its_way_out_is_only_waited_for_and_says_why() {
        let going = |extra: Value| {
            let mut more = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30, "ownerReferences": null } });
            merge(&mut more, extra);
            pod(more)
        };
        let at = |text: &str| Some(text.parse().unwrap());
        assert!(classify(&[going(json!({}))], STRICT).impossible.is_empty());
        assert_eq!(stuck(&going(json!({})), &[], at("2026-01-01T00:00:10Z")).unwrap(), "terminating, grace period 30 s");
        let held = going(json!({ "metadata": { "finalizers": ["x/y"] } }));
        assert_eq!(stuck(&held, &[], at("2026-01-01T00:10:00Z")).unwrap().split(';').next(), Some("terminating, held by finalizer x/y"));
        assert!(stuck(&going(json!({})), &[], at("2026-01-01T00:10:00Z")).unwrap().contains("more than 5 minutes past"));
    }
}
