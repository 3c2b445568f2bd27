//! Kinds as drivers write them, so that these tests hold whatever the real ones become.
use pitstop::{
    inventory,
    kinds::{self, Kind},
    model::{FilePath, SecretRef, Span},
    playbook,
};
use serde::{Deserialize, Serialize};
use std::any::Any;

macro_rules! kind {
    ($kind:ident, $name:literal, { $($(#[$meta:meta])* $field:ident: $type:ty,)* } $(, $check:expr)?) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $kind { $($(#[$meta])* $field: $type,)* }
        impl kinds::Config<dyn Any> for $kind {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = $name;
            fn make(self) -> Box<dyn Any> { Box::new(self) }
            $(fn validate(&self) -> Result<(), String> { let check: fn(&$kind) -> Result<(), String> = $check; check(self) })?
        }
    };
}
kind!(Kubernetes, "kubernetes", { kubeconfig: FilePath, #[serde(default)] context: Option<String>, #[serde(default)] request_timeout: Option<Span>, });
kind!(Vergeos, "vergeos", { url: String, api_key: SecretRef, });
kind!(NoCluster, "none", { #[serde(default)] vouched: Option<String>, }, |c| match &c.vouched {
    Some(words) if words.is_empty() => Err("`vouched` is empty".into()),
    _ => Ok(()),
});
kind!(Redfish, "redfish", { url: String, username: SecretRef, password: SecretRef, #[serde(default)] system_id: Option<String>, }, |c| {
    if c.url.starts_with("https://") { Ok(()) } else { Err(format!("`url = \"{}\"`: Redfish needs https", c.url)) }
});
kind!(Ipmi, "ipmi", { host: String, #[serde(default)] port: Option<u16>, username: SecretRef, password: SecretRef, });
kind!(Ssh, "ssh", { host: String, #[serde(default)] port: Option<u16>, #[serde(default)] user: Option<String>, #[serde(default)] key: Option<SecretRef>, });
kind!(Systemd, "systemd", { active: Vec<String>, });
kind!(Http, "http", { url: String, #[serde(default)] status: Option<u16>, });
kind!(Evacuate, "evacuate", { #[serde(default)] unmovable: Option<Unmovable>, });
kind!(Reset, "reset", { #[serde(default)] how: Option<String>, #[serde(default)] quiet: Option<Span>, });
kind!(Verify, "verify", { #[serde(default)] hold_for: Option<Span>, });
kind!(Enable, "enable", {});
kind!(Settle, "settle", {});
kind!(RebootRequired, "reboot-required", {});

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unmovable {
    Refuse,
    StopAndRestart,
}
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct UptimeOver(Span);
impl kinds::Config<dyn Any> for UptimeOver {
    const NAME: &'static str = "uptime-over";
    const ABOUT: &'static str = "up for longer than this";
    fn make(self) -> Box<dyn Any> {
        Box::new(self.0)
    }
}

pub fn inventory_kinds() -> inventory::Kinds {
    inventory::Kinds {
        cluster: kinds::rows(&[Kind::of::<Kubernetes>(), Kind::of::<Vergeos>(), Kind::of::<NoCluster>()]),
        bmc: kinds::rows(&[Kind::of::<Redfish>(), Kind::of::<Ipmi>()]),
        host: kinds::rows(&[Kind::of::<Ssh>()]),
        check: kinds::rows(&[Kind::of::<Systemd>(), Kind::of::<Http>()]),
    }
}
pub fn playbook_kinds() -> playbook::Kinds {
    let step = [Kind::of::<Evacuate>(), Kind::of::<Reset>(), Kind::of::<Verify>(), Kind::of::<Enable>(), Kind::of::<Settle>()];
    playbook::Kinds { step: kinds::rows(&step), due: kinds::rows(&[Kind::of::<RebootRequired>(), Kind::of::<UptimeOver>()]) }
}
