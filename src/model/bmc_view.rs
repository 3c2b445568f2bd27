//! What a BMC says, and the verbs it may be given, in Redfish's words.
use super::Identity;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Silence is never off: it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    On,
    Off,
    Unknown,
}
impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Power::On => "On",
            Power::Off => "Off",
            Power::Unknown => "unknown",
        })
    }
}

/// Redfish `ResetType` values that pitstop sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ResetType {
    On,
    ForceOff,
    GracefulShutdown,
    GracefulRestart,
    ForceRestart,
    PowerCycle,
}
impl ResetType {
    pub const ALL: [ResetType; 6] =
        [ResetType::On, ResetType::ForceOff, ResetType::GracefulShutdown, ResetType::GracefulRestart, ResetType::ForceRestart, ResetType::PowerCycle];
    pub fn name(self) -> &'static str {
        match self {
            ResetType::On => "On",
            ResetType::ForceOff => "ForceOff",
            ResetType::GracefulShutdown => "GracefulShutdown",
            ResetType::GracefulRestart => "GracefulRestart",
            ResetType::ForceRestart => "ForceRestart",
            ResetType::PowerCycle => "PowerCycle",
        }
    }
    pub fn parse(name: &str) -> Option<ResetType> {
        ResetType::ALL.into_iter().find(|t| t.name() == name)
    }
}
impl fmt::Display for ResetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BmcView {
    /// `redfish` or `ipmi`.
    pub protocol: String,
    /// Where it was asked, without credentials: `https://192.0.2.11`.
    pub endpoint: String,
    /// Of the *system* behind the BMC, never of the BMC or chassis.
    pub identity: Identity,
    pub power: Power,
    /// The verbs it takes. Empty: it does not say, so a verb is tried and 400 means Unable.
    pub verbs: Vec<ResetType>,
    /// The BMC's own mark of the last reset (`LastResetTime`, a reboot counter): proves a reset only together with Off seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_marker: Option<String>,
    /// Redfish `BootProgress.LastState`, where it is said: `SystemHardwareInitializationComplete`, `OSRunning`. For people, and for a wait's blocker; never proves a boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_progress: Option<String>,
    /// Maker, model and firmware of the BMC, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// What people should know: `TLS is not verified`, `cipher suite 0 is open`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
