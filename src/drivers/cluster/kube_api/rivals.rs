//! Others that act on the same node: whoever would fight us for it is named before anything is touched.
use super::{Api, DaemonSets, KubeNode};
use crate::model::{Blocker, Fault, FaultKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

#[derive(Debug, Default)]
pub struct Rivals {
    pub found: Vec<Blocker>,
    /// What could not be looked at.
    pub notes: Vec<String>,
}

/// Who takes the node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum By {
    Us,
    /// medik8s' operator for us: it keeps its own kind away, and whose NodeMaintenance there is the driver judges itself.
    Operator,
}

pub async fn rivals(api: &Api, node: &KubeNode, by: By, daemonsets: &DaemonSets) -> Result<Rivals, Fault> {
    let mut all = Rivals { found: on_the_node(node), notes: Vec::new() };
    let mut looks = vec![metal3(api, node).await, machine_checks(api, node).await, kured(api, node, daemonsets).await];
    if by == By::Us {
        looks.extend([health_checks(api, node).await, maintenances(api, node).await]);
    }
    for looked in looks {
        match looked {
            Ok(found) => all.found.extend(found),
            Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => all.notes.push(format!("not looked at: {f}")),
            Err(f) => return Err(f),
        }
    }
    Ok(all)
}

/// What the node itself shows.
fn on_the_node(node: &KubeNode) -> Vec<Blocker> {
    let mut found = Vec::new();
    let mut say = |object: &str, why: String| found.push(Blocker::new(object, why));
    if node.annotation("weave.works/kured-reboot-in-progress").is_some() {
        say("kured", format!("is rebooting {}; wait until it has", node.name()));
    }
    for taint in ["ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler"] {
        if node.taint(taint).is_some() {
            say(
                "cluster autoscaler",
                format!("has chosen {} for removal (taint {taint}); annotate it cluster-autoscaler.kubernetes.io/scale-down-disabled=true", node.name()),
            );
        }
    }
    for taint in ["karpenter.sh/disrupted", "karpenter.sh/disruption"] {
        if node.taint(taint).is_some() {
            say("Karpenter", format!("has chosen {} for removal (taint {taint}); annotate it karpenter.sh/do-not-disrupt=true", node.name()));
        }
    }
    if let Some(state) = node.annotation("machineconfiguration.openshift.io/state").filter(|s| *s != "Done") {
        say("Machine Config Operator", format!("is at work on {} (state {state}); wait until its pool is updated", node.name()));
    }
    if node.annotation("harvesterhci.io/drain-requested").is_some() || node.annotation("harvesterhci.io/maintain-status").is_some() {
        say("Harvester", format!("has {} in maintenance; disable that first", node.name()));
    }
    found
}

async fn all(api: &Api, group: &str, versions: &[&str], plural: &str) -> Result<Vec<Value>, Fault> {
    if !api.has_group(group).await? {
        return Ok(Vec::new());
    }
    let mut last = Ok(Vec::new());
    for version in versions {
        last = api.list::<Value>(&format!("list {plural}"), &format!("/apis/{group}/{version}/{plural}"), None).await.map(|(items, _)| items);
        // This version, or this kind of the group, is not served.
        if !matches!(&last, Err(f) if f.kind == FaultKind::Unable) {
            return last;
        }
    }
    // The group is there without this kind: so is nothing of it.
    last.or_else(|f| if f.kind == FaultKind::Unable { Ok(Vec::new()) } else { Err(f) })
}

fn name(object: &Value) -> String {
    let (space, name) = (object["metadata"]["namespace"].as_str(), object["metadata"]["name"].as_str().unwrap_or("?"));
    space.map_or(name.to_owned(), |space| format!("{space}/{name}"))
}
fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// It switches a host on again that we switch off, within a minute.
async fn metal3(api: &Api, node: &KubeNode) -> Result<Vec<Blocker>, Fault> {
    let hosts = all(api, "metal3.io", &["v1alpha1"], "baremetalhosts").await?;
    let mine = |host: &&Value| {
        let provider = node.0.spec.as_ref().and_then(|s| s.provider_id.as_deref()).unwrap_or_default();
        let (own, uid) = (host["metadata"]["name"].as_str().unwrap_or("?"), host["metadata"]["uid"].as_str().unwrap_or("?"));
        let machine = host["spec"]["consumerRef"]["name"].as_str();
        let of_machine = machine.is_some_and(|m| machine_of(node).is_some_and(|(_, name, _)| name == m));
        let nics = host["status"]["hardware"]["nics"].as_array();
        let address = nics.into_iter().flatten().filter_map(|n| n["ip"].as_str()).any(|ip| node.addresses().any(|a| a == ip));
        // metal3://NAMESPACE/HOST/MACHINE, or metal3://UID.
        let by_provider = provider.strip_prefix("metal3://").is_some_and(|p| p.split('/').any(|part| part == own || part == uid));
        by_provider || of_machine || address || own == node.name() || host["status"]["hardware"]["hostname"] == node.name()
    };
    let fights = |host: &&Value| {
        let paused =
            ["baremetalhost.metal3.io/detached", "baremetalhost.metal3.io/paused"].iter().any(|key| host["metadata"]["annotations"].get(*key).is_some());
        host["spec"]["online"] == true && !paused
    };
    let say = |host: &Value| {
        let (space, own) = (host["metadata"]["namespace"].as_str().unwrap_or("?"), host["metadata"]["name"].as_str().unwrap_or("?"));
        let pause = format!("kubectl -n {space} annotate baremetalhost {own} baremetalhost.metal3.io/detached=");
        Blocker::new(format!("Metal3 BareMetalHost {space}/{own}"), format!("would switch {} on again within a minute; pause it first: {pause}", node.name()))
    };
    Ok(hosts.iter().filter(mine).filter(fights).map(say).collect())
}

/// medik8s would take the silent node for a dead one and fence it.
async fn health_checks(api: &Api, node: &KubeNode) -> Result<Vec<Blocker>, Fault> {
    const EXCLUDED: &str = "remediation.medik8s.io/exclude-from-remediation";
    if node.label(EXCLUDED) == Some("true") {
        return Ok(Vec::new());
    }
    let checks = all(api, "remediation.medik8s.io", &["v1alpha1"], "nodehealthchecks").await?;
    let awake = |check: &&Value| check["spec"]["pauseRequests"].as_array().is_none_or(|p| p.is_empty());
    let hits = |check: &&Value| selects(&check["spec"]["selector"], node.0.metadata.labels.as_ref());
    let say = |check: &Value| {
        let pause = format!("kubectl label node {} {EXCLUDED}=true", node.name());
        Blocker::new(format!("NodeHealthCheck {}", name(check)), format!("would remediate {} while it is down; keep it away first: {pause}", node.name()))
    };
    Ok(checks.iter().filter(awake).filter(hits).map(say).collect())
}

/// Group, name and namespace of the Machine behind the node.
fn machine_of(node: &KubeNode) -> Option<(&'static str, String, String)> {
    if let Some((space, name)) = node.annotation("machine.openshift.io/machine").and_then(|m| m.split_once('/')) {
        return Some(("machine.openshift.io", name.to_owned(), space.to_owned()));
    }
    let (name, space) = (node.annotation("cluster.x-k8s.io/machine")?, node.annotation("cluster.x-k8s.io/cluster-namespace")?);
    Some(("cluster.x-k8s.io", name.to_owned(), space.to_owned()))
}

/// It would delete, or reboot, the machine while we work on it.
async fn machine_checks(api: &Api, node: &KubeNode) -> Result<Vec<Blocker>, Fault> {
    let Some((group, machine, space)) = machine_of(node) else { return Ok(Vec::new()) };
    let versions: &[&str] = if group == "cluster.x-k8s.io" { &["v1beta2", "v1beta1"] } else { &["v1beta1"] };
    let in_space = |o: &&Value| o["metadata"]["namespace"] == space.as_str();
    let machines = all(api, group, versions, "machines").await?;
    let Some(machine) = machines.iter().filter(in_space).find(|m| m["metadata"]["name"] == machine.as_str()) else { return Ok(Vec::new()) };
    let labels = serde_json::from_value(machine["metadata"]["labels"].clone()).ok();
    let checks = all(api, group, versions, "machinehealthchecks").await?;
    let awake = |check: &&Value| annotation(check, "cluster.x-k8s.io/paused").is_none();
    let say = |check: &Value| {
        let pause =
            format!("kubectl -n {space} annotate machinehealthchecks.{group} {} cluster.x-k8s.io/paused=", check["metadata"]["name"].as_str().unwrap_or("?"));
        let why = format!("would replace or reboot machine {} while {} is down; pause it first: {pause}", name(machine), node.name());
        Blocker::new(format!("MachineHealthCheck {}", name(check)), why)
    };
    Ok(checks.iter().filter(in_space).filter(awake).filter(|c| selects(&c["spec"]["selector"], labels.as_ref())).map(say).collect())
}

/// Another one's maintenance of this very node.
async fn maintenances(api: &Api, node: &KubeNode) -> Result<Vec<Blocker>, Fault> {
    let all = all(api, "nodemaintenance.medik8s.io", &["v1beta1"], "nodemaintenances").await?;
    let mine = all.iter().filter(|m| m["spec"]["nodeName"] == node.name());
    Ok(mine
        .map(|m| {
            let reason = m["spec"]["reason"].as_str().map(|r| format!(" ({r})")).unwrap_or_default();
            Blocker::new(
                format!("NodeMaintenance {}", name(m)),
                format!("has {} in maintenance{reason}; delete it first, or let the cluster be of kind node_maintenance", node.name()),
            )
        })
        .collect())
}

/// One at a time in the whole cluster: who holds its lock is about to reboot, or rebooting.
async fn kured(api: &Api, node: &KubeNode, daemonsets: &DaemonSets) -> Result<Vec<Blocker>, Fault> {
    let sets = daemonsets.fresh(api).await?;
    let locks = sets.iter().filter_map(|set| Some((set, annotation(set, "weave.works/kured-node-lock")?)));
    Ok(locks
        .filter(|(_, lock)| !lock.is_empty())
        .map(|(set, lock)| {
            let holder =
                serde_json::from_str::<Value>(lock).ok().and_then(|l| l["nodeID"].as_str().map(str::to_owned)).unwrap_or_else(|| "another node".into());
            let whose = if holder == node.name() { "this node".to_owned() } else { format!("node {holder}") };
            let (space, own) = (set["metadata"]["namespace"].as_str().unwrap_or("?"), set["metadata"]["name"].as_str().unwrap_or("?"));
            let free = format!("kubectl -n {space} annotate daemonset {own} weave.works/kured-node-lock-");
            Blocker::new(format!("kured {space}/{own}"), format!("holds its reboot lock for {whose}; wait until that reboot is over (a stale lock: {free})"))
        })
        .collect())
}

/// An absent selector selects nothing, an empty one everything.
fn selects(selector: &Value, labels: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    let Ok(selector) = serde_json::from_value::<LabelSelector>(selector.clone()) else { return false };
    super::budget::matches(&selector, labels)
}
