//! The Palette driver against the lab: the happy path exchange by exchange, a test per row of the failure table, and what it must not believe.
use pitstop::{
    drivers::cluster::{Ask, Cluster, KINDS},
    kinds,
    lab::{
        kubernetes,
        palette::{self, Exchange, Faults, NodeSpec, Setup},
        rack::{MachineSpec, Pace, Quirks, Rack},
        tls::Tls,
    },
    model::{Connect, Fault, FaultKind, LeaseAnswer, Loan, NodeView, RunId, Secret, SecretRef, Secrets, Setting, Trust},
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

mod rows;

const KEY: &str = "lab-key-0123456789";

struct Given;
impl Secrets for Given {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        match from {
            SecretRef::Env(name) => Ok(Secret::new(name.clone())),
            other => Err(Fault::new(FaultKind::Invalid, format!("no {other}"))),
        }
    }
}

struct Lab {
    rack: Rack,
    faults: Faults,
    record: Arc<Mutex<Vec<Exchange>>>,
    url: String,
}

/// Workers w-01 to w-03 on machines of those names.
async fn lab(faults: &[&'static str]) -> Lab {
    lab_of(faults, 3).await
}
async fn lab_of(faults: &[&'static str], workers: usize) -> Lab {
    let machine = |n: usize| MachineSpec {
        name: format!("w-{n:02}"),
        uuid: format!("4c4c4544-0051-3010-8052-b4c04f4e4d{n:02}"),
        serial: format!("LAB00{n:02}"),
        machine_id: format!("{n:02}f3a5c7").repeat(4),
        services: vec![],
        quirks: Quirks::default(),
    };
    let rack = Rack::new((1..=workers).map(machine).collect(), Pace { scale: 0.005, ..Pace::default() }, Box::new(std::io::sink()));
    let faults = Faults::named(faults.iter().copied());
    let nodes = (1..=workers).map(|n| NodeSpec::new(&format!("w-{n:02}"), n)).collect();
    let setup = Setup { nodes, api_key: KEY.into(), faults: faults.clone(), record: Arc::default() };
    let record = setup.record.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(rack.clone().keep_ticking());
    tokio::spawn(palette::serve(rack.clone(), setup, listener, None));
    Lab { rack, faults, record, url }
}

fn driver_in(url: &str, dir: &std::path::Path, more: Value) -> Result<Arc<dyn Cluster>, Fault> {
    let mut body = json!({ "url": url, "api_key": { "env": KEY }, "project": "edge", "cluster": "dc1", "request_timeout": "2s" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = kinds::make(KINDS, &Setting { kind: "palette".into(), body }).unwrap();
    config.connect(&Connect { node: None, secrets: Arc::new(Given), trust: Trust::default(), base: dir.into(), home: dir.into() })
}
fn driver(url: &str, more: Value) -> Arc<dyn Cluster> {
    driver_in(url, "/".as_ref(), more).unwrap()
}

impl Lab {
    fn driver(&self) -> Arc<dyn Cluster> {
        driver(&self.url, json!({}))
    }
    /// `PUT …/maintenance {"action":"cordon"} 204`, without uids.
    fn exchanges(&self) -> Vec<String> {
        let record = self.record.lock().unwrap();
        let line = |e: &Exchange| {
            let path = e.path.replace(palette::PROJECT, "64p").replace(palette::CLUSTER, "65c").replace(palette::CONFIG, "66f");
            let path = path.split('/').map(|part| if part.len() == 24 && part.starts_with("670") { "67m" } else { part }).collect::<Vec<_>>().join("/");
            let body = if e.body.is_null() { String::new() } else { format!(" {}", e.body) };
            format!("{} {path}{body} {}", e.method, e.status)
        };
        record.iter().map(line).collect()
    }
    fn writes(&self) -> Vec<String> {
        self.exchanges().into_iter().filter(|e| e.starts_with("PUT") || e.contains("/sync")).collect()
    }
}

fn ask() -> Ask {
    Ask { run: Some(RunId("r".into())), ..Ask::default() }
}
async fn look(driver: &Arc<dyn Cluster>, node: &str) -> NodeView {
    driver.look(node, &ask()).await.unwrap()
}
/// Sends what is on offer as a run would, until it holds; returns what was borrowed.
async fn until(driver: &Arc<dyn Cluster>, node: &str, what: &str, holds: impl Fn(&NodeView) -> bool) -> (NodeView, Vec<Loan>) {
    let began = Instant::now();
    let mut loans: Vec<Loan> = Vec::new();
    let mut sent: Vec<(String, Instant)> = Vec::new();
    loop {
        let view = look(driver, node).await;
        if holds(&view) {
            return (view, loans);
        }
        for act in &view.moves {
            // As the engine: not at once again.
            if sent.iter().rev().find(|(w, _)| *w == act.what).is_some_and(|(_, at)| at.elapsed() < Duration::from_millis(40)) {
                continue;
            }
            sent.push((act.what.clone(), Instant::now()));
            driver.act(node, act, &ask()).await.unwrap();
            loans.extend(act.borrows.clone().filter(|l| !loans.iter().any(|had| had.id == l.id)));
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not {what}: {view:#?}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
fn empty(view: &NodeView) -> bool {
    view.in_maintenance && view.workloads.is_empty() && view.moves.is_empty() && view.blockers.is_empty()
}
async fn pay(driver: &Arc<dyn Cluster>, node: &str, loan: &Loan) {
    driver.act(node, &driver.give_back(node, loan), &ask()).await.unwrap();
    let began = Instant::now();
    while !driver.is_paid(node, loan).await.unwrap() {
        assert!(began.elapsed() < Duration::from_secs(20), "{} is never paid", loan.owed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The exchanges of §3.4, in their order.
#[tokio::test(flavor = "multi_thread")]
async fn the_happy_path_is_the_documented_exchange() {
    let lab = lab(&[]).await;
    let driver = lab.driver();
    let before = look(&driver, "w-02").await;
    assert!(before.ready && before.enabled && before.workloads.len() == 2, "{before:#?}");
    assert_eq!(before.identity.addresses, ["192.0.2.12"]);
    let (out, loans) = until(&driver, "w-02", "empty", empty).await;
    assert!(out.ready && loans.len() == 1 && lab.rack.seen("w-02").unwrap().running.is_empty());
    lab.rack.power("w-02", "ForceRestart", "test");
    until(&driver, "w-02", "down", |v| !v.ready && v.in_maintenance).await;
    until(&driver, "w-02", "up", |v| v.ready && v.in_maintenance).await;
    pay(&driver, "w-02", &loans[0]).await;
    assert!(look(&driver, "w-02").await.enabled);

    let saw = lab.exchanges();
    let mut from = 0;
    for step in [
        "GET /v1/dashboard/projects/metadata?name=edge 200",
        "GET /v1/dashboard/spectroclusters/metadata 200",
        "GET /v1/spectroclusters/65c 200",
        "GET /v1/cloudconfigs/maas/66f 200",
        "GET /v1/cloudconfigs/maas/66f/machinePools/workers/machines?limit=50 200",
        "GET /v1/projects/64p/preferences/clusterSettings 200",
        "PUT /v1/cloudconfigs/maas/66f/machinePools/workers/machines/67m/maintenance {\"action\":\"cordon\"} 204",
        "GET /v1/cloudconfigs/maas/66f/machinePools/workers/machines/67m 200",
        "POST /v1/spectroclusters/65c/workloads/sync {} 202",
        "POST /v1/dashboard/spectroclusters/65c/workloads/pod {\"filter\":{\"namespaces\":[]}} 200",
        "PUT /v1/cloudconfigs/maas/66f/machinePools/workers/machines/67m/maintenance {\"action\":\"uncordon\"} 204",
        "GET /v1/cloudconfigs/maas/66f/machinePools/workers/machines/67m 200",
    ] {
        from += saw[from..].iter().position(|e| e == step).unwrap_or_else(|| panic!("`{step}` is not in {:#?}", &saw[from..])) + 1;
    }
    assert!(saw.iter().all(|e| !e.contains("maintenance/status")), "the agent's own way");
    assert_eq!(saw.iter().filter(|e| e.starts_with("PUT")).count(), 2);
    let record = lab.record.lock().unwrap();
    assert!(record.iter().skip(1).all(|e| e.project.as_deref() == Some(palette::PROJECT)), "everything but the search for the project is in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_writes_nothing() {
    let lab = lab(&["auto-remediation"]).await;
    for remediation in ["refuse", "disable-and-restore"] {
        let driver = driver(&lab.url, json!({ "remediation": remediation }));
        let reached = driver.probe().await.unwrap();
        assert!(reached.missing_rights.is_empty() && reached.what.contains("dc1 (maas)"), "{}", reached.what);
        let view = look(&driver, "w-01").await;
        assert!(remediation == "refuse" || driver.is_paid("w-01", view.moves[0].borrows.as_ref().unwrap()).await.unwrap());
        assert_eq!(driver.members().await.unwrap().iter().filter(|m| m.out.is_none()).count(), 5);
        assert_eq!(driver.lease("me", Duration::from_secs(1)).await, Ok(LeaseAnswer::Unsupported));
    }
    assert_eq!(lab.writes(), Vec::<String>::new());
}

/// The new action with the old state: only the pods tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_completed_is_not_believed() {
    let lab = lab(&["stale-completed"]).await;
    let driver = lab.driver();
    let enter = look(&driver, "w-02").await.moves[0].clone();
    driver.act("w-02", &enter, &ask()).await.unwrap();
    let at_once = look(&driver, "w-02").await;
    assert!(at_once.in_maintenance && !at_once.workloads.is_empty(), "the fault does not bite: {at_once:#?}");
    let (_, _) = until(&driver, "w-02", "empty", empty).await;
    assert!(lab.rack.seen("w-02").unwrap().running.is_empty(), "believed too early");
}

/// Palette's list of pods lags behind; a list that was read before the node was emptied proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn pods_are_read_anew_and_finished_ones_and_daemons_do_not_count() {
    let lab = lab(&[]).await;
    let driver = lab.driver();
    until(&driver, "w-02", "empty", empty).await;
    assert_eq!(lab.writes().iter().filter(|w| w.contains("/sync")).count(), 3);
    // A static pod has no owner in that list: such a node is never called empty on Palette's word alone.
    let control = look(&driver, "dc1-cp-01").await;
    assert!(control.workloads.iter().any(|w| w.name == "shop/etcd-dc1-cp-01" && w.stuck.as_ref().unwrap().contains("kubeconfig")), "{control:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_machines_is_read() {
    let lab = lab_of(&[], 61).await;
    let driver = lab.driver();
    assert_eq!(driver.members().await.unwrap().len(), 63);
    assert!(look(&driver, "w-61").await.ready);
    assert!(lab.exchanges().iter().any(|e| e.contains("limit=50&continue=from-50 200")));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_exactly() {
    let lab = lab(&[]).await;
    let driver = lab.driver();
    // By address; the limits then know it by the name that was asked for.
    assert!(look(&driver, "192.0.2.13").await.ready);
    assert!(driver.members().await.unwrap().iter().any(|m| m.name == "192.0.2.13"));
    let gone = driver.look("w-09", &ask()).await.unwrap_err();
    assert!(gone.kind == FaultKind::Unable && gone.to_string().contains("w-01"), "{gone}");
    for (what, more) in [("project", json!({ "project": "edg" })), ("cluster", json!({ "cluster": "dc" }))] {
        let fault = crate::palette::driver(&lab.url, more).probe().await.err().unwrap();
        assert!(fault.kind == FaultKind::Unable && fault.to_string().contains(what), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_remediation_is_refused_or_borrowed() {
    let lab = lab(&["auto-remediation"]).await;
    let refused = look(&lab.driver(), "w-02").await;
    assert!(refused.impossible[0].object == "auto-remediation" && refused.moves.is_empty(), "{refused:#?}");
    let driver = driver(&lab.url, json!({ "remediation": "disable-and-restore" }));
    let (_, loans) = until(&driver, "w-02", "empty", empty).await;
    assert_eq!(loans.iter().map(|l| l.id.0.as_str()).collect::<Vec<_>>(), ["remediation", "maintenance"]);
    let puts = |lab: &Lab| lab.writes().into_iter().filter(|w| w.contains("Remediation")).collect::<Vec<_>>();
    assert!(puts(&lab)[0].contains(r#"{"disableNodesAutoRemediation":true,"isEnabled":true}"#));
    // Not while any node is out: it would be deleted.
    let (_, others) = until(&driver, "w-03", "empty", empty).await;
    pay(&driver, "w-02", &loans[1]).await;
    let early = driver.act("w-02", &driver.give_back("w-02", &loans[0]), &ask()).await.unwrap_err();
    assert!(early.kind == FaultKind::Unwilling && early.to_string().contains("w-03"), "{early}");
    assert!(others.iter().all(|l| l.id.0 != "remediation"), "it was off already: nothing to borrow");
    pay(&driver, "w-03", &others[0]).await;
    pay(&driver, "w-02", &loans[0]).await;
    assert!(puts(&lab)[1].contains(r#"{"disableNodesAutoRemediation":false,"isEnabled":true}"#), "as it was");
}

/// With a kubeconfig the cluster itself has to show the cordon, and says what runs there.
#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_itself_is_the_second_witness() {
    let lab = lab(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (tls, dir) = (Tls::new(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("kubeconfig"), kubernetes::kubeconfig("dc1", listener.local_addr().unwrap(), &tls, "token")).unwrap();
    let (rack, nodes) = (lab.rack.clone(), (1..=3).map(|n| (format!("w-{n:02}"), format!("w-{n:02}"))).collect());
    tokio::spawn(async move { kubernetes::serve(rack, nodes, listener, &tls, "token").await });
    let driver = driver_in(&lab.url, dir.path(), json!({ "kubeconfig": "kubeconfig" })).unwrap();
    let view = look(&driver, "w-02").await;
    assert!(view.identity.uuid.is_some() && view.boot.is_some() && !view.workloads.is_empty() && view.fixed > 0, "{view:#?}");
    driver.act("w-02", &view.moves[0], &ask()).await.unwrap();
    // Palette says that it is done; nobody has cordoned it in the cluster.
    let says = |v: &NodeView| v.blockers.iter().any(|b| b.why.contains("SchedulingDisabled"));
    let (view, _) = until(&driver, "w-02", "told apart", says).await;
    assert!(!view.in_maintenance && !view.workloads.is_empty());
    assert!(lab.exchanges().iter().all(|e| !e.contains("workloads/pod")), "who has the cluster's word needs no list that lags behind");
}
