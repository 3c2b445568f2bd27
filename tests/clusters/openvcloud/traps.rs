//! The traps of the node's states, numbered as in the contract; then the corrections that win over it.
use super::*;
use pitstop::{lab::openvcloud::VmSpec, model::Unmovable};

fn vm(name: &str, status: &'static str) -> VmSpec {
    VmSpec { name: name.into(), status, physical: false, tags: String::new() }
}
/// Node 2 with these VMs alone, behind the firewall of `space-cpu-02`.
async fn with(vms: Vec<VmSpec>) -> Lab {
    lab(|s| s.nodes[1].vms = vms).await
}
async fn look(lab: &Lab, ask: &Ask) -> NodeView {
    lab.driver().look("cpu-02", ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_1_the_flag_is_set_before_anything_has_moved() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    driver.act("cpu-02", &enter(), &moving()).await.unwrap();
    let at_once = driver.look("cpu-02", &moving()).await.unwrap();
    assert!(at_once.in_maintenance && at_once.workloads.len() == 3, "two VMs and a firewall are still here: {at_once:#?}");
    evacuate(&driver, "cpu-02", &moving()).await;
    assert!(lab.rack.seen("cpu-02").unwrap().running.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_2_a_move_may_restart_a_vm_and_ours_are_never_forced() {
    let lab = lab(|_| {}).await;
    let ask = Ask { place: [("web-cpu-02".to_owned(), "cpu-03".to_owned())].into(), ..moving() };
    let view = look(&lab, &ask).await;
    assert!(view.notes.iter().any(|n| n.contains("restarts the VM elsewhere")), "{:?}", view.notes);
    lab.driver().act("cpu-02", &view.moves[0], &ask).await.unwrap();
    let asked = lab.asked("moveToDifferentComputeNode");
    assert!(asked.len() == 1 && asked[0].contains(r#""force":false"#) && asked[0].contains(r#""targetStackId":6"#), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_3_a_failure_that_was_swallowed_leaves_its_vm() {
    let lab = lab(|s| s.faults.set("left-behind", true)).await;
    let driver = lab.driver();
    driver.act("cpu-02", &enter(), &moving()).await.unwrap();
    let view = until(&driver, "cpu-02", &moving(), "all but one moved", |v| v.workloads.len() == 1 && v.blockers.len() == 1).await;
    assert!(view.in_maintenance && view.workloads[0].name == "db-cpu-02", "{view:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_4_maintenance_stands_although_a_firewall_found_no_other_node() {
    let lab = lab(|s| s.faults.set("firewall-left-behind", true)).await;
    let driver = lab.driver();
    driver.act("cpu-02", &enter(), &moving()).await.unwrap();
    let view = until(&driver, "cpu-02", &moving(), "the firewall alone", |v| v.workloads.len() == 1 && v.blockers.len() == 1).await;
    assert!(view.in_maintenance && view.workloads[0].kind == "firewall", "{view:#?}");
    // Where the grid has no other firewall node the plan says so.
    let lab = super::lab(|s| s.nodes.iter_mut().enumerate().filter(|(i, _)| *i != 1).for_each(|(_, n)| n.roles = vec!["cpunode"])).await;
    assert!(told(&look(&lab, &moving()).await.impossible).contains("no other firewall node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_5_a_firewall_is_never_sent_to_where_it_is() {
    let lab = lab(|s| s.faults.set("firewall-left-behind", true)).await;
    let driver = lab.with(json!({ "leftovers": "move" }));
    driver.act("cpu-02", &enter(), &moving()).await.unwrap();
    evacuate(&driver, "cpu-02", &moving()).await;
    let asked = lab.asked("moveVirtualFirewallToFirewallNode");
    assert!(asked.len() == 1 && !asked[0].contains(r#""targetNid":12"#), "{asked:?}");
    let ask = Ask { place: [("space-cpu-03".to_owned(), "cpu-03".to_owned())].into(), ..moving() };
    assert!(told(&lab.driver().look("cpu-03", &ask).await.unwrap().impossible).contains("no other node cpu-03"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_6_what_has_a_physical_disk_stays_and_so_does_its_firewall() {
    let lab = with(vec![VmSpec { physical: true, ..vm("db", "RUNNING") }]).await;
    let refused = look(&lab, &moving()).await;
    assert!(refused.moves.is_empty());
    let why = told(&refused.impossible);
    assert!(why.contains("vm db: has a physical disk") && why.contains("cloud space space-cpu-02: belongs to a VM with a physical disk"), "{why}");
    // Stopped and started again, where its cloud space may go dark.
    let stop = Ask { unmovable: Unmovable::StopAndRestart, ..moving() };
    assert!(told(&look(&lab, &stop).await.impossible).contains(r#"cloudspaces = ["space-cpu-02"]"#));
    let stop = Ask { cloudspaces: vec!["space-cpu-02".into()], ..stop };
    let driver = lab.driver();
    let loans = evacuate(&driver, "cpu-02", &stop).await;
    assert_eq!(
        loans.iter().map(|l| l.owed.as_str()).collect::<Vec<_>>(),
        ["start vm db", "start firewall of cloud space space-cpu-02", "leave maintenance cpu-02"]
    );
    pay(&driver, "cpu-02", &loans).await;
    assert_eq!(lab.rack.seen("cpu-02").unwrap().running.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_7_paused_and_halted_vms_count_as_left() {
    let lab = with(vec![vm("asleep", "PAUSED"), vm("off", "HALTED")]).await;
    let driver = lab.driver();
    driver.act("cpu-02", &enter(), &moving()).await.unwrap();
    let view = driver.look("cpu-02", &moving()).await.unwrap();
    assert!(view.workloads.iter().any(|w| w.name == "asleep") && told(&view.blockers).contains("vm off: is HALTED"), "{view:#?}");
    evacuate(&driver, "cpu-02", &moving()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_8_stop_darkens_cloud_spaces_and_is_refused_unless_they_are_named() {
    let lab = lab(|s| s.nodes[1].spaces.push("shop".into())).await;
    for (named, missing) in
        [(vec![], vec!["space-cpu-02", "shop"]), (vec!["shop".to_owned()], vec!["space-cpu-02"]), (vec!["elsewhere".to_owned()], vec!["shop"])]
    {
        let view = look(&lab, &Ask { how: How::Stop, cloudspaces: named.clone(), ..moving() }).await;
        let why = told(&view.impossible);
        assert!(view.moves.is_empty() && missing.iter().all(|m| why.contains(&format!("cloud space {m}: goes dark"))), "{named:?}: {why}");
        assert!(why.contains("firewall routeros_0"), "{why}");
    }
    let all = Ask { how: How::Stop, cloudspaces: vec!["shop".into(), "101".into()], ..moving() };
    assert!(look(&lab, &all).await.impossible.is_empty(), "by name or number");
    // A paused VM would lose its memory.
    let lab = with(vec![vm("asleep", "PAUSED")]).await;
    assert!(told(&look(&lab, &stopping()).await.impossible).contains("vm asleep: is paused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_9_it_is_not_entered_again_and_nothing_moves_back() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    let loans = evacuate(&driver, "cpu-02", &moving()).await;
    let view = driver.look("cpu-02", &moving()).await.unwrap();
    assert!(view.moves.is_empty() && view.in_maintenance);
    pay(&driver, "cpu-02", &loans).await;
    assert!(lab.rack.seen("cpu-02").unwrap().running.is_empty(), "enabling moves nothing back");
    assert_eq!(lab.writes(), ["enter maintenance cpu-02", "leave maintenance cpu-02"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_10_node_and_stack_both_have_to_say_so_and_one_storage_router_at_a_time() {
    let lab = lab(|s| {
        s.version = Version::V2_4_5;
        s.faults.set("node-flag-first", true);
        s.nodes.iter_mut().for_each(|n| n.roles.push("storagedriver"));
    })
    .await;
    let driver = lab.driver();
    driver.act("cpu-02", &enter(), &moving()).await.unwrap();
    let view = until(&driver, "cpu-02", &moving(), "empty", |v| v.workloads.is_empty()).await;
    assert!(!view.in_maintenance && !view.enabled && view.moves.is_empty(), "its stack is still ENABLED: {view:#?}");
    let other = driver.look("cpu-01", &moving()).await.unwrap();
    assert!(other.moves.is_empty() && told(&other.blockers).contains("only one storage router"), "{}", told(&other.blockers));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_11_a_senseless_vmaction_is_not_sent() {
    let lab = lab(|s| s.version = Version::V2_4_5).await;
    let bad = act(json!({ "do": "enter", "stack": 5, "grid": 1, "node": 12, "vmaction": "mvoe" }));
    assert_eq!(lab.driver().act("cpu-02", &bad, &moving()).await.unwrap_err().kind, FaultKind::Invalid);
    assert!(lab.changes().is_empty(), "{:?}", lab.changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_12_power_that_goes_too_early_wakes_the_uptime_monitor() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    assert!(driver.settles_for().0 >= Duration::from_secs(300), "{}", driver.settles_for());
    assert_eq!(lab.with(json!({ "settle": "10m" })).settles_for().0, Duration::from_secs(600));
    evacuate(&driver, "cpu-02", &moving()).await;
    let monitor = |lab: &Lab| lab.of("power").iter().filter(|l| l["via"] == "uptime-monitor").count();
    let wait = async |boots: u32| {
        let began = Instant::now();
        while lab.rack.seen("cpu-02").unwrap().boots < boots || !lab.rack.seen("cpu-02").unwrap().up {
            assert!(began.elapsed() < Duration::from_secs(20), "never up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Scaled, 300 s are 1.5 s: late enough it sleeps, too early it cuts the power itself.
    tokio::time::sleep(Duration::from_millis(1700)).await;
    lab.rack.power("cpu-02", "ForceRestart", "test");
    wait(1).await;
    assert_eq!(monitor(&lab), 0);
    lab.rack.power("cpu-01", "ForceRestart", "test");
    let began = Instant::now();
    while monitor(&lab) == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the lab's monitor has no teeth");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_13_during_an_upgrade_protected_calls_are_refused_and_the_look_is_a_reason_to_wait() {
    let lab = lab(|s| s.faults.set("upgrade", true)).await;
    let fault = lab.driver().look("cpu-02", &moving()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling);
    assert!(fault.to_string().contains("during upgrade"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn correction_1_two_hundred_destroyed_vms_hide_none_that_runs() {
    let lab = lab(|s| s.destroyed = 250).await;
    let view = look(&lab, &moving()).await;
    assert_eq!(view.workloads.iter().filter(|w| w.kind == "vm").count(), 2, "{view:#?}");
    assert!(lab.asked("vmachine").iter().any(|a| a.contains("status=RUNNING")));
    // Where even that list is cut off nobody knows: a fault, never "the first two hundred".
    let lab = with((0..201).map(|n| vm(&format!("vm{n}"), "RUNNING")).collect()).await;
    let fault = lab.driver().look("cpu-02", &moving()).await.unwrap_err();
    assert!(fault.to_string().contains("200 rows"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn correction_4_a_firewalls_row_does_not_follow_its_stop_and_unknown_is_no_proof() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    // Straight past us: the maintenance itself stops it, and its row goes on saying RUNNING.
    driver.act("cpu-02", &act(json!({ "do": "enter", "stack": 5, "grid": 1, "node": 12, "vmaction": "stop" })), &stopping()).await.unwrap();
    until(&driver, "cpu-02", &stopping(), "stopped", |v| v.workloads.is_empty()).await;
    lab.faults.set("unknown-firewalls", true);
    let view = driver.look("cpu-02", &stopping()).await.unwrap();
    assert!(view.workloads.len() == 1 && view.workloads[0].stuck.as_ref().unwrap().contains("UNKNOWN"), "{view:#?}");
    // 2.2 cannot be asked at all: then it is not stopped.
    let old = super::lab(|s| s.version = Version::V2_2).await;
    assert!(told(&look(&old, &stopping()).await.impossible).contains("no way to show"));
}

#[tokio::test(flavor = "multi_thread")]
async fn correction_5_a_404_of_a_list_is_a_closed_door_never_none() {
    let lab = lab(|s| s.faults.set("no-admin", true)).await;
    let fault = lab.driver().look("cpu-02", &moving()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied);
    assert!(fault.next.unwrap().contains("admin group"));
    // An expired session is a guest there: renewed once.
    let lab = super::lab(|_| {}).await;
    let driver = lab.by_session();
    driver.look("cpu-02", &moving()).await.unwrap();
    lab.faults.set("expire", true);
    driver.look("cpu-02", &moving()).await.unwrap();
    assert_eq!(lab.asked("users/authenticate").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn correction_6_no_credential_is_ever_in_a_url() {
    let lab = lab(|_| {}).await;
    for driver in [lab.driver(), lab.by_session(), lab.with(json!({ "portal_secret": null, "jwt": { "env": JWT } }))] {
        driver.probe().await.unwrap();
        driver.look("cpu-02", &stopping()).await.unwrap();
    }
    for word in ["authkey", SECRET, JWT, "session"] {
        assert!(lab.asked(word).is_empty(), "{word}: {:?}", lab.asked(word));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn correction_8_a_stale_label_would_start_what_its_owner_halted() {
    let lab = with(vec![VmSpec { tags: "blue start".into(), ..vm("off", "HALTED") }]).await;
    let view = look(&lab, &stopping()).await;
    assert!(view.moves.is_empty() && told(&view.impossible).contains("vm off: is halted and carries the label `start`"), "{}", told(&view.impossible));
}

#[tokio::test(flavor = "multi_thread")]
async fn correction_node_numbers_that_two_grids_share_are_refused() {
    let router = axum::Router::new().fallback(|uri: axum::http::Uri| async move {
        match uri.path() {
            "/restmachine/system/gridmanager/getNodes" => axum::Json(json!([
                { "id": 12, "gid": 1, "name": "cpu-02", "roles": ["cpunode"], "status": "ENABLED" },
                { "id": 12, "gid": 2, "name": "cpu-02.other", "roles": ["cpunode"], "status": "ENABLED" }
            ])),
            path if path.contains("stack") => axum::Json(json!([{ "id": 5, "gid": 1, "name": "cpu-02", "referenceId": "12", "status": "ENABLED" }])),
            _ => axum::Json(json!([])),
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let driver = super::driver(&url, "/".as_ref(), json!({ "tls": null, "generation": "node" }));
    let fault = driver.look("cpu-02", &moving()).await.unwrap_err();
    assert!(fault.to_string().contains("used in another grid too"), "{fault}");
}
