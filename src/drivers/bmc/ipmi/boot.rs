//! Boot flags and the locating light over IPMI: each change one datagram in a session of its own.
use super::{super::BmcConfig, Ipmi, Via, faults, read::Ask, tool::Tool};
use crate::{
    model::{BootOverride, Fault, FaultKind},
    wire::{
        Malformed,
        boot_flags::{self, BootFlags},
        ipmi::{self as codec, Command},
        lan::code,
    },
};

/// The boot flags, set selector and block 0.
const QUESTION: [u8; 3] = [boot_flags::PARAMETER, 0, 0];

/// In a session that is open already.
pub async fn read(ask: &mut dyn Ask, endpoint: &str) -> Result<BootOverride, Fault> {
    flags(endpoint, ask.ask(codec::GET_BOOT_OPTIONS, &QUESTION).await)
}

fn flags(endpoint: &str, answer: Result<Vec<u8>, Fault>) -> Result<BootOverride, Fault> {
    let data = match answer {
        // 80h: it has no such parameter. Invalid to the table of codes, and a plain no here.
        Err(fault) if fault.causes.iter().any(|c| c.contains("(80h)")) => return Err(Fault { kind: FaultKind::Unable, ..fault }),
        answer => answer?,
    };
    let flags = BootFlags::parse(&data).map_err(|bad: Malformed| Fault::new(FaultKind::Invalid, format!("{endpoint} answers nonsense")).caused_by(&bad))?;
    let enabled = match (flags.valid, flags.persistent) {
        (false, _) => "Disabled",
        (true, false) => "Once",
        (true, true) => "Continuous",
    };
    Ok(BootOverride { enabled: enabled.into(), target: flags.target(), mode: flags.efi.then(|| "UEFI".into()) })
}

impl Ipmi {
    async fn ask(&self, command: Command, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let _turn = self.turn.lock().await;
        let target = self.target()?;
        match self.config.via {
            None => {
                let mut session = self.open(&target).await?;
                let answer = session.ask(command, data).await;
                session.close().await;
                answer
            }
            Some(Via::Ipmitool) => Tool { target: &target, suites: self.suites().0 }.ask(command, data).await,
        }
    }

    async fn tell(&self, command: Command, data: &[u8], doing: &str) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        let target = self.target().map_err(super::nothing_sent)?;
        match self.config.via {
            None => {
                let mut session = self.open(&target).await.map_err(super::nothing_sent)?;
                let answer = match session.request(command, data, false).await {
                    Ok(response) if response.code == code::OK => Ok(()),
                    Ok(response) => Err(faults::completion(&target.endpoint, doing, response.code)),
                    Err(lost) => Err(lost.after_write(&target.endpoint, doing)),
                };
                session.close().await;
                answer
            }
            Some(Via::Ipmitool) => {
                let mut tool = Tool { target: &target, suites: self.suites().0 };
                let suite = tool.prove().await.map_err(super::nothing_sent)?;
                tool.write(suite, command, data, doing).await
            }
        }
    }

    pub async fn read_boot(&self) -> Result<BootOverride, Fault> {
        flags(&self.config.endpoint(), self.ask(codec::GET_BOOT_OPTIONS, &QUESTION).await)
    }

    pub async fn write_boot(&self, to: &BootOverride) -> Result<(), Fault> {
        let off = to.enabled == "Disabled";
        let device = if off { Some(0) } else { BootFlags::device_of(&to.target) };
        let Some(device) = device else {
            return Err(Fault::new(FaultKind::Unable, format!("{}: IPMI has no boot device `{}`", self.config.endpoint(), to.target)));
        };
        let efi = !off && to.mode.as_deref() == Some("UEFI");
        let flags = BootFlags { valid: !off, persistent: to.enabled == "Continuous", efi, device };
        self.tell(codec::SET_BOOT_OPTIONS, &flags.encode(), "new boot flags").await
    }

    pub async fn read_light(&self) -> Result<bool, Fault> {
        let status = self.ask(codec::CHASSIS_STATUS, &[]).await?;
        boot_flags::light(&status).ok_or_else(|| Fault::new(FaultKind::Unable, format!("{} does not say whether its light is on", self.config.endpoint())))
    }

    /// On until told otherwise; interval 0 turns it off.
    pub async fn write_light(&self, on: bool) -> Result<(), Fault> {
        self.tell(codec::CHASSIS_IDENTIFY, if on { &[0, 1] } else { &[0] }, "its locating light").await
    }
}
