//! One playbook's tables, checked one by one; then whether its steps make sense in their order. Pure but for the zone names of windows.
use super::{ConfigErrors, File, Kinds, Limits, Playbook, StepEntry, Window};
use crate::{
    kinds::{
        Row,
        reader::{At, Reader, Value, suggest, take},
    },
    model::{OnFailure, Setting, Span},
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

const SECTIONS: [&str; 4] = ["description", "limits", "due", "steps"];
const LIMITS: [&str; 7] = ["max_unavailable", "failure_budget", "within", "max_per", "canary", "window", "max_resets"];
const BESIDE: [&str; 3] = ["timeout", "attempts", "on_failure"];

pub fn parse(file: &File, name: &str, kinds: &Kinds) -> Result<Playbook, ConfigErrors> {
    let mut reader = Reader::default();
    let mut tree = reader.parse(file);
    let whole = tree.keys().next().map_or(0..0, |k| k.span());
    let description = take(&mut tree, "description").and_then(|(_, v)| reader.string(&v, "description")).unwrap_or_default();
    let limits = take(&mut tree, "limits").and_then(|(_, v)| reader.table(v, "[limits]")).map(|(_, t)| limits(&mut reader, t)).unwrap_or_default();
    let due = take(&mut tree, "due").map(|(key, v)| due(&mut reader, &key, v, &kinds.due)).unwrap_or_default();
    let mut steps = Vec::new();
    match take(&mut tree, "steps") {
        None => reader.missing(&whole, "has no steps", Some("such as [[steps]] with evacuate = {}".into())),
        Some((key, value)) => {
            let list = reader.array(value, "[[steps]]");
            if list.is_empty() {
                reader.problem(&key, "has no steps");
            }
            steps = list.into_iter().filter_map(|v| step(&mut reader, v, &kinds.step)).collect();
        }
    }
    let due = due_by_step(&mut reader, &whole, due, &steps);
    reader.leftover_at_top(&tree, &SECTIONS);
    order(&mut reader, &steps);
    reader.finish(Vec::new())?;
    Ok(Playbook { name: name.to_owned(), description, limits, due, steps: steps.into_iter().filter_map(|s| s.entry).collect() })
}

fn number<'s>(reader: &mut Reader<'s>, table: &mut DeTable<'s>, key: &str, least: u32) -> Option<u32> {
    let (_, value) = take(table, key)?;
    let at = value.span();
    let number = reader.typed::<u32>(value)?;
    if number < least {
        reader.problem(&at, format!("{key} is at least {least}"));
    }
    Some(number)
}

fn limits<'s>(reader: &mut Reader<'s>, mut table: DeTable<'s>) -> Limits {
    let mut limits = Limits::default();
    let usual = Limits::default();
    // Nobody would ever be admitted with 0.
    limits.max_unavailable = number(reader, &mut table, "max_unavailable", 1).unwrap_or(usual.max_unavailable);
    limits.failure_budget = number(reader, &mut table, "failure_budget", 0).unwrap_or(usual.failure_budget);
    limits.canary = number(reader, &mut table, "canary", 0).unwrap_or(usual.canary);
    limits.max_resets = number(reader, &mut table, "max_resets", 0).unwrap_or(usual.max_resets);
    if let Some((_, value)) = take(&mut table, "within") {
        limits.within = reader.strings(value, "within").into_iter().map(|(_, label)| label).collect();
    }
    if let Some((_, value)) = take(&mut table, "max_per")
        && let Some((_, mut labels)) = reader.table(value, "max_per")
    {
        let keys: Vec<String> = labels.keys().map(|k| k.get_ref().to_string()).collect();
        limits.max_per = keys.into_iter().filter_map(|key| number(reader, &mut labels, &key, 1).map(|n| (key, n))).collect::<BTreeMap<_, _>>();
    }
    if let Some((_, value)) = take(&mut table, "window") {
        for (at, text) in reader.strings(value, "window") {
            match Window::parse(&text) {
                Ok(window) => limits.window.push(window),
                Err(wrong) => reader.problem_with(&at, wrong, "such as \"Sun 02:00-05:00 Europe/Berlin\" or \"Mon-Fri 22:00-04:00 UTC\""),
            }
        }
    }
    reader.leftover(&table, &LIMITS);
    limits
}

fn due<'s>(reader: &mut Reader<'s>, key: &At, value: Value<'s>, kinds: &[Row]) -> Vec<Setting> {
    let Some((_, mut table)) = reader.table(value, "[due]") else { return Vec::new() };
    let any = take(&mut table, "any");
    reader.leftover(&table, &["any"]);
    let Some((at, value)) = any else {
        reader.missing(key, "missing key `any`", Some("without [due] every selected node is due".into()));
        return Vec::new();
    };
    let list = reader.array(value, "any");
    if list.is_empty() {
        reader.missing(&at, "names no reason: no node would ever be due", Some("without [due] every selected node is due".into()));
    }
    list.into_iter().filter_map(|v| reason(reader, v, kinds)).collect()
}

/// `"reboot-required"`, or `{ uptime-over = "90d" }`.
fn reason<'s>(reader: &mut Reader<'s>, value: Value<'s>, kinds: &[Row]) -> Option<Setting> {
    let at = value.span();
    match value.into_inner() {
        DeValue::Table(table) => reader.setting(&at, table, "reason", kinds),
        DeValue::String(name) => {
            let Some(row) = kinds.iter().find(|k| k.name == name) else {
                let help = suggest(&name, kinds.iter().map(|k| k.name)).unwrap_or_default();
                reader.problem_with(&at, format!("unknown kind of reason `{name}`"), help);
                return None;
            };
            match (row.check)(Spanned::new(at.clone(), DeValue::Table(DeTable::new()))) {
                Ok(body) => Some(Setting { kind: row.name.into(), body }),
                Err(_) => {
                    reader.problem_with(&at, format!("`{name}` does not stand alone"), format!("write {{ {name} = … }}: {}", row.about));
                    None
                }
            }
        }
        other => {
            reader.problem(&at, format!("a reason is a name or a table with one, not {}", other.type_str()));
            None
        }
    }
}

/// A bare `firmware-below` means the targets of the playbook's own step: nobody writes them twice.
fn due_by_step(reader: &mut Reader<'_>, whole: &At, mut due: Vec<Setting>, steps: &[Step]) -> Vec<Setting> {
    let named = steps.iter().find(|s| s.kind == "firmware");
    let targets = named.and_then(|s| s.entry.as_ref()).map(|e| e.setting.body["targets"].clone());
    for reason in due.iter_mut().filter(|s| s.kind == "firmware-below" && s.body["targets"].as_array().is_none_or(Vec::is_empty)) {
        match (&targets, named) {
            (Some(targets), _) => reason.body["targets"] = targets.clone(),
            // Its own problems are told already.
            (None, Some(_)) => {}
            (None, None) => reader.missing(whole, "`firmware-below` names no targets, and there is no step `firmware` to take them from", None),
        }
    }
    due
}

/// Something of it waits for a reset.
fn stages(firmware: &serde_json::Value) -> bool {
    let of_step = &firmware["apply"];
    let targets = firmware["targets"].as_array().into_iter().flatten();
    targets.map(|t| if t["apply"].is_null() { of_step } else { &t["apply"] }).any(|apply| apply != "immediate")
}

struct Step {
    /// Of the key that names the kind.
    at: At,
    kind: String,
    on_failure_at: Option<At>,
    /// None: has problems of its own.
    entry: Option<StepEntry>,
}

fn beside<'s, T: DeserializeOwned>(reader: &mut Reader<'s>, table: &mut DeTable<'s>, key: &str) -> (Option<At>, Option<T>) {
    let Some((_, value)) = take(table, key) else { return (None, None) };
    (Some(value.span()), reader.typed(value))
}

fn step<'s>(reader: &mut Reader<'s>, value: Value<'s>, kinds: &[Row]) -> Option<Step> {
    let (header, mut table) = reader.table(value, "an entry of [[steps]]")?;
    let (timeout_at, timeout) = beside::<Span>(reader, &mut table, "timeout");
    let attempts = number(reader, &mut table, "attempts", 1);
    let (on_failure_at, on_failure) = beside::<OnFailure>(reader, &mut table, "on_failure");
    if timeout == Some(Span::default()) {
        reader.problem(&timeout_at.unwrap_or(header.clone()), "a step needs time: timeout is longer than nothing");
    }
    // A word that is neither a kind nor one of those beside it is most often a misspelling of the latter.
    let stray = |key: &str| kinds.iter().all(|k| k.name != key) && crate::kinds::reader::nearest(key, BESIDE).is_some();
    let strays: Vec<String> = table.keys().map(|k| k.get_ref().to_string()).filter(|k| stray(k)).collect();
    for key in strays {
        let (at, _) = take(&mut table, &key)?;
        reader.problem_with(&at, format!("unknown key `{key}`"), suggest(&key, BESIDE).unwrap_or_default());
    }
    let named = table.keys().next().map(|k| (k.span(), k.get_ref().to_string()));
    let setting = reader.setting(&header, table, "step", kinds);
    let (at, kind) = named?;
    Some(Step { at, kind, on_failure_at, entry: setting.map(|setting| StepEntry { setting, timeout, attempts, on_failure }) })
}

/// Orders that no node could go through.
fn order(reader: &mut Reader<'_>, steps: &[Step]) {
    let first = |kind: &str| steps.iter().position(|s| s.kind == kind);
    let last = |kind: &str| steps.iter().rposition(|s| s.kind == kind);
    for kind in ["evacuate", "enable", "settle", "pause"] {
        if let (Some(one), Some(other)) = (first(kind), last(kind))
            && one != other
        {
            reader.problem(&steps[other].at, format!("a second `{kind}`: a node goes out and comes back once in a run"));
        }
    }
    // Each must come after all of the second: enabling before the reset would put work on a machine that is about to lose power.
    for (late, early) in [
        ("enable", "evacuate"),
        ("enable", "reset"),
        ("settle", "enable"),
        ("enable", "verify"),
        ("reset", "evacuate"),
        ("firmware", "evacuate"),
        ("reset", "firmware"),
        ("enable", "firmware"),
        ("pause", "evacuate"),
        ("enable", "pause"),
        ("verify", "pause"),
    ] {
        if let (Some(at), Some(before)) = (first(late), last(early))
            && at < before
        {
            reader.problem(&steps[at].at, format!("`{late}` comes before `{early}`"));
        }
    }
    if let (Some(reset), None) = (first("reset"), first("evacuate")) {
        reader.missing(&steps[reset].at, "`reset` without an `evacuate` before it: a machine that is not proven empty keeps its power", None);
    }
    if let (Some(at), None) = (first("pause"), first("evacuate")) {
        reader.missing(&steps[at].at, "`pause` without an `evacuate` before it: a machine that is not proven empty keeps its power", None);
    }
    if let (Some(at), Some(_)) = (first("pause"), first("reset")) {
        reader.missing(&steps[at].at, "`pause` beside a `reset`: the pause switches off, and boots anew by itself", Some("leave the reset out".into()));
    }
    if let (Some(at), None) = (first("firmware"), first("evacuate")) {
        reader.missing(&steps[at].at, "`firmware` without an `evacuate` before it: a machine that is being written to may not carry work", None);
    }
    let staged = |s: &Step| s.entry.as_ref().is_some_and(|e| stages(&e.setting.body));
    if let (Some(at), None) = (first("firmware"), first("reset"))
        && staged(&steps[at])
    {
        reader.missing(
            &steps[at].at,
            "`firmware` stages an update, and no `reset` follows: it would strike at somebody else's",
            Some("apply = \"immediate\", or a reset".into()),
        );
    }
    let reset = first("reset").or(first("pause")).unwrap_or(steps.len());
    for step in &steps[(reset + 1).min(steps.len())..] {
        let returns = step.entry.as_ref().is_some_and(|e| e.on_failure == Some(OnFailure::Return));
        if let (true, Some(at)) = (returns, &step.on_failure_at) {
            reader.problem_with(at, "after the reset a node that fails is held, never returned", "use \"hold\", or leave it out");
        }
    }
}
