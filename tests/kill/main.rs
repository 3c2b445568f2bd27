//! `kill -9` of the real binary around every append of its journal, at any time, and of the resume too: the end is always the same.
//! Each append is killed once, in turn before and after it is durable, at a stride for the longer playbooks;
//! `PITSTOP_KILL_ALL=1` kills both before and after every single one. `PITSTOP_KILL_SEED=N` moves the random times.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
mod case;
mod firmware;
mod kubernetes;
mod lab;
mod pause;
mod stopped;

use case::Case;
use lab::{Kill, Lab};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Most of a case is waiting for machines to boot.
const AT_A_TIME: usize = 4;

fn all() -> bool {
    std::env::var_os("PITSTOP_KILL_ALL").is_some()
}

/// Deaths at append 1, 2, … until a run ends without dying. `nodes` of one cluster take turns, so that there is always something to evacuate.
fn sweep(rack: usize, playbook: &'static str, nodes: [&'static str; 2], stride: u64) {
    let next = AtomicU64::new(0);
    let end = AtomicU64::new(u64::MAX);
    let ends = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let lab = Lab::start(rack);
                for turn in 0.. {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    let (n, when) = match all() {
                        true => (1 + i / 2, ["before", "after"][(i % 2) as usize]),
                        false => (1 + i * stride, ["before", "after"][(i % 2) as usize]),
                    };
                    if n > end.load(Ordering::SeqCst) {
                        return;
                    }
                    let case = Case { lab: &lab, playbook, node: nodes[turn % 2], name: format!("{playbook}-{n}-{when}") };
                    let saw = case.survives(&[Kill::At(n, when)]);
                    if !saw.died {
                        end.fetch_min(n, Ordering::SeqCst);
                    }
                    ends.lock().unwrap().push(saw);
                }
            });
        }
    });
    let ends = ends.into_inner().unwrap();
    let (died, held) = (ends.iter().filter(|e| e.died).count(), ends.iter().filter(|e| e.held).count());
    eprintln!("{playbook}: {died} deaths, {held} of them in doubt");
    assert!(died as u64 >= 20 / stride, "only {died} deaths: the hook does not bite");
}

#[test]
fn inv_06_reboot_killed_around_every_append() {
    sweep(2, "reboot", ["edge-01", "edge-02"], 1);
}

#[test]
fn inv_06_power_cycle_killed_around_appends() {
    sweep(2, "power-cycle", ["edge-01", "edge-02"], 4);
}

#[test]
fn inv_06_vergeos_killed_around_appends() {
    sweep(6, "reboot", ["vault-01", "vault-02"], 4);
}

/// The one death that nobody can see through: the intent of a verb is on disk, and its packet was never sent.
#[test]
fn inv_06_in_doubt_is_watched_then_held_for_a_person() {
    let lab = Lab::start(2);
    for (playbook, node) in [("reboot", "edge-01"), ("power-cycle", "edge-02")] {
        let case = |when, name: &str| Case { lab: &lab, playbook, node, name: format!("{playbook}-{name}") }.survives(&[Kill::At(1, when)]);
        let not_intended = case("before:power", "not-intended");
        assert!(not_intended.died && !not_intended.held, "{playbook}: without an intent there is no doubt");
        let in_doubt = case("after:power", "in-doubt");
        assert!(in_doubt.died && in_doubt.held, "{playbook}: nobody can know whether the verb was sent, and nobody was asked");
    }
}

/// xorshift64*: the same seed, the same times.
struct Dice(u64);
impl Dice {
    fn millis(&mut self, below: u64) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Duration::from_millis((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below)
    }
}

#[test]
fn inv_06_run_and_resume_killed_at_any_time() {
    let seed: u64 = std::env::var("PITSTOP_KILL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let lab = Lab::start(2);
                for turn in 0.. {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    if i >= 20 {
                        return;
                    }
                    let mut dice = Dice((seed << 32) ^ (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    let playbook = ["reboot", "power-cycle"][(i % 2) as usize];
                    let kills: Vec<Kill> = (0..1 + i % 3).map(|_| Kill::After(dice.millis(6000))).collect();
                    let name = format!("seed-{seed}-{i}");
                    Case { lab: &lab, playbook, node: ["edge-01", "edge-02"][turn % 2], name }.survives(&kills);
                }
            });
        }
    });
}

#[test]
fn inv_06_the_resume_killed_around_its_appends() {
    let next = AtomicU64::new(0);
    // Where the run died: before evacuating, amid it, at the reset, while booting. Then the first appends of the resume.
    let mut deaths: Vec<(u64, u64, &'static str)> = Vec::new();
    for run in [4, 11, 24, 30] {
        for resume in if all() { 1..=12 } else { 1..=3 } {
            deaths.push((run, resume, ["before", "after"][((run + resume) % 2) as usize]));
        }
    }
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let lab = Lab::start(2);
                for turn in 0.. {
                    let Some((run, resume, when)) = deaths.get(next.fetch_add(1, Ordering::SeqCst) as usize).copied() else { return };
                    let name = format!("twice-{run}-{resume}-{when}");
                    let case = Case { lab: &lab, playbook: "reboot", node: ["edge-01", "edge-02"][turn % 2], name };
                    case.survives(&[Kill::At(run, "after"), Kill::At(resume, when), Kill::At(resume + 2, when)]);
                }
            });
        }
    });
}

#[test]
fn inv_09_of_two_that_race_one_runs_and_a_dead_one_is_only_resumed() {
    let lab = Lab::start(2);
    let store = lab.store("store");
    let from = lab.record(0).len();
    let args = ["--json", "run", "reboot", "edge-01"];
    let mut racers = [store.command(&args).spawn().unwrap(), store.command(&args).spawn().unwrap()];
    // One is refused at once; the other goes on.
    let begun = Instant::now();
    let loser = loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody was refused");
        if let Some(i) = (0..2).find(|i| racers[*i].try_wait().unwrap().is_some()) {
            break i;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let [first, second] = &mut racers;
    let (winner, loser) = if loser == 0 { (second, first) } else { (first, second) };
    let pid = winner.id();
    assert_eq!(loser.wait().unwrap().code(), Some(8));
    let mut said = String::new();
    std::io::Read::read_to_string(loser.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert!(said.contains(&format!("(pid {pid})")), "names its owner: {said}");
    // From another store only the cluster's own lock can tell. Once the first is in work:
    let begun = Instant::now();
    while !lab.record(from).iter().any(|line| line["what"] == "cordon edge-01") {
        assert!(begun.elapsed() < Duration::from_secs(60), "the winner does nothing");
        thread::sleep(Duration::from_millis(10));
    }
    let elsewhere = lab.store("elsewhere");
    let refused = elsewhere.pitstop(&args);
    assert_eq!(refused.code, Some(8), "{}", refused.said());
    assert!(refused.stderr.contains(&format!("(pid {pid})")), "{}", refused.said());

    winner.kill().unwrap();
    winner.wait().unwrap();
    let power = || lab.record(from).iter().filter(|line| line["kind"] == "power").count();
    let before = power();
    // Dead is not free: neither here, where its journal is, nor elsewhere, where nobody can know.
    let run = store.journal()[0]["run"].as_str().unwrap().to_owned();
    let refused = store.pitstop(&args);
    assert_eq!(refused.code, Some(7), "{}", refused.said());
    let next = refused.stderr.lines().find_map(|line| line.strip_prefix("next: pitstop resume ")).unwrap_or_else(|| panic!("{}", refused.said())).to_owned();
    assert!(run.ends_with(&next) || run.starts_with(&next), "{next} is not {run}");
    assert_eq!(elsewhere.pitstop(&args).code, Some(8));
    assert_eq!(power(), before, "a refused run touched the power");

    let mut resumes = [store.command(&["resume", &next]).spawn().unwrap(), store.command(&["resume", &next]).spawn().unwrap()];
    let mut codes: Vec<i32> = resumes.iter_mut().map(|r| r.wait().unwrap().code().unwrap()).collect();
    codes.sort();
    // The slower of the two finds the run held, or already finished.
    assert!(codes == [0, 8] || codes == [0, 0], "{codes:?}");
    Case { lab: &lab, playbook: "reboot", node: "edge-01", name: "race".into() }.assert_done(from);
}
