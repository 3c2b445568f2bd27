//! Our drain against `kubectl drain`: 10 of 20 nodes with 200 pods in the lab's API server, every request counted by a proxy before it.
//! `cargo bench --bench drain`. Takes two to three minutes: containers stop and start as slowly as in life. Without kubectl only ours is measured.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on may panic")]
use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::IntoResponse,
};
use pitstop::{
    drivers::cluster::{Ask, Cluster, KINDS},
    kinds,
    lab::{
        kubernetes,
        rack::{MachineSpec, Pace, Quirks, Rack},
        tls::Tls,
    },
    model::{Answer, Connect, Done, Fault, Past, RunId, Secret, SecretRef, Secrets, Setting, TimeScale, Trust},
    steps::{Next, evacuate},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const NODES: usize = 20;
const DRAINED: usize = 10;
const TOKEN: &str = "token-of-this-bench";
/// As the engine's loop: between two looks.
const POLL: Duration = Duration::from_secs(2);

type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

struct Place {
    dir: tempfile::TempDir,
    counts: Counts,
    client: reqwest::Client,
    url: String,
    _tasks: tokio::task::JoinSet<()>,
}

impl Place {
    async fn new() -> Place {
        let spec = |i: usize| MachineSpec {
            name: format!("m{i}"),
            uuid: format!("4c4c4544-0051-3010-8052-b4c04f4e4d{i:02}"),
            serial: format!("J4X12S{i}"),
            machine_id: format!("3f2a9c0d5b6e4f70a1b2c3d4e5f607{i:02}"),
            services: vec![],
            quirks: Quirks::default(),
        };
        let pace = Pace { scale: 1.0, ..Pace::default() };
        let rack = Rack::new((1..=NODES).map(spec).collect(), pace, Box::new(std::io::sink()));
        let nodes = (1..=NODES).map(|i| (node(i), format!("m{i}"))).collect();
        let tls = Tls::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let ca = reqwest::Certificate::from_pem(tls.ca_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        let served = rack.clone();
        tasks.spawn(async move { kubernetes::serve(served, nodes, listener, &tls, TOKEN).await.unwrap() });
        tasks.spawn(rack.keep_ticking());
        let counts = Counts::default();
        let front = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", front.local_addr().unwrap()) } }],
            "users": [{ "name": "u", "user": { "token": TOKEN } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }] });
        std::fs::write(dir.path().join("kubeconfig"), config.to_string()).unwrap();
        let (to, with, seen) = (url.clone(), client.clone(), counts.clone());
        let pass = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (to, with, seen) = (to.clone(), with.clone(), seen.clone());
            async move {
                *seen.lock().unwrap().entry(method.to_string()).or_default() += 1;
                let content = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json").to_owned();
                let request = with.request(method, format!("{to}{uri}")).bearer_auth(TOKEN).header(header::CONTENT_TYPE, content).body(body);
                let answer = request.send().await.unwrap();
                let code = StatusCode::from_u16(answer.status().as_u16()).unwrap();
                // As it comes: a watch never ends.
                let chunks = futures::stream::unfold(answer, |mut answer| async {
                    let chunk = answer.chunk().await.ok().flatten()?;
                    Some((Ok::<_, std::convert::Infallible>(chunk), answer))
                });
                (code, [(header::CONTENT_TYPE, "application/json")], axum::body::Body::from_stream(chunks)).into_response()
            }
        };
        tasks.spawn(async move { axum::serve(front, Router::new().fallback(pass)).await.unwrap() });
        let place = Place { dir, counts, client, url, _tasks: tasks };
        for (app, namespace, replicas) in [("web", "shop", 70), ("cart", "shop", 60), ("metrics", "platform", 67)] {
            place.patch(&format!("/apis/apps/v1/namespaces/{namespace}/deployments/{app}"), json!({ "spec": { "replicas": replicas } })).await;
        }
        let begun = Instant::now();
        while place.ready().await < 200 {
            assert!(begun.elapsed() < Duration::from_secs(120), "the pods never became Ready");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        place
    }
    async fn patch(&self, path: &str, body: Value) {
        let request = self.client.patch(format!("{}{path}", self.url)).bearer_auth(TOKEN);
        request.header(header::CONTENT_TYPE, "application/merge-patch+json").body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
    }
    async fn pods(&self) -> Vec<Value> {
        let answer = self.client.get(format!("{}/api/v1/pods", self.url)).bearer_auth(TOKEN).send().await.unwrap();
        let list: Value = answer.json().await.unwrap();
        list["items"].as_array().unwrap().iter().filter(|p| movable(p)).cloned().collect()
    }
    async fn ready(&self) -> usize {
        let ready = |p: &&Value| p["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
        self.pods().await.iter().filter(ready).count()
    }
    /// What both have to reach.
    async fn assert_empty(&self) {
        let drained: Vec<String> = (1..=DRAINED).map(node).collect();
        let left = self.pods().await.into_iter().filter(|p| drained.iter().any(|n| p["spec"]["nodeName"] == n.as_str())).count();
        assert_eq!(left, 0, "pods are left on the drained nodes");
    }
    fn config(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }
    fn count(&self) -> (usize, String) {
        let counts = self.counts.lock().unwrap();
        (counts.values().sum(), counts.iter().map(|(method, n)| format!("{n} {method}")).collect::<Vec<_>>().join(", "))
    }
}

fn movable(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null() && pod["metadata"]["ownerReferences"][0]["kind"] != "DaemonSet"
}
fn node(i: usize) -> String {
    format!("edge-{i:02}")
}

struct NoSecrets;
impl Secrets for NoSecrets {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        panic!("nobody asks for {from}")
    }
}

/// One node, as the evacuate step goes about it.
async fn drain(cluster: Arc<dyn Cluster>, node: String) {
    let ask = Ask { run: Some(RunId("bench".into())), ..Ask::default() };
    let (mut past, mut empty) = (Past::default(), false);
    loop {
        let view = cluster.look(&node, &ask).await.unwrap();
        let now = jiff::Timestamp::now();
        match evacuate::judge("edge", &view, &past, TimeScale(1.0), now) {
            None if std::mem::replace(&mut empty, true) => return,
            None => {}
            Some(Next::Act(acts)) => {
                for (act, before) in acts {
                    let answer = Some(Answer::of(cluster.act(&node, &act, &ask).await));
                    past.acts.push(Done { step: 0, attempt: 0, act, before, at: jiff::Timestamp::now(), answer });
                }
            }
            Some(Next::Hold(fault)) => panic!("{fault}"),
            Some(_) => empty = false,
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn ours() -> (Duration, usize, String) {
    let place = Place::new().await;
    let config = kinds::make(KINDS, &Setting { kind: "kubernetes".into(), body: json!({ "kubeconfig": "kubeconfig" }) }).unwrap();
    let base = place.dir.path().to_owned();
    let cx = Connect { node: None, secrets: Arc::new(NoSecrets), trust: Trust::default(), base: base.clone(), home: base };
    let cluster = config.connect(&cx).unwrap();
    let begun = Instant::now();
    futures::future::join_all((1..=DRAINED).map(|i| drain(cluster.clone(), node(i)))).await;
    let took = begun.elapsed();
    let (all, by) = place.count();
    place.assert_empty().await;
    (took, all, by)
}

async fn kubectl() -> Option<(Duration, usize, String)> {
    tokio::process::Command::new("kubectl").args(["version", "--client"]).output().await.ok().filter(|o| o.status.success())?;
    let place = Place::new().await;
    let mut command = tokio::process::Command::new("kubectl");
    command.arg("--kubeconfig").arg(place.config()).args(["drain", "--ignore-daemonsets", "--delete-emptydir-data"]).args((1..=DRAINED).map(node));
    // Its cache of what the server can do starts empty, as on a fresh runner.
    command.arg("--cache-dir").arg(place.dir.path().join("cache"));
    let begun = Instant::now();
    let out = command.output().await.unwrap();
    let took = begun.elapsed();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let (all, by) = place.count();
    place.assert_empty().await;
    Some((took, all, by))
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (took, all, by) = ours().await;
    println!("pitstop drain:  {:>5.1} s, {all:>5} requests ({by})", took.as_secs_f64());
    let Some((kubectl_took, kubectl_all, kubectl_by)) = kubectl().await else {
        println!("kubectl drain:  skipped, kubectl is not installed");
        return;
    };
    println!("kubectl drain:  {:>5.1} s, {kubectl_all:>5} requests ({kubectl_by})", kubectl_took.as_secs_f64());
    println!(
        "ours: {:.0} % of its requests, {:.0} % of its time",
        100.0 * all as f64 / kubectl_all as f64,
        100.0 * took.as_secs_f64() / kubectl_took.as_secs_f64()
    );
    assert!(2 * all <= kubectl_all, "more than half of kubectl's requests");
    assert!(took <= kubectl_took, "slower than kubectl");
}
