//! The planner over surveys of a fleet that is healthy, and of one that is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
mod fleet;
mod screens;

use fleet::{Fleet, edge, fleet, identity, name, seen, uuid, way};
use pitstop::{
    model::*,
    plan::{ClusterInput, History, Input, Limits, OnFailure, Plan, PlannedSeat, PlaybookInput, drift, make},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn plan(fleet: &Fleet) -> Plan {
    let mut plans = make(&fleet.input()).unwrap();
    assert_eq!(plans.len(), 1);
    plans.remove(0)
}
fn planned(plan: &Plan) -> Vec<String> {
    let mut order: Vec<_> = plan.nodes.iter().map(|(name, node)| (node.wave, name.0.clone())).collect();
    order.sort();
    order.into_iter().map(|(_, name)| name).collect()
}
fn refused(plan: &Plan, n: usize) -> &Fault {
    match &plan.skipped[&name(n)] {
        Skip::Refused { fault } => fault,
        other => panic!("{other:?}"),
    }
}
/// Refused with this in its words, and not planned.
fn says(fleet: &Fleet, n: usize, words: &str) -> Fault {
    let plan = plan(fleet);
    assert!(!plan.nodes.contains_key(&name(n)));
    let fault = refused(&plan, n).clone();
    assert!(fault.to_string().contains(words), "{fault}");
    assert!(fault.next.is_some(), "no next command: {fault}");
    fault
}

#[test]
fn a_healthy_fleet_is_planned_whole_and_its_bytes_are_stable() {
    let fleet = fleet(4);
    let plan = plan(&fleet);
    assert_eq!(planned(&plan), ["edge-01", "edge-02", "edge-03", "edge-04"]);
    assert!(plan.skipped.is_empty());
    let kinds: Vec<&str> = plan.steps.iter().map(|s| s.step.kind.as_str()).collect();
    assert_eq!(kinds, ["preflight", "evacuate", "reset", "verify", "enable", "settle", "enable"]);
    assert_eq!((plan.forward, plan.verify_at), (6, Some(3)));
    let on_failure: Vec<bool> = plan.steps.iter().map(|s| s.on_failure == OnFailure::Return).collect();
    assert_eq!(on_failure, [true, true, false, false, false, false, false]);
    let node = &plan.nodes[&name(2)];
    assert_eq!(node.expect.chain.as_deref(), Some("cluster = host = BMC (uuid)"));
    assert_eq!((node.expect.evidence.as_str(), node.bmc_host.as_str(), node.expect.load.as_slice()), ("boot id", "192.0.2.2", &["2 pods".to_string()][..]));
    let bytes = serde_json::to_vec(&plan).unwrap();
    assert_eq!(bytes, serde_json::to_vec(&make(&fleet.input()).unwrap()[0]).unwrap());
    assert_eq!(serde_json::from_slice::<Plan>(&bytes).unwrap(), plan);
}

#[test]
fn swapped_bmcs_refuse_both_nodes_and_name_the_other() {
    let mut fleet = fleet(4);
    (fleet.bmc(2).identity, fleet.bmc(3).identity) = (identity(3), identity(2));
    let fault = says(&fleet, 2, "identity: the BMC at 192.0.2.2 belongs to edge-03");
    assert_eq!(fault.causes, [format!("cluster and host say {}, the BMC says {}; swapped cables or rows?", uuid(2), uuid(3))]);
    assert!(fault.next.as_ref().is_some_and(|next| next.ends_with("pitstop check edge-02 edge-03")), "{fault:?}");
    says(&fleet, 3, "identity: the BMC at 192.0.2.3 belongs to edge-02");
    assert_eq!(planned(&plan(&fleet)), ["edge-01", "edge-04"]);
}

#[test]
fn a_shifted_row_is_refused_although_host_and_bmc_agree() {
    let mut fleet = fleet(5);
    for (n, really) in [(2, 3), (3, 4), (4, 2)] {
        fleet.bmc(n).identity = identity(really);
        *fleet.host(n) = seen(really).host.unwrap().unwrap();
    }
    says(&fleet, 2, "identity: the host and the BMC at 192.0.2.2 belong to edge-03");
    says(&fleet, 3, "belong to edge-04");
    says(&fleet, 4, "belong to edge-02");
    assert_eq!(planned(&plan(&fleet)), ["edge-01", "edge-05"]);
}

#[test]
fn a_machine_of_a_node_that_was_not_selected_is_found_in_the_clusters_own_list() {
    let mut fleet = fleet(3);
    fleet.nodes.remove(&name(3));
    fleet.survey.nodes.remove(&name(3));
    fleet.bmc(2).identity = identity(3);
    says(&fleet, 2, "belongs to edge-03");
}

#[test]
fn two_bmcs_that_say_one_identity_refuse_both_nodes() {
    let mut fleet = fleet(3);
    fleet.bmc(2).identity = identity(3);
    says(&fleet, 2, "the BMCs of edge-02 and edge-03 say that they are one machine");
    says(&fleet, 3, "the BMCs of edge-03 and edge-02 say that they are one machine");
    assert_eq!(planned(&plan(&fleet)), ["edge-01"]);
}

#[test]
fn values_that_two_machines_share_prove_nothing_unless_pinned() {
    let mut fleet = fleet(3);
    let cloned = Identity { serial: Some("CLONE01".into()), ..Identity::default() };
    for n in [1, 2] {
        fleet.view(n).identity = cloned.clone();
        fleet.host(n).identity = cloned.clone();
        fleet.bmc(n).identity = cloned.clone();
    }
    let fault = says(&fleet, 1, "not proven");
    assert_eq!(fault.kind, FaultKind::Unable);
    assert!(fault.to_string().contains("which other nodes say too"), "{fault}");
    // By name a person may say who it is, and plan repeats what was not proven; nobody may say so of a contradiction.
    fleet.node(1).relaxed.insert(Relax::Identity);
    let relaxed = plan(&fleet);
    assert_eq!(relaxed.nodes[&name(1)].expect.chain.as_deref().map(|c| c.starts_with("relaxed by name")), Some(true));
    assert!(relaxed.notes.iter().any(|n| n.text.contains("relaxed by name (identity)")), "{:?}", relaxed.notes);
    fleet.view(1).identity = identity(1);
    fleet.host(1).identity = identity(9);
    assert_eq!(refused(&plan(&fleet), 1).kind, FaultKind::Unwilling);
    fleet.view(1).identity = cloned.clone();
    fleet.node(1).relaxed.clear();
    // A pin needs something to agree with.
    fleet.host(1).identity = identity(1);
    fleet.node(1).trust.identity = Some(identity(1));
    let plan = plan(&fleet);
    assert_eq!(plan.nodes[&name(1)].expect.chain.as_deref(), Some("cluster = host = BMC = trust.toml (pinned + uuid)"));
    assert_eq!(plan.nodes[&name(1)].shared, ["clone01"]);
}

#[test]
fn a_silent_bmc_is_refused_and_a_second_way_that_fails_is_a_note() {
    let mut fleet = fleet(2);
    let silent = Fault::new(FaultKind::Unreachable, "no answer within 10 s");
    fleet.seen(2).bmc[0].seen = Err(silent.clone());
    assert_eq!(says(&fleet, 2, "BMC: no way in works: Redfish at https://192.0.2.2: no answer within 10 s").kind, FaultKind::Unreachable);
    let ipmi = WaySeen { protocol: "ipmi".into(), endpoint: "192.0.2.2:623".into(), ..way(2) };
    fleet.seen(2).bmc.push(ipmi);
    let plan = plan(&fleet);
    assert_eq!(planned(&plan), ["edge-01", "edge-02"]);
    assert!(plan.notes.iter().any(|n| n.text.contains("second way in to the BMC does not work: Redfish")), "{:?}", plan.notes);
    // A second way that leads to another machine would be used in a fallback.
    fleet.seen(2).bmc[0] = way(2);
    fleet.seen(2).bmc[1].seen.as_mut().unwrap().identity = identity(9);
    says(&fleet, 2, &uuid(9));
}

#[test]
fn a_witness_that_failed_is_never_left_out_of_the_chain() {
    let silent = || Fault::new(FaultKind::Unreachable, "timed out");
    let mut broken = fleet(2);
    broken.seen(2).host = Some(Err(silent()));
    says(&broken, 2, "the host does not answer: timed out");
    let mut broken = fleet(2);
    broken.seen(2).clusters[0].1 = Err(silent());
    says(&broken, 2, "kubernetes/edge says nothing of edge-02: timed out");
    let mut broken = fleet(2);
    broken.survey.clusters.get_mut(&edge()).unwrap().members = Err(silent());
    says(&broken, 2, "its nodes cannot be listed");
    let mut broken = fleet(2);
    broken.survey.nodes.remove(&name(2));
    assert!(refused(&plan(&broken), 2).what.contains("not surveyed"));
    let mut broken = fleet(2);
    broken.survey.clusters.get_mut(&edge()).unwrap().missing_rights = vec!["create pods/eviction".into()];
    assert_eq!(says(&broken, 2, "create pods/eviction").kind, FaultKind::Denied);
}

#[test]
fn what_cannot_be_emptied_is_refused_before_it_is_entered() {
    let mut fleet = fleet(2);
    fleet.view(2).impossible = vec![Blocker::new("vm build-7", "has a local disk")];
    says(&fleet, 2, "vm build-7: has a local disk");
    fleet.view(2).impossible.clear();
    fleet.view(2).blockers = vec![Blocker::new("shop/cart-0", "PodDisruptionBudget shop/cart allows 0")];
    let plan = plan(&fleet);
    assert!(plan.nodes.contains_key(&name(2)));
    assert!(plan.notes.iter().any(|n| n.stops && n.node == Some(name(2)) && n.text.contains("PodDisruptionBudget shop/cart")), "{:?}", plan.notes);
}

#[test]
fn nodes_that_are_out_already() {
    let mut fleet = fleet(2);
    fleet.view(2).ready = false;
    fleet.view(2).not_ready = vec!["kubelet stopped posting".into()];
    says(&fleet, 2, "not ready: kubelet stopped posting");

    fleet.view(2).ready = true;
    fleet.view(2).enabled = false;
    fleet.view(2).marked_by = Some("admin@laptop".into());
    assert!(!plan(&fleet).nodes[&name(2)].expect.enabled);
    assert!(plan(&fleet).notes.iter().any(|n| n.text.contains("before we came (admin@laptop): stays so")));

    let run = RunId("0193f7a0-0000-7000-8000-0000000019c2".into());
    fleet.survey.clusters.get_mut(&edge()).unwrap().members.as_mut().unwrap()[1].run = Some(run.0.clone());
    says(&fleet, 2, &format!("by run {}", run.0));
    // Unless the store knows what that run left: this one takes it over.
    let loan = Loan { id: LoanId("edge/cordon".into()), to: "edge".into(), owed: "uncordon edge-02".into(), before: json!(false), first: false };
    fleet.history.insert(name(2), History { inherits: vec![loan.clone()], inherits_from: vec![run], resets_today: 0, ..History::default() });
    assert_eq!(plan(&fleet).nodes[&name(2)].inherits, [loan]);
}

#[test]
fn witnesses_that_disagree_about_power_or_boot_are_refused() {
    let mut fleet = fleet(3);
    fleet.bmc(1).power = Power::Off;
    says(&fleet, 1, "power is Off, and the host answers");
    fleet.view(2).boot = Some(Boot::Id("another".into()));
    says(&fleet, 2, "different boots");
    fleet.bmc(3).power = Power::Off;
    fleet.seen(3).host = None;
    says(&fleet, 3, "edge-03 is powered off");
}

#[test]
fn due_is_yes_no_or_unread() {
    let mut fleet = fleet(4);
    fleet.playbook.due = true;
    let reason = |due, why_not: Option<&str>| DueSeen { kind: "kernel-outdated".into(), due, why_not: why_not.map(Into::into) };
    fleet.seen(1).due = vec![reason(Ok(None), Some("running kernel is the newest installed")), reason(Ok(Some("up 93 days".into())), None)];
    fleet.seen(2).due = vec![reason(Ok(None), Some("running kernel is the newest installed"))];
    fleet.seen(3).due = vec![reason(Err(Fault::new(FaultKind::Unable, "no dpkg here")), None)];
    // No reason was asked at all: that is no "no".
    let plan = plan(&fleet);
    assert_eq!(planned(&plan), ["edge-01"]);
    assert_eq!(plan.nodes[&name(1)].due, ["up 93 days"]);
    assert_eq!(plan.skipped[&name(2)], Skip::NotDue { why: "running kernel is the newest installed".into() });
    assert!(refused(&plan, 3).to_string().contains("neither yes nor no: no dpkg here"));
    assert!(refused(&plan, 4).to_string().contains("neither yes nor no"));
    // What is not due is left alone, whatever else is wrong with it.
    fleet.seen(2).bmc[0].seen = Err(Fault::new(FaultKind::Unreachable, "silent"));
    assert!(matches!(make(&fleet.input()).unwrap()[0].skipped[&name(2)], Skip::NotDue { .. }));
}

#[test]
fn canaries_go_first_racks_together_and_what_the_run_needs_last() {
    let mut fleet = fleet(6);
    fleet.playbook.limits.within = vec!["rack".into()];
    fleet.playbook.limits.canary = 1;
    fleet.node(1).carries.insert("dns".to_string().into());
    // A node that preflight refuses is nobody's canary.
    fleet.seen(2).bmc[0].seen = Err(Fault::new(FaultKind::Unreachable, "silent"));
    let plan = plan(&fleet);
    let waves: BTreeMap<&str, u32> = plan.nodes.iter().map(|(name, node)| (name.0.as_str(), node.wave)).collect();
    assert_eq!(waves, BTreeMap::from([("edge-03", 1), ("edge-04", 2), ("edge-05", 2), ("edge-06", 2), ("edge-01", 3)]));
    fleet.node(5).labels.clear();
    fleet.node(6).labels.clear();
    let refusals = make(&fleet.input()).unwrap_err();
    assert_eq!(refusals.len(), 1);
    assert!(refusals[0].0.what.contains("edge-05, edge-06"), "{}", refusals[0].0);
}

#[test]
fn scaled_time_is_refused_for_every_bmc_that_is_not_on_loopback() {
    let mut fleet = fleet(2);
    fleet.time = TimeScale(0.01);
    assert_eq!(make(&fleet.input()).unwrap_err().len(), 2);
    fleet.seen(1).bmc[0].loopback = true;
    let refusals = make(&fleet.input()).unwrap_err();
    assert!(refusals[0].0.what.contains("edge-02 at https://192.0.2.2"), "{}", refusals[0].0);
    fleet.seen(2).bmc[0].loopback = true;
    assert!(plan(&fleet).notes.iter().any(|n| n.text.contains("time scale 0.01")));
}

#[test]
fn no_node_is_reset_more_often_a_day_than_the_limit() {
    let mut fleet = fleet(2);
    fleet.history.insert(name(2), History { resets_today: 2, ..History::default() });
    says(&fleet, 2, "reset 2 times within 24 hours, limit 2");
    fleet.playbook.steps.retain(|s| s.step.kind == "evacuate");
    assert!(plan(&fleet).nodes.contains_key(&name(2)), "evacuating resets nothing");
}

#[test]
fn a_playbook_that_does_not_begin_with_evacuate_never_returns_by_itself() {
    let mut fleet = fleet(1);
    fleet.playbook.steps.retain(|s| ["verify", "enable"].contains(&s.step.kind.as_str()));
    assert!(plan(&fleet).steps.iter().all(|s| s.on_failure == OnFailure::Hold));
    fleet.playbook.steps.clear();
    assert_eq!((plan(&fleet).forward, plan(&fleet).verify_at), (1, None));
}

fn bare(vouched: bool, host: bool) -> Fleet {
    let mut fleet = fleet(2);
    fleet.clusters.insert(edge(), ClusterInput { setting: Setting { kind: "none".into(), body: json!({}) }, vouched: vouched.then(|| "spare nodes".into()) });
    let survey = fleet.survey.clusters.get_mut(&edge()).unwrap();
    (survey.members, survey.lease) = (Ok(vec![]), false);
    for n in [1, 2] {
        fleet.view(n).identity = Identity::default();
        fleet.view(n).boot = None;
        fleet.view(n).workloads.clear();
        if !host {
            fleet.seen(n).host = None;
        }
    }
    fleet
}

#[test]
fn machines_without_a_cluster_need_a_host_or_someone_who_vouches() {
    let fault = says(&bare(false, false), 1, "nothing can witness that edge-01 is empty");
    assert!(fault.next.is_some_and(|next| next.contains("vouched")));
    let both = plan(&bare(true, false));
    assert_eq!(planned(&both), ["edge-01", "edge-02"]);
    assert_eq!(both.vouched.as_deref(), Some("spare nodes"));
    assert_eq!(both.nodes[&name(1)].expect.evidence, "Off seen, then On seen");
    assert_eq!(plan(&bare(false, true)).nodes[&name(1)].expect.chain.as_deref(), Some("host = BMC (uuid)"));
    let mut busy = bare(false, true);
    busy.host(1).guests = vec!["qemu 4711 build-7".into()];
    says(&busy, 1, "not empty, and no cluster can empty it: qemu 4711 build-7");
    // All there is, is what the BMC says: it has to be its own.
    let mut mute = bare(true, false);
    mute.bmc(1).identity = Identity { uuid: Some("03000200-0400-0500-0006-000700080009".into()), ..Identity::default() };
    says(&mute, 1, "not proven");
}

#[test]
fn a_vergeos_node_is_tied_to_its_bmc_by_address() {
    let mut fleet = fleet(2);
    for n in [1, 2] {
        fleet.view(n).identity = Identity { bmc_address: Some(format!("192.0.2.{n}")), ..Identity::default() };
        fleet.view(n).boot = Some(Boot::Started("1763690000".into()));
    }
    fleet.seen(1).host = None;
    let both = plan(&fleet);
    assert_eq!(both.nodes[&name(1)].expect.chain.as_deref(), Some("cluster = BMC (bmc address)"));
    assert_eq!(both.nodes[&name(2)].expect.chain.as_deref(), Some("cluster = host = BMC (bmc address + uuid)"));
    assert_eq!(both.nodes[&name(1)].expect.evidence, "start time in the cluster");
    fleet.view(2).identity.bmc_address = Some("192.0.2.77".into());
    says(&fleet, 2, "192.0.2.77");
}

#[test]
fn each_cluster_has_its_plan_and_a_node_in_two_holds_a_seat_in_both() {
    let mut fleet = fleet(3);
    let ceph = ClusterName("ceph".into());
    fleet.clusters.insert(ceph.clone(), fleet.clusters[&edge()].clone());
    let mut survey = fleet.survey.clusters[&edge()].clone();
    survey.lease = false;
    fleet.survey.clusters.insert(ceph.clone(), survey);
    fleet.node(1).seats.push(PlannedSeat { cluster: ceph.clone(), node: "edge-01".into() });
    let view = fleet.seen(1).clusters[0].1.clone();
    fleet.seen(1).clusters.push((ceph.clone(), view));
    fleet.node(3).seats[0].cluster = ceph.clone();
    fleet.seen(3).clusters[0].0 = ceph.clone();
    let plans = make(&fleet.input()).unwrap();
    assert_eq!(
        plans.iter().map(|p| (p.cluster.0.as_str(), planned(p))).collect::<Vec<_>>(),
        [("ceph", vec!["edge-03".to_string()]), ("edge", vec!["edge-01".into(), "edge-02".into()])]
    );
    assert_eq!(plans[1].nodes[&name(1)].seats.len(), 2);
    assert_eq!(plans[1].clusters.len(), 2);
    assert!(plans[1].notes.iter().any(|n| n.text == "ceph: not protected against pitstop elsewhere"));
    // The second cluster is a witness too.
    fleet.seen(1).clusters[1].1.as_mut().unwrap().identity = identity(2);
    assert!(refused(&make(&fleet.input()).unwrap()[1], 1).to_string().contains("cluster ceph says"), "{}", refused(&make(&fleet.input()).unwrap()[1], 1));
    // Two rows for one machine of a cluster.
    fleet.node(2).seats[0].node = "edge-01".into();
    assert!(make(&fleet.input()).unwrap_err()[0].0.what.contains("are both node edge-01"));
}

#[test]
fn no_room_is_told_before_the_run() {
    let mut fleet = fleet(2);
    let member = Member { name: "edge-77".into(), out: Some("cordoned".into()), run: None, identity: Identity::default(), since: None };
    fleet.survey.clusters.get_mut(&edge()).unwrap().members.as_mut().unwrap().push(member);
    fleet.survey.clusters.get_mut(&edge()).unwrap().held_by = Some("ops@deploy-1 since 02:01".into());
    let notes = plan(&fleet).notes;
    assert!(notes.iter().any(|n| n.stops && n.text.contains("edge-77 (cordoned)")), "{notes:?}");
    assert!(notes.iter().any(|n| n.stops && n.text.contains("locked by ops@deploy-1")), "{notes:?}");
}

#[test]
fn drift_is_what_would_make_the_reviewer_look_again() {
    let reviewed = plan(&fleet(3));
    let again = |change: &dyn Fn(&mut Fleet)| {
        let mut world = fleet(3);
        world.survey.at = "2026-11-21T09:00:00Z".parse().unwrap();
        change(&mut world);
        let fresh = make(&Input::again(&reviewed, false, &world.survey, world.history.clone())).unwrap();
        drift(&reviewed, &fresh[0])
    };
    assert_eq!(again(&|_| {}), Vec::<String>::new());
    // Other pods, a slower BMC: not a reason.
    assert_eq!(
        again(&|f| {
            f.view(2).workloads.clear();
            f.seen(2).bmc[0].took_ms = 4000;
        }),
        Vec::<String>::new()
    );
    let one = |change: &dyn Fn(&mut Fleet), words: &str| {
        let moved = again(change);
        assert_eq!(moved.len(), 1, "{moved:?}");
        assert!(moved[0].contains(words), "{moved:?}");
    };
    one(
        &|f| {
            f.host(2).boot_id = "new".into();
            f.view(2).boot = Some(Boot::Id("new".into()));
        },
        "edge-02 was rebooted since the review",
    );
    one(&|f| f.view(2).enabled = false, "edge-02 was in service at the review and is out of service now");
    one(&|f| f.seen(2).bmc[0].seen = Err(Fault::new(FaultKind::Unreachable, "silent")), "edge-02 is refused now");
    one(
        &|f| {
            f.view(2).identity = identity(9);
            f.host(2).identity = identity(9);
            f.bmc(2).identity = identity(9);
        },
        "edge-02 is another machine",
    );
    one(
        &|f| {
            f.history.insert(name(2), History { resets_today: 1, ..History::default() });
        },
        "was reset by another run",
    );
    one(&|f| f.survey.clusters.get_mut(&edge()).unwrap().members.as_mut().unwrap().retain(|m| m.name != "edge-03"), "edge-03 is refused now");
    let mut other = fleet(3);
    other.playbook.limits = Limits { max_unavailable: 2, ..other.playbook.limits };
    other.node(1).bmc[0].body = json!({ "url": "https://192.0.2.99" });
    let moved = drift(&reviewed, &plan(&other));
    assert_eq!(moved, ["limits changed", "edge-01: its BMC's settings changed"]);
}

/// What a witness of a random fleet says: one of few machines, so that they collide; nothing; or it fails.
fn word() -> impl Strategy<Value = Option<Identity>> {
    prop_oneof![
        6 => (1usize..5).prop_map(|n| Some(identity(n))),
        1 => Just(Some(Identity::default())),
        1 => Just(Some(Identity { uuid: Some("00000000-0000-0000-0000-000000000000".into()), ..Identity::default() })),
        1 => (1usize..5).prop_map(|n| Some(Identity { serial: Some(format!("SER{n}")), ..Identity::default() })),
        1 => Just(None),
    ]
}
type Words = (Option<Identity>, Option<Option<Identity>>, Option<Identity>);
fn words() -> impl Strategy<Value = Words> {
    // Mostly the truth, so that some nodes pass.
    prop_oneof![Just(None), (word(), proptest::option::of(word()), word()).prop_map(Some)].prop_map(|w| w.unwrap_or((None, Some(None), None)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_node_is_planned_whose_chain_does_not_close(truth in proptest::collection::vec(any::<bool>(), 4), lies in proptest::collection::vec(words(), 4)) {
        let mut world = fleet(4);
        let silent = || Fault::new(FaultKind::Unreachable, "silent");
        for n in 1..=4 {
            if truth[n - 1] {
                continue;
            }
            let (cluster, host, bmc) = lies[n - 1].clone();
            match cluster {
                Some(identity) => world.view(n).identity = identity,
                None => world.seen(n).clusters[0].1 = Err(silent()),
            }
            match host {
                None => world.seen(n).host = None,
                Some(None) => world.seen(n).host = Some(Err(silent())),
                Some(Some(identity)) => world.host(n).identity = identity,
            }
            match bmc {
                Some(identity) => world.bmc(n).identity = identity,
                None => world.seen(n).bmc[0].seen = Err(silent()),
            }
        }
        let plan = plan(&world);
        for n in 1..=4 {
            let seen = &world.survey.nodes[&name(n)];
            prop_assert!(plan.nodes.contains_key(&name(n)) != plan.skipped.contains_key(&name(n)));
            let said: Option<Vec<Identity>> = [seen.clusters[0].1.as_ref().ok().map(|v| v.identity.clone()), seen.bmc[0].seen.as_ref().ok().map(|v| v.identity.clone())]
                .into_iter()
                .chain(seen.host.as_ref().map(|h| h.as_ref().ok().map(|h| h.identity.clone())))
                .collect();
            // The oracle knows only equality of what was said: all witnesses there, all the same value, and no other BMC of the fleet says it.
            let closes = said.is_some_and(|said| {
                let value = |i: &Identity| i.uuid.clone().filter(|u| !u.starts_with("0000")).or(i.serial.clone());
                let first = value(&said[0]);
                let alone = |of: &dyn Fn(&NodeSurvey) -> Option<Identity>| {
                    (1..=4).filter(|other| of(&world.survey.nodes[&name(*other)]).as_ref().is_some_and(|i| value(i) == first)).count() == 1
                };
                let bmc = |s: &NodeSurvey| s.bmc[0].seen.as_ref().ok().map(|v| v.identity.clone());
                let cluster = |s: &NodeSurvey| s.clusters[0].1.as_ref().ok().map(|v| v.identity.clone());
                first.is_some() && said.iter().all(|i| value(i) == first) && alone(&bmc) && alone(&cluster)
            });
            if plan.nodes.contains_key(&name(n)) {
                prop_assert!(closes, "{} was planned: {:?}", name(n), seen);
            }
        }
    }
}

#[test]
fn the_files_words_become_the_planners() {
    let at: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
    let toml = r#"
[clusters.spare.none]
vouched = "spare nodes, nothing runs here"
[[nodes]]
name = "edge-[01-02]"
cluster = "spare"
labels = { rack = "r1" }
bmc.redfish = { url = "https://192.0.2.{n}", username = { env = "U" }, password = { env = "P" } }
"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("edge.toml"), toml).unwrap();
    let inventory = pitstop::inventory::load(dir.path()).unwrap_or_else(|e| panic!("{}", e.json()));
    let playbook = pitstop::playbook::load(None, "reboot").unwrap_or_else(|e| panic!("{}", e.json()));
    let mut world = fleet(2);
    let spare = ClusterName("spare".into());
    let seen_cluster = ClusterSurvey { members: Ok(vec![]), lease: false, ..world.survey.clusters[&edge()].clone() };
    world.survey.clusters = BTreeMap::from([(spare.clone(), seen_cluster)]);
    for n in [1, 2] {
        world.view(n).identity = Identity::default();
        world.view(n).boot = None;
        world.seen(n).clusters[0].0 = spare.clone();
        world.seen(n).host = None;
    }
    let words = PlaybookInput::of(&playbook, at);
    let input = Input::new(&inventory, [name(1), name(2), name(3)], words, &world.survey, BTreeMap::new(), at);
    let plans = make(&input).unwrap();
    assert_eq!(planned(&plans[0]), ["edge-01", "edge-02"]);
    let node = &plans[0].nodes[&name(1)];
    assert_eq!(
        (node.labels["rack"].as_str(), node.bmc[0].kind.as_str(), plans[0].vouched.as_deref()),
        ("r1", "redfish", Some("spare nodes, nothing runs here"))
    );
    assert_eq!(plans[0].steps[0].step.kind, "preflight");
    // Every step that was planned can be made by this program.
    for step in &plans[0].steps {
        pitstop::kinds::make(pitstop::steps::KINDS, &step.step).unwrap_or_else(|e| panic!("{e}"));
    }
}
