//! Which system is meant, and what it can be told: found by following links, never by building an address.
use super::{
    Known, Redfish, boot,
    read::{self, Reset, System},
    tasks,
};
use crate::model::{Fault, FaultKind, ResetType};
use reqwest::Url;
use serde_json::Value;
use std::sync::MutexGuard;

/// Its address, what it said, and what that means.
type Found = (String, Value, System);

/// Pages of `Systems` and members on them: a BMC has a handful.
const PAGES: usize = 8;
const MEMBERS: usize = 64;

impl Redfish {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("BUG: a holder of what is known panicked")
    }

    pub fn fault(&self, kind: FaultKind, what: &str) -> Fault {
        Fault::new(kind, format!("{}: {what}", self.endpoint))
    }

    /// The system as it is now, and its address.
    pub async fn system(&self) -> Result<(String, System), Fault> {
        self.system_doc().await.map(|(uri, _, system)| (uri, system))
    }

    /// The same with all that the BMC said.
    pub async fn system_doc(&self) -> Result<(String, Value, System), Fault> {
        let known = self.known().system.clone();
        if let Some(uri) = known {
            match self.client.get(&uri).await {
                Ok(doc) => {
                    self.note(&uri, &doc);
                    let system = System::read(&doc);
                    return Ok((uri, doc, system));
                }
                // Addresses change with the firmware of some BMCs: look for it once more.
                Err(fault) if fault.kind == FaultKind::Unable => self.known().system = None,
                Err(fault) => return Err(fault),
            }
        }
        let found = self.find().await?;
        self.known().system = Some(found.0.clone());
        self.note(&found.0, &found.1);
        Ok(found)
    }

    /// For what is asked beside a look: the same document would be fetched for each.
    fn note(&self, uri: &str, doc: &Value) {
        let mut known = self.known();
        known.system_busy = tasks::busy(uri, doc);
        known.boot = boot::boot(doc);
        known.manager = read::link(doc.pointer("/Links/ManagedBy/0"));
    }

    async fn find(&self) -> Result<Found, Fault> {
        let root = match self.client.root().await? {
            Some(root) => root,
            None => self.client.get(super::client::ROOT).await?,
        };
        let mut page = read::link(root.get("Systems"));
        let mut uris = Vec::new();
        for _ in 0..PAGES {
            let Some(uri) = page else { break };
            let (members, next) = read::members(&self.client.get(&uri).await?);
            uris.extend(members);
            page = next;
        }
        let mut found = Vec::new();
        for uri in uris.into_iter().take(MEMBERS) {
            match self.client.get(&uri).await {
                Ok(doc) => {
                    let system = System::read(&doc);
                    found.push((uri, doc, system));
                }
                // Listed and not there. Any other fault could hide a second system that is meant as well.
                Err(fault) if fault.kind == FaultKind::Unable => {}
                Err(fault) => return Err(fault),
            }
        }
        self.choose(found)
    }

    /// The first of several is a guess: machines with GPUs or DPUs show more than one.
    fn choose(&self, mut found: Vec<Found>) -> Result<Found, Fault> {
        let names = found.iter().map(|(uri, _, s)| s.id.clone().unwrap_or_else(|| uri.clone())).collect::<Vec<_>>().join(", ");
        if let Some(wanted) = &self.system_id {
            let chosen = found.into_iter().find(|(uri, _, system)| system.is(uri, wanted));
            return chosen.ok_or_else(|| self.fault(FaultKind::Invalid, &format!("it has no system `{wanted}`")).cause(format!("it has {}", or_none(&names))));
        }
        if found.len() > 1 {
            found.retain(|(.., system)| system.reset.is_some());
        }
        match (found.pop(), found.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(self.fault(FaultKind::Unable, "it shows no system that can be reset").cause(format!("it shows {}", or_none(&names)))),
            (Some(_), _) => Err(self
                .fault(FaultKind::Invalid, &format!("it shows several systems: {names}"))
                .next(format!("name the one that is meant: `bmc.redfish.system_id = \"{}\"`", names.split(", ").next().unwrap_or_default()))),
        }
    }

    /// The allowable values: in the resource, in its ActionInfo, or nowhere.
    pub async fn verbs(&self, reset: &Reset) -> Result<Option<Vec<String>>, Fault> {
        match (&reset.verbs, &reset.info) {
            (Some(verbs), _) => Ok(Some(verbs.clone())),
            (None, None) => Ok(None),
            (None, Some(info)) => match self.client.get(info).await {
                Ok(doc) => Ok(read::action_info(&doc)),
                Err(fault) if fault.kind == FaultKind::Unable => Ok(None),
                Err(fault) => Err(fault),
            },
        }
    }

    /// Where this verb goes. Reading the system just before also proves that the session is alive: the write is never sent a second time.
    pub async fn target(&self, verb: ResetType) -> Result<Url, Fault> {
        let (uri, system) = self.system().await?;
        let judged = self.known().uuid.clone();
        if let (Some(judged), Some(now)) = (judged, system.identity.uuid_key())
            && judged != now
        {
            return Err(self.fault(FaultKind::Unwilling, &format!("{uri} is another machine than a moment ago: uuid {now}, not {judged}")));
        }
        let Some(reset) = &system.reset else {
            return Err(self.fault(FaultKind::Unable, &format!("{uri} offers no reset")));
        };
        match self.verbs(reset).await? {
            Some(verbs) if !verbs.iter().any(|v| v == verb.name()) => {
                Err(self.fault(FaultKind::Unable, &format!("{uri} takes no {verb}")).cause(format!("it takes {}", verbs.join(", "))))
            }
            _ => self.client.url(&reset.target),
        }
    }

    /// Asked once per client: it is for people.
    pub async fn bmc_version(&self, manager: Option<&str>) -> Option<String> {
        let known = self.known().firmware.clone();
        if let Some(firmware) = known {
            return firmware;
        }
        let doc = match manager {
            Some(uri) => self.client.get(uri).await.ok(),
            None => None,
        };
        let firmware = doc.and_then(|doc| read::text(doc.get("FirmwareVersion")));
        self.known().firmware = Some(firmware.clone());
        firmware
    }
}

fn or_none(names: &str) -> &str {
    if names.is_empty() { "none" } else { names }
}
