//! 16, how the root disk unlocks: a machine that asks for a passphrase at boot, with nobody there, does not come back.
use crate::model::{Fault, FaultKind, HostView, Key, Lock, NodeName};

/// `said`: the inventory's `unlock`, in words. Three words are held against what the host shows; any other names a person or a tool that nobody can look at.
pub fn judge(node: &NodeName, host: Option<&HostView>, said: Option<&str>) -> Result<(), Fault> {
    for lock in host.into_iter().flat_map(|h| &h.locks) {
        let next = format!(
            "say in the inventory how it is unlocked: unlock = \"console\" (somebody types it there), or any words; or once, with a person at its console: --unsafe boot-order --reason TEXT, for {node} alone"
        );
        match said.map(str::trim) {
            Some(word) if denied(word, lock) => {
                let what = format!("{node}: the inventory says unlock = \"{word}\", and its root disk {lock} has no such key");
                return Err(Fault::new(FaultKind::Unwilling, what).next(next));
            }
            Some(_) => {}
            None if lock.opens_by_itself() => {}
            None if lock.by == [Key::Unread] => {
                let what = format!("{node}: its root disk {} is encrypted, and nobody can read how it unlocks at boot", lock.device);
                return Err(Fault::new(FaultKind::Unable, what).next(format!("let its SSH account run cryptsetup luksDump as root, or {next}")));
            }
            None => {
                let what = format!("{node} would not boot by itself: its root disk {lock}");
                return Err(Fault::new(FaultKind::Unwilling, what).next(next));
            }
        }
    }
    Ok(())
}

/// The host shows that it is not so. A passphrase that a script types over the network shows nothing.
fn denied(word: &str, lock: &Lock) -> bool {
    let wanted = match word {
        "tpm" => [Key::Tpm, Key::Clevis, Key::Unread],
        "keyfile" => [Key::Keyfile, Key::Unread, Key::Unread],
        _ => return false,
    };
    !lock.by.iter().any(|key| wanted.contains(key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn inv_16_a_passphrase_that_nobody_types_is_refused() {
        let node = NodeName("edge-02".into());
        let by = |keys: &[Key]| HostView { locks: vec![Lock { device: "/dev/sda3".into(), by: keys.to_vec() }], ..HostView::default() };
        judge(&node, None, None).unwrap();
        judge(&node, Some(&HostView::default()), None).unwrap();
        for key in [Key::Tpm, Key::Clevis, Key::Network, Key::Keyfile] {
            judge(&node, Some(&by(&[key])), None).unwrap();
        }
        for keys in [&[Key::Passphrase][..], &[Key::Token], &[Key::Unread]] {
            let fault = judge(&node, Some(&by(keys)), None).unwrap_err();
            assert!(fault.what.contains("/dev/sda3") && fault.what.contains("edge-02"), "{fault}");
            assert!(fault.next.unwrap().contains("unlock = \"console\""));
            for said in ["console", "network", "dropbear, by the on-call script"] {
                judge(&node, Some(&by(keys)), Some(said)).unwrap();
            }
        }
        judge(&node, Some(&by(&[Key::Tpm])), Some("tpm")).unwrap();
        judge(&node, Some(&by(&[Key::Unread])), Some("tpm")).unwrap();
        for (said, key) in [("tpm", Key::Passphrase), ("tpm", Key::Network), ("keyfile", Key::Passphrase)] {
            assert!(judge(&node, Some(&by(&[key])), Some(said)).unwrap_err().what.contains("has no such key"), "{said} {key:?}");
        }
        let two = HostView { locks: [by(&[Key::Tpm]).locks, by(&[Key::Passphrase]).locks].concat(), ..HostView::default() };
        assert!(judge(&node, Some(&two), None).is_err(), "every one of them has to open");
    }
}
