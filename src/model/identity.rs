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
    /// Addresses of its own network interfaces, IP and MAC, as the witness knows them. Between two witnesses one in common is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
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
        let by_pair = pairs.into_iter().find_map(|(what, a, b)| match (a, b) {
            (Some(a), Some(b)) => Some(if a == b { Ok(what) } else { Err(format!("{what} {a} is not {b}")) }),
            _ => None,
        });
        by_pair.or_else(|| self.same_network(other))
    }
    fn same_network(&self, other: &Identity) -> Option<Result<&'static str, String>> {
        let (mine, theirs) = (self.address_keys(), other.address_keys());
        match () {
            () if mine.is_empty() || theirs.is_empty() => None,
            () if mine.iter().any(|a| theirs.contains(a)) => Some(Ok("network address")),
            () => Some(Err(format!("addresses {} are not {}", mine.join(" "), theirs.join(" ")))),
        }
    }
    /// In one form; without those that every machine has.
    pub fn address_keys(&self) -> Vec<String> {
        let key = |a: &String| a.split('/').next().unwrap_or_default().trim().to_ascii_lowercase();
        let common = |a: &str| a.is_empty() || a == "::1" || a == "0.0.0.0" || a == "00:00:00:00:00:00" || a.starts_with("127.") || a.starts_with("fe80:");
        self.addresses.iter().map(key).filter(|a| !common(a)).collect()
    }
    /// Every value that could name one machine, each in one form: both byte orders of a UUID are one value.
    pub fn values(&self) -> Vec<String> {
        let uuid = self.uuid_key().map(|hex| swapped(&hex).min(hex));
        [uuid, self.serial_key(), self.machine_id_key(), self.bmc_address_key()].into_iter().flatten().chain(self.address_keys()).collect()
    }
    /// What is left when values that other machines share are taken out: they prove nothing.
    pub fn without(&self, shared: &[String]) -> Identity {
        let one_form = |text: &str| Identity { uuid: Some(text.into()), ..Identity::default() }.values().pop().unwrap_or(text.trim().to_ascii_lowercase());
        let own = |value: &Option<String>| value.clone().filter(|v| !shared.iter().any(|s| one_form(s) == one_form(v)));
        let addresses = self.address_keys().into_iter().filter(|a| !shared.contains(a)).collect();
        Identity { uuid: own(&self.uuid), serial: own(&self.serial), machine_id: own(&self.machine_id), bmc_address: own(&self.bmc_address), addresses }
    }
    /// The strongest value it has, as it was said, for people.
    pub fn shown(&self) -> String {
        let uuid = self.uuid_key().and(self.uuid.as_deref()).map(|u| u.trim().to_ascii_lowercase());
        let serial = || self.serial_key().and(self.serial.as_deref()).map(|s| format!("serial {}", s.trim()));
        let id = || self.machine_id_key().map(|id| format!("machine-id {id}"));
        let address = || self.bmc_address_key().map(|a| format!("BMC address {a}"));
        let network = || self.address_keys().first().map(|a| format!("network address {a}"));
        uuid.or_else(serial).or_else(id).or_else(address).or_else(network).unwrap_or_else(|| "nothing".into())
    }
    /// Network addresses alone name a place, not a machine: a pin may stand in beside them.
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
    fn one_network_address_in_common_is_enough() {
        let at = |addresses: &[&str]| Identity { addresses: addresses.iter().map(|a| a.to_string()).collect(), ..Identity::default() };
        assert_eq!(at(&["192.0.2.1", "0C:C4:7A:00:00:01"]).same(&at(&["192.0.2.9/24", "0c:c4:7a:00:00:01"])), Some(Ok("network address")));
        assert!(matches!(at(&["192.0.2.1"]).same(&at(&["192.0.2.2"])), Some(Err(_))));
        for common in ["127.0.0.1", "::1", "fe80::1", "00:00:00:00:00:00", ""] {
            assert_eq!(at(&[common]).same(&at(&[common])), None, "{common}");
        }
        // What two machines share (a bridge of containers) proves nothing.
        assert!(at(&["172.17.0.1"]).without(&["172.17.0.1".into()]).addresses.is_empty());
        // The stronger value decides.
        let one = Identity { addresses: vec!["192.0.2.1".into()], ..uuid("4c4c4544-0051-3010-8052-b4c04f4e4d32") };
        let other = Identity { addresses: vec!["192.0.2.1".into()], ..uuid("4c4c4544-0038-3010-8052-b4c04f4e4d32") };
        assert!(matches!(one.same(&other), Some(Err(_))));
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
