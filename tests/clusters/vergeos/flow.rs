//! §1.5 of the contract: the requests of the happy path, in their order; and how many of them there are.
use super::*;

/// Each is asked somewhere after the one before it.
#[track_caller]
fn in_order(asked: &[String], path: &[&str]) {
    let mut from = 0;
    for step in path {
        let found = asked[from..].iter().position(|a| a.starts_with(step));
        from += 1 + found.unwrap_or_else(|| panic!("no `{step}` after the first {from} of {asked:#?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_follows_the_happy_path() {
    let gpu = VmSpec { movable: false, ..VmSpec::new("gpu1") };
    let lab = lab(|setup| setup.nodes[1].vms.push(gpu)).await;
    let driver = lab.driver();
    driver.probe().await.unwrap();
    let restart = Unmovable::StopAndRestart;
    let vm = send(&driver, "node2", restart).await.unwrap();
    until(&driver, "node2", restart, "gpu1 stopped", |v| v.workloads.iter().all(|w| w.name != "gpu1")).await;
    let node = send(&driver, "node2", restart).await.unwrap();
    empty(&driver, "node2").await;
    lab.rack.power("m2", "ForceRestart", "test");
    until(&driver, "node2", restart, "down", |v| !v.ready).await;
    until(&driver, "node2", restart, "up", |v| v.ready).await;
    pay(&driver, "node2", &node).await;
    pay(&driver, "node2", &vm).await;
    let back = until(&driver, "node2", restart, "well again", |v| v.ready && v.enabled).await;
    assert!(!back.in_maintenance);

    let asked = lab.asked.lock().unwrap().clone();
    in_order(
        &asked,
        &[
            "GET /api/v4/system?fields=",
            "GET /api/v4/nodes?fields=",
            "GET /api/v4/cluster_tiers?fields=",
            "GET /api/v4/machine_status?filter=node%20eq%202",
            "POST /api/v4/vm_actions",
            "POST /api/v4/nodes/2/enable_maintenance",
            "GET /api/v4/nodes?fields=",
            "GET /api/v4/machine_status?filter=node%20eq%202",
            "GET /api/v4/machine_logs?",
            "POST /api/v4/nodes/2/disable_maintenance",
            "GET /api/v4/nodes?fields=",
            "POST /api/v4/vm_actions",
            "GET /api/v4/cluster_tiers?fields=",
        ],
    );
    let writes: Vec<&String> = asked.iter().filter(|a| !a.starts_with("GET ")).collect();
    assert_eq!(writes.len(), 4, "{writes:?}");
    // A `#` that is not encoded would end the request's path.
    assert!(asked.iter().all(|a| !a.contains('#')) && asked.iter().any(|a| a.contains("machine%23status%23status")), "{asked:#?}");
}

/// 1000 requests an hour: a look takes four at most, three in maintenance; the engine leaves five seconds between two looks, and more as the hour's share is used up.
#[tokio::test(flavor = "multi_thread")]
async fn looks_are_few_and_grow_rarer() {
    let lab = lab(|_| {}).await;
    let driver = lab.with(json!({ "requests_per_hour": 100 })).unwrap();
    let at_first = driver.look_every();
    assert_eq!(at_first, "5s".parse().unwrap());
    driver.look("node1", &ask(Unmovable::Refuse)).await.unwrap();
    assert_eq!(lab.asked.lock().unwrap().len(), 4);
    for _ in 0..9 {
        driver.look("node1", &ask(Unmovable::Refuse)).await.unwrap();
    }
    let later = driver.look_every();
    assert!(later > "20s".parse().unwrap() && later <= "5m".parse().unwrap(), "40 of an hour's 100 at once: {later}");
    send(&driver, "node1", Unmovable::Refuse).await.unwrap();
    empty(&driver, "node1").await;
    let before = lab.asked.lock().unwrap().len();
    driver.look("node1", &ask(Unmovable::Refuse)).await.unwrap();
    assert_eq!(lab.asked.lock().unwrap().len() - before, 3);
}
