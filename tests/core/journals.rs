//! Journals of every release stay readable: what was written then loads, folds and is reported by this program.
use super::*;
use pitstop::report::fold::{RunState, fold, fold_lines};
use std::path::Path;

fn journals() -> Vec<(String, Vec<String>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
    let files = std::fs::read_dir(&dir).unwrap().map(|f| f.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let lines = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        (path.file_name().unwrap().to_string_lossy().into_owned(), lines)
    };
    let all: Vec<_> = files.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).map(read).collect();
    assert!(!all.is_empty(), "no journals in {}", dir.display());
    all
}

fn records(lines: &[String]) -> Vec<Record> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn folded(records: &[Record]) -> Fleet {
    let mut fleet = Fleet::default();
    records.iter().for_each(|r| fleet.apply(r).unwrap_or_else(|e| panic!("record {}: {e}", r.seq)));
    fleet
}

#[test]
fn journals_of_every_release_load_fold_and_report() {
    for (name, lines) in journals() {
        let records = records(&lines);
        let fleet = folded(&records);
        assert!(fleet.finished && fleet.nodes.values().all(|n| n.phase == Phase::Ended(End::Done)), "{name}: {:?}", fleet.nodes);
        assert!(fleet.nodes.values().all(|n| n.past.loans.is_empty() && n.past.power_touched()), "{name}");
        let report = fold(&records, None).unwrap();
        assert_eq!((report.state, report.counts.done, report.unknown_events), (RunState::Finished, fleet.nodes.len(), 0), "{name}");
        assert!(report.nodes.iter().all(|n| n.from_boot.is_some() && n.to_boot.is_some() && n.from_boot != n.to_boot && n.owed.is_empty()), "{name}");
        // What this program writes of it says the same.
        let again: Vec<Record> = records.iter().map(|r| serde_json::from_str(&serde_json::to_string(r).unwrap()).unwrap()).collect();
        assert_eq!(again, records, "{name}");
    }
}

/// `value` in every table of the line, however deep.
fn sprinkle(value: &mut Value, depth: usize) {
    match value {
        Value::Object(map) => {
            // A loan's picture and evidence are the driver's own: they are kept as they are, tomorrow's field too.
            map.iter_mut().filter(|(key, _)| !["before", "evidence", "args"].contains(&key.as_str())).for_each(|(_, v)| sprinkle(v, depth + 1));
            // One key of an enum's table is its variant: only tables of named fields can grow.
            let grows = depth == 0 || map.len() > 1;
            if grows {
                map.insert("of_tomorrow".into(), json!({ "deep": [1, "x"] }));
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|v| sprinkle(v, depth + 1)),
        _ => {}
    }
}

#[test]
fn a_field_of_tomorrow_does_no_harm() {
    for (name, lines) in journals() {
        let today = records(&lines);
        let grown = lines.iter().map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            sprinkle(&mut value, 0);
            value.to_string()
        });
        let tomorrow = records(&grown.collect::<Vec<_>>());
        assert_eq!(folded(&tomorrow), folded(&today), "{name}");
    }
}

#[test]
fn an_unknown_event_stops_a_resume_and_not_a_report() {
    for (name, mut lines) in journals() {
        let whole = fold(&records(&lines), None).unwrap();
        // A newer program wrote something between; the numbers go on.
        let at = lines.len() / 2;
        let stranger =
            |seq: usize| json!({ "run": whole.run, "seq": seq, "id": "x", "token": 1, "at": "2027-01-01T00:00:00Z", "event": "node_teleported", "node": "x" });
        let renumbered = |line: &String| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            value["seq"] = json!(value["seq"].as_u64().unwrap() + 1);
            value.to_string()
        };
        let tail: Vec<String> = lines.split_off(at).iter().map(renumbered).collect();
        lines.push(stranger(at + 1).to_string());
        lines.extend(tail);

        let report = fold_lines(lines.iter().map(String::as_str), None).unwrap();
        assert_eq!(report.unknown_events, 1);
        assert_eq!((&report.nodes, report.state, &report.counts), (&whole.nodes, whole.state, &whole.counts), "{name}");
        let text = pitstop::report::summary::text(&report, pitstop::report::Paint::PLAIN);
        assert!(text.contains("of a newer pitstop"), "{text}");
        // What a store reads for a resume, it refuses (tests/store.rs has each store do so).
        let refused = serde_json::from_str::<Record>(&lines[at]).unwrap_err().to_string();
        assert!(refused.contains("node_teleported"), "{refused}");
    }
}
