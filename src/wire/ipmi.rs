//! What the few IPMI commands we speak carry: network functions, command numbers, and the data of their answers.
use super::Malformed;

pub mod net_fn {
    pub const CHASSIS: u8 = 0x00;
    pub const APP: u8 = 0x06;
    pub const STORAGE: u8 = 0x0a;
}

/// A command: network function and number.
pub type Command = (u8, u8);

pub const CHASSIS_STATUS: Command = (net_fn::CHASSIS, 0x01);
pub const CHASSIS_CONTROL: Command = (net_fn::CHASSIS, 0x02);
pub const CHASSIS_IDENTIFY: Command = (net_fn::CHASSIS, 0x04);
pub const SET_BOOT_OPTIONS: Command = (net_fn::CHASSIS, 0x08);
pub const GET_BOOT_OPTIONS: Command = (net_fn::CHASSIS, 0x09);
pub const COLD_RESET: Command = (net_fn::APP, 0x02);
pub const DEVICE_ID: Command = (net_fn::APP, 0x01);
pub const SYSTEM_GUID: Command = (net_fn::APP, 0x37);
pub const AUTH_CAPABILITIES: Command = (net_fn::APP, 0x38);
pub const SET_PRIVILEGE: Command = (net_fn::APP, 0x3b);
pub const CLOSE_SESSION: Command = (net_fn::APP, 0x3c);
pub const CIPHER_SUITES: Command = (net_fn::APP, 0x54);
pub const FRU_AREA: Command = (net_fn::STORAGE, 0x10);
pub const FRU_READ: Command = (net_fn::STORAGE, 0x11);
pub const SDR_INFO: Command = (net_fn::STORAGE, 0x20);
pub const SEL_INFO: Command = (net_fn::STORAGE, 0x40);
pub const SEL_RESERVE: Command = (net_fn::STORAGE, 0x42);
pub const SEL_ENTRY: Command = (net_fn::STORAGE, 0x43);
pub const SEL_TIME: Command = (net_fn::STORAGE, 0x48);

/// Privilege levels.
pub const USER: u8 = 2;
pub const OPERATOR: u8 = 3;
pub const ADMINISTRATOR: u8 = 4;

/// The channel that the request came in on.
pub const THIS_CHANNEL: u8 = 0x0e;

/// What Chassis Control is told.
pub mod control {
    pub const OFF: u8 = 0;
    pub const ON: u8 = 1;
    pub const CYCLE: u8 = 2;
    pub const RESET: u8 = 3;
    pub const SOFT: u8 = 5;
}

/// Get Chassis Status: is the power on?
pub fn power_is_on(data: &[u8]) -> Result<bool, Malformed> {
    match data {
        // Byte 2 tells of the last power event, which we do not need; without byte 1 and 3 it is not this answer.
        [current, _, _, ..] => Ok(current & 1 != 0),
        _ => Err(Malformed("chassis status")),
    }
}

/// Get Channel Authentication Capabilities: does the channel speak IPMI 2.0, and does the BMC have a key of its own (K_G)?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    pub ipmi_2: bool,
    pub own_key: bool,
}
pub fn capabilities(data: &[u8]) -> Result<Capabilities, Malformed> {
    match *data {
        [_, types, status, extended, ..] => Ok(Capabilities { ipmi_2: types & 0x80 != 0 && extended & 2 != 0, own_key: status & 0x20 != 0 }),
        _ => Err(Malformed("channel authentication capabilities")),
    }
}

/// Get Device ID: maker, product and firmware in numbers. The auxiliary firmware revision is optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// IANA enterprise number.
    pub maker: u32,
    pub product: u16,
    pub firmware: (u8, u8),
    pub ipmi: u8,
}
pub fn device(data: &[u8]) -> Result<Device, Malformed> {
    match *data {
        [_, _, major, minor, ipmi, _, m0, m1, m2, p0, p1, ..] => {
            Ok(Device { maker: u32::from_le_bytes([m0, m1, m2 & 0x0f, 0]), product: u16::from_le_bytes([p0, p1]), firmware: (major & 0x7f, minor), ipmi })
        }
        _ => Err(Malformed("device ID")),
    }
}
impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Firmware minor is BCD, the IPMI version BCD with its digits swapped.
        let (major, minor) = self.firmware;
        write!(f, "IANA {} product 0x{:04x}, BMC firmware {major}.{minor:02x}, IPMI {}.{}", self.maker, self.product, self.ipmi & 0x0f, self.ipmi >> 4)
    }
}

/// In which order a BMC sends the bytes of its GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuidOrder {
    /// As printed, or as SMBIOS lays them out: the first three groups may be swapped.
    Smbios,
    /// The last byte first, as IPMI 20.8 says.
    Ipmi,
}

/// Which order is it? Makers are split, so the marks of RFC 9562 decide: variant and version lie at fixed places. About one random UUID in
/// twenty that is sent in IPMI's order also looks right as it is; the reader then offers a setting.
pub fn guid_order(guid: [u8; 16]) -> GuidOrder {
    let mut reversed = guid;
    reversed.reverse();
    if likely(reversed) > likely(guid).max(likely(swapped(guid))) { GuidOrder::Ipmi } else { GuidOrder::Smbios }
}

/// As text, in the order in which the operating system is likely to show it. `Identity` takes the other SMBIOS order for the same machine.
pub fn guid_text(guid: [u8; 16], order: GuidOrder) -> String {
    let bytes = match order {
        GuidOrder::Ipmi => {
            let mut reversed = guid;
            reversed.reverse();
            reversed
        }
        GuidOrder::Smbios if likely(swapped(guid)) > likely(guid) => swapped(guid),
        GuidOrder::Smbios => guid,
    };
    let hex = |part: &[u8]| part.iter().map(|b| format!("{b:02x}")).collect::<String>();
    [hex(&bytes[..4]), hex(&bytes[4..6]), hex(&bytes[6..8]), hex(&bytes[8..10]), hex(&bytes[10..])].join("-")
}

fn swapped(guid: [u8; 16]) -> [u8; 16] {
    let mut out = guid;
    out[..4].reverse();
    out[4..6].reverse();
    out[6..8].reverse();
    out
}
/// How much it looks like a UUID in printed order: not at all, with a version that nobody makes, with a usual one.
fn likely(guid: [u8; 16]) -> u8 {
    match guid[6] >> 4 {
        _ if guid[8] & 0xc0 != 0x80 => 0,
        1 | 4 | 5 => 2,
        2 | 3 => 1,
        _ => 0,
    }
}

/// Get Channel Cipher Suites: the suite numbers in the records collected so far. Records start at 0xC0 (standard) or 0xC1 (OEM, with three bytes of IANA number).
pub fn cipher_suites(records: &[u8]) -> Vec<u8> {
    let mut suites = Vec::new();
    let mut rest = records;
    loop {
        rest = match *rest {
            [0xc0, id, ref more @ ..] => {
                suites.push(id);
                more
            }
            [0xc1, _, _, _, _, ref more @ ..] => more,
            [_, ref more @ ..] => more,
            [] => return suites,
        }
    }
}

/// Where the product area of a FRU lies, from its common header (Platform Management FRU Information Storage Definition, 8).
pub fn fru_product_at(header: &[u8]) -> Option<u16> {
    let head = header.get(..8)?;
    let sum = head.iter().fold(0u8, |sum, b| sum.wrapping_add(*b));
    (head[0] & 0x0f == 1 && sum == 0 && head[4] != 0).then(|| u16::from(head[4]) * 8)
}

/// The serial number in a product area: its fifth field. Only plain ASCII counts.
pub fn fru_product_serial(area: &[u8]) -> Option<String> {
    let mut rest = area.get(3..)?;
    for nth in 0..5 {
        let (&kind, more) = rest.split_first()?;
        let (field, more) = more.split_at_checked(usize::from(kind & 0x3f)).filter(|_| kind != 0xc1)?;
        if nth == 4 {
            let text = std::str::from_utf8(field).ok().filter(|t| kind >> 6 == 3 && t.bytes().all(|b| (0x20..0x7f).contains(&b)))?;
            return Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        }
        rest = more;
    }
    None
}

/// A FRU with a product area alone: name and serial number.
pub fn fru(maker: &str, product: &str, serial: &str) -> Vec<u8> {
    let mut area = vec![1, 0, 25];
    for text in [maker, product, "", "", serial] {
        let text: Vec<u8> = text.bytes().filter(u8::is_ascii_graphic).take(32).collect();
        // A length of one with type "ASCII" would read as the end mark.
        let text = if text.len() == 1 { vec![text[0], b' '] } else { text };
        area.push(0xc0 | text.len() as u8);
        area.extend(text);
    }
    // Asset tag and FRU file are empty; end mark; padding; checksum.
    area.extend([0xc0, 0xc0, 0xc1]);
    while (area.len() + 1) % 8 != 0 {
        area.push(0);
    }
    area[1] = ((area.len() + 1) / 8) as u8;
    area.push(area.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)).wrapping_neg());
    let mut out = vec![1, 0, 0, 0, 1, 0, 0, 0xfe];
    out.extend(area);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> [u8; 16] {
        *uuid::Uuid::parse_str(text).unwrap().as_bytes()
    }

    #[test]
    fn a_guid_is_read_in_every_order() {
        for text in ["5f2c1d3e-8a47-4b9c-9d21-3e5f708192a3", "4c4c4544-0051-3010-8052-b4c04f4e4d32"] {
            let printed = bytes(text);
            let mut reversed = printed;
            reversed.reverse();
            for sent in [printed, swapped(printed), reversed] {
                let identity = |uuid: String| crate::model::Identity { uuid: Some(uuid), ..Default::default() };
                // Where both SMBIOS orders look right either may be shown: they are one machine.
                assert_eq!(identity(guid_text(sent, guid_order(sent))).same(&identity(text.into())), Some(Ok("uuid")));
            }
        }
        // ASCII as some makers send it has no marks: left as it is.
        let ascii = *b"8140CZ1234567890";
        assert_eq!(guid_text(ascii, guid_order(ascii)), "38313430-435a-3132-3334-353637383930");
    }

    #[test]
    fn a_fru_gives_its_serial_back() {
        let fru = fru("pitstop", "lab", "LAB-0007");
        let at = usize::from(fru_product_at(&fru).unwrap());
        assert_eq!(fru.len() % 8, 0);
        assert_eq!(fru_product_serial(&fru[at..]), Some("LAB-0007".into()));
        for len in 0..fru.len() {
            fru_product_at(&fru[..len]);
            fru_product_serial(&fru[..len]);
        }
    }

    #[test]
    fn short_answers_are_malformed_and_long_ones_are_fine() {
        assert_eq!(power_is_on(&[0x21, 0, 0x40]), Ok(true));
        assert_eq!(power_is_on(&[0x20, 0, 0x40, 9]), Ok(false));
        assert!(power_is_on(&[1]).is_err());
        let eleven = [0x23, 9, 0x88, 0x42, 2, 0x9f, 0x91, 0x12, 0, 2, 0x0f];
        assert_eq!(device(&eleven).unwrap().to_string(), "IANA 4753 product 0x0f02, BMC firmware 8.42, IPMI 2.0");
        assert!(device(&eleven[..10]).is_err());
        assert_eq!(capabilities(&[1, 0x80, 4, 2, 0, 0, 0, 0]), Ok(Capabilities { ipmi_2: true, own_key: false }));
        assert_eq!(cipher_suites(&[0xc0, 0, 0, 0x40, 0x80, 0xc0, 17, 3, 0x44, 0x81, 0xc1, 0x80, 1, 2, 3, 1]), [0, 17]);
    }
}
