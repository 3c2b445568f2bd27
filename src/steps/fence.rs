//! The dead node's road: cordon, ForceOff, Off proven twice, only then the cluster is told; then On, and the mark taken back at the new boot.
use super::{Cx, Next, Seat, Step, evacuate, on_bmc, preflight::waits_or_holds, reset};
use crate::{
    guards::dead,
    kinds,
    model::{Act, Answer, Blocker, Done, Fault, FaultKind, Loan, LoanId, NodeView, Past, Power, Repeat, ResetType, Span, Timestamp, since},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Mutex;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Longer than the slowest BMC takes to obey.
    #[serde(default = "ten_minutes")]
    pub quiet: Span,
}
fn ten_minutes() -> Span {
    Span::minutes(10)
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "fence";
    const ABOUT: &'static str = "cuts a dead node off, lets its cluster start its work elsewhere, and boots it: pitstop node NODE rescue alone";
    fn make(self) -> Box<dyn Step> {
        Box::new(Fence { config: self, power: reset::PermitHeld::default(), off_before: Mutex::new(false) })
    }
}
struct Fence {
    config: Config,
    power: reset::PermitHeld,
    off_before: Mutex<bool>,
}

fn told(seat: &Seat) -> LoanId {
    LoanId(format!("{}/fence", seat.cluster))
}
fn verb(done: &Done) -> Option<ResetType> {
    done.act.args["verb"].as_str().and_then(ResetType::parse)
}
fn wait(object: impl Into<String>, why: impl Into<String>) -> Next {
    Next::Wait(vec![Blocker::new(object, why)])
}

impl Fence {
    /// One power verb, once; in doubt only watched. `None`: it was accepted.
    fn sent(&self, cx: &Cx, past: &Past, wanted: ResetType, now: Timestamp) -> Option<Next> {
        let last = past.power_acts().filter(|d| verb(d) == Some(wanted) && past.released_at.is_none_or(|r| d.at > r)).last()?;
        let waited = since(last.at.max(past.resumed_at.unwrap_or(last.at)), now);
        Some(match &last.answer {
            Some(Answer::Failed(fault)) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unwilling) && waited < cx.time.of(Span::minutes(1)) => {
                wait("BMC", fault.to_string())
            }
            Some(Answer::Failed(fault)) => Next::Hold(fault.clone()),
            _ if waited < cx.time.of(self.config.quiet) => wait("BMC", format!("{wanted} was sent, not yet seen to be obeyed")),
            _ => {
                let fault = Fault::new(FaultKind::Unknown, format!("{wanted} was sent to {} and nothing has changed for {}", cx.node, self.config.quiet));
                Next::Hold(fault.next(format!("go to the machine; then pitstop release {} retry", cx.node)))
            }
        })
    }

    /// The seats whose cluster is not told yet, each with the act that tells it.
    fn to_tell(cx: &Cx, past: &Past) -> Result<Vec<(Act, Value)>, Fault> {
        let mut acts = Vec::new();
        for seat in cx.seats.iter().filter(|s| cx.pins.witnesses(&s.cluster)) {
            let Some(act) = seat.driver.fenced(&seat.node) else {
                let what = format!("cluster {} has no way to be told that {} is off for good", seat.cluster, seat.node);
                return Err(Fault::new(FaultKind::Unable, what).next(format!("start its work elsewhere by hand; {} was not touched", cx.node)));
            };
            if !past.loans.iter().chain(&past.returned).any(|l| l.id == told(seat)) {
                acts.push((evacuate::addressed(&act, &seat.cluster.0), json!({ "power": "Off" })));
            }
        }
        Ok(acts)
    }
}

#[async_trait]
impl Step for Fence {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        let mut seen = cx.read(past).await;
        let power = seen.bmc.as_ref().map_or(Power::Unknown, |b| b.power);
        let off = std::mem::replace(&mut *self.off_before.lock().expect("BUG: poisoned"), power == Power::Off) && power == Power::Off;
        // An earlier run, whose journal is gone, told the cluster: it was off then. On is all that is owed, and nothing is cut off again.
        let taken_over = past.power_acts().next().is_none() && cx.seats.iter().any(|s| past.loans.iter().any(|l| l.id == told(s)));
        let on_sent = past.power_acts().any(|d| verb(d) == Some(ResetType::On) && d.may_have_happened()) || (taken_over && power != Power::Off);
        let tell = match Self::to_tell(cx, past) {
            Ok(acts) => acts,
            Err(fault) => return Ok(Next::Hold(fault)),
        };
        if !on_sent {
            // Until it is told to boot it must be dead, each time anew.
            if let Err(fault) = dead::judge(&cx.node, &seen) {
                return Ok(waits_or_holds(fault));
            }
        }
        let views: Vec<(&Seat, &NodeView)> =
            cx.seats.iter().filter_map(|s| seen.clusters.iter().find(|(c, _)| *c == s.cluster).and_then(|(_, v)| v.as_ref().ok()).map(|v| (s, v))).collect();
        // First nothing new may come, under our mark.
        for (seat, view) in &views {
            let owed = past.loans.iter().any(|l| l.to == seat.cluster.0 && l.id != told(seat));
            if let Some(cordon) = view.moves.iter().find(|m| m.borrows.is_some()).filter(|_| !owed && !on_sent) {
                return Ok(Next::Act(vec![(evacuate::addressed(cordon, &seat.cluster.0), json!({ "ready": view.ready }))]));
            }
            if !view.in_maintenance && !on_sent {
                return Ok(wait(format!("cluster {}", seat.cluster), "the node still takes new work"));
            }
        }
        if !on_sent && power != Power::Off {
            if let Some(next) = self.sent(cx, past, ResetType::ForceOff, now) {
                return Ok(next);
            }
            let permit = match cx.fencing(&seen).await {
                Ok(permit) => permit,
                Err(fault) => return Ok(waits_or_holds(fault)),
            };
            self.power.keep(permit);
            let mut act = reset::act(ResetType::ForceOff, Repeat::AfterQuiet(self.config.quiet));
            act.borrows =
                Some(Loan { id: LoanId(format!("{}/power", reset::BMC)), to: reset::BMC.into(), owed: "power On".into(), before: json!(power), first: true });
            return Ok(Next::Act(vec![(act, reset::Seen::of(&seen).picture())]));
        }
        if !on_sent && !off {
            return Ok(wait("BMC", "power is off, looking again"));
        }
        if !on_sent && !tell.is_empty() {
            return Ok(Next::Act(tell));
        }
        let left: Vec<Blocker> =
            views.iter().flat_map(|(_, v)| &v.workloads).map(|w| Blocker::new(format!("{} {}", w.kind, w.name), "not yet given up by its cluster")).collect();
        if !on_sent && !left.is_empty() {
            return Ok(Next::Wait(left));
        }
        if power == Power::Off {
            if let Some(next) = self.sent(cx, past, ResetType::On, now) {
                return Ok(next);
            }
            let permit = match cx.permit(ResetType::On, &mut seen).await {
                Ok(permit) => permit,
                Err(fault) => return Ok(waits_or_holds(fault)),
            };
            self.power.keep(permit);
            let mut act = reset::act(ResetType::On, Repeat::Freely);
            act.returns = past.loans.iter().find(|l| on_bmc::is_power(l)).map(|l| l.id.clone());
            return Ok(Next::Act(vec![(act, reset::Seen::of(&seen).picture())]));
        }
        // Booted anew, and seen to be so by its cluster: only then is the mark taken back.
        let before = past.power_acts().next().map(|d| d.before["boots"].clone()).unwrap_or_default();
        for (seat, view) in &views {
            let old = before[&seat.cluster.0].as_str();
            match view.boot.as_ref().map(ToString::to_string) {
                // The node itself wrote it there. Whether all of it is as before is asked by verify: with the mark on it, some of it cannot come back.
                Some(new) if old.is_some_and(|old| new != old) => {}
                Some(_) if view.ready && old.is_none() => {}
                // The machine that runs now is the one that its cluster tells of.
                Some(new) if taken_over && matches!(&seen.host, Some(Ok(host)) if new == host.boot_id) => {}
                _ => return Ok(wait(format!("cluster {}", seat.cluster), "does not tell of a new boot yet")),
            }
            if let Some(loan) = past.loans.iter().find(|l| l.id == told(seat)) {
                if seat.is_paid(loan).await? {
                    return Ok(Next::Paid(loan.id.clone()));
                }
                let mut act = seat.driver.give_back(&seat.node, loan);
                act.to = seat.cluster.0.clone();
                act.returns = Some(loan.id.clone());
                return Ok(Next::Act(vec![(act, Value::Null)]));
            }
        }
        Ok(Next::Done(json!({ "off": "seen twice", "to": reset::boot_of(&seen).map(|(_, boot)| boot) })))
    }

    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        if act.to == reset::BMC {
            return self.power.send(cx, act).await;
        }
        let seat = cx.seat(&act.to)?;
        seat.driver.act(&seat.node, act, &cx.ask).await
    }
}
