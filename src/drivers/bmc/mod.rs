//! The baseboard management controller, whatever it speaks. To add a protocol: write `<name>.rs` here, then the two lines marked below.
use crate::{
    guards::Permit,
    kinds::Kind,
    model::{BmcView, BootOverride, BootSetup, Certificate, Connect, Fault, FaultKind, Firmware, Health, LiveTask, LogEntry, ResetType, Task, Update},
};
use async_trait::async_trait;
use std::sync::Arc;

pub mod ipmi;
pub mod redfish;
pub mod ways;
// line 1 of a new protocol: `pub mod <name>;`

/// In the order in which a node's ways in are tried.
pub const KINDS: &[Kind<dyn BmcConfig>] = &[
    Kind::of::<redfish::Config>(),
    Kind::of::<ipmi::Config>(),
    // line 2: `Kind::of::<<name>::Config>(),`
];

#[async_trait]
pub trait BmcConfig: Send + Sync + std::fmt::Debug {
    /// Makes a client; contacts nothing.
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Bmc>, Fault>;
    /// Without credentials, for people: `https://192.0.2.11`.
    fn endpoint(&self) -> String;
    /// Host name or address alone: two nodes sharing one is a mistake, and only loopback may have its time scaled.
    fn host(&self) -> String;
    /// What it shows in its TLS handshake, whoever believes it; no password leaves. None: the protocol has no certificates.
    async fn certificate(&self, _cx: &Connect) -> Result<Option<Certificate>, Fault> {
        Ok(None)
    }
}

#[async_trait]
pub trait Bmc: Send + Sync {
    fn protocol(&self) -> &'static str;
    fn endpoint(&self) -> String;
    /// Held at one time at most: a survey has room for so many.
    fn connections(&self) -> usize {
        1
    }
    /// Reads only. May reuse a session; opens at most one.
    async fn look(&self) -> Result<BmcView, Fault>;
    /// A look, and what boots next: in one session and from one reading where that is possible. Reads only.
    async fn look_and_boot(&self) -> Result<(BmcView, Result<BootOverride, Fault>), Fault> {
        let view = self.look().await?;
        Ok((view, self.boot_override().await))
    }
    /// One verb, one request, never repeated inside. Calls `permit.spend` as the last thing before the request is written.
    async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault>;
    /// Resets the BMC itself, never the machine: one write, never repeated inside. Calls `permit.spend_on_bmc` as the last thing before it is written.
    async fn restart(&self, _permit: &mut Permit) -> Result<(), Fault> {
        Err(cannot(self, "reset of the BMC itself"))
    }
    /// Every entry of the firmware inventory. Reads only.
    async fn firmware(&self) -> Result<Vec<Firmware>, Fault> {
        Err(cannot(self, "firmware inventory"))
    }
    /// Update tasks and jobs that are not at their end. Reads only; `Unable` where the protocol has no such thing.
    async fn live_tasks(&self) -> Result<Vec<LiveTask>, Fault> {
        Err(cannot(self, "tasks"))
    }
    /// Every task the BMC tells of, ended ones too. Reads only.
    async fn tasks(&self) -> Result<Vec<Task>, Fault> {
        Err(cannot(self, "tasks"))
    }
    /// Starts or stages an update: one write, never repeated inside. What became of it is told by `tasks` and `firmware`.
    async fn update(&self, _ask: &Update) -> Result<(), Fault> {
        Err(cannot(self, "updates"))
    }
    /// An image that the BMC still has to fetch from us is there for it; one that it needs no more is not. Says nothing to the BMC.
    async fn keep_image(&self, _ask: &Update, _needed: bool) -> Result<(), Fault> {
        Ok(())
    }
    /// What boots next. Reads only.
    async fn boot_override(&self) -> Result<BootOverride, Fault> {
        Err(cannot(self, "boot override"))
    }
    /// One write.
    async fn set_boot_override(&self, _to: &BootOverride) -> Result<(), Fault> {
        Err(cannot(self, "boot override"))
    }
    /// Boot order, Secure Boot and BIOS attributes. Reads only; what one part does not say spoils no other.
    async fn boot_setup(&self) -> Result<BootSetup, Fault> {
        Err(cannot(self, "boot order"))
    }
    /// Log records after the one with this id, oldest first; None: all. Reads only.
    async fn log_since(&self, _id: Option<&str>) -> Result<Vec<LogEntry>, Fault> {
        Err(cannot(self, "event log"))
    }
    /// Reads only.
    async fn health(&self) -> Result<Health, Fault> {
        Err(cannot(self, "health roll-up"))
    }
    /// Is the locating light on? Reads only.
    async fn identify_light(&self) -> Result<bool, Fault> {
        Err(cannot(self, "locating light"))
    }
    /// One write.
    async fn set_identify_light(&self, _on: bool) -> Result<(), Fault> {
        Err(cannot(self, "locating light"))
    }
    /// Gives sessions back. Infallible: what cannot be closed expires.
    async fn close(&self);
}

fn cannot<B: Bmc + ?Sized>(bmc: &B, what: &str) -> Fault {
    Fault::new(FaultKind::Unable, format!("{} has no {what} over {}", bmc.endpoint(), bmc.protocol()))
}
