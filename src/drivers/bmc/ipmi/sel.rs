//! The System Event Log over IPMI: record by record, from the one that is known to the end.
use super::read::Ask;
use crate::{
    model::{Fault, FaultKind, LogEntry},
    wire::{ipmi, sel},
};

/// Marks an id as a record of this log: those of Redfish count otherwise.
pub const MARK: &str = "ipmi:";
/// The most that a log can hold by its ids, short of a BMC that leads round in circles.
const MOST: usize = 0xffff;

/// Records after `since`, oldest first. A log without that record was cleared: then all of it is new.
pub async fn since(ask: &mut dyn Ask, endpoint: &str, since: Option<&str>) -> Result<Vec<LogEntry>, Fault> {
    let known = since.map(|id| number(endpoint, id)).transpose()?;
    // An empty log has no first record to ask for: some answer that with an error, others with nonsense.
    let info = ask.ask(ipmi::SEL_INFO, &[]).await?;
    if info.get(1..3) == Some(&[0, 0]) {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    let mut at = sel::FIRST;
    if let Some(known) = known {
        match entry(ask, endpoint, known).await {
            // Ids are given again after a clear: the same number may be another record, and then one is missed, never repeated for ever.
            Ok((sel::LAST, _)) => return Ok(out),
            Ok((next, _)) => at = next,
            Err(fault) if fault.kind == FaultKind::Unable => {}
            Err(fault) => return Err(fault),
        }
    }
    for _ in 0..MOST {
        let (next, record) = entry(ask, endpoint, at).await?;
        let at_text = record.at.and_then(|s| jiff::Timestamp::from_second(i64::from(s)).ok()).map(|t| t.to_string());
        out.push(LogEntry { id: format!("{MARK}{:04x}", record.id), at: at_text, severity: record.severity.into(), message: record.message });
        if next == sel::LAST {
            return Ok(out);
        }
        if next == at || next == sel::FIRST {
            return Err(Fault::new(FaultKind::Invalid, format!("{endpoint}: its event log leads from record {at:04x} back to {next:04x}")));
        }
        at = next;
    }
    Err(Fault::new(FaultKind::Invalid, format!("{endpoint}: its event log has no end")))
}

fn number(endpoint: &str, id: &str) -> Result<u16, Fault> {
    let record = id.strip_prefix(MARK).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    record.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{endpoint}: `{id}` is no record of its IPMI event log")))
}

async fn entry(ask: &mut dyn Ask, endpoint: &str, id: u16) -> Result<(u16, sel::Record), Fault> {
    let data = ask.ask(ipmi::SEL_ENTRY, &sel::request(id)).await?;
    sel::answer(&data).map_err(|bad| Fault::new(FaultKind::Invalid, format!("{endpoint}: record {id:04x} of its event log makes no sense")).caused_by(&bad))
}
