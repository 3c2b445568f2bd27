//! What people read of a plan and a check.
use super::fleet::{fleet, identity, name, way};
use pitstop::{
    model::*,
    plan::make,
    report::{
        Screen,
        check_screen::check,
        plan_screen::{Asked, exit_code, shown, text},
    },
};
use std::time::Duration;

const WIDE: Screen = Screen { width: 120, color: false };

#[test]
fn check_names_what_was_reached_who_is_refused_and_what_to_do() {
    let mut fleet = fleet(4);
    let ipmi = WaySeen { protocol: "ipmi".into(), endpoint: "192.0.2.1:623".into(), took_ms: 34, ..way(1) };
    fleet.seen(1).bmc.push(ipmi);
    (fleet.bmc(3).identity, fleet.bmc(4).identity) = (identity(4), identity(3));
    let check = check(&fleet.input(), Duration::from_millis(1234));
    let text = check.text(WIDE);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "edge-01  ready     Redfish 210 ms · IPMI 34 ms · SSH 40 ms · kubernetes/edge     identity: cluster = host = BMC");
    assert_eq!(lines[1], "edge-02  ready     Redfish 210 ms · SSH 40 ms · kubernetes/edge");
    assert_eq!(lines[2], "                   identity: cluster = host = BMC   IPMI: not in inventory");
    assert_eq!(lines[3], "edge-03  REFUSED   identity: the BMC at 192.0.2.3 belongs to edge-04");
    assert!(lines[4].starts_with("                   cluster and host say 4c4c"), "{text}");
    assert!(text.contains("next: correct the rows in the inventory (or the cables), then pitstop check edge-03 edge-04"), "{text}");
    assert_eq!(*lines.last().unwrap(), "2 ready, 2 refused in 1.2 s");
    assert_eq!(check.exit_code(), 5);
    assert!(check.text(Screen::default()).lines().all(|l| l.chars().count() <= 80), "{}", check.text(Screen::default()));
    let json = serde_json::to_value(&check).unwrap();
    assert_eq!((&json["nodes"][0]["ready"], &json["nodes"][2]["fault"]["kind"], &json["refused"]), (&true.into(), &"unwilling".into(), &2.into()));
}

#[test]
fn check_exits_0_when_all_and_4_when_none_are_ready() {
    let mut fleet = fleet(1);
    assert_eq!(check(&fleet.input(), Duration::ZERO).exit_code(), 0);
    fleet.seen(1).host = Some(Err(Fault::new(FaultKind::Unreachable, "timed out")));
    assert_eq!(check(&fleet.input(), Duration::ZERO).exit_code(), 4);
}

#[test]
fn a_plan_is_read_top_down() {
    let mut fleet = fleet(4);
    fleet.playbook.due = true;
    for n in 1..=4 {
        let due = if n == 3 { Ok(None) } else { Ok(Some("kernel 6.1.0-28 is installed, 6.1.0-25 runs".into())) };
        let why_not = (n == 3).then(|| "running kernel 6.1.0-28 is the newest installed".to_string());
        fleet.seen(n).due = vec![DueSeen { kind: "kernel-outdated".into(), due, why_not }];
    }
    fleet.seen(4).bmc[0].seen = Err(Fault::new(FaultKind::Unreachable, "no answer within 10 s"));
    fleet.view(2).notes = vec!["largest grace period 600 s (shop/ledger-0)".into()];
    fleet.view(2).blockers = vec![Blocker::new("shop/cart-7d9f", "2 of 2 needed by PodDisruptionBudget shop/cart, 0 may be evicted")];
    fleet.seen(2).at_power.stores =
        vec![pitstop::model::DataStore { kind: "ceph".into(), name: "rook-ceph/rook-ceph".into(), refuses: vec![], rebuilding: vec![] }];
    let plans: Vec<_> = make(&fleet.input()).unwrap().into_iter().map(|plan| (plan, "5be0c0ffee".to_string())).collect();
    let asked = Asked { playbook: "reboot", selection: "--where rack=r1", output: None };
    let wide = text(&plans, asked, WIDE);
    let lines: Vec<&str> = wide.lines().collect();
    assert!(lines[0].starts_with("reboot: graceful reboot ") && lines[0].ends_with("plan 5be0 · 4 nodes of rack r1 · about 19 min"), "{wide}");
    assert!(lines[1].starts_with(" 1  edge-01  1 pod · due: kernel") && lines[1].ends_with("~9 min"), "{wide}");
    assert!(lines[2].starts_with(" 2  edge-02  2 pods · largest grace period 600 s (shop/ledger-0)"), "{wide}");
    for line in [
        " -  edge-03  not due: running kernel 6.1.0-28 is the newest installed",
        " -  edge-04  REFUSED  BMC: no way in works",
        "Will stop tonight unless changed:",
        " edge-02  shop/cart-7d9f: 2 of 2 needed by PodDisruptionBudget shop/cart, 0 may be evicted",
        "Evidence: identity 2/2 · boot id 2/2 · storage: ceph asked on edge-02; none seen on edge-01",
    ] {
        assert!(lines.contains(&line), "no `{line}` in\n{wide}");
    }
    assert!(wide.contains("Nothing was changed. To run exactly this: pitstop plan reboot --where rack=r1 -o tonight.json"), "{wide}");
    let written = text(&plans, Asked { output: Some(std::path::Path::new("a.json")), ..asked }, WIDE);
    assert!(written.ends_with("Nothing was changed. To run exactly this: pitstop run --plan a.json\n"), "{written}");
    let narrow = text(&plans, asked, Screen::default());
    assert!(narrow.lines().all(|l| l.chars().count() <= 80), "{narrow}");
    assert_eq!(exit_code(&plans), 5);
    let json = serde_json::to_value(shown(&plans)).unwrap();
    assert_eq!((&json["plans"][0]["order"][1], &json["plans"][0]["plan"]["skipped"]["edge-03"]["kind"]), (&"edge-02".into(), &"not_due".into()));
    assert!(json["plans"][0]["plan"]["nodes"].get(&name(1).0).is_some());
}
