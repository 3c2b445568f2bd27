//! Resets the node through its BMC, rung by rung, judged by what is seen and never by what was answered.
//! Done when the node has booted anew; a rung is sent at most once, and after an answer that never came only watched.
use super::{Cx, Next, Step, on_bmc, preflight::waits_or_holds, stranger::Stranger};
use crate::{
    due::{self, Due, DueAnswer, DueProbe},
    guards::{
        self, Permit, Readings,
        flash::{Flash, SILENCE},
    },
    kinds,
    model::{
        Act, Answer, Apply, Blocker, Done, Fault, FaultKind, HostView, Loan, LoanId, Past, Power, Repeat, ResetType, Setting, Span, TimeScale, Timestamp, since,
    },
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

/// Where power acts go.
pub const BMC: &str = "bmc";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub how: How,
    /// After the first way was accepted and nothing happened.
    #[serde(default)]
    pub then: Then,
    /// How long the operating system may take to obey.
    #[serde(default = "ten_minutes")]
    pub graceful: Span,
    /// Longer than the slowest BMC takes to obey: a verb in doubt is only watched this long.
    #[serde(default = "ten_minutes")]
    pub quiet: Span,
    /// Only if one of these reasons is there when it comes to it: `["reboot-required"]`. Without it always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    /// One that stands before the reset: refused, or put aside through the ledger and given back afterwards.
    #[serde(default)]
    pub boot_override: LeftOver,
    /// This verb and no other: what `pitstop node NODE power` sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<ResetType>,
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOver {
    #[default]
    Refuse,
    Clear,
}
fn ten_minutes() -> Span {
    Span::minutes(10)
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    #[default]
    Graceful,
    Force,
    PowerCycle,
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    #[default]
    Force,
    Hold,
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "reset";
    const ABOUT: &'static str = "reboots the machine through its BMC and waits until it has booted anew";
    fn make(self) -> Box<dyn Step> {
        Box::new(Reset { config: self, permit: PermitHeld::default(), off_before: Mutex::new(false), stranger: Stranger::default() })
    }
    fn validate(&self) -> Result<(), String> {
        if let Some(odd) = self.when.iter().find(|w| reason(w).is_err()) {
            return Err(format!("`{odd}` in `when` is no reason that stands alone: such as reboot-required or kernel-outdated"));
        }
        // A BMC that obeys late must not be overtaken by force.
        if self.graceful < self.quiet {
            return Err(format!("graceful = \"{}\" is shorter than quiet = \"{}\": a late BMC would be overtaken by force", self.graceful, self.quiet));
        }
        Ok(())
    }
}
fn reason(name: &str) -> Result<Box<dyn Due>, String> {
    kinds::make(due::KINDS, &Setting { kind: name.to_owned(), body: json!({}) })
}
/// Why it is not needed, if it is not. What cannot be asked is neither yes nor no.
async fn needless(when: &[String], cx: &Cx) -> Result<Option<Vec<String>>, Fault> {
    let mut why = Vec::new();
    for name in when {
        let reason = reason(name).map_err(|e| Fault::new(FaultKind::Invalid, e))?;
        match reason.look(&DueProbe { node: &cx.node, host: cx.host.as_deref(), view: None, bmc: Some(cx.bmc.as_ref()), served: None }).await? {
            DueAnswer::Due(_) => return Ok(None),
            DueAnswer::NotDue(said) => why.push(format!("{name}: {said}")),
        }
    }
    Ok((!when.is_empty()).then_some(why))
}

struct Reset {
    config: Config,
    permit: PermitHeld,
    off_before: Mutex<bool>,
    stranger: Stranger,
}

/// What the ladder judges.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub power: Power,
    pub verbs: Vec<ResetType>,
    /// By witness: `host`, or the cluster's name.
    pub boots: BTreeMap<String, String>,
    pub uptime_s: Option<f64>,
    pub host: Option<HostView>,
    /// The BMC answers; the host answers or its cluster calls it ready.
    pub bmc_fault: Option<String>,
    pub awake: bool,
    /// The look before this one saw power Off too: one reading of a lagging BMC proves nothing.
    pub off_before: bool,
    /// The BMC's own mark of the last reset.
    pub marker: Option<String>,
}

impl Seen {
    pub fn of(r: &Readings) -> Seen {
        let fresh = r.host.as_ref().and_then(|h| h.as_ref().ok());
        let mut boots = BTreeMap::new();
        boots.extend(fresh.filter(|h| !h.boot_id.is_empty()).map(|h| ("host".to_owned(), h.boot_id.clone())));
        for (cluster, view) in &r.clusters {
            // A cluster goes on telling the old boot of a node that is down: only one it calls ready counts as read now.
            boots.extend(view.as_ref().ok().and_then(|v| v.boot.as_ref()).map(|b| (cluster.0.clone(), b.to_string())));
        }
        let ready = r.clusters.iter().any(|(name, v)| r.pins.witnesses(name) && v.as_ref().is_ok_and(|v| v.ready));
        Seen {
            power: r.bmc.as_ref().map_or(Power::Unknown, |b| b.power),
            verbs: r.bmc.as_ref().map(|b| b.verbs.clone()).unwrap_or_default(),
            boots,
            uptime_s: fresh.map(|h| h.uptime_s),
            host: fresh.cloned(),
            bmc_fault: r.bmc.as_ref().err().map(|f| f.to_string()),
            awake: if r.host.is_some() { fresh.is_some() } else { ready },
            off_before: false,
            marker: r.bmc.as_ref().ok().and_then(|b| b.reset_marker.clone()),
        }
    }
    pub fn picture(&self) -> Value {
        json!({ "power": self.power, "boots": self.boots, "host": self.host, "awake": self.awake, "marker": self.marker })
    }
}

/// The best boot marker of a node: the kernel's own, then its cluster's.
pub fn boot_of(r: &Readings) -> Option<(String, String)> {
    best(&Seen::of(r).boots)
}
pub fn best(boots: &BTreeMap<String, String>) -> Option<(String, String)> {
    boots.get_key_value("host").or_else(|| boots.iter().next()).map(|(who, boot)| (who.clone(), boot.clone()))
}
/// What the host said before the first rung of this run.
pub fn host_before(past: &Past) -> Option<HostView> {
    past.power_acts().find_map(|d| serde_json::from_value::<Option<HostView>>(d.before["host"].clone()).ok().flatten())
}
/// The boot that a reset of this run, or the end of a pause, has led to.
pub fn booted_to(past: &Past) -> Option<&str> {
    ["reset", "pause"].iter().find_map(|kind| past.evidence.get(*kind)).and_then(|e| e["to"].as_str())
}
pub fn boot_loop(cx: &Cx, first: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("{} booted again by itself after boot {first}: a boot loop, or somebody else reset it", cx.node))
        .next(format!("look at its console, then pitstop release {} verify", cx.node))
}

pub fn boots_before(first: &Done) -> BTreeMap<String, String> {
    serde_json::from_value(first.before["boots"].clone()).unwrap_or_default()
}
fn verb(done: &Done) -> Option<ResetType> {
    done.act.args["verb"].as_str().and_then(ResetType::parse)
}

/// The way down the ladder: which verbs, in order, as far as the BMC takes them.
fn rungs(config: &Config, seen: &Seen, marked: bool) -> Vec<ResetType> {
    use ResetType::*;
    if let Some(only) = config.verb {
        return vec![only];
    }
    let takes = |v: ResetType| seen.verbs.is_empty() || seen.verbs.contains(&v);
    // Without a boot marker only Off seen and then On seen prove a reboot, so a restart in one verb would prove nothing.
    let graceful = if marked && takes(GracefulRestart) { vec![GracefulRestart] } else { vec![GracefulShutdown] };
    let force = match () {
        _ if marked && takes(ForceRestart) => vec![ForceRestart],
        _ if marked && takes(PowerCycle) => vec![PowerCycle],
        _ => vec![ForceOff],
    };
    let (first, second) = match config.how {
        How::Graceful => (graceful, force),
        How::Force => return force,
        How::PowerCycle => (vec![GracefulShutdown], vec![ForceOff]),
    };
    let first: Vec<_> = first.into_iter().filter(|v| takes(*v)).collect();
    let second = if config.then == Then::Force || first.is_empty() { second } else { Vec::new() };
    first.into_iter().chain(second).collect()
}

/// Pure: the whole ladder, over what is seen, what was sent and the time.
pub fn judge(config: &Config, seen: &Seen, past: &Past, step_attempt: &[Done], time: TimeScale, now: Timestamp) -> Next {
    let wait = |object: &str, why: String| Next::Wait(vec![Blocker::new(object, why)]);
    let switches_off = matches!(config.verb, Some(ResetType::ForceOff | ResetType::GracefulShutdown));
    let Some(first) = step_attempt.first() else {
        return match seen.power {
            Power::Off if switches_off => Next::Done(json!({ "power": "Off already" })),
            Power::On if config.verb == Some(ResetType::On) => Next::Done(json!({ "power": "On already" })),
            Power::Off if config.verb.is_some_and(|v| v != ResetType::On) => {
                Next::Hold(Fault::new(FaultKind::Unwilling, "it is off").next("pitstop node NODE power On"))
            }
            Power::Unknown => wait("BMC", seen.bmc_fault.clone().unwrap_or("power state is neither On nor Off".into())),
            // Never cycle a machine that is off: On alone boots it anew.
            Power::Off => send(ResetType::On, config, seen),
            Power::On if best(&seen.boots).is_some() && !seen.awake => wait("host", "does not answer, so its boot cannot be compared later".into()),
            Power::On => match rungs(config, seen, best(&seen.boots).is_some()).first() {
                Some(verb) => send(*verb, config, seen),
                None => Next::Hold(Fault::new(FaultKind::Unable, "the BMC takes none of the verbs that this step may send")),
            },
        };
    };
    let before = boots_before(first);
    let off_seen = step_attempt.iter().any(|d| d.before["power"] == json!(Power::Off));
    if let Some(next) = rebooted(seen, &before, first, off_seen, now, time) {
        return next;
    }
    let last = step_attempt.last().unwrap_or(first);
    let Some(sent) = verb(last) else { return Next::Hold(Fault::new(FaultKind::Invalid, "BUG: a power act without a verb")) };
    let waited = since(last.at.max(past.resumed_at.unwrap_or(last.at)), now);
    let marked = !before.is_empty();
    // Only a boot marker that was read now, and is the old one, proves that nothing has happened. A host that is down is booting.
    let unchanged = seen.awake && best(&before).is_some_and(|(who, old)| seen.boots.get(&who) == Some(&old));

    if switches_off && seen.power == Power::Off {
        return if seen.off_before { Next::Done(json!({ "power": "Off, seen twice" })) } else { wait("BMC", "power is off, looking again".into()) };
    }
    // Off, and proven: two looks. Whoever sent it, On is owed.
    if seen.power == Power::Off && sent != ResetType::On {
        return if seen.off_before { send(ResetType::On, config, seen) } else { wait("BMC", "power is off, looking again".into()) };
    }
    match &last.answer {
        _ if last.in_doubt() && waited < time.of(config.quiet) => {
            wait("BMC", format!("{sent} was sent and no answer came: only watching for {}", config.quiet))
        }
        _ if last.in_doubt() && (unchanged || !marked) => Next::Hold(
            Fault::new(FaultKind::Unknown, format!("{sent} was sent, no answer came and nothing has changed since"))
                .cause(format!("watched for {}, boot and power are as before", config.quiet))
                .next("look at its console: if it did not reboot, pitstop release NODE retry"),
        ),
        Some(Answer::Failed(fault)) => after_refusal(config, seen, step_attempt, sent, fault, waited, time, marked),
        // On to a machine that is off resets nothing: the one verb that doubt does not stop.
        _ if sent == ResetType::On && seen.power == Power::Off && last.in_doubt() && seen.off_before => send(ResetType::On, config, seen),
        _ if sent == ResetType::On && seen.power == Power::Off && waited >= time.of(config.quiet) => {
            Next::Hold(Fault::new(FaultKind::Unknown, "the BMC accepted On and the power is still off"))
        }
        _ if sent != ResetType::On && seen.power == Power::On && (unchanged || !marked) && !last.in_doubt() => {
            let patience =
                if matches!(sent, ResetType::GracefulRestart | ResetType::GracefulShutdown) { config.graceful.max(config.quiet) } else { config.quiet };
            if waited < time.of(patience) {
                return wait(
                    "host",
                    format!("{sent} was accepted, not yet obeyed; {} of {patience}", Span(Duration::from_secs(waited.div_f64(time.0).as_secs()))),
                );
            }
            next_rung(config, seen, step_attempt, marked).map_or_else(|| nothing_happened(step_attempt), |verb| send(verb, config, seen))
        }
        _ => wait("host", format!("not back since {sent}; power {}", seen.power)),
    }
}

/// Booted anew? Some only where there is an answer.
pub fn rebooted(seen: &Seen, before: &BTreeMap<String, String>, first: &Done, off_seen: bool, now: Timestamp, time: TimeScale) -> Option<Next> {
    let Some((who, old)) = best(before) else {
        // Off seen, then On seen: all that such a node can show.
        let on_sent_off = off_seen && seen.power == Power::On;
        return on_sent_off.then(|| Next::Done(json!({ "from": null, "to": null, "proof": "power Off seen, then On seen" })));
    };
    let new = seen.boots.get(&who).filter(|boot| **boot != old)?;
    if !seen.awake || seen.power != Power::On {
        return Some(Next::Wait(vec![Blocker::new("host", format!("new boot {new}, not yet up; power {}", seen.power))]));
    }
    let since_request = since(first.at, now).as_secs_f64();
    // Durations of two clocks are compared, never their times.
    let grace = time.of(Span::seconds(60)).as_secs_f64().max(5.0);
    match seen.uptime_s {
        Some(up) if up > since_request + grace => Some(Next::Hold(
            Fault::new(
                FaultKind::Invalid,
                format!("boot id changed to {new}, but the host says that it has been up for {up:.0} s, longer than since the reset"),
            )
            .next("compare the console with what SSH answers: another machine, or a container, may have answered"),
        )),
        _ => Some(Next::Done(json!({ "from": old, "to": new, "witness": who, "proof": format!("boot marker of {who} changed") }))),
    }
}

#[allow(clippy::too_many_arguments)]
fn after_refusal(config: &Config, seen: &Seen, sent_so_far: &[Done], sent: ResetType, fault: &Fault, waited: Duration, time: TimeScale, marked: bool) -> Next {
    let wait = |why: String| Next::Wait(vec![Blocker::new("BMC", why)]);
    match fault.kind {
        FaultKind::Denied | FaultKind::Invalid | FaultKind::Unknown => Next::Hold(fault.clone()),
        // Somebody else switched it on: what boots now is not disturbed.
        _ if sent == ResetType::On && seen.power == Power::On => wait("power is on, waiting for its boot".into()),
        FaultKind::Unable if sent == ResetType::On => Next::Hold(fault.clone()),
        FaultKind::Unable if seen.power == Power::Unknown => wait(fault.to_string()),
        // It has no such verb: the next rung, at once.
        FaultKind::Unable => next_rung(config, seen, sent_so_far, marked).map_or_else(|| Next::Hold(fault.clone()), |verb| send(verb, config, seen)),
        // Nothing was sent, or it would not right now: the same again, in a while.
        FaultKind::Unreachable | FaultKind::Unwilling if waited < time.of(Span::seconds(15)) => wait(fault.to_string()),
        FaultKind::Unreachable | FaultKind::Unwilling => match seen.power {
            Power::Unknown => wait(fault.to_string()),
            _ => send(sent, config, seen),
        },
    }
}

fn next_rung(config: &Config, seen: &Seen, sent_so_far: &[Done], marked: bool) -> Option<ResetType> {
    // What the BMC lists changes with its state: a way that was taken once was the first one, whatever it lists now.
    if config.then == Then::Hold && sent_so_far.iter().any(Done::may_have_happened) {
        return None;
    }
    let sent: Vec<ResetType> = sent_so_far.iter().filter_map(verb).collect();
    rungs(config, seen, marked).into_iter().find(|v| !sent.contains(v)).or_else(|| {
        // The BMC said that it takes the verb and then refused it as unknown: the plainest one is left.
        (config.then == Then::Force && !sent.contains(&ResetType::ForceOff))
            .then_some(ResetType::ForceOff)
            .filter(|_| sent_so_far.last().is_some_and(|d| matches!(&d.answer, Some(Answer::Failed(f)) if f.kind == FaultKind::Unable)))
    })
}

fn nothing_happened(sent_so_far: &[Done]) -> Next {
    let sent: Vec<&str> = sent_so_far.iter().filter(|d| d.accepted()).filter_map(verb).map(ResetType::name).collect();
    Next::Hold(
        Fault::new(FaultKind::Unknown, format!("the BMC accepted {} and nothing happened: same boot, power On", sent.join(" and ")))
            .next("reset the BMC itself, or go to the machine"),
    )
}

pub fn act(verb: ResetType, repeat: Repeat) -> Act {
    let mut act = Act::new(BMC, format!("reset {verb}"), repeat);
    act.args = json!({ "verb": verb });
    act.power = true;
    act
}

fn send(verb: ResetType, config: &Config, seen: &Seen) -> Next {
    let mut act = act(verb, if verb == ResetType::On { Repeat::Freely } else { Repeat::AfterQuiet(config.quiet) });
    let off = LoanId(format!("{BMC}/power"));
    match verb {
        ResetType::ForceOff | ResetType::GracefulShutdown => {
            act.borrows = Some(Loan { id: off, to: BMC.into(), owed: "power On".into(), before: json!(seen.power), first: true })
        }
        ResetType::On => act.returns = Some(off),
        _ => {}
    }
    Next::Act(vec![(act, seen.picture())])
}

/// safety.md, 3: where firmware has to take effect a new boot id is not enough, it may have been a kexec. Power was seen off, or the BMC's own marker has moved.
fn cold_start(seen: &Readings, past: &Past) -> Option<Next> {
    let staged = seen.started.iter().find(|s| s.update.apply == Apply::OnReset)?;
    let first = past.power_acts().next();
    let off_seen = past.power_acts().any(|d| d.before["power"] == json!(Power::Off));
    let marker = seen.bmc.as_ref().ok().and_then(|b| b.reset_marker.clone());
    let moved = first.is_some_and(|d| d.before["marker"].as_str().is_some_and(|old| marker.as_deref().is_some_and(|new| new != old)));
    (!off_seen && !moved).then(|| {
        let why = format!("it booted anew, and neither was power seen off nor has the BMC's reset marker moved: {} needs a cold start", staged.update.id);
        Next::Wait(vec![Blocker::new("BMC", why)])
    })
}

/// safety.md, 13. Waited for as long as the longest silence that has been seen; then held, never reset.
fn flash(cx: &Cx, seen: &Readings, past: &Past, ladder_begins: bool, now: Timestamp) -> Option<Next> {
    let open = seen.started.first().filter(|_| ladder_begins).zip(past.power_acts().last());
    let found = match (guards::flash::look(&cx.node, seen), open) {
        (Flash::Clear, None) => return None,
        // The reset that was to let it in has been: it may be written this minute, and few BMCs tell of that.
        (Flash::Clear, Some((_, sent))) if since(sent.at, now) >= cx.time.of(SILENCE) => return None,
        (Flash::Clear, Some((open, sent))) => Flash::Live(Fault::new(
            FaultKind::Unwilling,
            format!("flash: the {} was let in by `{}` at {}, and its version was not read back yet", open.named(&cx.node), sent.act.what, sent.at),
        )),
        (found, _) => found,
    };
    let (fault, patient) = match found {
        Flash::Clear => return None,
        Flash::Live(fault) => (fault, true),
        Flash::Stands(fault) => (fault, false),
    };
    let from = [past.step_since, past.resumed_at, past.released_at, past.acts.last().map(|d| d.at)].into_iter().flatten().max();
    match from {
        Some(from) if patient && since(from, now) < cx.time.of(SILENCE) => Some(Next::Wait(vec![Blocker::new("BMC", fault.to_string())])),
        None if patient => Some(Next::Wait(vec![Blocker::new("BMC", fault.to_string())])),
        _ if patient => Some(Next::Hold(fault.cause(format!("watched for {SILENCE}")))),
        _ => Some(Next::Hold(fault)),
    }
}

/// A permit from the look that wanted it to the act that spends it.
#[derive(Default)]
pub struct PermitHeld(Mutex<Option<Permit>>);
impl PermitHeld {
    pub fn keep(&self, permit: Permit) {
        *self.0.lock().expect("BUG: poisoned") = Some(permit);
    }
    pub async fn send(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        let verb = act.args["verb"].as_str().and_then(ResetType::parse);
        let permit = self.0.lock().expect("BUG: poisoned").take();
        match (verb, permit) {
            (Some(verb), Some(mut permit)) => cx.bmc.power(verb, &mut permit).await,
            _ => Err(Fault::new(FaultKind::Unwilling, format!("BUG: `{}` of {} without a permit", act.what, cx.node))),
        }
    }
}

#[async_trait]
impl Step for Reset {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        if past.power_acts().next().is_none()
            && let Some(why) = needless(&self.config.when, cx).await?
        {
            return Ok(Next::Done(json!({ "not_needed": why })));
        }
        let mut readings = cx.read(past).await;
        // A look at a host that boots takes its time, and its uptime is of the end of it.
        let now = now + readings.read_at.elapsed();
        let mut seen = Seen::of(&readings);
        seen.off_before = std::mem::replace(&mut *self.off_before.lock().expect("BUG: poisoned"), seen.power == Power::Off);
        // What a person has decided about since starts the ladder anew, unless the node has booted meanwhile after all.
        let mine: Vec<Done> = past.power_acts().filter(|d| past.released_at.is_none_or(|r| d.at > r)).cloned().collect();
        if let (true, Some(first)) = (mine.is_empty(), past.power_acts().next())
            && let Some(next) = rebooted(&seen, &boots_before(first), first, false, now, cx.time)
        {
            return Ok(cold_start(&readings, past).filter(|_| matches!(next, Next::Done(_))).unwrap_or(next));
        }
        let next = judge(&self.config, &seen, past, &mine, cx.time, now);
        let mut next = self.stranger.named(cx, past, readings.host.as_ref(), next, now);
        if let Next::Act(acts) = &next
            && let Some(verb) = acts.first().and_then(|(act, _)| act.args["verb"].as_str()).and_then(ResetType::parse)
        {
            if let Some(next) = flash(cx, &readings, past, mine.is_empty(), now) {
                return Ok(next);
            }
            match cx.permit(verb, &mut readings).await {
                Ok(permit) => self.permit.keep(permit),
                Err(_) if self.config.boot_override == LeftOver::Clear && readings.only_left_over(&cx.node, verb) => {
                    let acts = readings.left_over().map(|seen| (on_bmc::put_aside(seen), Value::Null));
                    return Ok(Next::Act(acts.into_iter().collect()));
                }
                Err(fault) if readings.only_rebuilds() => return Ok(Next::Wait(vec![Blocker::new("storage", fault.to_string())])),
                Err(fault) => return Ok(waits_or_holds(fault)),
            }
        }
        if let (Next::Done(_), Some(next)) = (&next, cold_start(&readings, past)) {
            return Ok(next);
        }
        // The ladder knows no names; the person who reads needs one to type.
        if let Next::Hold(fault) = &mut next {
            fault.next = fault.next.take().map(|text| text.replace("NODE", &cx.node.0));
        }
        Ok(next)
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        if let Some(sent) = on_bmc::act(cx, act).await {
            return sent;
        }
        self.permit.send(cx, act).await
    }
}
