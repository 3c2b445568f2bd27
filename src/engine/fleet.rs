//! All nodes of a run: admission, limits, halts, and what to do next. Pure: `now` is an argument.
use super::node::{IllegalEvent, Node, Phase};
use crate::{
    event::{End, Event, Halt, Record, Stop},
    model::{Fault, NodeName, RunId, Skip, Span, Timestamp, since},
    plan::{OnFailure, Plan},
};
use std::{collections::BTreeMap, time::Duration};

/// A survey of the cluster older than this admits nobody.
const FRESH: Duration = Duration::from_secs(30);
/// Before a step is tried again: doubled each time, up to a few minutes.
const RETRY: Span = Span::seconds(10);
/// Before we look again at a cluster that we lost sight of.
pub const BLIND: Span = Span::seconds(10);

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fleet {
    pub run: Option<RunId>,
    pub seq: u64,
    pub nodes: BTreeMap<NodeName, Node>,
    pub stopping: Option<Stop>,
    pub halted: Option<Halt>,
    /// Resumed after the pause that follows the canaries.
    pub past_canary: bool,
    pub finished: bool,
    /// When a node of ours last left our own count: what was seen before says nothing about it.
    pub ended_at: Option<Timestamp>,
    /// What the cluster last said, and when: members out of service, ours among them.
    pub seen: Option<(Timestamp, Vec<(String, String)>)>,
    /// We do not see the cluster, since when and why.
    pub blind: Option<(Timestamp, Fault)>,
}

/// Most commands are an event to append. Only `Start` also begins work, after its event is on disk.
#[expect(clippy::large_enum_variant, reason = "a handful at a time, taken apart at once")]
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Record(Event),
    Start {
        node: NodeName,
        step: u32,
        attempt: u32,
    },
    /// Ask the cluster who is out, and append what it says.
    Survey,
    WakeAt(Timestamp),
}

impl Fleet {
    /// Checks before it changes: an error leaves the fleet as it was, so that the engine can ask before it appends.
    pub fn check(&self, at: Timestamp, event: &Event) -> Result<Option<Node>, IllegalEvent> {
        let first = matches!(event, Event::RunStarted { .. });
        // A finished run leaves nobody behind: what is out belongs to a run that can be resumed.
        let too_early = matches!(event, Event::RunFinished) && self.open().next().is_some();
        if self.finished || (self.seq == 0) != first || too_early {
            return Err(IllegalEvent(format!("{event:?} cannot stand at {}", self.seq + 1)));
        }
        match event.node() {
            None => Ok(None),
            Some(name) => self.nodes.get(name).ok_or_else(|| IllegalEvent(format!("unknown node {name}")))?.apply(at, event).map(Some),
        }
    }

    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalEvent> {
        if record.seq != self.seq + 1 {
            return Err(IllegalEvent(format!("record {} after {}", record.seq, self.seq)));
        }
        let changed = self.check(record.at, &record.event)?;
        self.seq = record.seq;
        match (&record.event, changed) {
            (event, Some(node)) => {
                let name = event.node().expect("BUG: a changed node has a name").clone();
                let out = node.out();
                if self.nodes.insert(name, node).is_some_and(|before| before.out()) && !out {
                    (self.ended_at, self.seen) = (Some(record.at), None);
                }
            }
            (Event::RunStarted { nodes, .. }, _) => {
                self.run = Some(record.run.clone());
                self.nodes = nodes.iter().map(|n| (n.clone(), Node::default())).collect();
            }
            (Event::RunResumed { .. }, _) => {
                self.past_canary |= matches!(self.halted, Some(Halt::AfterCanary { .. }));
                (self.stopping, self.halted, self.seen) = (None, None, None);
                self.nodes.values_mut().for_each(|n| *n = n.resumed(record.at));
            }
            // The stronger wish stays: whoever asked for less later did not take it back.
            (Event::StopRequested { how, .. }, _) if self.stopping != Some(Stop::Settle) && !(self.stopping == Some(Stop::GiveBack) && *how == Stop::Drain) => {
                self.stopping = Some(how.clone())
            }
            (Event::RunHalted { why }, _) => self.halted = Some(why.clone()),
            (Event::RunFinished, _) => self.finished = true,
            (Event::ClusterSeen { out, .. }, _) => (self.seen, self.blind) = (Some((record.at, out.clone())), None),
            (Event::SightLost { why }, _) => self.blind = Some((record.at, why.clone())),
            _ => {}
        }
        Ok(())
    }

    /// Nodes that are out and not at their end: what a new run must not touch, and a resume takes up.
    pub fn open(&self) -> impl Iterator<Item = (&NodeName, &Node)> {
        self.nodes.iter().filter(|(_, n)| n.out())
    }

    /// Asked again after every change; the same arguments give the same answer.
    pub fn decide(&self, plan: &Plan, now: Timestamp) -> Vec<Command> {
        if self.finished || self.seq == 0 {
            return Vec::new();
        }
        let mut todo = Vec::new();
        for (name, node) in &self.nodes {
            todo.extend(self.next_of(name, node, plan, now));
        }
        let busy = todo.iter().any(|c| !matches!(c, Command::WakeAt(_)));
        if !busy {
            todo.extend(self.admit_or_end(plan, now));
        }
        todo
    }

    fn next_of(&self, name: &NodeName, node: &Node, plan: &Plan, now: Timestamp) -> Option<Command> {
        let record = |event| Some(Command::Record(event));
        let end_of_track = if node.turned_back.is_some() { plan.steps.len() as u32 } else { plan.forward };
        match &node.phase {
            Phase::Ready { step, .. } if *step >= end_of_track => {
                let end = match (&node.turned_back, node.past.loans.is_empty()) {
                    (_, false) => End::Out,
                    (Some(_), true) => End::Returned,
                    (None, true) => End::Done,
                };
                record(Event::NodeEnded { node: name.clone(), end })
            }
            Phase::Ready { .. } | Phase::Held { .. } if self.stopping == Some(Stop::GiveBack) && node.may_turn_back() && !node.untouched() => {
                let why = Fault::new(crate::model::FaultKind::Unwilling, "stopped with --give-back");
                record(Event::NodeTurnedBack { node: name.clone(), step: plan.forward, why })
            }
            Phase::Ready { .. } if self.stopping == Some(Stop::Settle) => None,
            Phase::Ready { step, attempt, since: ready } => {
                let pause =
                    if *attempt == 0 || node.past.released_at == Some(*ready) { Duration::ZERO } else { plan.time.of(RETRY) * (1 << (*attempt - 1).min(5)) };
                let due = *ready + pause;
                if due <= now { Some(Command::Start { node: name.clone(), step: *step, attempt: *attempt }) } else { Some(Command::WakeAt(due)) }
            }
            Phase::Held { step, fault, .. }
                if plan.steps.get(*step as usize).is_some_and(|s| s.on_failure == OnFailure::Return) && node.may_turn_back() && !node.paused() =>
            {
                if node.untouched() {
                    record(Event::NodeSkipped { node: name.clone(), why: Skip::Refused { fault: fault.clone() } })
                } else {
                    record(Event::NodeTurnedBack { node: name.clone(), step: plan.forward, why: fault.clone() })
                }
            }
            _ => None,
        }
    }

    /// Nodes that count against the failure budget. One that preflight refused was never at risk and does not.
    pub fn failed(&self) -> Vec<NodeName> {
        let failed = |n: &Node| n.turned_back.is_some() || (matches!(n.phase, Phase::Held { .. }) && !n.paused());
        self.nodes.iter().filter(|(_, n)| failed(n)).map(|(name, _)| name.clone()).collect()
    }

    fn waiting<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (u32, &'a NodeName)> {
        self.nodes.iter().filter(|(_, n)| n.phase == Phase::Waiting).filter_map(|(name, _)| Some((plan.nodes.get(name)?.wave, name)))
    }

    /// The one node that may go next, or why none may. One at a time, so that the next decision counts this one:
    /// a limit can never be passed by a batch.
    fn admission(&self, plan: &Plan, now: Timestamp) -> Result<Command, Option<Halt>> {
        let Some((wave, name)) = self.waiting(plan).min() else { return Err(None) };
        if self.failed().len() as u32 > plan.limits.failure_budget {
            return Err(Some(Halt::FailureBudget { failed: self.failed() }));
        }
        if !plan.limits.window.is_empty() && !plan.limits.window.iter().any(|w| w.open.iter().any(|(opens, closes)| *opens <= now && now < *closes)) {
            let reopens = plan.limits.window.iter().flat_map(|w| &w.open).map(|(opens, _)| *opens).filter(|opens| *opens > now).min();
            return Err(Some(Halt::WindowClosed { reopens }));
        }
        let ours: Vec<&NodeName> = self.open().map(|(name, _)| name).collect();
        if ours.iter().any(|o| plan.nodes.get(*o).is_some_and(|p| p.wave < wave)) {
            return Err(None); // an earlier wave is still out
        }
        let done = self.nodes.values().filter(|n| n.phase == Phase::Ended(End::Done)).count() as u32;
        let canary = if plan.pause_after_canary && !self.past_canary { plan.limits.canary.max(1) } else { plan.limits.canary };
        let most = if done < canary { 1 } else { plan.limits.max_unavailable };
        if plan.pause_after_canary && !self.past_canary && done >= canary {
            return Err(ours.is_empty().then_some(Halt::AfterCanary { done }));
        }
        let label_full = plan.limits.max_per.iter().any(|(label, most)| {
            let value = |n: &NodeName| plan.nodes.get(n).and_then(|p| p.labels.get(label)).cloned();
            let mine = value(name);
            mine.is_some() && ours.iter().filter(|o| value(o) == mine).count() as u32 >= *most
        });
        let no_room = |others: Vec<String>| Err(Some(Halt::NoRoom { out: ours.iter().map(|n| n.to_string()).chain(others).collect() }));
        if ours.len() as u32 >= most || label_full {
            return no_room(Vec::new());
        }
        // Only a young look says who else is out; one of the future tells of a clock that was set back.
        let fresh = |at: Timestamp| at <= now && since(at, now) <= FRESH;
        let foreign = match (&self.blind, &self.seen) {
            (Some((at, _)), _) if *at + plan.time.of(BLIND) > now => return Ok(Command::WakeAt(*at + plan.time.of(BLIND))),
            (None, Some((at, out))) if fresh(*at) => out,
            _ => return Ok(Command::Survey),
        };
        // A node of ours that stands open is counted already; the one that wants in does not stand in its own way.
        let counted = |member: &str| {
            ours.iter().copied().chain([name]).any(|n| plan.nodes.get(n).is_some_and(|p| p.seats.iter().any(|s| s.cluster == plan.cluster && s.node == member)))
        };
        let others: Vec<String> = foreign.iter().filter(|(member, _)| !counted(member)).map(|(member, why)| format!("{member} ({why})")).collect();
        if ours.len() + others.len() >= most as usize {
            return no_room(others);
        }
        let inherits = plan.nodes.get(name).map(|p| p.inherits.clone()).unwrap_or_default();
        Ok(Command::Record(Event::NodeAdmitted { node: name.clone(), wave, inherits }))
    }

    fn admit_or_end(&self, plan: &Plan, now: Timestamp) -> Option<Command> {
        let in_work = self.nodes.values().any(|n| matches!(n.phase, Phase::Ready { .. } | Phase::Working { .. }));
        let working = self.nodes.values().any(|n| matches!(n.phase, Phase::Working { .. }));
        if self.stopping.is_some() {
            // Settling: nodes that are ready stay so, for a resume.
            let still = if self.stopping == Some(Stop::Settle) { working } else { in_work };
            return if still { None } else { self.end(plan, Some(Halt::Stopped)) };
        }
        if self.halted.is_some() {
            return if in_work { None } else { self.end(plan, None) };
        }
        match self.admission(plan, now) {
            Ok(command) => Some(command),
            Err(_) if in_work => None,
            Err(halt) => self.end(plan, halt),
        }
    }

    /// Nothing is in work and nobody may be admitted: says why, and closes the run where nothing of it is left to take up.
    fn end(&self, plan: &Plan, why: Option<Halt>) -> Option<Command> {
        let record = |event| Some(Command::Record(event));
        let held: Vec<NodeName> = self.nodes.iter().filter(|(_, n)| matches!(n.phase, Phase::Held { .. })).map(|(n, _)| n.clone()).collect();
        let left = self.waiting(plan).next().is_some();
        let out = self.open().next().is_some();
        let stopped = why == Some(Halt::Stopped) && (left || out);
        match (&self.halted, why) {
            (None, Some(Halt::Stopped)) if !stopped => record(Event::RunFinished),
            (None, Some(why)) if held.is_empty() || stopped => record(Event::RunHalted { why }),
            (None, Some(why @ Halt::FailureBudget { .. })) if left => record(Event::RunHalted { why }),
            (None, _) if !held.is_empty() => record(Event::RunHalted { why: Halt::WaitingForPerson { held } }),
            (None, None) => record(Event::RunFinished),
            (Some(Halt::Stopped | Halt::AfterCanary { .. } | Halt::SightLost { .. }), _) => None,
            (Some(_), _) if out => None,
            (Some(_), _) => record(Event::RunFinished),
            (None, Some(why)) => record(Event::RunHalted { why }),
        }
    }

    /// The engine has nothing more to do in this process.
    pub fn at_rest(&self) -> bool {
        self.finished || (self.halted.is_some() && !self.nodes.values().any(|n| matches!(n.phase, Phase::Working { .. })) && !self.moving())
    }
    /// Some node would start a step by itself.
    fn moving(&self) -> bool {
        self.stopping != Some(Stop::Settle) && self.nodes.values().any(|n| matches!(n.phase, Phase::Ready { .. }))
    }
}
