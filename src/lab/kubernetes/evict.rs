//! The eviction subresource, decided in the order of the real server: precondition by uid, phase, number of budgets, health, budget.
use super::{
    Server,
    api::{Refused, failure},
    control, kubevirt,
    store::{Key, pod},
};
use serde_json::{Value, json};

pub fn evict(server: &Server, key: &Key, body: &Value, dry: bool) -> Result<Value, Refused> {
    if body["metadata"]["name"].as_str().is_some_and(|n| n != key.name) {
        return Err(failure(400, "BadRequest", "name in URL does not match name in Eviction object"));
    }
    let mut store = server.store();
    if store.get(&Key::new("namespaces", "", &*key.namespace)).is_some_and(|n| n["status"]["phase"] == "Terminating") {
        let text = format!("unable to create new content in namespace {0} because it is being terminated", key.namespace);
        let mut refused = failure(403, "Forbidden", &text);
        refused.body["details"] = json!({ "causes": [{ "reason": "NamespaceTerminating", "message": format!("namespace {} is being terminated", key.namespace), "field": "metadata.namespace" }] });
        return Err(refused);
    }
    // Counted afresh: two evictions in one tick must not both spend the last disruption.
    control::budgets(&mut store);
    let p = store.get(key).ok_or_else(|| failure(404, "NotFound", &format!("pods \"{}\" not found", key.name)))?;
    let (wanted, uid) = (&body["deleteOptions"]["preconditions"]["uid"], &p["metadata"]["uid"]);
    if !wanted.is_null() && wanted != uid {
        let text = format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", wanted.as_str().unwrap_or("?"), uid.as_str().unwrap_or("?"));
        return Err(failure(409, "Conflict", &format!("Operation cannot be fulfilled on pods \"{}\": {text}", key.name)));
    }
    kubevirt::intercept(server, &mut store, key, dry)?;
    let p = store.get(key).ok_or_else(|| failure(404, "NotFound", &format!("pods \"{}\" not found", key.name)))?;
    if !pod::leaving(p) && !matches!(pod::phase(p), "Pending" | "Succeeded" | "Failed") {
        let covers = |k: &Key, b: &Value| k.namespace == key.namespace && pod::selected(p, &b["spec"]["selector"]);
        let covering: Vec<_> = store.all("poddisruptionbudgets").filter(|(k, b)| covers(k, b)).collect();
        match covering.as_slice() {
            [] => {}
            [(k, budget)] => within(k, budget, pod::ready(p))?,
            _ => return Err(failure(500, "", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")),
        }
    }
    let node = pod::node(p).to_owned();
    let grace = body["deleteOptions"]["gracePeriodSeconds"].as_u64();
    if !dry {
        server.rack.api_write(server.machine(&node), &format!("evict {}/{}", key.namespace, key.name));
        control::terminate(&mut store, key, grace);
        control::budgets(&mut store);
    }
    Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }))
}

fn within(key: &Key, budget: &Value, ready: bool) -> Result<(), Refused> {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    if !ready && (always || (healthy >= desired && desired > 0)) {
        return Ok(());
    }
    if number("disruptionsAllowed") > 0 {
        return Ok(());
    }
    let mut refused = failure(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");
    let failed = budget["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["reason"] == "SyncFailed").map(|c| c["message"].clone());
    let text = format!("The disruption budget {} needs {desired} healthy pods and has {healthy} currently", key.name);
    let text = failed.map_or(text, |why| {
        format!("The disruption budget {} does not allow evicting pods currently because it failed sync: {}", key.name, why.as_str().unwrap_or("?"))
    });
    refused.body["details"] = json!({ "causes": [{ "reason": "DisruptionBudget", "message": text }] });
    Err(refused)
}
