//! The IPMI driver against the lab, ipmi_sim and pyghmi; ipmitool and FreeIPMI against the lab.
use crate::{
    peer::{Peer, program, python, udp_port},
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
    wire::{ipmi as codec, lan::Request, rakp::OpenRequest, rmcp},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::Command,
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

// Other people's clients against the lab.

async fn run(name: &str, args: &[&str]) -> String {
    let (program, args) = (program(name), args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(move || Command::new(program).args(args).env("IPMITOOL_PASSWORD", "secret12").output().unwrap()).await.unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn ipmitool_works_against_the_lab() {
    for suite in ["3", "17"] {
        let lab = lab(Quirks::default()).await;
        let port = lab.port.to_string();
        let tool = async |rest: &[&str]| {
            let base = ["-I", "lanplus", "-C", suite, "-H", "127.0.0.1", "-p", &port, "-U", "ADMIN", "-E"];
            run("ipmitool", &[&base[..], rest].concat()).await
        };
        for (command, want) in [
            ("chassis power status", "Chassis Power is on"),
            ("chassis status", "System Power         : on"),
            ("mc info", "IPMI Version              : 2.0"),
            ("raw 0x06 0x37", "5f 2c 1d 3e 8a 47 4b 9c 9d 21"),
            ("fru print 0", "Product Serial        : LAB-0001"),
            ("sel list", "SEL has no entries"),
            ("sel info", "Entries          : 0"),
            ("channel getciphers ipmi", "17"),
            ("chassis bootparam get 5", "No override"),
            ("session info active", ""),
            ("chassis power on", "Command not supported in present state"),
            ("chassis power diag", "Invalid data field in request"),
            ("raw 0x2c 0x3e 0x00", "rsp=0xc1"),
            ("chassis power off", "Chassis Power Control: Down/Off"),
        ] {
            let said = tool(&command.split(' ').collect::<Vec<_>>()).await;
            assert!(said.contains(want), "suite {suite}: {command}: {said}");
        }
        assert_eq!(lab.log.power().len(), 2, "suite {suite}");
    }
}

#[tokio::test]
async fn the_lab_refuses_what_is_not_safe() {
    let lab = lab(Quirks::default()).await;
    let port = lab.port.to_string();
    for suite in ["0", "1", "2", "8"] {
        let said = run(
            "ipmitool",
            &["-I", "lanplus", "-C", suite, "-N", "1", "-R", "1", "-H", "127.0.0.1", "-p", &port, "-U", "ADMIN", "-E", "-v", "chassis", "status"],
        )
        .await;
        assert!(said.contains("Unable to establish"), "suite {suite}: {said}");
    }
    let said = run("ipmitool", &["-I", "lan", "-N", "1", "-R", "1", "-H", "127.0.0.1", "-p", &port, "-U", "ADMIN", "-E", "chassis", "status"]).await;
    assert!(!said.contains("System Power"), "IPMI 1.5: {said}");
    let said =
        run("ipmitool", &["-I", "lanplus", "-C", "17", "-L", "USER", "-H", "127.0.0.1", "-p", &port, "-U", "ADMIN", "-E", "chassis", "power", "off"]).await;
    assert!(said.contains("Insufficient privilege"), "{said}");
    assert_eq!(lab.log.power(), vec![]);
}

#[tokio::test]
async fn freeipmi_works_against_the_lab() {
    for suite in ["3", "17"] {
        let lab = lab(Quirks::default()).await;
        let host = format!("127.0.0.1:{}", lab.port);
        let base = ["-D", "LAN_2_0", "-I", suite, "-h", &host, "-u", "ADMIN", "-p", "secret12", "-l", "ADMIN"];
        let with = |rest: &[&str]| base.iter().chain(rest).map(|s| (*s).to_owned()).collect::<Vec<String>>();
        for (program, rest, want) in [
            ("ipmipower", &["--stat"][..], "127.0.0.1"),
            ("ipmi-chassis", &["--get-chassis-status"], "System Power                        : on"),
            ("bmc-info", &["--get-device-id"], "IPMI Version"),
            ("ipmi-fru", &["--ignore-sdr-cache"], "LAB-0001"),
            ("ipmi-sel", &["--ignore-sdr-cache", "--info"], "Number of log entries"),
            ("ipmipower", &["--off"], "ok"),
        ] {
            let args = with(rest);
            let said = run(program, &args.iter().map(String::as_str).collect::<Vec<_>>()).await;
            assert!(said.contains(want), "suite {suite}: {program} {rest:?}: {said}");
        }
        assert_eq!(lab.log.power(), [("ForceOff".to_owned(), "Accepted".to_owned())]);
    }
}

// Other people's BMCs.

/// Is somebody there who speaks IPMI? Without a login.
async fn answers(port: u16) -> bool {
    let (net_fn, command) = codec::AUTH_CAPABILITIES;
    let request = Request { net_fn, command, sequence: 1, data: vec![0x8e, 4] };
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.1", port)).await.unwrap();
    socket.send(&rmcp::before_session(&request.encode())).await.ok();
    matches!(tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut [0; 64])).await, Ok(Ok(_)))
}

/// OpenIPMI's simulator: suites 0 to 3. Its hook keeps the power in a file, obeys `shutdown` a second later, and fails while a file `broken` is there.
async fn ipmi_sim() -> (Peer, u16) {
    let (program, port, dir) = (program("ipmi_sim"), udp_port(), tempfile::tempdir().unwrap());
    let at = dir.path().display();
    let auth = "none md2 md5 straight";
    let conf = format!(
        "name \"peer\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    allowed_auths_callback {auth}\n    allowed_auths_user {auth}\n    \
         allowed_auths_operator {auth}\n    allowed_auths_admin {auth}\n    guid 5f2c1d3e8a474b9c9d213e5f708192a3\n  endlan\n  chassis_control \"{at}/chassis {at}\"\n  user 2 true \"ADMIN\" \"secret12\" admin 10 {auth}\n"
    );
    let emu = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
    let hook = "#!/bin/sh\ncd \"$1\"; shift; echo \"$*\" >>calls\n[ -e broken ] && exit 1\ncase \"$1 $2 $3\" in\n'get power '*) echo \"power:$(cat power)\" ;;\n'set power 0') echo 0 >power ;;\n\
                'set power 1') echo 1 >power ;;\n'set shutdown 1') (sleep 1; echo 0 >power) >/dev/null 2>&1 & ;;\n'set reset 1') ;;\n'get boot '*) echo boot:default ;;\nesac\n";
    for (name, text) in [("lan.conf", conf.as_str()), ("peer.emu", emu), ("chassis", hook), ("power", "1\n")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::create_dir(dir.path().join("state")).unwrap();
    std::fs::set_permissions(dir.path().join("chassis"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.args(["-c", "lan.conf", "-f", "peer.emu", "-s", "state", "-n"]);
    let mut peer = Peer::start(&mut command, dir);
    peer.ready(|| answers(port)).await;
    (peer, port)
}

async fn works_against_ipmi_sim(more: Value) {
    let (sim, port) = ipmi_sim().await;
    let bmc = driver(port, more);
    // Suite 17 comes first and is refused.
    let view = bmc.look().await.unwrap();
    assert_eq!(view.power, Power::On);
    assert_eq!(view.product.as_deref(), Some("IANA 4753 product 0x0f02, BMC firmware 9.08, IPMI 2.0"));
    assert_eq!(view.identity.uuid.as_deref(), Some(UUID));

    power(&*bmc, ResetType::GracefulShutdown).await.unwrap();
    assert_eq!(bmc.look().await.unwrap().power, Power::On, "a soft power-off is a wish");
    until(&*bmc, Power::Off).await;
    power(&*bmc, ResetType::On).await.unwrap();
    until(&*bmc, Power::On).await;
    power(&*bmc, ResetType::ForceOff).await.unwrap();
    until(&*bmc, Power::Off).await;
    power(&*bmc, ResetType::On).await.unwrap();
    let view = bmc.look().await.unwrap();
    std::fs::write(sim.dir.path().join("broken"), "").unwrap();
    let fault = bmc.power(ResetType::ForceRestart, &mut permitted(&view, ResetType::ForceRestart)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Invalid, "an unspecified error proves nothing: {fault}");
    let calls = std::fs::read_to_string(sim.dir.path().join("calls")).unwrap();
    let count = |what: &str| calls.lines().filter(|l| *l == what).count();
    assert_eq!((count("set shutdown 1"), count("set power 0"), count("set power 1"), count("set reset 1")), (1, 1, 2, 1), "{calls}");
}

#[tokio::test]
async fn the_driver_works_against_ipmi_sim() {
    works_against_ipmi_sim(json!({})).await;
}

#[tokio::test]
async fn the_driver_works_against_ipmi_sim_through_ipmitool() {
    program("ipmitool");
    works_against_ipmi_sim(json!({ "via": "ipmitool", "timeout": "5s" })).await;
}

#[tokio::test]
async fn ipmi_sim_tells_apart_too_and_keeps_no_session() {
    let (_sim, port) = ipmi_sim().await;
    for more in [json!({}), json!({ "via": "ipmitool", "timeout": "5s" })] {
        assert_eq!(kind(driver_as(port, "ADMIN", "wrong", more.clone()).look().await), FaultKind::Denied);
        assert_eq!(kind(driver_as(port, "nobody", "secret12", more.clone()).look().await), FaultKind::Denied);
    }
    let mut only_17 = driver(port, json!({ "cipher_suites": [17] })).look().await.unwrap_err();
    assert_eq!(only_17.kind, FaultKind::Unable, "{only_17}");
    only_17 = driver(port, json!({ "cipher_suites": [17], "via": "ipmitool", "timeout": "5s" })).look().await.unwrap_err();
    assert_eq!(only_17.kind, FaultKind::Unable, "{only_17}");
    // It has about sixty slots.
    let bmc = driver(port, json!({}));
    for _ in 0..100 {
        bmc.look().await.unwrap();
    }
}

#[tokio::test]
async fn the_driver_works_against_pyghmi() {
    let (port, dir) = (udp_port(), tempfile::tempdir().unwrap());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/pyghmi_bmc.py");
    let mut command = Command::new(python("python"));
    command.args([script, &port.to_string()]);
    let mut peer = Peer::start(&mut command, dir);
    peer.ready(|| answers(port)).await;
    let bmc = driver(port, json!({}));
    assert_eq!(bmc.look().await.unwrap().power, Power::On);
    assert_eq!(kind(driver_as(port, "ADMIN", "wrong", json!({})).look().await), FaultKind::Denied);
    let permit = |verb| async move {
        // Its GUID is random at every login, so nothing pins it: what is read now has to do.
        let view = BmcView {
            identity: pitstop::model::Identity { serial: Some("PYGHMI-1".into()), ..Default::default() },
            ..driver(port, json!({})).look().await.unwrap()
        };
        permitted(&view, verb)
    };
    bmc.power(ResetType::GracefulShutdown, &mut permit(ResetType::GracefulShutdown).await).await.unwrap();
    assert_eq!(bmc.look().await.unwrap().power, Power::On);
    until(&*bmc, Power::Off).await;
    let fault = bmc.power(ResetType::PowerCycle, &mut permit(ResetType::PowerCycle).await).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unwilling, "{fault}");
    bmc.power(ResetType::On, &mut permit(ResetType::On).await).await.unwrap();
    until(&*bmc, Power::On).await;
}
