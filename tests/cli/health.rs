//! What comes back otherwise than it went is held with the line that explains it, or repaired and enabled, as configured; patches run once.
use crate::{
    demo::Demo,
    rig::{Lab, text},
};
use std::{fs, thread};

#[test]
fn what_is_lost_is_held_with_the_line_that_explains_it() {
    let faults = [
        ("lost-dimm", "DIMM A3 is gone, was 64 GB at 3200 MT/s", "--accept 'dimm:A3'"),
        ("link-down", "link eth1 is down, was up at 25000 Mb/s", "--accept 'link:eth1'"),
        ("unit-failed", "unit irqbalance.service is failed, was active", "--accept 'unit:irqbalance.service'"),
        ("mount-missing", "mount /var/lib/data is gone", "--accept 'mount:/var/lib/data'"),
        ("read-only-root", "mount / is read-only, was writable", "--accept 'mount:/'"),
        (
            "boot-order-changed",
            "boot order at the BMC is Boot0000,Boot0001, was Boot0001,Boot0000; boot order is 0000,0001, was 0001,0000",
            "--accept 'bmc-boot-order:value' --accept 'boot-order:value'",
        ),
        ("secure-boot-off", "secure boot is disabled, was enabled", "--accept 'bmc-secure-boot:value' --accept 'secure-boot:value'"),
        ("changed-host-key", "at reset: something else booted on edge-02", "is not what known_hosts has; something else answers"),
    ];
    // A few at a time: most of it is waiting.
    for some in faults.chunks(3) {
        thread::scope(|scope| {
            for (fault, line, next) in some {
                scope.spawn(move || {
                    let demo = Demo::run(&["--fault", fault]);
                    assert_eq!(demo.said.code, 5, "{fault}: {}", demo.said.all());
                    assert_eq!(demo.ends()["edge-02"], "held", "{fault}");
                    // With another key the host cannot be asked for its boot id at all: what answers is named, with the key that it shows.
                    demo.said.says(if *fault == "changed-host-key" { "HELD      at reset" } else { "HELD      at verify" });
                    demo.said.says(line);
                    demo.said.says(next);
                    assert_eq!(demo.rack.service("edge-02").as_deref(), Some("cordon"), "{fault}: it stays out");
                    assert_eq!(demo.rack.boots("edge-02").len(), 1, "{fault}");
                    demo.rack.nothing_lost();
                });
            }
        });
    }
}

#[test]
fn a_slow_service_is_waited_for() {
    let demo = Demo::run(&["--fault", "slow-service"]);
    assert_eq!(demo.said.code, 0, "{}", demo.said.all());
    assert_eq!(demo.ends()["edge-02"], "done");
    let waits: Vec<String> = demo.events.iter().filter(|e| e["event"] == "wait_changed" && e["node"] == "edge-02").map(|e| e["blockers"].to_string()).collect();
    assert!(waits.iter().any(|w| w.contains("node-agent") && w.contains("activating")), "{waits:?}");
}

/// The same faults, with an inventory that asks for repair.
#[test]
fn what_can_be_repaired_is_repaired_once_and_enabled() {
    let lab = Lab::start(3, &["unit-failed", "mount-missing"]);
    let path = lab.path("inventory/rack.toml");
    let checks = "\n[[checks]]\nat = \"booted\"\nsystemd = { no_failed = true, repair = true }\n\n[[checks]]\nat = \"booted\"\nmounts = { fstab = true, repair = true }\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + checks).unwrap();
    let events = lab.ask(&["run", "reboot", "edge-02", "--json"]).ends(0).lines();
    let repairs: Vec<String> = events.iter().filter(|e| e["event"] == "act_intended" && e["act"]["to"] == "check").map(|e| text(&e["act"]["what"])).collect();
    assert_eq!(repairs.len(), 2, "once each: {repairs:?}");
    assert!(repairs.iter().any(|r| r.ends_with("restart irqbalance.service")) && repairs.iter().any(|r| r.ends_with("mount /var/lib/data")), "{repairs:?}");
    lab.rack().in_service("edge-02");
    assert_eq!(lab.rack().boots("edge-02").len(), 1);
}

/// A person looks at the DIMM and takes the machine as it is.
#[test]
fn a_difference_is_accepted_one_by_one() {
    let lab = Lab::start(3, &["lost-dimm"]);
    lab.ask(&["run", "reboot", "edge-02"]).ends(5).says("memory: 439.4 GiB, was 503.4 GiB");
    lab.ask(&["release", "edge-02", "verify", "--accept", "dimm:A3"]).ends(5).says("HELD      at verify: memory: 439.4 GiB, was 503.4 GiB");
    lab.ask(&["release", "edge-02", "verify", "--accept", "dimm:A3", "--accept", "memory:total"]).ends(0);
    lab.rack().in_service("edge-02");
    assert_eq!(lab.rack().boots("edge-02").len(), 1);
}

/// What comes back while there is patience is no loss: here somebody mounts it by hand.
#[test]
fn what_comes_back_in_time_is_not_held() {
    let lab = Lab::start(2, &["mount-missing"]);
    let reboot = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/reboot.toml")).unwrap();
    let path = lab.path("patient.toml");
    fs::write(&path, reboot.replacen("baseline = {}", "baseline = { patience = \"9h\" }", 1).replacen("timeout = \"15m\"", "timeout = \"10h\"", 1)).unwrap();
    let mut running = lab.start_command(&["run", path.to_str().unwrap(), "edge-02"]);
    running.until("mount /var/lib/data is gone");
    // As `mount` on that machine says it to the rack.
    fs::write(lab.path("machines/edge-02/root/asks"), "mount /var/lib/data\n").unwrap();
    running.ended().ends(0);
    lab.rack().in_service("edge-02");
    assert_eq!(lab.rack().boots("edge-02").len(), 1);
}

/// What an update means to change is expected; what did not come back after it is not.
#[test]
fn after_new_firmware_a_lost_dimm_is_held_and_the_new_version_is_expected() {
    let lab = Lab::start(2, &["lost-dimm"]);
    let playbook = lab.path("firmware/lab-firmware.toml");
    let held = lab.ask(&["run", playbook.to_str().unwrap(), "edge-02"]).ends(5);
    held.says("HELD      at verify: DIMM A3 is gone, was 64 GB at 3200 MT/s");
    assert!(!held.all().contains("firmware BIOS") && !held.all().contains("firmware:BIOS"), "{}", held.all());
    let ended = lab.ask(&["release", "edge-02", "verify", "--accept", "dimm:A3", "--accept", "memory:total", "--json"]).ends(0);
    let verified = ended.lines().into_iter().rfind(|e| e["event"] == "step_settled" && e["kind"] == "verify").unwrap();
    let evidence = verified["outcome"].pointer("/done/evidence").or(verified["outcome"].get("evidence")).unwrap_or_else(|| panic!("{verified}"));
    let compared = evidence["compared"].as_array().unwrap_or_else(|| panic!("{verified}"));
    let of = |item: &str| compared.iter().find(|d| d["item"] == item).map(|d| (text(&d["level"]), text(&d["line"])));
    assert_eq!(of("firmware:BIOS"), Some(("expected".into(), "firmware BIOS: version is 2.0.0, was 1.0.0".into())), "{compared:?}");
    assert_eq!(of("dimm:A3").map(|d| d.0), Some("expected".into()), "a person accepted it");
    // And so says the screen.
    let report = lab.ask(&["report", &text(&verified["run"])]).ends(0);
    report.says("changed, expected: DIMM A3 is gone, was 64 GB at 3200 MT/s\n");
    report.says("changed, expected: firmware BIOS: version is 2.0.0, was 1.0.0\n");
    lab.rack().in_service("edge-02");
}

/// Lists of a playbook: what is ignored is not compared, what is expected holds nothing, and what is strict holds although by default it is only noted.
#[test]
fn what_is_compared_is_said_by_the_playbook() {
    let lab = Lab::start(2, &["lost-dimm", "link-down"]);
    let reboot = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/reboot.toml")).unwrap();
    let run = |name: &str, rules: &str| {
        let path = lab.path(name);
        fs::write(&path, reboot.replacen("baseline = {}", &format!("baseline = {{ {rules} }}"), 1)).unwrap();
        lab.ask(&["run", path.to_str().unwrap(), "edge-02"])
    };
    let held = run("one.toml", "ignore = [\"link:eth*\"], expect = [\"dimm\"]").ends(5);
    held.says("HELD      at verify: memory: 439.4 GiB, was 503.4 GiB");
    held.says("pitstop release edge-02 verify --accept 'memory:total'");
    assert!(!held.all().contains("eth1") && !held.all().contains("DIMM"), "{}", held.all());
    lab.ask(&["release", "edge-02", "verify", "--accept", "memory:total"]).ends(0);
    lab.rack().in_service("edge-02");
}

/// Must-show 4.
#[test]
fn os_patch_twice_the_second_finds_nothing_due() {
    let lab = Lab::start(2, &[]);
    lab.ask(&["plan", "os-patch", "--all"]).ends(0).says("2 packages: openssl linux-image-amd64");
    let first = lab.ask(&["run", "os-patch", "--all", "--json"]).ends(0);
    let ran: Vec<_> = first.lines().into_iter().filter(|e| e["event"] == "act_intended" && e["act"]["to"] == "host").collect();
    assert_eq!(ran.len(), 2, "once a node: {ran:?}");
    let before = lab.rack();
    for node in ["edge-01", "edge-02"] {
        assert_eq!(before.boots(node).len(), 1, "{node}: the new kernel asked for it");
        before.in_service(node);
    }
    let second = lab.ask(&["run", "os-patch", "--all"]).ends(0);
    second.says("apt-get would upgrade nothing");
    // The run's own lock in the cluster, taken and given back; no node.
    let new = &lab.rack().0[before.0.len()..];
    assert!(new.iter().all(|l| l["what"].as_str().is_some_and(|w| w.contains("lease"))), "{new:?}");

    // Without a new kernel nothing is reset.
    fs::write(lab.path("machines/edge-01/root/packages"), "openssl 3.0.16-1\n").unwrap();
    lab.ask(&["run", "os-patch", "edge-01"]).ends(0);
    assert_eq!(lab.rack().boots("edge-01").len(), 1, "patched, and not reset");
    assert_eq!(lab.rack().verbs("edge-01"), before.verbs("edge-01"));
    lab.rack().in_service("edge-01");
}

/// The same on hosts with dnf and zypper, whose tools say it in other words and with other exit codes.
#[test]
fn os_patch_on_rhel_and_suse() {
    let lab = Lab::start(2, &["host-families"]);
    let plan = lab.ask(&["plan", "os-patch", "--all"]).ends(0);
    plan.says("openssl-libs.x86_64 kernel-core.x86_64");
    plan.says("2 patches needed");
    let first = lab.ask(&["run", "os-patch", "--all", "--json"]).ends(0).lines();
    let said = |node: &str| {
        let done = |e: &&serde_json::Value| e["event"] == "step_settled" && e["kind"] == "exec" && e["node"] == node;
        first.iter().find(done).map(|e| e["outcome"].to_string()).unwrap()
    };
    assert!(said("edge-01").contains("Upgrading        : kernel-core"), "{}", said("edge-01"));
    // zypper renews itself first, and is asked once more.
    assert!(said("edge-02").contains("Installing: zypper") && said("edge-02").contains("Installing: kernel-default"), "{}", said("edge-02"));
    let before = lab.rack();
    for node in ["edge-01", "edge-02"] {
        assert_eq!(before.boots(node).len(), 1, "{node}: the new kernel asked for it");
        before.in_service(node);
    }
    let second = lab.ask(&["run", "os-patch", "--all"]).ends(0);
    second.says("dnf check-update ended with 0");
    second.says("zypper patch-check ended with 0");
    let new = &lab.rack().0[before.0.len()..];
    assert!(new.iter().all(|l| l["what"].as_str().is_some_and(|w| w.contains("lease"))), "{new:?}");
    for (node, pending) in [("edge-01", "openssl-libs 1:3.0.7-29.el9_4\n"), ("edge-02", "openssl-3 3.0.8-150500.5.48.1\n")] {
        fs::write(lab.path(&format!("machines/{node}/root/packages")), pending).unwrap();
    }
    lab.ask(&["run", "os-patch", "--all"]).ends(0);
    for node in ["edge-01", "edge-02"] {
        assert_eq!(lab.rack().boots(node).len(), 1, "{node}: patched, and not reset");
        lab.rack().in_service(node);
    }
}
