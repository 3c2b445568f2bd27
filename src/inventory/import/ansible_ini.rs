//! Ansible's INI inventory: groups, ranges, variables of hosts and groups, groups of groups.
use super::{Found, Listed, documents::apply};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Group {
    hosts: BTreeSet<String>,
    vars: Map<String, Value>,
    children: BTreeSet<String>,
}

pub fn read(text: &str) -> Result<Listed, String> {
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
                let words = words(line);
                let (host, pairs) = words.split_first().ok_or_else(|| format!("line {} names no host", n + 1))?;
                for name in expand(host)? {
                    entry.hosts.insert(name.clone());
                    let own = vars.entry(name).or_default();
                    own.extend(port_of(host).map(|port| ("ansible_port".to_owned(), Value::from(port))));
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
    let mut listed = Listed::default();
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
        listed.take(f);
    }
    Ok(listed)
}

/// More is a mistake.
const MOST: usize = 100_000;

/// `host:2222`: a port, where it is no IPv6 address.
fn port_of(host: &str) -> Option<u16> {
    let (name, port) = host.rsplit_once(':')?;
    if name.contains([':', '[']) && !name.ends_with(']') { None } else { port.parse().ok() }
}

/// `web[01:20:2]-[a:c].example`, in Ansible's spelling.
pub fn expand(host: &str) -> Result<Vec<String>, String> {
    let host = if port_of(host).is_some() { host.rsplit_once(':').map_or(host, |(name, _)| name) } else { host };
    let (mut names, mut rest) = (vec![String::new()], host);
    while let Some((head, tail)) = rest.split_once('[') {
        let (inside, after) = tail.split_once(']').ok_or_else(|| format!("`{host}`: a `[` without its `]`"))?;
        let values = range(inside).ok_or_else(|| format!("`{host}`: `[{inside}]` is no range, like [01:20] or [a:f]"))?;
        if names.len().saturating_mul(values.len()) > MOST {
            return Err(format!("`{host}` stands for more than {MOST} names"));
        }
        names = names.iter().flat_map(|name| values.iter().map(move |value| format!("{name}{head}{value}"))).collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// From, to, and perhaps a step; numbers as wide as they are written, or single letters.
fn range(text: &str) -> Option<Vec<String>> {
    let mut parts = text.split(':');
    let (from, to, step) = (parts.next()?, parts.next()?, parts.next().map_or(Some(1), |s| s.parse::<usize>().ok())?);
    if step == 0 || parts.next().is_some() {
        return None;
    }
    if let (Ok(low), Ok(high)) = (from.parse::<u32>(), to.parse::<u32>()) {
        let width = if from.starts_with('0') { from.len() } else { 0 };
        return (low <= high && (high - low) as usize <= MOST).then(|| (low..=high).step_by(step).map(|n| format!("{n:0width$}")).collect());
    }
    match (from.as_bytes(), to.as_bytes()) {
        ([low], [high]) if low.is_ascii_alphabetic() && high.is_ascii_alphabetic() && low <= high => {
            Some((*low..=*high).step_by(step).map(|c| char::from(c).to_string()).collect())
        }
        _ => None,
    }
}

/// By blanks, with quotes taken off; up to a comment.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#' | ';') if word.is_empty() => break,
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
