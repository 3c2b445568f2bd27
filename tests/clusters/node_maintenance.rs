//! The node_maintenance driver against the lab's operator: the whole life of a node, and a test for every row of what can be in its way.
mod fields;
mod rows;
mod webhook;

use super::operators::{Lab, ask, blocked, empty, give_back, until, work};
use pitstop::{
    drivers::cluster::Cluster,
    lab::kubernetes::addons::{Addons, Trouble},
    model::{FaultKind, RunId, marks},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const PATH: &str = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/medik8s-leases/leases";

async fn lab(n: usize) -> Lab {
    Lab::new(n, Addons { node_maintenance: true, ..Addons::default() }).await
}
fn driver(lab: &Lab) -> Arc<dyn Cluster> {
    lab.driver("node_maintenance", json!({ "watch_after": "500ms", "operator_timeout": "1s" }))
}
fn maintenance(name: &str, node: &str) -> Value {
    json!({ "apiVersion": "nodemaintenance.medik8s.io/v1beta1", "kind": "NodeMaintenance", "metadata": { "name": name },
        "spec": { "nodeName": node, "reason": "fan replaced" } })
}

#[tokio::test]
async fn a_node_is_maintained_emptied_and_given_back_as_it_was() {
    let lab = lab(3).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    let before = lab.node("edge-02").await;
    let view = cluster.look("edge-02", &run).await.unwrap();
    assert!(view.ready && view.enabled && !view.in_maintenance && view.workloads.len() >= 4, "{view:#?}");
    assert_eq!(view.moves.iter().map(|a| a.what.as_str()).collect::<Vec<_>>(), ["cordon edge-02"]);

    let loans = work(&*cluster, "edge-02", &run, empty).await;
    assert_eq!(loans.iter().map(|l| l.owed.as_str()).collect::<Vec<_>>(), ["leave edge-02 schedulable", "delete NodeMaintenance pitstop-edge-02"]);
    assert!(lab.rack.seen("m2").unwrap().running.is_empty(), "the rack agrees that it is empty");
    let nm = lab.get(&format!("{PATH}/pitstop-edge-02")).await;
    assert_eq!(
        (&nm["metadata"]["annotations"][marks::RUN], &nm["spec"]["nodeName"], &nm["status"]["phase"]),
        (&json!("run-1"), &json!("edge-02"), &json!("Succeeded"))
    );
    assert_eq!(nm["spec"]["reason"], "new kernel (pitstop run run-1)");
    let member = cluster.members().await.unwrap().into_iter().find(|m| m.name == "edge-02").unwrap();
    assert_eq!(member.out.as_deref(), Some("NodeMaintenance pitstop-edge-02 by pitstop run run-1 (new kernel)"));
    assert_eq!(member.run.as_deref(), Some("run-1"));

    give_back(&*cluster, "edge-02", &loans, &run).await;
    let view = until(&*cluster, "edge-02", &run, "back in service", |v| v.enabled).await;
    assert!(!view.in_maintenance && view.marked_by.is_none());
    let after = lab.node("edge-02").await;
    assert_eq!(
        (&after["spec"], &after["metadata"]["annotations"], &after["metadata"]["labels"]),
        (&before["spec"], &before["metadata"]["annotations"], &before["metadata"]["labels"])
    );
    assert_eq!(lab.get(PATH).await["items"], json!([]));
}

#[tokio::test]
async fn a_node_cordoned_before_us_is_cordoned_again_though_the_operator_uncordons() {
    let lab = lab(2).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    lab.send("PATCH", "/api/v1/nodes/edge-01", json!({ "spec": { "unschedulable": true } })).await;
    let loans = work(&*cluster, "edge-01", &run, empty).await;
    give_back(&*cluster, "edge-01", &loans, &run).await;
    let node = lab.node("edge-01").await;
    assert_eq!((&node["spec"]["unschedulable"], &node["metadata"]["annotations"]), (&json!(true), &json!({})));
    // It was really uncordoned in between: this is a repair.
    assert!(lab.writes().iter().any(|w| w == "cordon edge-01"), "{:?}", lab.writes());
}

#[tokio::test]
async fn asked_for_twice_is_asked_for_once() {
    let lab = lab(2).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    work(&*cluster, "edge-01", &run, |v| v.moves.iter().any(|a| a.what.starts_with("create"))).await;
    let create = cluster.look("edge-01", &run).await.unwrap().moves[0].clone();
    cluster.act("edge-01", &create, &run).await.unwrap();
    cluster.act("edge-01", &create, &run).await.expect("the answer was lost, and it is there");
    assert_eq!(lab.get(PATH).await["items"].as_array().unwrap().len(), 1);
    // A later run that took over the loans adopts it.
    let heir = pitstop::drivers::cluster::Ask { inherited: vec![RunId("run-1".into())], ..ask("run-2") };
    let view = until(&*cluster, "edge-01", &heir, "emptied for its heir", empty).await;
    assert_eq!(view.marked_by.as_deref(), Some("run-1"));
    give_back(&*cluster, "edge-01", &[create.borrows.unwrap()], &heir).await;
}

#[tokio::test]
async fn looking_writes_nothing() {
    let lab = lab(3).await;
    let cluster = driver(&lab);
    let reached = cluster.probe().await.unwrap();
    assert!(reached.what.starts_with("kubernetes v1.31.2 with the Node Maintenance Operator at https://127.0.0.1:"), "{}", reached.what);
    assert!(reached.lease && reached.missing_rights.is_empty(), "{:?}", reached.missing_rights);
    assert_eq!(cluster.members().await.unwrap().len(), 3);
    for run in [ask("run-1"), pitstop::drivers::cluster::Ask::default()] {
        cluster.look("edge-01", &run).await.unwrap();
    }
    assert!(lab.writes().is_empty(), "{:?}", lab.writes());
}

#[tokio::test]
async fn a_cluster_without_the_operator_says_what_to_do() {
    let lab = Lab::new(1, Addons::default()).await;
    let fault = driver(&lab).probe().await.err().unwrap();
    assert_eq!(fault.kind, FaultKind::Unable);
    assert!(fault.what.contains("no NodeMaintenance") && fault.next.unwrap().contains("kubernetes"), "{}", fault.what);
}

/// What the operator does not look at is looked at all the same, by what plain Kubernetes uses.
#[tokio::test]
async fn shared_volumes_rivals_quorum_and_stores_are_looked_at_here_too() {
    let lab = lab(2).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    let nobody = pitstop::drivers::cluster::Ask::default();
    // Feasibility.
    let view = cluster.look("edge-01", &nobody).await.unwrap();
    assert!(view.notes.iter().any(|n| n.contains("its pods request 0.")) && view.impossible.is_empty(), "{view:#?}");
    // A rival.
    lab.send("PATCH", "/api/v1/nodes/edge-01", json!({ "metadata": { "annotations": { "weave.works/kured-reboot-in-progress": "x" } } })).await;
    let view = cluster.look("edge-01", &nobody).await.unwrap();
    assert!(blocked(&view).contains("kured: is rebooting edge-01") && !view.impossible.is_empty(), "{view:#?}");
    lab.send("PATCH", "/api/v1/nodes/edge-01", json!({ "metadata": { "annotations": { "weave.works/kured-reboot-in-progress": null } } })).await;
    // etcd: one of two never goes.
    let label = |value: Value| json!({ "metadata": { "labels": { "node-role.kubernetes.io/etcd": value } } });
    for node in ["edge-01", "edge-02"] {
        lab.send("PATCH", &format!("/api/v1/nodes/{node}"), label(json!("true"))).await;
    }
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(blocked(&view).contains("etcd") && !view.impossible.is_empty(), "{view:#?}");
    for node in ["edge-01", "edge-02"] {
        lab.send("PATCH", &format!("/api/v1/nodes/{node}"), label(Value::Null)).await;
    }
    // A volume that still hangs on it when its pods have gone.
    lab.send("POST", "/api/v1/persistentvolumes", json!({ "metadata": { "name": "pv-7" }, "spec": {} })).await;
    let attachment = json!({ "metadata": { "name": "csi-1" }, "spec": { "attacher": "csi.example", "nodeName": "edge-01", "source": { "persistentVolumeName": "pv-7" } }, "status": { "attached": true } });
    assert_eq!(lab.send("POST", "/apis/storage.k8s.io/v1/volumeattachments", attachment).await.0, 201);
    let loans = work(&*cluster, "edge-01", &run, |v| blocked(v).contains("volume pv-7: still attached to the node")).await;
    assert!(!empty(&cluster.look("edge-01", &run).await.unwrap()));
    lab.send("DELETE", "/apis/storage.k8s.io/v1/volumeattachments/csi-1", Value::Null).await;
    until(&*cluster, "edge-01", &run, "empty", empty).await;
    assert!(lab.node("edge-01").await["metadata"]["annotations"][marks::WAS_FIT].is_string(), "the picture for after the boot");
    // What the node says is owed, for whoever has no store.
    let owed: Vec<String> = driver(&lab).marked("edge-01").await.unwrap().unwrap().into_iter().map(|l| l.owed).collect();
    assert_eq!(owed, loans.iter().map(|l| l.owed.clone()).collect::<Vec<_>>());
    assert!(cluster.stores("edge-01").await.unwrap().is_empty(), "none is installed here");
    give_back(&*cluster, "edge-01", &loans, &run).await;
    assert!(lab.node("edge-01").await["metadata"]["annotations"][marks::WAS_FIT].is_null());
}
