//! A lab whose API server has operators installed, a driver over it, and a client of its own that prepares and judges.
use pitstop::{
    drivers::cluster::{Ask, Cluster, KINDS},
    kinds,
    lab::{
        kubernetes::{
            self,
            addons::{Addons, Trouble},
        },
        rack::{MachineSpec, Pace, Quirks, Rack},
        tls::Tls,
    },
    model::{Act, Connect, Fault, Loan, NodeView, RunId, Secret, SecretRef, Secrets, Setting, Trust, Unmovable},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

struct NoSecrets;
impl Secrets for NoSecrets {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        panic!("nobody asks for {from}")
    }
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

pub struct Lab {
    pub rack: Rack,
    pub addons: Addons,
    log: Log,
    dir: tempfile::TempDir,
    client: reqwest::Client,
    url: String,
    _tasks: tokio::task::JoinSet<()>,
}

pub const TOKEN: &str = "token-of-this-lab";

fn spec(i: usize) -> MachineSpec {
    MachineSpec {
        name: format!("m{i}"),
        uuid: format!("4c4c4544-0051-3010-8052-b4c04f4e4d{i:02}"),
        serial: format!("J4X12S{i}"),
        machine_id: format!("3f2a9c0d5b6e4f70a1b2c3d4e5f607{i:02}"),
        services: vec![],
        quirks: Quirks::default(),
    }
}

impl Lab {
    /// Nodes `edge-01`, … on machines `m1`, ….
    pub async fn new(n: usize, addons: Addons) -> Lab {
        rustls::crypto::ring::default_provider().install_default().ok(); // another test was first
        let log = Log::default();
        let rack = Rack::new((1..=n).map(spec).collect(), Pace::default(), Box::new(log.clone()));
        let nodes = (1..=n).map(|i| (format!("edge-{i:02}"), format!("m{i}"))).collect();
        let tls = Tls::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kubeconfig"), kubernetes::kubeconfig("edge", address, &tls, TOKEN)).unwrap();
        let ca = reqwest::Certificate::from_pem(tls.ca_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        let (served, installed) = (rack.clone(), addons.clone());
        tasks.spawn(async move { kubernetes::serve_with(served, nodes, listener, &tls, TOKEN, installed).await.unwrap() });
        tasks.spawn(rack.clone().keep_ticking());
        Lab { rack, addons, log, dir, client, url: format!("https://{address}"), _tasks: tasks }
    }
    pub fn begin(&self, trouble: Trouble) {
        self.addons.troubles.begin(trouble);
    }
    pub fn end(&self, trouble: Trouble) {
        self.addons.troubles.end(trouble);
    }
    /// A driver as the inventory makes it, with nothing remembered.
    pub fn driver(&self, kind: &str, more: Value) -> Arc<dyn Cluster> {
        let mut body = json!({ "kubeconfig": "kubeconfig" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let config = kinds::make(KINDS, &Setting { kind: kind.into(), body }).unwrap();
        let at = self.dir.path().to_owned();
        config.connect(&Connect { node: None, secrets: Arc::new(NoSecrets), trust: Trust::default(), base: at.clone(), home: at }).unwrap()
    }
    pub async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(TOKEN);
        if !body.is_null() {
            request = request.header("content-type", content).body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
    pub async fn get(&self, path: &str) -> Value {
        self.send("GET", path, Value::Null).await.1
    }
    pub async fn node(&self, node: &str) -> Value {
        self.get(&format!("/api/v1/nodes/{node}")).await
    }
    pub fn writes(&self) -> Vec<String> {
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|l| l["kind"] == "api-write");
        lines.map(|l| l["what"].as_str().unwrap().to_owned()).collect()
    }
    /// Asks until `holds`.
    pub async fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let found = self.get(path).await;
            if holds(&found) {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{what} never came: {found:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn ask(run: &str) -> Ask {
    Ask { run: Some(RunId(run.into())), reason: Some("new kernel".into()), unmovable: Unmovable::Refuse, ..Ask::default() }
}

/// Looks until `holds`, as a step does.
pub async fn until(cluster: &dyn Cluster, node: &str, ask: &Ask, what: &str, holds: impl Fn(&NodeView) -> bool) -> NodeView {
    let start = Instant::now();
    loop {
        let view = cluster.look(node, ask).await.unwrap();
        if holds(&view) {
            return view;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{what} never came: {view:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn blocked(view: &NodeView) -> String {
    view.blockers.iter().chain(&view.impossible).map(|b| b.to_string()).collect::<Vec<_>>().join("\n")
}

/// Whatever is offered, one act after another, until `holds`. Refusals are tried again, as the step does. Returns the loans.
pub async fn work(cluster: &dyn Cluster, node: &str, ask: &Ask, holds: impl Fn(&NodeView) -> bool) -> Vec<Loan> {
    let mut loans: Vec<Loan> = Vec::new();
    let start = Instant::now();
    loop {
        let view = cluster.look(node, ask).await.unwrap();
        if holds(&view) {
            return loans;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "never came: {view:#?}");
        for act in &view.moves {
            if cluster.act(node, act, ask).await.is_ok()
                && let Some(loan) = &act.borrows
                && !loans.iter().any(|l| l.id == loan.id)
            {
                loans.push(loan.clone());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn empty(view: &NodeView) -> bool {
    view.in_maintenance && view.workloads.is_empty() && view.blockers.is_empty()
}

/// Pays every loan back, newest first, as the step `enable` does: looks, acts, and waits where it is refused. Then each is in force.
pub async fn give_back(cluster: &dyn Cluster, node: &str, loans: &[Loan], ask: &Ask) -> Vec<Act> {
    let (mut sent, start) = (Vec::new(), Instant::now());
    for loan in loans.iter().rev() {
        while !cluster.is_paid(node, loan).await.unwrap() {
            let act = cluster.give_back(node, loan);
            let answer = cluster.act(node, &act, ask).await;
            if answer.is_ok() {
                sent.push(act);
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{}: {answer:?}", loan.owed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for loan in loans {
        while !cluster.is_paid(node, loan).await.unwrap() {
            assert!(start.elapsed() < Duration::from_secs(30), "{} is never in force", loan.owed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    sent
}
