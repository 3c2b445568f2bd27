//! One death, or several, and what must be true at the end.
use crate::lab::{Kill, Lab, Store};
use serde_json::Value;

pub struct Case<'a> {
    pub lab: &'a Lab,
    pub playbook: &'static str,
    pub node: &'static str,
    pub name: String,
}

pub struct Saw {
    pub died: bool,
    /// A person had to decide.
    pub held: bool,
}

pub fn is_power_intent(record: &Value) -> bool {
    record["event"] == "act_intended" && record["act"]["power"] == true
}

fn time(line: &Value, key: &str) -> jiff::Timestamp {
    line[key].as_str().unwrap().parse().unwrap()
}

impl Case<'_> {
    /// Runs, is killed, is resumed, is killed again, …; the last resume is left alone and ends everything well.
    pub fn survives(&self, kills: &[Kill]) -> Saw {
        let store = self.lab.store("store");
        let from = self.lab.record(0).len();
        // The rack's earlier cases are in the same store. A run that died before its first record is none.
        let earlier = store.journal().first().map(|r| r["run"].clone());
        let begun = || store.journal().first().map(|r| r["run"].clone()) != earlier;
        let run: &[&str] = &["run", self.playbook, self.node];
        let resume: &[&str] = &["resume"];
        let mut died = false;
        for (i, kill) in kills.iter().enumerate() {
            // A run that never began leaves nothing to resume: it is begun anew.
            let ended = store.killed(if i > 0 && begun() { resume } else { run }, *kill);
            died |= ended.code.is_none();
            // Alive: it is done, or it found that a person has to decide.
            assert!(matches!(ended.code, None | Some(0 | 5)), "{}: {}", self.name, ended.said());
        }
        let doubt = self.power_in_doubt(&store);
        let mut last = store.pitstop(if begun() { resume } else { run });
        let mut held = false;
        if self.is_held(&store) {
            held = true;
            self.assert_held(&store, from, &last.said(), doubt);
            last = store.pitstop(&["release", self.node, "retry"]);
        }
        assert_eq!(last.code, Some(0), "{}: {}", self.name, last.said());
        self.assert_done(from);
        Saw { died, held }
    }

    fn is_held(&self, store: &Store) -> bool {
        let status = store.json(&["--json", "status"]);
        status["out"].as_array().unwrap().iter().any(|row| row["state"] == "held")
    }

    /// The journal's last word on power is an intent: its packet was or was not sent.
    fn power_in_doubt(&self, store: &Store) -> bool {
        let journal = store.journal();
        let last = journal.iter().rev().find(|r| r["event"] == "act_intended" || r["event"] == "act_settled");
        last.is_some_and(is_power_intent)
    }

    /// By design: only where a verb was in doubt, never reached the rack, and was watched for the quiet period (10 min, here 6 s).
    fn assert_held(&self, store: &Store, from: usize, said: &str, doubt: bool) {
        let name = &self.name;
        let journal = store.journal();
        // A resume that was killed too may have settled the doubt itself.
        let halted = journal
            .iter()
            .any(|r| r["event"] == "step_settled" && r["outcome"]["hold"]["fault"]["what"].as_str().is_some_and(|w| w.contains("no answer came")));
        assert!(halted, "{name}: held for another reason: {said}");
        let intent = journal.iter().rev().find(|r| is_power_intent(r)).unwrap();
        let verb = &intent["act"]["args"]["verb"];
        assert!(doubt || !said.contains("no answer came"), "{name}: held without a doubt: {said}");
        let sent_since = |line: &Value| line["kind"] == "power" && line["verb"] == *verb && line["node"] == self.node;
        assert!(!self.lab.record(from).iter().any(sent_since), "{name}: {verb} reached the rack, and its boot was not seen");
        let held_at = journal.iter().rev().find(|r| r["event"] == "step_settled").map(|r| time(r, "at")).unwrap();
        let watched = held_at.duration_since(time(intent, "at")).as_secs_f64();
        assert!(watched >= 6.0, "{name}: held after {watched} s, the quiet period is 6");
        let said = format!("{said}{}", store.pitstop(&["report"]).said());
        assert!(said.contains(&format!("pitstop release {} retry", self.node)), "{name}: does not say what to type: {said}");
        let report = store.pitstop(&["resume"]);
        assert_eq!(report.code, Some(0), "{name}: nothing moves without a person: {}", report.said());
    }

    /// Done, booted once, nothing lost, nothing left behind, every verb intended.
    pub fn assert_done(&self, from: usize) {
        let (name, node) = (&self.name, self.node);
        let store = self.lab.store("store");
        let journal = store.journal();
        let of = |event: &str| journal.iter().filter(|r| r["event"] == event).collect::<Vec<_>>();
        assert_eq!(of("node_ended").len(), 1, "{name}");
        assert_eq!(of("node_ended")[0]["end"], "done", "{name}");
        assert_eq!(journal.last().unwrap()["event"], "run_finished", "{name}");
        let report = store.json(&["--json", "report"]);
        assert_eq!(report["nodes"].as_array().map(Vec::len), Some(1), "{name}: {report}");

        let rack = self.lab.record(from);
        let kind = |kind: &str| rack.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
        let boots = kind("boot");
        assert!(boots.len() == 1 && boots[0]["node"] == node, "{name}: {boots:?}");
        assert_eq!(kind("lost-workload"), Vec::<&Value>::new(), "{name}");
        let intents: Vec<&Value> = journal.iter().filter(|r| is_power_intent(r)).collect();
        for line in kind("power") {
            assert_eq!(line["node"], node, "{name}: {line}");
            let intended = |i: &&Value| i["act"]["args"]["verb"] == line["verb"] && time(i, "at") <= time(line, "t");
            assert!(intents.iter().any(intended), "{name}: no intent precedes {line}");
            let same = kind("power").iter().filter(|l| l["verb"] == line["verb"] && l["answer"] == "Accepted").count();
            assert!(same == 1, "{name}: {} was obeyed {same} times", line["verb"]);
        }
        let status = store.json(&["--json", "status"]);
        assert_eq!(status["out"], serde_json::json!([]), "{name}: left behind");
        assert_eq!(status["unseen"], serde_json::json!([]), "{name}: not looked at");
    }
}
