//! 16, it boots what it booted: a left-over override, once from the network, reinstalls the machine.
use crate::model::{BootOverride, Fault, FaultKind, HostView, NodeName};

/// `boot`: what the BMC says. `host`: its latest word, for EFI's own BootNext.
pub fn judge(node: &NodeName, boot: &Result<BootOverride, Fault>, host: Option<&HostView>) -> Result<(), Fault> {
    match boot {
        Ok(seen) if seen.is_off() => {}
        Ok(seen) => {
            let what = format!("{node} would not boot what it booted: its BMC has a boot override, {} ({})", seen.target, seen.enabled);
            let next = format!(
                "take it off at the BMC, or let pitstop put it aside and back: reset = {{ boot_override = \"clear\" }} in the playbook, pitstop node {node} power VERB --clear-boot-override"
            );
            return Err(Fault::new(FaultKind::Unwilling, what).next(next));
        }
        // The protocol has no such thing: nothing can be left over in it.
        Err(fault) if fault.kind == FaultKind::Unable => {}
        Err(fault) => {
            let kind = if fault.kind == FaultKind::Invalid { FaultKind::Unknown } else { fault.kind };
            let what = format!("{node}: what its BMC boots next cannot be read");
            return Err(Fault { kind, what, causes: vec![fault.to_string()], next: fault.next.clone(), credential: fault.credential.clone() });
        }
    }
    match host.and_then(|h| h.boot_next.as_ref()) {
        None => Ok(()),
        Some(entry) => {
            let what = format!("{node} would not boot what it booted: EFI BootNext is {entry}");
            Err(Fault::new(FaultKind::Unwilling, what).next(format!("on {node}: efibootmgr -v shows the entry, efibootmgr -N takes it off")))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn inv_16_only_what_is_off_lets_it_boot() {
        let node = NodeName("edge-02".into());
        let over = |enabled: &str, target: &str| Ok(BootOverride { enabled: enabled.into(), target: target.into(), mode: None });
        judge(&node, &over("Disabled", "Pxe"), None).unwrap();
        judge(&node, &over("Once", "None"), None).unwrap();
        judge(&node, &over("Continuous", "Hdd"), None).unwrap();
        for (enabled, target) in [("Once", "Hdd"), ("Continuous", "Pxe"), ("Continuous", "Cd"), ("Continuous", "BiosSetup")] {
            assert!(judge(&node, &over(enabled, target), None).is_err(), "{enabled} {target}");
        }
        judge(&node, &Err(Fault::new(FaultKind::Unable, "no Boot")), None).unwrap();
        let pxe = judge(&node, &over("Once", "Pxe"), None).unwrap_err();
        assert!(pxe.what.contains("edge-02") && pxe.what.contains("Pxe (Once)") && pxe.next.unwrap().contains("--clear-boot-override"));
        let unread = judge(&node, &Err(Fault::new(FaultKind::Unreachable, "no answer")), None).unwrap_err();
        assert_eq!(unread.kind, FaultKind::Unreachable, "a reason to wait");
        let host = HostView { boot_next: Some("0003".into()), ..HostView::default() };
        assert!(judge(&node, &over("Disabled", "None"), Some(&host)).unwrap_err().what.contains("BootNext is 0003"));
    }
}
