//! Check `tcp`: something accepts connections on a port.
use super::{Check, Probe, Verdict};
use crate::{
    kinds,
    model::{Blocker, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name or address.
    pub host: String,
    pub port: u16,
    /// For the connection.
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(5)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "tcp";
    const ABOUT: &'static str = "a TCP port accepts connections";
    fn validate(&self) -> Result<(), String> {
        match () {
            _ if self.host.is_empty() || self.host.contains(['/', ' ']) => Err(format!("`{}` is not a host name or address", self.host)),
            _ if self.port == 0 => Err("`port` 0 is no port".into()),
            _ if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("tcp: {}:{}", self.host, self.port)
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let object = format!("{}:{}", self.host, self.port);
        match probe.net.tcp(&self.host, self.port, self.limit).await {
            Ok(()) => Ok(Verdict::Healthy(json!({ "connected": object }))),
            // Silence and refusal are what this check is there to find.
            Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unknown) => {
                Ok(Verdict::Unhealthy(vec![Blocker::new(object, fault.to_string())]))
            }
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{drivers::net::fake::Canned, kinds::Config as _, model::NodeName};

    async fn look(tcp: Result<(), Fault>) -> Result<Verdict, Fault> {
        let config = Config { host: "192.0.2.7".into(), port: 22, limit: limit() };
        let net = Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp };
        config.look(&Probe::of(&NodeName("edge-01".into()), None, &net)).await
    }

    #[tokio::test]
    async fn an_open_port_is_healthy_a_closed_one_is_named() {
        assert!(matches!(look(Ok(())).await, Ok(Verdict::Healthy(_))));
        let refused = Fault::new(FaultKind::Unreachable, "connect to 192.0.2.7:22").cause("connection refused");
        let why = "connect to 192.0.2.7:22: connection refused";
        assert_eq!(look(Err(refused)).await, Ok(Verdict::Unhealthy(vec![Blocker::new("192.0.2.7:22", why)])));
        assert_eq!(look(Err(Fault::new(FaultKind::Unable, "no sockets"))).await.unwrap_err().kind, FaultKind::Unable);
    }

    #[test]
    fn senseless_settings_are_refused() {
        for (host, port) in [("", 22), ("http://x", 80), ("a b", 1), ("a", 0)] {
            assert!(Config { host: host.into(), port, limit: limit() }.validate().is_err(), "{host}:{port}");
        }
        assert!(Config { host: "2001:db8::1".into(), port: 22, limit: limit() }.validate().is_ok());
    }
}
