//! Reads what the host said about itself. Pure, and tolerant: an odd line is passed over, a section that says nothing is unread, never empty.
use crate::model::Picture;
use std::collections::{BTreeMap, BTreeSet};

/// Sections of `look.sh`, the category each becomes, and its reader.
type Read = fn(&[&str], &mut Picture);
const SECTIONS: [(&str, &str, Read); 17] = [
    ("kernel", "kernel", |l, p| each(l, |line| p.put("kernel", "running", &[("release", line)]))),
    ("cmdline", "cmdline", cmdline),
    ("units", "unit", units),
    ("unit-files", "unit", unit_files),
    ("mounts", "mount", mounts),
    ("disks", "disk", disks),
    ("links", "link", links),
    ("addresses", "link", addresses),
    ("routes", "route", routes),
    ("memory", "memory", |l, p| each(l, |line| p.put("memory", "total", &[("kib", word(line, 1))]))),
    ("dimms", "dimm", dimms),
    ("cpus", "cpu", |l, p| each(l, |line| p.put("cpu", "online", &[("count", line)]))),
    ("pci", "pci", pci),
    ("modules", "module", |l, p| each(l, |line| p.put("module", word(line, 0), &[]))),
    ("ports", "port", ports),
    ("gpus", "gpu", gpus),
    ("time", "time", |l, p| each(l, |line| p.put("time", "clock", &[("synchronized", line.strip_prefix("NTPSynchronized=").unwrap_or_default())]))),
];
/// One value each, found by how its line begins.
const VALUES: [(&str, &str); 2] = [("boot-order", "BootOrder:"), ("secure-boot", "SecureBoot ")];
/// Nobody does without these: nothing of them is an answer that makes no sense.
const NEVER_EMPTY: [&str; 9] = ["kernel", "cmdline", "unit", "mount", "link", "memory", "cpu", "module", "time"];

/// An answer that broke off proves nothing about what is missing in it.
pub fn read(text: &str) -> Result<Picture, String> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut at = "";
    for line in text.lines() {
        match line.strip_prefix("@@") {
            Some(name) => at = name.trim(),
            None => sections.entry(at).or_default().push(line),
        }
        if line.starts_with("@@") {
            sections.entry(at).or_default();
        }
    }
    if at != "end" {
        return Err("it broke off before its end".to_owned());
    }
    let mut picture = Picture::default();
    let why = |lines: Option<&Vec<&str>>| match lines {
        None => Some("it was not said".to_owned()),
        Some(lines) => lines.iter().find_map(|l| l.strip_prefix('!')).map(|why| why.chars().take(240).collect()),
    };
    for (section, category, read) in SECTIONS {
        match (why(sections.get(section)), sections.get(section)) {
            (None, Some(lines)) => read(lines, &mut picture),
            (why, _) => drop(picture.unread.insert(category.to_owned(), why.unwrap_or_default())),
        }
    }
    for (section, begins) in VALUES {
        let lines = sections.get(section);
        match (why(lines), lines.and_then(|l| l.iter().find_map(|l| l.strip_prefix(begins)))) {
            (None, Some(value)) => picture.put(section, "value", &[("value", value)]),
            (why, _) => drop(picture.unread.insert(section.to_owned(), why.unwrap_or_else(|| format!("no line `{begins}`")))),
        }
    }
    for category in NEVER_EMPTY {
        let some = picture.of(category).any(|(_, facts)| category == "module" || !facts.is_empty());
        if !some && !picture.unread.contains_key(category) {
            picture.unread.insert(category.to_owned(), "the answer makes no sense".to_owned());
        }
    }
    // What is not known whole is not compared.
    let unread = &picture.unread;
    picture.items.retain(|id, _| !unread.contains_key(id.split(':').next().unwrap_or_default()));
    Ok(picture)
}

fn each(lines: &[&str], f: impl FnMut(&str)) {
    lines.iter().map(|l| l.trim()).filter(|l| !l.is_empty()).for_each(f);
}
fn word(line: &str, n: usize) -> &str {
    line.split_whitespace().nth(n).unwrap_or_default()
}
/// The word after `key`.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().skip_while(|w| *w != key).nth(1)
}
/// What systemctl puts before a unit that is not well; versions differ.
const BULLETS: [char; 6] = ['●', '*', '×', '○', '↻', ' '];

/// Without what names the kernel file: that changes with every kernel.
fn cmdline(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        let kept: Vec<&str> = line.split_whitespace().filter(|w| !w.starts_with("BOOT_IMAGE=") && !w.starts_with("initrd=")).collect();
        p.put("cmdline", "boot", &[("parameters", &format!("{} ", kept.join(" ")))]);
    });
}

/// `ssh.service loaded active running OpenBSD Secure Shell server`
fn units(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        let line = line.trim_start_matches(BULLETS);
        let (name, state) = (word(line, 0), word(line, 2));
        let of_people = ["user@", "user-runtime-dir@", "session-", "run-", "systemd-fsck@"].iter().any(|s| name.starts_with(s));
        if !of_people && name.contains('.') && ["active", "activating", "failed", "reloading", "deactivating"].contains(&state) {
            p.add("unit", name, "state", state);
        }
    });
}
/// `ssh.service enabled enabled`; one that is not active stands here alone.
fn unit_files(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        let name = word(line, 0);
        // A template is nothing that runs.
        if name.contains('.') && !name.contains("@.") && !name.contains(char::is_control) && word(line, 1).starts_with("enabled") {
            p.add("unit", name, "enabled", "yes");
            p.items.entry(format!("unit:{name}")).or_default().entry("state".into()).or_insert_with(|| "inactive".into());
        }
    });
}

const PASSING: [&str; 30] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "tmpfs",
    "cgroup",
    "cgroup2",
    "pstore",
    "efivarfs",
    "securityfs",
    "debugfs",
    "tracefs",
    "configfs",
    "fusectl",
    "mqueue",
    "hugetlbfs",
    "bpf",
    "binfmt_misc",
    "autofs",
    "rpc_pipefs",
    "nsfs",
    "overlay",
    "squashfs",
    "ramfs",
    "selinuxfs",
    "fuse.gvfsd-fuse",
    "aufs",
    "nfsd",
    "fuse.lxcfs",
    "rootfs",
];
const OF_WORKLOADS: [&str; 6] = ["/run/", "/var/lib/kubelet/", "/var/lib/docker/", "/var/lib/containers/", "/var/lib/containerd/", "/snap/"];
fn mounts(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        let (source, target, kind, options) = (word(line, 0), word(line, 1), word(line, 2), word(line, 3));
        let target = target.replace("\\040", " ");
        if !target.starts_with('/') || PASSING.contains(&kind) || OF_WORKLOADS.iter().any(|d| target.starts_with(d)) {
            return;
        }
        let all: BTreeSet<&str> = options.split(',').collect();
        let mode = if all.contains("ro") { "ro" } else { "rw" };
        let rest: Vec<&str> = all.into_iter().filter(|o| !["ro", "rw"].contains(o)).collect();
        p.put("mount", &target, &[("source", source), ("type", kind), ("mode", mode), ("options", &rest.join(","))]);
    });
}

/// `NAME="sda" TYPE="disk" SIZE="480103981056" SERIAL="…"`
fn disks(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        let value = |key: &str| line.split(&format!("{key}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().trim();
        let name = line.strip_prefix("NAME=\"").and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let virtual_one = ["loop", "ram", "zram", "nbd", "rbd", "dm-", "sr", "fd"].iter().any(|s| name.starts_with(s));
        // Volumes of workloads come and go by iSCSI.
        if name.is_empty() || virtual_one || value(" TYPE") != "disk" || value(" TRAN") == "iscsi" {
            return;
        }
        let id = [value(" SERIAL"), value(" WWN"), name].into_iter().find(|v| !v.is_empty()).unwrap_or_default();
        let seen = p.items.get(&format!("disk:{id}")).map(|f| f.get("paths").and_then(|n| n.parse::<u32>().ok()).unwrap_or(1));
        match seen {
            Some(seen) => p.add("disk", id, "paths", &(seen + 1).to_string()),
            None => p.put("disk", id, &[("name", name), ("bytes", value(" SIZE")), ("model", value(" MODEL"))]),
        }
    });
}

/// Docker names its bridges so.
fn of_docker(link: &str) -> bool {
    link.strip_prefix("br-").is_some_and(|hex| hex.len() == 12 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
fn links(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        let (name, state, speed) = (word(line, 0), word(line, 1), word(line, 2));
        if !state.is_empty() && !of_docker(name) {
            p.put("link", name, &[("state", state), ("speed", if speed.starts_with('-') || speed == "0" { "" } else { speed })]);
        }
    });
}
/// `2: eth0    inet 192.0.2.5/24 brd 192.0.2.255 scope global eth0\ …`
fn addresses(lines: &[&str], p: &mut Picture) {
    let mut of: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for line in lines {
        // An address made up for a while (privacy) is another one after each boot.
        let passing = line.contains(" scope link") || line.contains(" temporary") || line.contains(" scope host");
        if let (false, Some(address)) = (passing, after(line, "inet").or(after(line, "inet6"))) {
            of.entry(word(line, 1).trim_end_matches(':').to_owned()).or_default().insert(address);
        }
    }
    for (link, addresses) in of {
        if p.items.contains_key(&format!("link:{link}")) {
            p.add("link", &link, "addresses", &addresses.into_iter().collect::<Vec<_>>().join(" "));
        }
    }
}
/// `default via 192.0.2.1 dev eth0 proto static metric 100`
fn routes(lines: &[&str], p: &mut Picture) {
    let links: BTreeSet<String> = p.of("link").map(|(name, _)| name.to_owned()).collect();
    each(lines, |line| {
        let proto = after(line, "proto").unwrap_or("boot");
        let Some(dev) = after(line, "dev").filter(|dev| links.contains(*dev)) else { return };
        // Those that follow from the addresses say nothing new.
        if proto == "kernel" || word(line, 0).is_empty() {
            return;
        }
        let via = after(line, "via").map(|via| format!(" via {via}")).unwrap_or_default();
        // Routing daemons take theirs back and forth.
        let lasting = if ["static", "boot", "dhcp", "ra"].contains(&proto) { "yes" } else { "" };
        p.put("route", &format!("{}{via} dev {dev}", word(line, 0)), &[("lasting", lasting)]);
    });
}

fn dimms(lines: &[&str], p: &mut Picture) {
    let text = lines.join("\n");
    let mut seen = BTreeSet::new();
    for block in text.split("Memory Device").skip(1) {
        let value = |key: &str| block.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix(':')).map_or("", str::trim);
        let size = value("Size");
        if !size.chars().next().is_some_and(|c| c.is_ascii_digit()) {
            continue; // an empty slot
        }
        let (slot, bank) = (value("Locator"), value("Bank Locator"));
        // Some boards call every slot the same.
        let names = [slot.to_owned(), format!("{bank}/{slot}")].into_iter().chain((2..).map(|n| format!("{bank}/{slot} #{n}")));
        let name = names.into_iter().find(|name| seen.insert(name.clone())).unwrap_or_default();
        let speed = [value("Configured Memory Speed"), value("Configured Clock Speed")].into_iter().find(|v| !v.is_empty()).unwrap_or_default();
        p.put("dimm", &name, &[("size", size), ("speed", word(speed, 0))]);
    }
}

/// `0000:3b:00.0 0200: 8086:1572 (rev 02)`: counted by what it is, because addresses may move.
fn pci(lines: &[&str], p: &mut Picture) {
    let mut of: BTreeMap<&str, (u32, Vec<&str>)> = BTreeMap::new();
    for line in lines {
        let id = word(line, 2);
        if id.len() == 9 && id.as_bytes()[4] == b':' {
            let (count, at) = of.entry(id).or_default();
            *count += 1;
            at.push(word(line, 0));
        }
    }
    for (id, (count, at)) in of {
        p.put("pci", id, &[("count", &count.to_string()), ("at", &at[..at.len().min(4)].join(" "))]);
    }
}

/// `tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=7,fd=3))`
fn ports(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        let (proto, local) = (word(line, 0), word(line, 4));
        let port = local.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        // Above are those that are given out by the kernel.
        if port.is_some_and(|port| port < 32768) && ["tcp", "udp"].contains(&proto) {
            let process = line.split("((\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            p.put("port", &format!("{proto} {local}"), &[("process", process)]);
        }
    });
}

/// `GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5f2a…)`
fn gpus(lines: &[&str], p: &mut Picture) {
    each(lines, |line| {
        if let Some((name, uuid)) = line.split_once(" (UUID: ") {
            p.put("gpu", uuid.trim_end_matches(')'), &[("model", name.split_once(": ").map_or(name, |(_, model)| model))]);
        }
    });
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::{Rules, picture};

    /// In the form in which the tools of a Debian 12 server speak; where the text came from is not known any more.
    pub const SAID: &str = r#"motd noise before the first section
@@kernel
6.1.0-28-amd64
@@cmdline
BOOT_IMAGE=/vmlinuz-6.1.0-28-amd64 root=UUID=1f0c ro quiet
@@units
cron.service           loaded active     running Regular background program processing daemon
● nginx.service        loaded failed     failed  A high performance web server
ssh.service            loaded active     running OpenBSD Secure Shell server
user@0.service         loaded active     running User Manager for UID 0
apt-daily.timer        loaded active     waiting Daily apt download activities
@@unit-files
cron.service   enabled enabled
getty@.service enabled enabled
ssh.service    enabled enabled
late.service   enabled enabled
@@mounts
sysfs /sys sysfs rw,nosuid 0 0
/dev/sda1 / ext4 rw,relatime,errors=remount-ro 0 0
/dev/sdb1 /srv/my\040data xfs rw,noatime 0 0
overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0
/dev/rbd0 /var/lib/kubelet/pods/x/volumes/y ext4 rw 0 0
@@disks
NAME="sda" TYPE="disk" SIZE="480103981056" SERIAL="PHYG0001" WWN="0x55cd2e415" MODEL="INTEL SSDSC2KG48" TRAN="sata"
NAME="nvme0n1" TYPE="disk" SIZE="1920383410176" SERIAL="" WWN="eui.36344730" MODEL="SAMSUNG" TRAN="nvme"
NAME="sdq" TYPE="disk" SIZE="1" SERIAL="lun" WWN="" MODEL="VOLUME" TRAN="iscsi"
NAME="sr0" TYPE="rom" SIZE="1" SERIAL="" WWN="" MODEL="DVD" TRAN="sata"
@@links
eth0 up 25000
eth1 down -1
br-0123456789ab up 10000
bond0 up 50000
@@addresses
1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever
2: eth0    inet 192.0.2.7/24 brd 192.0.2.255 scope global eth0\       valid_lft forever preferred_lft forever
2: eth0    inet6 2001:db8::7/64 scope global \       valid_lft forever
2: eth0    inet6 2001:db8::dead/64 scope global temporary dynamic \       valid_lft 600sec
2: eth0    inet6 fe80::1/64 scope link \       valid_lft forever
9: cali1    inet 198.51.100.1/32 scope global cali1\       valid_lft forever
@@routes
default via 192.0.2.1 dev eth0 proto static metric 100
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.7
10.42.3.0/24 via 192.0.2.9 dev eth0 proto bird
10.42.1.4 dev cali1 scope link
@@memory
MemTotal:       528280000 kB
@@dimms
# dmidecode 3.4
Handle 0x0044, DMI type 17, 92 bytes
Memory Device
	Size: 32 GB
	Locator: A1
	Bank Locator: NODE 0
	Speed: 3200 MT/s
	Configured Memory Speed: 2933 MT/s

Handle 0x0045, DMI type 17, 92 bytes
Memory Device
	Size: No Module Installed
	Locator: A2

Handle 0x0046, DMI type 17, 92 bytes
Memory Device
	Size: 32 GB
	Locator: A1
	Bank Locator: NODE 1
@@cpus
64
@@pci
0000:3b:00.0 0200: 8086:1572 (rev 02)
0000:3b:00.1 0200: 8086:1572 (rev 02)
0000:00:00.0 0600: 8086:2020 (rev 07)
@@modules
nvme 49152 3 - Live 0x0000000000000000
xfs 1941504 1 - Live 0x0000000000000000
@@ports
tcp   LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=812,fd=3))
udp   UNCONN 0      0          127.0.0.1:323       0.0.0.0:*    users:(("chronyd",pid=700,fd=5))
tcp   LISTEN 0      4096       127.0.0.1:41233     0.0.0.0:*    users:(("kubelet",pid=900,fd=12))
@@gpus
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5fd4f087-86f3)
@@time
NTPSynchronized=yes
@@boot-order
BootCurrent: 0001
BootOrder: 0001,0000
Boot0000* UEFI PXE
@@secure-boot
!no mokutil on the host
@@end
"#;

    #[test]
    fn a_whole_answer() {
        let p = read(SAID).unwrap();
        let fact = |id: &str, key: &str| p.items.get(id).and_then(|f| f.get(key)).map(String::as_str);
        let some = |category: &str| p.of(category).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(fact("kernel:running", "release"), Some("6.1.0-28-amd64"));
        assert_eq!(fact("cmdline:boot", "parameters"), Some("root=UUID=1f0c ro quiet"));
        assert_eq!(some("unit"), ["apt-daily.timer", "cron.service", "late.service", "nginx.service", "ssh.service"]);
        assert_eq!((fact("unit:ssh.service", "state"), fact("unit:ssh.service", "enabled")), (Some("active"), Some("yes")));
        assert_eq!((fact("unit:nginx.service", "state"), fact("unit:late.service", "state")), (Some("failed"), Some("inactive")));
        assert_eq!(some("mount"), ["/", "/srv/my data"]);
        assert_eq!((fact("mount:/", "mode"), fact("mount:/", "options")), (Some("rw"), Some("errors=remount-ro,relatime")));
        assert_eq!(some("disk"), ["PHYG0001", "eui.36344730"]);
        assert_eq!(some("link"), ["bond0", "eth0", "eth1"]);
        assert_eq!(fact("link:eth0", "addresses"), Some("192.0.2.7/24 2001:db8::7/64"));
        assert_eq!((fact("link:eth1", "state"), fact("link:eth1", "speed")), (Some("down"), None));
        assert_eq!(some("route"), ["10.42.3.0/24 via 192.0.2.9 dev eth0", "default via 192.0.2.1 dev eth0"]);
        assert_eq!(fact("memory:total", "kib"), Some("528280000"));
        assert_eq!(some("dimm"), ["A1", "NODE 1/A1"], "boards that call every slot the same");
        assert_eq!(fact("dimm:A1", "speed"), Some("2933"));
        assert_eq!((fact("cpu:online", "count"), fact("pci:8086:1572", "count")), (Some("64"), Some("2")));
        assert_eq!((some("module"), some("port")), (vec!["nvme".into(), "xfs".into()], vec!["tcp 0.0.0.0:22".into(), "udp 127.0.0.1:323".into()]));
        assert_eq!(fact("gpu:GPU-5fd4f087-86f3", "model"), Some("NVIDIA A100-SXM4-40GB"));
        assert_eq!((fact("time:clock", "synchronized"), fact("boot-order:value", "value")), (Some("yes"), Some("0001,0000")));
        assert_eq!(p.unread.iter().map(|(c, why)| format!("{c}: {why}")).collect::<Vec<_>>(), ["secure-boot: no mokutil on the host"]);
    }

    #[test]
    fn missing_tools_and_nonsense_are_unread_never_empty() {
        for broken in ["", "@@kernel\n6.1\n", &SAID[..SAID.len() / 2], "@@end of nothing\n"] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
        let whole = read(SAID).unwrap();
        let nothing = read("@@end\n").unwrap();
        assert!(nothing.items.is_empty());
        let lost = picture::diff(&whole, &nothing, &Rules::default(), &[]);
        assert!(lost.iter().all(|d| d.line.ends_with("cannot be read any more: it was not said")), "{lost:?}");
        assert_eq!((lost.len(), lost.iter().filter(|d| d.level.holds()).count()), (16, 14), "modules and ports are noted: {lost:?}");
        // Each section in turn: its tool is gone, or talks nonsense.
        for (section, category, _) in SECTIONS {
            let gone = SAID.replacen(&format!("@@{section}\n"), &format!("@@{section}\n!no tool on the host\n@@x\n"), 1);
            let gone = read(&gone).unwrap();
            assert_eq!((gone.unread.get(category).map(String::as_str), gone.count(category)), (Some("no tool on the host"), 0), "{section}");
            let odd = SAID.replacen(&format!("@@{section}\n"), &format!("@@{section}\n%$&/ (\n@@x\n"), 1);
            let odd = read(&odd).unwrap();
            let known = odd.unread.contains_key(category) || picture::diff(&whole, &odd, &Rules::default(), &[]).iter().any(|d| d.item.starts_with(category));
            assert!(known, "{section}: nonsense passed for the same as before");
        }
    }

    /// Whatever a broken host prints: no panic, and bounded.
    #[test]
    fn mutated_answers() {
        let mut seed: u64 = 0x5eed;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 33) as usize) % below
        };
        for _ in 0..1500 {
            let mut bytes = SAID.as_bytes().to_vec();
            for _ in 0..1 + random(12) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"@!=:\n\0 \xff\""[random(9)]),
                }
            }
            if let Ok(p) = read(&String::from_utf8_lossy(&bytes)) {
                assert!(p.items.keys().all(|k| k.contains(':')) && p.items.len() < 60);
            }
        }
    }
}
