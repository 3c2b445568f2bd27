//! `check`, `plan` and `status` only read: everything between them and the rack goes through servers that record every request.
use crate::{
    rig::{Lab, Running, text},
    world,
};
use axum::{
    Router,
    body::Bytes,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use pitstop::lab::tls::{self, Tls};
use std::{
    fs,
    net::IpAddr,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;

type Seen = Arc<Mutex<Vec<(String, Method, String)>>>;

/// In front of one HTTPS server, on its own address: what comes in is recorded and passed on.
async fn recorder(name: String, target: String, tls: Tls, client: reqwest::Client, seen: Seen) -> String {
    let host = target.split("//").nth(1).unwrap().rsplit_once(':').unwrap().0.to_owned();
    let listener = TcpListener::bind((host.parse::<IpAddr>().unwrap(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(move |request: Request| {
        let (name, target, client, seen) = (name.clone(), target.clone(), client.clone(), seen.clone());
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            seen.lock().unwrap().push((name, parts.method.clone(), path.clone()));
            let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
            let mut headers = parts.headers;
            headers.remove("host");
            match client.request(parts.method, format!("{target}{path}")).headers(headers).body(body).send().await {
                Ok(answer) => {
                    let (status, headers) = (answer.status(), answer.headers().clone());
                    let mut passed: Response = (status, answer.bytes().await.unwrap_or_else(|_| Bytes::new())).into_response();
                    *passed.headers_mut() = headers;
                    passed.headers_mut().remove("transfer-encoding");
                    passed
                }
                Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
            }
        }
    });
    tokio::spawn(async move { tls::serve(listener, router, &tls).await });
    format!("https://{address}")
}

/// Must-show 7.
#[test]
fn nothing_is_written_to_any_server() {
    let lab = Lab::start(6, &[]);
    let original = fs::read_to_string(lab.path("inventory/rack.toml")).unwrap();
    let kubeconfig = fs::read_to_string(lab.path("kubeconfig")).unwrap();
    let client = world::client(&fs::read(lab.path("ca.pem")).unwrap());
    let urls: Vec<String> = original.split("url = \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(urls.len(), 7, "six BMCs and VergeOS: {urls:?}");
    let addresses: Vec<IpAddr> = urls.iter().map(|u| u.trim_start_matches("https://").rsplit_once(':').unwrap().0.parse().unwrap()).collect();
    let (recorded, seen) = (Tls::for_addresses(&addresses), Seen::default());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Servers of the test stand before those of the lab, with a certificate authority of their own.
    let mut inventory = original.replace("../ca.pem", "../recorded.pem").replace("../kubeconfig", "../recorded.kubeconfig");
    for url in &urls {
        let kind = if original.contains(&format!("bmc.redfish = {{ url = \"{url}\"")) { "bmc" } else { "vergeos" };
        inventory = inventory.replace(url, &runtime.block_on(recorder(kind.into(), url.clone(), recorded.clone(), client.clone(), seen.clone())));
    }
    let server = world::field(&kubeconfig, "server");
    let before = runtime.block_on(recorder("kubernetes".into(), server.clone(), recorded.clone(), client, seen.clone()));
    let (old, new) =
        (world::field(&kubeconfig, "certificate-authority-data"), base64::Engine::encode(&base64::engine::general_purpose::STANDARD, recorded.ca_pem()));
    fs::write(lab.path("recorded.kubeconfig"), kubeconfig.replace(&server, &before).replace(&old, &new)).unwrap();
    fs::write(lab.path("recorded.pem"), recorded.ca_pem()).unwrap();
    fs::create_dir(lab.path("seen")).unwrap();
    fs::write(lab.path("seen/rack.toml"), inventory).unwrap();

    let ask = |args: &[&str]| {
        let command = crate::rig::pitstop(lab.dir.path(), &[&["-i", "lab/seen", "--store", "sqlite:pitstop.db"], args].concat());
        Running::start(command, lab.dir.path()).ended()
    };
    for args in
        [&["check"][..], &["plan", "reboot", "--all"], &["plan", "power-cycle", "--all", "--json"], &["status"], &["plan", "evacuate", "edge-01", "-o", "p"]]
    {
        ask(args).ends(0);
    }
    let seen = seen.lock().unwrap();
    for kind in ["bmc", "kubernetes", "vergeos"] {
        assert!(seen.iter().filter(|(k, ..)| k == kind).count() > 3, "{kind} was asked through the recorder");
    }
    let written: Vec<_> = seen.iter().filter(|(kind, method, path)| !reads(kind, method, path)).collect();
    assert!(written.is_empty(), "{written:?}");
    // IPMI and SSH go straight to the rack, whose record holds what power verbs and API writes came through any door.
    let rack = lab.rack();
    assert_eq!((rack.kind("power").len(), rack.kind("api-write").len(), rack.0.len()), (0, 0, 6));
    assert!(!lab.dir.path().join("pitstop.db").exists(), "a store that was not there was made by reading");

    // The recorders would have told: a run through them writes.
    drop(seen);
    let ran = ask(&["run", "reboot", "edge-01", "--json"]).ends(0);
    assert_eq!(lab.rack().boots("edge-01").len(), 1, "{}", text(&ran.lines()[0]["run"]));
    assert_eq!(lab.rack().kind("power").len(), 1);
}

/// A session is how one reads of a BMC, and a question about rights is a question.
fn reads(kind: &str, method: &Method, path: &str) -> bool {
    match (kind, method) {
        (_, &Method::GET | &Method::HEAD) => true,
        ("bmc", &Method::POST | &Method::DELETE) => path.starts_with("/redfish/v1/SessionService/Sessions"),
        // A question in the form of a write: `dryRun=All` has the server judge it and keep nothing.
        ("kubernetes", &Method::POST) => path.starts_with("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") || dry_eviction(path),
        _ => false,
    }
}

fn dry_eviction(path: &str) -> bool {
    path.split_once("/eviction?").is_some_and(|(_, query)| query.split('&').any(|q| q == "dryRun=All"))
}
