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

/// The plan was made before it was sealed, or before anybody could read that it is.
#[test]
fn inv_16_a_root_disk_found_sealed_before_the_first_update_is_a_hold() {
    let temper = Temper { root_opens_by: vec![Key::Tpm], ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { firmware: Some("on-reset"), temper, ..Case::default() }, "sealed");
    let machines = sim.world.machines.lock().unwrap();
    assert_eq!((sim.end_of(&fleet, "n1"), machines["n1"].updates, machines["n1"].verbs.len()), (Phase::Ended(End::Returned), 0, 0), "given back untouched");
    assert_eq!((sim.end_of(&fleet, "n0"), machines["n0"].updates), (Phase::Ended(End::Done), 1));
}

/// A passphrase that nobody would type, found at the moment of power.
#[test]
fn inv_16_a_root_disk_that_asks_for_a_passphrase_gets_no_verb() {
    let temper = Temper { root_opens_by: vec![Key::Passphrase], ..Temper::default() };
    let (sim, fleet) = run_quietly(Case { temper, ..Case::default() }, "passphrase");
    assert!(sim.world.machines.lock().unwrap()["n1"].verbs.is_empty(), "{:?}", sim.end_of(&fleet, "n1"));
    assert_ne!(sim.end_of(&fleet, "n1"), Phase::Ended(End::Done));
}

#[test]
fn firmware_is_installed_and_read_back() {
    for apply in ["on-reset", "immediate"] {
        for how in ["graceful", "force", "power-cycle"] {
            let (sim, fleet) = run_quietly(Case { how, firmware: Some(apply), ..Case::default() }, how);
            assert!(fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)), "{apply} {how}: {:?}", fleet.nodes);
            assert!(sim.world.machines.lock().unwrap().values().all(|m| m.version == "2.0" && m.updates == 1));
        }
    }
}

/// Issue 13, must-show 3. `PITSTOP_SIM_SEED=N` repeats one.
#[test]
fn inv_13_no_verb_while_firmware_is_written_whatever_fails() {
    let only: Option<u64> = std::env::var("PITSTOP_SIM_SEED").ok().and_then(|s| s.parse().ok());
    let (mut written, mut done) = (0, 0);
    for seed in only.map_or(0..1000, |s| s..s + 1) {
        paused(async {
            let mut dice = Dice(seed ^ 0xf1a5);
            let temper = Temper {
                foreign_update: (seed % 4 == 0).then(|| (1 + dice.roll(4), 60 + dice.roll(1800))),
                faulty: 4 + dice.roll(30),
                looks: dice.roll(2) == 0,
                lag: Duration::from_secs(dice.roll(40)),
                ..Temper::default()
            };
            let firmware = [Some("on-reset"), Some("immediate"), Some("on-reset"), None][dice.roll(4) as usize];
            let how = ["graceful", "force", "power-cycle"][(seed % 3) as usize];
            let mut sim = Sim::new(Case { nodes: 2, temper, seed, how, firmware, ..Case::default() });
            for _ in 0..dice.roll(4) {
                sim.world.store.crash_at(1 + dice.roll(60), dice.roll(2) == 0);
            }
            let cut = if dice.roll(2) == 0 { Cut::After(Duration::from_secs(dice.roll(900))) } else { Cut::Never };
            let fleet = sim.until_rest(cut).await;
            sim.assert_invariants(&fleet, &format!("flash, seed {seed}")).await;
            let machines = sim.world.machines.lock().unwrap();
            written += machines.values().filter(|m| m.version == "2.0").count();
            done += fleet.nodes.values().filter(|n| n.phase == Phase::Ended(End::Done)).count();
        });
    }
    eprintln!("{written} machines were written to, {done} nodes done");
    assert!(only.is_some() || (written > 300 && done > 300), "too little happens: {written} written, {done} done");
}
