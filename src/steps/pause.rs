//! Hands in the data centre: the node is switched off by the ladder's own rules and its locating light lit, it waits for `pitstop release NODE`
//! however long, and is then switched on and watched until it has booted. A crash, or a month, in between changes nothing: all of it is acts and loans.
use super::{
    Cx, Next, Step, on_bmc,
    preflight::waits_or_holds,
    reset::{self, Seen},
    stranger::Stranger,
};
use crate::{
    kinds,
    model::{Act, Answer, Blocker, Done, Fault, FaultKind, Past, Power, Repeat, ResetType, Span, TimeScale, Timestamp, since},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Mutex;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is to be done there, in words: whoever goes to the machine reads them beside its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// Light the locating light. A BMC that has none is no obstacle.
    #[serde(default = "yes")]
    pub light: bool,
    /// How long the operating system may take to switch off, before it is forced.
    #[serde(default = "ten_minutes")]
    pub graceful: Span,
    /// Longer than the slowest BMC takes to obey: a verb in doubt is only watched this long.
    #[serde(default = "ten_minutes")]
    pub quiet: Span,
}
fn yes() -> bool {
    true
}
fn ten_minutes() -> Span {
    Span::minutes(10)
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "pause";
    const ABOUT: &'static str = "switches the machine off, lights its locating light and waits until a person releases it: hands in the data centre";
    fn validate(&self) -> Result<(), String> {
        if self.graceful < self.quiet {
            return Err(format!("graceful = \"{}\" is shorter than quiet = \"{}\": a late BMC would be overtaken by force", self.graceful, self.quiet));
        }
        Ok(())
    }
    fn make(self) -> Box<dyn Step> {
        Box::new(Pause { config: self, permit: reset::PermitHeld::default(), off_before: Mutex::new(false), stranger: Stranger::default() })
    }
}

struct Pause {
    config: Config,
    permit: reset::PermitHeld,
    /// The look before this one saw power Off too.
    off_before: Mutex<bool>,
    stranger: Stranger,
}

/// A refused or lost On is sent again after this: to a machine that is off it cuts nothing.
const AGAIN: Span = Span::seconds(15);

fn wait(object: &str, why: impl Into<String>) -> Next {
    Next::Wait(vec![Blocker::new(object, why)])
}
fn sends(next: &Next) -> Option<ResetType> {
    let Next::Act(acts) = next else { return None };
    acts.first().and_then(|(act, _)| act.args["verb"].as_str()).and_then(ResetType::parse)
}

impl Config {
    /// Down the same ladder as a reset, as far as Off.
    fn ladder(&self) -> reset::Config {
        reset::Config {
            how: reset::How::PowerCycle,
            then: reset::Then::Force,
            graceful: self.graceful,
            quiet: self.quiet,
            when: Vec::new(),
            boot_override: reset::LeftOver::Refuse,
            verb: None,
        }
    }

    /// Pure: until power is off. `None`: off, seen twice.
    fn down(&self, seen: &Seen, past: &Past, time: TimeScale, now: Timestamp) -> Option<Next> {
        match (seen.power, seen.off_before) {
            (Power::Off, true) => return None,
            (Power::Off, false) => return Some(wait("BMC", "power is off, looking again")),
            _ => {}
        }
        let mine: Vec<Done> = past.power_acts().filter(|d| past.released_at.is_none_or(|r| d.at > r)).cloned().collect();
        Some(match reset::judge(&self.ladder(), seen, past, &mine, time, now) {
            Next::Done(_) => Next::Hold(
                Fault::new(FaultKind::Invalid, "it was told to switch off and booted anew instead")
                    .next("its BMC or its settings switch it on again (wake on LAN, power restore policy): look there, then pitstop release NODE retry"),
            ),
            next => next,
        })
    }

    /// Pure: from the release on until it has booted.
    fn up(&self, seen: &Seen, past: &Past, let_go: Timestamp, time: TimeScale, now: Timestamp) -> Next {
        let first = past.power_acts().next();
        let on = |d: &&Done| d.act.args["verb"] == json!(ResetType::On) && d.at > let_go && past.released_at.is_none_or(|r| d.at > r);
        match seen.power {
            Power::Unknown => wait("BMC", seen.bmc_fault.clone().unwrap_or("power state is neither On nor Off".into())),
            Power::Off => {
                let Some(last) = past.power_acts().filter(on).last() else { return self.on(seen, past) };
                let waited = since(last.at.max(past.resumed_at.unwrap_or(last.at)), now);
                match &last.answer {
                    Some(Answer::Failed(fault)) if !matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unwilling) => Next::Hold(fault.clone()),
                    Some(Answer::Accepted) if waited >= time.of(self.quiet) => {
                        Next::Hold(Fault::new(FaultKind::Unknown, "the BMC accepted On and the power is still off"))
                    }
                    Some(Answer::Accepted) => wait("BMC", "On was accepted, not yet obeyed"),
                    _ if waited < time.of(AGAIN) => wait("BMC", "On was not answered, looking whether it was obeyed"),
                    _ => self.on(seen, past),
                }
            }
            Power::On => {
                let Some(first) = first else {
                    // It was off before we came, and a person switched it on: there is no boot to compare with.
                    return match (seen.awake, reset::best(&seen.boots)) {
                        (true, boot) => Next::Done(json!({ "from": null, "to": boot.map(|(_, id)| id), "proof": "power Off seen, then On seen" })),
                        (false, _) => wait("host", "not back yet"),
                    };
                };
                let before = reset::boots_before(first);
                let same = seen.awake && reset::best(&before).is_some_and(|(who, old)| seen.boots.get(&who) == Some(&old));
                match reset::rebooted(seen, &before, first, true, now, time) {
                    Some(next) => next,
                    None if same => {
                        wait("host", "answers with the boot that it had before its power was seen off: what answers, and what the BMC shows, are not one")
                    }
                    None => wait("host", "switched on, not back yet"),
                }
            }
        }
    }

    fn on(&self, seen: &Seen, past: &Past) -> Next {
        let mut act = reset::act(ResetType::On, Repeat::Freely);
        act.returns = past.loans.iter().find(|l| on_bmc::is_power(l)).map(|l| l.id.clone());
        Next::Act(vec![(act, seen.picture())])
    }
}

impl Pause {
    /// What to do about the light before a person is called; else what to tell about it.
    async fn light(&self, cx: &Cx, past: &Past) -> Result<Result<&'static str, Next>, Fault> {
        const NONE: &str = "it has no locating light that we could light";
        if !self.config.light {
            return Ok(Ok("its locating light was left alone"));
        }
        let mut asked = past.acts.iter().rev().filter(|d| on_bmc::lights(&d.act));
        let answered = asked.next().is_some_and(|d| !d.in_doubt() || asked.count() >= 2);
        match cx.bmc.identify_light().await {
            Ok(true) => Ok(Ok("its locating light is on")),
            // Answered, or asked three times: what does not shine then is named, and holds nobody up.
            Ok(false) if answered => Ok(Ok("its locating light was asked for and does not shine")),
            Ok(false) => Ok(Err(Next::Act(vec![(on_bmc::light(), Value::Null)]))),
            Err(fault) if fault.kind == FaultKind::Unable => Ok(Ok(NONE)),
            Err(fault) => Err(fault),
        }
    }

    fn call(&self, cx: &Cx, light: &str) -> Fault {
        let task = if self.config.task.is_empty() { "waits for hands".to_owned() } else { format!("waits for hands: {}", self.config.task) };
        Fault::new(FaultKind::Unwilling, format!("{} is off, {light}; {task}", cx.node))
            .next(format!("when the work is done: pitstop release {}    (it is switched on, verified and enabled)", cx.node))
    }

    /// Put out once the machine is on; what fails here is given back by `enable`.
    fn dark(past: &Past, let_go: Timestamp) -> Result<Option<Next>, Fault> {
        let Some(loan) = past.loans.iter().find(|l| on_bmc::is_light(l)) else { return Ok(None) };
        let mut act = on_bmc::give_back(loan)?;
        act.returns = Some(loan.id.clone());
        if past.acts.iter().any(|d| d.at > let_go && d.act.same(&act)) {
            return Ok(None);
        }
        Ok(Some(Next::Act(vec![(act, Value::Null)])))
    }
}

#[async_trait]
impl Step for Pause {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        let mut readings = cx.read(past).await;
        let now = now + readings.read_at.elapsed();
        let mut seen = Seen::of(&readings);
        seen.off_before = std::mem::replace(&mut *self.off_before.lock().expect("BUG: poisoned"), seen.power == Power::Off);
        let next = match past.let_go_at {
            None => match self.config.down(&seen, past, cx.time, now) {
                Some(next) => next,
                None => {
                    return Ok(match self.light(cx, past).await? {
                        Ok(light) => Next::Pause(self.call(cx, light)),
                        Err(next) => next,
                    });
                }
            },
            Some(let_go) => {
                if seen.power == Power::On
                    && let Some(next) = Self::dark(past, let_go)?
                {
                    return Ok(next);
                }
                self.stranger.named(cx, past, readings.host.as_ref(), self.config.up(&seen, past, let_go, cx.time, now), now)
            }
        };
        if let Some(verb) = sends(&next) {
            match cx.permit(verb, &mut readings).await {
                Ok(permit) => self.permit.keep(permit),
                Err(fault) if readings.only_rebuilds() => return Ok(wait("storage", fault.to_string())),
                Err(fault) => return Ok(waits_or_holds(fault)),
            }
        }
        Ok(match next {
            // The ladder knows no names; the person who reads needs one to type.
            Next::Hold(mut fault) => {
                fault.next = fault.next.map(|text| text.replace("NODE", &cx.node.0));
                Next::Hold(fault)
            }
            next => next,
        })
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        if let Some(sent) = on_bmc::act(cx, act).await {
            return sent;
        }
        self.permit.send(cx, act).await
    }
}
