//! ipmitool and FreeIPMI as clients of the lab's BMC.
use super::lab;
use crate::peer::program;
use pitstop::lab::rack::Quirks;
use std::process::Command;

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

/// A reset of the BMC by somebody else's tool, and what its log says of it.
#[tokio::test]
async fn ipmitool_resets_the_labs_bmc_and_reads_its_log() {
    let lab = lab(Quirks::default()).await;
    let port = lab.port.to_string();
    let tool = async |rest: &[&str]| {
        let base = ["-I", "lanplus", "-C", "17", "-N", "1", "-R", "1", "-H", "127.0.0.1", "-p", &port, "-U", "ADMIN", "-E"];
        run("ipmitool", &[&base[..], rest].concat()).await
    };
    let said = tool(&["mc", "reset", "cold"]).await;
    assert!(said.contains("Sent cold reset command to MC"), "{said}");
    let begun = std::time::Instant::now();
    let said = loop {
        let said = tool(&["sel", "list"]).await;
        if said.contains("Management") || begun.elapsed().as_secs() > 60 {
            break said;
        }
    };
    assert!(said.contains("Management Subsystem Health") || said.contains("Management Subsys Health"), "{said}");
    let said = tool(&["sel", "info"]).await;
    assert!(said.contains("Entries          : 1"), "{said}");
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
