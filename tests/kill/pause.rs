//! Hands in the data centre, with every process of pitstop killed on the way: switching off and lighting up, and after `release` switching on again.
//! Whatever died, the machine is off and lit while it waits, goes off and on once, and Off and the light are given back.
use crate::{
    AT_A_TIME, all,
    case::Case,
    lab::{Ended, Kill, Lab, Store},
};
use serde_json::Value;
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    thread,
};

/// Each death costs an evacuation and two changes of power.
const STRIDE: u64 = 5;

/// What one process leaves: it died, it waits for hands, or it is held and a person sends it on.
fn until_it_waits(store: &Store, node: &str, mut last: Ended, name: &str) -> Ended {
    for _ in 0..4 {
        match last.code {
            None => last = store.pitstop(&["resume"]),
            // Switching off was in doubt: watched, then held.
            Some(5) => last = store.pitstop(&["release", node, "retry"]),
            _ => return last,
        }
    }
    panic!("{name}: {}", last.said())
}

fn light(store: &Store, node: &str) -> Value {
    store.json(&["--json", "node", node])["light"].clone()
}

fn survives(lab: &Lab, node: &'static str, off: Kill, on: Kill, name: String) -> (bool, bool) {
    // The rack's earlier cases are in the same store, which takes over what their dead processes held.
    let store = lab.store("store");
    let earlier = store.journal().first().map(|r| r["run"].clone());
    let begun = || store.journal().first().map(|r| r["run"].clone()) != earlier;
    let from = lab.record(0).len();
    let verbs = || {
        let record = lab.record(from);
        record.iter().filter(|l| l["kind"] == "power").map(|l| l["verb"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = store.killed(&["run", "hands-on", node], off);
    let died_off = first.code.is_none();
    let waits = match died_off && !begun() {
        true => store.pitstop(&["run", "hands-on", node]),
        false => until_it_waits(&store, node, first, &name),
    };
    // Nothing to resume, where it died after its last word.
    assert!(matches!(waits.code, Some(7 | 0)), "{name}: {}", waits.said());
    let status = store.json(&["--json", "status"]);
    assert!(status["out"][0]["node"] == node && status["out"][0]["state"] == "paused", "{name}: {status}");
    assert_eq!(verbs(), ["GracefulShutdown"], "{name}: off, once, and nothing after it");
    assert_eq!(light(&store, node), true, "{name}: nobody finds it");
    let owed = store.pitstop(&["report"]).said();
    assert!(owed.contains("power On") && owed.contains("locating light off"), "{name}: {owed}");

    let released = store.killed(&["release", node], on);
    let died_on = released.code.is_none();
    let mut last = released;
    if last.code.is_none() {
        last = store.pitstop(&["resume"]);
    }
    // It died before its word was on disk: nobody has released it yet.
    if last.code == Some(7) {
        last = store.pitstop(&["release", node]);
    }
    assert_eq!(last.code, Some(0), "{name}: {}", last.said());
    assert_eq!(verbs(), ["GracefulShutdown", "On"], "{name}");
    assert_eq!(light(&store, node), false, "{name}: the light was borrowed");
    Case { lab, playbook: "hands-on", node, name: name.clone() }.assert_done(from);
    (died_off, died_on)
}

#[test]
fn inv_07_off_and_the_light_are_given_back_whatever_dies() {
    let next = AtomicU64::new(0);
    let (off, on, over) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let lab = Lab::start(2);
                for turn in 0.. {
                    let i = next.fetch_add(1, SeqCst);
                    let (n, whens) = match all() {
                        true => (1 + i / 2, [["before", "after"], ["after", "before"]][(i % 2) as usize]),
                        false => (1 + i * STRIDE, [["before", "after"], ["after", "before"]][(i % 2) as usize]),
                    };
                    if over.load(SeqCst) > 0 {
                        return;
                    }
                    let node = ["edge-01", "edge-02"][turn % 2];
                    let (died_off, died_on) = survives(&lab, node, Kill::At(n, whens[0]), Kill::At(n, whens[1]), format!("hands-on-{n}-{}", whens[0]));
                    off.fetch_add(u32::from(died_off), SeqCst);
                    on.fetch_add(u32::from(died_on), SeqCst);
                    over.fetch_add(u32::from(!died_off && !died_on), SeqCst);
                }
            });
        }
    });
    let (off, on) = (off.into_inner(), on.into_inner());
    eprintln!("hands-on: {off} deaths on the way off, {on} on the way back");
    assert!(off >= 4 && on >= 2, "the hook does not bite: {off} and {on}");
}
