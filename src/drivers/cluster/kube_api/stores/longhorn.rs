//! Longhorn: does every volume with a replica on the node have a healthy one elsewhere, and is anything being rebuilt?
use super::{text, untrue};
use crate::{
    drivers::cluster::kube_api::{Api, KubeNode},
    model::{DataStore, Fault, FaultKind},
};
use serde_json::Value;
use std::collections::BTreeSet;

pub const GROUP: &str = "longhorn.io";

pub async fn stores(api: &Api, node: &KubeNode) -> Result<Vec<DataStore>, Fault> {
    let mut version = "v1beta2";
    let mut replicas = list(api, version, "replicas").await;
    if matches!(&replicas, Err(fault) if fault.kind == FaultKind::Unable) {
        version = "v1beta1";
        replicas = list(api, version, "replicas").await;
    }
    let replicas = replicas?;
    let here = |r: &&Value| text(r, "/spec/nodeID") == node.name();
    let mine: BTreeSet<&str> = replicas.iter().filter(here).map(|r| text(r, "/spec/volumeName")).collect();
    if mine.is_empty() {
        return Ok(Vec::new());
    }
    let (volumes, nodes) = futures::try_join!(list(api, version, "volumes"), list(api, version, "nodes"))?;
    Ok(vec![judge(&replicas, &mine, &volumes, &nodes, node)])
}

async fn list(api: &Api, version: &str, plural: &str) -> Result<Vec<Value>, Fault> {
    Ok(api.list::<Value>(&format!("list Longhorn's {plural}"), &format!("/apis/{GROUP}/{version}/{plural}"), None).await?.0)
}

fn judge(replicas: &[Value], mine: &BTreeSet<&str>, volumes: &[Value], nodes: &[Value], node: &KubeNode) -> DataStore {
    let namespace = replicas.first().map(|r| text(r, "/metadata/namespace")).unwrap_or_default();
    let mut store = DataStore { kind: "longhorn".into(), name: namespace.to_owned(), refuses: Vec::new(), rebuilding: Vec::new() };
    let up = |name: &str| nodes.iter().find(|n| text(n, "/metadata/name") == name).is_some_and(|n| untrue(n, "Ready").is_none());
    let well = |r: &&Value| !text(r, "/spec/healthyAt").is_empty() && text(r, "/spec/failedAt").is_empty();
    // A drained node stops its own replicas: the volumes they belong to are degraded until it is back.
    let drained = node.unschedulable();
    for volume in volumes {
        let name = text(volume, "/metadata/name");
        let shown = claim(volume).map_or_else(|| format!("volume {name}"), |claim| format!("volume {name} ({claim})"));
        let of_it = || replicas.iter().filter(|r| text(r, "/spec/volumeName") == name);
        let elsewhere = of_it().filter(well).any(|r| text(r, "/spec/nodeID") != node.name() && up(text(r, "/spec/nodeID")));
        if mine.contains(name) && !elsewhere {
            store.refuses.push(format!("{shown}: no healthy replica on another node that is Ready"));
        }
        let building = of_it().filter(|r| !well(r) && text(r, "/spec/failedAt").is_empty() && text(r, "/status/currentState") == "running").count();
        match text(volume, "/status/robustness") {
            "faulted" if !mine.contains(name) || elsewhere => store.refuses.push(format!("{shown} is faulted")),
            "degraded" if building > 0 => store.rebuilding.push(format!("{shown} is degraded, {building} replica being rebuilt")),
            "degraded" if !(drained && mine.contains(name)) => store.rebuilding.push(format!("{shown} is degraded")),
            _ => {}
        }
    }
    if !drained && let Some(own) = nodes.iter().find(|n| text(n, "/metadata/name") == node.name()) {
        store
            .rebuilding
            .extend(["Ready", "Schedulable"].iter().filter_map(|kind| untrue(own, kind)).map(|why| format!("Longhorn's node {}: {why}", node.name())));
    }
    store
}

/// Who it belongs to, for people: the claim's namespace and name.
fn claim(volume: &Value) -> Option<String> {
    let (namespace, name) = (text(volume, "/status/kubernetesStatus/namespace"), text(volume, "/status/kubernetesStatus/pvcName"));
    (!name.is_empty()).then(|| format!("{namespace}/{name}"))
}
