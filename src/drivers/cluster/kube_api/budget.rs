//! PodDisruptionBudgets: which pods they cover, and what they allow now.
use super::{
    Api,
    watch::{Watched, kept},
};
use crate::model::{Fault, FaultKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Only what is read: `policy/v1` and the `v1beta1` of old clusters have these fields alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    pub namespace: String,
    pub name: String,
    selector: Option<LabelSelector>,
    /// In `v1beta1` an empty selector covers nothing, in `v1` every pod of the namespace.
    empty_covers_all: bool,
    pub current: i64,
    pub desired: i64,
    pub expected: i64,
    pub allowed: i64,
    /// `AlwaysAllow`: pods that are not Ready may always go.
    pub unready_may_go: bool,
    /// Why the controller could not compute it.
    pub sync_failed: Option<String>,
    /// Its controller has not looked at its newest version: its numbers mean nothing yet, and the server lets nothing go.
    pub uncounted: bool,
}

pub async fn budgets(api: &Api) -> Result<Vec<Budget>, Fault> {
    let what = "list PodDisruptionBudgets";
    let path = |version: &str| format!("/apis/policy/{version}/poddisruptionbudgets");
    let (listed, version) = match api.listed(what, &path("v1"), None).await {
        // Before 1.21.
        Err(fault) if fault.kind == FaultKind::Unable => (api.listed(what, &path("v1beta1"), None).await?, "v1beta1"),
        listed => (listed?, "v1"),
    };
    Ok(listed.items.into_iter().map(|item| Budget::read(&item, version == "v1")).collect())
}

/// The same amid a drain: a watch tells what changes. What a budget allows the server decides at each eviction anyway.
pub async fn budgets_kept(api: &Arc<Api>, slot: &tokio::sync::Mutex<Option<Watched>>) -> Result<Vec<Budget>, Fault> {
    match kept(api, "list PodDisruptionBudgets", "/apis/policy/v1/poddisruptionbudgets", slot).await {
        Err(fault) if fault.kind == FaultKind::Unable => budgets(api).await,
        items => Ok(items?.iter().map(|item| Budget::read(item, true)).collect()),
    }
}

impl Budget {
    pub fn read(item: &Value, empty_covers_all: bool) -> Budget {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let number = |v: &Value| v.as_i64().unwrap_or(0);
        let status = &item["status"];
        let failed = status["conditions"].as_array().into_iter().flatten().find(|c| c["reason"] == "SyncFailed" && c["status"] != "True");
        Budget {
            namespace: text(&item["metadata"]["namespace"]),
            name: text(&item["metadata"]["name"]),
            selector: serde_json::from_value(item["spec"]["selector"].clone()).ok(),
            empty_covers_all,
            current: number(&status["currentHealthy"]),
            desired: number(&status["desiredHealthy"]),
            expected: number(&status["expectedPods"]),
            allowed: number(&status["disruptionsAllowed"]),
            unready_may_go: item["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow",
            sync_failed: failed.map(|c| text(&c["message"])),
            uncounted: item["metadata"]["generation"].as_i64().is_some_and(|newest| number(&status["observedGeneration"]) < newest),
        }
    }

    pub fn covers(&self, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let Some(selector) = &self.selector else { return false };
        let none = BTreeMap::new();
        let labels = labels.unwrap_or(&none);
        let empty = selector.match_labels.as_ref().is_none_or(|m| m.is_empty()) && selector.match_expressions.as_ref().is_none_or(|e| e.is_empty());
        self.namespace == namespace && (!empty || self.empty_covers_all) && matches(selector, Some(labels))
    }

    /// Would the server let this pod go now, as far as this budget is asked? A pod that is not Ready may go where the budget does not count on it.
    pub fn lets_go(&self, ready: bool) -> bool {
        self.allowed > 0 || self.needs_not(ready)
    }
    /// It may go without spending anything.
    pub fn needs_not(&self, ready: bool) -> bool {
        !ready && (self.unready_may_go || (self.current >= self.desired && self.desired > 0))
    }

    /// `1 of 1 needed by PodDisruptionBudget shop/ledger, 0 may be evicted`.
    pub fn state(&self) -> String {
        match &self.sync_failed {
            Some(why) => format!("PodDisruptionBudget {}/{} cannot be computed: {why}", self.namespace, self.name),
            None if self.uncounted => format!("PodDisruptionBudget {}/{} has not been counted by the cluster's controller yet", self.namespace, self.name),
            None => {
                let (desired, current) = (self.desired, self.current);
                format!("{desired} of {current} needed by PodDisruptionBudget {}/{}, {} may be evicted", self.namespace, self.name, self.allowed)
            }
        }
    }

    /// What the application's owner can do: pitstop never edits a budget.
    pub fn advice(&self) -> String {
        let get = format!("kubectl -n {} get pdb {}", self.namespace, self.name);
        match () {
            _ if self.uncounted && self.sync_failed.is_none() => format!("if it stays so, see to kube-controller-manager: {get}"),
            _ if self.sync_failed.is_some() => format!("give the budget an integer minAvailable, or its pods an owner with a scale: {get}"),
            _ if self.current < self.desired => format!("get the unready pods behind it Ready, or set unhealthyPodEvictionPolicy: AlwaysAllow: {get}"),
            _ if self.current >= self.expected => format!("scale the application up, or lift the budget for the maintenance: {get}"),
            _ => format!("wait until the replacements are Ready: {get}"),
        }
    }
}

/// Does the selector select an object with these labels? An empty one selects all.
pub fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let none = BTreeMap::new();
    let labels = labels.unwrap_or(&none);
    let by_rule = |rule: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement| {
        let value = labels.get(&rule.key);
        let listed = value.is_some_and(|v| rule.values.as_deref().unwrap_or_default().contains(v));
        match rule.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    let rules = selector.match_expressions.as_deref().unwrap_or_default();
    selector.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v)) && rules.iter().all(by_rule)
}

/// Every budget that covers a pod; more than one, and the API server refuses every eviction of it.
pub fn matching<'a>(budgets: &'a [Budget], namespace: &str, labels: Option<&BTreeMap<String, String>>) -> Vec<&'a Budget> {
    budgets.iter().filter(|b| b.covers(namespace, labels)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn covers(selector: Value, v1: bool, labels: &[(&str, &str)]) -> bool {
        let budget = Budget::read(&json!({ "metadata": { "namespace": "shop", "name": "b" }, "spec": { "selector": selector } }), v1);
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        budget.covers("shop", Some(&labels))
    }

    #[test]
    fn selectors_mean_what_the_server_means() {
        assert!(covers(json!({ "matchLabels": { "app": "cart" } }), true, &[("app", "cart"), ("x", "y")]));
        assert!(!covers(json!({ "matchLabels": { "app": "cart" } }), true, &[("app", "web")]));
        assert!(covers(json!({}), true, &[]));
        assert!(!covers(json!({}), false, &[("app", "cart")]));
        assert!(!covers(Value::Null, true, &[]));
        let rule = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "tier", "operator": operator, "values": values }] });
        assert!(covers(rule("In", json!(["a", "b"])), true, &[("tier", "b")]));
        assert!(covers(rule("NotIn", json!(["a"])), true, &[]));
        assert!(covers(rule("Exists", json!([])), true, &[("tier", "")]));
        assert!(!covers(rule("DoesNotExist", json!([])), true, &[("tier", "")]));
    }

    #[test]
    fn advice_follows_the_numbers() {
        let budget = |current, desired, expected| {
            let status = json!({ "currentHealthy": current, "desiredHealthy": desired, "expectedPods": expected, "disruptionsAllowed": 0 });
            Budget::read(&json!({ "metadata": { "namespace": "shop", "name": "b" }, "status": status }), true).advice()
        };
        assert!(budget(1, 1, 1).starts_with("scale the application up"));
        assert!(budget(1, 2, 2).starts_with("get the unready pods"));
        assert!(budget(2, 2, 3).starts_with("wait until"));
    }
}
