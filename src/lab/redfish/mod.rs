//! The lab's BMCs over Redfish: HTTPS, sessions and Basic, one system each. Judged by curl and by clients that nobody here wrote.
mod resources;
mod sessions;
mod update;

use super::{
    quirks::Maker,
    rack::{BootOverride, PowerAnswer, Rack, Seen},
    tls::{self, Tls},
};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use resources::{MANAGER_RESET, MANAGER_VERBS, RESET, SESSIONS, SYSTEM, TARGETS, VERBS, error, resource};
use serde_json::Value;
use sessions::Sessions;
use sha2::{Digest, Sha256};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};
use tokio::net::TcpListener;

pub use sessions::Account;

const BODY_LIMIT: usize = 64 << 10;

struct Bmc {
    rack: Rack,
    machine: String,
    account: Account,
    sessions: Mutex<Sessions>,
    /// How often it had started when the sessions were last used.
    starts: AtomicU32,
}

/// The BMC of `machine`, until dropped. While the machine's `bmc_silent` is set it accepts connections and says nothing on them.
pub async fn serve(rack: Rack, machine: String, listener: TcpListener, tls: &Tls, account: Account) -> io::Result<()> {
    let (watched, name) = (rack.clone(), machine.clone());
    let silent = move || watched.seen(&name).is_some_and(|seen| seen.silent());
    tls::serve_unless(listener, router(rack, machine, account), tls, silent).await
}

fn router(rack: Rack, machine: String, account: Account) -> Router {
    let bmc = Bmc { rack, machine, account, sessions: Mutex::default(), starts: AtomicU32::new(0) };
    Router::new().fallback(handle).with_state(Arc::new(bmc))
}

async fn handle(State(bmc): State<Arc<Bmc>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(seen) = bmc.rack.seen(&bmc.machine) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The machine behind this BMC is gone.", &[]);
    };
    if seen.silent() {
        // The connection is from before: it stays open and hears nothing more.
        return std::future::pending().await;
    }
    tokio::time::sleep(seen.spec.quirks.answers_after).await;
    if seen.wedged {
        // Its web server lives, and what it asks behind it does not.
        let mut response = Response::new(Body::from("<html><head><title>504 Gateway Time-out</title></head></html>"));
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        return response;
    }
    let limit = if update::WAYS.contains(&parts.uri.path()) { update::IMAGE_LIMIT } else { BODY_LIMIT };
    let Ok(body) = to_bytes(body, limit).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", "The request body is too large.", &[]);
    };
    let maker = seen.spec.quirks.maker;
    let path = maker.map_or_else(|| parts.uri.path().to_owned(), |maker| maker.inbound(parts.uri.path()));
    let mut response = bmc.answer(&seen, &parts.method, &path, &parts.headers, &body);
    if let Some(maker) = maker {
        response = readdressed(maker, response).await;
    }
    response.headers_mut().insert("OData-Version", HeaderValue::from_static("4.0"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

impl Bmc {
    fn answer(&self, seen: &Seen, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Response {
        let now = Instant::now();
        let path = path.trim_end_matches('/');
        let mut sessions = self.sessions.lock().expect("BUG: a holder of the sessions panicked");
        if self.starts.swap(seen.flash.starts, Ordering::Relaxed) != seen.flash.starts {
            // It has restarted since, and forgotten everybody.
            *sessions = Sessions::default();
        }
        let log_in = method == Method::POST && [SESSIONS, "/redfish/v1/SessionService/Sessions/Members"].contains(&path);
        let reading = [Method::GET, Method::HEAD].contains(method);
        let open_to_all = reading && ["/redfish", "/redfish/v1", "/redfish/v1/odata"].contains(&path);
        if log_in {
            return self.log_in(&mut sessions, body, now);
        }
        if !open_to_all && !sessions.admit(headers, &self.account, now) {
            if headers.contains_key(header::AUTHORIZATION) && !headers.contains_key("x-auth-token") {
                self.rack.refused_login(&self.machine, "redfish");
            }
            return unauthorized();
        }
        if update::WAYS.contains(&path) && method == Method::POST {
            return update::receive(&self.rack, &self.machine, path, headers, body);
        }
        let open = sessions.ids(now);
        let session: Option<u64> = path.strip_prefix(SESSIONS).and_then(|rest| rest.strip_prefix('/')).and_then(|id| id.parse().ok());
        let maker = seen.spec.quirks.maker;
        let mut document = resource(path, seen, &self.account.username, &open)
            .or_else(|| update_document(path, seen))
            .or_else(|| seen.events.resource(path))
            .or_else(|| maker?.more(path));
        if let (Some(maker), Some(document)) = (maker, &mut document) {
            maker.dress(path, document);
        }
        match (document, session) {
            (Some(_), Some(id)) if method == Method::DELETE => {
                sessions.close(id);
                empty(StatusCode::NO_CONTENT)
            }
            (Some(document), _) if reading => shown(document, headers),
            (Some(document), _) if path == SYSTEM && method == Method::PATCH => self.change(maker, document, headers, body),
            (Some(_), Some(_)) => not_allowed("GET, HEAD, DELETE"),
            (Some(_), None) if path == SESSIONS => not_allowed("GET, HEAD, POST"),
            (Some(_), None) => not_allowed("GET, HEAD"),
            (None, _) if path == MANAGER_RESET && method == Method::POST => self.reset_bmc(body),
            (None, _) if path == RESET && method == Method::POST => self.reset(maker, body),
            (None, _) if path == RESET => not_allowed("POST"),
            (None, _) => refuse(StatusCode::NOT_FOUND, "ResourceMissingAtURI", &format!("The resource at the URI {path} was not found."), &[path]),
        }
    }

    fn log_in(&self, sessions: &mut Sessions, body: &Bytes, now: Instant) -> Response {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else { return malformed() };
        let (Some(username), Some(password)) = (asked["UserName"].as_str(), asked["Password"].as_str()) else {
            let message = "The create operation failed because the required properties UserName and Password were missing from the request.";
            return refuse(StatusCode::BAD_REQUEST, "CreateFailedMissingReqProperties", message, &["UserName, Password"]);
        };
        if !self.account.is(username, password) {
            self.rack.refused_login(&self.machine, "redfish");
            return unauthorized();
        }
        let Some((id, token)) = sessions.open(now) else {
            let message = "The session establishment failed due to the number of simultaneous sessions exceeding the limit of the implementation.";
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "SessionLimitExceeded", message, &[]);
        };
        let mut response = json(StatusCode::CREATED, &resources::session(id, username));
        let location = HeaderValue::from_str(&format!("{SESSIONS}/{id}")).expect("BUG: a number in a path");
        response.headers_mut().insert(header::LOCATION, location);
        response.headers_mut().insert("X-Auth-Token", HeaderValue::from_str(&token).expect("BUG: a token is hexadecimal"));
        response
    }

    /// What of a system may be written: its boot override and its light.
    fn change(&self, maker: Option<Maker>, document: Value, headers: &HeaderMap, body: &Bytes) -> Response {
        let etag = shown(document.clone(), &HeaderMap::new()).headers().get(header::ETAG).cloned();
        let text = |value: Option<&HeaderValue>| value.and_then(|v| v.to_str().ok()).map(str::to_owned);
        let asked = text(headers.get(header::IF_MATCH));
        if let Some(status) = maker.and_then(|maker| maker.condition(asked.as_deref(), &text(etag.as_ref()).unwrap_or_default())) {
            let status = StatusCode::from_u16(status).expect("BUG: a status is written down");
            return refuse(status, "PreconditionFailed", "The ETag supplied did not match the one required.", &[]);
        }
        if maker.is_none() && headers.get(header::IF_MATCH).is_some_and(|asked| Some(asked) != etag.as_ref() && asked != "*") {
            return refuse(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "The ETag supplied did not match the current ETag.", &[]);
        }
        let Ok(asked) = serde_json::from_slice::<Value>(body) else { return malformed() };
        let boot = &asked["Boot"];
        let text = |key: &str| boot[key].as_str().or(document["Boot"][key].as_str()).unwrap_or_default().to_owned();
        let (enabled, target) = (text("BootSourceOverrideEnabled"), text("BootSourceOverrideTarget"));
        if !["Disabled", "Once", "Continuous"].contains(&enabled.as_str()) || !TARGETS.contains(&target.as_str()) {
            let message = "The value for a property of Boot is not in the list of acceptable values.";
            return refuse(StatusCode::BAD_REQUEST, "PropertyValueNotInList", message, &["Boot"]);
        }
        if boot.is_object() {
            let to = if enabled == "Disabled" { BootOverride::default() } else { BootOverride { enabled, target } };
            self.rack.set_boot_override(&self.machine, to, "redfish");
        }
        if let Some(on) = asked["LocationIndicatorActive"].as_bool() {
            self.rack.set_light(&self.machine, on, "redfish");
        }
        empty(StatusCode::NO_CONTENT)
    }

    fn reset_bmc(&self, body: &Bytes) -> Response {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else { return malformed() };
        match asked["ResetType"].as_str() {
            Some(verb) if MANAGER_VERBS.contains(&verb) => {
                self.rack.restart_bmc(&self.machine, "redfish");
                empty(StatusCode::NO_CONTENT)
            }
            _ => refuse(StatusCode::BAD_REQUEST, "ActionParameterMissing", "The action Manager.Reset requires a ResetType.", &["Manager.Reset", "ResetType"]),
        }
    }

    fn reset(&self, maker: Option<Maker>, body: &Bytes) -> Response {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else { return malformed() };
        let Some(verb) = asked.get("ResetType") else {
            let message = "The action ComputerSystem.Reset requires the parameter ResetType to be present in the request body.";
            return refuse(StatusCode::BAD_REQUEST, "ActionParameterMissing", message, &["ComputerSystem.Reset", "ResetType"]);
        };
        let Some(verb) = verb.as_str() else {
            let message = "The value of the parameter ResetType in the action ComputerSystem.Reset is of a different type than the parameter can accept.";
            return refuse(StatusCode::BAD_REQUEST, "ActionParameterValueTypeError", message, &["ResetType"]);
        };
        let verbs = maker.map_or(&VERBS[..], Maker::verbs);
        // What no BMC knows stands in the rack's record all the same.
        let offered = !VERBS.contains(&verb) || verbs.contains(&verb);
        let answer = if offered { self.rack.power(&self.machine, verb, "redfish") } else { PowerAnswer::Unsupported };
        if let Some((status, body)) = maker.and_then(|maker| maker.answer(answer)) {
            let status = StatusCode::from_u16(status).expect("BUG: a status is written down");
            return if body.is_null() { empty(status) } else { json(status, &body) };
        }
        match answer {
            PowerAnswer::Accepted => empty(StatusCode::NO_CONTENT),
            PowerAnswer::WrongState => {
                let message = format!("The requested operation {verb} could not be completed because of the power state of the system.");
                refuse(StatusCode::CONFLICT, "ActionParameterValueConflict", &message, &["ResetType", verb])
            }
            PowerAnswer::Unsupported => {
                let message = format!("The value {verb} for the parameter ResetType is not in the list of acceptable values: {}.", verbs.join(", "));
                refuse(StatusCode::BAD_REQUEST, "ActionParameterValueNotInList", &message, &[verb, "ResetType", "ComputerSystem.Reset"])
            }
        }
    }
}

/// The same answer with the maker's own addresses in it.
async fn readdressed(maker: Maker, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    // Bodies of this server are whole already.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let text = maker.outbound(&String::from_utf8_lossy(&bytes));
    Response::from_parts(parts, Body::from(text))
}

fn update_document(path: &str, seen: &Seen) -> Option<Value> {
    let mut document = update::resource(path, seen)?;
    document["@odata.id"] = Value::from(path);
    Some(document)
}

fn json(status: StatusCode, document: &Value) -> Response {
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// With an ETag over its content, and 304 for who has it already.
fn shown(mut document: Value, headers: &HeaderMap) -> Response {
    let digest = Sha256::digest(document.to_string());
    let etag = format!("\"{}\"", digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>());
    document["@odata.etag"] = Value::from(etag.as_str());
    let known =
        headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(|v| v.split(',').any(|tag| [etag.as_str(), "*"].contains(&tag.trim())));
    let mut response = if known { empty(StatusCode::NOT_MODIFIED) } else { json(StatusCode::OK, &document) };
    response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&etag).expect("BUG: an ETag is hexadecimal"));
    response
}

fn refuse(status: StatusCode, id: &str, message: &str, arguments: &[&str]) -> Response {
    json(status, &error(id, message, arguments, "Critical", "Correct the request and try again."))
}

fn malformed() -> Response {
    refuse(StatusCode::BAD_REQUEST, "MalformedJSON", "The request body submitted was malformed JSON and could not be parsed by the receiving service.", &[])
}

fn not_allowed(allow: &'static str) -> Response {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "OperationNotAllowed", "The HTTP method is not allowed on this resource.", &[]);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn unauthorized() -> Response {
    let message = "While accessing the resource, the service received an authorization error: no valid session or account.";
    let mut response = refuse(StatusCode::UNAUTHORIZED, "NoValidSession", message, &[]);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Redfish\""));
    response
}
