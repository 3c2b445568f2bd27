//! What one event makes of a node's report: state, ledger, boots, decisions.
use super::fold::{ActReport, DecisionReport, Heard, NodeReport, NodeState, StepReport};
use crate::{
    event::{Decision, End, Event},
    model::{Act, Answer, Fault, Loan, Outcome, Skip, Timestamp, since},
};
use serde_json::Value;

/// A boot mark as evidence has it: text, or `{"id": text}`.
fn mark(value: &Value) -> Option<String> {
    let inner = value.as_object().and_then(|o| o.values().next()).unwrap_or(value);
    inner.as_str().map(str::to_owned)
}

impl NodeReport {
    pub(super) fn skip(&mut self, why: &Skip, at: Timestamp) {
        self.since = Some(at);
        (self.step, self.next) = (None, None);
        self.blockers.clear();
        match why {
            Skip::NotDue { why } => (self.end, self.why) = (NodeState::NotDue, Some(why.clone())),
            Skip::Refused { fault } => {
                (self.end, self.why) = (NodeState::Refused, Some(fault.to_string()));
                self.next = fault.next.clone().or_else(|| Some(format!("pitstop check {}", self.name)));
            }
        }
    }

    fn hold(&mut self, fault: &Fault) {
        (self.end, self.why) = (NodeState::Held, Some(fault.to_string()));
        let way = if self.power_touched() || self.inherited { "verify" } else { "return" };
        let name = &self.name;
        self.next = Some(match &fault.next {
            Some(next) if next.contains("pitstop ") => next.clone(),
            // A step knows what a person can do, not what to type then.
            Some(next) => format!("{next}, then pitstop release {name} retry"),
            None => format!("pitstop release {name} retry, or pitstop release {name} {way}"),
        });
    }

    pub(super) fn apply(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::NodeSkipped { why, .. } => self.skip(why, at),
            Event::NodeAdmitted { inherits, .. } => {
                self.admitted.get_or_insert(at);
                (self.end, self.since) = (NodeState::InWork, Some(at));
                for loan in inherits {
                    self.borrow(loan);
                }
                self.inherited = !inherits.is_empty();
            }
            Event::StepStarted { kind, attempt, .. } => {
                // After a resume the same step goes on: its time does too.
                if self.step.as_ref() != Some(kind) || self.end != NodeState::InWork {
                    self.since = Some(at);
                }
                self.attempts += 1;
                (self.end, self.step, self.next) = (NodeState::InWork, Some(kind.clone()), None);
                self.steps.push(StepReport { kind: kind.clone(), attempt: *attempt, started: at, settled: None, outcome: None });
            }
            Event::WaitChanged { blockers, .. } => self.blockers = blockers.clone(),
            Event::ActIntended { act, .. } => self.intend(at, act),
            Event::ActSettled { answer, .. } => self.heard(answer),
            Event::LoanFoundPaid { loan, .. } => self.owed.retain(|l| l.id != *loan),
            Event::StepSettled { kind, outcome, .. } => self.settled(at, kind, outcome),
            Event::NodeTurnedBack { why, .. } => {
                (self.end, self.since, self.step) = (NodeState::InWork, Some(at), None);
                (self.why, self.next) = (Some(why.to_string()), None);
                self.blockers.clear();
            }
            Event::NodeReleased { by, decision, accepted, reason, .. } => {
                self.decisions.push(DecisionReport { at, by: by.clone(), decision: *decision, accepted: accepted.clone(), reason: reason.clone() });
                (self.since, self.next) = (Some(at), None);
                if *decision == Decision::KeepOut {
                    self.ended(at, NodeState::Out);
                } else {
                    (self.end, self.step) = (NodeState::InWork, None);
                }
            }
            Event::NodeEnded { end, .. } => self.ended(
                at,
                match end {
                    End::Done => NodeState::Done,
                    End::Returned => NodeState::Returned,
                    End::Out => NodeState::Out,
                },
            ),
            _ => {}
        }
    }

    fn ended(&mut self, at: Timestamp, end: NodeState) {
        (self.end, self.since, self.ended) = (end, Some(at), Some(at));
        (self.step, self.next) = (None, None);
        if end == NodeState::Done {
            self.why = None;
        }
        self.blockers.clear();
        self.seconds = self.admitted.map(|from| since(from, at).as_secs_f64());
    }

    fn settled(&mut self, at: Timestamp, kind: &str, outcome: &Outcome) {
        self.blockers.clear();
        let word = match outcome {
            Outcome::Done { .. } => "done",
            Outcome::Retry { .. } => "retry",
            Outcome::Hold { .. } => "hold",
            Outcome::Pause { .. } => "pause",
        };
        if let Some(step) = self.steps.last_mut().filter(|s| s.kind == kind) {
            (step.settled, step.outcome) = (Some(at), Some(word.into()));
        }
        self.since = Some(at);
        match outcome {
            Outcome::Done { evidence } => {
                if let Ok(changed) = serde_json::from_value(evidence["compared"].clone()) {
                    self.changed = changed;
                }
                for (key, to) in [("from", &mut self.from_boot), ("to", &mut self.to_boot)] {
                    if let Some(boot) = evidence.get(key).and_then(mark).filter(|_| kind == "reset" || kind == "pause") {
                        *to = Some(boot);
                    }
                }
            }
            Outcome::Retry { fault } => self.why = Some(fault.to_string()),
            Outcome::Hold { fault } => {
                self.step = Some(kind.to_owned());
                self.hold(fault);
            }
            Outcome::Pause { fault } => {
                self.step = Some(kind.to_owned());
                (self.end, self.why) = (NodeState::Paused, Some(fault.to_string()));
                self.next = fault.next.clone().or_else(|| Some(format!("pitstop release {}", self.name)));
            }
        }
    }

    fn borrow(&mut self, loan: &Loan) -> bool {
        let first = !self.owed.iter().any(|l| l.id == loan.id);
        if first {
            self.owed.push(loan.clone());
        }
        first
    }

    fn intend(&mut self, at: Timestamp, act: &Act) {
        let opened = act.borrows.as_ref().is_some_and(|loan| self.borrow(loan));
        self.acts.push(ActReport {
            what: act.what.clone(),
            to: act.to.clone(),
            at,
            answer: Heard::Nothing,
            fault: None,
            power: act.power,
            opened,
            borrows: act.borrows.clone(),
            returns: act.returns.clone(),
        });
    }

    fn heard(&mut self, answer: &Answer) {
        let Some(act) = self.acts.last_mut() else { return };
        (act.answer, act.fault) = match answer {
            Answer::Accepted => (Heard::Accepted, None),
            Answer::Failed(fault) => (Heard::Failed, Some(fault.to_string())),
            Answer::Unknown(fault) => (Heard::Unknown, Some(fault.to_string())),
        };
        match (answer, &act.returns, &act.borrows) {
            (Answer::Accepted, Some(id), _) => self.owed.retain(|l| l.id != *id),
            // Proven not to have happened: nothing is owed for it. What an earlier act or run borrowed stays owed.
            (Answer::Failed(_), _, Some(loan)) if act.opened => self.owed.retain(|l| l.id != loan.id),
            _ => {}
        }
    }
}
