//! The happy path of either generation, what is stopped and started, and what is only read.
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_follows_the_happy_path_of_both_generations() {
    for (version, enter, enable) in [
        (
            Version::V2_3,
            r#"POST /restmachine/cloudbroker/computenode/maintenance {"gid":1,"id":5,"message":"pitstop","vmaction":"move"}"#,
            r#"POST /restmachine/cloudbroker/computenode/enable {"gid":1,"id":5,"message":"pitstop"}"#,
        ),
        (
            Version::V2_4_5,
            r#"POST /restmachine/cloudbroker/node/maintenance {"nid":12,"vmaction":"move"}"#,
            r#"POST /restmachine/cloudbroker/node/enable {"message":"pitstop","nid":12}"#,
        ),
    ] {
        let lab = lab(|s| s.version = version).await;
        let driver = lab.driver();
        let before = driver.look("cpu-02", &moving()).await.unwrap();
        assert!(before.ready && before.enabled && !before.in_maintenance && before.workloads.len() == 3, "{before:#?}");
        assert_eq!(before.identity.addresses, ["192.0.2.12", "127.0.0.1", "0c:c4:7a:00:00:0c"]);
        let loans = evacuate(&driver, "cpu-02", &moving()).await;
        let out = driver.members().await.unwrap();
        assert_eq!(out.iter().filter_map(|m| m.out.as_ref().map(|_| m.name.as_str())).collect::<Vec<_>>(), ["cpu-02"]);
        assert!(lab.rack.seen("cpu-02").unwrap().running.is_empty() && driver.look("cpu-02", &moving()).await.unwrap().ready);
        pay(&driver, "cpu-02", &loans).await;
        assert_eq!(lab.changes(), [enter, enable]);
        // §2.5, each after the one before it: who is it, what is its stack, what runs there, the maintenance; the same until nothing is left; enabled, and looked at.
        let all = lab.asked.lock().unwrap().clone();
        let look = ["getNodes", "cloudbroker/stack", "vmachine?stackId=5", "virtualfirewall?gid=1&nid=12"];
        let mut from = 0;
        for word in [&look[..], &["/maintenance "], &look, &look, &["/enable ", "getNodes", "cloudbroker/stack"]].concat() {
            let found = all[from..].iter().position(|a| a.contains(word));
            from += 1 + found.unwrap_or_else(|| panic!("no `{word}` after the first {from} of {all:#?}"));
        }
        assert!(lab.of("lost-workload").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_runs_again_and_what_was_halted_stays_so() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    let loans = evacuate(&driver, "cpu-02", &stopping()).await;
    let owed: Vec<&str> = loans.iter().map(|l| l.owed.as_str()).collect();
    assert_eq!(owed, ["start vm web-cpu-02", "start vm db-cpu-02", "start firewall of cloud space space-cpu-02", "leave maintenance cpu-02"]);
    assert!(lab.rack.seen("cpu-02").unwrap().running.is_empty());
    assert_eq!(lab.rack.seen("cpu-01").unwrap().running.len(), 3, "nothing moved");
    pay(&driver, "cpu-02", &loans).await;
    let back = until(&driver, "cpu-02", &moving(), "enabled", |v| v.enabled && v.ready).await;
    // By number, wherever the scheduler put them: twelve ran or rested before, nine run and three rest now.
    let mut running: Vec<String> = (1..=3).flat_map(|n| lab.rack.seen(&format!("cpu-0{n}")).unwrap().running).collect();
    running.sort();
    assert_eq!(running.len(), 9, "{running:?}: {back:#?}");
    // 1005 is `old-cpu-02`, which was halted before us.
    assert!(!running.contains(&"vm vm-1005".to_owned()), "{running:?}");
    // Paid means that it shows: a VM that its start did not reach is owed still.
    assert!(driver.is_paid("cpu-02", &loans[0]).await.unwrap());
    driver.act("cpu-02", &act(json!({ "do": "stop-vm", "vm": loans[0].before["vm"] })), &moving()).await.unwrap();
    assert!(!driver.is_paid("cpu-02", &loans[0]).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_move_what_ran_before_has_to_run_here_or_elsewhere() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    let loans = evacuate(&driver, "cpu-02", &moving()).await;
    let first = loans[0].before["ran"][0][0].clone();
    driver.act("cpu-02", &act(json!({ "do": "stop-vm", "vm": first })), &moving()).await.unwrap();
    driver.act("cpu-02", &driver.give_back("cpu-02", &loans[0]), &moving()).await.unwrap();
    let fault = driver.is_paid("cpu-02", &loans[0]).await.unwrap_err();
    assert!(fault.to_string().contains("vm web-cpu-02 ran before and is"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_playbook_places_goes_first_and_there() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    let place = [("db-cpu-02".to_owned(), "cpu-03".to_owned()), ("space-cpu-02".to_owned(), "cpu-01".to_owned())];
    let ask = Ask { place: place.into(), ..moving() };
    let first = driver.look("cpu-02", &ask).await.unwrap();
    let whats: Vec<&str> = first.moves.iter().map(|a| a.what.as_str()).collect();
    assert_eq!(whats, ["move vm db-cpu-02 to cpu-03", "move firewall of cloud space space-cpu-02 to cpu-01"]);
    evacuate(&driver, "cpu-02", &ask).await;
    let on = |n: &str| lab.rack.seen(n).unwrap().running;
    assert!(on("cpu-03").contains(&"vm vm-1004".to_owned()), "{:?}", on("cpu-03"));
    assert_eq!(on("cpu-01").iter().filter(|w| w.contains("routeros")).count(), 2);
    for (place, why) in [(("db-cpu-01", "nowhere"), "no other node nowhere"), (("db-cpu-01", "cpu-02"), "cpu-02 is not ENABLED")] {
        let ask = Ask { place: [(place.0.to_owned(), place.1.to_owned())].into(), ..moving() };
        let view = driver.look("cpu-01", &ask).await.unwrap();
        let said = format!("{}{}", told(&view.impossible), told(&view.blockers));
        assert!(view.moves.is_empty() && said.contains(why), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing_and_storage_is_asked_of_the_others() {
    let lab = lab(|s| s.nodes.iter_mut().for_each(|n| n.roles.push("storagenode"))).await;
    let driver = lab.driver();
    let reached = driver.probe().await.unwrap();
    assert!(reached.missing_rights.is_empty() && reached.warnings.is_empty() && !reached.lease, "{:?}", reached.warnings);
    driver.members().await.unwrap();
    for ask in [moving(), stopping()] {
        driver.look("cpu-01", &ask).await.unwrap();
    }
    let well = driver.stores("cpu-02").await.unwrap();
    assert!(well.len() == 1 && well[0].bears_it(), "{well:?}");
    lab.faults.set("storage-ill", true);
    let ill = driver.stores("cpu-02").await.unwrap();
    assert!(!ill[0].bears_it() && ill[0].refuses[0].contains("no master"), "{ill:?}");
    assert!(lab.asked("getDetailedStatus").iter().all(|a| !a.contains("nid=12")), "not of the node itself");
    assert!(lab.changes().is_empty() && lab.writes().is_empty(), "{:?}", lab.changes());
    let missing = driver.look("cpu", &moving()).await.unwrap_err();
    assert!(missing.kind == FaultKind::Unable && missing.to_string().contains("cpu-01, cpu-02, cpu-03"), "{missing}");
}

/// An application key of ItsYou.online: the token is fetched once, and used as bearer.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_with_an_application_key() {
    let lab = lab(|_| {}).await;
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = asked.clone();
    let router = axum::Router::new().fallback(move |body: String| {
        record.lock().unwrap().push(body.clone());
        let known = body.contains("grant_type=client_credentials") && body.contains("client_secret=s%26cret") && body.contains("response_type=id_token");
        async move { if known { (axum::http::StatusCode::OK, JWT) } else { (axum::http::StatusCode::UNAUTHORIZED, "no") } }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/oauth/access_token", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = |secret: &str| json!({ "portal_secret": null, "client": { "id": { "env": "id" }, "secret": { "env": secret }, "token_url": url } });
    let driver = lab.with(client("s&cret"));
    driver.members().await.unwrap();
    driver.look("cpu-01", &moving()).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 1, "kept until it is refused");
    let fault = lab.with(client("wrong")).members().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
}
