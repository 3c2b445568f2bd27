//! §3.5 of the contract, a test per row, named after it.
use super::*;

/// A server that says the same to everyone, and counts.
async fn always(status: u16, body: &'static str) -> (String, Arc<Mutex<usize>>) {
    let count: Arc<Mutex<usize>> = Arc::default();
    let counted = count.clone();
    let router = axum::Router::new().fallback(move || {
        *counted.lock().unwrap() += 1;
        async move { (axum::http::StatusCode::from_u16(status).unwrap(), body) }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, count)
}

/// The lab, but every PUT is answered so.
async fn puts(lab: &Lab, status: u16, body: &'static str) -> String {
    let (client, base) = (reqwest::Client::builder().no_proxy().build().unwrap(), lab.url.clone());
    let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let (client, base) = (client.clone(), base.clone());
        async move {
            if request.method() == "PUT" {
                return (axum::http::StatusCode::from_u16(status).unwrap(), body.to_owned());
            }
            let (parts, bytes) = request.into_parts();
            let bytes = axum::body::to_bytes(bytes, 1 << 20).await.unwrap();
            let answer = client.request(parts.method, format!("{base}{}", parts.uri)).headers(parts.headers).body(bytes).send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn row_401_stops_and_never_shows_the_key() {
    let lab = lab(&[]).await;
    let fault = driver(&lab.url, json!({ "api_key": { "env": "wrong-key" } })).probe().await.err().unwrap();
    assert!(fault.kind == FaultKind::Denied && fault.next.as_ref().unwrap().contains("expired"), "{fault:?}");
    assert!(!format!("{fault} {fault:?}").contains("wrong-key"));
    assert_eq!(lab.exchanges().len(), 1, "not tried again by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_403_says_rights_and_project() {
    let (url, _) = always(403, r#"{"code":"OperationForbidden","message":"no"}"#).await;
    let fault = driver(&url, json!({})).members().await.unwrap_err();
    let next = fault.next.clone().unwrap();
    assert!(fault.kind == FaultKind::Denied && next.contains("machine.update") && next.contains("`project`"), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_404_is_resolved_again_before_it_is_taken_and_never_after() {
    let lab = lab(&["machine-replaced"]).await;
    let driver = lab.driver();
    look(&driver, "w-02").await;
    // Re-created under its name while nobody held it: found again.
    lab.rack.power("w-02", "ForceRestart", "test");
    while lab.rack.seen("w-02").unwrap().boots == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until(&driver, "w-02", "up again", |v| v.ready).await;
    let (_, loans) = until(&driver, "w-02", "empty", empty).await;
    // Once it is ours, another machine of that name is not the one that was emptied.
    lab.rack.power("w-02", "ForceRestart", "test");
    let (view, _) = until(&driver, "w-02", "found replaced", |v| !v.impossible.is_empty()).await;
    assert!(!view.in_maintenance && !view.ready && view.moves.is_empty() && view.impossible[0].why.contains("replaced"), "{view:#?}");
    let unpaid = driver.is_paid("w-02", &loans[0]).await.unwrap_err();
    assert!(unpaid.to_string().contains("replaced") && unpaid.next.is_some(), "{unpaid:?}");
    // Nor does a process that remembers nothing call it paid, or enable the new one.
    let fresh = lab.driver();
    assert!(fresh.is_paid("w-02", &loans[0]).await.unwrap_err().to_string().contains("replaced"));
    let back = fresh.act("w-02", &fresh.give_back("w-02", &loans[0]), &ask()).await.unwrap_err();
    assert!(back.to_string().contains("replaced"), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_400_proves_that_nothing_happened() {
    let lab = lab(&[]).await;
    let driver = driver(&puts(&lab, 400, r#"{"code":"InvalidAction","message":"bad enum"}"#).await, json!({}));
    let enter = look(&driver, "w-02").await.moves[0].clone();
    let fault = driver.act("w-02", &enter, &ask()).await.unwrap_err();
    assert!(fault.kind == FaultKind::Unable && fault.to_string().contains("InvalidAction: bad enum"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_429_sends_nothing_more_for_a_while() {
    let (url, count) = always(429, r#"{"code":"TooManyRequests","message":"slow down"}"#).await;
    let driver = driver(&url, json!({}));
    for _ in 0..5 {
        assert_eq!(driver.members().await.unwrap_err().kind, FaultKind::Unwilling);
    }
    assert_eq!(*count.lock().unwrap(), 1, "asked once, and then left alone");
    tokio::time::sleep(Duration::from_millis(2600)).await;
    driver.members().await.unwrap_err();
    assert_eq!(*count.lock().unwrap(), 2, "and asked again after two seconds");
    tokio::time::sleep(Duration::from_millis(2600)).await;
    driver.members().await.unwrap_err();
    assert_eq!(*count.lock().unwrap(), 2, "the second time it is four");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_500_shows_code_message_and_ref_and_a_write_is_in_doubt() {
    let lab = lab(&[]).await;
    let broken = r#"{"code":"OperationFailed","message":"hubble is away","ref":"r-17"}"#;
    let reads = driver(&always(500, broken).await.0, json!({})).members().await.unwrap_err();
    assert!(reads.kind == FaultKind::Unwilling && reads.to_string().contains("OperationFailed: hubble is away (ref r-17)"), "{reads}");
    let driver = driver(&puts(&lab, 500, broken).await, json!({}));
    let enter = look(&driver, "w-02").await.moves[0].clone();
    assert_eq!(driver.act("w-02", &enter, &ask()).await.unwrap_err().kind, FaultKind::Unknown);
    // What became of it is read, not assumed: here nothing, so it is offered again.
    assert_eq!(look(&driver, "w-02").await.moves.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_put_is_in_doubt_and_the_next_look_tells() {
    let lab = lab(&[]).await;
    let driver = lab.driver();
    let enter = look(&driver, "w-02").await.moves[0].clone();
    lab.faults.lose_replies.store(true, Ordering::Relaxed);
    assert_eq!(driver.act("w-02", &enter, &ask()).await.unwrap_err().kind, FaultKind::Unknown);
    assert!(!look(&driver, "w-02").await.enabled, "it is under way");
    assert_eq!(lab.writes().iter().filter(|w| w.contains("cordon")).count(), 1, "sent once, never again by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_failed_prints_the_message_at_once_and_uncordon_rolls_back() {
    let lab = lab(&["maintenance-failed"]).await;
    let driver = lab.driver();
    let (view, loans) = until(&driver, "w-02", "failed", |v| !v.impossible.is_empty()).await;
    assert!(view.impossible[0].why.contains("disruption budget") && !view.in_maintenance && view.moves.is_empty(), "{view:#?}");
    pay(&driver, "w-02", &loans[0]).await;
    assert!(look(&driver, "w-02").await.enabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_stuck_initiated_never_counts_as_maintenance_and_names_the_heartbeat() {
    let lab = lab(&["agent-offline"]).await;
    let driver = lab.driver();
    let enter = look(&driver, "w-02").await.moves[0].clone();
    driver.act("w-02", &enter, &ask()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let view = look(&driver, "w-02").await;
    assert!(!view.in_maintenance && !view.enabled && view.moves.is_empty(), "{view:#?}");
    assert!(view.blockers[0].why.contains("cordon initiated") && view.blockers[0].why.contains("2026-01-01"), "{view:#?}");
    pay(&driver, "w-02", enter.borrows.as_ref().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_a_machine_that_is_deleted_counts_as_out_and_is_never_emptied() {
    let lab = lab(&["auto-remediation"]).await;
    let driver = driver(&lab.url, json!({ "remediation": "disable-and-restore" }));
    let (_, loans) = until(&driver, "w-02", "empty", empty).await;
    // Somebody switches it on again under our hands, and the node is away for long.
    driver.act("w-02", &driver.give_back("w-02", &loans[0]), &ask()).await.unwrap();
    lab.rack.power("w-02", "ForceOff", "test");
    let (view, _) = until(&driver, "w-02", "deleted and replaced", |v| !v.impossible.is_empty()).await;
    assert!(view.impossible[0].why.contains("remediation"), "{view:#?}");
    assert!(driver.members().await.unwrap().iter().any(|m| m.name == "w-02" && m.out.is_some()), "the limits see it");
}

/// Senseless answers are never an empty list.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_no_answer() {
    for body in ["", "null", "<html>proxy</html>", "[]", "\"x\"", "{}", r#"{"items":[]}"#, r#"{"items":[{"metadata":{"name":"edge"}}]}"#] {
        let (url, _) = always(200, body).await;
        let driver = driver(&url, json!({}));
        assert!(driver.members().await.is_err() && driver.look("w-02", &ask()).await.is_err(), "{body}");
    }
}
