//! The lab's BMC: curl as its client, and our driver.
use super::{driver, node, permit_for, power, restart, until};
use crate::peer::program;
use pitstop::{
    lab::{
        quirks::Maker,
        rack::{MachineSpec, Pace, Quirks, Rack},
        redfish::{Account, serve},
        tls::Tls,
    },
    model::{FaultKind, Power, ResetType, Trust},
};
use serde_json::{Value, json};
use std::{io::Write, sync::Arc, sync::Mutex};

const UUID: &str = "4c4c4544-0051-3010-8052-b4c04f4e4d32";

#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<u8>>>);
impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl Record {
    fn lines(&self, kind: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|line| line["kind"] == kind).collect()
    }
}

struct Lab {
    dir: tempfile::TempDir,
    url: String,
    tls: Tls,
    record: Record,
}

impl Lab {
    async fn start(quirks: Quirks) -> Lab {
        let spec =
            MachineSpec { name: "edge-01".into(), uuid: UUID.into(), serial: "J4X12S3".into(), machine_id: "0f".repeat(16), services: Vec::new(), quirks };
        let record = Record::default();
        let rack = Rack::new(vec![spec], Pace { scale: 0.002, ..Pace::default() }, Box::new(record.clone()));
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls::new();
        std::fs::write(dir.path().join("ca.pem"), tls.ca_pem()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let account = Account { username: "root".into(), password: "secret12".into() };
        tokio::spawn(rack.clone().keep_ticking());
        let served = tls.clone();
        tokio::spawn(async move { serve(rack, node().0, listener, &served, account).await });
        Lab { dir, url, tls, record }
    }

    fn tls(&self) -> Value {
        json!({ "ca_file": self.dir.path().join("ca.pem") })
    }

    async fn curl(&self, path: &str, arguments: &[&str]) -> Curl {
        let mut command = tokio::process::Command::new(program("curl"));
        command.args(["--silent", "--show-error", "--include", "--noproxy", "*", "--max-time", "20", "--cacert"]);
        command.arg(self.dir.path().join("ca.pem")).args(arguments).arg(format!("{}{path}", self.url));
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "curl {path}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Curl { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head: head.to_owned(), body: serde_json::from_str(body).unwrap_or_default() }
    }
}

struct Curl {
    status: u16,
    head: String,
    body: Value,
}
impl Curl {
    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }
    fn message(&self) -> &str {
        self.body["error"]["@Message.ExtendedInfo"][0]["MessageId"].as_str().unwrap_or_default().rsplit('.').next().unwrap()
    }
}

const JSON: [&str; 2] = ["--header", "Content-Type: application/json"];
const BASIC: [&str; 2] = ["--user", "root:secret12"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_finds_its_way_by_session() {
    let lab = Lab::start(Quirks::default()).await;
    let root = lab.curl("/redfish/v1/", &[]).await;
    assert_eq!((root.status, root.header("odata-version").as_deref()), (200, Some("4.0")));
    let systems = root.body["Systems"]["@odata.id"].as_str().unwrap();
    let closed = lab.curl(systems, &[]).await;
    assert_eq!((closed.status, closed.header("www-authenticate").is_some()), (401, true));
    assert_eq!(closed.message(), "NoValidSession");

    let sessions = root.body["Links"]["Sessions"]["@odata.id"].as_str().unwrap();
    let log_in = async |password: &str| {
        let body = format!(r#"{{"UserName":"root","Password":"{password}"}}"#);
        lab.curl(sessions, &[&JSON[..], &["--data", &body]].concat()).await
    };
    assert_eq!(log_in("wrong-one").await.status, 401);
    let session = log_in("secret12").await;
    assert_eq!(session.status, 201);
    let token = format!("X-Auth-Token: {}", session.header("x-auth-token").unwrap());
    let location = session.header("location").unwrap();
    assert_eq!(session.body["@odata.id"], location);

    let with = ["--header", token.as_str()];
    let member = lab.curl(systems, &with).await.body["Members"][0]["@odata.id"].as_str().unwrap().to_owned();
    let system = lab.curl(&member, &with).await;
    assert_eq!((&system.body["PowerState"], &system.body["UUID"]), (&json!("On"), &json!(UUID)));
    // Whoever takes the BMC's own UUID for the machine's is wrong here, too.
    assert_ne!(root.body["UUID"], system.body["UUID"]);
    let etag = format!("If-None-Match: {}", system.header("etag").unwrap());
    assert_eq!(lab.curl(&member, &["--header", &token, "--header", &etag]).await.status, 304);

    let action = &system.body["Actions"]["#ComputerSystem.Reset"];
    let info = lab.curl(action["@Redfish.ActionInfo"].as_str().unwrap(), &with).await;
    assert_eq!(info.body["Parameters"][0]["AllowableValues"], action["ResetType@Redfish.AllowableValues"]);

    assert_eq!(lab.curl("/redfish/v1/Nothing", &with).await.status, 404);
    assert_eq!(lab.curl(&member, &["--header", &token, "--request", "DELETE"]).await.status, 405);
    assert_eq!(lab.curl(&location, &["--header", &token, "--request", "DELETE"]).await.status, 204);
    assert_eq!(lab.curl(&member, &with).await.status, 401);
    // A token decides alone, even where a password is right.
    assert_eq!(lab.curl(&member, &[&with[..], &BASIC].concat()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_resets() {
    let lab = Lab::start(Quirks::default()).await;
    let system = lab.curl("/redfish/v1/Systems/1/", &BASIC).await;
    let target = system.body["Actions"]["#ComputerSystem.Reset"]["target"].as_str().unwrap();
    let reset = async |body: &str| lab.curl(target, &[&BASIC[..], &JSON, &["--data", body]].concat()).await;
    let check = async |body: &str, status: u16, message: &str| {
        let answer = reset(body).await;
        assert_eq!((answer.status, answer.message()), (status, message), "{body}");
    };
    check("no json", 400, "MalformedJSON").await;
    check("{}", 400, "ActionParameterMissing").await;
    check(r#"{"ResetType":5}"#, 400, "ActionParameterValueTypeError").await;
    check(r#"{"ResetType":"Nmi"}"#, 400, "ActionParameterValueNotInList").await;
    check(r#"{"ResetType":"On"}"#, 409, "ActionParameterValueConflict").await;
    check(r#"{"ResetType":"ForceOff"}"#, 204, "").await;
    // It obeys later than it answers, as in life.
    let began = std::time::Instant::now();
    while lab.curl("/redfish/v1/Systems/1", &BASIC).await.body["PowerState"] != "Off" {
        assert!(began.elapsed().as_secs() < 20);
    }
    let powers: Vec<_> = lab.record.lines("power").iter().map(|l| format!("{} {} {}", l["verb"], l["via"], l["answer"]).replace('"', "")).collect();
    assert_eq!(powers, ["Nmi redfish Unsupported", "On redfish WrongState", "ForceOff redfish Accepted"]);
    assert_eq!(lab.curl(target, &BASIC).await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_driver_resets_once_and_gives_its_session_back() {
    let lab = Lab::start(Quirks::default()).await;
    let bmc = driver(&lab.url, &["secret12"], Trust::default(), json!({ "tls": lab.tls() })).unwrap();
    let before = bmc.look().await.unwrap();
    assert_eq!((before.identity.uuid.as_deref(), before.identity.serial.as_deref()), (Some(UUID), Some("J4X12S3")));
    assert_eq!((before.power, before.verbs.len(), before.warnings.len()), (Power::On, 6, 0));
    assert!(before.product.as_deref().unwrap().contains("BMC "), "{:?}", before.product);

    let fault = power(&*bmc, ResetType::On).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling, "{fault}");
    let mut permit = permit_for(ResetType::ForceRestart, &before);
    bmc.power(ResetType::ForceRestart, &mut permit).await.unwrap();
    // The permit is spent: not a second one reaches the wire.
    assert!(bmc.power(ResetType::ForceRestart, &mut permit).await.is_err());
    let began = std::time::Instant::now();
    while bmc.look().await.unwrap().reset_marker == before.reset_marker {
        assert!(began.elapsed().as_secs() < 20);
    }
    let verbs: Vec<_> = lab.record.lines("power").into_iter().map(|l| l["verb"].clone()).collect();
    assert_eq!(verbs, ["On", "ForceRestart"]);

    let open = async || lab.curl("/redfish/v1/SessionService/Sessions", &BASIC).await.body["Members@odata.count"].clone();
    assert_eq!(open().await, 1);
    bmc.close().await;
    assert_eq!(open().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_session_table_leaves_basic() {
    let lab = Lab::start(Quirks::default()).await;
    let connect = |auth: &str| driver(&lab.url, &["secret12"], Trust::default(), json!({ "tls": lab.tls(), "auth": auth })).unwrap();
    let others: Vec<_> = (0..8).map(|_| connect("session")).collect();
    for other in &others {
        other.look().await.unwrap();
    }
    let fault = connect("session").look().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling, "{fault}");
    let bmc = connect("auto");
    power(&*bmc, ResetType::ForceOff).await.unwrap();
    until(&*bmc, Power::Off).await;
    others[0].close().await;
    connect("session").look().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_bmc_is_unreachable_and_a_pin_is_kept() {
    let silent = Lab::start(Quirks { bmc_silent: true, ..Quirks::default() }).await;
    let quick = json!({ "tls": silent.tls(), "connect_timeout": "500ms", "timeout": "3s" });
    let bmc = driver(&silent.url, &["secret12"], Trust::default(), quick).unwrap();
    // It takes the connection, and says nothing: no request ever left.
    let fault = bmc.look().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");

    let lab = Lab::start(Quirks::default()).await;
    let pin = |certificate: &str| Trust { certificate: Some(certificate.into()), ..Trust::default() };
    driver(&lab.url, &["secret12"], pin(lab.tls.fingerprint()), json!({})).unwrap().look().await.unwrap();
    let fault = driver(&lab.url, &["secret12"], pin(silent.tls.fingerprint()), json!({})).unwrap().look().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied);
    assert!(fault.to_string().contains(lab.tls.fingerprint()), "{fault}");
}

/// A certificate is public. Who shows a pinned one without having its key is refused, and hears no password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_certificate_is_no_proof() {
    use rustls::{ServerConfig, pki_types::PrivateKeyDer, server::ResolvesServerCert, sign::CertifiedKey};
    #[derive(Debug)]
    struct Thief(Arc<CertifiedKey>);
    impl ResolvesServerCert for Thief {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }
    let (own, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".into()]).unwrap().self_signed(&own).unwrap();
    let pin: String = <sha2::Sha256 as sha2::Digest>::digest(certificate.der()).iter().map(|byte| format!("{byte:02x}")).collect();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let look = async |key: &rcgen::KeyPair| {
            let provider = pitstop::wire::tls::provider();
            let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key.serialize_der().into())).unwrap();
            let shown = Arc::new(Thief(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))));
            let config =
                ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap().with_no_client_auth().with_cert_resolver(shown);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap());
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut heard = Vec::new();
                if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                    tokio::io::AsyncReadExt::read_buf(&mut stream, &mut heard).await.ok();
                }
                heard
            });
            let bmc = driver(&url, &["secret12"], Trust::default(), json!({ "tls": { "sha256": pin }, "timeout": "3s", "connect_timeout": "1s" })).unwrap();
            let fault = bmc.look().await.unwrap_err();
            (fault.kind, server.await.unwrap().len())
        };
        let (kind, heard) = look(&other).await;
        assert_eq!((kind, heard), (FaultKind::Denied, 0), "{version:?}");
        // With the right key the same server hears a request: it was the signature that was judged.
        assert!(look(&own).await.1 > 0, "{version:?}");
    }
}

/// Verbs at other places, systems at other addresses, a second system, answers and conditions in makers' forms: seen, lit, switched off and on.
#[tokio::test]
async fn every_makers_ways_are_borne() {
    for maker in (1..=6).map(Maker::of) {
        let lab = Lab::start(Quirks { maker: Some(maker), ..Quirks::default() }).await;
        let bmc = driver(&lab.url, &["secret12"], Trust::default(), json!({ "tls": lab.tls() })).unwrap();
        let view = bmc.look().await.unwrap_or_else(|f| panic!("{maker:?}: {f}"));
        let uuid = view.identity.uuid.map(|u| u.to_ascii_lowercase());
        assert_eq!((uuid.as_deref(), view.identity.serial.as_deref()), (Some(UUID), Some("J4X12S3")), "{maker:?}");
        let names: Vec<&str> = view.verbs.iter().map(|v| v.name()).collect();
        assert!(maker.verbs().iter().all(|v| names.contains(v)) && names.len() == maker.verbs().len(), "{maker:?}: {names:?}");
        // A condition is demanded, or taken in one form only.
        bmc.set_identify_light(true).await.unwrap_or_else(|f| panic!("{maker:?}: {f}"));
        assert!(bmc.identify_light().await.unwrap(), "{maker:?}");
        assert_eq!(lab.record.lines("light").len(), 1, "{maker:?}");
        power(&*bmc, ResetType::ForceOff).await.unwrap_or_else(|f| panic!("{maker:?}: {f}"));
        until(&*bmc, Power::Off).await;
        // Off already: refused in the maker's way, or taken without a word. Never in doubt.
        if let Err(fault) = power(&*bmc, ResetType::ForceOff).await {
            assert_eq!(fault.kind, FaultKind::Unwilling, "{maker:?}: {fault}");
        }
        power(&*bmc, ResetType::On).await.unwrap_or_else(|f| panic!("{maker:?}: {f}"));
        until(&*bmc, Power::On).await;
        bmc.close().await;
    }
}

/// The BMC forgets its sessions, is away, and comes back with the same machine, which never noticed. Its log tells of it, and of the boot that follows.
#[tokio::test]
async fn a_bmc_is_reset_and_its_log_is_read_on_from_where_it_stood() {
    let lab = Lab::start(Quirks::default()).await;
    let bmc = driver(&lab.url, &["secret12"], Trust::default(), json!({ "tls": lab.tls(), "timeout": "5s" })).unwrap();
    assert_eq!(bmc.log_since(None).await.unwrap(), []);
    // A permit for power is none for this, and the other way round.
    let view = bmc.look().await.unwrap();
    let refused = bmc.restart(&mut permit_for(ResetType::ForceRestart, &view)).await.unwrap_err();
    assert!(refused.what.contains("the permit is for ForceRestart"), "{refused}");
    restart(bmc.as_ref()).await.unwrap();
    assert_eq!((lab.record.lines("bmc-reset").len(), lab.record.lines("power").len()), (1, 0));
    let began = std::time::Instant::now();
    let first = loop {
        match bmc.log_since(None).await {
            Ok(entries) if !entries.is_empty() => break entries,
            _ => assert!(began.elapsed().as_secs() < 60, "not back"),
        }
    };
    assert_eq!(first.len(), 1);
    power(bmc.as_ref(), ResetType::ForceRestart).await.unwrap();
    until_logged(bmc.as_ref(), &first[0].id, "System boot initiated").await;
    bmc.close().await;
}

async fn until_logged(bmc: &dyn pitstop::drivers::bmc::Bmc, since: &str, message: &str) {
    let began = std::time::Instant::now();
    loop {
        let new = bmc.log_since(Some(since)).await.unwrap();
        if new.iter().any(|e| e.message == message) {
            return;
        }
        assert!(began.elapsed().as_secs() < 60, "{new:?}");
    }
}
