//! Health as the BMC sees it: the system's roll-up, and the parts that are not OK by name.
use super::{Redfish, read};
use crate::model::{Fault, FaultKind, Health};
use serde_json::Value;

/// Collections of the system, and members of one. A machine has up to 64 memory modules.
const COLLECTIONS: [&str; 3] = ["Processors", "Memory", "Storage"];
const MEMBERS: usize = 128;
/// What a chassis lists inline, with a status each.
const CHASSIS: [(&str, &[&str]); 2] =
    [("Power", &["PowerSupplies", "Voltages", "Redundancy", "PowerControl"]), ("Thermal", &["Fans", "Temperatures", "Redundancy"])];

impl Redfish {
    /// Parts are looked for only where the roll-up is not OK: that costs a request per part, and BMCs are slow.
    pub async fn roll_up(&self) -> Result<Health, Fault> {
        let (_, doc, _) = self.system_doc().await?;
        let status = doc.get("Status");
        let rollup = status.and_then(|s| read::text(s.get("HealthRollup")).or_else(|| read::text(s.get("Health"))));
        let mut not_ok = Vec::new();
        for summary in ["ProcessorSummary", "MemorySummary"] {
            note(doc.get(summary), summary, &mut not_ok);
        }
        if rollup.as_deref() != Some("OK") {
            let mut parts = Vec::new();
            for name in COLLECTIONS {
                self.collection(read::link(doc.get(name)), name, &mut parts).await?;
            }
            if let Some(chassis) = read::link(doc.pointer("/Links/Chassis/0")) {
                self.chassis(&chassis, &mut parts).await?;
            }
            // Named parts say more than summaries.
            if !parts.is_empty() {
                not_ok = parts;
            }
        }
        Ok(Health { rollup, not_ok })
    }

    async fn collection(&self, uri: Option<String>, kind: &str, parts: &mut Vec<String>) -> Result<(), Fault> {
        let Some(collection) = self.part(uri).await? else { return Ok(()) };
        for uri in read::members(&collection).0.into_iter().take(MEMBERS) {
            let Some(member) = self.part(Some(uri)).await? else { continue };
            note(Some(&member), kind, parts);
            let controllers = member.get("StorageControllers").and_then(Value::as_array);
            controllers.into_iter().flatten().for_each(|c| note(Some(c), "Controller", parts));
            let drives = member.get("Drives").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for drive in drives.iter().take(MEMBERS) {
                note(self.part(read::link(Some(drive))).await?.as_ref(), "Drive", parts);
            }
        }
        Ok(())
    }

    async fn chassis(&self, uri: &str, parts: &mut Vec<String>) -> Result<(), Fault> {
        let Some(chassis) = self.part(Some(uri.to_owned())).await? else { return Ok(()) };
        for (name, lists) in CHASSIS {
            let Some(doc) = self.part(read::link(chassis.get(name))).await? else { continue };
            for list in lists {
                doc.get(*list).and_then(Value::as_array).into_iter().flatten().for_each(|part| note(Some(part), list, parts));
            }
        }
        Ok(())
    }

    /// None: not there, which spoils nothing.
    async fn part(&self, uri: Option<String>) -> Result<Option<Value>, Fault> {
        match uri {
            None => Ok(None),
            Some(uri) => match self.client.get(&uri).await {
                Ok(doc) => Ok(Some(doc)),
                Err(fault) if matches!(fault.kind, FaultKind::Unable | FaultKind::Invalid) => Ok(None),
                Err(fault) => Err(fault),
            },
        }
    }
}

/// `DIMM A3: Critical`. What is absent or switched off is not ill, and null says nothing.
fn note(part: Option<&Value>, kind: &str, parts: &mut Vec<String>) {
    let Some(part) = part else { return };
    let status = part.get("Status");
    let says = |key: &str| status.and_then(|s| read::text(s.get(key)));
    if matches!(says("State").as_deref(), Some("Absent" | "Disabled")) {
        return;
    }
    let health = [says("Health"), says("HealthRollup")].into_iter().flatten().find(|h| h != "OK");
    let Some(health) = health else { return };
    let name = ["Name", "MemberId", "Id"].iter().find_map(|key| read::text(part.get(*key))).unwrap_or_else(|| kind.to_owned());
    let line = read::shown(&format!("{name}: {health}"));
    if !parts.contains(&line) {
        parts.push(line);
    }
}
