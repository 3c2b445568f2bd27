//! The rules a second time, over the records alone: a fold that shares no code with the engine's.
use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Owed {
    before: Value,
    /// The act that opened it, by its number; none: an earlier run.
    by: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub struct Told {
    pub admitted: bool,
    pub ended: Option<End>,
    skipped: bool,
    held: bool,
    turned_back: bool,
    power: bool,
    acts: usize,
    open_act: Option<Act>,
    owed: BTreeMap<LoanId, Owed>,
}
impl Told {
    pub fn out(&self) -> bool {
        self.admitted && self.ended.is_none() && !self.skipped
    }
}

pub struct Rules {
    plan: Plan,
    pub nodes: BTreeMap<NodeName, Told>,
    stopping: bool,
    halted: Option<Halt>,
    blind: bool,
    seen: Option<(Timestamp, Vec<(String, String)>)>,
    past_canary: bool,
    finished: bool,
    pub covered: BTreeSet<&'static str>,
}

impl Rules {
    pub fn new(plan: &Plan) -> Rules {
        let nodes = plan.nodes.keys().map(|n| (n.clone(), Told::default())).collect();
        Rules {
            plan: plan.clone(),
            nodes,
            stopping: false,
            halted: None,
            blind: false,
            seen: None,
            past_canary: false,
            finished: false,
            covered: BTreeSet::new(),
        }
    }

    /// Asserts that this record may follow what was told, then takes it in.
    pub fn follow(&mut self, record: &Record) {
        assert!(!self.finished, "{record:?} after the end");
        if let Event::NodeAdmitted { node, wave, inherits } = &record.event {
            self.may_be_admitted(node, *wave, inherits, record.at);
        }
        match &record.event {
            Event::RunResumed { .. } => {
                self.past_canary |= matches!(self.halted, Some(Halt::AfterCanary { .. }));
                (self.stopping, self.halted, self.seen) = (false, None, None);
                self.covered.insert("resumed");
            }
            Event::StopRequested { .. } => self.stopping = true,
            Event::RunHalted { why } => {
                self.covered.insert(match why {
                    Halt::NoRoom { .. } => "no room",
                    Halt::FailureBudget { .. } => "budget",
                    Halt::WindowClosed { .. } => "window",
                    Halt::WaitingForPerson { .. } => "person",
                    Halt::Stopped => "stopped",
                    Halt::AfterCanary { .. } => "after the canary",
                    // The shell alone says so; the core decides nothing then.
                    Halt::SightLost { .. } => "blind",
                });
                self.halted = Some(why.clone());
            }
            Event::RunFinished => {
                assert!(self.nodes.values().all(|n| !n.out()), "finished over nodes that are out");
                self.finished = true;
                self.covered.insert("finished");
            }
            Event::ClusterSeen { out, .. } => (self.seen, self.blind) = (Some((record.at, out.clone())), false),
            Event::SightLost { .. } => {
                self.blind = true;
                self.covered.insert("blind");
            }
            _ => {}
        }
        if let Some(node) = record.event.node().and_then(|n| self.nodes.get_mut(n)) {
            let was_out = node.out();
            node.follow(&record.event, &mut self.covered);
            if was_out && !node.out() {
                // What was seen before says nothing about a node that has left our own count.
                self.seen = None;
            }
        }
    }

    fn may_be_admitted(&mut self, name: &NodeName, wave: u32, inherits: &[Loan], now: Timestamp) {
        let Plan { limits, nodes, cluster, .. } = &self.plan;
        let mine = &nodes[name];
        assert!(!self.stopping && self.halted.is_none(), "{name} admitted while stopping or halted: {:?}", self.halted);
        assert!(!self.blind, "{name} admitted without sight of the cluster");
        let (seen_at, seen) = self.seen.as_ref().expect("admitted without a survey since the last end or resume");
        assert!(*seen_at <= now && since(*seen_at, now) <= Duration::from_secs(30), "{name} admitted at {now} on a survey of {seen_at}");

        let out: Vec<&NodeName> = self.nodes.iter().filter(|(_, n)| n.out()).map(|(n, _)| n).collect();
        // Those that ended out of service take a place as long as the cluster calls them out: they are nobody's but the cluster's own.
        let seat = |n: &NodeName| nodes[n].seats.iter().find(|s| s.cluster == *cluster).map(|s| s.node.clone());
        let known: Vec<_> = out.iter().copied().chain([name]).filter_map(seat).collect();
        let others = seen.iter().filter(|(member, _)| !known.contains(member)).count();
        let done = self.nodes.values().filter(|n| n.ended == Some(End::Done)).count() as u32;
        let looked = self.past_canary || !self.plan.pause_after_canary;
        assert!(looked || done < limits.canary.max(1), "{name} is admitted before anybody looked at the canary");
        let most = if done < limits.canary { 1 } else { limits.max_unavailable } as usize;
        assert!(out.len() + others < most, "{name} admitted beside {out:?} and {others} others, limit {most}");
        // However it is counted: nobody who is really out is forgotten.
        let left_out = self.nodes.iter().filter(|(n, t)| t.ended == Some(End::Out) && *n != name).count();
        assert!(out.len() + left_out < most, "{name} admitted beside {out:?} and {left_out} that this run left out, limit {most}");
        self.covered.extend((done < limits.canary && limits.max_unavailable > 1).then_some("canary"));
        self.covered.extend((!out.is_empty()).then_some("second out"));
        self.covered.extend((others > 0).then_some("full by others"));

        for (label, most) in &limits.max_per {
            let value = |n: &NodeName| nodes[n].labels.get(label);
            let beside = out.iter().filter(|n| value(name).is_some() && value(n) == value(name)).count();
            assert!(beside < *most as usize, "{name} admitted beside {beside} of the same {label}");
            self.covered.extend((beside > 0).then_some("full by label"));
        }
        let failed = self.nodes.values().filter(|n| n.turned_back || n.held).count();
        assert!(failed <= limits.failure_budget as usize, "{name} admitted after {failed} failures");
        assert_eq!(wave, mine.wave);
        assert!(out.iter().all(|n| nodes[*n].wave >= wave), "{name} of wave {wave} admitted while an earlier one is out");
        let waiting = self.nodes.iter().filter(|(_, n)| !n.admitted && !n.skipped);
        assert_eq!(waiting.map(|(n, _)| (nodes[n].wave, n)).min(), Some((wave, name)), "out of turn");
        let open = limits.window.iter().flat_map(|w| &w.open);
        assert!(limits.window.is_empty() || open.into_iter().any(|(opens, closes)| *opens <= now && now < *closes), "{name} admitted outside the window");
        assert_eq!(inherits, mine.inherits, "what an earlier run left is taken over whole");
    }

    /// The ledger of the engine is the one of these rules.
    pub fn agree(&self, fleet: &Fleet) {
        for (name, told) in &self.nodes {
            let ledger: BTreeMap<&LoanId, &Value> = fleet.nodes[name].past.loans.iter().map(|l| (&l.id, &l.before)).collect();
            let owed: BTreeMap<&LoanId, &Value> = told.owed.iter().map(|(id, o)| (id, &o.before)).collect();
            assert_eq!(ledger, owed, "the ledger of {name}");
            assert_eq!(fleet.nodes[name].out(), told.out(), "{name}");
        }
    }

    pub fn at_rest(&self) {
        let waiting = self.nodes.iter().find(|(_, n)| !n.admitted && !n.skipped);
        assert!(waiting.is_none() || self.halted.is_some(), "ended in silence while {waiting:?} waits");
        assert!(self.finished || self.halted.is_some());
    }
}

impl Told {
    fn follow(&mut self, event: &Event, covered: &mut BTreeSet<&'static str>) {
        match event {
            Event::NodeAdmitted { inherits, .. } => {
                assert!(!self.admitted && !self.skipped);
                self.admitted = true;
                self.owed.extend(inherits.iter().map(|l| (l.id.clone(), Owed { before: l.before.clone(), by: None })));
                covered.extend((!inherits.is_empty()).then_some("inherited"));
            }
            Event::NodeSkipped { .. } => {
                assert!(self.owed.is_empty() && self.acts == 0, "skipped after it was touched");
                covered.extend(self.held.then_some("skipped while held"));
                (self.skipped, self.held) = (true, false);
            }
            Event::ActIntended { act, .. } => {
                self.acts += 1;
                self.power |= act.power;
                covered.extend(act.power.then_some("power"));
                self.open_act = Some(act.clone());
                if let Some(loan) = &act.borrows {
                    // The first picture wins.
                    covered.extend(self.owed.get(&loan.id).is_some_and(|o| o.before != loan.before).then_some("first picture"));
                    self.owed.entry(loan.id.clone()).or_insert(Owed { before: loan.before.clone(), by: Some(self.acts) });
                }
            }
            Event::ActSettled { answer, .. } => {
                let act = self.open_act.take().expect("an answer to nothing");
                match answer {
                    Answer::Accepted => {
                        // Only an accepted give-back closes.
                        if let Some(id) = &act.returns {
                            self.owed.remove(id);
                        }
                    }
                    // Provably nothing happened: closes what this very act opened, and nothing else.
                    Answer::Failed(_) => {
                        let own = act.borrows.filter(|l| self.owed.get(&l.id).is_some_and(|o| o.by == Some(self.acts)));
                        covered.extend(own.is_some().then_some("failed borrow"));
                        if let Some(loan) = own {
                            self.owed.remove(&loan.id);
                        }
                    }
                    Answer::Unknown(_) => {}
                }
            }
            Event::LoanFoundPaid { loan, .. } => {
                self.owed.remove(loan);
                covered.insert("found paid");
            }
            Event::StepSettled { outcome: Outcome::Hold { .. }, .. } => {
                self.held = true;
                covered.insert("held");
            }
            Event::NodeTurnedBack { .. } => {
                assert!(!self.power, "turned back after a power intent");
                (self.turned_back, self.held) = (true, false);
                covered.insert("turned back");
            }
            Event::NodeReleased { decision, .. } => {
                assert!(self.held);
                self.held = false;
                match decision {
                    Decision::Return => {
                        assert!(!self.power, "returned after a power intent");
                        self.turned_back = true;
                    }
                    Decision::KeepOut => {
                        self.ended = Some(End::Out);
                        covered.insert("kept out");
                    }
                    Decision::Retry | Decision::Verify => {}
                }
            }
            Event::NodeEnded { end, .. } => {
                assert!(*end == End::Out || self.owed.is_empty(), "{end:?} with loans open: {:?}", self.owed);
                self.ended = Some(*end);
                covered.insert(match end {
                    End::Done => "done",
                    End::Returned => "returned",
                    End::Out => "out",
                });
            }
            _ => {}
        }
    }
}
