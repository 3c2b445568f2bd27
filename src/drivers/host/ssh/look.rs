//! What one look at a host says: the script and the reading of its answer.
use super::{arrays, exec::sent, locks};
use crate::model::HostView;

/// The command line of a look.
pub fn script() -> String {
    sent(include_str!("look.sh"))
}

/// Longest value that is kept: beyond it is a lie or a mistake.
const VALUE: usize = 300;

/// Reads `name=value` lines. Unknown names are passed over; a missing boot id, uptime or end is senseless.
pub fn read(text: &str) -> Result<HostView, String> {
    let mut view = HostView::default();
    let mut uptime = None;
    let mut ended = false;
    let (mut mdstat, mut zpool, mut crypt) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = clean(value);
        let some = || (!value.is_empty()).then(|| value.clone());
        match name {
            "boot_id" => view.boot_id = value,
            "uptime" => uptime = value.split(' ').next().and_then(|s| s.parse::<f64>().ok()).filter(|s| s.is_finite() && *s >= 0.0),
            "machine_id" => view.identity.machine_id = some(),
            "uuid" => view.identity.uuid = some(),
            "serial" => view.identity.serial = some(),
            "address" => view.identity.addresses.extend(some()),
            "root_fs" => view.root_fs = some(),
            "default_target" => view.default_target = some(),
            "kernel" => view.kernel = some(),
            // Without systemd it says `offline`, or nothing.
            "system_state" => view.system_state = some().filter(|s| s != "offline"),
            "guest" => {
                let said = line.split_once('=').map_or("", |(_, v)| v);
                view.guests.extend(guest(said));
                view.guest_uuids.extend(guest_uuid(said));
            }
            "mdstat" => mdstat.push(value),
            "zpool" => zpool.push(value),
            "keeps" => view.keeps.extend(keeps(&value).filter(|kind| !view.keeps.contains(kind))),
            "boot_next" => view.boot_next = boot_next(&value),
            "luks" | "luks_read" | "token" | "clevis" | "crypttab" | "zfs_root" => crypt.push((name, value)),
            "person" => view.people.extend(some()),
            "end" => ended = true,
            _ => {}
        }
    }
    if !is_uuid(&view.boot_id) {
        return Err(format!("the boot id `{}` is none", view.boot_id));
    }
    view.arrays = arrays::mdraid(&mdstat).into_iter().chain(arrays::zfs(&zpool)).collect();
    view.locks = locks::read(&crypt);
    view.uptime_s = uptime.ok_or("no uptime")?;
    if !ended {
        return Err("it broke off before its end".to_owned());
    }
    Ok(view)
}

/// `1234 /usr/bin/qemu-system-x86_64 -name guest=web,debug-threads=on …` → `web (pid 1234)`. The rest of the line is not kept: it may hold secrets.
fn guest(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let pid = words.next()?;
    let program = words.next().unwrap_or("qemu");
    let named = words.by_ref().find(|w| *w == "-name").and_then(|_| words.next());
    let name = named.and_then(|n| n.split(',').next()).map(|n| n.strip_prefix("guest=").unwrap_or(n));
    let name = name.unwrap_or_else(|| program.rsplit('/').next().unwrap_or(program));
    Some(clean(&format!("{name} (pid {pid})")))
}

/// `-uuid X`, or `uuid=X` of `-smbios type=1`.
fn guest_uuid(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let flag = words.clone().skip_while(|w| *w != "-uuid").nth(1);
    let smbios = || words.find_map(|w| w.split(',').find_map(|part| part.strip_prefix("uuid=")));
    flag.or_else(smbios).filter(|text| is_uuid(text)).map(str::to_owned)
}

/// `4711 ceph-osd`, as `pgrep -l` prints it: the kind of store.
fn keeps(line: &str) -> Option<String> {
    let daemon = line.split_whitespace().nth(1)?;
    const STORES: [(&str, &str); 7] = [
        ("ceph-osd", "ceph"),
        ("longhorn", "longhorn"),
        ("arakoon", "alba"),
        ("alba", "alba"),
        ("glusterfsd", "gluster"),
        ("minio", "minio"),
        ("linstor", "linstor"),
    ];
    STORES.iter().find(|(name, _)| daemon.starts_with(name)).map(|(_, kind)| (*kind).to_owned())
}

/// Four bytes of attributes, then the number of an entry, low byte first.
fn boot_next(hex: &str) -> Option<String> {
    (hex.len() == 12 && hex.is_ascii()).then(|| format!("{}{}", &hex[10..12], &hex[8..10]))
}

fn clean(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(VALUE).collect::<String>().trim().to_owned()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.char_indices().all(|(i, c)| if matches!(i, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "boot_id=e6ab056c-8c98-4418-a4c2-ea0052cfe93c\nuptime=2534.11 4980.20\nmachine_id=0123456789abcdef0123456789abcde0\n\
        uuid=4c4c4544-0051-3010-8052-b4c04f4e4d32\nserial=J4X12S3\nroot_fs=1f0c\ndefault_target=multi-user.target\nkernel=6.1.0-18-amd64\n\
        system_state=running\nmdstat=md0 : active raid1 sda1[0]\nkeeps=4711 ceph-osd\nkeeps=4712 ceph-osd\nboot_next=070000000300\n\
        guest=77 /usr/bin/qemu-system-x86_64 -name guest=web,debug-threads=on -uuid 4c4c4544-0051-3010-8052-b4c04f4e4d32 -object secret,data=abc\nguest=78 qemu-kvm\n\
        person=root     pts/0        2026-11-21 10:00 (192.0.2.1)\nend=look\n";

    #[test]
    fn a_whole_answer() {
        let view = read(GOOD).unwrap();
        assert_eq!(view.boot_id, "e6ab056c-8c98-4418-a4c2-ea0052cfe93c");
        assert_eq!(view.uptime_s, 2534.11);
        assert_eq!(view.identity.serial.as_deref(), Some("J4X12S3"));
        assert_eq!(view.guests, ["web (pid 77)", "qemu-kvm (pid 78)"]);
        assert_eq!(view.people.len(), 1);
        assert_eq!(view.guest_uuids, ["4c4c4544-0051-3010-8052-b4c04f4e4d32"]);
        assert_eq!((view.keeps.as_slice(), view.arrays.len(), view.boot_next.as_deref()), (&["ceph".to_owned()][..], 1, Some("0003")));
        assert_eq!(view.system_state.as_deref(), Some("running"));
        assert_eq!(
            (view.root_fs.as_deref(), view.default_target.as_deref(), view.kernel.as_deref()),
            (Some("1f0c"), Some("multi-user.target"), Some("6.1.0-18-amd64"))
        );
    }

    #[test]
    fn missing_tools_are_absent_values_and_missing_proof_is_refused() {
        let view = read("boot_id=e6ab056c-8c98-4418-a4c2-ea0052cfe93c\nuptime=1.0 1.0\nuuid=\nsystem_state=offline\nend=look").unwrap();
        assert_eq!((view.identity.uuid, view.system_state), (None, None));
        for text in [
            "",
            "uptime=1 1\nend=look",
            "boot_id=\nuptime=1 1\nend=look",
            "boot_id=e6ab056c-8c98-4418-a4c2-ea0052cfe93c\nend=look",
            "boot_id=e6ab056c-8c98-4418-a4c2-ea0052cfe93c\nuptime=NaN\nend=look",
            "boot_id=e6ab056c-8c98-4418-a4c2-ea0052cfe93c\nuptime=1 1\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    /// Whatever a broken host prints: no panic, and what is accepted has a boot id and an uptime.
    #[test]
    fn mutated_answers() {
        let mut seed: u64 = 0x5eed;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 33) as usize) % below
        };
        for _ in 0..5000 {
            let mut bytes = GOOD.as_bytes().to_vec();
            for _ in 0..1 + random(8) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, b"=\n\r\0 \xff-"[random(7)]),
                }
            }
            if let Ok(view) = read(&String::from_utf8_lossy(&bytes)) {
                assert!(is_uuid(&view.boot_id) && view.uptime_s >= 0.0);
                assert!(view.guests.iter().chain(&view.people).all(|s| s.len() <= 4 * VALUE));
            }
        }
    }
}
