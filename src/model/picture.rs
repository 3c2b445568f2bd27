//! What a machine has and runs, as items with facts: taken before it is touched, compared after. Pure.
use super::{
    compare_versions,
    picture_words::{gib, told, two, words},
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// `speed` → `25000`. What an item says of itself, in the words of the tool that said it.
pub type Facts = BTreeMap<String, String>;

/// Every item by `category:name`: `link:eth1`, `dimm:A3`, `mount:/var`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub items: BTreeMap<String, Facts>,
    /// Categories that could not be read, and why: nothing is known about them, which is not the same as nothing being there.
    #[serde(default)]
    pub unread: BTreeMap<String, String>,
}

impl Picture {
    pub fn put(&mut self, category: &str, name: &str, facts: &[(&str, &str)]) {
        let facts = facts.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_string(), clean(v))).collect();
        self.items.insert(format!("{category}:{}", clean(name)), facts);
    }
    /// One fact more of an item, which need not be there yet.
    pub fn add(&mut self, category: &str, name: &str, key: &str, value: &str) {
        self.items.entry(format!("{category}:{}", clean(name))).or_default().insert(key.to_owned(), clean(value));
    }
    pub fn of<'a>(&'a self, category: &'a str) -> impl Iterator<Item = (&'a str, &'a Facts)> {
        self.items.iter().filter_map(move |(id, facts)| Some((id.strip_prefix(category)?.strip_prefix(':')?, facts)))
    }
    pub fn count(&self, category: &str) -> usize {
        self.of(category).count()
    }
}

/// Longest value that is kept: beyond it is a lie or a mistake.
const VALUE: usize = 400;
fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(VALUE).collect()
}

/// What a playbook says about differences. Patterns with `*` over `category:name`; a category alone means all of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Not compared at all.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Means to change in this run: noted, never a reason to hold.
    #[serde(default)]
    pub expect: Vec<String>,
    /// A loss here holds the node too; by default modules and ports are only noted.
    #[serde(default)]
    pub strict: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Was there and is not, or cannot be read any more: holds.
    Lost,
    /// Is there and worse: holds.
    Degraded,
    /// The playbook meant it to change, or a person accepted it.
    Expected,
    /// New, better, or different without being worse.
    Noted,
}
impl Level {
    pub fn holds(self) -> bool {
        self <= Level::Degraded
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// `link:eth1`; what `--accept` takes.
    pub item: String,
    pub level: Level,
    /// For people: `link eth1 is down, was up at 25000 Mb/s`.
    pub line: String,
}

/// `*` stands for anything, also nothing. A pattern without `:` is a category.
pub fn matches(pattern: &str, id: &str) -> bool {
    fn glob(p: &[u8], t: &[u8]) -> bool {
        // Iterative, so that a pattern of many stars stays cheap.
        let (mut pi, mut ti, mut star, mut mark) = (0, 0, None, 0);
        while ti < t.len() {
            match p.get(pi) {
                Some(b'*') => (star, mark, pi) = (Some(pi), ti, pi + 1),
                Some(c) if *c == t[ti] => (pi, ti) = (pi + 1, ti + 1),
                _ => match star {
                    Some(s) => (mark, ti, pi) = (mark + 1, mark + 1, s + 1),
                    None => return false,
                },
            }
        }
        p[pi..].iter().all(|c| *c == b'*')
    }
    if pattern.contains(':') { glob(pattern.as_bytes(), id.as_bytes()) } else { glob(pattern.as_bytes(), id.split(':').next().unwrap_or_default().as_bytes()) }
}

/// Pure: what came back otherwise than it went. `accepted` are items that a person accepted at a release.
pub fn diff(before: &Picture, after: &Picture, rules: &Rules, accepted: &[String]) -> Vec<Difference> {
    let any = |list: &[String], id: &str| list.iter().any(|p| matches(p, id));
    let mut found = Vec::new();
    let mut say = |item: &str, level: Level, line: String| {
        let level = if any(&rules.expect, item) || any(accepted, item) { Level::Expected } else { level };
        found.push(Difference { item: item.to_owned(), level, line });
    };
    let ignored = |id: &str| any(&rules.ignore, id);
    let renamed = renamed(before, after);
    let ids: BTreeSet<&String> = before.items.keys().chain(after.items.keys()).collect();
    for id in ids.into_iter().filter(|id| !ignored(id) && !renamed.values().any(|new| new == id)) {
        let (category, name) = id.split_once(':').unwrap_or((id, ""));
        // What was never read cannot have been lost, and what cannot be read now is said once, below.
        if before.unread.contains_key(category) || after.unread.contains_key(category) {
            continue;
        }
        match (before.items.get(id), after.items.get(renamed.get(id).copied().unwrap_or(id))) {
            (Some(was), Some(is)) if was != is => changed(category, name, was, is).into_iter().for_each(|(level, line)| {
                // New firmware changes attributes; where they are meant to stay, the playbook says so.
                let level = if category == "bios" && any(&rules.strict, id) { Level::Degraded } else { level };
                say(id, level, line);
            }),
            (Some(was), None) => {
                let level = lost(category, was, any(&rules.strict, id));
                say(id, level, format!("{} is gone{}", words(category, name), told(", was ", category, was)));
            }
            (None, Some(is)) => {
                // The one thing that is worse for being new.
                let level = if category == "unit" && is.get("state").is_some_and(|s| s == "failed") { Level::Degraded } else { Level::Noted };
                let what = if level.holds() { "failed, was not there before".to_owned() } else { format!("is new{}", told(": ", category, is)) };
                say(id, level, format!("{} {what}", words(category, name)));
            }
            _ => {}
        }
    }
    for (category, why) in after.unread.iter().filter(|(c, _)| !before.unread.contains_key(*c) && !ignored(&format!("{c}:*"))) {
        if before.count(category) > 0 {
            let all = format!("{category}:*");
            let level = if ["module", "port", "bios"].contains(&category.as_str()) && !any(&rules.strict, &all) { Level::Noted } else { Level::Lost };
            say(&all, level, format!("{category} cannot be read any more: {why}"));
        }
    }
    found.sort_by(|a, b| (a.level, &a.item).cmp(&(b.level, &b.item)));
    found
}

pub fn fact<'a>(facts: &'a Facts, key: &str) -> &'a str {
    facts.get(key).map_or("", String::as_str)
}
fn number(facts: &Facts, key: &str) -> Option<u64> {
    facts.get(key)?.parse().ok()
}

/// Some BMCs give a component another id with each version: known by its name, where that is one component's alone.
fn renamed<'a>(before: &'a Picture, after: &'a Picture) -> BTreeMap<&'a String, &'a String> {
    let only = |of: &'a Picture, other: &Picture| -> Vec<(&'a String, &'a str)> {
        let firmware = of.items.iter().filter(|(id, _)| id.starts_with("firmware:") && !other.items.contains_key(*id));
        firmware.map(|(id, facts)| (id, fact(facts, "name"))).filter(|(_, name)| !name.is_empty()).collect()
    };
    let (gone, new) = (only(before, after), only(after, before));
    let alone = |list: &[(&String, &str)], name: &str| list.iter().filter(|(_, n)| *n == name).count() == 1;
    let pairs = gone.iter().filter(|(_, name)| alone(&gone, name) && alone(&new, name));
    pairs.filter_map(|(id, name)| new.iter().find(|(_, n)| n == name).map(|(to, _)| (*id, *to))).collect()
}

/// How bad it is that an item is gone.
fn lost(category: &str, was: &Facts, strict: bool) -> Level {
    let level = match category {
        // On-demand units come and go; what is enabled and ran is meant to run.
        "unit" if fact(was, "enabled").is_empty() || !fact(was, "state").starts_with("active") => Level::Noted,
        "module" | "port" | "bios" => Level::Noted,
        "route" if !fact(was, "lasting").is_empty() => Level::Lost,
        "route" => Level::Noted,
        _ => Level::Lost,
    };
    if strict { Level::Lost } else { level }
}

fn changed(category: &str, name: &str, was: &Facts, is: &Facts) -> Vec<(Level, String)> {
    let what = words(category, name);
    let mut found = Vec::new();
    let mut said = BTreeSet::new();
    let mut worse = |key: &'static str, line: String| {
        said.insert(key);
        if line.contains(", was up") {
            said.insert("speed"); // a link that is down has none
        }
        found.push((Level::Degraded, line));
    };
    let (a, b) = (|key| fact(was, key), |key| fact(is, key));
    let fewer = |key| matches!((number(was, key), number(is, key)), (Some(was), Some(is)) if is < was);
    match category {
        "link" => {
            if a("state") == "up" && b("state") != "up" {
                let speed = if a("speed").is_empty() { String::new() } else { format!(" at {} Mb/s", a("speed")) };
                worse("state", format!("{what} is {}, was up{speed}", b("state")));
            } else if fewer("speed") {
                worse("speed", format!("{what} runs at {} Mb/s, was {} Mb/s", b("speed"), a("speed")));
            }
            let now: BTreeSet<&str> = b("addresses").split(' ').collect();
            // A single address that may float between machines is not this machine's.
            let gone: Vec<&str> =
                a("addresses").split(' ').filter(|x| !x.is_empty() && !now.contains(x) && !x.ends_with("/32") && !x.ends_with("/128")).collect();
            if !gone.is_empty() {
                worse("addresses", format!("{what} has no address {} any more", gone.join(", ")));
            }
        }
        "unit" => {
            let ran = a("state").starts_with("active") && !b("state").starts_with("active");
            if b("state").starts_with("failed") && !a("state").starts_with("failed") || ran && !a("enabled").is_empty() {
                worse("state", format!("{what} is {}, was {}", b("state"), a("state")));
            }
            if !a("enabled").is_empty() && b("enabled").is_empty() {
                worse("enabled", format!("{what} is not enabled any more"));
            }
        }
        "mount" => {
            if a("mode") == "rw" && b("mode") == "ro" {
                worse("mode", format!("{what} is read-only, was writable"));
            }
            if a("type") != b("type") {
                worse("type", format!("{what} has type {}, was {}", b("type"), a("type")));
            }
        }
        "memory" if number(was, "kib").zip(number(is, "kib")).is_some_and(|(was, is)| is < was - was / 100) => {
            worse("kib", format!("{what}: {}, was {}", gib(b("kib")), gib(a("kib"))));
        }
        // Larger is better, and one that says it in another unit is the same.
        "dimm" if a("size") != b("size") && mib(a("size")).zip(mib(b("size"))).is_none_or(|(was, is)| is < was) => {
            worse("size", format!("{what}: {}, was {}", b("size"), a("size")))
        }
        "dimm" if fewer("speed") => worse("speed", format!("{what} runs at {} MT/s, was {} MT/s", b("speed"), a("speed"))),
        // One serial number seen more than once: paths to a disk, or disks that all call themselves the same.
        "disk" if number(is, "paths").unwrap_or(1) < number(was, "paths").unwrap_or(1) => {
            worse("paths", format!("{what} is there {} times, was {} times: a path to it or a disk is gone", number(is, "paths").unwrap_or(1), a("paths")));
        }
        "disk" if fewer("bytes") => worse("bytes", format!("{what}: {} bytes, was {}", b("bytes"), a("bytes"))),
        "cpu" if fewer("count") => worse("count", format!("{what}: {}, was {}", b("count"), a("count"))),
        "pci" if fewer("count") => worse("count", format!("{what}: {} of {} left", b("count"), a("count"))),
        "firmware" if compare_versions(b("version"), a("version")) == Ordering::Less => {
            let now = if b("version").is_empty() { "of a version that is not said" } else { b("version") };
            worse("version", format!("{what} is {now}, was the newer {}", a("version")));
        }
        "kernel" if older(b("release"), a("release")) => worse("release", format!("{what} is {}, was the newer {}", b("release"), a("release"))),
        "cmdline" => worse("parameters", format!("boot parameters: {}", two(a("parameters"), b("parameters")))),
        "time" if a("synchronized") == "yes" => worse("synchronized", "the clock is not synchronized any more".to_owned()),
        "bmc-secure-boot" => {
            let differ: Vec<&String> = was.keys().filter(|key| a(key) != b(key)).collect();
            // What it ran with, and what it is set to: any of them less or other than it was is another trust in what boots.
            if !differ.is_empty() {
                let told = |f: &Facts| differ.iter().map(|key| format!("{key} {}", or_nothing(fact(f, key)))).collect::<Vec<_>>().join(", ");
                return vec![(Level::Degraded, format!("{what} is {}, was {}", told(is), told(was)))];
            }
        }
        "boot-order" | "secure-boot" | "bmc-boot-order" => worse("value", format!("{what} is {}, was {}", b("value"), a("value"))),
        _ => {}
    }
    let others: BTreeSet<&String> = was.keys().chain(is.keys()).filter(|k| !said.contains(k.as_str()) && fact(was, k) != fact(is, k)).collect();
    for key in others {
        found.push((Level::Noted, format!("{what}: {key} is {}, was {}", or_nothing(fact(is, key)), or_nothing(fact(was, key)))));
    }
    found
}

fn or_nothing(value: &str) -> &str {
    if value.is_empty() { "nothing" } else { value }
}

/// Numbers compare as numbers: 6.1.0-9 is older than 6.1.0-28.
fn older(one: &str, other: &str) -> bool {
    let parts = |text: &str| -> Vec<u64> { text.split(|c: char| !c.is_ascii_digit()).filter_map(|p| p.parse().ok()).collect() };
    parts(one) < parts(other)
}
/// dmidecode's `16384 MB`, `16 GB`.
fn mib(size: &str) -> Option<u64> {
    let (number, unit) = size.split_once(' ')?;
    let factor = match unit {
        "MB" => 1,
        "GB" => 1 << 10,
        "TB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
#[cfg(test)]
mod tests {
    use super::*;

    type One<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    fn picture(items: &[One<'_>]) -> Picture {
        let mut p = Picture::default();
        items.iter().for_each(|(category, name, facts)| p.put(category, name, facts));
        p
    }
    fn of(before: One<'_>, after: Option<One<'_>>) -> Vec<(Level, String)> {
        let after = after.map(|a| picture(&[a])).unwrap_or_default();
        diff(&picture(&[before]), &after, &Rules::default(), &[]).into_iter().map(|d| (d.level, d.line)).collect()
    }
    #[track_caller]
    fn holds(before: One<'_>, after: Option<One<'_>>, line: &str) {
        let found = of(before, after);
        assert!(found.iter().any(|(level, l)| level.holds() && l == line), "{found:?}");
    }
    #[track_caller]
    fn noted(before: One<'_>, after: Option<One<'_>>) {
        let found = of(before, after);
        assert!(!found.is_empty() && found.iter().all(|(level, _)| !level.holds()), "{found:?}");
    }

    const ETH1: One<'_> = ("link", "eth1", &[("state", "up"), ("speed", "25000"), ("addresses", "192.0.2.7/24 192.0.2.99/32")]);

    #[test]
    fn every_category_lost_worse_and_better() {
        let up = |state, speed, addresses| -> Vec<(&str, &str)> { vec![("state", state), ("speed", speed), ("addresses", addresses)] };
        let both = "192.0.2.7/24 192.0.2.99/32";
        holds(ETH1, None, "link eth1 is gone, was up at 25000 Mb/s with 192.0.2.7/24 192.0.2.99/32");
        holds(ETH1, Some(("link", "eth1", &up("down", "", both))), "link eth1 is down, was up at 25000 Mb/s");
        holds(ETH1, Some(("link", "eth1", &up("up", "1000", both))), "link eth1 runs at 1000 Mb/s, was 25000 Mb/s");
        holds(ETH1, Some(("link", "eth1", &up("up", "25000", "192.0.2.99/32"))), "link eth1 has no address 192.0.2.7/24 any more");
        noted(ETH1, Some(("link", "eth1", &up("up", "25000", "192.0.2.7/24"))));
        noted(ETH1, Some(("link", "eth1", &up("up", "100000", both))));

        holds(("dimm", "A3", &[("size", "32 GB"), ("speed", "3200")]), None, "DIMM A3 is gone, was 32 GB at 3200 MT/s");
        holds(("dimm", "A3", &[("size", "32 GB")]), Some(("dimm", "A3", &[("size", "16 GB")])), "DIMM A3: 16 GB, was 32 GB");
        noted(("dimm", "A3", &[("size", "32 GB")]), Some(("dimm", "A3", &[("size", "65536 MB")])));
        holds(("dimm", "A3", &[("size", "32 GB")]), Some(("dimm", "A3", &[("size", "?")])), "DIMM A3: ?, was 32 GB");
        holds(("dimm", "A3", &[("speed", "3200")]), Some(("dimm", "A3", &[("speed", "2666")])), "DIMM A3 runs at 2666 MT/s, was 3200 MT/s");
        holds(("memory", "total", &[("kib", "528280000")]), Some(("memory", "total", &[("kib", "494725120")])), "memory: 471.8 GiB, was 503.8 GiB");
        noted(("memory", "total", &[("kib", "528280000")]), Some(("memory", "total", &[("kib", "528279000")])));
        holds(("cpu", "online", &[("count", "64")]), Some(("cpu", "online", &[("count", "32")])), "CPUs: 32, was 64");
        holds(("disk", "S5HE", &[("name", "nvme0n1"), ("bytes", "9")]), None, "disk S5HE is gone, was nvme0n1");
        holds(("disk", "S5HE", &[("bytes", "90")]), Some(("disk", "S5HE", &[("bytes", "10")])), "disk S5HE: 10 bytes, was 90");
        noted(("disk", "S5HE", &[("name", "sda"), ("bytes", "9")]), Some(("disk", "S5HE", &[("name", "sdb"), ("bytes", "9")])));
        holds(("mount", "/var", &[("source", "/dev/sdb1")]), None, "mount /var is gone, was /dev/sdb1");
        holds(("mount", "/", &[("mode", "rw")]), Some(("mount", "/", &[("mode", "ro")])), "mount / is read-only, was writable");
        holds(("mount", "/", &[("type", "ext4")]), Some(("mount", "/", &[("type", "tmpfs")])), "mount / has type tmpfs, was ext4");
        noted(("mount", "/", &[("options", "relatime")]), Some(("mount", "/", &[("options", "noatime")])));
        holds(("pci", "8086:1572", &[("count", "2")]), Some(("pci", "8086:1572", &[("count", "1")])), "PCI device 8086:1572: 1 of 2 left");
        holds(("gpu", "GPU-1", &[("model", "A100")]), None, "GPU GPU-1 is gone, was A100");
        holds(("firmware", "BIOS", &[("version", "1.2")]), None, "firmware BIOS is gone, was 1.2");
        noted(("firmware", "BIOS", &[("version", "1.2")]), Some(("firmware", "BIOS", &[("version", "1.14")])));
        holds(("firmware", "BIOS", &[("version", "1.14")]), Some(("firmware", "BIOS", &[("version", "1.2")])), "firmware BIOS is 1.2, was the newer 1.14");
        holds(
            ("firmware", "BIOS", &[("version", "1.14")]),
            Some(("firmware", "BIOS", &[])),
            "firmware BIOS is of a version that is not said, was the newer 1.14",
        );
        holds(("route", "default via 192.0.2.1 dev eth0", &[("lasting", "yes")]), None, "route default via 192.0.2.1 dev eth0 is gone");
        noted(("route", "198.51.100.0/24 via 192.0.2.9 dev eth0", &[]), None);
        holds(
            ("kernel", "running", &[("release", "6.1.0-28-amd64")]),
            Some(("kernel", "running", &[("release", "6.1.0-9-amd64")])),
            "kernel is 6.1.0-9-amd64, was the newer 6.1.0-28-amd64",
        );
        noted(("kernel", "running", &[("release", "6.1.0-9-amd64")]), Some(("kernel", "running", &[("release", "6.1.0-28-amd64")])));
        holds(
            ("cmdline", "boot", &[("parameters", "ro iommu=on quiet")]),
            Some(("cmdline", "boot", &[("parameters", "ro quiet single")])),
            "boot parameters: -iommu=on +single",
        );
        holds(("time", "clock", &[("synchronized", "yes")]), Some(("time", "clock", &[("synchronized", "no")])), "the clock is not synchronized any more");
        holds(
            ("boot-order", "value", &[("value", "0001,0002")]),
            Some(("boot-order", "value", &[("value", "0002,0001")])),
            "boot order is 0002,0001, was 0001,0002",
        );
        holds(
            ("bmc-boot-order", "value", &[("value", "Boot0001,Boot0000")]),
            Some(("bmc-boot-order", "value", &[("value", "Boot0000,Boot0001")])),
            "boot order at the BMC is Boot0000,Boot0001, was Boot0001,Boot0000",
        );
        let secure = |now, set| -> Vec<(&str, &str)> { vec![("SecureBootCurrentBoot", now), ("SecureBootEnable", set)] };
        holds(
            ("bmc-secure-boot", "value", &secure("Enabled", "true")),
            Some(("bmc-secure-boot", "value", &secure("Disabled", "true"))),
            "Secure Boot at the BMC is SecureBootCurrentBoot Disabled, was SecureBootCurrentBoot Enabled",
        );
        noted(("bios", "BootMode", &[("value", "Uefi")]), Some(("bios", "BootMode", &[("value", "Legacy")])));
        noted(("bios", "BootMode", &[("value", "Uefi")]), None);
        noted(("module", "nvme", &[]), None);
        noted(("port", "tcp 0.0.0.0:22", &[("process", "sshd")]), None);
    }

    /// Some ids change with the version; two of one name cannot be told apart, and stay what they are: gone and new.
    #[test]
    fn firmware_with_another_id_is_known_by_its_name() {
        const OLD: &[(&str, &str)] = &[("name", "BIOS"), ("version", "2.18.1")];
        const NEW: &[(&str, &str)] = &[("name", "BIOS"), ("version", "2.19.0")];
        let bios = |id, version| -> One<'_> { ("firmware", id, if version == 1 { OLD } else { NEW }) };
        let (before, after) = (picture(&[bios("159-2.18.1", 1)]), picture(&[bios("159-2.19.0", 2)]));
        let found = diff(&before, &after, &Rules::default(), &[]);
        assert_eq!((found.len(), found[0].level, found[0].line.as_str()), (1, Level::Noted, "firmware 159-2.18.1: version is 2.19.0, was 2.18.1"));
        let back = diff(&after, &before, &Rules::default(), &[]);
        assert_eq!((back.len(), back[0].level), (1, Level::Degraded), "{back:?}");
        let twins = diff(&picture(&[bios("a", 1), bios("b", 1)]), &picture(&[bios("c", 2)]), &Rules::default(), &[]);
        assert_eq!(twins.iter().filter(|d| d.level == Level::Lost).count(), 2, "{twins:?}");
    }

    #[test]
    fn units_that_are_meant_to_run_and_those_on_demand() {
        let enabled = ("unit", "agent.service", &[("state", "active"), ("enabled", "yes")][..]);
        holds(enabled, Some(("unit", "agent.service", &[("state", "failed"), ("enabled", "yes")])), "unit agent.service is failed, was active");
        holds(enabled, Some(("unit", "agent.service", &[("state", "activating"), ("enabled", "yes")])), "unit agent.service is activating, was active");
        holds(enabled, Some(("unit", "agent.service", &[("state", "active")])), "unit agent.service is not enabled any more");
        holds(enabled, None, "unit agent.service is gone, was enabled and active");
        let on_demand = ("unit", "hostnamed.service", &[("state", "active")][..]);
        noted(on_demand, None);
        holds(on_demand, Some(("unit", "hostnamed.service", &[("state", "failed")])), "unit hostnamed.service is failed, was active");
        let found = diff(&Picture::default(), &picture(&[("unit", "new.service", &[("state", "failed")])]), &Rules::default(), &[]);
        assert!(found[0].level.holds() && found[0].line == "unit new.service failed, was not there before", "{found:?}");
    }

    #[test]
    fn rules_and_what_a_person_accepted() {
        let (before, after) = (picture(&[ETH1, ("dimm", "A3", &[]), ("module", "nvme", &[])]), Picture::default());
        let levels = |rules: Rules, accepted: &[&str]| {
            let accepted: Vec<String> = accepted.iter().map(|a| a.to_string()).collect();
            diff(&before, &after, &rules, &accepted).into_iter().map(|d| (d.item, d.level)).collect::<BTreeMap<_, _>>()
        };
        let list = |p: &str| vec![p.to_owned()];
        let usual = levels(Rules::default(), &[]);
        assert_eq!((usual["link:eth1"], usual["dimm:A3"], usual["module:nvme"]), (Level::Lost, Level::Lost, Level::Noted));
        assert!(!levels(Rules { ignore: list("link:eth*"), ..Rules::default() }, &[]).contains_key("link:eth1"));
        assert_eq!(levels(Rules { expect: list("dimm"), ..Rules::default() }, &[])["dimm:A3"], Level::Expected);
        assert!(!levels(Rules { ignore: list("module"), ..Rules::default() }, &[]).contains_key("module:nvme"), "a whole category");
        assert_eq!(levels(Rules { expect: list("module"), ..Rules::default() }, &[])["module:nvme"], Level::Expected, "also what would only be noted");
        assert_eq!(levels(Rules { strict: list("module"), ..Rules::default() }, &[])["module:nvme"], Level::Lost);
        let bios = |value| picture(&[("bios", "BootMode", &[("value", value)])]);
        let strict = Rules { strict: list("bios"), ..Rules::default() };
        assert_eq!(diff(&bios("Uefi"), &bios("Legacy"), &strict, &[])[0].level, Level::Degraded);
        let accepted = levels(Rules::default(), &["dimm:A3"]);
        assert_eq!((accepted["dimm:A3"], accepted["link:eth1"]), (Level::Expected, Level::Lost), "one by one");
    }

    #[test]
    fn what_cannot_be_read_is_not_what_is_not_there() {
        let mut blind = Picture::default();
        blind.unread.insert("dimm".into(), "no dmidecode on the host".into());
        let whole = picture(&[("dimm", "A3", &[])]);
        let found = diff(&whole, &blind, &Rules::default(), &[]);
        assert_eq!((found.len(), found[0].level, found[0].line.as_str()), (1, Level::Lost, "dimm cannot be read any more: no dmidecode on the host"));
        assert!(diff(&blind, &whole, &Rules::default(), &[]).is_empty(), "what was never known is not new");
        assert!(diff(&blind, &blind, &Rules::default(), &[]).is_empty());
    }

    #[test]
    fn patterns() {
        for (pattern, id, wanted) in [
            ("link:eth1", "link:eth1", true),
            ("link:eth*", "link:eth10", true),
            ("link", "link:eth1", true),
            ("link", "links:eth1", false),
            ("*:eth1", "link:eth1", true),
            ("unit:*.timer", "unit:a.b.timer", true),
            ("unit:*.timer", "unit:a.timers", false),
            ("", "link:eth1", false),
        ] {
            assert_eq!(matches(pattern, id), wanted, "{pattern} {id}");
        }
        assert!(!matches(&format!("a:{}b", "*a".repeat(50)), &format!("a:{}", "a".repeat(5000))), "and quickly");
    }
}
