//! One history: the dispatcher's part played by hand, everyone else's by choices.
use super::{rules::Rules, *};

const KINDS: [&str; 7] = ["preflight", "evacuate", "reset", "verify", "enable", "settle", "enable"];
const FORWARD: usize = 6;
const FOREIGN: [&str; 3] = ["f0", "f1", "f2"];

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn loan(ix: usize, before: usize) -> Loan {
    Loan { id: LoanId(format!("edge/l{ix}")), to: "edge".into(), owed: format!("give back {ix}"), before: json!({ "was": before }), first: ix == 2 }
}

fn plan(c: &mut Choices) -> Plan {
    let nodes = (0..1 + c.roll(6)).map(|i| {
        let mut seats = vec![PlannedSeat { cluster: ClusterName("edge".into()), node: format!("m{i}") }];
        if c.one_in(5) {
            // Named in another cluster as somebody else is in this one.
            seats.insert(c.roll(2), PlannedSeat { cluster: ClusterName("virt".into()), node: c.of(&FOREIGN).into() });
        }
        let rack = c.of(&["", "a", "b"]);
        let labels = if rack.is_empty() { BTreeMap::new() } else { [("rack".to_owned(), rack.to_owned())].into() };
        let inherits = if c.one_in(6) { vec![loan(0, 700), loan(1, 701)] } else { vec![] };
        (NodeName(format!("n{i}")), PlannedNode { wave: c.roll(3) as u32, seats, labels, inherits, ..PlannedNode::default() })
    });
    let nodes: BTreeMap<_, _> = nodes.collect();
    let step = |kind: &str, c: &mut Choices| PlannedStep {
        step: Setting { kind: kind.into(), body: json!({}) },
        timeout: Span::minutes(10),
        attempts: 1 + c.roll(3) as u32,
        on_failure: c.of(&[OnFailure::Return, OnFailure::Hold]),
    };
    let at = |minutes: usize| start() + Duration::from_secs(60 * minutes as u64);
    let window = |c: &mut Choices| {
        let from = c.roll(4);
        Window { text: "as the dice fell".into(), open: vec![(at(from), at(from + 1 + c.roll(8))), (at(60), at(70))] }
    };
    Plan {
        format: FORMAT,
        made_at: start(),
        playbook: "random".into(),
        description: String::new(),
        cluster: ClusterName("edge".into()),
        clusters: BTreeMap::new(),
        vouched: None,
        base: "/".into(),
        time: TimeScale(1.0),
        steps: KINDS.iter().map(|kind| step(kind, c)).collect(),
        forward: FORWARD as u32,
        verify_at: Some(3),
        ask: false,
        pause_after_canary: c.one_in(4),
        due: vec![],
        limits: Limits {
            max_unavailable: 1 + c.roll(3) as u32,
            failure_budget: c.roll(3) as u32,
            within: vec![],
            max_per: if c.one_in(3) { [("rack".to_owned(), 1 + c.roll(2) as u32)].into() } else { BTreeMap::new() },
            canary: c.roll(3) as u32,
            window: if c.one_in(4) { vec![window(c)] } else { vec![] },
            max_resets: 2,
        },
        nodes,
        skipped: BTreeMap::new(),
        notes: vec![],
    }
}

pub struct Lived<'a> {
    c: Choices<'a>,
    plan: Plan,
    fleet: Fleet,
    records: Vec<Record>,
    rules: Rules,
    now: Timestamp,
    surveying: bool,
    /// An act of a living task that has no answer yet.
    awaited: BTreeSet<NodeName>,
    pub covered: BTreeSet<&'static str>,
}

impl<'a> Lived<'a> {
    pub fn new(mut c: Choices<'a>) -> Lived<'a> {
        let plan = plan(&mut c);
        let rules = Rules::new(&plan);
        let (fleet, records, awaited) = (Fleet::default(), Vec::new(), BTreeSet::new());
        let mut lived = Lived { c, plan, fleet, records, rules, now: start(), surveying: false, awaited, covered: BTreeSet::new() };
        let nodes = lived.plan.nodes.keys().cloned().collect();
        lived.append(Event::RunStarted {
            cluster: lived.plan.cluster.clone(),
            group: None,
            playbook: "random".into(),
            plan: "digest".into(),
            format: FORMAT,
            program: "test".into(),
            by: "test".into(),
            reason: None,
            nodes,
        });
        lived
    }

    fn record(&self, event: Event) -> Record {
        Record { run: RunId("r".into()), seq: self.fleet.seq + 1, id: format!("{}", self.fleet.seq), token: 1, at: self.now, event }
    }

    /// Check, append, apply, as the engine does; and both folds agree.
    fn append(&mut self, event: Event) {
        let record = self.record(event);
        self.fleet.check(record.at, &record.event).unwrap_or_else(|e| panic!("{e}"));
        self.fleet.apply(&record).expect("check said that it may");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
        self.rules.follow(&record);
        self.rules.agree(&self.fleet);
        self.records.push(record);
        self.now += Duration::from_millis(self.c.of(&[1, 0, 40, 1000, 7000]));
    }

    /// What check refuses, apply refuses too, and nothing has changed.
    fn refused(&mut self, why: &str, event: Event) {
        let before = self.fleet.clone();
        let record = self.record(event);
        assert!(self.fleet.check(record.at, &record.event).is_err(), "{why}: {:?} may follow\n{before:#?}", record.event);
        assert!(self.fleet.apply(&record).is_err());
        assert_eq!(self.fleet, before);
        self.covered.insert("illegal refused");
    }

    pub fn live(&mut self) {
        let mut resumes = 0;
        loop {
            self.process();
            assert!(self.fleet.nodes.values().all(|n| !matches!(n.phase, Phase::Working { .. })), "at rest, and somebody works");
            self.rules.at_rest();
            let mut replayed = Fleet::default();
            self.records.iter().for_each(|r| replayed.apply(r).unwrap());
            assert_eq!(replayed, self.fleet, "replay gives another state");
            if self.fleet.finished || resumes == 5 || self.c.roll(3) == 0 {
                break;
            }
            resumes += 1;
            self.resume();
            while self.c.one_in(2) {
                self.release();
            }
        }
        if self.fleet.finished {
            self.refused("after the end", Event::RunResumed { program: "test".into(), by: "test".into() });
        }
        self.covered.append(&mut self.rules.covered);
    }

    fn process(&mut self) {
        for round in 0.. {
            assert!(round < 20_000, "does not come to rest: {:#?}", self.fleet);
            let commands = self.fleet.decide(&self.plan, self.now);
            assert_eq!(commands, self.fleet.decide(&self.plan, self.now), "decide is not a function of its arguments");
            let (mut wake, mut changed) = (None::<Timestamp>, false);
            for command in commands {
                match command {
                    Command::WakeAt(at) => wake = Some(wake.map_or(at, |w| w.min(at))),
                    Command::Survey => self.surveying = true,
                    Command::Record(event) => {
                        self.append(event);
                        changed = true;
                    }
                    Command::Start { node, step, attempt } => {
                        assert_ne!(self.fleet.stopping, Some(Stop::Settle), "{node} started while settling");
                        self.append(Event::StepStarted { node, step, kind: KINDS[step as usize].into(), attempt });
                        changed = true;
                    }
                }
            }
            if changed {
                continue;
            }
            if self.fleet.at_rest() {
                return;
            }
            self.something_happens(wake);
        }
    }

    fn something_happens(&mut self, wake: Option<Timestamp>) {
        let working: Vec<NodeName> = self.fleet.nodes.iter().filter(|(_, n)| matches!(n.phase, Phase::Working { .. })).map(|(n, _)| n.clone()).collect();
        match self.c.roll(24) {
            12 => self.now += Duration::from_secs(1 + self.c.roll(200) as u64),
            13 => {
                self.now -= Duration::from_secs(self.c.roll(200) as u64);
                self.covered.insert("back in time");
            }
            14 if self.c.one_in(4) => {
                let how = self.c.of(&[Stop::Drain, Stop::Settle, Stop::GiveBack]);
                self.append(Event::StopRequested { how, by: "test".into() });
            }
            15 if self.c.one_in(3) => self.resume(),
            16 => self.release(),
            17..=19 => self.try_something_illegal(&working),
            20..=23 if self.surveying => self.survey_answers(),
            _ if !working.is_empty() => {
                let node = self.c.of(&working);
                self.task_goes_on(&node);
            }
            _ if self.surveying => self.survey_answers(),
            _ => self.now = wake.unwrap_or(self.now).max(self.now + Duration::from_secs(1)),
        }
    }

    fn survey_answers(&mut self) {
        self.surveying = false;
        if self.c.one_in(6) {
            return self.append(Event::SightLost { why: fault(FaultKind::Unreachable) });
        }
        let mut out: Vec<(String, String)> = Vec::new();
        for name in FOREIGN {
            out.extend(self.c.one_in(5).then(|| (name.to_owned(), "NotReady".to_owned())));
        }
        // The cluster does not lie about what we left out; of what is just in work it may know or not.
        for (name, told) in &self.rules.nodes {
            let seen = told.ended == Some(End::Out) || (told.out() && self.c.one_in(2));
            out.extend(seen.then(|| (format!("m{}", &name.0[1..]), "cordoned".to_owned())));
        }
        self.append(Event::ClusterSeen { out, members: 9 });
    }

    /// The process dies, its tasks with it; another takes over.
    fn resume(&mut self) {
        self.awaited.clear();
        self.surveying = false;
        self.append(Event::RunResumed { program: "test".into(), by: "test".into() });
    }

    fn release(&mut self) {
        let held: Vec<NodeName> = self.fleet.nodes.iter().filter(|(_, n)| matches!(n.phase, Phase::Held { .. })).map(|(n, _)| n.clone()).collect();
        if held.is_empty() {
            return;
        }
        let node = self.c.of(&held);
        let decision = self.c.of(&[Decision::Retry, Decision::Verify, Decision::Return, Decision::KeepOut]);
        let to = match decision {
            Decision::Verify => Some(3),
            Decision::Return => Some(FORWARD as u32),
            _ => None,
        };
        let held = &self.fleet.nodes[&node];
        let Phase::Held { step, .. } = held.phase else { panic!("{held:?}") };
        let may = match decision {
            Decision::Return => held.may_turn_back(),
            // Nobody is sent past a reset that has not been.
            Decision::Verify => step >= 3 || held.past.power_touched() || held.past.inherited,
            _ => true,
        };
        let event = Event::NodeReleased { node, by: "test".into(), decision, to, accepted: vec![], reason: None };
        if may { self.append(event) } else { self.refused("a return or a verify", event) }
    }

    fn task_goes_on(&mut self, name: &NodeName) {
        let node = self.fleet.nodes[name].clone();
        let Phase::Working { step, attempt, .. } = node.phase else { panic!("{node:?}") };
        let settled = |outcome| Event::StepSettled { node: name.clone(), step, kind: KINDS[step as usize].into(), attempt, outcome };
        if self.awaited.contains(name) {
            let kind = self.c.of(&[FaultKind::Unwilling, FaultKind::Unreachable, FaultKind::Unable, FaultKind::Denied]);
            let answer = match self.c.roll(8) {
                0..=3 => Answer::Accepted,
                4 | 5 => Answer::Failed(fault(kind)),
                6 => Answer::Unknown(fault(FaultKind::Unknown)),
                // The step panics with its act in the air.
                _ => {
                    self.awaited.remove(name);
                    return self.append(settled(Outcome::Hold { fault: fault(FaultKind::Unknown) }));
                }
            };
            self.awaited.remove(name);
            return self.append(Event::ActSettled { node: name.clone(), answer });
        }
        let act = |what: &str, c: &mut Choices| Act::new("edge", what, c.of(&[Repeat::Freely, Repeat::AfterQuiet(Span::minutes(10)), Repeat::Never]));
        let give_back = |id: LoanId, c: &mut Choices| Act { returns: Some(id), ..act("give back", c) };
        let act = match self.c.roll(10) {
            0..=2 => match node.past.next_due() {
                Some(loan) if KINDS[step as usize] == "enable" => give_back(loan.id.clone(), &mut self.c),
                _ => return self.append(settled(Outcome::Done { evidence: json!({ "seq": self.fleet.seq }) })),
            },
            3 => return self.append(Event::WaitChanged { node: name.clone(), blockers: vec![Blocker::new("shop/cart-0", "still here")] }),
            4 => act("evict", &mut self.c),
            5 => {
                let ix = self.c.roll(3);
                Act { borrows: Some(loan(ix, self.records.len())), ..act("borrow", &mut self.c) }
            }
            6 => give_back(LoanId(format!("edge/l{}", self.c.roll(3))), &mut self.c),
            7 if step == 2 => Act { power: true, borrows: self.c.one_in(2).then(|| loan(2, self.records.len())), ..act("power", &mut self.c) },
            8 if !node.past.loans.is_empty() => {
                let loan = self.c.of(&node.past.loans).id;
                return self.append(Event::LoanFoundPaid { node: name.clone(), loan });
            }
            _ if attempt + 1 < self.plan.steps[step as usize].attempts && self.c.one_in(2) => {
                return self.append(settled(Outcome::Retry { fault: fault(FaultKind::Unknown) }));
            }
            _ => return self.append(settled(Outcome::Hold { fault: fault(FaultKind::Unwilling) })),
        };
        self.awaited.insert(name.clone());
        self.append(Event::ActIntended { node: name.clone(), step, attempt, act, before: json!({ "seq": self.fleet.seq }) });
    }

    fn try_something_illegal(&mut self, working: &[NodeName]) {
        let names: Vec<NodeName> = self.fleet.nodes.keys().cloned().collect();
        let node = self.c.of(&names);
        let n = self.fleet.nodes[&node].clone();
        let awaited = self.awaited.contains(&node);
        let started = |step, attempt| Event::StepStarted { node: node.clone(), step, kind: "x".into(), attempt };
        let settled =
            |step, attempt| Event::StepSettled { node: node.clone(), step, kind: "x".into(), attempt, outcome: Outcome::Done { evidence: Value::Null } };
        let intended =
            |step, attempt| Event::ActIntended { node: node.clone(), step, attempt, act: Act::new("edge", "x", Repeat::Freely), before: Value::Null };
        let ended = |end| Event::NodeEnded { node: node.clone(), end };
        let admitted = || Event::NodeAdmitted { node: node.clone(), wave: 0, inherits: vec![] };
        let released = |decision, to| Event::NodeReleased { node: node.clone(), by: "x".into(), decision, to, accepted: vec![], reason: None };
        let skipped = || Event::NodeSkipped { node: node.clone(), why: Skip::NotDue { why: "x".into() } };
        let turned = || Event::NodeTurnedBack { node: node.clone(), step: 6, why: fault(FaultKind::Unwilling) };

        self.refused("an unknown node", Event::NodeEnded { node: NodeName("nobody".into()), end: End::Out });
        let again = self.records[0].event.clone();
        self.refused("a second beginning", again);
        let (seq, before) = (self.fleet.seq, self.fleet.clone());
        for gap in [seq, seq + 2] {
            let record = Record { seq: gap, ..self.record(Event::RunResumed { program: "x".into(), by: "x".into() }) };
            assert!(self.fleet.apply(&record).is_err() && self.fleet == before, "a record out of line");
        }
        if !working.is_empty() || n.out() {
            let out = self.fleet.nodes.values().any(|n| n.out());
            assert!(out);
            self.refused("an end over open nodes", Event::RunFinished);
        }
        if !n.past.loans.is_empty() {
            for end in [End::Done, End::Returned] {
                self.refused("enabled with a loan open", ended(end));
            }
            self.refused("skipped with a loan open", skipped());
        }
        if n.past.power_touched() || n.past.inherited {
            self.refused("turned back", turned());
            self.refused("returned", released(Decision::Return, Some(6)));
        }
        if !matches!(n.phase, Phase::Waiting) {
            self.refused("admitted twice", admitted());
        }
        if !matches!(n.phase, Phase::Held { .. }) {
            self.refused("released, not held", released(Decision::Retry, None));
        }
        match n.phase {
            Phase::Working { step, attempt, .. } => {
                self.refused("started twice", started(step, attempt));
                self.refused("another step settles", settled(step + 1, attempt));
                self.refused("another attempt settles", settled(step, attempt + 1));
                self.refused("another attempt acts", intended(step, attempt + 1));
                self.refused("ended at work", ended(End::Out));
                self.refused("turned back at work", turned());
                if awaited {
                    self.refused("two acts in the air", intended(step, attempt));
                } else {
                    self.refused("an answer to nothing", Event::ActSettled { node: node.clone(), answer: Answer::Accepted });
                }
            }
            Phase::Ready { step, attempt, .. } => {
                self.refused("the step after next", started(step + 1, attempt));
                self.refused("another attempt", started(step, attempt + 1));
                self.refused("an act of nobody", intended(step, attempt));
                self.refused("settled, not started", settled(step, attempt));
            }
            Phase::Held { step, attempt, .. } => {
                self.refused("started while held", started(step, attempt));
                self.refused("ended while held", ended(End::Done));
                self.refused("verify nowhere", released(Decision::Verify, None));
            }
            Phase::Waiting => {
                self.refused("started before admission", started(0, 0));
                self.refused("ended before admission", ended(End::Done));
            }
            Phase::Skipped(_) | Phase::Ended(_) => {
                self.refused("started after its end", started(0, 0));
                self.refused("ended twice", ended(End::Out));
                self.refused("acts after its end", intended(0, 0));
            }
        }
    }
}
