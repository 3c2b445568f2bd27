//! IPMI boot flags (parameter 5 of the System Boot Options, IPMI 2.0 28.13) and the chassis locating light, in Redfish's words.
use super::Malformed;

pub const PARAMETER: u8 = 5;

/// What the flags say, as far as pitstop reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFlags {
    pub valid: bool,
    pub persistent: bool,
    pub efi: bool,
    /// Four bits: 1 is the network.
    pub device: u8,
}

/// Redfish's names for the boot devices of IPMI.
const DEVICES: [(u8, &str); 8] = [(0, "None"), (1, "Pxe"), (2, "Hdd"), (3, "Hdd"), (4, "Diags"), (5, "Cd"), (6, "BiosSetup"), (15, "Usb")];

impl BootFlags {
    /// The answer's data: version, parameter, and five bytes.
    pub fn parse(data: &[u8]) -> Result<BootFlags, Malformed> {
        match *data {
            // Bit 7 beside the parameter's number: it is locked, or not valid.
            [_, parameter, first, second, ..] if parameter & 0x7f == PARAMETER => Ok(BootFlags {
                valid: parameter & 0x80 == 0 && first & 0x80 != 0,
                persistent: first & 0x40 != 0,
                efi: first & 0x20 != 0,
                device: (second >> 2) & 0x0f,
            }),
            _ => Err(Malformed("boot flags")),
        }
    }
    /// The request's data, parameter first.
    pub fn encode(&self) -> [u8; 6] {
        let bit = |on: bool, at: u8| if on { 1 << at } else { 0 };
        [PARAMETER, bit(self.valid, 7) | bit(self.persistent, 6) | bit(self.efi, 5), (self.device & 0x0f) << 2, 0, 0, 0]
    }
    pub fn target(&self) -> String {
        DEVICES.iter().find(|(code, _)| *code == self.device).map_or_else(|| format!("device {}", self.device), |(_, name)| (*name).to_owned())
    }
    pub fn device_of(target: &str) -> Option<u8> {
        DEVICES.iter().find(|(_, name)| *name == target).map(|(code, _)| *code).or_else(|| target.strip_prefix("device ")?.parse().ok().filter(|d| *d < 16))
    }
}

/// Get Chassis Status, third byte: is the light on? None where it does not say.
pub fn light(data: &[u8]) -> Option<bool> {
    let misc = data.get(2)?;
    (misc & 0x40 != 0).then_some(misc & 0x30 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_the_wire_and_odd_answers_do_not() {
        // As ipmitool writes `chassis bootdev pxe options=persistent,efiboot`.
        let pxe = BootFlags::parse(&[1, 5, 0xe0, 0x04, 0, 0, 0]).unwrap();
        assert_eq!(pxe, BootFlags { valid: true, persistent: true, efi: true, device: 1 });
        assert_eq!((pxe.target().as_str(), pxe.encode()), ("Pxe", [5, 0xe0, 0x04, 0, 0, 0]));
        assert!(!BootFlags::parse(&[1, 0x85, 0xe0, 0x04, 0, 0, 0]).unwrap().valid, "locked");
        assert!(BootFlags::parse(&[1, 5]).is_err() && BootFlags::parse(&[1, 4, 0, 0]).is_err());
        for device in 0..16 {
            let flags = BootFlags { valid: true, persistent: false, efi: false, device };
            assert_eq!(BootFlags::device_of(&flags.target()).map(|d| BootFlags { device: d, ..flags.clone() }.target()), Some(flags.target()));
        }
        assert_eq!((light(&[1, 0, 0x50]), light(&[1, 0, 0x40]), light(&[1, 0, 0x10]), light(&[1])), (Some(true), Some(false), None, None));
    }
}
