//! How the machine is set up to boot: boot order, Secure Boot, BIOS attributes. What is missing, null or of another type is not said, and spoils nothing.
use super::{Redfish, read};
use crate::model::{BootSetup, Fault, FaultKind};
use serde_json::Value;
use std::collections::BTreeMap;

/// Machines have some hundred attributes.
const ATTRIBUTES: usize = 2000;
const ENTRIES: usize = 256;
const SECURE_BOOT: [&str; 3] = ["SecureBootCurrentBoot", "SecureBootEnable", "SecureBootMode"];

impl Redfish {
    pub async fn read_setup(&self) -> Result<BootSetup, Fault> {
        let (_, system, _) = self.system_doc().await?;
        let mut setup = BootSetup { order: order(&system), ..BootSetup::default() };
        for (part, take) in [("SecureBoot", secure_boot as fn(&Value, &mut BootSetup)), ("Bios", bios)] {
            let Some(uri) = read::link(system.get(part)) else {
                setup.unread.insert(part.to_owned(), format!("{}: its system has no {part}", self.endpoint));
                continue;
            };
            match self.client.get(&uri).await {
                Ok(doc) => take(&doc, &mut setup),
                // Nothing came back: the same question has an answer later.
                Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unknown) => return Err(fault),
                Err(fault) => drop(setup.unread.insert(part.to_owned(), fault.to_string())),
            }
        }
        Ok(setup)
    }
}

fn order(system: &Value) -> Option<Vec<String>> {
    let list = system.pointer("/Boot/BootOrder")?.as_array()?;
    let entries: Vec<String> = list.iter().filter_map(|entry| read::text(Some(entry))).take(ENTRIES).map(|entry| read::shown(&entry)).collect();
    (!entries.is_empty()).then_some(entries)
}

fn secure_boot(doc: &Value, setup: &mut BootSetup) {
    for key in SECURE_BOOT {
        setup.secure_boot.extend(scalar(doc.get(key)).map(|value| (key.to_owned(), value)));
    }
    if setup.secure_boot.is_empty() {
        setup.unread.insert("SecureBoot".into(), "it says nothing of Secure Boot".into());
    }
}

fn bios(doc: &Value, setup: &mut BootSetup) {
    match doc.get("Attributes").and_then(Value::as_object) {
        Some(all) => setup.bios = attributes(all.iter()),
        None => drop(setup.unread.insert("Bios".into(), "it says no attributes".into())),
    }
}

/// Some BIOSes list their passwords among them, others a clock.
fn attributes<'a>(all: impl Iterator<Item = (&'a String, &'a Value)>) -> BTreeMap<String, String> {
    let named = |name: &str, words: &[&str]| words.iter().any(|word| name.to_ascii_lowercase().contains(word));
    let kept = all.filter(|(name, _)| !named(name, &["password", "passwd", "passphrase", "secret", "systemtime", "systemdate"]));
    kept.filter_map(|(name, value)| Some((read::shown(name), scalar(Some(value))?))).take(ATTRIBUTES).collect()
}

fn scalar(value: Option<&Value>) -> Option<String> {
    match value {
        Some(Value::Bool(flag)) => Some(flag.to_string()),
        value => read::text(value).map(|text| read::shown(&text)),
    }
}

/// Of one document, as far as it goes.
pub fn read(doc: &Value) {
    let mut setup = BootSetup { order: order(doc), ..BootSetup::default() };
    secure_boot(doc, &mut setup);
    bios(doc, &mut setup);
    let told = setup.order.into_iter().flatten().chain(setup.secure_boot.into_values()).chain(setup.bios.into_iter().flat_map(|(k, v)| [k, v]));
    told.for_each(|text| assert!(!text.contains(char::is_control), "a terminal would obey it"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_said_spoils_nothing() {
        assert_eq!(order(&json!({ "Boot": { "BootOrder": ["Boot0001", null, "Boot0000"] } })), Some(vec!["Boot0001".to_owned(), "Boot0000".to_owned()]));
        for odd in [
            json!({}),
            json!({ "Boot": null }),
            json!({ "Boot": { "BootOrder": null } }),
            json!({ "Boot": { "BootOrder": "x" } }),
            json!({ "Boot": { "BootOrder": [] } }),
        ] {
            assert_eq!(order(&odd), None, "{odd}");
        }
        let of = |doc: Value| {
            let mut setup = BootSetup::default();
            secure_boot(&doc, &mut setup);
            bios(&doc, &mut setup);
            setup
        };
        let all = of(json!({ "SecureBootCurrentBoot": "Enabled", "SecureBootEnable": true, "SecureBootMode": null,
            "Attributes": { "BootMode": "Uefi", "Cores": 32, "Sriov": false, "AdminPassword": "hunter2", "Nothing": null, "Odd": [1] } }));
        assert_eq!(all.secure_boot.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["SecureBootCurrentBoot=Enabled", "SecureBootEnable=true"]);
        assert_eq!(all.bios.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["BootMode=Uefi", "Cores=32", "Sriov=false"]);
        assert!(all.unread.is_empty());
        let none = of(json!({ "SecureBootEnable": null, "Attributes": 7 }));
        assert_eq!(none.unread.keys().map(String::as_str).collect::<Vec<_>>(), ["Bios", "SecureBoot"]);
    }
}
