//! `[[nodes]]`. One table with a hostlist for a name gives many nodes, each checked for itself.
use super::{
    Kinds, NodeEntry, Seat,
    address::{self, Address},
    inherit::{Defaults, Template, unknown_templates},
    parse::{label_key, plain_name},
};
use crate::{
    kinds::reader::{At, Reader, Value, expected, suggest, take},
    model::{Carried, ClusterName, Identity, NodeName, Setting, Trust, carried, hostlist},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use toml::de::DeTable;

const KEYS: [&str; 10] = ["name", "cluster", "cluster_node", "labels", "bmc", "host", "carries", "unlock", "known_containers", "identity"];
/// Nodes as made so far, with what only the checks across nodes need.
#[derive(Default)]
pub(super) struct Made {
    pub nodes: BTreeMap<NodeName, NodeEntry>,
    pub numbers: BTreeMap<NodeName, Template>,
    places: Vec<Place>,
    pins: Vec<(NodeName, At, Identity)>,
    seats: Vec<(NodeName, At, Seat)>,
}
struct Place {
    node: NodeName,
    at: At,
    kind: String,
    bmc: bool,
    address: Address,
}

pub(super) fn read<'s>(reader: &mut Reader<'s>, tables: Vec<(At, DeTable<'s>)>, defaults: &Defaults<'s>, clusters: &BTreeSet<String>, kinds: &Kinds) -> Made {
    let mut made = Made::default();
    reader.mark();
    let mut first: HashMap<String, At> = HashMap::new();
    for (header, mut table) in tables {
        let listed = names(reader, &header, take(&mut table, "name"));
        table.values().for_each(|v| unknown_templates(reader, v));
        defaults.merge(&mut table);
        let mut again: BTreeMap<At2, Vec<String>> = BTreeMap::new();
        for (at, listed, real) in listed {
            let template = Template { name: listed.name.clone(), n: listed.n };
            let mut table = table.clone();
            let mut lacking = Vec::new();
            template.fill_table(&mut table, &mut lacking);
            for at in lacking {
                reader.problem(&at, format!("{{n}} is the number in a node's name, and `{}` has none", listed.name));
            }
            let name = NodeName(listed.name.clone());
            let entry = Node { reader, header: &header, name: &name, name_at: &at, clusters, kinds, made: &mut made }.read(table);
            reader.mark();
            match first.get(&listed.name) {
                _ if !real => {}
                Some(before) => again.entry((at.start, at.end, before.start, before.end)).or_default().push(listed.name),
                None => {
                    first.insert(listed.name, at);
                    made.numbers.insert(name.clone(), template);
                    made.nodes.insert(name, entry);
                }
            }
        }
        for ((from, to, before, end), names) in again {
            let place = reader.sources.place(&(before..end));
            let short = hostlist::compress(names.iter().map(String::as_str));
            let what = if place == reader.sources.place(&(from..to)) { "is in this list twice".to_owned() } else { format!("is already defined at {place}") };
            reader.problem(&(from..to), format!("node {short} {what}"));
        }
        reader.mark();
    }
    made
}
/// Two places: of the name, and of its first definition.
type At2 = (usize, usize, usize, usize);

/// Never empty: a table whose name cannot be read is checked all the same, for a node that is then forgotten.
fn names<'s>(reader: &mut Reader<'s>, header: &At, name: Option<(At, Value<'s>)>) -> Vec<(At, hostlist::Listed, bool)> {
    let mut out = Vec::new();
    match name {
        None => reader.missing(header, "missing key `name`", Some("such as name = \"edge-[01-16]\"".into())),
        Some((_, value)) => {
            for (at, list) in reader.strings(value, "name") {
                match hostlist::expand(&list) {
                    Err(wrong) => reader.problem(&at, wrong),
                    Ok(listed) => match listed.iter().find(|l| !plain_name(&l.name)) {
                        Some(odd) => reader.problem_with(&at, format!("`{}` is not a node's name", odd.name), "letters, digits, `.`, `-` and `_`"),
                        None => out.extend(listed.into_iter().map(|l| (at.clone(), l, true))),
                    },
                }
            }
        }
    }
    if out.is_empty() {
        out.push((header.clone(), hostlist::Listed { name: "node-1".into(), n: Some("1".into()) }, false));
    }
    out
}

/// Reads one node's filled table.
struct Node<'r, 's> {
    reader: &'r mut Reader<'s>,
    header: &'r At,
    name: &'r NodeName,
    name_at: &'r At,
    clusters: &'r BTreeSet<String>,
    kinds: &'r Kinds,
    made: &'r mut Made,
}
impl<'s> Node<'_, 's> {
    fn read(mut self, mut table: DeTable<'s>) -> NodeEntry {
        let mut node = NodeEntry { defined_at: self.reader.sources.place(self.header), ..NodeEntry::default() };
        node.seats = self.seats(take(&mut table, "cluster"), take(&mut table, "cluster_node"));
        match take(&mut table, "bmc") {
            None => self.reader.missing(self.header, "names no BMC", Some("such as bmc.redfish = { url = \"https://{name}-bmc.mgmt.example\" }".into())),
            Some((key, value)) => self.bmc(&key, value, &mut node),
        }
        if let Some((key, value)) = take(&mut table, "host")
            && let Some((_, mut ways)) = self.reader.table(value, "host")
        {
            ways.iter_mut().for_each(|(kind, way)| self.place(kind.get_ref(), way, false));
            node.host = self.reader.setting(&key, ways, "host", &self.kinds.host);
        }
        if let Some((_, value)) = take(&mut table, "labels")
            && let Some((_, labels)) = self.reader.table(value, "labels")
        {
            for (key, value) in labels {
                label_key(self.reader, &key.span(), key.get_ref());
                let value = self.reader.string(&value, "a label");
                node.labels.extend(value.map(|v| (key.get_ref().to_string(), v)));
            }
        }
        node.carries = take(&mut table, "carries").map(|(_, v)| self.carries(v)).unwrap_or_default();
        node.known_containers = take(&mut table, "known_containers")
            .map(|(_, v)| self.reader.strings(v, "known_containers").into_iter().map(|(_, s)| s).collect())
            .unwrap_or_default();
        node.unlock = take(&mut table, "unlock").and_then(|(_, v)| self.reader.string(&v, "unlock"));
        if let Some((key, value)) = take(&mut table, "identity")
            && let Some(identity) = self.reader.typed::<Identity>(value)
        {
            if identity.is_empty() {
                self.reader.problem(&key, "this pins no identity: a uuid, serial, machine_id or bmc_address that is no placeholder is needed");
            }
            self.made.pins.push((self.name.clone(), key, identity));
        }
        self.reader.leftover(&table, &KEYS);
        node
    }

    /// `"dns"`, `{ name = "ntp", tcp = "HOST:PORT" }`, or a list of both.
    fn carries(&mut self, value: Value<'s>) -> Vec<Carried> {
        let list = if value.get_ref().is_array() { self.reader.array(value, "carries") } else { vec![value] };
        let mut carries = Vec::new();
        for one in list {
            let at = one.span();
            if !one.get_ref().is_table() {
                carries.extend(self.reader.string(&one, "carries").map(Carried::from));
            } else if let Some(place) = self.reader.typed::<carried::Place>(one) {
                if carried::place(&place.tcp).is_none() {
                    self.reader.problem_with(&at, format!("`{}` is not HOST:PORT", place.tcp), "such as tcp = \"192.0.2.9:123\"");
                }
                carries.push(place.into());
            }
        }
        carries
    }

    fn seats(&mut self, cluster: Option<(At, Value<'s>)>, node: Option<(At, Value<'s>)>) -> Vec<Seat> {
        let Some((key, value)) = cluster else {
            self.reader.missing(self.header, "names no cluster", Some("a machine without one belongs to a cluster of kind `none`".into()));
            return Vec::new();
        };
        if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
            self.reader.problem(&key, "names no cluster");
        }
        let listed = self.reader.strings(value, "cluster");
        let mut seats: Vec<Seat> = Vec::new();
        for (at, cluster) in listed {
            if !self.clusters.contains(&cluster) {
                let help = suggest(&cluster, self.clusters.iter().map(String::as_str));
                self.reader.missing(&at, format!("no cluster is called `{cluster}`"), help);
            } else if seats.iter().any(|s| s.cluster.0 == cluster) {
                self.reader.problem(&at, format!("cluster `{cluster}` is named twice"));
            } else {
                seats.push(Seat { cluster: ClusterName(cluster), node: self.name.0.clone() });
            }
        }
        let named_at = node.as_ref().map_or(self.name_at.clone(), |(_, v)| v.span());
        self.names_in_clusters(node, &mut seats);
        self.made.seats.extend(seats.iter().map(|s| (self.name.clone(), named_at.clone(), s.clone())));
        seats
    }

    /// `cluster_node`: one name for all clusters, or a table by cluster.
    fn names_in_clusters(&mut self, node: Option<(At, Value<'s>)>, seats: &mut [Seat]) {
        let Some((_, value)) = node else { return };
        if !value.get_ref().is_table() {
            let Some(name) = self.reader.string(&value, "cluster_node") else { return };
            return seats.iter_mut().for_each(|s| s.node = name.clone());
        }
        let Some((_, table)) = self.reader.table(value, "cluster_node") else { return };
        for (cluster, value) in table {
            let name = self.reader.string(&value, "cluster_node");
            match seats.iter_mut().find(|s| s.cluster.0 == *cluster.get_ref()) {
                Some(seat) => seat.node = name.unwrap_or_default(),
                None => self.reader.missing(&cluster.span(), format!("the node is not in a cluster `{}`", cluster.get_ref()), None),
            }
        }
    }

    fn bmc(&mut self, key: &At, value: Value<'s>, node: &mut NodeEntry) {
        let Some((_, mut ways)) = self.reader.table(value, "bmc") else { return };
        if let Some((_, value)) = take(&mut ways, "shared_nic") {
            node.shared_nic = self.reader.typed(value).unwrap_or_default();
        }
        if ways.is_empty() {
            self.reader.missing(key, "names no kind of bmc", expected(self.kinds.bmc.iter().map(|k| k.name)));
        }
        let mut made: Vec<(usize, String, Setting)> = Vec::new();
        for (kind, value) in ways {
            let host = address::of_value(&value).map(|(_, a)| a.host).unwrap_or_default();
            self.place(kind.get_ref(), &value, true);
            let Some(setting) = self.reader.of_kind(&kind.span(), kind.get_ref(), value, "bmc", &self.kinds.bmc) else { continue };
            let order = self.kinds.bmc.iter().position(|r| r.name == setting.kind).unwrap_or(usize::MAX);
            made.push((order, host, setting));
        }
        made.sort_by_key(|(order, ..)| *order);
        node.bmc_host = made.first().map(|(_, host, _)| host.clone()).unwrap_or_default();
        node.bmc = made.into_iter().map(|(.., setting)| setting).collect();
    }

    fn place(&mut self, kind: &str, value: &Value<'s>, bmc: bool) {
        if let Some((at, address)) = address::of_value(value) {
            self.made.places.push(Place { node: self.name.clone(), at, kind: kind.to_owned(), bmc, address });
        }
    }
}

impl Made {
    /// Two nodes behind one address, or under one name in a cluster: one of them would be reset for the other.
    /// `scaled`: where time was scaled, which only a BMC on loopback bears.
    pub fn twins(&self, reader: &mut Reader<'_>, scaled: Option<At>) {
        let mut first: HashMap<(bool, String, &Address), &NodeName> = HashMap::new();
        for place in &self.places {
            let address = &place.address;
            // Without a port of its own every protocol of an address is the same machine.
            let kind = if address.port.is_none() && address.system.is_empty() { String::new() } else { place.kind.clone() };
            let owner = first.entry((place.bmc, kind, address)).or_insert(&place.node);
            if *owner != &place.node {
                let what = if place.bmc { "BMC" } else { "host" };
                let message = format!("{owner} and {} have one {what} address, `{}`", place.node, address.host);
                reader.problem_with(&place.at, message, "two machines never do; {name} and {n} make it differ");
            }
            if let Some(scaled) = &scaled
                && place.bmc
                && !address::is_loopback(&address.host)
            {
                let message = format!("time is scaled, but the BMC of {} is not on loopback", place.node);
                reader.problem_with(scaled, message, "[time] is for the lab; leave it out for real machines");
            }
            reader.mark();
        }
        let mut first: HashMap<&Seat, &NodeName> = HashMap::new();
        for (node, at, seat) in &self.seats {
            let owner = first.entry(seat).or_insert(node);
            if *owner != node {
                reader.problem(at, format!("{owner} and {node} are both `{}` in cluster {}", seat.node, seat.cluster));
            }
            reader.mark();
        }
    }

    /// `trust.toml` and the identities pinned in node tables, as one.
    pub fn pin(&self, reader: &mut Reader<'_>, mut trust: BTreeMap<NodeName, Trust>) -> BTreeMap<NodeName, Trust> {
        let mut first: HashMap<(&str, String), &NodeName> = HashMap::new();
        for (node, at, identity) in &self.pins {
            let keys = [
                ("uuid", identity.uuid_key()),
                ("serial", identity.serial_key()),
                ("machine_id", identity.machine_id_key()),
                ("bmc_address", identity.bmc_address_key()),
            ];
            for (what, value) in keys.into_iter().filter_map(|(what, value)| Some((what, value?))) {
                let owner = first.entry((what, value)).or_insert(node);
                if *owner != node {
                    reader.problem(at, format!("{owner} and {node} are pinned to one {what}"));
                }
            }
            let entry = trust.entry(node.clone()).or_default();
            if let Some(Err(differ)) = entry.identity.as_ref().and_then(|seen| seen.same(identity)) {
                reader.problem(at, format!("trust.toml pins {node} to another machine: {differ}"));
            }
            entry.identity = Some(identity.clone());
        }
        trust
    }
}
