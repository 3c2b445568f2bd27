//! The moment of power: whatever earlier steps have proven, the reset judges again, and sends nothing to a machine that is not empty or not ours.
use super::*;
use pitstop::{
    guards::{self, readings},
    kinds,
    steps::{self, Next},
};

/// What the reset step wants to do to `n1`, as it stands now.
async fn reset_looks(sim: &Sim) -> Next {
    let body = json!({ "how": "force", "graceful": "3m", "quiet": "60s" });
    let step = kinds::make(steps::KINDS, &Setting { kind: "reset".into(), body }).unwrap();
    step.look(&sim.cx(&NodeName("n1".into())), &Past::default(), sim.clock.now()).await.unwrap()
}

fn emptied(sim: &Sim) {
    let mut machines = sim.world.machines.lock().unwrap();
    let n1 = machines.get_mut("n1").unwrap();
    n1.cordoned = true;
    n1.pods.clear();
}

#[test]
fn inv_02_an_empty_machine_that_is_ours_is_reset() {
    paused(async {
        let sim = Sim::new(Case::default());
        emptied(&sim);
        let next = reset_looks(&sim).await;
        assert!(matches!(&next, Next::Act(acts) if acts[0].0.args["verb"] == "ForceRestart"), "{next:?}");
    });
}

#[test]
fn inv_02_a_pod_that_came_after_the_evacuation_keeps_the_power_on() {
    paused(async {
        let sim = Sim::new(Case::default());
        emptied(&sim);
        sim.world.machines.lock().unwrap().get_mut("n1").unwrap().pods.push("shop/late".into());
        let Next::Hold(fault) = reset_looks(&sim).await else { panic!("power goes over a pod") };
        assert!(fault.what.contains("n1 is not empty: pod shop/late"), "{fault}");
    });
}

#[test]
fn inv_02_a_node_that_takes_work_again_keeps_the_power_on() {
    paused(async {
        let sim = Sim::new(Case::default());
        emptied(&sim);
        sim.world.machines.lock().unwrap().get_mut("n1").unwrap().cordoned = false;
        let Next::Hold(fault) = reset_looks(&sim).await else { panic!("power goes while pods may land") };
        assert!(fault.what.contains("takes new work"), "{fault}");
    });
}

#[test]
fn inv_02_a_container_that_no_cluster_knows_keeps_the_power_on() {
    paused(async {
        let sim = Sim::new(Case { temper: Temper { stray: true, ..Temper::default() }, ..Case::default() });
        emptied(&sim);
        let Next::Hold(fault) = reset_looks(&sim).await else { panic!("power goes over a container") };
        assert!(fault.what.contains("n1: the host still runs container postgres"), "{fault}");
    });
}

#[test]
fn inv_01_a_bmc_that_was_rewired_since_preflight_gets_no_verb() {
    paused(async {
        let sim = Sim::new(Case { temper: Temper { miswired: true, ..Temper::default() }, ..Case::default() });
        emptied(&sim);
        let Next::Hold(fault) = reset_looks(&sim).await else { panic!("a verb for another machine") };
        assert!(fault.what.starts_with("n1: "), "{fault}");
    });
}

async fn read(sim: &Sim) -> guards::Readings {
    let cx = sim.cx(&NodeName("n1".into()));
    let clusters = cx.seats.iter().map(|s| (s.cluster.clone(), s.node.clone(), s.driver.clone())).collect();
    let from = readings::Witnesses { bmc: cx.bmc.as_ref(), clusters, host: cx.host.as_deref(), net: cx.net.as_ref() };
    let seen = readings::read(&from, &cx.ask, &cx.pins, None).await;
    let moment = guards::moment::read(&from, &cx.node, &seen).await;
    guards::Readings { moment: Some(moment), ..seen }
}

#[test]
fn a_permit_is_for_one_verb_of_one_node_once_and_soon() {
    paused(async {
        let sim = Sim::new(Case::default());
        emptied(&sim);
        let (n1, n2) = (NodeName("n1".into()), NodeName("n2".into()));
        let seen = read(&sim).await;
        let permit = || guards::permit(&n1, ResetType::ForceRestart, &seen).unwrap();

        assert!(permit().spend(Some(&n2), ResetType::ForceRestart).is_err(), "another node");
        assert!(permit().spend(Some(&n1), ResetType::ForceOff).is_err(), "another verb");
        let mut once = permit();
        assert!(once.spend(Some(&n1), ResetType::ForceRestart).is_ok());
        assert!(once.spend(Some(&n1), ResetType::ForceRestart).is_err(), "twice");
        let mut kept = permit();
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(kept.spend(Some(&n1), ResetType::ForceRestart).is_err(), "made in time, spent too late");
        assert!(guards::permit(&n1, ResetType::ForceRestart, &seen).is_err(), "from readings of 31 s ago");
    });
}

/// As a dead node looks: its host is silent, its cluster calls it not ready, its BMC answers.
async fn dead(sim: &Sim) -> guards::Readings {
    let mut seen = read(sim).await;
    seen.host = Some(Err(Fault::new(FaultKind::Unreachable, "n1: no answer")));
    for (_, view) in &mut seen.clusters {
        view.as_mut().unwrap().ready = false;
    }
    seen
}

#[test]
fn a_dead_node_is_cut_off_and_a_living_one_is_not() {
    paused(async {
        let sim = Sim::new(Case::default());
        let n1 = NodeName("n1".into());
        guards::fencing(&n1, &dead(&sim).await).unwrap();
        let ready = guards::Readings { clusters: read(&sim).await.clusters, ..dead(&sim).await };
        assert!(guards::fencing(&n1, &ready).unwrap_err().what.contains("calls it ready"));
        let answers = guards::Readings { host: read(&sim).await.host, ..dead(&sim).await };
        assert!(guards::fencing(&n1, &answers).unwrap_err().what.contains("its host answers"));
    });
}

#[test]
fn inv_13_not_even_a_dead_node_is_cut_off_in_the_middle_of_an_update() {
    paused(async {
        let sim = Sim::new(Case::default());
        let n1 = NodeName("n1".into());
        let task = LiveTask { id: "/tasks/7".into(), name: "BIOS update".into(), state: "Running".into(), percent: Some(40), waits_for_reset: false };
        let live = guards::Readings { tasks: Ok(vec![task]), ..dead(&sim).await };
        let fault = guards::fencing(&n1, &live).unwrap_err();
        assert!(fault.to_string().contains("BIOS update"), "{fault}");
        let unread = guards::Readings { tasks: Err(Fault::new(FaultKind::Unreachable, "the BMC is silent")), ..dead(&sim).await };
        assert!(guards::fencing(&n1, &unread).is_err(), "not read is not none");
    });
}

/// What enable wants to do with `n1`, rebooted a moment ago and still borrowed.
async fn enable_looks(sim: &Sim) -> Result<Next, Fault> {
    let step = kinds::make(steps::KINDS, &Setting { kind: "enable".into(), body: json!({}) }).unwrap();
    let mut act = Act::new("bmc", "reset ForceRestart", Repeat::Never);
    act.power = true;
    let reset = Done { step: 2, attempt: 0, act, before: Value::Null, at: sim.clock.now(), answer: Some(Answer::Accepted) };
    let past = Past { acts: vec![reset], loans: vec![left_cordoned()], ..Past::default() };
    step.look(&sim.cx(&NodeName("n1".into())), &past, sim.clock.now()).await
}

#[test]
fn inv_04_work_that_was_placed_on_a_node_before_it_was_enabled_is_a_hold() {
    paused(async {
        let sim = Sim::new(Case::default());
        emptied(&sim);
        let Ok(Next::Act(acts)) = enable_looks(&sim).await else { panic!("an empty node is given back") };
        assert_eq!(acts[0].0.returns, Some(LoanId("sim/cordon".into())));
        sim.world.machines.lock().unwrap().get_mut("n1").unwrap().pods.push("shop/late".into());
        let Ok(Next::Hold(fault)) = enable_looks(&sim).await else { panic!("nobody knows who put it there") };
        assert!(fault.what.contains("shop/late runs on n1 before it was enabled"), "{fault}");
    });
}

#[test]
fn inv_01_a_machine_that_was_swapped_after_its_reset_is_not_enabled() {
    paused(async {
        let sim = Sim::new(Case { temper: Temper { miswired: true, ..Temper::default() }, ..Case::default() });
        emptied(&sim);
        assert!(enable_looks(&sim).await.is_err());
    });
}
