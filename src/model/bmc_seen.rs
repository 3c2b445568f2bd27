//! What a BMC knows beside power: firmware, live tasks, its log, its health, what boots next. In Redfish's words, whatever protocol said it.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of the firmware inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// `BIOS`, `BMC`, `NIC.Slot.1`: stable across updates of the same part.
    pub id: String,
    pub name: String,
    pub version: Option<String>,
    #[serde(default)]
    pub updateable: bool,
}

/// An update task, lifecycle job or POST-time flash that is not at its end: no power while it lives (safety.md, 13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveTask {
    /// Where it can be looked at again: `/redfish/v1/TaskService/Tasks/7`.
    pub id: String,
    pub name: String,
    /// Redfish `TaskState`, as said: `Running`, `Pending`, …
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Waits for a reset to begin: staged, not running.
    #[serde(default)]
    pub waits_for_reset: bool,
}

/// Redfish `Boot`, IPMI boot flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootOverride {
    /// `Disabled`, `Once`, `Continuous`.
    pub enabled: String,
    /// `None`, `Pxe`, `Hdd`, `Cd`, …
    pub target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}
impl BootOverride {
    /// It boots what it booted. So does a machine that is told for good to boot its own disk: some BMCs and emulators show their usual order like that.
    /// Should its last boot have been another after all, it is found at verify and held.
    pub fn is_off(&self) -> bool {
        self.enabled == "Disabled" || self.target == "None" || (self.enabled == "Continuous" && self.target == "Hdd")
    }
}

/// How the machine is set up to boot, as its BMC knows it: part of the picture that is compared after a reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSetup {
    /// Redfish `Boot.BootOrder`; None: not said.
    pub order: Option<Vec<String>>,
    /// `SecureBootCurrentBoot`, `SecureBootEnable`, as said.
    pub secure_boot: BTreeMap<String, String>,
    /// BIOS attributes by name, without passwords.
    pub bios: BTreeMap<String, String>,
    /// `SecureBoot`, `Bios`: why it could not be read.
    pub unread: BTreeMap<String, String>,
}

/// One record of the System Event Log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Order and identity come from the record id, never from the BMC's clock (BMCs in 1970).
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `OK`, `Warning`, `Critical`, as said.
    pub severity: String,
    pub message: String,
}

/// Redfish `Status.HealthRollup` and whatever below it is not OK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// None: it does not say, which is not OK.
    pub rollup: Option<String>,
    /// `DIMM A3: Critical`, by name.
    #[serde(default)]
    pub not_ok: Vec<String>,
}
