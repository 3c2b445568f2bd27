//! What the portal's health checks say of the storage that keeps data on a node: Open vStorage's ALBA and Arakoon.
use super::OpenvCloud;
use crate::model::{DataStore, Fault, FaultKind};
use serde_json::Value;

const STORAGE: [&str; 5] = ["alba", "arakoon", "ovs", "vpool", "storage"];

impl OpenvCloud {
    /// ALBA's replicas and Arakoon's majority bear one node at a time: only while the others are well is that node this one.
    pub async fn storage(&self, name: &str) -> Result<Vec<DataStore>, Fault> {
        let nodes = self.nodes().await?;
        let keeps = |roles: &[String]| roles.iter().any(|r| ["storagedriver", "storagenode", "storage"].contains(&r.as_str()));
        let Some(node) = nodes.iter().find(|n| n.name == name) else {
            return Err(Fault::new(FaultKind::Unable, format!("{} has no node {name}", self.portal.base)));
        };
        if !keeps(&node.roles) {
            return Ok(Vec::new());
        }
        let mut refuses = Vec::new();
        let mut asked = 0;
        for other in nodes.iter().filter(|n| n.id != node.id && n.gid == node.gid && keeps(&n.roles)) {
            asked += 1;
            if other.status.as_deref().is_some_and(|s| s != "ENABLED") || other.active == Some(false) {
                refuses.push(format!("{} is out of service too", other.name));
                continue;
            }
            match self.portal.get("system/health/getDetailedStatus", &[("nid", &other.id.to_string())]).await {
                Ok(said) => refuses.extend(judge(&said).into_iter().map(|why| format!("{}: {why}", other.name))),
                Err(failure) => refuses.push(format!("{}: its health cannot be read: {}", other.name, failure.fault)),
            }
        }
        if asked == 0 {
            refuses.push("no other node keeps data".into());
        }
        Ok(vec![DataStore { kind: "alba".into(), name: format!("Open vStorage of grid {}", node.gid), refuses, rebuilding: Vec::new() }])
    }
}

/// Every message about storage that is not OK; none at all is no word either.
fn judge(said: &Value) -> Vec<String> {
    let mut found = Vec::new();
    messages("", said, &mut found);
    let storage: Vec<&(String, String, String)> =
        found.iter().filter(|(category, _, text)| STORAGE.iter().any(|s| category.to_lowercase().contains(s) || text.to_lowercase().contains(s))).collect();
    if storage.is_empty() {
        return vec!["its health checks say nothing about storage".into()];
    }
    let bad = storage.iter().filter(|(_, status, _)| !["OK", "SKIPPED"].contains(&status.as_str()));
    bad.map(|(category, status, text)| format!("{category}: {status}: {text}")).collect()
}

/// The shape has changed between versions: whatever has a status and a message is one, in the category it stands under.
fn messages(category: &str, value: &Value, into: &mut Vec<(String, String, String)>) {
    match value {
        Value::Array(all) => all.iter().for_each(|v| messages(category, v, into)),
        Value::Object(row) => {
            let own = row.get("category").or(row.get("name")).and_then(Value::as_str).unwrap_or(category);
            let status = ["status", "state"].iter().find_map(|k| row.get(*k)?.as_str());
            let text = ["message", "msg"].iter().find_map(|k| row.get(*k)?.as_str());
            if let (Some(status), Some(text)) = (status, text) {
                into.push((own.to_owned(), status.to_uppercase(), text.to_owned()));
            }
            for (key, inner) in row {
                messages(if inner.is_array() || inner.is_object() { key_or(key, own) } else { own }, inner, into);
            }
        }
        _ => {}
    }
}
/// Wrappers name nothing.
fn key_or<'a>(key: &'a str, own: &'a str) -> &'a str {
    if ["data", "messages", "results", "items"].contains(&key) || key.chars().all(|c| c.is_ascii_digit()) { own } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn storage_that_is_not_well_is_named_and_silence_is_no_yes() {
        let ok = json!({ "7": { "OVS Services": { "data": [{ "status": "OK", "message": "alba proxy running" }] }, "CPU": { "data": [{ "status": "ERROR", "message": "hot" }] } } });
        assert!(judge(&ok).is_empty(), "{:?}", judge(&ok));
        let bad =
            json!([{ "category": "Arakoon", "messages": [{ "status": "ERROR", "message": "arakoon node is catching up" }, { "state": "OK", "msg": "x" }] }]);
        assert_eq!(judge(&bad), ["Arakoon: ERROR: arakoon node is catching up"]);
        for silent in [json!({}), json!([]), json!(null), json!({ "CPU": [{ "status": "OK", "message": "cool" }] })] {
            assert_eq!(judge(&silent).len(), 1, "{silent}");
        }
        assert_eq!(judge(&json!({ "Alba": [{ "status": "EXPIRED", "message": "not run" }] })).len(), 1);
    }
}
