//! What happens by itself: kubelets, the node controller, replica controllers, the scheduler, budgets, garbage collection. One tick does all that is due.
use super::{
    Server,
    content::res,
    now, now_micro,
    store::{Key, Store, pod},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// As in life, before scaling.
const KUBELET_START: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(10);
/// The node controller gives a silent kubelet this long.
const GRACE: Duration = Duration::from_secs(40);
const CONTAINER_START: Duration = Duration::from_secs(3);
const CONTAINER_READY: Duration = Duration::from_secs(5);
/// A well-behaved container after SIGTERM.
const CONTAINER_STOP: Duration = Duration::from_secs(5);

pub struct Control {
    scale: f64,
    kubelets: BTreeMap<String, Kubelet>,
    timers: BTreeMap<(String, &'static str), Instant>,
    /// The rack was told this of the machine.
    placed: BTreeMap<String, (String, Vec<String>)>,
    /// The lab begins with everything running.
    first: bool,
}

struct Kubelet {
    /// The boot whose kubelet has registered.
    boot: String,
    starts_at: Option<Instant>,
    renewed: Instant,
}

impl Control {
    pub fn new(server: &Server) -> Control {
        let kubelet =
            |machine: &String| Kubelet { boot: server.rack.seen(machine).map(|s| s.boot_id).unwrap_or_default(), starts_at: None, renewed: Instant::now() };
        let kubelets = server.nodes.iter().map(|(node, machine)| (node.clone(), kubelet(machine))).collect();
        Control { scale: server.rack.pace.scale, kubelets, timers: BTreeMap::new(), placed: BTreeMap::new(), first: true }
    }

    pub fn tick(&mut self, server: &Server) {
        let mut store = server.store();
        let store = &mut *store;
        let seen: BTreeMap<String, (String, String)> =
            server.nodes.iter().filter_map(|(n, m)| server.rack.seen(m).filter(|s| s.up).map(|s| (n.clone(), (s.boot_id, s.spec.uuid)))).collect();
        for (node, _) in server.nodes.iter() {
            self.node(store, node, seen.get(node));
        }
        let up: BTreeMap<String, String> = seen.into_iter().map(|(node, (boot, _))| (node, boot)).collect();
        replicas(store);
        schedule(store, &self.ready_nodes(store));
        self.pods(store, &up);
        if std::mem::take(&mut self.first) {
            start_all(store);
        }
        out_of_service(store);
        collect(store);
        budgets(store);
        self.tell_rack(server, store, &up);
        let alive: BTreeSet<&str> = store.all("pods").filter_map(|(_, p)| p["metadata"]["uid"].as_str()).collect();
        self.timers.retain(|(uid, _), _| alive.contains(uid.as_str()));
    }

    fn scaled(&self, span: Duration) -> Duration {
        span.mul_f64(self.scale)
    }
    /// Is it this long since it was first asked?
    fn due(&mut self, uid: &str, what: &'static str, after: Duration) -> bool {
        let after = self.scaled(after);
        Instant::now() >= *self.timers.entry((uid.to_owned(), what)).or_insert_with(|| Instant::now() + after)
    }

    /// Kubelet and node controller.
    fn node(&mut self, store: &mut Store, node: &str, boot: Option<&(String, String)>) {
        let (start, renew, grace) = (self.scaled(KUBELET_START), self.scaled(RENEW), self.scaled(GRACE));
        let Some(kubelet) = self.kubelets.get_mut(node) else { return };
        let now_i = Instant::now();
        match boot {
            None => kubelet.starts_at = None,
            Some((boot, _)) if *boot == kubelet.boot => {
                if now_i.duration_since(kubelet.renewed) >= renew || self.first {
                    kubelet.renewed = now_i;
                    let seconds = grace.as_secs_f64().ceil().max(1.0) as u64;
                    store.edit(&Key::new("leases", "kube-node-lease", node), |l| {
                        l["spec"]["renewTime"] = json!(now_micro());
                        l["spec"]["leaseDurationSeconds"] = json!(seconds);
                    });
                }
            }
            Some((boot, uuid)) => {
                let at = *kubelet.starts_at.get_or_insert(now_i + start);
                if now_i >= at {
                    kubelet.boot = boot.clone();
                    kubelet.starts_at = None;
                    kubelet.renewed = now_i.checked_sub(renew).unwrap_or(now_i);
                    store.edit(&Key::new("nodes", "", node), |n| {
                        n["status"]["nodeInfo"]["bootID"] = json!(boot);
                        // A board that was replaced registers as what it is.
                        n["status"]["nodeInfo"]["systemUUID"] = json!(uuid);
                    });
                    restart(store, node);
                }
            }
        }
        let silent = now_i.duration_since(kubelet.renewed) >= grace;
        let key = Key::new("nodes", "", node);
        let Some(object) = store.get(&key) else { return };
        let was_ready = ready(object) == Some("True");
        let alive = boot.is_some_and(|(b, _)| *b == kubelet.boot);
        let condition = match () {
            _ if silent && was_ready => Some(("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")),
            _ if alive && !silent && !was_ready => Some(("True", "KubeletReady", "kubelet is posting ready status")),
            _ => None,
        };
        let is_ready = condition.map_or(was_ready, |(status, ..)| status == "True");
        let taints = wanted_taints(object, is_ready);
        if condition.is_some() || taints != object["spec"]["taints"] {
            store.edit(&key, |n| {
                if let Some((status, reason, message)) = condition {
                    set_condition(n, status, reason, message);
                }
                n["spec"]["taints"] = taints;
                if n["spec"]["taints"].is_null() {
                    n["spec"].as_object_mut().map(|s| s.remove("taints"));
                }
            });
        }
        if condition.is_some() && !is_ready {
            for key in on(store, node) {
                store.edit(&key, |p| pod::set_ready(p, false, "NodeNotReady"));
            }
        }
    }

    fn ready_nodes(&self, store: &Store) -> Vec<String> {
        // No pod here tolerates anything.
        let tainted = |n: &Value| n["spec"]["taints"].as_array().is_some_and(|t| t.iter().any(|t| t["effect"] == "NoSchedule"));
        let usable = |n: &Value| ready(n) == Some("True") && n["spec"]["unschedulable"] != true && !tainted(n);
        store.all("nodes").filter(|(_, n)| usable(n)).map(|(k, _)| k.name.clone()).collect()
    }

    /// What kubelets do with the pods bound to their nodes.
    fn pods(&mut self, store: &mut Store, up: &BTreeMap<String, String>) {
        for key in store.keys("pods") {
            let Some(object) = store.get(&key) else { continue };
            let node = pod::node(object).to_owned();
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let (phase, leaving, ready) = (pod::phase(object).to_owned(), pod::leaving(object), pod::ready(object));
            if leaving && node.is_empty() {
                store.remove(&key);
                continue;
            }
            // Only a kubelet of this boot does anything; a pod on a silent node stays as it is.
            if up.get(&node).is_none_or(|boot| self.kubelets.get(&node).is_none_or(|k| k.boot != *boot)) {
                continue;
            }
            match () {
                _ if leaving => {
                    let grace = Duration::from_secs(object["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(30));
                    let takes = if pod::owner(object, "kind") == "StatefulSet" { grace } else { grace.min(CONTAINER_STOP) };
                    let held = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
                    if self.due(&uid, "stop", takes) && !held {
                        store.remove(&key);
                    }
                }
                _ if phase == "Pending" && self.due(&uid, "start", CONTAINER_START) => {
                    store.edit(&key, |p| started(p, 0));
                    self.timers.remove(&(uid, "ready"));
                }
                _ if phase == "Running" && !ready && self.due(&uid, "ready", CONTAINER_READY) => {
                    store.edit(&key, |p| pod::set_ready(p, true, ""));
                    self.timers.remove(&(uid, "ready"));
                }
                _ => {}
            }
        }
    }

    /// What power loss would cut off, whenever it changes or the machine has booted.
    fn tell_rack(&mut self, server: &Server, store: &Store, up: &BTreeMap<String, String>) {
        for (node, machine) in server.nodes.iter() {
            let Some(boot) = up.get(node).filter(|b| self.kubelets.get(node).is_some_and(|k| k.boot == **b)) else { continue };
            let counts = |p: &Value| pod::node(p) == node && pod::phase(p) == "Running" && !pod::fixed(p);
            let running: Vec<String> = store.all("pods").filter(|(_, p)| counts(p)).map(|(k, _)| format!("pod {}/{}", k.namespace, k.name)).collect();
            let stays = |p: &Value| pod::node(p) == node && pod::phase(p) == "Running" && pod::fixed(p);
            server.rack.set_fixed(machine, store.all("pods").filter(|(_, p)| stays(p)).map(|(k, _)| format!("pod {}/{}", k.namespace, k.name)).collect());
            let told = (boot.clone(), running);
            if self.placed.get(node) != Some(&told) {
                server.rack.set_running(machine, told.1.clone());
                self.placed.insert(node.clone(), told);
            }
        }
    }
}

fn on(store: &Store, node: &str) -> Vec<Key> {
    store.all("pods").filter(|(_, p)| pod::node(p) == node).map(|(k, _)| k.clone()).collect()
}

fn ready(node: &Value) -> Option<&str> {
    node["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready")?["status"].as_str()
}

fn set_condition(node: &mut Value, status: &str, reason: &str, message: &str) {
    let conditions = node["status"]["conditions"].as_array_mut();
    for c in conditions.into_iter().flatten().filter(|c| c["type"] == "Ready") {
        *c = json!({ "type": "Ready", "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now(), "lastTransitionTime": now() });
    }
}

/// The node controller's own taints come and go; others stay.
fn wanted_taints(node: &Value, is_ready: bool) -> Value {
    const OURS: [&str; 2] = ["node.kubernetes.io/unschedulable", "node.kubernetes.io/unreachable"];
    let has = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let wanted = [node["spec"]["unschedulable"] == true, !is_ready];
    let mut taints: Vec<Value> = has.iter().filter(|t| !OURS.iter().any(|key| t["key"] == *key)).cloned().collect();
    for (key, wanted) in OURS.iter().zip(wanted) {
        let mine = has.iter().find(|t| t["key"] == *key).cloned();
        if wanted {
            taints.push(mine.unwrap_or_else(|| json!({ "key": key, "effect": "NoSchedule", "timeAdded": now() })));
        }
    }
    if taints.is_empty() { Value::Null } else { json!(taints) }
}

/// The containers of a pod run, after so many restarts.
fn started(p: &mut Value, restarts: u64) {
    let running = json!({ "running": { "startedAt": now() } });
    let one = |c: &Value| json!({ "name": c["name"], "image": c["image"], "imageID": "", "ready": false, "started": true, "restartCount": restarts, "state": running });
    let containers: Vec<Value> = p["spec"]["containers"].as_array().into_iter().flatten().map(one).collect();
    p["status"]["phase"] = json!("Running");
    p["status"]["containerStatuses"] = json!(containers);
    pod::set_ready(p, false, "ContainersNotReady");
}

/// After a boot: what was leaving is gone, what was bound here runs again from its beginning.
fn restart(store: &mut Store, node: &str) {
    for key in on(store, node) {
        let Some(p) = store.get(&key) else { continue };
        if pod::leaving(p) {
            store.remove(&key);
        } else if pod::phase(p) == "Running" {
            let restarts = p["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0) + 1;
            store.edit(&key, |p| started(p, restarts));
        }
    }
}

fn start_all(store: &mut Store) {
    for key in store.keys("pods") {
        store.edit(&key, |p| {
            started(p, 0);
            pod::set_ready(p, true, "");
        });
    }
}

/// Deployments make a ReplicaSet; each set makes the pods it misses.
fn replicas(store: &mut Store) {
    for key in store.keys("deployments") {
        let name = format!("{}-7d9f6c58b", key.name);
        let Some(deployment) = store.get(&key).cloned() else { continue };
        let set = Key::new("replicasets", &*key.namespace, &*name);
        match store.get(&set) {
            Some(rs) if rs["spec"]["replicas"] == deployment["spec"]["replicas"] => {}
            _ => {
                let meta = json!({ "name": name, "namespace": key.namespace, "labels": deployment["metadata"]["labels"], "ownerReferences": [owned_by("Deployment", &deployment)] });
                store.put(res("replicasets"), json!({ "metadata": meta, "spec": deployment["spec"] }));
            }
        }
    }
    for key in store.keys("replicasets") {
        let Some(set) = store.get(&key).cloned() else { continue };
        let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
        let mine = |p: &Value| pod::owner(p, "uid") == set["metadata"]["uid"] && !pod::leaving(p);
        let alive: Vec<Key> = store.all("pods").filter(|(_, p)| mine(p)).map(|(k, _)| k.clone()).collect();
        for _ in (alive.len() as u64)..wanted {
            let id = uuid::Uuid::new_v4().simple().to_string();
            create(store, "ReplicaSet", &set, &format!("{}-{}", key.name, &id[..5]), None);
        }
        for surplus in alive.iter().skip(wanted as usize) {
            terminate(store, surplus, None);
        }
    }
    for key in store.keys("statefulsets") {
        let Some(set) = store.get(&key).cloned() else { continue };
        for i in 0..set["spec"]["replicas"].as_u64().unwrap_or(1) {
            let name = format!("{}-{i}", key.name);
            // Its successor keeps the name, and so waits until the old one is gone.
            if store.get(&Key::new("pods", &*key.namespace, &*name)).is_none() {
                create(store, "StatefulSet", &set, &name, None);
            }
        }
    }
    for key in store.keys("daemonsets") {
        let Some(set) = store.get(&key).cloned() else { continue };
        for node in store.keys("nodes") {
            let mine = |p: &Value| pod::owner(p, "uid") == set["metadata"]["uid"] && pod::node(p) == node.name;
            if !store.all("pods").any(|(_, p)| mine(p)) {
                let id = uuid::Uuid::new_v4().simple().to_string();
                create(store, "DaemonSet", &set, &format!("{}-{}", key.name, &id[..5]), Some(&node.name));
            }
        }
    }
}

fn owned_by(kind: &str, owner: &Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true })
}

fn create(store: &mut Store, kind: &str, set: &Value, name: &str, node: Option<&str>) {
    let template = &set["spec"]["template"];
    let mut meta = template["metadata"].clone();
    meta["name"] = json!(name);
    meta["namespace"] = set["metadata"]["namespace"].clone();
    meta["ownerReferences"] = json!([owned_by(kind, set)]);
    let mut spec = template["spec"].clone();
    if let Some(node) = node {
        spec["nodeName"] = json!(node);
    }
    store.put(res("pods"), json!({ "metadata": meta, "spec": spec, "status": { "phase": "Pending" } }));
}

/// Onto the node with the fewest of its kind, then the fewest pods.
fn schedule(store: &mut Store, nodes: &[String]) {
    for key in store.keys("pods") {
        let Some(p) = store.get(&key) else { continue };
        if !pod::node(p).is_empty() || pod::leaving(p) {
            continue;
        }
        let (app, pinned) = (p["metadata"]["labels"]["app"].clone(), p["spec"]["nodeSelector"]["kubernetes.io/hostname"].clone());
        let load = |node: &str| {
            let here: Vec<&Value> = store.all("pods").map(|(_, p)| p).filter(|p| pod::node(p) == node).collect();
            (here.iter().filter(|p| p["metadata"]["labels"]["app"] == app).count(), here.len())
        };
        let fits = nodes.iter().filter(|n| pinned.is_null() || pinned == **n);
        if let Some(node) = fits.min_by_key(|n| load(n)).cloned() {
            store.edit(&key, |p| p["spec"]["nodeName"] = json!(node));
        } else if p["status"]["conditions"].is_null() {
            store.edit(&key, |p| {
                p["status"]["conditions"] = json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node fits" }])
            });
        }
    }
}

/// The disruption controller: what every budget allows now.
pub fn budgets(store: &mut Store) {
    for key in store.keys("poddisruptionbudgets") {
        let Some(budget) = store.get(&key) else { continue };
        let spec = &budget["spec"];
        let covered = |k: &Key, p: &Value| k.namespace == key.namespace && pod::selected(p, &spec["selector"]) && !spec["selector"].is_null();
        let healthy = store.all("pods").filter(|(k, p)| covered(k, p) && pod::ready(p) && !pod::leaving(p)).count() as i64;
        let count = store.all("pods").filter(|(k, p)| covered(k, p)).count() as i64;
        let sets = ["replicasets", "statefulsets"].into_iter().flat_map(|plural| store.all(plural));
        let of_sets = |(k, s): &(&Key, &Value)| k.namespace == key.namespace && pod::selected(&s["spec"]["template"], &spec["selector"]);
        let scale: i64 = sets.filter(of_sets).map(|(_, s)| s["spec"]["replicas"].as_i64().unwrap_or(1)).sum();
        // As in life: with a number of pods that must stay, nobody asks their controllers.
        let expected = if spec["minAvailable"].is_number() { count } else { scale };
        let desired = match (spec["minAvailable"].as_i64(), spec["maxUnavailable"].as_i64()) {
            (Some(min), _) => min,
            (None, Some(max)) => (expected - max).max(0),
            _ => expected,
        };
        let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
        // A share of what an owner without a scale wants cannot be computed.
        let scaled = |p: &Value| matches!(pod::owner(p, "kind"), "ReplicaSet" | "StatefulSet");
        let odd = !spec["minAvailable"].is_number() && store.all("pods").any(|(k, p)| covered(k, p) && !pod::owner(p, "kind").is_empty() && !scaled(p));
        let status = if odd {
            let why = json!({ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "its pods' owner does not implement the scale subresource" });
            json!({ "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0, "observedGeneration": 1, "conditions": [why] })
        } else {
            json!({ "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected, "disruptionsAllowed": allowed, "observedGeneration": 1 })
        };
        if budget["status"] != status {
            store.edit(&key, |b| b["status"] = status);
        }
    }
}

/// Pod garbage collection: whatever is bound to a node that is not ready and tainted out of service goes at once, whether its kubelet answers or not.
fn out_of_service(store: &mut Store) {
    let tainted = |n: &Value| n["spec"]["taints"].as_array().is_some_and(|t| t.iter().any(|t| t["key"] == "node.kubernetes.io/out-of-service"));
    let nodes: Vec<String> = store.all("nodes").filter(|(_, n)| ready(n) != Some("True") && tainted(n)).map(|(k, _)| k.name.clone()).collect();
    for node in nodes {
        for key in on(store, &node) {
            let stays = store.get(&key).is_some_and(pod::fixed);
            if !stays {
                store.remove(&key);
            }
        }
    }
}

/// What has lost its owner or its namespace goes.
fn collect(store: &mut Store) {
    let uids: BTreeSet<String> = ["deployments", "replicasets", "statefulsets", "daemonsets"]
        .into_iter()
        .flat_map(|plural| store.all(plural))
        .filter_map(|(_, o)| o["metadata"]["uid"].as_str().map(str::to_owned))
        .collect();
    let spaces: BTreeSet<String> = store.all("namespaces").filter(|(_, n)| n["status"]["phase"] != "Terminating").map(|(k, _)| k.name.clone()).collect();
    for plural in ["replicasets", "statefulsets", "deployments", "daemonsets", "poddisruptionbudgets", "leases", "pods"] {
        for key in store.keys(plural) {
            let Some(object) = store.get(&key) else { continue };
            // Owners of other kinds are not known here, and the collector in life takes its time too.
            let known = matches!(pod::owner(object, "kind"), "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
                && pod::owner(object, "apiVersion") == "apps/v1";
            let born = object["metadata"]["creationTimestamp"].as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
            let settled = born.is_none_or(|born| jiff::Timestamp::now().as_second() - born.as_second() > 3);
            let orphan = known && settled && !uids.contains(pod::owner(object, "uid"));
            match () {
                _ if !orphan && spaces.contains(&key.namespace) => {}
                _ if plural == "pods" => terminate(store, &key, None),
                _ => drop(store.remove(&key)),
            }
        }
    }
    for key in store.keys("namespaces") {
        let empty = || ["pods", "deployments"].into_iter().all(|plural| store.all(plural).all(|(k, _)| k.namespace != key.name));
        if !spaces.contains(&key.name) && empty() {
            store.remove(&key);
        }
    }
}

/// Asks a pod to end. Its grace period runs on the rack's clock.
pub fn terminate(store: &mut Store, key: &Key, grace: Option<u64>) {
    let Some(p) = store.get(key).filter(|p| !pod::leaving(p)) else { return };
    let seconds = grace.or(p["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(30);
    store.edit(key, |p| {
        p["metadata"]["deletionTimestamp"] = json!((jiff::Timestamp::now() + Duration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        p["metadata"]["deletionGracePeriodSeconds"] = json!(seconds);
    });
}
