//! Our own sight is lost in the middle of a run: a password that BMCs refuse. The run pauses; a resume with the right one goes on.
use super::*;

fn records(sim: &Sim) -> impl Future<Output = Vec<pitstop::event::Record>> {
    let (store, run) = (sim.world.store.clone(), sim.world.run.clone());
    async move { store.load(&run, 0).await.unwrap() }
}

#[test]
fn inv_08_a_lost_credential_pauses_the_run_and_no_node_fails_for_it() {
    // At every moment of the run, the few seconds around its verbs included.
    for at in (0..420).step_by(7) {
        paused(async {
            let mut sim = Sim::new(Case { nodes: 3, max_unavailable: 2, failure_budget: 0, ..Case::default() });
            *sim.world.password_lost.lock().unwrap() = Some(Instant::now() + Duration::from_secs(at));
            let fleet = sim.until_rest(Cut::Never).await;
            let done = fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done));
            let verbs = |sim: &Sim| sim.world.machines.lock().unwrap().values().map(|m| m.verbs.len()).sum::<usize>();
            let sent = verbs(&sim);
            if !done {
                assert!(!fleet.finished && fleet.failed().is_empty(), "{at} s: {:?}", fleet.nodes);
                let held = fleet.nodes.values().any(|n| matches!(n.phase, Phase::Held { .. } | Phase::Skipped(_)));
                assert!(!held, "{at} s: {:?}", fleet.nodes);
                let told = records(&sim).await;
                let said = told.iter().position(|r| matches!(&r.event, Event::SightLost { why } if why.to_string().contains("/bmc")));
                let said = said.unwrap_or_else(|| panic!("{at} s: the reason is not named"));
                let acts = told[said..].iter().filter(|r| matches!(r.event, Event::ActIntended { .. } | Event::NodeAdmitted { .. })).count();
                assert_eq!(acts, 0, "{at} s: no new acts");
                assert!(matches!(told.last().unwrap().event, Event::RunHalted { why: pitstop::event::Halt::SightLost { .. } }), "{at} s");
            }
            // Hours later, with the right password.
            tokio::time::sleep(Duration::from_secs(7200)).await;
            *sim.world.password_lost.lock().unwrap() = None;
            let fleet = sim.until_rest(Cut::Never).await;
            assert!(fleet.finished && fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)), "{at} s, {sent} verbs sent: {:?}", fleet.nodes);
            sim.assert_invariants(&fleet, &format!("lost at {at} s")).await;
        });
    }
}
