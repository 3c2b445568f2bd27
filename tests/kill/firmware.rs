//! `kill -9` of a firmware run, at its appends and at any time, while the BMC restarts in the middle of each update: the update is received once, its version read back.
use crate::{
    case::Case,
    lab::{Kill, Lab},
};
use serde_json::Value;
use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

const NODE: &str = "edge-02";

/// The lab's own playbook, for one version more.
fn playbook(lab: &Lab, version: &str, apply: &str) -> &'static str {
    let shipped = fs::read_to_string(lab.path("lab/firmware/lab-firmware.toml")).unwrap();
    let image = lab.path("lab/firmware").join(format!("bios-{version}.bin"));
    let text = format!("pitstop-lab-firmware BIOS {version}\n");
    fs::write(&image, &text).unwrap();
    let digest: String = <sha2::Sha256 as sha2::Digest>::digest(&text).iter().map(|b| format!("{b:02x}")).collect();
    let mut lines = Vec::new();
    for line in shipped.lines() {
        lines.push(match line.trim_start().starts_with("{ model") {
            true => format!(
                "    {{ model = \"Simulated machine\", id = \"BIOS\", version = \"{version}\", image = {{ file = \"{}\" }}, sha256 = \"{digest}\", apply = \"{apply}\" }},",
                image.display()
            ),
            false => line.to_owned(),
        });
    }
    let path = lab.path("lab/firmware").join(format!("to-{version}.toml"));
    fs::write(&path, lines.join("\n")).unwrap();
    Box::leak(path.display().to_string().into_boxed_str())
}

fn updated_once(lab: &Lab, version: &str, apply: &str, kills: &[Kill]) {
    let playbook = playbook(lab, version, apply);
    let name = format!("{version}, {apply}, {kills:?}");
    let store = lab.store("store");
    let from = lab.record(0).len();
    let earlier = store.journal().first().map(|r| r["run"].clone());
    let begun = || store.journal().first().map(|r| r["run"].clone()) != earlier;
    let (run, resume): (&[&str], &[&str]) = (&["run", playbook, NODE], &["resume"]);
    for kill in kills {
        let ended = store.killed(if begun() { resume } else { run }, *kill);
        assert!(matches!(ended.code, None | Some(0 | 5)), "{name}: {}", ended.said());
    }
    let mut last = store.pitstop(if begun() { resume } else { run });
    let of = |kind: &str| lab.record(from).into_iter().filter(|l| l["kind"] == kind && l["node"] == NODE).collect::<Vec<Value>>();
    // Nobody can know whether what was intended was sent: a person says, and only where the rack saw nothing of it.
    let held = store.json(&["--json", "status"])["out"].as_array().unwrap().iter().any(|row| row["state"] == "held");
    if held {
        let journal = store.journal();
        let doubt = journal.iter().rev().find(|r| r["event"] == "act_intended").unwrap();
        let update = doubt["act"]["args"]["update"].is_object();
        assert!(update || doubt["act"]["power"] == true, "{name}: {}", last.said());
        assert!(!update || of("update").is_empty(), "{name}: the update was received, and a person was asked: {}", last.said());
        assert!(last.said().contains(&format!("pitstop release {NODE} retry")) || last.code == Some(5), "{name}: {}", last.said());
        last = store.pitstop(&["release", NODE, "retry"]);
    }
    // Power was not touched: turned back, where nobody knows whether it began and the rack never saw it. Then once more.
    if last.code == Some(5) && last.said().contains("nobody can say whether it began") {
        assert!(of("update").is_empty(), "{name}: {}", last.said());
        last = store.pitstop(run);
    }
    assert_eq!(last.code, Some(0), "{name}: {}", last.said());
    Case { lab, playbook, node: NODE, name: name.clone() }.assert_done(from);
    assert_eq!(of("update").len(), 1, "{name}: started once");
    let flashed = of("flashed");
    assert!(flashed.len() == 1 && flashed[0]["version"] == version && flashed[0]["part"] == "BIOS", "{name}: {flashed:?}");
    assert_eq!(of("bmc-restart").len(), 1, "{name}: the BMC restarts in the middle");
    assert_eq!(of("bricked"), Vec::<Value>::new(), "{name}: power while firmware was written");
    // A second run finds nothing due, and touches nothing.
    let of_node = || lab.record(0).iter().filter(|l| l["node"] == NODE).count();
    let lines = of_node();
    let again = store.pitstop(run);
    assert_eq!(again.code, Some(0), "{name}: {}", again.said());
    assert_eq!(of_node(), lines, "{name}: a node at its target was touched");
}

#[test]
fn inv_13_a_firmware_run_killed_anywhere_updates_once() {
    let mut cases: Vec<(&str, Vec<Kill>)> = vec![("on-reset", vec![]), ("immediate", vec![])];
    for (i, n) in (14..=46).step_by(4).enumerate() {
        cases.push((["on-reset", "immediate"][i % 2], vec![Kill::At(n, ["after", "before"][i % 2])]));
    }
    for (i, ms) in [1500, 2600, 3700, 4800, 6000].into_iter().enumerate() {
        cases.push((["on-reset", "immediate"][i % 2], vec![Kill::After(Duration::from_millis(ms)), Kill::After(Duration::from_millis(700))]));
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (cases, next) = (&cases, &next);
            scope.spawn(move || {
                let lab = Lab::start_with(2, &["update-restarts-bmc"]);
                let mut version = 0;
                while let Some((apply, kills)) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    version += 1;
                    updated_once(&lab, &format!("2.{worker}.{version}"), apply, kills);
                }
            });
        }
    });
}

/// Somebody else's update: refused before anything is touched, and no verb, whoever asks.
#[test]
fn inv_13_somebody_elses_update_refuses_the_node() {
    for fault in ["update-live", "update-staged"] {
        let lab = Lab::start_with(2, &[fault]);
        let store = lab.store("store");
        for args in [&["check", NODE][..], &["plan", "reboot", NODE], &["run", "reboot", NODE], &["run", "power-cycle", NODE]] {
            let said = store.pitstop(args);
            assert_eq!(said.code, Some(4), "{fault} {args:?}: {}", said.said());
            let text = said.said().split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains("flash: task `Update NIC.1`") && text.contains(&format!("pitstop check {NODE}")), "{fault} {args:?}: {text}");
        }
        assert!(
            !lab.record(0).iter().any(|l| l["node"] == NODE && ["power", "api-write", "bricked"].contains(&l["kind"].as_str().unwrap())),
            "{fault}: touched"
        );
    }
}

/// An image that is fetched from pitstop itself; an update that fails is told in the BMC's words, and nothing is reset for it.
#[test]
fn firmware_is_served_where_it_must_be_fetched_and_a_failure_is_held() {
    thread::scope(|scope| {
        for (fault, via) in [("update-pull-only", "SimpleUpdate"), ("update-push-only", "HttpPushUri")] {
            scope.spawn(move || {
                let lab = Lab::start_with(2, &[fault]);
                let said = lab.store("store").pitstop(&["run", lab.path("lab/firmware/lab-firmware.toml").to_str().unwrap(), NODE]);
                assert_eq!(said.code, Some(0), "{}", said.said());
                let lines = lab.record(0);
                let of = |kind: &str| lines.iter().filter(|l| l["kind"] == kind && l["node"] == NODE).collect::<Vec<_>>();
                assert!(of("update").len() == 1 && of("update")[0]["via"] == via && of("flashed").len() == 1, "{lines:?}");
                assert_eq!(of("update")[0]["apply"], "OnReset", "{lines:?}");
            });
        }
        scope.spawn(|| {
            let lab = Lab::start_with(2, &["update-fails"]);
            let store = lab.store("store");
            let book = playbook(&lab, "3.0.0", "immediate");
            let said = store.pitstop(&["run", book, NODE]);
            assert_eq!(said.code, Some(5), "{}", said.said());
            assert!(said.said().contains("could not be verified"), "{}", said.said());
            assert!(!lab.record(0).iter().any(|l| l["kind"] == "power"), "reset for nothing: {}", said.said());
        });
    });
}
