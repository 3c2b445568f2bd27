//! Ceph run by Rook: the CephCluster's own health, the OSDs and monitors of the node, and whether another failure domain is in maintenance.
use super::text;
use crate::{
    drivers::cluster::kube_api::{Api, KubeNode},
    model::{DataStore, Fault, Timestamp},
};
use serde_json::Value;

pub const GROUP: &str = "ceph.rook.io";

/// Warnings that say nothing about data.
const HARMLESS: [&str; 4] = ["RECENT_CRASH", "RECENT_MGR_MODULE_CRASH", "TELEMETRY_CHANGED", "AUTH_INSECURE_GLOBAL_ID_RECLAIM_ALLOWED"];
/// What a drained node of ours causes by itself: its OSDs and its monitor wait for it.
const OF_OUR_DRAIN: [&str; 5] = ["OSD_DOWN", "OSD_HOST_DOWN", "PG_DEGRADED", "MON_DOWN", "OSD_FLAGS"];
/// Data is being made redundant again.
const REBUILDS: [&str; 4] = ["PG_DEGRADED", "OBJECT_MISPLACED", "PG_BACKFILL_FULL", "PG_RECOVERY_FULL"];
/// Rook looks every minute; an operator that is dead looks no more.
const LOOKED_S: i64 = 180;

pub async fn stores(api: &Api, node: &KubeNode) -> Result<Vec<DataStore>, Fault> {
    let (clusters, now) = api.list::<Value>("list CephClusters", &format!("/apis/{GROUP}/v1/cephclusters"), None).await?;
    let mut found = Vec::new();
    for cluster in clusters {
        let namespace = text(&cluster, "/metadata/namespace");
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
        let (daemons, _) = api.list::<Value>(&format!("list the daemons of Ceph in {namespace}"), &path, None).await?;
        let mut here: Vec<&Value> = daemons.iter().filter(|d| on(d, node)).collect();
        here.sort_by_key(|d| text(d, "/metadata/name"));
        if here.is_empty() {
            continue;
        }
        let state = "/api/v1/namespaces/".to_owned() + namespace + "/configmaps";
        let map = api.get::<Value>("read which failure domain Rook drains", &state, "rook-ceph-pdbstatemap").await?;
        let draining = map.as_ref().map(|(m, _)| text(m, "/data/draining-failure-domain")).unwrap_or_default();
        found.push(judge(&cluster, &here, draining, node, now));
    }
    Ok(found)
}

/// Rook's crush name of a host has dashes for dots.
fn on(deployment: &Value, node: &KubeNode) -> bool {
    let app = text(deployment, "/metadata/labels/app");
    let pinned = text(deployment, "/spec/template/spec/nodeSelector/kubernetes.io~1hostname");
    let names = names(node);
    let crush = text(deployment, "/metadata/labels/topology-location-host");
    matches!(app, "rook-ceph-osd" | "rook-ceph-mon") && (names.iter().any(|n| n == pinned) || (!crush.is_empty() && names.iter().any(|n| n == crush)))
}

fn names(node: &KubeNode) -> Vec<String> {
    let own = [Some(node.name()), node.label("kubernetes.io/hostname")].into_iter().flatten();
    own.flat_map(|n| [n.to_owned(), n.replace('.', "-")]).collect()
}

fn judge(cluster: &Value, here: &[&Value], draining: &str, node: &KubeNode, now: Option<Timestamp>) -> DataStore {
    let (namespace, name) = (text(cluster, "/metadata/namespace"), text(cluster, "/metadata/name"));
    let mut store = DataStore { kind: "ceph".into(), name: format!("{namespace}/{name}"), refuses: Vec::new(), rebuilding: Vec::new() };
    // Once we have drained the node its OSDs are down, and Ceph says so: that is no second failure.
    let drained = node.unschedulable();
    let ours = drained && (draining.is_empty() || names(node).iter().chain(&node.label_values()).any(|n| n == draining));
    if !draining.is_empty() && !ours {
        store.refuses.push(format!("Rook drains failure domain {draining} at this moment"));
    }
    let health = text(cluster, "/status/ceph/health");
    if !matches!(health, "HEALTH_OK" | "HEALTH_WARN") {
        store.refuses.push(if health.is_empty() { "the CephCluster does not say how it is".into() } else { format!("its health is {health}") });
    }
    if let (Some(now), Ok(looked)) = (now, text(cluster, "/status/ceph/lastChecked").parse::<Timestamp>())
        && now.as_second() - looked.as_second() > LOOKED_S
    {
        store.refuses.push(format!("the Rook operator has not looked at it for {} s", now.as_second() - looked.as_second()));
    }
    for (key, detail) in cluster.pointer("/status/ceph/details").and_then(Value::as_object).into_iter().flatten() {
        if HARMLESS.contains(&key.as_str()) || (ours && OF_OUR_DRAIN.contains(&key.as_str()) && (key != "MON_DOWN" || one_down(detail))) {
            continue;
        }
        let said = format!("{key}: {}", detail["message"].as_str().unwrap_or("no details"));
        if REBUILDS.contains(&key.as_str()) { store.rebuilding.push(said) } else { store.refuses.push(said) }
    }
    if !drained {
        for daemon in here {
            let ready = daemon["status"]["readyReplicas"].as_u64().unwrap_or(0);
            if ready < daemon["spec"]["replicas"].as_u64().unwrap_or(1) {
                store.rebuilding.push(format!("{} is not ready", text(daemon, "/metadata/name")));
            }
        }
    }
    store
}

/// `1/3 mons down, quorum a,b`.
fn one_down(detail: &Value) -> bool {
    detail["message"].as_str().is_some_and(|m| m.starts_with("1/") && !m.starts_with("1/2") && !m.starts_with("1/1"))
}
