//! Against the lab: the whole life of a node, and what must not happen to it.
use super::*;
use pitstop::model::{Boot, FaultKind, LeaseAnswer, marks};

#[tokio::test]
async fn a_node_is_cordoned_emptied_and_given_back_as_it_was() {
    let lab = Lab::new(3, 0).await;
    let (cluster, http, run) = (lab.cluster(), lab.http(), ask("run-1"));
    let before = http.node("edge-02").await;
    let view = cluster.look("edge-02", &run).await.unwrap();
    assert!(view.ready && view.enabled && !view.in_maintenance && view.marked_by.is_none(), "{view:#?}");
    assert_eq!(view.identity.uuid.as_deref(), Some("4c4c4544-0051-3010-8052-b4c04f4e4d02"));
    assert_eq!(view.identity.machine_id.as_deref(), Some("3f2a9c0d5b6e4f70a1b2c3d4e5f60702"));
    assert_eq!(view.boot, Some(Boot::Id(lab.rack.seen("m2").unwrap().boot_id)));
    assert!(view.workloads.len() >= 4, "{view:#?}");
    assert_eq!(view.fixed, 3, "two DaemonSet pods and a mirror pod");
    // Nothing may be evicted from a node that still takes new pods.
    assert_eq!(view.moves.iter().map(|a| a.what.as_str()).collect::<Vec<_>>(), ["cordon edge-02"]);

    let loans = evacuate(&*cluster, "edge-02", &run).await;
    assert_eq!(loans.len(), 1);
    assert_eq!((loans[0].id.0.as_str(), loans[0].to.as_str(), loans[0].owed.as_str()), ("cordon", "cluster", "uncordon edge-02"));
    assert!(lab.rack.seen("m2").unwrap().running.is_empty(), "the rack agrees that it is empty");
    let cordoned = http.node("edge-02").await;
    assert_eq!(cordoned["spec"]["unschedulable"], true);
    assert_eq!(
        cordoned["metadata"]["annotations"],
        json!({ marks::RUN: "run-1", marks::WAS_UNSCHEDULABLE: "false", marks::REASON: "new kernel",
        marks::WAS_FIT: cordoned["metadata"]["annotations"][marks::WAS_FIT] })
    );
    let member = cluster.members().await.unwrap().into_iter().find(|m| m.name == "edge-02").unwrap();
    assert_eq!(member.out.as_deref(), Some("SchedulingDisabled by pitstop run run-1 (new kernel)"));
    assert_eq!(member.run.as_deref(), Some("run-1"));
    assert!(member.since.is_some());

    assert!(!cluster.is_paid("edge-02", &loans[0]).await.unwrap());
    let back = cluster.give_back("edge-02", &loans[0]);
    assert_eq!(back.what, "uncordon edge-02");
    cluster.act("edge-02", &back, &run).await.unwrap();
    assert!(cluster.is_paid("edge-02", &loans[0]).await.unwrap());
    cluster.act("edge-02", &back, &run).await.expect("twice is once");
    let after = until(&*cluster, "edge-02", &run, "the node back in service", |v| v.enabled).await;
    assert!(!after.in_maintenance && after.marked_by.is_none());
    let node = http.node("edge-02").await;
    assert_eq!((&node["spec"], &node["metadata"]["annotations"]), (&before["spec"], &before["metadata"]["annotations"]));
    // The record holds every write, once.
    let writes = lab.writes();
    assert_eq!(writes.iter().filter(|w| *w == "cordon edge-02").count(), 1);
    assert_eq!(writes.iter().filter(|w| *w == "uncordon edge-02").count(), 1);
    assert!(lab.recorded("lost-workload").is_empty());
}

#[tokio::test]
async fn a_node_cordoned_before_us_stays_cordoned() {
    let lab = Lab::new(2, 0).await;
    let (cluster, http, run) = (lab.cluster(), lab.http(), ask("run-1"));
    assert_eq!(http.patch_node("edge-01", json!({ "spec": { "unschedulable": true } })).await.0, 200);
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(view.in_maintenance && view.marked_by.is_none());
    assert_eq!(view.moves.len(), 1);
    assert_eq!(view.moves[0].what, "mark edge-01 (cordoned before)");
    take(&*cluster, "edge-01", &run).await;
    assert_eq!(http.node("edge-01").await["metadata"]["annotations"][marks::WAS_UNSCHEDULABLE], "true");
    let loan = view.moves[0].borrows.clone().unwrap();
    let back = cluster.give_back("edge-01", &loan);
    assert_eq!(back.what, "take our marks off edge-01");
    cluster.act("edge-01", &back, &run).await.unwrap();
    let node = http.node("edge-01").await;
    assert_eq!(node["spec"]["unschedulable"], true, "not ours to uncordon");
    assert_eq!(node["metadata"]["annotations"], json!({}));
    assert!(cluster.is_paid("edge-01", &loan).await.unwrap());
}

#[tokio::test]
async fn another_runs_mark_is_left_alone() {
    let lab = Lab::new(2, 0).await;
    let (cluster, http) = (lab.cluster(), lab.http());
    let mine = take(&*cluster, "edge-01", &ask("run-1")).await;
    let (other, view) = (ask("run-2"), cluster.look("edge-01", &ask("run-2")).await.unwrap());
    assert_eq!(view.marked_by.as_deref(), Some("run-1"));
    assert!(view.moves.is_empty(), "{view:#?}");
    assert!(view.blockers.iter().any(|b| b.to_string() == "node edge-01: marked by pitstop run run-1: finish or release that one first"), "{view:#?}");
    assert_eq!(cluster.act("edge-01", &mine, &other).await.unwrap_err().kind, FaultKind::Unwilling);
    let foreign = Loan { before: json!({ "unschedulable": false, "run": "run-2" }), ..mine.borrows.clone().unwrap() };
    assert_eq!(cluster.act("edge-01", &cluster.give_back("edge-01", &foreign), &other).await.unwrap_err().kind, FaultKind::Unwilling);
    assert_eq!(http.node("edge-01").await["spec"]["unschedulable"], true);
    // A run that took over run-1's loan pays it back.
    let inherited = cluster.give_back("edge-01", mine.borrows.as_ref().unwrap());
    cluster.act("edge-01", &inherited, &other).await.unwrap();
    assert_eq!(http.node("edge-01").await["metadata"]["annotations"], json!({}));
}

#[tokio::test]
async fn a_cordon_that_somebody_changed_meanwhile_is_refused() {
    let lab = Lab::new(2, 0).await;
    let (cluster, http, run) = (lab.cluster(), lab.http(), ask("run-1"));
    let cordon = cluster.look("edge-01", &run).await.unwrap().moves[0].clone();
    http.patch_node("edge-01", json!({ "spec": { "unschedulable": true } })).await;
    let fault = cluster.act("edge-01", &cordon, &run).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling, "what was there before would be remembered wrongly: {fault}");
    assert_eq!(http.node("edge-01").await["metadata"]["annotations"], json!({}));

    // Ours, and uncordoned under our hands: taken again, and still remembered as schedulable.
    http.patch_node("edge-01", json!({ "spec": { "unschedulable": null } })).await;
    take(&*cluster, "edge-01", &run).await;
    http.patch_node("edge-01", json!({ "spec": { "unschedulable": null } })).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(!view.in_maintenance && view.marked_by.as_deref() == Some("run-1"));
    assert_eq!(view.moves.len(), 1);
    take(&*cluster, "edge-01", &run).await;
    let node = http.node("edge-01").await;
    assert_eq!((&node["spec"]["unschedulable"], &node["metadata"]["annotations"][marks::WAS_UNSCHEDULABLE]), (&json!(true), &json!("false")));
}

#[tokio::test]
async fn a_budget_that_allows_nothing_is_named_with_its_numbers() {
    let lab = Lab::new(3, 2).await;
    let (cluster, run) = (lab.cluster(), ask("run-1"));
    take(&*cluster, "edge-02", &run).await;
    let view = cluster.look("edge-02", &run).await.unwrap();
    let blocker = "pod shop/ledger-0: 1 of 1 needed by PodDisruptionBudget shop/ledger, 0 may be evicted";
    let advice = "scale the application up, or lift the budget for the maintenance: kubectl -n shop get pdb ledger";
    assert!(view.blockers.iter().any(|b| b.to_string() == format!("{blocker}; {advice}")), "{:#?}", view.blockers);
    assert!(view.moves.iter().all(|a| a.what != "evict shop/ledger-0"), "what its budget forbids is not asked for again and again");
    let ledger = lab.http().get("/api/v1/namespaces/shop/pods/ledger-0").await;
    let mut evict = view.moves[0].clone();
    evict.args = json!({ "do": "evict", "namespace": "shop", "name": "ledger-0", "uid": ledger["metadata"]["uid"] });
    let fault = cluster.act("edge-02", &evict, &run).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling);
    assert_eq!(fault.what, "evict shop/ledger-0: 1 of 1 needed by PodDisruptionBudget shop/ledger, 0 may be evicted");
    assert_eq!(fault.causes, ["The disruption budget ledger needs 1 healthy pods and has 1 currently"]);
    assert_eq!(fault.next.as_deref(), Some("scale the application up, or lift the budget for the maintenance: kubectl -n shop get pdb ledger"));
    assert!(!lab.writes().iter().any(|w| w.starts_with("evict")), "a refusal is no write");
}

#[tokio::test]
async fn an_eviction_means_one_pod_and_not_its_successor() {
    let lab = Lab::new(3, 0).await;
    let (cluster, http, run) = (lab.cluster(), lab.http(), ask("run-1"));
    let db0 = http.get("/api/v1/namespaces/shop/pods/db-0").await;
    let node = db0["spec"]["nodeName"].as_str().unwrap().to_owned();
    take(&*cluster, &node, &run).await;
    let view = cluster.look(&node, &run).await.unwrap();
    let evict = eviction(&view, "shop/db-0");
    assert_eq!(evict.args["uid"], db0["metadata"]["uid"]);
    cluster.act(&node, &evict, &run).await.unwrap();
    // On its way out: counted, named, and not evicted again.
    let view = cluster.look(&node, &run).await.unwrap();
    let leaving = view.workloads.iter().find(|w| w.name == "shop/db-0").expect("its grace period is not over");
    assert!(leaving.leaving && view.moves.iter().all(|a| a.what != "evict shop/db-0"));
    assert!(view.blockers.iter().any(|b| b.to_string() == "pod shop/db-0: terminating, grace period 30 s"), "{:#?}", view.blockers);
    until(&*cluster, &node, &run, "the end of db-0", |v| v.workloads.iter().all(|w| w.name != "shop/db-0")).await;
    // Elsewhere there is a new db-0. The old act is answered as done, and does not touch it.
    let start = Instant::now();
    let successor = loop {
        let pod = http.get("/api/v1/namespaces/shop/pods/db-0").await;
        if pod["status"]["phase"] == "Running" {
            break pod;
        }
        assert!(start.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_ne!(successor["metadata"]["uid"], db0["metadata"]["uid"]);
    assert_ne!(successor["spec"]["nodeName"], node.as_str());
    cluster.act(&node, &evict, &run).await.unwrap();
    let pod = http.get("/api/v1/namespaces/shop/pods/db-0").await;
    assert_eq!((&pod["metadata"]["uid"], &pod["metadata"]["deletionTimestamp"]), (&successor["metadata"]["uid"], &Value::Null));
    assert_eq!(lab.writes().iter().filter(|w| *w == "evict shop/db-0").count(), 1);
}

#[tokio::test]
async fn what_cannot_leave_is_said_before_anything_is_touched() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    let bare = json!({ "metadata": { "name": "debug" }, "spec": { "nodeName": "edge-01", "containers": [{ "name": "c", "image": "x" }] } });
    assert_eq!(http.post("/api/v1/namespaces/default/pods", bare).await.0, 201);
    let strict = connect(lab.dir.path(), json!({ "delete_emptydir_data": false }));
    let view = strict.look("edge-01", &nobody()).await.unwrap();
    let impossible: Vec<String> = view.impossible.iter().map(|b| b.object.clone()).collect();
    assert!(impossible.contains(&"pod default/debug".into()), "{impossible:?}");
    assert!(impossible.iter().any(|o| o.starts_with("pod shop/cart-")), "emptyDir: {impossible:?}");
    let lenient = connect(lab.dir.path(), json!({ "force": true }));
    let view = lenient.look("edge-01", &nobody()).await.unwrap();
    assert!(view.impossible.is_empty());
    assert!(view.notes.iter().any(|n| n == "without a controller, will not come back: default/debug"), "{:#?}", view.notes);
}

#[tokio::test]
async fn a_reboot_shows_as_a_new_boot_id_and_never_as_ready_before_it() {
    let lab = Lab::new(3, 0).await;
    let (cluster, run) = (lab.cluster(), ask("run-1"));
    evacuate(&*cluster, "edge-03", &run).await;
    let old = cluster.look("edge-03", &run).await.unwrap().boot;
    lab.rack.power("m3", "ForceRestart", "redfish");
    let down = until(&*cluster, "edge-03", &run, "NotReady", |v| !v.ready).await;
    assert_eq!(down.boot, old, "the API still shows the old boot");
    assert!(!down.not_ready.is_empty());
    let up = until(&*cluster, "edge-03", &run, "a new boot", |v| v.ready && v.boot != old).await;
    assert_eq!(up.boot, Some(Boot::Id(lab.rack.seen("m3").unwrap().boot_id)));
    assert!(up.in_maintenance && up.workloads.is_empty(), "still ours, still empty: {up:#?}");
    assert_eq!(up.fixed, 3);
    assert!(lab.recorded("lost-workload").is_empty());
}

#[tokio::test]
async fn power_cut_under_pods_is_on_the_record_and_they_run_again_after_the_boot() {
    let lab = Lab::new(2, 0).await;
    let (cluster, run) = (lab.cluster(), ask("run-1"));
    let before = cluster.look("edge-01", &run).await.unwrap();
    let running = lab.rack.seen("m1").unwrap().running;
    assert_eq!(running.len(), before.workloads.len());
    lab.rack.power("m1", "ForceRestart", "ipmi");
    until(&*cluster, "edge-01", &run, "a new boot", |v| v.ready && v.boot != before.boot).await;
    let lost: Vec<String> = lab.recorded("lost-workload").iter().map(|l| l["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(lost, running);
    let start = Instant::now();
    while lab.rack.seen("m1").unwrap().running != running {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pods = lab.http().get("/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-01").await;
    assert!(pods["items"].as_array().unwrap().iter().all(|p| p["status"]["containerStatuses"][0]["restartCount"] == 1));
}

#[tokio::test]
async fn the_lock_is_taken_held_kept_and_left() {
    let lab = Lab::new(1, 0).await;
    let (cluster, http) = (lab.cluster(), lab.http());
    let hour = Duration::from_secs(3600);
    assert_eq!(cluster.lease_holder().await.unwrap(), LeaseAnswer::Ours, "free");
    assert_eq!(cluster.lease("a@one", hour).await.unwrap(), LeaseAnswer::Ours);
    let first = http.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/pitstop").await["spec"].clone();
    assert_eq!((&first["holderIdentity"], &first["leaseDurationSeconds"]), (&json!("a@one"), &json!(3600)));
    assert_eq!(cluster.lease("a@one", hour).await.unwrap(), LeaseAnswer::Ours, "renewed");
    let renewed = http.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/pitstop").await["spec"].clone();
    assert_eq!(renewed["acquireTime"], first["acquireTime"]);
    let other = connect(lab.dir.path(), json!({}));
    for answer in [other.lease("b@two", hour).await.unwrap(), other.lease_holder().await.unwrap()] {
        assert!(matches!(&answer, LeaseAnswer::Held { by, since } if by == "a@one" && since == first["acquireTime"].as_str().unwrap()), "{answer:?}");
    }
    other.drop_lease("b@two").await.unwrap();
    assert!(matches!(other.lease_holder().await.unwrap(), LeaseAnswer::Held { .. }), "only its owner drops it");
    cluster.drop_lease("a@one").await.unwrap();
    assert_eq!(other.lease("b@two", Duration::from_secs(1)).await.unwrap(), LeaseAnswer::Ours);
    assert!(matches!(cluster.lease("a@one", hour).await.unwrap(), LeaseAnswer::Held { by, .. } if by == "b@two"));
    // Its owner died: after its time, by the server's clock, it is free.
    let start = Instant::now();
    while cluster.lease("a@one", hour).await.unwrap() != LeaseAnswer::Ours {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(start.elapsed() > Duration::from_millis(500), "not before its time");
}

#[tokio::test]
async fn of_two_that_take_the_lock_at_once_one_gets_it() {
    let lab = Lab::new(1, 0).await;
    let clusters: Vec<_> = (0..8).map(|_| lab.cluster()).collect();
    // First it has to be made, then it lies there free.
    for _ in 0..5 {
        let take = async |(i, c): (usize, &Arc<dyn Cluster>)| c.lease(&format!("owner-{i}"), Duration::from_secs(60)).await.unwrap();
        let answers = futures::future::join_all(clusters.iter().enumerate().map(take)).await;
        let winners: Vec<usize> = (0..8).filter(|i| answers[*i] == LeaseAnswer::Ours).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        let name = format!("owner-{}", winners[0]);
        assert!(answers.iter().all(|a| *a == LeaseAnswer::Ours || matches!(a, LeaseAnswer::Held { by, .. } if *by == name)), "{answers:?}");
        clusters[winners[0]].drop_lease(&name).await.unwrap();
    }
}

#[tokio::test]
async fn looking_writes_nothing() {
    let lab = Lab::new(3, 2).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let dir = answers::proxy(lab.http(), asked.clone()).await;
    let cluster = connect(dir.path(), json!({}));
    let reached = cluster.probe().await.unwrap();
    assert!(reached.what.starts_with("kubernetes v1.31.2 at http://127.0.0.1:"), "{}", reached.what);
    assert!(reached.lease && reached.missing_rights.is_empty());
    assert_eq!(cluster.members().await.unwrap().len(), 3);
    for node in ["edge-01", "edge-02", "edge-03"] {
        cluster.look(node, &ask("run-1")).await.unwrap();
    }
    cluster.lease_holder().await.unwrap();
    let asked = asked.lock().unwrap();
    assert!(asked.len() > 15);
    let writes: Vec<_> = asked.iter().filter(|(method, path)| method != "GET" && !path.ends_with("/selfsubjectaccessreviews?&fieldManager=pitstop")).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert!(lab.writes().is_empty());
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let lab = Lab::new(1, 0).await;
    let http = lab.http();
    for i in 0..620 {
        let pod = json!({ "metadata": { "name": format!("p{i:04}") }, "spec": { "nodeName": "edge-01", "containers": [] } });
        assert_eq!(http.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    }
    let page = http.get("/api/v1/pods?limit=500").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 500);
    assert!(page["metadata"]["continue"].is_string());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let dir = answers::proxy(lab.http(), asked.clone()).await;
    let view = connect(dir.path(), json!({})).look("edge-01", &nobody()).await.unwrap();
    let mut names: Vec<_> = view.workloads.iter().map(|w| &w.name).filter(|n| n.starts_with("default/")).collect();
    names.dedup();
    assert_eq!(names.len(), 620);
    assert_eq!(asked.lock().unwrap().iter().filter(|(_, path)| path.starts_with("/api/v1/pods?") && path.contains("nodeName")).count(), 2);
}

#[tokio::test]
async fn a_watch_tells_what_happens() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    let version = http.get("/api/v1/nodes").await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let url = format!("{}/api/v1/nodes?watch=true&resourceVersion={version}&timeoutSeconds=3", lab.url);
    let watching = http.client.get(url).bearer_auth(TOKEN).send().await.unwrap();
    http.patch_node("edge-02", json!({ "spec": { "unschedulable": true } })).await;
    let text = watching.text().await.unwrap();
    let seen: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(
        seen.iter().any(|e| e["type"] == "MODIFIED" && e["object"]["metadata"]["name"] == "edge-02" && e["object"]["spec"]["unschedulable"] == true),
        "{text}"
    );
}

#[tokio::test]
async fn a_wrong_token_and_an_unknown_node_are_told_apart() {
    let lab = Lab::new(1, 0).await;
    let fault = lab.cluster().look("edge-77", &nobody()).await.unwrap_err();
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Unable, "node edge-77: the cluster does not know it"));
    let path = lab.dir.path().join("kubeconfig");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, good.replace(TOKEN, "stale")).unwrap();
    let cluster = lab.cluster();
    let fault = cluster.members().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied);
    assert!(!format!("{fault:?}").contains("stale"));
    // The credentials are read anew after a refusal.
    std::fs::write(&path, good).unwrap();
    assert_eq!(cluster.members().await.unwrap().len(), 1);
    drop(lab.tasks);
    let fault = cluster.members().await.unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unknown), "{fault:?}");
    assert_eq!(cluster.members().await.unwrap_err().kind, FaultKind::Unreachable);
}
