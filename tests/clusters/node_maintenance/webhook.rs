//! reference §9, the webhook's refusals: a test per row.
use super::*;

/// Ready to create, and what creating answers then.
async fn refused(lab: &Lab) -> pitstop::model::Fault {
    let (cluster, run) = (driver(lab), ask("run-1"));
    work(&*cluster, "edge-01", &run, |v| v.moves.iter().any(|a| a.what.starts_with("create"))).await;
    let create = cluster.look("edge-01", &run).await.unwrap().moves[0].clone();
    let fault = cluster.act("edge-01", &create, &run).await.unwrap_err();
    assert_eq!(lab.get(PATH).await["items"].as_array().unwrap().iter().filter(|nm| nm["metadata"]["name"] == "pitstop-edge-01").count(), 0);
    fault
}

#[tokio::test]
async fn row_no_node_with_name() {
    let lab = lab(1).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    work(&*cluster, "edge-01", &run, |v| v.moves.iter().any(|a| a.what.starts_with("create"))).await;
    let create = cluster.look("edge-01", &run).await.unwrap().moves[0].clone();
    let fault = cluster.act("edge-77", &create, &run).await.unwrap_err();
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Unable, "create NodeMaintenance pitstop-edge-77: the operator knows no such node"));
    assert!(fault.causes[0].contains("vnodemaintenance.kb.io"), "{fault}");
}

#[tokio::test]
async fn row_already_exists_and_is_not_ours() {
    let lab = lab(2).await;
    assert_eq!(lab.send("POST", PATH, maintenance("fan", "edge-01")).await.0, 201);
    let cluster = driver(&lab);
    for run in [ask("run-1"), pitstop::drivers::cluster::Ask::default()] {
        let view = cluster.look("edge-01", &run).await.unwrap();
        assert!(view.moves.is_empty() && !view.enabled, "{view:#?}");
        assert_eq!(
            view.impossible[0].to_string(),
            "node edge-01: held by NodeMaintenance fan (fan replaced), which is not ours: whoever made it must end it first"
        );
    }
    let member = cluster.members().await.unwrap().into_iter().find(|m| m.name == "edge-01").unwrap();
    assert_eq!((member.out.as_deref(), member.run), (Some("NodeMaintenance fan (fan replaced)"), None), "it takes a place in the limits");
}

#[tokio::test]
async fn row_already_exists_since_a_moment_ago() {
    let lab = lab(2).await;
    let (cluster, run) = (driver(&lab), ask("run-1"));
    work(&*cluster, "edge-01", &run, |v| v.moves.iter().any(|a| a.what.starts_with("create"))).await;
    let create = cluster.look("edge-01", &run).await.unwrap().moves[0].clone();
    lab.send("POST", PATH, maintenance("fan", "edge-01")).await;
    let fault = cluster.act("edge-01", &create, &run).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling);
    assert!(fault.what.contains("held by NodeMaintenance fan (fan replaced), which is not ours"), "{fault}");
    // Theirs is never deleted.
    let delete = cluster.give_back("edge-01", create.borrows.as_ref().unwrap());
    cluster.act("edge-01", &delete, &run).await.unwrap();
    assert_eq!(lab.get(&format!("{PATH}/fan")).await["metadata"]["deletionTimestamp"], Value::Null);
}

#[tokio::test]
async fn row_will_violate_etcd_quorum() {
    let lab = lab(1).await;
    lab.begin(Trouble::EtcdQuorum);
    let fault = refused(&lab).await;
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Unwilling, "create NodeMaintenance pitstop-edge-01: etcd would lose its quorum"));
    assert!(fault.next.unwrap().contains("openshift-etcd"));
}

#[tokio::test]
async fn row_updating_spec_node_name_is_not_allowed() {
    let lab = lab(2).await;
    lab.send("POST", PATH, maintenance("fan", "edge-01")).await;
    // We never update one; the lab refuses it as in life.
    let (code, said) = lab.send("PATCH", &format!("{PATH}/fan"), json!({ "spec": { "nodeName": "edge-02" } })).await;
    assert_eq!(code, 403);
    assert!(said["message"].as_str().unwrap().contains("updating spec.NodeName isn't allowed"), "{said}");
}

#[tokio::test]
async fn row_please_try_again() {
    let lab = lab(1).await;
    lab.begin(Trouble::WebhookHiccup);
    let fault = refused(&lab).await;
    assert_eq!(
        (fault.kind, fault.what.as_str()),
        (FaultKind::Unwilling, "create NodeMaintenance pitstop-edge-01: the operator's webhook could not read the nodes")
    );
    lab.end(Trouble::WebhookHiccup);
    work(&*driver(&lab), "edge-01", &ask("run-1"), |v| v.moves.is_empty()).await;
}

#[tokio::test]
async fn row_failed_calling_webhook() {
    let lab = lab(1).await;
    lab.begin(Trouble::WebhookDown);
    let fault = refused(&lab).await;
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Unwilling, "create NodeMaintenance pitstop-edge-01: the operator's webhook does not answer"));
    assert!(fault.next.unwrap().contains("single pod"));
    lab.end(Trouble::WebhookDown);
    work(&*driver(&lab), "edge-01", &ask("run-1"), |v| v.moves.is_empty()).await;
}
