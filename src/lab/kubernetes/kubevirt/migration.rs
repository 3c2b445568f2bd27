//! Live migrations: evacuations make them, they go through their phases, succeed or fail, and are tried again for as long as the mark stands.
use super::{
    super::{
        Server,
        addons::Trouble,
        content::res,
        store::{Key, Store, pod},
    },
    EVACUATION, launcher, new_launcher, now, vm,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const PER_NODE: usize = 2;
const PER_CLUSTER: usize = 5;
const PHASE: Duration = Duration::from_secs(2);
const RUNNING: Duration = Duration::from_secs(10);
const BACK_OFF: Duration = Duration::from_secs(20);
/// Finished ones are kept.
const KEPT: usize = 5;
const FINALIZER: &str = "kubevirt.io/migrationJobFinalize";

#[derive(Default)]
pub struct Migrations {
    /// When a migration goes into its next phase.
    due: BTreeMap<String, Instant>,
    /// VMs that failed: how often, and when they are tried again.
    failed: BTreeMap<Key, (u32, Instant)>,
}

fn finished(m: &Value) -> bool {
    matches!(m["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}
const PLURAL: &str = "virtualmachineinstancemigrations";

impl Migrations {
    pub fn tick(&mut self, server: &Server, store: &mut Store) {
        self.begin(store);
        for at in store.keys(PLURAL) {
            self.go_on(server, store, &at);
        }
        let keys = store.keys(PLURAL);
        let mut old: Vec<&Key> = keys.iter().filter(|k| store.get(k).is_some_and(finished)).collect();
        old.sort_by_key(|k| store.get(k).map(|m| m["metadata"]["creationTimestamp"].to_string()));
        let surplus: Vec<Key> = old.iter().take(old.len().saturating_sub(KEPT * 4)).map(|k| (*k).clone()).collect();
        for key in surplus {
            store.remove(&key);
        }
    }

    /// The evacuation controller.
    fn begin(&mut self, store: &mut Store) {
        for at in store.keys("virtualmachineinstances") {
            let Some(vmi) = store.get(&at).cloned() else { continue };
            let node = vmi["status"]["evacuationNodeName"].as_str().unwrap_or_default().to_owned();
            if node.is_empty() {
                self.failed.remove(&at);
                continue;
            }
            let active: Vec<&Value> = store.all(PLURAL).map(|(_, m)| m).filter(|m| !finished(m)).collect();
            let mine = active.iter().any(|m| m["spec"]["vmiName"] == at.name.as_str() && m["metadata"]["namespace"] == at.namespace.as_str());
            let outbound = active.iter().filter(|m| m["metadata"]["annotations"][EVACUATION] == node.as_str()).count();
            let waits = self.failed.get(&at).is_some_and(|(_, until)| *until > Instant::now());
            let external = vmi["spec"]["evictionStrategy"] == "External";
            if mine || waits || external || outbound >= PER_NODE || active.len() >= PER_CLUSTER || vmi["status"]["nodeName"] != node.as_str() {
                continue;
            }
            let id = uuid::Uuid::new_v4().simple().to_string();
            let metadata = json!({ "name": format!("kubevirt-evacuation-{}", &id[..5]), "namespace": at.namespace, "annotations": { EVACUATION: node },
                "labels": { "kubevirt.io/vmi-name": at.name }, "finalizers": [FINALIZER] });
            store.put(res(PLURAL), json!({ "metadata": metadata, "spec": { "vmiName": at.name }, "status": { "phase": "Pending" } }));
        }
    }

    fn go_on(&mut self, server: &Server, store: &mut Store, at: &Key) {
        let Some(m) = store.get(at).cloned() else { return };
        let scaled = |d: Duration| d.mul_f64(server.rack.pace.scale);
        let uid = m["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let phase = m["status"]["phase"].as_str().unwrap_or("Pending").to_owned();
        let vmi_key = Key::new("virtualmachineinstances", &*at.namespace, m["spec"]["vmiName"].as_str().unwrap_or_default());
        let target = store.all("pods").find(|(_, p)| p["metadata"]["labels"]["kubevirt.io/migrationJobUID"] == uid.as_str()).map(|(k, _)| k.clone());
        if !m["metadata"]["deletionTimestamp"].is_null() {
            // Aborted: the VM stays where it is.
            if let Some(target) = target.filter(|_| !finished(&m)) {
                store.remove(&target);
            }
            store.remove(at);
            return;
        }
        if finished(&m) {
            return;
        }
        let Some(vmi) = store.get(&vmi_key).filter(|v| vm::phase(v) == "Running").cloned() else {
            return self.fail(server, store, at, target, &vmi_key, "the VMI is gone");
        };
        let took = if phase == "Running" { RUNNING } else { PHASE };
        if Instant::now() < *self.due.entry(format!("{uid}/{phase}")).or_insert_with(|| Instant::now() + scaled(took)) {
            return;
        }
        let source = vmi["status"]["nodeName"].as_str().unwrap_or_default().to_owned();
        let next = match phase.as_str() {
            "Pending" => {
                let pinned = vmi["spec"]["nodeSelector"]["kubernetes.io/hostname"].clone();
                let usable = |n: &Value| {
                    n["spec"]["unschedulable"] != true
                        && n["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
                };
                let fits = |k: &Key, n: &Value| k.name != source && usable(n) && (pinned.is_null() || pinned == k.name.as_str());
                let on = store.all("nodes").filter(|(k, n)| fits(k, n)).min_by_key(|(k, _)| store.all("pods").filter(|(_, p)| pod::node(p) == k.name).count());
                match on.map(|(k, _)| k.name.clone()) {
                    Some(on) => {
                        new_launcher(store, &vmi, Some(&on), Some(&uid));
                        "Scheduling"
                    }
                    None => return self.fail(server, store, at, None, &vmi_key, "target pod is unschedulable: no node fits"),
                }
            }
            "Scheduling" if target.as_ref().and_then(|k| store.get(k)).is_some_and(pod::ready) => "Scheduled",
            "Scheduling" => return,
            "Scheduled" => "PreparingTarget",
            "PreparingTarget" => "TargetReady",
            "TargetReady" => "Running",
            _ if server.addons.troubles.has(Trouble::MigrationFails) => {
                return self.fail(server, store, at, target, &vmi_key, "Live migration stuck for 150 seconds and has been aborted");
            }
            _ if server.addons.troubles.has(Trouble::MigrationHangs) => return,
            _ => {
                let Some(target) = target else { return self.fail(server, store, at, None, &vmi_key, "target pod is gone") };
                let from = launcher(store, &vmi);
                let to = store.get(&target).map(|p| pod::node(p).to_owned()).unwrap_or_default();
                store.edit(&target, |p| drop(p["metadata"]["labels"].as_object_mut().map(|l| l.remove("kubevirt.io/migrationJobUID"))));
                if let Some(from) = from {
                    store.edit(&from, |p| {
                        p["status"]["phase"] = json!("Succeeded");
                        pod::set_ready(p, false, "PodCompleted");
                    });
                }
                store.edit(&vmi_key, |v| {
                    vm::runs_on(v, &to);
                    v["status"]["migrationState"] = json!({ "completed": true, "sourceNode": source, "targetNode": to, "endTimestamp": now() });
                    if let Some(status) = v["status"].as_object_mut() {
                        status.remove("evacuationNodeName");
                    }
                });
                self.failed.remove(&vmi_key);
                "Succeeded"
            }
        };
        store.edit(at, |m| m["status"]["phase"] = json!(next));
    }

    fn fail(&mut self, server: &Server, store: &mut Store, at: &Key, target: Option<Key>, vmi: &Key, why: &str) {
        if let Some(target) = target {
            store.remove(&target);
        }
        store.edit(at, |m| m["status"]["phase"] = json!("Failed"));
        store.edit(vmi, |v| v["status"]["migrationState"] = json!({ "failed": true, "completed": true, "failureReason": why, "endTimestamp": now() }));
        let (count, _) = self.failed.get(vmi).copied().unwrap_or((0, Instant::now()));
        let wait = BACK_OFF.mul_f64(server.rack.pace.scale) * 2u32.pow(count.min(6));
        self.failed.insert(vmi.clone(), (count + 1, Instant::now() + wait));
    }
}
