//! Requests: who asks, for what, and the answer in the API server's form.
use super::{
    Server,
    addons::is_custom,
    control, discovery, evict, nmo, now, patch,
    store::{Key, Resource, Store, pod, resource},
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{collections::HashMap, convert::Infallible, time::Duration};
use tokio::time::Instant;

pub struct Refused {
    pub code: u16,
    pub body: Value,
}

pub fn failure(code: u16, reason: &str, message: &str) -> Refused {
    Refused {
        code,
        body: json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code }),
    }
}

type Query = HashMap<String, String>;
type Answer = Result<(u16, Value), Refused>;

pub async fn handle(State(server): State<Server>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let query = axum::extract::Query::<Query>::try_from_uri(&uri).map(|q| q.0).unwrap_or_default();
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if text(header::AUTHORIZATION) != format!("Bearer {}", server.token) {
        return respond(Err(failure(401, "Unauthorized", "Unauthorized")));
    }
    let path: Vec<&str> = uri.path().split('/').filter(|s| !s.is_empty()).collect();
    if method == Method::GET {
        if matches!(path.as_slice(), ["healthz" | "readyz" | "livez", ..]) {
            return "ok".into_response();
        }
        if let Some(found) = discovery::answer(&path, &server.addons) {
            return respond(Ok((200, found)));
        }
    }
    let Some(target) = Target::of(&path) else {
        return respond(Err(failure(404, "NotFound", "the server could not find the requested resource")));
    };
    if target.resource.is_some_and(|r| !server.addons.serves(r.version)) {
        return respond(Err(failure(404, "NotFound", "the server could not find the requested resource")));
    }
    let flag = |name: &str| query.get(name).is_some_and(|v| v == "true" || v == "1");
    if method == Method::GET && flag("watch") {
        return watch(server, &target, &query);
    }
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(body) => body,
        Err(_) if body.is_empty() => Value::Null,
        Err(e) => return respond(Err(failure(400, "BadRequest", &format!("the body is not JSON: {e}")))),
    };
    respond(target.answer(&server, &method, &query, text(header::CONTENT_TYPE), body))
}

fn respond(answer: Answer) -> Response {
    let (code, body) = answer.unwrap_or_else(|refused| (refused.code, refused.body));
    (StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), axum::Json(body)).into_response()
}

/// A path, taken apart: `/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUB`.
struct Target<'a> {
    resource: Option<&'static Resource>,
    plural: &'a str,
    namespace: &'a str,
    name: &'a str,
    sub: &'a str,
}

impl<'a> Target<'a> {
    fn of(path: &[&'a str]) -> Option<Target<'a>> {
        let (version, rest) = match path {
            ["api", "v1", rest @ ..] => ("v1".to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, sub) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, sub] => (*plural, *name, *sub),
            _ => return None,
        };
        let resource = resource(&version, plural);
        (resource.is_some() || (version == "authorization.k8s.io/v1" && plural == "selfsubjectaccessreviews")).then_some(Target {
            resource,
            plural,
            namespace,
            name,
            sub,
        })
    }

    fn key(&self, resource: &Resource) -> Key {
        // `Key` wants the table's own static name.
        Key::new(super::store::resource(resource.version, self.plural).map_or("", |r| r.plural), self.namespace, self.name)
    }

    fn answer(&self, server: &Server, method: &Method, query: &Query, content: &str, mut body: Value) -> Answer {
        let Some(resource) = self.resource else {
            // A question about rights: everything is allowed, nothing is stored.
            body["status"] = json!({ "allowed": true });
            return Ok((201, body));
        };
        let dry = query.get("dryRun").is_some_and(|v| v == "All") || body["deleteOptions"]["dryRun"][0] == "All" || body["dryRun"][0] == "All";
        let key = self.key(resource);
        let missing = || failure(404, "NotFound", &format!("{} \"{}\" not found", self.plural, self.name));
        match (method.as_str(), self.name, self.sub) {
            ("GET", "", _) => list(&server.store(), resource, self.namespace, query),
            ("GET", _, "" | "status") => server.store().get(&key).cloned().map(|o| (200, o)).ok_or_else(missing),
            ("POST", _, "eviction") if self.plural == "pods" => evict::evict(server, &key, &body, dry).map(|status| (201, status)),
            ("POST", "", "") => self.create(server, resource, body, dry),
            ("PUT", _, "" | "status") => self.write(server, resource, &key, dry, |_| body),
            ("PATCH", _, "" | "status") => {
                let strategic = match content {
                    "application/strategic-merge-patch+json" if !is_custom(resource) => true,
                    "application/merge-patch+json" => false,
                    other => return Err(failure(415, "UnsupportedMediaType", &format!("this lab takes merge patches, not {other}"))),
                };
                self.write(server, resource, &key, dry, |was| {
                    let mut object = was.clone();
                    patch::merge(&mut object, body, strategic);
                    object
                })
            }
            ("DELETE", name, "") if !name.is_empty() => self.delete(server, &key, &body, dry),
            _ => Err(failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")),
        }
    }

    fn create(&self, server: &Server, resource: &'static Resource, mut object: Value, dry: bool) -> Answer {
        let mut store = server.store();
        if resource.namespaced {
            if store.get(&Key::new("namespaces", "", self.namespace)).is_none() {
                return Err(failure(404, "NotFound", &format!("namespaces \"{}\" not found", self.namespace)));
            }
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(failure(422, "Invalid", "metadata.name: Required value: name or generateName is required"));
        }
        let key = Key { name: name.clone(), ..self.key(resource) };
        if store.get(&key).is_some() {
            return Err(failure(409, "AlreadyExists", &format!("{} \"{name}\" already exists", self.plural)));
        }
        if resource.plural == "nodemaintenances" {
            nmo::admit(server, &store, &object, None)?;
        }
        if dry {
            return Ok((201, object));
        }
        if let Some(status) = match resource.plural {
            "namespaces" => Some(json!({ "phase": "Active" })),
            "pods" => Some(json!({ "phase": "Pending" })),
            _ => None,
        } {
            object["status"] = status;
        }
        server.rack.api_write(self.machine(server, &object), &format!("create {} {}", resource.kind.to_lowercase(), path_of(&key)));
        Ok((201, store.put(resource, object)))
    }

    fn write(&self, server: &Server, resource: &'static Resource, key: &Key, dry: bool, change: impl FnOnce(&Value) -> Value) -> Answer {
        let mut store = server.store();
        let was = store.get(key).cloned().ok_or_else(|| failure(404, "NotFound", &format!("{} \"{}\" not found", self.plural, self.name)))?;
        let object = change(&was);
        let meta = &object["metadata"];
        let same = |field: &str| meta[field].is_null() || meta[field] == was["metadata"][field];
        if !same("resourceVersion") || !same("uid") {
            let text = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(failure(409, "Conflict", &format!("Operation cannot be fulfilled on {} \"{}\": {text}", self.plural, self.name)));
        }
        if meta["name"] != key.name.as_str() {
            return Err(failure(400, "BadRequest", "the name of the object does not match the name on the URL"));
        }
        if resource.plural == "nodemaintenances" {
            nmo::admit(server, &store, &object, Some(&was))?;
        }
        if dry {
            return Ok((200, object));
        }
        server.rack.api_write(self.machine(server, &was), &words(resource, key, &was, &object));
        let object = store.put(resource, object);
        if is_custom(resource) && !object["metadata"]["deletionTimestamp"].is_null() && !held(&object) {
            store.remove(key);
        }
        control::budgets(&mut store);
        Ok((200, object))
    }

    fn delete(&self, server: &Server, key: &Key, options: &Value, dry: bool) -> Answer {
        let mut store = server.store();
        let object = store.get(key).cloned().ok_or_else(|| failure(404, "NotFound", &format!("{} \"{}\" not found", self.plural, self.name)))?;
        let (wanted, uid) = (&options["preconditions"]["uid"], &object["metadata"]["uid"]);
        if !wanted.is_null() && wanted != uid {
            return Err(failure(409, "Conflict", "Precondition failed: UID in precondition differs"));
        }
        if dry {
            return Ok((200, object));
        }
        server.rack.api_write(self.machine(server, &object), &format!("delete {} {}", self.plural.trim_end_matches('s'), path_of(key)));
        match self.plural {
            "pods" => {
                control::terminate(&mut store, key, options["gracePeriodSeconds"].as_u64());
                if options["gracePeriodSeconds"] == 0 {
                    store.remove(key);
                }
            }
            "namespaces" => drop(store.edit(key, |n| {
                n["status"]["phase"] = json!("Terminating");
                n["metadata"]["deletionTimestamp"] = json!(now());
            })),
            // Stays until whoever set the finalizer has tidied up.
            _ if held(&object) => drop(store.edit(key, |o| {
                if o["metadata"]["deletionTimestamp"].is_null() {
                    o["metadata"]["deletionTimestamp"] = json!(now());
                }
            })),
            _ => drop(store.remove(key)),
        }
        Ok((200, object))
    }

    /// The machine a write is about; none for what belongs to the whole cluster.
    fn machine<'s>(&self, server: &'s Server, object: &Value) -> &'s str {
        match self.plural {
            "nodes" => server.machine(self.name),
            "nodemaintenances" => server.machine(object["spec"]["nodeName"].as_str().unwrap_or_default()),
            _ => server.machine(pod::node(object)),
        }
    }
}

fn held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}

fn path_of(key: &Key) -> String {
    if key.namespace.is_empty() { key.name.clone() } else { format!("{}/{}", key.namespace, key.name) }
}

/// `cordon edge-02`: what a write means, where it means something.
fn words(resource: &Resource, key: &Key, was: &Value, is: &Value) -> String {
    let cordoned = |n: &Value| n["spec"]["unschedulable"] == true;
    match (resource.plural, cordoned(was), cordoned(is)) {
        ("nodes", false, true) => format!("cordon {}", key.name),
        ("nodes", true, false) => format!("uncordon {}", key.name),
        _ => format!("update {} {}", resource.kind.to_lowercase(), path_of(key)),
    }
}

fn list(store: &Store, resource: &'static Resource, namespace: &str, query: &Query) -> Answer {
    let wanted = |key: &Key, object: &Value| (namespace.is_empty() || key.namespace == namespace) && selected(object, query);
    let mut found = store.all(resource.plural).filter(|(k, o)| wanted(k, o)).peekable();
    if let Some(after) = query.get("continue") {
        let (space, name) = after.split_once('/').ok_or_else(|| failure(400, "BadRequest", "continue key is not valid"))?;
        while found.next_if(|(k, _)| (k.namespace.as_str(), k.name.as_str()) <= (space, name)).is_some() {}
    }
    let limit = query.get("limit").and_then(|l| l.parse::<usize>().ok()).filter(|l| *l > 0).unwrap_or(usize::MAX);
    let mut items = Vec::new();
    let mut last = None;
    while items.len() < limit
        && let Some((key, object)) = found.next()
    {
        items.push(object);
        last = Some(key);
    }
    let mut metadata = json!({ "resourceVersion": store.version.to_string() });
    if let Some(last) = last.filter(|_| found.peek().is_some()) {
        metadata["continue"] = json!(format!("{}/{}", last.namespace, last.name));
        metadata["remainingItemCount"] = json!(found.count());
    }
    Ok((200, json!({ "kind": format!("{}List", resource.kind), "apiVersion": resource.version, "metadata": metadata, "items": items })))
}

/// Field and label selectors, as far as clients use them: `a=b`, `a==b`, `a!=b`, joined by commas.
fn selected(object: &Value, query: &Query) -> bool {
    let field = |name: &str| match name {
        "metadata.name" => object["metadata"]["name"].clone(),
        "metadata.namespace" => object["metadata"]["namespace"].clone(),
        other => other.split('.').fold(object.clone(), |v, part| v[part].clone()),
    };
    let label = |name: &str| object["metadata"]["labels"][name].clone();
    holds(query.get("fieldSelector"), field) && holds(query.get("labelSelector"), label)
}

fn holds(selector: Option<&String>, value: impl Fn(&str) -> Value) -> bool {
    let text = |v: Value| match v {
        Value::String(s) => s,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    selector.into_iter().flat_map(|s| s.split(',')).filter(|rule| !rule.is_empty()).all(|rule| match (rule.split_once("!="), rule.split_once('=')) {
        (Some((name, wanted)), _) => text(value(name)) != wanted,
        (None, Some((name, wanted))) => text(value(name)) == wanted.trim_start_matches('='),
        (None, None) => !value(rule).is_null(),
    })
}

/// Changes as they happen, one JSON object a line, until the time is out.
fn watch(server: Server, target: &Target<'_>, query: &Query) -> Response {
    let Some(resource) = target.resource else { return respond(Err(failure(405, "MethodNotAllowed", "cannot be watched"))) };
    let (namespace, name, query) = (target.namespace.to_owned(), target.name.to_owned(), query.clone());
    let until = Instant::now() + Duration::from_secs(query.get("timeoutSeconds").and_then(|t| t.parse().ok()).unwrap_or(1800));
    let version: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
    let wanted = move |object: &Value| {
        let meta = &object["metadata"];
        (namespace.is_empty() || meta["namespace"] == namespace.as_str()) && (name.is_empty() || meta["name"] == name.as_str()) && selected(object, &query)
    };
    let line = |verb: &str, object: &Value| format!("{}\n", json!({ "type": verb, "object": object }));
    let store = server.store();
    // Without a version, what there is comes first; with one, what has happened since.
    let (first, seen) = match version {
        0 => (store.all(resource.plural).filter(|(_, o)| wanted(o)).map(|(_, o)| line("ADDED", o)).collect(), store.version),
        version => (String::new(), version),
    };
    let news = store.subscribe();
    drop(store);
    let stream = futures::stream::unfold((server, seen, news, wanted, Some(first)), move |(server, mut seen, mut news, wanted, first)| async move {
        if let Some(first) = first.filter(|f| !f.is_empty()) {
            return Some((Ok::<_, Infallible>(first), (server, seen, news, wanted, None)));
        }
        loop {
            news.borrow_and_update();
            let (changes, now) = {
                let store = server.store();
                (store.since(seen, resource.plural), store.version)
            };
            let Some(changes) = changes else {
                let gone = json!({ "type": "ERROR", "object": failure(410, "Expired", "too old resource version").body });
                return Some((Ok(format!("{gone}\n")), (server, u64::MAX, news, wanted, None))).filter(|_| seen != u64::MAX);
            };
            seen = now;
            let lines: String = changes.iter().filter(|c| wanted(&c.object)).map(|c| line(c.verb, &c.object)).collect();
            if !lines.is_empty() {
                return Some((Ok(lines), (server, seen, news, wanted, None)));
            }
            // Time is out, or the server is going down.
            if !matches!(tokio::time::timeout_at(until, news.changed()).await, Ok(Ok(()))) {
                return None;
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(stream)).into_response()
}
