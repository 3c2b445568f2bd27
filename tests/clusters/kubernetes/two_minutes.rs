//! A drain that stands still for two minutes says what it stands at and who can do what, by the words of the step itself: §4.6's budgets and webhooks, §4.8's finalizers, §6's volumes, §10's VMs.
use super::{storage::define, *};
use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use pitstop::{
    lab::kubernetes::addons::{Addons, Trouble},
    model::{Answer, Done, Past, TimeScale},
    steps::{Next, evacuate},
};

/// Two minutes of the step, a hundred times as fast: looks, acts, what it says in the end.
async fn stands(cluster: &dyn Cluster, node: &str) -> String {
    let (run, mut past, scale, begun) = (ask("run-1"), Past::default(), TimeScale(0.01), Instant::now());
    let mut said = String::new();
    // And a little: what is asked again after 80 s is asked by then.
    while begun.elapsed() < Duration::from_millis(1300) {
        let view = cluster.look(node, &run).await.unwrap();
        match evacuate::judge("edge", &view, &past, scale, jiff::Timestamp::now()) {
            None => said = "empty".into(),
            Some(Next::Act(acts)) => {
                for (act, before) in acts {
                    let answer = Some(Answer::of(cluster.act(node, &act, &run).await));
                    past.acts.push(Done { step: 0, attempt: 0, act, before, at: jiff::Timestamp::now(), answer });
                }
            }
            Some(Next::Hold(fault)) => return fault.to_string(),
            Some(Next::Wait(blockers)) => said = blockers.iter().map(|b| b.to_string()).collect::<Vec<_>>().join("\n"),
            Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    said
}
fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[tokio::test]
async fn blocked_for_two_minutes_by_a_budget() {
    let lab = Lab::new(2, 1).await;
    let said = stands(&*lab.cluster(), "edge-01").await;
    says(&said, &["pod shop/ledger-0: 1 of 1 needed by PodDisruptionBudget shop/ledger, 0 may be evicted", "scale the application up, or lift the budget"]);
    says(&said, &["kubectl -n shop get pdb ledger"]);
}

#[tokio::test]
async fn blocked_for_two_minutes_by_a_finalizer() {
    let lab = Lab::new(2, 0).await;
    // Asked to go long before: its grace period is over by more than a minute.
    let ended = (jiff::Timestamp::now() - Duration::from_secs(150)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let pod = json!({ "metadata": { "name": "extra", "namespace": "shop", "uid": "u", "deletionTimestamp": ended, "deletionGracePeriodSeconds": 30, "finalizers": ["backup.example/snapshot"] },
        "spec": { "nodeName": "edge-01", "containers": [] } });
    let dir = answers::proxy_with(lab.http(), "/api/v1/pods", json!({ "metadata": {}, "items": [pod] })).await;
    let said = stands(&*connect(dir.path(), json!({})), "edge-01").await;
    says(
        &said,
        &["pod shop/extra: terminating, held by finalizer backup.example/snapshot", "ask the owner of that finalizer", "kubectl -n shop get pod extra -o yaml"],
    );
}

#[tokio::test]
async fn blocked_for_two_minutes_by_a_webhook_that_does_not_answer() {
    let lab = Lab::new(2, 0).await;
    let to = Arc::new(lab.http());
    let tries = Arc::new(Mutex::new(0));
    let counted = tries.clone();
    let dir = answers::scripted(move |method, path, headers, body| {
        let (to, counted) = (to.clone(), counted.clone());
        async move {
            if method == "POST" && path.contains("/eviction") {
                *counted.lock().unwrap() += 1;
                let text = "Internal error occurred: failed calling webhook \"guard.example\": failed to call webhook: Post \"https://guard.shop.svc:443/\": no endpoints available";
                return (StatusCode::INTERNAL_SERVER_ERROR, answers::status("InternalError", text, json!([]))).into_response();
            }
            let content = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json").to_owned();
            let (code, answer) = to.send(method.as_str(), &path, &content, serde_json::from_slice(&body).unwrap_or_default()).await;
            (StatusCode::from_u16(code).unwrap(), axum::Json(answer)).into_response()
        }
    })
    .await;
    let said = stands(&*connect(dir.path(), json!({})), "edge-01").await;
    says(
        &said,
        &[
            "evict shop/",
            "admission webhook guard.example does not answer",
            "get the pods behind it Ready again",
            "kubectl get validatingwebhookconfigurations",
        ],
    );
    let (tries, pods) = (*tries.lock().unwrap(), said.lines().filter(|l| l.contains("guard.example does not answer")).count());
    assert!(tries > pods && tries <= pods * 6, "tried again, with growing pauses: {tries} for {pods} pods");
}

#[tokio::test]
async fn blocked_for_two_minutes_by_a_vm_that_cannot_move() {
    let lab = operators::Lab::new(2, Addons { kubevirt: true, ..Addons::default() }).await;
    let vms = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines";
    let disk = json!([{ "name": "disk", "hostDisk": { "path": "/data/disk.img", "type": "Disk" } }]);
    let spec =
        json!({ "domain": { "devices": {} }, "evictionStrategy": "LiveMigrate", "volumes": disk, "nodeSelector": { "kubernetes.io/hostname": "edge-01" } });
    let body = json!({ "metadata": { "name": "db" }, "spec": { "runStrategy": "Always", "template": { "spec": spec } } });
    assert_eq!(lab.send("POST", vms, body).await.0, 201);
    lab.until("/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/db", "the VM", |v| v["status"]["phase"] == "Running").await;
    let cluster = lab.driver("kubernetes", json!({}));
    let said = stands(&*cluster, "edge-01").await;
    says(&said, &["vm default/db: blocks: cannot be live-migrated: DisksNotLiveMigratable", "unmovable = \"stop-and-restart\""]);
    // And one that can move, and whose webhook does not answer.
    lab.begin(Trouble::VirtApiDown);
    let node = lab.get("/apis/kubevirt.io/v1/namespaces/vms/virtualmachineinstances/guest-1").await["status"]["nodeName"].as_str().unwrap().to_owned();
    lab.send("DELETE", &format!("{vms}/db"), Value::Null).await;
    let said = stands(&*cluster, &node).await;
    says(
        &said,
        &["vm vms/guest-1: KubeVirt cannot say now", "failed calling webhook", "see that virt-api is Ready: kubectl get pods -A -l kubevirt.io=virt-api"],
    );
}

#[tokio::test]
async fn blocked_for_two_minutes_by_a_volume_that_is_being_detached() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    define(&http, "none.example", "v1", "nothings", "Nothing").await; // a cluster with other groups
    let since = (jiff::Timestamp::now() - Duration::from_secs(130)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let claim = json!({ "metadata": { "name": "pv-7" }, "spec": { "claimRef": { "namespace": "shop", "name": "data-db-0" } } });
    assert_eq!(http.post("/api/v1/persistentvolumes", claim).await.0, 201);
    let attachment = json!({ "metadata": { "name": "csi-1", "deletionTimestamp": since, "finalizers": ["external-attacher/csi-example"] },
        "spec": { "attacher": "csi.example", "nodeName": "edge-01", "source": { "persistentVolumeName": "pv-7" } },
        "status": { "attached": true, "detachError": { "message": "rpc error: volume is in use" } } });
    let list = json!({ "metadata": {}, "items": [attachment] });
    let dir = answers::proxy_with(lab.http(), "/apis/storage.k8s.io/v1/volumeattachments", list).await;
    let cluster = connect(dir.path(), json!({}));
    // Its pods leave first.
    let run = ask("run-1");
    let begun = Instant::now();
    loop {
        let view = cluster.look("edge-01", &run).await.unwrap();
        if view.in_maintenance && view.workloads.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{view:#?}");
        for act in &view.moves {
            cluster.act("edge-01", act, &run).await.ok();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = stands(&*cluster, "edge-01").await;
    says(&said, &["volume pv-7 (shop/data-db-0): detaching for more than 2 minutes: rpc error: volume is in use", "kubectl describe volumeattachment csi-1"]);
    assert!(!said.contains("empty"), "{said}");
}
