//! What `check` says to BMCs that must not be believed, or do not believe us: one clear line each, the next command, and no second try that would lock an account.
use crate::{
    binary::{HEAD, Pit, Said},
    ipmi,
    redfish::mock::{Answer, Mock, SESSIONS},
};
use pitstop::lab::rack::Quirks;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

fn redfish(node: &str, url: &str, tls: &str) -> String {
    format!("[[nodes]]\nname = \"{node}\"\ncluster = \"spare\"\nbmc.redfish = {{ url = \"{url}\", tls = {tls}, timeout = \"3s\", connect_timeout = \"2s\" }}\n")
}
fn over_ipmi(port: u16) -> String {
    format!("[[nodes]]\nname = \"edge-01\"\ncluster = \"spare\"\nbmc.ipmi = {{ host = \"127.0.0.1\", port = {port}, timeout = \"1s\" }}\n")
}

/// One node refused: the exit code, the words on the screen, and the fault's kind in the JSON.
async fn refused(pit: &Pit, kind: &str, words: &[&str]) -> Said {
    let said = pit.pitstop(&["check"]).await;
    assert_eq!(said.code, Some(4), "{}", said.all());
    assert!(said.out.contains("REFUSED"), "{}", said.all());
    for word in words {
        assert!(said.out.contains(word), "`{word}` is missing: {}", said.all());
    }
    let data = pit.pitstop(&["check", "--json"]).await.json();
    assert_eq!(data["nodes"][0]["ways"][0]["fault"]["kind"], kind, "{data}");
    said
}

/// HTTPS with a certificate valid in these years; counts what comes after the handshake, which must be nothing where it is not believed.
async fn https(years: (i32, i32)) -> (String, String, Arc<AtomicUsize>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(pitstop::wire::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let heard = Arc::new(AtomicUsize::new(0));
    let (count, acceptor) = (heard.clone(), tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), count.clone());
            tokio::spawn(async move {
                if let Ok(mut tls) = acceptor.accept(stream).await {
                    count.fetch_add(tls.read(&mut [0; 1024]).await.unwrap_or(0), SeqCst);
                }
            });
        }
    });
    (url, certificate.pem(), heard)
}

#[tokio::test]
async fn an_expired_certificate() {
    let (url, pem, heard) = https((2019, 2020)).await;
    let pit = Pit::new(&format!("{HEAD}{}", redfish("edge-01", &url, "{ ca_file = \"../ca.pem\" }")));
    std::fs::write(pit.path("ca.pem"), pem).unwrap();
    refused(&pit, "denied", &["its TLS certificate is not trusted", "it has expired", "pitstop inventory trust edge-01"]).await;
    assert_eq!(heard.load(SeqCst), 0, "something was said to a BMC that is not believed");
    let shown = pit.pitstop(&["inventory", "trust", "edge-01"]).await;
    assert!(shown.out.contains("2020-01-01") && shown.out.contains("without a pin it is refused: it has expired"), "{}", shown.all());
    assert_eq!(heard.load(SeqCst), 0);
}

#[tokio::test]
async fn an_unknown_issuer_and_a_wrong_pin() {
    let (url, _, heard) = https((2020, 2090)).await;
    let pit = Pit::new(&format!("{HEAD}{}", redfish("edge-01", &url, "\"system\"")));
    refused(&pit, "denied", &["its TLS certificate is not trusted", "signed by nobody", "pitstop inventory trust edge-01"]).await;
    std::fs::write(pit.path("inventory/trust.toml"), format!("edge-01 = {{ certificate = \"{}\" }}\n", "ab".repeat(32))).unwrap();
    refused(&pit, "denied", &["the pinned certificate has SHA-256 abab", "the certificate shown has SHA-256", "pitstop inventory trust edge-01 --replace"])
        .await;
    assert_eq!(heard.load(SeqCst), 0, "something was said to a BMC that is not believed");
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_on_each_bmc_and_over_each_protocol() {
    let deny = || {
        Mock::start(|a| {
            let body = json!({ "error": { "@Message.ExtendedInfo": [{ "MessageId": "Base.1.8.ResourceAtUriUnauthorized", "Message": "Unauthorized." }] } });
            (a.path == SESSIONS || a.header("authorization").is_some()).then_some(Answer::Json(401, body))
        })
    };
    let (one, two) = (deny().await, deny().await);
    let nodes = [redfish("edge-01", &one.url, "\"insecure\""), redfish("edge-02", &two.url, "\"insecure\"")].concat();
    let pit = Pit::new(&format!("{HEAD}{nodes}"));
    let said = pit.pitstop(&["check"]).await;
    assert!(said.code == Some(4) && said.out.contains("401") && said.out.contains("check user name and password of bmc.redfish"), "{}", said.all());
    for mock in [&one, &two] {
        let tries = mock.asked().iter().filter(|a| a.path == SESSIONS || a.header("authorization").is_some()).count();
        assert_eq!(tries, 1, "{:?}", mock.asked());
    }

    let lab = ipmi::lab(Quirks::default()).await;
    let (port, proofs) = ipmi::counted(lab.port, pitstop::wire::rmcp::RAKP_3).await;
    let pit = Pit::new(&format!("{HEAD}{}", over_ipmi(port)));
    std::fs::write(pit.path("password"), "not-this-one").unwrap();
    let said = pit.pitstop(&["check"]).await;
    assert!(said.code == Some(4) && said.out.contains("check user name, password and privilege of bmc.ipmi"), "{}", said.all());
    // The BMC's own answer proves already that the password is another one; ours is never sent as a third message.
    assert!(proofs.load(SeqCst) <= 1, "{} proofs", proofs.load(SeqCst));
}

/// Locked for a while: 401 or 403 whatever is shown. Each `check` costs one login, and says that it will not go on trying.
#[tokio::test]
async fn a_locked_account_meets_no_storm() {
    for (status, id) in [(401, "iDRAC.2.8.RAC0212"), (403, "Base.1.13.AccountForSessionNoLongerExists")] {
        let mock = Mock::start(move |a| {
            let body = json!({ "error": { "@Message.ExtendedInfo": { "MessageId": id, "Message": "Login is blocked for 60 seconds." } } });
            (a.method == "POST" || a.header("authorization").is_some()).then_some(Answer::Json(status, body))
        })
        .await;
        let pit = Pit::new(&format!("{HEAD}{}", redfish("edge-01", &mock.url, "\"insecure\"")));
        for tries in 1..=2 {
            let said = pit.pitstop(&["check"]).await;
            assert!(said.code == Some(4) && said.out.contains("REFUSED") && said.out.contains("next: "), "{}", said.all());
            let logins = mock.asked().iter().filter(|a| a.method == "POST" || a.header("authorization").is_some()).count();
            assert_eq!(logins, tries, "{:?}", mock.asked());
        }
    }
}

#[tokio::test]
async fn cipher_suite_0_is_never_spoken_and_always_told() {
    let lab = ipmi::lab(Quirks { cipher_zero: true, ..Quirks::default() }).await;
    let pit = Pit::new(&format!("{HEAD}{}", over_ipmi(lab.port)));
    let said = pit.pitstop(&["check"]).await;
    assert!(said.code == Some(0) && said.out.contains("cipher suite 0"), "{}", said.all());
    let wanted = Pit::new(&format!("{HEAD}{}", over_ipmi(lab.port).replace("timeout", "cipher_suites = [0], timeout")));
    let said = wanted.pitstop(&["check"]).await;
    assert!(said.code == Some(3) && said.all().contains("0 is not spoken"), "{}", said.all());
}

#[tokio::test]
async fn garbage_datagrams_and_garbage_instead_of_tls() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut pick, mut buffer) = (ipmi::seeded(7), vec![0; 2048]);
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            for n in 0..4usize {
                // Noise, its own words back to it, and its own words bent.
                let noise: Vec<u8> = (0..pick(200)).map(|_| pick(256) as u8).collect();
                let bent = crate::rmcp_replay::mutated(&buffer[..len], &mut pick);
                socket.send_to([&noise[..], &buffer[..len], &bent[..], &[]][n], from).await.ok();
            }
        }
    });
    let pit = Pit::new(&format!("{HEAD}{}", over_ipmi(port)));
    let began = Instant::now();
    refused(&pit, "unreachable", &["does not answer"]).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(&[0x5a; 512]).await.ok();
        }
    });
    let pit = Pit::new(&format!("{HEAD}{}", redfish("edge-01", &url, "\"system\"")));
    refused(&pit, "unable", &["speaks no TLS"]).await;
}
