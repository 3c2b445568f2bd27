//! The dispatcher: decide → append → start → wait. The only caller of the store's `append`, the only owner of the fleet.
use super::{
    fleet::{BLIND, Command, Fleet},
    node::{IllegalEvent, Phase},
    store::{Lock, Request, Store, StoreError},
    task,
};
use crate::{
    drivers::cluster::Cluster,
    event::{Decision, Event, Halt, Record, Stop},
    kinds,
    model::{Clock, Fault, FaultKind, LeaseAnswer, NodeName, Outcome, RunId, Skip, Span, Timestamp, since},
    plan::Plan,
    steps::{self, Cx},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Requests of other processes are looked for this often.
const INBOX: Span = Span::seconds(2);
/// Of the lock that the cluster itself carries; renewed at a third.
pub const LEASE: Duration = Duration::from_secs(60);
/// A store that does not answer gets the same record again this often before the run ends.
const APPEND_TRIES: u32 = 5;

pub struct Engine {
    pub run: RunId,
    pub plan: Arc<Plan>,
    pub nodes: BTreeMap<NodeName, Arc<Cx>>,
    /// The run's own cluster: who is out is asked here.
    pub cluster: Arc<dyn Cluster>,
    /// Clusters whose own lock we hold under this owner, and renew.
    pub leases: Vec<Arc<dyn Cluster>>,
    pub store: Arc<dyn Store>,
    pub lock: Lock,
    pub clock: Arc<dyn Clock>,
    pub publish: Box<dyn Fn(&Record) + Send + Sync>,
    /// The facts of `run_started` that only the caller knows.
    pub start: Event,
    pub program: String,
    /// Asks a person about a node, where the plan wants that; blocks until there is an answer.
    pub confirm: Confirm,
    /// A credential that this process may not use any more: without it the run pauses.
    pub lost: Lost,
}

pub type Lost = Arc<dyn Fn() -> Option<Fault> + Send + Sync>;
pub type Confirm = Arc<dyn Fn(&NodeName) -> bool + Send + Sync>;

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Ended {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    #[error("{0}")]
    Plan(String),
    /// Somebody else holds the cluster's own lock: nothing more is touched.
    #[error("the lock in the cluster is now held by {by}")]
    LeaseLost { by: String },
}

/// What a task of the dispatcher ended with.
enum Side {
    /// And which of our nodes had last ended when it was asked.
    Seen(Option<Timestamp>, Result<(Vec<(String, String)>, usize), Fault>),
    Renewed(Renewed),
    Confirmed(NodeName, bool),
}

/// What the clusters that carry our locks answered.
enum Renewed {
    Ours,
    Anothers(String),
    Silent,
}

impl Engine {
    /// Also resumes: an empty journal is a run that has not begun. `requests` are the signals of this process.
    pub async fn run(&self, mut requests: mpsc::Receiver<Event>) -> Result<Fleet, Ended> {
        let mut fleet = Fleet::default();
        for record in self.store.load(&self.run, 0).await? {
            fleet.apply(&record)?;
        }
        if fleet.finished {
            return Ok(fleet);
        }
        if fleet.seq == 0 {
            self.append(&mut fleet, self.start.clone()).await?;
            for (node, why) in &self.plan.skipped {
                self.append(&mut fleet, Event::NodeSkipped { node: node.clone(), why: why.clone() }).await?;
            }
        } else {
            self.append(&mut fleet, Event::RunResumed { program: self.program.clone(), by: self.lock.owner.to_string() }).await?;
        }

        let (engine, mut asks) = mpsc::channel(64);
        let (give_back, told_to_give_back) = watch::channel(false);
        // Dropped with us: nothing of ours outlives the engine.
        let mut tasks: JoinSet<Result<(), task::Gone>> = JoinSet::new();
        let mut names: BTreeMap<tokio::task::Id, (NodeName, u32, String, u32)> = BTreeMap::new();
        let mut side: JoinSet<Side> = JoinSet::new();
        let (mut surveying, mut renewing) = (false, false);
        // Who was asked about, and whom a person agreed to.
        let (mut asking, mut agreed) = (false, BTreeSet::new());
        let mut look_again_at = Timestamp::MIN;
        let mut renewed_at = self.clock.now();
        // The last answer that it is ours. Past its time somebody else may have it: nothing new is sent until it is ours again.
        let mut ours_at = renewed_at;
        let mut until_ours: Vec<task::Ask> = Vec::new();
        let inbox = self.plan.time.of(INBOX).max(Duration::from_millis(200));
        // Before anything is decided: what a person released is not halted for once more.
        self.read_inbox(&mut fleet, &give_back).await?;
        let mut read_inbox_at = self.clock.now();

        loop {
            let now = self.clock.now();
            let mut wake = now + Duration::from_secs(30);
            let mut changed = false;
            let lost = (self.lost)();
            if let Some(why) = &lost {
                // Nothing is admitted and nothing begins; what is in work leaves off by itself, between two looks, and stays as it is.
                if fleet.blind.as_ref().is_none_or(|(_, said)| said != why) {
                    self.append(&mut fleet, Event::SightLost { why: why.clone() }).await?;
                }
                if tasks.is_empty() {
                    let left = fleet.open().next().is_some() || fleet.nodes.values().any(|n| n.phase == Phase::Waiting);
                    let end = if left { Event::RunHalted { why: Halt::SightLost { why: why.clone() } } } else { Event::RunFinished };
                    self.append(&mut fleet, end).await?;
                    return Ok(fleet);
                }
            }
            let commands = if lost.is_none() { fleet.decide(&self.plan, now) } else { Vec::new() };
            for command in commands {
                match command {
                    Command::WakeAt(at) => wake = wake.min(at),
                    Command::Record(Event::NodeAdmitted { node, .. }) if self.plan.ask && !agreed.contains(&node) => {
                        if !std::mem::replace(&mut asking, true) {
                            let confirm = self.confirm.clone();
                            side.spawn_blocking(move || {
                                let yes = confirm(&node);
                                Side::Confirmed(node, yes)
                            });
                        }
                    }
                    Command::Record(event) => {
                        // Asked here too: what was seen admits for half a minute, and the disk fills meanwhile.
                        let short = if matches!(event, Event::NodeAdmitted { .. }) { short_of_room(&*self.store).await } else { None };
                        let event = short.map_or(event, |why| Event::SightLost { why });
                        self.append(&mut fleet, event).await?;
                        changed = true;
                    }
                    Command::Survey if surveying => {}
                    Command::Survey if now < look_again_at => wake = wake.min(look_again_at),
                    Command::Survey => {
                        surveying = true;
                        let (cluster, store) = (self.cluster.clone(), self.store.clone());
                        let ended_at = fleet.ended_at;
                        side.spawn(async move { Side::Seen(ended_at, cluster_seen(&*cluster, &*store).await) });
                    }
                    Command::Start { node, step, attempt } => {
                        let task = self.start(&mut fleet, &node, step, attempt, &engine, &told_to_give_back).await?;
                        let kind = task.kind.clone();
                        let handle = tasks.spawn(task.run());
                        names.insert(handle.id(), (node, step, kind, attempt));
                        changed = true;
                    }
                }
            }
            if changed {
                continue;
            }
            if fleet.at_rest() && tasks.is_empty() {
                return Ok(fleet);
            }
            if !renewing && !self.leases.is_empty() && since(renewed_at, now) >= LEASE / 3 {
                renewing = true;
                renewed_at = now;
                let (leases, owner) = (self.leases.clone(), self.lock.owner.with(&self.run));
                side.spawn(async move { Side::Renewed(renew(&leases, &owner).await) });
            }
            if since(read_inbox_at, now) >= inbox {
                read_inbox_at = now;
                if self.read_inbox(&mut fleet, &give_back).await? {
                    continue;
                }
            }
            let pause = since(now, wake.min(read_inbox_at + inbox));
            tokio::select! {
                biased; // reproducible: the same seed takes the same branch
                Some(event) = requests.recv() => {
                    self.append(&mut fleet, event).await?;
                    give_back.send_replace(fleet.stopping == Some(Stop::GiveBack));
                }
                Some(ask) = asks.recv() => {
                    if matches!(ask.event, Event::ActIntended { .. }) && !self.leases.is_empty() && since(ours_at, self.clock.now()) >= LEASE {
                        until_ours.push(ask);
                        continue;
                    }
                    let at = self.append(&mut fleet, ask.event).await?;
                    ask.done.send(at).ok(); // the task may be gone; its fact is on disk all the same
                }
                Some(ended) = tasks.join_next_with_id() => {
                    let panicked = match ended {
                        Ok((id, _)) => { names.remove(&id); None }
                        Err(error) => names.remove(&error.id()).map(|who| (who, error.to_string())),
                    };
                    if let Some(((node, step, kind, attempt), error)) = panicked {
                        let fault = Fault::new(FaultKind::Unknown, format!("BUG: step {kind} of {node} stopped: {error}"));
                        self.append(&mut fleet, Event::StepSettled { node, step, kind, attempt, outcome: Outcome::Hold { fault } }).await?;
                    }
                }
                Some(done) = side.join_next() => match done {
                    // A node of ours ended meanwhile: it may be told of as it was before.
                    Ok(Side::Seen(asked, Ok(_))) if asked != fleet.ended_at => surveying = false,
                    Ok(Side::Seen(_, Ok((out, members)))) => { surveying = false; self.append(&mut fleet, Event::ClusterSeen { out, members }).await?; }
                    Ok(Side::Seen(_, Err(why))) => {
                        surveying = false;
                        look_again_at = self.clock.now() + self.plan.time.of(BLIND);
                        // Said once, not every time: a full disk is not filled further by saying so.
                        if fleet.blind.as_ref().is_none_or(|(_, said)| *said != why) {
                            self.append(&mut fleet, Event::SightLost { why }).await?;
                        }
                    }
                    Ok(Side::Confirmed(node, true)) => { asking = false; agreed.insert(node); }
                    Ok(Side::Confirmed(node, false)) => {
                        asking = false;
                        let fault = Fault::new(FaultKind::Unwilling, format!("{node} was asked about and not agreed to")).next(format!("pitstop run {} {node}", self.plan.playbook));
                        let event = Event::NodeSkipped { node, why: Skip::Refused { fault } };
                        // Meanwhile the run may have been told to stop.
                        if fleet.check(self.clock.now(), &event).is_ok() {
                            self.append(&mut fleet, event).await?;
                        }
                    }
                    Ok(Side::Renewed(Renewed::Ours)) => {
                        (renewing, ours_at) = (false, renewed_at);
                        for ask in until_ours.drain(..) {
                            let at = self.append(&mut fleet, ask.event).await?;
                            ask.done.send(at).ok(); // as above
                        }
                    }
                    Ok(Side::Renewed(Renewed::Silent)) => renewing = false,
                    Ok(Side::Renewed(Renewed::Anothers(by))) => return Err(Ended::LeaseLost { by }),
                    Err(_) => (surveying, renewing) = (false, false),
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn start(
        &self,
        fleet: &mut Fleet,
        node: &NodeName,
        ix: u32,
        attempt: u32,
        engine: &mpsc::Sender<task::Ask>,
        give_back: &watch::Receiver<bool>,
    ) -> Result<task::Run, Ended> {
        let planned = self.plan.steps.get(ix as usize).ok_or_else(|| Ended::Plan(format!("the plan has no step {ix}")))?;
        let step = kinds::make(steps::KINDS, &planned.step).map_err(Ended::Plan)?;
        let cx = self.nodes.get(node).ok_or_else(|| Ended::Plan(format!("no drivers for {node}")))?.clone();
        let kind = planned.step.kind.clone();
        let at = self.append(fleet, Event::StepStarted { node: node.clone(), step: ix, kind: kind.clone(), attempt }).await?;
        Ok(task::Run {
            step,
            cx,
            ix,
            kind,
            attempt,
            attempts: planned.attempts,
            deadline: at + self.plan.time.of(planned.timeout),
            timeout: planned.timeout,
            past: fleet.nodes.get(node).map(|n| n.past.clone()).unwrap_or_default(),
            clock: self.clock.clone(),
            lost: self.lost.clone(),
            engine: engine.clone(),
            on_way_back: fleet.nodes.get(node).is_some_and(|n| n.turned_back.is_some()),
            give_back: give_back.clone(),
        })
    }

    /// Legal? then on disk, then in memory, then told. An illegal event never reaches the journal.
    async fn append(&self, fleet: &mut Fleet, event: Event) -> Result<Timestamp, Ended> {
        let at = self.clock.now();
        fleet.check(at, &event)?;
        let record = Record { run: self.run.clone(), seq: fleet.seq + 1, id: uuid::Uuid::new_v4().to_string(), token: self.lock.token, at, event };
        let mut tries = 0;
        loop {
            match self.store.append(&self.lock, &self.run, fleet.seq, std::slice::from_ref(&record)).await {
                Ok(()) => break,
                // No answer: the same record at the same number again; if it was written, the store knows it by its id.
                Err(StoreError::Unavailable { .. }) if tries < APPEND_TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(200 * u64::from(tries))).await;
                }
                Err(other) => return Err(other.into()),
            }
        }
        fleet.apply(&record)?;
        (self.publish)(&record);
        Ok(record.at)
    }

    /// Requests of other processes become events here and nowhere else. An impossible one is dropped: its asker looked at an older state.
    async fn read_inbox(&self, fleet: &mut Fleet, give_back: &watch::Sender<bool>) -> Result<bool, Ended> {
        let mut changed = false;
        for Request { id, ask, .. } in self.store.asked(&self.run).await.unwrap_or_default() {
            let event = self.aimed(ask);
            if fleet.check(self.clock.now(), &event).is_ok() {
                self.append(fleet, event).await?;
                give_back.send_replace(fleet.stopping == Some(Stop::GiveBack));
                changed = true;
            }
            self.store.answered(&self.run, &id).await?;
        }
        Ok(changed)
    }

    /// A decision says what; the plan knows where that is.
    fn aimed(&self, event: Event) -> Event {
        match event {
            Event::NodeReleased { node, by, decision, accepted, reason, .. } => {
                let to = match decision {
                    Decision::Verify => self.plan.verify_at,
                    Decision::Return => Some(self.plan.forward),
                    Decision::Retry | Decision::KeepOut => None,
                };
                Event::NodeReleased { node, by, decision, to, accepted, reason }
            }
            other => other,
        }
    }
}

/// The room kept for giving back is for giving back: with only that left nothing new begins.
async fn short_of_room(store: &dyn Store) -> Option<Fault> {
    let why = store.short_of_room().await?;
    Some(Fault::new(FaultKind::Unwilling, format!("no node is admitted: {why}")).next(format!("make room for {}", store.describe())))
}

async fn cluster_seen(cluster: &dyn Cluster, store: &dyn Store) -> Result<(Vec<(String, String)>, usize), Fault> {
    if let Some(short) = short_of_room(store).await {
        return Err(short);
    }
    let members = cluster.members().await?;
    let count = members.len();
    Ok((members.into_iter().filter_map(|m| m.out.map(|why| (m.name, why))).collect(), count))
}

/// A cluster that does not answer keeps the lock for its time: we look again soon.
async fn renew(leases: &[Arc<dyn Cluster>], owner: &str) -> Renewed {
    let mut all = Renewed::Ours;
    for cluster in leases {
        match cluster.lease(owner, LEASE).await {
            Ok(LeaseAnswer::Held { by, .. }) => return Renewed::Anothers(by),
            Ok(_) => {}
            Err(_) => all = Renewed::Silent,
        }
    }
    all
}
