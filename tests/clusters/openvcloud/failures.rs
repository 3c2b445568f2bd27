//! The failure table, a test per row.
use super::*;

async fn refused(fault: &'static str) -> (Lab, Fault) {
    let lab = lab(|s| s.faults.set(fault, true)).await;
    let fault = lab.driver().act("cpu-02", &enter(), &moving()).await.unwrap_err();
    (lab, fault)
}

#[tokio::test(flavor = "multi_thread")]
async fn status_400_is_told_in_the_portals_words_and_not_tried_again() {
    let (lab, fault) = refused("bad-request").await;
    assert_eq!(fault.kind, FaultKind::Unwilling);
    assert!(fault.to_string().contains("Invalid value for vmaction"), "{fault}");
    assert_eq!(lab.changes().len(), 1, "{:?}", lab.changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_401_logs_in_again_once() {
    let lab = lab(|_| {}).await;
    let driver = lab.by_session();
    driver.members().await.unwrap();
    assert_eq!(lab.asked("users/authenticate").len(), 1, "a session is kept");
    lab.faults.set("expire", true);
    driver.members().await.unwrap();
    assert_eq!(lab.asked("users/authenticate").len(), 2, "and renewed when refused");
    // What cannot be renewed is not tried again: accounts lock.
    let wrong = lab.with(json!({ "portal_secret": { "env": "wrong" } }));
    let before = lab.asked("getNodes").len();
    let fault = wrong.members().await.unwrap_err();
    assert_eq!((fault.kind, lab.asked("getNodes").len() - before), (FaultKind::Denied, 1));
    let wrong = lab.with(json!({ "portal_secret": null, "username": { "env": "ops@itsyouonline" }, "password": { "env": "wrong" } }));
    let (fault, asked) = (wrong.members().await.unwrap_err(), lab.asked("users/authenticate").len());
    assert_eq!((fault.kind, asked), (FaultKind::Denied, 3));
    assert!(!fault.to_string().contains("wrong") && fault.next.is_some(), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_403_names_the_level_that_is_missing() {
    let (_, fault) = refused("forbidden").await;
    assert_eq!(fault.kind, FaultKind::Denied);
    assert!(fault.to_string().contains("User admin has no access") && fault.next.unwrap().contains("level 2"), "{}", fault.what);
    // And `check` finds it by reads, before anything is tried.
    let lab = lab(|s| s.creds.groups = vec!["level1", "admin0"]).await;
    let poor = lab.with(json!({ "portal_secret": null, "jwt": { "env": JWT } }));
    let reached = poor.probe().await.unwrap();
    assert!(reached.missing_rights.iter().any(|r| r.contains("admin group")), "{:?}", reached.missing_rights);
    let lab = super::lab(|s| s.creds.groups = vec!["level1", "admin"]).await;
    let reached = lab.with(json!({ "portal_secret": null, "jwt": { "env": JWT } })).probe().await.unwrap();
    assert_eq!(reached.missing_rights, Vec::<String>::new(), "admin may do everything");
    assert!(lab.changes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_404_could_not_find_method_is_the_other_generation() {
    for (version, said, method) in [(Version::V2_4_5, "stack", "cloudbroker/node/maintenance"), (Version::V2_3, "node", "cloudbroker/computenode/maintenance")]
    {
        let lab = lab(|s| s.version = version).await;
        let driver = lab.with(json!({ "generation": said }));
        driver.act("cpu-02", &enter(), &moving()).await.unwrap();
        assert_eq!((lab.changes().len(), lab.writes()), (2, vec!["enter maintenance cpu-02".to_owned()]));
        assert!(lab.changes()[1].contains(method), "{:?}", lab.changes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_404_of_an_object_does_not_lead_to_the_other_generation() {
    let lab = lab(|s| s.version = Version::V2_4_0).await;
    let gone = act(json!({ "do": "enter", "stack": 77, "grid": 1, "node": 12, "vmaction": "move" }));
    let fault = lab.driver().act("cpu-02", &gone, &moving()).await.unwrap_err();
    assert_eq!((fault.kind, lab.changes().len(), lab.writes().len()), (FaultKind::Unable, 1, 0), "{:?}", lab.changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_412_is_a_refusal() {
    let (lab, fault) = refused("precondition").await;
    assert_eq!((fault.kind, lab.changes().len()), (FaultKind::Unwilling, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_419_logs_in_again_once() {
    let lab = lab(|_| {}).await;
    let driver = lab.by_session();
    driver.look("cpu-02", &moving()).await.unwrap();
    lab.faults.set("expire", true);
    // A change: it was refused before anything was done, and is sent once more.
    driver.act("cpu-02", &enter(), &moving()).await.unwrap();
    assert_eq!(lab.asked("users/authenticate").len(), 2);
    assert_eq!(lab.writes(), ["enter maintenance cpu-02"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_500_names_the_error_record_and_leaves_a_change_in_doubt() {
    let (lab, fault) = refused("broken").await;
    assert_eq!((fault.kind, lab.changes().len()), (FaultKind::Unknown, 1));
    assert!(fault.to_string().contains("eco-1-0f1e2d3c") && !fault.to_string().contains("<h1>"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_503_during_an_upgrade_is_waited_out() {
    let (lab, fault) = refused("upgrade").await;
    assert_eq!(fault.kind, FaultKind::Unwilling);
    assert!(fault.to_string().contains("during upgrade"), "{fault}");
    lab.faults.set("upgrade", false);
    lab.driver().act("cpu-02", &enter(), &moving()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_in_error_is_left_in_place_and_its_record_is_read() {
    let lab = lab(|s| s.faults.set("failing-move", true)).await;
    let driver = lab.driver();
    let view = driver.look("cpu-02", &moving()).await.unwrap();
    let loan = view.moves[0].borrows.clone().unwrap();
    driver.act("cpu-02", &view.moves[0], &moving()).await.unwrap();
    let broken = until(&driver, "cpu-02", &moving(), "in ERROR", |v| !v.impossible.is_empty()).await;
    assert!(told(&broken.impossible).contains("Live migration of vm-1000 failed"), "{}", told(&broken.impossible));
    assert!(!broken.in_maintenance && !broken.ready && broken.moves.is_empty() && !broken.workloads.is_empty());
    // Rolled back from there by enabling it.
    lab.faults.set("failing-move", false);
    pay(&driver, "cpu-02", &[loan]).await;
    assert!(driver.look("cpu-02", &moving()).await.unwrap().enabled);
    assert_eq!(lab.writes(), ["enter maintenance cpu-02", "leave maintenance cpu-02"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_after_the_success_event_are_named_or_moved_one_by_one() {
    for (leftovers, moves) in [("name", false), ("move", true)] {
        let lab = lab(|s| s.faults.set("left-behind", true)).await;
        let driver = lab.with(json!({ "leftovers": leftovers }));
        let view = driver.look("cpu-02", &moving()).await.unwrap();
        driver.act("cpu-02", &view.moves[0], &moving()).await.unwrap();
        let left =
            until(&driver, "cpu-02", &moving(), "given up", |v| v.in_maintenance && (!v.moves.is_empty() || told(&v.blockers).contains("left behind"))).await;
        assert_eq!(left.workloads.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["db-cpu-02"]);
        if moves {
            evacuate(&driver, "cpu-02", &moving()).await;
            assert!(lab.asked("moveToDifferentComputeNode").iter().all(|a| a.contains(r#""force":false"#)));
            assert!(lab.writes().contains(&"move vm db-cpu-02".to_owned()), "{:?}", lab.writes());
        } else {
            assert!(left.moves.is_empty() && told(&left.blockers).contains("db-cpu-02"), "{}", told(&left.blockers));
            assert_eq!(lab.writes(), ["enter maintenance cpu-02"]);
        }
        assert!(lab.of("lost-workload").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_an_answer_is_unknown_and_the_next_look_tells() {
    let lab = lab(|s| s.faults.set("lost-replies", true)).await;
    let driver = lab.with(json!({ "request_timeout": "500ms" }));
    assert_eq!(driver.act("cpu-02", &enter(), &moving()).await.unwrap_err().kind, FaultKind::Unknown);
    assert_eq!(lab.writes(), ["enter maintenance cpu-02"], "sent once");
    let view = driver.look("cpu-02", &moving()).await.unwrap();
    assert!(view.in_maintenance && view.moves.is_empty(), "{view:#?}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = super::driver(&format!("http://{closed}"), lab.dir.path(), json!({}));
    assert_eq!(closed.members().await.unwrap_err().kind, FaultKind::Unreachable);
}
