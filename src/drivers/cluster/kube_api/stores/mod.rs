//! The stores that a cluster itself runs and that keep data on a node: found by their API groups, judged by their own resources.
use super::{Api, KubeNode};
use crate::model::{DataStore, Fault, FaultKind};
use serde_json::Value;

mod longhorn;
mod rook;

/// Reads only. A store that is there and cannot be read is one of which nobody can say that it bears the loss.
pub async fn stores(api: &Api, node: &str) -> Result<Vec<DataStore>, Fault> {
    let (rook, longhorn) = (api.has_group(rook::GROUP).await?, api.has_group(longhorn::GROUP).await?);
    if !rook && !longhorn {
        return Ok(Vec::new());
    }
    let (kube, _) = KubeNode::read(api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
    let mut found = Vec::new();
    if rook {
        found.extend(readable("ceph", "rook", rook::stores(api, &kube).await)?);
    }
    if longhorn {
        found.extend(readable("longhorn", "longhorn", longhorn::stores(api, &kube).await)?);
    }
    Ok(found)
}

fn readable(kind: &str, name: &str, read: Result<Vec<DataStore>, Fault>) -> Result<Vec<DataStore>, Fault> {
    match read {
        Err(fault) if matches!(fault.kind, FaultKind::Denied | FaultKind::Unable | FaultKind::Invalid) => {
            Ok(vec![DataStore { kind: kind.into(), name: name.into(), refuses: vec![format!("it cannot be read: {fault}")], rebuilding: Vec::new() }])
        }
        read => read,
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `Ready is False (KubernetesNodeCordoned)`, unless that condition is true.
fn untrue(object: &Value, kind: &str) -> Option<String> {
    let condition = object["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == kind)?;
    let reason = condition["reason"].as_str().filter(|r| !r.is_empty()).map(|r| format!(" ({r})")).unwrap_or_default();
    (condition["status"] != "True").then(|| format!("{kind} is {}{reason}", condition["status"].as_str().unwrap_or("?")))
}
