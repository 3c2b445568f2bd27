//! One eviction, and what each answer of the API server means (reference/kubernetes-family: section 4.6).
use super::{Api, Budget, Call, answer, budgets, matching, pods};
use crate::model::{Fault, FaultKind};
use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kube::core::response::Status;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The pod that was seen: one that has taken its name since then is another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Target {
    pub fn of(pod: &Pod) -> Target {
        let text = |v: &Option<String>| v.clone().unwrap_or_default();
        Target { namespace: text(&pod.metadata.namespace), name: text(&pod.metadata.name), uid: text(&pod.metadata.uid) }
    }
}

pub async fn evict(api: &Api, target: &Target, node: &str) -> Result<(), Fault> {
    post(api, target, node, false).await
}

/// What would the server answer? Its webhooks are asked too; nothing is changed.
pub async fn dry_run(api: &Api, target: &Target, node: &str) -> Result<(), Fault> {
    post(api, target, node, true).await
}

async fn post(api: &Api, target: &Target, node: &str, dry: bool) -> Result<(), Fault> {
    let what = format!("evict {target}");
    let path = format!("/api/v1/namespaces/{}/pods", target.namespace);
    // kube's own `evict` misspells deleteOptions, and the server would ignore the precondition.
    let eviction = Eviction {
        metadata: ObjectMeta { name: Some(target.name.clone()), namespace: Some(target.namespace.clone()), ..ObjectMeta::default() },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid: Some(target.uid.clone()), resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    let mut body = json!(eviction);
    body["apiVersion"] = json!(api.evictions().await?);
    let (name, sub) = (target.name.as_str(), "eviction");
    let call = if dry { Call::DryRun { path: &path, name, sub, body } } else { Call::CreateSub { path: &path, name, sub, body } };
    let reply = api.send(&what, call).await?;
    let status = reply.status();
    match meaning(reply.code, &status) {
        Meaning::Accepted => Ok(()),
        // Its place may have been taken: then the pod we meant is gone.
        Meaning::Conflict => match find(api, target, node).await? {
            None => Ok(()),
            Some(_) => Err(unwilling(&what, "it changed meanwhile", &status)),
        },
        Meaning::Unobserved => Err(unwilling(&what, "its PodDisruptionBudget has only just been changed, the API server still counts", &status)),
        Meaning::Budget => Err(budget_says_no(api, &what, target, node, &status).await),
        Meaning::TwoBudgets => {
            let covering = covering(api, target, node).await;
            let names: Vec<_> = covering.iter().map(|b| format!("{}/{}", b.namespace, b.name)).collect();
            let by = if names.is_empty() { "more than one PodDisruptionBudget".into() } else { names.join(" and ") };
            Err(unwilling(&what, &format!("covered by more than one PodDisruptionBudget: {by}"), &status).next("their owner must leave one budget per pod"))
        }
        Meaning::Overload => Err(unwilling(&what, "the API server is overloaded or stopping", &status)),
        Meaning::Webhook => Err(webhook(&what, &status)),
        Meaning::Lagging => Err(unwilling(&what, "the PodDisruptionBudget controller lags behind", &status)),
        Meaning::NamespaceTerminating => Err(unwilling(&what, &format!("namespace {} is being deleted", target.namespace), &status)),
        // A token that has run out is read anew before the next request; a second refusal in a row is meant.
        Meaning::Refused if reply.code == 401 && api.refused_once() => Err(unwilling(&what, "our credentials have expired, they are read anew", &status)),
        Meaning::Refused => Err(answer::refused(&what, &status, true)),
    }
}

#[derive(Debug, PartialEq)]
enum Meaning {
    Accepted,
    Conflict,
    Budget,
    /// The controller has not yet looked at the newest version of the budget.
    Unobserved,
    TwoBudgets,
    Overload,
    Webhook,
    Lagging,
    NamespaceTerminating,
    /// No more than its code says.
    Refused,
}

fn meaning(code: u16, status: &Status) -> Meaning {
    let causes = status.details.as_ref().map(|d| d.causes.as_slice()).unwrap_or_default();
    let caused = |reason: &str| causes.iter().any(|c| c.reason == reason);
    let text = &status.message;
    match code {
        200..300 => Meaning::Accepted,
        404 => Meaning::Accepted,
        409 => Meaning::Conflict,
        _ if answer::from_webhook(text) => Meaning::Webhook,
        429 if caused("DisruptionBudget") && causes.iter().any(|c| c.message.contains("still being processed")) => Meaning::Unobserved,
        429 if caused("DisruptionBudget") => Meaning::Budget,
        429 => Meaning::Overload,
        403 if caused("NamespaceTerminating") => Meaning::NamespaceTerminating,
        403 if text.contains("disruptions allowed is negative") || text.contains("DisruptedPods map too big") => Meaning::Lagging,
        500 if text.contains("more than one PodDisruptionBudget") => Meaning::TwoBudgets,
        _ => Meaning::Refused,
    }
}

fn unwilling(what: &str, why: &str, status: &Status) -> Fault {
    let fault = Fault::new(FaultKind::Unwilling, format!("{what}: {why}"));
    if status.message.is_empty() { fault } else { fault.cause(&status.message) }
}

/// `admission webhook "x" denied the request: …`, or `failed calling webhook "x": …`: one says no, the other is not there.
fn webhook(what: &str, status: &Status) -> Fault {
    let name = status.message.split('"').nth(1).unwrap_or("?");
    match status.message.contains("failed calling webhook") {
        true => unwilling(what, &format!("admission webhook {name} does not answer"), status).next(format!(
            "get the pods behind it Ready again: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml | grep -A9 {name}"
        )),
        false => unwilling(what, &format!("admission webhook {name} refuses it"), status),
    }
}

async fn budget_says_no(api: &Api, what: &str, target: &Target, node: &str, status: &Status) -> Fault {
    let said: Vec<&str> = status.details.iter().flat_map(|d| &d.causes).map(|c| c.message.as_str()).collect();
    let said = said.join("; ");
    // The numbers of now, for the person who must act; the refusal stands without them.
    let covering = covering(api, target, node).await;
    let failed = said.contains("failed sync");
    let fault = match covering.first() {
        // No budget frees itself from this: its owner has to act.
        _ if failed => Fault::new(FaultKind::Unwilling, format!("{what}: its PodDisruptionBudget cannot be computed"))
            .next(format!("its owner gives the budget an integer minAvailable, or the pods an owner with a scale: kubectl -n {} get pdb", target.namespace)),
        Some(budget) => Fault::new(FaultKind::Unwilling, format!("{what}: {}", budget.state())).next(budget.advice()),
        None => Fault::new(FaultKind::Unwilling, format!("{what}: its PodDisruptionBudget does not allow it now"))
            .next(format!("ask its owner: kubectl -n {} get pdb", target.namespace)),
    };
    if said.is_empty() { fault.cause(&status.message) } else { fault.cause(said) }
}

/// The pod that was meant, if it is still on the node.
async fn find(api: &Api, target: &Target, node: &str) -> Result<Option<Pod>, Fault> {
    let path = format!("/api/v1/namespaces/{}/pods", target.namespace);
    let found = api.get::<Pod>(&format!("read pod {target}"), &path, &target.name).await?;
    let same = |pod: &Pod| {
        pod.metadata.uid.as_deref() == Some(target.uid.as_str()) && pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node) && !pods::leaving(pod)
    };
    Ok(found.map(|(pod, _)| pod).filter(same))
}

/// The budgets over the pod. Only words hang on it: what cannot be read is left out.
async fn covering(api: &Api, target: &Target, node: &str) -> Vec<Budget> {
    let Ok(Some(pod)) = find(api, target, node).await else { return Vec::new() };
    let Ok(all) = budgets(api).await else { return Vec::new() };
    matching(&all, pods::namespace(&pod), pod.metadata.labels.as_ref()).into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check(code: u16, body: Value) -> Meaning {
        meaning(code, &serde_json::from_value(body).unwrap())
    }

    #[test]
    fn every_answer_of_the_table_is_told_apart() {
        let budget = json!({ "message": "Cannot evict pod as it would violate the pod's disruption budget.", "reason": "TooManyRequests",
            "details": { "causes": [{ "reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 2 currently" }] } });
        let terminating = json!({ "reason": "Forbidden", "details": { "causes": [{ "reason": "NamespaceTerminating" }] } });
        let rows = [
            (201, json!({ "status": "Success" }), Meaning::Accepted),
            (404, json!({ "reason": "NotFound" }), Meaning::Accepted),
            (409, json!({ "reason": "Conflict" }), Meaning::Conflict),
            (429, budget, Meaning::Budget),
            (429, json!({ "message": "too many requests, please try again later" }), Meaning::Overload),
            (429, json!({ "message": "admission webhook \"x\" denied the request: eviction triggered" }), Meaning::Webhook),
            (403, terminating, Meaning::NamespaceTerminating),
            (403, json!({ "message": "poddisruptionbudgets \"a\" is forbidden: pdb disruptions allowed is negative" }), Meaning::Lagging),
            (403, json!({ "message": "pods \"a\" is forbidden: User \"b\" cannot create resource" }), Meaning::Refused),
            (
                500,
                json!({ "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support." }),
                Meaning::TwoBudgets,
            ),
            (500, json!({ "message": "Internal error occurred: failed calling webhook \"x\"" }), Meaning::Webhook),
            (504, json!({ "reason": "Timeout", "message": "couldn't update PodDisruptionBudget" }), Meaning::Refused),
        ];
        for (code, body, means) in rows {
            assert_eq!(check(code, body.clone()), means, "{code} {body}");
        }
    }
}
