//! §11, storage gates: what Rook and Longhorn say of a node, through the resources they have in life.
use super::*;
use pitstop::model::DataStore;

/// A custom resource, as an operator's installation brings it.
pub async fn define(http: &Http, group: &str, version: &str, plural: &str, kind: &str) {
    let spec = json!({ "group": group, "scope": "Namespaced", "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List") },
        "versions": [{ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] });
    let body = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": format!("{plural}.{group}") }, "spec": spec });
    assert_eq!(http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body).await.0, 201);
}

async fn put(http: &Http, path: &str, object: Value) {
    let (code, answer) = http.post(path, object).await;
    assert_eq!(code, 201, "{path}: {answer}");
}

async fn space(http: &Http, name: &str) {
    put(http, "/api/v1/namespaces", json!({ "metadata": { "name": name } })).await;
}

/// Ceph with an OSD on each node, and a monitor on edge-01.
async fn rook(http: &Http) {
    space(http, "rook-ceph").await;
    define(http, "ceph.rook.io", "v1", "cephclusters", "CephCluster").await;
    for (i, node) in ["edge-01", "edge-02"].iter().enumerate() {
        let meta = json!({ "name": format!("rook-ceph-osd-{i}"), "labels": { "app": "rook-ceph-osd", "topology-location-host": node } });
        daemon(http, meta, node).await;
    }
    daemon(http, json!({ "name": "rook-ceph-mon-a", "labels": { "app": "rook-ceph-mon" } }), "edge-01").await;
    let status = json!({ "ceph": { "health": "HEALTH_OK", "lastChecked": jiff::Timestamp::now().to_string() } });
    put(http, "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters", json!({ "metadata": { "name": "rook-ceph" }, "status": status })).await;
}
async fn daemon(http: &Http, meta: Value, node: &str) {
    let template =
        json!({ "metadata": { "labels": { "app": meta["name"] } }, "spec": { "nodeSelector": { "kubernetes.io/hostname": node }, "containers": [] } });
    let spec = json!({ "replicas": 1, "selector": { "matchLabels": { "app": meta["name"] } }, "template": template });
    put(http, "/apis/apps/v1/namespaces/rook-ceph/deployments", json!({ "metadata": meta, "spec": spec, "status": { "readyReplicas": 1 } })).await;
}
async fn health(http: &Http, health: &str, details: Value) {
    let status = json!({ "status": { "ceph": { "health": health, "details": details } } });
    let path = "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/rook-ceph";
    // `details` as a whole: a merge patch would join it with what was there.
    for body in [json!({ "status": { "ceph": { "details": null } } }), status] {
        assert_eq!(http.send("PATCH", path, "application/merge-patch+json", body).await.0, 200);
    }
}

async fn one(cluster: &dyn Cluster, node: &str, kind: &str) -> DataStore {
    let stores = cluster.stores(node).await.unwrap();
    stores.into_iter().find(|s| s.kind == kind).unwrap_or_else(|| panic!("no {kind} keeps data on {node}"))
}

#[tokio::test]
async fn no_store_is_seen_where_none_is_installed() {
    let lab = Lab::new(2, 0).await;
    assert_eq!(lab.cluster().stores("edge-01").await.unwrap(), []);
}

#[tokio::test]
async fn rook_ceph_before_during_and_after() {
    let lab = Lab::new(3, 0).await;
    let (http, cluster) = (lab.http(), lab.cluster());
    rook(&http).await;
    let well = one(&*cluster, "edge-01", "ceph").await;
    assert!(well.bears_it() && well.name == "rook-ceph/rook-ceph", "{well:?}");
    assert_eq!(cluster.stores("edge-03").await.unwrap(), [], "none of its daemons is there");

    health(&http, "HEALTH_WARN", json!({ "RECENT_CRASH": { "severity": "HEALTH_WARN", "message": "1 daemons have recently crashed" } })).await;
    assert!(one(&*cluster, "edge-01", "ceph").await.bears_it(), "a warning that says nothing about data");
    let down = json!({ "OSD_DOWN": { "message": "1 osds down" }, "PG_DEGRADED": { "message": "Degraded data redundancy: 66/198 objects degraded" } });
    health(&http, "HEALTH_WARN", down).await;
    let sick = one(&*cluster, "edge-01", "ceph").await;
    assert_eq!(sick.refuses, ["OSD_DOWN: 1 osds down"]);
    assert_eq!(sick.rebuilding, ["PG_DEGRADED: Degraded data redundancy: 66/198 objects degraded"]);
    // The same on a node that we have drained is our own doing; what makes data unavailable never is.
    http.patch_node("edge-01", json!({ "spec": { "unschedulable": true } })).await;
    assert!(one(&*cluster, "edge-01", "ceph").await.bears_it());
    health(&http, "HEALTH_WARN", json!({ "MON_DOWN": { "message": "1/3 mons down, quorum b,c" } })).await;
    assert!(one(&*cluster, "edge-01", "ceph").await.bears_it());
    health(&http, "HEALTH_WARN", json!({ "MON_DOWN": { "message": "2/5 mons down, quorum b,c,d" } })).await;
    assert_eq!(one(&*cluster, "edge-01", "ceph").await.refuses, ["MON_DOWN: 2/5 mons down, quorum b,c,d"]);
    health(&http, "HEALTH_WARN", json!({ "PG_AVAILABILITY": { "message": "Reduced data availability: 3 pgs inactive" } })).await;
    assert_eq!(one(&*cluster, "edge-01", "ceph").await.refuses, ["PG_AVAILABILITY: Reduced data availability: 3 pgs inactive"]);
    health(&http, "HEALTH_ERR", json!({})).await;
    assert_eq!(one(&*cluster, "edge-01", "ceph").await.refuses, ["its health is HEALTH_ERR"]);
    // Another failure domain is in maintenance.
    health(&http, "HEALTH_OK", json!({})).await;
    let map = json!({ "metadata": { "name": "rook-ceph-pdbstatemap" }, "data": { "draining-failure-domain": "edge-02" } });
    put(&http, "/api/v1/namespaces/rook-ceph/configmaps", map).await;
    assert_eq!(one(&*cluster, "edge-01", "ceph").await.refuses, ["Rook drains failure domain edge-02 at this moment"]);
    http.patch_node("edge-02", json!({ "spec": { "unschedulable": true } })).await;
    assert!(one(&*cluster, "edge-02", "ceph").await.bears_it(), "that is this very node");
}

#[tokio::test]
async fn rook_ceph_whose_operator_or_osd_is_down_is_not_well() {
    let lab = Lab::new(2, 0).await;
    let (http, cluster) = (lab.http(), lab.cluster());
    rook(&http).await;
    let old = (jiff::Timestamp::now() - Duration::from_secs(900)).to_string();
    let path = "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/rook-ceph";
    http.send("PATCH", path, "application/merge-patch+json", json!({ "status": { "ceph": { "lastChecked": old } } })).await;
    assert!(one(&*cluster, "edge-01", "ceph").await.refuses[0].starts_with("the Rook operator has not looked at it for 90"));
    let osd = "/apis/apps/v1/namespaces/rook-ceph/deployments/rook-ceph-osd-1";
    http.send("PATCH", osd, "application/merge-patch+json", json!({ "status": { "readyReplicas": 0 } })).await;
    assert_eq!(one(&*cluster, "edge-02", "ceph").await.rebuilding, ["rook-ceph-osd-1 is not ready"]);
}

#[tokio::test]
async fn longhorn_before_during_and_after() {
    let lab = Lab::new(3, 0).await;
    let (http, cluster) = (lab.http(), lab.cluster());
    space(&http, "longhorn-system").await;
    let at = |plural: &str| format!("/apis/longhorn.io/v1beta2/namespaces/longhorn-system/{plural}");
    for (plural, kind) in [("volumes", "Volume"), ("replicas", "Replica"), ("nodes", "Node")] {
        define(&http, "longhorn.io", "v1beta2", plural, kind).await;
    }
    let fit = |status: &str, reason: &str| json!({ "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Schedulable", "status": status, "reason": reason }] });
    for node in ["edge-01", "edge-02", "edge-03"] {
        put(&http, &at("nodes"), json!({ "metadata": { "name": node }, "status": fit("True", "") })).await;
    }
    let claim = json!({ "namespace": "shop", "pvcName": "data-db-0" });
    put(&http, &at("volumes"), json!({ "metadata": { "name": "pvc-1" }, "status": { "robustness": "healthy", "kubernetesStatus": claim } })).await;
    let replica = |name: &str, node: &str, healthy: &str, failed: &str| json!({ "metadata": { "name": name }, "spec": { "volumeName": "pvc-1", "nodeID": node, "healthyAt": healthy, "failedAt": failed }, "status": { "currentState": "running" } });
    put(&http, &at("replicas"), replica("r-a", "edge-01", "2026-01-01T00:00:00Z", "")).await;
    let alone = one(&*cluster, "edge-01", "longhorn").await;
    assert_eq!(alone.refuses, ["volume pvc-1 (shop/data-db-0): no healthy replica on another node that is Ready"]);
    assert_eq!(cluster.stores("edge-02").await.unwrap(), []);
    put(&http, &at("replicas"), replica("r-b", "edge-02", "2026-01-01T00:00:00Z", "")).await;
    assert!(one(&*cluster, "edge-01", "longhorn").await.bears_it());

    let patch = async |plural: &str, name: &str, body: Value| {
        let (code, answer) = http.send("PATCH", &format!("{}/{name}", at(plural)), "application/merge-patch+json", body).await;
        assert_eq!(code, 200, "{answer}");
    };
    patch("volumes", "pvc-1", json!({ "status": { "robustness": "degraded" } })).await;
    assert_eq!(one(&*cluster, "edge-01", "longhorn").await.rebuilding, ["volume pvc-1 (shop/data-db-0) is degraded"]);
    // Once drained, its own stopped replica is why.
    http.patch_node("edge-01", json!({ "spec": { "unschedulable": true } })).await;
    patch("nodes", "edge-01", json!({ "status": fit("False", "KubernetesNodeCordoned") })).await;
    assert!(one(&*cluster, "edge-01", "longhorn").await.bears_it());
    patch("replicas", "r-b", json!({ "spec": { "failedAt": "2026-01-02T00:00:00Z" } })).await;
    assert!(!one(&*cluster, "edge-01", "longhorn").await.bears_it(), "its copy elsewhere has failed");
    // A third copy is being made: only when it is healthy the node may go.
    patch("replicas", "r-b", json!({ "spec": { "failedAt": "" } })).await;
    put(&http, &at("replicas"), replica("r-c", "edge-03", "", "")).await;
    assert_eq!(one(&*cluster, "edge-01", "longhorn").await.rebuilding, ["volume pvc-1 (shop/data-db-0) is degraded, 1 replica being rebuilt"]);
    patch("replicas", "r-c", json!({ "spec": { "healthyAt": "2026-01-02T00:00:00Z" } })).await;
    patch("volumes", "pvc-1", json!({ "status": { "robustness": "healthy" } })).await;
    http.patch_node("edge-01", json!({ "spec": { "unschedulable": null } })).await;
    let after = one(&*cluster, "edge-01", "longhorn").await;
    assert_eq!(after.rebuilding, ["Longhorn's node edge-01: Schedulable is False (KubernetesNodeCordoned)"]);
    patch("nodes", "edge-01", json!({ "status": fit("True", "") })).await;
    assert!(one(&*cluster, "edge-01", "longhorn").await.bears_it());
}
