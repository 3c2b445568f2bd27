//! The OpenvCloud driver against the lab's portal over HTTPS: a test per row of the failure table, per trap of its state machine, and per correction.
use pitstop::{
    drivers::cluster::{Ask, Cluster, KINDS},
    kinds,
    lab::{
        openvcloud::{self, Creds, Faults, NodeSpec, Setup, Version},
        rack::{MachineSpec, Pace, Quirks, Rack},
        tls::Tls,
    },
    model::{Act, Blocker, Connect, Fault, FaultKind, How, Loan, NodeView, Repeat, Secret, SecretRef, Secrets, Setting, Trust},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

#[path = "openvcloud/failures.rs"]
mod failures;
#[path = "openvcloud/flow.rs"]
mod flow;
#[path = "openvcloud/traps.rs"]
mod traps;

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

const SECRET: &str = "portal0secret";
const JWT: &str = "eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6Im9wcyIsImlzcyI6Iml0c3lvdW9ubGluZSJ9.c2ln";

struct Lab {
    rack: Rack,
    log: Log,
    faults: Faults,
    asked: Arc<Mutex<Vec<String>>>,
    url: String,
    dir: tempfile::TempDir,
}

async fn lab(change: impl FnOnce(&mut Setup)) -> Lab {
    let log = Log::default();
    let machine = |n: u32| MachineSpec {
        name: format!("cpu-0{n}"),
        uuid: format!("4c4c4544-0051-3010-8052-b4c04f4e4d3{n}"),
        serial: format!("LAB000{n}"),
        machine_id: format!("{n}f3a5c").repeat(8)[..32].to_owned(),
        services: vec![],
        quirks: Quirks::default(),
    };
    let rack = Rack::new((1..=3).map(machine).collect(), Pace { scale: 0.005, ..Pace::default() }, Box::new(log.clone()));
    let nodes = (1..=3).map(|n| NodeSpec::new(&format!("cpu-0{n}"), &format!("192.0.2.1{n}"))).collect();
    let creds = Creds { jwt: JWT.into(), username: "ops@itsyouonline".into(), password: "pw".into(), secret: SECRET.into(), groups: vec!["level2", "admin"] };
    let mut setup = Setup { nodes, creds, version: Version::default(), faults: Faults::default(), destroyed: 0, asked: Arc::default() };
    change(&mut setup);
    let (faults, asked) = (setup.faults.clone(), setup.asked.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = Tls::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), tls.ca_pem()).unwrap();
    tokio::spawn(rack.clone().keep_ticking());
    tokio::spawn(openvcloud::serve(rack.clone(), setup, listener, Some(tls)));
    Lab { rack, log, faults, asked, url, dir }
}

fn driver(url: &str, dir: &std::path::Path, more: Value) -> Arc<dyn Cluster> {
    let mut body = json!({ "url": url, "portal_secret": { "env": SECRET }, "tls": { "ca_file": "ca.pem" }, "request_timeout": "2s" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.as_object_mut().unwrap().retain(|_, v| !v.is_null());
    let config = kinds::make(KINDS, &Setting { kind: "openvcloud".into(), body }).unwrap();
    config.connect(&Connect { node: None, secrets: Arc::new(Given), trust: Trust::default(), base: dir.into(), home: dir.into() }).unwrap()
}

impl Lab {
    fn driver(&self) -> Arc<dyn Cluster> {
        self.with(json!({}))
    }
    fn with(&self, more: Value) -> Arc<dyn Cluster> {
        driver(&self.url, self.dir.path(), more)
    }
    fn by_session(&self) -> Arc<dyn Cluster> {
        self.with(json!({ "portal_secret": null, "username": { "env": "ops@itsyouonline" }, "password": { "env": "pw" } }))
    }
    fn of(&self, kind: &str) -> Vec<Value> {
        let bytes = self.log.0.lock().unwrap();
        let lines = String::from_utf8_lossy(&bytes).into_owned();
        lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|l| l["kind"] == kind).collect()
    }
    fn writes(&self) -> Vec<String> {
        self.of("api-write").iter().map(|l| l["what"].as_str().unwrap().to_owned()).collect()
    }
    /// Requests whose path has this word in it.
    fn asked(&self, word: &str) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|a| a.contains(word)).cloned().collect()
    }
    fn changes(&self) -> Vec<String> {
        let all = self.asked.lock().unwrap();
        let reads = ["computenode/list", "getVFW", "users/authenticate", "GET "];
        all.iter().filter(|a| !reads.iter().any(|r| a.contains(r))).cloned().collect()
    }
}

fn moving() -> Ask {
    Ask::default()
}
/// Every firewall of the lab may go dark.
fn stopping() -> Ask {
    Ask { how: How::Stop, cloudspaces: (1..=3).map(|n| format!("space-cpu-0{n}")).collect(), ..Ask::default() }
}

async fn until(driver: &Arc<dyn Cluster>, node: &str, ask: &Ask, what: &str, holds: impl Fn(&NodeView) -> bool) -> NodeView {
    let began = Instant::now();
    loop {
        let view = driver.look(node, ask).await.unwrap();
        if holds(&view) {
            return view;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not {what}: {view:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends whatever is offered until the node is empty, as the step does: each act once. What it borrowed.
async fn evacuate(driver: &Arc<dyn Cluster>, node: &str, ask: &Ask) -> Vec<Loan> {
    let began = Instant::now();
    let mut sent: Vec<String> = Vec::new();
    let mut loans = Vec::new();
    loop {
        let view = driver.look(node, ask).await.unwrap();
        assert!(view.impossible.is_empty(), "{:#?}", view.impossible);
        for act in view.moves.iter().filter(|a| !sent.contains(&a.what)) {
            driver.act(node, act, ask).await.unwrap();
            loans.extend(act.borrows.clone());
        }
        sent.extend(view.moves.iter().map(|a| a.what.clone()));
        if view.in_maintenance && view.workloads.is_empty() && view.blockers.is_empty() {
            return loans;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never empty: {view:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Newest first, as `enable` does.
async fn pay(driver: &Arc<dyn Cluster>, node: &str, loans: &[Loan]) {
    let began = Instant::now();
    for loan in loans.iter().rev() {
        if !driver.is_paid(node, loan).await.unwrap_or(false) {
            driver.act(node, &driver.give_back(node, loan), &moving()).await.unwrap();
        }
    }
    for loan in loans {
        while !driver.is_paid(node, loan).await.unwrap_or(false) {
            assert!(began.elapsed() < Duration::from_secs(20), "{} is never paid", loan.owed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn act(args: Value) -> Act {
    Act { args, ..Act::new("cluster", "enter maintenance cpu-02", Repeat::Freely) }
}
/// As the driver itself offers it for node 2 of the lab.
fn enter() -> Act {
    act(json!({ "do": "enter", "stack": 5, "grid": 1, "node": 12, "vmaction": "move" }))
}
fn told(blockers: &[Blocker]) -> String {
    blockers.iter().map(Blocker::to_string).collect::<Vec<_>>().join("\n")
}
