//! The firmware inventory: every member by its link; what one entry does not say spoils no other.
use super::{Redfish, quirks, read};
use crate::model::{Fault, FaultKind, Firmware};
use serde_json::Value;

const PAGES: usize = 16;
const MEMBERS: usize = 512;

/// None: not what runs now, but an image that is kept or staged.
pub fn firmware(uri: &str, doc: &Value) -> Option<Firmware> {
    let id = read::text(doc.get("Id")).unwrap_or_else(|| uri.trim_end_matches('/').rsplit('/').next().unwrap_or(uri).to_owned());
    if quirks::not_running(&id) {
        return None;
    }
    let id = quirks::part_id(&id).to_owned();
    Some(Firmware {
        name: read::text(doc.get("Name")).map_or_else(|| id.clone(), |n| read::shown(&n)),
        version: read::text(doc.get("Version")).map(|v| read::shown(&v)),
        updateable: doc.get("Updateable").and_then(Value::as_bool).unwrap_or(false),
        id: read::shown(&id),
    })
}

impl Redfish {
    pub async fn update_service(&self) -> Result<(String, Value), Fault> {
        let none = || Fault::new(FaultKind::Unable, format!("{}: it has no update service", self.endpoint));
        let uri = read::link(self.service_root().await?.get("UpdateService")).ok_or_else(none)?;
        let doc = self.client.get(&uri).await?;
        Ok((uri, doc))
    }

    pub async fn inventory(&self) -> Result<Vec<Firmware>, Fault> {
        let (_, service) = self.update_service().await?;
        let none = || Fault::new(FaultKind::Unable, format!("{}: it has no firmware inventory", self.endpoint));
        let list = read::link(service.get("FirmwareInventory")).ok_or_else(none)?;
        let mut found = Vec::new();
        for uri in self.members_of(&list, PAGES, MEMBERS).await? {
            match self.client.get(&uri).await {
                Ok(doc) => found.extend(firmware(&uri, &doc)),
                // Listed and not there.
                Err(fault) if fault.kind == FaultKind::Unable => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(found)
    }
}
