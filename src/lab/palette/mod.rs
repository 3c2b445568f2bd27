//! Spectro Cloud Palette over the machines of the rack: its REST API, as far as maintenance of one cluster goes.
use super::{
    rack::Rack,
    tls::{self, Tls},
};
use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use world::World;

mod world;

/// A worker as the lab is told to have it. Two control-plane machines stand beside them, outside of the rack.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    pub name: String,
    /// The machine of the rack it runs on.
    pub machine: String,
    /// Its `InternalIP`, which the host has too.
    pub address: String,
}
impl NodeSpec {
    pub fn new(name: &str, n: usize) -> NodeSpec {
        NodeSpec { name: name.into(), machine: name.into(), address: format!("192.0.2.{}", 10 + n) }
    }
}

/// What goes wrong, by name, and what may be switched while it serves.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub named: BTreeSet<String>,
    /// Writes are carried out, and nobody is told.
    pub lose_replies: Arc<AtomicBool>,
    /// Every request is one too many.
    pub throttle: Arc<AtomicBool>,
}
impl Faults {
    pub fn named(names: impl IntoIterator<Item = &'static str>) -> Faults {
        Faults { named: names.into_iter().map(str::to_owned).collect(), ..Faults::default() }
    }
    fn has(&self, name: &str) -> bool {
        self.named.contains(name)
    }
}

#[derive(Clone)]
pub struct Setup {
    pub nodes: Vec<NodeSpec>,
    pub api_key: String,
    pub faults: Faults,
    /// Every exchange: method, path with query, body, the project it named, status.
    pub record: Arc<Mutex<Vec<Exchange>>>,
}

#[derive(Debug, Clone)]
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub body: Value,
    pub project: Option<String>,
    pub status: u16,
}

pub const PROJECT: &str = "5f0000000000000000000064";
pub const CLUSTER: &str = "5f0000000000000000000065";
pub const CONFIG: &str = "5f0000000000000000000066";

struct Server {
    world: Mutex<World>,
    setup: Setup,
    requests: AtomicUsize,
}

/// Serves until dropped. Without `tls` plain HTTP.
pub async fn serve(rack: Rack, setup: Setup, listener: TcpListener, tls: Option<Tls>) -> io::Result<()> {
    let world = World::new(rack, &setup.nodes, setup.faults.clone());
    let server = Arc::new(Server { world: Mutex::new(world), setup, requests: AtomicUsize::new(0) });
    let router = Router::new().fallback(handle).with_state(server.clone());
    let served = async {
        match tls {
            Some(tls) => tls::serve(listener, router, &tls).await,
            None => axum::serve(listener, router).await,
        }
    };
    let ticking = async {
        loop {
            server.world().tick();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        served = served => served,
        () = ticking => Ok(()),
    }
}

impl Server {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("BUG: a holder of the Palette lab panicked")
    }
}

type Answer = (u16, Value);

fn refuse(status: u16, code: &str, message: &str) -> Answer {
    (status, json!({ "code": code, "message": message, "details": {}, "ref": "lab" }))
}
fn not_found(what: &str) -> Answer {
    refuse(404, "ResourceNotFound", &format!("{what} not found"))
}

async fn handle(State(server): State<Arc<Server>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let project = header("projectuid");
    let (status, answer) = answer(&server, &method, &uri, &json, header("apikey").as_deref(), project.as_deref());
    let path = uri.path_and_query().map(|p| p.to_string()).unwrap_or_default();
    let exchange = Exchange { method: method.to_string(), path, body: json, project, status };
    server.setup.record.lock().expect("BUG: a holder of the record panicked").push(exchange);
    if method == Method::PUT && server.setup.faults.lose_replies.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match answer {
        Value::Null => status.into_response(),
        answer => (status, axum::Json(answer)).into_response(),
    };
    if status == StatusCode::TOO_MANY_REQUESTS {
        // Time here is a hundred times as fast: a pause of two seconds is none.
        response.headers_mut().insert("retry-after", HeaderValue::from_static("0"));
    }
    response
}

fn answer(server: &Server, method: &Method, uri: &Uri, body: &Value, key: Option<&str>, project: Option<&str>) -> Answer {
    let faults = &server.setup.faults;
    let nth = server.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if faults.throttle.load(Ordering::Relaxed) || (faults.has("too-many-requests") && nth.is_multiple_of(40)) {
        return refuse(429, "TooManyRequests", "rate limit exceeded");
    }
    if key != Some(server.setup.api_key.as_str()) {
        return refuse(401, "InvalidApiKey", "authentication failed");
    }
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|q| q.0).unwrap_or_default();
    let of = |name: &str| query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    if let ["v1", "dashboard", "projects", "metadata"] = path.as_slice() {
        let all = ["edge", "edge-two"].iter().zip([PROJECT, "5f0000000000000000000099"]);
        let named = all.filter(|(name, _)| of("name").is_none_or(|asked| name.contains(asked)));
        return (200, json!({ "items": named.map(|(name, uid)| json!({ "metadata": { "name": name, "uid": uid } })).collect::<Vec<_>>() }));
    }
    // Everything else belongs to a project; without its uid the tenant is asked, which has no clusters.
    if project != Some(PROJECT) {
        return refuse(403, "OperationForbidden", "not permitted in this scope");
    }
    let mut world = server.world();
    world.tick();
    let verb = method.as_str();
    match (verb, path.as_slice()) {
        ("GET", ["v1", "dashboard", "spectroclusters", "metadata"]) => {
            (200, json!({ "items": [{ "name": "dc1", "uid": CLUSTER }, { "name": "dc10", "uid": "5f0000000000000000000075" }] }))
        }
        ("GET", ["v1", "spectroclusters", CLUSTER]) => (200, world.cluster()),
        ("GET", ["v1", "projects", PROJECT, "preferences", "clusterSettings"]) => (200, world.settings()),
        ("PUT", ["v1", "projects", PROJECT, "preferences", "clusterSettings", "nodesAutoRemediationSetting"]) => {
            world.set_remediation(body);
            (204, Value::Null)
        }
        ("GET", ["v1", "cloudconfigs", "maas", CONFIG]) => {
            (200, json!({ "spec": { "machinePoolConfig": [{ "name": "cp-pool", "isControlPlane": true }, { "name": "workers" }] } }))
        }
        (_, ["v1", "cloudconfigs", "maas", CONFIG, "machinePools", pool, "machines", rest @ ..]) => machines(&mut world, verb, pool, rest, body, &of),
        ("POST", ["v1", "spectroclusters", CLUSTER, "workloads", "sync"]) => {
            world.refresh();
            (202, Value::Null)
        }
        ("POST", ["v1", "dashboard", "spectroclusters", CLUSTER, "workloads", "pod"]) => (200, world.pods()),
        _ => not_found(uri.path()),
    }
}

fn machines<'a>(world: &mut World, verb: &str, pool: &str, rest: &[&str], body: &Value, of: &impl Fn(&str) -> Option<&'a str>) -> Answer {
    if !["cp-pool", "workers"].contains(&pool) {
        return not_found(pool);
    }
    match (verb, rest) {
        ("GET", []) => {
            let all = world.machines(pool);
            // Never more than 50 a page, whatever is asked for.
            let limit = of("limit").and_then(|l| l.parse().ok()).unwrap_or(50).clamp(1, 50);
            let from = of("continue").and_then(|c| c.strip_prefix("from-")?.parse().ok()).unwrap_or(0);
            let page: Vec<Value> = all.iter().skip(from).take(limit).cloned().collect();
            let next = if from + page.len() < all.len() { format!("from-{}", from + page.len()) } else { String::new() };
            let mut answer = json!({ "listmeta": { "continue": next, "count": all.len(), "limit": limit, "offset": from } });
            // Empty fields are left out.
            if !page.is_empty() {
                answer["items"] = json!(page);
            }
            (200, answer)
        }
        ("GET", [uid]) => world.machines(pool).into_iter().find(|m| m["metadata"]["uid"] == *uid).map_or_else(|| not_found(uid), |m| (200, m)),
        ("PUT", [uid, "maintenance"]) => match body["action"].as_str() {
            Some(action @ ("cordon" | "uncordon")) if world.maintenance(pool, uid, action == "cordon") => (204, Value::Null),
            Some("cordon" | "uncordon") => not_found(uid),
            _ => refuse(400, "InvalidAction", "action must be cordon or uncordon"),
        },
        _ => not_found(&rest.join("/")),
    }
}
