//! Who answers in the place of the host after a reset and does not let us in: another installation, or another machine (safety.md, 4).
use super::{Cx, Next};
use crate::model::{Blocker, Fault, FaultKind, HostView, Past, Span, Timestamp, since};
use std::sync::Mutex;

/// A host that boots refuses users for a while as well.
const PATIENCE: Span = Span::minutes(10);

/// Since when it refuses.
#[derive(Default)]
pub struct Stranger(Mutex<Option<Timestamp>>);

impl Stranger {
    /// Names it while the step waits, and holds the node when it stays: waiting for the host that we knew would end with nothing said.
    pub fn named(&self, cx: &Cx, past: &Past, host: Option<&Result<HostView, Fault>>, next: Next, now: Timestamp) -> Next {
        let refused = match host {
            Some(Err(fault)) if fault.kind == FaultKind::Denied && past.power_touched() => Some(fault),
            _ => None,
        };
        let mut begun = self.0.lock().expect("BUG: poisoned");
        let (Some(fault), Next::Wait(mut blockers)) = (refused, next.clone()) else {
            *begun = None;
            return next;
        };
        if since(*begun.get_or_insert(now), now) < cx.time.of(PATIENCE) {
            blockers.push(Blocker::new("host", fault.to_string()));
            return Next::Wait(blockers);
        }
        let node = &cx.node;
        let hold = Fault {
            causes: [vec![fault.what.clone()], fault.causes.clone()].concat(),
            ..Fault::new(FaultKind::Invalid, format!("something else booted on {node}"))
        };
        Next::Hold(hold.next(format!(
            "look at its console; if it was installed anew on purpose: pitstop release {node} keep-out, pitstop inventory trust {node} --replace, then pitstop run return {node}"
        )))
    }
}
