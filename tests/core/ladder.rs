//! The reset ladder over random sights, answers and times: what it sends, when, and what it calls done.
use super::*;
use pitstop::steps::{
    Next,
    reset::{self, How, Seen, Then},
};

const STEP: TimeScale = TimeScale(1.0);

struct Climb<'a> {
    c: Choices<'a>,
    config: reset::Config,
    past: Past,
    now: Timestamp,
    marked: bool,
    off_before: bool,
    boot: u32,
}

fn verb(act: &Act) -> ResetType {
    ResetType::parse(act.args["verb"].as_str().unwrap()).unwrap()
}

impl Climb<'_> {
    /// What is seen need not make sense: the BMC lies and lags, the host comes and goes.
    fn look(&mut self) -> Seen {
        let power = self.c.of(&[Power::On, Power::On, Power::On, Power::Off, Power::Off, Power::Unknown]);
        let awake = self.c.roll(3) > 0;
        self.boot += u32::from(self.c.one_in(12));
        let mut boots = BTreeMap::new();
        if self.marked && (awake || self.c.one_in(2)) {
            boots.insert("host".to_owned(), format!("boot-{}", self.boot));
        }
        let verbs = match self.c.roll(4) {
            0 | 1 => vec![],
            2 => vec![ResetType::On, ResetType::ForceOff, ResetType::GracefulShutdown],
            _ => vec![ResetType::On, ResetType::ForceRestart, ResetType::PowerCycle],
        };
        let off_before = std::mem::replace(&mut self.off_before, power == Power::Off);
        let uptime_s = self.c.one_in(3).then(|| self.c.roll(250) as f64 * 10.0);
        Seen { power, verbs, boots, uptime_s, host: None, bmc_fault: None, awake, off_before, marker: None }
    }

    fn climb(mut self, covered: &mut BTreeSet<&'static str>) {
        for _ in 0..60 {
            let seen = self.look();
            let sent = self.past.acts.clone();
            match reset::judge(&self.config, &seen, &self.past, &sent, STEP, self.now) {
                Next::Act(acts) => {
                    assert_eq!(acts.len(), 1);
                    let (act, before) = acts.into_iter().next().unwrap();
                    self.may_be_sent(&seen, &act, covered);
                    // As the journal gives it back.
                    let act: Act = serde_json::from_str(&serde_json::to_string(&act).unwrap()).unwrap();
                    let before: Value = serde_json::from_str(&before.to_string()).unwrap();
                    let kind = self.c.of(&[FaultKind::Unwilling, FaultKind::Unreachable, FaultKind::Unable, FaultKind::Denied]);
                    let answer = match self.c.roll(7) {
                        0..=2 => Some(Answer::Accepted),
                        3 | 4 => Some(Answer::Failed(fault(kind))),
                        5 => Some(Answer::Unknown(fault(FaultKind::Unknown))),
                        _ => None,
                    };
                    if answer.is_none() {
                        self.past.resumed_at = Some(self.now + Duration::from_secs(1));
                    }
                    self.past.acts.push(Done { step: 2, attempt: 0, act, before, at: self.now, answer });
                }
                Next::Done(_) => return self.is_done(&seen, covered),
                Next::Pause(fault) => panic!("a reset that pauses: {fault}"),
                Next::Hold(fault) => {
                    assert!(!fault.what.is_empty());
                    covered.insert("hold");
                    return;
                }
                Next::Wait(blockers) => assert!(!blockers.is_empty(), "waits for nothing"),
                Next::Paid(loan) => panic!("{loan:?}"),
            }
            self.now += Duration::from_secs(self.c.of(&[2, 2, 16, 61, 301, 601, 1300]));
        }
    }

    fn may_be_sent(&self, seen: &Seen, act: &Act, covered: &mut BTreeSet<&'static str>) {
        use ResetType::*;
        let (verb, sent, now) = (verb(act), &self.past.acts, self.now);
        assert!(act.power && act.to == reset::BMC);
        assert_ne!(seen.power, Power::Unknown, "{verb} sent blind");
        if verb == On {
            // On to a machine seen Off resets nothing: the one verb that doubt does not stop.
            assert_eq!(seen.power, Power::Off, "On sent to a machine that is not off");
            assert!(sent.is_empty() || seen.off_before || !self::last_accepted(sent), "one reading of Off proves nothing");
            covered.insert("on");
            return;
        }
        assert_eq!(seen.power, Power::On, "{verb} sent to a machine that is off: {sent:?}");
        covered.insert(if sent.is_empty() { "first" } else { "later rung" });
        for earlier in sent.iter().filter(|d| self::verb(&d.act) == verb) {
            assert!(!earlier.may_have_happened(), "{verb} sent again after {:?}", earlier.answer);
            covered.insert("again");
        }
        let waited = |d: &Done| since(d.at.max(self.past.resumed_at.unwrap_or(d.at)), now);
        for doubt in sent.iter().filter(|d| d.in_doubt()) {
            assert!(waited(doubt) >= self.config.quiet.0, "{verb} sent {:?} after {} whose answer never came", waited(doubt), doubt.act.what);
        }
        let graceful = sent.iter().rfind(|d| d.accepted() && matches!(self::verb(&d.act), GracefulRestart | GracefulShutdown));
        if let (ForceOff | ForceRestart | PowerCycle, Some(graceful)) = (verb, graceful) {
            let patience = self.config.graceful.0.max(self.config.quiet.0);
            assert!(waited(graceful) >= patience, "{verb} sent {:?} after {}, limit {patience:?}", waited(graceful), graceful.act.what);
            covered.insert("forced after graceful");
        }
        if sent.iter().any(|d| d.may_have_happened()) && self.config.then == Then::Hold && self.config.how != How::Force {
            assert!(!matches!(verb, ForceOff | ForceRestart | PowerCycle), "{verb} sent though `then = hold`");
        }
    }

    fn is_done(&self, seen: &Seen, covered: &mut BTreeSet<&'static str>) {
        assert_eq!(seen.power, Power::On, "done while the power is not on");
        let first = self.past.acts.first().expect("done with nothing sent");
        match first.before["boots"]["host"].as_str() {
            Some(old) => {
                assert!(seen.awake, "done while nobody answers");
                assert!(seen.boots.get("host").is_some_and(|new| new != old), "done with the same boot {old}");
                covered.insert("done by marker");
            }
            None => {
                let off = self.past.acts.iter().any(|d| d.before["power"] == json!(Power::Off));
                assert!(off, "done without a marker and without Off seen");
                covered.insert("done by Off and On");
            }
        }
    }
}

fn last_accepted(sent: &[Done]) -> bool {
    sent.last().is_some_and(Done::may_have_happened)
}

#[test]
fn the_ladder_never_sends_what_it_must_not() {
    let mut runner = runner(3000);
    let covered = std::cell::RefCell::new(BTreeSet::new());
    let result = runner.run(&vec(any::<u8>(), 20..400), |bytes| {
        let mut c = Choices { bytes: &bytes, at: 0 };
        let config = reset::Config {
            boot_override: reset::LeftOver::Refuse,
            verb: None,
            how: c.of(&[How::Graceful, How::Force, How::PowerCycle]),
            then: c.of(&[Then::Force, Then::Hold]),
            graceful: c.of(&[Span::minutes(10), Span::minutes(20)]),
            quiet: c.of(&[Span::minutes(10), Span::minutes(5)]),
            when: vec![],
        };
        let marked = c.roll(4) > 0;
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Climb { c, config, past: Past::default(), now, marked, off_before: false, boot: 0 }.climb(&mut covered.borrow_mut());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    for what in ["first", "later rung", "again", "forced after graceful", "on", "hold", "done by marker", "done by Off and On"] {
        assert!(covered.borrow().contains(what), "no ladder had `{what}`: {:?}", covered.borrow());
    }
}
