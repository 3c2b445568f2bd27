//! §4.8: drains that never end by themselves, row by row: recognised, and said in plain words with what the owner can do.
use super::{filters::put, *};
use pitstop::model::Repeat;

async fn budget(lab: &Lab, name: &str, spec: Value) {
    let body = json!({ "metadata": { "name": name }, "spec": spec });
    let (code, answer) = lab.http().post("/apis/policy/v1/namespaces/shop/poddisruptionbudgets", body).await;
    assert_eq!(code, 201, "{answer}");
}
async fn change(lab: &Lab, path: &str, body: Value) {
    let (code, answer) = lab.http().send("PATCH", path, "application/merge-patch+json", body).await;
    assert_eq!(code, 200, "{answer}");
}
/// The pod's blocker, once it is as wanted.
async fn said(lab: &Lab, node: &str, pod: &str, wanted: &str) -> String {
    let cluster = lab.cluster();
    let object = format!("pod {pod}");
    let why = |v: &NodeView| v.blockers.iter().chain(&v.impossible).filter(|b| b.object == object).map(|b| b.why.clone()).next().unwrap_or_default();
    let view = until(&*cluster, node, &ask("run-1"), wanted, |v| why(v).contains(wanted)).await;
    assert!(view.moves.iter().all(|a| a.what != format!("evict {pod}")), "not asked for again and again: {view:#?}");
    why(&view)
}

#[tokio::test]
async fn row_4_8_single_replica_under_a_budget() {
    let lab = Lab::new(2, 1).await;
    take(&*lab.cluster(), "edge-01", &ask("run-1")).await;
    let why = said(&lab, "edge-01", "shop/ledger-0", "PodDisruptionBudget").await;
    assert_eq!(
        why,
        "1 of 1 needed by PodDisruptionBudget shop/ledger, 0 may be evicted; scale the application up, or lift the budget for the maintenance: kubectl -n shop get pdb ledger"
    );
}

#[tokio::test]
async fn row_4_8_unhealthy_app_and_if_healthy_budget() {
    let lab = Lab::new(2, 1).await;
    take(&*lab.cluster(), "edge-01", &ask("run-1")).await;
    let path = "/api/v1/namespaces/shop/pods/ledger-0";
    let crash =
        json!([{ "name": "ledger", "image": "", "imageID": "", "ready": false, "restartCount": 7, "state": { "waiting": { "reason": "CrashLoopBackOff" } } }]);
    // Its kubelet would call it Ready again: it does not start here.
    change(&lab, path, json!({ "status": { "phase": "Unknown", "conditions": [{ "type": "Ready", "status": "False" }], "containerStatuses": crash } })).await;
    let why = said(&lab, "edge-01", "shop/ledger-0", "CrashLoopBackOff").await;
    assert!(why.starts_with("1 of 0 needed by PodDisruptionBudget shop/ledger, 0 may be evicted; get the unready pods behind it Ready, or set unhealthyPodEvictionPolicy: AlwaysAllow"), "{why}");
    // The owner does so, and it may go.
    change(&lab, "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/ledger", json!({ "spec": { "unhealthyPodEvictionPolicy": "AlwaysAllow" } })).await;
    until(&*lab.cluster(), "edge-01", &ask("run-1"), "its eviction", |v| v.moves.iter().any(|a| a.what == "evict shop/ledger-0")).await;
}

#[tokio::test]
async fn row_4_8_crash_looping_replacement_elsewhere_and_row_replacements_pending() {
    // No other node takes pods: what is evicted stays Pending, and the budget stays short.
    let lab = Lab::new(2, 0).await;
    let (cluster, run) = (lab.cluster(), ask("run-1"));
    lab.http().patch_node("edge-02", json!({ "spec": { "unschedulable": true } })).await;
    take(&*cluster, "edge-01", &run).await;
    change(&lab, "/apis/apps/v1/namespaces/shop/deployments/web", json!({ "spec": { "replicas": 4 } })).await;
    change(&lab, "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", json!({ "spec": { "minAvailable": 3 } })).await;
    let short = |v: &NodeView| v.blockers.iter().any(|b| b.object.starts_with("pod shop/web-") && b.why.contains("is Pending, no node takes it: no node fits"));
    let view = until(&*cluster, "edge-01", &run, "the pending replacements", short).await;
    let why = &view.blockers.iter().find(|b| b.object.starts_with("pod shop/web-")).unwrap().why;
    assert!(why.contains("3 of 2 needed by PodDisruptionBudget shop/web") && why.contains("and 1 more"), "{why}");
}

#[tokio::test]
async fn row_4_8_pod_already_terminating_is_never_posted_for() {
    let lab = Lab::new(2, 1).await;
    let (cluster, run) = (lab.cluster(), ask("run-1"));
    take(&*cluster, "edge-01", &run).await;
    lab.http().send("DELETE", "/api/v1/namespaces/shop/pods/ledger-0", "application/json", json!({})).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(view.workloads.iter().any(|w| w.name == "shop/ledger-0" && w.leaving) && view.moves.iter().all(|a| !a.what.contains("ledger")), "{view:#?}");
}

#[tokio::test]
async fn row_4_8_overlapping_budgets() {
    let lab = Lab::new(2, 0).await;
    budget(&lab, "web-too", json!({ "minAvailable": 0, "selector": { "matchLabels": { "app": "web" } } })).await;
    let view = lab.cluster().look("edge-01", &nobody()).await.unwrap();
    let found = view.impossible.iter().find(|b| b.object.starts_with("pod shop/web-")).unwrap_or_else(|| panic!("{view:#?}"));
    let why = "more than one PodDisruptionBudget covers it (shop/web, shop/web-too): the API server refuses every eviction; their owner must leave one budget per pod";
    assert_eq!(found.why, why, "the plan refuses it before anything is touched");
    take(&*lab.cluster(), "edge-01", &ask("run-1")).await;
    // Once begun it is waited for: a person may mend it.
    let view = lab.cluster().look("edge-01", &ask("run-1")).await.unwrap();
    assert!(view.impossible.is_empty() && view.blockers.iter().any(|b| b.why == why), "{view:#?}");
    // And the server's own answer to it names both.
    let pods = lab.http().get("/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-01&labelSelector=app%3Dweb").await;
    let pod = &pods["items"][0]["metadata"];
    let mut act = Act::new("cluster", "evict", Repeat::Freely);
    act.args = json!({ "do": "evict", "namespace": "shop", "name": pod["name"], "uid": pod["uid"] });
    let fault = lab.cluster().act("edge-01", &act, &ask("run-1")).await.unwrap_err();
    assert!(fault.what.ends_with("covered by more than one PodDisruptionBudget: shop/web and shop/web-too"), "{fault}");
}

#[tokio::test]
async fn row_4_8_budget_in_sync_failure() {
    let lab = Lab::new(2, 0).await;
    put(&lab, json!({ "metadata": { "labels": { "app": "odd" } } })).await;
    // The lab's controller computes every budget; this one's is written over at once, so it is judged by its own words.
    let dir = {
        let failed = json!([{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "jobs.batch does not implement the scale subresource" }]);
        let list = json!({ "metadata": {}, "items": [{ "metadata": { "name": "odd", "namespace": "shop" }, "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "odd" } } },
            "status": { "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0, "conditions": failed } }] });
        answers::proxy_with(lab.http(), "/apis/policy/v1/poddisruptionbudgets", list).await
    };
    let view = connect(dir.path(), json!({})).look("edge-01", &nobody()).await.unwrap();
    let found = view.impossible.iter().find(|b| b.object == "pod shop/extra").unwrap_or_else(|| panic!("{view:#?}"));
    assert!(
        found.why.starts_with(
            "PodDisruptionBudget shop/odd cannot be computed: jobs.batch does not implement the scale subresource; give the budget an integer minAvailable"
        ),
        "{found}"
    );
}

#[tokio::test]
async fn row_4_8_stuck_terminating_by_a_finalizer() {
    let why = stuck(json!({ "metadata": { "finalizers": ["backup.example/snapshot"] } })).await;
    assert_eq!(
        why,
        "terminating, held by finalizer backup.example/snapshot; ask the owner of that finalizer why its controller does not take it off: kubectl -n shop get pod extra -o yaml"
    );
}

#[tokio::test]
async fn row_4_8_stuck_terminating_by_the_kubelet() {
    let why = stuck(json!({})).await;
    assert!(why.starts_with("terminating, more than 5 minutes past its grace period: the kubelet does not answer or cannot unmount"), "{why}");
}

/// A pod whose grace period ended ten minutes ago.
async fn stuck(more: Value) -> String {
    let lab = Lab::new(1, 0).await;
    let ended = (jiff::Timestamp::now() - Duration::from_secs(570)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut pod = json!({ "metadata": { "name": "extra", "namespace": "shop", "uid": "u", "deletionTimestamp": ended, "deletionGracePeriodSeconds": 30 }, "spec": { "nodeName": "edge-01", "containers": [] } });
    filters::merge(&mut pod, more);
    let dir = answers::proxy_with(lab.http(), "/api/v1/pods", json!({ "metadata": {}, "items": [pod] })).await;
    let view = connect(dir.path(), json!({})).look("edge-01", &ask("run-1")).await.unwrap();
    view.blockers.iter().find(|b| b.object == "pod shop/extra").unwrap_or_else(|| panic!("{view:#?}")).why.clone()
}

#[tokio::test]
async fn row_4_8_not_ready_node_is_no_drain() {
    let lab = Lab::new(2, 0).await;
    lab.rack.power("m1", "ForceOff", "ipmi");
    let view = until(&*lab.cluster(), "edge-01", &nobody(), "NotReady", |v| !v.ready).await;
    assert!(!view.not_ready.is_empty());
}

#[tokio::test]
async fn row_4_8_instance_manager_429_to_the_end_names_its_budget() {
    let lab = Lab::new(2, 0).await;
    put(&lab, json!({ "metadata": { "labels": { "app": "instance-manager" } } })).await;
    budget(&lab, "extra", json!({ "minAvailable": 1, "selector": { "matchLabels": { "app": "instance-manager" } } })).await;
    take(&*lab.cluster(), "edge-01", &ask("run-1")).await;
    let why = said(&lab, "edge-01", "shop/extra", "PodDisruptionBudget shop/extra").await;
    assert!(why.contains("0 may be evicted"), "{why}");
    lab.http().send("DELETE", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/extra", "application/json", json!({})).await;
    // Its owner takes the budget away when every engine has left: then it goes.
    until(&*lab.cluster(), "edge-01", &ask("run-1"), "its eviction", |v| v.moves.iter().any(|a| a.what == "evict shop/extra")).await;
}

#[tokio::test]
async fn row_4_8_a_controller_that_ignores_the_cordon_is_named() {
    let lab = Lab::new(2, 0).await;
    let (cluster, run) = (lab.cluster(), ask("run-1"));
    take(&*cluster, "edge-01", &run).await;
    let late = (jiff::Timestamp::now() + Duration::from_secs(60)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let owner = json!([{ "apiVersion": "fleet.example/v1", "kind": "DaemonSet", "name": "agent", "uid": "d", "controller": true }]);
    let pod = json!({ "metadata": { "name": "extra", "namespace": "shop", "uid": "u", "creationTimestamp": late, "ownerReferences": owner }, "spec": { "nodeName": "edge-01", "containers": [] } });
    let dir = answers::proxy_with(lab.http(), "/api/v1/pods", json!({ "metadata": {}, "items": [pod] })).await;
    let view = until(&*connect(dir.path(), json!({})), "edge-01", &run, "the taint of the cordon", |v| !v.blockers.is_empty()).await;
    assert!(
        view.blockers[0].why.contains("placed here after the cordon (DaemonSet ignores it)") && view.blockers[0].why.contains("cluster.x-k8s.io/drain: skip"),
        "{view:#?}"
    );
}

#[tokio::test]
async fn several_pods_under_one_budget_go_one_by_one_and_every_one_goes() {
    let lab = Lab::new(3, 0).await;
    let (cluster, run, http) = (lab.cluster(), ask("run-1"), lab.http());
    // All of them on one node, and one may be missing.
    for node in ["edge-02", "edge-03"] {
        http.patch_node(node, json!({ "spec": { "unschedulable": true } })).await;
    }
    change(&lab, "/apis/apps/v1/namespaces/shop/deployments/web", json!({ "spec": { "replicas": 7 } })).await;
    change(&lab, "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", json!({ "spec": { "minAvailable": 6 } })).await;
    let webs = |v: &NodeView| v.workloads.iter().filter(|w| w.name.starts_with("shop/web-")).count();
    until(&*cluster, "edge-01", &nobody(), "five of them", |v| {
        webs(v) >= 5 && v.notes.iter().any(|n| n.contains("pods under PodDisruptionBudget shop/web, which allows 1 at a time"))
    })
    .await;
    for node in ["edge-02", "edge-03"] {
        http.patch_node(node, json!({ "spec": { "unschedulable": null } })).await;
    }
    take(&*cluster, "edge-01", &run).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(view.moves.iter().filter(|a| a.what.contains("shop/web-")).count() <= 1, "{:?}", view.moves);
    evacuate(&*cluster, "edge-01", &run).await;
    let budget = http.get("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web").await;
    assert!(budget["status"]["currentHealthy"].as_i64() >= Some(6), "{budget}");
}
