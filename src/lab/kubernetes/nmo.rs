//! The Node Maintenance Operator's stand-in: its webhook, its lease, its drain in passes, its statuses with their traps, and its way back.
use super::{
    Server,
    addons::Trouble,
    api::{Refused, failure},
    content::res,
    evict, now, now_micro,
    store::{Key, Store, pod},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Where its leases lie.
pub const NAMESPACE: &str = "medik8s-leases";
const HOLDER: &str = "node-maintenance";
const FINALIZER: &str = "foregroundDeleteNodeMaintenance";
const EXCLUDE: &str = "remediation.medik8s.io/exclude-from-remediation";
const LEASE_SECONDS: u64 = 3600;
/// A pass ends, the next begins.
const REQUEUE: Duration = Duration::from_secs(5);
/// How long the race of a re-cordon takes to show.
const RACE: Duration = Duration::from_secs(10);
const DRAIN_TAINTS: [&str; 2] = ["medik8s.io/drain", "node.kubernetes.io/unschedulable"];

#[derive(Default)]
pub struct Operator {
    next: BTreeMap<String, Instant>,
    /// Nodes that will be cordoned once more.
    race: BTreeMap<String, Instant>,
}

/// The validating webhook. `was`: an update.
pub fn admit(server: &Server, store: &Store, object: &Value, was: Option<&Value>) -> Result<(), Refused> {
    let has = |t| server.addons.troubles.has(t);
    let denied = |text: String| failure(403, "Forbidden", &format!("admission webhook \"vnodemaintenance.kb.io\" denied the request: {text}"));
    if has(Trouble::NoWebhook) {
        return Ok(());
    }
    if has(Trouble::WebhookDown) {
        let text = "Internal error occurred: failed calling webhook \"vnodemaintenance.kb.io\": failed to call webhook: Post \"https://node-maintenance-operator-webhook-service.nmo.svc:443/validate-nodemaintenance-medik8s-io-v1beta1-nodemaintenance?timeout=15s\": no endpoints available for service \"node-maintenance-operator-webhook-service\"";
        return Err(failure(500, "InternalError", text));
    }
    let node = object["spec"]["nodeName"].as_str().unwrap_or_default();
    if let Some(was) = was {
        return match was["spec"]["nodeName"] == object["spec"]["nodeName"] {
            true => Ok(()),
            false => Err(denied("updating spec.NodeName isn't allowed".into())),
        };
    }
    if has(Trouble::WebhookHiccup) {
        return Err(denied("could not get nodes for validating spec.NodeName, please try again: context deadline exceeded".into()));
    }
    if store.get(&Key::new("nodes", "", node)).is_none() {
        return Err(denied(format!("invalid nodeName, no node with name {node} found")));
    }
    if store.all("nodemaintenances").any(|(_, nm)| nm["spec"]["nodeName"] == node) {
        return Err(denied(format!("invalid nodeName, a NodeMaintenance for node {node} already exists")));
    }
    if has(Trouble::EtcdQuorum) {
        return Err(denied(format!("can not put master/control-plane node {node} into maintenance at this moment, it will violate etcd quorum")));
    }
    Ok(())
}

impl Operator {
    pub fn tick(&mut self, server: &Server) {
        let scaled = |d: Duration| d.mul_f64(server.rack.pace.scale);
        let at = Instant::now();
        for (node, _) in self.race.extract_if(.., |_, due| *due <= at) {
            server.store().edit(&Key::new("nodes", "", node), cordon);
        }
        if server.addons.troubles.has(Trouble::OperatorDead) {
            return;
        }
        let keys = server.store().keys("nodemaintenances");
        self.next.retain(|name, _| keys.iter().any(|k| k.name == *name));
        for key in keys {
            if self.next.get(&key.name).is_some_and(|due| *due > at) {
                continue;
            }
            self.next.insert(key.name.clone(), at + scaled(REQUEUE));
            let Some(object) = server.store().get(&key).cloned() else { continue };
            if object["metadata"]["deletionTimestamp"].is_null() {
                reconcile(server, &key, &object);
            } else if let Some(node) = leave(server, &key, &object) {
                self.race.insert(node, at + scaled(RACE));
            }
        }
    }
}

fn lease_key(node: &str) -> Key {
    Key::new("leases", NAMESPACE, format!("node-{node}"))
}

/// Takes or renews the lease; false: it is somebody else's.
fn lease(store: &mut Store, node: &str) -> bool {
    let key = lease_key(node);
    let foreign = |l: &Value| l["spec"]["holderIdentity"].as_str().is_some_and(|h| !h.is_empty() && h != HOLDER);
    if store.get(&key).is_some_and(foreign) {
        return false;
    }
    let spec = json!({ "holderIdentity": HOLDER, "leaseDurationSeconds": LEASE_SECONDS, "acquireTime": now_micro(), "renewTime": now_micro() });
    store.put(res("leases"), json!({ "metadata": { "name": key.name, "namespace": NAMESPACE }, "spec": spec }));
    true
}

fn cordon(node: &mut Value) {
    node["spec"]["unschedulable"] = json!(true);
    let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    for key in DRAIN_TAINTS {
        if !taints.iter().any(|t| t["key"] == key) {
            taints.push(json!({ "key": key, "effect": "NoSchedule", "timeAdded": now() }));
        }
    }
    node["spec"]["taints"] = json!(taints);
}

fn uncordon(node: &mut Value) {
    let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.retain(|t| !DRAIN_TAINTS.iter().any(|key| t["key"] == *key));
    if let Some(spec) = node["spec"].as_object_mut() {
        spec.remove("unschedulable");
        match taints.is_empty() {
            true => spec.remove("taints"),
            false => spec.insert("taints".into(), json!(taints)),
        };
    }
    if let Some(labels) = node["metadata"]["labels"].as_object_mut() {
        labels.remove(EXCLUDE);
    }
}

fn status(server: &Server, key: &Key, change: impl FnOnce(&mut Value)) {
    server.store().edit(key, |nm| {
        if nm["status"].is_null() {
            nm["status"] = json!({});
        }
        change(&mut nm["status"]);
        nm["status"]["lastUpdate"] = json!(now());
    });
}

/// Pods it would evict: neither DaemonSet's nor mirrors, and none that has finished.
fn evictable(store: &Store, node: &str) -> Vec<Key> {
    let leaves = |p: &Value| pod::node(p) == node && !pod::fixed(p) && !matches!(pod::phase(p), "Succeeded" | "Failed");
    store.all("pods").filter(|(_, p)| leaves(p)).map(|(k, _)| k.clone()).collect()
}

fn reconcile(server: &Server, key: &Key, object: &Value) {
    let node = object["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    // Nothing requeues after these.
    if matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return;
    }
    let node_key = Key::new("nodes", "", &*node);
    if server.store().get(&node_key).is_none() {
        return status(server, key, |s| {
            s["phase"] = json!("Failed");
            s["lastError"] = json!(format!("nodes \"{node}\" not found"));
        });
    }
    server.store().edit(key, |nm| nm["metadata"]["finalizers"] = json!([FINALIZER]));
    let owned = lease(&mut server.store(), &node);
    if !owned {
        let count = object["status"]["errorOnLeaseCount"].as_u64().unwrap_or(0);
        let old = server.addons.troubles.has(Trouble::OldOperator);
        let count = if old { count } else { count + 1 };
        if count > 3 {
            server.store().edit(&node_key, uncordon);
        }
        return status(server, key, |s| {
            s["phase"] = json!(if count > 3 { "Failed" } else { "Running" });
            s["errorOnLeaseCount"] = json!(count);
            s["lastError"] = json!(format!("failed to extend lease owned by us : node-{node}, can't update or invalidate a lease that is not owned by us"));
        });
    }
    let total = server.store().all("pods").filter(|(_, p)| pod::node(p) == node).count();
    let pending = evictable(&server.store(), &node);
    server.store().edit(&node_key, |n| {
        n["metadata"]["labels"][EXCLUDE] = json!("true");
        cordon(n);
    });
    if object["status"]["evictionPods"].is_null() {
        status(server, key, |s| {
            s["phase"] = json!("Running");
            s["evictionPods"] = json!(pending.len());
            s["totalpods"] = json!(total);
        });
    }
    let lies = server.addons.troubles.has(Trouble::SucceededLies);
    let mut last = None;
    for pod in pending.iter().filter(|_| !lies) {
        if let Err(refused) = evict::evict(server, pod, &Value::Null, false) {
            let said = refused.body["message"].as_str().unwrap_or_default();
            last = Some(format!("error when evicting pods/\"{}\" -n \"{}\": global timeout reached: 30s; {said}", pod.name, pod.namespace));
        }
    }
    let left = if lies { Vec::new() } else { evictable(&server.store(), &node) };
    status(server, key, |s| {
        let began = s["evictionPods"].as_i64().unwrap_or(0);
        let done = if began == 0 { 100 } else { (began - left.len() as i64) * 100 / began };
        s["phase"] = json!(if left.is_empty() { "Succeeded" } else { "Running" });
        s["drainProgress"] = json!(if left.is_empty() { 100 } else { done });
        s["pendingPods"] = json!(left.iter().map(|k| &k.name).collect::<Vec<_>>());
        s["pendingPodsRefs"] = json!(left.iter().map(|k| json!({ "namespace": k.namespace, "name": k.name })).collect::<Vec<_>>());
        // As in life: an error stays, also after success.
        if let Some(error) = last {
            s["lastError"] = json!(error);
        }
    });
}

/// The end of a maintenance. The node, where it will be cordoned once more.
fn leave(server: &Server, key: &Key, object: &Value) -> Option<String> {
    let node = object["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    let foreign = !lease(&mut server.store(), &node);
    if foreign && server.addons.troubles.has(Trouble::OldOperator) {
        status(server, key, |s| s["lastError"] = json!("can't update or invalidate a lease that is not owned by us"));
        return None;
    }
    let mut store = server.store();
    store.edit(&Key::new("nodes", "", &*node), uncordon);
    if !foreign {
        store.remove(&lease_key(&node));
    }
    store.remove(key);
    server.addons.troubles.has(Trouble::ReCordon).then_some(node)
}
