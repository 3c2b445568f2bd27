//! `trust.toml`: certificate pins, host keys and identities, one line per node. Written by `pitstop inventory trust` alone.
use crate::{
    kinds::reader::Reader,
    model::{NodeName, Trust},
};
use std::collections::BTreeMap;
use toml::de::DeTable;

pub const TRUST_FILE: &str = "trust.toml";
const HEAD: &str = "# Written by `pitstop inventory trust`: what proves that a machine is the one it was. Do not edit by hand.\n";

/// A line for a node that the inventory no longer has is kept: it may come back, and nothing is lost by remembering it.
pub(super) fn read<'s>(reader: &mut Reader<'s>, tree: DeTable<'s>) -> BTreeMap<NodeName, Trust> {
    let mut out = BTreeMap::new();
    for (key, value) in tree {
        let at = value.span();
        let Some(trust) = reader.typed::<Trust>(value) else { continue };
        if let Some(wrong) = wrong(&trust) {
            reader.problem(&at, format!("{}: {wrong}", key.get_ref()));
        }
        out.insert(NodeName(key.get_ref().to_string()), trust);
    }
    out
}

/// One `trust.toml` by itself, without what nodes pin in their own tables: for whoever writes it.
pub fn read_trust(text: &str) -> Result<BTreeMap<NodeName, Trust>, String> {
    let read: BTreeMap<NodeName, Trust> = toml::from_str(text).map_err(|e| e.to_string())?;
    match read.iter().find_map(|(node, trust)| wrong(trust).map(|why| format!("{node}: {why}"))) {
        Some(problem) => Err(problem),
        None => Ok(read),
    }
}

fn wrong(trust: &Trust) -> Option<&'static str> {
    let hex = |s: &String| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit());
    if trust.certificate.as_ref().is_some_and(|c| !hex(c)) {
        return Some("a certificate pin is a SHA-256 of 64 hex digits");
    }
    trust.host_keys.iter().any(|k| k.split_whitespace().count() < 2).then_some("a host key is `TYPE BASE64`, as in known_hosts")
}

/// The whole file, in name order, so that a change is one line in a diff.
pub fn trust_toml(trust: &BTreeMap<NodeName, Trust>) -> String {
    let mut out = HEAD.to_owned();
    for (node, trust) in trust {
        let key = toml::Value::String(node.0.clone());
        // By hand: the serializer would spread a node over several tables.
        let mut fields = Vec::new();
        let text = |s: &str| toml::Value::String(s.to_owned()).to_string();
        fields.extend(trust.certificate.iter().map(|c| format!("certificate = {}", text(c))));
        if !trust.host_keys.is_empty() {
            fields.push(format!("host_keys = [{}]", trust.host_keys.iter().map(|k| text(k)).collect::<Vec<_>>().join(", ")));
        }
        if let Some(identity) = &trust.identity {
            let known = [("uuid", &identity.uuid), ("serial", &identity.serial), ("machine_id", &identity.machine_id), ("bmc_address", &identity.bmc_address)];
            let parts: Vec<_> = known.iter().filter_map(|(k, v)| v.as_ref().map(|v| format!("{k} = {}", text(v)))).collect();
            fields.push(format!("identity = {{ {} }}", parts.join(", ")));
        }
        fields.extend(trust.note.iter().map(|n| format!("note = {}", text(n))));
        out += &format!("{key} = {{ {} }}\n", fields.join(", "));
    }
    out
}
