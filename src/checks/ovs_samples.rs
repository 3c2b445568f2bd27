//! A table of what `ovs monitor services` has printed over the years, healthy and not, whole and cut, plain and coloured.
use super::*;
use proptest::prelude::*;

const UPSTART: &str = "OVS running processes:\n\novs-arakoon-ovsdb start/running, process 2210\novs-volumedriver (vpool1) start/running, process 99\n\nOVS non-running processes:\n\n";
const SYSTEMD: &str = "OVS running processes:\n\n  ovs-workers.service loaded active running Open vStorage workers\n\nOVS non-running processes:\n\n\nOVS disabled services:\n\novs-old.service disabled\n";
const OCTOBER: &str = "OVS running processes:\novs-workers.service loaded active running Open vStorage workers\nOVS non-running processes:\n";
const SINCE: &str = "OVS running processes\n=====================\novs-workers      start/running\novs-webapp-api   start/running\n\nOVS non-running processes\n=========================\n";

/// Names that do not run; Err: not read.
fn wrong(text: &str) -> Result<Vec<String>, String> {
    monitor(text).map(|m| m.not_running.iter().map(|s| format!("{} {}", s.name, s.state)).collect())
}

#[test]
fn every_format_healthy() {
    let title = format!("Every 1.0s: echo 'OVS running processes:'; echo 'OVS non-running processes:'   Tue Sep  6 2016\n\n{UPSTART}");
    let coloured = SINCE.replace("start/running", "\u{1b}[32mstart/running\u{1b}[0m");
    let looping = format!("\u{1b}[2J\u{1b}[H{SINCE}\u{1b}[2J\u{1b}[H{}", SINCE.replace("start/running", "active"));
    for (text, running) in [
        (UPSTART, 2),
        (SYSTEMD, 1),
        (OCTOBER, 1),
        (SINCE, 2),
        (title.as_str(), 2),
        (coloured.as_str(), 2),
        (looping.as_str(), 2),
        (&UPSTART.replace('\n', "\r\n"), 2),
    ] {
        let seen = monitor(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!((seen.running.len(), seen.not_running.len()), (running, 0), "{text}");
    }
}

#[test]
fn every_format_failing() {
    for (text, names) in [
        (format!("{UPSTART}ovs-webapp-api stop/waiting\n"), vec!["ovs-webapp-api stop/waiting"]),
        (format!("{UPSTART}ovs-volumedriver (vpool/2) stop/waiting\n"), vec!["ovs-volumedriver (vpool/2) stop/waiting"]),
        (SYSTEMD.replace("\n\n\nOVS disabled", "\n● ovs-webapp-api.service loaded inactive dead x\n\nOVS disabled"), vec!["ovs-webapp-api inactive (dead)"]),
        (format!("{OCTOBER}* ovs-webapp-api.service loaded failed failed Web\n"), vec!["ovs-webapp-api failed (failed)"]),
        // A state of systemd keeps its newline: the section does not end at an empty line.
        (format!("{SINCE}ovs-webapp-api   inactive\n\novs-workers      failed\n\n"), vec!["ovs-webapp-api inactive", "ovs-workers failed"]),
        // Among the running ones, and not running.
        (UPSTART.replace("process 99", "").replacen("start/running", "start/spawned", 1), vec!["ovs-arakoon-ovsdb start/spawned"]),
        (SINCE.replacen("start/running", "activating", 1), vec!["ovs-workers activating"]),
        (OCTOBER.replace("active running", "active exited"), vec!["ovs-workers active (exited)"]),
        (format!("\u{1b}[2J\u{1b}[H{SINCE}\u{1b}[2J\u{1b}[H{SINCE}ovs-x \u{1b}[31mfailed\u{1b}[0m\n"), vec!["ovs-x failed"]),
    ] {
        assert_eq!(wrong(&text), Ok(names.iter().map(|s| s.to_string()).collect()), "{text}");
    }
}

#[test]
fn what_is_unknown_or_cut_is_never_read_as_healthy() {
    for text in [
        "",
        "\n\n",
        "Open vStorage CLI launcher\n\nUsage:\n  * ovs - Open IPython shell\n",
        "Error opening terminal: unknown.\n",
        "OVS running processes:\n\novs-workers start/running, process 1\n",
        "OVS running processes\n====\novs-workers start/running\n\nOVS non-runn",
        "OVS running processes\n====\novs-workers start/running\n\nOVS non-running processes",
        "OVS non-running processes:\n\n",
        "ovs-workers start/running\nOVS running processes:\nOVS non-running processes:\n",
        "OVS running processes:\novs-workers jolly good\nOVS non-running processes:\n",
        "OVS running processes:\novs-workers\nOVS non-running processes:\n",
        "OVS running processes:\novs-workers go/running\nOVS non-running processes:\n",
        // Drawn by `watch`: spaces and newlines are cursor moves.
        "\u{1b}[1;1HOVS running processes:\u{1b}[3dovs-workers start/running\u{1b}[5;1HOVS non-running processes:\n",
        "\u{1b}[?1049hOVS running processes:\nOVS non-running processes:\n",
        "\u{1b}",
        "\u{1b}[3",
    ] {
        match monitor(text) {
            Err(_) => {}
            Ok(seen) => assert!(seen.running.is_empty() || !seen.not_running.is_empty(), "{text:?}: {seen:?}"),
        }
    }
    // The last frame is cut: the one before it was whole.
    let cut = format!("\u{1b}[2J\u{1b}[H{SINCE}ovs-x failed\n\u{1b}[2J\u{1b}[HOVS running proc");
    assert_eq!(wrong(&cut), Ok(vec!["ovs-x failed".to_owned()]));
}

#[test]
fn the_units_of_either_init_are_read_by_name() {
    let (systemd, seen) = units("init=systemd\novs-workers.service active\novs-webapp-api.service failed\nend\n").unwrap();
    assert!(systemd && seen[0].runs && !seen[1].runs && seen[1].name == "ovs-webapp-api");
    let (systemd, seen) = units("init=init\novs-workers start/running, process 3799\novs-volumedriver (v1) stop/waiting\nend\n").unwrap();
    assert!(!systemd && seen[0].runs && !seen[1].runs);
    for bad in ["", "end\n", "init=systemd\novs-workers active\n", "init=systemd\nnonsense\nend\n", "init=x\nend\novs-a active\n"] {
        assert!(units(bad).is_err(), "{bad:?}");
    }
}

/// Pieces that texts of this kind are made of, in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("OVS running processes".to_owned()),
        Just("OVS non-running processes:".to_owned()),
        Just("OVS disabled services:".to_owned()),
        Just("====".to_owned()),
        Just("\n".to_owned()),
        Just(" start/running".to_owned()),
        Just(" stop/waiting".to_owned()),
        Just("ovs-workers".to_owned()),
        Just(" loaded active running x".to_owned()),
        Just("\u{1b}[2J\u{1b}[H".to_owned()),
        Just("\u{1b}[31m".to_owned()),
        "\\PC{0,12}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// No text makes it panic, and what is called well had both headings, a service that runs, and none that does not.
    #[test]
    fn no_text_is_healthy_by_accident(text in soup()) {
        if let Ok(seen) = monitor(&text) {
            let lower = text.to_lowercase();
            prop_assert!(lower.contains("ovs running processes") && lower.contains("ovs non-running processes"));
            prop_assert!(seen.running.iter().all(|s| s.runs));
        }
        units(&text).ok();
    }
    /// Wherever a failing frame is cut, it is never read as healthy.
    #[test]
    fn a_failing_frame_cut_anywhere_is_not_healthy(at in 0..400usize, which in 0..3usize) {
        let whole = [format!("{UPSTART}ovs-a stop/waiting\n"), format!("{SINCE}ovs-a failed\n"), format!("{OCTOBER}ovs-a.service loaded failed failed x\n")];
        let text = &whole[which];
        let cut: String = text.chars().take(at).collect();
        if at < text.chars().count() && let Ok(seen) = monitor(&cut) {
            // Cut at the very end of the last heading's line nothing is missing but the rows: the second witness is there for that.
            prop_assert!(!seen.not_running.is_empty() || cut.trim_end().ends_with([':', '=', 's']), "{cut:?}");
        }
    }
}
