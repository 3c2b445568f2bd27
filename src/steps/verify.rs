//! Really healthy: same installation, one boot, still empty and in maintenance, every booted check well, and all of it for a while.
use super::{At, Cx, Next, Step, baseline, evacuate, firmware, on_bmc, preflight, repair, reset};
use crate::{
    due::{DueAnswer, DueProbe, Served},
    guards::{self, Readings},
    kinds,
    model::{Act, Blocker, Boot, Fault, FaultKind, HostView, Loan, Past, Power, Repeat, ResetType, Span, Timestamp, since},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Mutex;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long everything must hold.
    #[serde(default = "a_minute")]
    pub hold_for: Span,
}
fn a_minute() -> Span {
    Span::seconds(60)
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "verify";
    const ABOUT: &'static str = "proves that the node is the same, has booted once, and is healthy, before it may take work";
    fn make(self) -> Box<dyn Step> {
        Box::new(Verify { config: self, power: reset::PermitHeld::default(), good_since: Mutex::new(None), worse_since: Mutex::new(None) })
    }
}
struct Verify {
    config: Config,
    power: reset::PermitHeld,
    /// Everything has been well since.
    good_since: Mutex<Option<Timestamp>>,
    /// All else is well, but something of the picture is missing since.
    worse_since: Mutex<Option<Timestamp>>,
}

/// Pure. Ok: all is well; otherwise what to do about it.
pub fn judge(cx: &Cx, seen: &Readings, past: &Past) -> Result<(), Next> {
    guards::identity::judge(&cx.node, seen).map_err(preflight::waits_or_holds)?;
    let wait = |object: &str, why: String| Err(Next::Wait(vec![Blocker::new(object, why)]));
    match &seen.bmc {
        Ok(bmc) if bmc.power == Power::On => {}
        Ok(bmc) => return wait("BMC", format!("power is {}", bmc.power)),
        Err(fault) => return wait("BMC", fault.to_string()),
    }
    if let Some(Err(fault)) = &seen.host {
        // Where the BMC says how far the boot has come, the wait says it too.
        let progress = seen.bmc.as_ref().ok().and_then(|bmc| bmc.boot_progress.as_ref());
        return wait("host", progress.map_or_else(|| fault.to_string(), |stage| format!("{fault}; the BMC says {stage}")));
    }
    if let Some(Ok(host)) = &seen.host {
        if let Some(before) = reset::host_before(past) {
            same_installation(cx, &before, host, past).map_err(Next::Hold)?;
        }
        if matches!(host.system_state.as_deref(), Some("initializing" | "starting")) {
            return wait("host", "systemd is still starting units".into());
        }
        if let Some(guest) = host.guests.first() {
            return Err(Next::Hold(Fault::new(FaultKind::Unwilling, format!("{} runs {guest} before it was enabled", cx.node))));
        }
    }
    let booted = reset::booted_to(past);
    if let (Some(booted), Some((_, now))) = (booted, reset::boot_of(seen))
        && booted != now
        // A person who decided after the reset knows of it; one who decided before says nothing about it.
        && past.released_at.is_none_or(|released| past.power_acts().last().is_some_and(|last| last.at > released))
    {
        return Err(Next::Hold(reset::boot_loop(cx, booted)));
    }
    for (cluster, view) in &seen.clusters {
        let view = match view {
            Ok(view) => view,
            Err(fault) => return wait(&format!("cluster {cluster}"), fault.to_string()),
        };
        // Left by a run that died before any reset, as its mark in the cluster says: what runs there was never asked to leave, or has not left.
        let taken_in =
            |l: &Loan| l.to == cluster.0 && serde_json::from_value::<Boot>(l.before["boot"].clone()).is_ok_and(|boot| Some(&boot) == view.boot.as_ref());
        let never_reset = past.inherited && !past.power_touched() && past.loans.iter().any(taken_in);
        if !past.loans.is_empty()
            && !never_reset
            && let Some(work) = view.workloads.iter().find(|w| !w.leaving)
        {
            return Err(Next::Hold(Fault::new(FaultKind::Unwilling, format!("{} {} runs on {} before it was enabled", work.kind, work.name, cx.node))));
        }
        if !view.in_maintenance && past.loans.iter().any(|l| l.to == cluster.0) {
            // Somebody let go of an empty node: taken again, and noted by the act itself.
            let moves: Vec<(Act, Value)> =
                view.moves.iter().map(|act| (evacuate::addressed(act, &cluster.0), json!({ "maintenance": "was dropped" }))).collect();
            return Err(if moves.is_empty() {
                Next::Wait(vec![Blocker::new(format!("cluster {cluster}"), "maintenance was dropped")])
            } else {
                Next::Act(moves)
            });
        }
        if !view.ready {
            return wait(&format!("cluster {cluster}"), format!("not ready: {}", view.not_ready.join(", ")));
        }
    }
    Ok(())
}

/// The root, the machine-id, the SSH host key and the default target are what they were (safety.md, 4).
fn same_installation(cx: &Cx, before: &HostView, after: &HostView, past: &Past) -> Result<(), Fault> {
    let differs = |what: &str, a: &Option<String>, b: &Option<String>| match (a, b) {
        (Some(a), Some(b)) if a != b => Some(format!("{what}: before {a}, after {b}")),
        (Some(a), None) => Some(format!("{what}: before {a}, after: cannot be read")),
        _ => None,
    };
    let found: Vec<String> = [
        ("machine-id", &before.identity.machine_id, &after.identity.machine_id),
        ("root-fs", &before.root_fs, &after.root_fs),
        ("ssh-host-key", &before.host_key, &after.host_key),
        ("default-target", &before.default_target, &after.default_target),
    ]
    .into_iter()
    .filter(|(what, ..)| !past.accepted.iter().any(|a| a == what))
    .filter_map(|(what, a, b)| differs(what, a, b))
    .collect();
    match found.first() {
        None => Ok(()),
        Some(first) => Err(Fault { causes: found.clone(), ..Fault::new(FaultKind::Invalid, format!("something else booted on {}", cx.node)) }.next(format!(
            "look at its console; if this is right: pitstop release {} verify --accept {}",
            cx.node,
            first.split(':').next().unwrap_or_default()
        ))),
    }
}

/// We switched it off and nobody switched it on since: a person who says `verify`, and a `return`, would wait for a dark machine.
fn owed_on(cx: &Cx, seen: &Readings, past: &Past, now: Timestamp) -> Option<Act> {
    let off = seen.bmc.as_ref().is_ok_and(|b| b.power == Power::Off);
    let loan = past.loans.iter().find(|l| off && on_bmc::is_power(l))?;
    let mut act = reset::act(ResetType::On, Repeat::Freely);
    act.returns = Some(loan.id.clone());
    let last = past.acts.iter().rev().find(|d| d.act.same(&act));
    last.is_none_or(|last| since(last.at, now) >= cx.time.of(ON_AGAIN)).then_some(act)
}
/// A refused On is sent again after this.
const ON_AGAIN: Span = Span::seconds(10);

/// 17, a run clears its own reason: neither yes nor no is waited for, still due is a person's.
async fn still_due(cx: &Cx, seen: &Readings, past: &Past, now: Timestamp) -> Option<Next> {
    // Only what was reset can have cleared it.
    if !["reset", "pause"].iter().any(|kind| past.evidence.contains_key(*kind)) {
        return None;
    }
    for (kind, due) in &cx.due {
        let name = format!("due:{kind}");
        let probe = DueProbe {
            node: &cx.node,
            host: cx.host.as_deref(),
            bmc: Some(cx.bmc.as_ref()),
            view: seen.host.as_ref().and_then(|h| h.as_ref().ok()),
            // This run is the service.
            served: Some(Served { now, last: Some(now) }),
        };
        match due.look(&probe).await {
            Ok(DueAnswer::NotDue(_)) => {}
            Ok(DueAnswer::Due(_)) if past.accepted.contains(&name) => {}
            Ok(DueAnswer::Due(why)) => {
                let fault = Fault::new(FaultKind::Unwilling, format!("{} was rebooted and is still due: {kind}: {why}", cx.node));
                return Some(Next::Hold(
                    fault.next(format!("find out why a reboot does not clear it; to accept it: pitstop release {} verify --accept {name}", cx.node)),
                ));
            }
            Err(fault) => return Some(Next::Wait(vec![Blocker::new(name, format!("neither yes nor no: {fault}"))])),
        }
    }
    None
}

impl Verify {
    fn not_yet(&self, next: Next) -> Next {
        *self.good_since.lock().expect("BUG: poisoned") = None;
        next
    }
    /// Something of the picture is missing: it may yet come back, for a while.
    fn worse(&self, cx: &Cx, found: &baseline::Compared, now: Timestamp) -> Next {
        let begun = *self.worse_since.lock().expect("BUG: poisoned").get_or_insert(now);
        if since(begun, now) >= cx.time.of(found.patience) { Next::Hold(found.fault(cx)) } else { self.not_yet(Next::Wait(found.blockers())) }
    }
}

#[async_trait]
impl Step for Verify {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        let mut seen = cx.read(past).await;
        let found = repair::ask(cx, past, At::Booted).await;
        if let Some(act) = owed_on(cx, &seen, past, now) {
            self.power.keep(cx.permit(ResetType::On, &mut seen).await?);
            return Ok(Next::Act(vec![(act, Value::Null)]));
        }
        if let Err(mut next) = judge(cx, &seen, past) {
            // A host that is still starting says what it is waiting for.
            if let (Next::Wait(blockers), Some(Ok(_))) = (&mut next, &seen.host) {
                blockers.extend(found.wrong);
            }
            return Ok(self.not_yet(next));
        }
        if let Some(next) = firmware::unverified(cx, past).await? {
            return Ok(self.not_yet(next));
        }
        // Only a machine that is proven to be the right one, in maintenance and empty, is repaired.
        if !found.wrong.is_empty() {
            let boot = reset::boot_of(&seen).map(|(_, boot)| boot).unwrap_or_default();
            return Ok(self.not_yet(repair::next(&found, past, &boot, cx.time, now).unwrap_or_else(|| repair::wait(&found, past, &boot))));
        }
        let begun = *self.good_since.lock().expect("BUG: poisoned");
        let held = begun.is_some_and(|begun| since(begun, now) >= cx.time.of(self.config.hold_for));
        let mut compared = None;
        // At the beginning and at the end of that time: it is the one look that reads everything.
        if begun.is_none() || held {
            match baseline::compare(cx, past).await {
                Some(Ok(found)) if !found.worse().is_empty() => return Ok(self.worse(cx, &found, now)),
                Some(Ok(found)) => compared = Some(found.evidence()),
                Some(Err(fault)) => return Ok(self.not_yet(Next::Wait(vec![Blocker::new("picture", fault.to_string())]))),
                None => {}
            }
            *self.worse_since.lock().expect("BUG: poisoned") = None;
            self.good_since.lock().expect("BUG: poisoned").get_or_insert(now);
        }
        if !held && !self.config.hold_for.0.is_zero() {
            return Ok(Next::Wait(vec![Blocker::new(cx.node.to_string(), format!("all well, has to hold for {}", self.config.hold_for))]));
        }
        if let Some(next) = still_due(cx, &seen, past, now).await {
            return Ok(next);
        }
        Ok(Next::Done(json!({ "boot": reset::boot_of(&seen).map(|(_, b)| b), "checks": found.well, "compared": compared })))
    }

    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        if act.to == reset::BMC {
            return self.power.send(cx, act).await;
        }
        if act.to == repair::CHECK {
            return repair::mend(cx, act).await;
        }
        let seat = cx.seat(&act.to)?;
        seat.driver.act(&seat.node, act, &cx.ask).await
    }
}
