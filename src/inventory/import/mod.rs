//! Other people's lists of machines → a first inventory of ours. Pure: text in, TOML out; what the source does not say is left as a marked gap.
use crate::model::hostlist;
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write};

mod ansible_ini;
mod csv;
mod documents;
mod quirks;

/// Where a value is missing: a name that cannot exist (RFC 6761), so that nothing is ever sent there.
pub const GAP: &str = "gap.invalid";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    AnsibleYaml,
    AnsibleIni,
    Csv,
    Metal3,
    Netbox,
}
impl Source {
    pub const ALL: [(&'static str, Source); 5] = [
        ("ansible-yaml", Source::AnsibleYaml),
        ("ansible-ini", Source::AnsibleIni),
        ("csv", Source::Csv),
        ("metal3", Source::Metal3),
        ("netbox", Source::Netbox),
    ];
}

/// A machine as a source tells of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// `https://192.0.2.11`.
    pub redfish: Option<String>,
    /// Which system of that BMC, where the source says it.
    pub system: Option<String>,
    /// Host, and a port other than 623.
    pub ipmi: Option<(String, Option<u16>)>,
    /// Host, user, port.
    pub ssh: Option<(String, Option<String>, Option<u16>)>,
    /// Its name in its cluster, where that is another.
    pub cluster_node: Option<String>,
    /// What its owner should read beside it.
    pub note: Option<String>,
}

/// What a source holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    pub found: Vec<Found>,
    /// What it lists and is no machine of an inventory, with the reason.
    pub left_out: Vec<String>,
}
impl Listed {
    fn take(&mut self, found: Found) {
        match () {
            () if found.name.is_empty() => self.left_out.push("one without a name".into()),
            () if found.name == "localhost" => self.left_out.push("localhost: this computer".into()),
            () if found.name.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) => {
                self.left_out.push(format!("`{}` cannot be a node's name: letters, digits, `.`, `-`, `_`", found.name));
            }
            () => self.found.push(found),
        }
    }
}

impl Found {
    /// A BMC's address as lists have it: a URL, `ipmi://host:port`, `redfish+https://host/path`, or a bare address, taken for Redfish.
    pub fn set_bmc(&mut self, address: &str) {
        let address = address.trim();
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let place = rest.split('/').next().unwrap_or_default().to_owned();
        if place.is_empty() {
            return;
        }
        let insecure = scheme == "http" || scheme.ends_with("+http");
        match scheme {
            "ipmi" | "libvirt" => {
                let (host, port) = match place.rsplit_once(':') {
                    Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host.to_owned(), port.parse().ok()),
                    _ => (place.clone(), None),
                };
                self.ipmi = Some((host, port.filter(|p| *p != 623)));
            }
            _ => {
                self.redfish = Some(format!("http{}://{}", if insecure { "" } else { "s" }, bracketed(&place)));
                self.system = rest.split_once("/Systems/").and_then(|(_, id)| id.split('/').next()).filter(|id| !id.is_empty()).map(str::to_owned);
            }
        }
    }
}

/// A bare IPv6 address wears brackets in a URL.
fn bracketed(place: &str) -> String {
    match place.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => place.to_owned(),
    }
}

pub fn read(source: Source, text: &str) -> Result<Listed, String> {
    let mut listed = match source {
        Source::AnsibleYaml => documents::ansible(&documents::yaml(text)?),
        Source::AnsibleIni => ansible_ini::read(text),
        Source::Csv => csv::read(text),
        Source::Metal3 => documents::metal3(&documents::yaml(text)?),
        // NetBox exports its devices as CSV from its pages and as JSON from its API.
        Source::Netbox if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str::<Value>(text).map_err(|e| e.to_string()).and_then(|v| documents::netbox(&v))
        }
        Source::Netbox => csv::read(text),
    }?;
    let found = &mut listed.found;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = found.windows(2).find(|two| two[0].name == two[1].name) {
        return Err(format!("{} is in it twice", twice[0].name));
    }
    match listed.left_out.is_empty() {
        _ if !listed.found.is_empty() => Ok(listed),
        true => Err("there is no machine in it".into()),
        false => Err(format!("there is no machine in it, but {}", listed.left_out.join("; "))),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// One file of an inventory. `cluster`: the table of the cluster as it is to stand there.
pub fn toml(from: &str, cluster: &str, cluster_table: &str, listed: &Listed) -> String {
    let found = &listed.found;
    let names = hostlist::compress(found.iter().map(|f| f.name.as_str()));
    let mut out =
        format!("# Imported from {from}: {names}.\n# What it did not say is marked GAP: pitstop inventory lists these, and nothing is ever sent to {GAP}.\n");
    for left in &listed.left_out {
        let _ = writeln!(out, "# Left out: {left}");
    }
    out.push('\n');
    if found.iter().any(|f| f.redfish.is_some() || f.ipmi.is_none()) {
        out += "[defaults.bmc.redfish]\nusername = { env = \"BMC_USER\" }\npassword = { env = \"BMC_PASSWORD\" }\n\n";
    }
    if found.iter().any(|f| f.ipmi.is_some()) {
        out += "[defaults.bmc.ipmi]    # its own account: IPMI gives a hash of its password to anyone who asks\nusername = { env = \"IPMI_USER\" }\npassword = { env = \"IPMI_PASSWORD\" }\n\n";
    }
    if found.iter().any(|f| f.ssh.is_some()) {
        out += "[defaults.host.ssh]\nuser = \"root\"\nkey = { file = \"~/.ssh/id_ed25519\" }\n\n";
    }
    out += cluster_table;
    for f in found {
        let _ = write!(out, "\n[[nodes]]\nname = {}\ncluster = {}\n", quoted(&f.name), quoted(cluster));
        if let Some(there) = f.cluster_node.as_ref().filter(|n| **n != f.name) {
            let _ = writeln!(out, "cluster_node = {}", quoted(there));
        }
        if !f.labels.is_empty() {
            let labels: Vec<String> = f.labels.iter().map(|(k, v)| format!("{} = {}", quoted(k), quoted(v))).collect();
            let _ = writeln!(out, "labels = {{ {} }}", labels.join(", "));
        }
        if let Some(url) = &f.redfish {
            let system = f.system.as_ref().map(|id| format!(", system_id = {}", quoted(id))).unwrap_or_default();
            // As the list has it; an inventory takes it only where that is said.
            let (tls, warning) =
                if url.starts_with("http:") { (", tls = \"insecure\"", "    # no TLS: its password can be read on the way") } else { ("", "") };
            let _ = writeln!(out, "bmc.redfish = {{ url = {}{system}{tls} }}{warning}", quoted(url));
        }
        if let Some((host, port)) = &f.ipmi {
            let port = port.map(|p| format!(", port = {p}")).unwrap_or_default();
            let _ = writeln!(out, "bmc.ipmi = {{ host = {}{port} }}", quoted(host));
        }
        if f.redfish.is_none() && f.ipmi.is_none() {
            let _ = writeln!(out, "bmc.redfish = {{ url = \"https://{{name}}.{GAP}\" }}    # GAP: where its BMC is");
        }
        out.extend(f.note.iter().map(|note| format!("# {note}\n")));
        match &f.ssh {
            Some((host, user, port)) => {
                let user = user.as_ref().map(|u| format!(", user = {}", quoted(u))).unwrap_or_default();
                let port = port.map(|p| format!(", port = {p}")).unwrap_or_default();
                let _ = writeln!(out, "host.ssh = {{ host = {}{user}{port} }}", quoted(host));
            }
            None => out += "# GAP: host.ssh, the second witness of what runs there and the best proof of a reboot\n",
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
