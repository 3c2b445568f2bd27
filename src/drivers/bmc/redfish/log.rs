//! The event log of a system: which of several, in which order, and what in it is new. Order comes from the records' ids, never from the BMC's clock.
use super::{Redfish, quirks, read};
use crate::model::{Fault, FaultKind, LogEntry};
use serde_json::Value;

/// Marks an id as a record of this log: those of IPMI count otherwise.
const MARK: &str = "redfish:";
/// Some journals have 90,000 records: past this a log is not the one a person reads.
const PAGES: usize = 100;
const MOST: usize = 5000;
/// Records that are only linked cost a request each.
const SINGLY: usize = 500;

impl Redfish {
    pub async fn log_entries_since(&self, since: Option<&str>) -> Result<Vec<LogEntry>, Fault> {
        let known = match since {
            None => None,
            Some(id) => Some(id.strip_prefix(MARK).ok_or_else(|| self.fault(FaultKind::Unable, &format!("`{id}` is no record of its Redfish event log")))?),
        };
        let mut page = self.log_entries().await?;
        let mut members: Vec<Value> = Vec::new();
        for _ in 0..PAGES {
            let Some(uri) = page else { break };
            let doc = self.client.get(&uri).await?;
            // Null and missing are an empty page.
            members.extend(doc.get("Members").and_then(Value::as_array).cloned().unwrap_or_default());
            page = read::text(doc.get("Members@odata.nextLink")).filter(|next| *next != uri);
            if members.len() > MOST {
                break;
            }
        }
        if page.is_some() {
            return Err(self.fault(FaultKind::Unable, &format!("its event log has more than {} records: too long to be read whole", members.len())));
        }
        let mut records: Vec<(String, Value)> = members.into_iter().filter_map(|m| Some((id(&m)?, m))).collect();
        // Stable: where ids have no numbers, it stays as the BMC lists it.
        records.sort_by_key(|(id, _)| order(id));
        records.dedup_by(|a, b| a.0 == b.0);
        // Where the known record is gone the log was cleared or went round: whatever counts higher is new, or else all of it.
        if let Some(known) = known {
            let behind = match records.iter().position(|(id, _)| id == known) {
                Some(at) => at + 1,
                None => Some(records.partition_point(|(id, _)| order(id) <= order(known))).filter(|at| *at < records.len()).unwrap_or(0),
            };
            records.drain(..behind);
        }
        let linked = records.iter().filter(|(_, m)| is_link(m)).count();
        if linked > SINGLY {
            return Err(self.fault(FaultKind::Unable, &format!("its event log has {linked} records to be fetched one by one: too many")));
        }
        let mut out = Vec::new();
        for (id, member) in records {
            let doc = match read::link(Some(&member)).filter(|_| is_link(&member)) {
                None => member,
                Some(uri) => match self.client.get(&uri).await {
                    Ok(doc) => doc,
                    // Listed and gone: the log moved on.
                    Err(fault) if fault.kind == FaultKind::Unable => continue,
                    Err(fault) => return Err(fault),
                },
            };
            out.push(entry(&id, &doc));
        }
        Ok(out)
    }

    /// The entries of the one log that a person would open: the system's event log, else its manager's.
    async fn log_entries(&self) -> Result<Option<String>, Fault> {
        let known = self.known().log.clone();
        if known.is_some() {
            return Ok(known);
        }
        let (_, doc, system) = self.system_doc().await?;
        let mut services = read::link(doc.get("LogServices"));
        if services.is_none()
            && let Some(manager) = &system.manager
        {
            services = read::link(self.client.get(manager).await?.get("LogServices"));
        }
        let Some(services) = services else { return Err(self.fault(FaultKind::Unable, "it shows no event log")) };
        let (uris, _) = read::members(&self.client.get(&services).await?);
        let mut best: Option<(u8, String)> = None;
        for uri in uris.into_iter().take(16) {
            let service = match self.client.get(&uri).await {
                Ok(service) => service,
                Err(fault) if fault.kind == FaultKind::Unable => continue,
                Err(fault) => return Err(fault),
            };
            if let Some(entries) = read::link(service.get("Entries"))
                && best.as_ref().is_none_or(|(rank, _)| rank_of(&service) > *rank)
            {
                best = Some((rank_of(&service), entries));
            }
        }
        let entries = best.map(|(_, entries)| entries).ok_or_else(|| self.fault(FaultKind::Unable, "it shows no event log"))?;
        self.known().log = Some(entries.clone());
        Ok(Some(entries))
    }
}

/// What calls itself the System Event Log, then what is named like one, then anything.
fn rank_of(service: &Value) -> u8 {
    let says = |key: &str| read::text(service.get(key)).unwrap_or_default().to_ascii_lowercase();
    let (id, entries) = (says("Id"), says("LogEntryType"));
    match () {
        _ if service.get("ServiceEnabled") == Some(&Value::Bool(false)) => 0,
        _ if entries == "sel" || id == "sel" => 4,
        _ if quirks::EVENT_LOGS.contains(&id.as_str()) => 3,
        _ if entries == "event" || id.contains("event") => 2,
        _ => 1,
    }
}

fn is_link(member: &Value) -> bool {
    member.as_object().is_some_and(|o| o.len() == 1 && o.contains_key("@odata.id"))
}

/// Its own, or the last part of its address.
fn id(member: &Value) -> Option<String> {
    read::text(member.get("Id")).or_else(|| read::link(Some(member))?.trim_end_matches('/').rsplit('/').next().map(str::to_owned)).filter(|id| !id.is_empty())
}

/// The numbers in an id: `9` before `10`, `1603233216` before `1603233216_1`.
fn order(id: &str) -> Vec<u64> {
    id.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap_or(u64::MAX)).collect()
}

fn entry(id: &str, doc: &Value) -> LogEntry {
    let message = read::text(doc.get("Message")).or_else(|| read::text(doc.get("MessageId"))).or_else(|| read::text(doc.get("Name"))).unwrap_or_default();
    LogEntry {
        id: format!("{MARK}{id}"),
        at: read::text(doc.get("Created")),
        severity: read::text(doc.get("Severity")).unwrap_or_else(|| "unknown".into()),
        message: read::shown(&message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_by_their_numbers() {
        let mut ids = ["10", "9", "1603233216_1", "1603233216", "x"];
        ids.sort_by_key(|id| order(id));
        assert_eq!(ids, ["x", "9", "10", "1603233216", "1603233216_1"]);
        assert_eq!(id(&serde_json::json!({ "@odata.id": "/redfish/v1/Systems/1/LogServices/SEL/Entries/12/" })).as_deref(), Some("12"));
        assert_eq!(id(&serde_json::json!(7)), None);
    }
}
