//! Rows of the portal as pitstop reads them: leniently where they are spelt, strictly where they are counted.
use crate::model::{Fault, FaultKind};
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stack {
    pub id: i64,
    pub gid: i64,
    pub name: String,
    /// The id of its node.
    pub refers_to: Option<i64>,
    pub status: String,
    pub eco: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    pub id: i64,
    pub gid: i64,
    pub name: String,
    pub roles: Vec<String>,
    /// IP and MAC addresses.
    pub addresses: Vec<String>,
    /// From 2.3 on.
    pub status: Option<String>,
    /// Up to 2.2.
    pub active: Option<bool>,
}
impl Node {
    pub fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|r| r == role)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vm {
    pub id: i64,
    pub name: String,
    pub status: String,
    pub stack: Option<i64>,
    pub cloudspace: Option<i64>,
    pub disks: Vec<i64>,
    pub tags: Vec<String>,
    /// Its libvirt UUID, where the portal says it: what its DMI says inside.
    pub uuid: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Firewall {
    /// The network's.
    pub id: i64,
    pub nid: Option<i64>,
    /// The cloud space it serves.
    pub space: i64,
    pub space_name: Option<String>,
    /// RUNNING, HALTED, UNKNOWN, as asked for just now; the row's own `state` does not follow a maintenance stop.
    pub live: Option<String>,
}
impl Firewall {
    /// As libvirt calls it.
    pub fn domain(&self) -> String {
        format!("routeros_{:04x}", self.id)
    }
    pub fn space_shown(&self) -> String {
        self.space_name.clone().unwrap_or_else(|| self.space.to_string())
    }
}

pub fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.trim().to_owned()).filter(|s| !s.is_empty()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}
fn upper(value: &Value) -> Option<String> {
    text(value).map(|s| s.to_ascii_uppercase())
}
fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().into_iter().flatten().filter_map(number).collect()
}

/// A row that does not say which one it is cannot be counted, and must not be passed over.
fn id_of(row: &Value, what: &str) -> Result<i64, Fault> {
    number(&row["id"])
        .ok_or_else(|| Fault::new(FaultKind::Invalid, format!("a {what} without an id: {}", row.to_string().chars().take(120).collect::<String>())))
}

impl Stack {
    pub fn of(row: &Value) -> Result<Stack, Fault> {
        Ok(Stack {
            id: id_of(row, "stack")?,
            gid: number(&row["gid"]).unwrap_or_default(),
            name: text(&row["name"]).unwrap_or_default(),
            refers_to: number(&row["referenceId"]),
            status: upper(&row["status"]).unwrap_or_default(),
            eco: text(&row["eco"]),
        })
    }
}

impl Node {
    pub fn of(row: &Value) -> Result<Node, Fault> {
        let words = |value: &Value| value.as_array().into_iter().flatten().filter_map(text).collect::<Vec<_>>();
        let mut addresses = words(&row["ipaddr"]);
        addresses.extend(macs(&row["netaddr"]));
        Ok(Node {
            id: id_of(row, "node")?,
            gid: number(&row["gid"]).unwrap_or_default(),
            name: text(&row["name"]).unwrap_or_default(),
            roles: words(&row["roles"]),
            addresses,
            status: upper(&row["status"]),
            active: row["active"].as_bool(),
        })
    }
}

/// `netaddr` has changed its shape more than once: whatever looks like a MAC address in it is one.
fn macs(value: &Value) -> Vec<String> {
    let mac = |s: &str| s.len() == 17 && s.char_indices().all(|(i, c)| if i % 3 == 2 { c == ':' } else { c.is_ascii_hexdigit() });
    match value {
        Value::String(s) if mac(s) => vec![s.to_ascii_lowercase()],
        Value::Array(all) => all.iter().flat_map(macs).collect(),
        Value::Object(all) => all.iter().flat_map(|(k, v)| macs(&Value::from(k.as_str())).into_iter().chain(macs(v))).collect(),
        _ => Vec::new(),
    }
}

impl Vm {
    pub fn of(row: &Value) -> Result<Vm, Fault> {
        let id = id_of(row, "machine")?;
        Ok(Vm {
            id,
            name: text(&row["name"]).unwrap_or_else(|| format!("vm-{id}")),
            status: upper(&row["status"]).unwrap_or_else(|| "(no status)".into()),
            stack: number(&row["stackId"]),
            cloudspace: number(&row["cloudspaceId"]),
            disks: numbers(&row["disks"]),
            uuid: text(&row["referenceId"]).filter(|id| id.len() == 36),
            tags: text(&row["tags"]).unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        })
    }
    /// Nothing of it is left on the node.
    pub fn gone(&self) -> bool {
        matches!(self.status.as_str(), "DELETED" | "DESTROYED" | "ERROR")
    }
    /// It does not run, and its definition is still placed here.
    pub fn rests(&self) -> bool {
        matches!(self.status.as_str(), "HALTED" | "VIRTUAL")
    }
    /// It runs, or nobody knows that it does not.
    pub fn runs(&self) -> bool {
        !self.gone() && !self.rests()
    }
}

impl Firewall {
    pub fn of(row: &Value) -> Result<Firewall, Fault> {
        let id = id_of(row, "virtual firewall")?;
        let space = number(&row["domain"]).ok_or_else(|| Fault::new(FaultKind::Invalid, format!("virtual firewall {id} names no cloud space")))?;
        Ok(Firewall { id, nid: number(&row["nid"]), space, space_name: None, live: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_come_as_numbers_and_as_text() {
        let stack = Stack::of(&json!({ "id": 4, "gid": "1", "name": "cpu-02", "referenceId": "7", "status": "Enabled", "eco": null })).unwrap();
        assert_eq!((stack.refers_to, stack.status.as_str(), stack.eco), (Some(7), "ENABLED", None));
        let fw = Firewall::of(&json!({ "id": 200, "nid": 7, "domain": "12" })).unwrap();
        assert_eq!((fw.domain().as_str(), fw.space), ("routeros_00c8", 12));
        assert!(Stack::of(&json!({ "name": "x" })).is_err() && Firewall::of(&json!({ "id": 1 })).is_err() && Vm::of(&json!({})).is_err());
    }

    #[test]
    fn a_state_nobody_knows_counts_as_running() {
        let vm = |status: &str| Vm::of(&json!({ "id": 1, "status": status })).unwrap();
        for (status, runs, rests) in [
            ("RUNNING", true, false),
            ("PAUSED", true, false),
            ("MIGRATING", true, false),
            ("STOPPING", true, false),
            ("", true, false),
            ("TELEPORTING", true, false),
            ("HALTED", false, true),
            ("DESTROYED", false, false),
            ("ERROR", false, false),
        ] {
            assert_eq!((vm(status).runs(), vm(status).rests()), (runs, rests), "{status}");
        }
    }

    #[test]
    fn mac_addresses_are_found_in_every_shape() {
        for netaddr in [
            json!({ "eth0": ["0C:C4:7A:00:00:01", "192.0.2.1"] }),
            json!([{ "mac": "0c:c4:7a:00:00:01", "ip": ["192.0.2.1"], "name": "backplane1" }]),
            json!({ "0c:c4:7a:00:00:01": ["eth0", "192.0.2.1"] }),
        ] {
            let node = Node::of(&json!({ "id": 7, "ipaddr": ["192.0.2.1"], "netaddr": netaddr })).unwrap();
            assert_eq!(node.addresses, ["192.0.2.1", "0c:c4:7a:00:00:01"], "{netaddr}");
        }
    }
}
