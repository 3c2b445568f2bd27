//! Secrets: references in files and plans, values only in memory and never shown.
use super::{Fault, Login, Turn};
use futures::future::{self, BoxFuture};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a secret lies. Exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; one trailing newline is taken off.
    File(String),
    /// A name under systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "environment variable {name}"),
            SecretRef::File(path) => write!(f, "file {path}"),
            SecretRef::Credential(name) => write!(f, "systemd credential {name}"),
        }
    }
}

/// A value that has no `Display`, no `Serialize`, and a `Debug` that hides it.
#[derive(Clone)]
pub struct Secret(SecretString);
impl Secret {
    pub fn new(value: String) -> Secret {
        Secret(SecretString::from(value))
    }
    /// Only at the wire.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Reads secrets when they are needed, so that a rotated one is found. Made by `cli`.
pub trait Secrets: Send + Sync {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault>;
    /// Leave for one login, asked before it is sent. Waits while others try the same credential and nobody knows yet whether it is right.
    /// A fault: it is not tried, and nothing was sent. Where nobody counts, everybody may.
    fn turn(&self, _login: Login) -> BoxFuture<'_, Result<Turn, Fault>> {
        Box::pin(future::ready(Ok(Turn::free())))
    }
}
