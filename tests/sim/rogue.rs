//! The guard against repeating an act stands in the task loop: a step that asks wrongly still cannot.
use super::*;
use async_trait::async_trait;
use pitstop::{
    engine::task::{Ask, Run},
    steps::{Next, Step},
};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

/// Asks for the same act at every look.
struct Rogue {
    repeat: Repeat,
    answer: Result<(), Fault>,
    sent: Arc<AtomicU32>,
}
#[async_trait]
impl Step for Rogue {
    async fn look(&self, _: &Cx, _: &Past, _: Timestamp) -> Result<Next, Fault> {
        Ok(Next::Act(vec![(Act::new("bmc", "reset ForceOff", self.repeat), Value::Null)]))
    }
    async fn act(&self, _: &Cx, _: &Act) -> Result<(), Fault> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.answer.clone()
    }
}

/// How often it was sent, and how the step ended.
fn let_loose(repeat: Repeat, answer: Result<(), Fault>) -> (u32, Outcome) {
    paused(async {
        let sim = Sim::new(Case::default());
        let sent = Arc::new(AtomicU32::new(0));
        let (engine, mut asks) = mpsc::channel::<Ask>(1);
        let run = Run {
            step: Box::new(Rogue { repeat, answer, sent: sent.clone() }),
            cx: Arc::new(sim.cx(&NodeName("n1".into()))),
            ix: 2,
            kind: "rogue".into(),
            attempt: 0,
            attempts: 1,
            deadline: sim.clock.now() + Duration::from_secs(1800),
            timeout: pitstop::model::Span::minutes(1),
            past: Past::default(),
            clock: sim.clock.clone(),
            lost: Arc::new(|| None),
            engine,
            on_way_back: false,
            give_back: watch::channel(false).1,
        };
        let task = tokio::spawn(run.run());
        let mut outcome = None;
        while let Some(ask) = asks.recv().await {
            if let Event::StepSettled { outcome: settled, .. } = &ask.event {
                outcome = Some(settled.clone());
            }
            ask.done.send(sim.clock.now()).unwrap();
        }
        assert!(task.await.unwrap().is_ok());
        (sent.load(Ordering::SeqCst), outcome.unwrap())
    })
}

fn assert_held(outcome: Outcome) {
    let Outcome::Hold { fault } = outcome else { panic!("{outcome:?}") };
    assert!(fault.what.contains("already sent to n1"), "{fault}");
}

#[test]
fn inv_06_never_means_never() {
    for answer in [Ok(()), Err(Fault::new(FaultKind::Unknown, "no answer"))] {
        let (sent, outcome) = let_loose(Repeat::Never, answer);
        assert_eq!(sent, 1);
        assert_held(outcome);
    }
}

#[test]
fn inv_06_too_early_is_a_hold_and_doubt_is_never_overtaken() {
    for answer in [Ok(()), Err(Fault::new(FaultKind::Unknown, "no answer"))] {
        let (sent, outcome) = let_loose(Repeat::AfterQuiet(Span::minutes(10)), answer);
        assert_eq!(sent, 1);
        assert_held(outcome);
    }
}

#[test]
fn what_provably_did_not_happen_and_what_is_free_may_be_sent_again() {
    let refused = Err(Fault::new(FaultKind::Unwilling, "busy"));
    for (repeat, answer) in [(Repeat::Never, refused), (Repeat::Freely, Ok(()))] {
        let (sent, outcome) = let_loose(repeat, answer);
        assert!(sent > 10, "{repeat:?}: {sent}");
        assert!(matches!(outcome, Outcome::Hold { fault } if fault.what.starts_with("out of time")));
    }
}
