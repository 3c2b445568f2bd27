//! sushy-emulator with its fake driver: TLS, Basic, no sessions, a power state that lags 1 to 11 seconds.
use super::{driver, power, until};
use crate::peer::{Peer, python, tcp_port};
use pitstop::{
    drivers::bmc::Bmc,
    model::{FaultKind, Power, ResetType, Trust},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use std::{path::Path, process::Command, sync::Arc};

pub const QUIET: &str = "11111111-1111-4111-8111-111111111111";
/// Tells somebody who does not listen of every change: the emulator obeys and answers 500.
const QUEUES: &str = "22222222-2222-4222-8222-222222222222";

pub struct Emulator {
    pub peer: Peer,
    pub url: String,
}

impl Emulator {
    pub async fn start() -> Emulator {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".into(), "localhost".into()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(at("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(at("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(at("htpasswd"), format!("root:{}\n", hashed("secret12"))).unwrap();
        std::fs::create_dir(at("state")).unwrap();
        let port = tcp_port();
        let d = dir.path().display();
        let system = |uuid: &str, name: &str, notify: &str| {
            format!(
                "{{'uuid': '{uuid}', 'name': '{name}', 'power_state': 'On', 'external_notifier': {notify}, 'nics': [{{'mac': '52:54:00:00:00:01', 'ip': '192.0.2.1'}}]}}"
            )
        };
        let systems = [system(QUIET, "edge-01", "False"), system(QUEUES, "edge-02", "True")].join(", ");
        let settings = format!(
            "SUSHY_EMULATOR_LISTEN_IP = u'127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {port}\nSUSHY_EMULATOR_SSL_CERT = u'{d}/cert.pem'\n\
             SUSHY_EMULATOR_SSL_KEY = u'{d}/key.pem'\nSUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_AUTH_FILE = u'{d}/htpasswd'\n\
             SUSHY_EMULATOR_STATE_DIR = u'{d}/state'\nEXTERNAL_NOTIFICATION_URL = u'http://127.0.0.1:{}/notify'\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{systems}]\n",
            tcp_port()
        );
        std::fs::write(at("emulator.conf"), settings).unwrap();
        let settings_file = at("emulator.conf");
        let mut peer = Peer::start(Command::new(python("sushy-emulator")).arg("--config").arg(settings_file), dir);
        peer.ready(async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        Emulator { peer, url: format!("https://127.0.0.1:{port}") }
    }

    fn bmc(&self, system: &str) -> Arc<dyn Bmc> {
        driver(&self.url, &["secret12"], Trust::default(), json!({ "tls": { "ca_file": self.ca() }, "system_id": system })).unwrap()
    }
    pub fn ca(&self) -> String {
        self.peer.dir.path().join("cert.pem").display().to_string()
    }
}

/// The emulator takes bcrypt only, and only in htpasswd's spelling.
fn hashed(password: &str) -> String {
    let script = "import bcrypt, sys; print(bcrypt.hashpw(sys.stdin.read().encode(), bcrypt.gensalt(4)).decode().replace('$2b$', '$2y$'))";
    let mut child =
        Command::new(python("python")).args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "bcrypt is missing: run tests/setup");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_machine_goes_off_and_on_again() {
    let emulator = Emulator::start().await;
    let bmc = emulator.bmc(QUIET);
    let view = bmc.look().await.unwrap();
    assert_eq!(view.identity.uuid.as_deref(), Some(QUIET));
    assert_eq!((view.power, view.warnings.len()), (Power::On, 0));
    assert!(view.verbs.contains(&ResetType::ForceOff) && view.verbs.contains(&ResetType::GracefulRestart), "{:?}", view.verbs);
    // The emulator would answer 501; its own list says so before.
    let refused = power(&*bmc, ResetType::PowerCycle).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Unable, "{refused}");
    power(&*bmc, ResetType::ForceOff).await.unwrap();
    until(&*bmc, Power::Off).await;
    power(&*bmc, ResetType::On).await.unwrap();
    until(&*bmc, Power::On).await;
    bmc.close().await;
}

#[tokio::test]
async fn a_500_for_a_reset_that_is_queued_is_unknown() {
    let emulator = Emulator::start().await;
    let bmc = emulator.bmc(QUEUES);
    let view = bmc.look().await.unwrap();
    let mut permit = super::permit_for(ResetType::ForceOff, &view);
    let fault = bmc.power(ResetType::ForceOff, &mut permit).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
    // It is in doubt for good reason: no other way in may use this permit.
    assert!(!permit.refund(&fault));
    let began = std::time::Instant::now();
    loop {
        // Each change of state that cannot be notified of is a 500 for whoever reads, too.
        match bmc.look().await {
            Ok(view) if view.power == Power::Off => break,
            Ok(_) => {}
            Err(fault) => assert_eq!(fault.kind, FaultKind::Unwilling, "{fault}"),
        }
        assert!(began.elapsed().as_secs() < 60, "still not off");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn refusals_say_what_was_refused() {
    let emulator = Emulator::start().await;
    let look = async |password: &str, trust: Trust, more: serde_json::Value| {
        let bmc = driver(&emulator.url, &[password], trust, more).unwrap();
        bmc.look().await.map_err(|fault| {
            assert!(!fault.to_string().contains(password), "{fault}");
            fault
        })
    };
    let ca = json!({ "ca_file": emulator.ca() });

    let fault = look("wrong-one", Trust::default(), json!({ "tls": ca, "system_id": QUIET })).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");

    // Two systems, both with a reset: nothing is guessed.
    let fault = look("secret12", Trust::default(), json!({ "tls": ca })).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Invalid, "{fault}");
    assert!(fault.next.as_deref().unwrap_or_default().contains("system_id"), "{fault:?}");
    let fault = look("secret12", Trust::default(), json!({ "tls": ca, "system_id": "none-such" })).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Invalid, "{fault}");

    // The authorities of this machine know nothing of this certificate.
    let fault = look("secret12", Trust::default(), json!({ "system_id": QUIET })).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");

    let pin = Trust { certificate: Some("00".repeat(32)), ..Trust::default() };
    let fault = look("secret12", pin, json!({ "tls": "insecure", "system_id": QUIET })).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.next.as_deref().unwrap_or_default().ends_with("pitstop inventory trust edge-01 --replace"), "{fault:?}");
    let seen = fingerprint(Path::new(&emulator.ca()));
    assert!(fault.to_string().contains(&seen), "{fault} does not name {seen}");

    let pin = Trust { certificate: Some(seen.clone()), ..Trust::default() };
    assert_eq!(look("secret12", pin, json!({ "tls": "insecure", "system_id": QUIET })).await.unwrap().warnings, [""; 0]);
    let view = look("secret12", Trust::default(), json!({ "tls": { "sha256": seen }, "system_id": QUIET })).await.unwrap();
    assert_eq!(view.warnings, [""; 0]);
    let view = look("secret12", Trust::default(), json!({ "tls": "insecure", "system_id": QUIET })).await.unwrap();
    assert_eq!(view.warnings, ["TLS is not verified"]);
}

fn fingerprint(pem: &Path) -> String {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_file(pem).unwrap();
    <sha2::Sha256 as sha2::Digest>::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}
