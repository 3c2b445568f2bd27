//! The real steps, guards, task loop, dispatcher and pure core over an in-memory world on a paused clock:
//! a fault script per call, a crash around every append, a kill at any second. All invariants are asserted after every run.
//! `PITSTOP_SIM_SEEDS=100000` makes the random part a soak; a failing case prints its seed, `PITSTOP_SIM_SEED=N` repeats it alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
mod flash;
mod limits;
mod moment;
mod pause;
mod rogue;
mod sight;
mod world;

use pitstop::{
    engine::{
        fleet::Fleet,
        node::Phase,
        run::{Ended, Engine},
        store::{Lock, Owner, Request, Store, memory::Memory},
    },
    event::{Decision, End, Event, Stop},
    guards::Pins,
    model::*,
    plan::{Expect, FORMAT, Limits, OnFailure, Plan, PlannedNode, PlannedSeat, PlannedStep},
    steps::{At, Cx, Seat},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use world::{Dice, FakeBmc, FakeCluster, FakeHost, FakeNet, Service, Temper, Virtual, World};

struct Case {
    nodes: usize,
    max_unavailable: u32,
    failure_budget: u32,
    how: &'static str,
    quiet: &'static str,
    temper: Temper,
    seed: u64,
    /// What an earlier run left standing on node 1.
    inherits: Vec<Loan>,
    /// With the step `firmware`, between evacuate and reset.
    firmware: Option<&'static str>,
    /// With the step `pause` in place of `reset`.
    pause: bool,
}
impl Default for Case {
    fn default() -> Case {
        Case {
            nodes: 3,
            max_unavailable: 2,
            failure_budget: 9,
            how: "graceful",
            quiet: "60s",
            temper: Temper { lag: Duration::from_secs(20), ..Temper::default() },
            seed: 1,
            inherits: vec![],
            firmware: None,
            pause: false,
        }
    }
}

fn plan(case: &Case) -> Plan {
    let step = |kind: &str, body: Value, timeout: u64, on_failure| PlannedStep {
        step: Setting { kind: kind.into(), body },
        timeout: Span::minutes(timeout),
        attempts: 1,
        on_failure,
    };
    let node = |i: usize| PlannedNode {
        wave: 0,
        seats: vec![PlannedSeat { cluster: ClusterName("sim".into()), node: format!("n{i}") }],
        labels: BTreeMap::new(),
        bmc: vec![],
        bmc_host: String::new(),
        host: None,
        trust: Trust::default(),
        shared: vec![],
        checks: vec![],
        due: vec![],
        inherits: if i == 1 { case.inherits.clone() } else { vec![] },
        resets_today: 0,
        expect: Expect::default(),
        ..PlannedNode::default()
    };
    let mut steps = vec![
        step("preflight", json!({}), 10, OnFailure::Return),
        step("evacuate", json!({}), 30, OnFailure::Return),
        step("reset", json!({ "how": case.how, "graceful": "3m", "quiet": case.quiet }), 30, OnFailure::Return),
        step("verify", json!({ "hold_for": "30s" }), 15, OnFailure::Hold),
        step("enable", json!({}), 10, OnFailure::Hold),
        step("settle", json!({}), 10, OnFailure::Hold),
        step("enable", json!({}), 10, OnFailure::Hold),
    ];
    if let Some(apply) = case.firmware {
        let target = json!({ "model": "Sim 1", "id": "BIOS", "version": "2.0", "image": { "url": "http://192.0.2.5/bios" } });
        steps.insert(2, step("firmware", json!({ "targets": [target], "apply": apply, "quiet": "2m" }), 60, OnFailure::Return));
    }
    if case.pause {
        steps[2] = step("pause", json!({ "task": "replace DIMM A3", "graceful": "3m", "quiet": case.quiet }), 30, OnFailure::Return);
    }
    let more = u32::from(case.firmware.is_some());
    Plan {
        format: FORMAT,
        made_at: Timestamp::UNIX_EPOCH,
        playbook: "reboot".into(),
        description: String::new(),
        cluster: ClusterName("sim".into()),
        clusters: BTreeMap::new(),
        vouched: None,
        base: "/".into(),
        time: TimeScale(1.0),
        steps,
        forward: 6 + more,
        verify_at: Some(3 + more),
        ask: false,
        pause_after_canary: false,
        due: vec![],
        limits: Limits {
            max_unavailable: case.max_unavailable,
            failure_budget: case.failure_budget,
            within: vec![],
            max_per: BTreeMap::new(),
            canary: 0,
            window: vec![],
            max_resets: 2,
        },
        nodes: (0..case.nodes).map(|i| (NodeName(format!("n{i}")), node(i))).collect(),
        skipped: BTreeMap::new(),
        notes: vec![],
    }
}

struct Sim {
    case: Case,
    plan: Arc<Plan>,
    world: Arc<World>,
    clock: Arc<Virtual>,
    processes: u32,
}

enum Cut {
    Never,
    After(Duration),
}

impl Sim {
    fn new(case: Case) -> Sim {
        let run = RunId("run-1".into());
        let world = World::new(case.nodes, case.temper.clone(), case.seed, Memory::new(), run);
        Sim { plan: Arc::new(plan(&case)), world, clock: Arc::new(Virtual(Instant::now())), case, processes: 0 }
    }

    fn cx(&self, name: &NodeName) -> Cx {
        let wired = match (name.0.as_str(), self.case.temper.miswired) {
            ("n1", true) => "n2",
            ("n2", true) => "n1",
            (own, _) => own,
        };
        Cx {
            node: name.clone(),
            seats: vec![Seat { cluster: ClusterName("sim".into()), node: name.0.clone(), driver: Arc::new(FakeCluster(self.world.clone())) }],
            bmc: Arc::new(FakeBmc { world: self.world.clone(), node: name.clone(), wired: wired.into() }),
            host: Some(Arc::new(FakeHost(self.world.clone(), name.0.clone()))),
            net: Arc::new(FakeNet),
            checks: vec![(At::Booted, Box::new(Service))],
            due: vec![],
            pins: Pins::default(),
            ask: pitstop::drivers::cluster::Ask { run: Some(self.world.run.clone()), reason: None, unmovable: Unmovable::Refuse, ..Default::default() },
            time: self.plan.time,
            listener: Arc::new(()),
        }
    }

    /// One process: until it ends by itself, dies at a scripted append, or is cut off.
    async fn process(&mut self, cut: Cut, requests: mpsc::Receiver<Event>) -> Option<Result<Fleet, Ended>> {
        self.processes += 1;
        let store = self.world.store.clone();
        let owner = Owner { who: format!("sim@{}", self.processes), pid: self.processes, id: format!("p{}", self.processes) };
        let lock: Lock = tokio::select! {
            biased;
            () = store.crashed() => return None,
            lock = async {
                store.submit(&self.world.run, &self.plan).await.unwrap();
                store.lock(&self.plan.cluster, &owner, Some(&self.world.run), Duration::from_secs(60)).await
            } => lock.unwrap(),
        };
        let engine = Engine {
            run: self.world.run.clone(),
            plan: self.plan.clone(),
            nodes: self.plan.nodes.keys().map(|n| (n.clone(), Arc::new(self.cx(n)))).collect(),
            cluster: Arc::new(FakeCluster(self.world.clone())),
            leases: vec![],
            lease: pitstop::engine::run::LEASE,
            store: Arc::new(store.clone()),
            lock,
            clock: self.clock.clone(),
            publish: Box::new(|_| {}),
            start: Event::RunStarted {
                cluster: self.plan.cluster.clone(),
                group: None,
                playbook: "reboot".into(),
                plan: "digest".into(),
                format: FORMAT,
                program: "sim".into(),
                by: owner.to_string(),
                reason: None,
                nodes: self.plan.nodes.keys().cloned().collect(),
            },
            program: "sim".into(),
            confirm: Arc::new(|_| true),
            lost: self.world.lost(),
        };
        let limit = match cut {
            Cut::Never => Duration::from_secs(7 * 86_400),
            Cut::After(d) => d,
        };
        tokio::select! {
            biased;
            () = store.crashed() => None,
            ended = engine.run(requests) => Some(ended),
            () = tokio::time::sleep(limit) => {
                assert!(!matches!(cut, Cut::Never), "the run never ends");
                None
            }
        }
    }

    /// Runs, and resumes after every death, until it comes to rest.
    async fn until_rest(&mut self, first_cut: Cut) -> Fleet {
        let mut cut = first_cut;
        loop {
            let (_keep, requests) = mpsc::channel(1);
            let ended = self.process(std::mem::replace(&mut cut, Cut::Never), requests).await;
            self.world.store.restart();
            match ended {
                Some(Ok(fleet)) => return fleet,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
    }

    /// A person decides about every held node; then on to rest.
    async fn release_all(&mut self, decision: Decision) -> Fleet {
        let mut fleet = Fleet::default();
        self.world.store.load(&self.world.run, 0).await.unwrap().iter().for_each(|r| fleet.apply(r).unwrap());
        for (node, _) in fleet.nodes.iter().filter(|(_, n)| matches!(n.phase, Phase::Held { .. })) {
            let ask = Event::NodeReleased { node: node.clone(), by: "test".into(), decision, to: None, accepted: vec![], reason: None };
            let request = Request { id: format!("{node} {decision:?} {}", fleet.seq), at: self.clock.now(), by: "test".into(), ask };
            self.world.store.ask(&self.world.run, &request).await.unwrap();
        }
        self.until_rest(Cut::Never).await
    }

    /// Everything of safety.md that this world can show.
    async fn assert_invariants(&self, fleet: &Fleet, case: &str) {
        let records = self.world.store.load(&self.world.run, 0).await.unwrap();
        if std::env::var_os("PITSTOP_SIM_SEED").is_some() {
            records.iter().for_each(|r| eprintln!("{}", serde_json::to_string(r).unwrap()));
        }
        let mut replayed = Fleet::default();
        for record in &records {
            replayed.apply(record).unwrap_or_else(|e| panic!("{case}: {e}"));
            let out = replayed.open().count();
            assert!(out <= self.case.max_unavailable as usize, "{case}: inv-05: {out} nodes out at record {}", record.seq);
        }
        assert_eq!(&replayed, fleet, "{case}: inv-06: replay gives another state");
        let cordoned_at_start = self.world.machines.lock().unwrap().values().filter(|m| m.cordoned_at_start).count();
        let most = *self.world.most_out.lock().unwrap();
        assert!(most <= self.case.max_unavailable as usize + cordoned_at_start, "{case}: inv-05: {most} machines were out at one time");
        for (name, node) in &fleet.nodes {
            let machines = self.world.machines.lock().unwrap();
            let m = &machines[&name.0];
            assert_eq!(m.lost, 0, "{case}: inv-02: {name} lost power over its pods");
            assert!(m.updates <= 1, "{case}: inv-06: {name} was updated {} times", m.updates);
            if self.case.firmware.is_some() && node.phase == Phase::Ended(End::Done) {
                assert!(m.updates == 1 && m.version == "2.0", "{case}: {name} is done with {}", m.version);
            }
            assert_eq!(m.bricked, 0, "{case}: inv-13: {name} got a verb while firmware was written");
            let twice = (1..m.mended.len()).any(|i| m.mended[i..].contains(&m.mended[i - 1]));
            assert!(!twice, "{case}: {name} was repaired twice in one boot: {:?}", m.mended);
            assert_eq!(m.unjournalled, 0, "{case}: inv-06: {name} got a verb that no intent precedes");
            for verb in &m.verbs {
                let times = m.verbs.iter().filter(|v| *v == verb).count();
                // On after an answer that was lost, to a machine that is still off, may come again.
                let most = if *verb == ResetType::On { 3 } else { 1 };
                assert!(times <= most, "{case}: inv-12: {name} got {verb} {times} times");
            }
            let by_itself = u32::from(self.case.temper.boots_twice && name.0 == "n1");
            assert!(m.boots <= 1 + by_itself, "{case}: {name} booted {} times: {:?}", m.boots, m.verbs);
            match &node.phase {
                Phase::Ended(End::Done) => {
                    assert!(m.boots == 1 && m.up() && m.mark.is_none(), "{case}: inv-03: {name} is done after {} boots, mark {:?}", m.boots, m.mark);
                    assert_eq!(m.cordoned, m.cordoned_at_start, "{case}: inv-07: {name} is not as it was");
                }
                Phase::Ended(End::Returned) => {
                    assert!(m.verbs.is_empty() && m.mark.is_none(), "{case}: {name} was returned after {:?}", m.verbs);
                    assert_eq!(m.cordoned, m.cordoned_at_start, "{case}: inv-07: {name} is not as it was");
                }
                Phase::Skipped(_) | Phase::Waiting => {
                    assert!(m.verbs.is_empty() && m.mark.is_none() && m.pods.len() == 3, "{case}: {name} was touched");
                }
                Phase::Held { fault, .. } => assert!(!fault.what.is_empty(), "{case}: {name} is held and nobody knows why"),
                other => panic!("{case}: {name} ends as {other:?}"),
            }
        }
    }

    fn end_of(&self, fleet: &Fleet, node: &str) -> Phase {
        fleet.nodes[&NodeName(node.into())].phase.clone()
    }
}

fn paused<T>(f: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(f)
}

fn run_quietly(case: Case, name: &str) -> (Sim, Fleet) {
    paused(async {
        let mut sim = Sim::new(case);
        let fleet = sim.until_rest(Cut::Never).await;
        sim.assert_invariants(&fleet, name).await;
        (sim, fleet)
    })
}

#[test]
fn a_quiet_run_takes_every_node_through() {
    for how in ["graceful", "force", "power-cycle"] {
        let (_, fleet) = run_quietly(Case { nodes: 4, how, ..Case::default() }, how);
        assert!(fleet.finished);
        assert!(fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)), "{how}: {fleet:?}");
    }
}

#[test]
fn a_late_bmc_is_never_overtaken_by_force() {
    for lag in [5, 30, 55, 100, 170] {
        let temper = Temper { lag: Duration::from_secs(lag), ..Temper::default() };
        let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "late");
        assert_eq!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Done));
        assert_eq!(sim.world.machines.lock().unwrap()["n1"].verbs, [ResetType::GracefulRestart], "{lag}");
    }
}

#[test]
fn a_graceful_verb_that_is_ignored_is_followed_by_force() {
    let temper = Temper { ignores: vec![ResetType::GracefulRestart], ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "ignored");
    assert_eq!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Done));
    assert_eq!(sim.world.machines.lock().unwrap()["n1"].verbs, [ResetType::GracefulRestart, ResetType::ForceRestart]);
}

#[test]
fn a_bmc_that_lies_holds_its_node() {
    let temper = Temper { ignores: ResetType::ALL.to_vec(), ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "lies");
    let Phase::Held { step: 2, fault, .. } = sim.end_of(&fleet, "n1") else { panic!("{fleet:?}") };
    assert!(fault.what.contains("nothing happened"), "{fault}");
}

#[test]
fn a_node_that_never_boots_is_held_at_its_reset() {
    let temper = Temper { never_boots: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "never boots");
    assert!(matches!(sim.end_of(&fleet, "n1"), Phase::Held { step: 2, .. }));
}

#[test]
fn a_node_that_cannot_be_emptied_is_given_back() {
    let temper = Temper { stuck: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, failure_budget: 0, max_unavailable: 1, ..Case::default() }, "stuck");
    assert_eq!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Returned));
    let why = fleet.nodes[&NodeName("n1".into())].turned_back.clone().unwrap().to_string();
    assert!(why.contains("shop/n1-0") && why.contains("PodDisruptionBudget"), "{why}");
    assert_eq!(sim.end_of(&fleet, "n2"), Phase::Waiting, "the failure budget is used up");
}

#[test]
fn a_sick_node_is_held_and_takes_its_place_in_the_limits() {
    let temper = Temper { sick: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, max_unavailable: 1, ..Case::default() }, "sick");
    assert!(matches!(sim.end_of(&fleet, "n1"), Phase::Held { step: 3, .. }));
    assert_eq!(sim.end_of(&fleet, "n2"), Phase::Waiting);
    assert!(sim.world.machines.lock().unwrap()["n1"].cordoned);
}

#[test]
fn a_repair_is_sent_once_and_the_node_goes_on() {
    let temper = Temper { sick: true, mends: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "mends");
    assert_eq!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Done));
    assert_eq!(sim.world.machines.lock().unwrap()["n1"].mended, [1], "after the boot, never before it");
    let acts = &fleet.nodes[&NodeName("n1".into())].past.acts;
    assert!(acts.iter().any(|d| d.act.what == "repair service: agent: mend agent" && d.accepted()), "{acts:?}");
}

#[test]
fn inv_01_a_miswired_bmc_gets_no_verb() {
    let temper = Temper { miswired: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "miswired");
    for name in ["n1", "n2"] {
        assert!(matches!(sim.end_of(&fleet, name), Phase::Skipped(Skip::Refused { .. })), "{fleet:?}");
        assert!(sim.world.machines.lock().unwrap()[name].verbs.is_empty());
    }
    assert_eq!(sim.end_of(&fleet, "n0"), Phase::Ended(End::Done));
}

#[test]
fn inv_03_a_second_boot_before_enable_is_a_hold() {
    let temper = Temper { boots_twice: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "boots twice");
    let Phase::Held { fault, .. } = sim.end_of(&fleet, "n1") else { panic!("{fleet:?}") };
    assert!(fault.what.contains("boot loop"), "{fault}");
}

#[test]
fn inv_04_another_installation_is_a_hold() {
    let temper = Temper { other_system: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "other system");
    let Phase::Held { step: 3, fault, .. } = sim.end_of(&fleet, "n1") else { panic!("{fleet:?}") };
    assert!(fault.what.contains("something else booted"), "{fault}");
}

#[test]
fn inv_07_a_foreign_cordon_stays() {
    let temper = Temper { cordoned_before: true, ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "foreign cordon");
    assert_eq!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Done));
    assert!(sim.world.machines.lock().unwrap()["n1"].cordoned);
}

#[test]
fn inv_06_a_crash_around_every_append_ends_the_same() {
    let mut cases = 0;
    for how in ["graceful", "power-cycle"] {
        for n in 1.. {
            let mut died = false;
            for after in [false, true] {
                paused(async {
                    let mut sim = Sim::new(Case { how, ..Case::default() });
                    sim.world.store.crash_at(n, after);
                    let fleet = sim.until_rest(Cut::Never).await;
                    died |= sim.processes > 1;
                    let name = format!("{how}, crash at append {n}, after: {after}");
                    sim.assert_invariants(&fleet, &name).await;
                    // Died between a power intent and its packet: nobody can know, so a person is asked, and the node stays out and empty.
                    let asks =
                        |n: &pitstop::engine::node::Node| matches!(&n.phase, Phase::Held { step: 2, fault, .. } if fault.what.contains("no answer came"));
                    let done = |n: &pitstop::engine::node::Node| n.phase == Phase::Ended(End::Done);
                    assert!(fleet.nodes.values().all(|n| done(n) || asks(n) || n.phase == Phase::Waiting), "{name}: {:?}", fleet.nodes);
                    let held = fleet.nodes.values().filter(|n| asks(n)).count();
                    let cut_there = sim.world.machines.lock().unwrap().values().any(|m| m.boots == 0);
                    assert_eq!(held > 0, cut_there, "{name}");
                    if held > 0 {
                        let fleet = sim.release_all(Decision::Retry).await;
                        sim.assert_invariants(&fleet, &name).await;
                        assert!(fleet.nodes.values().all(done), "{name}, released: {:?}", fleet.nodes);
                    }
                    cases += 1;
                });
            }
            if !died {
                break;
            }
        }
    }
    assert!(cases > 150, "only {cases} crashes: the script does not bite");
}

#[test]
fn inv_06_a_kill_at_every_second_ends_the_same() {
    for second in 0..420u64 {
        paused(async {
            let mut sim = Sim::new(Case::default());
            let fleet = sim.until_rest(Cut::After(Duration::from_millis(second * 1000 + 137))).await;
            let name = format!("kill after {second} s");
            sim.assert_invariants(&fleet, &name).await;
            // The quiet period is longer than this BMC's lag: nothing needs a person.
            assert!(fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)), "{name}: {:?}", fleet.nodes);
        });
    }
}

#[test]
fn random_faults_and_deaths_break_no_invariant() {
    let seeds: u64 = std::env::var("PITSTOP_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1500);
    let only: Option<u64> = std::env::var("PITSTOP_SIM_SEED").ok().and_then(|s| s.parse().ok());
    let (mut done, mut other) = (0, 0);
    for seed in only.map_or(0..seeds, |s| s..s + 1) {
        paused(async {
            let mut dice = Dice(seed ^ 0xfeed);
            let temper = Temper {
                faulty: 3 + dice.roll(20),
                looks: dice.roll(3) == 0,
                lag: Duration::from_secs(dice.roll(50)),
                ignores: if dice.roll(6) == 0 { vec![ResetType::GracefulRestart] } else { vec![] },
                never_boots: dice.roll(12) == 0,
                stuck: dice.roll(12) == 0,
                sick: dice.roll(12) == 0,
                mends: seed % 2 == 0,
                cordoned_before: dice.roll(6) == 0,
                boots_twice: dice.roll(16) == 0,
                miswired: dice.roll(20) == 0,
                other_system: dice.roll(16) == 0,
                ..Temper::default()
            };
            let how = ["graceful", "force", "power-cycle"][dice.roll(3) as usize];
            let case = Case { nodes: 3 + dice.roll(2) as usize, max_unavailable: 1 + dice.roll(2) as u32, how, temper, seed, ..Case::default() };
            let mut sim = Sim::new(case);
            for _ in 0..dice.roll(6) {
                sim.world.store.crash_at(1 + dice.roll(60), dice.roll(2) == 0);
            }
            let cut = if dice.roll(2) == 0 { Cut::After(Duration::from_secs(dice.roll(600))) } else { Cut::Never };
            let fleet = sim.until_rest(cut).await;
            sim.assert_invariants(&fleet, &format!("seed {seed}")).await;
            done += fleet.nodes.values().filter(|n| n.phase == Phase::Ended(End::Done)).count();
            other += fleet.nodes.values().filter(|n| n.phase != Phase::Ended(End::Done)).count();
        });
    }
    eprintln!("{done} nodes done, {other} held, returned, refused or waiting");
    assert!(only.is_some() || (done > other / 4 && other > 0), "the faults are too many or too few: {done} done, {other} not");
}

#[test]
fn a_stop_takes_nodes_in_work_through_and_admits_no_more() {
    paused(async {
        let mut sim = Sim::new(Case { nodes: 4, max_unavailable: 1, ..Case::default() });
        let (ask, requests) = mpsc::channel(4);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            ask.send(Event::StopRequested { how: Stop::Drain, by: "test".into() }).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3600)).await;
        });
        let fleet = sim.process(Cut::Never, requests).await.unwrap().unwrap();
        sim.assert_invariants(&fleet, "drain").await;
        assert_eq!(fleet.nodes.values().filter(|n| n.phase == Phase::Ended(End::Done)).count(), 1);
        assert!(!fleet.finished, "a resume takes up the rest");
        sim.world.store.restart();
        let fleet = sim.until_rest(Cut::Never).await;
        assert!(fleet.finished && fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)));
        sim.assert_invariants(&fleet, "drain, resumed").await;
    });
}

#[test]
fn a_stop_that_settles_leaves_nodes_for_the_resume() {
    for second in [3, 20, 60, 140, 200] {
        paused(async {
            let mut sim = Sim::new(Case { nodes: 3, ..Case::default() });
            let (ask, requests) = mpsc::channel(4);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(second)).await;
                ask.send(Event::StopRequested { how: Stop::Settle, by: "test".into() }).await.unwrap();
                tokio::time::sleep(Duration::from_secs(3600)).await;
            });
            let fleet = sim.process(Cut::Never, requests).await.unwrap().unwrap();
            assert!(!fleet.finished && fleet.halted.is_some());
            sim.world.store.restart();
            let fleet = sim.until_rest(Cut::Never).await;
            assert!(fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)), "{second}");
            sim.assert_invariants(&fleet, "settle, resumed").await;
        });
    }
}

#[test]
fn give_back_returns_what_is_not_yet_reset() {
    paused(async {
        let temper = Temper { stuck: true, ..Temper::default() };
        let mut sim = Sim::new(Case { nodes: 2, temper, ..Case::default() });
        let (ask, requests) = mpsc::channel(4);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(120)).await;
            ask.send(Event::StopRequested { how: Stop::GiveBack, by: "test".into() }).await.unwrap();
            tokio::time::sleep(Duration::from_secs(36_000)).await;
        });
        let fleet = sim.process(Cut::Never, requests).await.unwrap().unwrap();
        sim.assert_invariants(&fleet, "give back").await;
        assert_eq!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Returned));
    });
}

fn left_cordoned() -> Loan {
    Loan { id: LoanId("sim/cordon".into()), to: "sim".into(), owed: "uncordon n1".into(), before: json!({ "unschedulable": false }), first: false }
}

#[test]
fn inv_07_what_an_earlier_run_left_out_is_never_turned_back_unverified() {
    paused(async {
        // Out with a loan, and its BMC is another's: preflight refuses it.
        let temper = Temper { miswired: true, cordoned_before: true, ..Temper::default() };
        let mut sim = Sim::new(Case { temper, inherits: vec![left_cordoned()], ..Case::default() });
        let n1 = NodeName("n1".into());
        let held = |fleet: &Fleet| {
            let node = &fleet.nodes[&n1];
            assert!(matches!(node.phase, Phase::Held { step: 0, .. }), "{node:?}");
            assert_eq!(node.past.loans, [left_cordoned()], "it keeps what it owes");
            assert!(node.past.acts.is_empty() && node.turned_back.is_none());
        };
        let fleet = sim.until_rest(Cut::Never).await;
        held(&fleet);
        sim.assert_invariants(&fleet, "inherited").await;
        sim.world.store.restart();
        // Nor by a person: only verify leads back.
        held(&sim.release_all(Decision::Return).await);
        assert!(sim.world.machines.lock().unwrap()["n1"].cordoned);
        sim.world.store.restart();
        let fleet = sim.release_all(Decision::KeepOut).await;
        assert_eq!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Out));
        assert_eq!(fleet.nodes[&n1].past.loans, [left_cordoned()]);
    });
}

#[test]
fn inv_07_what_an_earlier_run_left_out_goes_through_and_is_given_back() {
    let temper = Temper { cordoned_before: true, ..Temper::default() };
    paused(async {
        let mut sim = Sim::new(Case { temper, inherits: vec![left_cordoned()], ..Case::default() });
        let fleet = sim.until_rest(Cut::Never).await;
        let node = &fleet.nodes[&NodeName("n1".into())];
        assert_eq!((&node.phase, node.past.loans.as_slice()), (&Phase::Ended(End::Done), &[][..]));
        let machines = sim.world.machines.lock().unwrap();
        assert!(!machines["n1"].cordoned && machines["n1"].boots == 1, "given back as the first run found it");
    });
}

/// Admissions and losses of sight, by second of the run.
async fn admissions(sim: &Sim) -> (Vec<u64>, Vec<String>) {
    let records = sim.world.store.load(&sim.world.run, 0).await.unwrap();
    let second = |r: &pitstop::event::Record| since(records[0].at, r.at).as_secs();
    let admitted = records.iter().filter(|r| matches!(r.event, Event::NodeAdmitted { .. })).map(second).collect();
    let lost = |e: &Event| if let Event::SightLost { why } = e { Some(why.to_string()) } else { None };
    (admitted, records.iter().filter_map(|r| lost(&r.event)).collect())
}

#[test]
fn inv_06_with_only_the_reserve_left_nothing_new_begins() {
    for short_from in [0, 5, 100] {
        paused(async {
            let mut sim = Sim::new(Case { nodes: 3, max_unavailable: 1, ..Case::default() });
            let store = sim.world.store.clone();
            if short_from == 0 {
                store.set_short_of_room(Some("the disk is full"));
            }
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(short_from)).await;
                store.set_short_of_room(Some("the disk is full"));
                tokio::time::sleep(Duration::from_secs(5000 - short_from)).await;
                store.set_short_of_room(None);
            });
            let fleet = sim.until_rest(Cut::Never).await;
            sim.assert_invariants(&fleet, "short of room").await;
            assert!(fleet.finished && fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)), "what is in work goes on, the rest later");
            let (admitted, lost) = admissions(&sim).await;
            assert_eq!(admitted.len(), 3);
            assert!(admitted.iter().all(|at| *at <= short_from || *at >= 5000), "admitted at {admitted:?}, short of room from {short_from} s");
            // Said once: a full disk is not filled by saying so.
            assert!(lost.len() == 1 && lost[0].contains("the disk is full"), "{lost:?}");
        });
    }
}
