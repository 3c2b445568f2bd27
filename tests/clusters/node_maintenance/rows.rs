//! reference §9, "Situation": a test per row, and one per known fault of the operator.
use super::*;

#[tokio::test]
async fn row_a_drain_that_is_blocked_is_running_and_never_failed_and_names_what_blocks() {
    let lab = lab(3).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    // One healthy pod, and one needed.
    let labels = json!({ "app": "ledger" });
    let set = json!({ "metadata": { "name": "ledger" }, "spec": { "replicas": 1, "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "x" }], "nodeSelector": { "kubernetes.io/hostname": "edge-01" } } } } });
    lab.send("POST", "/apis/apps/v1/namespaces/shop/statefulsets", set).await;
    let budget = json!({ "metadata": { "name": "ledger" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": labels } } });
    lab.send("POST", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets", budget).await;
    lab.until("/api/v1/namespaces/shop/pods/ledger-0", "ledger-0", |p| {
        p["status"]["conditions"].as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
    })
    .await;

    let loans = work(&*cluster, "edge-01", &run, |v| v.workloads.len() == 1 && v.workloads[0].stuck.is_some()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    let said = blocked(&view);
    assert!(said.contains("pod shop/ledger-0: 1 of 1 needed by PodDisruptionBudget shop/ledger, 0 may be evicted"), "{said}");
    assert!(said.contains("NodeMaintenance pitstop-edge-01") && said.contains("1 pods pending"), "{said}");
    assert!(view.impossible.is_empty() && !view.in_maintenance, "somebody may lift the budget: {view:#?}");
    let status = lab.get(&format!("{PATH}/pitstop-edge-01")).await["status"].clone();
    assert_eq!((&status["phase"], &status["pendingPods"]), (&json!("Running"), &json!(["ledger-0"])));
    assert!(status["lastError"].as_str().unwrap().contains("global timeout reached: 30s"));
    // The budget is lifted: it goes on by itself, and the error stays without meaning anything.
    lab.send("DELETE", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/ledger", Value::Null).await;
    until(&*cluster, "edge-01", &run, "empty", empty).await;
    assert!(lab.get(&format!("{PATH}/pitstop-edge-01")).await["status"]["lastError"].is_string());
    give_back(&*cluster, "edge-01", &loans, &run).await;
}

#[tokio::test]
async fn row_done_is_believed_only_after_our_own_look_at_the_pods() {
    let lab = lab(3).await;
    lab.begin(Trouble::SucceededLies);
    let (cluster, run) = (driver(&lab), ask("run-1"));
    work(&*cluster, "edge-01", &run, |v| v.marked_by.is_some() && v.moves.is_empty()).await;
    lab.until(&format!("{PATH}/pitstop-edge-01"), "Succeeded", |nm| nm["status"]["phase"] == "Succeeded" && nm["status"]["drainProgress"] == 100).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(view.workloads.len() >= 3, "{view:#?}");
    assert!(view.notes.iter().any(|n| n.contains("says Succeeded, and pods are still here: it is not believed")), "{view:#?}");
    assert!(blocked(&view).contains("still here, though its NodeMaintenance says Succeeded"), "{}", blocked(&view));
}

#[tokio::test]
async fn row_a_node_name_that_is_wrong_where_the_webhook_is_absent_fails_and_is_deleted() {
    let lab = lab(2).await;
    lab.begin(Trouble::NoWebhook);
    let (cluster, run) = (driver(&lab), ask("run-1"));
    let mut wrong = maintenance("pitstop-edge-01", "edge-01");
    wrong["metadata"]["annotations"] = json!({ marks::RUN: "run-1" });
    // As it looks when the node has gone and come back while the operator worked.
    let loans = work(&*cluster, "edge-01", &run, |v| v.moves.iter().any(|a| a.what.starts_with("create"))).await;
    wrong["status"] = json!({ "phase": "Failed", "lastError": "nodes \"edge-01\" not found" });
    lab.begin(Trouble::OperatorDead);
    lab.send("POST", PATH, wrong).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(blocked(&view).contains("nodes \"edge-01\" not found; it must be deleted and asked for anew"), "{}", blocked(&view));
    assert!(!view.impossible.is_empty() && !view.in_maintenance);
    let fault = cluster.look("edge-77", &run).await.unwrap_err();
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Unable, "node edge-77: the cluster does not know it"));
    // The loan was taken with the intent; what it names is deleted, whoever made it so.
    let delete = json!({ "name": "pitstop-edge-01", "run": "run-1" });
    let lent = pitstop::model::Loan { before: delete, ..loans[0].clone() };
    cluster.act("edge-01", &cluster.give_back("edge-01", &lent), &run).await.unwrap();
    assert_eq!(lab.get(PATH).await["items"], json!([]));
}

async fn foreign_lease(lab: &Lab, node: &str) {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let spec = json!({ "holderIdentity": "self-node-remediation", "leaseDurationSeconds": 600, "acquireTime": now, "renewTime": now });
    let name = format!("node-{node}");
    let body = json!({ "metadata": { "name": name }, "spec": spec });
    let (code, _) = lab.send("POST", LEASES, body.clone()).await;
    if code == 409 {
        assert_eq!(lab.send("PUT", &format!("{LEASES}/{name}"), body).await.0, 200);
    }
}

#[tokio::test]
async fn row_a_lease_that_another_holds_means_that_someone_else_fences_this_node() {
    let lab = lab(2).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    foreign_lease(&lab, "edge-01").await;
    let loans = work(&*cluster, "edge-01", &run, |v| !v.impossible.is_empty()).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(blocked(&view).contains("held by self-node-remediation, who fences this node"), "{}", blocked(&view));
    assert!(!view.in_maintenance, "its power must be left alone");
    give_back(&*cluster, "edge-01", &loans, &run).await;
    let holder = lab.get(&format!("{LEASES}/node-edge-01")).await["spec"]["holderIdentity"].clone();
    assert_eq!(holder, "self-node-remediation", "theirs, and left alone");
}

#[tokio::test]
async fn row_a_lease_lost_mid_drain_means_never_power_cycle() {
    let lab = lab(2).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    // Pods that stay, so that the operator goes on trying.
    let budget = json!({ "metadata": { "name": "nothing" }, "spec": { "maxUnavailable": 0, "selector": { "matchLabels": { "app": "metrics" } } } });
    lab.send("POST", "/apis/policy/v1/namespaces/platform/poddisruptionbudgets", budget).await;
    let loans = work(&*cluster, "edge-01", &run, |v| v.moves.is_empty() && v.workloads.len() == 1).await;
    foreign_lease(&lab, "edge-01").await;
    lab.until(&format!("{PATH}/pitstop-edge-01"), "Failed", |nm| nm["status"]["phase"] == "Failed").await;
    // The operator gave up and opened the node, although the node carries our mark.
    assert_eq!(lab.node("edge-01").await["spec"]["unschedulable"], Value::Null);
    // And when the other lets go of the lease, the failed maintenance still proves nothing.
    lab.send("DELETE", &format!("{LEASES}/node-edge-01"), Value::Null).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(!view.in_maintenance, "{view:#?}");
    assert!(blocked(&view).contains("the operator lost the node's lease, gave up and uncordoned the node itself"), "{}", blocked(&view));
    assert!(!view.impossible.is_empty());
    give_back(&*cluster, "edge-01", &loans, &run).await;
    assert_eq!(lab.node("edge-01").await["spec"]["unschedulable"], Value::Null);
}

#[tokio::test]
async fn row_an_operator_that_is_dead_is_named_and_not_waited_for_in_silence() {
    let lab = lab(2).await;
    lab.begin(Trouble::OperatorDead);
    let (cluster, run) = (driver(&lab), ask("run-1"));
    let loans = work(&*cluster, "edge-01", &run, |v| v.blockers.iter().any(|b| b.why.contains("no operator has taken it up"))).await;
    assert!(!cluster.look("edge-01", &run).await.unwrap().in_maintenance);
    lab.end(Trouble::OperatorDead);
    until(&*cluster, "edge-01", &run, "empty", empty).await;
    // Dead again, on the way back: what is in the way is said.
    lab.begin(Trouble::OperatorDead);
    cluster.act("edge-01", &cluster.give_back("edge-01", &loans[1]), &run).await.unwrap();
    let fault = cluster.act("edge-01", &cluster.give_back("edge-01", &loans[0]), &run).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling);
    assert!(fault.what.contains("is still being deleted"), "{fault}");
    assert!(!cluster.is_paid("edge-01", &loans[1]).await.unwrap(), "accepted is not in force");
    lab.end(Trouble::OperatorDead);
    give_back(&*cluster, "edge-01", &loans, &run).await;
}

#[tokio::test]
async fn after_succeeded_an_uncordon_is_ours_to_correct() {
    let lab = lab(2).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    let loans = work(&*cluster, "edge-01", &run, empty).await;
    lab.send("PATCH", "/api/v1/nodes/edge-01", json!({ "spec": { "unschedulable": null } })).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(!view.in_maintenance);
    assert_eq!(view.moves.iter().map(|a| a.what.as_str()).collect::<Vec<_>>(), ["cordon edge-01 again"]);
    work(&*cluster, "edge-01", &run, empty).await;
    give_back(&*cluster, "edge-01", &loans, &run).await;
    assert_eq!(lab.node("edge-01").await["spec"]["unschedulable"], Value::Null, "still remembered as schedulable");
}

#[tokio::test]
async fn fault_a_the_race_that_cordons_once_more_after_deletion_is_watched_for_and_repaired() {
    let lab = lab(2).await;
    lab.begin(Trouble::ReCordon);
    let (cluster, run) = (driver(&lab), ask("run-1"));
    let loans = work(&*cluster, "edge-01", &run, empty).await;
    give_back(&*cluster, "edge-01", &loans, &run).await;
    let node = lab.node("edge-01").await;
    assert_eq!((&node["spec"]["unschedulable"], &node["metadata"]["annotations"]), (&Value::Null, &json!({})));
    lab.until("/api/v1/nodes/edge-01", "no taint", |n| n["spec"]["taints"].is_null()).await;
    // It had been cordoned once more: the repair is on the record.
    assert_eq!(lab.writes().iter().filter(|w| *w == "uncordon edge-01").count(), 1, "{:?}", lab.writes());
}

#[tokio::test]
async fn fault_b_an_old_operator_that_cannot_delete_says_why() {
    let lab = lab(2).await;
    lab.begin(Trouble::OldOperator);
    let (cluster, run) = (driver(&lab), ask("run-1"));
    let loans = work(&*cluster, "edge-01", &run, empty).await;
    foreign_lease(&lab, "edge-01").await;
    cluster.act("edge-01", &cluster.give_back("edge-01", &loans[1]), &run).await.unwrap();
    lab.until(&format!("{PATH}/pitstop-edge-01"), "its error", |nm| nm["status"]["lastError"].as_str().is_some_and(|e| e.contains("not owned by us"))).await;
    let fault = cluster.act("edge-01", &cluster.give_back("edge-01", &loans[0]), &run).await.unwrap_err();
    assert!(fault.what.contains("not owned by us") && fault.next.unwrap().contains("finalizer"), "{}", fault.what);
    lab.end(Trouble::OldOperator);
    give_back(&*cluster, "edge-01", &loans, &run).await;
}
