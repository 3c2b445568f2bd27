//! Where a connection goes, as whom, and what is offered there: the inventory's words first, ssh_config's after them, our own defaults last.
use super::{
    Config,
    aliases::Aliases,
    hop::{self, Hop, hops},
    known_hosts::glob,
    ssh_config::{Proxy, Reader, Said, Word, filled},
};
use crate::model::{Connect, Fault, FaultKind, FilePath, SecretRef, Span};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub const PORT: u16 = 22;
pub const USER: &str = "root";
/// Of an `ssh_config` or a file it includes.
const FILE: u64 = 1 << 20;

/// One end of one connection: the host itself, or a jump host on the way.
#[derive(Debug, Clone)]
pub struct Target {
    /// `root@edge-07.lan.example:22`
    pub whom: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Looked up in known_hosts.
    pub known_as: String,
    /// The node's keys of trust.toml; a jump host has none.
    pub pinned: Vec<String>,
    /// What pins its key; a jump host's goes into known_hosts.
    pub trust: Option<String>,
    pub known_hosts: Vec<PathBuf>,
    /// A file that somebody named must be there.
    pub known_hosts_named: bool,
    pub keys: Vec<Key>,
    pub agent: Option<Agent>,
    pub password: Option<SecretRef>,
    pub connect_timeout: Span,
    pub keepalive: Span,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub from: SecretRef,
    pub passphrase: Option<SecretRef>,
    /// An `IdentityFile`: passed over where it is missing; where it is sealed, the agent is asked for it.
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub struct Agent {
    pub socket: Option<PathBuf>,
    /// Only keys that `keys` name.
    pub only: bool,
    /// Not missed where there is none.
    pub optional: bool,
}

/// The host, and the jump hosts before it in the order in which they are passed.
#[derive(Debug, Clone)]
pub struct Route {
    pub jumps: Vec<Target>,
    pub host: Target,
}

impl Route {
    /// Reads ssh_config where the inventory says so; contacts nothing.
    pub fn of(config: &Config, cx: &Connect) -> Result<Route, Fault> {
        let files = Files::of(config, cx);
        let said = files.said(&config.host)?;
        let host = config.target(cx, &said)?;
        let way = match (&config.jump, &said.proxy) {
            (Some(jump), _) if jump == "none" => Vec::new(),
            (Some(jump), _) => hops(jump).map_err(|why| Fault::new(FaultKind::Invalid, format!("{}: {why}", host.whom)))?,
            (None, Some(Proxy::Jump(word))) => files.hops(word, &host)?,
            (None, Some(Proxy::Command(at))) => {
                return Err(Fault::new(FaultKind::Invalid, format!("{}: {at}: `ProxyCommand` is not run", host.whom))
                    .next("use `ProxyJump`, or set host.ssh.jump (\"none\" where there is a direct way)"));
            }
            (None, Some(Proxy::None) | None) => Vec::new(),
        };
        let jumps = files.way(config, cx, way, 0)?;
        Ok(Route { jumps, host })
    }
}

impl Config {
    fn target(&self, cx: &Connect, said: &Said) -> Result<Target, Fault> {
        let host = said.host.clone().unwrap_or_else(|| self.host.clone());
        let port = self.port.or(said.port).unwrap_or(PORT);
        let user = self.user.clone().or_else(|| said.user.clone()).unwrap_or_else(|| USER.to_owned());
        let whom = format!("{user}@{host}:{port}");
        let tokens = Tokens { alias: &self.host, host: &host, port, user: &user, home: &cx.home };
        let known_hosts = match (&self.known_hosts, &said.known_hosts) {
            (Some(path), _) => vec![cx.path(path)],
            (None, Some(words)) => words.iter().filter(|w| w.text != "none").map(|w| tokens.path(w)).collect::<Result<_, _>>()?,
            (None, None) => known_hosts_of_everybody(cx),
        };
        let mut target = Target {
            known_as: said.host_key_alias.clone().unwrap_or_else(|| host.clone()),
            pinned: cx.trust.host_keys.clone(),
            trust: cx.node.as_ref().map(|n| n.0.clone()),
            known_hosts,
            known_hosts_named: self.known_hosts.is_some(),
            keys: self.key.iter().map(|from| Key { from: from.clone(), passphrase: self.passphrase.clone(), optional: false }).collect(),
            agent: self.agent.then(|| Agent { socket: self.agent_socket.as_ref().map(|s| cx.path(s)), only: false, optional: false }),
            password: self.password.clone(),
            connect_timeout: self.connect_timeout,
            keepalive: self.keepalive,
            whom: whom.clone(),
            host: host.clone(),
            port,
            user: user.clone(),
        };
        if !self.config.unread() && self.key.is_none() && !self.agent && self.password.is_none() {
            (target.keys, target.agent) = tokens.identities(said)?;
        }
        Ok(target)
    }

    /// A jump host is not the node: its key is in known_hosts, and it never sees the node's password.
    fn jump(&self, cx: &Connect, hop: &Hop, said: &Said) -> Result<Target, Fault> {
        // Its own key; else what ssh_config says of it; else the key or agent of the node.
        let (key, passphrase, agent) = match &self.jump_key {
            Some(key) => (Some(key.clone()), self.jump_passphrase.clone(), false),
            None if !said.keys.is_empty() => (None, None, false),
            None => (self.key.clone(), self.passphrase.clone(), self.agent),
        };
        let as_host = Config { host: hop.host.clone(), port: hop.port, user: hop.user.clone(), key, passphrase, agent, password: None, ..self.clone() };
        let target = as_host.target(cx, said)?;
        Ok(Target { whom: format!("jump host {}", target.whom), pinned: Vec::new(), trust: None, ..target })
    }
}

fn known_hosts_of_everybody(cx: &Connect) -> Vec<PathBuf> {
    ["~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts"].map(|p| cx.path(&FilePath(p.to_owned()))).to_vec()
}

/// What `%` stands for.
struct Tokens<'a> {
    alias: &'a str,
    host: &'a str,
    port: u16,
    user: &'a str,
    home: &'a Path,
}
impl Tokens<'_> {
    fn fill(&self, word: &Word) -> Result<String, Fault> {
        let value = |token| match token {
            'h' => Some(self.host.to_owned()),
            'n' => Some(self.alias.to_owned()),
            'p' => Some(self.port.to_string()),
            'r' => Some(self.user.to_owned()),
            'd' => Some(self.home.display().to_string()),
            _ => None,
        };
        let environment = word.text.contains("${").then(|| "environment variables are not filled in".to_owned());
        environment.map_or_else(|| filled(&word.text, value), Err).map_err(|what| Fault::new(FaultKind::Invalid, format!("{}: {what}", word.at)))
    }
    /// As ssh_config means it: not relative to the inventory.
    fn path(&self, word: &Word) -> Result<PathBuf, Fault> {
        let text = self.fill(word)?;
        Ok(text.strip_prefix("~/").map_or_else(|| self.home.join(".ssh").join(&text), |rest| self.home.join(rest)))
    }

    /// The keys that are named, else those that everybody has; and the agent, where one is at hand.
    fn identities(&self, said: &Said) -> Result<(Vec<Key>, Option<Agent>), Fault> {
        let named: Vec<&Word> = said.keys.iter().filter(|w| w.text != "none").collect();
        let paths: Vec<PathBuf> = if said.keys.is_empty() {
            ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| self.home.join(".ssh").join(name)).to_vec()
        } else {
            named.iter().map(|w| self.path(w)).collect::<Result<_, _>>()?
        };
        let keys = paths.into_iter().map(|p| Key { from: SecretRef::File(p.display().to_string()), passphrase: None, optional: true }).collect();
        let socket = match &said.agent {
            Some(word) if word.text == "none" => return Ok((keys, None)),
            Some(word) if word.text == "SSH_AUTH_SOCK" => None,
            Some(word) if word.text.starts_with('$') => {
                return Err(Fault::new(FaultKind::Invalid, format!("{}: environment variables are not filled in", word.at)));
            }
            Some(word) => Some(self.path(word)?),
            None => None,
        };
        Ok((keys, Some(Agent { socket, only: said.identities_only.unwrap_or(false), optional: true })))
    }
}

/// The files that are read, in order.
struct Files {
    /// Each with the directory of its relative `Include`s; the flag: somebody named it, so it must be there.
    files: Vec<(PathBuf, PathBuf, bool)>,
    home: PathBuf,
}
impl Files {
    fn of(config: &Config, cx: &Connect) -> Files {
        let own = cx.home.join(".ssh");
        let files = match &config.config {
            Aliases::Unread => Vec::new(),
            Aliases::Own => vec![(own.join("config"), own, false), ("/etc/ssh/ssh_config".into(), "/etc/ssh".into(), false)],
            Aliases::File(path) => vec![(cx.path(path), own, true)],
        };
        Files { files, home: cx.home.clone() }
    }

    fn said(&self, alias: &str) -> Result<Said, Fault> {
        let mut said = Said::default();
        for (path, beside, named) in &self.files {
            let text = match text(path) {
                Ok(text) => text,
                Err(e) if e.kind() == io::ErrorKind::NotFound && !named => continue,
                Err(e) => return Err(Fault::new(FaultKind::Invalid, format!("{} cannot be read", path.display())).cause(e)),
            };
            let include = |pattern: &str| self.included(pattern, beside);
            let mut reader = Reader::continuing(alias, &include, said);
            reader.read(&path.display().to_string(), &text).map_err(|wrong| Fault::new(FaultKind::Invalid, wrong.to_string()))?;
            said = reader.said();
        }
        Ok(said)
    }

    fn included(&self, pattern: &str, beside: &Path) -> Result<Vec<(String, String)>, String> {
        let pattern = match pattern.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => beside.join(pattern),
        };
        let mut found = vec![PathBuf::new()];
        for part in pattern.components() {
            let name = part.as_os_str().to_string_lossy();
            if !name.contains(['*', '?']) {
                found.iter_mut().for_each(|path| path.push(part));
                continue;
            }
            let mut next = Vec::new();
            for entry in found.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().filter_map(Result::ok) {
                let file = entry.file_name().to_string_lossy().into_owned();
                let hidden = file.starts_with('.') && !name.starts_with('.');
                if !hidden && glob(name.as_bytes(), file.as_bytes()) {
                    next.push(entry.path());
                }
            }
            next.sort();
            found = next;
        }
        let mut texts = Vec::new();
        for path in found {
            match text(&path) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(format!("{} cannot be read: {e}", path.display())),
            }
        }
        Ok(texts)
    }

    fn hops(&self, word: &Word, host: &Target) -> Result<Vec<Hop>, Fault> {
        let value = |token| match token {
            'h' => Some(host.host.clone()),
            'p' => Some(host.port.to_string()),
            'r' => Some(host.user.clone()),
            _ => None,
        };
        filled(&word.text, value).and_then(|text| hops(&text)).map_err(|what| Fault::new(FaultKind::Invalid, format!("{}: {what}", word.at)))
    }

    /// Each hop by its own words in ssh_config; the first of them may have a way of its own before it.
    fn way(&self, config: &Config, cx: &Connect, way: Vec<Hop>, depth: usize) -> Result<Vec<Target>, Fault> {
        if depth > hop::HOPS {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: jump hosts of jump hosts, more than {} deep: a circle?", config.host, hop::HOPS)));
        }
        let mut targets = Vec::new();
        for (i, hop) in way.iter().enumerate() {
            let said = self.said(&hop.host)?;
            let target = config.jump(cx, hop, &said)?;
            match (&said.proxy, i) {
                (Some(Proxy::Jump(word)), 0) => targets = self.way(config, cx, self.hops(word, &target)?, depth + 1)?,
                (Some(Proxy::Command(at)), 0) => return Err(Fault::new(FaultKind::Invalid, format!("{}: {at}: `ProxyCommand` is not run", target.whom))),
                _ => {}
            }
            targets.push(target);
        }
        Ok(targets)
    }
}

/// Bounded: a device or a log is no configuration.
fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, FILE), &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
