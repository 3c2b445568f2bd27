//! §4.6 and §4.8 by a server's own decisions, not by scripts: against the one that `PITSTOP_TEST_KUBECONFIG` names, else the lab. `evictions.rs` has every answer word for word.
use super::{
    place::{JSON, MERGE, Place, row},
    *,
};
use pitstop::model::{FaultKind, Repeat};

/// An eviction as the driver would offer it, whether a budget allows it or not.
async fn evict_with(cluster: &dyn Cluster, place: &Place, uid: &Value) -> Result<(), Fault> {
    let mut act = Act::new("cluster", format!("evict {}", place.told("extra")), Repeat::Freely);
    act.args = json!({ "do": "evict", "namespace": place.namespace, "name": "extra", "uid": uid });
    cluster.act(&place.node, &act, &ask("run-1")).await
}
async fn evict(place: &Place, pod: &Value) -> Result<(), Fault> {
    evict_with(&*place.cluster(json!({})), place, &pod["metadata"]["uid"]).await
}
async fn there(place: &Place, name: &str) -> Option<Value> {
    let (code, pod) = place.api.send("GET", &format!("{}/{name}", place.pods()), JSON, Value::Null).await;
    (code == 200).then_some(pod)
}
async fn ends(place: &Place, name: &str) {
    let begun = Instant::now();
    while there(place, name).await.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{name} never ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
fn numbers(current: i64, desired: i64, expected: i64, allowed: i64) -> Value {
    json!({ "currentHealthy": current, "desiredHealthy": desired, "expectedPods": expected, "disruptionsAllowed": allowed })
}
/// What is said of the pod while the node is drained, once it contains `wanted`.
async fn said(place: &Place, wanted: &str) -> String {
    let (cluster, run) = (place.cluster(json!({})), ask("run-1"));
    if !cluster.look(&place.node, &run).await.unwrap().in_maintenance {
        take(&*cluster, &place.node, &run).await;
    }
    let object = format!("pod {}", place.told("extra"));
    let why = |v: &NodeView| v.blockers.iter().chain(&v.impossible).find(|b| b.object == object).map(|b| b.why.clone()).unwrap_or_default();
    let view = until(&*cluster, &place.node, &run, wanted, |v| why(v).contains(wanted)).await;
    assert!(view.moves.iter().all(|a| a.what != format!("evict {}", place.told("extra"))), "not asked for again and again: {view:#?}");
    why(&view)
}

#[tokio::test]
async fn server_4_6_201_success_and_404_and_409() {
    row("server_4_6_201_404_409", async |place| {
        let pod = place.put("extra", json!({})).await?;
        let cluster = place.cluster(json!({}));
        // 409: that very pod is not there, and the one of its name stays.
        evict_with(&*cluster, place, &json!(uuid::Uuid::new_v4())).await.expect("another of its name is no business of ours");
        assert!(there(place, "extra").await.is_some_and(|p| p["metadata"]["deletionTimestamp"].is_null()));
        evict_with(&*cluster, place, &pod["metadata"]["uid"]).await.unwrap();
        ends(place, "extra").await;
        evict_with(&*cluster, place, &pod["metadata"]["uid"]).await.expect("404: gone is gone");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_6_429_pdb_and_4_8_single_replica_under_a_budget() {
    row("server_4_6_429_pdb", async |place| {
        let pod = place.put("extra", json!({})).await?;
        place.budget("keep", "extra", json!({ "minAvailable": 1 }), numbers(1, 1, 1, 0)).await;
        let fault = evict(place, &pod).await.unwrap_err();
        let budget = format!("1 of 1 needed by PodDisruptionBudget {}/keep, 0 may be evicted", place.namespace);
        assert!(fault.kind == FaultKind::Unwilling && fault.what.contains(&budget), "{fault:?}");
        assert!(fault.causes.iter().any(|c| c.contains("needs 1 healthy pods and has 1 currently")), "the server's own words: {fault:?}");
        let why = said(place, "needed by").await;
        assert_eq!(why, format!("{budget}; scale the application up, or lift the budget for the maintenance: kubectl -n {} get pdb keep", place.namespace));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_6_429_pdb_that_allows_one_lets_one_go_and_then_the_next() {
    row("server_4_6_429_one_by_one", async |place| {
        for name in ["extra", "extra-2"] {
            place.put(name, json!({ "metadata": { "labels": { "app": "pair" } } })).await?;
        }
        let counted = place.budget("pair", "pair", json!({ "minAvailable": 1 }), numbers(2, 1, 2, 1)).await;
        let (cluster, run) = (place.cluster(json!({})), ask("run-1"));
        take(&*cluster, &place.node, &run).await;
        let ours = |v: &NodeView| v.moves.iter().filter(|a| a.what.starts_with(&format!("evict {}/", place.namespace))).cloned().collect::<Vec<_>>();
        let view = until(&*cluster, &place.node, &run, "an eviction", |v| !ours(v).is_empty()).await;
        let offered = ours(&view);
        assert_eq!(offered.len(), 1, "the budget allows one: {offered:?}");
        cluster.act(&place.node, &offered[0], &run).await.unwrap();
        ends(place, offered[0].what.rsplit('/').next().unwrap()).await;
        if !counted {
            // What the controller would count: the server has spent the one.
            let path = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets/pair", place.namespace);
            assert_eq!(place.api.get(&path).await["status"]["disruptionsAllowed"], 0, "the server itself accounts for it");
            place.api.send("PATCH", &format!("{path}/status"), MERGE, json!({ "status": numbers(1, 1, 1, 0) })).await;
        }
        let left = |v: &NodeView| v.blockers.iter().any(|b| b.why.contains(&format!("1 of 1 needed by PodDisruptionBudget {}/pair", place.namespace)));
        let view = until(&*cluster, &place.node, &run, "the other held", left).await;
        assert!(ours(&view).is_empty(), "{view:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_6_429_pdb_not_yet_observed() {
    row("server_4_6_429_unobserved", async |place| {
        let pod = place.put("extra", json!({})).await?;
        if place.budget("new", "extra", json!({ "minAvailable": 0 }), Value::Null).await {
            return Err(if place.real {
                "the server's disruption controller counts at once".into()
            } else {
                "the lab counts at once: evictions.rs has the answer".into()
            });
        }
        let fault = evict(place, &pod).await.unwrap_err();
        assert!(fault.kind == FaultKind::Unwilling && fault.what.contains("has only just been changed, the API server still counts"), "{fault:?}");
        said(place, "has not been counted by the cluster's controller yet; if it stays so, see to kube-controller-manager").await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_6_429_pdb_failed_sync() {
    row("server_4_6_429_failed_sync", async |place| {
        let pod = place.put("extra", json!({})).await?;
        // The pods' owner has no scale.
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut failed = numbers(0, 0, 0, 0);
        failed["conditions"] = json!([{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "configmaps does not implement the scale subresource",
            "lastTransitionTime": now, "observedGeneration": 1 }]);
        place.budget("odd", "extra", json!({ "maxUnavailable": 1 }), failed).await;
        let why = said(place, "cannot be computed").await;
        assert!(why.contains("scale") && why.contains("give the budget an integer minAvailable"), "{why}");
        let fault = evict(place, &pod).await.unwrap_err();
        assert!(fault.kind == FaultKind::Unwilling && fault.to_string().contains("cannot be computed"), "{fault:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_6_500_more_than_one_pdb_and_4_8_overlapping_budgets() {
    row("server_4_6_500_two_budgets", async |place| {
        let pod = place.put("extra", json!({})).await?;
        for name in ["one", "two"] {
            place.budget(name, "extra", json!({ "minAvailable": 0 }), numbers(1, 0, 1, 1)).await;
        }
        let both = format!("{0}/one and {0}/two", place.namespace);
        let fault = evict(place, &pod).await.unwrap_err();
        assert!(fault.kind == FaultKind::Unwilling && fault.what.contains(&both), "{fault:?}");
        let view = place.cluster(json!({})).look(&place.node, &nobody()).await.unwrap();
        let why = format!("more than one PodDisruptionBudget covers it ({0}/one, {0}/two)", place.namespace);
        assert!(view.impossible.iter().any(|b| b.why.starts_with(&why)), "the plan refuses it: {view:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_6_403_namespace_terminating() {
    row("server_4_6_403_terminating", async |place| {
        // Held, so that the namespace cannot be gone before it is asked.
        let pod = place.put("extra", json!({ "metadata": { "finalizers": ["example.com/hold"] } })).await?;
        let (code, said) = place.api.send("DELETE", &format!("/api/v1/namespaces/{}", place.namespace), JSON, Value::Null).await;
        assert!(code == 200 || code == 202, "{said}");
        // Its admission takes a moment to know.
        let begun = Instant::now();
        let fault = loop {
            match evict(place, &pod).await {
                Err(fault) => break fault,
                Ok(()) => assert!(begun.elapsed() < Duration::from_secs(10), "evicted from a namespace that is being deleted"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let told = format!("namespace {} is being deleted", place.namespace);
        assert!(fault.kind == FaultKind::Unwilling && fault.what.contains(&told), "{fault:?}");
        Ok(())
    })
    .await
}

/// The kubeconfig, with another user.
async fn as_somebody(place: &Place, user: Value) -> (tempfile::TempDir, Arc<dyn Cluster>) {
    let read = kube::config::Kubeconfig::read_from(place.dir.join("kubeconfig")).unwrap();
    let mut config = serde_json::to_value(&read).unwrap();
    for entry in config["users"].as_array_mut().unwrap() {
        match user.get("as") {
            Some(name) => entry["user"]["as"] = name.clone(),
            None => entry["user"] = user.clone(),
        }
    }
    // What lies beside the file is named from there.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("kubeconfig"), config.to_string()).unwrap();
    let cluster = connect(dir.path(), json!({}));
    (dir, cluster)
}

#[tokio::test]
async fn server_4_6_403_other_is_about_rights() {
    row("server_4_6_403_rights", async |place| {
        if !place.real {
            return Err("the lab knows no rights: evictions.rs has the answer".into());
        }
        let pod = place.put("extra", json!({})).await?;
        let (_dir, cluster) = as_somebody(place, json!({ "as": "pitstop-test-nobody" })).await;
        match evict_with(&*cluster, place, &pod["metadata"]["uid"]).await {
            Ok(()) => Err("this server lets everybody do everything".into()),
            Err(fault) if fault.kind == FaultKind::Denied => {
                assert!(fault.next.as_deref().unwrap_or_default().contains("rights"), "{fault:?}");
                assert!(there(place, "extra").await.is_some_and(|p| p["metadata"]["deletionTimestamp"].is_null()));
                Ok(())
            }
            Err(fault) => panic!("{fault:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn server_4_6_401_twice_is_meant() {
    row("server_4_6_401", async |place| {
        let pod = place.put("extra", json!({})).await?;
        let (_dir, cluster) = as_somebody(place, json!({ "token": "expired" })).await;
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(evict_with(&*cluster, place, &pod["metadata"]["uid"]).await.unwrap_err().kind);
        }
        assert_eq!(kinds[2], FaultKind::Denied, "{kinds:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_6_500_failed_calling_webhook() {
    row("server_4_6_500_webhook", async |place| {
        if !place.real {
            return Err("the lab has no webhooks of others: evictions.rs has the answer".into());
        }
        let pod = place.put("extra", json!({})).await?;
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
        let rules = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"] }]);
        // Nobody listens there; only this row's namespace is asked about.
        let hook = json!({ "name": "guard.pitstop.example", "clientConfig": { "url": "https://127.0.0.1:9/" }, "rules": rules, "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1, "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": place.namespace } } });
        let body = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": { "name": place.namespace }, "webhooks": [hook] });
        let (code, made) = place.api.post(path, body).await;
        if code == 404 {
            return Err("this server knows no webhooks".into());
        }
        assert_eq!(code, 201, "{made}");
        // Servers take a moment to know it.
        let dry = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "extra", "namespace": place.namespace } });
        let mut knows = false;
        for _ in 0..50 {
            knows = place.api.post(&format!("{}/extra/eviction?dryRun=All", place.pods()), dry.clone()).await.0 == 500;
            if knows {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let answer = match knows {
            true => Some(evict(place, &pod).await),
            false => None,
        };
        place.api.send("DELETE", &format!("{path}/{}", place.namespace), JSON, Value::Null).await;
        let fault = answer.ok_or("this server asks no webhooks")?.unwrap_err();
        assert!(fault.kind == FaultKind::Unwilling && fault.what.contains("admission webhook guard.pitstop.example does not answer"), "{fault:?}");
        assert!(fault.next.as_deref().unwrap_or_default().contains("get the pods behind it Ready again"), "{fault:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_8_unhealthy_app_and_if_healthy_budget() {
    row("server_4_8_unhealthy_app", async |place| {
        let unready = json!({ "status": { "phase": if place.real { "Running" } else { "Unknown" }, "conditions": [{ "type": "Ready", "status": "False" }] } });
        let pod = place.put("extra", unready).await?;
        place.budget("keep", "extra", json!({ "minAvailable": 1 }), numbers(0, 1, 1, 0)).await;
        let why = said(place, "needed by").await;
        assert!(why.contains("get the unready pods behind it Ready, or set unhealthyPodEvictionPolicy: AlwaysAllow"), "{why}");
        assert_eq!(evict(place, &pod).await.unwrap_err().kind, FaultKind::Unwilling);
        // Its owner does so, and it may go.
        let path = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets/keep", place.namespace);
        let (code, answer) = place.api.send("PATCH", &path, MERGE, json!({ "spec": { "unhealthyPodEvictionPolicy": "AlwaysAllow" } })).await;
        assert_eq!(code, 200, "{answer}");
        if answer["spec"]["unhealthyPodEvictionPolicy"].is_null() {
            return Err("the server is older than unhealthyPodEvictionPolicy".into());
        }
        place.api.send("PATCH", &format!("{path}/status"), MERGE, json!({ "status": { "observedGeneration": answer["metadata"]["generation"] } })).await;
        let what = format!("evict {}", place.told("extra"));
        until(&*place.cluster(json!({})), &place.node, &ask("run-1"), "its eviction", |v| v.moves.iter().any(|a| a.what == what)).await;
        evict(place, &pod).await.unwrap();
        ends(place, "extra").await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_4_8_pod_already_terminating_is_never_posted_for_and_its_finalizer_is_there() {
    row("server_4_8_terminating", async |place| {
        place.put("extra", json!({ "metadata": { "finalizers": ["backup.example/snapshot"] } })).await?;
        place.budget("keep", "extra", json!({ "minAvailable": 1 }), numbers(1, 1, 1, 0)).await;
        place.api.send("DELETE", &format!("{}/extra", place.pods()), JSON, json!({ "gracePeriodSeconds": 1 })).await;
        let (cluster, run) = (place.cluster(json!({})), ask("run-1"));
        take(&*cluster, &place.node, &run).await;
        let view = cluster.look(&place.node, &run).await.unwrap();
        assert!(view.workloads.iter().any(|w| w.name == place.told("extra") && w.leaving), "{view:#?}");
        assert!(view.moves.iter().all(|a| !a.what.contains("extra")), "{view:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_a_node_is_taken_marked_and_given_back_as_it_was_and_a_foreign_cordon_stays() {
    row("server_cordon", async |place| {
        let path = format!("/api/v1/nodes/{}", place.node);
        for cordoned in [false, true] {
            let own = if cordoned { json!(true) } else { Value::Null };
            assert_eq!(place.api.send("PATCH", &path, MERGE, json!({ "spec": { "unschedulable": own } })).await.0, 200);
            let (cluster, run) = (place.cluster(json!({})), ask("run-1"));
            let loan = take(&*cluster, &place.node, &run).await.borrows.unwrap();
            let taken = place.api.get(&path).await;
            assert_eq!((&taken["spec"]["unschedulable"], &taken["metadata"]["annotations"]["pitstop/run"]), (&json!(true), &json!("run-1")));
            assert_eq!(taken["metadata"]["annotations"]["pitstop/was-unschedulable"], cordoned.to_string());
            // Whoever finds it without our store reads there what is owed.
            let marked = place.cluster(json!({})).marked(&place.node).await.unwrap().unwrap();
            assert_eq!(marked.iter().map(|l| &l.owed).collect::<Vec<_>>(), [&loan.owed]);
            let view = place.cluster(json!({})).look(&place.node, &ask("run-2")).await.unwrap();
            assert!(view.moves.is_empty() && view.blockers.iter().any(|b| b.why.contains("marked by pitstop run run-1")), "{view:#?}");
            let cluster = place.cluster(json!({}));
            cluster.act(&place.node, &cluster.give_back(&place.node, &loan), &run).await.unwrap();
            assert!(cluster.is_paid(&place.node, &loan).await.unwrap());
            let after = place.api.get(&path).await;
            assert_eq!(after["spec"]["unschedulable"], own, "as it was");
            let notes = after["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
            assert!(notes.keys().all(|k| !k.starts_with("pitstop/")), "{notes:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_a_plan_asks_by_dry_run_and_changes_nothing() {
    row("server_dry_run", async |place| {
        let pod = place.put("extra", json!({})).await?;
        place.budget("free", "extra", json!({ "minAvailable": 0 }), numbers(1, 0, 1, 1)).await;
        let budget = || async { place.api.get(&format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets/free", place.namespace)).await };
        let before = budget().await;
        let view = place.cluster(json!({})).look(&place.node, &nobody()).await.unwrap();
        assert!(view.workloads.iter().any(|w| w.name == place.told("extra") && w.stuck.is_none()), "{view:#?}");
        assert!(!view.blockers.iter().any(|b| b.object.contains(&place.told("extra"))), "{view:#?}");
        let after = budget().await;
        assert_eq!((&after["status"], &after["spec"]), (&before["status"], &before["spec"]), "a dry run spends nothing");
        assert_eq!(there(place, "extra").await.unwrap()["metadata"]["resourceVersion"], pod["metadata"]["resourceVersion"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_budgets_are_read_by_discovery() {
    row("server_discovery", async |place| {
        let groups = place.api.get("/apis/policy").await;
        let served: Vec<&str> = groups["versions"].as_array().unwrap().iter().filter_map(|v| v["version"].as_str()).collect();
        assert!(served.iter().any(|v| ["v1", "v1beta1"].contains(v)), "{groups}");
        let reached = place.cluster(json!({})).probe().await.unwrap();
        assert!(reached.what.starts_with("kubernetes v1."), "{}", reached.what);
        assert!(reached.missing_rights.is_empty(), "the account of this suite is an administrator's: {:?}", reached.missing_rights);
        Ok(())
    })
    .await
}
