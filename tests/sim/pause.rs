//! The step `pause`: off, lit, and waiting for a person, over days, every crash and faults.
use super::*;

fn case(nodes: usize) -> Case {
    Case { pause: true, nodes, ..Case::default() }
}
fn done(fleet: &Fleet) -> bool {
    fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done))
}
/// Whoever comes to a paused node finds it off, lit and out of service, and On is owed for it.
fn ready_for_hands(sim: &Sim, fleet: &Fleet, case: &str) -> usize {
    let machines = sim.world.machines.lock().unwrap();
    let paused: Vec<_> = fleet.nodes.iter().filter(|(_, n)| n.paused()).collect();
    for (name, node) in &paused {
        let m = &machines[&name.0];
        assert!(m.off() && m.cordoned && m.pods.is_empty() && m.lost == 0, "{case}: {name} is no place for hands: {m:?}");
        let owed: Vec<&str> = node.past.loans.iter().map(|l| l.owed.as_str()).collect();
        assert!(owed.contains(&"power On"), "{case}: {name} owes {owed:?}");
        let Phase::Held { fault, .. } = &node.phase else { unreachable!() };
        assert_eq!(fault.to_string().contains("its locating light is on"), m.light, "{case}: {fault}");
        assert!(fault.to_string().contains("replace DIMM A3"), "{case}: {fault}");
    }
    assert!(!fleet.failed().iter().any(|n| fleet.nodes[n].paused()), "{case}: a pause is no failure");
    paused.len()
}
/// Three days between any two visits, until nothing is left.
async fn visited(sim: &mut Sim, first_cut: Cut, case: &str) -> (Fleet, usize) {
    let mut fleet = sim.until_rest(first_cut).await;
    let mut pauses = 0;
    for _ in 0..12 {
        sim.assert_invariants(&fleet, case).await;
        pauses += ready_for_hands(sim, &fleet, case);
        if fleet.finished {
            return (fleet, pauses);
        }
        tokio::time::sleep(Duration::from_secs(3 * 86_400)).await;
        fleet = sim.release_all(Decision::Retry).await;
    }
    panic!("{case}: never finished: {:?}", fleet.nodes);
}

#[test]
fn one_node_after_another_waits_for_hands() {
    paused(async {
        // The failure budget is 0: a pause takes none of it.
        let mut sim = Sim::new(Case { max_unavailable: 1, failure_budget: 0, ..case(3) });
        let (fleet, pauses) = visited(&mut sim, Cut::Never, "quiet").await;
        assert!(done(&fleet) && pauses == 3, "{pauses}: {:?}", fleet.nodes);
        for m in sim.world.machines.lock().unwrap().values() {
            assert_eq!(m.verbs, [ResetType::GracefulShutdown, ResetType::On]);
            assert!(!m.light, "put out when the work is done");
        }
    });
}

#[test]
fn what_ignores_the_graceful_verb_is_forced_by_the_ladder() {
    paused(async {
        let temper = Temper { ignores: vec![ResetType::GracefulShutdown], ..Temper::default() };
        let mut sim = Sim::new(Case { temper, ..case(2) });
        let (fleet, _) = visited(&mut sim, Cut::Never, "deaf").await;
        assert!(done(&fleet));
        assert_eq!(sim.world.machines.lock().unwrap()["n1"].verbs, [ResetType::GracefulShutdown, ResetType::ForceOff, ResetType::On]);
    });
}

#[test]
fn a_bmc_that_lies_is_held_and_never_called_ready_for_hands() {
    paused(async {
        let temper = Temper { ignores: ResetType::ALL.to_vec(), ..Temper::default() };
        let mut sim = Sim::new(Case { temper, max_unavailable: 3, ..case(3) });
        let fleet = sim.until_rest(Cut::Never).await;
        assert_eq!(ready_for_hands(&sim, &fleet, "lies"), 2);
        let node = &fleet.nodes[&NodeName("n1".into())];
        assert!(matches!(node.phase, Phase::Held { step: 2, .. }) && !node.paused(), "{node:?}");
    });
}

/// It stays out with what it owes, or goes on at verify, which switches it on itself.
#[test]
fn a_person_may_decide_otherwise() {
    paused(async {
        let mut sim = Sim::new(case(1));
        assert_eq!(sim.until_rest(Cut::Never).await.nodes.values().filter(|n| n.paused()).count(), 1);
        let fleet = sim.release_all(Decision::Verify).await;
        assert!(done(&fleet), "{:?}", fleet.nodes);
        assert!(!sim.world.machines.lock().unwrap()["n0"].light);
        let mut sim = Sim::new(case(1));
        sim.until_rest(Cut::Never).await;
        // Its power was touched: return is refused, and dropped by the engine.
        let fleet = sim.release_all(Decision::Return).await;
        assert!(fleet.nodes.values().all(|n| n.paused()), "{:?}", fleet.nodes);
    });
}

#[test]
fn inv_06_a_pause_survives_a_crash_around_every_append() {
    let mut cases = 0;
    for n in 1.. {
        let mut died = false;
        for after in [false, true] {
            paused(async {
                let mut sim = Sim::new(case(1));
                sim.world.store.crash_at(n, after);
                let name = format!("pause, crash at append {n}, after: {after}");
                let (fleet, _) = visited(&mut sim, Cut::Never, &name).await;
                // Without a death: one process that pauses, one that is released.
                died |= sim.processes > 2;
                assert!(done(&fleet), "{name}: {:?}", fleet.nodes);
                assert!(sim.world.machines.lock().unwrap().values().all(|m| !m.light && m.boots == 1), "{name}");
                cases += 1;
            });
        }
        if !died {
            break;
        }
    }
    assert!(cases > 50, "only {cases} crashes: the script does not bite");
}

#[test]
fn whatever_fails_a_pause_ends_in_service_or_with_a_reason() {
    let mut ended = 0;
    for seed in 0..60 {
        paused(async {
            let mut dice = Dice(seed ^ 0x0ff);
            let temper = Temper { faulty: 4 + dice.roll(30), looks: dice.roll(2) == 0, lag: Duration::from_secs(dice.roll(40)), ..Temper::default() };
            let mut sim = Sim::new(Case { temper, seed, ..case(2) });
            for _ in 0..dice.roll(3) {
                sim.world.store.crash_at(1 + dice.roll(60), dice.roll(2) == 0);
            }
            let name = format!("pause, seed {seed}");
            let mut fleet = sim.until_rest(Cut::After(Duration::from_secs(dice.roll(600)))).await;
            for _ in 0..4 {
                sim.assert_invariants(&fleet, &name).await;
                ready_for_hands(&sim, &fleet, &name);
                if fleet.finished {
                    break;
                }
                fleet = sim.release_all(Decision::Retry).await;
            }
            ended += fleet.nodes.values().filter(|n| n.phase == Phase::Ended(End::Done)).count();
        });
    }
    assert!(ended > 30, "too little happens: {ended} of 120 done");
}
