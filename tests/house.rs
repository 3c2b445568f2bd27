//! Holds the house of `src/lib.rs` by reading `src/`: who may import whom, which rooms do no I/O, who makes a `Permit`, and a few words that have one place.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A room, and what it may name beside itself. The longest prefix of a module is its room. The reasons stand in `src/lib.rs`.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("event", &["model"]),
    ("kinds", &["model"]),
    ("wire", &["model"]),
    ("drivers", &["kinds", "model", "wire"]),
    ("drivers::bmc", &["kinds", "model", "wire", "guards::Permit"]),
    ("guards", &["model", TRAITS]),
    ("checks", &["kinds", "model", TRAITS]),
    ("due", &["kinds", "model", TRAITS]),
    ("steps", &["checks", "due", "guards", "kinds", "model", TRAITS]),
    ("survey", &["checks", "due", "guards", "model", TRAITS]),
    ("inventory", &["kinds", "model", "drivers::*::KINDS", "checks::KINDS"]),
    ("playbook", &["kinds", "model", "due::KINDS", "steps::KINDS"]),
    ("plan", &["inventory", "playbook", "model"]),
    ("engine::node", &["event", "model", "plan"]),
    ("engine::fleet", &["engine::node", "event", "model", "plan"]),
    ("engine", &["event", "kinds", "model", "plan", "steps", "survey", TRAITS]),
    ("report", &["event", "plan", "model", "engine::fleet"]),
    ("lab", &["model", "wire"]),
    ("cli", &["*"]),
    ("main", &["cli"]),
];
/// What a family's `mod.rs` itself declares: traits and their nouns, never a driver, never its table of kinds.
const TRAITS: &str = "driver traits";
const PURE: &[&str] = &["model", "event", "kinds", "wire", "plan", "engine::node", "engine::fleet"];
const IO_WORDS: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "std::io",
    "async",
    "await",
    "now()",
    "println!",
    "eprintln!",
    "reqwest",
    "rusqlite",
    "Instant",
    "SystemTime",
];
/// What the drivers of a family share, and what makes one driver of several: no kinds themselves.
const SHARED: &[&str] = &["drivers::cluster::https", "drivers::cluster::kube_api", "drivers::cluster::pause", "drivers::bmc::ways"];
const MAKERS: &[&str] = &[
    "dell",
    "idrac",
    "hpe",
    "ilo",
    "lenovo",
    "xclarity",
    "supermicro",
    "huawei",
    "ibmc",
    "fujitsu",
    "irmc",
    "gigabyte",
    "asrock",
    "inspur",
    "cisco",
    "cimc",
    "megarac",
    "quanta",
];
const MOST_LINES: usize = 500;

struct File {
    /// `drivers::bmc::redfish`.
    module: String,
    text: String,
    /// Comments and `#[cfg(test)]` items blanked; line breaks stay.
    said: String,
    /// The same without what stands in string literals.
    code: String,
}

impl File {
    fn new(module: &str, text: &str) -> File {
        let code = blank(text, true);
        let tests = test_items(&code);
        let cut = |mut s: Vec<char>| {
            for &(from, to) in &tests {
                s[from..to].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
            }
            s.into_iter().collect::<String>()
        };
        File { module: module.into(), text: text.into(), said: cut(blank(text, false)), code: cut(code) }
    }
    fn room(&self) -> Option<&'static str> {
        ROOMS.iter().map(|(room, _)| *room).filter(|room| within(&self.module, room)).max_by_key(|room| room.len())
    }
}

/// Comments, and if asked the insides of strings, become blanks. As many characters as before.
fn blank(text: &str, strings: bool) -> Vec<char> {
    let from: Vec<char> = text.chars().collect();
    let mut out = from.clone();
    let mut at = 0;
    let wipe = |out: &mut Vec<char>, a: usize, b: usize| out[a..b].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
    while at < from.len() {
        let rest = &from[at..];
        let end = match rest {
            ['/', '/', ..] => {
                let end = at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
                wipe(&mut out, at, end);
                end
            }
            ['/', '*', ..] => {
                let (mut depth, mut i) = (0, 0);
                while i < rest.len() {
                    match &rest[i..] {
                        ['/', '*', ..] => (depth, i) = (depth + 1, i + 2),
                        ['*', '/', ..] => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
                wipe(&mut out, at, at + i);
                at + i
            }
            ['r', '"' | '#', ..] if at == 0 || !word(from[at - 1]) || from[at - 1] == 'b' => {
                let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
                if rest.get(1 + hashes) != Some(&'"') {
                    at + 1 // a raw identifier
                } else {
                    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let begin = 2 + hashes;
                    let len = rest[begin..].windows(close.len()).position(|w| w == close).unwrap_or(rest.len() - begin);
                    if strings {
                        wipe(&mut out, at + begin, at + begin + len);
                    }
                    (at + begin + len + close.len()).min(from.len())
                }
            }
            ['"', ..] => {
                let mut i = 1;
                while i < rest.len() && rest[i] != '"' {
                    i += if rest[i] == '\\' { 2 } else { 1 };
                }
                let i = i.min(rest.len());
                if strings {
                    wipe(&mut out, at + 1, at + i);
                }
                (at + i + 1).min(from.len())
            }
            // A character, not a lifetime.
            ['\'', '\\', ..] => at + 2 + rest[3.min(rest.len())..].iter().position(|c| *c == '\'').map_or(0, |p| p + 2),
            ['\'', _, '\'', ..] => {
                wipe(&mut out, at + 1, at + 2);
                at + 3
            }
            _ => at + 1,
        };
        at = end.max(at + 1);
    }
    out
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where items stand that only tests see: from the attribute to the end of its block or to its semicolon.
fn test_items(code: &[char]) -> Vec<(usize, usize)> {
    let mark: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = code[at..].windows(mark.len()).position(|w| w == mark).map(|p| at + p) {
        let (mut depth, mut end) = (0, code.len());
        for (i, c) in code.iter().enumerate().skip(begin + mark.len()) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ';' if depth == 0 => {}
                _ => continue,
            }
            if depth == 0 {
                end = i + 1;
                break;
            }
        }
        found.push((begin, end));
        at = end;
    }
    found
}

/// Modules that a file declares for tests only.
fn test_modules(text: &str) -> Vec<String> {
    let code: String = blank(text, true).into_iter().collect();
    code.split("#[cfg(test)]")
        .skip(1)
        .filter_map(|rest| {
            let item = &rest[..rest.find([';', '{'])?];
            if !rest[item.len()..].starts_with(';') {
                return None;
            }
            let (_, name) = item.rsplit_once("mod ")?;
            name.chars().all(word).then(|| name.to_owned())
        })
        .collect()
}

fn within(name: &str, room: &str) -> bool {
    name.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path into this crate that a file names, from its root: braces opened, `super` resolved, modules that were imported followed to what is used of them.
fn names(file: &File) -> BTreeSet<String> {
    let code = &file.code;
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(|c| word(c) || c == '$')) {
        open("", &code[at + 7..], &mut found);
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with(|c| word(c) || c == ':')) {
        let (mut rest, mut base) = (&code[at..], file.module.as_str());
        while let Some(more) = rest.strip_prefix("super::") {
            base = base.rsplit_once("::").map_or("", |(parent, _)| parent);
            rest = more;
        }
        open(&if base.is_empty() { String::new() } else { format!("{base}::") }, rest, &mut found);
    }
    let mut out = BTreeSet::new();
    for path in found {
        let (path, alias) = match path.split_once(" as ") {
            Some((path, alias)) => (path.to_owned(), alias.to_owned()),
            None => (path.clone(), path.rsplit("::").next().unwrap_or_default().to_owned()),
        };
        let uses = if path.rsplit("::").next().is_some_and(|last| last.starts_with(char::is_lowercase)) { uses(&alias, code) } else { BTreeSet::new() };
        match uses.is_empty() {
            true => _ = out.insert(path),
            false => out.extend(uses.into_iter().map(|used| format!("{path}::{used}"))),
        }
    }
    out
}

/// What is used of an imported module: the names behind `alias::`, where nothing stands before it.
fn uses(alias: &str, code: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (at, _) in code.match_indices(&format!("{alias}::")).filter(|(at, _)| !code[..*at].ends_with(|c| word(c) || c == ':')) {
        open("", &code[at + alias.len() + 2..], &mut out);
    }
    out
}

fn open(prefix: &str, rest: &str, out: &mut BTreeSet<String>) {
    let rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        let (mut depth, mut begin) = (0, 0);
        for (at, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    if !inside[begin..at].trim().is_empty() {
                        open(prefix, &inside[begin..at], out);
                    }
                    begin = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
    let (first, more) = rest.split_at(end);
    let path = match first {
        "self" => prefix.trim_end_matches("::").to_owned(),
        first => format!("{prefix}{first}"),
    };
    match more.strip_prefix("::") {
        Some(more) if more.starts_with(|c| word(c) || c == '{') => open(&format!("{path}::"), more, out),
        Some(more) if more.starts_with('*') => _ = out.insert(format!("{path}::*")),
        _ => {
            let alias = more.trim_start().strip_prefix("as ").map(|a| a.trim_start()).map(|a| &a[..a.find(|c| !word(c)).unwrap_or(a.len())]);
            out.insert(alias.map_or(path.clone(), |alias| format!("{path} as {alias}")));
        }
    }
}

fn may(name: &str, allowed: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    match allowed {
        "*" => true,
        TRAITS => matches!(parts[..], ["drivers", _, item, ..] if item.starts_with(char::is_uppercase) && item != "KINDS"),
        "drivers::*::KINDS" => matches!(parts[..], ["drivers", _, "KINDS"]),
        other => within(name, other),
    }
}

/// All that is wrong with one file.
fn judge(file: &File, kinds: &[&str]) -> Vec<String> {
    let module = &file.module;
    let Some(room) = file.room() else { return vec![format!("{module} belongs to no room: add a row to ROOMS and to the map in src/lib.rs")] };
    let allowed = ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, allowed)| allowed);
    let named = names(file);
    let mut wrong: Vec<String> = named
        .iter()
        .filter(|name| !within(name, room) && !within(room, name) && !allowed.iter().any(|a| may(name, a)))
        .map(|name| format!("{module} names {name}, which the room `{room}` may not import"))
        .collect();

    let parts: Vec<&str> = module.split("::").collect();
    if let ["drivers", family, mine, ..] = parts[..] {
        for name in &named {
            match name.split("::").collect::<Vec<_>>()[..] {
                ["drivers", other, ..] if other != family => wrong.push(format!("{module} names {name}, of another family")),
                ["drivers", _, other, ..] if other != mine && other.starts_with(char::is_lowercase) && !SHARED.iter().any(|s| within(name, s)) => {
                    wrong.push(format!("{module} names {name}, its sibling"));
                }
                _ => {}
            }
        }
        wrong.extend(
            ["sleep", "sleep_until", "interval"].iter().filter(|w| has_word(&file.code, w)).map(|w| format!("{module}: a driver never waits, but says `{w}`")),
        );
    }
    if PURE.contains(&room) {
        wrong.extend(IO_WORDS.iter().filter(|w| has_word(&file.code, w)).map(|w| format!("{module} is pure, but says `{w}`")));
    }
    if module != "guards::permit" {
        let made = file.code.match_indices("Permit").any(|(at, hit)| {
            let (before, after) = (file.code[..at].trim_end(), file.code[at + hit.len()..].trim_start());
            after.starts_with('{') && !before.ends_with("->") && !file.code[..at].ends_with(word)
        });
        if made {
            wrong.push(format!("{module} makes a Permit: only guards::permit may"));
        }
        if room != "steps" && room != "guards" && named.iter().any(|n| within(n, "guards::permit")) {
            wrong.push(format!("{module} asks for a Permit: only steps may"));
        }
    }
    if parts.first() == Some(&"engine") {
        // There `ceph` is a file system that /proc/mounts names.
        let kinds = kinds.iter().filter(|k| module != "engine::store::mounts" || **k != "ceph");
        wrong.extend(kinds.filter(|k| file.said.contains(&format!("\"{k}\""))).map(|k| format!("{module}: the engine names the kind `{k}`")));
        wrong.extend(
            named
                .iter()
                .filter(|n| matches!(n.split("::").collect::<Vec<_>>()[..], ["steps", item, ..] if item.starts_with(char::is_lowercase)))
                .map(|n| format!("{module}: the engine names {n}")),
        );
        if has_word(&file.code, "ResetType") {
            wrong.push(format!("{module}: the engine names power verbs"));
        }
    }
    if parts.last() != Some(&"quirks") {
        let said = file.text.to_lowercase();
        wrong.extend(MAKERS.iter().filter(|m| has_word(&said, m)).map(|m| format!("{module} names the maker `{m}`: quirks.rs is the place")));
    }
    wrong.extend(["todo!", "unimplemented!", "dbg!"].iter().filter(|w| has_word(&file.code, w)).map(|w| format!("{module} says `{w}`")));
    let lines = file.said.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > MOST_LINES {
        wrong.push(format!("{module} has {lines} lines of code, at most {MOST_LINES}: split it by concept"));
    }
    if !file.text.starts_with("//!") {
        wrong.push(format!("{module}: the first line does not say what the file is for"));
    }
    wrong
}

fn has_word(text: &str, sought: &str) -> bool {
    text.match_indices(sought).any(|(at, hit)| !text[..at].ends_with(word) && (!sought.ends_with(word) || !text[at + hit.len()..].starts_with(word)))
}

fn source() -> Vec<File> {
    fn walk(dir: &Path, module: &str, tests: &mut BTreeSet<String>, out: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let name = if module.is_empty() { stem.to_owned() } else { format!("{module}::{stem}") };
            if path.is_dir() {
                walk(&path, &name, tests, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = if stem == "mod" { module.to_owned() } else { name };
                let text = fs::read_to_string(&path).unwrap();
                tests.extend(test_modules(&text).into_iter().map(|m| format!("{name}::{m}")));
                out.insert(name, text);
            }
        }
    }
    let (mut tests, mut out) = (BTreeSet::new(), BTreeMap::new());
    walk(&src(), "", &mut tests, &mut out);
    out.retain(|module, _| module != "lib" && !tests.iter().any(|t| within(module, t)));
    out.iter().map(|(module, text)| File::new(module, text)).collect()
}

fn src() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The names of every step, driver, check and due reason there is.
fn kinds() -> Vec<&'static str> {
    use pitstop::{checks, drivers, due, steps};
    let mut names = Vec::new();
    names.extend(steps::KINDS.iter().map(|k| k.name));
    names.extend(checks::KINDS.iter().map(|k| k.name));
    names.extend(due::KINDS.iter().map(|k| k.name));
    names.extend(drivers::cluster::KINDS.iter().map(|k| k.name));
    names.extend(drivers::bmc::KINDS.iter().map(|k| k.name));
    names.extend(drivers::host::KINDS.iter().map(|k| k.name));
    names
}

#[test]
fn the_house_stands() {
    let files = source();
    assert!(files.len() > 150, "only {} files were read", files.len());
    let kinds = kinds();
    let wrong: Vec<String> = files.iter().flat_map(|file| judge(file, &kinds)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `drivers` and `guards` may look at each other: a driver takes a `Permit`, a guard reads through driver traits. Nothing else goes in a circle.
#[test]
fn data_flows_one_way() {
    fn row(name: &str) -> &'static str {
        ROOMS.iter().map(|(room, _)| *room).filter(|room| within(name, room)).max_by_key(|room| room.len()).unwrap_or_else(|| panic!("{name} is no room"))
    }
    fn visit(room: &str, trail: &mut Vec<String>) {
        assert!(!trail.iter().any(|t| t == room), "a circle: {trail:?} → {room}");
        trail.push(room.to_owned());
        for allowed in ROOMS.iter().find(|(name, _)| *name == room).unwrap().1.iter().filter(|a| !["*", "guards::Permit"].contains(*a)) {
            visit(if *allowed == TRAITS { "drivers" } else { row(allowed) }, trail);
        }
        trail.pop();
    }
    ROOMS.iter().for_each(|(room, _)| visit(room, &mut Vec::new()));
}

/// A new kind is one file and two lines of its folder's `mod.rs`: so every public module there is a kind with a row, and every row a module.
#[test]
fn a_kind_is_one_file_and_two_lines() {
    use pitstop::{checks, drivers, due, steps};
    let folders = [
        ("steps", steps::KINDS.len()),
        ("checks", checks::KINDS.len()),
        ("due", due::KINDS.len()),
        ("drivers/cluster", drivers::cluster::KINDS.len()),
        ("drivers/bmc", drivers::bmc::KINDS.len()),
        ("drivers/host", drivers::host::KINDS.len()),
    ];
    for (folder, count) in folders {
        let text = fs::read_to_string(src().join(folder).join("mod.rs")).unwrap();
        let (mut modules, rows) = modules_and_rows(&text);
        modules.retain(|m| !SHARED.contains(&format!("{}::{m}", folder.replace('/', "::")).as_str()));
        assert_eq!(rows.len(), count, "{folder}: rows that were read, and rows that were compiled");
        assert_eq!(modules, rows, "{folder}/mod.rs: `pub mod` lines, and rows of KINDS");
    }
}

fn modules_and_rows(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let code = File::new("x", text).code;
    let between = |line: &str, a: &str, b: &str| Some(line.trim().strip_prefix(a)?.split(b).next()?.to_owned());
    (code.lines().filter_map(|l| between(l, "pub mod ", ";")).collect(), code.lines().filter_map(|l| between(l, "Kind::of::<", "::")).collect())
}

#[test]
fn the_map_names_every_room() {
    let map = fs::read_to_string(src().join("lib.rs")).unwrap();
    let map: Vec<&str> = map.lines().filter(|l| l.starts_with("//!")).collect();
    for entry in fs::read_dir(src()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(name == "lib" || map.iter().any(|line| has_word(line, &name)), "the map in src/lib.rs does not show {name}");
    }
}

#[test]
fn a_permit_cannot_be_copied() {
    let text = fs::read_to_string(src().join("guards/permit.rs")).unwrap();
    let before = text.split("pub struct Permit").next().unwrap();
    assert!(before.ends_with("#[derive(Debug)]\n"), "Permit derives more than Debug");
}

/// The reader finds what it must, and nothing in what is right.
#[test]
fn the_reader_bites() {
    let wrong = |module: &str, text: &str| judge(&File::new(module, &format!("//! x\n{text}")), &["reset", "kubernetes"]);
    let all = [
        ("plan", "use crate::{model::*, drivers::{self, bmc}};"),
        ("plan::order", "use super::super::engine::fleet;"),
        ("engine::node", "fn f() { crate::engine::run::x() }"),
        ("engine::node", "use super::task;"),
        ("drivers::cluster::vergeos", "use super::kubernetes::Config;"),
        ("drivers::cluster::vergeos", "use crate::drivers::host::Host;"),
        ("drivers::bmc::redfish::client", "use super::super::ipmi::session;"),
        ("drivers::host::ssh", "use crate::guards::Permit;"),
        ("drivers::bmc::ipmi", "use crate::guards::permit;"),
        ("drivers::host::ssh", "fn f() { std::thread::sleep(x) }"),
        ("inventory", "use crate::drivers::cluster::kubernetes;"),
        ("inventory", "use crate::drivers::cluster as c; fn f(x: c::Ask) {}"),
        ("checks::tcp", "use crate::drivers::net::probe;"),
        ("checks::tcp", "use crate::drivers::{net}; fn f() { net::probe::tcp() }"),
        ("lab::redfish", "use crate::drivers::bmc::Bmc;"),
        ("lab", "use crate::engine::store::Store;"),
        ("report", "use crate::engine::run::Engine;"),
        ("steps::reset", "use crate::engine;"),
        ("model", "fn f() { let t = Timestamp::now(); }"),
        ("wire::rmcp", "use tokio::net::UdpSocket;"),
        ("engine::fleet", "async fn f() {}"),
        ("kinds", "use std::fs;"),
        ("cli", "fn f() { let p = Permit { node, verb }; }"),
        ("cli", "fn f() { crate::guards::permit(a, b, c) }"),
        ("engine::run", "fn f(k: &str) -> bool { k == \"reset\" }"),
        ("engine::run", "fn f(v: ResetType) {}"),
        ("engine::task", "use crate::steps::reset::Config;"),
        ("drivers::bmc::redfish", "const A: &str = \"Dell Inc.\";"),
        ("report", "fn f() { todo!() }"),
        ("nowhere", ""),
    ];
    for (module, text) in all {
        assert!(!wrong(module, text).is_empty(), "nothing found in {module}: {text}");
    }
    assert!(!wrong("report", &"let a = 1;\n".repeat(MOST_LINES + 1)).is_empty());
    assert!(!judge(&File::new("report", "use std::fmt;"), &[]).is_empty(), "a file that does not say what it is for");

    let fine = [
        ("inventory", "fn f() { let k = crate::drivers::cluster::KINDS; }"),
        ("inventory", "use crate::drivers::{bmc, cluster}; fn f() { (bmc::KINDS, cluster::KINDS); }"),
        ("plan", "// crate::drivers is not for us\n/* nor crate::engine */ use crate::model::Span;"),
        ("plan", "const A: &str = \"crate::drivers\"; const B: &str = r#\"tokio \"quoted\" \"#; const C: char = '\"'; use crate::model::X;"),
        ("plan", "#[cfg(test)]\nmod tests { use crate::engine::run; fn f() { todo!() } }"),
        ("guards", "use crate::drivers::bmc::Bmc; fn f<'a>(x: &'a str) {}"),
        ("drivers::bmc::redfish", "use crate::guards::Permit; fn f(p: &mut Permit) -> Permit { g() }"),
        ("drivers::cluster::kubernetes", "use super::kube_api::pods; fn f() { pods::list() }"),
        ("drivers::bmc::redfish::quirks", "const A: &str = \"Dell Inc.\";"),
        ("engine::run", "use crate::steps; fn f() { kinds::make(steps::KINDS, s) }"),
        ("cli", "use crate::lab::setup;"),
    ];
    for (module, text) in fine {
        assert_eq!(wrong(module, text), Vec::<String>::new(), "{module}: {text}");
    }
    assert_eq!(test_modules("mod a;\n#[cfg(test)]\npub mod fake;\n#[cfg(test)]\nmod tests { }\nmod b;"), ["fake"]);
    let (modules, rows) =
        modules_and_rows("pub mod a;\n// pub mod x;\nmod b;\nconst KINDS: X = &[\n    Kind::of::<a::Config>(),\n    Kind::of::<b::Config>(),\n];");
    assert_ne!(modules, rows, "a row without its line");
}

/// docs/safety-tests.md names tests that exist: `BINARY::name`, or `lib a::b::name`.
#[test]
fn the_tests_of_the_sentences_exist() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/safety-tests.md")).unwrap();
    let missing = unknown_tests(&page, &tests_by_binary());
    assert!(missing.is_empty(), "docs/safety-tests.md names what is no test: {missing:#?}");
    let rows: Vec<&str> = page.lines().filter(|l| l.starts_with('|')).skip(2).collect();
    let bare: Vec<&&str> = rows.iter().filter(|l| !l.contains("::")).collect();
    assert!(rows.len() > 40 && bare.is_empty(), "a sentence without a test: {bare:#?}");
    let odd = "`sim::no_such_test`, `lib guards::no_such_test` and `lib guards::identity::placeholders_prove_nothing`";
    assert_eq!(unknown_tests(odd, &tests_by_binary()).len(), 3, "the reader bites");
}

/// docs/health-tests.md: so too, and no check and no item of the picture is forgotten.
#[test]
fn every_check_and_every_item_of_the_picture_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/health-tests.md")).unwrap();
    let missing = unknown_tests(&page, &tests_by_binary());
    assert!(missing.is_empty(), "docs/health-tests.md names what is no test: {missing:#?}");
    let rows: Vec<Vec<&str>> = page.lines().filter(|l| l.starts_with("| `")).map(|l| l.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let named: BTreeSet<&str> = rows.iter().flat_map(|cells| cells[0].split('`').skip(1).step_by(2)).collect();
    let checks = pitstop::checks::KINDS.iter().map(|k| k.name);
    let text = fs::read_to_string(root.join("src/steps/baseline/read.rs")).unwrap();
    let table = text.split("const SECTIONS").nth(1).unwrap().split("/// Nobody does").next().unwrap();
    let items = table.lines().filter_map(|l| l.trim().strip_prefix("(\"")?.split('"').nth(2));
    let others = ["boot-order", "secure-boot", "firmware", "bmc-boot-order", "bmc-secure-boot", "bios"];
    let items: BTreeSet<&str> = items.chain(others).collect();
    assert!(items.len() > 15 && items.contains("dimm"), "{items:?}");
    let forgotten: Vec<&str> = checks.chain(items).filter(|k| !named.contains(k)).collect();
    assert!(forgotten.is_empty(), "no row in docs/health-tests.md: {forgotten:?}");
    let empty: Vec<&Vec<&str>> = rows.iter().filter(|cells| cells.len() == 6 && cells.iter().any(|c| c.is_empty())).collect();
    assert!(empty.is_empty(), "a case without a test: {empty:#?}");
}

/// Of each binary, the lib among them: the names behind `#[test]`.
fn tests_by_binary() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut todo = vec![("lib".to_owned(), root.join("src"))];
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        todo.push((path.file_stem().unwrap().to_string_lossy().into_owned(), path));
    }
    while let Some((binary, path)) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| (binary.clone(), e.unwrap().path())));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut test = false;
            for line in text.lines().map(str::trim) {
                let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
                match name {
                    Some(name) if std::mem::take(&mut test) => {
                        let file = path.strip_prefix(root).unwrap_or(&path).with_extension("");
                        let rooms: Vec<_> = file.iter().skip(1).map(|p| p.to_string_lossy()).filter(|p| p != "mod").collect();
                        found.entry(binary.clone()).or_default().extend([name.to_owned(), format!("{}::{name}", rooms.join("::"))]);
                    }
                    _ => test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test"),
                }
            }
        }
    }
    found
}

fn unknown_tests(page: &str, tests: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let named = page.split('`').skip(1).step_by(2).filter(|word| word.contains("::") && !word.contains("BINARY"));
    let known = |word: &str| {
        let (binary, name) = match word.strip_prefix("lib ") {
            Some(path) => ("lib", path),
            None => word.split_once("::").unwrap_or_default(),
        };
        tests.get(binary).is_some_and(|names| names.contains(name))
    };
    named.filter(|word| !known(word)).map(str::to_owned).collect()
}
