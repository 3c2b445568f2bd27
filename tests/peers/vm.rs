//! A real Debian on a (virtual) machine of its own: QEMU is the hardware, ipmi_sim its BMC, systemd its init. Built by `tests/setup-vm`; where that did not run, this says SKIPPED.
//! QEMU interprets every instruction here (TCG), so nothing in this file is decided by how long it takes.
use crate::{
    binary::{HEAD, Pit, Said},
    ipmi::servers::ipmi_sim_with,
    peer::{Peer, program, tcp_port},
    ssh::{connect_as, read},
};
use pitstop::{
    drivers::host::Host,
    model::{Command as Line, Fault, FaultKind, Output, Span},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// A loaded computer may take ten times as long as a quiet one.
const PATIENCE: Duration = Duration::from_secs(900);

/// What ipmi_sim calls: the power is the QEMU process, its buttons are QEMU's monitor.
const HOOK: &str = r#"#!/bin/bash
cd "$1"; shift; echo "$*" >>calls
on() { [ -s pid ] && [ -e "/proc/$(cat pid)" ] && ! grep -q '^State:.*[ZX]' "/proc/$(cat pid)/status"; }
press() { { exec 9<>"/dev/tcp/127.0.0.1/$(cat monitor)" && echo "$1" >&9 && sleep 0.3; } 2>/dev/null; }
case "$1 $2 $3" in
'get power '*) if on; then echo power:1; else echo power:0; fi ;;
'set power 0') if on; then kill -9 "$(cat pid)"; fi; rm -f pid ;;
'set power 1') on || { setsid bash ./machine >>qemu.log 2>&1 </dev/null & echo $! >pid; } ;;
'set shutdown 1') press system_powerdown ;;
'set reset 1') press system_reset ;;
'get boot '*) echo boot:default ;;
esac
exit 0
"#;

/// `snapshot=on`: the image stays as it was built, and the machine forgets its disk with its power.
const MACHINE: &str = "exec QEMU -accel tcg -m 512 -smp 1 -display none -serial file:console -monitor tcp:127.0.0.1:MONITOR,server,nowait \
    -kernel IMAGE/vmlinuz -initrd IMAGE/initrd -append 'root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=5' \
    -drive file=IMAGE/disk.img,if=virtio,format=raw,snapshot=on -netdev user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:SSH-:22 -device virtio-net-pci,netdev=n \
    -uuid 5f2c1d3e-8a47-4b9c-9d21-3e5f708192a3 -smbios type=1,uuid=5f2c1d3e-8a47-4b9c-9d21-3e5f708192a3,serial=PEERS-VM-1\n";

struct Vm {
    sim: Peer,
    ipmi: u16,
    ssh: u16,
}
impl Vm {
    /// `None`: it is not built here.
    async fn start() -> Option<Vm> {
        let image = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers-vm");
        if !image.join("recipe").is_file() {
            eprintln!("SKIPPED: there is no machine to boot: tests/setup-vm builds it");
            return None;
        }
        let (ssh, monitor) = (tcp_port(), tcp_port());
        let qemu = program("qemu-system-x86_64");
        let (sim, ipmi) = ipmi_sim_with(HOOK, |dir| {
            let at = |name: &str| dir.join(name);
            let machine = MACHINE.replace("QEMU", &qemu.display().to_string()).replace("IMAGE", &image.display().to_string());
            fs::write(at("machine"), machine.replace("SSH", &ssh.to_string()).replace("MONITOR", &monitor.to_string())).unwrap();
            fs::write(at("monitor"), monitor.to_string()).unwrap();
            fs::copy(image.join("client"), at("client")).unwrap();
            fs::write(at("known_hosts"), format!("[127.0.0.1]:{ssh} {}", read(image.join("host_key.pub")))).unwrap();
        })
        .await;
        let vm = Vm { sim, ipmi, ssh };
        vm.hook("set power 1");
        Some(vm)
    }
    fn dir(&self) -> &Path {
        self.sim.dir.path()
    }
    fn hook(&self, what: &str) {
        let done = Command::new(self.dir().join("chassis")).arg(self.dir()).args(what.split(' ')).status().unwrap();
        assert!(done.success(), "{what}");
    }
    fn host(&self) -> Arc<dyn Host> {
        connect_as(
            "root",
            "127.0.0.1",
            self.ssh,
            self.dir(),
            "key = { file = 'client' }\nknown_hosts = 'known_hosts'\nconnect_timeout = '60s'\nlimit = '120s'",
            &[],
        )
    }
    /// Until systemd says that it is up. Returns its boot id.
    async fn up(&self, not: Option<&str>) -> String {
        let (host, end) = (self.host(), Instant::now() + PATIENCE);
        let mut last = String::new();
        while Instant::now() < end {
            match host.look().await {
                Ok(view) if view.system_state.as_deref() == Some("running") && not != Some(view.boot_id.as_str()) => return view.boot_id,
                seen => last = format!("{seen:?}"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("the machine does not boot within {PATIENCE:?}: {last}\n{}\n{}", read(self.dir().join("qemu.log")), read(self.dir().join("console")));
    }
    async fn exec(&self, host: &Arc<dyn Host>, line: &str) -> Result<Output, Fault> {
        host.exec(&Line { line: line.into(), limit: Span(PATIENCE), stdin: None }).await
    }
    fn calls(&self, what: &str) -> usize {
        read(self.dir().join("calls")).lines().filter(|l| *l == what).count()
    }
}
impl Drop for Vm {
    fn drop(&mut self) {
        self.hook("set power 0");
    }
}

#[tokio::test]
async fn a_real_debian_is_looked_at_rebooted_and_taken_through_a_power_cycle() {
    let Some(vm) = Vm::start().await else { return };
    let began = Instant::now();
    let first = vm.up(None).await;
    eprintln!("a Debian booted under TCG in {:.0} s", began.elapsed().as_secs_f64());

    // What the machine says of itself is QEMU's SMBIOS and Debian's own files.
    let host = vm.host();
    let view = host.look().await.unwrap();
    assert_eq!(view.identity.uuid.as_deref().map(str::to_lowercase).as_deref(), Some("5f2c1d3e-8a47-4b9c-9d21-3e5f708192a3"));
    assert_eq!((view.identity.serial.as_deref(), view.identity.machine_id.as_deref()), (Some("PEERS-VM-1"), Some("0123456789abcdef0123456789abcdef")));
    assert!(view.default_target.is_some() && view.root_fs.is_some() && view.kernel.as_deref().is_some_and(|k| k.contains("cloud")), "{view:?}");

    // A unit that fails on a real systemd.
    let out = vm.exec(&host, "systemd-run --quiet --unit=rig-broken --wait /bin/false; systemctl is-system-running").await.unwrap();
    assert_eq!(out.stdout.trim(), "degraded", "{out:?}");
    assert_eq!(host.look().await.unwrap().system_state.as_deref(), Some("degraded"));
    vm.exec(&host, "systemctl reset-failed").await.unwrap();

    // The host's own way down: the link dies under the command or after it, and another boot id comes back.
    match vm.exec(&host, "systemctl reboot").await {
        Ok(out) => assert_eq!(out.status, 0, "{out:?}"),
        Err(fault) => assert_eq!(fault.kind, FaultKind::Unknown, "{fault}"),
    }
    let second = vm.up(Some(&first)).await;
    assert_ne!(first, second);
    host.close().await;

    // A look must not take longer than the grace that `reset` gives the host's uptime (a minute, halved here): its time is taken before it looks.
    // The whole chain: nobody vouches, host and BMC are one by what SMBIOS and the BMC's GUID say.
    let head = HEAD.replace("vouched = \"spare nodes, nothing runs here\"\n", "").replace("scale = 0.05", "scale = 0.5");
    let pit = Pit::new(&format!(
        "{head}\n[[nodes]]\nname = \"edge-01\"\ncluster = \"spare\"\nbmc.ipmi = {{ host = \"127.0.0.1\", port = {} }}\n\
         host.ssh = {{ host = \"127.0.0.1\", port = {}, key = {{ file = \"{}\" }}, known_hosts = \"{}\", connect_timeout = \"10s\", limit = \"60s\" }}\n\
         [[checks]]\nat = \"booted\"\nsystemd = {{ active = [\"ssh.service\", \"systemd-networkd.service\"], no_failed = true }}\n",
        vm.ipmi,
        vm.ssh,
        vm.dir().join("client").display(),
        vm.dir().join("known_hosts").display()
    ));
    let said = |said: Said, code: i32| {
        assert_eq!(said.code, Some(code), "{}\n{}", said.all(), read(vm.dir().join("console")));
        said
    };
    let checked = said(pit.pitstop_within(&["check"], PATIENCE).await, 0);
    assert!(checked.out.contains("host = BMC"), "{}", checked.all());
    said(pit.pitstop_within(&["run", "power-cycle", "edge-01"], PATIENCE).await, 0);
    let (verbs, proofs) = pit.sent().await;
    assert!(verbs.first().is_some_and(|v| v == "GracefulShutdown") && verbs.last().is_some_and(|v| v == "On"), "{verbs:?}");
    let third = vm.up(Some(&second)).await;
    let proof = proofs.last().unwrap().to_string();
    assert!(proof.contains(&second) && proof.contains(&third), "{second} → {third}: {proof}");
    assert_eq!((vm.calls("set shutdown 1"), vm.calls("set power 1")), (1, 2), "started once by us and once by the run: {}", read(vm.dir().join("calls")));
}
