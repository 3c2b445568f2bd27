//! KubeVirt, a layer over any Kubernetes: VMs leave a node by live migration, or not at all. Detected, never configured.
mod order;
mod vm;
mod word;

pub use order::{Move, Order, act, cancel_all, give_back, is_paid, marked};

use super::{Api, Right, Target, dry_run_eviction, leaving};
use crate::{
    drivers::cluster::Ask,
    model::{Blocker, Fault, Unmovable, Workload},
};
use k8s_openapi::api::core::v1::Pod;
use vm::{Vm, vmi_of};
use word::{Fate, fate, word};

/// Whether VMs may be told to leave now, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    /// The node is out of service, by us.
    pub taken: bool,
    /// This driver evicts; else somebody else does, and only what they cannot do is ours.
    pub evicts: bool,
}

/// The VMs of a node, as `NodeView` takes them.
#[derive(Default)]
pub struct Guests {
    pub workloads: Vec<Workload>,
    pub moves: Vec<Move>,
    pub blockers: Vec<Blocker>,
    pub impossible: Vec<Blocker>,
    pub notes: Vec<String>,
    /// System UUIDs of the VMs here.
    pub uuids: Vec<String>,
}

/// Pods that carry VMs, and the others. One that has ended is what a migration leaves behind.
pub fn split(pods: Vec<Pod>) -> (Vec<Pod>, Vec<Pod>) {
    let carries = |pod: &Pod| {
        let label = pod.metadata.labels.iter().flatten().any(|(k, v)| k == "kubevirt.io" && (v == "virt-launcher" || v == "hotplug-disk"));
        let ended = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
        label && !ended && vmi_of(pod).is_some()
    };
    pods.into_iter().partition(carries)
}

pub async fn look(api: &Api, node: &str, launchers: &[Pod], ask: &Ask, hold: Hold) -> Result<Guests, Fault> {
    let mut guests = Guests::default();
    if launchers.is_empty() {
        return Ok(guests);
    }
    let default = vm::cluster_strategy(api).await;
    let migrations = vm::migrations(api, node).await?;
    for pod in launchers {
        let Some((namespace, name)) = vmi_of(pod) else { continue };
        let told = format!("{namespace}/{name}");
        let mut here = Workload { kind: "vm".into(), name: told.clone(), leaving: leaving(pod), stuck: None };
        let Some(seen) = vm::read(api, &namespace, &name, default.as_deref()).await? else {
            guests.blockers.push(Blocker::new(format!("vm {told}"), "its pod is still here, the VM is gone"));
            guests.workloads.push(here);
            continue;
        };
        guests.uuids.extend(seen.uuid.clone());
        if here.leaving {
            guests.blockers.push(Blocker::new(format!("vm {told}"), "is shutting down"));
        } else if seen.evacuated_from.as_deref() == Some(node) && seen.node == node && seen.strategy.as_deref() != Some("External") {
            let (how, stuck) = vm::progress(&seen, &migrations);
            here.stuck = stuck.then(|| how.clone());
            guests.blockers.push(Blocker::new(format!("vm {told}"), how));
        } else {
            // The best oracle: KubeVirt itself, asked without doing it.
            let reply = dry_run_eviction(api, pod).await?;
            let fate = match reply.code {
                // It has ended since it was listed.
                404 | 409 => Fate::Waits("its pod has just left".into()),
                // Nothing keeps what a migration leaves behind; the VM itself is elsewhere.
                200..300 if !seen.node.is_empty() && seen.node != node => Fate::Waits("has moved, its old pod ends".into()),
                code => fate(word(code, &reply.status().message), &seen),
            };
            decide(&mut guests, &seen, pod, &fate, node, ask, hold);
            if matches!(fate, Fate::Blocks(_)) {
                here.stuck = Some(fate.told());
            }
        }
        guests.workloads.push(here);
    }
    Ok(guests)
}

/// Pure: what a VM's fate means under the given policy.
fn decide(guests: &mut Guests, vm: &Vm, pod: &Pod, fate: &Fate, node: &str, ask: &Ask, hold: Hold) {
    let object = format!("vm {}", vm.told());
    if !hold.taken {
        guests.notes.push(format!("{object}: {}", fate.told()));
    }
    let startable = vm.owner.as_ref().map(|o| o.strategy.as_str()).filter(|s| *s != "Halted");
    let refuse = |why: String| Blocker::new(object.clone(), why);
    match (fate, ask.unmovable) {
        (Fate::Migrates, _) if hold.taken && hold.evicts => {
            guests.moves.push(order::migrate(vm, Target::of(pod), node));
        }
        (Fate::Migrates, _) if hold.taken => guests.blockers.push(refuse("waits for its live migration".into())),
        (Fate::Migrates, _) => {}
        (Fate::Waits(why) | Fate::Unknown(why), _) => guests.blockers.push(refuse(why.clone())),
        (Fate::ShutDown(_) | Fate::Blocks(_), Unmovable::Refuse) => {
            guests.impossible.push(refuse(format!("{}; it can be stopped for the while: unmovable = \"stop-and-restart\"", fate.told())));
        }
        (Fate::ShutDown(_) | Fate::Blocks(_), policy) => match (startable, policy) {
            (None, _) => guests.impossible.push(refuse(format!("{}, and nothing could start it again", fate.told()))),
            (Some("Once"), Unmovable::StopAndStartElsewhere) => {
                guests
                    .impossible
                    .push(refuse("runStrategy Once cannot be restarted elsewhere; unmovable = \"stop-and-restart\" can stop it for the while".into()));
            }
            (Some(_), _) if !hold.taken => guests.notes.push(format!(
                "{object}: {}",
                match policy {
                    Unmovable::StopAndStartElsewhere => "is stopped and started elsewhere by pitstop",
                    _ => "is stopped by pitstop, and started again when the node is back",
                }
            )),
            (Some(strategy), policy) => guests.moves.push(order::stop(vm, strategy, policy == Unmovable::StopAndStartElsewhere, ask)),
        },
    }
}

/// VMs that somebody evacuates from the node now, by name.
pub async fn evacuating(api: &Api, node: &str) -> Result<Vec<String>, Fault> {
    if !api.has_group(vm::GROUP).await? {
        return Ok(Vec::new());
    }
    let of = |v: &serde_json::Value| Some(format!("{}/{}", v["metadata"]["namespace"].as_str()?, v["metadata"]["name"].as_str()?));
    let marked = |v: &&serde_json::Value| v["status"]["evacuationNodeName"] == node;
    Ok(vm::on_node(api, node).await?.iter().filter(marked).filter_map(of).collect())
}

/// What the account needs, where there is a KubeVirt.
pub async fn rights(api: &Api) -> Result<Vec<Right<'static>>, Fault> {
    if !api.has_group(vm::GROUP).await? {
        return Ok(Vec::new());
    }
    Ok(order::RIGHTS.map(|(verb, group, resource)| Right { verb, group, resource, namespace: None, name: "" }).into())
}
