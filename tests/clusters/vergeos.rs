//! The VergeOS driver against the lab over HTTPS, and against servers that break off.
use pitstop::{
    drivers::cluster::{Ask, Cluster, KINDS},
    kinds,
    lab::{
        rack::{MachineSpec, Pace, Quirks, Rack},
        tls::Tls,
        vergeos::{self, Creds, Faults, NodeSpec, Setup, Shape, VmSpec},
    },
    model::{Act, Boot, Connect, Fault, FaultKind, LeaseAnswer, Loan, NodeView, Repeat, Secret, SecretRef, Secrets, Setting, Trust, Unmovable},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{io::AsyncReadExt, net::TcpListener};

mod flow;
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

/// The rack's record, shared with the test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);
impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl Log {
    fn of(&self, kind: &str) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        let lines = String::from_utf8_lossy(&bytes).into_owned();
        lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|l| l["kind"] == kind).collect()
    }
    fn writes(&self) -> Vec<String> {
        self.of("api-write").iter().map(|l| l["what"].as_str().unwrap().to_owned()).collect()
    }
}

struct Lab {
    rack: Rack,
    log: Log,
    faults: Faults,
    asked: Arc<Mutex<Vec<String>>>,
    url: String,
    dir: tempfile::TempDir,
    pin: String,
}

fn rack(log: &Log) -> Rack {
    let machine = |n: u32| MachineSpec {
        name: format!("m{n}"),
        uuid: format!("4c4c4544-0051-3010-8052-b4c04f4e4d3{n}"),
        serial: format!("LAB000{n}"),
        machine_id: format!("{n}f3a5c").repeat(8)[..32].to_owned(),
        services: vec![],
        quirks: Quirks::default(),
    };
    Rack::new((1..=3).map(machine).collect(), Pace { scale: 0.005, ..Pace::default() }, Box::new(log.clone()))
}

async fn lab(change: impl FnOnce(&mut Setup)) -> Lab {
    let log = Log::default();
    let rack = rack(&log);
    let nodes = (1..=3).map(|n| NodeSpec::new(&format!("node{n}"), &format!("m{n}"), &format!("192.0.2.1{n}"))).collect();
    let creds = Creds { api_key: KEY.into(), username: "admin".into(), password: "pw".into() };
    let mut setup = Setup { nodes, creds, shape: Shape::default(), faults: Faults::default(), asked: Default::default() };
    change(&mut setup);
    let (faults, asked) = (setup.faults.clone(), setup.asked.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = Tls::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), tls.ca_pem()).unwrap();
    let pin = tls.fingerprint().to_owned();
    tokio::spawn(rack.clone().keep_ticking());
    tokio::spawn(vergeos::serve(rack.clone(), setup, listener, Some(tls)));
    Lab { rack, log, faults, asked, url, dir, pin }
}

fn driver(url: &str, dir: &std::path::Path, more: Value) -> Result<Arc<dyn Cluster>, Fault> {
    let mut body = json!({ "url": url, "api_key": { "env": KEY }, "tls": { "ca_file": "ca.pem" }, "request_timeout": "2s" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.as_object_mut().unwrap().retain(|_, v| !v.is_null());
    let config = kinds::make(KINDS, &Setting { kind: "vergeos".into(), body }).unwrap();
    config.connect(&Connect { node: None, secrets: Arc::new(Given), trust: Trust::default(), base: dir.into(), home: dir.into() })
}

impl Lab {
    fn driver(&self) -> Arc<dyn Cluster> {
        driver(&self.url, self.dir.path(), json!({})).unwrap()
    }
    fn with(&self, more: Value) -> Result<Arc<dyn Cluster>, Fault> {
        driver(&self.url, self.dir.path(), more)
    }
    fn running(&self, machine: &str) -> Vec<String> {
        self.rack.seen(machine).unwrap().running
    }
}

fn ask(unmovable: Unmovable) -> Ask {
    Ask { unmovable, ..Ask::default() }
}

async fn until(driver: &Arc<dyn Cluster>, node: &str, unmovable: Unmovable, what: &str, holds: impl Fn(&NodeView) -> bool) -> NodeView {
    let began = Instant::now();
    loop {
        let view = driver.look(node, &ask(unmovable)).await.unwrap();
        if holds(&view) {
            return view;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not {what}: {view:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
async fn empty(driver: &Arc<dyn Cluster>, node: &str) -> NodeView {
    until(driver, node, Unmovable::Refuse, "empty and in maintenance", |v| v.in_maintenance && v.workloads.is_empty()).await
}
/// Sends the only move on offer, and returns what it borrowed.
async fn send(driver: &Arc<dyn Cluster>, node: &str, unmovable: Unmovable) -> Result<Loan, Fault> {
    let view = driver.look(node, &ask(unmovable)).await.unwrap();
    assert_eq!(view.moves.len(), 1, "{view:#?}");
    let act = &view.moves[0];
    driver.act(node, act, &ask(unmovable)).await.map(|()| act.borrows.clone().unwrap())
}
async fn pay(driver: &Arc<dyn Cluster>, node: &str, loan: &Loan) {
    driver.act(node, &driver.give_back(node, loan), &ask(Unmovable::Refuse)).await.unwrap();
    let began = Instant::now();
    while !driver.is_paid(node, loan).await.unwrap() {
        assert!(began.elapsed() < Duration::from_secs(20), "{} is never paid", loan.owed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_emptied_rebooted_and_comes_back() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    let before = driver.look("node2", &ask(Unmovable::Refuse)).await.unwrap();
    assert!(before.ready && before.enabled && !before.in_maintenance && before.workloads.len() == 2, "{before:#?}");
    assert_eq!(before.identity.bmc_address.as_deref(), Some("192.0.2.12"));
    assert_eq!(lab.running("m2"), ["vm app-node2", "vm db-node2"]);

    let loan = send(&driver, "node2", Unmovable::Refuse).await.unwrap();
    assert_eq!((loan.to.as_str(), &loan.before["maintenance"]), ("cluster", &json!(false)));
    // The flag is set at once, and nothing has moved yet.
    let at_once = driver.look("node2", &ask(Unmovable::Refuse)).await.unwrap();
    assert!(
        !at_once.in_maintenance && !at_once.enabled && !at_once.workloads.is_empty() && at_once.moves.is_empty() && !at_once.blockers.is_empty(),
        "{at_once:#?}"
    );
    assert!(!driver.is_paid("node2", &loan).await.unwrap());
    let out = empty(&driver, "node2").await;
    assert!(out.ready, "{:?}", out.not_ready);
    assert!(lab.running("m2").is_empty());
    assert_eq!(lab.running("m1").len() + lab.running("m3").len(), 6);
    let members = driver.members().await.unwrap();
    assert_eq!(members.iter().filter_map(|m| m.out.as_ref().map(|why| (m.name.as_str(), why.as_str()))).collect::<Vec<_>>(), [("node2", "in maintenance")]);

    lab.rack.power("m2", "ForceRestart", "test");
    let down = until(&driver, "node2", Unmovable::Refuse, "down", |v| !v.ready).await;
    assert!(down.in_maintenance, "it stays in maintenance while it reboots");
    let up = until(&driver, "node2", Unmovable::Refuse, "up", |v| v.ready).await;
    assert!(up.in_maintenance && up.workloads.is_empty());
    assert!(matches!((&before.boot, &up.boot), (Some(Boot::Started(a)), Some(Boot::Started(b))) if a != b), "{:?} {:?}", before.boot, up.boot);

    pay(&driver, "node2", &loan).await;
    let back = until(&driver, "node2", Unmovable::Refuse, "well, with its VMs", |v| v.ready && v.enabled && v.workloads.len() == 2).await;
    assert!(!back.in_maintenance);
    assert!(lab.log.of("lost-workload").is_empty());
    assert_eq!(lab.log.writes(), ["enter maintenance node2", "leave maintenance node2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_maintenance_before_us_stays_so() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    let theirs = send(&driver, "node1", Unmovable::Refuse).await.unwrap();
    let view = empty(&driver, "node1").await;
    assert!(view.moves.is_empty() && view.marked_by.is_none(), "nothing to borrow: {view:#?}");
    let ours = Loan { before: json!({ "maintenance": true, "node": "1" }), ..theirs };
    assert!(driver.is_paid("node1", &ours).await.unwrap());
    driver.act("node1", &driver.give_back("node1", &ours), &ask(Unmovable::Refuse)).await.unwrap();
    assert!(driver.look("node1", &ask(Unmovable::Refuse)).await.unwrap().in_maintenance);
    assert_eq!(lab.log.writes(), ["enter maintenance node1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_writes_nothing() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    let reached = driver.probe().await.unwrap();
    assert!(reached.what.contains("26.1.5") && reached.missing_rights.is_empty() && !reached.lease, "{}", reached.what);
    for unmovable in [Unmovable::Refuse, Unmovable::StopAndRestart, Unmovable::StopAndStartElsewhere] {
        driver.look("node1", &ask(unmovable)).await.unwrap();
    }
    driver.members().await.unwrap();
    let loan = driver.look("node1", &ask(Unmovable::Refuse)).await.unwrap().moves[0].borrows.clone().unwrap();
    assert!(driver.is_paid("node1", &loan).await.unwrap(), "in service: nothing is owed");
    assert_eq!(driver.lease("me", Duration::from_secs(1)).await, Ok(LeaseAnswer::Unsupported));
    assert!(lab.log.writes().is_empty());
    let missing = driver.look("node", &ask(Unmovable::Refuse)).await.unwrap_err();
    assert!(missing.kind == FaultKind::Unable && missing.to_string().contains("node1, node2, node3"), "{missing}");
}

/// Counts every method that reaches a server, with bodies of its own making: nothing but GET may come from a look.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_sends_only_reads() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = seen.clone();
    let router = axum::Router::new().fallback(move |method: axum::http::Method, uri: axum::http::Uri| {
        record.lock().unwrap().push(format!("{method} {}", uri.path()));
        let rows = match uri.path() {
            "/api/v4/nodes" => json!([{ "$key": 1, "name": "node1", "machine": { "$key": 9 }, "maintenance": false, "status": "running" }]),
            "/api/v4/system" => json!({ "$key": 1, "yb_version": "4.13.2" }),
            _ => json!([]),
        };
        async move { axum::Json(rows) }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let driver = driver(&url, "/".as_ref(), json!({ "tls": null })).unwrap();
    assert!(driver.probe().await.unwrap().what.contains("4.13.2"));
    driver.look("node1", &ask(Unmovable::StopAndRestart)).await.unwrap();
    driver.members().await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 7 && seen.iter().all(|r| r.starts_with("GET ")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_unknown_and_the_next_look_tells() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    lab.faults.lose_replies.store(true, Ordering::Relaxed);
    assert_eq!(send(&driver, "node3", Unmovable::Refuse).await.unwrap_err().kind, FaultKind::Unknown);
    assert_eq!(lab.log.writes(), ["enter maintenance node3"], "sent once, never again by itself");
    let view = empty(&driver, "node3").await;
    assert!(view.moves.is_empty());
}

/// Reads a request over TCP and breaks off, as a server over its session limit does.
async fn breaks_off() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Unread bytes make it a reset, as there.
            stream.read_u8().await.ok();
        }
    });
    url
}

fn act(args: Value) -> Act {
    let mut act = Act::new("cluster", "enter maintenance node1", Repeat::Freely);
    act.args = args;
    act
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_and_closed_ports() {
    let dir = tempfile::tempdir().unwrap();
    let broken = driver(&breaks_off().await, dir.path(), json!({ "tls": null })).unwrap();
    let enter = act(json!({ "do": "enter", "node": "1" }));
    assert_eq!(broken.act("node1", &enter, &ask(Unmovable::Refuse)).await.unwrap_err().kind, FaultKind::Unknown);
    assert_eq!(broken.look("node1", &ask(Unmovable::Refuse)).await.unwrap_err().kind, FaultKind::Unknown);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = driver(&format!("http://{closed}"), dir.path(), json!({ "tls": null })).unwrap();
    assert_eq!(closed.act("node1", &enter, &ask(Unmovable::Refuse)).await.unwrap_err().kind, FaultKind::Unreachable);
    assert_eq!(closed.probe().await.err().unwrap().kind, FaultKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_becomes_its_fault() {
    async fn with(status: u16, body: &'static str) -> (FaultKind, FaultKind, String) {
        let router = axum::Router::new().fallback(move || async move { (axum::http::StatusCode::from_u16(status).unwrap(), body) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let driver = driver(&url, "/".as_ref(), json!({ "tls": null })).unwrap();
        let write = driver.act("node1", &act(json!({ "do": "poweroff", "vm": "7" })), &ask(Unmovable::Refuse)).await;
        let read = driver.members().await.unwrap_err();
        (read.kind, write.as_ref().err().map_or(FaultKind::Invalid, |f| f.kind), write.err().map(|f| f.to_string()).unwrap_or_default())
    }
    use FaultKind::*;
    for (status, body, read, write) in [
        (401, "{}", Denied, Denied),
        (403, "{}", Denied, Denied),
        (404, "{}", Unable, Unable),
        (422, r#"{"err":"vSAN tier 1 is not redundant"}"#, Unwilling, Unwilling),
        (429, "", Unwilling, Unwilling),
        (500, "", Unwilling, Unknown),
        (503, "", Unwilling, Unwilling),
        (302, "", Unable, Unable),
        (200, r#"{"err":"no"}"#, Invalid, Unwilling),
    ] {
        let (r, w, text) = with(status, body).await;
        assert_eq!((r, w), (read, write), "{status} {text}");
        assert!(status != 422 || text.contains("tier 1 is not redundant"), "{text}");
    }
    // Senseless reads are never an empty list.
    for garbage in ["", "null", "<html>", "{}", "\"x\"", "[]", "[{}]", "[1]"] {
        assert_eq!(with(200, garbage).await.0, Invalid, "{garbage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_move_is_named_in_the_plan_or_stopped_and_started_again() {
    let gpu = VmSpec { movable: false, ..VmSpec::new("gpu1") };
    let lab = lab(|setup| setup.nodes[1].vms.push(gpu)).await;
    let driver = lab.driver();
    let view = driver.look("node2", &ask(Unmovable::Refuse)).await.unwrap();
    assert_eq!(view.impossible.iter().map(|b| b.object.as_str()).collect::<Vec<_>>(), ["vm gpu1"]);
    assert!(view.moves.is_empty() && view.impossible[0].why.contains("CPU type host"), "{view:#?}");

    let restart = Unmovable::StopAndRestart;
    let vm = send(&driver, "node2", restart).await.unwrap();
    assert_eq!(vm.owed, "start vm gpu1");
    assert!(!driver.is_paid("node2", &vm).await.unwrap_or(true) || lab.running("m2").contains(&"vm gpu1".to_owned()));
    until(&driver, "node2", restart, "gpu1 stopped", |v| v.workloads.iter().all(|w| w.name != "gpu1")).await;
    assert!(!driver.is_paid("node2", &vm).await.unwrap());
    let node = send(&driver, "node2", restart).await.unwrap();
    empty(&driver, "node2").await;
    pay(&driver, "node2", &node).await;
    pay(&driver, "node2", &vm).await;
    assert!(lab.log.of("lost-workload").is_empty());
    assert_eq!(lab.log.writes(), ["poweroff vm gpu1", "enter maintenance node2", "leave maintenance node2", "poweron vm gpu1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_blocks_is_named_while_it_waits() {
    let pinned = VmSpec { movable: false, method: "live", ..VmSpec::new("pinned") };
    let lab = lab(|setup| setup.nodes[0].vms.push(pinned)).await;
    let driver = lab.driver();
    // Someone entered it by hand.
    driver.act("node1", &act(json!({ "do": "enter", "node": "1" })), &ask(Unmovable::Refuse)).await.unwrap();
    let view = until(&driver, "node1", Unmovable::Refuse, "down to the pinned one", |v| v.workloads.len() == 1).await;
    assert!(!view.in_maintenance && view.blockers.iter().any(|b| b.object == "vm pinned" && b.why.contains("migration method live")), "{view:#?}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!driver.look("node1", &ask(Unmovable::Refuse)).await.unwrap().in_maintenance);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_shapes_of_the_action_are_tried_only_where_nothing_happened() {
    for shape in [Shape::OnTheRow, Shape::ActionByName, Shape::ActionRow] {
        let lab = lab(|setup| setup.shape = shape).await;
        let driver = lab.driver();
        let loan = send(&driver, "node1", Unmovable::Refuse).await.unwrap();
        empty(&driver, "node1").await;
        pay(&driver, "node1", &loan).await;
        assert_eq!(lab.log.writes(), ["enter maintenance node1", "leave maintenance node1"], "{shape:?}");
    }
    let lab = lab(|_| {}).await;
    let gone = lab.driver().act("node9", &act(json!({ "do": "enter", "node": "9" })), &ask(Unmovable::Refuse)).await.unwrap_err();
    assert!(gone.kind == FaultKind::Unable && gone.causes.len() == 3, "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_certificates() {
    let lab = lab(|_| {}).await;
    let login = json!({ "api_key": null, "username": { "env": "admin" }, "password": { "env": "pw" } });
    lab.with(login).unwrap().probe().await.unwrap();
    lab.with(json!({ "tls": { "sha256": lab.pin } })).unwrap().probe().await.unwrap();
    let insecure = lab.with(json!({ "tls": "insecure" })).unwrap().probe().await.unwrap();
    assert!(insecure.warnings.iter().any(|w| w.contains("not verified")));
    let wrong = lab.with(json!({ "api_key": { "env": "wrong-key" } })).unwrap().probe().await.err().unwrap();
    assert!(wrong.kind == FaultKind::Denied && !format!("{wrong} {wrong:?}").contains("wrong-key"), "{wrong}");
    for tls in [json!("system"), json!({ "sha256": "9f".repeat(32) })] {
        let fault = lab.with(json!({ "tls": tls })).unwrap().probe().await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
    }
    assert_eq!(lab.with(json!({ "api_key": { "file": "nowhere" } })).err().unwrap().kind, FaultKind::Invalid);
    assert!(lab.with(json!({ "tls": { "ca_file": "nowhere.pem" } })).is_err());
    lab.faults.throttle.store(true, Ordering::Relaxed);
    let many = lab.driver().probe().await.err().unwrap();
    assert!(many.kind == FaultKind::Unwilling && many.to_string().contains("retry-after 10"), "{many}");
}
