//! Every witness again, just before the node is touched. Comes first by itself; no playbook names it.
use super::{At, Cx, Next, Step, repair};
use crate::{
    guards::{self, Readings},
    kinds,
    model::{Act, Blocker, Fault, FaultKind, Past, Power, Timestamp},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A node that is dark or dead is what this run is for: its own step judges how it is.
    #[serde(default)]
    pub dark: bool,
    /// Nothing that follows empties the node or touches its power: what cannot leave may stay.
    #[serde(default)]
    pub stays: bool,
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "preflight";
    const ABOUT: &'static str = "reads every witness again before the node is touched; always first, never written";
    fn make(self) -> Box<dyn Step> {
        Box::new(Preflight { dark: self.dark, stays: self.stays })
    }
}
struct Preflight {
    dark: bool,
    stays: bool,
}

/// Pure. `out_already`: an earlier run left the node out, so being out is no surprise.
pub fn judge(cx: &Cx, seen: &Readings, unhealthy: &[Blocker], past: &Past) -> Next {
    let out_already = !past.loans.is_empty();
    let off = seen.bmc.as_ref().is_ok_and(|b| b.power == Power::Off);
    let told = if off && out_already { seen.of_machine_off() } else { seen.clone() };
    if let Err(fault) = guards::identity::judge(&cx.node, &told) {
        return waits_or_holds(fault);
    }
    let Ok(bmc) = &seen.bmc else { return Next::Wait(vec![Blocker::new("BMC", "no answer")]) };
    match bmc.power {
        Power::On => {}
        Power::Off if out_already => {}
        Power::Off => return Next::Hold(refused(cx, "is powered off").next(format!("switch it on first: nobody knows why {} is off", cx.node))),
        Power::Unknown => return Next::Wait(vec![Blocker::new("BMC", "power state is neither On nor Off")]),
    }
    for (cluster, view) in &seen.clusters {
        let Ok(view) = view else { continue };
        if !view.ready && !out_already {
            let why = view.not_ready.join(", ");
            return Next::Wait(vec![Blocker::new(format!("cluster {cluster}"), format!("calls {} not ready: {why}", cx.node))]);
        }
        if !view.impossible.is_empty() {
            let named: Vec<String> = view.impossible.iter().map(Blocker::to_string).collect();
            return Next::Hold(
                refused(cx, "can never be emptied").cause(named.join("; ")).next("move or stop them, or choose evacuate.unmovable in the playbook"),
            );
        }
    }
    if !unhealthy.is_empty() {
        return Next::Wait(unhealthy.to_vec());
    }
    if let Err(fault) = guards::flash::judge(&cx.node, seen) {
        return waits_or_holds(fault);
    }
    Next::Done(json!({ "bmc": bmc, "host": seen.host_word() }))
}

/// Only that it is the machine that is meant: whoever is silent says nothing against that.
fn dark(cx: &Cx, seen: &Readings) -> Next {
    let silent = matches!(&seen.host, Some(Err(f)) if matches!(f.kind, FaultKind::Unreachable | FaultKind::Unknown));
    let told = if silent { Readings { host: None, ..seen.clone() } } else { seen.clone() };
    match guards::identity::judge(&cx.node, &told) {
        Ok(_) => Next::Done(json!({ "bmc": seen.bmc.as_ref().ok(), "host": seen.host_word() })),
        Err(fault) => waits_or_holds(fault),
    }
}

fn refused(cx: &Cx, what: &str) -> Fault {
    Fault::new(FaultKind::Unwilling, format!("{} {what}", cx.node))
}

/// A witness that does not answer may answer yet; one that contradicts will not stop doing so.
pub fn waits_or_holds(fault: Fault) -> Next {
    match fault.kind {
        FaultKind::Unreachable | FaultKind::Unknown => Next::Wait(vec![Blocker::new("identity", fault.to_string())]),
        _ => Next::Hold(fault),
    }
}

#[async_trait]
impl Step for Preflight {
    async fn look(&self, cx: &Cx, past: &Past, _: Timestamp) -> Result<Next, Fault> {
        let mut seen = cx.read(past).await;
        if self.stays {
            seen.clusters.iter_mut().filter_map(|(_, view)| view.as_mut().ok()).for_each(|view| view.impossible.clear());
        }
        if self.dark {
            return Ok(dark(cx, &seen));
        }
        // Nothing is repaired before the node is ours.
        let found = repair::ask(cx, past, At::Before).await;
        Ok(judge(cx, &seen, &found.wrong, past))
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unable, format!("BUG: preflight of {} has no act `{}`", cx.node, act.what)))
    }
}
