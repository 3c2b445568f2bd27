//! One record of the System Event Log (IPMI 2.0, 32.1), as a line for people.
use super::{Malformed, array};

/// The first record, and what stands behind the last.
pub const FIRST: u16 = 0x0000;
pub const LAST: u16 = 0xffff;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: u16,
    /// Seconds since 1970 by the BMC's own clock; None: it was not set then (below 0x20000000 it counts from the BMC's start), or the record carries none.
    pub at: Option<u32>,
    /// `OK`, `Warning`, `Critical`, as far as the event itself tells; else `unknown`.
    pub severity: &'static str,
    pub message: String,
}

/// What Get SEL Entry is asked: no reservation, because none is needed for whole records, and one would make every event that comes meanwhile an error.
pub fn request(id: u16) -> [u8; 6] {
    let [low, high] = id.to_le_bytes();
    [0, 0, low, high, 0, 0xff]
}

/// Its answer: the id of the next record, and this one.
pub fn answer(data: &[u8]) -> Result<(u16, Record), Malformed> {
    let bad = Malformed("SEL entry");
    let next = u16::from_le_bytes(array(data, 0).ok_or(bad)?);
    let record: [u8; 16] = array(data, 2).ok_or(bad)?;
    Ok((next, read(&record)))
}

fn read(record: &[u8; 16]) -> Record {
    let id = u16::from_le_bytes([record[0], record[1]]);
    let at = u32::from_le_bytes([record[3], record[4], record[5], record[6]]);
    let at = (at >= 0x2000_0000 && at != u32::MAX).then_some(at);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    match record[2] {
        0x02 => {
            let (sensor, number, dir, data) = (record[10], record[11], record[12], [record[13], record[14], record[15]]);
            let gone = dir & 0x80 != 0;
            let (kind, offset) = (dir & 0x7f, data[0] & 0x0f);
            let what = words(sensor, kind, offset);
            let known = what.map_or_else(|| format!("event {kind:02x}h offset {offset}"), |(text, _)| text.to_owned());
            let severity = match what {
                Some(_) if gone => "OK",
                Some((_, severity)) => severity,
                None => "unknown",
            };
            let over = if gone { " (no longer)" } else { "" };
            Record { id, at, severity, message: format!("{} #{number:02x}: {known}{over} [{}]", sensor_type(sensor), hex(&data)) }
        }
        // With the maker's number, and without a time.
        kind @ 0xc0..=0xdf => Record { id, at, severity: "unknown", message: format!("maker's own record {kind:02x}h: {}", hex(&record[7..])) },
        kind => Record { id, at: None, severity: "unknown", message: format!("record of type {kind:02x}h: {}", hex(&record[3..])) },
    }
}

/// Table 42-3, those that a service visit is about.
fn sensor_type(sensor: u8) -> String {
    let name = match sensor {
        0x01 => "temperature",
        0x02 => "voltage",
        0x03 => "current",
        0x04 => "fan",
        0x05 => "chassis intrusion",
        0x07 => "processor",
        0x08 => "power supply",
        0x09 => "power unit",
        0x0a => "cooling device",
        0x0c => "memory",
        0x0d => "drive slot",
        0x0f => "system firmware",
        0x10 => "event logging",
        0x12 => "system event",
        0x13 => "critical interrupt",
        0x14 => "button",
        0x1d => "system boot",
        0x1f => "OS boot",
        0x20 => "OS stop",
        0x22 => "ACPI power state",
        0x23 => "watchdog",
        0x28 => "management subsystem",
        0x2b => "version change",
        other => return format!("sensor type {other:02x}h"),
    };
    name.to_owned()
}

/// Tables 42-2 (thresholds) and 42-3 (a sensor's own offsets).
fn words(sensor: u8, kind: u8, offset: u8) -> Option<(&'static str, &'static str)> {
    const THRESHOLDS: [(&str, &str); 6] = [
        ("below the lower non-critical limit", "Warning"),
        ("below the lower critical limit", "Critical"),
        ("below the lower non-recoverable limit", "Critical"),
        ("above the upper non-critical limit", "Warning"),
        ("above the upper critical limit", "Critical"),
        ("above the upper non-recoverable limit", "Critical"),
    ];
    if kind == 0x01 {
        return THRESHOLDS.get(usize::from(offset / 2)).copied();
    }
    if kind != 0x6f {
        return None;
    }
    Some(match (sensor, offset) {
        (0x07, 0) => ("internal error", "Critical"),
        (0x07, 1) => ("thermal trip", "Critical"),
        (0x07, 10) => ("throttled", "Warning"),
        (0x08, 0) => ("present", "OK"),
        (0x08, 1) => ("failed", "Critical"),
        (0x08, 2) => ("failure predicted", "Warning"),
        (0x08, 3) => ("input lost", "Critical"),
        (0x09, 0) => ("power off", "OK"),
        (0x09, 1) => ("power cycle", "OK"),
        (0x09, 4) => ("AC lost", "Warning"),
        (0x09, 5) => ("soft power control failed", "Warning"),
        (0x09, 6) => ("failure", "Critical"),
        (0x0c, 0) => ("correctable error", "Warning"),
        (0x0c, 1) => ("uncorrectable error", "Critical"),
        (0x0c, 5) => ("limit of correctable errors reached", "Warning"),
        (0x0c, 7) => ("configuration error", "Critical"),
        (0x0d, 1) => ("drive failed", "Critical"),
        (0x0d, 2) => ("drive failure predicted", "Warning"),
        (0x0f, 0) => ("POST error", "Critical"),
        (0x0f, 1) => ("hang", "Critical"),
        (0x0f, 2) => ("progress", "OK"),
        (0x10, 2) => ("log cleared", "OK"),
        (0x10, 4) => ("log full", "Warning"),
        (0x12, 0) => ("reconfigured", "OK"),
        (0x12, 1) => ("OEM system boot event", "OK"),
        (0x13, 4) => ("PCI parity error", "Critical"),
        (0x13, 5) => ("PCI system error", "Critical"),
        (0x13, 8) => ("bus uncorrectable error", "Critical"),
        (0x13, 10) => ("bus fatal error", "Critical"),
        (0x1d, _) => ("initiated", "OK"),
        (0x1f, _) => ("completed", "OK"),
        (0x20, 1) => ("runtime critical stop", "Critical"),
        (0x20, 3) => ("graceful shutdown", "OK"),
        (0x23, 0) => ("expired", "Warning"),
        (0x23, 1) => ("hard reset", "Critical"),
        (0x23, 2) => ("power down", "Critical"),
        (0x23, 3) => ("power cycle", "Critical"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(next: u16, record: [u8; 16]) -> Vec<u8> {
        [&next.to_le_bytes()[..], &record].concat()
    }

    #[test]
    fn records_are_read_as_the_tables_say() {
        let uncorrectable = [7, 0, 2, 0x00, 0x5e, 0x2f, 0x65, 0x20, 0, 4, 0x0c, 0x53, 0x6f, 0xa1, 0x00, 0x03];
        let (next, seen) = answer(&entry(0xffff, uncorrectable)).unwrap();
        assert_eq!((next, seen.id, seen.at, seen.severity), (LAST, 7, Some(0x652f_5e00), "Critical"));
        assert_eq!(seen.message, "memory #53: uncorrectable error [a1 00 03]");
        // Since the BMC's start: no time. Deasserted: over.
        let over = [8, 0, 2, 9, 0, 0, 0, 0x20, 0, 4, 0x01, 0x30, 0x81, 0x59, 80, 75];
        let (_, seen) = answer(&entry(9, over)).unwrap();
        assert_eq!((seen.at, seen.severity, seen.message.as_str()), (None, "OK", "temperature #30: above the upper critical limit (no longer) [59 50 4b]"));
        let (_, oem) = answer(&entry(9, [1, 0, 0xc0, 0, 0x5e, 0x2f, 0x65, 0x57, 1, 0, 1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!((oem.at.is_some(), oem.severity), (true, "unknown"));
        for len in 0..18 {
            assert!(answer(&entry(9, over)[..len]).is_err());
        }
        for kind in 0..=255 {
            for sensor in 0..=255 {
                let mut any = over;
                (any[2], any[10], any[12]) = (kind, sensor, sensor ^ kind);
                assert!(!answer(&entry(9, any)).unwrap().1.message.is_empty());
            }
        }
    }
}
