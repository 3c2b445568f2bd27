//! What a driver's configuration needs to become a driver.
use super::{Fault, NodeName, Secret, SecretRef, Secrets, Trust};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// A path in an inventory: `~` and relative paths are resolved by `Connect::path`, against the inventory's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilePath(pub String);

#[derive(Clone)]
pub struct Connect {
    /// The node the driver is for; none for a cluster.
    pub node: Option<NodeName>,
    pub secrets: Arc<dyn Secrets>,
    pub trust: Trust,
    /// The inventory's directory.
    pub base: PathBuf,
    pub home: PathBuf,
}
impl Connect {
    pub fn path(&self, path: &FilePath) -> PathBuf {
        match path.0.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => self.base.join(&path.0),
        }
    }
    pub fn secret(&self, from: &SecretRef) -> Result<Secret, Fault> {
        let resolved = match from {
            SecretRef::File(path) => SecretRef::File(self.path(&FilePath(path.clone())).display().to_string()),
            other => other.clone(),
        };
        self.secrets.read(&resolved)
    }
}
