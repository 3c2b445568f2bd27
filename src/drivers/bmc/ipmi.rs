//! IPMI 2.0 over LAN (RMCP+), with a client of our own; `via = "ipmitool"` is the way out for BMCs that only that understands.
use super::{Bmc, BmcConfig};
use crate::{
    guards::Permit,
    kinds,
    model::{BmcView, BootOverride, Connect, Fault, FaultKind, LogEntry, ResetType, SecretRef, Span},
    wire::{
        ipmi::{self as codec, control},
        lan::code,
        rakp::{MAX_PASSWORD, MAX_USER},
        suite::Suite,
    },
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex as Lock};
use tokio::sync::Mutex;

mod boot;
mod faults;
mod read;
mod sel;
mod session;
mod tool;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name or address of the BMC.
    pub host: String,
    #[serde(default = "port")]
    pub port: u16,
    pub username: SecretRef,
    pub password: SecretRef,
    /// Tried in this order; the one that worked is remembered. 17 is SHA-256, 3 is SHA-1; others are not spoken.
    #[serde(default = "cipher_suites")]
    pub cipher_suites: Vec<u8>,
    /// `administrator`, or `operator`, which suffices for power.
    #[serde(default)]
    pub privilege: Privilege,
    /// Of one exchange; reads and login messages are sent five times within it, power verbs once.
    #[serde(default = "limit")]
    pub timeout: Span,
    /// The byte order of the system GUID, where it cannot be told from the GUID itself.
    #[serde(default)]
    pub guid: GuidSetting,
    /// `ipmitool`: run that program instead of speaking the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    Operator,
    #[default]
    Administrator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuidSetting {
    #[default]
    Auto,
    Smbios,
    Ipmi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    Ipmitool,
}

fn port() -> u16 {
    623
}
fn cipher_suites() -> Vec<u8> {
    vec![17, 3]
}
fn limit() -> Span {
    Span::seconds(5)
}

impl kinds::Config<dyn BmcConfig> for Config {
    const NAME: &'static str = "ipmi";
    const ABOUT: &'static str = "IPMI 2.0 over LAN, cipher suites 17 and 3";

    fn make(self) -> Box<dyn BmcConfig> {
        Box::new(self)
    }

    fn validate(&self) -> Result<(), String> {
        let hostless = self.host.is_empty() || self.host.starts_with('-') || self.host.contains(|c: char| c.is_whitespace() || "/@".contains(c));
        if hostless {
            return Err(format!("host: `{}` is not a name or an address", self.host));
        }
        if self.port == 0 {
            return Err("port: 0 cannot be reached".into());
        }
        if self.cipher_suites.is_empty() {
            return Err("cipher_suites: name 17, 3 or both".into());
        }
        if let Some(id) = self.cipher_suites.iter().find(|id| Suite::from_id(**id).is_none()) {
            return Err(format!("cipher_suites: {id} is not spoken, only 17 and 3 both prove who asks and hide what is asked"));
        }
        if self.timeout.0.is_zero() || self.timeout > Span::minutes(2) {
            return Err(format!("timeout: `{}` is not between 1ms and 2m", self.timeout));
        }
        Ok(())
    }
}

impl Config {
    /// Without the brackets that an IPv6 address may wear.
    fn bare_host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(&self.host)
    }
}

#[async_trait]
impl BmcConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Bmc>, Fault> {
        Ok(Arc::new(Ipmi { config: self.clone(), cx: cx.clone(), proved: Lock::default(), silent: read::Silent::default(), turn: Mutex::default() }))
    }
    fn endpoint(&self) -> String {
        let host = self.bare_host();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        if self.port == port() { format!("ipmi://{host}") } else { format!("ipmi://{host}:{}", self.port) }
    }
    fn host(&self) -> String {
        self.bare_host().to_owned()
    }
}

struct Ipmi {
    config: Config,
    cx: Connect,
    /// The suite that the last successful login used.
    proved: Lock<Option<Suite>>,
    silent: read::Silent,
    /// BMCs answer one question at a time, and many crash on two.
    turn: Mutex<()>,
}

#[async_trait]
impl Bmc for Ipmi {
    fn protocol(&self) -> &'static str {
        "ipmi"
    }
    fn endpoint(&self) -> String {
        self.config.endpoint()
    }

    async fn look(&self) -> Result<BmcView, Fault> {
        let _turn = self.turn.lock().await;
        let target = self.target()?;
        match self.config.via {
            None => {
                let mut session = self.open(&target).await?;
                let view = read::view(&mut session, &target.endpoint, self.config.guid, &self.silent).await;
                session.close().await;
                view
            }
            Some(Via::Ipmitool) => {
                let mut tool = tool::Tool { target: &target, suites: self.suites().0 };
                let view = read::view(&mut tool, &target.endpoint, self.config.guid, &self.silent).await?;
                self.remember(tool.suites.first().copied());
                Ok(view)
            }
        }
    }

    /// One login for both: it is more than half of what a look costs.
    async fn look_and_boot(&self) -> Result<(BmcView, Result<BootOverride, Fault>), Fault> {
        let _turn = self.turn.lock().await;
        let target = self.target()?;
        match self.config.via {
            None => {
                let mut session = self.open(&target).await?;
                let seen = self.view_and_boot(&mut session, &target).await;
                session.close().await;
                seen
            }
            Some(Via::Ipmitool) => {
                let mut tool = tool::Tool { target: &target, suites: self.suites().0 };
                let seen = self.view_and_boot(&mut tool, &target).await?;
                self.remember(tool.suites.first().copied());
                Ok(seen)
            }
        }
    }

    async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault> {
        let Some(said) = control_of(verb) else {
            let what = format!("IPMI has no graceful restart, so {} cannot be sent to {}", verb, self.endpoint());
            return Err(Fault::new(FaultKind::Unable, what));
        };
        let _turn = self.turn.lock().await;
        let target = self.target().map_err(nothing_sent)?;
        match self.config.via {
            None => {
                let mut session = self.open(&target).await.map_err(nothing_sent)?;
                let answer = match permit.spend(self.cx.node.as_ref(), verb) {
                    Ok(()) => control_once(&mut session, &target.endpoint, verb, said).await,
                    Err(fault) => Err(fault),
                };
                session.close().await;
                answer
            }
            Some(Via::Ipmitool) => {
                let mut tool = tool::Tool { target: &target, suites: self.suites().0 };
                let known = *self.proved();
                let proved = match known {
                    Some(suite) => suite,
                    None => tool.prove().await.map_err(nothing_sent)?,
                };
                self.remember(Some(proved));
                permit.spend(self.cx.node.as_ref(), verb)?;
                tool.control(proved, said, verb.name()).await
            }
        }
    }

    /// Cold: many BMCs reset before they answer.
    async fn restart(&self, permit: &mut Permit) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        let target = self.target().map_err(nothing_sent)?;
        const DOING: &str = "a reset of the BMC";
        match self.config.via {
            None => {
                let mut session = self.open(&target).await.map_err(nothing_sent)?;
                let answer = match permit.spend_on_bmc(self.cx.node.as_ref()) {
                    Ok(()) => session.request(codec::COLD_RESET, &[], false).await,
                    Err(fault) => return Err(fault),
                };
                match answer {
                    Ok(response) if response.code == code::OK => Ok(()),
                    Ok(response) => Err(faults::completion(&target.endpoint, DOING, response.code)),
                    Err(lost) => Err(lost.after_write(&target.endpoint, DOING)),
                }
            }
            Some(Via::Ipmitool) => {
                let mut tool = tool::Tool { target: &target, suites: self.suites().0 };
                let suite = tool.prove().await.map_err(nothing_sent)?;
                permit.spend_on_bmc(self.cx.node.as_ref())?;
                tool.write(suite, codec::COLD_RESET, &[], DOING).await
            }
        }
    }

    async fn boot_override(&self) -> Result<BootOverride, Fault> {
        self.read_boot().await
    }
    async fn set_boot_override(&self, to: &BootOverride) -> Result<(), Fault> {
        self.write_boot(to).await
    }
    async fn identify_light(&self) -> Result<bool, Fault> {
        self.read_light().await
    }
    async fn set_identify_light(&self, on: bool) -> Result<(), Fault> {
        self.write_light(on).await
    }

    async fn log_since(&self, id: Option<&str>) -> Result<Vec<LogEntry>, Fault> {
        let _turn = self.turn.lock().await;
        let target = self.target()?;
        match self.config.via {
            None => {
                let mut session = self.open(&target).await?;
                let entries = sel::since(&mut session, &target.endpoint, id).await;
                session.close().await;
                entries
            }
            Some(Via::Ipmitool) => sel::since(&mut tool::Tool { target: &target, suites: self.suites().0 }, &target.endpoint, id).await,
        }
    }

    /// Every call closes its own session.
    async fn close(&self) {}
}

impl Ipmi {
    /// Credentials are read at every login, so that a rotated password is found.
    fn target(&self) -> Result<session::Target, Fault> {
        let (user, password) = (self.cx.secret(&self.config.username)?, self.cx.secret(&self.config.password)?);
        // BMCs cut what is longer, some of them only on one side.
        for (what, secret, limit) in [("user name", &user, MAX_USER), ("password", &password, MAX_PASSWORD)] {
            let len = secret.expose().len();
            if len > limit {
                let text = format!("{}: the {what} has {len} bytes, IPMI takes at most {limit}", self.endpoint());
                return Err(Fault::new(FaultKind::Denied, text));
            }
            if secret.expose().contains('\0') {
                return Err(Fault::new(FaultKind::Denied, format!("{}: the {what} has a NUL in it", self.endpoint())));
            }
        }
        let privilege = match self.config.privilege {
            Privilege::Operator => codec::OPERATOR,
            Privilege::Administrator => codec::ADMINISTRATOR,
        };
        let (endpoint, host, port) = (self.endpoint(), self.config.bare_host().to_owned(), self.config.port);
        let credential = self.cx.credential("password", &self.config.password, Some(&self.config.username));
        Ok(session::Target { endpoint, host, port, user, password, privilege, timeout: self.config.timeout.0, cx: self.cx.clone(), credential })
    }

    async fn view_and_boot(&self, ask: &mut dyn read::Ask, target: &session::Target) -> Result<(BmcView, Result<BootOverride, Fault>), Fault> {
        let view = read::view(ask, &target.endpoint, self.config.guid, &self.silent).await?;
        Ok((view, boot::read(ask, &target.endpoint).await))
    }

    fn proved(&self) -> std::sync::MutexGuard<'_, Option<Suite>> {
        self.proved.lock().expect("BUG: a holder of the suite panicked")
    }
    fn remember(&self, suite: Option<Suite>) {
        *self.proved() = suite;
    }

    /// In the order in which they are tried, and whether the first has worked before.
    fn suites(&self) -> (Vec<Suite>, bool) {
        let proved = *self.proved();
        let configured = self.config.cipher_suites.iter().filter_map(|id| Suite::from_id(*id));
        let mut suites: Vec<Suite> = Vec::new();
        for suite in proved.into_iter().chain(configured) {
            if !suites.contains(&suite) {
                suites.push(suite);
            }
        }
        (suites, proved.is_some())
    }

    async fn open(&self, target: &session::Target) -> Result<session::Session, Fault> {
        let (suites, proved) = self.suites();
        let session = match session::open(target, &suites, proved).await {
            // Rotated meanwhile? Read once more, and tried only where it is another.
            Err(fault) if fault.credential.is_some() => match self.target()? {
                again if again.shows_the_same(target) => return Err(fault),
                again => session::open(&again, &suites, proved).await?,
            },
            other => other?,
        };
        self.remember(Some(session.suite()));
        Ok(session)
    }
}

fn control_of(verb: ResetType) -> Option<u8> {
    match verb {
        ResetType::On => Some(control::ON),
        ResetType::ForceOff => Some(control::OFF),
        ResetType::PowerCycle => Some(control::CYCLE),
        ResetType::ForceRestart => Some(control::RESET),
        ResetType::GracefulShutdown => Some(control::SOFT),
        ResetType::GracefulRestart => None,
    }
}

/// One datagram, whatever becomes of it.
async fn control_once(session: &mut session::Session, endpoint: &str, verb: ResetType, said: u8) -> Result<(), Fault> {
    match session.request(codec::CHASSIS_CONTROL, &[said], false).await {
        Ok(response) if response.code == code::OK => Ok(()),
        Ok(response) => Err(faults::completion(endpoint, verb.name(), response.code)),
        Err(lost) => Err(lost.after_write(endpoint, verb.name())),
    }
}

/// A fault from before the verb: in doubt is only what was sent.
fn nothing_sent(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::Unknown | FaultKind::Invalid => Fault { kind: FaultKind::Unable, ..fault },
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Config as _;

    fn config(more: &str) -> Result<Config, String> {
        let text = format!("host = \"bmc.example\"\nusername = {{ env = \"U\" }}\npassword = {{ env = \"P\" }}\n{more}");
        toml::from_str::<Config>(&text).map_err(|e| e.to_string()).and_then(|config| config.validate().map(|()| config))
    }

    #[test]
    fn settings_have_defaults_and_limits() {
        let plain = config("").unwrap();
        assert_eq!((plain.port, &plain.cipher_suites[..], plain.timeout), (623, &[17, 3][..], Span::seconds(5)));
        assert_eq!((plain.endpoint().as_str(), plain.host().as_str()), ("ipmi://bmc.example", "bmc.example"));
        let full = config("port = 9623\ncipher_suites = [3]\nprivilege = \"operator\"\ntimeout = \"2s\"\nvia = \"ipmitool\"\nguid = \"ipmi\"").unwrap();
        assert_eq!(full.endpoint(), "ipmi://bmc.example:9623");
        let ipv6 = Config { host: "[2001:db8::1]".into(), ..plain };
        assert_eq!((ipv6.endpoint().as_str(), ipv6.host().as_str()), ("ipmi://[2001:db8::1]", "2001:db8::1"));
        for (wrong, says) in [
            ("cipher_suites = [17, 0]", "0 is not spoken"),
            ("cipher_suites = []", "name 17, 3 or both"),
            ("timeout = \"0s\"", "timeout"),
            ("timeout = \"5m\"", "timeout"),
            ("port = 0", "port"),
            ("privilege = \"root\"", "unknown variant"),
            ("suites = [3]", "unknown field"),
        ] {
            let said = config(wrong).unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
        assert!(Config { host: "-oProxy".into(), ..ipv6 }.validate().is_err());
    }

    #[test]
    fn only_what_ipmi_has_is_sent() {
        let verbs: Vec<ResetType> = ResetType::ALL.into_iter().filter(|verb| control_of(*verb).is_some()).collect();
        assert_eq!(verbs.len(), read::VERBS.len());
        assert!(verbs.iter().all(|verb| read::VERBS.contains(verb)));
    }
}
