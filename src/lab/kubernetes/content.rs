//! What runs in the cluster when the lab begins: every kind of pod a drain meets.
use super::{
    now, now_micro,
    store::{RESOURCES, Resource, Store},
};
use crate::lab::rack::Rack;
use serde_json::{Value, json};

pub fn res(plural: &str) -> &'static Resource {
    RESOURCES.iter().find(|r| r.plural == plural).expect("BUG: a resource this server does not have")
}

pub fn fill(store: &mut Store, rack: &Rack, nodes: &[(String, String)]) {
    for name in ["default", "kube-system", "kube-node-lease", "shop", "platform"] {
        namespace(store, name);
    }
    for (i, (node, machine)) in nodes.iter().enumerate() {
        add_node(store, rack, i, node, machine);
    }
    let n = nodes.len().max(2);
    // Spread over the nodes by the scheduler, one a node.
    deployment(store, "shop", "cart", n, 30, json!([{ "name": "cache", "emptyDir": {} }]));
    deployment(store, "shop", "web", n, 30, json!([]));
    deployment(store, "platform", "metrics", n, 10, json!([]));
    for app in ["cart", "web"] {
        budget(store, "shop", app, n - 1);
    }
    statefulset(store, "shop", "db", n.min(3), None);
    budget(store, "shop", "db", n.min(3) - 1);
    for (namespace, name) in [("kube-system", "cni"), ("platform", "node-exporter")] {
        daemonset(store, namespace, name);
    }
    // One healthy pod, and one needed: it may never be evicted.
    let blocked = nodes.iter().filter(|(_, m)| rack.seen(m).is_some_and(|s| s.spec.quirks.pdb_blocked));
    for (i, (node, _)) in blocked.enumerate() {
        let name = if i == 0 { "ledger".to_owned() } else { format!("ledger-{}", i + 1) };
        statefulset(store, "shop", &name, 1, Some(node));
        budget(store, "shop", &name, 1);
    }
}

pub fn namespace(store: &mut Store, name: &str) {
    store.put(res("namespaces"), json!({ "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } }, "status": { "phase": "Active" } }));
}

fn add_node(store: &mut Store, rack: &Rack, i: usize, node: &str, machine: &str) {
    let Some(seen) = rack.seen(machine) else { return };
    let info = json!({
        "machineID": seen.spec.machine_id, "systemUUID": seen.spec.uuid, "bootID": seen.boot_id, "kernelVersion": "6.1.0-31-amd64",
        "osImage": "Debian GNU/Linux 12 (bookworm)", "containerRuntimeVersion": "containerd://1.7.24", "kubeletVersion": "v1.31.2", "kubeProxyVersion": "v1.31.2",
        "operatingSystem": "linux", "architecture": "amd64",
    });
    let address = json!([{ "type": "InternalIP", "address": format!("192.0.2.{}", i + 11) }, { "type": "Hostname", "address": node }]);
    let room = json!({ "cpu": "32", "memory": "263856772Ki", "pods": "110" });
    let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": reason, "lastHeartbeatTime": now(), "lastTransitionTime": now() });
    let conditions = json!([
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        condition("Ready", "True", "KubeletReady")
    ]);
    store.put(
        res("nodes"),
        json!({
            "metadata": { "name": node, "labels": { "kubernetes.io/hostname": node, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" }, "annotations": {} },
            "spec": { "providerID": format!("metal://{machine}") },
            "status": { "nodeInfo": info, "addresses": address, "capacity": room, "allocatable": room, "conditions": conditions },
        }),
    );
    let lease = json!({ "metadata": { "name": node, "namespace": "kube-node-lease" }, "spec": { "holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now_micro() } });
    store.put(res("leases"), lease);
    // The kubelet's own: an API load balancer from /etc/kubernetes/manifests.
    let mut mirror = json!({
        "metadata": { "name": format!("api-proxy-{node}"), "namespace": "kube-system", "labels": { "app": "api-proxy" },
            "annotations": { "kubernetes.io/config.mirror": "4f0c8e", "kubernetes.io/config.source": "file" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": node, "controller": true }] },
        "spec": template("api-proxy", 30, json!([]))["spec"].clone(),
    });
    mirror["spec"]["nodeName"] = json!(node);
    store.put(res("pods"), mirror);
}

fn template(app: &str, grace: u32, volumes: Value) -> Value {
    let container = json!({ "name": app, "image": format!("registry.example/{app}:1"), "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } } });
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": { "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": grace, "restartPolicy": "Always" },
    })
}

fn set(namespace: &str, app: &str, replicas: usize, template: Value) -> Value {
    json!({ "metadata": { "name": app, "namespace": namespace, "labels": { "app": app } },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": app } }, "template": template } })
}

fn deployment(store: &mut Store, namespace: &str, app: &str, replicas: usize, grace: u32, volumes: Value) {
    store.put(res("deployments"), set(namespace, app, replicas, template(app, grace, volumes)));
}

fn statefulset(store: &mut Store, namespace: &str, app: &str, replicas: usize, on: Option<&str>) {
    let mut template = template(app, 30, json!([]));
    if let Some(node) = on {
        template["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
    }
    store.put(res("statefulsets"), set(namespace, app, replicas, template));
}

fn daemonset(store: &mut Store, namespace: &str, app: &str) {
    let mut set = set(namespace, app, 0, template(app, 30, json!([{ "name": "host", "hostPath": { "path": "/run" } }])));
    set["spec"].as_object_mut().expect("BUG: a spec is an object").remove("replicas");
    store.put(res("daemonsets"), set);
}

fn budget(store: &mut Store, namespace: &str, app: &str, min: usize) {
    let spec = json!({ "minAvailable": min, "selector": { "matchLabels": { "app": app } } });
    store.put(res("poddisruptionbudgets"), json!({ "metadata": { "name": app, "namespace": namespace }, "spec": spec }));
}
