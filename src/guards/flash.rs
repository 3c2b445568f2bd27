//! 13, never into a flash: no power verb while an update is live, or cannot be ruled out after one was started or staged. It cannot be relaxed.
use super::Readings;
use crate::model::{Apply, Fault, FaultKind, NodeName, Span, Started};

/// As long as the longest silence that has been seen. What is then still not ruled out is held, never reset.
pub const SILENCE: Span = Span::minutes(26);

#[derive(Debug, Clone, PartialEq)]
pub enum Flash {
    Clear,
    /// May come to its end by itself: waited for, as long as `SILENCE`.
    Live(Fault),
    /// Will not end by itself.
    Stands(Fault),
}

pub fn judge(node: &NodeName, readings: &Readings) -> Result<(), Fault> {
    match look(node, readings) {
        Flash::Clear => Ok(()),
        Flash::Live(fault) | Flash::Stands(fault) => Err(fault),
    }
}

pub fn look(node: &NodeName, readings: &Readings) -> Flash {
    let started = &readings.started;
    let tasks = match &readings.tasks {
        Ok(tasks) => tasks,
        // It has no such thing, and we started none: nothing to look at. `plan` says so.
        Err(fault) if fault.kind == FaultKind::Unable && started.is_empty() => return Flash::Clear,
        Err(fault) => return unseen(node, started, fault),
    };
    for task in tasks {
        let ours = started.iter().any(|s| s.waits(task));
        match (ours, task.waits_for_reset) {
            // What the reset is for.
            (true, _) => {}
            (false, true) => return Flash::Stands(task.refusal(node)),
            (false, false) => return Flash::Live(task.refusal(node)),
        }
    }
    // A task that vanished, or a BMC that forgot it while it restarted: only the version says how it ended.
    match started.iter().find(|s| s.update.apply == Apply::Immediate) {
        None => Flash::Clear,
        Some(open) => Flash::Live(
            Fault::new(FaultKind::Unwilling, format!("flash: the {} was started, and its new version was not read back yet", open.named(node)))
                .next(format!("wait for it, or read the version at the BMC, then pitstop release {node} retry")),
        ),
    }
}

fn unseen(node: &NodeName, started: &[Started], fault: &Fault) -> Flash {
    let why = match started.first() {
        Some(open) => format!("flash: the {} was started, and the BMC cannot say whether it is at its end", open.named(node)),
        None => format!("flash: the tasks of the BMC of {node} cannot be read"),
    };
    // Nobody's word is Unwilling here; what could be read a moment later is waited for.
    let kind = if started.is_empty() { fault.kind } else { FaultKind::Unwilling };
    Flash::Live(Fault {
        kind,
        what: why,
        causes: vec![fault.to_string()],
        next: Some(format!("look at the BMC, then pitstop check {node}")),
        credential: fault.credential.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        guards::Pins,
        model::{Image, LiveTask, Update},
    };

    fn task(id: &str, state: &str, waits_for_reset: bool) -> LiveTask {
        LiveTask { id: id.into(), name: "Update".into(), state: state.into(), percent: None, waits_for_reset }
    }
    fn started(apply: Apply) -> Started {
        let image = Image { url: Some("http://192.0.2.5/bios".into()), file: None };
        let update = Update { id: "BIOS".into(), version: "2.0".into(), image, sha256: None, apply, serve: None };
        Started { update, from: Some("1.0".into()), tasks_before: vec!["/old".into()] }
    }
    fn seen(tasks: Result<Vec<LiveTask>, Fault>, started: Vec<Started>) -> Flash {
        let fault = Fault::new(FaultKind::Unable, "not read");
        let readings = Readings {
            read_at: tokio::time::Instant::now(),
            bmc: Err(fault),
            clusters: vec![],
            host: None,
            carried_host: None,
            tasks,
            started,
            pins: Pins::default(),
            moment: None,
        };
        look(&NodeName("edge-01".into()), &readings)
    }

    #[test]
    fn inv_13_a_live_task_of_anybody_stops_every_verb() {
        assert_eq!(seen(Ok(vec![]), vec![]), Flash::Clear);
        for state in ["Running", "Starting", "New", "Stopping", "Downloading", "Suspended"] {
            let Flash::Live(fault) = seen(Ok(vec![task("/t/7", state, false)]), vec![]) else { panic!("{state}") };
            assert!(fault.what.contains("/t/7") && fault.what.contains(state) && fault.next.is_some(), "{fault}");
        }
    }

    #[test]
    fn inv_13_a_staged_task_is_what_our_reset_is_for_and_nobody_elses() {
        let ours = || vec![started(Apply::OnReset)];
        assert_eq!(seen(Ok(vec![task("/new", "Pending", true)]), ours()), Flash::Clear);
        assert_eq!(seen(Ok(vec![task("/new", "Starting", false)]), ours()), Flash::Clear);
        // Begun: no longer waiting.
        assert!(matches!(seen(Ok(vec![task("/new", "Running", false)]), ours()), Flash::Live(_)));
        assert!(matches!(seen(Ok(vec![LiveTask { percent: Some(3), ..task("/new", "Starting", false) }]), ours()), Flash::Live(_)));
        // Another's: it stood there before ours, or we staged nothing.
        assert!(matches!(seen(Ok(vec![task("/old", "Pending", true)]), ours()), Flash::Stands(_)));
        assert!(matches!(seen(Ok(vec![task("/new", "Pending", true)]), vec![]), Flash::Stands(_)));
        assert!(matches!(seen(Ok(vec![task("/new", "Pending", true)]), vec![started(Apply::Immediate)]), Flash::Stands(_)));
    }

    #[test]
    fn inv_13_what_cannot_be_ruled_out_is_not_reset() {
        let unable = || Err(Fault::new(FaultKind::Unable, "no tasks over ipmi"));
        // Nothing was started by us, and IPMI has no tasks.
        assert_eq!(seen(unable(), vec![]), Flash::Clear);
        for apply in [Apply::Immediate, Apply::OnReset] {
            assert!(matches!(seen(unable(), vec![started(apply)]), Flash::Live(_)));
        }
        // The task is gone; the version is not yet proven.
        assert!(matches!(seen(Ok(vec![]), vec![started(Apply::Immediate)]), Flash::Live(_)));
        assert_eq!(seen(Ok(vec![]), vec![started(Apply::OnReset)]), Flash::Clear);
        for kind in [FaultKind::Unreachable, FaultKind::Unknown, FaultKind::Denied, FaultKind::Unwilling, FaultKind::Invalid] {
            assert!(matches!(seen(Err(Fault::new(kind, "x")), vec![]), Flash::Live(_)), "{kind:?}");
        }
    }
}
