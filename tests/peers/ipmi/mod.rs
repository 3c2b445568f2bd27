//! The IPMI driver against the lab through good and bad networks; in `servers` against ipmi_sim and pyghmi; in `clients` ipmitool and FreeIPMI against the lab.
mod clients;
pub mod servers;

use crate::{
    peer::{program, udp_port},
    rmcp_replay,
};
use pitstop::{
    drivers::bmc::{Bmc, BmcConfig, KINDS},
    guards::{Permit, Pins, Readings, permit},
    kinds::make,
    lab::{
        self,
        rack::{MachineSpec, Pace, Quirks, Rack},
    },
    model::{BmcView, Connect, Fault, FaultKind, NodeName, Power, ResetType, Secret, SecretRef, Secrets, Setting, Trust},
    wire::{rakp::OpenRequest, rmcp},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, task::JoinHandle};

const UUID: &str = "5f2c1d3e-8a47-4b9c-9d21-3e5f708192a3";
const NODE: &str = "edge-01";

struct Account(String, String);
impl Secrets for Account {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        match from {
            SecretRef::Env(name) if name == "U" => Ok(Secret::new(self.0.clone())),
            _ => Ok(Secret::new(self.1.clone())),
        }
    }
}

fn config(port: u16, more: Value) -> Box<dyn BmcConfig> {
    let mut body = json!({ "host": "127.0.0.1", "port": port, "username": { "env": "U" }, "password": { "env": "P" }, "timeout": "2s" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    make(KINDS, &Setting { kind: "ipmi".into(), body }).unwrap()
}
fn driver_as(port: u16, user: &str, password: &str, more: Value) -> Arc<dyn Bmc> {
    let secrets = Arc::new(Account(user.into(), password.into()));
    let cx = Connect { node: Some(NodeName(NODE.into())), secrets, trust: Trust::default(), base: "/".into(), home: "/".into() };
    config(port, more).connect(&cx).unwrap()
}
fn driver(port: u16, more: Value) -> Arc<dyn Bmc> {
    driver_as(port, "ADMIN", "secret12", more)
}

fn permitted(view: &BmcView, verb: ResetType) -> Permit {
    let readings = Readings {
        read_at: tokio::time::Instant::now(),
        bmc: Ok(view.clone()),
        clusters: vec![],
        host: None,
        carried_host: None,
        tasks: Ok(vec![]),
        started: vec![],
        pins: Pins { vouched: Some("a test".into()), identity: Some(view.identity.clone()), ..Pins::default() },
        moment: Some(pitstop::guards::Moment::quiet()),
    };
    permit(&NodeName(NODE.into()), verb, &readings).unwrap()
}
async fn power(bmc: &dyn Bmc, verb: ResetType) -> Result<(), Fault> {
    let view = bmc.look().await.unwrap();
    bmc.power(verb, &mut permitted(&view, verb)).await
}
fn kind(result: Result<impl std::fmt::Debug, Fault>) -> FaultKind {
    result.unwrap_err().kind
}
async fn until(bmc: &dyn Bmc, power: Power) {
    let end = Instant::now() + Duration::from_secs(20);
    while bmc.look().await.unwrap().power != power {
        assert!(Instant::now() < end, "not {power} within 20 s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);
impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl Log {
    fn power(&self) -> Vec<(String, String)> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|l| l["kind"] == "power");
        lines.map(|l| (l["verb"].as_str().unwrap().to_owned(), l["answer"].as_str().unwrap().to_owned())).collect()
    }
}

pub struct Lab {
    pub port: u16,
    rack: Rack,
    log: Log,
    task: JoinHandle<std::io::Result<()>>,
}
impl Drop for Lab {
    fn drop(&mut self) {
        self.task.abort();
    }
}
pub async fn lab(quirks: Quirks) -> Lab {
    let log = Log::default();
    let spec = MachineSpec {
        name: NODE.into(),
        uuid: UUID.into(),
        serial: "LAB-0001".into(),
        machine_id: "0123456789abcdef0123456789abcde0".into(),
        services: vec![],
        quirks,
    };
    let rack = Rack::new(vec![spec], Pace { scale: 0.001, ..Pace::default() }, Box::new(log.clone()));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let task = tokio::spawn(lab::ipmi::serve(rack.clone(), NODE.into(), socket, ("ADMIN".into(), "secret12".into())));
    Lab { port, rack, log, task }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    ToBmc,
    ToConsole,
}
/// A bad network between the two: what comes in at one end goes out at the other as `through` says.
async fn network(port: u16, mut through: impl FnMut(Way, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let (front, back) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    back.connect(("127.0.0.1", port)).await.unwrap();
    let own = front.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut there, mut here, mut console) = (vec![0; 4096], vec![0; 4096], None);
        loop {
            tokio::select! {
                Ok((len, from)) = front.recv_from(&mut there) => {
                    console = Some(from);
                    for datagram in through(Way::ToBmc, there[..len].to_vec()) {
                        back.send(&datagram).await.ok();
                    }
                }
                Ok(len) = back.recv(&mut here) => {
                    for datagram in through(Way::ToConsole, here[..len].to_vec()) {
                        front.send_to(&datagram, console.unwrap()).await.ok();
                    }
                }
                else => tokio::task::yield_now().await,
            }
        }
    });
    own
}

/// A plain network in between, and how many datagrams of this kind of payload went to the BMC.
pub async fn counted(port: u16, payload: u8) -> (u16, Arc<std::sync::atomic::AtomicUsize>) {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = count.clone();
    let own = network(port, move |way, datagram| {
        if way == Way::ToBmc && datagram.get(5).is_some_and(|kind| kind & 0x3f == payload) {
            seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        vec![datagram]
    })
    .await;
    (own, count)
}

pub fn seeded(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

#[tokio::test]
async fn a_look_tells_all_that_ipmi_knows_with_both_suites() {
    let lab = lab(Quirks::default()).await;
    for suites in [json!([17]), json!([3]), json!([17, 3])] {
        let view = driver(lab.port, json!({ "cipher_suites": suites })).look().await.unwrap();
        assert_eq!((view.protocol.as_str(), view.power), ("ipmi", Power::On));
        assert_eq!(view.endpoint, format!("ipmi://127.0.0.1:{}", lab.port));
        assert_eq!(view.identity.uuid.as_deref(), Some(UUID));
        assert_eq!(view.identity.serial.as_deref(), Some("LAB-0001"));
        assert_eq!(view.product.as_deref(), Some("IANA 0 product 0x0000, BMC firmware 1.00, IPMI 2.0"));
        assert_eq!(view.verbs.len(), 5);
        assert_eq!(view.warnings, Vec::<String>::new());
    }
}

#[tokio::test]
async fn every_verb_arrives_once_and_refusals_keep_their_kind() {
    let lab = lab(Quirks::default()).await;
    let bmc = driver(lab.port, json!({ "privilege": "operator" }));
    assert_eq!(kind(power(&*bmc, ResetType::On).await), FaultKind::Unwilling);
    assert_eq!(kind(power(&*bmc, ResetType::GracefulRestart).await), FaultKind::Unable);
    for verb in [ResetType::PowerCycle, ResetType::ForceRestart] {
        power(&*bmc, verb).await.unwrap();
    }
    power(&*bmc, ResetType::ForceOff).await.unwrap();
    until(&*bmc, Power::Off).await;
    assert_eq!(kind(power(&*bmc, ResetType::PowerCycle).await), FaultKind::Unwilling);
    power(&*bmc, ResetType::On).await.unwrap();
    until(&*bmc, Power::On).await;
    while !lab.rack.seen(NODE).unwrap().up {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    power(&*bmc, ResetType::GracefulShutdown).await.unwrap();
    until(&*bmc, Power::Off).await;
    let verbs: Vec<String> = lab.log.power().into_iter().map(|(verb, answer)| format!("{verb} {answer}")).collect();
    let want = [
        "On WrongState",
        "PowerCycle Accepted",
        "ForceRestart Accepted",
        "ForceOff Accepted",
        "PowerCycle WrongState",
        "On Accepted",
        "GracefulShutdown Accepted",
    ];
    assert_eq!(verbs, want);
}

#[tokio::test]
async fn a_permit_for_something_else_sends_nothing() {
    let lab = lab(Quirks::default()).await;
    let bmc = driver(lab.port, json!({}));
    let view = bmc.look().await.unwrap();
    let mut other = permitted(&view, ResetType::ForceOff);
    assert_eq!(kind(bmc.power(ResetType::ForceRestart, &mut other).await), FaultKind::Unwilling);
    bmc.power(ResetType::ForceOff, &mut other).await.unwrap();
    assert_eq!(kind(bmc.power(ResetType::ForceOff, &mut other).await), FaultKind::Unwilling);
    assert_eq!(lab.log.power().len(), 1);
}

/// Both clients, one classification.
async fn tells_apart(more: Value) {
    let with = |extra: Value| {
        let mut more = more.clone();
        more.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        more
    };
    let answering = lab(Quirks::default()).await;
    let silent = lab(Quirks { bmc_silent: true, ..Quirks::default() }).await;
    assert_eq!(kind(driver_as(answering.port, "ADMIN", "wrong", with(json!({}))).look().await), FaultKind::Denied);
    assert_eq!(kind(driver_as(answering.port, "nobody", "secret12", with(json!({}))).look().await), FaultKind::Denied);
    assert_eq!(kind(driver_as(answering.port, "a-name-of-17-byte", "secret12", with(json!({}))).look().await), FaultKind::Denied);
    assert_eq!(kind(driver_as(answering.port, "ADMIN", "a-password-of-21-byte", with(json!({}))).look().await), FaultKind::Denied);
    assert_eq!(kind(driver(silent.port, with(json!({}))).look().await), FaultKind::Unreachable);
    assert_eq!(kind(driver(answering.port, with(json!({ "host": "nowhere.invalid" }))).look().await), FaultKind::Unreachable);
    let began = Instant::now();
    assert_eq!(kind(driver(udp_port(), with(json!({ "timeout": "60s" }))).look().await), FaultKind::Unreachable);
    assert!(began.elapsed() < Duration::from_secs(20), "a closed port is told by the network, not by the timeout");

    // Nothing was sent: a verb to a BMC that does not let us in leaves no doubt.
    let view = driver(answering.port, json!({})).look().await.unwrap();
    for (port, password, want) in [(silent.port, "secret12", FaultKind::Unreachable), (answering.port, "wrong", FaultKind::Denied)] {
        let verb = ResetType::ForceOff;
        let bmc = driver_as(port, "ADMIN", password, with(json!({})));
        assert_eq!(kind(bmc.power(verb, &mut permitted(&view, verb)).await), want);
    }
    assert_eq!((answering.log.power(), silent.log.power()), (vec![], vec![]));
}

#[tokio::test]
async fn wrong_credentials_are_not_an_unreachable_bmc() {
    tells_apart(json!({})).await;
}

#[tokio::test]
async fn wrong_credentials_are_not_an_unreachable_bmc_through_ipmitool() {
    program("ipmitool");
    tells_apart(json!({ "via": "ipmitool", "timeout": "5s" })).await;
}

#[tokio::test]
async fn a_full_session_table_is_unwilling_and_looks_leave_none_behind() {
    let lab = lab(Quirks::default()).await;
    let bmc = driver(lab.port, json!({}));
    for _ in 0..3 * lab::ipmi::SLOTS {
        bmc.look().await.unwrap();
    }
    // A look that nobody waits for any more, once it has a session.
    let inside = Arc::new(tokio::sync::Notify::new());
    let told = inside.clone();
    let port = network(lab.port, move |way, datagram| {
        if way == Way::ToConsole && datagram[5] & 0x40 != 0 {
            told.notify_one();
        }
        vec![datagram]
    })
    .await;
    let cut = driver(port, json!({}));
    for _ in 0..3 * lab::ipmi::SLOTS {
        tokio::select! {
            biased;
            () = inside.notified() => {}
            _ = cut.look() => {}
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bmc.look().await.expect("dropped looks have left their sessions behind");
    // The table is filled on purpose.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..lab::ipmi::SLOTS as u32 {
        let request = OpenRequest { tag: 0, privilege: 0, console: 1000 + n, algorithms: [1, 1, 1] };
        socket.send_to(&rmcp::plain(rmcp::OPEN_REQUEST, &request.encode()), ("127.0.0.1", lab.port)).await.unwrap();
    }
    let fault = bmc.look().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
    assert!(fault.to_string().contains("insufficient resources"), "{fault}");
}

#[tokio::test]
async fn a_bad_network_repeats_reads_and_never_a_verb() {
    let lab = lab(Quirks::default()).await;
    for seed in 1..=12u64 {
        let mut pick = seeded(seed * 0x9e37_79b9);
        let mut late: Vec<Vec<u8>> = Vec::new();
        let port = network(lab.port, move |_, datagram| {
            let garbage: Vec<u8> = (0..pick(60)).map(|_| pick(256) as u8).collect();
            let mut forged = datagram.clone();
            // Only a session proves its datagrams; before it a flipped bit is a wrong password.
            if forged[5] & 0x40 != 0 {
                let at = pick(forged.len() as u64) as usize;
                forged[at] ^= 1 << pick(8);
            }
            match pick(10) {
                0 => vec![],
                1 => vec![datagram.clone(), datagram],
                2 => vec![garbage, datagram],
                3 => vec![forged, datagram],
                4 => {
                    late.push(datagram);
                    vec![]
                }
                5 => std::iter::once(datagram).chain(late.drain(..)).collect(),
                _ => vec![datagram],
            }
        })
        .await;
        let bmc = driver(port, json!({ "timeout": "1s" }));
        let before = lab.log.power().len();
        // A look may fail on such a network, but only by silence.
        let view = match bmc.look().await {
            Ok(view) => view,
            Err(fault) => {
                assert_eq!(fault.kind, FaultKind::Unreachable, "seed {seed}: {fault}");
                driver(lab.port, json!({})).look().await.unwrap()
            }
        };
        assert_eq!(view.identity.uuid.as_deref(), Some(UUID));
        let answer = bmc.power(ResetType::ForceRestart, &mut permitted(&view, ResetType::ForceRestart)).await;
        let sent = lab.log.power().len() - before;
        match answer {
            Ok(()) => assert_eq!(sent, 1, "seed {seed}"),
            Err(fault) if fault.kind == FaultKind::Unknown => assert!(sent <= 1, "seed {seed}: {sent}"),
            Err(fault) => {
                assert_eq!(fault.kind, FaultKind::Unreachable, "seed {seed}: {fault}");
                assert_eq!(sent, 0, "seed {seed}: {fault}");
            }
        }
    }
}

/// A BMC that answers nonsense: every answer is damaged at random. Whatever comes out, it comes out, and no verb is taken for obeyed that was not.
#[tokio::test]
async fn nonsense_from_a_bmc_neither_panics_nor_hangs() {
    let lab = lab(Quirks::default()).await;
    let view = driver(lab.port, json!({})).look().await.unwrap();
    let looks = (1..=24u64).map(|seed| {
        let (port, view) = (lab.port, view.clone());
        async move {
            let mut pick = seeded(seed * 0x1234_5677);
            let damaged = network(port, move |way, mut datagram| {
                if way == Way::ToConsole && pick(4) == 0 {
                    datagram = rmcp_replay::mutated(&datagram, &mut pick);
                }
                vec![datagram]
            })
            .await;
            let bmc = driver(damaged, json!({ "timeout": "300ms" }));
            if let Ok(seen) = bmc.look().await {
                assert_eq!((seen.identity, seen.power), (view.identity.clone(), Power::On), "seed {seed}");
            }
            bmc.power(ResetType::On, &mut permitted(&view, ResetType::On)).await.expect_err("it is on");
        }
    });
    for look in looks {
        tokio::time::timeout(Duration::from_secs(10), look).await.expect("it hangs");
    }
}

/// The answer to the verb is lost: sent once, and unknown. The lab would answer a repetition without obeying it again, so datagrams are counted.
async fn lost_answer(more: Value) {
    let lab = lab(Quirks::default()).await;
    let log = lab.log.clone();
    let later = Arc::new(Mutex::new(0));
    let count = later.clone();
    let port = network(lab.port, move |way, datagram| match (way, log.power().is_empty()) {
        (Way::ToConsole, false) => vec![],
        (Way::ToBmc, false) => {
            *count.lock().unwrap() += 1;
            vec![datagram]
        }
        _ => vec![datagram],
    })
    .await;
    let bmc = driver(port, more);
    let view = bmc.look().await.unwrap();
    let fault = bmc.power(ResetType::ForceRestart, &mut permitted(&view, ResetType::ForceRestart)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
    assert_eq!(lab.log.power().len(), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let later = *later.lock().unwrap();
    assert!(later <= 1, "after the verb only the goodbye is sent, not {later} datagrams");
}

#[tokio::test]
async fn a_verb_without_an_answer_is_unknown_and_not_repeated() {
    lost_answer(json!({})).await;
}

#[tokio::test]
async fn a_verb_without_an_answer_is_unknown_and_not_repeated_through_ipmitool() {
    program("ipmitool");
    lost_answer(json!({ "via": "ipmitool", "timeout": "5s" })).await;
}

#[tokio::test]
async fn ipmitool_as_the_way_reads_the_same_and_obeys_the_same() {
    program("ipmitool");
    let lab = lab(Quirks::default()).await;
    let ours = driver(lab.port, json!({})).look().await.unwrap();
    let bmc = driver(lab.port, json!({ "via": "ipmitool", "timeout": "5s" }));
    let theirs = bmc.look().await.unwrap();
    assert_eq!((&theirs.identity, theirs.power, &theirs.product), (&ours.identity, ours.power, &ours.product));
    assert_eq!(kind(power(&*bmc, ResetType::On).await), FaultKind::Unwilling);
    power(&*bmc, ResetType::ForceOff).await.unwrap();
    until(&*bmc, Power::Off).await;
    assert_eq!(lab.log.power().len(), 2);
}
