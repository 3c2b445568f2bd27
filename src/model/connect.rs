//! What a driver's configuration needs to become a driver.
use super::{Credential, Fault, Login, NodeName, Secret, SecretRef, Secrets, Trust, Turn};
use futures::future::BoxFuture;
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
        self.secrets.read(&self.resolved(from))
    }
    fn resolved(&self, from: &SecretRef) -> SecretRef {
        match from {
            SecretRef::File(path) => SecretRef::File(self.path(&FilePath(path.clone())).display().to_string()),
            other => other.clone(),
        }
    }

    /// `what` (a password, a key) lies there; the same place for the same user is the same credential, whatever protocol shows it.
    pub fn credential(&self, what: &str, secret: &SecretRef, user: Option<&SecretRef>) -> Credential {
        let of = user.map(|user| format!(" for the user in {}", self.resolved(user))).unwrap_or_default();
        Credential(format!("the {what} in {}{of}", self.resolved(secret)))
    }
    /// Leave to show a credential at this address, once.
    pub fn turn(&self, credential: &Credential, at: &str, shown: Vec<Secret>) -> BoxFuture<'_, Result<Turn, Fault>> {
        self.secrets.turn(Login { credential: credential.clone(), at: at.to_owned(), node: self.node.clone(), shown })
    }
}
