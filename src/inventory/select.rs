//! Which nodes are meant: names and ranges, `--where rack=r2,role!=storage`. Never "all" by omission.
use super::{Inventory, NodeEntry};
use crate::{
    kinds::reader::{expected, nearest, suggest},
    model::{NodeName, hostlist},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A selection that means nothing, or that nobody should guess at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectError {
    pub message: String,
    /// What to type instead.
    pub help: Option<String>,
}
impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}
impl std::error::Error for SelectError {}

fn wrong(message: impl Into<String>, help: Option<String>) -> SelectError {
    SelectError { message: message.into(), help }
}

/// `rack=r2,role!=storage`: every term must hold. A value may be a hostlist: `rack=r[1-2]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    key: String,
    values: Vec<String>,
    equal: bool,
}

impl Selector {
    pub fn parse(text: &str) -> Result<Selector, SelectError> {
        split(text).into_iter().map(term).collect::<Result<_, _>>().map(Selector)
    }

    /// The nodes it means. A key or value that no node has is a slip, also behind `!=`, where it would select everything.
    pub fn select(&self, nodes: &BTreeMap<NodeName, NodeEntry>) -> Result<BTreeSet<NodeName>, SelectError> {
        for Term { key, values, .. } in &self.0 {
            let known: BTreeSet<String> = nodes.iter().flat_map(|(name, node)| have(name, node, key)).collect();
            if known.is_empty() {
                let keys: BTreeSet<&str> = nodes.values().flat_map(|n| n.labels.keys()).map(String::as_str).chain(["cluster", "name"]).collect();
                return Err(wrong(format!("no node has a label `{key}`"), suggest(key, keys)));
            }
            if let Some(unknown) = values.iter().find(|v| !known.contains(*v)) {
                return Err(wrong(format!("no node has {key}={unknown}"), suggest(unknown, known.iter().map(String::as_str))));
            }
        }
        Ok(nodes.iter().filter(|(name, node)| self.0.iter().all(|t| t.holds(name, node))).map(|(name, _)| name.clone()).collect())
    }
}
impl Term {
    fn holds(&self, name: &NodeName, node: &NodeEntry) -> bool {
        have(name, node, &self.key).iter().any(|v| self.values.contains(v)) == self.equal
    }
}

/// A node may be in several clusters: `cluster=edge` holds if one of them is edge.
fn have(name: &NodeName, node: &NodeEntry, key: &str) -> Vec<String> {
    match key {
        "name" => vec![name.0.clone()],
        "cluster" => node.seats.iter().map(|s| s.cluster.0.clone()).collect(),
        label => node.labels.get(label).cloned().into_iter().collect(),
    }
}

/// At commas outside brackets.
fn split(text: &str) -> Vec<&str> {
    let mut open = false;
    text.split(|c: char| {
        open = (open || c == '[') && c != ']';
        c == ',' && !open
    })
    .collect()
}

fn term(text: &str) -> Result<Term, SelectError> {
    let usage = || wrong(format!("`{}` is not KEY=VALUE or KEY!=VALUE", text.trim()), Some("such as rack=r2,role!=storage".into()));
    let (left, value) = text.split_once('=').ok_or_else(usage)?;
    let (key, equal) = left.strip_suffix('!').map_or((left, true), |key| (key, false));
    let (key, value) = (key.trim(), value.trim());
    let odd = |s: &str| s.is_empty() || s.contains(['=', '!']);
    if odd(key) || odd(value) {
        return Err(usage());
    }
    let values = if value.contains(['[', ']']) { hostlist::names(value).map_err(|e| wrong(e, None))? } else { vec![value.to_owned()] };
    Ok(Term { key: key.to_owned(), values, equal })
}

/// What the command line means. The result is never empty.
pub fn select(inventory: &Inventory, names: &[String], filter: Option<&str>, all: bool) -> Result<BTreeSet<NodeName>, SelectError> {
    let nodes = &inventory.nodes;
    if names.is_empty() && filter.is_none() && !all {
        return Err(wrong("no nodes are named", Some(format!("name some, filter with --where, or say --all for all {}", nodes.len()))));
    }
    if all && !names.is_empty() {
        return Err(wrong("--all and node names contradict each other", Some("leave out one of them".into())));
    }
    let mut chosen: BTreeSet<NodeName> = match names {
        [] => nodes.keys().cloned().collect(),
        names => named(nodes, names)?,
    };
    if let Some(filter) = filter {
        let meant =
            Selector::parse(filter).and_then(|s| s.select(nodes)).map_err(|e| SelectError { message: format!("--where {filter}: {}", e.message), ..e })?;
        chosen.retain(|name| meant.contains(name));
    }
    if chosen.is_empty() {
        let what = filter.map_or("the inventory has no node".to_owned(), |f| {
            format!("no node is meant by --where {f}{}", if names.is_empty() { "" } else { " among those named" })
        });
        return Err(wrong(what, None));
    }
    Ok(chosen)
}

fn named(nodes: &BTreeMap<NodeName, NodeEntry>, names: &[String]) -> Result<BTreeSet<NodeName>, SelectError> {
    let mut chosen = BTreeSet::new();
    let mut unknown = Vec::new();
    for list in names {
        for name in hostlist::names(list).map_err(|e| wrong(e, None))? {
            match nodes.contains_key(&NodeName(name.clone())) {
                true => drop(chosen.insert(NodeName(name))),
                false => unknown.push(name),
            }
        }
    }
    if unknown.is_empty() {
        return Ok(chosen);
    }
    let message = format!("unknown node{} {}", if unknown.len() == 1 { "" } else { "s" }, hostlist::compress(unknown.iter().map(String::as_str)));
    Err(wrong(message, near_node(nodes, &unknown[0])))
}

/// The nearest node, or the names there are, as ranges.
pub(super) fn near_node(nodes: &BTreeMap<NodeName, NodeEntry>, unknown: &str) -> Option<String> {
    let known = || nodes.keys().map(|n| n.0.as_str());
    // Neighbours in a rack differ by a digit: where only digits differ the answer is the range, not some neighbour.
    let letters = |s: &str| s.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let near = nearest(unknown, known()).filter(|near| letters(near) != letters(unknown));
    near.map(|n| format!("did you mean `{n}`?")).or_else(|| {
        let short = hostlist::compress(known());
        expected(split(&short).into_iter().filter(|s| !s.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inventory::Seat,
        model::{ClusterName, TimeScale},
    };

    fn inventory() -> Inventory {
        let node = |i: u32| {
            let labels = [("rack", if i < 4 { "r1" } else { "r2" }), ("role", if i == 6 { "storage" } else { "compute" })];
            let seats = vec![Seat { cluster: ClusterName(if i == 3 { "vault" } else { "edge" }.into()), node: String::new() }];
            let labels = labels.into_iter().filter(|(k, _)| i != 5 || *k != "role").map(|(k, v)| (k.into(), v.into())).collect();
            (NodeName(format!("edge-{i:02}")), NodeEntry { labels, seats, ..NodeEntry::default() })
        };
        let nodes = (1..=6).map(node).collect();
        Inventory { base: "/".into(), clusters: BTreeMap::new(), nodes, checks: vec![], time: TimeScale::default(), trust: BTreeMap::new() }
    }
    fn check(names: &[&str], filter: Option<&str>, all: bool, expect: Result<&str, &str>) {
        let names: Vec<String> = names.iter().map(|s| s.to_string()).collect();
        let got = select(&inventory(), &names, filter, all).map(|s| hostlist::compress(s.iter().map(|n| n.0.as_str()))).map_err(|e| e.to_string());
        assert_eq!(got, expect.map(Into::into).map_err(Into::into), "{names:?} {filter:?} {all}");
    }

    #[test]
    fn names_filters_and_all() {
        check(&["edge-[01-02]", "edge-05,edge-02"], None, false, Ok("edge-[01-02,05]"));
        check(&[], Some("rack=r2,role!=storage"), false, Ok("edge-[04-05]"));
        check(&[], Some("name=edge-[01-03], cluster=edge"), false, Ok("edge-[01-02]"));
        check(&[], Some("rack=r[1-2]"), false, Ok("edge-[01-06]"));
        check(&["edge-[03-04]"], Some("cluster!=vault"), false, Ok("edge-04"));
        check(&[], None, true, Ok("edge-[01-06]"));
        check(&[], Some("rack=r1"), true, Ok("edge-[01-03]"));
    }

    #[test]
    fn nothing_is_guessed() {
        check(&[], None, false, Err("no nodes are named; name some, filter with --where, or say --all for all 6"));
        check(&["edge-01"], None, true, Err("--all and node names contradict each other; leave out one of them"));
        check(&["egde-01"], None, false, Err("unknown node egde-01; did you mean `edge-01`?"));
        check(&["edge-[05-09]"], None, false, Err("unknown nodes edge-[07-09]; known: edge-[01-06]"));
        check(&["edge-[3-1]"], None, false, Err("`[3-1]` in `edge-[3-1]` runs backwards: use [1-3]"));
        check(&[], Some("rakc=r1"), false, Err("--where rakc=r1: no node has a label `rakc`; did you mean `rack`?"));
        check(&[], Some("role!=storge"), false, Err("--where role!=storge: no node has role=storge; did you mean `storage`?"));
        check(&[], Some("rack"), false, Err("--where rack: `rack` is not KEY=VALUE or KEY!=VALUE; such as rack=r2,role!=storage"));
        check(&[], Some("rack==r1"), false, Err("--where rack==r1: `rack==r1` is not KEY=VALUE or KEY!=VALUE; such as rack=r2,role!=storage"));
        check(&["edge-01"], Some("rack=r2"), false, Err("no node is meant by --where rack=r2 among those named"));
        check(&[], Some("rack=r1,role=storage"), false, Err("no node is meant by --where rack=r1,role=storage"));
    }
}
