//! Installs firmware: staged for the playbook's own reset, or at once. Done when each target runs, or waits for that reset. An update is never started twice:
//! what became of one is told by the BMC's tasks and by the version, also after a crash.
use super::{Cx, Next, Step, reset};
use crate::{
    guards::flash::SILENCE,
    kinds,
    model::{
        Act, Answer, Apply, Blocker, Done, FIRMWARE, Fault, FaultKind, Firmware, Loan, LoanId, NodeName, Past, Repeat, Span, Started, Target, Task, TimeScale,
        Timestamp, Update, compare_versions, since, validate_targets,
    },
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cmp::Ordering;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub targets: Vec<Target>,
    #[serde(default)]
    pub apply: Apply,
    /// `ADDRESS:PORT` of this machine as BMCs reach it: where a file is served to those that must fetch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<String>,
    /// How a root disk that is sealed to the TPM opens after the update and is sealed anew, in words. Without it such a node gets no firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reseal: Option<String>,
    /// An update in doubt is only watched this long, for a task or a version.
    #[serde(default = "ten_minutes")]
    pub quiet: Span,
}
fn ten_minutes() -> Span {
    Span::minutes(10)
}
impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = "firmware";
    const ABOUT: &'static str = "installs firmware through the BMC, each model its versions; one that is there already is left alone";
    fn validate(&self) -> Result<(), String> {
        if self.targets.is_empty() {
            return Err("`targets` names nothing to install".into());
        }
        if let Some(at) = &self.serve
            && at.parse::<std::net::SocketAddr>().is_err()
        {
            return Err(format!("`serve = \"{at}\"` is not ADDRESS:PORT, such as \"192.0.2.5:8080\""));
        }
        if self.reseal.as_ref().is_some_and(|words| words.trim().is_empty()) {
            return Err("`reseal` is empty: say in words how a sealed root disk opens after the update".into());
        }
        validate_targets(&self.targets)
    }
    fn make(self) -> Box<dyn Step> {
        Box::new(Install { config: self })
    }
}
struct Install {
    config: Config,
}

/// What was refused for now is asked again after this.
const AGAIN: Span = Span::seconds(30);
/// An accepted update shows as a task within this, if it ever does.
const SHOWS: Span = Span::seconds(60);

/// What the step judges.
pub struct Seen<'a> {
    pub node: &'a NodeName,
    pub firmware: &'a [Firmware],
    pub tasks: &'a [Task],
}

fn act(update: &Update) -> Act {
    let mut act = Act::new(reset::BMC, format!("update {} to {}", update.id, update.version), Repeat::Never);
    act.args = json!({ "update": update });
    act
}
fn loan_id(update: &Update) -> LoanId {
    LoanId(format!("{FIRMWARE}/{}", update.id))
}
fn wait(what: &str, why: String) -> Option<Next> {
    Some(Next::Wait(vec![Blocker::new(what, why)]))
}

/// Tasks that this update may have made: new since then, and not from before a later one of ours.
fn own<'a>(started: &Started, later: Option<&Started>, tasks: &'a [Task]) -> Vec<&'a Task> {
    let ours = |t: &&Task| started.is_ours(&t.task) && later.is_none_or(|l| !l.is_ours(&t.task));
    tasks.iter().filter(ours).collect()
}

/// Pure. One target. None: there is nothing more to do before the reset.
pub fn judge(seen: &Seen<'_>, update: &Update, target: &Target, quiet: Span, past: &Past, time: TimeScale, now: Timestamp) -> Option<Next> {
    let act = act(update);
    let loan = past.loans.iter().find(|l| l.id == loan_id(update));
    let (version, below) = match target.below(seen.firmware) {
        Ok(found) => found,
        // A BMC that has just restarted does not know all of its machine yet.
        Err(fault) if loan.is_some() => return wait(&update.id, fault.to_string()),
        Err(fault) => return Some(Next::Hold(Fault { what: format!("{}: {}", seen.node, fault.what), ..fault })),
    };
    // What a person has decided about since may be begun anew.
    let last = past.acts.iter().rev().find(|d| d.act.same(&act) && past.released_at.is_none_or(|r| d.at > r));
    let started = loan.and_then(Started::of).or_else(|| last.and_then(|d| serde_json::from_value(d.before.clone()).ok()));
    let later = last.and_then(|d| past.acts.iter().find(|l| l.at > d.at && l.act.args.get("update").is_some()));
    let later = later.and_then(|d| serde_json::from_value::<Started>(d.before.clone()).ok());
    let tasks = started.as_ref().map(|s| own(s, later.as_ref(), seen.tasks)).unwrap_or_default();
    let live = tasks.iter().find(|t| t.ended.is_none());
    let name = format!("{} {}", update.id, update.version);
    if let (Some(task), Some(started)) = (live, &started) {
        if started.waits(&task.task) {
            return None;
        }
        let percent = task.task.percent.map(|p| format!(", {p} %")).unwrap_or_default();
        return wait(&name, format!("{}{percent} ({})", task.task.state, task.task.id));
    }
    if !below {
        return loan.map(|l| Next::Paid(l.id.clone()));
    }
    let failed = tasks.iter().find_map(|t| t.ended.clone()?.err());
    match (last, loan, failed) {
        // At its end, and nothing came of it: no longer owed, then told.
        (_, Some(loan), Some(_)) => Some(Next::Paid(loan.id.clone())),
        (Some(done), None, Some(why)) if done.may_have_happened() => Some(Next::Hold(
            Fault::new(FaultKind::Unwilling, format!("{}: the update of {} to {} failed: {why}", seen.node, update.id, update.version))
                .next(format!("look at the BMC's log; to try again: pitstop release {} retry", seen.node)),
        )),
        (Some(done), ..) => began(seen, update, done, started.as_ref(), !tasks.is_empty(), &version, quiet, past, time, now),
        // An earlier run, or one before a person decided, asked for it, and nothing of it is to be seen: not owed.
        (None, Some(loan), None) => {
            let from = past.step_since.max(past.released_at);
            let watched = from.is_none_or(|from| since(from, now) >= time.of(quiet));
            if watched { Some(Next::Paid(loan.id.clone())) } else { wait(&update.id, format!("was asked for before; watching for {quiet} whether it shows")) }
        }
        (None, None, _) => Some(begin(seen, update, &version, past, time, now)),
    }
}

/// It was asked for, no task of it is live, and the version is the old one.
#[allow(clippy::too_many_arguments)]
fn began(
    seen: &Seen<'_>,
    update: &Update,
    done: &Done,
    started: Option<&Started>,
    task_ended: bool,
    version: &str,
    quiet: Span,
    past: &Past,
    time: TimeScale,
    now: Timestamp,
) -> Option<Next> {
    let waited = since(done.at.max(past.resumed_at.unwrap_or(done.at)), now);
    let name = format!("{} {}", update.id, update.version);
    match &done.answer {
        Some(Answer::Failed(fault)) => match fault.kind {
            FaultKind::Unreachable | FaultKind::Unwilling if waited < time.of(AGAIN) => wait(&name, fault.to_string()),
            FaultKind::Unreachable | FaultKind::Unwilling => Some(begin(seen, update, version, past, time, now)),
            _ => Some(Next::Hold(fault.clone())),
        },
        _ if done.in_doubt() && !task_ended => {
            if waited < time.of(quiet) {
                return wait(&name, format!("was asked for and no answer came: only watching for {quiet}"));
            }
            Some(Next::Hold(
                Fault::new(
                    FaultKind::Unknown,
                    format!("{}: an update of {} to {} was asked for, and nobody can say whether it began", seen.node, update.id, update.version),
                )
                .cause(format!("watched for {quiet}: no task of it, and the version is still {version}"))
                .next(format!("look at the BMC's tasks and log; if it did not begin: pitstop release {} retry", seen.node)),
            ))
        }
        // Staged. Some makers' task ends with that, and some show none.
        _ if started.is_none_or(|s| s.update.apply == Apply::OnReset) => {
            if task_ended || waited >= time.of(SHOWS) {
                None
            } else {
                wait(&name, "accepted, no task to be seen yet".into())
            }
        }
        _ if waited < time.of(SILENCE) => wait(&name, format!("accepted, and {} is still {version}", update.id)),
        _ => Some(Next::Hold(
            Fault::new(
                FaultKind::Unknown,
                format!("{}: {} is still {version}, {SILENCE} after an update to {} was accepted", seen.node, update.id, update.version),
            )
            .next(format!("look at the BMC's log, then pitstop release {} retry", seen.node)),
        )),
    }
}

/// Everything that stands in its way is tried first; then the one act.
fn begin(seen: &Seen<'_>, update: &Update, version: &str, past: &Past, time: TimeScale, now: Timestamp) -> Next {
    let open = Started::open(past);
    let other = seen.tasks.iter().filter(|t| t.ended.is_none()).find(|t| !open.iter().any(|s| s.waits(&t.task)));
    if let Some(task) = other {
        let fault = task.task.refusal(seen.node);
        let patient = past.step_since.is_none_or(|since_| since(since_, now) < time.of(SILENCE));
        return if patient && !task.task.waits_for_reset { Next::Wait(vec![Blocker::new("BMC", fault.to_string())]) } else { Next::Hold(fault) };
    }
    let started = Started { update: update.clone(), from: Some(version.to_owned()), tasks_before: seen.tasks.iter().map(|t| t.task.id.clone()).collect() };
    let mut act = act(update);
    act.borrows = Some(Loan {
        id: loan_id(update),
        to: FIRMWARE.into(),
        owed: format!("update of {} to {} is seen to its end", update.id, update.version),
        before: started.as_before(),
        first: false,
    });
    Next::Act(vec![(act, started.as_before())])
}

/// A BMC without tasks has only versions to show.
async fn tasks(cx: &Cx) -> Result<Vec<Task>, Fault> {
    match cx.bmc.tasks().await {
        Err(fault) if fault.kind == FaultKind::Unable => Ok(Vec::new()),
        other => other,
    }
}

impl Install {
    /// 16: why an update would leave the root disk shut.
    async fn sealed(&self, cx: &Cx, past: &Past) -> Result<Option<Fault>, Fault> {
        let (None, Some(host)) = (&self.config.reseal, &cx.host) else { return Ok(None) };
        let view = match (host.look().await, reset::host_before(past)) {
            (Ok(view), _) | (Err(_), Some(view)) => view,
            (Err(fault), None) => return Err(fault),
        };
        Ok(view.locks.iter().find(|lock| lock.sealed()).map(|lock| lock.unsealed_by_firmware(&cx.node)))
    }
}

#[async_trait]
impl Step for Install {
    async fn look(&self, cx: &Cx, past: &Past, now: Timestamp) -> Result<Next, Fault> {
        let view = cx.bmc.look().await?;
        if view.protocol == "ipmi" {
            // A second way in that answers while the first restarts knows neither model nor updates: its silence about them is no answer.
            let why = format!("{} answers, and only Redfish can install firmware", view.endpoint);
            return Ok(Next::Wait(vec![Blocker::new("BMC", why)]));
        }
        let product = view.product.unwrap_or_default();
        let wanted: Vec<&Target> = self.config.targets.iter().filter(|t| t.is_for(&product)).collect();
        if wanted.is_empty() {
            if let Some(open) = Started::open(past).first() {
                return Ok(Next::Wait(vec![Blocker::new("BMC", format!("says no model that a target is for, and the {} is open", open.named(&cx.node)))]));
            }
            return Ok(Next::Done(json!({ "model": product, "updates": [] })));
        }
        // Silence is a reason to wait: BMCs restart in the middle.
        let firmware = cx.bmc.firmware().await?;
        let tasks = tasks(cx).await?;
        let seen = Seen { node: &cx.node, firmware: &firmware, tasks: &tasks };
        let mut updates = Vec::new();
        for target in wanted {
            let update = target.update(self.config.apply, self.config.serve.as_deref());
            let next = judge(&seen, &update, target, self.config.quiet, past, cx.time, now);
            let open = past.loans.iter().any(|l| l.id == loan_id(&update));
            // A BMC that fetches may not have all of it yet; a staged image is there.
            if open && matches!(next, Some(Next::Wait(_))) {
                cx.bmc.keep_image(&update, true).await?;
            }
            match next {
                // Looked at again before the first write: the plan may be hours old.
                Some(Next::Act(acts)) => match self.sealed(cx, past).await? {
                    Some(fault) => return Ok(Next::Hold(fault)),
                    None => return Ok(Next::Act(acts)),
                },
                Some(next) => return Ok(next),
                None => {
                    let (version, below) = target.below(&firmware)?;
                    updates.push(json!({ "id": update.id, "version": version, "wanted": update.version, "staged": below }));
                }
            }
        }
        if let Some(any) = self.config.targets.first() {
            // All of them are where they belong.
            cx.bmc.keep_image(&any.update(self.config.apply, None), false).await?;
        }
        Ok(Next::Done(json!({ "model": product, "updates": updates })))
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        let update: Update = serde_json::from_value(act.args["update"].clone())
            .map_err(|e| Fault::new(FaultKind::Unable, format!("BUG: `{}` of {} is no update: {e}", act.what, cx.node)))?;
        cx.bmc.update(&update).await
    }
}

/// After the reset: every update that was begun shows its new version, and nothing is written any more. None: so it is.
pub async fn unverified(cx: &Cx, past: &Past) -> Result<Option<Next>, Fault> {
    let accepted = |update: &Update| past.accepted.iter().any(|a| *a == format!("{FIRMWARE}:{}", update.id));
    let of = |d: &&Done| d.may_have_happened() && d.act.args.get("update").is_some();
    let begun = past.acts.iter().filter(of).filter_map(|d| serde_json::from_value::<Started>(d.before.clone()).ok());
    let mut begun: Vec<Started> = begun.chain(Started::open(past)).collect();
    begun.dedup_by(|a, b| a.update == b.update);
    if begun.is_empty() {
        return Ok(None);
    }
    let (firmware, tasks) = (cx.bmc.firmware().await?, tasks(cx).await?);
    for started in &begun {
        let update = &started.update;
        let runs = firmware.iter().find(|f| f.id == update.id).and_then(|f| f.version.clone());
        let own = own(started, None, &tasks);
        let loan = past.loans.iter().find(|l| l.id == loan_id(update));
        if let Some(task) = own.iter().find(|t| t.ended.is_none()) {
            let percent = task.task.percent.map(|p| format!(", {p} %")).unwrap_or_default();
            return Ok(wait(&update.id, format!("{}{percent} ({})", task.task.state, task.task.id)));
        }
        let there = runs.as_ref().is_some_and(|r| compare_versions(r, &update.version) == Ordering::Equal);
        let failed = own.iter().find_map(|t| t.ended.clone()?.err());
        if let (Some(loan), true) = (loan, there || failed.is_some() || accepted(update)) {
            return Ok(Some(Next::Paid(loan.id.clone())));
        }
        if there || accepted(update) {
            continue;
        }
        let shown = runs.unwrap_or("not told".into());
        match failed {
            Some(why) => {
                return Ok(Some(Next::Hold(
                    Fault::new(FaultKind::Invalid, format!("{}: the update of {} to {} failed, it is {shown}: {why}", cx.node, update.id, update.version))
                        .next(format!("look at the BMC's log; to accept it as it is: pitstop release {} verify --accept {FIRMWARE}:{}", cx.node, update.id)),
                )));
            }
            None => return Ok(wait(&update.id, format!("version is {shown}, wanted {}", update.version))),
        }
    }
    Ok(None)
}

/// On the way back without a reset: nothing that is staged may strike at somebody else's.
pub async fn owed(cx: &Cx, loan: &Loan) -> Result<Next, Fault> {
    let Some(started) = Started::of(loan) else {
        return Ok(Next::Hold(Fault::new(FaultKind::Invalid, format!("BUG: the ledger's `{}` is no update", loan.id.0))));
    };
    let tasks = tasks(cx).await?;
    match own(&started, None, &tasks).iter().find(|t| t.ended.is_none()) {
        None => Ok(Next::Paid(loan.id.clone())),
        Some(task) => Ok(Next::Wait(vec![Blocker::new(
            loan.owed.clone(),
            format!("{} ({}): remove the job at the BMC, or let a reset take it", task.task.state, task.task.id),
        )])),
    }
}
