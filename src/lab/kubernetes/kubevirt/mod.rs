//! KubeVirt's stand-in: VMs that run as pods, an eviction webhook that turns evictions into live migrations, and the verbs of virt-api.
mod migration;
mod vm;

use super::{
    Server,
    addons::Trouble,
    api::{Refused, failure},
    content::res,
    now,
    store::{Key, Store, pod},
};
use migration::Migrations;
use serde_json::{Value, json};

/// Labels and annotations that its parts know each other by.
const CREATED: &str = "kubevirt.io/created-by";
const EVACUATION: &str = "kubevirt.io/evacuationMigration";

pub fn key(plural: &'static str, of: &Key) -> Key {
    Key::new(plural, &*of.namespace, &*of.name)
}

#[derive(Default)]
pub struct KubeVirt {
    migrations: Migrations,
}

impl KubeVirt {
    pub fn tick(&mut self, server: &Server) {
        if !server.addons.kubevirt {
            return;
        }
        let mut store = server.store();
        vm::machines(&mut store);
        vm::instances(&mut store);
        self.migrations.tick(server, &mut store);
    }
}

/// The launcher that carries a VMI now: never the one a migration is still filling, never one that has ended.
pub fn launcher(store: &Store, vmi: &Value) -> Option<Key> {
    let carries = |p: &Value| {
        p["metadata"]["labels"][CREATED] == vmi["metadata"]["uid"]
            && p["metadata"]["labels"]["kubevirt.io/migrationJobUID"].is_null()
            && !matches!(pod::phase(p), "Succeeded" | "Failed")
    };
    store.all("pods").find(|(_, p)| carries(p)).map(|(k, _)| k.clone())
}

pub fn new_launcher(store: &mut Store, vmi: &Value, on: Option<&str>, job: Option<&str>) -> Key {
    let (namespace, name) = (vmi["metadata"]["namespace"].as_str().unwrap_or_default(), vmi["metadata"]["name"].as_str().unwrap_or_default());
    let id = uuid::Uuid::new_v4().simple().to_string();
    let pod = format!("virt-launcher-{name}-{}", &id[..5]);
    let mut labels = json!({ "kubevirt.io": "virt-launcher", CREATED: vmi["metadata"]["uid"], "vm.kubevirt.io/name": name });
    if let Some(job) = job {
        labels["kubevirt.io/migrationJobUID"] = json!(job);
    }
    let owner = json!({ "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": name, "uid": vmi["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true });
    let mut spec = json!({ "containers": [{ "name": "compute", "image": "registry.example/virt-launcher:1" }], "terminationGracePeriodSeconds": 30, "restartPolicy": "Never",
        "volumes": [{ "name": "private", "emptyDir": {} }], "nodeSelector": vmi["spec"]["nodeSelector"] });
    if let Some(on) = on {
        spec["nodeName"] = json!(on);
    }
    let metadata = json!({ "name": pod, "namespace": namespace, "labels": labels, "annotations": { "kubevirt.io/domain": name }, "ownerReferences": [owner] });
    store.put(res("pods"), json!({ "metadata": metadata, "spec": spec, "status": { "phase": "Pending" } }));
    Key::new("pods", namespace, pod)
}

/// The webhook on evictions, which runs before any budget is looked at. `Ok`: not its business, or nothing against it.
pub fn intercept(server: &Server, store: &mut Store, key: &Key, dry: bool) -> Result<(), Refused> {
    let Some(p) = store.get(key).filter(|p| p["metadata"]["labels"]["kubevirt.io"] == "virt-launcher" && !pod::leaving(p)) else { return Ok(()) };
    if matches!(pod::phase(p), "Succeeded" | "Failed") {
        return Ok(());
    }
    let denied = |text: String| {
        failure(429, "TooManyRequests", &format!("admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: {text}"))
    };
    if server.addons.troubles.has(Trouble::VirtApiDown) {
        let text = "Internal error occurred: failed calling webhook \"virt-launcher-eviction-interceptor.kubevirt.io\": failed to call webhook: Post \"https://virt-api.kubevirt.svc:443/launcher-eviction-validate?timeout=10s\": no endpoints available for service \"virt-api\"";
        return Err(failure(500, "InternalError", text));
    }
    let (node, arrives) = (pod::node(p).to_owned(), !p["metadata"]["labels"]["kubevirt.io/migrationJobUID"].is_null());
    let vmi_key = Key::new("virtualmachineinstances", &*key.namespace, p["metadata"]["annotations"]["kubevirt.io/domain"].as_str().unwrap_or_default());
    let Some(vmi) = store.get(&vmi_key).cloned() else { return Ok(()) };
    let strategy = vmi["spec"]["evictionStrategy"]
        .as_str()
        .map(str::to_owned)
        .or_else(|| store.all("kubevirts").find_map(|(_, kv)| kv["spec"]["configuration"]["evictionStrategy"].as_str().map(str::to_owned)));
    let migratable = vmi["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "LiveMigratable" && c["status"] == "True");
    match (strategy.as_deref().unwrap_or("None"), migratable) {
        _ if arrives => return Err(denied("Eviction request for target Pod".into())),
        ("None", _) | ("LiveMigrateIfPossible", false) => return Ok(()),
        ("LiveMigrate", false) => return Err(denied(format!("VMI {} is configured with an eviction strategy but is not live-migratable", vmi_key.name))),
        _ => {}
    }
    let told = format!("Eviction triggered evacuation of VMI \"{}/{}\"", vmi_key.namespace, vmi_key.name);
    if vmi["status"]["evacuationNodeName"] == node.as_str() {
        return Err(denied(format!("Evacuation in progress: {told}")));
    }
    if !dry {
        server.rack.api_write(server.machine(&node), &format!("evict {}/{}", key.namespace, key.name));
        store.edit(&vmi_key, |v| v["status"]["evacuationNodeName"] = json!(node));
    }
    Err(denied(told))
}

/// virt-api: `PUT /apis/subresources.kubevirt.io/v1/namespaces/NS/{virtualmachines/VM/VERB | virtualmachineinstances/VM/evacuate/cancel}`.
pub fn subresource(server: &Server, method: &str, path: &[&str], body: &Value) -> Option<Result<(u16, Value), Refused>> {
    let ["apis", "subresources.kubevirt.io", "v1", "namespaces", namespace, rest @ ..] = path else { return None };
    let missing = || Err(failure(404, "NotFound", "the server could not find the requested resource"));
    if !server.addons.kubevirt || method != "PUT" {
        return Some(missing());
    }
    let mut store = server.store();
    Some(match rest {
        ["virtualmachineinstances", name, "evacuate", "cancel"] => {
            let key = Key::new("virtualmachineinstances", *namespace, *name);
            let asked = &body["evacuationNodeName"];
            match store.get(&key).map(|v| v["status"]["evacuationNodeName"] == *asked) {
                _ if server.addons.troubles.has(Trouble::NoEvacuateCancel) => missing(),
                None => missing(),
                Some(marked) => {
                    if marked {
                        server.rack.api_write(server.machine(asked.as_str().unwrap_or_default()), &format!("cancel evacuation of vmi {namespace}/{name}"));
                        store.edit(&key, |v| drop(v["status"].as_object_mut().map(|s| s.remove("evacuationNodeName"))));
                    }
                    Ok((200, json!({})))
                }
            }
        }
        ["virtualmachines", name, verb @ ("start" | "stop" | "restart")] => {
            let done = vm::verb(&mut store, &Key::new("virtualmachines", *namespace, *name), verb);
            if done.is_ok() {
                server.rack.api_write("", &format!("{verb} vm {namespace}/{name}"));
            }
            done
        }
        _ => missing(),
    })
}

/// What the lab begins with: a VM a node that can move, and one that its owner has stopped.
pub fn fill(store: &mut Store, nodes: usize) {
    super::content::namespace(store, "vms");
    super::content::namespace(store, "kubevirt");
    store.put(
        res("kubevirts"),
        json!({ "metadata": { "name": "kubevirt", "namespace": "kubevirt" }, "spec": { "configuration": { "evictionStrategy": "LiveMigrate" } } }),
    );
    let vm = |name: String, strategy: &str| json!({ "metadata": { "name": name, "namespace": "vms" }, "spec": { "runStrategy": strategy, "template": { "spec": { "domain": { "devices": {} } } } } });
    for i in 1..=nodes {
        store.put(res("virtualmachines"), vm(format!("guest-{i}"), "Always"));
    }
    store.put(res("virtualmachines"), vm("stopped".into(), "Halted"));
}
