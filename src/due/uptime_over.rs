//! Due `uptime-over`: the host has been up for longer than the span.
use super::{Due, DueAnswer, DueProbe};
use crate::{
    kinds,
    model::{Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `{ uptime-over = "90d" }`: the span stands for the whole table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub Span);

impl kinds::Config<dyn Due> for Config {
    const NAME: &'static str = "uptime-over";
    const ABOUT: &'static str = "the host has been up for longer than this";
    fn validate(&self) -> Result<(), String> {
        if self.0.0.is_zero() { Err("an uptime over 0s is true of every host: a run could never clear it".into()) } else { Ok(()) }
    }
    fn make(self) -> Box<dyn Due> {
        Box::new(self)
    }
}

#[async_trait]
impl Due for Config {
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        let node = probe.node;
        let seconds = match (probe.view, probe.host) {
            (Some(view), _) => view.uptime_s,
            (None, Some(host)) => host.look().await?.uptime_s,
            (None, None) => return Err(Fault::new(FaultKind::Unable, format!("{node}: only a host can say how long it is up, and the inventory names none"))),
        };
        let up = Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|up| !up.is_zero())
            .ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{node}: an uptime of {seconds} s makes no sense")))?;
        let days = up.as_secs() / 86_400;
        let shown = if days > 0 { format!("{days} d") } else { Span::seconds(up.as_secs()).to_string() };
        Ok(if up > self.0.0 {
            DueAnswer::Due(format!("up for {shown}, over {}", self.0))
        } else {
            DueAnswer::NotDue(format!("up for {shown}, not over {}", self.0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drivers::host::fake::Canned,
        due::KINDS,
        model::{HostView, NodeName, Setting},
    };

    async fn look(seconds: f64) -> Result<DueAnswer, Fault> {
        let view = HostView { uptime_s: seconds, ..HostView::default() };
        Config("90d".parse().unwrap()).look(&DueProbe { node: &NodeName("edge-01".into()), host: None, view: Some(&view), bmc: None, served: None }).await
    }

    #[tokio::test]
    async fn the_span_decides() {
        assert_eq!(look(91.0 * 86400.0).await, Ok(DueAnswer::Due("up for 91 d, over 90d".into())));
        assert_eq!(look(90.0 * 86400.0).await, Ok(DueAnswer::NotDue("up for 90 d, not over 90d".into())));
        assert_eq!(look(65.0).await, Ok(DueAnswer::NotDue("up for 1m5s, not over 90d".into())));
    }

    #[tokio::test]
    async fn garbage_is_neither_yes_nor_no() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(look(seconds).await.unwrap_err().kind, FaultKind::Invalid, "{seconds}");
        }
        let node = NodeName("edge-01".into());
        let config = Config(Span::minutes(1));
        assert_eq!(config.look(&DueProbe { node: &node, host: None, view: None, bmc: None, served: None }).await.unwrap_err().kind, FaultKind::Unable);
        let mut host = Canned::says(0, "", "");
        host.view = Err(Fault::new(FaultKind::Unreachable, "no"));
        assert_eq!(
            config.look(&DueProbe { node: &node, host: Some(&host), view: None, bmc: None, served: None }).await.unwrap_err().kind,
            FaultKind::Unreachable
        );
    }

    /// As a playbook writes it, through the registry: a scalar for this one, an empty table for a bare name.
    #[test]
    fn the_registry_takes_a_scalar_and_an_empty_table() {
        let check = |name: &str, text: &str| {
            let kind = KINDS.iter().find(|k| k.name == name).unwrap();
            let table = toml::de::DeTable::parse(text).unwrap();
            let (_, value) = table.into_inner().into_iter().next().unwrap();
            (kind.check)(value)
        };
        let body = check("uptime-over", "x = '90d'").unwrap();
        assert_eq!(body, serde_json::json!("90d"));
        assert!(crate::kinds::make(KINDS, &Setting { kind: "uptime-over".into(), body }).is_ok());
        assert!(check("uptime-over", "x = '0s'").is_err() && check("uptime-over", "x = {}").is_err() && check("uptime-over", "x = 90").is_err());
        for bare in ["reboot-required", "kernel-outdated"] {
            let body = check(bare, "x = {}").unwrap();
            assert!(crate::kinds::make(KINDS, &Setting { kind: bare.into(), body }).is_ok());
            assert!(check(bare, "x = { often = true }").is_err());
        }
    }
}
