//! §4.2: the filters of a drain, row by row: which pods leave, which stay, which forbid it. Against the server that `PITSTOP_TEST_KUBECONFIG` names, else the lab.
use super::{
    place::{MERGE, Place, row},
    *,
};

/// A pod `extra` of its own on the lab's edge-01, as given over an ordinary one of a ReplicaSet: for rows that only the lab can have.
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
        (into, Value::Null) if into.is_object() => {}
        (into, more) => *into = more,
    }
}

/// What a drain makes of a pod `extra` on the row's node.
struct Seen {
    view: NodeView,
    pod: String,
}
impl Seen {
    fn leaves(&self) -> bool {
        self.view.moves.iter().any(|a| a.what == format!("evict {}", self.pod))
    }
    fn listed(&self) -> bool {
        self.view.workloads.iter().any(|w| w.name == self.pod)
    }
    fn leaving(&self) -> bool {
        self.view.workloads.iter().any(|w| w.name == self.pod && w.leaving)
    }
    fn forbids(&self) -> Option<&str> {
        let object = format!("pod {}", self.pod);
        self.view.impossible.iter().find(|b| b.object == object).map(|b| b.why.as_str())
    }
    fn noted(&self, what: &str) -> bool {
        self.view.notes.iter().any(|n| n.contains(what) && n.contains(&self.pod))
    }
}
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:#?}", self.pod, self.view)
    }
}

/// Cordoned by a drain, and looked at.
async fn drained(place: &Place, config: Value) -> Seen {
    let (cluster, run) = (place.cluster(config), ask("run-1"));
    if !cluster.look(&place.node, &run).await.unwrap().in_maintenance {
        take(&*cluster, &place.node, &run).await;
    }
    Seen { view: cluster.look(&place.node, &run).await.unwrap(), pod: place.told("extra") }
}
/// As a plan sees it.
async fn planned(place: &Place, config: Value) -> Seen {
    Seen { view: place.cluster(config).look(&place.node, &nobody()).await.unwrap(), pod: place.told("extra") }
}
async fn gone(place: &Place) {
    place.api.send("DELETE", &format!("{}/extra", place.pods()), "application/json", json!({ "gracePeriodSeconds": 0 })).await;
    let begun = Instant::now();
    while place.api.send("GET", &format!("{}/extra", place.pods()), "", Value::Null).await.0 != 404 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the pod stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
fn daemon(name: &str, api: &str) -> Value {
    json!({ "metadata": { "ownerReferences": [{ "apiVersion": api, "kind": "DaemonSet", "name": name, "uid": uuid::Uuid::new_v4(), "controller": true }] } })
}

#[tokio::test]
async fn row_4_2_1_already_deleting_is_waited_for_and_never_evicted_again() {
    row("row_4_2_1_already_deleting", async |place| {
        place.put("extra", json!({ "metadata": { "finalizers": ["example.com/hold"] } })).await?;
        let (code, said) = place.api.send("DELETE", &format!("{}/extra", place.pods()), "application/json", json!({})).await;
        assert_eq!(code, 200, "{said}");
        let seen = drained(place, json!({})).await;
        assert!(seen.leaving() && !seen.leaves(), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_2_daemonset_found_stays() {
    row("row_4_2_2_daemonset_found", async |place| {
        let labels = json!({ "app": "agent" });
        let spec = json!({ "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": {
            "nodeSelector": { "kubernetes.io/hostname": place.node }, "tolerations": [{ "operator": "Exists" }], "containers": [{ "name": "c", "image": "registry.k8s.io/pause:3.9" }] } } });
        let sets = format!("/apis/apps/v1/namespaces/{}/daemonsets", place.namespace);
        let (code, set) = place.api.post(&sets, json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "agent" }, "spec": spec })).await;
        assert_eq!(code, 201, "{set}");
        let owner = json!([{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": set["metadata"]["uid"], "controller": true }]);
        place.put("extra", json!({ "metadata": { "labels": { "app": "agent" }, "ownerReferences": owner } })).await?;
        let seen = drained(place, json!({})).await;
        assert!(!seen.listed() && !seen.leaves() && seen.forbids().is_none() && seen.view.fixed > 0, "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_2_daemonset_finished_pod_does_not_count() {
    row("row_4_2_2_daemonset_finished", async |place| {
        let mut done = daemon("gone", "apps/v1");
        done["status"] = json!({ "phase": "Succeeded", "conditions": [] });
        place.put("extra", done).await?;
        let seen = drained(place, json!({})).await;
        assert!(!seen.listed() && seen.forbids().is_none(), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_2_daemonset_gone_without_force_forbids_and_with_force_is_evicted_for_good() {
    row("row_4_2_2_daemonset_gone", async |place| {
        place.put("extra", daemon("gone", "apps/v1")).await?;
        let (strict, forced) = (planned(place, json!({})).await, drained(place, json!({ "force": true })).await);
        if strict.leaving() || !strict.listed() || forced.leaving() || !forced.listed() {
            return Err("the server's garbage collector takes such a pod away first".into());
        }
        let why = format!("its DaemonSet {}/gone is gone; `force = true` in the cluster's table lets it be evicted for good", place.namespace);
        assert_eq!(strict.forbids(), Some(why.as_str()), "{strict:?}");
        assert!(forced.forbids().is_none() && forced.leaves() && forced.noted("will not come back"), "{forced:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_2_a_kind_that_only_calls_itself_daemonset_is_evicted() {
    row("row_4_2_2_foreign_daemonset", async |place| {
        place.put("extra", daemon("agent", "fleet.example/v1")).await?;
        let seen = drained(place, json!({})).await;
        assert!(seen.leaves(), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_3_mirror_stays_silently() {
    row("row_4_2_3_mirror", async |place| {
        let before = drained(place, json!({})).await.view.fixed;
        place.put("extra", json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" } } })).await?;
        let seen = drained(place, json!({})).await;
        assert!(!seen.listed() && seen.forbids().is_none() && !seen.noted("") && seen.view.fixed > before, "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_4_local_storage() {
    row("row_4_2_4_local_storage", async |place| {
        let memory = || json!({ "spec": { "volumes": [{ "name": "tmp", "emptyDir": { "medium": "Memory" } }] } });
        place.put("extra", memory()).await?;
        let strict = planned(place, json!({ "delete_emptydir_data": false })).await;
        assert!(strict.forbids().is_some_and(|why| why.contains("emptyDir data would be lost")), "{strict:?}");
        let allowed = drained(place, json!({})).await;
        assert!(allowed.leaves() && allowed.noted("emptyDir data will be deleted"), "{allowed:?}");
        gone(place).await;
        let mut done = memory();
        done["status"] = json!({ "phase": "Failed", "conditions": [] });
        place.put("extra", done).await?;
        let finished = drained(place, json!({ "delete_emptydir_data": false })).await;
        assert!(!finished.listed() && finished.forbids().is_none(), "{finished:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_5_no_controller_owner() {
    row("row_4_2_5_no_controller_owner", async |place| {
        let bare = || json!({ "metadata": { "ownerReferences": null } });
        place.put("extra", bare()).await?;
        let strict = planned(place, json!({})).await;
        assert!(strict.forbids().is_some_and(|why| why.contains("no controller would start it again")), "{strict:?}");
        let forced = drained(place, json!({ "force": true })).await;
        assert!(forced.leaves() && forced.noted("will not come back"), "{forced:?}");
        gone(place).await;
        let mut done = bare();
        done["status"] = json!({ "phase": "Succeeded", "conditions": [] });
        place.put("extra", done).await?;
        let finished = drained(place, json!({})).await;
        assert!(!finished.listed() && finished.forbids().is_none(), "{finished:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn row_4_2_6_own_filters_skip_and_wait_completed() {
    row("row_4_2_6_own_filters", async |place| {
        place.put("extra", json!({ "metadata": { "labels": { "cluster.x-k8s.io/drain": "skip" } } })).await?;
        let skipped = drained(place, json!({})).await;
        assert!(!skipped.listed() && skipped.forbids().is_none(), "{skipped:?}");
        let label = json!({ "metadata": { "labels": { "cluster.x-k8s.io/drain": "wait-completed" } } });
        assert_eq!(place.api.send("PATCH", &format!("{}/extra", place.pods()), MERGE, label).await.0, 200);
        let waits = drained(place, json!({})).await;
        assert!(waits.listed() && !waits.leaves(), "{waits:?}");
        let object = format!("pod {}", waits.pod);
        assert!(waits.view.blockers.iter().any(|b| b.object == object && b.why.starts_with("runs until it is done by itself")), "{waits:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_warning_is_kept_and_a_host_path_is_one() {
    row("every_warning_is_kept", async |place| {
        let volumes = json!([{ "name": "tmp", "emptyDir": {} }, { "name": "host", "hostPath": { "path": "/srv" } }]);
        place.put("extra", json!({ "metadata": { "ownerReferences": null }, "spec": { "volumes": volumes } })).await?;
        let seen = drained(place, json!({ "force": true })).await;
        for warning in ["emptyDir data will be deleted", "will not come back", "uses a hostPath volume"] {
            assert!(seen.noted(warning), "{warning}: {seen:?}");
        }
        Ok(())
    })
    .await
}
