//! The pure core under random histories: whatever tasks, people, clusters and clocks do, no limit is passed, no loan is lost and every run comes to rest.
//! A history is a stream of choices, and a used-up stream chooses the quiet way, so that a failing one shrinks to what matters.
//! `PITSTOP_CASES=100000` widens the search; the rules are written a second time here, over the records alone.
#![allow(clippy::unwrap_used)]
use pitstop::{
    engine::{
        fleet::{Command, Fleet},
        node::Phase,
    },
    event::{Decision, End, Event, Halt, Record, Stop},
    model::*,
    plan::{FORMAT, Limits, OnFailure, Plan, PlannedNode, PlannedSeat, PlannedStep, Window},
};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

mod journals;
mod ladder;
mod lived;
mod mutants;
mod rules;

use lived::Lived;

/// The same cases every time, so that what they must have reached is a fact; asked for more, other ones each time.
fn runner(default: u32) -> TestRunner {
    let asked = std::env::var("PITSTOP_CASES").ok().and_then(|c| c.parse().ok());
    let cases = asked.unwrap_or(default);
    let config = Config { cases, max_shrink_iters: 20_000, max_shrink_time: 20_000, failure_persistence: None, ..Config::default() };
    match asked {
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::new(config),
    }
}

/// One byte decides one thing; after the last one everything goes as it should.
struct Choices<'a> {
    bytes: &'a [u8],
    at: usize,
}
impl Choices<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % sides
    }
    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == sides - 1
    }
    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, "as the dice fell")
}

#[test]
fn whatever_happens_no_rule_is_broken_and_every_run_comes_to_rest() {
    let mut runner = runner(500);
    let seen = std::cell::RefCell::new(BTreeMap::<&'static str, u32>::new());
    let result = runner.run(&vec(any::<u8>(), 40..1200), |bytes| {
        let mut lived = Lived::new(Choices { bytes: &bytes, at: 0 });
        lived.live();
        for what in lived.covered {
            *seen.borrow_mut().entry(what).or_default() += 1;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // A generator that never gets there proves nothing.
    for what in [
        "done",
        "returned",
        "out",
        "inherited",
        "held",
        "turned back",
        "power",
        "canary",
        "second out",
        "full by others",
        "full by label",
        "window",
        "budget",
        "no room",
        "person",
        "stopped",
        "after the canary",
        "finished",
        "resumed",
        "blind",
        "first picture",
        "failed borrow",
        "found paid",
        "back in time",
        "skipped while held",
        "kept out",
        "illegal refused",
    ] {
        assert!(seen.borrow().contains_key(what), "no history had `{what}`: {:?}", seen.borrow());
    }
}
