//! The words for what has changed: a line of a difference, as a person reads it. Pure.
use super::picture::{Facts, fact};

/// What of a list of words went and came.
pub fn two(was: &str, is: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (was.split(' ').collect(), is.split(' ').collect());
    let only = |of: &[&str], not: &[&str], sign: &str| of.iter().filter(|w| !not.contains(w)).map(|w| format!("{sign}{w}")).collect::<Vec<_>>();
    let all = [only(&a, &b, "-"), only(&b, &a, "+")].concat();
    if all.is_empty() { "in another order".to_owned() } else { all.join(" ") }
}

pub fn gib(kib: &str) -> String {
    kib.parse::<f64>().map_or_else(|_| kib.to_owned(), |kib| format!("{:.1} GiB", kib / 1024.0 / 1024.0))
}

pub fn words(category: &str, name: &str) -> String {
    match category {
        "dimm" => format!("DIMM {name}"),
        "cpu" => "CPUs".to_owned(),
        "pci" => format!("PCI device {name}"),
        "gpu" => format!("GPU {name}"),
        "memory" | "kernel" | "time" | "cmdline" | "boot-order" | "secure-boot" => category.replace('-', " "),
        "bmc-boot-order" => "boot order at the BMC".to_owned(),
        "bmc-secure-boot" => "Secure Boot at the BMC".to_owned(),
        "bios" => format!("BIOS attribute {name}"),
        "port" => format!("listening port {name}"),
        _ => format!("{category} {name}"),
    }
}
pub fn told(join: &str, category: &str, facts: &Facts) -> String {
    let some = |before: &str, key: &str, after: &str| match fact(facts, key) {
        "" => String::new(),
        value => format!("{before}{value}{after}"),
    };
    let said: Vec<String> = match category {
        "disk" => vec![some("", "name", ""), some("", "model", "")],
        "dimm" => vec![some("", "size", ""), some("at ", "speed", " MT/s")],
        "link" => vec![some("", "state", ""), some("at ", "speed", " Mb/s"), some("with ", "addresses", "")],
        "unit" => vec![if fact(facts, "enabled").is_empty() { String::new() } else { "enabled and".to_owned() }, some("", "state", "")],
        "mount" => vec![some("", "source", ""), some("", "type", ""), some("", "mode", "")],
        "firmware" => vec![some("", "version", "")],
        "pci" => vec![some("", "count", " of it")],
        _ => facts.iter().filter(|(k, _)| *k != "lasting").map(|(_, v)| v.clone()).collect(),
    };
    let said: Vec<String> = said.into_iter().filter(|s| !s.is_empty()).collect();
    if said.is_empty() { String::new() } else { format!("{join}{}", said.join(" ")) }
}
