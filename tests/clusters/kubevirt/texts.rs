//! reference §10, "429 texts": a test per row. The lab's own webhook says some of them; those it never says are put into its mouth on the way.
use super::{super::kubernetes::answers, *};
use axum::{http::StatusCode, response::IntoResponse};
use pitstop::model::FaultKind;

/// A driver to whom every eviction is answered with this text of KubeVirt's webhook, and the VM `db` on its node.
async fn answering(text: &'static str) -> (Arc<Lab>, tempfile::TempDir, String) {
    let lab = Arc::new(lab(2).await);
    let node = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
    let to = lab.clone();
    let dir = answers::scripted(move |method, path, _, body| {
        let to = to.clone();
        async move {
            if method == "POST" && path.contains("virt-launcher-db") && path.contains("/eviction") {
                let told = format!("admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: {text}");
                return (StatusCode::TOO_MANY_REQUESTS, answers::status("TooManyRequests", &told, json!([]))).into_response();
            }
            let (code, answer) = to.send(method.as_str(), &path, serde_json::from_slice(&body).unwrap_or_default()).await;
            (StatusCode::from_u16(code).unwrap(), axum::Json(answer)).into_response()
        }
    })
    .await;
    (lab, dir, node)
}
fn at(dir: &tempfile::TempDir) -> Arc<dyn Cluster> {
    super::super::kubernetes::connect(dir.path(), json!({}))
}
/// What is said of the VM in the plan, and when the node is ours.
async fn said(text: &'static str) -> (String, NodeView) {
    let (lab, dir, node) = answering(text).await;
    let cluster = at(&dir);
    let planned = note(&cluster.look(&node, &Ask::default()).await.unwrap(), "db").to_owned();
    // The node is taken as the run takes it, by another way in.
    let own = plain(&lab);
    let cordon = own.look(&node, &ask("run-1")).await.unwrap().moves[0].clone();
    while own.act(&node, &cordon, &ask("run-1")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (planned, cluster.look(&node, &ask("run-1")).await.unwrap())
}
fn of_db(view: &NodeView) -> String {
    view.blockers.iter().chain(&view.impossible).filter(|b| b.object == "vm default/db").map(|b| b.why.clone()).collect()
}

#[tokio::test]
async fn text_eviction_triggered_evacuation_is_progress() {
    let (planned, view) = said("Eviction triggered evacuation of VMI \"default/db\"").await;
    assert_eq!(planned, "will migrate");
    assert!(view.moves.iter().any(|a| a.what.starts_with("migrate vm default/db away from")) && view.impossible.is_empty(), "{view:#?}");
}

#[tokio::test]
async fn text_evacuation_in_progress_is_progress() {
    let (lab, dir, node) = answering("Evacuation in progress: Eviction triggered evacuation of VMI \"default/db\"").await;
    assert_eq!(note(&at(&dir).look(&node, &Ask::default()).await.unwrap(), "db"), "will migrate");
    // Told to leave again while it leaves: no fault.
    let own = plain(&lab);
    let loans = work(&*own, &node, &ask("run-1"), |v| v.moves.iter().any(|a| a.what.starts_with("migrate vm default/db"))).await;
    let again = own.look(&node, &ask("run-1")).await.unwrap().moves.into_iter().find(|a| a.what.starts_with("migrate vm default/db"));
    if let Some(again) = again {
        at(&dir).act(&node, &again, &ask("run-1")).await.unwrap();
    }
    assert!(!loans.is_empty());
}

#[tokio::test]
async fn text_is_not_live_migratable_blocks_for_good() {
    let (planned, view) = said("VMI db is configured with an eviction strategy but is not live-migratable").await;
    assert!(planned.starts_with("blocks: cannot be live-migrated"), "{planned}");
    assert!(of_db(&view).contains("cannot be live-migrated") && !view.impossible.is_empty(), "{view:#?}");
}

#[tokio::test]
async fn text_cannot_evict_hotplug_pod_waits_for_its_vm() {
    let (_, view) = said("cannot evict hotplug pod: hp-volume-x7k2p").await;
    assert!(of_db(&view).contains("follows its VM") && view.impossible.is_empty(), "{view:#?}");
}

#[tokio::test]
async fn text_kubevirt_failed_getting_or_marking_is_transient() {
    for text in ["kubevirt failed getting the vmi: context deadline exceeded", "kubevirt failed marking the vmi for eviction: conflict"] {
        let (_, view) = said(text).await;
        assert!(of_db(&view).contains("KubeVirt cannot say now") && view.impossible.is_empty(), "{view:#?}");
        assert!(view.moves.iter().all(|a| !a.what.contains("default/db")), "asked again at the next look: {view:#?}");
    }
}

#[tokio::test]
async fn a_start_that_is_already_under_way_was_heard() {
    let lab = lab(2).await;
    let here = json!({ "nodeSelector": { "kubernetes.io/hostname": "edge-01" } });
    assert_eq!(vm(&lab, "manual", "Manual", Some("None"), here).await, "edge-01");
    let (cluster, run) = (plain(&lab), policy("run-1", Unmovable::StopAndRestart));
    let loans = work(&*cluster, "edge-01", &run, |v| v.workloads.iter().all(|w| w.kind != "vm" || w.name != "default/manual")).await;
    let loan = loans.iter().find(|l| l.id.0 == "vm/default/manual").unwrap();
    // Somebody's word to start it, which KubeVirt has not acted on yet, is there first: it answers 500.
    let path = format!("{VMS}/manual");
    let mut heard = Vec::new();
    for _ in 0..20 {
        lab.send("PATCH", &path, json!({ "spec": { "runStrategy": "Manual" }, "status": { "stateChangeRequests": [{ "action": "Start" }] } })).await;
        let start = "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/manual/start";
        let (code, said) = lab.send("PUT", start, json!({})).await;
        heard.push((code, said["message"].as_str().unwrap_or_default().to_owned()));
        match cluster.act("edge-01", &cluster.give_back("edge-01", loan), &run).await {
            Ok(()) => break,
            Err(fault) => assert_eq!(fault.kind, FaultKind::Unwilling, "{fault:?}"),
        }
    }
    assert!(heard.iter().all(|(code, said)| *code == 202 || *code == 409 || (*code == 500 && said.contains("stop/start already underway"))), "{heard:?}");
    give_back(&*cluster, "edge-01", &loans, &run).await;
    running(&lab, "manual").await;
}
