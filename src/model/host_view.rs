//! What the node's operating system says, and a command to give it.
use super::{DataStore, Identity, Lock, Span};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostView {
    /// `/proc/sys/kernel/random/boot_id`, read on the metal.
    pub boot_id: String,
    /// Whole seconds in the journal: fractions do not survive JSON unchanged, and a replay must equal what was lived.
    #[serde(serialize_with = "whole")]
    pub uptime_s: f64,
    /// DMI system UUID and serial, machine-id.
    pub identity: Identity,
    /// UUID of the root file system, default systemd target: the same installation as before?
    #[serde(default)]
    pub root_fs: Option<String>,
    #[serde(default)]
    pub default_target: Option<String>,
    /// `uname -r`.
    #[serde(default)]
    pub kernel: Option<String>,
    /// `systemctl is-system-running`: `running`, `degraded`, `starting`, …; absent without systemd.
    #[serde(default)]
    pub system_state: Option<String>,
    /// What the second witness of emptiness sees: qemu processes, logged-in people.
    #[serde(default)]
    pub guests: Vec<String>,
    #[serde(default)]
    pub people: Vec<String>,
    /// SHA256 fingerprint of the SSH host key that answered.
    #[serde(default)]
    pub host_key: Option<String>,
    /// System UUIDs of those guests, as their hypervisor's command line says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guest_uuids: Vec<String>,
    /// mdraid and ZFS, judged by what the kernel and `zpool` say of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrays: Vec<DataStore>,
    /// Kinds of distributed store whose daemons run here: `ceph`, `gluster`. Their clusters have to speak for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<String>,
    /// EFI BootNext, as four hex digits: what boots once instead of the boot order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_next: Option<String>,
    /// Encrypted devices below the root file system, and what opens each at boot. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
}

fn whole<S: serde::Serializer>(seconds: &f64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(seconds.max(0.0) as u64)
}

/// A command line for the host's `sh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub line: String,
    /// Ended there, on the host too.
    pub limit: Span,
    #[serde(default)]
    pub stdin: Option<String>,
}

impl Command {
    /// As root, without a terminal: by `sudo -n` where the login is another user. Its limit stands inside sudo too: only root can end what root runs.
    pub fn as_root(line: &str, limit: Span) -> Command {
        let quoted = format!("'{}'", line.replace('\'', r"'\''"));
        let seconds = limit.0.as_secs().max(1);
        let line = format!("if [ \"$(id -u)\" = 0 ]; then exec sh -c {quoted}; else exec sudo -n timeout -k 5 {seconds} sh -c {quoted}; fi");
        Command { line, limit, stdin: None }
    }
}

/// What it did. Exists only where the exit status was *proven*; everything else is `Fault::Unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    /// Bytes beyond the bound that were read and dropped.
    #[serde(default)]
    pub dropped: u64,
}
