//! The baseboard management controller, whatever it speaks. To add a protocol: write `<name>.rs` here, then the two lines marked below.
use crate::{
    guards::Permit,
    kinds::Kind,
    model::{BmcView, Connect, Fault, ResetType},
};
use async_trait::async_trait;
use std::sync::Arc;

pub mod ipmi;
pub mod redfish;
pub mod ways;
// line 1 of a new protocol: `pub mod <name>;`

/// In the order in which a node's ways in are tried.
pub const KINDS: &[Kind<dyn BmcConfig>] = &[
    Kind::of::<redfish::Config>(),
    Kind::of::<ipmi::Config>(),
    // line 2: `Kind::of::<<name>::Config>(),`
];

pub trait BmcConfig: Send + Sync + std::fmt::Debug {
    /// Makes a client; contacts nothing.
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Bmc>, Fault>;
    /// Without credentials, for people: `https://192.0.2.11`.
    fn endpoint(&self) -> String;
    /// Host name or address alone: two nodes sharing one is a mistake, and only loopback may have its time scaled.
    fn host(&self) -> String;
}

#[async_trait]
pub trait Bmc: Send + Sync {
    fn protocol(&self) -> &'static str;
    fn endpoint(&self) -> String;
    /// Reads only. May reuse a session; opens at most one.
    async fn look(&self) -> Result<BmcView, Fault>;
    /// One verb, one request, never repeated inside. Calls `permit.spend` as the last thing before the request is written.
    async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault>;
    /// Gives sessions back. Infallible: what cannot be closed expires.
    async fn close(&self);
}
