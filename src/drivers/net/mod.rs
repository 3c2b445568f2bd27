//! Probes over the network: a check never opens a socket itself.
use crate::model::{Fault, FaultKind, Span};
use async_trait::async_trait;
use std::{collections::BTreeMap, net::IpAddr};

#[cfg(test)]
pub mod fake;
pub mod probe;

#[derive(Debug, Clone, PartialEq)]
pub struct HttpAsk {
    pub url: String,
    pub limit: Span,
    /// Only by name: the certificate is not verified.
    pub insecure: bool,
    pub headers: BTreeMap<String, String>,
}
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSeen {
    pub status: u16,
    /// The first 64 KiB.
    pub body: String,
}

#[async_trait]
pub trait Net: Send + Sync {
    async fn http(&self, ask: &HttpAsk) -> Result<HttpSeen, Fault>;
    /// Connects and closes.
    async fn tcp(&self, host: &str, port: u16, limit: Span) -> Result<(), Fault>;
    /// Every address of a name, or of an address itself.
    async fn addresses(&self, host: &str, limit: Span) -> Result<Vec<IpAddr>, Fault> {
        Err(Fault::new(FaultKind::Unable, format!("look up {host} within {limit}: there is no network here")))
    }
    /// A name server answers for this name: with an address, or that there is none.
    async fn dns(&self, server: IpAddr, name: &str, limit: Span) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unable, format!("ask {server} for {name} within {limit}: there is no network here")))
    }
}
