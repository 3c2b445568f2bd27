//! The account of a BMC: where it lies, what it is now, and leave to show it.
use crate::model::{Connect, Credential, Fault, Secret, SecretRef, Turn};

#[derive(Clone)]
pub struct Account {
    pub username: Secret,
    pub password: Secret,
}
impl Account {
    pub fn same(&self, other: &Account) -> bool {
        self.username.expose() == other.username.expose() && self.password.expose() == other.password.expose()
    }
}

/// Read anew for every login, so that a rotated secret is found.
pub struct Keys {
    cx: Connect,
    /// For people.
    at: String,
    username: SecretRef,
    password: SecretRef,
    credential: Credential,
}
impl Keys {
    pub fn new(cx: &Connect, at: String, username: &SecretRef, password: &SecretRef) -> Keys {
        let credential = cx.credential("password", password, Some(username));
        Keys { cx: cx.clone(), at, username: username.clone(), password: password.clone(), credential }
    }
    pub fn account(&self) -> Result<Account, Fault> {
        Ok(Account { username: self.cx.secret(&self.username)?, password: self.cx.secret(&self.password)? })
    }
    pub async fn turn(&self, account: &Account) -> Result<Turn, Fault> {
        self.cx.turn(&self.credential, &self.at, vec![account.username.clone(), account.password.clone()]).await
    }
}
