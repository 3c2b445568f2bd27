//! What only this process's machine can say: time, secrets, who we are.
use super::{logins::Logins, mask::Mask};
use crate::{
    guards::Own,
    model::{Clock, Fault, FaultKind, Identity, Login, Secret, SecretRef, Secrets, Timestamp, Turn},
};
use futures::future::BoxFuture;
use std::{
    env, fs,
    io::IsTerminal,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

pub struct SystemClock;
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Milliseconds: what a journal needs, and what every reader of RFC 3339 takes.
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

/// Read anew each time they are asked for, so that a rotated secret is found; remembered only to be masked in what hosts print.
/// One for the whole process, because it counts what servers refuse.
#[derive(Default)]
pub struct MachineSecrets {
    pub logins: Arc<Logins>,
    seen: Mutex<Mask>,
}
impl MachineSecrets {
    pub fn masked(&self, text: &str) -> String {
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).apply(text)
    }
}
impl Secrets for MachineSecrets {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        let denied = |why: String| Fault::new(FaultKind::Denied, format!("cannot read secret from {from}")).cause(why);
        let file = |path: PathBuf| fs::read_to_string(path).map_err(|e| denied(e.to_string()));
        let text = match from {
            SecretRef::Env(name) => env::var(name).map_err(|e| denied(e.to_string()).next(format!("set {name} for this process")))?,
            SecretRef::File(path) => file(path.into())?,
            SecretRef::Credential(name) => {
                let dir = env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| denied("$CREDENTIALS_DIRECTORY is not set: not started by systemd with LoadCredential".into()))?;
                file(PathBuf::from(dir).join(name))?
            }
        };
        // One newline that an editor put there; a key file keeps its own.
        let secret = text.strip_suffix('\n').map(str::to_owned).unwrap_or(text);
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).learn(&secret);
        Ok(Secret::new(secret))
    }
    fn turn(&self, login: Login) -> BoxFuture<'_, Result<Turn, Fault>> {
        Box::pin(self.logins.turn(login))
    }
}

pub fn home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// `ops@deploy-1`: who a lock, a mark and a report name.
pub fn who() -> String {
    let user = env::var("SUDO_USER").or_else(|_| env::var("USER")).or_else(|_| env::var("LOGNAME")).unwrap_or_else(|_| account());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").map(|h| h.trim().to_owned()).unwrap_or_else(|_| "localhost".into());
    format!("{user}@{host}")
}

/// Which machine this process runs on; what it may not read proves nothing.
pub fn own() -> Own {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let identity = Identity { uuid: read("/sys/class/dmi/id/product_uuid"), machine_id: read("/etc/machine-id"), ..Identity::default() };
    Own { boot_id: read("/proc/sys/kernel/random/boot_id"), identity, resolvers: resolvers() }
}

/// The name servers that are asked. A stub on this machine asks others: those of systemd-resolved stand in a file of its own.
fn resolvers() -> Vec<IpAddr> {
    let of = |path: &str| servers(&fs::read_to_string(path).unwrap_or_default());
    let (named, behind) = (of("/etc/resolv.conf"), of("/run/systemd/resolve/resolv.conf"));
    if named.iter().all(IpAddr::is_loopback) && !behind.is_empty() { behind } else { named }
}
fn servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.split_whitespace().next()?.split('%').next()?.parse().ok()).collect()
}

/// Timers and containers set no $USER: the owner of this process, by name where /etc/passwd has one.
fn account() -> String {
    let Ok(uid) = fs::metadata("/proc/self").map(|m| m.uid().to_string()) else { return "unknown".into() };
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut rows = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    rows.find(|row| row.get(2) == Some(&uid.as_str())).map_or_else(|| format!("uid {uid}"), |row| row[0].to_owned())
}

pub fn program() -> String {
    format!("pitstop {}", env!("CARGO_PKG_VERSION"))
}

/// kube takes the process's default; everything else is given it.
pub fn install_provider() -> Result<(), ()> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| ())
}

pub fn start_tracing(verbose: u8) {
    let level = match verbose {
        0 => "error,kube_client=off", // a lost peer is told in our own words
        1 => "pitstop=info,warn",
        2 => "pitstop=debug,info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).without_time().init();
}
