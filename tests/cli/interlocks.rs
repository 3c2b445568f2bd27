//! 14 to 17 of safety.md on the lab: each is seen before anything is touched, names its object, and says what to type next.
use crate::rig::{Lab, text};
use std::{fs, thread};

/// `reset = …` and `due` of the playbook `mine`, beside the lab.
fn playbook(lab: &Lab, due: &str, reset: &str) {
    let dir = lab.dir.path().join("playbooks");
    fs::create_dir_all(&dir).unwrap();
    let text = format!(
        "description = \"a test\"\n{due}[[steps]]\nevacuate = {{}}\n[[steps]]\nreset = {{ {reset} }}\n[[steps]]\nverify = {{ hold_for = \"60s\" }}\n[[steps]]\nenable = {{}}\n"
    );
    fs::write(dir.join("mine.toml"), text).unwrap();
}

#[track_caller]
fn refused(fault: &'static str, says: &[&str]) -> Lab {
    let lab = Lab::start(3, &[fault]);
    let said = lab.ask(&["run", "reboot", "edge-02"]).ends(4);
    says.iter().for_each(|s| said.says(s));
    said.says("edge-02");
    said.says("next:");
    lab.ask(&["check", "edge-02"]).ends(4).says(says[0]);
    let rack = lab.rack();
    assert_eq!((rack.verbs("edge-02"), rack.service("edge-02")), (vec![], None), "never touched");
    lab
}

#[test]
fn inv_14_to_16_what_stands_against_power_is_refused_before_the_node_is_touched() {
    thread::scope(|scope| {
        scope.spawn(|| refused("raid-rebuilding", &["mdraid md0", "1 of its 2 disks are missing"]));
        scope.spawn(|| refused("self-on-node", &["pitstop itself runs on edge-02", "another machine than edge-02"]));
        scope.spawn(how_the_root_disk_unlocks);
        scope.spawn(|| {
            let lab = refused("boot-override-pxe", &["Pxe (Once)", "--clear-boot-override"]);
            // On request it is put aside through the ledger and given back as it was; the machine boots its disk.
            playbook(&lab, "", "boot_override = \"clear\"");
            lab.ask(&["--playbooks", "playbooks", "run", "mine", "edge-02"]).ends(0);
            let rack = lab.rack();
            let boots: Vec<_> = rack.of("edge-02", "boot").into_iter().filter(|b| b.get("boot_id").is_some()).collect();
            assert_eq!((boots.len(), boots[0].get("from")), (1, None), "it booted what it booted");
            let set: Vec<String> = rack.of("edge-02", "boot-override").iter().map(|l| text(&l["target"])).collect();
            assert_eq!(set, ["None", "Pxe"]);
        });
    });
}

#[test]
fn inv_17_still_due_after_the_reboot_is_a_hold_that_a_person_may_accept() {
    let lab = Lab::start(2, &[]);
    playbook(&lab, "[due]\nany = [{ command = { run = \"echo the disk wants it\" } }]\n", "how = \"force\"");
    let held = lab.ask(&["--playbooks", "playbooks", "run", "mine", "edge-01"]).ends(5);
    held.says("edge-01 was rebooted and is still due: command");
    held.says("pitstop release edge-01 verify --accept due:command");
    assert_eq!(lab.rack().boots("edge-01").len(), 1);
    lab.ask(&["release", "edge-01", "verify", "--accept", "due:command"]).ends(0);
    let rack = lab.rack();
    rack.in_service("edge-01");
    assert_eq!(rack.boots("edge-01").len(), 1, "never reset twice for the same reason");
}

/// A passphrase that nobody would type is refused until the inventory says who does; a word that the host denies is none.
fn how_the_root_disk_unlocks() {
    let lab = refused("root-passphrase", &["its root disk /dev/nvme0n1p2 (unlocks by passphrase)", "unlock = \"console\""]);
    let path = lab.path("inventory/rack.toml");
    let plain = fs::read_to_string(&path).unwrap();
    let say = |word: &str| fs::write(&path, plain.replace("name = \"edge-02\"\n", &format!("name = \"edge-02\"\nunlock = \"{word}\"\n"))).unwrap();
    say("tpm");
    lab.ask(&["plan", "reboot", "edge-02"]).ends(4).says("the inventory says unlock = \"tpm\", and its root disk");
    say("console");
    lab.ask(&["plan", "reboot", "edge-02"]).ends(0).says("its root disk is encrypted");
    lab.ask(&["run", "reboot", "edge-02"]).ends(0);
    assert_eq!(lab.rack().boots("edge-02").len(), 1);
}

#[test]
fn inv_16_a_sealed_root_disk_gets_no_firmware_until_the_playbook_names_the_re_seal() {
    let lab = Lab::start(3, &["root-tpm"]);
    let dir = lab.dir.path().join("playbooks");
    fs::create_dir_all(&dir).unwrap();
    let write = |more: &str| {
        let target = "{ model = \"Simulated machine\", id = \"BIOS\", version = \"9.9\", image = { url = \"http://127.0.0.1:9/none.bin\" } }";
        let text = format!(
            "description = \"a test\"\n[[steps]]\nevacuate = {{}}\n[[steps]]\nfirmware = {{ targets = [{target}]{more} }}\n[[steps]]\nreset = {{ how = \"power-cycle\" }}\n[[steps]]\nverify = {{}}\n[[steps]]\nenable = {{}}\n"
        );
        fs::write(dir.join("mine.toml"), text).unwrap();
    };
    write("");
    let said = lab.ask(&["--playbooks", "playbooks", "run", "mine", "edge-02"]).ends(4);
    said.says("new firmware may break the seal of its root disk /dev/nvme0n1p2 (unlocks by TPM)");
    said.says("firmware = { reseal = \"…\" }");
    assert_eq!((lab.rack().verbs("edge-02"), lab.rack().service("edge-02")), (vec![], None), "never touched");
    write(", reseal = \"sealed to PCR 7 alone, which firmware leaves as it is\"");
    lab.ask(&["--playbooks", "playbooks", "plan", "mine", "edge-02"]).ends(0).says("unlocks by TPM");
    // A reset alone leaves the seal as it is.
    lab.ask(&["plan", "reboot", "edge-02"]).ends(0);
}
