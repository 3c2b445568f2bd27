//! What is done to VMs, and undone: migrate, stop, start elsewhere; cancel the evacuation, start again. What a VM was before stands on the VM itself.
use super::{
    vm::{self, Migration, path, run_strategy},
    word::{Word, word},
};
use crate::{
    drivers::cluster::{
        Ask,
        kube_api::{Api, Call, Target, eviction_body, refused},
    },
    model::{Fault, FaultKind, Loan, LoanId, marks},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How the VM ran before we stopped it.
const WAS_STRATEGY: &str = "pitstop/was-run-strategy";
/// On which node it ran then: whose way back starts it again.
const WAS_ON: &str = "pitstop/was-on";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "guest", rename_all = "snake_case")]
pub enum Order {
    /// Evicting its pod makes KubeVirt migrate it.
    Migrate {
        pod: Target,
        vm: String,
    },
    /// The evacuation of `node`, and what migrations it made.
    Cancel {
        namespace: String,
        vm: String,
    },
    Stop {
        namespace: String,
        vm: String,
    },
    /// Shut down, and started where there is room: the node takes no new work.
    Restart {
        namespace: String,
        vm: String,
    },
    Start {
        namespace: String,
        vm: String,
        run: Option<String>,
    },
}

pub struct Move {
    pub what: String,
    pub order: Order,
    pub borrows: Option<Loan>,
}

fn loan(id: String, owed: String, before: Value) -> Option<Loan> {
    Some(Loan { id: LoanId(id), to: String::new(), owed, before, first: false })
}

pub fn migrate(vm: &vm::Vm, pod: Target, node: &str) -> Move {
    let (told, namespace, name) = (vm.told(), vm.namespace.clone(), vm.name.clone());
    let borrows = evacuation(&namespace, &name, node);
    Move { what: format!("migrate vm {told} away from {node}"), order: Order::Migrate { pod, vm: name }, borrows }
}

fn stopped(namespace: &str, name: &str, strategy: &str, run: Option<&str>) -> Option<Loan> {
    let before = json!({ "stopped": { "namespace": namespace, "vm": name, "strategy": strategy, "run": run } });
    loan(format!("vm/{namespace}/{name}"), format!("start vm {namespace}/{name}"), before)
}
fn evacuation(namespace: &str, name: &str, node: &str) -> Option<Loan> {
    let before = json!({ "evacuation": { "namespace": namespace, "vm": name, "node": node } });
    loan(format!("evacuation/{namespace}/{name}"), format!("cancel what still evacuates vm {namespace}/{name}"), before)
}

/// What the VMs themselves say that we owe on this node: those we stopped, and with `ours` (the node carries our mark) those still on their way.
pub async fn marked(api: &Api, node: &str, ours: bool) -> Result<Vec<Loan>, Fault> {
    if !api.has_group(vm::GROUP).await? {
        return Ok(Vec::new());
    }
    let mut owed: Vec<Loan> = Vec::new();
    let (all, _) = api.list::<Value>("list VMs", &format!("{}/virtualmachines", vm::ALL), None).await?;
    for vm in &all {
        let (meta, notes) = (&vm["metadata"], &vm["metadata"]["annotations"]);
        if let (Some(run), Some(was), true) = (notes[marks::RUN].as_str(), notes[WAS_STRATEGY].as_str(), notes[WAS_ON] == node) {
            owed.extend(stopped(meta["namespace"].as_str().unwrap_or_default(), meta["name"].as_str().unwrap_or_default(), was, Some(run)));
        }
    }
    if ours {
        for told in super::evacuating(api, node).await? {
            let (namespace, name) = told.split_once('/').unwrap_or_default();
            owed.extend(evacuation(namespace, name, node));
        }
    }
    Ok(owed)
}

/// `strategy`: its runStrategy now.
pub fn stop(vm: &vm::Vm, strategy: &str, elsewhere: bool, ask: &Ask) -> Move {
    let (told, namespace, name) = (vm.told(), vm.namespace.clone(), vm.name.clone());
    let borrows = stopped(&namespace, &name, strategy, ask.run.as_ref().map(|r| r.0.as_str()));
    match elsewhere {
        true => Move { what: format!("stop vm {told} and start it elsewhere"), order: Order::Restart { namespace, vm: name }, borrows },
        false => Move { what: format!("stop vm {told}"), order: Order::Stop { namespace, vm: name }, borrows },
    }
}

/// None: the loan is not of a VM.
pub fn give_back(loan: &Loan) -> Option<(String, Order)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (evacuation, stopped) = (&loan.before["evacuation"], &loan.before["stopped"]);
    let of = |v: &Value| (text(&v["namespace"]), text(&v["vm"]));
    match (evacuation.is_object(), stopped.is_object()) {
        (true, _) => {
            let (namespace, vm) = of(evacuation);
            Some((loan.owed.clone(), Order::Cancel { namespace, vm }))
        }
        (_, true) => {
            let ((namespace, vm), run) = (of(stopped), stopped["run"].as_str().map(str::to_owned));
            Some((loan.owed.clone(), Order::Start { namespace, vm, run }))
        }
        _ => None,
    }
}

pub async fn is_paid(api: &Api, loan: &Loan) -> Result<Option<bool>, Fault> {
    Ok(match give_back(loan) {
        Some((_, Order::Cancel { namespace, vm })) => {
            let node = loan.before["evacuation"]["node"].as_str().unwrap_or_default();
            let marked = vm::read(api, &namespace, &vm, None).await?.is_some_and(|v| v.evacuated_from.as_deref() == Some(node));
            Some(!marked && unfinished(api, node, &namespace, &vm).await?.is_empty())
        }
        Some((_, Order::Start { namespace, vm, run })) => {
            let Some((owner, _)) = api.get::<Value>(&format!("read VM {namespace}/{vm}"), &path(&namespace, "virtualmachines"), &vm).await? else {
                return Ok(Some(true));
            };
            let marked = owner["metadata"]["annotations"][marks::RUN].as_str();
            if marked.is_some() && marked == run.as_deref() {
                return Ok(Some(false));
            }
            let runs = vm::read(api, &namespace, &vm, None).await?.is_some_and(|v| matches!(v.phase.as_str(), "Running" | "Succeeded"));
            // Somebody else has stopped it since: their decision.
            Some(runs || run_strategy(&owner) == "Halted")
        }
        _ => None,
    })
}

async fn unfinished(api: &Api, node: &str, namespace: &str, vm: &str) -> Result<Vec<Migration>, Fault> {
    let mut all = vm::migrations(api, node).await?;
    all.retain(|m| !m.ended() && m.vmi.0 == namespace && m.vmi.1 == vm);
    Ok(all)
}

pub async fn act(api: &Api, node: &str, order: &Order, ask: &Ask) -> Result<(), Fault> {
    match order {
        Order::Migrate { pod, vm } => migrate_now(api, pod, vm).await,
        Order::Cancel { namespace, vm } => cancel(api, node, namespace, vm).await,
        Order::Stop { namespace, vm } => stop_now(api, node, namespace, vm, ask).await,
        Order::Restart { namespace, vm } => restart(api, node, namespace, vm).await,
        Order::Start { namespace, vm, run } => start(api, namespace, vm, run.as_deref(), ask).await,
    }
}

async fn migrate_now(api: &Api, pod: &Target, vm: &str) -> Result<(), Fault> {
    let what = format!("migrate vm {}/{vm}", pod.namespace);
    let body = eviction_body(api, pod).await?;
    let pods = format!("/api/v1/namespaces/{}/pods", pod.namespace);
    let reply = api.send(&what, Call::CreateSub { path: &pods, name: &pod.name, sub: "eviction", body }).await?;
    let status = reply.status();
    let unwilling = |why: &str| Err(Fault::new(FaultKind::Unwilling, format!("{what}: {why}")).cause(&status.message));
    match word(reply.code, &status.message) {
        Word::Goes | Word::Migrates => Ok(()),
        Word::Arrives | Word::Follows => unwilling("its pod leaves by itself"),
        Word::NotMigratable => unwilling("it can no longer be live-migrated"),
        Word::Later(_) => unwilling("KubeVirt's webhook does not answer, or cannot look"),
        // Another pod of its name: the VM has moved.
        Word::Other(_) if reply.code == 409 => unwilling("its pod changed meanwhile"),
        Word::NoDryRun | Word::Other(_) => Err(refused(&what, &status, true)),
    }
}

/// An uncordon does not stop an evacuation: the mark on the VM does, and what migrations it made are ended.
async fn cancel(api: &Api, node: &str, namespace: &str, vm: &str) -> Result<(), Fault> {
    let what = format!("cancel the evacuation of vm {namespace}/{vm}");
    if vm::read(api, namespace, vm, None).await?.is_some_and(|v| v.evacuated_from.as_deref() == Some(node)) {
        let path = format!("/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances");
        let body = json!({ "evacuationNodeName": node });
        let reply = api.send(&what, Call::PutSub { path: &path, name: vm, sub: "evacuate/cancel", body }).await?;
        if reply.code == 404 {
            let fault = Fault::new(FaultKind::Unable, format!("{what}: this KubeVirt has no evacuate/cancel (before 1.7)"));
            return Err(fault.next(format!("it ends when the VM has moved; else upgrade KubeVirt, or restart the VM: virtctl -n {namespace} restart {vm}")));
        }
        if !reply.ok() {
            return Err(refused(&what, &reply.status(), true));
        }
    }
    for migration in unfinished(api, node, namespace, vm).await? {
        let path = path(namespace, "virtualmachineinstancemigrations");
        let reply = api.send(&what, Call::Delete { path: &path, name: &migration.name, uid: &migration.uid }).await?;
        if !reply.ok() && reply.code != 404 {
            return Err(refused(&what, &reply.status(), true));
        }
    }
    Ok(())
}

/// Every evacuation of the node that was not under way before us.
pub async fn cancel_all(api: &Api, node: &str, others: &[String]) -> Result<(), Fault> {
    for vm in super::evacuating(api, node).await?.iter().filter(|vm| !others.contains(vm)) {
        let (namespace, name) = vm.split_once('/').unwrap_or_default();
        cancel(api, node, namespace, name).await?;
    }
    Ok(())
}

fn is_ours(object: &Value, ask: &Ask) -> bool {
    let mark = object["metadata"]["annotations"][marks::RUN].as_str();
    mark.is_some_and(|mark| ask.run.iter().chain(&ask.inherited).any(|run| run.0 == mark))
}

/// One patch stops it and remembers how it ran, only if nobody changed it since it was read.
async fn stop_now(api: &Api, node: &str, namespace: &str, vm: &str, ask: &Ask) -> Result<(), Fault> {
    let what = format!("stop vm {namespace}/{vm}");
    let run = ask.run.as_ref().ok_or_else(|| Fault::new(FaultKind::Unable, format!("{what}: only a run may, and leaves its mark")))?;
    let path = path(namespace, "virtualmachines");
    let Some((owner, _)) = api.get::<Value>(&what, &path, vm).await? else { return Ok(()) };
    match owner["metadata"]["annotations"][marks::RUN].as_str() {
        Some(_) if is_ours(&owner, ask) => return Ok(()),
        Some(other) => return Err(Fault::new(FaultKind::Unwilling, format!("{what}: stopped by pitstop run {other} already"))),
        None => {}
    }
    if vm::read(api, namespace, vm, None).await?.is_none_or(|v| v.node != node) {
        return Err(Fault::new(FaultKind::Unwilling, format!("{what}: it runs here no more")));
    }
    let annotations = json!({ marks::RUN: run.0, WAS_STRATEGY: run_strategy(&owner), WAS_ON: node });
    let spec = strategy_patch(&owner, "Halted");
    let body = json!({ "metadata": { "annotations": annotations, "resourceVersion": owner["metadata"]["resourceVersion"] }, "spec": spec });
    api.ask(&what, Call::Merge { path: &path, name: vm, body }).await.map(|_| ())
}

/// Old VMs say `running`, and may not have both.
fn strategy_patch(owner: &Value, strategy: &str) -> Value {
    match owner["spec"]["running"].is_boolean() {
        true => json!({ "running": strategy == "Always" }),
        false => json!({ "runStrategy": strategy }),
    }
}

async fn subresource(api: &Api, what: &str, namespace: &str, vm: &str, verb: &'static str) -> Result<(), Fault> {
    let path = format!("/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachines");
    let reply = api.send(what, Call::PutSub { path: &path, name: vm, sub: verb, body: json!({}) }).await?;
    let status = reply.status();
    match reply.code {
        _ if reply.ok() => Ok(()),
        // An earlier word to do so was heard: 409 where it runs, 500 while KubeVirt has not yet acted on it.
        _ if status.message.contains("stop/start already underway") => Ok(()),
        409 if verb == "start" && status.message.contains("already running") => Ok(()),
        _ => Err(refused(what, &status, true)),
    }
}

async fn restart(api: &Api, node: &str, namespace: &str, vm: &str) -> Result<(), Fault> {
    let what = format!("restart vm {namespace}/{vm}");
    // Sent, and the answer was lost: it runs elsewhere by now.
    match vm::read(api, namespace, vm, None).await? {
        Some(v) if v.node == node => subresource(api, &what, namespace, vm, "restart").await,
        _ => Ok(()),
    }
}

async fn start(api: &Api, namespace: &str, vm: &str, taken_by: Option<&str>, ask: &Ask) -> Result<(), Fault> {
    let what = format!("start vm {namespace}/{vm}");
    let path = path(namespace, "virtualmachines");
    let Some((owner, _)) = api.get::<Value>(&what, &path, vm).await? else { return Ok(()) };
    let marked = owner["metadata"]["annotations"][marks::RUN].as_str();
    let alive = async || Ok::<bool, Fault>(vm::read(api, namespace, vm, None).await?.is_some_and(|v| !matches!(v.phase.as_str(), "Succeeded" | "Failed")));
    if marked.is_none() {
        // Restarted elsewhere, or settled already: what runs by its own runStrategy needs nobody.
        return match run_strategy(&owner).as_str() {
            "Manual" if !alive().await? => subresource(api, &what, namespace, vm, "start").await,
            _ => Ok(()),
        };
    }
    if !is_ours(&owner, ask) && marked != taken_by {
        return Err(Fault::new(FaultKind::Unwilling, format!("{what}: stopped by pitstop run {}", marked.unwrap_or_default())));
    }
    let was = owner["metadata"]["annotations"][WAS_STRATEGY].as_str().unwrap_or("Always");
    let halted = run_strategy(&owner) == "Halted";
    // Manual starts nothing by itself: the mark stays until it has been told to start.
    if was == "Manual" && (halted || run_strategy(&owner) == "Manual") && !alive().await? {
        if halted {
            api.ask(&what, Call::Merge { path: &path, name: vm, body: json!({ "spec": strategy_patch(&owner, was) }) }).await?;
        }
        subresource(api, &what, namespace, vm, "start").await?;
    }
    let mut body = json!({ "metadata": { "annotations": { marks::RUN: null, WAS_STRATEGY: null, WAS_ON: null } } });
    // Somebody has set another strategy meanwhile: theirs counts.
    if halted {
        body["spec"] = strategy_patch(&owner, was);
    }
    api.ask(&what, Call::Merge { path: &path, name: vm, body }).await.map(|_| ())
}

/// What it needs of the account, where KubeVirt is.
pub const RIGHTS: [(&str, &str, &str); 11] = [
    ("get", vm::GROUP, "virtualmachineinstances"),
    ("list", vm::GROUP, "virtualmachineinstances"),
    ("get", vm::GROUP, "virtualmachines"),
    ("list", vm::GROUP, "virtualmachines"),
    ("patch", vm::GROUP, "virtualmachines"),
    ("list", vm::GROUP, "virtualmachineinstancemigrations"),
    ("delete", vm::GROUP, "virtualmachineinstancemigrations"),
    ("list", vm::GROUP, "kubevirts"),
    ("update", "subresources.kubevirt.io", "virtualmachineinstances/evacuate/cancel"),
    ("update", "subresources.kubevirt.io", "virtualmachines/start"),
    ("update", "subresources.kubevirt.io", "virtualmachines/restart"),
];
