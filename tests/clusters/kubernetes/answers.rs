//! Scripted API servers: every answer to an eviction and what it means; and a proxy that notes every request.
use super::*;
use axum::{
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use pitstop::model::{FaultKind, Repeat};

pub type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// An HTTP server answering by `script`, and a directory with a kubeconfig for it.
pub async fn scripted<F: Future<Output = Response> + Send + 'static>(
    script: impl Fn(Method, String, HeaderMap, Bytes) -> F + Clone + Send + Sync + 'static,
) -> tempfile::TempDir {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = for_address(listener.local_addr().unwrap());
    let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| script(method, uri.to_string(), headers, body);
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(handler)).await.unwrap() });
    dir
}

pub fn for_address(address: std::net::SocketAddr) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "u", "user": { "token": "secret-token" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }] });
    std::fs::write(dir.path().join("kubeconfig"), config.to_string()).unwrap();
    dir
}

/// Passes every request on and notes its method and path.
pub async fn proxy(to: Http, asked: Asked) -> tempfile::TempDir {
    let to = Arc::new(to);
    scripted(move |method, path, headers, body| {
        let (to, asked) = (to.clone(), asked.clone());
        async move {
            asked.lock().unwrap().push((method.to_string(), path.clone()));
            let content = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json").to_owned();
            let (code, answer) = to.send(method.as_str(), &path, &content, serde_json::from_slice(&body).unwrap_or_default()).await;
            (StatusCode::from_u16(code).unwrap(), axum::Json(answer)).into_response()
        }
    })
    .await
}

/// Passes every request on, but answers one path by itself.
pub async fn proxy_with(to: Http, instead: &'static str, answer: Value) -> tempfile::TempDir {
    let to = Arc::new(to);
    scripted(move |method, path, headers, body| {
        let (to, answer) = (to.clone(), answer.clone());
        async move {
            if method == "GET" && path.split('?').next() == Some(instead) {
                return (
                    [(header::DATE, jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now()).unwrap())],
                    axum::Json(answer),
                )
                    .into_response();
            }
            let content = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json").to_owned();
            let (code, answer) = to.send(method.as_str(), &path, &content, serde_json::from_slice(&body).unwrap_or_default()).await;
            (StatusCode::from_u16(code).unwrap(), axum::Json(answer)).into_response()
        }
    })
    .await
}

pub fn pod(uid: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web-0", "namespace": "shop", "uid": uid, "labels": { "app": "web" } },
        "spec": { "nodeName": "n1", "containers": [] }, "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } })
}
pub fn budget(name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": { "selector": { "matchLabels": { "app": "web" } } },
        "status": { "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2, "disruptionsAllowed": 0 } })
}
pub fn status(reason: &str, message: &str, causes: Value) -> String {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "details": { "causes": causes } }).to_string()
}

/// Evicts `shop/web-0` (uid `u1`) where the server answers `code` and `body`, and now shows `there`.
pub async fn evict(code: u16, body: String, there: Option<Value>, budgets: Vec<Value>) -> (Result<(), Fault>, Vec<Value>) {
    let posted = Arc::new(Mutex::new(Vec::new()));
    let noted = posted.clone();
    let dir = scripted(move |method, path, _, sent| {
        let (body, there, budgets, noted) = (body.clone(), there.clone(), budgets.clone(), noted.clone());
        async move {
            let json = |v: Value| axum::Json(v).into_response();
            match (method.as_str(), path.split('?').next().unwrap()) {
                ("GET", "/api/v1") => json(json!({ "resources": [{ "name": "pods/eviction", "group": "policy", "version": "v1", "kind": "Eviction" }] })),
                ("POST", "/api/v1/namespaces/shop/pods/web-0/eviction") => {
                    noted.lock().unwrap().push(serde_json::from_slice(&sent).unwrap());
                    (StatusCode::from_u16(code).unwrap(), body).into_response()
                }
                ("GET", "/api/v1/namespaces/shop/pods/web-0") => match there {
                    Some(pod) => json(pod),
                    None => (StatusCode::NOT_FOUND, status("NotFound", "pods \"web-0\" not found", json!([]))).into_response(),
                },
                ("GET", "/apis/policy/v1/poddisruptionbudgets") => json(json!({ "metadata": {}, "items": budgets })),
                other => panic!("not asked for in this test: {other:?}"),
            }
        }
    })
    .await;
    let mut act = Act::new("cluster", "evict shop/web-0", Repeat::Freely);
    act.args = json!({ "do": "evict", "namespace": "shop", "name": "web-0", "uid": "u1" });
    let answer = connect(dir.path(), json!({})).act("n1", &act, &ask("run-1")).await;
    let posted = posted.lock().unwrap().clone();
    (answer, posted)
}

#[tokio::test]
async fn the_request_names_the_pod_by_uid_and_is_sent_once() {
    let (answer, posted) = evict(201, json!({ "kind": "Status", "status": "Success" }).to_string(), None, vec![]).await;
    answer.unwrap();
    let wanted = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "web-0", "namespace": "shop" },
        "deleteOptions": { "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": "u1" } } });
    let mut sent = posted[0].clone();
    if sent["deleteOptions"].get("apiVersion").is_none() {
        sent["deleteOptions"]["apiVersion"] = json!("v1");
        sent["deleteOptions"]["kind"] = json!("DeleteOptions");
    }
    assert_eq!((posted.len(), sent), (1, wanted));
}

#[tokio::test]
async fn row_4_6_409_conflict_is_done_only_if_that_very_pod_is_gone() {
    let conflict = || status("Conflict", "Precondition failed: UID in precondition: u1, UID in object meta: u2", json!([]));
    assert!(evict(409, conflict(), Some(pod("u2")), vec![]).await.0.is_ok(), "another of its name");
    assert!(evict(409, conflict(), None, vec![]).await.0.is_ok(), "gone");
    assert_eq!(evict(409, conflict(), Some(pod("u1")), vec![]).await.0.unwrap_err().kind, FaultKind::Unwilling);
}

#[tokio::test]
async fn a_server_that_takes_the_request_and_says_nothing_leaves_it_in_doubt() {
    let dir = scripted(|method, path, _, _| async move {
        match (method.as_str(), path.contains("/eviction")) {
            ("POST", true) => std::future::pending().await,
            _ => axum::Json(json!({ "resources": [{ "name": "pods/eviction", "group": "policy", "version": "v1" }] })).into_response(),
        }
    })
    .await;
    let mut act = Act::new("cluster", "evict shop/web-0", Repeat::Freely);
    act.args = json!({ "do": "evict", "namespace": "shop", "name": "web-0", "uid": "u1" });
    let fault = connect(dir.path(), json!({ "request_timeout": "300ms" })).act("n1", &act, &ask("run-1")).await.unwrap_err();
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Unknown, "evict shop/web-0: no answer within 300ms"));
}

#[tokio::test]
async fn a_connection_lost_after_sending_is_doubt_and_one_never_made_is_not() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                accepted = listener.accept() => {
                    let mut stream = accepted.unwrap().0;
                    // Reads the request, and hangs up.
                    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                }
            }
        }
    });
    let dir = for_address(address);
    let cluster = connect(dir.path(), json!({}));
    assert_eq!(cluster.members().await.unwrap_err().kind, FaultKind::Unknown);
    stop.send(()).unwrap();
    server.await.unwrap();
    let fault = cluster.members().await.unwrap_err();
    assert_eq!((fault.kind, fault.what), (FaultKind::Unreachable, format!("list nodes: nothing answers at http://{address}")));
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let dir = scripted(|_, path, _, body| async move {
        if path.starts_with("/version") {
            return axum::Json(json!({ "major": "1", "minor": "20", "gitVersion": "v1.20.9", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": "" })).into_response();
        }
        if path.starts_with("/apis?") || path == "/apis" {
            return axum::Json(json!({ "groups": [{ "name": "metal3.io" }] })).into_response();
        }
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        let attributes = &review["spec"]["resourceAttributes"];
        let denied = attributes["subresource"] == "eviction" || attributes["resource"] == "baremetalhosts" || (attributes["verb"] == "update" && attributes["resource"] == "leases");
        review["status"] = json!({ "allowed": !denied });
        (StatusCode::CREATED, axum::Json(review)).into_response()
    })
    .await;
    let reached = connect(dir.path(), json!({})).probe().await.unwrap();
    assert_eq!(reached.missing_rights, ["create pods/eviction", "update leases.coordination.k8s.io in kube-system", "list baremetalhosts.metal3.io"]);
}

#[tokio::test]
async fn budgets_of_old_clusters_are_read_as_v1beta1() {
    let not_found = || (StatusCode::NOT_FOUND, status("NotFound", "the server could not find the requested resource", json!([]))).into_response();
    let dir = scripted(move |_, path, _, _| async move {
        let json = |v: Value| axum::Json(v).into_response();
        match path.split('?').next().unwrap() {
            "/api/v1/nodes/n1" => json(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" }, "status": { "conditions": [{ "type": "Ready", "status": "True" }] } })),
            "/api/v1/pods" => json(json!({ "metadata": {}, "items": [pod("u1")] })),
            "/apis" => json(json!({ "groups": [] })),
            "/apis/policy/v1beta1/poddisruptionbudgets" => json(json!({ "metadata": {}, "items": [budget("web")] })),
            _ => not_found(),
        }
    })
    .await;
    let view = connect(dir.path(), json!({ "force": true })).look("n1", &nobody()).await.unwrap();
    assert!(view.ready, "no Lease of its own: the condition speaks: {view:#?}");
    assert_eq!(view.workloads[0].stuck.as_deref().and_then(|s| s.split(';').next()), Some("2 of 2 needed by PodDisruptionBudget shop/web, 0 may be evicted"));
}

#[test]
fn a_kubeconfig_that_makes_no_sense_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let connect = |body: Value| {
        let config = kinds::make(KINDS, &Setting { kind: "kubernetes".into(), body }).unwrap();
        let cx = Connect { node: None, secrets: Arc::new(NoSecrets), trust: Trust::default(), base: dir.path().to_owned(), home: dir.path().to_owned() };
        config.connect(&cx).err().unwrap()
    };
    let fault = connect(json!({ "kubeconfig": "kubeconfig" }));
    assert!(fault.kind == FaultKind::Invalid && fault.what == format!("read kubeconfig {}", dir.path().join("kubeconfig").display()), "{fault}");
    let there = for_address("127.0.0.1:9".parse().unwrap());
    std::fs::copy(there.path().join("kubeconfig"), dir.path().join("kubeconfig")).unwrap();
    let fault = connect(json!({ "kubeconfig": "~/kubeconfig", "context": "edge" }));
    assert!(fault.what.ends_with("no context `edge`") && fault.causes == ["it has c"], "{fault}");
}
