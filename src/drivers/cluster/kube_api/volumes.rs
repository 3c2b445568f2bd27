//! Volumes that are still attached to a node whose pods have left: power off now, and they could not be attached elsewhere for minutes.
use super::{Api, KubeNode, pods};
use crate::model::{Blocker, Fault, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use std::collections::BTreeSet;

const ATTACHMENTS: &str = "/apis/storage.k8s.io/v1/volumeattachments";

/// `staying`: pods that belong to the node, whose volumes stay with it.
pub async fn attached(api: &Api, node: &KubeNode, staying: &[&Pod]) -> Result<Vec<Blocker>, Fault> {
    // No field selector for the node's name exists: the server sends all of them.
    let (all, now) = api.list::<Value>("list VolumeAttachments", ATTACHMENTS, None).await?;
    let mut here: Vec<&Value> = all.iter().filter(|a| a["spec"]["nodeName"] == node.name()).collect();
    if here.is_empty() {
        return Ok(Vec::new());
    }
    let kept = volumes_of(api, staying).await?;
    here.retain(|a| !kept.contains(volume(a)));
    let mut blockers = Vec::new();
    for attachment in here {
        let name = volume(attachment);
        let pv = api.get::<Value>(&format!("read PersistentVolume {name}"), "/api/v1/persistentvolumes", name).await.ok().flatten();
        let claim = pv.as_ref().map(|(pv, _)| &pv["spec"]["claimRef"]).filter(|c| c.is_object());
        let of = claim.map(|c| format!(" ({}/{})", text(&c["namespace"]), text(&c["name"]))).unwrap_or_default();
        blockers.push(Blocker::new(format!("volume {name}{of}"), why(attachment, now)));
    }
    Ok(blockers)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn volume(attachment: &Value) -> &str {
    text(&attachment["spec"]["source"]["persistentVolumeName"])
}

fn why(attachment: &Value, now: Option<Timestamp>) -> String {
    let (name, driver) = (text(&attachment["metadata"]["name"]), text(&attachment["spec"]["attacher"]));
    let look = format!("look at the controller of {driver}: kubectl describe volumeattachment {name}");
    let error = attachment["status"]["detachError"]["message"].as_str().map(|e| format!(": {e}")).unwrap_or_default();
    match attachment["metadata"]["deletionTimestamp"].as_str() {
        Some(since) => {
            let since = since.parse::<Timestamp>().ok();
            let late = now.zip(since).map(|(now, since)| now.as_second() - since.as_second()).filter(|late| *late > pods::PATIENCE_S);
            let late = late.map(|late| format!(" for more than {}", pods::roughly(late))).unwrap_or_default();
            format!("detaching{late}{error}; {look}")
        }
        None => format!("still attached to the node{error}; {look}"),
    }
}

async fn volumes_of(api: &Api, staying: &[&Pod]) -> Result<BTreeSet<String>, Fault> {
    let mut kept = BTreeSet::new();
    for pod in staying {
        for claim in pods::volumes(pod).filter_map(|v| v.persistent_volume_claim.as_ref()) {
            let path = format!("/api/v1/namespaces/{}/persistentvolumeclaims", pods::namespace(pod));
            let found = api.get::<Value>(&format!("read claim {}", claim.claim_name), &path, &claim.claim_name).await?;
            kept.extend(found.and_then(|(claim, _)| claim["spec"]["volumeName"].as_str().map(str::to_owned)));
        }
    }
    Ok(kept)
}
