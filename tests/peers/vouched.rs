//! `check` and a whole `run power-cycle` with nothing of ours on the other side: vouched machines without a host, whose only witness is the BMC.
use crate::{
    binary::{HEAD, Pit},
    ipmi::servers::ipmi_sim,
    redfish::sushy::{Emulator, QUIET},
};

async fn cycled(pit: &Pit) -> Vec<String> {
    let checked = pit.pitstop(&["check"]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.all());
    let ran = pit.pitstop(&["run", "power-cycle", "edge-01", "--reason", "a test"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let (verbs, proofs) = pit.sent().await;
    assert!(proofs.iter().any(|p| p.to_string().contains("power Off seen, then On seen")), "{proofs:?}");
    let report = pit.pitstop(&["report"]).await;
    assert!(report.out.contains("spare nodes, nothing runs here") || report.out.contains("edge-01"), "{}", report.all());
    verbs
}

#[tokio::test]
async fn a_machine_behind_sushy_emulator_is_power_cycled() {
    let emulator = Emulator::start().await;
    let pit = Pit::new(&format!(
        "{HEAD}\n[[nodes]]\nname = \"edge-01\"\ncluster = \"spare\"\nbmc.redfish = {{ url = \"{}\", system_id = \"{QUIET}\", tls = {{ ca_file = \"{}\" }} }}\n",
        emulator.url,
        emulator.ca()
    ));
    let verbs = cycled(&pit).await;
    assert_eq!(verbs, ["GracefulShutdown", "On"]);
    // The emulator's own word: each verb reached it once.
    let log = emulator.peer.log();
    let resets = log.lines().filter(|l| l.contains("POST") && l.contains("ComputerSystem.Reset")).count();
    assert_eq!(resets, 2, "{log}");
}

#[tokio::test]
async fn a_machine_behind_ipmi_sim_is_power_cycled() {
    let (sim, port) = ipmi_sim().await;
    let pit = Pit::new(&format!("{HEAD}\n[[nodes]]\nname = \"edge-01\"\ncluster = \"spare\"\nbmc.ipmi = {{ host = \"127.0.0.1\", port = {port} }}\n"));
    let verbs = cycled(&pit).await;
    assert_eq!(verbs, ["GracefulShutdown", "On"]);
    let calls = std::fs::read_to_string(sim.dir.path().join("calls")).unwrap();
    let sets: Vec<&str> = calls.lines().filter(|l| l.starts_with("set ")).collect();
    assert_eq!(sets, ["set shutdown 1", "set power 1"], "{calls}");
}
