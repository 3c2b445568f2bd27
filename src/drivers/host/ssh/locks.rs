//! How the root disk unlocks, from what `look.sh` found: LUKS headers, clevis pins, crypttab, a ZFS key's place. Pure.
use crate::model::{Key, Lock};

/// `name=value` lines in the order of the script: `luks` begins a device, and what follows belongs to it, but for `crypttab`, which names its own.
pub fn read(lines: &[(&str, String)]) -> Vec<Lock> {
    let mut found: Vec<(Lock, String)> = Vec::new();
    for (name, value) in lines {
        let mut words = value.split_whitespace();
        let first = words.next().unwrap_or_default().to_owned();
        match (*name, found.last_mut()) {
            ("luks", _) if !first.is_empty() => found.push((Lock { device: first, by: vec![Key::Unread] }, words.next().unwrap_or_default().to_owned())),
            // The header is known: without a token somebody types.
            ("luks_read", Some((lock, _))) => lock.by = vec![Key::Passphrase],
            ("token", Some((lock, _))) => lock.by.extend(token(&first)),
            ("clevis", Some((lock, _))) => {
                // Better than the token, which does not say with which pin.
                lock.by.retain(|key| *key != Key::Clevis);
                lock.by.push(pin(&first));
            }
            ("zfs_root", _) if !first.is_empty() => found.push((Lock { device: first, by: vec![zfs(words.next().unwrap_or_default())] }, String::new())),
            _ => {}
        }
    }
    let entries: Vec<Vec<&str>> = lines.iter().filter(|(name, _)| *name == "crypttab").map(|(_, line)| line.split_whitespace().collect()).collect();
    for (lock, uuid) in &mut found {
        let device = lock.device.clone();
        let is = |place: &str| {
            place == device
                || (!uuid.is_empty()
                    && (place == uuid.trim_matches('"') || place.trim_matches('"') == format!("/dev/disk/by-uuid/{}", uuid.trim_start_matches("UUID="))))
        };
        lock.by.extend(entries.iter().filter(|entry| entry.get(1).is_some_and(|place| is(place))).flat_map(|entry| crypttab(entry)));
        // What opens it by itself, or a token, is known: nobody has to type, and what could not be read matters no more.
        if lock.by.iter().any(|key| !matches!(key, Key::Passphrase | Key::Unread)) {
            lock.by.retain(|key| !matches!(key, Key::Passphrase | Key::Unread));
        }
        lock.by.sort();
        lock.by.dedup();
    }
    found.into_iter().map(|(lock, _)| lock).collect()
}

/// Of a LUKS2 header. A recovery key is typed.
fn token(kind: &str) -> Option<Key> {
    match kind {
        "systemd-tpm2" => Some(Key::Tpm),
        "systemd-fido2" | "systemd-pkcs11" => Some(Key::Token),
        "clevis" => Some(Key::Clevis),
        _ => None,
    }
}

/// `sss` shares the secret among others, the TPM perhaps.
fn pin(pin: &str) -> Key {
    match pin {
        "tang" => Key::Network,
        "tpm2" => Key::Tpm,
        _ => Key::Clevis,
    }
}

fn zfs(place: &str) -> Key {
    match place {
        "prompt" => Key::Passphrase,
        place if place.starts_with("file:") => Key::Keyfile,
        place if place.starts_with("http") => Key::Network,
        _ => Key::Unread,
    }
}

/// `name device key options`
fn crypttab(entry: &[&str]) -> Vec<Key> {
    let options = entry.get(3).copied().unwrap_or_default();
    let has = |option: &str| options.split(',').any(|o| o.starts_with(option));
    let mut keys = Vec::new();
    keys.extend(has("tpm2-device=").then_some(Key::Tpm));
    keys.extend((has("fido2-device=") || has("pkcs11-uri=")).then_some(Key::Token));
    let file = entry.get(2).copied().unwrap_or_default();
    // A script may ask anybody for anything: only a file is a key that is there.
    keys.extend((file.starts_with('/') && !has("keyscript=")).then_some(Key::Keyfile));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, Vec<Key>)> {
        let lines: Vec<(&str, String)> = text.lines().filter_map(|l| l.trim().split_once('=')).map(|(k, v)| (k, v.to_owned())).collect();
        read(&lines).into_iter().map(|l| (l.device, l.by)).collect()
    }
    #[track_caller]
    fn opens(text: &str, by: &[Key]) {
        assert_eq!(of(text), [("/dev/sda3".to_owned(), by.to_vec())], "{text}");
    }

    #[test]
    fn what_opens_a_root_disk() {
        let dev = "luks=/dev/sda3 UUID=1f0c-aa\n";
        let read = format!("{dev}luks_read=/dev/sda3\n");
        assert!(of("crypttab=swap /dev/sda2 /dev/urandom swap").is_empty(), "not below the root");
        opens(&read, &[Key::Passphrase]);
        opens(&format!("{read}token=systemd-tpm2"), &[Key::Tpm]);
        opens(&format!("{read}token=systemd-recovery"), &[Key::Passphrase]);
        opens(&format!("{read}token=systemd-fido2"), &[Key::Token]);
        opens(&format!("{read}token=clevis"), &[Key::Clevis]);
        opens(&format!("{read}token=clevis\nclevis=tang"), &[Key::Network]);
        opens(&format!("{read}token=clevis\nclevis=tang\nclevis=tpm2"), &[Key::Tpm, Key::Network]);
        opens(&format!("{read}clevis=sss"), &[Key::Clevis]);
        opens(dev, &[Key::Unread]);
        opens(&format!("{dev}crypttab=root UUID=1f0c-aa none luks,tpm2-device=auto"), &[Key::Tpm]);
        opens(&format!("{dev}crypttab=root UUID=1f0c-aa none luks"), &[Key::Unread]);
        opens(&format!("{read}crypttab=root /dev/sda3 /etc/keys/root.key luks"), &[Key::Keyfile]);
        opens(&format!("{read}crypttab=root /dev/disk/by-uuid/1f0c-aa /x luks,keyscript=/bin/ask"), &[Key::Passphrase]);
        opens(&format!("{read}crypttab=data UUID=another /etc/keys/data.key luks"), &[Key::Passphrase]);
        assert_eq!(of("zfs_root=rpool prompt"), [("rpool".to_owned(), vec![Key::Passphrase])]);
        assert_eq!(of("zfs_root=rpool/ROOT file:///etc/zfs/key"), [("rpool/ROOT".to_owned(), vec![Key::Keyfile])]);
        assert!(of("token=x\nluks=\nclevis=tang\nluks_read=\nzfs_root=").is_empty(), "an odd answer");
    }
}
