//! What the tools of a simulated machine say about its hardware: the files that they answer from, with what its faults take away after a boot.
use crate::lab::rack::{Flaw, Seen};

pub const TOOLS: [(&str, &[&str]); 1] = [(
    include_str!("tools/hardware.sh"),
    &[
        "lsblk",
        "ip",
        "dmidecode",
        "lspci",
        "ss",
        "timedatectl",
        "efibootmgr",
        "mokutil",
        "mount",
        "dmesg",
        "cryptsetup",
        "clevis",
        "zfs",
        "storcli64",
        "ssacli",
        "crictl",
        "docker",
        "podman",
    ],
)];
pub const DATA: &str = "/var/lib/data";
const SLOTS: [&str; 8] = ["A1", "A2", "A3", "A4", "B1", "B2", "B3", "B4"];
const GIB: u64 = 64;

/// Path below the machine's root, and text.
pub fn files(seen: &Seen, kernel: &str) -> Vec<(&'static str, String)> {
    let flawed = |flaw: Flaw| seen.flawed(flaw);
    let slots: Vec<&str> = SLOTS.into_iter().filter(|s| !(*s == "A3" && flawed(Flaw::LostDimm))).collect();
    let dimms: String = slots
        .iter()
        .map(|slot| format!("Handle 0x0044, DMI type 17, 92 bytes\nMemory Device\n\tSize: {GIB} GB\n\tLocator: {slot}\n\tBank Locator: NODE 0\n\tConfigured Memory Speed: 3200 MT/s\n\n"))
        .collect();
    let root = if flawed(Flaw::ReadOnlyRoot) { "ro" } else { "rw" };
    let data = if flawed(Flaw::MountMissing) { String::new() } else { format!("/dev/nvme1n1 {DATA} xfs rw,noatime 0 0\n") };
    let (state, speed) = if flawed(Flaw::LinkDown) { ("down", "-1") } else { ("up", "25000") };
    let octet = seen.spec.serial.bytes().fold(1u8, |a, b| a.wrapping_mul(31).wrapping_add(b)).max(2);
    let serial = &seen.spec.serial;
    let memory_kib = slots.len() as u64 * GIB * 1024 * 1024 - 9_000_000;
    vec![
        ("proc/cmdline", format!("BOOT_IMAGE=/vmlinuz-{kernel} root=/dev/nvme0n1p2 ro quiet")),
        ("proc/meminfo", format!("MemTotal:       {memory_kib} kB")),
        ("proc/cpuinfo", (0..64).map(|n| format!("processor\t: {n}\n")).collect()),
        ("proc/modules", "nvme 49152 3 - Live 0x0\nxfs 1941504 1 - Live 0x0\nice 800000 0 - Live 0x0".to_owned()),
        ("proc/mounts", format!("/dev/nvme0n1p2 / ext4 {root},relatime,errors=remount-ro 0 0\n{data}")),
        ("etc/fstab", format!("/dev/nvme0n1p2 / ext4 errors=remount-ro 0 1\n/dev/nvme1n1 {DATA} xfs noatime 0 2")),
        ("etc/os-release", seen.spec.quirks.family.release().to_owned()),
        ("etc/kernel/postinst.d/unattended-upgrades", "#!/bin/sh".to_owned()),
        ("sys/class/net/lo/operstate", "unknown".to_owned()),
        ("sys/class/net/eth0/operstate", "up".to_owned()),
        ("sys/class/net/eth0/speed", "25000".to_owned()),
        ("sys/class/net/eth1/operstate", state.to_owned()),
        ("sys/class/net/eth1/speed", speed.to_owned()),
        (
            "out/lsblk",
            format!(
                "NAME=\"nvme0n1\" TYPE=\"disk\" SIZE=\"960197124096\" SERIAL=\"{serial}-N0\" WWN=\"\" MODEL=\"LAB NVMe\" TRAN=\"nvme\"\n\
             NAME=\"nvme1n1\" TYPE=\"disk\" SIZE=\"3840755982336\" SERIAL=\"{serial}-N1\" WWN=\"\" MODEL=\"LAB NVMe\" TRAN=\"nvme\""
            ),
        ),
        (
            "out/addr",
            resolvers(seen)
                + &format!("2: eth0    inet 192.0.2.{octet}/24 brd 192.0.2.255 scope global eth0\n3: eth1    inet 198.51.100.{octet}/24 scope global eth1"),
        ),
        ("out/route", format!("default via 192.0.2.1 dev eth0 proto static\n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.{octet}")),
        ("out/dmidecode", format!("# dmidecode 3.4\n\n{dimms}")),
        ("out/lspci", "0000:00:00.0 0600: 8086:2020 (rev 07)\n0000:3b:00.0 0200: 8086:1593 (rev 02)\n0000:3b:00.1 0200: 8086:1593 (rev 02)".to_owned()),
        ("out/ss", "tcp   LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:((\"sshd\",pid=812,fd=3))".to_owned()),
        ("out/timedatectl", "NTPSynchronized=yes".to_owned()),
        (
            "out/efibootmgr",
            format!("BootCurrent: 0001\nBootOrder: {}\nBoot0000* UEFI PXE\nBoot0001* debian", if flawed(Flaw::BootOrder) { "0000,0001" } else { "0001,0000" }),
        ),
        ("out/mokutil", format!("SecureBoot {}", if flawed(Flaw::SecureBoot) { "disabled" } else { "enabled" })),
        (
            "out/lsblk-below",
            if seen.spec.quirks.root.is_some() {
                "/dev/nvme0n1p2 crypto_LUKS\n/dev/nvme0n1 ".to_owned()
            } else {
                "/dev/nvme0n1p2 ext4\n/dev/nvme0n1 ".to_owned()
            },
        ),
        ("out/lsblk-uuid", format!("{serial}-luks")),
        (
            "out/cryptsetup",
            match seen.spec.quirks.root {
                Some("tpm") => {
                    "LUKS header information\nVersion:       \t2\n\nTokens:\n  0: systemd-tpm2\n\ttpm2-hash-pcrs:   7\n\tKeyslot:    1\nDigests:\n  0: pbkdf2"
                        .to_owned()
                }
                _ => "LUKS header information\nVersion:       \t2\n\nTokens:\nDigests:\n  0: pbkdf2".to_owned(),
            },
        ),
        ("out/crictl", containers(seen)),
        ("out/docker", if seen.spec.quirks.stray_container { "/ postgres".to_owned() } else { String::new() }),
        ("out/podman", String::new()),
        ("etc/crypttab", seen.spec.quirks.root.map_or_else(String::new, |_| format!("root UUID={serial}-luks none luks"))),
    ]
}

/// As `ip -o addr` prints them: the name servers of this computer, on the machine that is to carry them.
fn resolvers(seen: &Seen) -> String {
    if !seen.spec.quirks.carries_dns {
        return String::new();
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let text = read("/etc/resolv.conf") + &read("/run/systemd/resolve/resolv.conf");
    let servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<std::net::IpAddr>().ok());
    let told = |ip: std::net::IpAddr| {
        if ip.is_ipv4() { format!("3: eth1    inet {ip}/24 scope global eth1\n") } else { format!("3: eth1    inet6 {ip}/64 scope global\n") }
    };
    servers.map(told).collect()
}

/// As `crictl ps -o json` prints them: one container of each pod.
fn containers(seen: &Seen) -> String {
    let pods = seen.running.iter().chain(&seen.fixed).filter_map(|what| what.strip_prefix("pod ")?.split_once('/'));
    let of = |(namespace, name): (&str, &str)| {
        serde_json::json!({ "state": "CONTAINER_RUNNING", "labels": {
            "io.kubernetes.container.name": "main", "io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace } })
    };
    serde_json::to_string_pretty(&serde_json::json!({ "containers": pods.map(of).collect::<Vec<_>>() })).expect("BUG: this is JSON")
}
