//! The kubernetes driver against the lab's API server, and against a real one where `PITSTOP_TEST_KUBECONFIG` names it.
pub mod answers;
mod deadlocks;
mod entering;
mod evictions;
mod filters;
mod kubeconfig;
mod lab;
mod place;
mod real;
mod server;
mod storage;
mod two_minutes;

use super::operators;
use pitstop::{
    drivers::cluster::{Ask, Cluster, KINDS},
    kinds,
    lab::{
        kubernetes,
        rack::{MachineSpec, Pace, Quirks, Rack},
        tls::Tls,
    },
    model::{Act, Connect, Fault, Loan, NodeView, RunId, Secret, SecretRef, Secrets, Setting, Trust, Unmovable},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

struct NoSecrets;
impl Secrets for NoSecrets {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        panic!("nobody asks for {from}")
    }
}

/// The driver, made as the inventory makes it.
pub fn connect(dir: &Path, more: Value) -> Arc<dyn Cluster> {
    rustls::crypto::ring::default_provider().install_default().ok(); // another test was first
    let mut body = json!({ "kubeconfig": "kubeconfig" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let config = kinds::make(KINDS, &Setting { kind: "kubernetes".into(), body }).unwrap();
    let cx = Connect { node: None, secrets: Arc::new(NoSecrets), trust: Trust::default(), base: dir.to_owned(), home: dir.to_owned() };
    config.connect(&cx).unwrap()
}

fn ask(run: &str) -> Ask {
    Ask { run: Some(RunId(run.into())), reason: Some("new kernel".into()), unmovable: Unmovable::Refuse, ..Ask::default() }
}
fn nobody() -> Ask {
    Ask::default()
}

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

struct Lab {
    rack: Rack,
    log: Log,
    dir: tempfile::TempDir,
    url: String,
    tls: Tls,
    tasks: tokio::task::JoinSet<()>,
}

const TOKEN: &str = "token-of-this-lab";

fn spec(i: usize, blocked: bool) -> MachineSpec {
    MachineSpec {
        name: format!("m{i}"),
        uuid: format!("4c4c4544-0051-3010-8052-b4c04f4e4d{i:02}"),
        serial: format!("J4X12S{i}"),
        machine_id: format!("3f2a9c0d5b6e4f70a1b2c3d4e5f607{i:02}"),
        services: vec![],
        quirks: Quirks { pdb_blocked: blocked, ..Quirks::default() },
    }
}

impl Lab {
    /// Nodes `edge-01`, … on machines `m1`, …; on node `blocked` a budget forbids every eviction.
    async fn new(n: usize, blocked: usize) -> Lab {
        let log = Log::default();
        let rack = Rack::new((1..=n).map(|i| spec(i, i == blocked)).collect(), Pace::default(), Box::new(log.clone()));
        let nodes = (1..=n).map(|i| (format!("edge-{i:02}"), format!("m{i}"))).collect();
        let tls = Tls::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kubeconfig"), kubernetes::kubeconfig("edge", address, &tls, TOKEN)).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        let (served, with) = (rack.clone(), tls.clone());
        tasks.spawn(async move { kubernetes::serve(served, nodes, listener, &with, TOKEN).await.unwrap() });
        tasks.spawn(rack.clone().keep_ticking());
        Lab { rack, log, dir, url: format!("https://{address}"), tls, tasks }
    }
    fn cluster(&self) -> Arc<dyn Cluster> {
        connect(self.dir.path(), json!({}))
    }
    fn http(&self) -> Http {
        let ca = reqwest::Certificate::from_pem(self.tls.ca_pem().as_bytes()).unwrap();
        rustls::crypto::ring::default_provider().install_default().ok(); // another test was first
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        Http { client, url: self.url.clone(), token: TOKEN.into() }
    }
    /// The rack's own record of one kind.
    fn recorded(&self, kind: &str) -> Vec<Value> {
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|l| l["kind"] == kind).collect()
    }
    fn writes(&self) -> Vec<String> {
        self.recorded("api-write").iter().map(|l| l["what"].as_str().unwrap().to_owned()).collect()
    }
}

/// Another client than the driver: it prepares and it judges.
pub struct Http {
    client: reqwest::Client,
    url: String,
    token: String,
}
impl Http {
    async fn send(&self, method: &str, path: &str, content: &str, body: Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.header("content-type", content).body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "", Value::Null).await.1
    }
    async fn patch_node(&self, node: &str, body: Value) -> (u16, Value) {
        self.send("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", body).await
    }
    async fn node(&self, node: &str) -> Value {
        self.get(&format!("/api/v1/nodes/{node}")).await
    }
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, "application/json", body).await
    }
}

/// Looks until `holds`, as a step does.
async fn until(cluster: &dyn Cluster, node: &str, ask: &Ask, what: &str, holds: impl Fn(&NodeView) -> bool) -> NodeView {
    let start = Instant::now();
    loop {
        let view = cluster.look(node, ask).await.unwrap();
        if holds(&view) {
            return view;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{what} never came: {view:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Cordons and evicts, one act after another, until nothing is left. Returns the loans.
async fn evacuate(cluster: &dyn Cluster, node: &str, ask: &Ask) -> Vec<Loan> {
    let mut loans: Vec<Loan> = Vec::new();
    let start = Instant::now();
    loop {
        let view = cluster.look(node, ask).await.unwrap();
        if view.in_maintenance && view.marked_by == ask.run.as_ref().map(|r| r.0.clone()) && view.workloads.is_empty() {
            return loans;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "never empty: {view:#?}");
        for act in &view.moves {
            // A budget says no until a replacement is Ready: that is no error here.
            let done = cluster.act(node, act, ask).await;
            if done.is_ok()
                && let Some(loan) = &act.borrows
                && !loans.iter().any(|l| l.id == loan.id)
            {
                loans.push(loan.clone());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the node with the first act that is offered, and looks again where somebody wrote to the node between. Returns that act.
async fn take(cluster: &dyn Cluster, node: &str, ask: &Ask) -> Act {
    let start = Instant::now();
    loop {
        let act = cluster.look(node, ask).await.unwrap().moves[0].clone();
        match cluster.act(node, &act, ask).await {
            Ok(()) => return act,
            Err(f) if f.what.ends_with("changed meanwhile") && start.elapsed() < Duration::from_secs(10) => {}
            Err(f) => panic!("{f:?}"),
        }
    }
}

fn eviction(view: &NodeView, pod: &str) -> Act {
    view.moves.iter().find(|a| a.what == format!("evict {pod}")).unwrap_or_else(|| panic!("no eviction of {pod} in {view:#?}")).clone()
}
