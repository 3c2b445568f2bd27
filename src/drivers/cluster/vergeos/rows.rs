//! Rows of VergeOS tables, read leniently where versions differ and strictly where a guess could lose a workload.
use crate::model::{Fault, FaultKind};
use serde_json::Value;

/// A row's `$key`. It arrives as a number or a string, and references also as an object that holds one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub String);

impl Key {
    pub fn of(value: &Value) -> Option<Key> {
        match value {
            Value::Number(n) => Some(Key(n.to_string())),
            // Only what can stand in a path and a filter without escaping.
            Value::String(s) if !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric()) => Some(Key(s.clone())),
            Value::Object(row) => row.get("$key").and_then(Key::of),
            _ => None,
        }
    }
    /// As VergeOS's own clients send it: a number where it is one.
    pub fn json(&self) -> Value {
        self.0.parse::<u64>().map_or_else(|_| Value::from(self.0.clone()), Value::from)
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    pub key: Option<Key>,
    pub name: String,
    /// Another number than `key`: the row of the node in the tables of machines.
    pub machine: Option<Key>,
    pub cluster: Option<Key>,
    pub maintenance: bool,
    pub physical: Option<bool>,
    pub vsan_connected: Option<bool>,
    pub restart: Option<String>,
    pub ipmi_address: Option<String>,
    pub status: String,
    pub status_info: Option<String>,
    pub running: Option<bool>,
    /// When it started, as VergeOS writes it: compared for change only.
    pub started: Option<String>,
}

pub const NODE: &str = "$key,name,machine,cluster,maintenance,physical,need_restart,restart_reason,vsan_connected,ipmi_address,\
machine#status#status as status,machine#status#status_info as status_info,machine#status#running as running,machine#status#started as started";

impl Node {
    pub fn of(row: &Value) -> Result<Node, Fault> {
        let name = text(row, "name").ok_or_else(|| senseless("a row of nodes", "name"))?;
        let lacks = |field| senseless(&format!("VergeOS node {name}"), field);
        Ok(Node {
            key: Some(Key::of(&row["$key"]).ok_or_else(|| lacks("$key"))?),
            machine: Key::of(&row["machine"]),
            cluster: Key::of(&row["cluster"]),
            maintenance: flag(row, "maintenance").ok_or_else(|| lacks("maintenance"))?,
            physical: flag(row, "physical"),
            vsan_connected: flag(row, "vsan_connected"),
            restart: (flag(row, "need_restart") == Some(true)).then(|| text(row, "restart_reason").unwrap_or_else(|| "no reason given".into())),
            ipmi_address: text(row, "ipmi_address"),
            status: word(row, "status"),
            status_info: text(row, "status_info"),
            running: flag(row, "running"),
            started: text(row, "started").filter(|s| s != "0"),
            name,
        })
    }
    pub fn key(&self) -> &Key {
        self.key.as_ref().expect("BUG: a node was read without its key")
    }
}

/// A machine is a VM, a tenant node, a network's container, or a physical node itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Machine {
    pub machine: Option<Key>,
    pub name: Option<String>,
    pub node: Option<Key>,
    pub running: Option<bool>,
    pub status: String,
    pub status_info: Option<String>,
    pub migratable: Option<bool>,
    pub destination: Option<Key>,
}

pub const MACHINE: &str = "$key,machine,machine#name as name,node,running,status,status_info,migratable,migration_destination";

impl Machine {
    pub fn of(row: &Value) -> Machine {
        Machine {
            machine: Key::of(&row["machine"]),
            name: text(row, "name"),
            node: Key::of(&row["node"]),
            running: flag(row, "running"),
            status: word(row, "status"),
            status_info: text(row, "status_info"),
            migratable: flag(row, "migratable"),
            destination: Key::of(&row["migration_destination"]),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vm {
    pub key: Option<Key>,
    pub name: String,
    pub machine: Option<Key>,
    pub node: Option<Key>,
    pub status: String,
    pub method: Option<String>,
    pub cpu: Option<String>,
}

pub const VM: &str = "$key,name,machine,machine#status#status as status,machine#status#node as node_key,migration_method,cpu_type";

impl Vm {
    pub fn of(row: &Value) -> Vm {
        let key = Key::of(&row["$key"]);
        Vm {
            name: text(row, "name").unwrap_or_else(|| key.as_ref().map_or("without a name".into(), |k| format!("number {}", k.0))),
            key,
            machine: Key::of(&row["machine"]),
            node: Key::of(&row["node_key"]),
            status: word(row, "status"),
            method: text(row, "migration_method"),
            cpu: text(row, "cpu_type"),
        }
    }
}

/// A line of a machine's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub machine: Key,
    pub level: String,
    pub text: String,
    /// Microseconds, by the system's clock.
    pub at: i64,
}

pub const LINE: &str = "$key,machine,level,text,timestamp";

/// The newest first; without what is half an hour older than the newest, which belongs to another time. Only the system's own clock is asked.
pub fn lines(rows: &[Value]) -> Vec<Line> {
    const RECENT: i64 = 30 * 60 * 1_000_000;
    let line = |row: &Value| {
        let at = row["timestamp"].as_i64().or_else(|| row["timestamp"].as_str()?.parse().ok())?;
        Some(Line { machine: Key::of(&row["machine"])?, level: word(row, "level"), text: text(row, "text")?, at })
    };
    let mut lines: Vec<Line> = rows.iter().filter_map(line).filter(|l| !matches!(l.level.as_str(), "debug" | "audit")).collect();
    lines.sort_by_key(|l| std::cmp::Reverse(l.at));
    let newest = lines.first().map_or(0, |l| l.at);
    lines.retain(|l| l.at > newest.saturating_sub(RECENT));
    lines
}

/// A storage tier of the vSAN.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tier {
    pub name: String,
    pub cluster: Option<Key>,
    pub status: String,
    pub redundant: Option<bool>,
}

pub const TIER: &str =
    "$key,tier,cluster,status#status as display_status,status#state as display_state,status#redundant as redundant,status#working as working";

impl Tier {
    pub fn of(row: &Value) -> Tier {
        Tier {
            name: text(row, "tier").unwrap_or_else(|| "?".into()),
            cluster: Key::of(&row["cluster"]),
            status: word(row, "display_status"),
            redundant: flag(row, "redundant"),
        }
    }
}

/// Is it running, or could it be? Only words that say "it does not run" count as stopped: an unresponsive VM still writes its disks.
pub fn runs(running: Option<bool>, status: &str) -> bool {
    running == Some(true) || !matches!(status, "stopped" | "hibernated" | "importing" | "unlicensed" | "waitingforresources" | "error" | "")
        // Neither said: nothing is known of it, so it is counted.
        || (running.is_none() && status.is_empty())
}

fn senseless(what: &str, field: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("{what}: the answer has no `{field}`"))
}
fn text(row: &Value, field: &str) -> Option<String> {
    match &row[field] {
        Value::String(s) if !s.trim().is_empty() => Some(s.trim().to_owned()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}
fn word(row: &Value, field: &str) -> String {
    text(row, field).unwrap_or_default().to_ascii_lowercase()
}
fn flag(row: &Value, field: &str) -> Option<bool> {
    match &row[field] {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => n.as_i64().map(|n| n != 0),
        Value::String(s) => match s.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_come_in_four_shapes() {
        for shape in [json!(7), json!("7"), json!({ "$key": 7 }), json!({ "$key": "7", "name": "x" })] {
            assert_eq!(Key::of(&shape), Some(Key("7".into())), "{shape}");
        }
        for none in [json!(null), json!(""), json!("7 or 1 eq 1"), json!("../x"), json!([7]), json!(true)] {
            assert_eq!(Key::of(&none), None, "{none}");
        }
        assert_eq!((Key("7".into()).json(), Key("ab12".into()).json()), (json!(7), json!("ab12")));
    }

    #[test]
    fn a_node_without_its_maintenance_flag_is_no_answer() {
        let row = json!({ "$key": "2", "name": "node2", "machine": 4, "maintenance": 0, "status": "Running", "started": 1730000000 });
        let node = Node::of(&row).unwrap();
        assert_eq!((node.key().0.as_str(), node.status.as_str(), node.maintenance, node.started.as_deref()), ("2", "running", false, Some("1730000000")));
        for missing in ["$key", "name", "maintenance"] {
            let mut row = row.clone();
            row.as_object_mut().unwrap().remove(missing);
            assert_eq!(Node::of(&row).unwrap_err().kind, FaultKind::Invalid, "{missing}");
        }
    }

    #[test]
    fn what_is_not_known_to_be_stopped_runs() {
        for (running, status) in [(Some(true), "stopped"), (None, "unresponsive"), (Some(false), "migrating"), (None, ""), (None, "some-new-word")] {
            assert!(runs(running, status), "{running:?} {status}");
        }
        for (running, status) in [(Some(false), "stopped"), (None, "stopped"), (Some(false), ""), (Some(false), "hibernated")] {
            assert!(!runs(running, status), "{running:?} {status}");
        }
    }
}
