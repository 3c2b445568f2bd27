//! The objects of the cluster, as JSON, with a version that grows by every write and the changes a watch replays.
use super::{
    addons::{KUBEVIRT, NODE_MAINTENANCE},
    now,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::watch;

/// A kind of object this server has.
#[derive(Debug, PartialEq)]
pub struct Resource {
    pub plural: &'static str,
    pub kind: &'static str,
    /// `apps/v1`; the core group is `v1`.
    pub version: &'static str,
    pub namespaced: bool,
    pub short: &'static str,
}

pub const RESOURCES: [Resource; 14] = [
    Resource { plural: "nodes", kind: "Node", version: "v1", namespaced: false, short: "no" },
    Resource { plural: "namespaces", kind: "Namespace", version: "v1", namespaced: false, short: "ns" },
    Resource { plural: "pods", kind: "Pod", version: "v1", namespaced: true, short: "po" },
    Resource { plural: "leases", kind: "Lease", version: "coordination.k8s.io/v1", namespaced: true, short: "" },
    Resource { plural: "poddisruptionbudgets", kind: "PodDisruptionBudget", version: "policy/v1", namespaced: true, short: "pdb" },
    Resource { plural: "daemonsets", kind: "DaemonSet", version: "apps/v1", namespaced: true, short: "ds" },
    Resource { plural: "deployments", kind: "Deployment", version: "apps/v1", namespaced: true, short: "deploy" },
    Resource { plural: "replicasets", kind: "ReplicaSet", version: "apps/v1", namespaced: true, short: "rs" },
    Resource { plural: "statefulsets", kind: "StatefulSet", version: "apps/v1", namespaced: true, short: "sts" },
    Resource { plural: "nodemaintenances", kind: "NodeMaintenance", version: NODE_MAINTENANCE, namespaced: false, short: "nm" },
    Resource { plural: "kubevirts", kind: "KubeVirt", version: KUBEVIRT, namespaced: true, short: "kv" },
    Resource { plural: "virtualmachines", kind: "VirtualMachine", version: KUBEVIRT, namespaced: true, short: "vm" },
    Resource { plural: "virtualmachineinstances", kind: "VirtualMachineInstance", version: KUBEVIRT, namespaced: true, short: "vmi" },
    Resource { plural: "virtualmachineinstancemigrations", kind: "VirtualMachineInstanceMigration", version: KUBEVIRT, namespaced: true, short: "vmim" },
];

pub fn resource(version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|r| r.version == version && r.plural == plural)
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub plural: &'static str,
    pub namespace: String,
    pub name: String,
}
impl Key {
    pub fn new(plural: &'static str, namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { plural, namespace: namespace.into(), name: name.into() }
    }
}

#[derive(Debug, Clone)]
pub struct Change {
    pub version: u64,
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub verb: &'static str,
    pub plural: &'static str,
    pub object: Value,
}

/// A watch that asks for older changes must list again, as in life.
const KEPT: usize = 20_000;

pub struct Store {
    objects: BTreeMap<Key, Value>,
    pub version: u64,
    changes: VecDeque<Change>,
    tell: watch::Sender<u64>,
}
impl Default for Store {
    fn default() -> Store {
        Store { objects: BTreeMap::new(), version: 1000, changes: VecDeque::new(), tell: watch::Sender::new(1000) }
    }
}

impl Store {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }
    pub fn all<'a>(&'a self, plural: &'static str) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        self.objects.iter().filter(move |(k, _)| k.plural == plural)
    }
    pub fn keys(&self, plural: &'static str) -> Vec<Key> {
        self.all(plural).map(|(k, _)| k.clone()).collect()
    }

    /// Creates or replaces; an unchanged object is not written.
    pub fn put(&mut self, resource: &Resource, mut object: Value) -> Value {
        object["apiVersion"] = json!(resource.version);
        object["kind"] = json!(resource.kind);
        let meta = &mut object["metadata"];
        let key = Key::new(
            RESOURCES.iter().find(|r| *r == resource).map_or("", |r| r.plural),
            meta["namespace"].as_str().unwrap_or_default(),
            meta["name"].as_str().unwrap_or_default(),
        );
        let was = self.objects.get(&key);
        match was {
            Some(was) => {
                for field in ["uid", "creationTimestamp", "resourceVersion"] {
                    meta[field] = was["metadata"][field].clone();
                }
            }
            None => {
                meta["uid"] = json!(uuid::Uuid::new_v4().to_string());
                meta["creationTimestamp"] = json!(now());
            }
        }
        if was == Some(&object) {
            return object;
        }
        let verb = if was.is_some() { "MODIFIED" } else { "ADDED" };
        let version = self.next();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.changed(version, verb, key.plural, object.clone());
        object
    }

    pub fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let mut object = self.objects.get(key)?.clone();
        change(&mut object);
        let resource = RESOURCES.iter().find(|r| r.plural == key.plural)?;
        Some(self.put(resource, object))
    }

    pub fn remove(&mut self, key: &Key) -> Option<Value> {
        let mut object = self.objects.remove(key)?;
        let version = self.next();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.changed(version, "DELETED", key.plural, object.clone());
        Some(object)
    }

    /// Changes after `version`; `None`: they are no longer kept.
    pub fn since(&self, version: u64, plural: &str) -> Option<Vec<Change>> {
        let oldest = self.changes.front().map_or(self.version, |c| c.version.saturating_sub(1));
        (version >= oldest).then(|| self.changes.iter().filter(|c| c.version > version && c.plural == plural).cloned().collect())
    }
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.tell.subscribe()
    }

    fn next(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
    fn changed(&mut self, version: u64, verb: &'static str, plural: &'static str, object: Value) {
        self.changes.push_back(Change { version, verb, plural, object });
        if self.changes.len() > KEPT {
            self.changes.pop_front();
        }
        self.tell.send_replace(version);
    }
}

/// What controllers ask of a pod.
pub mod pod {
    use serde_json::{Value, json};

    pub fn node(pod: &Value) -> &str {
        pod["spec"]["nodeName"].as_str().unwrap_or_default()
    }
    pub fn phase(pod: &Value) -> &str {
        pod["status"]["phase"].as_str().unwrap_or("Pending")
    }
    pub fn leaving(pod: &Value) -> bool {
        !pod["metadata"]["deletionTimestamp"].is_null()
    }
    pub fn owner<'a>(pod: &'a Value, field: &str) -> &'a str {
        pod["metadata"]["ownerReferences"][0][field].as_str().unwrap_or_default()
    }
    pub fn mirror(pod: &Value) -> bool {
        !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null()
    }
    /// Belongs to the node itself.
    pub fn fixed(pod: &Value) -> bool {
        mirror(pod) || owner(pod, "kind") == "DaemonSet"
    }
    pub fn ready(pod: &Value) -> bool {
        pod["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
    }
    pub fn set_ready(pod: &mut Value, ready: bool, reason: &str) {
        let status = if ready { "True" } else { "False" };
        let was = pod["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready").cloned().unwrap_or_default();
        if was["status"] == status {
            return;
        }
        let mut condition = json!({ "type": "Ready", "status": status, "lastTransitionTime": super::now() });
        if !reason.is_empty() {
            condition["reason"] = json!(reason);
        }
        let scheduled = json!({ "type": "PodScheduled", "status": "True", "lastTransitionTime": pod["metadata"]["creationTimestamp"] });
        pod["status"]["conditions"] = json!([scheduled, condition]);
        if let Some(containers) = pod["status"]["containerStatuses"].as_array_mut() {
            containers.iter_mut().for_each(|c| c["ready"] = json!(ready));
        }
    }
    /// Do the labels of `object` satisfy this label selector's `matchLabels`? Nothing given matches all.
    pub fn selected(object: &Value, selector: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        selector["matchLabels"].as_object().into_iter().flatten().all(|(k, v)| &labels[k] == v)
    }
}
