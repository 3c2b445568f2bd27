//! Empties the node: whatever its clusters offer, cluster by cluster; done when nothing runs there twice in a row.
use super::{Cx, Next, Seat, Step};
use crate::{
    drivers::cluster::Ask,
    kinds,
    model::{Act, Answer, Blocker, Fault, FaultKind, How, LoanId, NodeView, Past, Span, TimeScale, Timestamp, Unmovable, since},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, sync::Mutex};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What to do with what cannot move.
    #[serde(default)]
    pub unmovable: Unmovable,
    /// `stop` is OpenvCloud's alone.
    #[serde(default)]
    pub how: How,
    /// The cloud spaces that may go dark, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cloudspaces: Vec<String>,
    /// Which single machines go where, before all others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub place: BTreeMap<String, String>,
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "evacuate";
    const ABOUT: &'static str = "takes the node out of service in its clusters and moves away everything that runs there";
    fn make(self) -> Box<dyn Step> {
        Box::new(Evacuate { config: self, empty_before: Mutex::new(false) })
    }
}
struct Evacuate {
    config: Config,
    /// The last look found the node empty.
    empty_before: Mutex<bool>,
}

/// A move that was refused is offered again after this, doubled up to a minute: a budget frees itself in its own time.
const AGAIN: Span = Span::seconds(5);

/// Pure: one seat. None: this cluster has let go of the node.
pub fn judge(seat_cluster: &str, view: &NodeView, past: &Past, time: TimeScale, now: Timestamp) -> Option<Next> {
    if !view.impossible.is_empty() {
        let named: Vec<String> = view.impossible.iter().map(Blocker::to_string).collect();
        return Some(Next::Hold(Fault::new(FaultKind::Unwilling, format!("cluster {seat_cluster} can never empty the node")).cause(named.join("; "))));
    }
    let mut due = Vec::new();
    let mut refused = Vec::new();
    for act in view.moves.iter().map(|act| addressed(act, seat_cluster)) {
        let tries: Vec<_> = past.acts.iter().filter(|d| d.act.same(&act)).collect();
        match tries.last() {
            None => due.push((act, json!({ "workloads": view.workloads.len() }))),
            Some(last) => {
                let waited = since(last.at.max(past.resumed_at.unwrap_or(last.at)), now);
                if let Some(Answer::Failed(fault) | Answer::Unknown(fault)) = &last.answer {
                    if fault.kind == FaultKind::Denied {
                        return Some(Next::Hold(fault.clone()));
                    }
                    let told = fault.to_string();
                    let told = told.strip_prefix(&format!("{}: ", act.what)).unwrap_or(&told);
                    let why = fault.next.as_ref().map_or(told.to_owned(), |next| format!("{told}; {next}"));
                    refused.push(Blocker::new(act.what.clone(), why));
                }
                if waited >= time.of(AGAIN) * (1 << (tries.len() - 1).min(4)) {
                    due.push((act, json!({ "workloads": view.workloads.len() })));
                }
            }
        }
    }
    if !due.is_empty() {
        return Some(Next::Act(due));
    }
    if !refused.is_empty() || !view.workloads.is_empty() || !view.blockers.is_empty() {
        refused.extend(view.blockers.iter().cloned());
        let named = |name: &str| refused.iter().any(|b| b.object.contains(name));
        let rest: Vec<Blocker> = view
            .workloads
            .iter()
            .filter(|w| !named(&w.name))
            .map(|w| Blocker::new(format!("{} {}", w.kind, w.name), if w.leaving { "leaving" } else { "still here" }))
            .collect();
        refused.extend(rest);
        return Some(Next::Wait(refused));
    }
    if !view.in_maintenance {
        return Some(Next::Wait(vec![Blocker::new(format!("cluster {seat_cluster}"), "the node still takes new work")]));
    }
    None
}

/// A driver does not know its cluster's name in the inventory; the journal does.
pub fn addressed(act: &Act, cluster: &str) -> Act {
    let mut act = act.clone();
    act.to = cluster.to_owned();
    if let Some(loan) = &mut act.borrows {
        loan.id = LoanId(format!("{cluster}/{}", loan.id.0));
        loan.to = cluster.to_owned();
    }
    act
}

/// Empty, and still to be left alone for a while: since we took it, or since we began to watch.
fn settling(seat: &Seat, past: &Past, time: TimeScale, now: Timestamp) -> Option<Blocker> {
    let (cluster, span) = (&seat.cluster, seat.driver.settles_for());
    let taken = past.acts.iter().rev().find(|d| d.act.to == cluster.0 && d.act.borrows.is_some() && d.may_have_happened());
    let from = taken.map(|d| d.at).or(past.step_since).unwrap_or(now);
    let left = time.of(span).saturating_sub(since(from, now));
    (!left.is_zero()).then(|| Blocker::new(format!("cluster {cluster}"), format!("empty, left alone for {span} before its power is touched")))
}

impl Evacuate {
    fn ask(&self, cx: &Cx) -> Ask {
        let Config { unmovable, how, cloudspaces, place } = self.config.clone();
        Ask { unmovable, how, cloudspaces, place, ..cx.ask.clone() }
    }
}

#[async_trait]
impl Step for Evacuate {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        let ask = self.ask(cx);
        let mut left = Vec::new();
        for Seat { cluster, node, driver } in &cx.seats {
            let view = driver.look(node, &ask).await?;
            left.push(json!({ "cluster": cluster, "fixed": view.fixed, "boot": view.boot }));
            if let Some(next) = judge(&cluster.0, &view, past, cx.time, now) {
                *self.empty_before.lock().expect("BUG: poisoned") = false;
                return Ok(next);
            }
        }
        let mut before = self.empty_before.lock().expect("BUG: poisoned");
        if !std::mem::replace(&mut *before, true) {
            return Ok(Next::Wait(vec![Blocker::new(cx.node.to_string(), "empty once, looking again")]));
        }
        let settling = cx.seats.iter().filter_map(|seat| settling(seat, past, cx.time, now)).collect::<Vec<_>>();
        if !settling.is_empty() {
            return Ok(Next::Wait(settling));
        }
        Ok(Next::Done(json!({ "left": left })))
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        let seat = cx.seat(&act.to)?;
        seat.driver.act(&seat.node, act, &self.ask(cx)).await
    }
}
