//! Where a node is reached, as its table says it, without knowing the driver: two nodes at one address are a slip of the inventory.
use crate::kinds::reader::{At, Value};
use std::net::IpAddr;
use toml::de::{DeTable, DeValue};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    /// Lower case, without port.
    pub host: String,
    /// Only where it is not the protocol's own.
    pub port: Option<u16>,
    /// Which system behind the address: blade chassis and emulators serve several.
    pub system: String,
}

/// Ports that need not be written: HTTPS, IPMI, SSH.
const OWN_PORTS: [u16; 3] = [443, 623, 22];

fn of(table: &DeTable<'_>) -> Option<(At, Address)> {
    let (at, text) = ["url", "host", "address"].into_iter().find_map(|key| table.get(key).and_then(|v| v.get_ref().as_str().map(|s| (v.span(), s))))?;
    let mut address = read(text)?;
    if let Some(DeValue::Integer(port)) = table.get("port").map(|v| v.get_ref()) {
        address.port = u16::from_str_radix(port.as_str(), port.radix()).ok();
    }
    if let Some(system) = ["system_id", "system"].iter().find_map(|key| table.get(*key)).and_then(|v| v.get_ref().as_str()) {
        address.system = system.trim_matches('/').to_owned();
    }
    // Behind another jump host the same address is another machine.
    if let Some(jump) = table.get("jump").and_then(|v| v.get_ref().as_str()).filter(|j| *j != "none") {
        address.system = format!("{} through {jump}", address.system);
    }
    address.port = address.port.filter(|p| !OWN_PORTS.contains(p));
    Some((at, address))
}

pub(super) fn of_value(value: &Value<'_>) -> Option<(At, Address)> {
    value.get_ref().as_table().and_then(of)
}

fn read(text: &str) -> Option<Address> {
    let text = text.trim();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        // A bare IPv6 address has more than one colon and no port.
        None if authority.matches(':').count() == 1 => authority.split_once(':').map(|(host, port)| (host, Some(port)))?,
        None => (authority, None),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let path = path.trim_matches('/');
    let system = if path == "redfish/v1" { "" } else { path };
    (!host.is_empty()).then(|| Address { host, port: port.and_then(|p| p.parse().ok()), system: system.to_owned() })
}

/// By its name alone, before anything is resolved.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, host: &str, port: Option<u16>, system: &str) {
        let tree = DeTable::parse(toml).unwrap().into_inner();
        let (_, address) = of(&tree).unwrap();
        assert_eq!(address, Address { host: host.into(), port, system: system.into() }, "{toml}");
    }

    #[test]
    fn as_drivers_write_them() {
        check("url = 'https://Edge-01-bmc.mgmt.example'", "edge-01-bmc.mgmt.example", None, "");
        check("url = 'https://192.0.2.1:443/redfish/v1/'", "192.0.2.1", None, "");
        check("url = 'https://127.0.0.1:8443'", "127.0.0.1", Some(8443), "");
        check("url = 'https://[2001:db8::1]:8443/x'", "2001:db8::1", Some(8443), "x");
        check("host = '2001:db8::1'", "2001:db8::1", None, "");
        check("host = 'a.example.'\nport = 6230", "a.example", Some(6230), "");
        check("host = 'a:22'", "a", None, "");
        check("host = '192.0.2.7'\njump = 'ops@bastion.example'", "192.0.2.7", None, " through ops@bastion.example");
        check("host = '192.0.2.7'\njump = 'none'", "192.0.2.7", None, "");
        check("url = 'https://cmc.example'\nsystem_id = 'Blade4'", "cmc.example", None, "Blade4");
    }

    #[test]
    fn loopback_by_name() {
        assert!(["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"].iter().all(|h| is_loopback(h)));
        assert!(!["192.0.2.1", "edge-01.example", "localhost.example"].iter().any(|h| is_loopback(h)));
    }
}
