//! Never too many out: what others took out counts, and nobody is admitted into the last place but one.
use super::*;
use pitstop::{engine::fleet::Command, event::Halt, event::Record};

fn decided(max_unavailable: u32, out: &[&str]) -> Vec<Command> {
    let plan = plan(&Case { nodes: 4, max_unavailable, ..Case::default() });
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut fleet = Fleet::default();
    let started = Event::RunStarted {
        cluster: plan.cluster.clone(),
        group: None,
        playbook: "reboot".into(),
        plan: "digest".into(),
        format: FORMAT,
        program: "sim".into(),
        by: "test".into(),
        reason: None,
        nodes: plan.nodes.keys().cloned().collect(),
    };
    let seen = Event::ClusterSeen { out: out.iter().map(|n| (n.to_string(), "SchedulingDisabled".into())).collect(), members: 9 };
    for (seq, event) in (1..).zip([started, seen]) {
        fleet.apply(&Record { run: RunId("run-1".into()), seq, id: seq.to_string(), token: 1, at: now, event }).unwrap();
    }
    let mut all = Vec::new();
    // As the dispatcher does: one decision after another, each on what the last has made.
    for seq in 3.. {
        let todo = fleet.decide(&plan, now);
        let next = todo.iter().find_map(|c| match c {
            Command::Record(event) => Some(event.clone()),
            Command::Start { node, step, attempt } => Some(Event::StepStarted { node: node.clone(), step: *step, kind: "preflight".into(), attempt: *attempt }),
            _ => None,
        });
        all.extend(todo);
        let Some(event) = next else { return all };
        fleet.apply(&Record { run: RunId("run-1".into()), seq, id: seq.to_string(), token: 1, at: now, event }).unwrap();
    }
    unreachable!()
}

fn admitted(commands: &[Command]) -> usize {
    commands.iter().filter(|c| matches!(c, Command::Record(Event::NodeAdmitted { .. }))).count()
}

#[test]
fn inv_05_exactly_as_many_as_the_limit_says() {
    for limit in 1..=3 {
        assert_eq!(admitted(&decided(limit, &[])), limit as usize);
    }
}

#[test]
fn inv_05_foreign_nodes_take_places() {
    assert_eq!(admitted(&decided(3, &["x1"])), 2);
    assert_eq!(admitted(&decided(2, &["x1"])), 1);
    for full in [decided(1, &["x1"]), decided(2, &["x1", "x2"])] {
        assert_eq!(admitted(&full), 0);
        let named = |c: &Command| matches!(c, Command::Record(Event::RunHalted { why: Halt::NoRoom { out } }) if out.iter().any(|o| o.contains("x1")));
        assert!(full.iter().any(named), "a named halt: {full:?}");
    }
}
