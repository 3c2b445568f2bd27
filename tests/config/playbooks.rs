//! Playbooks: what a good one means, every problem of bad ones, and where they are found.
use super::{file, kinds::playbook_kinds, shown};
use pitstop::{
    model::{OnFailure, Span},
    playbook::{self, Playbook},
};
use std::{collections::BTreeMap, path::Path};

fn playbook(text: &str) -> Result<Playbook, playbook::ConfigErrors> {
    playbook::parse(&file("a.toml", text), "mine", &playbook_kinds())
}
fn check_playbook(text: &str, expect: &[&str]) {
    assert_eq!(playbook(text).err().map(shown).unwrap_or_default(), expect, "\n{text}");
}

#[test]
fn a_playbook_with_everything() {
    let text = "
description = 'one rack at a time'
[limits]
max_unavailable = 2
failure_budget = 1
within = ['rack']
max_per = { chassis = 1 }
canary = 1
window = ['Sun 02:00-05:00 Europe/Berlin', 'Mon-Fri 22:00-02:00 UTC']
max_resets = 3
[due]
any = ['reboot-required', { uptime-over = '90d' }]
[[steps]]
evacuate = { unmovable = 'stop-and-restart' }
timeout = '45m'
attempts = 2
on_failure = 'hold'
[[steps]]
reset = { how = 'graceful' }
[[steps]]
enable = {}
";
    let made = playbook(text).unwrap();
    assert_eq!(
        (made.name.as_str(), made.limits.max_unavailable, made.limits.max_per["chassis"], made.limits.canary, made.limits.max_resets),
        ("mine", 2, 1, 1, 3)
    );
    assert_eq!(made.limits.window.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), ["Sun 02:00-05:00 Europe/Berlin", "Mon-Fri 22:00-02:00 UTC"]);
    assert_eq!(made.due[1].body, serde_json::json!("90d"));
    let first = &made.steps[0];
    assert_eq!((first.timeout, first.attempts, first.on_failure), (Some(Span::minutes(45)), Some(2), Some(OnFailure::Hold)));
    assert_eq!((made.steps.len(), made.steps[1].timeout, made.steps[1].on_failure), (3, None, None));
    let bare = playbook("[[steps]]\nevacuate = {}\n").unwrap();
    assert_eq!((bare.limits, bare.due.len()), (playbook::Limits::default(), 0));
}

#[test]
fn what_is_wrong_in_playbooks() {
    let text = "
descripton = 'x'
[limits]
max_unavailable = 0
failure_budget = -1
witin = ['rack']
max_per = { chassis = 'one' }
window = ['Son 02:00-05:00 Europe/Berlin', 'Sun 02:00-05:00 Europe/Berlni', 'Sun 2-5']
[due]
any = ['reboot-requird', { uptime-over = '90x' }, 'uptime-over', 7]
[[steps]]
evacuate = { unmovable = 'stop-and-restrat' }
timeout = '10x'
[[steps]]
evacute = {}
[[steps]]
reset = {}
timout = '1m'
attempts = 0
[[steps]]
timeout = '1m'
[[steps]]
enable = {}
settle = {}
on_failure = 'returns'
";
    check_playbook(
        text,
        &[
            "2:1: unknown key `descripton`; did you mean `description`?",
            "4:19: max_unavailable is at least 1",
            "5:18: invalid value: integer `-1`, expected a whole number from 0 on",
            "6:1: unknown key `witin`; did you mean `within`?",
            "7:23: invalid type: string \"one\", expected a whole number from 0 on",
            "8:11: `Son` is not a weekday: use Mon, Tue, Wed, Thu, Fri, Sat, Sun; such as \"Sun 02:00-05:00 Europe/Berlin\" or \"Mon-Fri 22:00-04:00 UTC\"",
            "8:44: no time zone is called `Europe/Berlni`; such as \"Sun 02:00-05:00 Europe/Berlin\" or \"Mon-Fri 22:00-04:00 UTC\"",
            "8:77: `2` is not a time of day: use 02:00 to 23:59; such as \"Sun 02:00-05:00 Europe/Berlin\" or \"Mon-Fri 22:00-04:00 UTC\"",
            "10:8: unknown kind of reason `reboot-requird`; did you mean `reboot-required`?",
            "10:42: `90x` is not a time span: use \"10m\", \"90s\", \"1h30m\"",
            "10:51: `uptime-over` does not stand alone; write { uptime-over = … }: up for longer than this",
            "10:66: a reason is a name or a table with one, not integer",
            "12:26: `stop-and-restrat` is not possible here; did you mean `stop-and-restart`?",
            "13:11: `10x` is not a time span: use \"10m\", \"90s\", \"1h30m\"",
            "15:1: unknown kind of step `evacute`; did you mean `evacuate`?",
            "18:1: unknown key `timout`; did you mean `timeout`?",
            "19:12: attempts is at least 1",
            "20:1: names no kind of step; known: evacuate, reset, verify, enable, settle",
            "24:1: `settle` is a second kind of step in one table, after `enable`",
            "25:14: `returns` is not possible here; did you mean `return`?",
        ],
    );
}

#[test]
fn steps_that_make_no_sense_in_their_order() {
    let steps = |kinds: &[&str]| kinds.iter().map(|k| format!("[[steps]]\n{k} = {{}}\n")).collect::<String>();
    for fine in
        [&["evacuate"][..], &["verify", "enable", "settle"], &["evacuate", "reset"], &["evacuate", "reset", "verify", "reset", "verify", "enable", "settle"]]
    {
        assert!(playbook(&steps(fine)).is_ok(), "{fine:?}");
    }
    check_playbook(&steps(&["enable", "evacuate"]), &["2:1: `enable` comes before `evacuate`"]);
    check_playbook(&steps(&["evacuate", "enable", "reset", "settle"]), &["4:1: `enable` comes before `reset`"]);
    check_playbook(&steps(&["settle", "enable"]), &["2:1: `settle` comes before `enable`"]);
    check_playbook(&steps(&["evacuate", "enable", "enable"]), &["6:1: a second `enable`: a node goes out and comes back once in a run"]);
    check_playbook(&steps(&["reset", "enable"]), &["2:1: `reset` without an `evacuate` before it: a machine that is not proven empty keeps its power"]);
    check_playbook(
        &format!("{}on_failure = 'return'\n", steps(&["evacuate", "reset", "verify"])),
        &["7:14: after the reset a node that fails is held, never returned; use \"hold\", or leave it out"],
    );
    check_playbook("description = 'x'\n", &["1:1: has no steps; such as [[steps]] with evacuate = {}"]);
    check_playbook("", &["1:1: has no steps; such as [[steps]] with evacuate = {}"]);
    check_playbook("steps = []\n[due]\n", &["1:1: has no steps", "2:2: missing key `any`; without [due] every selected node is due"]);
}

#[test]
fn playbooks_by_name_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("reboot.toml");
    std::fs::write(&mine, "description = 'mine'\n[[steps]]\nevacuate = {}\n").unwrap();
    std::fs::write(dir.path().join("other.toml"), "x").unwrap();
    let description = |dir: Option<&Path>, name: &str| playbook::load(dir, name).map(|p| (p.name, p.description));
    // One's own wins over the one that ships; a path needs no directory.
    assert_eq!(description(Some(dir.path()), "reboot").unwrap(), ("reboot".into(), "mine".into()));
    assert_eq!(description(None, mine.to_str().unwrap()).unwrap(), ("reboot".into(), "mine".into()));
    let errors = playbook::load(Some(dir.path()), "othr").unwrap_err();
    assert_eq!(errors.to_string(), "othr: no playbook of this name; did you mean `other`?\n");
    assert!(playbook::load(None, "./nowhere.toml").unwrap_err().to_string().contains("cannot be read"));
    let names: BTreeMap<_, _> = playbook::names(Some(dir.path())).into_iter().collect();
    assert_eq!(
        names.keys().map(String::as_str).collect::<Vec<_>>(),
        ["evacuate", "firmware", "hands-on", "os-patch", "other", "power-cycle", "reboot", "return"]
    );
    assert_eq!((names["reboot"].as_deref(), names["return"].as_deref()), (Some(mine.as_path()), None));
}
