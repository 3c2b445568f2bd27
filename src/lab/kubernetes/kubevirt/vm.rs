//! VirtualMachines and their instances: what a runStrategy makes run again, and what stays down.
use super::{
    super::{
        api::{Refused, failure},
        content::res,
        control,
        store::{Key, Store, pod},
    },
    CREATED, key, launcher, new_launcher, now,
};
use serde_json::{Value, json};

pub fn run_strategy(vm: &Value) -> String {
    match (vm["spec"]["runStrategy"].as_str(), vm["spec"]["running"].as_bool()) {
        (Some(strategy), _) => strategy.to_owned(),
        (None, Some(true)) => "Always".into(),
        _ => "Halted".into(),
    }
}

pub fn phase(vmi: &Value) -> &str {
    vmi["status"]["phase"].as_str().unwrap_or("Pending")
}
fn ended(vmi: &Value) -> bool {
    matches!(phase(vmi), "Succeeded" | "Failed")
}

/// virt-controller over VirtualMachines.
pub fn machines(store: &mut Store) {
    for at in store.keys("virtualmachines") {
        let Some(vm) = store.get(&at).cloned() else { continue };
        let (strategy, instance) = (run_strategy(&vm), key("virtualmachineinstances", &at));
        let vmi = store.get(&instance).cloned();
        let asked = vm["status"]["stateChangeRequests"][0]["action"].as_str().unwrap_or_default().to_owned();
        // Coming from another strategy these start; afterwards they do not by themselves.
        let changed = vm["status"]["runStrategy"].as_str() != Some(&strategy);
        let mut done = Value::Null;
        match (strategy.as_str(), &vmi) {
            ("Halted", Some(v)) => stop(store, &instance, v),
            ("Manual", Some(v)) if asked == "Stop" => {
                stop(store, &instance, v);
                done = json!("Stop");
            }
            (_, Some(v)) if asked == "Restart" => {
                stop(store, &instance, v);
                done = json!("Restart");
            }
            ("Always", Some(v)) if ended(v) => stop(store, &instance, v),
            ("RerunOnFailure", Some(v)) if phase(v) == "Failed" => stop(store, &instance, v),
            ("Always", None) => start(store, &vm),
            ("RerunOnFailure" | "Once", None) if changed => start(store, &vm),
            ("RerunOnFailure" | "Manual", None) if asked == "Start" => {
                start(store, &vm);
                done = json!("Start");
            }
            _ => {}
        }
        let printable = match &vmi {
            None => "Stopped",
            Some(v) if !v["metadata"]["deletionTimestamp"].is_null() => "Stopping",
            Some(v) if phase(v) == "Running" => "Running",
            Some(v) if ended(v) => "Stopped",
            Some(_) => "Starting",
        };
        store.edit(&at, |vm| {
            vm["status"]["runStrategy"] = json!(strategy);
            vm["status"]["printableStatus"] = json!(printable);
            match done.as_str() {
                // A restart is a stop, then a start.
                Some("Restart") if strategy != "Always" => vm["status"]["stateChangeRequests"] = json!([{ "action": "Start" }]),
                Some(_) => drop(vm["status"].as_object_mut().map(|s| s.remove("stateChangeRequests"))),
                None => {}
            }
        });
    }
}

fn start(store: &mut Store, vm: &Value) {
    let meta = &vm["metadata"];
    let owner = json!({ "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": meta["name"], "uid": meta["uid"], "controller": true });
    let metadata = json!({ "name": meta["name"], "namespace": meta["namespace"], "ownerReferences": [owner], "finalizers": ["foregroundDeleteVirtualMachine"], "labels": {} });
    store.put(res("virtualmachineinstances"), json!({ "metadata": metadata, "spec": vm["spec"]["template"]["spec"], "status": { "phase": "Pending" } }));
}

fn stop(store: &mut Store, at: &Key, vmi: &Value) {
    if vmi["metadata"]["deletionTimestamp"].is_null() {
        store.edit(at, |v| v["metadata"]["deletionTimestamp"] = json!(now()));
    }
}

/// virt-controller and virt-handler over instances.
pub fn instances(store: &mut Store) {
    for at in store.keys("virtualmachineinstances") {
        let Some(vmi) = store.get(&at).cloned() else { continue };
        let carrier = launcher(store, &vmi);
        let leaving = !vmi["metadata"]["deletionTimestamp"].is_null();
        match carrier.as_ref().and_then(|k| store.get(k)).cloned() {
            Some(_) if leaving => {
                for key in pods(store, &vmi) {
                    control::terminate(store, &key, None);
                }
            }
            None if leaving => drop(store.remove(&at)),
            None if phase(&vmi) == "Pending" => drop(new_launcher(store, &vmi, None, None)),
            // The guest was shut down with its pod.
            None if !ended(&vmi) => drop(store.edit(&at, |v| v["status"]["phase"] = json!("Succeeded"))),
            Some(p) if phase(&vmi) != "Running" && pod::ready(&p) => drop(store.edit(&at, |v| runs_on(v, pod::node(&p)))),
            Some(p) if phase(&vmi) == "Pending" && !pod::node(&p).is_empty() => drop(store.edit(&at, |v| v["status"]["phase"] = json!("Scheduling"))),
            _ => {}
        }
    }
}

pub fn pods(store: &Store, vmi: &Value) -> Vec<Key> {
    let of = |p: &Value| p["metadata"]["labels"][CREATED] == vmi["metadata"]["uid"] && !matches!(pod::phase(p), "Succeeded" | "Failed");
    store.all("pods").filter(|(_, p)| of(p)).map(|(k, _)| k.clone()).collect()
}

pub fn runs_on(vmi: &mut Value, node: &str) {
    if vmi["metadata"]["finalizers"].is_null() {
        vmi["metadata"]["finalizers"] = json!(["foregroundDeleteVirtualMachine"]);
    }
    vmi["metadata"]["labels"]["kubevirt.io/nodeName"] = json!(node);
    let migratable = match why_not(&vmi["spec"]) {
        None => json!({ "type": "LiveMigratable", "status": "True" }),
        Some((reason, message)) => json!({ "type": "LiveMigratable", "status": "False", "reason": reason, "message": message }),
    };
    let status = &mut vmi["status"];
    status["phase"] = json!("Running");
    status["nodeName"] = json!(node);
    status["conditions"] = json!([{ "type": "Ready", "status": "True" }, migratable]);
}

/// As virt-handler judges what the VM is made of.
fn why_not(spec: &Value) -> Option<(&'static str, &'static str)> {
    let some = |pointer: &str| spec.pointer(pointer).and_then(Value::as_array).is_some_and(|a| !a.is_empty());
    let local = spec["volumes"].as_array().into_iter().flatten().any(|v| v["hostDisk"].is_object() && v["hostDisk"]["shared"] != true);
    let bridged = spec["domain"]["devices"]["interfaces"].as_array().into_iter().flatten().any(|i| i["bridge"].is_object());
    match () {
        _ if local => Some(("DisksNotLiveMigratable", "cannot migrate VMI with non-shared HostDisk")),
        _ if bridged => Some(("InterfaceNotLiveMigratable", "cannot migrate VMI which does not use masquerade to connect to the pod network")),
        _ if some("/domain/devices/hostDevices") || some("/domain/devices/gpus") => Some(("HostDeviceNotLiveMigratable", "VMI uses a PCI host devices")),
        _ => None,
    }
}

/// `start`, `stop` and `restart`, with virt-api's own refusals.
pub fn verb(store: &mut Store, at: &Key, verb: &str) -> Result<(u16, Value), Refused> {
    let vm = store.get(at).cloned().ok_or_else(|| failure(404, "NotFound", &format!("virtualmachines.kubevirt.io \"{}\" not found", at.name)))?;
    let strategy = run_strategy(&vm);
    let runs = store.get(&key("virtualmachineinstances", at)).is_some_and(|v| !ended(v));
    let conflict = |why: String| Err(failure(409, "Conflict", &format!("Operation cannot be fulfilled on virtualmachine.kubevirt.io \"{}\": {why}", at.name)));
    let request = |store: &mut Store, action: &str| {
        store.edit(at, |vm| vm["status"]["stateChangeRequests"] = json!([{ "action": action }]));
    };
    let set = |store: &mut Store, to: &str| drop(store.edit(at, |vm| vm["spec"]["runStrategy"] = json!(to)));
    let underway = vm["status"]["stateChangeRequests"].as_array().is_some_and(|r| !r.is_empty());
    match (verb, strategy.as_str()) {
        // As virt-api wraps it: not a conflict.
        ("start" | "restart", _) if underway && !(verb == "start" && runs) => {
            return Err(failure(500, "InternalError", "Internal error occurred: unable to complete request: stop/start already underway"));
        }
        ("start", _) if runs => return conflict("VM is already running".into()),
        ("start", "Always" | "Once") => return conflict(format!("{strategy} does not support manual start requests")),
        ("start", "Halted") => set(store, "Always"),
        ("start", _) => request(store, "Start"),
        (_, _) if !runs => return conflict("VM is not running".into()),
        ("stop", "Manual" | "RerunOnFailure") => request(store, "Stop"),
        ("stop", _) => set(store, "Halted"),
        (_, "Halted" | "Once") => return conflict(format!("{strategy} does not support manual restart requests")),
        _ => request(store, "Restart"),
    }
    Ok((202, json!({})))
}
