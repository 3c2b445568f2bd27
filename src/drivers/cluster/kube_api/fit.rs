//! Is the node after its boot what it was before? The picture from before stands in an annotation on the node itself, so that a crash of ours loses nothing.
use super::{KubeNode, pods, quantity};
use crate::model::{Boot, marks};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub boot: Option<Boot>,
    pub allocatable: BTreeMap<String, String>,
    /// CSI drivers that were registered.
    #[serde(default)]
    pub csi: BTreeSet<String>,
    /// By DaemonSet, or by static pod: which containers ran. Only ever compared for change: nodes' clocks are not trusted.
    pub pods: BTreeMap<String, String>,
}

pub fn csi_drivers(csi_node: &Value) -> BTreeSet<String> {
    csi_node["spec"]["drivers"].as_array().into_iter().flatten().filter_map(|d| d["name"].as_str().map(str::to_owned)).collect()
}

/// The boot in which it was taken, as its mark says: the same one now means that it was never reset since.
pub fn boot_when_taken(node: &KubeNode) -> Option<Boot> {
    serde_json::from_str::<Picture>(node.annotation(marks::WAS_FIT)?).ok()?.boot
}

impl Picture {
    pub fn take(node: &KubeNode, here: &[Pod], csi: BTreeSet<String>) -> Picture {
        let own = |pod: &Pod| pods::belongs(pod).filter(|_| !pods::leaving(pod)).map(|who| (who, containers(pod)));
        Picture { boot: node.boot(), allocatable: allocatable(node), csi, pods: here.iter().filter_map(own).collect() }
    }

    /// What is missing or smaller than before, in words. `known`: the DaemonSets there are now; one that was deleted meanwhile is not missed.
    pub fn missing(&self, node: &KubeNode, here: &[Pod], csi: &BTreeSet<String>, known: Option<&BTreeSet<String>>) -> Vec<String> {
        let mut wrong = node.starting();
        for (who, before) in &self.pods {
            let daemon = who.strip_prefix("DaemonSet ");
            if daemon.is_some_and(|d| known.is_some_and(|k| !k.contains(d))) {
                continue;
            }
            match here.iter().rfind(|p| pods::belongs(p).as_ref() == Some(who) && !pods::leaving(p)) {
                None => wrong.push(format!("{who} has no pod here")),
                Some(pod) if containers(pod) == *before => wrong.push(format!("{who}: pod {} has not started since the boot", pods::name(pod))),
                Some(pod) if !pods::ready(pod) => wrong.push(format!("{who}: pod {} is not Ready", pods::name(pod))),
                Some(_) => {}
            }
        }
        wrong.extend(self.csi.difference(csi).map(|driver| format!("CSI driver {driver} is not registered again")));
        let now = allocatable(node);
        for (what, before) in &self.allocatable {
            let has = now.get(what).map(String::as_str).unwrap_or("0");
            let (Some(b), Some(h)) = (quantity(before), quantity(has)) else { continue };
            // The kernel keeps a little more or less at every boot; a lost DIMM or disk is more than that.
            let slack = if matches!(what.as_str(), "memory" | "ephemeral-storage") { b * 0.01 } else { 0.0 };
            if h + slack < b {
                wrong.push(format!("allocatable {what} is {has}, before the reboot {before}"));
            }
        }
        wrong
    }
}

fn allocatable(node: &KubeNode) -> BTreeMap<String, String> {
    node.0.status.iter().flat_map(|s| s.allocatable.iter().flatten()).map(|(k, v)| (k.clone(), v.0.clone())).collect()
}

fn containers(pod: &Pod) -> String {
    let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    let started = |c: &k8s_openapi::api::core::v1::ContainerStatus| {
        let running = c.state.as_ref().and_then(|s| s.running.as_ref()).and_then(|r| r.started_at.as_ref()).map(|t| t.0.to_string());
        format!("{}.{}", c.restart_count, running.unwrap_or_default())
    };
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    format!("{}:{}", uid.get(..8).unwrap_or(uid), statuses.map(started).collect::<Vec<_>>().join(","))
}
