//! YAML and JSON: Ansible inventories, Metal3 BareMetalHosts, what NetBox's API exports.
use super::{Found, Listed, ansible_ini::expand, csv::address, quirks};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Every document of the text.
pub fn yaml(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple::<Value>(text).map_err(|e| e.to_string())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) if !s.trim().is_empty() && !s.contains("{{") => Some(s.trim().to_owned()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// Variables by their usual names. A template (`{{ … }}`) says nothing here.
pub fn apply(found: &mut Found, vars: &Map<String, Value>, groups: &[String]) {
    let of = |names: &[&str]| names.iter().find_map(|name| vars.get(*name).and_then(text));
    if of(&["ansible_connection"]).is_some_and(|c| c == "local") {
        // Where Ansible runs, whatever it is called.
        found.name = "localhost".into();
    }
    if let Some(bmc) = of(quirks::VARIABLES) {
        found.set_bmc(&bmc);
    }
    if let Some(ipmi) = of(&["ipmi_address", "ipmi_host", "ipmi_ip"]) {
        found.set_bmc(&format!("ipmi://{ipmi}"));
    }
    let port = of(&["ansible_port", "ansible_ssh_port"]).and_then(|p| p.parse().ok()).filter(|p| *p != 22);
    let host = of(&["ansible_host", "ansible_ssh_host"]).or_else(|| found.name.contains('.').then(|| found.name.clone()));
    found.ssh = host.map(|host| (host, of(&["ansible_user", "ansible_ssh_user"]), port));
    for label in ["rack", "role", "site", "row", "chassis", "zone"] {
        found.labels.extend(of(&[label]).map(|value| (label.to_owned(), value)));
    }
    if !found.labels.contains_key("role")
        && let [one] = groups
    {
        found.labels.insert("role".into(), one.clone());
    }
    for group in groups.iter().filter(|_| groups.len() > 1) {
        found.labels.insert(format!("group-{group}"), "yes".into());
    }
}

/// Groups with `hosts`, `vars` and `children`, nested.
pub fn ansible(documents: &[Value]) -> Result<Listed, String> {
    let mut hosts: BTreeMap<String, (Map<String, Value>, Vec<String>)> = BTreeMap::new();
    for document in documents {
        let groups = document.as_object().ok_or("an Ansible inventory is a table of groups")?;
        for (name, group) in groups {
            walk(name, group, &Map::new(), &[], &mut hosts)?;
        }
    }
    let mut listed = Listed::default();
    for (name, (vars, groups)) in hosts {
        let mut f = Found { name, ..Found::default() };
        apply(&mut f, &vars, &groups);
        listed.take(f);
    }
    Ok(listed)
}

fn walk(
    name: &str,
    group: &Value,
    above: &Map<String, Value>,
    path: &[String],
    hosts: &mut BTreeMap<String, (Map<String, Value>, Vec<String>)>,
) -> Result<(), String> {
    let mut vars = above.clone();
    vars.extend(group["vars"].as_object().cloned().unwrap_or_default());
    let mut path = path.to_vec();
    if !["all", "ungrouped"].contains(&name) {
        path.push(name.to_owned());
    }
    for (host, own) in group["hosts"].as_object().into_iter().flatten() {
        for one in expand(host)? {
            let (all, groups) = hosts.entry(one).or_default();
            all.extend(vars.clone());
            all.extend(own.as_object().cloned().unwrap_or_default());
            groups.extend(path.iter().filter(|g| !groups.contains(g)).cloned().collect::<Vec<_>>());
        }
    }
    for (child, group) in group["children"].as_object().into_iter().flatten() {
        walk(child, group, &vars, &path, hosts)?;
    }
    Ok(())
}

/// `kind: BareMetalHost`, alone, in documents or in a List.
pub fn metal3(documents: &[Value]) -> Result<Listed, String> {
    let items = documents.iter().flat_map(|d| d["items"].as_array().cloned().unwrap_or_else(|| vec![d.clone()]));
    let hosts = items.filter(|i| i["kind"] == "BareMetalHost");
    let mut listed = Listed::default();
    for host in hosts {
        let name = text(&host["metadata"]["name"]).ok_or("a BareMetalHost has no name")?;
        let mut f = Found { name, ..Found::default() };
        if let Some(address) = text(&host["spec"]["bmc"]["address"]) {
            // `redfish-virtualmedia+https://…` and makers' own schemes: Redfish by other names.
            f.set_bmc(&address);
        }
        if host["spec"]["bmc"]["disableCertificateVerification"] == true {
            f.note = Some("its certificate was never checked: pitstop inventory trust shows and pins it".into());
        }
        // Its node is called as its operating system is; a Machine that uses it has a name of its own.
        let consumer = &host["spec"]["consumerRef"];
        let machine = consumer["kind"].as_str().is_some_and(|kind| kind.ends_with("Machine"));
        let named = text(&host["status"]["hardware"]["hostname"]).or_else(|| text(&consumer["name"]).filter(|_| !machine));
        f.cluster_node = named.filter(|n| *n != f.name);
        for (key, value) in host["metadata"]["labels"].as_object().into_iter().flatten() {
            let short = key.rsplit('/').next().unwrap_or(key);
            f.labels.extend(text(value).map(|v| (short.to_owned(), v)));
        }
        listed.take(f);
    }
    Ok(listed)
}

/// `GET /api/dcim/devices/`, or its `results` alone.
pub fn netbox(document: &Value) -> Result<Listed, String> {
    let rows = document["results"].as_array().or(document.as_array()).ok_or("NetBox's export is a list of devices, or has them under `results`")?;
    let mut listed = Listed::default();
    if document["next"].is_string() {
        listed.left_out.push("devices on further pages: export them all at once, with limit=0".into());
    }
    for row in rows {
        let Some(name) = text(&row["name"]) else {
            listed.left_out.push(format!("device {} has no name", row["id"]));
            continue;
        };
        let mut f = Found { name, ..Found::default() };
        let ip = |key: &str| text(&row[key]["address"]).map(|a| address(&a).to_owned());
        if let Some(oob) = ip("oob_ip").or_else(|| text(&row["custom_fields"]["bmc_address"])) {
            f.set_bmc(&oob);
        }
        f.ssh = ip("primary_ip").or_else(|| ip("primary_ip4")).map(|host| (host, None, None));
        for (label, key) in [("rack", "rack"), ("site", "site"), ("role", "role"), ("role", "device_role")] {
            let value = text(&row[key]["slug"]).or_else(|| text(&row[key]["name"]));
            f.labels.extend(value.map(|v| (label.to_owned(), v)));
        }
        listed.take(f);
    }
    Ok(listed)
}
