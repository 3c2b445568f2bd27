//! Who fights us (§12), etcd's majority (§8), volumes before power-off (§6), and the comparison after the boot (§7).
use super::{storage::define, *};
use pitstop::model::marks;

async fn put(http: &Http, path: &str, object: Value) {
    let (code, answer) = http.post(path, object).await;
    assert_eq!(code, 201, "{path}: {answer}");
}
async fn change(http: &Http, path: &str, body: Value) {
    let (code, answer) = http.send("PATCH", path, "application/merge-patch+json", body).await;
    assert_eq!(code, 200, "{answer}");
}
async fn refusal(lab: &Lab, object: &str) -> Option<String> {
    let view = lab.cluster().look("edge-01", &nobody()).await.unwrap();
    view.impossible.into_iter().find(|b| b.object == object).map(|b| b.why)
}

#[tokio::test]
async fn row_12_metal3() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    put(&http, "/api/v1/namespaces", json!({ "metadata": { "name": "metal3" } })).await;
    define(&http, "metal3.io", "v1alpha1", "baremetalhosts", "BareMetalHost").await;
    let host = json!({ "metadata": { "name": "rack1-u7" }, "spec": { "online": true }, "status": { "hardware": { "nics": [{ "ip": "192.0.2.11" }] } } });
    put(&http, "/apis/metal3.io/v1alpha1/namespaces/metal3/baremetalhosts", host).await;
    let why = refusal(&lab, "Metal3 BareMetalHost metal3/rack1-u7").await.unwrap();
    assert!(why.contains("would switch edge-01 on again") && why.contains("kubectl -n metal3 annotate baremetalhost rack1-u7"), "{why}");
    assert!(lab.cluster().look("edge-02", &nobody()).await.unwrap().impossible.is_empty(), "another machine");
    let pause = json!({ "metadata": { "annotations": { "baremetalhost.metal3.io/detached": "" } } });
    change(&http, "/apis/metal3.io/v1alpha1/namespaces/metal3/baremetalhosts/rack1-u7", pause).await;
    assert_eq!(refusal(&lab, "Metal3 BareMetalHost metal3/rack1-u7").await, None);
}

#[tokio::test]
async fn row_12_node_health_check() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    put(&http, "/api/v1/namespaces", json!({ "metadata": { "name": "medik8s" } })).await;
    define(&http, "remediation.medik8s.io", "v1alpha1", "nodehealthchecks", "NodeHealthCheck").await;
    let check =
        json!({ "metadata": { "name": "workers" }, "spec": { "selector": { "matchExpressions": [{ "key": "kubernetes.io/os", "operator": "Exists" }] } } });
    put(&http, "/apis/remediation.medik8s.io/v1alpha1/namespaces/medik8s/nodehealthchecks", check).await;
    let why = refusal(&lab, "NodeHealthCheck medik8s/workers").await.unwrap();
    assert!(why.contains("would remediate edge-01 while it is down"), "{why}");
    http.patch_node("edge-01", json!({ "metadata": { "labels": { "remediation.medik8s.io/exclude-from-remediation": "true" } } })).await;
    assert_eq!(refusal(&lab, "NodeHealthCheck medik8s/workers").await, None);
}

#[tokio::test]
async fn row_12_machine_health_check() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    put(&http, "/api/v1/namespaces", json!({ "metadata": { "name": "fleet" } })).await;
    for (plural, kind) in [("machines", "Machine"), ("machinehealthchecks", "MachineHealthCheck")] {
        define(&http, "cluster.x-k8s.io", "v1beta1", plural, kind).await;
    }
    let at = |plural: &str| format!("/apis/cluster.x-k8s.io/v1beta1/namespaces/fleet/{plural}");
    put(&http, &at("machines"), json!({ "metadata": { "name": "m-1", "labels": { "pool": "workers" } } })).await;
    put(&http, &at("machinehealthchecks"), json!({ "metadata": { "name": "mhc" }, "spec": { "selector": { "matchLabels": { "pool": "workers" } } } })).await;
    assert_eq!(refusal(&lab, "MachineHealthCheck fleet/mhc").await, None, "not this node's machine");
    let of = json!({ "cluster.x-k8s.io/machine": "m-1", "cluster.x-k8s.io/cluster-namespace": "fleet" });
    http.patch_node("edge-01", json!({ "metadata": { "annotations": of } })).await;
    let why = refusal(&lab, "MachineHealthCheck fleet/mhc").await.unwrap();
    assert!(why.contains("would replace or reboot machine fleet/m-1"), "{why}");
    change(&http, &format!("{}/mhc", at("machinehealthchecks")), json!({ "metadata": { "annotations": { "cluster.x-k8s.io/paused": "" } } })).await;
    assert_eq!(refusal(&lab, "MachineHealthCheck fleet/mhc").await, None);
}

#[tokio::test]
async fn row_12_kured_its_lock_and_its_reboot() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    let lock = json!({ "metadata": { "annotations": { "weave.works/kured-node-lock": "{\"nodeID\":\"edge-02\",\"metadata\":{\"unschedulable\":false}}" } } });
    change(&http, "/apis/apps/v1/namespaces/platform/daemonsets/node-exporter", lock).await;
    let why = refusal(&lab, "kured platform/node-exporter").await.unwrap();
    assert!(why.starts_with("holds its reboot lock for node edge-02"), "{why}");
    http.patch_node("edge-01", json!({ "metadata": { "annotations": { "weave.works/kured-reboot-in-progress": "now" } } })).await;
    assert!(refusal(&lab, "kured").await.unwrap().contains("is rebooting edge-01"));
}

#[tokio::test]
async fn row_12_cluster_autoscaler_karpenter_and_others_on_the_node() {
    let lab = Lab::new(2, 0).await;
    let http = lab.http();
    for (taint, who) in [("ToBeDeletedByClusterAutoscaler", "cluster autoscaler"), ("karpenter.sh/disrupted", "Karpenter")] {
        http.patch_node("edge-01", json!({ "spec": { "taints": [{ "key": taint, "effect": "NoSchedule" }] } })).await;
        assert!(refusal(&lab, who).await.unwrap().contains(&format!("has chosen edge-01 for removal (taint {taint})")));
    }
    http.patch_node("edge-01", json!({ "metadata": { "annotations": { "machineconfiguration.openshift.io/state": "Working" } } })).await;
    assert!(refusal(&lab, "Machine Config Operator").await.unwrap().contains("state Working"));
    http.patch_node("edge-01", json!({ "metadata": { "annotations": { "harvesterhci.io/drain-requested": "true" } } })).await;
    assert!(refusal(&lab, "Harvester").await.is_some());
}

/// Stacked control planes as kubeadm makes them: a role, and a member of etcd as a static pod.
async fn control_plane(lab: &Lab, nodes: &[(&str, bool)]) {
    let http = lab.http();
    for (node, well) in nodes {
        http.patch_node(node, json!({ "metadata": { "labels": { "node-role.kubernetes.io/control-plane": "" } } })).await;
        let meta = json!({ "name": format!("etcd-{node}"), "labels": { "component": "etcd", "tier": "control-plane" }, "annotations": { "kubernetes.io/config.mirror": "x" } });
        put(&http, "/api/v1/namespaces/kube-system/pods", json!({ "metadata": meta, "spec": { "nodeName": node, "containers": [] } })).await;
        let phase = if *well { json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] }) } else { json!({ "phase": "Failed" }) };
        change(&http, &format!("/api/v1/namespaces/kube-system/pods/etcd-{node}"), json!({ "status": phase })).await;
    }
}

#[tokio::test]
async fn row_8_kubeadm_a_majority_of_etcd_must_stay() {
    let lab = Lab::new(3, 0).await;
    control_plane(&lab, &[("edge-01", true)]).await;
    assert!(refusal(&lab, "etcd member edge-01").await.unwrap().starts_with("it is the only one"));
    let accepted = connect(lab.dir.path(), json!({ "allow_control_plane_outage": true })).look("edge-01", &nobody()).await.unwrap();
    assert!(accepted.impossible.is_empty(), "{accepted:#?}");
    control_plane(&lab, &[("edge-02", true)]).await;
    assert!(refusal(&lab, "etcd member edge-01").await.unwrap().starts_with("it is one of two"));
    control_plane(&lab, &[("edge-03", false)]).await;
    let view = lab.cluster().look("edge-01", &ask("run-1")).await.unwrap();
    let why = "etcd member edge-01: 1 of 3 members would stay well, 2 are needed; get edge-03 well first";
    assert!(view.blockers.iter().any(|b| b.to_string() == why) && view.moves.is_empty(), "nothing is begun: {view:#?}");
    let well = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    change(&lab.http(), "/api/v1/namespaces/kube-system/pods/etcd-edge-03", well).await;
    let view = lab.cluster().look("edge-01", &ask("run-1")).await.unwrap();
    assert!(view.impossible.is_empty() && view.moves.len() == 1, "{view:#?}");
}

#[tokio::test]
async fn row_8_k3s_and_rke2_say_so_on_the_node() {
    let lab = Lab::new(2, 0).await;
    for node in ["edge-01", "edge-02"] {
        lab.http().patch_node(node, json!({ "metadata": { "labels": { "node-role.kubernetes.io/etcd": "true" } } })).await;
    }
    assert!(refusal(&lab, "etcd member edge-01").await.unwrap().starts_with("it is one of two"));
}

#[tokio::test]
async fn row_6_volumes_are_detached_before_the_node_counts_as_empty() {
    let lab = Lab::new(2, 0).await;
    let (http, cluster, run) = (lab.http(), lab.cluster(), ask("run-1"));
    let claim = json!({ "namespace": "shop", "name": "data-db-0" });
    put(&http, "/api/v1/persistentvolumes", json!({ "metadata": { "name": "pv-7" }, "spec": { "claimRef": claim } })).await;
    let path = "/apis/storage.k8s.io/v1/volumeattachments";
    let spec = json!({ "nodeName": "edge-01", "attacher": "csi.example", "source": { "persistentVolumeName": "pv-7" } });
    put(&http, path, json!({ "metadata": { "name": "csi-a" }, "spec": spec, "status": { "attached": true } })).await;
    let elsewhere = json!({ "nodeName": "edge-02", "attacher": "csi.example", "source": { "persistentVolumeName": "pv-8" } });
    put(&http, path, json!({ "metadata": { "name": "csi-b" }, "spec": elsewhere })).await;
    evacuate(&*cluster, "edge-01", &run).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    let said: Vec<String> = view.blockers.iter().map(|b| b.to_string()).collect();
    assert_eq!(
        said,
        ["volume pv-7 (shop/data-db-0): still attached to the node; look at the controller of csi.example: kubectl describe volumeattachment csi-a"]
    );
    let gone = (jiff::Timestamp::now() - Duration::from_secs(400)).to_string();
    let stuck = json!({ "metadata": { "deletionTimestamp": gone }, "status": { "detachError": { "message": "rpc error: timed out" } } });
    change(&http, &format!("{path}/csi-a"), stuck).await;
    let view = cluster.look("edge-01", &run).await.unwrap();
    assert!(view.blockers[0].why.starts_with("detaching for more than 5 minutes: rpc error: timed out; look at the controller of csi.example"), "{view:#?}");
    assert_eq!(http.send("DELETE", &format!("{path}/csi-a"), "application/json", json!({})).await.0, 200);
    assert!(cluster.look("edge-01", &run).await.unwrap().blockers.is_empty());
}

#[tokio::test]
async fn row_7_the_node_is_held_against_its_picture_from_before() {
    let lab = Lab::new(2, 0).await;
    let (http, cluster, run) = (lab.http(), lab.cluster(), ask("run-1"));
    let drivers = |names: &[&str]| json!({ "spec": { "drivers": names.iter().map(|n| json!({ "name": n })).collect::<Vec<_>>() } });
    let mut csi = drivers(&["csi.example", "nfs.example"]);
    csi["metadata"] = json!({ "name": "edge-01" });
    put(&http, "/apis/storage.k8s.io/v1/csinodes", csi).await;
    let loans = evacuate(&*cluster, "edge-01", &run).await;
    let old = cluster.look("edge-01", &run).await.unwrap().boot;
    lab.rack.power("m1", "ForceRestart", "redfish");
    change(&http, "/apis/storage.k8s.io/v1/csinodes/edge-01", drivers(&["nfs.example"])).await;
    change(&http, "/api/v1/nodes/edge-01", json!({ "status": { "allocatable": { "memory": "131928386Ki", "cpu": "32" } } })).await;
    let held = until(&*cluster, "edge-01", &run, "a new boot", |v| v.boot != old && v.not_ready.len() == 2).await;
    assert!(!held.ready);
    let wanted = ["CSI driver csi.example is not registered again", "allocatable memory is 131928386Ki, before the reboot 263856772Ki"];
    assert_eq!(held.not_ready, wanted, "and its DaemonSets' pods have started since");
    // A few pages less are no lost DIMM.
    change(&http, "/apis/storage.k8s.io/v1/csinodes/edge-01", drivers(&["csi.example", "nfs.example"])).await;
    change(&http, "/api/v1/nodes/edge-01", json!({ "status": { "allocatable": { "memory": "263856700Ki" } } })).await;
    until(&*cluster, "edge-01", &run, "the node as before", |v| v.ready).await;
    // A DaemonSet's pod that does not come up keeps it out.
    http.patch_node("edge-01", json!({ "spec": { "taints": [{ "key": "csi.example/agent-not-ready", "effect": "NoSchedule" }] } })).await;
    let view = until(&*cluster, "edge-01", &run, "the startup taint", |v| !v.ready).await;
    assert_eq!(view.not_ready, ["taint csi.example/agent-not-ready is still there"]);
    http.patch_node("edge-01", json!({ "spec": { "taints": null } })).await;
    cluster.act("edge-01", &cluster.give_back("edge-01", &loans[0]), &run).await.unwrap();
    assert!(http.node("edge-01").await["metadata"]["annotations"][marks::WAS_FIT].is_null(), "the picture goes with the marks");
}

#[tokio::test]
async fn a_plan_says_whether_the_node_can_be_emptied_and_writes_nothing() {
    let lab = Lab::new(3, 0).await;
    let view = lab.cluster().look("edge-01", &nobody()).await.unwrap();
    for note in ["to evict: ", "its pods request 0.", "free on 2 other nodes", "largest grace period"] {
        assert!(view.notes.iter().any(|n| n.contains(note)), "{note}: {:#?}", view.notes);
    }
    assert!(lab.writes().is_empty(), "a dry-run changes nothing: {:?}", lab.writes());
    // No room: refused before anything is touched.
    for node in ["edge-02", "edge-03"] {
        change(&lab.http(), &format!("/api/v1/nodes/{node}"), json!({ "status": { "allocatable": { "cpu": "200m" } } })).await;
    }
    let why = refusal(&lab, "capacity without edge-01").await.unwrap();
    assert!(why.contains("cpu, the 2 other nodes that take work have 0.0 left"), "{why}");
}
