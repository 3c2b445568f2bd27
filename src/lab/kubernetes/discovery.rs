//! What this server says it can do: version, groups, resources.
use super::{
    addons::{Addons, KUBEVIRT, NODE_MAINTENANCE},
    store::{RESOURCES, Resource},
};
use serde_json::{Value, json};

const GROUPS: [&str; 6] = ["apps/v1", "policy/v1", "coordination.k8s.io/v1", "authorization.k8s.io/v1", NODE_MAINTENANCE, KUBEVIRT];

pub fn answer(path: &[&str], addons: &Addons) -> Option<Value> {
    let parts = |gv: &'static str| gv.split_once('/').unwrap_or((gv, ""));
    let group = |gv: &'static str| {
        let version = json!({ "groupVersion": gv, "version": parts(gv).1 });
        json!({ "name": parts(gv).0, "versions": [version], "preferredVersion": version })
    };
    let groups = || GROUPS.into_iter().filter(|gv| addons.serves(gv));
    match path {
        ["version"] => Some(json!({ "major": "1", "minor": "31", "gitVersion": "v1.31.2", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "pitstop lab", "platform": "linux/amd64" })),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })),
        ["apis"] => Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups().map(group).collect::<Vec<_>>() })),
        ["api", "v1"] => Some(resources("v1")),
        ["apis", name] => groups().find(|gv| parts(gv).0 == *name).map(|gv| {
            let mut one = group(gv);
            one["kind"] = json!("APIGroup");
            one["apiVersion"] = json!("v1");
            one
        }),
        ["apis", name, version] => groups().find(|gv| parts(gv) == (*name, *version)).map(resources),
        _ => None,
    }
}

fn resources(gv: &str) -> Value {
    let row = |r: &Resource| {
        let short: Vec<&str> = Some(r.short).into_iter().filter(|s| !s.is_empty()).collect();
        json!({ "name": r.plural, "singularName": r.kind.to_lowercase(), "kind": r.kind, "namespaced": r.namespaced, "shortNames": short,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] })
    };
    let mut rows: Vec<Value> = RESOURCES.iter().filter(|r| r.version == gv).map(row).collect();
    match gv {
        "v1" => rows.push(json!({ "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"] })),
        "authorization.k8s.io/v1" => rows.push(json!({ "name": "selfsubjectaccessreviews", "singularName": "", "namespaced": false, "kind": "SelfSubjectAccessReview", "verbs": ["create"] })),
        _ => {}
    }
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": rows })
}
