//! The network probe where it needs a TLS server.
use pitstop::{
    drivers::net::{HttpAsk, HttpSeen, Net, probe::Probe},
    lab::tls,
    model::{FaultKind, Span},
};
use std::collections::BTreeMap;

/// A certificate nobody knows is refused before anything is sent, unless the check says `insecure`.
#[tokio::test]
async fn certificates_are_verified_unless_told_otherwise() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "well" }));
    tokio::spawn(async move { tls::serve(listener, router, &tls::Tls::new()).await });
    let ask = |insecure| HttpAsk { url: url.clone(), limit: Span::seconds(5), insecure, headers: BTreeMap::new() };
    assert_eq!(Probe.http(&ask(false)).await.unwrap_err().kind, FaultKind::Unreachable);
    assert_eq!(Probe.http(&ask(true)).await, Ok(HttpSeen { status: 200, body: "well".into() }));
}
