//! An eviction asked about without doing it: the API server runs every webhook and budget, and stores nothing.
use super::{Api, Call, Target, answer::refused, api::Reply};
use crate::model::Fault;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// Names the pod by its uid: one that has taken its name since then is another.
pub async fn eviction_body(api: &Api, target: &Target) -> Result<Value, Fault> {
    Ok(json!({ "apiVersion": api.evictions().await?, "kind": "Eviction", "metadata": { "name": target.name, "namespace": target.namespace },
        "deleteOptions": { "preconditions": { "uid": target.uid } } }))
}

/// The answer, whatever it is; only a refusal of ourselves is a fault.
pub async fn dry_run_eviction(api: &Api, pod: &Pod) -> Result<Reply, Fault> {
    let target = Target::of(pod);
    let what = format!("ask whether {target} may be evicted");
    let body = eviction_body(api, &target).await?;
    let path = format!("/api/v1/namespaces/{}/pods", target.namespace);
    let reply = api.send(&what, Call::DryRun { path: &path, name: &target.name, sub: "eviction", body }).await?;
    let status = reply.status();
    let by_webhook = status.message.contains("admission webhook");
    match reply.code {
        401 => Err(refused(&what, &status, false)),
        403 if !by_webhook && status.details.is_none_or(|d| d.causes.is_empty()) && status.message.contains("cannot create resource") => {
            Err(refused(&what, &reply.status(), false))
        }
        _ => Ok(reply),
    }
}
