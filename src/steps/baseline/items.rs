//! Every item of the picture, from what a tool says to the line that a person reads: the same, worse, back again, its tool gone, nonsense; and other versions of the tools.
use super::read::{read, tests::SAID};
use crate::model::{Difference, Level, Picture, Rules, picture};

fn diff(before: &Picture, after: &str) -> Vec<Difference> {
    picture::diff(before, &read(after).unwrap(), &Rules::default(), &[])
}
#[track_caller]
fn worse(item: &str, from: &str, to: &str, line: &str) {
    assert!(SAID.contains(from), "{item}: the sample has no `{from}`");
    let found = diff(&read(SAID).unwrap(), &SAID.replacen(from, to, 1));
    let held: Vec<&Difference> = found.iter().filter(|d| d.level.holds()).collect();
    assert!(held.iter().any(|d| d.item == item && d.line == line), "{item}: {found:?}");
    // It comes back: nothing holds any more. And it was there all the time: nothing is said.
    assert_eq!(diff(&read(SAID).unwrap(), SAID), []);
    // What is worse in this direction is no loss in the other, but for those where any change is one.
    let either = ["cmdline:boot", "boot-order:value", "secure-boot:value", "mount:/srv/my data"].contains(&item);
    let back = picture::diff(&read(&SAID.replacen(from, to, 1)).unwrap(), &read(SAID).unwrap(), &Rules::default(), &[]);
    assert!(either || back.iter().all(|d| !d.level.holds()), "{item}, back again: {back:?}");
}
/// The sample with another text in one of its sections.
fn with(section: &str, text: &str) -> String {
    let (before, rest) = SAID.split_once(&format!("@@{section}\n")).unwrap();
    let after = &rest[rest.find("@@").unwrap()..];
    format!("{before}@@{section}\n{text}\n{after}")
}
fn fact(p: &Picture, id: &str, key: &str) -> String {
    p.items.get(id).and_then(|f| f.get(key)).cloned().unwrap_or_else(|| panic!("{id} has no {key}: {:?}", p.items.get(id)))
}

#[test]
fn kernel_and_boot_parameters() {
    worse("kernel:running", "6.1.0-28-amd64\n@@", "6.1.0-9-amd64\n@@", "kernel is 6.1.0-9-amd64, was the newer 6.1.0-28-amd64");
    worse("cmdline:boot", "ro quiet", "ro quiet single", "boot parameters: +single");
    worse("cmdline:boot", "ro quiet", "quiet", "boot parameters: -ro");
    // Another kernel file is another kernel, not another parameter.
    let newer = SAID.replace("BOOT_IMAGE=/vmlinuz-6.1.0-28-amd64", "BOOT_IMAGE=/vmlinuz-6.1.0-30-amd64 initrd=x");
    assert_eq!(diff(&read(SAID).unwrap(), &newer), []);
}
#[test]
fn systemd_units() {
    let ssh = "ssh.service            loaded active     running OpenBSD Secure Shell server\n";
    worse("unit:ssh.service", ssh, "", "unit ssh.service is inactive, was active");
    worse(
        "unit:ssh.service",
        "ssh.service            loaded active     running",
        "× ssh.service loaded failed failed",
        "unit ssh.service is failed, was active",
    );
    worse("unit:cron.service", "cron.service   enabled enabled\n", "", "unit cron.service is not enabled any more");
    let old = read(&with("unit-files", "ssh.service                                enabled        \ncron.service enabled-runtime enabled")).unwrap();
    assert_eq!(
        (fact(&old, "unit:ssh.service", "enabled"), fact(&old, "unit:cron.service", "enabled")),
        ("yes".into(), "yes".into()),
        "systemd 219 has no presets"
    );
}
#[test]
fn mounts_by_source_type_and_options() {
    let data = "/dev/sdb1 /srv/my\\040data xfs rw,noatime 0 0\n";
    worse("mount:/srv/my data", data, "", "mount /srv/my data is gone, was /dev/sdb1 xfs rw");
    worse("mount:/", "ext4 rw,relatime", "ext4 ro,relatime", "mount / is read-only, was writable");
    worse("mount:/srv/my data", "xfs rw", "tmpfs2 rw", "mount /srv/my data has type tmpfs2, was xfs");
    let noted = diff(&read(SAID).unwrap(), &SAID.replace("/dev/sdb1 /srv/my\\040data xfs rw,noatime", "/dev/sdc1 /srv/my\\040data xfs rw,noexec"));
    let lines: Vec<&str> = noted.iter().map(|d| d.line.as_str()).collect();
    assert_eq!(lines, ["mount /srv/my data: options is noexec, was noatime", "mount /srv/my data: source is /dev/sdc1, was /dev/sdb1"]);
    assert!(noted.iter().all(|d| d.level == Level::Noted));
}
#[test]
fn block_devices_by_serial() {
    let sda = "NAME=\"sda\" TYPE=\"disk\" SIZE=\"480103981056\" SERIAL=\"PHYG0001\" WWN=\"0x55cd2e415\" MODEL=\"INTEL SSDSC2KG48\" TRAN=\"sata\"\n";
    worse("disk:PHYG0001", sda, "", "disk PHYG0001 is gone, was sda INTEL SSDSC2KG48");
    worse("disk:PHYG0001", "480103981056", "8388608", "disk PHYG0001: 8388608 bytes, was 480103981056");
    let renamed = diff(&read(SAID).unwrap(), &SAID.replace("NAME=\"sda\"", "NAME=\"sdb\""));
    assert_eq!((renamed.len(), renamed[0].level), (1, Level::Noted), "its name is no matter");
    // Two paths to one disk, or two disks that call themselves the same: one of them gone is not nothing.
    let twice = with("disks", &format!("{sda}{}", sda.replace("sda", "sdb")));
    let (before, after) = (read(&twice).unwrap(), with("disks", sda));
    assert_eq!(fact(&before, "disk:PHYG0001", "paths"), "2");
    let found = diff(&before, &after);
    assert_eq!(found[0].line, "disk PHYG0001 is there 1 times, was 2 times: a path to it or a disk is gone");
    assert!(found[0].level.holds() && diff(&read(&after).unwrap(), &twice).iter().all(|d| !d.level.holds()));
}
#[test]
fn links_addresses_and_routes() {
    worse("link:bond0", "bond0 up 50000\n", "", "link bond0 is gone, was up at 50000 Mb/s");
    worse("link:eth0", "eth0 up 25000", "eth0 down -1", "link eth0 is down, was up at 25000 Mb/s");
    worse("link:eth0", "eth0 up 25000", "eth0 up 1000", "link eth0 runs at 1000 Mb/s, was 25000 Mb/s");
    worse("link:eth0", "inet6 2001:db8::7/64 scope global", "inet6 fe80::7/64 scope link", "link eth0 has no address 2001:db8::7/64 any more");
    worse(
        "route:default via 192.0.2.1 dev eth0",
        "default via 192.0.2.1 dev eth0 proto static metric 100\n",
        "",
        "route default via 192.0.2.1 dev eth0 is gone",
    );
    let moved = diff(&read(SAID).unwrap(), &SAID.replace("10.42.3.0/24 via 192.0.2.9 dev eth0 proto bird\n", ""));
    assert!(moved.len() == 1 && moved[0].level == Level::Noted, "a routing daemon's own");
    let dhcp =
        read(&with("routes", "default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.7 metric 1024 \nunreachable 198.51.100.0/24 dev lo metric 1024")).unwrap();
    assert_eq!(dhcp.of("route").map(|(name, f)| (name, f["lasting"].as_str())).collect::<Vec<_>>(), [("default via 192.0.2.1 dev eth0", "yes")]);
}
#[test]
fn memory_dimms_and_cpus() {
    worse("memory:total", "528280000", "494725120", "memory: 471.8 GiB, was 503.8 GiB");
    worse("dimm:A1", "Configured Memory Speed: 2933", "Configured Memory Speed: 2400", "DIMM A1 runs at 2400 MT/s, was 2933 MT/s");
    worse(
        "dimm:A1",
        "\tSize: 32 GB\n\tLocator: A1\n\tBank Locator: NODE 0",
        "\tSize: 16 GB\n\tLocator: A1\n\tBank Locator: NODE 0",
        "DIMM A1: 16 GB, was 32 GB",
    );
    worse(
        "dimm:NODE 1/A1",
        "\tSize: 32 GB\n\tLocator: A1\n\tBank Locator: NODE 1",
        "\tSize: No Module Installed\n\tLocator: A1",
        "DIMM NODE 1/A1 is gone, was 32 GB",
    );
    worse("cpu:online", "64\n@@pci", "62\n@@pci", "CPUs: 62, was 64");
    // dmidecode 2.12; three modules that say one locator and one bank.
    let old = read(&with("dimms", &"Memory Device\n\tSize: 16384 MB\n\tLocator: DIMM\n\tBank Locator: BANK\n\tConfigured Clock Speed: 2400 MHz\n".repeat(3)))
        .unwrap();
    assert_eq!(old.of("dimm").map(|(name, _)| name).collect::<Vec<_>>(), ["BANK/DIMM", "BANK/DIMM #2", "DIMM"]);
    assert_eq!((fact(&old, "dimm:DIMM", "size"), fact(&old, "dimm:DIMM", "speed")), ("16384 MB".into(), "2400".into()));
    // Sizes that are not known are no module either; a machine without SMBIOS has none at all.
    assert_eq!(
        read(&with("dimms", "# dmidecode 3.4\nScanning /dev/mem for entry point.\n# No SMBIOS nor DMI entry point found, sorry.")).unwrap().count("dimm"),
        0
    );
}
#[test]
fn pci_devices_and_gpus() {
    worse("pci:8086:1572", "0000:3b:00.1 0200: 8086:1572 (rev 02)\n", "", "PCI device 8086:1572: 1 of 2 left");
    worse("pci:8086:2020", "0000:00:00.0 0600: 8086:2020 (rev 07)\n", "", "PCI device 8086:2020 is gone, was 1 of it");
    worse("gpu:GPU-5fd4f087-86f3", "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5fd4f087-86f3)\n", "", "GPU GPU-5fd4f087-86f3 is gone, was NVIDIA A100-SXM4-40GB");
    // One that fell off the bus: nvidia-smi fails, and what cannot be read any more is lost.
    let off = diff(&read(SAID).unwrap(), &with("gpus", "!nvidia-smi -L ended with status 15"));
    assert!(off.iter().any(|d| d.level == Level::Lost && d.line == "gpu cannot be read any more: nvidia-smi -L ended with status 15"), "{off:?}");
}
#[test]
fn modules_and_ports_hold_only_where_asked() {
    for (category, from, item) in [
        ("module", "xfs 1941504 1 - Live 0x0000000000000000\n", "module:xfs"),
        ("port", "tcp   LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:((\"sshd\",pid=812,fd=3))\n", "port:tcp 0.0.0.0:22"),
    ] {
        let (before, after) = (read(SAID).unwrap(), read(&SAID.replace(from, "")).unwrap());
        let level = |strict: &[&str]| {
            let rules = Rules { strict: strict.iter().map(|s| s.to_string()).collect(), ..Rules::default() };
            picture::diff(&before, &after, &rules, &[]).into_iter().find(|d| d.item == item).map(|d| d.level)
        };
        assert_eq!((level(&[]), level(&[category]), level(&[item])), (Some(Level::Noted), Some(Level::Lost), Some(Level::Lost)));
    }
}
#[test]
fn time_boot_order_and_secure_boot() {
    worse("time:clock", "NTPSynchronized=yes", "NTPSynchronized=no", "the clock is not synchronized any more");
    worse("boot-order:value", "BootOrder: 0001,0000", "BootOrder: 0000,0001", "boot order is 0000,0001, was 0001,0000");
    let (on, off) = (with("secure-boot", "SecureBoot enabled"), with("secure-boot", "SecureBoot disabled\nPlatform is in Setup Mode"));
    let found = diff(&read(&on).unwrap(), &off);
    assert_eq!((found.len(), found[0].level, found[0].line.as_str()), (1, Level::Degraded, "secure boot is disabled, was enabled"));
    // A machine that boots by BIOS has no such variables: not compared, and said so.
    let bios = read(&with("boot-order", "!efibootmgr ended with status 2")).unwrap();
    assert_eq!(bios.unread["boot-order"], "efibootmgr ended with status 2");
}
