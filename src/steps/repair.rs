//! Repairs that checks offer, issued as acts: at most once per boot and check, whatever crashed meanwhile, and then looked at again.
use super::{At, Cx, Next};
use crate::{
    checks::{Probe, Repair, Verdict},
    model::{Act, Answer, Blocker, Fault, FaultKind, Past, Repeat, Span, TimeScale, Timestamp, since},
};
use serde_json::{Value, json};

/// The receiver of a repair in the journal.
pub const CHECK: &str = "check";

/// One check that is not well, and what it offers.
#[derive(Debug)]
pub struct Ill {
    /// Its place among the node's checks: the plan holds them, so it is the same after a crash.
    ix: usize,
    name: String,
    repair: Option<Repair>,
}

/// What the checks of one place say.
#[derive(Debug, Default)]
pub struct Found {
    pub wrong: Vec<Blocker>,
    pub well: Vec<Value>,
    ill: Vec<Ill>,
}

/// Asks all checks of one place. A check that cannot be asked is never healthy, and offers no repair.
pub async fn ask(cx: &Cx, past: &Past, at: At) -> Found {
    let clusters = seats(cx);
    let probe = probe(cx, past, &clusters);
    let mut found = Found::default();
    for (ix, (_, check)) in cx.checks.iter().enumerate().filter(|(_, (place, _))| *place == at) {
        match check.look(&probe).await {
            Ok(Verdict::Healthy(evidence)) => found.well.push(json!({ "check": check.describe(), "seen": evidence })),
            Ok(Verdict::Unhealthy(blockers)) => {
                found.ill.push(Ill { ix, name: check.describe(), repair: check.repair(&blockers) });
                found.wrong.extend(blockers);
            }
            Err(fault) => found.wrong.push(Blocker::new(check.describe(), fault.to_string())),
        }
    }
    found
}

/// Nothing was sent: it may be sent again after this.
const AGAIN: Span = Span::seconds(10);

/// Pure. The first repair that was not yet tried in this boot.
pub fn next(found: &Found, past: &Past, boot: &str, time: TimeScale, now: Timestamp) -> Option<Next> {
    let act = found.ill.iter().find_map(|ill| {
        let repair = ill.repair.as_ref()?;
        let tried = past.acts.iter().rev().filter(|d| d.act.to == CHECK && d.act.args["check"] == ill.ix && d.act.args["boot"] == boot);
        // What a person has decided about since may be tried again.
        let mut tried = tried.filter(|d| past.released_at.is_none_or(|r| d.at > r));
        let may = tried.all(|d| match &d.answer {
            Some(Answer::Failed(fault)) => fault.kind == FaultKind::Unreachable && since(d.at, now) >= time.of(AGAIN),
            _ => false,
        });
        let mut act = Act::new(CHECK, format!("repair {}: {}", ill.name, repair.what), Repeat::Never);
        act.args = json!({ "check": ill.ix, "boot": boot, "what": repair.what, "repair": repair.args });
        may.then_some(act)
    })?;
    let wrong: Vec<String> = found.wrong.iter().map(Blocker::to_string).collect();
    Some(Next::Act(vec![(act, json!({ "wrong": wrong }))]))
}

/// Waits for what is wrong; says where a repair was tried and did not help.
pub fn wait(found: &Found, past: &Past, boot: &str) -> Next {
    let mut wrong = found.wrong.clone();
    for done in past.acts.iter().filter(|d| d.act.to == CHECK && d.act.args["boot"] == boot) {
        let still = found.ill.iter().any(|ill| d_ix(done) == Some(ill.ix));
        let how = match &done.answer {
            _ if !still => continue,
            Some(Answer::Accepted) => "tried once in this boot, it did not help".to_owned(),
            Some(Answer::Failed(fault) | Answer::Unknown(fault)) => fault.to_string(),
            None => "tried once in this boot, no answer".to_owned(),
        };
        wrong.push(Blocker::new(done.act.what.clone(), how));
    }
    Next::Wait(wrong)
}
fn d_ix(done: &crate::model::Done) -> Option<usize> {
    done.act.args["check"].as_u64().and_then(|ix| usize::try_from(ix).ok())
}

/// Sends the repair that an act stands for.
pub async fn mend(cx: &Cx, act: &Act) -> Result<(), Fault> {
    let wrong = || Fault::new(FaultKind::Invalid, format!("BUG: {} has no check for `{}`", cx.node, act.what));
    let ix = act.args["check"].as_u64().and_then(|ix| usize::try_from(ix).ok()).ok_or_else(wrong)?;
    let (_, check) = cx.checks.get(ix).ok_or_else(wrong)?;
    let repair = Repair { what: act.args["what"].as_str().unwrap_or_default().to_owned(), args: act.args["repair"].clone() };
    let clusters = seats(cx);
    let past = Past::default();
    check.mend(&probe(cx, &past, &clusters), &repair).await
}

type Seats = Vec<(String, std::sync::Arc<dyn crate::drivers::cluster::Cluster>)>;
fn seats(cx: &Cx) -> Seats {
    cx.seats.iter().map(|s| (s.node.clone(), s.driver.clone())).collect()
}
fn probe<'a>(cx: &'a Cx, past: &'a Past, clusters: &'a Seats) -> Probe<'a> {
    Probe { node: &cx.node, host: cx.host.as_deref(), net: cx.net.as_ref(), bmc: Some(cx.bmc.as_ref()), clusters, past: Some(past) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Done;

    fn found(repair: bool) -> Found {
        let repair = repair.then(|| Repair { what: "start agent".into(), args: json!({ "units": ["agent"] }) });
        Found { wrong: vec![Blocker::new("agent", "inactive")], well: vec![], ill: vec![Ill { ix: 3, name: "systemd: agent".into(), repair }] }
    }
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
    fn tried(act: &Act, second: i64, answer: Option<Answer>) -> Past {
        Past { acts: vec![Done { step: 3, attempt: 0, act: act.clone(), before: Value::Null, at: at(second), answer }], ..Past::default() }
    }
    fn issued(past: &Past, boot: &str, now: i64) -> Option<Act> {
        match next(&found(true), past, boot, TimeScale::default(), at(now)) {
            Some(Next::Act(mut acts)) => acts.pop().map(|(act, _)| act),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn once_per_boot_whatever_became_of_it() {
        assert!(next(&found(false), &Past::default(), "b1", TimeScale::default(), at(0)).is_none(), "nothing offered");
        let act = issued(&Past::default(), "b1", 0).unwrap();
        assert_eq!((act.to.as_str(), act.what.as_str(), act.repeat), (CHECK, "repair systemd: agent: start agent", Repeat::Never));
        let lost = Fault::new(FaultKind::Unknown, "no answer");
        let denied = Fault::new(FaultKind::Denied, "sudo: a password is required");
        for answer in [Some(Answer::Accepted), None, Some(Answer::Unknown(lost)), Some(Answer::Failed(denied))] {
            let past = tried(&act, 10, answer.clone());
            assert_eq!(issued(&past, "b1", 1000), None, "{answer:?}");
            assert!(issued(&past, "b2", 1000).is_some(), "another boot is another chance: {answer:?}");
            let released = Past { released_at: Some(at(500)), ..past };
            assert!(issued(&released, "b1", 1000).is_some(), "a person decided since");
        }
        let unsent = tried(&act, 10, Some(Answer::Failed(Fault::new(FaultKind::Unreachable, "connection refused"))));
        assert_eq!(issued(&unsent, "b1", 15), None, "not in a tight loop");
        assert!(issued(&unsent, "b1", 20).is_some(), "nothing was sent");
    }

    #[test]
    fn what_did_not_help_is_said() {
        let act = issued(&Past::default(), "b1", 0).unwrap();
        let Next::Wait(wrong) = wait(&found(true), &tried(&act, 1, Some(Answer::Accepted)), "b1") else { panic!() };
        let text: Vec<String> = wrong.iter().map(Blocker::to_string).collect();
        assert_eq!(text, ["agent: inactive", "repair systemd: agent: start agent: tried once in this boot, it did not help"]);
        let Next::Wait(wrong) = wait(&found(true), &tried(&act, 1, Some(Answer::Accepted)), "b2") else { panic!() };
        assert_eq!(wrong.len(), 1, "of another boot");
    }
}
