//! Histories written by hand, and what people and scripts see of them.
use super::{exit, fold::*, progress::*, runs, status, summary, *};
use crate::event::Record;
use serde_json::{Value, json};

/// Records from their events, one second apart from 02:00:00 on unless `s` says otherwise.
fn history(nodes: &[&str], events: &[Value]) -> Vec<Record> {
    let started = json!({ "event": "run_started", "cluster": "edge", "playbook": "reboot", "plan": "5be0aa", "format": 1, "program": "pitstop 0.1.0",
        "by": "ops@deploy-1", "reason": "kernel", "nodes": nodes });
    let mut at = 0;
    let with = |(n, event): (usize, &Value)| {
        let mut value = event.clone();
        at = event["s"].as_i64().unwrap_or(at + 1);
        let time = crate::model::Timestamp::from_second(1_792_548_000 + at).unwrap();
        for (key, v) in
            [("run", json!("0190-7f3a11")), ("seq", json!(n + 1)), ("id", json!(format!("r{n}"))), ("token", json!(1)), ("at", json!(time.to_string()))]
        {
            value[key] = v;
        }
        serde_json::from_value(value).unwrap()
    };
    [started].iter().chain(events).enumerate().map(with).collect()
}
fn admitted(node: &str) -> Value {
    json!({ "event": "node_admitted", "node": node, "wave": 0 })
}
fn started(node: &str, kind: &str) -> Value {
    json!({ "event": "step_started", "node": node, "step": 0, "kind": kind, "attempt": 0 })
}
fn settled(node: &str, kind: &str, outcome: Value) -> Value {
    json!({ "event": "step_settled", "node": node, "step": 0, "kind": kind, "attempt": 0, "outcome": outcome })
}
fn done(evidence: Value) -> Value {
    json!({ "done": { "evidence": evidence } })
}
fn fault(what: &str) -> Value {
    json!({ "kind": "unwilling", "what": what })
}
fn hold(what: &str) -> Value {
    json!({ "hold": { "fault": fault(what) } })
}
fn cordon(node: &str) -> Value {
    json!({ "event": "act_intended", "node": node, "step": 0, "attempt": 0, "act": { "what": "cordon", "to": "edge", "repeat": "freely",
        "borrows": { "id": "edge/cordon", "to": "edge", "owed": format!("uncordon {node}"), "before": false } } })
}
fn uncordon(node: &str) -> Value {
    json!({ "event": "act_intended", "node": node, "step": 0, "attempt": 0, "act": { "what": "uncordon", "to": "edge", "repeat": "freely", "returns": "edge/cordon" } })
}
fn reset(node: &str) -> Value {
    json!({ "event": "act_intended", "node": node, "step": 1, "attempt": 0, "act": { "what": "GracefulRestart", "to": "bmc", "repeat": "never", "power": true } })
}
fn answer(node: &str, answer: Value) -> Value {
    json!({ "event": "act_settled", "node": node, "answer": answer })
}
fn ended(node: &str, end: &str) -> Value {
    json!({ "event": "node_ended", "node": node, "end": end })
}
fn refused(node: &str) -> Value {
    json!({ "event": "node_skipped", "node": node, "why": { "kind": "refused", "fault": fault("the BMC is silent") } })
}
fn not_due(node: &str) -> Value {
    json!({ "event": "node_skipped", "node": node, "why": { "kind": "not_due", "why": "runs the newest kernel" } })
}
fn halted(why: Value) -> Value {
    json!({ "event": "run_halted", "why": why })
}
fn finished() -> Value {
    json!({ "event": "run_finished" })
}
fn whole(node: &str) -> Vec<Value> {
    vec![
        admitted(node),
        started(node, "evacuate"),
        cordon(node),
        answer(node, json!("accepted")),
        settled(node, "evacuate", done(json!({}))),
        started(node, "reset"),
        reset(node),
        answer(node, json!("accepted")),
        settled(node, "reset", done(json!({ "from": "3f1c-aaaa", "to": { "id": "9a77-bbbb" } }))),
        started(node, "enable"),
        uncordon(node),
        answer(node, json!("accepted")),
        settled(node, "enable", done(json!({}))),
        ended(node, "done"),
    ]
}
/// Through the reset, then held at verify.
fn held(node: &str) -> Vec<Value> {
    let mut events = whole(node)[..9].to_vec();
    events.extend([started(node, "verify"), settled(node, "verify", hold("eth1 is down"))]);
    events
}
fn folded(nodes: &[&str], parts: &[&[Value]]) -> RunReport {
    fold(&history(nodes, &parts.concat()), None).unwrap()
}

#[test]
fn a_node_that_went_through() {
    let report = folded(&["edge-01", "edge-02"], &[&whole("edge-01"), &[not_due("edge-02"), finished()]]);
    let node = &report.nodes[0];
    assert_eq!((node.end, node.from_boot.as_deref(), node.to_boot.as_deref()), (NodeState::Done, Some("3f1c-aaaa"), Some("9a77-bbbb")));
    assert_eq!((node.seconds, node.attempts, node.acts.len(), node.owed.len()), (Some(13.0), 3, 3, 0));
    assert_eq!((report.state, report.counts.done, report.counts.not_due, report.next.as_deref()), (RunState::Finished, 1, 1, None));
    let text = summary::text(&report, Paint::PLAIN);
    let expect = "\
run 7f3a11  reboot  cluster edge  plan 5be0
by ops@deploy-1 at 2026-10-21T02:00:01Z, reason: kernel
edge-01  done      in service after 13s   boot id 3f1c… → 9a77…
edge-02  not due   runs the newest kernel
1 done, 1 not due in 16s · finished
";
    assert_eq!(text, expect);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["nodes"][0]["end"], &json["nodes"][1]["end"], &json["version"]), (&json!("done"), &json!("not_due"), &json!(1)));
    assert_eq!(serde_json::from_value::<RunReport>(json).unwrap().counts, report.counts, "JSON is read again by tests and tools");
}

#[test]
fn a_held_node_says_all_a_person_needs() {
    let halt = halted(json!({ "kind": "waiting_for_person", "held": ["edge-04"] }));
    let report = folded(&["edge-04"], &[&held("edge-04"), &[halt]]);
    let text = summary::text(&report, Paint::PLAIN);
    for part in [
        "edge-04  HELD      at verify: eth1 is down\n",
        "what pitstop did: evacuate done ",
        "GracefulRestart ",
        "what it will not do: enable it\n",
        "owed: uncordon edge-04\n",
        "next: pitstop release edge-04 retry, or pitstop release edge-04 verify\n",
        "1 held in 12s · halted: edge-04 waits for a person\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches("next:").count(), 1, "said once\n{text}");
    let before_power = folded(&["e"], &[&[admitted("e"), started("e", "evacuate"), settled("e", "evacuate", hold("stuck"))]]);
    assert!(before_power.nodes[0].next.as_deref().unwrap().ends_with("pitstop release e return"), "return is refused only once power was touched");
    let open = folded(&["edge-04"], &[&held("edge-04")[..9]]);
    assert_eq!((open.nodes[0].end, open.next.as_deref()), (NodeState::InWork, Some("pitstop resume 7f3a11")));
}

#[test]
fn the_ledger_is_a_fold_over_acts() {
    let owed = |events: &[Value]| folded(&["e"], &[&[admitted("e"), started("e", "evacuate")], events]).nodes[0].owed.len();
    let failed = || answer("e", json!({ "failed": fault("no") }));
    let unknown = || answer("e", json!({ "unknown": { "kind": "unknown", "what": "no answer" } }));
    let accepted = || answer("e", json!("accepted"));
    assert_eq!(owed(&[cordon("e")]), 1, "owed from the intent on");
    assert_eq!(owed(&[cordon("e"), failed()]), 0, "proven not to have happened");
    assert_eq!(owed(&[cordon("e"), unknown()]), 1);
    assert_eq!(owed(&[cordon("e"), unknown(), cordon("e"), failed()]), 1, "the first may have happened");
    assert_eq!(owed(&[cordon("e"), accepted(), uncordon("e")]), 1, "only an accepted give-back closes it");
    assert_eq!(owed(&[cordon("e"), accepted(), uncordon("e"), unknown()]), 1);
    assert_eq!(owed(&[cordon("e"), accepted(), uncordon("e"), accepted()]), 0);
    assert_eq!(owed(&[cordon("e"), accepted(), json!({ "event": "loan_found_paid", "node": "e", "loan": "edge/cordon" })]), 0);
}

#[test]
fn exit_codes_row_by_row() {
    let check = |expect: u8, what: &str, runs: &[RunReport]| assert_eq!(exit::code(runs), expect, "{what}");
    let window = || halted(json!({ "kind": "window_closed", "reopens": null }));
    let no_room = |out: &str| halted(json!({ "kind": "no_room", "out": [out] }));
    let stopped = || halted(json!({ "kind": "stopped" }));
    let person = || halted(json!({ "kind": "waiting_for_person", "held": ["a"] }));
    let returned = || [admitted("a"), json!({ "event": "node_turned_back", "node": "a", "step": 4, "why": fault("stuck") }), ended("a", "returned")];
    let all_done = || folded(&["a"], &[&whole("a"), &[finished()]]);

    check(0, "nothing at all", &[]);
    check(0, "done", &[all_done()]);
    check(0, "nothing due", &[folded(&["a"], &[&[not_due("a"), finished()]])]);
    check(0, "evacuated, as the playbook wanted", &[folded(&["a"], &[&[admitted("a"), ended("a", "out"), finished()]])]);
    check(0, "window closed before anything began", &[folded(&["a", "b"], &[&[window(), finished()]])]);
    check(0, "the same, not due beside", &[folded(&["a", "b"], &[&[not_due("a"), window(), finished()]])]);
    check(4, "all refused", &[folded(&["a", "b"], &[&[refused("a"), refused("b"), finished()]])]);
    let all_refused = folded(&["a"], &[&[refused("a"), finished()]]);
    check(4, "all refused in two runs", &[all_refused.clone(), all_refused.clone()]);
    check(5, "all refused in one run only", &[all_refused.clone(), all_done()]);
    check(5, "some refused", &[folded(&["a", "b"], &[&whole("a"), &[refused("b"), finished()]])]);
    check(5, "refused beside not due", &[folded(&["a", "b"], &[&[refused("a"), not_due("b"), finished()]])]);
    check(5, "returned", &[folded(&["a"], &[&returned(), &[finished()]])]);
    check(5, "held, waits for a person", &[folded(&["a"], &[&held("a"), &[person()]])]);
    check(5, "held, others wait behind it", &[folded(&["a", "b"], &[&held("a"), &[person()]])]);
    check(5, "a failed node of ours takes the room", &[folded(&["a", "b"], &[&held("a"), &[no_room("a")]])]);
    let budget = halted(json!({ "kind": "failure_budget", "failed": ["a"] }));
    check(5, "failure budget", &[folded(&["a", "b"], &[&returned(), &[budget, finished()]])]);
    check(5, "stopped, but only held nodes are left", &[folded(&["a"], &[&held("a"), &[stopped()]])]);
    let keep_out = json!({ "event": "node_released", "node": "a", "by": "ops", "decision": "keep-out" });
    check(5, "a person kept it out", &[folded(&["a"], &[&held("a"), &[keep_out, finished()]])]);
    check(6, "window closed on the way", &[folded(&["a", "b"], &[&whole("a"), &[window(), finished()]])]);
    check(6, "foreign nodes take the room", &[folded(&["a"], &[&[no_room("x (NotReady)"), finished()]])]);
    check(7, "stopped with nodes not started", &[folded(&["a", "b"], &[&whole("a"), &[stopped()]])]);
    check(7, "stopped with a node in work", &[folded(&["a"], &[&[admitted("a"), stopped()]])]);
    check(7, "died in work", &[folded(&["a"], &[&whole("a")[..7]])]);
    check(7, "died before its last word", &[folded(&["a"], &[&whole("a")])]);
    check(7, "the worst of several", &[all_refused, all_done(), folded(&["a"], &[&[admitted("a")]]), folded(&["a"], &[&[no_room("x"), finished()]])]);
    check(
        0,
        "stopped and resumed to the end",
        &[folded(&["a"], &[&[stopped(), json!({ "event": "run_resumed", "program": "p", "by": "ops" })], &whole("a"), &[finished()]])],
    );

    assert_eq!([0, 4, 5, 6, 7, 8, 1].into_iter().fold(0, exit::worst), 1);
    for (worse, other) in [(1, 8), (8, 7), (7, 6), (6, 5), (5, 4), (4, 0)] {
        assert_eq!((exit::worst(worse, other), exit::worst(other, worse)), (worse, worse));
    }
}

/// A writer that tests can look into.
#[derive(Debug, Clone, Default)]
struct Buffer(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn one_line_per_change() {
    let wait = json!({ "event": "wait_changed", "node": "edge-04", "blockers": [{ "object": "shop/ledger-0", "why": "terminating, 552 s of grace left" }] });
    let mut events = vec![admitted("edge-04"), started("edge-04", "evacuate"), wait.clone(), wait];
    events.extend(whole("edge-04")[2..].to_vec());
    let records = history(&["edge-04"], &[events, vec![finished()]].concat());
    let (plain, lines) = (Buffer::default(), Buffer::default());
    let mut observers: [Box<dyn Observer>; 2] = [Box::new(Plain::new(plain.clone())), Box::new(JsonLines::new(lines.clone()))];
    for observer in &mut observers {
        records.iter().for_each(|r| observer.record(r));
        observer.finish();
    }
    let text = plain.text();
    let waiting = format!("{:.0} edge-04 evacuate: waiting for shop/ledger-0 (terminating, 552 s of grace left)\n", records[3].at);
    assert_eq!(text.matches("waiting for").count(), 1, "the same again is no change\n{text}");
    assert!(text.contains(&waiting), "{text}");
    assert!(text.contains(" edge-04 reset: GracefulRestart → bmc\n"), "{text}");
    assert!(text.contains(" edge-04 done: in service after 15s   boot id 3f1c… → 9a77…\n"), "{text}");
    let read: Vec<Record> = lines.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(read, records, "--json is the journal");
}

#[test]
fn bars_on_a_terminal() {
    let records = history(
        &["edge-01", "edge-02"],
        &[whole("edge-01"), held("edge-02"), vec![halted(json!({ "kind": "waiting_for_person", "held": ["edge-02"] }))]].concat(),
    );
    let screen = Buffer::default();
    let mut terminal = Terminal::on(indicatif::ProgressDrawTarget::term_like(Box::new(Screen(screen.clone()))), Paint::PLAIN);
    records[..8].iter().for_each(|r| terminal.record(r));
    let now = screen.text();
    assert!(now.contains("run 7f3a11  reboot  0 of 2 done · 1 in work · 0 held") && now.contains("edge-01  reset"), "{now}");
    records[8..].iter().for_each(|r| terminal.record(r));
    terminal.finish();
    let end = screen.text();
    assert!(end.contains("edge-01  done      in service after 13s"), "{end}");
    assert!(end.contains("edge-02  HELD      at verify: eth1 is down"), "{end}");
}

/// A screen that keeps all that was ever written to it.
#[derive(Debug)]
struct Screen(Buffer);
impl indicatif::TermLike for Screen {
    fn width(&self) -> u16 {
        100
    }
    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> std::io::Result<()> {
        self.write_str(text)?;
        self.write_str("\n")
    }
    fn write_str(&self, text: &str) -> std::io::Result<()> {
        std::io::Write::write_all(&mut self.0.clone(), text.as_bytes())
    }
    fn clear_line(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn lists() {
    let report = folded(&["edge-04"], &[&held("edge-04")]);
    let now = report.started + std::time::Duration::from_secs(6 * 3600 + 720);
    let lost = runs::RunRow::of(&report, None);
    let text = runs::text(std::slice::from_ref(&lost), now);
    assert_eq!(text, "7f3a11  reboot  edge   6h12m ago  no engine  1 held\n        next: pitstop resume 7f3a11\n");
    let busy = runs::text(&[runs::RunRow::of(&report, Some("ops@deploy-1 (pid 4711)".into()))], now);
    assert!(busy.contains("running") && busy.contains("held by ops@deploy-1 (pid 4711)") && !busy.contains("next:"), "{busy}");
    assert_eq!(runs::text(&[], now), "no runs\n");

    let row = |node: &str, state, since: Option<i64>| status::StatusRow {
        node: node.into(),
        cluster: crate::model::ClusterName("edge".into()),
        state,
        since: since.map(|s| (report.started + std::time::Duration::from_secs(s as u64)).to_string()),
        run: (state == status::State::Held).then(|| report.run.clone()),
        why: "why".into(),
        next: (state == status::State::Held).then(|| "pitstop release edge-04 verify".into()),
    };
    let mut rows = [row("edge-11", status::State::Foreign, Some(60)), row("edge-04", status::State::Held, Some(0)), row("db-02", status::State::Lost, None)];
    status::sort(&mut rows);
    let text = status::text(&rows, true, false, now, Paint::PLAIN);
    let expect = "\
db-02    ours, lost       ?  edge  why
edge-04  HELD         6h12m  edge  run 7f3a11: why
         next: pitstop release edge-04 verify
edge-11  foreign      6h11m  edge  why
";
    assert_eq!(text, expect);
    assert_eq!(serde_json::to_value(&rows[0]).unwrap()["state"], json!("ours-lost"));
    assert!(status::text(&[], false, false, now, Paint::PLAIN).contains("the clusters were not asked"));
}

#[test]
fn any_history_folds() {
    let full = [whole("a"), held("b"), vec![finished()]].concat();
    let records = history(&["a"], &full);
    // Any beginning, and any order: a report never panics, and counts every node once.
    for n in 1..=records.len() {
        let mut some = records[..n].to_vec();
        some[1..].reverse();
        for records in [&records[..n], &some] {
            let report = fold(records, None).unwrap();
            let c = &report.counts;
            assert_eq!(c.done + c.returned + c.held + c.out + c.refused + c.not_due + c.waiting + c.in_work, report.nodes.len());
            summary::text(&report, Paint::PLAIN);
        }
    }
    assert_eq!(fold(&records[1..], None), None);
    assert_eq!(fold(&[], None), None);
}

/// What came back otherwise and held nothing: the expected first, a few lines, and how many there are besides.
#[test]
fn what_has_changed_is_told_of_a_node_that_is_done() {
    let one = |level: &str, line: String| json!({ "item": "x:y", "level": level, "line": line });
    let mut compared = vec![one("expected", "kernel: release is 6.1.0-30, was 6.1.0-28".into())];
    compared.extend((1..=8).map(|n| one("noted", format!("module m{n} is new"))));
    let verified = settled("a", "verify", done(json!({ "compared": compared })));
    let report = fold(&history(&["a"], &[admitted("a"), started("a", "verify"), verified, ended("a", "done")]), None).unwrap();
    let text = summary::text(&report, Paint::PLAIN);
    assert!(text.contains("changed, expected: kernel: release is 6.1.0-30, was 6.1.0-28\n"), "{text}");
    assert!(text.contains("changed: module m5 is new\n") && !text.contains("module m6"), "{text}");
    assert!(text.contains("changed: and 3 more, in pitstop report 7f3a11 --json\n"), "{text}");
}
