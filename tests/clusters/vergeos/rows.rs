//! §1.6 of the contract, a test per row, named after it. What the lab cannot be made to say a scripted server says.
use super::*;
use axum::{
    Json,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// One node in a system of two, whose rows the test decides; every write is answered with `post`.
#[derive(Clone)]
struct Script {
    node: Value,
    machines: Value,
    logs: Value,
    post: Arc<Mutex<Vec<(u16, &'static str)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}
impl Script {
    fn new(status: &str, maintenance: bool) -> Script {
        let node = json!({ "$key": 2, "name": "node2", "machine": 102, "cluster": 1, "maintenance": maintenance, "physical": true, "vsan_connected": true,
            "status": status, "status_info": "because of a test", "running": true, "started": 1 });
        Script { node, machines: json!([]), logs: json!([]), post: Arc::default(), asked: Arc::default() }
    }
    async fn serve(&self) -> Arc<dyn Cluster> {
        let script = self.clone();
        let router = axum::Router::new().fallback(move |request: Request| {
            let script = script.clone();
            async move { script.answer(&request) }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        driver(&url, "/".as_ref(), json!({ "tls": null })).unwrap()
    }
    fn answer(&self, request: &Request) -> Response {
        self.asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        if request.method() == "POST" {
            let mut post = self.post.lock().unwrap();
            let (status, body) = if post.len() > 1 { post.remove(0) } else { post.first().copied().unwrap_or((200, "")) };
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
        let other = json!({ "$key": 1, "name": "node1", "machine": 101, "cluster": 1, "maintenance": false, "physical": true, "status": "running" });
        let rows = match request.uri().path() {
            "/api/v4/nodes" => json!([self.node, other]),
            "/api/v4/machine_status" => self.machines.clone(),
            "/api/v4/machine_logs" => self.logs.clone(),
            "/api/v4/cluster_tiers" => json!([{ "tier": 1, "cluster": 1, "display_status": "online", "redundant": true }]),
            _ => json!([]),
        };
        Json(rows).into_response()
    }
    fn posts(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|a| a.starts_with("POST")).cloned().collect()
    }
    async fn enter(&self, answers: &[(u16, &'static str)]) -> Result<(), Fault> {
        *self.post.lock().unwrap() = answers.to_vec();
        let driver = self.serve().await;
        let view = driver.look("node2", &ask(Unmovable::Refuse)).await.unwrap();
        driver.act("node2", &view.moves[0], &ask(Unmovable::Refuse)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_401_stops_and_is_never_tried_again() {
    let script = Script::new("running", false);
    let fault = script.enter(&[(401, r#"{"err":"login required"}"#)]).await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && script.posts().len() == 1, "{fault} {:?}", script.posts());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_403_names_the_missing_right() {
    let fault = Script::new("running", false).enter(&[(403, "{}")]).await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && fault.next.as_ref().unwrap().contains("modify nodes"), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_404_and_405_alone_lead_to_the_next_shape() {
    for first in [404, 405] {
        let script = Script::new("running", false);
        script.enter(&[(first, "{}"), (first, "{}"), (200, "")]).await.unwrap();
        assert_eq!(script.posts(), ["POST /api/v4/nodes/2/enable_maintenance", "POST /api/v4/node_actions/enable_maintenance", "POST /api/v4/node_actions"]);
    }
    for first in [400, 401, 403, 409, 422, 429, 500, 503] {
        let script = Script::new("running", false);
        script.enter(&[(first, "{}"), (200, "")]).await.unwrap_err();
        assert_eq!(script.posts().len(), 1, "{first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_409_reads_the_state_again_and_already_in_maintenance_is_success() {
    let lab = lab(|_| {}).await;
    let (driver, other) = (lab.driver(), lab.driver());
    let enter = driver.look("node2", &ask(Unmovable::Refuse)).await.unwrap().moves[0].clone();
    send(&other, "node2", Unmovable::Refuse).await.unwrap();
    let fault = driver.act("node2", &enter, &ask(Unmovable::Refuse)).await.unwrap_err();
    assert!(fault.kind == FaultKind::Unwilling && fault.to_string().contains("already"), "{fault}");
    // The next look is all that is needed: nothing more is offered, and the node is emptied.
    assert!(empty(&driver, "node2").await.moves.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_422_shows_what_err_says() {
    let fault = Script::new("running", false).enter(&[(422, r#"{"err":"vSAN tier 1 is not redundant"}"#)]).await.unwrap_err();
    assert!(fault.kind == FaultKind::Unwilling && fault.to_string().contains("vSAN tier 1 is not redundant"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_400_408_500_507_prove_what_they_prove() {
    use FaultKind::*;
    for (status, kind) in [(400, Unable), (408, Unknown), (500, Unknown), (507, Unwilling)] {
        assert_eq!(Script::new("running", false).enter(&[(status, "{}")]).await.unwrap_err().kind, kind, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_error_body_in_every_shape() {
    for (body, text) in [
        (r#"{"err":"a reason"}"#, "a reason"),
        (r#"{"err":true,"message":"a reason"}"#, "a reason"),
        (r#"{"error":{"message":"a reason"}}"#, "a reason"),
        (r#"{"err":{"message":"a reason"}}"#, "a reason"),
        ("<html>a reason</html>", "a reason"),
    ] {
        let fault = Script::new("running", false).enter(&[(422, body)]).await.unwrap_err();
        assert!(fault.to_string().contains(text), "{body}: {fault}");
    }
}

/// Connections that break while the UI's address moves: each is a failed look and no answer, and the next one works.
#[tokio::test(flavor = "multi_thread")]
async fn row_connection_reset_during_poll_is_survived() {
    let lab = lab(|_| {}).await;
    let target = lab.url.trim_start_matches("https://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for n in 0.. {
            let Ok((mut from, _)) = listener.accept().await else { return };
            let target = target.clone();
            tokio::spawn(async move {
                if n % 7 == 3 {
                    from.read_u8().await.ok(); // unread bytes make it a reset
                    return;
                }
                if let Ok(mut to) = tokio::net::TcpStream::connect(target).await {
                    tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
                }
            });
        }
    });
    let driver = super::driver(&url, lab.dir.path(), json!({})).unwrap();
    let (began, mut broken, mut sent) = (Instant::now(), 0, false);
    loop {
        match driver.look("node2", &ask(Unmovable::Refuse)).await {
            Ok(view) if view.in_maintenance && view.workloads.is_empty() => break,
            Ok(view) => {
                if let (false, Some(enter)) = (sent, view.moves.first()) {
                    sent = driver.act("node2", enter, &ask(Unmovable::Refuse)).await.is_ok();
                }
            }
            Err(fault) => {
                assert!(matches!(fault.kind, FaultKind::Unknown | FaultKind::Unreachable), "{fault}");
                broken += 1;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(30), "never empty");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(broken > 0, "nothing was broken: what was tested?");
    assert_eq!(lab.log.writes().iter().filter(|w| w.starts_with("enter")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_something_left_and_an_error_in_the_log_are_named() {
    let mut script = Script::new("migrating", true);
    script.machines = json!([{ "machine": 31, "name": "db1", "node": 2, "running": true, "status": "running", "migratable": true }]);
    let log = |machine: u32, level: &str, text: &str, minutes: i64| json!({ "$key": 1, "machine": machine, "level": level, "text": text, "timestamp": 1_700_000_000_000_000_i64 - minutes * 60_000_000 });
    // Newest first, as asked for; what is far older than the newest line belongs to another time.
    script.logs = json!([
        log(102, "message", "Migrating 1 machine", 0),
        log(31, "error", "Not enough memory on node1", 1),
        log(31, "message", "Migration started", 2),
        log(31, "error", "an old story", 600)
    ]);
    let view = script.serve().await.look("node2", &ask(Unmovable::Refuse)).await.unwrap();
    assert!(!view.in_maintenance && view.workloads.len() == 1);
    let said = format!("{:?}", view.blockers);
    assert!(said.contains("db1") && said.contains("error: Not enough memory on node1") && said.contains("Migrating 1 machine"), "{said}");
    assert!(!said.contains("old story"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_stuck_migrating_is_never_maintenance() {
    let view = Script::new("migrating", true).serve().await.look("node2", &ask(Unmovable::Refuse)).await.unwrap();
    assert!(!view.in_maintenance && view.moves.is_empty() && view.blockers[0].why.contains("migrating"), "{view:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_unlicensed_error_and_driversreloading_are_reported_and_never_power_cycled() {
    for status in ["unlicensed", "error", "driversreloading"] {
        for maintenance in [false, true] {
            let view = Script::new(status, maintenance).serve().await.look("node2", &ask(Unmovable::Refuse)).await.unwrap();
            assert!(!view.in_maintenance && view.moves.is_empty() && !view.ready, "{status} {view:#?}");
            assert!(format!("{:?}{:?}", view.not_ready, view.blockers).contains("because of a test"), "{status} {view:#?}");
        }
    }
}

/// 1000 requests an hour, and a window of its own per session: after a 429 nothing is sent for a while.
#[tokio::test(flavor = "multi_thread")]
async fn rate_limits_are_respected() {
    let lab = lab(|_| {}).await;
    let driver = lab.driver();
    lab.faults.throttle.store(true, Ordering::Relaxed);
    assert!(driver.members().await.unwrap_err().to_string().contains("retry-after 10"));
    lab.faults.throttle.store(false, Ordering::Relaxed);
    let waits = driver.members().await.unwrap_err();
    assert!(waits.kind == FaultKind::Unwilling && waits.to_string().contains("not sent"), "{waits}");
}
