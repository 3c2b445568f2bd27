//! Volumes of RAID controllers: degraded, rebuilding, or well. Drives are asked only where a volume is not: that costs a request each, and BMCs are slow.
use super::{Redfish, read};
use crate::model::{DataStore, Fault, FaultKind, HARDWARE_RAID, Raid};
use serde_json::Value;

const PAGES: usize = 4;
const CONTROLLERS: usize = 32;
const VOLUMES: usize = 128;
const DRIVES: usize = 64;

impl Redfish {
    pub async fn read_raid(&self) -> Result<Raid, Fault> {
        let (_, system, _) = self.system_doc().await?;
        let none = || self.fault(FaultKind::Unable, "its system has no storage");
        let list = read::link(system.get("Storage")).ok_or_else(none)?;
        let mut raid = Raid::default();
        let controllers = match told(self.members_of(&list, PAGES, CONTROLLERS).await)? {
            Ok(controllers) => controllers,
            Err(why) => {
                raid.unread.push(format!("its storage cannot be read: {why}"));
                return Ok(raid);
            }
        };
        for uri in controllers {
            let doc = match told(self.client.get(&uri).await)? {
                Ok(doc) => doc,
                Err(why) => {
                    raid.unread.push(format!("{uri}: {why}"));
                    continue;
                }
            };
            let name = controller(&doc).unwrap_or_else(|| uri.clone());
            // Without volumes of its own it hands its disks on as they are.
            let Some(list) = read::link(doc.get("Volumes")) else { continue };
            match self.volumes(&list, &name, &doc).await? {
                Ok(volumes) => {
                    raid.told += 1;
                    raid.volumes.extend(volumes);
                }
                Err(why) => raid.unread.push(format!("{name}: its volumes cannot be read: {why}")),
            }
        }
        Ok(raid)
    }

    async fn volumes(&self, list: &str, controller: &str, storage: &Value) -> Result<Result<Vec<DataStore>, String>, Fault> {
        let mut found = Vec::new();
        let members = match told(self.members_of(list, PAGES, VOLUMES).await)? {
            Ok(members) => members,
            Err(why) => return Ok(Err(why)),
        };
        for uri in members {
            match told(self.client.get(&uri).await)? {
                Ok(doc) => found.extend(volume(controller, &uri, &doc)),
                Err(why) => return Ok(Err(why)),
            }
        }
        if let Some(first) = found.iter_mut().find(|volume| !volume.bears_it()) {
            let drives = storage.get("Drives").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for uri in drives.iter().take(DRIVES).filter_map(|d| read::link(Some(d))) {
                if let Ok(doc) = told(self.client.get(&uri).await)? {
                    drive(&doc, first);
                }
            }
        }
        Ok(Ok(found))
    }
}

/// What was answered, or why that is no answer. Silence is neither.
fn told<T>(asked: Result<T, Fault>) -> Result<Result<T, String>, Fault> {
    match asked {
        Ok(answer) => Ok(Ok(answer)),
        Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unknown) => Err(fault),
        Err(fault) => Ok(Err(fault.to_string())),
    }
}

/// `PERC H755 Front`: of the controller rather than of the collection around it.
fn controller(doc: &Value) -> Option<String> {
    let first = doc.get("StorageControllers").and_then(Value::as_array).and_then(|all| all.first());
    let named =
        [first.and_then(|c| read::text(c.get("Model"))), first.and_then(|c| read::text(c.get("Name"))), read::text(doc.get("Name")), read::text(doc.get("Id"))];
    named.into_iter().flatten().map(|name| read::shown(&name)).next()
}

/// Words for a reading of all disks, which may be cut short.
const READS: [&str; 5] = ["check", "patrol", "verif", "scrub", "scan"];
const LACKING: [&str; 6] = ["degraded", "failed", "offline", "missing", "critical", "rebuild"];

/// None: it is not in use.
fn volume(controller: &str, uri: &str, doc: &Value) -> Option<DataStore> {
    let status = doc.get("Status");
    let says = |key: &str| status.and_then(|s| read::text(s.get(key)));
    if matches!(says("State").as_deref(), Some("Absent" | "Disabled")) {
        return None;
    }
    let name =
        ["Name", "DisplayName", "Id"].iter().find_map(|key| read::text(doc.get(*key))).unwrap_or_else(|| uri.rsplit('/').next().unwrap_or(uri).to_owned());
    let mut store =
        DataStore { kind: HARDWARE_RAID.into(), name: read::shown(&format!("{name} of {controller}")), refuses: Vec::new(), rebuilding: Vec::new() };
    let lacks = |word: &String| LACKING.iter().any(|lacking| word.to_ascii_lowercase().contains(lacking));
    store
        .refuses
        .extend([says("Health")].into_iter().flatten().filter(|health| health != "OK").map(|health| format!("its health is {}", read::shown(&health))));
    let states = [says("State"), maker(doc, "RaidStatus"), maker(doc, "VolumeStatus")];
    store.refuses.extend(states.into_iter().flatten().filter(lacks).map(|state| format!("it is {}", read::shown(&state))));
    store.rebuilding = operations(doc);
    Some(store)
}

/// What is under way on it and must not be cut short.
fn operations(doc: &Value) -> Vec<String> {
    let list = doc.get("Operations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of = |operation: &Value| {
        let name = read::text(operation.get("OperationName")).or_else(|| read::text(operation.get("Operation")))?;
        let reads = READS.iter().any(|word| name.to_ascii_lowercase().contains(word));
        let percent = read::text(operation.get("PercentageComplete")).map(|p| format!(" {p} %")).unwrap_or_default();
        (!reads && percent != " 100 %").then(|| read::shown(&format!("{name}{percent}")))
    };
    list.iter().filter_map(of).collect()
}

/// A failed or rebuilding drive, for the volume that it is told beside.
fn drive(doc: &Value, beside: &mut DataStore) {
    let name = ["Name", "Id"].iter().find_map(|key| read::text(doc.get(*key))).unwrap_or_else(|| "a drive".into());
    let health = doc.pointer("/Status/Health").and_then(|h| read::text(Some(h))).filter(|health| health != "OK");
    let light = read::text(doc.get("StatusIndicator")).filter(|word| !["OK", "Hotspare"].contains(&word.as_str()));
    let said = health.or(light);
    let under_way = operations(doc);
    if let (Some(said), true) = (said, under_way.is_empty()) {
        beside.refuses.push(read::shown(&format!("drive {name}: {said}")));
    }
    beside.rebuilding.extend(under_way.into_iter().map(|operation| read::shown(&format!("drive {name}: {operation}"))));
}

/// A word that makers put below `Oem`, at whatever depth of two.
fn maker(doc: &Value, key: &str) -> Option<String> {
    let makers = doc.get("Oem")?.as_object()?.values();
    let deep = makers.flat_map(|own| std::iter::once(own).chain(own.as_object().into_iter().flat_map(|o| o.values())));
    deep.filter_map(|part| read::text(part.get(key))).next()
}

/// Of one document, as far as it goes.
pub fn read(doc: &Value) {
    let name = controller(doc).unwrap_or_default();
    let mut store = volume(&name, "/", doc).unwrap_or(DataStore { kind: String::new(), name: String::new(), refuses: Vec::new(), rebuilding: Vec::new() });
    drive(doc, &mut store);
    let told = store.refuses.iter().chain(&store.rebuilding).chain([&store.name]);
    told.for_each(|text| assert!(!text.contains(char::is_control), "a terminal would obey it"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(doc: Value) -> Option<(Vec<String>, Vec<String>)> {
        volume("RAID 1", "/v/1", &doc).map(|v| (v.refuses, v.rebuilding))
    }

    #[test]
    fn a_volume_that_is_not_well_says_why() {
        let well = (vec![], vec![]);
        for doc in [
            json!({}),
            json!({ "Status": null, "Operations": null }),
            json!({ "Status": { "Health": "OK", "State": "Enabled" }, "Operations": [] }),
            json!({ "Status": { "Health": null, "State": 7 }, "Operations": [{ "OperationName": "Check Consistency", "PercentageComplete": 3 }, { "OperationName": null }] }),
            json!({ "Status": { "Health": "OK" }, "Operations": [{ "OperationName": "Rebuild", "PercentageComplete": 100 }] }),
        ] {
            assert_eq!(of(doc.clone()), Some(well.clone()), "{doc}");
        }
        assert_eq!(of(json!({ "Status": { "State": "Absent", "Health": "Critical" } })), None);
        assert_eq!(of(json!({ "Status": { "Health": "Warning", "State": "Enabled" } })), Some((vec!["its health is Warning".into()], vec![])));
        assert_eq!(
            of(json!({ "Status": { "Health": "OK" }, "Operations": [{ "OperationName": "Rebuilding", "PercentageComplete": 42 }] })),
            Some((vec![], vec!["Rebuilding 42 %".into()]))
        );
        let own = json!({ "Status": { "Health": "OK" }, "Oem": { "Any": { "AnyVolume": { "RaidStatus": "Degraded" } } } });
        assert_eq!(of(own), Some((vec!["it is Degraded".into()], vec![])));
        let mut store = volume("c", "/v", &json!({ "Status": { "Health": "Critical" } })).unwrap();
        drive(&json!({ "Name": "Bay 3", "StatusIndicator": "Rebuild", "Operations": [{ "OperationName": "Rebuild", "PercentageComplete": 9 }] }), &mut store);
        drive(&json!({ "Name": "Bay 4", "StatusIndicator": "OK", "Status": { "Health": "OK" } }), &mut store);
        drive(&json!({ "Name": "Bay 5", "Status": { "Health": "Critical" } }), &mut store);
        assert_eq!((store.refuses.len(), store.rebuilding.as_slice()), (2, &["drive Bay 3: Rebuild 9 %".to_owned()][..]), "{store:?}");
    }
}
