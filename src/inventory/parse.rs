//! Gathers the tables of all files, checks those that stand for themselves, and joins the rest to nodes. Pure.
use super::{
    CheckEntry, CheckRule, ClusterEntry, ConfigErrors, File, Inventory, Kinds, NodeEntry, Problem,
    inherit::{Defaults, Template},
    nodes,
    select::{Selector, near_node},
    trust::{self, TRUST_FILE},
};
use crate::{
    kinds::{
        Row,
        reader::{At, Reader, Value, suggest, take},
    },
    model::{ClusterName, NodeName, TimeScale, hostlist},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use toml::de::{DeTable, DeValue};

const SECTIONS: [&str; 6] = ["defaults", "clusters", "labels", "nodes", "checks", "time"];
const AT: [&str; 3] = ["before", "booted", "settled"];

/// The tables of all files, in the order of the files.
#[derive(Default)]
struct Gathered<'s> {
    clusters: Vec<(At, String, Value<'s>)>,
    labels: Vec<(At, String, Value<'s>)>,
    nodes: Vec<(At, DeTable<'s>)>,
    checks: Vec<(At, DeTable<'s>)>,
    defaults: Defaults<'s>,
    time: Option<At>,
    scale: Option<(At, f64)>,
    trust: BTreeMap<NodeName, crate::model::Trust>,
}

/// `unread`: what the loader could not even read.
pub fn parse(files: &[File], base: PathBuf, kinds: &Kinds, unread: Vec<Problem>) -> Result<Inventory, ConfigErrors> {
    let mut reader = Reader::default();
    let mut all = Gathered::default();
    for file in files {
        let tree = reader.parse(file);
        match std::path::Path::new(&file.name).ends_with(TRUST_FILE) {
            true => all.trust = trust::read(&mut reader, tree),
            false => gather(&mut reader, tree, kinds, &mut all),
        }
    }
    let clusters = clusters(&mut reader, std::mem::take(&mut all.clusters), kinds);
    all.defaults.check(&mut reader, kinds);
    let known: BTreeSet<String> = clusters.keys().map(|c| c.0.clone()).collect();
    let mut made = nodes::read(&mut reader, std::mem::take(&mut all.nodes), &all.defaults, &known, kinds);
    labels(&mut reader, std::mem::take(&mut all.labels), &mut made.nodes);
    let checks = std::mem::take(&mut all.checks).into_iter().filter_map(|(at, t)| check(&mut reader, at, t, &kinds.check, &mut made)).collect();
    let scaled = all.scale.as_ref().filter(|(_, scale)| *scale != 1.0).map(|(at, _)| at.clone());
    made.twins(&mut reader, scaled);
    let trust = made.pin(&mut reader, all.trust);
    let clusters = clusters.into_iter().filter_map(|(name, entry)| Some((name, entry?))).collect();
    // What a file that cannot be read defines is unknown: problems of absence would be guesses.
    reader.distrust_absence(!unread.is_empty());
    reader.finish(unread)?;
    Ok(Inventory { base, clusters, nodes: made.nodes, checks, time: all.scale.map(|(_, s)| TimeScale(s)).unwrap_or_default(), trust })
}

fn gather<'s>(reader: &mut Reader<'s>, mut tree: DeTable<'s>, kinds: &Kinds, all: &mut Gathered<'s>) {
    for (section, into) in [("clusters", &mut all.clusters), ("labels", &mut all.labels)] {
        if let Some((_, value)) = take(&mut tree, section)
            && let Some((_, table)) = reader.table(value, &format!("[{section}]"))
        {
            into.extend(table.into_iter().map(|(k, v)| (k.span(), k.into_inner().into_owned(), v)));
        }
    }
    for (section, into) in [("nodes", &mut all.nodes), ("checks", &mut all.checks)] {
        if let Some((_, value)) = take(&mut tree, section) {
            let list = reader.array(value, &format!("[[{section}]]"));
            into.extend(list.into_iter().filter_map(|v| reader.table(v, &format!("an entry of [[{section}]]"))));
        }
    }
    if let Some((_, value)) = take(&mut tree, "defaults")
        && let Some((_, table)) = reader.table(value, "[defaults]")
    {
        all.defaults.add(reader, table, kinds);
    }
    if let Some((key, value)) = take(&mut tree, "time")
        && let Some((_, table)) = reader.table(value, "[time]")
    {
        match &all.time {
            Some(first) => {
                let place = reader.sources.place(first);
                reader.problem(&key, format!("[time] is already given at {place}"));
            }
            None => {
                all.time = Some(key);
                all.scale = time(reader, table);
            }
        }
    }
    reader.leftover_at_top(&tree, &SECTIONS);
}

fn time<'s>(reader: &mut Reader<'s>, mut table: DeTable<'s>) -> Option<(At, f64)> {
    let scale = take(&mut table, "scale");
    reader.leftover(&table, &["scale"]);
    let (_, value) = scale?;
    let at = value.span();
    let scale = reader.typed::<f64>(value)?;
    if !(scale.is_finite() && scale > 0.0 && scale <= 1.0) {
        reader.problem(&at, "scale is a number above 0 and at most 1");
        return None;
    }
    Some((at, scale))
}

/// Letters, digits, `.`, `-` and `_`: such a name is safe in a path, a URL, a journal and a selector.
pub(super) fn plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)) && name.len() <= 253
}

/// A cluster with problems is still there for its nodes, as `None`.
fn clusters<'s>(reader: &mut Reader<'s>, tables: Vec<(At, String, Value<'s>)>, kinds: &Kinds) -> BTreeMap<ClusterName, Option<ClusterEntry>> {
    let mut out = BTreeMap::new();
    let mut first: BTreeMap<String, At> = BTreeMap::new();
    for (at, name, value) in tables {
        if !plain_name(&name) {
            reader.problem_with(&at, format!("`{name}` is not a cluster's name"), "letters, digits, `.`, `-` and `_`");
        }
        let Some((_, mut table)) = reader.table(value, &format!("cluster {name}")) else { continue };
        let mut sites: Vec<_> = take(&mut table, "site").into_iter().collect();
        // `site` may stand in the kind's table too, where the eye looks for it.
        for (_, inner) in table.iter_mut() {
            if let DeValue::Table(inner) = inner.get_mut() {
                sites.extend(take(inner, "site"));
            }
        }
        if let [_, (at, _), ..] = &sites[..] {
            reader.problem(at, "site is given twice");
        }
        let site = sites.first().and_then(|(_, v)| reader.string(v, "site"));
        let setting = reader.setting(&at, table, "cluster", &kinds.cluster);
        if let Some(before) = first.get(&name) {
            let place = reader.sources.place(before);
            reader.problem(&at, format!("cluster `{name}` is already defined at {place}"));
            continue;
        }
        first.insert(name.clone(), at);
        out.insert(ClusterName(name), setting.map(|setting| ClusterEntry { setting, site }));
    }
    out
}

/// `[labels.rack] r1 = "edge-[01-08]"`.
fn labels<'s>(reader: &mut Reader<'s>, tables: Vec<(At, String, Value<'s>)>, nodes: &mut BTreeMap<NodeName, NodeEntry>) {
    for (at, key, value) in tables {
        label_key(reader, &at, &key);
        let Some((_, values)) = reader.table(value, &format!("[labels.{key}]")) else { continue };
        for (label, ranges) in values {
            for (at, list) in reader.strings(ranges, "a label's nodes") {
                match hostlist::names(&list) {
                    Ok(names) => assign(reader, &at, (&key, label.get_ref()), names, nodes),
                    Err(wrong) => reader.problem(&at, wrong),
                }
            }
        }
    }
}

pub(super) fn label_key(reader: &mut Reader<'_>, at: &At, key: &str) {
    if ["name", "cluster"].contains(&key) {
        reader.problem(at, format!("`{key}` cannot be a label: every node has a {key} that selectors know"));
    } else if !plain_name(key) {
        reader.problem_with(at, format!("`{key}` is not a label's name"), "letters, digits, `.`, `-` and `_`");
    }
}

fn assign(reader: &mut Reader<'_>, at: &At, (key, label): (&str, &str), names: Vec<String>, nodes: &mut BTreeMap<NodeName, NodeEntry>) {
    let mut unknown = Vec::new();
    let mut otherwise: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        match nodes.get_mut(&NodeName(name.clone())) {
            None => unknown.push(name),
            Some(node) => match node.labels.get(key) {
                Some(other) if other != label => otherwise.entry(other.clone()).or_default().push(name),
                _ => drop(node.labels.insert(key.to_owned(), label.to_owned())),
            },
        }
    }
    let short = |names: &[String]| hostlist::compress(names.iter().map(String::as_str));
    if let Some(first) = unknown.first() {
        let help = near_node(nodes, first);
        reader.missing(at, format!("no node is called {}", short(&unknown)), help);
    }
    for (other, names) in otherwise {
        reader.problem(at, format!("{} already has {key} = \"{other}\"", short(&names)));
    }
}

/// One `[[checks]]`: its setting is checked for every node it means, with that node's name filled in.
fn check<'s>(reader: &mut Reader<'s>, header: At, mut table: DeTable<'s>, kinds: &[Row], made: &mut nodes::Made) -> Option<CheckRule> {
    reader.mark();
    let filter = take(&mut table, "where");
    let at = take(&mut table, "at");
    let at = match &at {
        None => {
            reader.missing(&header, "missing key `at`", Some(format!("one of {}", AT.join(", "))));
            None
        }
        Some((_, value)) => reader.string(value, "`at`").filter(|word| {
            let known = AT.contains(&word.as_str());
            if !known {
                let help = suggest(word, AT).unwrap_or_default();
                reader.problem_with(&value.span(), format!("`{word}` is no moment of a check"), help);
            }
            known
        }),
    };
    let (select, chosen) = match &filter {
        None => (None, Some(made.nodes.keys().cloned().collect::<BTreeSet<_>>())),
        Some((_, value)) => {
            let text = reader.string(value, "`where`");
            let chosen = text.as_deref().and_then(|text| meant(reader, &value.span(), text, made));
            (text, chosen)
        }
    };
    // Without a node to check it for, the table itself is still looked at.
    let sample = [NodeName("node-1".into())];
    let nodes: Vec<&NodeName> = chosen.iter().flatten().collect();
    let nodes = if nodes.is_empty() { sample.iter().collect() } else { nodes };
    let mut settings = Vec::new();
    for node in nodes {
        let template = made.numbers.get(node).cloned().unwrap_or_else(|| Template::of(&node.0));
        let mut table = table.clone();
        template.fill_table(&mut table, &mut Vec::new());
        settings.extend(reader.setting(&header, table, "check", kinds).map(|setting| (node.clone(), setting)));
        reader.mark();
    }
    let (at, chosen) = (at?, chosen?);
    let kind = settings.first()?.1.kind.clone();
    for (node, setting) in settings {
        if let Some(entry) = made.nodes.get_mut(&node) {
            entry.checks.push(CheckEntry { at: at.clone(), setting });
        }
    }
    Some(CheckRule { select, at, kind, nodes: chosen })
}

fn meant(reader: &mut Reader<'_>, at: &At, text: &str, made: &nodes::Made) -> Option<BTreeSet<NodeName>> {
    let selector = Selector::parse(text).map_err(|e| reader.problem_with(at, e.message, e.help.unwrap_or_default())).ok()?;
    match selector.select(&made.nodes) {
        Ok(chosen) if !chosen.is_empty() => return Some(chosen),
        Ok(_) => reader.missing(at, "no node is meant by this", None),
        Err(e) => reader.missing(at, e.message, e.help),
    }
    None
}
