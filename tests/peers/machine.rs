//! A machine that really goes down and comes up: OpenSSH's sshd in namespaces of its own, with its own boot id, uptime and SMBIOS files, and ipmi_sim as its BMC, whose hook kills it and
//! starts it anew. Nothing of ours on the other side, and the proof of the reboot is the boot id that SSH reads.
use crate::{
    binary::{HEAD, Pit},
    ipmi::servers::ipmi_sim_with,
    peer::{Peer, program, tcp_port},
};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// What ipmi_sim calls. Power and operating system are two things: the OS comes a second after the power, and `shutdown` takes a second.
const HOOK: &str = r#"#!/bin/sh
cd "$1"; shift; echo "$*" >>calls
halt() { echo 0 >power; [ -s pid ] && $(cat root) kill -9 "$(cat pid)" 2>/dev/null; rm -f pid; }
boot() {
    echo 1 >power
    cat /proc/sys/kernel/random/uuid >boot_id; cat boot_id >>boots
    (sleep 1; [ "$(cat power)" = 1 ] || exit 0
     exec $(cat root) unshare --mount --pid --fork --kill-child --mount-proc sh "$PWD/machine" "$PWD" <&- >>console 2>&1) >/dev/null 2>&1 &
    echo $! >pid
}
case "$1 $2 $3" in
'get power '*) echo "power:$(cat power)" ;;
'set power 0') halt ;;
'set power 1') [ "$(cat power)" = 1 ] || boot ;;
'set shutdown 1') (sleep 1; halt) >/dev/null 2>&1 & ;;
'set reset 1') halt; boot ;;
'get boot '*) echo boot:default ;;
esac
"#;

/// The first process of the machine. What the kernel and SMBIOS say is this machine's own, in this mount namespace alone.
const MACHINE: &str = r#"set -e
cd "$1"
mount --make-rprivate /
mount --bind boot_id /proc/sys/kernel/random/boot_id
echo '1.00 1.00' >uptime; mount --bind uptime /proc/uptime
mount --bind cmdline /proc/cmdline
[ -e /etc/machine-id ] && mount --bind machine-id /etc/machine-id
mount -t tmpfs tmpfs /sys/class
mkdir -p /sys/class/dmi/id
cp product_uuid product_serial /sys/class/dmi/id/
exec "$2" -D -e -f sshd_config
"#;

struct Machine {
    sim: Peer,
    ipmi: u16,
    ssh: u16,
}
impl Machine {
    async fn start() -> Machine {
        program("unshare");
        let ssh = tcp_port();
        let sshd = program("sshd");
        let (sim, ipmi) = ipmi_sim_with(HOOK, |dir| {
            for name in ["host_key", "client"] {
                let made = Command::new(program("ssh-keygen")).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(name)).status().unwrap();
                assert!(made.success());
            }
            let d = dir.display();
            let conf = format!(
                "ListenAddress 127.0.0.1:{ssh}\nHostKey {d}/host_key\nAuthorizedKeysFile {d}/client.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
                 PasswordAuthentication no\nPidFile none\nSetEnv HOME={d}\n"
            );
            let root = if nix_root() { "" } else { "sudo -n" };
            for (name, text) in [
                ("sshd_config", conf.as_str()),
                ("machine", &MACHINE.replace("\"$2\"", &sshd.display().to_string())),
                ("machine-id", "0123456789abcdef0123456789abcde0\n"),
                ("cmdline", "root=UUID=1f0c ro iommu=on quiet\n"),
                ("product_uuid", "5f2c1d3e-8a47-4b9c-9d21-3e5f708192a3\n"),
                ("product_serial", "PEER-0001\n"),
                ("root", root),
                ("power", "0\n"),
            ] {
                fs::write(dir.join(name), text).unwrap();
            }
            fs::create_dir_all("/run/sshd").ok(); // where sshd as root keeps nothing, but wants to
        })
        .await;
        let machine = Machine { sim, ipmi, ssh };
        machine.hook("set power 1");
        machine.up().await;
        machine
    }
    fn hook(&self, what: &str) {
        let done = Command::new(self.sim.dir.path().join("chassis")).arg(self.sim.dir.path()).args(what.split(' ')).status().unwrap();
        assert!(done.success(), "{what}");
    }
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sim.dir.path().join(name)).unwrap_or_default()
    }
    async fn up(&self) {
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.ssh)).await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the machine does not boot (it needs root, or sudo without a password, for `unshare`):\n{}", self.read("console"));
    }
}
impl Drop for Machine {
    fn drop(&mut self) {
        self.hook("set power 0");
    }
}
fn nix_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

#[tokio::test]
async fn a_machine_that_really_boots_is_taken_through_twice_with_its_boot_id_as_proof() {
    let machine = Machine::start().await;
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let user = if nix_root() { user.trim() } else { "root" };
    let key = machine.sim.dir.path().join("client");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    // Nobody vouches: that it is empty is what its own host shows, and who it is closes between host and BMC.
    let head = HEAD.replace("vouched = \"spare nodes, nothing runs here\"\n", "");
    let pit = Pit::new(&format!(
        "{head}\n[[nodes]]\nname = \"edge-01\"\ncluster = \"spare\"\nbmc.ipmi = {{ host = \"127.0.0.1\", port = {} }}\n\
         host.ssh = {{ host = \"127.0.0.1\", port = {}, user = \"{user}\", key = {{ file = \"{}\" }} }}\n",
        machine.ipmi,
        machine.ssh,
        key.display()
    ));
    // Its host key is nobody's yet.
    let refused = pit.pitstop(&["check"]).await;
    assert!(refused.code == Some(4) && refused.out.contains("pitstop inventory trust edge-01"), "{}", refused.all());
    let trusted = pit.pitstop(&["inventory", "trust", "edge-01", "--yes"]).await;
    assert_eq!(trusted.code, Some(0), "{}", trusted.all());
    let checked = pit.pitstop(&["check"]).await;
    assert!(checked.code == Some(0) && checked.out.contains("host = BMC"), "{}", checked.all());

    let force = "description = \"a hard reset\"\n[[steps]]\nevacuate = {}\n[[steps]]\nreset = { how = \"force\", then = \"hold\" }\ntimeout = \"60m\"\n\
                 [[steps]]\nverify = { hold_for = \"10s\" }\ntimeout = \"15m\"\n[[steps]]\nenable = {}\n";
    fs::write(pit.path("hard.toml"), force).unwrap();
    for (playbook, sent) in [("power-cycle", &["GracefulShutdown", "On"][..]), ("./hard.toml", &["ForceRestart"])] {
        let before = machine.read("boot_id").trim().to_owned();
        let ran = pit.pitstop(&["run", playbook, "edge-01", "--reason", "a test"]).await;
        assert_eq!(ran.code, Some(0), "{}\n{}", ran.all(), machine.read("console"));
        let after = machine.read("boot_id").trim().to_owned();
        let (verbs, proofs) = pit.sent().await;
        assert_eq!(verbs, sent);
        let proof = proofs.last().unwrap().to_string();
        assert!(before != after && proof.contains(&before) && proof.contains(&after), "{before} → {after}: {proof}");
    }
    // It comes back with other boot parameters: held with the line that says which, until a person takes it as it is.
    let dir = machine.sim.dir.path();
    fs::write(dir.join("cmdline.new"), "root=UUID=1f0c ro quiet single\n").unwrap();
    // Another file in its place: what runs now keeps the old one.
    fs::rename(dir.join("cmdline.new"), dir.join("cmdline")).unwrap();
    let watched = force.replacen("[[steps]]", "[[steps]]\nbaseline = { patience = \"1s\" }\n[[steps]]", 1).replace("10s", "1s");
    fs::write(pit.path("watched.toml"), watched).unwrap();
    let held = pit.pitstop(&["run", "./watched.toml", "edge-01", "--reason", "a test"]).await;
    assert!(held.code == Some(5) && held.all().contains("HELD      at verify: boot parameters: -iommu=on +single"), "{}", held.all());
    let taken = pit.pitstop(&["release", "edge-01", "verify", "--accept", "cmdline:boot"]).await;
    assert_eq!(taken.code, Some(0), "{}", taken.all());
    // The machine's own record: it was started once by us, and once by each run.
    assert_eq!(machine.read("boots").lines().count(), 4, "{}", machine.read("calls"));
}
