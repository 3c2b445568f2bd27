//! 15, not the branch we sit on: this process's own machine, or the one its virtual machine runs on, is never reset by it.
use super::Readings;
use crate::model::{Boot, Fault, FaultKind, Identity, NodeName};
use std::net::IpAddr;

/// Where this process runs. Read from its own machine, never frozen: a resume may run elsewhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// In a container the kernel's own: that of the node it runs on.
    pub boot_id: Option<String>,
    /// machine-id and DMI UUID.
    pub identity: Identity,
    /// The name servers it asks.
    pub resolvers: Vec<IpAddr>,
}

pub fn judge(node: &NodeName, readings: &Readings) -> Result<(), Fault> {
    let views = || readings.clusters.iter().filter_map(|(_, view)| view.as_ref().ok());
    let host = readings.host_word();
    let boots = views().filter_map(|v| match &v.boot {
        Some(Boot::Id(id)) => Some(id),
        _ => None,
    });
    let identities = views().map(|v| &v.identity).chain(host.map(|h| &h.identity)).chain(readings.bmc.as_ref().ok().map(|b| &b.identity));
    let guests = host.into_iter().flat_map(|h| &h.guest_uuids).chain(views().flat_map(|v| &v.here.guest_uuids));
    sits_on(node, &readings.pins.own, boots.chain(host.map(|h| &h.boot_id)), identities, guests)
}

/// The same for a survey and for the moment of power.
pub fn sits_on<'a>(
    node: &NodeName,
    own: &Own,
    boots: impl IntoIterator<Item = &'a String>,
    identities: impl IntoIterator<Item = &'a Identity>,
    guests: impl IntoIterator<Item = &'a String>,
) -> Result<(), Fault> {
    let refused = |what: String| Err(Fault::new(FaultKind::Unwilling, what).next(format!("run pitstop from another machine than {node}")));
    if let Some(boot) = own.boot_id.as_ref().filter(|own| boots.into_iter().any(|b| b.eq_ignore_ascii_case(own))) {
        return refused(format!("pitstop itself runs on {node}: both are boot {boot}"));
    }
    for other in identities {
        // Of two machines that share a serial of no meaning nothing is said.
        let uuid = own.identity.uuid_key().is_some() && matches!(own.identity.same(&Identity { uuid: other.uuid.clone(), ..Identity::default() }), Some(Ok(_)));
        let machine = own.identity.machine_id_key().is_some() && own.identity.machine_id_key() == other.machine_id_key();
        if uuid || machine {
            let which = if uuid { format!("system UUID {}", other.uuid.as_deref().unwrap_or_default()) } else { "one machine-id".into() };
            return refused(format!("pitstop itself runs on {node}: both have {which}"));
        }
    }
    for guest in guests {
        if matches!(own.identity.same(&Identity { uuid: Some(guest.clone()), ..Identity::default() }), Some(Ok(_))) {
            return refused(format!("pitstop itself runs in a virtual machine on {node}: {guest}"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn inv_15_by_boot_id_machine_id_uuid_and_as_a_guest() {
        let node = NodeName("edge-01".into());
        let uuid = "4c4c4544-0042-3510-8052-b4c04f4e3732";
        let own = Own {
            boot_id: Some("e6ab056c-8c98-4418-a4c2-ea0052cfe93c".into()),
            identity: Identity { uuid: Some(uuid.into()), machine_id: Some("0123456789abcdef0123456789abcde0".into()), ..Identity::default() },
            ..Own::default()
        };
        let none: [&String; 0] = [];
        let other = Identity { uuid: Some("4c4c4544-0038-3010-8052-b4c04f4e4d32".into()), ..Identity::default() };
        sits_on(&node, &own, none, [&other], none).unwrap();
        sits_on(&node, &Own::default(), none, [&own.identity], none).unwrap();
        let same_boot = own.boot_id.clone().unwrap();
        let same_machine = Identity { machine_id: own.identity.machine_id.clone(), ..Identity::default() };
        let swapped = Identity { uuid: Some("44454c4c-4200-1035-8052-b4c04f4e3732".into()), ..Identity::default() };
        for refused in [
            sits_on(&node, &own, [&same_boot], none_of(), none),
            sits_on(&node, &own, none, [&same_machine], none),
            sits_on(&node, &own, none, [&swapped], none),
            sits_on(&node, &own, none, none_of(), [&uuid.to_owned()]),
        ] {
            let fault = refused.unwrap_err();
            assert!(fault.what.contains("edge-01") && fault.next.unwrap().contains("another machine"));
        }
    }
    fn none_of() -> [&'static Identity; 0] {
        []
    }
}
