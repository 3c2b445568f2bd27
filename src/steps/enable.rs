//! Gives back what was borrowed, each loan to the driver it came from and to what it was, newest first, power On before all.
use super::{Cx, Next, Step, firmware, on_bmc, reset};
use crate::{
    guards, kinds,
    model::{Act, Answer, Blocker, FIRMWARE, Fault, FaultKind, Loan, Past, Power, Repeat, ResetType, Span, Timestamp, since},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "enable";
    const ABOUT: &'static str = "gives back everything that was borrowed, so that the node takes work again";
    fn make(self) -> Box<dyn Step> {
        Box::new(Enable::default())
    }
}
#[derive(Default)]
struct Enable {
    power: reset::PermitHeld,
}

/// A give-back that was refused is tried again after this.
const AGAIN: Span = Span::seconds(10);

#[async_trait]
impl Step for Enable {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        let Some(loan) = past.next_due() else { return given_back(cx, past).await };
        if loan.to == FIRMWARE {
            return firmware::owed(cx, loan).await;
        }
        if past.power_touched() && loan.to != reset::BMC {
            // The machine that takes work again must be the one that was serviced, and nothing may have been placed there meanwhile.
            let seen = cx.read(past).await;
            guards::identity::judge(&cx.node, &seen)?;
            let other_boot = reset::booted_to(past).filter(|to| reset::boot_of(&seen).is_some_and(|(_, now)| now != *to));
            if let Some(to) = other_boot {
                return Ok(Next::Hold(reset::boot_loop(cx, to)));
            }
            // Once this cluster has its node back, work on it is what was wanted.
            let untouched = !past.returned.iter().any(|l| l.to == loan.to);
            let placed = seen.clusters.iter().filter(|(c, _)| c.0 == loan.to).filter_map(|(_, v)| v.as_ref().ok()).filter(|v| v.in_maintenance);
            if let (true, Some(work)) = (untouched, placed.flat_map(|v| &v.workloads).find(|w| !w.leaving)) {
                let fault = Fault::new(FaultKind::Unwilling, format!("{} {} runs on {} before it was enabled", work.kind, work.name, cx.node));
                return Ok(Next::Hold(fault.next(format!("find out who put it there, then pitstop release {} verify", cx.node))));
            }
        }
        let paid = match loan.to.as_str() {
            reset::BMC if !on_bmc::is_power(loan) => on_bmc::is_paid(cx, loan).await?,
            // The answer to On may have been lost; what counts is the power.
            reset::BMC => cx.bmc.look().await?.power == Power::On,
            cluster => cx.seat(cluster)?.is_paid(loan).await?,
        };
        if paid {
            return Ok(Next::Paid(loan.id.clone()));
        }
        let act = give_back(cx, loan)?;
        let last = past.acts.iter().rev().find(|d| d.act.same(&act));
        if let Some(last) = last
            && since(last.at, now) < cx.time.of(AGAIN)
        {
            let why = match &last.answer {
                Some(Answer::Failed(fault) | Answer::Unknown(fault)) => fault.to_string(),
                _ => "not yet in force".into(),
            };
            return Ok(Next::Wait(vec![Blocker::new(loan.owed.clone(), why)]));
        }
        if on_bmc::is_power(loan) {
            let mut seen = cx.read(past).await;
            self.power.keep(cx.permit(ResetType::On, &mut seen).await?);
        }
        Ok(Next::Act(vec![(act, Value::Null)]))
    }

    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        if let Some(sent) = on_bmc::act(cx, act).await {
            return sent;
        }
        if act.to == reset::BMC {
            return self.power.send(cx, act).await;
        }
        let seat = cx.seat(&act.to)?;
        seat.driver.act(&seat.node, act, &cx.ask).await
    }
}

fn give_back(cx: &Cx, loan: &Loan) -> Result<Act, Fault> {
    let mut act = match loan.to.as_str() {
        reset::BMC if !on_bmc::is_power(loan) => on_bmc::give_back(loan)?,
        reset::BMC => reset::act(ResetType::On, Repeat::Freely),
        cluster => {
            let seat = cx.seat(cluster)?;
            seat.driver.give_back(&seat.node, loan)
        }
    };
    act.to = loan.to.clone();
    act.returns = Some(loan.id.clone());
    Ok(act)
}

/// An accepted give-back is no proof: the cluster has to show it.
async fn given_back(cx: &Cx, past: &Past) -> Result<Next, Fault> {
    for loan in past.returned.iter().filter(|l| ![reset::BMC, FIRMWARE].contains(&l.to.as_str())) {
        if !cx.seat(&loan.to)?.is_paid(loan).await? {
            return Ok(Next::Wait(vec![Blocker::new(loan.owed.clone(), "accepted, not yet in force")]));
        }
    }
    let mut enabled = Vec::new();
    for seat in &cx.seats {
        let view = seat.driver.look(&seat.node, &cx.ask).await?;
        if !view.ready {
            return Ok(Next::Wait(vec![Blocker::new(format!("cluster {}", seat.cluster), format!("not ready: {}", view.not_ready.join(", ")))]));
        }
        enabled.push(json!({ "cluster": seat.cluster, "enabled": view.enabled }));
    }
    Ok(Next::Done(json!({ "gave_back": past.returned.iter().map(|l| &l.owed).collect::<Vec<_>>(), "clusters": enabled })))
}
