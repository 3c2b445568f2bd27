//! Ansible's INI inventory: groups, ranges, variables of hosts and groups, groups of groups.
use super::{Found, documents::apply};
use crate::model::hostlist;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Group {
    hosts: BTreeSet<String>,
    vars: Map<String, Value>,
    children: BTreeSet<String>,
}

pub fn read(text: &str) -> Result<Vec<Found>, String> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut vars: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let (mut group, mut part) = ("ungrouped".to_owned(), String::new());
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let head = head.split(']').next().unwrap_or_default();
            let (name, kind) = head.split_once(':').unwrap_or((head, ""));
            (group, part) = (name.to_owned(), kind.to_owned());
            groups.entry(group.clone()).or_default();
            continue;
        }
        let entry = groups.entry(group.clone()).or_default();
        match part.as_str() {
            "" => {
                let words = words(line.split(" #").next().unwrap_or(line));
                let (host, pairs) = words.split_first().ok_or_else(|| format!("line {} names no host", n + 1))?;
                for name in expand(host)? {
                    entry.hosts.insert(name.clone());
                    let own = vars.entry(name).or_default();
                    own.extend(pairs.iter().filter_map(|p| p.split_once('=')).map(|(k, v)| (k.to_owned(), Value::from(v))));
                }
            }
            "vars" => {
                let (key, value) = line.split_once('=').ok_or_else(|| format!("line {}: `{line}` is no KEY=VALUE", n + 1))?;
                entry.vars.insert(key.trim().to_owned(), Value::from(value.trim().trim_matches(['"', '\''])));
            }
            "children" => drop(entry.children.insert(line.to_owned())),
            other => return Err(format!("line {}: `{other}` is no part of a group", n + 1)),
        }
    }
    let mut found = Vec::new();
    for (name, own) in &vars {
        let mut all = groups.get("all").map(|g| g.vars.clone()).unwrap_or_default();
        let mut mine: Vec<&String> = groups.iter().filter(|(_, g)| g.hosts.contains(name)).map(|(n, _)| n).collect();
        let mut next = 0;
        while next < mine.len() {
            let child = mine[next];
            mine.extend(groups.iter().filter(|(n, g)| g.children.contains(child) && !mine.contains(n)).map(|(n, _)| n).collect::<Vec<_>>());
            next += 1;
        }
        // A parent's value is weaker than a child's, and both are weaker than the host's own.
        for group in mine.iter().rev() {
            all.extend(groups[*group].vars.clone());
        }
        all.extend(own.clone());
        let groups: Vec<String> = mine.into_iter().filter(|g| !["all", "ungrouped"].contains(&g.as_str())).cloned().collect();
        let mut f = Found { name: name.clone(), ..Found::default() };
        apply(&mut f, &all, &groups);
        found.push(f);
    }
    Ok(found)
}

/// `web[01:20].example`, in Ansible's spelling, as ours.
pub fn expand(host: &str) -> Result<Vec<String>, String> {
    // `host:2222` names a port only where no bracket is.
    let (host, _) = if host.contains('[') { (host, "") } else { host.rsplit_once(':').filter(|(h, _)| !h.contains(':')).unwrap_or((host, "")) };
    if !host.contains('[') {
        return Ok(vec![host.to_owned()]);
    }
    let ours: String = host
        .chars()
        .scan(false, |inside, c| {
            *inside = match c {
                '[' => true,
                ']' => false,
                _ => *inside,
            };
            Some(if c == ':' && *inside { '-' } else { c })
        })
        .collect();
    hostlist::names(&ours).map_err(|e| format!("`{host}`: {e}"))
}

/// By blanks, with quotes taken off.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}
