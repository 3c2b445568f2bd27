//! SSH: looks and commands over libssh2, on threads of its own. What a host is trusted by, and how a command's end is proven, is in `docs/ssh.md`.
mod aliases;
mod arrays;
mod bridge;
mod connection;
mod dial;
mod exec;
mod hop;
mod jump;
mod known_hosts;
mod lines;
mod locks;
mod login;
mod look;
mod pool;
mod raid;
mod ready;
mod ssh_config;
mod target;

use super::{Hear, Host, HostConfig};
use crate::{
    kinds,
    model::{Command, Connect, Fault, FaultKind, FilePath, HostKey, HostView, Output, Raid, SecretRef, Span},
};
use aliases::Aliases;
use async_trait::async_trait;
use connection::{Connection, Kept, Stop};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};
use target::{PORT, Route, USER};
use tokio::sync::Semaphore;

/// Commands at once on one host, each with a connection of its own: a look must not wait behind a long command.
const AT_ONCE: usize = 4;

/// `host.ssh = { host = "edge-07.lan.example", key = { file = "~/.ssh/id_ed25519" } }`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name or address; with `config`, as `ssh` is called with it.
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `true`: what `~/.ssh/config` and `/etc/ssh/ssh_config` say of `host` counts where the inventory says nothing; a path: that file alone.
    #[serde(default, skip_serializing_if = "Aliases::unread")]
    pub config: Aliases,
    /// Jump hosts in the order in which they are passed: `"ops@bastion.example:22,inner"`; `"none"`, whatever `config` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// The jump hosts' private key; without it they get what the host gets, but never its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump_key: Option<SecretRef>,
    /// The passphrase of `jump_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump_passphrase: Option<SecretRef>,
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
    /// A peer that has been silent so long is asked for a sign of life; after twice as long it is given up.
    #[serde(default = "keepalive", skip_serializing_if = "usual")]
    pub keepalive: Span,
    /// Of a look.
    #[serde(default = "limit")]
    pub limit: Span,
}

fn connect_timeout() -> Span {
    Span::seconds(10)
}
fn limit() -> Span {
    Span::seconds(30)
}

fn keepalive() -> Span {
    Span::seconds(15)
}
fn usual(span: &Span) -> bool {
    *span == keepalive()
}

impl Config {
    /// Before ssh_config is read.
    fn label(&self) -> String {
        let user = self.user.as_deref().or((self.config == Aliases::Unread).then_some(USER));
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.or((self.config == Aliases::Unread).then_some(PORT));
        let through = self.jump.iter().filter(|j| *j != "none").map(|j| format!(" through {j}")).collect::<String>();
        format!("{user}{}{}{through}", self.host, port.map(|p| format!(":{p}")).unwrap_or_default())
    }
}

impl kinds::Config<dyn HostConfig> for Config {
    const NAME: &'static str = "ssh";
    const ABOUT: &'static str = "SSH with a key, an agent or a password; the host key must be known";
    fn make(self) -> Box<dyn HostConfig> {
        Box::new(self)
    }
    fn validate(&self) -> Result<(), String> {
        let odd = hop::odd;
        let user = self.user.as_deref().unwrap_or(USER);
        let jump = self.jump.as_deref().filter(|j| *j != "none").map(hop::hops).transpose()?;
        match () {
            _ if self.host.is_empty() || self.host.contains(odd) => Err(format!("host `{}` is not a name or an address", self.host)),
            _ if user.is_empty() || user.contains(odd) => Err(format!("user `{user}` is not a user name")),
            _ if self.port == Some(0) => Err("port 0 does not exist".to_owned()),
            _ if self.key.is_some() && self.agent => Err("`key` and `agent` exclude each other".to_owned()),
            _ if self.config.unread() && self.key.is_none() && !self.agent && self.password.is_none() => {
                Err("no way to log in: give `key`, `agent = true` or `password`".to_owned())
            }
            _ if self.agent_socket.is_some() && !self.agent => Err("`agent_socket` belongs to `agent = true`".to_owned()),
            _ if self.passphrase.is_some() && self.key.is_none() => Err("`passphrase` belongs to `key`".to_owned()),
            _ if self.jump_passphrase.is_some() && self.jump_key.is_none() => Err("`jump_passphrase` belongs to `jump_key`".to_owned()),
            _ if self.jump_key.is_some() && jump.is_none() && self.config.unread() => Err("`jump_key` belongs to `jump`".to_owned()),
            _ if jump.is_some() && self.config.unread() && self.jump_key.is_none() && self.key.is_none() && !self.agent => {
                Err("no way to log in at the jump host, which never gets the host's password: give `jump_key`, `key` or `agent = true`".to_owned())
            }
            _ if self.keepalive < Span::seconds(1) => Err("`keepalive` is at least a second".to_owned()),
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
            shared: Arc::new(Shared { route: Route::of(self, cx)?, limit: self.limit, cx: cx.clone(), idle: Mutex::default() }),
            lanes: Arc::new(Semaphore::new(AT_ONCE)),
        }))
    }
    fn endpoint(&self) -> String {
        self.label()
    }
    async fn host_key(&self, cx: &Connect) -> Result<Option<HostKey>, Fault> {
        let (route, cx) = (Route::of(self, cx)?, cx.clone());
        let whom = route.host.whom.clone();
        pool::run(&whom, self.connect_timeout.0 * 2, move |runtime| {
            let stream = connection::reach(&route, &cx, runtime)?;
            login::shown(&route.host, stream).map(Some)
        })
        .await
    }
    fn carried_by(&self, cx: &Connect) -> Result<Vec<String>, Fault> {
        Ok(Route::of(self, cx)?.jumps.into_iter().map(|jump| jump.host).collect())
    }
}

struct Ssh {
    shared: Arc<Shared>,
    lanes: Arc<Semaphore>,
}

struct Shared {
    route: Route,
    limit: Span,
    cx: Connect,
    /// Connections nobody uses now, the freshest last.
    idle: Mutex<Vec<Kept>>,
}

#[async_trait]
impl Host for Ssh {
    fn endpoint(&self) -> String {
        self.shared.route.host.whom.clone()
    }

    async fn look(&self) -> Result<HostView, Fault> {
        let command = Command { line: look::script(), limit: self.shared.limit, stdin: None };
        let (output, host_key) = self.call(command, None).await?;
        let invalid = |why: String| Fault::new(FaultKind::Invalid, format!("{}: its look makes no sense", self.endpoint())).cause(why);
        if output.status != 0 {
            return Err(invalid(format!("exit status {}", output.status)));
        }
        let view = look::read(&output.stdout).map_err(invalid)?;
        Ok(HostView { host_key: Some(host_key), ..view })
    }

    async fn raid(&self) -> Result<Raid, Fault> {
        let command = Command { line: raid::script(), limit: raid::LIMIT, stdin: None };
        let (output, _) = self.call(command, None).await?;
        Ok(raid::read(&output.stdout))
    }

    async fn exec(&self, command: &Command) -> Result<Output, Fault> {
        exec::check(command)?;
        self.call(command.clone(), None).await.map(|(output, _)| output)
    }

    async fn exec_heard(&self, command: &Command, hear: Hear) -> Result<Output, Fault> {
        exec::check(command)?;
        self.call(command.clone(), Some(hear)).await.map(|(output, _)| output)
    }

    async fn close(&self) {
        self.shared.idle().clear();
    }
}

impl Ssh {
    /// The output, and the fingerprint of the host that gave it.
    async fn call(&self, command: Command, hear: Option<Hear>) -> Result<(Output, String), Fault> {
        let whom = self.shared.route.host.whom.clone();
        let wait = command.limit.0;
        let lane = tokio::time::timeout(wait, Arc::clone(&self.lanes).acquire_owned()).await;
        let lane = lane.map_err(|_| Fault::new(FaultKind::Unreachable, format!("{whom}: {AT_ONCE} commands were under way for {wait:?}")))?;
        let shared = Arc::clone(&self.shared);
        // Dropped with this future: a call nobody waits for is ended on the host too.
        let (_hold, mut stop) = Stop::new();
        pool::run(&whom, wait, move |runtime| {
            let _lane = lane;
            let (conn, channel) = shared.ready(runtime, &mut stop)?;
            let (done, usable) = exec::run(&conn, channel, &command, hear.as_ref(), &mut stop);
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
        let whom = &self.route.host.whom;
        let connect_timeout = self.route.host.connect_timeout.0;
        let unreachable = |what: &str| Fault::new(FaultKind::Unreachable, format!("{whom}: {what}"));
        let set_up = |kept| Connection::new(whom.clone(), kept, runtime).map_err(|e| unreachable("cannot set up the connection").cause(e));
        let kept = self.idle().pop();
        if let Some(kept) = kept {
            let conn = set_up(kept)?;
            match conn.channel(Instant::now() + connect_timeout, stop) {
                Ok(channel) => return Ok((conn, channel)),
                // It went away while idle, as over a reboot; its like will have too.
                Err(_) => self.idle().clear(),
            }
        }
        if stop.asked() {
            return Err(unreachable("cancelled before anything was sent"));
        }
        let conn = set_up(Connection::open(&self.route, &self.cx, runtime)?)?;
        let channel = conn.channel(Instant::now() + connect_timeout, stop).map_err(|e| unreachable("logged in, but it opens no channel").cause(e))?;
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
        assert!(config("host = 'edge-07'\nconfig = true").is_ok());
        assert!(config("host = 'edge-07'\nconfig = '~/fleet/ssh_config'\njump = 'none'").is_ok());
        assert_eq!(config("host = 'h'\nagent = true\njump = 'ops@b:22'").unwrap().label(), "root@h:22 through ops@b:22");
        assert!(config("host = 'h.example'\nagent = true\nport = 2222\nuser = 'ops'").is_ok());
        for (text, expect) in [
            ("host = 'h.example'", "no way to log in"),
            ("host = 'a b'\nagent = true", "not a name"),
            ("host = ''\nagent = true", "not a name"),
            ("host = 'h'\nagent = true\nkey = { env = 'K' }", "exclude"),
            ("host = 'h'\nagent = true\nport = 0", "port 0"),
            ("host = 'h'\nagent = true\npassphrase = { env = 'P' }", "belongs to `key`"),
            ("host = 'h'\nagent = true\nlimit = '0s'", "no time"),
            ("host = 'h'\npassword = { env = 'P' }\njump = 'b'", "never gets the host's password"),
            ("host = 'h'\nagent = true\njump = 'b:0'", "`b:0` is no jump host"),
            ("host = 'h'\nagent = true\njump_key = { env = 'K' }", "belongs to `jump`"),
            ("host = 'h'\nagent = true\nconfig = 3", "true for ~/.ssh/config"),
            ("host = 'h'\nagent = true\nkeepalive = '0s'", "at least a second"),
            ("host = 'h'\nagent = true\nprot = 22", "unknown field"),
            ("host = 'h'\nkey = '~/.ssh/id'", "key"),
        ] {
            let error = config(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
