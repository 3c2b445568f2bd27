//! What is read from a BMC, whichever way the commands get there.
use super::GuidSetting;
use crate::{
    model::{BmcView, Fault, FaultKind, Identity, Power, ResetType},
    wire::{
        Malformed,
        ipmi::{self, Command, GuidOrder},
    },
};
use async_trait::async_trait;
use std::{collections::BTreeSet, sync::Mutex};

/// Sends a command that changes nothing and returns its data, without the completion code.
#[async_trait]
pub trait Ask: Send {
    async fn ask(&mut self, command: Command, data: &[u8]) -> Result<Vec<u8>, Fault>;
}

#[async_trait]
impl Ask for super::session::Session {
    async fn ask(&mut self, command: Command, data: &[u8]) -> Result<Vec<u8>, Fault> {
        self.read(command, data).await
    }
}

/// Commands that drew silence: some firmware drops what it does not know. Not asked again, or every look would wait for them.
#[derive(Debug, Default)]
pub struct Silent(Mutex<BTreeSet<Command>>);

/// The verbs of Chassis Control, in Redfish's words. IPMI has no graceful restart.
pub const VERBS: [ResetType; 5] = [ResetType::On, ResetType::ForceOff, ResetType::GracefulShutdown, ResetType::ForceRestart, ResetType::PowerCycle];

/// Bytes of a FRU asked for at a time; the second where the first is refused: small enough for every BMC's buffer.
const FRU_CHUNKS: [u8; 2] = [32, 16];

pub async fn view(ask: &mut dyn Ask, endpoint: &str, guid: GuidSetting, silent: &Silent) -> Result<BmcView, Fault> {
    let senseless = |bad: Malformed| Fault::new(FaultKind::Invalid, format!("{endpoint} answers nonsense")).caused_by(&bad);
    let status = ask.ask(ipmi::CHASSIS_STATUS, &[]).await?;
    let power = if ipmi::power_is_on(&status).map_err(senseless)? { Power::On } else { Power::Off };
    // Anything but sixteen bytes is no GUID, and the interlocks then know nothing instead of something wrong.
    let guid_bytes = unless_unable(ask.ask(ipmi::SYSTEM_GUID, &[]).await)?.and_then(|data| <[u8; 16]>::try_from(data).ok());
    let uuid = guid_bytes.map(|bytes| ipmi::guid_text(bytes, guid.order(bytes)));
    let device = unless_unable(ask.ask(ipmi::DEVICE_ID, &[]).await)?;
    let product = device.and_then(|data| ipmi::device(&data).ok()).map(|d| d.to_string());
    let suites = cipher_suites(ask, silent).await;
    let serial = serial(ask, silent).await;
    let warnings = suites.contains(&0).then(|| "the BMC offers cipher suite 0: where it is not disabled, anyone commands it without a password".to_owned());
    Ok(BmcView {
        protocol: "ipmi".into(),
        endpoint: endpoint.into(),
        identity: Identity { uuid, serial, ..Identity::default() },
        power,
        verbs: VERBS.to_vec(),
        reset_marker: None,
        boot_progress: None,
        product,
        warnings: warnings.into_iter().collect(),
    })
}

/// A BMC that cannot say is no fault; one that does not answer, or will not, is.
fn unless_unable(answer: Result<Vec<u8>, Fault>) -> Result<Option<Vec<u8>>, Fault> {
    match answer {
        Ok(data) => Ok(Some(data)),
        Err(fault) if fault.kind == FaultKind::Unable => Ok(None),
        Err(fault) => Err(fault),
    }
}

impl Silent {
    /// For what nobody depends on: any fault is no answer.
    async fn ask(&self, ask: &mut dyn Ask, command: Command, data: &[u8]) -> Option<Vec<u8>> {
        if self.0.lock().expect("BUG: a holder of the set panicked").contains(&command) {
            return None;
        }
        match ask.ask(command, data).await {
            Ok(data) => Some(data),
            Err(fault) => {
                if fault.kind == FaultKind::Unreachable {
                    self.0.lock().expect("BUG: a holder of the set panicked").insert(command);
                }
                None
            }
        }
    }
}

/// Empty where the BMC does not say.
async fn cipher_suites(ask: &mut dyn Ask, silent: &Silent) -> Vec<u8> {
    let mut records = Vec::new();
    // The index has six bits; sixteen bytes a time, and fewer are the last ones.
    for index in 0..64 {
        let data = [ipmi::THIS_CHANNEL, 0, 0x80 | index];
        let Some(answer) = silent.ask(ask, ipmi::CIPHER_SUITES, &data).await else { break };
        records.extend(answer.iter().skip(1));
        if answer.len() < 17 {
            break;
        }
    }
    ipmi::cipher_suites(&records)
}

/// The product's serial number, from FRU 0.
async fn serial(ask: &mut dyn Ask, silent: &Silent) -> Option<String> {
    let area = silent.ask(ask, ipmi::FRU_AREA, &[0]).await?;
    // Bit 0: the device counts in words.
    if area.get(2)? & 1 != 0 {
        return None;
    }
    let header = fru(ask, silent, 0, 8).await?;
    let at = ipmi::fru_product_at(&header)?;
    // Its second byte is its length, in eights; none is shorter than two of them.
    let mut product = fru(ask, silent, at, 16).await?;
    let length = u16::from(*product.get(1)?) * 8;
    let read = product.len() as u16;
    if length > read {
        product.extend(fru(ask, silent, at.checked_add(read)?, length - read).await?);
    }
    product.truncate(usize::from(length));
    ipmi::fru_product_serial(&product)
}

async fn fru(ask: &mut dyn Ask, silent: &Silent, at: u16, length: u16) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    while out.len() < usize::from(length) {
        let done = out.len() as u16;
        let [low, high] = at.checked_add(done)?.to_le_bytes();
        let mut answer = None;
        for chunk in FRU_CHUNKS {
            let count = (length - done).min(u16::from(chunk)) as u8;
            answer = silent.ask(ask, ipmi::FRU_READ, &[0, low, high, count]).await.map(|answer| (count, answer));
            if answer.is_some() || count <= FRU_CHUNKS[1] {
                break;
            }
        }
        let (count, answer) = answer?;
        // The first byte counts the ones that follow.
        let (&got, data) = answer.split_first()?;
        let data = data.get(..usize::from(got.min(count))).filter(|d| !d.is_empty())?;
        out.extend(data);
    }
    Some(out)
}

impl GuidSetting {
    fn order(self, guid: [u8; 16]) -> GuidOrder {
        match self {
            GuidSetting::Auto => ipmi::guid_order(guid),
            GuidSetting::Smbios => GuidOrder::Smbios,
            GuidSetting::Ipmi => GuidOrder::Ipmi,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A FRU device that gives `most` bytes at a time and refuses to be asked for more, or for what it has not.
    struct Device {
        bytes: Vec<u8>,
        most: u8,
        asked: Vec<u8>,
    }
    #[async_trait]
    impl Ask for Device {
        async fn ask(&mut self, command: Command, data: &[u8]) -> Result<Vec<u8>, Fault> {
            if command == ipmi::FRU_AREA {
                return Ok(vec![self.bytes.len() as u8, 0, 0]);
            }
            let (at, count) = (usize::from(u16::from_le_bytes([data[1], data[2]])), data[3]);
            self.asked.push(count);
            let part = self.bytes.get(at..at + usize::from(count)).filter(|_| count <= self.most);
            let part = part.ok_or_else(|| Fault::new(FaultKind::Invalid, "parameter out of range (C9h)"))?;
            Ok(std::iter::once(count).chain(part.iter().copied()).collect())
        }
    }

    #[tokio::test]
    async fn a_fru_is_read_in_large_parts_and_in_small_ones_where_those_are_refused() {
        for (serial, most) in [("LAB-0007", 32), ("LAB-0007", 16), ("A-SERIAL-NUMBER-OF-28-BYTES-", 32), ("A-SERIAL-NUMBER-OF-28-BYTES-", 16), ("", 32)] {
            let mut device = Device { bytes: ipmi::fru("a maker", "a product", serial), most, asked: Vec::new() };
            let read = super::serial(&mut device, &Silent::default()).await;
            assert_eq!(read.as_deref(), Some(serial).filter(|s| !s.is_empty()), "{most}");
            assert!(device.asked.len() <= if most == 32 { 4 } else { 9 }, "{:?}", device.asked);
        }
        let mut device = Device { bytes: ipmi::fru("a maker", "a product", "S-1"), most: 8, asked: Vec::new() };
        assert_eq!(super::serial(&mut device, &Silent::default()).await, None, "and nothing where those are refused too");
    }
}
