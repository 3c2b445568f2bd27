//! What the cluster places on the node is well again: gates the next admission, never this node's enabling.
use super::{At, Cx, Next, Step, repair};
use crate::{
    guards::storage,
    kinds,
    model::{Act, Blocker, Fault, FaultKind, Past, Relax, Timestamp},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "settle";
    const ABOUT: &'static str = "waits until what the cluster places on the node is well again, before the next node may go";
    fn make(self) -> Box<dyn Step> {
        Box::new(Settle)
    }
}
struct Settle;

#[async_trait]
impl Step for Settle {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        for seat in &cx.seats {
            let view = seat.driver.look(&seat.node, &cx.ask).await?;
            if !view.ready {
                return Ok(Next::Wait(vec![Blocker::new(format!("cluster {}", seat.cluster), format!("not ready: {}", view.not_ready.join(", ")))]));
            }
            // Enabled a moment ago and now in maintenance: someone else has it, the limits must count that, and we must not go on.
            if past.returned.iter().any(|l| l.to == seat.cluster.0) && past.loans.is_empty() && view.in_maintenance && !seat.driver_paid(past).await? {
                return Ok(Next::Wait(vec![Blocker::new(format!("cluster {}", seat.cluster), "went out of service again")]));
            }
        }
        if past.power_touched() && !cx.pins.relaxed.contains(&Relax::Storage) {
            // The next node waits until the stores are redundant again.
            let host = match &cx.host {
                Some(host) => Some(host.look().await?),
                None => None,
            };
            if let Err(fault) = storage::judge(&cx.node, &cx.stores().await, host.as_ref(), &cx.raids().await) {
                return Ok(Next::Wait(vec![Blocker::new("storage", fault.to_string())]));
            }
        }
        let found = repair::ask(cx, past, At::Settled).await;
        if found.wrong.is_empty() {
            return Ok(Next::Done(json!({ "checks": found.well })));
        }
        // The boot that verify proved; a playbook without reset has none of its own.
        let boot = past.evidence.get("verify").and_then(|e| e["boot"].as_str()).unwrap_or_default();
        Ok(repair::next(&found, past, boot, cx.time, now).unwrap_or_else(|| repair::wait(&found, past, boot)))
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        if act.to == repair::CHECK {
            return repair::mend(cx, act).await;
        }
        Err(Fault::new(FaultKind::Unable, format!("BUG: settle of {} has no act `{}`", cx.node, act.what)))
    }
}

impl super::Seat {
    async fn driver_paid(&self, past: &Past) -> Result<bool, Fault> {
        for loan in past.returned.iter().filter(|l| l.to == self.cluster.0) {
            if !self.is_paid(loan).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
