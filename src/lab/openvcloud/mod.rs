//! An OpenvCloud portal over the machines of the rack, as far as maintenance goes: `restmachine` calls methods, `restextmachine` lists rows.
use super::{
    rack::Rack,
    tls::{self, Tls},
};
use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use world::{Job, Refusal, World};

mod rows;
mod world;

pub use world::{NodeSpec, VmSpec};

/// Who may come in.
#[derive(Debug, Clone)]
pub struct Creds {
    pub jwt: String,
    pub username: String,
    pub password: String,
    /// Of user `admin`.
    pub secret: String,
    /// Of the user of `jwt` and `username`.
    pub groups: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// Maintenance of stacks; nodes have `active` instead of a status, and nobody can ask for a firewall.
    V2_2,
    #[default]
    V2_3,
    /// Both ways.
    V2_4_0,
    /// Maintenance of nodes only.
    V2_4_5,
}
impl Version {
    fn stacks(self) -> bool {
        self != Version::V2_4_5
    }
    fn nodes(self) -> bool {
        matches!(self, Version::V2_4_0 | Version::V2_4_5)
    }
}

/// Faults by name, switched while it serves: `left-behind`, `firewall-left-behind`, `failing-move`, `node-flag-first`, `unknown-firewalls`,
/// `lost-replies`, `upgrade`, `broken`, `forbidden`, `bad-request`, `precondition`, `hangs-up`.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<BTreeSet<&'static str>>>);
impl Faults {
    pub fn set(&self, name: &'static str, on: bool) {
        let mut faults = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if on {
            faults.insert(name)
        } else {
            faults.remove(name)
        };
    }
    pub fn on(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).contains(name)
    }
}

#[derive(Clone)]
pub struct Setup {
    pub nodes: Vec<NodeSpec>,
    pub creds: Creds,
    pub version: Version,
    pub faults: Faults,
    /// So many rows of VMs that are long gone stand before all others on every stack.
    pub destroyed: usize,
    /// What was asked, in order: `POST /restmachine/… {…}`.
    pub asked: Arc<Mutex<Vec<String>>>,
}

struct Server {
    world: Mutex<World>,
    setup: Setup,
    /// Sessions end when this moves.
    session: AtomicU32,
}

/// Serves until dropped. Without `tls` plain HTTP.
pub async fn serve(rack: Rack, setup: Setup, listener: TcpListener, tls: Option<Tls>) -> io::Result<()> {
    let world = World::new(rack, setup.nodes.clone(), setup.faults.clone(), setup.destroyed);
    let server = Arc::new(Server { world: Mutex::new(world), setup, session: AtomicU32::new(1) });
    let router = Router::new().fallback(handle).with_state(server.clone());
    let served = async {
        match tls {
            Some(tls) => tls::serve(listener, router, &tls).await,
            None => axum::serve(listener, router).await,
        }
    };
    tokio::select! {
        served = served => served,
        () = keep_ticking(server) => Ok(()),
    }
}

async fn keep_ticking(server: Arc<Server>) {
    loop {
        server.world().tick();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// JSON or text, as the portal's `Accept: application/json` has it: errors it raises itself are JSON strings, others are pages.
fn refuse(status: u16, text: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match status.as_u16() {
        400 | 403 | 412 => (status, axum::Json(json!(text))).into_response(),
        500 => (status, [("content-type", "text/html")], format!("<h1>Unexpected error</h1><p>{text}</p>")).into_response(),
        _ => (status, text.to_owned()).into_response(),
    }
}
fn no_method(path: &str) -> Response {
    refuse(404, &format!("Could not find method, path was {path}"))
}

impl Server {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("BUG: a holder of the OpenvCloud lab panicked")
    }
    fn session(&self) -> String {
        format!("session{}{}", self.session.load(Ordering::Relaxed), &self.setup.creds.secret)
    }
    /// Ok: the user; Err: a guest's status.
    fn user(&self, headers: &HeaderMap, body: &Value) -> Result<String, u16> {
        let creds = &self.setup.creds;
        if self.setup.faults.on("expire") {
            self.setup.faults.set("expire", false);
            self.session.fetch_add(1, Ordering::Relaxed);
        }
        let given = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let authorization = given("authorization");
        let session = self.session();
        if authorization.strip_prefix("bearer ") == Some(&creds.jwt) {
            return Ok(creds.username.clone());
        }
        if authorization.strip_prefix("authkey ") == Some(&creds.secret) {
            return Ok("admin".into());
        }
        if let Some(key) = body["authkey"].as_str() {
            return if key == session { Ok(creds.username.clone()) } else { Err(419) };
        }
        if given("cookie").contains(&format!("beaker.session.id={session}")) { Ok(creds.username.clone()) } else { Err(401) }
    }
    fn in_group(&self, user: &str, group: &str) -> bool {
        user == "admin" || self.setup.creds.groups.contains(&group)
    }
}

async fn handle(State(server): State<Arc<Server>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let faults = &server.setup.faults;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let Ok(Query(query)) = Query::<Vec<(String, String)>>::try_from_uri(&uri) else { return refuse(400, "invalid query") };
    let shown = uri.path_and_query().map_or(uri.path(), |p| p.as_str());
    let mut said = body.clone();
    // A recorded exchange holds no credential.
    if let Some(row) = said.as_object_mut() {
        row.retain(|k, _| !["authkey", "password"].contains(&k.as_str()));
    }
    let body_shown = if said.is_null() { String::new() } else { format!(" {said}") };
    server.setup.asked.lock().unwrap_or_else(|e| e.into_inner()).push(format!("{method} {shown}{body_shown}"));
    if let Some(model) = uri.path().strip_prefix("/restextmachine/") {
        // Guests and users outside the group are answered alike.
        let Ok(user) = server.user(&headers, &Value::Null) else { return refuse(404, "Not found") };
        if !server.in_group(&user, "admin") || faults.on("no-admin") {
            return refuse(404, "Not found");
        }
        let mut world = server.world();
        world.tick();
        return match rows::list(&world, &server.setup, model, &query) {
            Some(rows) => axum::Json(rows).into_response(),
            None => refuse(404, "Not found"),
        };
    }
    let Some(call) = uri.path().strip_prefix("/restmachine/") else { return refuse(404, "Not found") };
    if call == "cloudapi/users/authenticate" {
        let creds = &server.setup.creds;
        let known = body["username"] == *creds.username && body["password"] == *creds.password;
        return if known { axum::Json(server.session()).into_response() } else { refuse(401, "Unauthorized") };
    }
    let user = match server.user(&headers, &body) {
        Ok(user) => user,
        Err(419) => return refuse(419, "Authentication Timeout"),
        Err(_) => return refuse(401, "You have no access to this method. Please log in."),
    };
    // Routes are registered by verb: most are POST alone.
    let read = call.starts_with("system/");
    if method != Method::POST && !(read && method == Method::GET) {
        return no_method(uri.path());
    }
    if read {
        let mut world = server.world();
        world.tick();
        return rows::system(&world, &server.setup, call, &query).unwrap_or_else(|| no_method(uri.path()));
    }
    if faults.on("upgrade") {
        return refuse(503, "Method is not available during upgrade");
    }
    let changes = !["cloudbroker/computenode/list", "cloudbroker/cloudspace/getVFW", "cloudbroker/machine/list"].contains(&call);
    if changes {
        for (fault, status, text) in [
            ("broken", 500, "An unexpected error has occurred, mention eco-1-0f1e2d3c when you report it"),
            ("bad-request", 400, "Invalid value for vmaction"),
            ("precondition", 412, "Precondition failed: status does not allow this"),
        ] {
            if faults.on(fault) {
                return refuse(status, text);
            }
        }
        if faults.on("forbidden") || !["level1", "level2", "level3", "admin"].iter().any(|g| server.in_group(&user, g)) {
            return refuse(403, &format!("User {user} has no access. If you would like to gain access please contact your administrator"));
        }
    }
    let answer = write(&server, call, &body);
    if changes && faults.on("lost-replies") {
        std::future::pending::<()>().await;
    }
    match answer {
        Ok(Some(value)) => axum::Json(value).into_response(),
        Ok(None) => no_method(uri.path()),
        Err((status, text)) => refuse(status, &text),
    }
}

fn write(server: &Server, call: &str, body: &Value) -> Result<Option<Value>, Refusal> {
    let version = server.setup.version;
    // An empty word counts as missing.
    let word = |name: &str| body[name].as_str().filter(|s| !s.is_empty()).ok_or((400, format!("Missing required parameter {name}")));
    let number = |name: &str| match &body[name] {
        Value::String(s) => s.parse().map_err(|_| (400, format!("Invalid value for {name}"))),
        value => value.as_i64().ok_or((400, format!("Missing required parameter {name}"))),
    };
    let mut world = server.world();
    world.tick();
    let Some(method) = call.strip_prefix("cloudbroker/") else { return Ok(None) };
    let known = match method.split_once('/') {
        Some(("computenode", _)) => version.stacks(),
        Some(("node", _)) => version.nodes(),
        Some(("cloudspace", "getVFW")) => version != Version::V2_2,
        _ => true,
    };
    if !known {
        return Ok(None);
    }
    Ok(Some(match method {
        "computenode/list" => rows::stacks(&world),
        "computenode/maintenance" => {
            let how = match word("vmaction")? {
                "move" => Job::Move,
                "stop" => Job::Stop,
                _ => return Err((400, "Invalid value for vmaction".into())),
            };
            if word("message")?.len() >= 30 {
                return Err((400, "message must be less than 30 characters".into()));
            }
            let (id, gid) = (number("id")?, number("gid")?);
            world.enter(|n| n.stack == id && gid == 1, how, false)?;
            json!(true)
        }
        "computenode/enable" => {
            word("message")?;
            let id = number("id")?;
            world.enable(|n| n.stack == id)?;
            json!("ENABLED")
        }
        "node/maintenance" => {
            let nid = number("nid")?;
            // Judged in the background alone: any word is taken.
            let how = if word("vmaction")? == "stop" { Job::Stop } else { Job::Move };
            world.enter(|n| n.id == nid, how, true)?;
            Value::Null
        }
        "node/enable" => {
            let nid = number("nid")?;
            world.enable(|n| n.id == nid)?;
            Value::Null
        }
        "machine/stopMachines" | "machine/startMachines" => {
            word("reason")?;
            for id in body["machineIds"].as_array().into_iter().flatten().filter_map(Value::as_i64) {
                world.power(id, method.ends_with("startMachines"))?;
            }
            Value::Null
        }
        "machine/moveToDifferentComputeNode" => {
            word("reason")?;
            body["force"].as_bool().ok_or((400, "Missing required parameter force".to_owned()))?;
            world.move_vm(number("machineId")?, body["targetStackId"].as_i64())?;
            Value::Null
        }
        "cloudspace/getVFW" => {
            let fw = world.firewall(number("cloudspaceId")?)?;
            let status = match fw.running {
                _ if server.setup.faults.on("unknown-firewalls") => "UNKNOWN",
                true => "RUNNING",
                false => "HALTED",
            };
            json!({ "id": fw.id, "nid": fw.nid, "status": status })
        }
        "cloudspace/startVFW" | "cloudspace/stopVFW" => {
            world.power_firewall(number("cloudspaceId")?, method.ends_with("startVFW"))?;
            json!(true)
        }
        "cloudspace/moveVirtualFirewallToFirewallNode" => {
            world.move_firewall(number("cloudspaceId")?, number("targetNid")?)?;
            json!(true)
        }
        _ => return Ok(None),
    }))
}
