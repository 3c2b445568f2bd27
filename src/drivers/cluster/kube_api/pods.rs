//! The pods of a node: what must leave, what belongs to the node, what can never leave. The filters of `kubectl drain`, in its order.
use super::{Api, Budget, matching};
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
    pub impossible: Vec<Blocker>,
    pub notes: Vec<String>,
}

pub async fn list_pods(api: &Api, node: &str) -> Result<(Vec<Pod>, Option<Timestamp>), Fault> {
    api.list(&format!("list the pods of {node}"), "/api/v1/pods", Some(&format!("spec.nodeName={node}"))).await
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

fn owner(pod: &Pod) -> Option<&str> {
    pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true)).map(|o| o.kind.as_str())
}
fn marked(pod: &Pod, key: &str) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(key))
}
fn volumes(pod: &Pod) -> impl Iterator<Item = &k8s_openapi::api::core::v1::Volume> {
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten())
}

pub fn classify(pods: &[Pod], policy: Policy) -> Left<'_> {
    let mut left = Left::default();
    let (mut finished, mut emptydir, mut bare, mut host_path) = (0, Vec::new(), Vec::new(), Vec::new());
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let label = |key: &str| pod.metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
        // A mirror pod stands for a static one that the kubelet runs by itself; a DaemonSet's tolerates the cordon and would come back at once.
        if marked(pod, "kubernetes.io/config.mirror") || owner(pod) == Some("DaemonSet") || label("cluster.x-k8s.io/drain") == Some("skip") {
            left.fixed += 1;
            continue;
        }
        if phase == "Succeeded" || phase == "Failed" {
            // It runs no more: nothing to lose at power-off, and nobody asked us to tidy up.
            finished += 1;
            continue;
        }
        left.must.push(pod);
        if leaving(pod) {
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
    if finished > 0 {
        left.notes.push(format!("{finished} finished pods stay listed"));
    }
    left
}

/// A pod on its way out may take longer than its grace period. Then somebody must know why.
const PATIENCE_S: i64 = 60;

/// Why a pod that must leave is still here, as far as the cluster says so.
pub fn stuck(pod: &Pod, budgets: &[Budget], server_now: Option<Timestamp>) -> Option<String> {
    if let Some(deadline) = &pod.metadata.deletion_timestamp {
        let late = server_now.map(|now| now.as_second() - deadline.0.as_second());
        let finalizers = pod.metadata.finalizers.as_deref().unwrap_or_default();
        return Some(match late {
            Some(late) if late > PATIENCE_S && !finalizers.is_empty() => format!("terminating, held by finalizer {}", finalizers.join(", ")),
            Some(late) if late > PATIENCE_S => format!("terminating, {late} s past its grace period: the kubelet does not answer or cannot unmount"),
            _ => format!("terminating, grace period {} s", pod.metadata.deletion_grace_period_seconds.unwrap_or(30)),
        });
    }
    let covering = matching(budgets, namespace(pod), pod.metadata.labels.as_ref());
    match covering.as_slice() {
        [] => None,
        [one] if one.allowed > 0 => None,
        [one] => Some(one.state()),
        many => {
            let names: Vec<_> = many.iter().map(|b| format!("{}/{}", b.namespace, b.name)).collect();
            Some(format!("more than one PodDisruptionBudget covers it ({}): the API server refuses every eviction", names.join(", ")))
        }
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
        assert_eq!(stuck(&held, &[], at("2026-01-01T00:10:00Z")).unwrap(), "terminating, held by finalizer x/y");
        assert!(stuck(&going(json!({})), &[], at("2026-01-01T00:10:00Z")).unwrap().contains("570 s past"));
    }
}
