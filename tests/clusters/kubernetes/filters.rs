//! §4.2: the filters of a drain, row by row, against the lab: which pods leave, which stay, which forbid it.
use super::*;

/// A pod of its own on edge-01, as given over an ordinary one of a ReplicaSet.
async fn with(config: Value, more: Value) -> (Lab, NodeView) {
    let lab = Lab::new(2, 0).await;
    put(&lab, more).await;
    let cluster = connect(lab.dir.path(), config);
    take(&*cluster, "edge-01", &ask("run-1")).await;
    let view = cluster.look("edge-01", &ask("run-1")).await.unwrap();
    (lab, view)
}

pub async fn put(lab: &Lab, more: Value) {
    let http = lab.http();
    let sets = http.get("/apis/apps/v1/namespaces/shop/replicasets").await;
    let set = sets["items"].as_array().unwrap().iter().find(|s| s["metadata"]["labels"]["app"] == "web").unwrap();
    let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set["metadata"]["name"], "uid": set["metadata"]["uid"], "controller": true });
    let mut pod = json!({ "metadata": { "name": "extra", "ownerReferences": [owner] }, "spec": { "nodeName": "edge-01", "containers": [{ "name": "c", "image": "x" }] } });
    merge(&mut pod, more.clone());
    let (code, answer) = http.post("/api/v1/namespaces/shop/pods", pod).await;
    assert_eq!(code, 201, "{answer}");
    // A status is not taken from a creation, as in life.
    if !more["status"].is_null() {
        let path = "/api/v1/namespaces/shop/pods/extra/status";
        assert_eq!(http.send("PATCH", path, "application/merge-patch+json", json!({ "status": more["status"] })).await.0, 200);
    }
}

pub fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => more.into_iter().for_each(|(k, v)| merge(into.entry(k).or_insert(Value::Null), v)),
        (into, more) => *into = more,
    }
}

fn leaves(view: &NodeView) -> bool {
    view.moves.iter().any(|a| a.what == "evict shop/extra")
}
fn listed(view: &NodeView) -> bool {
    view.workloads.iter().any(|w| w.name == "shop/extra")
}
fn forbids(view: &NodeView) -> Option<&str> {
    view.impossible.iter().find(|b| b.object == "pod shop/extra").map(|b| b.why.as_str())
}
fn noted(view: &NodeView, what: &str) -> bool {
    view.notes.iter().any(|n| n.contains(what) && n.contains("shop/extra"))
}
fn daemon(name: &str, api: &str) -> Value {
    json!({ "metadata": { "ownerReferences": [{ "apiVersion": api, "kind": "DaemonSet", "name": name, "uid": "d", "controller": true }] } })
}

#[tokio::test]
async fn row_4_2_1_already_deleting_is_waited_for_and_never_evicted_again() {
    let lab = Lab::new(2, 0).await;
    put(&lab, json!({ "metadata": { "finalizers": ["example.com/hold"] } })).await;
    assert_eq!(lab.http().send("DELETE", "/api/v1/namespaces/shop/pods/extra", "application/json", json!({})).await.0, 200);
    let cluster = lab.cluster();
    take(&*cluster, "edge-01", &ask("run-1")).await;
    let view = cluster.look("edge-01", &ask("run-1")).await.unwrap();
    assert!(view.workloads.iter().any(|w| w.name == "shop/extra" && w.leaving) && !leaves(&view), "{view:#?}");
}

#[tokio::test]
async fn row_4_2_2_daemonset_found_stays() {
    let lab = Lab::new(2, 0).await;
    let view = lab.cluster().look("edge-01", &nobody()).await.unwrap();
    assert_eq!(view.fixed, 3, "two DaemonSets and a static pod");
    assert!(view.workloads.iter().all(|w| !w.name.contains("cni") && !w.name.contains("node-exporter")));
}

#[tokio::test]
async fn row_4_2_2_daemonset_finished_pod_does_not_count() {
    let mut done = daemon("gone", "apps/v1");
    done["status"] = json!({ "phase": "Succeeded" });
    let (_lab, view) = with(json!({}), done).await;
    assert!(!listed(&view) && forbids(&view).is_none(), "{view:#?}");
}

#[tokio::test]
async fn row_4_2_2_daemonset_gone_without_force_forbids() {
    let lab = Lab::new(2, 0).await;
    let cluster = lab.cluster();
    put(&lab, daemon("gone", "apps/v1")).await;
    let view = cluster.look("edge-01", &nobody()).await.unwrap();
    assert!(forbids(&view) == Some("its DaemonSet shop/gone is gone; `force = true` in the cluster's table lets it be evicted for good"), "{view:#?}");
}

#[tokio::test]
async fn row_4_2_2_a_kind_that_only_calls_itself_daemonset_is_evicted() {
    let (_lab, view) = with(json!({}), daemon("agent", "fleet.example/v1")).await;
    assert!(leaves(&view), "{view:#?}");
}

#[tokio::test]
async fn row_4_2_3_mirror_stays_silently() {
    let (_lab, view) = with(json!({}), json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" }, "ownerReferences": null } })).await;
    assert!(!listed(&view) && forbids(&view).is_none() && !noted(&view, ""), "{view:#?}");
    assert_eq!(view.fixed, 4);
}

#[tokio::test]
async fn row_4_2_4_local_storage() {
    let memory = || json!({ "spec": { "volumes": [{ "name": "tmp", "emptyDir": { "medium": "Memory" } }] } });
    let (_lab, allowed) = with(json!({}), memory()).await;
    assert!(leaves(&allowed) && noted(&allowed, "emptyDir data will be deleted"), "{allowed:#?}");
    let (_lab, strict) = with(json!({ "delete_emptydir_data": false }), memory()).await;
    assert!(forbids(&strict).unwrap().contains("emptyDir data would be lost"), "{strict:#?}");
    let mut done = memory();
    done["status"] = json!({ "phase": "Failed" });
    let (_lab, finished) = with(json!({ "delete_emptydir_data": false }), done).await;
    assert!(!listed(&finished) && forbids(&finished).is_none(), "{finished:#?}");
}

#[tokio::test]
async fn row_4_2_5_no_controller_owner() {
    let bare = || json!({ "metadata": { "ownerReferences": null } });
    let (_lab, strict) = with(json!({}), bare()).await;
    assert!(forbids(&strict).unwrap().contains("no controller would start it again"), "{strict:#?}");
    let (_lab, forced) = with(json!({ "force": true }), bare()).await;
    assert!(leaves(&forced) && noted(&forced, "will not come back"), "{forced:#?}");
    let mut done = bare();
    done["status"] = json!({ "phase": "Succeeded" });
    let (_lab, finished) = with(json!({}), done).await;
    assert!(!listed(&finished) && forbids(&finished).is_none(), "{finished:#?}");
}

#[tokio::test]
async fn row_4_2_6_own_filters_skip_and_wait_completed() {
    let (_lab, skipped) = with(json!({}), json!({ "metadata": { "labels": { "cluster.x-k8s.io/drain": "skip" } } })).await;
    assert!(!listed(&skipped) && skipped.fixed == 4, "{skipped:#?}");
    let (_lab, waits) = with(json!({}), json!({ "metadata": { "labels": { "cluster.x-k8s.io/drain": "wait-completed" } } })).await;
    assert!(listed(&waits) && !leaves(&waits), "{waits:#?}");
    assert!(waits.blockers.iter().any(|b| b.object == "pod shop/extra" && b.why.starts_with("runs until it is done by itself")), "{waits:#?}");
}

#[tokio::test]
async fn every_warning_is_kept_and_a_host_path_is_one() {
    let volumes = json!([{ "name": "tmp", "emptyDir": {} }, { "name": "host", "hostPath": { "path": "/srv" } }]);
    let (_lab, view) = with(json!({ "force": true }), json!({ "metadata": { "ownerReferences": null }, "spec": { "volumes": volumes } })).await;
    for warning in ["emptyDir data will be deleted", "will not come back", "uses a hostPath volume"] {
        assert!(noted(&view, warning), "{warning}: {view:#?}");
    }
}
