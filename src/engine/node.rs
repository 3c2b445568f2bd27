//! One node's machine: where it stands, and which facts may follow. Pure.
use crate::{
    event::{Decision, End, Event},
    model::{Answer, Blocker, Done, Fault, FaultKind, Outcome, Past, Skip, Timestamp},
};

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Phase {
    #[default]
    Waiting,
    Skipped(Skip),
    /// The next step may begin; `since` is when it became so.
    Ready {
        step: u32,
        attempt: u32,
        since: Timestamp,
    },
    Working {
        step: u32,
        attempt: u32,
        since: Timestamp,
    },
    Held {
        step: u32,
        attempt: u32,
        fault: Fault,
        since: Timestamp,
    },
    Ended(End),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    pub phase: Phase,
    pub past: Past,
    /// On the way back, without having been through.
    pub turned_back: Option<Fault>,
    pub blockers: Vec<Blocker>,
    /// An intent has no answer yet, and its sender lives: nothing else may be intended. A step that panicked and a dead process send no answer any more.
    pub awaiting: bool,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("BUG: {0}")]
pub struct IllegalEvent(pub String);

impl Node {
    /// Out of service, or may be: takes a place in `max_unavailable`.
    pub fn out(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. } | Phase::Working { .. } | Phase::Held { .. })
    }
    pub fn in_doubt(&self) -> bool {
        self.past.acts.last().is_some_and(Done::in_doubt)
    }
    /// Held because its playbook says so, and not for a failure.
    pub fn paused(&self) -> bool {
        self.past.paused && matches!(self.phase, Phase::Held { .. })
    }
    /// May it still be given back unharmed? Not once power was touched, in this run or perhaps in the one that left it out.
    pub fn may_turn_back(&self) -> bool {
        self.turned_back.is_none() && !self.past.power_touched() && !self.past.inherited
    }
    /// May a person send it on from verify? Only where power was touched, by us or an earlier run, or where it had come that far already.
    pub fn may_verify(&self, held_at: u32, verify: u32) -> bool {
        self.past.power_touched() || self.past.inherited || held_at >= verify
    }
    /// Nothing was done to it in this run and nothing is owed.
    pub fn untouched(&self) -> bool {
        self.past.acts.is_empty() && self.past.loans.is_empty() && self.past.returned.is_empty()
    }

    pub fn apply(&self, at: Timestamp, event: &Event) -> Result<Node, IllegalEvent> {
        let mut n = self.clone();
        match (&self.phase, event) {
            (Phase::Waiting, Event::NodeSkipped { why, .. }) => n.phase = Phase::Skipped(why.clone()),
            // Preflight refused it just before it was touched.
            (Phase::Held { .. }, Event::NodeSkipped { why, .. }) if self.untouched() => n.phase = Phase::Skipped(why.clone()),
            (Phase::Waiting, Event::NodeAdmitted { inherits, .. }) => {
                for loan in inherits {
                    n.past.borrow(loan);
                }
                n.past.inherited = !inherits.is_empty();
                n.phase = Phase::Ready { step: 0, attempt: 0, since: at };
            }
            (Phase::Ready { step, attempt, .. }, Event::StepStarted { step: s, attempt: a, .. }) if step == s && attempt == a => {
                n.past.step_since.get_or_insert(at);
                n.phase = Phase::Working { step: *s, attempt: *a, since: at };
            }
            (Phase::Working { .. }, Event::WaitChanged { blockers, .. }) => n.blockers = blockers.clone(),
            (Phase::Working { step, attempt, .. }, Event::ActIntended { step: s, attempt: a, act, before, .. })
                if step == s && attempt == a && !self.awaiting =>
            {
                n.past.opened = act.borrows.as_ref().is_some_and(|loan| n.past.borrow(loan));
                n.awaiting = true;
                n.past.acts.push(Done { step: *s, attempt: *a, act: act.clone(), before: before.clone(), at, answer: None });
            }
            (Phase::Working { .. }, Event::ActSettled { answer, .. }) => match n.past.acts.last_mut() {
                Some(done) if self.awaiting => {
                    n.awaiting = false;
                    done.answer = Some(answer.clone());
                    let act = done.act.clone();
                    match (answer, &act.returns, &act.borrows) {
                        (Answer::Accepted, Some(id), _) => n.past.pay(id),
                        // Proven not to have happened: nothing is owed for it. What an earlier act or run borrowed stays owed.
                        (Answer::Failed(_), _, Some(loan)) if self.past.opened => n.past.loans.retain(|l| l.id != loan.id),
                        _ => {}
                    }
                }
                _ => return Err(illegal(self, event)),
            },
            (Phase::Working { .. }, Event::LoanFoundPaid { loan, .. }) => n.past.pay(loan),
            (Phase::Working { step, attempt, .. }, Event::StepSettled { step: s, attempt: a, outcome, kind, .. }) if step == s && attempt == a => {
                n.blockers.clear();
                n.awaiting = false;
                n.phase = match outcome {
                    Outcome::Done { evidence } => {
                        n.past.evidence.insert(kind.clone(), evidence.clone());
                        n.past.step_since = None;
                        Phase::Ready { step: step + 1, attempt: 0, since: at }
                    }
                    Outcome::Retry { .. } => Phase::Ready { step: *step, attempt: attempt + 1, since: at },
                    Outcome::Hold { fault } => Phase::Held { step: *step, attempt: *attempt, fault: fault.clone(), since: at },
                    Outcome::Pause { fault } => {
                        n.past.paused = true;
                        Phase::Held { step: *step, attempt: *attempt, fault: fault.clone(), since: at }
                    }
                }
            }
            (Phase::Held { .. } | Phase::Ready { .. }, Event::NodeTurnedBack { step, why, .. }) if self.may_turn_back() => {
                n.turned_back = Some(why.clone());
                n.past.step_since = None;
                n.phase = Phase::Ready { step: *step, attempt: 0, since: at };
            }
            (Phase::Held { step, attempt, .. }, Event::NodeReleased { decision, accepted, to, .. }) => {
                n.past.released_at = Some(at);
                if std::mem::take(&mut n.past.paused) {
                    n.past.let_go_at = Some(at);
                }
                n.past.accepted.extend(accepted.iter().cloned());
                n.past.step_since = None;
                n.phase = match (decision, to) {
                    (Decision::Retry, _) => Phase::Ready { step: *step, attempt: attempt + 1, since: at },
                    // Never past a reset that has not been: a node is verified from where it was serviced on.
                    (Decision::Verify, Some(to)) if self.may_verify(*step, *to) => Phase::Ready { step: *to, attempt: attempt + 1, since: at },
                    (Decision::Return, Some(to)) if self.may_turn_back() => {
                        n.turned_back = Some(Fault::new(FaultKind::Unwilling, "a person asked for it back"));
                        Phase::Ready { step: *to, attempt: 0, since: at }
                    }
                    (Decision::KeepOut, _) => Phase::Ended(End::Out),
                    _ => return Err(illegal(self, event)),
                };
            }
            // A node cannot end enabled with a loan open.
            (Phase::Ready { .. }, Event::NodeEnded { end, .. }) if *end == End::Out || n.past.loans.is_empty() => n.phase = Phase::Ended(*end),
            _ => return Err(illegal(self, event)),
        }
        Ok(n)
    }

    /// A new process took over: what was working is ready again at the same attempt, and knows since when it can only watch.
    pub fn resumed(&self, at: Timestamp) -> Node {
        let mut n = Node { awaiting: false, ..self.clone() };
        if self.out() {
            n.past.resumed_at = Some(at);
        }
        // A login that was refused: nothing happened, and the credential may be right by now.
        for done in &mut n.past.acts {
            if let Some(Answer::Failed(fault)) = &mut done.answer
                && fault.credential.is_some()
            {
                fault.kind = FaultKind::Unreachable;
            }
        }
        if let Phase::Working { step, attempt, .. } = self.phase {
            n.phase = Phase::Ready { step, attempt, since: at };
        }
        n
    }
}

fn illegal(node: &Node, event: &Event) -> IllegalEvent {
    IllegalEvent(format!("{event:?} cannot follow {:?}", node.phase))
}
