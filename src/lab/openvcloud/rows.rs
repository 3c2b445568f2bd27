//! The portal's lists: every one ends at 200 rows, without a word.
use super::{
    Setup, Version,
    world::{Node, World},
};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

const ENDS_AT: usize = 200;

fn stack(n: &Node) -> Value {
    json!({
        "id": n.stack, "gid": 1, "guid": n.stack.to_string(), "name": n.spec.name, "referenceId": n.id.to_string(), "status": n.stack_status, "eco": n.eco,
        "descr": "", "apiUrl": format!("qemu+ssh://{}/system", n.spec.address), "images": [1, 2],
    })
}
pub fn stacks(world: &World) -> Value {
    Value::Array(world.nodes.iter().map(stack).take(ENDS_AT).collect())
}

fn node(n: &Node, version: Version) -> Value {
    let mut row = json!({
        "id": n.id, "gid": 1, "name": n.spec.name, "roles": n.spec.roles, "ipaddr": [n.spec.address, "127.0.0.1"],
        "netaddr": { "backplane1": [mac(n.id), n.spec.address] }, "lastcheck": 1_500_000_000,
    });
    let (key, value) = if version == Version::V2_2 { ("active", json!(n.up())) } else { ("status", json!(n.status)) };
    row[key] = value;
    row
}
/// Of the host's first interface.
pub fn mac(id: i64) -> String {
    format!("0c:c4:7a:00:00:{id:02x}")
}

/// None: no such model.
pub fn list(world: &World, setup: &Setup, model: &str, query: &[(String, String)]) -> Option<Value> {
    let gone = |stack: i64| {
        (0..world.destroyed)
            .map(move |n| json!({ "id": 50_000 + n, "name": format!("gone{n}"), "status": "DESTROYED", "stackId": stack, "disks": [], "tags": "" }))
    };
    let rows: Vec<Value> = match model {
        "cloudbroker/stack" => world.nodes.iter().map(stack).collect(),
        "cloudbroker/vmachine" => {
            let alive = world.vms.iter().map(|vm| {
                let disks = if vm.spec.physical { json!([vm.id, vm.id + 1]) } else { json!([vm.id]) };
                json!({ "id": vm.id, "name": vm.spec.name, "status": vm.status, "stackId": vm.stack, "cloudspaceId": vm.space, "disks": disks, "tags": vm.tags.join(" ") })
            });
            world.nodes.iter().flat_map(|n| gone(n.stack)).chain(alive).collect()
        }
        "cloudbroker/disk" => world.vms.iter().filter(|vm| vm.spec.physical).map(|vm| json!({ "id": vm.id + 1, "type": "P" })).collect(),
        "cloudbroker/cloudspace" => world.firewalls.iter().map(|fw| json!({ "id": fw.space, "name": fw.name, "status": "DEPLOYED" })).collect(),
        "vfw/virtualfirewall" => {
            let row = |fw: &super::world::Firewall| json!({ "id": fw.id, "gid": 1, "nid": fw.nid, "guid": format!("1_{}", fw.id), "domain": fw.space.to_string(), "state": fw.state, "type": "routeros" });
            world.firewalls.iter().map(row).collect()
        }
        "system/eco" => vec![json!({ "guid": "5b6c7d8e", "errormessagePub": "Live migration of vm-1000 failed" })],
        "system/user" => vec![json!({ "id": setup.creds.username, "groups": setup.creds.groups }), json!({ "id": "admin", "groups": ["admin"] })],
        _ => return None,
    };
    let same = |row: &Value, key: &str, value: &str| match &row[key] {
        Value::String(text) => text == value,
        Value::Number(number) => number.to_string() == value,
        _ => false,
    };
    Some(Value::Array(rows.into_iter().filter(|row| query.iter().all(|(key, value)| same(row, key, value))).take(ENDS_AT).collect()))
}

/// Methods of the grid itself, which may be asked by GET.
pub fn system(world: &World, setup: &Setup, call: &str, query: &[(String, String)]) -> Option<Response> {
    let of = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let value = match call {
        "system/gridmanager/getNodes" => {
            let rows = world.nodes.iter().filter(|n| of("name").is_none_or(|name| name == n.spec.name)).map(|n| node(n, setup.version));
            Value::Array(rows.take(ENDS_AT).collect())
        }
        "system/health/getDetailedStatus" => {
            let status = if setup.faults.on("storage-ill") { "ERROR" } else { "OK" };
            let message = if status == "OK" { "all arakoon clusters have a master" } else { "arakoon cluster ovsdb has no master" };
            json!({ "OVS Services": { "data": [{ "category": "OVS Services", "status": status, "message": message }] } })
        }
        "system/contentmanager/checkEvents" => {
            let cursor = of("cursor").and_then(|c| c.parse::<usize>().ok()).unwrap_or(0);
            let event = world
                .events
                .get(cursor)
                .map(|(text, kind)| json!({ "eventtype": "message", "title": "Putting Node in Maintenance", "text": text, "type": kind }));
            json!({ "cursor": if event.is_some() { cursor + 1 } else { world.events.len() }, "event": event })
        }
        _ => return None,
    };
    Some(axum::Json(value).into_response())
}
