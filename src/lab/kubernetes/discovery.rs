//! What this server says it can do: version, groups, resources. Groups of custom resources come and go with their definitions.
use super::{
    addons::Addons,
    store::{Resource, Store},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const REVIEWS: &str = "authorization.k8s.io/v1";

pub fn answer(store: &Store, path: &[&str], addons: &Addons) -> Option<Value> {
    let versions: BTreeSet<&str> = store.resources().map(|r| r.version).chain([REVIEWS]).filter(|v| v.contains('/') && addons.serves(v)).collect();
    let parts = |gv: &str| gv.split_once('/').map(|(g, v)| (g.to_owned(), v.to_owned())).unwrap_or_default();
    let names: BTreeSet<String> = versions.iter().map(|gv| parts(gv).0).collect();
    let group = |name: &str| {
        let mine: Vec<Value> = versions.iter().filter(|gv| parts(gv).0 == name).map(|gv| json!({ "groupVersion": gv, "version": parts(gv).1 })).collect();
        json!({ "name": name, "preferredVersion": mine.last(), "versions": mine })
    };
    match path {
        ["version"] => Some(json!({ "major": "1", "minor": "31", "gitVersion": "v1.31.2", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "pitstop lab", "platform": "linux/amd64" })),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })),
        ["apis"] => {
            let groups: Vec<Value> = names.iter().map(|name| group(name)).collect();
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        ["api", "v1"] => Some(resources(store, "v1")),
        ["apis", name] if names.contains(*name) => {
            let mut one = group(name);
            one["kind"] = json!("APIGroup");
            one["apiVersion"] = json!("v1");
            Some(one)
        }
        ["apis", name, version] => versions.get(format!("{name}/{version}").as_str()).map(|gv| resources(store, gv)),
        _ => None,
    }
}

fn resources(store: &Store, gv: &str) -> Value {
    let row = |r: &Resource| {
        let short: Vec<&str> = Some(r.short).into_iter().filter(|s| !s.is_empty()).collect();
        json!({ "name": r.name(), "singularName": r.kind.to_lowercase(), "kind": r.kind, "namespaced": r.namespaced, "shortNames": short,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] })
    };
    let mut rows: Vec<Value> = store.resources().filter(|r| r.version == gv).map(row).collect();
    match gv {
        "v1" => rows.push(json!({ "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"] })),
        REVIEWS => rows.push(json!({ "name": "selfsubjectaccessreviews", "singularName": "", "namespaced": false, "kind": "SelfSubjectAccessReview", "verbs": ["create"] })),
        _ => {}
    }
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": rows })
}
