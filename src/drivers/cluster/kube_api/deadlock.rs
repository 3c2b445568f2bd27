//! Why a budget allows nothing, beyond its numbers: the replacement that does not come up, in plain words and with what its owner can do.
use super::{Api, Budget, pods};
use k8s_openapi::api::core::v1::Pod;

/// Only words hang on it: what cannot be read is left out.
pub async fn behind(api: &Api, budget: &Budget) -> Option<String> {
    let path = format!("/api/v1/namespaces/{}/pods", budget.namespace);
    let (all, _) = api.list::<Pod>("list the pods behind a budget", &path, None).await.ok()?;
    judge(budget, &all)
}

fn judge(budget: &Budget, all: &[Pod]) -> Option<String> {
    let covered = all.iter().filter(|p| budget.covers(pods::namespace(p), p.metadata.labels.as_ref()) && !pods::leaving(p) && !pods::ready(p));
    let mut not_ready: Vec<&Pod> = covered.collect();
    // What says why comes first.
    not_ready.sort_by_key(|p| (reason(p).is_none(), pods::name(p)));
    let first = not_ready.first()?;
    let more = if not_ready.len() > 1 { format!(" (and {} more)", not_ready.len() - 1) } else { String::new() };
    let node = first.spec.as_ref().and_then(|s| s.node_name.as_deref()).map(|n| format!(" on {n}")).unwrap_or_default();
    Some(format!("pod {}{more}{node} {}", pods::name(first), reason(first).unwrap_or_else(|| "is not Ready".into())))
}

fn reason(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    if let Some(c) = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False") {
        let why = c.message.as_deref().or(c.reason.as_deref()).unwrap_or("no node fits");
        return Some(format!("is Pending, no node takes it: {why}"));
    }
    let waiting = status.container_statuses.iter().flatten().filter_map(|c| c.state.as_ref()?.waiting.as_ref());
    let waiting = waiting.filter_map(|w| w.reason.as_deref()).find(|r| !matches!(*r, "ContainerCreating" | "PodInitializing"));
    waiting.map(|reason| format!("is in {reason}; fix the application, or give the node back: pitstop stop --give-back"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(pod: Value) -> Option<String> {
        let budget = json!({ "metadata": { "namespace": "shop", "name": "web" }, "spec": { "selector": { "matchLabels": { "app": "web" } } } });
        let mut pod = pod;
        pod["metadata"] = json!({ "name": "web-2", "namespace": "shop", "labels": { "app": "web" } });
        judge(&Budget::read(&budget, true), &[serde_json::from_value(pod).unwrap()])
    }

    #[test]
    fn what_keeps_the_replacement_is_said() {
        let no_room =
            json!({ "status": { "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu." }] } });
        assert_eq!(said(no_room).unwrap(), "pod shop/web-2 is Pending, no node takes it: 0/3 nodes are available: 3 Insufficient cpu.");
        let crash = json!({ "spec": { "nodeName": "n2", "containers": [] }, "status": { "containerStatuses": [{ "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 9, "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] } });
        assert!(said(crash).unwrap().starts_with("pod shop/web-2 on n2 is in CrashLoopBackOff; fix the application"));
        assert_eq!(said(json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } })), None);
    }
}
