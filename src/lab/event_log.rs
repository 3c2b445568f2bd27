//! The System Event Log of one simulated machine: what its BMC notes, shown over Redfish and over IPMI alike.
use super::rack::Flaw;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// As many as its memory holds; the oldest go first.
const ROOM: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Boot,
    /// DIMM A3 is not there any more.
    DimmLost,
    BmcRestart,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: u16,
    /// Seconds since 1970.
    at: u32,
    event: Event,
}

#[derive(Debug, Clone, Default)]
pub struct EventLog {
    records: Vec<Record>,
    last: u16,
}

impl EventLog {
    pub fn note(&mut self, event: Event) {
        self.last = self.last.wrapping_add(1).clamp(1, 0xfffe);
        self.records.push(Record { id: self.last, at: u32::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default(), event });
        let over = self.records.len().saturating_sub(ROOM);
        self.records.drain(..over);
    }

    pub fn booted(&mut self, flaws: &BTreeSet<Flaw>) {
        self.note(Event::Boot);
        if flaws.contains(&Flaw::LostDimm) {
            self.note(Event::DimmLost);
        }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// For Get SEL Entry: the id that follows, then the record.
    pub fn entry(&self, id: u16) -> Option<Vec<u8>> {
        let at = match id {
            0 => 0,
            0xffff => self.records.len().checked_sub(1)?,
            id => self.records.iter().position(|r| r.id == id)?,
        };
        let next = self.records.get(at + 1).map_or(0xffff, |r| r.id);
        Some([&next.to_le_bytes()[..], &self.records.get(at)?.sel()].concat())
    }

    /// `/Systems/1/LogServices` and what is below it.
    pub fn resource(&self, path: &str) -> Option<Value> {
        let below = path.strip_prefix("/redfish/v1/Systems/1/LogServices")?;
        let one = |id: &str| json!({ "@odata.id": format!("/redfish/v1/Systems/1/LogServices{id}") });
        let mut document = match below {
            "" => json!({ "@odata.type": "#LogServiceCollection.LogServiceCollection", "Name": "Logs", "Members@odata.count": 1, "Members": [one("/SEL")] }),
            "/SEL" => json!({
                "@odata.type": "#LogService.v1_5_0.LogService", "Id": "SEL", "Name": "System Event Log", "LogEntryType": "SEL", "ServiceEnabled": true,
                "MaxNumberOfRecords": ROOM, "OverWritePolicy": "WrapsWhenFull", "Entries": one("/SEL/Entries"),
            }),
            "/SEL/Entries" => {
                let records: Vec<Value> = self.records.iter().map(Record::resource).collect();
                json!({ "@odata.type": "#LogEntryCollection.LogEntryCollection", "Name": "System Event Log", "Members@odata.count": records.len(), "Members": records })
            }
            _ => {
                let id: u16 = below.strip_prefix("/SEL/Entries/")?.parse().ok()?;
                self.records.iter().find(|r| r.id == id)?.resource()
            }
        };
        document["@odata.id"] = json!(path);
        Some(document)
    }
}

impl Record {
    fn words(&self) -> (&'static str, &'static str) {
        match self.event {
            Event::Boot => ("OK", "System boot initiated"),
            Event::DimmLost => ("Critical", "Memory DIMM A3: configuration error, not detected"),
            Event::BmcRestart => ("OK", "Management controller restarted"),
        }
    }

    fn resource(&self) -> Value {
        let (severity, message) = self.words();
        let created = jiff::Timestamp::from_second(i64::from(self.at)).map(|t| t.to_string()).unwrap_or_default();
        json!({
            "@odata.id": format!("/redfish/v1/Systems/1/LogServices/SEL/Entries/{}", self.id), "@odata.type": "#LogEntry.v1_16_0.LogEntry",
            "Id": self.id.to_string(), "Name": format!("Log entry {}", self.id), "EntryType": "SEL", "Created": created, "Severity": severity, "Message": message,
        })
    }

    /// 16 bytes (IPMI 2.0, 32.1): generator 0020h, event message format 04h, sensor-specific.
    fn sel(&self) -> [u8; 16] {
        // Sensor type and offset by table 42-3.
        let (sensor, number, offset) = match self.event {
            Event::Boot => (0x1d, 1, 1),
            Event::DimmLost => (0x0c, 3, 7),
            Event::BmcRestart => (0x28, 9, 2),
        };
        let ([low, high], at) = (self.id.to_le_bytes(), self.at.to_le_bytes());
        [low, high, 0x02, at[0], at[1], at[2], at[3], 0x20, 0, 0x04, sensor, number, 0x6f, 0xf0 | offset, 0xff, 0xff]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::sel;

    #[test]
    fn both_protocols_tell_the_same_records() {
        let mut log = EventLog::default();
        assert_eq!(log.entry(0), None);
        log.booted(&BTreeSet::from([Flaw::LostDimm]));
        let (next, first) = sel::answer(&log.entry(0).unwrap()).unwrap();
        let (last, second) = sel::answer(&log.entry(next).unwrap()).unwrap();
        assert_eq!((first.id, next, second.id, last), (1, 2, 2, sel::LAST));
        assert_eq!(second.severity, "Critical", "{}", second.message);
        let shown = log.resource("/redfish/v1/Systems/1/LogServices/SEL/Entries").unwrap();
        assert_eq!((shown["Members"][1]["Id"].as_str(), shown["Members"][1]["Severity"].as_str()), (Some("2"), Some("Critical")));
        for _ in 0..2 * ROOM {
            log.note(Event::Boot);
        }
        assert_eq!(log.len(), ROOM);
        assert_eq!(log.entry(1), None, "gone with the oldest");
    }
}
