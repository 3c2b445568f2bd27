//! 13, never into a flash: whatever fails, crashes or is killed, no verb arrives while firmware is written.
use super::*;

#[test]
fn inv_13_a_foreign_update_is_refused_before_anything_is_touched() {
    let temper = Temper { foreign_update: Some((0, 100_000)), ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "foreign update");
    let Phase::Skipped(Skip::Refused { fault }) = sim.end_of(&fleet, "n1") else { panic!("{:?}", sim.end_of(&fleet, "n1")) };
    assert!(fault.what.contains("flash: task `Update` of the BMC of n1") && fault.next.is_some(), "{fault}");
    assert_eq!(sim.end_of(&fleet, "n0"), Phase::Ended(End::Done));
}

#[test]
fn inv_13_an_update_that_begins_meanwhile_is_waited_for_then_held_and_never_reset() {
    for (until, ends) in [(600, true), (1500, true), (3000, false)] {
        let temper = Temper { foreign_update: Some((3, until)), ..Temper::default() };
        let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "meanwhile");
        let end = sim.end_of(&fleet, "n1");
        match (ends, &end) {
            (true, Phase::Ended(End::Done)) => {}
            // Not yet reset: what was borrowed is given back.
            (false, Phase::Ended(End::Returned)) => assert!(sim.world.machines.lock().unwrap()["n1"].verbs.is_empty()),
            _ => panic!("until {until}: {end:?}"),
        }
    }
}

#[test]
fn inv_13_no_verb_while_a_foreign_update_is_live_whatever_fails() {
    for seed in 0..300 {
        paused(async {
            let mut dice = Dice(seed ^ 0xf1a5);
            let temper = Temper {
                foreign_update: Some((1 + dice.roll(4), 60 + dice.roll(1800))),
                faulty: 4 + dice.roll(30),
                looks: dice.roll(2) == 0,
                ..Temper::default()
            };
            let mut sim = Sim::new(Case { temper, seed, how: ["graceful", "force", "power-cycle"][(seed % 3) as usize], ..Case::default() });
            for _ in 0..dice.roll(4) {
                sim.world.store.crash_at(1 + dice.roll(60), dice.roll(2) == 0);
            }
            let cut = if dice.roll(2) == 0 { Cut::After(Duration::from_secs(dice.roll(600))) } else { Cut::Never };
            let fleet = sim.until_rest(cut).await;
            sim.assert_invariants(&fleet, &format!("flash, seed {seed}")).await;
        });
    }
}
