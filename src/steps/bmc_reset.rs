//! Resets the BMC itself, once per node and run: where its first way in has gone silent behind an evacuated node, or in every run. On some boards that takes
//! the host along, so that every interlock of a power verb binds it.
use super::{Cx, Next, Step, preflight::waits_or_holds, reset::BMC};
use crate::{
    guards::{Permit, flash::SILENCE},
    kinds,
    model::{Act, Answer, Blocker, Done, Fault, FaultKind, Past, Repeat, Span, TimeScale, Timestamp, since},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Mutex;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub when: When,
    /// So long the first way in is silent before it counts as wedged: a BMC whose firmware is being written is silent, too.
    #[serde(default = "half_an_hour")]
    pub after: Span,
    /// Until then nobody expects the BMC back.
    #[serde(default = "one_minute")]
    pub quiet: Span,
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Its first way in does not answer and another one does.
    #[default]
    Wedged,
    Always,
}
fn half_an_hour() -> Span {
    Span::minutes(30)
}
fn one_minute() -> Span {
    Span::minutes(1)
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "bmc-reset";
    const ABOUT: &'static str = "resets the BMC itself, not the machine: where it is wedged, or always";
    fn validate(&self) -> Result<(), String> {
        if self.after < SILENCE {
            return Err(format!("after = \"{}\" is shorter than {SILENCE}: so long a BMC whose firmware is being written has been seen silent", self.after));
        }
        Ok(())
    }
    fn make(self) -> Box<dyn Step> {
        Box::new(BmcReset { config: self, permit: Mutex::default() })
    }
}

struct BmcReset {
    config: Config,
    permit: Mutex<Option<Permit>>,
}

const RESTART: &str = "bmc_reset";

/// What is seen of the BMC's ways in.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The first way in answers.
    pub first: bool,
    /// Who is silent and who is not, for people.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Judged {
    Next(Next),
    /// Now, if the interlocks let it.
    Send,
}

/// Pure.
fn judge(config: &Config, seen: &Seen, past: &Past, time: TimeScale, now: Timestamp) -> Judged {
    let wait = |why: String| Judged::Next(Next::Wait(vec![Blocker::new("BMC", why)]));
    let mine = |d: &&Done| d.act.args.get(RESTART).is_some() && past.released_at.is_none_or(|r| d.at > r);
    if let Some(sent) = past.acts.iter().rev().find(mine) {
        return match &sent.answer {
            // Nothing happened, and nothing is tried twice.
            Some(Answer::Failed(fault)) => Judged::Next(Next::Hold(fault.clone())),
            _ if since(sent.at, now) < time.of(config.quiet) => wait("was reset, and is given time to come back".into()),
            _ if seen.first => Judged::Next(Next::Done(json!({ "reset": sent.at.to_string() }))),
            _ => wait(format!("was reset at {} and is not back: {}", sent.at, seen.why)),
        };
    }
    match config.when {
        When::Always => Judged::Send,
        When::Wedged if seen.first => Judged::Next(Next::Done(json!({ "not_needed": "the BMC answers" }))),
        When::Wedged => {
            let waited = past.step_since.max(past.resumed_at).map_or_else(Default::default, |from| since(from, now));
            if waited >= time.of(config.after) { Judged::Send } else { wait(format!("{}; wedged if so for {}", seen.why, config.after)) }
        }
    }
}

#[async_trait]
impl Step for BmcReset {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        let (first, view) = (cx.bmc.protocol(), cx.bmc.look().await?);
        let seen = Seen { first: view.protocol == first, why: format!("{first} does not answer, {} at {} does", view.protocol, view.endpoint) };
        match judge(&self.config, &seen, past, cx.time, now) {
            Judged::Next(next) => Ok(next),
            Judged::Send => {
                let mut readings = cx.read(past).await;
                let permit = match cx.restart_of_bmc(!seen.first, &mut readings).await {
                    Ok(permit) => permit,
                    Err(fault) => return Ok(waits_or_holds(fault)),
                };
                *self.permit.lock().expect("BUG: poisoned") = Some(permit);
                let mut act = Act::new(BMC, "reset the BMC itself", Repeat::Never);
                act.args = json!({ RESTART: true });
                Ok(Next::Act(vec![(act, if seen.first { Value::Null } else { json!({ "wedged": seen.why }) })]))
            }
        }
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        let permit = self.permit.lock().expect("BUG: poisoned").take();
        match permit {
            Some(mut permit) if act.args.get(RESTART).is_some() => cx.bmc.restart(&mut permit).await,
            _ => Err(Fault::new(FaultKind::Unwilling, format!("BUG: `{}` of {} without a permit", act.what, cx.node))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kinds::Config as _;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }
    fn sent(answer: Option<Answer>) -> Past {
        let mut act = Act::new(BMC, "reset the BMC itself", Repeat::Never);
        act.args = json!({ RESTART: true });
        Past { acts: vec![Done { step: 2, attempt: 1, at: at(40), act, before: Value::Null, answer }], step_since: Some(at(0)), ..Past::default() }
    }

    #[test]
    fn only_what_is_wedged_for_longer_than_any_flash_is_reset_and_only_once() {
        let config: Config = serde_json::from_value(json!({})).unwrap();
        let (here, gone) = (Seen { first: true, why: String::new() }, Seen { first: false, why: "redfish does not answer, ipmi does".into() });
        let fresh = Past { step_since: Some(at(0)), ..Past::default() };
        let of = |seen: &Seen, past: &Past, minute| judge(&config, seen, past, TimeScale(1.0), at(minute));
        assert!(matches!(of(&here, &fresh, 0), Judged::Next(Next::Done(_))));
        assert!(matches!(of(&gone, &fresh, 29), Judged::Next(Next::Wait(_))));
        assert_eq!(of(&gone, &fresh, 30), Judged::Send);
        // A process that took over has watched for no time at all.
        assert!(matches!(of(&gone, &Past { resumed_at: Some(at(25)), ..fresh.clone() }, 40), Judged::Next(Next::Wait(_))));
        for answer in [None, Some(Answer::Accepted), Some(Answer::Unknown(Fault::new(FaultKind::Unknown, "no answer")))] {
            let past = sent(answer);
            assert!(matches!(of(&here, &past, 40), Judged::Next(Next::Wait(_))), "it may not have begun yet");
            assert!(matches!(of(&here, &past, 42), Judged::Next(Next::Done(_))));
            assert!(matches!(of(&gone, &past, 400), Judged::Next(Next::Wait(_))), "never a second one");
        }
        let refused = sent(Some(Answer::Failed(Fault::new(FaultKind::Unwilling, "it manages 4 systems"))));
        assert!(matches!(of(&gone, &refused, 42), Judged::Next(Next::Hold(_))));
    }

    #[test]
    fn patience_is_never_shorter_than_a_flash() {
        let of = |text: &str| serde_json::from_value::<Config>(json!({ "after": text })).unwrap().validate();
        assert!(of("26m").is_ok());
        assert!(of("25m").unwrap_err().contains("26"));
    }
}
