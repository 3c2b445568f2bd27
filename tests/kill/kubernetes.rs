//! `kill -9` in the middle of a drain, of a live migration, of a stopped VM, and between a NodeMaintenance and its success: what resume and release leave behind is nothing of ours.
use crate::lab::{Lab, Store};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

const VMS: &str = "/apis/kubevirt.io/v1/namespaces/vms/virtualmachines";

/// Another client than pitstop: it prepares and it judges.
struct Api {
    client: kube::Client,
    runtime: tokio::runtime::Runtime,
}
impl Api {
    fn new(lab: &Lab) -> Api {
        rustls::crypto::ring::default_provider().install_default().ok(); // another test was first
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let read = kube::config::Kubeconfig::read_from(lab.path("lab/kubeconfig")).unwrap();
        let client = runtime.block_on(async {
            let config = kube::Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap();
            kube::Client::try_from(config).unwrap()
        });
        Api { client, runtime }
    }
    fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = axum::http::Request::builder().method(method).uri(path).header("content-type", content);
        self.runtime.block_on(async {
            let answer = self.client.send(request.body(kube::client::Body::from(bytes)).unwrap()).await.unwrap();
            let code = answer.status().as_u16();
            (code, serde_json::from_slice(&answer.into_body().collect_bytes().await.unwrap()).unwrap_or_default())
        })
    }
    fn get(&self, path: &str) -> Value {
        self.send("GET", path, Value::Null).1
    }
    fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let found = self.get(path);
            if holds(&found) {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{what} never came: {found:#}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A VM that cannot move, running on the node.
    fn pinned(&self, node: &str) {
        let spec = json!({ "domain": { "devices": {} }, "evictionStrategy": "LiveMigrate", "nodeSelector": { "kubernetes.io/hostname": node },
            "volumes": [{ "name": "disk", "hostDisk": { "path": "/data/disk.img", "type": "Disk" } }] });
        let body = json!({ "metadata": { "name": "pinned" }, "spec": { "runStrategy": "Always", "template": { "spec": spec } } });
        assert_eq!(self.send("POST", VMS, body).0, 201);
        self.until("/apis/kubevirt.io/v1/namespaces/vms/virtualmachineinstances/pinned", "the VM", |v| v["status"]["phase"] == "Running");
    }

    /// No cordon, no mark, no taint, no NodeMaintenance, no evacuation, no VM that we stopped.
    fn assert_nothing_of_ours(&self, name: &str) {
        for node in self.get("/api/v1/nodes")["items"].as_array().unwrap() {
            let own = node["metadata"]["name"].as_str().unwrap();
            assert_eq!(node["spec"]["unschedulable"], Value::Null, "{name}: {own} is cordoned");
            let marks = node["metadata"]["annotations"].as_object().map(|a| a.keys().filter(|k| k.starts_with("pitstop/")).count());
            assert_eq!(marks.unwrap_or(0), 0, "{name}: {}", node["metadata"]["annotations"]);
            let ours = ["node.kubernetes.io/out-of-service", "medik8s.io/drain", "kubevirt.io/drain"];
            let taints = node["spec"]["taints"].as_array().into_iter().flatten().filter(|t| ours.iter().any(|o| t["key"] == *o)).count();
            assert_eq!(taints, 0, "{name}: {}", node["spec"]["taints"]);
        }
        let (code, held) = self.send("GET", "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances", Value::Null);
        assert!(code == 404 || held["items"] == json!([]), "{name}: {held}");
        for vm in self.get(VMS)["items"].as_array().into_iter().flatten() {
            let notes = vm["metadata"]["annotations"].as_object().map_or(0, |a| a.len());
            let wanted = if vm["metadata"]["name"] == "stopped" { "Halted" } else { "Always" };
            assert!(notes == 0 && vm["spec"]["runStrategy"] == wanted, "{name}: {vm:#}");
        }
        let going = |m: &&Value| !matches!(m["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let migrations = self.get("/apis/kubevirt.io/v1/virtualmachineinstancemigrations");
        assert_eq!(migrations["items"].as_array().into_iter().flatten().filter(going).count(), 0, "{name}: {migrations:#}");
        for vmi in self.get("/apis/kubevirt.io/v1/virtualmachineinstances")["items"].as_array().into_iter().flatten() {
            // KubeVirt itself leaves the name of a node that the VM has left.
            let stays = vmi["status"]["evacuationNodeName"] == vmi["status"]["nodeName"] && !vmi["status"]["nodeName"].is_null();
            assert!(!stays, "{name}: {vmi:#}");
        }
    }

    /// Every VM that ran runs.
    fn assert_guests_run(&self, names: &[&str]) {
        for name in names {
            self.until(&format!("/apis/kubevirt.io/v1/namespaces/vms/virtualmachineinstances/{name}"), name, |v| v["status"]["phase"] == "Running");
        }
    }
}

/// Reboot with other words about its evacuation.
fn playbook(lab: &Lab, evacuate: &str) -> String {
    let shipped = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("playbooks/reboot.toml")).unwrap();
    let text = shipped.replace("evacuate = {}\ntimeout = \"45m\"", evacuate);
    assert_ne!(text, shipped);
    let path = lab.path("mine.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs it, and kills it with SIGKILL a moment after the API server has written down `line`.
fn killed_at(lab: &Lab, store: &Store<'_>, args: &[&str], line: &str) {
    let from = lab.record(0).len();
    let mut process = store.command(args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !lab.record(from).iter().any(|l| l["kind"] == "api-write" && l["what"].as_str().is_some_and(|w| w.starts_with(line))) {
        assert!(process.try_wait().unwrap().is_none(), "it ended before `{line}`: {}", store.pitstop(&["report"]).said());
        assert!(begun.elapsed() < Duration::from_secs(60), "`{line}` never came");
        thread::sleep(Duration::from_millis(2));
    }
    process.kill().unwrap();
    assert_eq!(process.wait().unwrap().code(), None, "it was alive");
}

fn power(lab: &Lab, from: usize) -> usize {
    lab.record(from).iter().filter(|l| l["kind"] == "power").count()
}

/// The dead run's lease of a minute, gone as a minute lets it go.
fn lease_expires(api: &Api) {
    api.send("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/pitstop", Value::Null);
}

#[test]
fn inv_07_a_drain_a_migration_and_a_stopped_vm_killed_are_resumed_and_leave_nothing() {
    let lab = Lab::start_of("kubevirt", 3, &[]);
    let (store, api) = (lab.store("store"), Api::new(&lab));
    api.pinned("virt-01");
    let book = playbook(&lab, "evacuate = { unmovable = \"stop-and-restart\" }");
    // By turns: the first pod's eviction, the evacuation of a VM, the VM that is stopped.
    for (node, line) in [("virt-02", "evict shop/"), ("virt-03", "evict vms/virt-launcher-"), ("virt-01", "update virtualmachine vms/pinned")] {
        let from = lab.record(0).len();
        killed_at(&lab, &store, &["run", &book, node], line);
        let last = store.pitstop(&["resume"]);
        assert_eq!(last.code, Some(0), "{line}: {}", last.said());
        api.assert_guests_run(&["guest-1", "guest-2", "guest-3", "pinned"]);
        api.assert_nothing_of_ours(line);
        let boots = lab.record(from).iter().filter(|l| l["kind"] == "boot").count();
        assert_eq!(boots, 1, "{line}: booted once");
        assert_eq!(lab.record(from).iter().filter(|l| l["kind"] == "lost-workload").count(), 0, "{line}");
    }
}

#[test]
fn inv_07_a_drain_killed_and_held_is_released_and_leaves_nothing() {
    let lab = Lab::start_of("kubevirt", 3, &["pdb-blocked"]);
    let (store, api) = (lab.store("store"), Api::new(&lab));
    let book = playbook(&lab, "evacuate = {}\ntimeout = \"5m\"\non_failure = \"hold\"");
    killed_at(&lab, &store, &["run", &book, "virt-02"], "evict ");
    let held = store.pitstop(&["resume"]);
    assert_eq!(held.code, Some(5), "{}", held.said());
    let said = format!("{}{}", held.said(), store.pitstop(&["report"]).said());
    assert!(said.contains("shop/ledger-0") && said.contains("PodDisruptionBudget shop/ledger"), "names what held it: {said}");
    let last = store.pitstop(&["release", "virt-02", "return"]);
    assert!(matches!(last.code, Some(0 | 5)), "{}", last.said());
    api.assert_nothing_of_ours("released");
    assert_eq!(power(&lab, 0), 0, "nothing was reset");
}

#[test]
fn inv_07_stopped_vms_and_evacuations_are_settled_by_their_marks_without_the_store() {
    let lab = Lab::start_of("kubevirt", 3, &[]);
    let api = Api::new(&lab);
    api.pinned("virt-01");
    let book = playbook(&lab, "evacuate = { unmovable = \"stop-and-restart\" }");
    for (node, line) in [("virt-01", "update virtualmachine vms/pinned"), ("virt-02", "evict vms/virt-launcher-")] {
        killed_at(&lab, &lab.store(&format!("lost-{node}")), &["run", &book, node], line);
        lease_expires(&api);
        let said = lab.store(&format!("new-{node}")).pitstop(&["release", "--from-marks"]);
        assert_eq!(said.code, Some(0), "{line}: {}", said.said());
        if node == "virt-01" {
            assert!(said.said().contains("start vm vms/pinned"), "{}", said.said());
        }
        api.assert_guests_run(&["guest-1", "guest-2", "guest-3", "pinned"]);
        api.assert_nothing_of_ours(line);
    }
    assert_eq!(power(&lab, 0), 0, "nothing was reset");
}

#[test]
fn inv_07_killed_between_the_node_maintenance_and_its_success_leaves_nothing() {
    let lab = Lab::start_of("node_maintenance", 3, &[]);
    let (store, api) = (lab.store("store"), Api::new(&lab));
    let line = "create nodemaintenance pitstop-";
    killed_at(&lab, &store, &["run", "reboot", "metal-01"], line);
    let phase = api.get("/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances/pitstop-metal-01")["status"]["phase"].clone();
    let last = store.pitstop(&["resume"]);
    assert_eq!(last.code, Some(0), "{phase}: {}", last.said());
    api.assert_nothing_of_ours("resumed");
    assert_eq!(lab.record(0).iter().filter(|l| l["kind"] == "boot").count(), 1, "booted once");
    // And without the store, by its marks.
    let from = lab.record(0).len();
    killed_at(&lab, &lab.store("lost"), &["run", "reboot", "metal-02"], line);
    lease_expires(&api);
    let said = lab.store("new").pitstop(&["release", "--from-marks"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(said.said().contains("delete NodeMaintenance pitstop-metal-02"), "{}", said.said());
    api.assert_nothing_of_ours("by its marks");
    assert_eq!(power(&lab, from), 0, "nothing was reset");
}
