//! Merge patches, plain (RFC 7396) and strategic: the latter joins lists of conditions by type, all that differs for the objects here.
use serde_json::{Value, json};

pub fn merge(into: &mut Value, patch: Value, strategic: bool) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        let Some(object) = into.as_object_mut() else { return };
        match value {
            Value::Null => drop(object.remove(&key)),
            Value::Array(items) if strategic && key == "conditions" => join(object.entry(key).or_insert(json!([])), items),
            value @ Value::Object(_) => merge(object.entry(key).or_insert(json!({})), value, strategic),
            value => drop(object.insert(key, value)),
        }
    }
}

fn join(into: &mut Value, items: Vec<Value>) {
    let Some(list) = into.as_array_mut() else { return };
    for item in items {
        match list.iter_mut().find(|c| c["type"] == item["type"]) {
            Some(there) => merge(there, item, true),
            None => list.push(item),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_takes_away_and_conditions_join_by_type() {
        let mut node =
            json!({ "spec": { "unschedulable": true, "taints": [1, 2] }, "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "x" }] } });
        let patch = json!({ "spec": { "unschedulable": null, "taints": [3] }, "metadata": { "annotations": { "a": "b", "c": null } },
            "status": { "conditions": [{ "type": "Ready", "status": "False" }, { "type": "Drained", "status": "True" }] } });
        merge(&mut node, patch, true);
        let wanted = json!({ "spec": { "taints": [3] }, "metadata": { "annotations": { "a": "b" } },
            "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": "x" }, { "type": "Drained", "status": "True" }] } });
        assert_eq!(node, wanted);
    }
}
