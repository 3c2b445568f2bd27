//! BMCs over Redfish: one client per node, tolerant reading, and a reset that is sent once to the target that the service itself names.
mod account;
mod boot;
mod client;
mod etag;
mod faults;
mod health;
mod inventory;
mod log;
mod manager;
mod quirks;
mod read;
mod retry;
mod serve;
mod setup;
mod shown;
mod system;
mod tasks;
mod tls;
mod update;

use super::{Bmc, BmcConfig};
use crate::{
    guards::Permit,
    kinds,
    model::{
        BmcView, BootOverride, BootSetup, Certificate, Connect, Fault, FaultKind, Firmware, Health, LiveTask, LogEntry, NodeName, ResetType, SecretRef, Span,
        Task, Update,
    },
};
use account::Keys;
use async_trait::async_trait;
use client::Client;
use redfish_codegen::models::{computer_system::v1_20_1::ResetRequestBody, resource};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

pub use client::Auth;
pub use tls::Tls;

/// `bmc.redfish = { url = "https://192.0.2.11", username = { env = "BMC_USER" }, password = { credential = "bmc-password" } }`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Scheme, address and port: `https://192.0.2.11`, `https://[2001:db8::11]:8443`.
    pub url: String,
    pub username: SecretRef,
    pub password: SecretRef,
    /// `"system"`, `{ ca_file = "…" }`, `{ sha256 = "…" }`, `"insecure"`. A pin in `trust.toml` makes it stricter.
    #[serde(default)]
    pub tls: Tls,
    /// `"auto"` (a session, else Basic), `"session"`, `"basic"`.
    #[serde(default)]
    pub auth: Auth,
    /// Needed only where more than one system can be reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// For one whole request.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// For TCP and TLS together: past it nothing was sent.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
}

fn timeout() -> Span {
    Span::seconds(30)
}
fn connect_timeout() -> Span {
    Span::seconds(5)
}

impl Config {
    fn base(&self) -> Result<Url, String> {
        let url = Url::parse(&self.url).map_err(|e| format!("`url = \"{}\"`: {e}", self.url))?;
        let plain = url.scheme() == "http";
        match () {
            // The text is not repeated: it holds a secret.
            _ if !url.username().is_empty() || url.password().is_some() => Err("`url` holds credentials: use `username` and `password`".into()),
            _ if !plain && url.scheme() != "https" => Err(format!("`url = \"{}\"`: Redfish needs https", self.url)),
            _ if plain && self.tls != Tls::Insecure => {
                Err(format!("`url = \"{}\"` sends the password in the clear: use https, or say `tls = \"insecure\"`", self.url))
            }
            _ if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
                Err(format!("`url = \"{}\"`: scheme, address and port only; the service itself says what lies where", self.url))
            }
            _ => Ok(url),
        }
    }
}

impl kinds::Config<dyn BmcConfig> for Config {
    const NAME: &'static str = "redfish";
    const ABOUT: &'static str = "a BMC over Redfish (HTTPS)";
    fn make(self) -> Box<dyn BmcConfig> {
        Box::new(self)
    }
    fn validate(&self) -> Result<(), String> {
        self.base()?;
        if let Tls::Sha256(text) = &self.tls
            && tls::Fingerprint::parse(text).is_err()
        {
            return Err(format!("`sha256 = \"{text}\"` is not a SHA-256 fingerprint: 64 hex digits, as `openssl x509 -fingerprint -sha256` prints them"));
        }
        if self.connect_timeout.0.is_zero() || self.connect_timeout >= self.timeout {
            // Else a request that never left could not be told from one that was lost.
            return Err(format!("`connect_timeout = \"{}\"` must be shorter than `timeout = \"{}\"`, and not zero", self.connect_timeout, self.timeout));
        }
        Ok(())
    }
}

#[async_trait]
impl BmcConfig for Config {
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Bmc>, Fault> {
        let base = self.base().map_err(|what| Fault::new(FaultKind::Invalid, what))?;
        let (tls, verified) = tls::client(&self.tls, cx)?;
        let mut warnings = Vec::new();
        match base.scheme() {
            "http" => warnings.push("no TLS: the BMC's password can be read on the way".into()),
            _ if !verified => warnings.push("TLS is not verified".into()),
            _ => {}
        }
        let http = client::http(tls, self.connect_timeout.0, self.timeout.0)
            .map_err(|e| Fault::new(FaultKind::Invalid, format!("{}: an HTTP client cannot be made", self.endpoint())).caused_by(&e))?;
        let replace = if cx.trust.certificate.is_some() { " --replace" } else { "" };
        let trust = format!("pitstop inventory trust {}{replace}", cx.node.as_ref().map_or("NODE", |n| n.0.as_str()));
        Ok(Arc::new(Redfish {
            node: cx.node.clone(),
            endpoint: self.endpoint(),
            system_id: self.system_id.clone(),
            warnings,
            client: Client::new(http, base, self.auth, trust, Keys::new(cx, self.endpoint(), &self.username, &self.password)),
            known: Mutex::default(),
            image: Mutex::default(),
        }))
    }
    fn endpoint(&self) -> String {
        self.url.trim_end_matches('/').to_owned()
    }
    fn host(&self) -> String {
        let host = self.base().ok().and_then(|url| url.host_str().map(str::to_owned));
        host.map_or_else(|| self.url.clone(), |host| host.trim_matches(['[', ']']).to_owned())
    }
    async fn certificate(&self, cx: &Connect) -> Result<Option<Certificate>, Fault> {
        shown::certificate(self, cx).await
    }
}

struct Redfish {
    node: Option<NodeName>,
    endpoint: String,
    system_id: Option<String>,
    warnings: Vec<String>,
    client: Client,
    known: Mutex<Known>,
    /// Served to the BMC while it needs it.
    image: Mutex<Option<serve::Lease>>,
}

/// Found once, kept while it answers.
#[derive(Debug, Clone, Default)]
struct Known {
    system: Option<String>,
    /// Whom `look` showed to the guards.
    uuid: Option<String>,
    /// Of the BMC; `Some(None)`: asked, and it did not say.
    firmware: Option<Option<String>>,
    /// Tasks at their end, by address.
    ended: BTreeMap<String, Task>,
    lists: Option<tasks::Lists>,
    /// As the system was last read, these three.
    system_busy: Option<Task>,
    boot: Option<BootOverride>,
    manager: Option<String>,
    /// The entries of its event log.
    log: Option<String>,
}

#[async_trait]
impl Bmc for Redfish {
    fn protocol(&self) -> &'static str {
        "redfish"
    }
    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    fn connections(&self) -> usize {
        client::IN_FLIGHT
    }

    async fn look(&self) -> Result<BmcView, Fault> {
        let (_, system) = self.system().await?;
        let mut warnings = self.warnings.clone();
        let verbs = match &system.reset {
            Some(reset) => self.verbs(reset).await?,
            None => {
                warnings.push("it offers no reset of this system".into());
                None
            }
        };
        let firmware = self.bmc_version(system.manager.as_deref()).await;
        let product = [system.product, firmware.map(|version| format!("BMC {version}"))].into_iter().flatten().collect::<Vec<_>>().join(", ");
        self.known().uuid = system.identity.uuid_key();
        Ok(BmcView {
            protocol: self.protocol().into(),
            endpoint: self.endpoint(),
            identity: system.identity,
            power: system.power,
            verbs: verbs.as_deref().map(read::known).unwrap_or_default(),
            reset_marker: system.marker,
            boot_progress: system.boot_progress,
            product: (!product.is_empty()).then_some(product),
            warnings,
        })
    }

    /// The system's own document has both.
    async fn look_and_boot(&self) -> Result<(BmcView, Result<BootOverride, Fault>), Fault> {
        let view = self.look().await?;
        let boot = self.known().boot.clone();
        Ok((view, boot.ok_or_else(|| self.no_boot())))
    }

    async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault> {
        let target = self.target(verb).await.map_err(nothing_sent)?;
        let body = ResetRequestBody { reset_type: Some(spelt(verb)) };
        let body = serde_json::to_vec(&body).expect("BUG: a reset is always JSON");
        self.client.post(&target, body, || permit.spend(self.node.as_ref(), verb)).await
    }

    async fn restart(&self, permit: &mut Permit) -> Result<(), Fault> {
        let (target, body) = self.restart_target().await.map_err(|fault| {
            // Whatever it was, the write was not sent: another way in may be asked.
            Fault { kind: FaultKind::Unreachable, what: format!("{}; nothing was sent", fault.what), ..fault }
        })?;
        self.client.post(&target, body, || permit.spend_on_bmc(self.node.as_ref())).await
    }

    async fn firmware(&self) -> Result<Vec<Firmware>, Fault> {
        self.inventory().await
    }
    async fn live_tasks(&self) -> Result<Vec<LiveTask>, Fault> {
        Ok(self.every_task().await?.into_iter().filter(|t| t.ended.is_none()).map(|t| t.task).collect())
    }
    async fn tasks(&self) -> Result<Vec<Task>, Fault> {
        self.every_task().await
    }

    async fn update(&self, ask: &Update) -> Result<(), Fault> {
        self.start_update(ask).await
    }
    async fn keep_image(&self, ask: &Update, needed: bool) -> Result<(), Fault> {
        self.keep(ask, needed).await
    }

    async fn boot_override(&self) -> Result<BootOverride, Fault> {
        self.read_boot().await
    }
    async fn set_boot_override(&self, to: &BootOverride) -> Result<(), Fault> {
        self.write_boot(to).await
    }
    async fn boot_setup(&self) -> Result<BootSetup, Fault> {
        self.read_setup().await
    }
    async fn identify_light(&self) -> Result<bool, Fault> {
        self.read_light().await
    }
    async fn set_identify_light(&self, on: bool) -> Result<(), Fault> {
        self.write_light(on).await
    }

    async fn health(&self) -> Result<Health, Fault> {
        self.roll_up().await
    }

    async fn log_since(&self, id: Option<&str>) -> Result<Vec<LogEntry>, Fault> {
        self.log_entries_since(id).await
    }

    async fn close(&self) {
        self.client.close().await;
    }
}

/// What went wrong before the write was sent leaves no doubt about the write.
fn nothing_sent(mut fault: Fault) -> Fault {
    if matches!(fault.kind, FaultKind::Unknown | FaultKind::Invalid) {
        fault.kind = FaultKind::Unreachable;
        fault.what = format!("{}; nothing was sent", fault.what);
    }
    fault
}

/// Our verbs in the generated vocabulary, so that no wire string is typed by hand. Never its `default()`, which is `On`.
fn spelt(verb: ResetType) -> resource::ResetType {
    match verb {
        ResetType::On => resource::ResetType::On,
        ResetType::ForceOff => resource::ResetType::ForceOff,
        ResetType::GracefulShutdown => resource::ResetType::GracefulShutdown,
        ResetType::GracefulRestart => resource::ResetType::GracefulRestart,
        ResetType::ForceRestart => resource::ResetType::ForceRestart,
        ResetType::PowerCycle => resource::ResetType::PowerCycle,
    }
}

/// Reads a body as everything that this driver takes bodies for. For fuzzers and replays: the rest of the driver only follows what this finds.
#[doc(hidden)]
pub fn read_anything(body: &[u8]) {
    let Ok(doc) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let system = read::System::read(&doc);
    assert!(system.boot_progress.is_none_or(|text| !text.contains(char::is_control)), "a terminal would obey it");
    read::members(&doc);
    read::action_info(&doc).map(|verbs| read::known(&verbs));
    assert!(!read::Refusal::read(&doc).texts.concat().contains(char::is_control), "a terminal would obey it");
    log::read(&doc);
    health::read(&doc);
    boot::boot(&doc);
    manager::read(&doc);
    if let Some(task) = tasks::task("/t", &doc) {
        assert!(!(task.task.name + &task.task.state).contains(char::is_control), "a terminal would obey it");
    }
    tasks::busy("/s", &doc);
    inventory::firmware("/f", &doc);
    quirks::flashing("/u", &doc);
    setup::read(&doc);
}

#[cfg(test)]
mod tests;
