//! Who a machine is, and whether three witnesses speak of the same one (safety.md, 1).
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// SMBIOS system UUID. Its first three groups may come in either byte order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// System serial number or service tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// `/etc/machine-id` of the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Address of the BMC as the witness knows it (VergeOS `ipmi_address`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bmc_address: Option<String>,
}

/// How the chain closed, for plan and report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// `cluster = host = BMC`.
    pub closed_by: String,
    /// What proved it: `uuid`, `bmc_address`, `machine_id + serial`, `pinned`.
    pub evidence: Vec<String>,
}

impl Identity {
    /// Lower case without dashes, or nothing where it is a placeholder that many machines share.
    pub fn uuid_key(&self) -> Option<String> {
        let hex: String = self.uuid.as_deref()?.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase();
        (hex.len() == 32 && !placeholder_uuid(&hex)).then_some(hex)
    }
    pub fn serial_key(&self) -> Option<String> {
        let serial = self.serial.as_deref()?.trim().to_ascii_lowercase();
        (!placeholder_serial(&serial)).then_some(serial)
    }
    pub fn machine_id_key(&self) -> Option<String> {
        let id = self.machine_id.as_deref()?.trim().to_ascii_lowercase();
        (id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0')).then_some(id)
    }
    pub fn bmc_address_key(&self) -> Option<String> {
        let address = self.bmc_address.as_deref()?.trim().to_ascii_lowercase();
        (!address.is_empty() && address != "0.0.0.0" && address != "::").then_some(address)
    }
    /// Do two readings speak of one machine? `None`: nothing comparable could be read on both sides.
    pub fn same(&self, other: &Identity) -> Option<Result<&'static str, String>> {
        if let (Some(a), Some(b)) = (self.uuid_key(), other.uuid_key()) {
            return Some(if a == b || swapped(&a) == b { Ok("uuid") } else { Err(format!("uuid {a} is not {b}")) });
        }
        let pairs = [
            ("bmc address", self.bmc_address_key(), other.bmc_address_key()),
            ("serial", self.serial_key(), other.serial_key()),
            ("machine-id", self.machine_id_key(), other.machine_id_key()),
        ];
        pairs.into_iter().find_map(|(what, a, b)| match (a, b) {
            (Some(a), Some(b)) => Some(if a == b { Ok(what) } else { Err(format!("{what} {a} is not {b}")) }),
            _ => None,
        })
    }
    /// Every value that could name one machine, each in one form: both byte orders of a UUID are one value.
    pub fn values(&self) -> Vec<String> {
        let uuid = self.uuid_key().map(|hex| swapped(&hex).min(hex));
        [uuid, self.serial_key(), self.machine_id_key(), self.bmc_address_key()].into_iter().flatten().collect()
    }
    /// What is left when values that other machines share are taken out: they prove nothing.
    pub fn without(&self, shared: &[String]) -> Identity {
        let one_form = |text: &str| Identity { uuid: Some(text.into()), ..Identity::default() }.values().pop().unwrap_or(text.trim().to_ascii_lowercase());
        let own = |value: &Option<String>| value.clone().filter(|v| !shared.iter().any(|s| one_form(s) == one_form(v)));
        Identity { uuid: own(&self.uuid), serial: own(&self.serial), machine_id: own(&self.machine_id), bmc_address: own(&self.bmc_address) }
    }
    /// The strongest value it has, as it was said, for people.
    pub fn shown(&self) -> String {
        let uuid = self.uuid_key().and(self.uuid.as_deref()).map(|u| u.trim().to_ascii_lowercase());
        let serial = || self.serial_key().and(self.serial.as_deref()).map(|s| format!("serial {}", s.trim()));
        let id = || self.machine_id_key().map(|id| format!("machine-id {id}"));
        let address = || self.bmc_address_key().map(|a| format!("BMC address {a}"));
        uuid.or_else(serial).or_else(id).or_else(address).unwrap_or_else(|| "nothing".into())
    }
    pub fn is_empty(&self) -> bool {
        self.uuid_key().is_none() && self.serial_key().is_none() && self.machine_id_key().is_none() && self.bmc_address_key().is_none()
    }
}

/// The other byte order of SMBIOS: the first three groups reversed.
fn swapped(hex: &str) -> String {
    let rev = |r: std::ops::Range<usize>| -> String {
        let part = &hex[r];
        (0..part.len() / 2).rev().map(|i| &part[2 * i..2 * i + 2]).collect()
    };
    format!("{}{}{}{}", rev(0..8), rev(8..12), rev(12..16), &hex[16..])
}

fn placeholder_uuid(hex: &str) -> bool {
    let one_byte = hex.bytes().all(|b| b == hex.as_bytes()[0]);
    // Boards whose maker never wrote one: 03000200-0400-0500-0006-000700080009 and its byte-swapped form.
    one_byte || hex == "03000200040005000006000700080009" || hex == "00020003000400050006000700080009" || hex == "0123456789abcdef0123456789abcdef"
}
fn placeholder_serial(serial: &str) -> bool {
    const SHARED: [&str; 12] = [
        "to be filled by o.e.m.",
        "to be filled by oem",
        "default string",
        "not specified",
        "not available",
        "system serial number",
        "none",
        "n/a",
        "na",
        "unknown",
        "0123456789",
        "123456789",
    ];
    serial.len() < 3 || SHARED.contains(&serial) || serial.bytes().all(|b| b == serial.as_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Identity {
        Identity { uuid: Some(text.into()), ..Identity::default() }
    }

    #[test]
    fn both_byte_orders_are_one_machine() {
        let a = uuid("4c4c4544-0051-3010-8052-b4c04f4e4d32");
        let b = uuid("44454C4C-5100-1030-8052-B4C04F4E4D32");
        assert_eq!(a.same(&b), Some(Ok("uuid")));
        assert!(matches!(a.same(&uuid("4c4c4544-0038-3010-8052-b4c04f4e4d32")), Some(Err(_))));
    }

    #[test]
    fn placeholders_prove_nothing() {
        for text in ["03000200-0400-0500-0006-000700080009", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "x"] {
            assert_eq!(uuid(text).uuid_key(), None, "{text}");
        }
        let serial = |s: &str| Identity { serial: Some(s.into()), ..Identity::default() };
        assert_eq!(serial("To Be Filled By O.E.M.").serial_key(), None);
        assert_eq!(serial("00000000").serial_key(), None);
        assert_eq!(serial("J4X12S3").same(&serial("j4x12s3")), Some(Ok("serial")));
        assert_eq!(serial("J4X12S3").same(&uuid("4c4c4544-0051-3010-8052-b4c04f4e4d32")), None);
    }
}
