//! What nodes inherit from `[defaults]`, and `{name}` and `{n}` in their strings.
use super::Kinds;
use crate::{
    kinds::{
        Row,
        reader::{At, Reader, Value, suggest, take},
    },
    model::hostlist,
};
use std::collections::BTreeMap;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What `[defaults]` may give beside `bmc` and `host`: names and identities are a node's own.
const SHARED: [&str; 6] = ["cluster", "cluster_node", "labels", "carries", "unlock", "known_containers"];

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
    pub fn merge(&self, node: &mut DeTable<'s>) {
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
    pub name: String,
    pub n: Option<String>,
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
pub(super) fn unknown_templates(reader: &mut Reader<'_>, value: &Value<'_>) {
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
