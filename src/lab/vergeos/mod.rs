//! A VergeOS system over the machines of the rack: its REST API, as far as maintenance goes.
use super::{
    rack::Rack,
    tls::{self, Tls},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use world::{Refusal, World};

mod table;
mod world;

pub use world::{NodeSpec, VmSpec};

/// Who may come in: an API key as bearer token, or a name and a password.
#[derive(Debug, Clone)]
pub struct Creds {
    pub api_key: String,
    pub username: String,
    pub password: String,
}

/// Which of the three shapes of the maintenance action this system serves; the others are 404, as on real ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// `POST /nodes/{key}/enable_maintenance`
    #[default]
    OnTheRow,
    /// `POST /node_actions/enable_maintenance`
    ActionByName,
    /// `POST /node_actions`
    ActionRow,
}

/// Faults that may be switched while it serves.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Writes are carried out, and nobody is told.
    pub lose_replies: Arc<AtomicBool>,
    /// Every request is one too many.
    pub throttle: Arc<AtomicBool>,
}

#[derive(Clone)]
pub struct Setup {
    pub nodes: Vec<NodeSpec>,
    pub creds: Creds,
    pub shape: Shape,
    pub faults: Faults,
    /// Every request, in its order: method, path and query as they were sent.
    pub asked: Arc<Mutex<Vec<String>>>,
}

struct Server {
    world: Mutex<World>,
    setup: Setup,
}

/// Serves until dropped. Without `tls` plain HTTP.
pub async fn serve(rack: Rack, setup: Setup, listener: TcpListener, tls: Option<Tls>) -> io::Result<()> {
    let server = Arc::new(Server { world: Mutex::new(World::new(rack, setup.nodes.clone())), setup });
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

/// So that VMs move, and the rack knows what runs where, while nobody asks.
async fn keep_ticking(server: Arc<Server>) {
    loop {
        server.world().tick();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Server {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("BUG: a holder of the VergeOS lab panicked")
    }

    fn may_enter(&self, headers: &HeaderMap) -> bool {
        let creds = &self.setup.creds;
        let basic = BASE64_STANDARD.encode(format!("{}:{}", creds.username, creds.password));
        let given = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let bearer = given("authorization").strip_prefix("Bearer ").is_some_and(|key| key == creds.api_key);
        bearer || given("authorization").strip_prefix("Basic ").is_some_and(|b| b == basic) || given("x-yottabyte-token") == self.token()
    }
    /// Of a session that was opened by `POST /api/sys/tokens`.
    fn token(&self) -> String {
        BASE64_STANDARD.encode(format!("session:{}", self.setup.creds.api_key))
    }
}

fn refuse(status: u16, text: &str) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), axum::Json(json!({ "err": text }))).into_response()
}

async fn handle(State(server): State<Arc<Server>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let faults = &server.setup.faults;
    let asked = format!("{method} {}", uri.path_and_query().map_or("", |p| p.as_str()));
    server.setup.asked.lock().expect("BUG: a holder of the record panicked").push(asked);
    if faults.throttle.load(Ordering::Relaxed) {
        return ([("retry-after", "10")], refuse(429, "too many requests")).into_response();
    }
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match (&method, path.as_slice()) {
        (&Method::GET, ["version.json"]) => return axum::Json(json!({ "name": "v4", "version": "26.1.5" })).into_response(),
        (&Method::POST, ["api", "sys", "tokens"]) => {
            let creds = &server.setup.creds;
            if body["login"] == *creds.username && body["password"] == *creds.password {
                let token = server.token();
                return (StatusCode::CREATED, axum::Json(json!({ "location": format!("/sys/tokens/{token}"), "$key": token }))).into_response();
            }
            return refuse(401, "login failed");
        }
        _ => {}
    }
    if !server.may_enter(&headers) {
        return refuse(401, "authentication required");
    }
    let ["api", "v4", rest @ ..] = path.as_slice() else { return refuse(404, "not found") };
    match method {
        Method::GET => read(&server, rest, &uri),
        Method::POST => {
            let answer = match write(&server, rest, &body) {
                Ok(answer) => answer,
                Err((status, text)) => return refuse(status, &text),
            };
            if faults.lose_replies.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            answer
        }
        _ => refuse(405, "method not allowed"),
    }
}

fn read(server: &Server, path: &[&str], uri: &Uri) -> Response {
    let Ok(Query(query)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else { return refuse(400, "invalid query") };
    let (table, key) = match path {
        [table] => (*table, None),
        [table, key] => (*table, Some(*key)),
        _ => return refuse(404, "not found"),
    };
    let mut world = server.world();
    world.tick();
    let Some(mut rows) = world.table(table) else { return refuse(404, &format!("table {table} not found")) };
    if let Some(key) = key {
        rows.retain(|row| row["$key"].as_str().map_or_else(|| row["$key"].to_string(), str::to_owned) == key);
    }
    match table::answer(rows, &query) {
        Ok(rows) if key.is_none() => axum::Json(rows).into_response(),
        Ok(mut rows) => rows.pop().map_or_else(|| refuse(404, "row not found"), |row| axum::Json(row).into_response()),
        Err(text) => refuse(422, &text),
    }
}

fn write(server: &Server, path: &[&str], body: &Value) -> Result<Response, Refusal> {
    let number = |field: &str| match &body[field] {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    let enter = |action: &str| match action {
        "enable_maintenance" => Ok(true),
        "disable_maintenance" => Ok(false),
        _ => Err((404, format!("action {action} not found"))),
    };
    let shape = server.setup.shape;
    let (node, action) = match path {
        ["nodes", key, action] if shape == Shape::OnTheRow => (key.to_string(), *action),
        ["node_actions", action] if shape == Shape::ActionByName => (number("node"), *action),
        ["node_actions"] if shape == Shape::ActionRow => (number("node"), body["action"].as_str().unwrap_or_default()),
        ["vm_actions"] => {
            let action = body["action"].as_str().unwrap_or_default();
            server.world().vm_action(&number("vm"), action)?;
            return Ok(
                (StatusCode::CREATED, axum::Json(json!({ "location": "/v4/vm_actions/1", "dbpath": "vm_actions/1", "$row": 1, "$key": "1" }))).into_response()
            );
        }
        _ => return Err((404, format!("{} not found", path.join("/")))),
    };
    server.world().maintenance(&node, enter(action)?)?;
    // As real ones do: the body is empty.
    Ok((StatusCode::OK, Body::empty()).into_response())
}
