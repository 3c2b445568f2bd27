//! How the root disk unlocks at boot: encrypted devices below the root file system, and what opens each (safety.md, 16).
use super::{Fault, FaultKind, NodeName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What opens an encrypted device at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Sealed to the machine's TPM: new firmware may break the seal.
    Tpm,
    /// Clevis, and nobody could read with which pin: it may be the TPM.
    Clevis,
    /// A server answers for it (clevis with tang).
    Network,
    /// A file in the initramfs, or a script there.
    Keyfile,
    /// A FIDO2 or PKCS#11 token, which somebody has to touch.
    Token,
    /// Somebody types it.
    Passphrase,
    /// Encrypted, and nobody could read how it opens.
    Unread,
}

impl Key {
    /// It opens with nobody there.
    pub fn opens_by_itself(self) -> bool {
        self <= Key::Keyfile
    }
    pub fn name(self) -> &'static str {
        match self {
            Key::Tpm => "TPM",
            Key::Clevis => "clevis",
            Key::Network => "network",
            Key::Keyfile => "key file",
            Key::Token => "security token",
            Key::Passphrase => "passphrase",
            Key::Unread => "nobody can read how",
        }
    }
}
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One encrypted device below the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// `/dev/nvme0n1p3`, `rpool/ROOT`.
    pub device: String,
    /// Never empty, in order, each once.
    pub by: Vec<Key>,
}
impl Lock {
    pub fn opens_by_itself(&self) -> bool {
        self.by.iter().any(|key| key.opens_by_itself())
    }
    /// New firmware may leave it shut.
    pub fn sealed(&self) -> bool {
        self.by.iter().any(|key| matches!(key, Key::Tpm | Key::Clevis))
    }
    /// Of a playbook that installs firmware and does not name the re-seal.
    pub fn unsealed_by_firmware(&self, node: &NodeName) -> Fault {
        let what = format!("{node}: new firmware may break the seal of its root disk {self}, and the playbook names no re-seal");
        Fault::new(FaultKind::Unwilling, what).next(
            "say in the playbook how it opens after the update: firmware = { reseal = \"…\" }, such as the exec steps that add a key before it and seal anew after it, or why the seal holds",
        )
    }
}
impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by: Vec<&str> = self.by.iter().map(|key| key.name()).collect();
        write!(f, "{} (unlocks by {})", self.device, by.join(" or "))
    }
}
