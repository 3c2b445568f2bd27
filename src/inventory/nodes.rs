//! `[[nodes]]` and what they inherit from `[defaults]`. One table with a hostlist for a name gives many nodes, each checked for itself.
use super::{
    Kinds, NodeEntry, Seat,
    address::{self, Address},
    parse::{label_key, plain_name},
};
use crate::{
    kinds::{
        Row,
        reader::{At, Reader, Value, suggest, take},
    },
    model::{ClusterName, Identity, NodeName, Setting, Trust, hostlist},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

const KEYS: [&str; 9] = ["name", "cluster", "cluster_node", "labels", "bmc", "host", "carries", "unlock", "identity"];
/// What `[defaults]` may give beside `bmc` and `host`: names and identities are a node's own.
const SHARED: [&str; 5] = ["cluster", "cluster_node", "labels", "carries", "unlock"];

/// All `[defaults]` of all files.
#[derive(Default)]
pub(super) struct Defaults<'s> {
    plain: Vec<(At, String, Value<'s>)>,
    shared_nic: Option<(At, Value<'s>)>,
    /// By family and kind: `bmc`, `redfish`.
    ways: BTreeMap<(&'static str, String), (At, DeTable<'s>)>,
}

impl<'s> Defaults<'s> {
    pub fn add(&mut self, reader: &mut Reader<'s>, mut table: DeTable<'s>, kinds: &Kinds) {
        for (family, rows) in [("bmc", &kinds.bmc), ("host", &kinds.host)] {
            let Some((_, value)) = take(&mut table, family) else { continue };
            let Some((_, mut ways)) = reader.table(value, &format!("[defaults.{family}]")) else { continue };
            if family == "bmc"
                && let Some(found) = take(&mut ways, "shared_nic")
            {
                self.shared_nic = Some(found);
            }
            for (key, value) in ways {
                self.add_way(reader, family, key, value, rows);
            }
        }
        for key in SHARED {
            let Some((at, value)) = take(&mut table, key) else { continue };
            match self.plain.iter().find(|(_, k, _)| k == key) {
                Some((first, ..)) => twice(reader, &at, key, &first.clone()),
                None => self.plain.push((at, key.to_owned(), value)),
            }
        }
        reader.leftover(&table, &[&SHARED[..], &["bmc", "host"]].concat());
    }

    fn add_way(&mut self, reader: &mut Reader<'s>, family: &'static str, key: Spanned<std::borrow::Cow<'s, str>>, value: Value<'s>, rows: &[Row]) {
        let name = key.get_ref().to_string();
        if !rows.iter().any(|r| r.name == name) {
            let help = suggest(&name, rows.iter().map(|r| r.name)).unwrap_or_default();
            return reader.problem_with(&key.span(), format!("unknown kind of {family} `{name}`"), help);
        }
        let Some((_, table)) = reader.table(value, &format!("[defaults.{family}.{name}]")) else { return };
        let (_, all) = self.ways.entry((family, name)).or_insert_with(|| (key.span(), DeTable::new()));
        for (key, value) in table {
            match all.get_key_value(key.get_ref().as_ref()) {
                Some((first, _)) => twice(reader, &key.span(), key.get_ref(), &first.span()),
                None => drop(all.insert(key, value)),
            }
        }
    }

    /// Each for itself, whether a node uses it or not: what is missing may be the node's to say, what is wrong is wrong.
    pub fn check(&self, reader: &mut Reader<'s>, kinds: &Kinds) {
        for ((family, kind), (at, table)) in &self.ways {
            let rows = if *family == "bmc" { &kinds.bmc } else { &kinds.host };
            let row = rows.iter().find(|r| r.name == kind).expect("BUG: an unknown kind was let into the defaults");
            let mut table = table.clone();
            Template::of("node-1").fill_table(&mut table, &mut Vec::new());
            drop(reader.exhaust(Spanned::new(at.clone(), DeValue::Table(table)), true, row.check));
        }
    }

    /// The node's own keys win, key by key; only ways in that the node names are inherited.
    fn merge(&self, node: &mut DeTable<'s>) {
        for (at, key, value) in &self.plain {
            match (node.get_mut(key.as_str()).map(Spanned::get_mut), value.get_ref()) {
                (Some(DeValue::Table(own)), DeValue::Table(given)) => inherit(own, given),
                (Some(_), _) => {}
                (None, _) => drop(node.insert(Spanned::new(at.clone(), key.clone().into()), value.clone())),
            }
        }
        for ((family, kind), (_, given)) in &self.ways {
            let way = node.get_mut(*family).map(Spanned::get_mut).and_then(|v| if let DeValue::Table(t) = v { t.get_mut(kind.as_str()) } else { None });
            if let Some(DeValue::Table(own)) = way.map(Spanned::get_mut) {
                inherit(own, given);
            }
        }
        if let (Some((at, value)), Some(DeValue::Table(bmc))) = (&self.shared_nic, node.get_mut("bmc").map(Spanned::get_mut))
            && !bmc.contains_key("shared_nic")
        {
            bmc.insert(Spanned::new(at.clone(), "shared_nic".into()), value.clone());
        }
    }
}

fn inherit<'s>(own: &mut DeTable<'s>, given: &DeTable<'s>) {
    for (key, value) in given {
        if !own.contains_key(key.get_ref().as_ref()) {
            own.insert(key.clone(), value.clone());
        }
    }
}

fn twice(reader: &mut Reader<'_>, at: &At, key: &str, first: &At) {
    let place = reader.sources.place(first);
    reader.problem(at, format!("`{key}` is already given at {place}"));
}

/// `{name}` and `{n}` in the strings of a node's table.
#[derive(Debug, Clone)]
pub(super) struct Template {
    name: String,
    n: Option<String>,
}
impl Template {
    pub fn of(name: &str) -> Template {
        let n = hostlist::expand(name).ok().and_then(|list| list.into_iter().next()).and_then(|l| l.n);
        Template { name: name.to_owned(), n }
    }
    /// `lacking`: strings that ask for a number the name has not.
    pub fn fill_table(&self, table: &mut DeTable<'_>, lacking: &mut Vec<At>) {
        table.iter_mut().for_each(|(_, v)| self.fill(v, lacking));
    }
    fn fill(&self, value: &mut Value<'_>, lacking: &mut Vec<At>) {
        let at = value.span();
        match value.get_mut() {
            DeValue::String(text) if text.contains('{') => {
                if self.n.is_none() && text.contains("{n}") {
                    lacking.push(at);
                }
                let filled = text.replace("{n}", self.n.as_deref().unwrap_or("")).replace("{name}", &self.name);
                *text = filled.into();
            }
            DeValue::Array(list) => list.iter_mut().for_each(|v| self.fill(v, lacking)),
            DeValue::Table(table) => self.fill_table(table, lacking),
            _ => {}
        }
    }
}

/// `{nmae}` would go out to the wire as it stands.
fn unknown_templates(reader: &mut Reader<'_>, value: &Value<'_>) {
    match value.get_ref() {
        DeValue::String(text) => {
            let words = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(word, _)| word);
            let ident = |w: &&str| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if let Some(word) = words.filter(ident).find(|w| !["name", "n"].contains(w)) {
                reader.problem_with(&value.span(), format!("nothing is filled in for {{{word}}}"), "known: {name} and {n}");
            }
        }
        DeValue::Array(list) => list.iter().for_each(|v| unknown_templates(reader, v)),
        DeValue::Table(table) => table.values().for_each(|v| unknown_templates(reader, v)),
        _ => {}
    }
}

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
        node.carries = take(&mut table, "carries").map(|(_, v)| self.reader.strings(v, "carries").into_iter().map(|(_, s)| s).collect()).unwrap_or_default();
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
            self.reader.missing(key, "names no kind of bmc", crate::kinds::reader::expected(self.kinds.bmc.iter().map(|k| k.name)));
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
