//! The one loop every step runs in: look; act if asked, intent first; look until done or out of time.
use crate::{
    event::Event,
    model::{Act, Answer, Blocker, Clock, Done, Fault, FaultKind, Outcome, Past, Repeat, Span, Timestamp, since},
    steps::{Cx, Next, Step},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};

/// However much the lab scales time, a look is not repeated in a tighter loop than this.
const SHORTEST: Duration = Duration::from_millis(15);

/// A task asks the engine to append, and goes on only when it is on disk.
pub struct Ask {
    pub event: Event,
    pub done: oneshot::Sender<Timestamp>,
}

pub struct Run {
    pub step: Box<dyn Step>,
    pub cx: Arc<Cx>,
    pub ix: u32,
    pub kind: String,
    pub attempt: u32,
    pub attempts: u32,
    pub deadline: Timestamp,
    /// As the plan says it, for people.
    pub timeout: Span,
    pub past: Past,
    pub clock: Arc<dyn Clock>,
    pub lost: super::run::Lost,
    pub engine: mpsc::Sender<Ask>,
    /// Already on the way back: `stop --give-back` has nothing more to say to it.
    pub on_way_back: bool,
    /// `stop --give-back`: leave off where nothing was done to power.
    pub give_back: watch::Receiver<bool>,
}

/// The engine is gone, or the run has lost its sight: end silently, the journal says what is in doubt.
pub struct Gone;

impl Run {
    async fn append(&self, event: Event) -> Result<Timestamp, Gone> {
        let (done, on_disk) = oneshot::channel();
        self.engine.send(Ask { event, done }).await.map_err(|_| Gone)?;
        on_disk.await.map_err(|_| Gone)
    }

    pub async fn run(mut self) -> Result<(), Gone> {
        let outcome = self.until_settled().await?;
        let (node, step, kind, attempt) = (self.cx.node.clone(), self.ix, self.kind.clone(), self.attempt);
        self.append(Event::StepSettled { node, step, kind, attempt, outcome }).await.map(|_| ())
    }

    async fn until_settled(&mut self) -> Result<Outcome, Gone> {
        let mut told = Vec::new();
        loop {
            let now = self.clock.now();
            if *self.give_back.borrow() && !self.on_way_back && !self.past.power_touched() {
                return Ok(Outcome::Hold { fault: Fault::new(FaultKind::Unwilling, "stopped with --give-back") });
            }
            let next = match self.step.look(&self.cx, &self.past, now).await {
                Ok(next) => next,
                // A failed look is a reason to wait, never an answer.
                Err(fault) => Next::Wait(vec![Blocker::new(self.cx.node.to_string(), fault.to_string())]),
            };
            // Without sight nothing is judged and nothing is done: the run pauses, and a resume takes the step up again.
            if !matches!(next, Next::Done(_) | Next::Paid(_)) && (self.lost)().is_some() {
                return Err(Gone);
            }
            match next {
                Next::Done(evidence) => return Ok(Outcome::Done { evidence }),
                Next::Hold(fault) => return Ok(Outcome::Hold { fault }),
                Next::Pause(fault) => return Ok(Outcome::Pause { fault }),
                Next::Paid(loan) => {
                    self.append(Event::LoanFoundPaid { node: self.cx.node.clone(), loan: loan.clone() }).await?;
                    self.past.pay(&loan);
                    continue;
                }
                Next::Act(acts) => {
                    if self.clock.now() >= self.deadline {
                        return Ok(self.out_of_time(&told));
                    }
                    for (act, before) in acts {
                        if let Err(why) = self.may(&act) {
                            return Ok(Outcome::Hold { fault: Fault::new(FaultKind::Unknown, why) });
                        }
                        self.act(act, before).await?;
                    }
                }
                Next::Wait(blockers) => {
                    if blockers != told {
                        told = blockers.clone();
                        self.append(Event::WaitChanged { node: self.cx.node.clone(), blockers }).await?;
                    }
                }
            }
            if self.clock.now() >= self.deadline {
                return Ok(self.out_of_time(&told));
            }
            tokio::time::sleep(self.cx.time.of(self.cx.look_every()).max(SHORTEST)).await;
        }
    }

    /// Out of time is never success; tried again only where nothing is in doubt.
    fn out_of_time(&self, told: &[Blocker]) -> Outcome {
        let fault =
            Fault { causes: told.iter().map(Blocker::to_string).collect(), ..Fault::new(FaultKind::Unknown, format!("out of time after {}", self.timeout)) };
        let again = self.attempt + 1 < self.attempts && !self.past.acts.iter().any(|d| d.step == self.ix && d.in_doubt());
        if again { Outcome::Retry { fault } } else { Outcome::Hold { fault } }
    }

    /// The guard stands here, once, not in every step: a step that asks too early cannot repeat what must not be repeated.
    fn may(&self, act: &Act) -> Result<(), String> {
        let released = self.past.released_at;
        // What a person has decided about since, and what provably did not happen, binds no more.
        let binds = |d: &&Done| d.act.same(act) && d.may_have_happened() && released.is_none_or(|r| d.at > r);
        let Some(same) = self.past.acts.iter().rev().find(binds) else { return Ok(()) };
        let quiet_for = since(same.at.max(self.past.resumed_at.unwrap_or(same.at)), self.clock.now());
        match act.repeat {
            Repeat::Freely => Ok(()),
            Repeat::AfterQuiet(quiet) if !same.in_doubt() && quiet_for >= self.cx.time.of(quiet) => Ok(()),
            _ => Err(format!("`{}` was already sent to {} at {} and may not be sent again", act.what, self.cx.node, same.at)),
        }
    }

    async fn act(&mut self, act: Act, before: Value) -> Result<(), Gone> {
        let (node, step, attempt) = (self.cx.node.clone(), self.ix, self.attempt);
        let at = self.append(Event::ActIntended { node: node.clone(), step, attempt, act: act.clone(), before: before.clone() }).await?;
        // Never raced against a deadline: the driver's own wire limits end it. Dropped only with the process.
        let answer = Answer::of(self.step.act(&self.cx, &act).await);
        self.append(Event::ActSettled { node, answer: answer.clone() }).await?;
        if let Some(loan) = &act.borrows
            && !matches!(answer, Answer::Failed(_))
        {
            self.past.borrow(loan);
        }
        if let (Some(id), Answer::Accepted) = (&act.returns, &answer) {
            self.past.pay(id);
        }
        self.past.acts.push(Done { step, attempt, act, before, at, answer: Some(answer) });
        Ok(())
    }
}
