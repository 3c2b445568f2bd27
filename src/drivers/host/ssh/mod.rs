//! SSH: looks and commands over libssh2, on threads of its own. What a host is trusted by, and how a command's end is proven, is in `docs/ssh.md`.
mod arrays;
mod connection;
mod dial;
mod exec;
mod known_hosts;
mod locks;
mod login;
mod look;
mod pool;

use super::{Host, HostConfig};
use crate::{
    kinds,
    model::{Command, Connect, Fault, FaultKind, FilePath, HostKey, HostView, Output, SecretRef, Span},
};
use async_trait::async_trait;
use connection::{Connection, Kept, Stop};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};
use tokio::sync::Semaphore;

/// Commands at once on one host, each with a connection of its own: a look must not wait behind a long command.
const AT_ONCE: usize = 4;

/// `host.ssh = { host = "edge-07.lan.example", key = { file = "~/.ssh/id_ed25519" } }`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name or address.
    pub host: String,
    #[serde(default = "port")]
    pub port: u16,
    #[serde(default = "user")]
    pub user: String,
    /// A private key: `{ file = "…" }`, `{ env = "…" }`, `{ credential = "…" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretRef>,
    /// The passphrase of `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<SecretRef>,
    /// The keys of the ssh-agent at `SSH_AUTH_SOCK`.
    #[serde(default)]
    pub agent: bool,
    /// Another agent's socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_socket: Option<FilePath>,
    /// After `key` or `agent`, where the host wants both or refuses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// Read instead of `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<FilePath>,
    /// For name and TCP connection over all addresses; once more for handshake and login.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// Of a look.
    #[serde(default = "limit")]
    pub limit: Span,
}

fn port() -> u16 {
    22
}
fn user() -> String {
    "root".to_owned()
}
fn connect_timeout() -> Span {
    Span::seconds(10)
}
fn limit() -> Span {
    Span::seconds(30)
}

/// What is offered first.
enum Login<'a> {
    Key(&'a SecretRef),
    Agent,
    Password,
}

impl Config {
    fn label(&self) -> String {
        format!("{}@{}:{}", self.user, self.host, self.port)
    }
    fn login(&self) -> Login<'_> {
        match &self.key {
            Some(key) => Login::Key(key),
            None if self.agent => Login::Agent,
            None => Login::Password,
        }
    }
}

impl kinds::Config<dyn HostConfig> for Config {
    const NAME: &'static str = "ssh";
    const ABOUT: &'static str = "SSH with a key, an agent or a password; the host key must be known";
    fn make(self) -> Box<dyn HostConfig> {
        Box::new(self)
    }
    fn validate(&self) -> Result<(), String> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '/' | '[' | ']');
        match () {
            _ if self.host.is_empty() || self.host.contains(odd) => Err(format!("host `{}` is not a name or an address", self.host)),
            _ if self.user.is_empty() || self.user.contains(odd) => Err(format!("user `{}` is not a user name", self.user)),
            _ if self.port == 0 => Err("port 0 does not exist".to_owned()),
            _ if self.key.is_some() && self.agent => Err("`key` and `agent` exclude each other".to_owned()),
            _ if self.key.is_none() && !self.agent && self.password.is_none() => Err("no way to log in: give `key`, `agent = true` or `password`".to_owned()),
            _ if self.agent_socket.is_some() && !self.agent => Err("`agent_socket` belongs to `agent = true`".to_owned()),
            _ if self.passphrase.is_some() && self.key.is_none() => Err("`passphrase` belongs to `key`".to_owned()),
            _ if self.connect_timeout.0.is_zero() || self.limit.0.is_zero() => Err("a limit of zero leaves no time".to_owned()),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl HostConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Host>, Fault> {
        // Key and password are read at each login: a rotated one must be found.
        kinds::Config::validate(self).map_err(|why| Fault::new(FaultKind::Invalid, format!("{}: {why}", self.label())))?;
        Ok(Arc::new(Ssh {
            shared: Arc::new(Shared { config: self.clone(), cx: cx.clone(), idle: Mutex::default() }),
            lanes: Arc::new(Semaphore::new(AT_ONCE)),
        }))
    }
    fn endpoint(&self) -> String {
        self.label()
    }
    async fn host_key(&self) -> Result<Option<HostKey>, Fault> {
        let (config, whom) = (self.clone(), self.label());
        let wait = self.connect_timeout.0;
        pool::run(&whom, wait * 2, move |runtime| {
            let stream = runtime.block_on(dial::dial(&config.host, config.port, wait))?;
            login::shown(&config, stream).map(Some)
        })
        .await
    }
}

struct Ssh {
    shared: Arc<Shared>,
    lanes: Arc<Semaphore>,
}

struct Shared {
    config: Config,
    cx: Connect,
    /// Connections nobody uses now, the freshest last.
    idle: Mutex<Vec<Kept>>,
}

#[async_trait]
impl Host for Ssh {
    fn endpoint(&self) -> String {
        self.shared.config.label()
    }

    async fn look(&self) -> Result<HostView, Fault> {
        let command = Command { line: look::script(), limit: self.shared.config.limit, stdin: None };
        let (output, host_key) = self.call(command).await?;
        let invalid = |why: String| Fault::new(FaultKind::Invalid, format!("{}: its look makes no sense", self.endpoint())).cause(why);
        if output.status != 0 {
            return Err(invalid(format!("exit status {}", output.status)));
        }
        let view = look::read(&output.stdout).map_err(invalid)?;
        Ok(HostView { host_key: Some(host_key), ..view })
    }

    async fn exec(&self, command: &Command) -> Result<Output, Fault> {
        exec::check(command)?;
        self.call(command.clone()).await.map(|(output, _)| output)
    }

    async fn close(&self) {
        self.shared.idle().clear();
    }
}

impl Ssh {
    /// The output, and the fingerprint of the host that gave it.
    async fn call(&self, command: Command) -> Result<(Output, String), Fault> {
        let whom = self.shared.config.label();
        let wait = command.limit.0;
        let lane = tokio::time::timeout(wait, Arc::clone(&self.lanes).acquire_owned()).await;
        let lane = lane.map_err(|_| Fault::new(FaultKind::Unreachable, format!("{whom}: {AT_ONCE} commands were under way for {wait:?}")))?;
        let shared = Arc::clone(&self.shared);
        // Dropped with this future: a call nobody waits for is ended on the host too.
        let (_hold, mut stop) = Stop::new();
        pool::run(&whom, wait, move |runtime| {
            let _lane = lane;
            let (conn, channel) = shared.ready(runtime, &mut stop)?;
            let (done, usable) = exec::run(&conn, channel, &command, &mut stop);
            let host_key = conn.host_key().to_owned();
            if usable {
                shared.idle().push(conn.keep());
            }
            done.map(|output| (output, host_key))
        })
        .await
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.idle.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A connection with an open channel: the kept one if it lives, else a new one, tried once. Nothing of the command is sent yet.
    fn ready<'a>(&self, runtime: &'a tokio::runtime::Runtime, stop: &mut Stop) -> Result<(Connection<'a>, ssh2::Channel), Fault> {
        let whom = self.config.label();
        let unreachable = |what: &str| Fault::new(FaultKind::Unreachable, format!("{whom}: {what}"));
        let set_up = |kept| Connection::new(whom.clone(), kept, runtime).map_err(|e| unreachable("cannot set up the connection").cause(e));
        let kept = self.idle().pop();
        if let Some(kept) = kept {
            let conn = set_up(kept)?;
            match conn.channel(Instant::now() + self.config.connect_timeout.0, stop) {
                Ok(channel) => return Ok((conn, channel)),
                // It went away while idle, as over a reboot; its like will have too.
                Err(_) => self.idle().clear(),
            }
        }
        if stop.asked() {
            return Err(unreachable("cancelled before anything was sent"));
        }
        let conn = set_up(Connection::open(&self.config, &self.cx, runtime)?)?;
        let channel =
            conn.channel(Instant::now() + self.config.connect_timeout.0, stop).map_err(|e| unreachable("logged in, but it opens no channel").cause(e))?;
        Ok((conn, channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|e| e.to_string())?;
        kinds::Config::validate(&config).map(|()| config)
    }

    #[test]
    fn what_an_inventory_may_say() {
        let it = config("host = 'h.example'\nkey = { file = '~/.ssh/id' }").unwrap();
        assert_eq!((it.label().as_str(), it.connect_timeout, it.limit), ("root@h.example:22", Span::seconds(10), Span::seconds(30)));
        assert!(config("host = 'h.example'\nagent = true\nport = 2222\nuser = 'ops'").is_ok());
        for (text, expect) in [
            ("host = 'h.example'", "no way to log in"),
            ("host = 'a b'\nagent = true", "not a name"),
            ("host = ''\nagent = true", "not a name"),
            ("host = 'h'\nagent = true\nkey = { env = 'K' }", "exclude"),
            ("host = 'h'\nagent = true\nport = 0", "port 0"),
            ("host = 'h'\nagent = true\npassphrase = { env = 'P' }", "belongs to `key`"),
            ("host = 'h'\nagent = true\nlimit = '0s'", "no time"),
            ("host = 'h'\nagent = true\nprot = 22", "unknown field"),
            ("host = 'h'\nkey = '~/.ssh/id'", "key"),
        ] {
            let error = config(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
