//! Several ways in to one BMC as one: the fallback rule of safety.md, 12.
use super::Bmc;
use crate::{
    guards::Permit,
    model::{BmcView, Fault, FaultKind, ResetType},
};
use async_trait::async_trait;
use std::sync::Arc;

pub struct Ways(pub Vec<Arc<dyn Bmc>>);

#[async_trait]
impl Bmc for Ways {
    fn protocol(&self) -> &'static str {
        self.0.first().map_or("none", |way| way.protocol())
    }
    fn endpoint(&self) -> String {
        self.0.iter().map(|way| way.endpoint()).collect::<Vec<_>>().join(", ")
    }

    /// Reads may go to the next way after any fault.
    async fn look(&self) -> Result<BmcView, Fault> {
        let mut faults = Vec::new();
        for way in &self.0 {
            match way.look().await {
                Ok(view) => return Ok(view),
                Err(fault) => faults.push(fault),
            }
        }
        Err(merged(faults))
    }

    /// Power goes to the next way only where nothing can have happened on this one.
    async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault> {
        let mut faults = Vec::new();
        for way in &self.0 {
            match way.power(verb, permit).await {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    let next = matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unable) && permit.refund(&fault);
                    faults.push(fault);
                    if !next {
                        break;
                    }
                }
            }
        }
        Err(merged(faults))
    }

    async fn close(&self) {
        for way in &self.0 {
            way.close().await;
        }
    }
}

/// The last fault decides what may be done next; the earlier ones are told with it.
fn merged(mut faults: Vec<Fault>) -> Fault {
    match faults.pop() {
        None => Fault::new(FaultKind::Unable, "the inventory names no way in to this BMC"),
        Some(last) => faults.into_iter().fold(last, |last, earlier| last.cause(format!("before that: {earlier}"))),
    }
}
