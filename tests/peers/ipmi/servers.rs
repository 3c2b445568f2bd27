//! The driver against other people's BMCs: OpenIPMI's ipmi_sim and pyghmi.
use super::{UUID, driver, driver_as, kind, permitted, power, until};
use crate::peer::{Peer, program, python, udp_port};
use pitstop::{
    model::{BmcView, FaultKind, Power, ResetType},
    wire::{ipmi as codec, lan::Request, rmcp},
};
use serde_json::{Value, json};
use std::{process::Command, time::Duration};
use tokio::net::UdpSocket;

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
pub async fn ipmi_sim() -> (Peer, u16) {
    let hook = "#!/bin/sh\ncd \"$1\"; shift; echo \"$*\" >>calls\n[ -e broken ] && exit 1\ncase \"$1 $2 $3\" in\n'get power '*) echo \"power:$(cat power)\" ;;\n'set power 0') echo 0 >power ;;\n\
                'set power 1') echo 1 >power ;;\n'set shutdown 1') (sleep 1; echo 0 >power) >/dev/null 2>&1 & ;;\n'set reset 1') ;;\n'get boot '*) echo boot:default ;;\nesac\n";
    ipmi_sim_with(hook, |dir| std::fs::write(dir.join("power"), "1\n").unwrap()).await
}

/// With another hook, and a directory that `prepare` fills.
pub async fn ipmi_sim_with(hook: &str, prepare: impl FnOnce(&std::path::Path)) -> (Peer, u16) {
    let (program, port, dir) = (program("ipmi_sim"), udp_port(), tempfile::tempdir().unwrap());
    let at = dir.path().display();
    let auth = "none md2 md5 straight";
    let conf = format!(
        "name \"peer\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    allowed_auths_callback {auth}\n    allowed_auths_user {auth}\n    \
         allowed_auths_operator {auth}\n    allowed_auths_admin {auth}\n    guid 5f2c1d3e8a474b9c9d213e5f708192a3\n  endlan\n  chassis_control \"{at}/chassis {at}\"\n  user 2 true \"ADMIN\" \"secret12\" admin 10 {auth}\n"
    );
    let emu = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n\
               sel_add 0x20 2 0x00 0x5e 0x2f 0x65 0x20 0 0x04 0x0c 0x53 0x6f 0xa1 0xff 0xff\nsel_add 0x20 2 0x00 0x5e 0x2f 0x65 0x20 0 0x04 0x08 0x60 0x6f 0x03 0xff 0xff\n";
    for (name, text) in [("lan.conf", conf.as_str()), ("peer.emu", emu), ("chassis", hook)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::create_dir(dir.path().join("state")).unwrap();
    std::fs::set_permissions(dir.path().join("chassis"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    prepare(dir.path());
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

/// ipmitool adds records as the event log grows in life: what is new is read by record id, each once, in both ways of asking.
#[tokio::test]
async fn the_event_log_is_read_from_a_record_on() {
    let (_sim, port) = ipmi_sim().await;
    let bmc = driver(port, json!({}));
    let all = bmc.log_since(None).await.unwrap();
    let said: Vec<_> = all.iter().map(|e| (e.severity.as_str(), e.message.as_str())).collect();
    assert_eq!(said, [("Critical", "memory #53: uncorrectable error [a1 ff ff]"), ("Critical", "power supply #60: input lost [03 ff ff]")]);
    let last = all.last().unwrap().id.clone();
    assert!(last.starts_with("ipmi:"), "{last}");
    assert_eq!(bmc.log_since(Some(&last)).await.unwrap(), []);
    let tool = |args: &'static [&'static str]| {
        let port = port.to_string();
        tokio::task::spawn_blocking(move || {
            let base = ["-I", "lanplus", "-C", "3", "-H", "127.0.0.1", "-p", &port, "-U", "ADMIN", "-E"];
            let output = Command::new(program("ipmitool")).args(base).args(args).env("IPMITOOL_PASSWORD", "secret12").output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        })
    };
    // Add SEL Entry: temperature above its upper critical limit.
    tool(&["raw", "0x0a", "0x44", "0", "0", "2", "0", "0x5f", "0x2f", "0x65", "0x20", "0", "4", "1", "0x30", "1", "0x59", "80", "75"]).await.unwrap();
    let new = bmc.log_since(Some(&last)).await.unwrap();
    assert_eq!(new.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["temperature #30: above the upper critical limit [59 50 4b]"]);
    let by_tool = driver(port, json!({ "via": "ipmitool", "timeout": "5s" }));
    assert_eq!(by_tool.log_since(Some(&last)).await.unwrap(), new);
    // The other protocol's records are none of ours, and nothing that was asked for.
    assert_eq!(bmc.log_since(Some("redfish:7")).await.unwrap_err().kind, FaultKind::Unable);
    // After a clear the known record is gone: all is new, which is nothing.
    tool(&["sel", "clear"]).await.unwrap();
    assert_eq!(bmc.log_since(Some(&new[0].id)).await.unwrap().iter().filter(|e| e.message.starts_with("temperature")).count(), 0);
}
