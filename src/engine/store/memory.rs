//! The store of the simulation: the same contract in memory, and every fault a shared store has, by script.
use super::{
    Lock, Owner, Request, RunFilter, RunHead, Store, StoreError, Until, contents,
    fence::{self, Held, Row, Verdict},
};
use crate::{
    event::Record,
    model::{Clock, ClusterName, RunId, Timestamp},
    plan::Plan,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

/// What becomes of one append.
#[derive(Debug, Clone, PartialEq)]
pub enum Script {
    /// The process dies here: this and every later call hangs until `restart`.
    DieBefore,
    DieAfter,
    /// Not written, and says so: no answer.
    Unavailable,
    /// Written, and the answer is lost.
    AnswerLost,
    /// Another owner has taken the cluster in the meantime.
    Overtaken,
    /// Late: long enough, and a lease is over.
    Slow(Duration),
}

/// A handle: clones share one store, so that the next engine finds what the dead one left.
#[derive(Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    died: Arc<Notify>,
    /// With a clock, locks are leases that end; without, they live as long as their process.
    clock: Option<Arc<dyn Clock>>,
}

#[derive(Default)]
struct State {
    locks: BTreeMap<ClusterName, LockRow>,
    runs: BTreeMap<RunId, RunRow>,
    blobs: BTreeMap<String, Vec<u8>>,
    appends: u64,
    script: BTreeMap<u64, Script>,
    dead: bool,
    short_of_room: Option<String>,
}

#[derive(Default)]
struct LockRow {
    token: u64,
    holder: Option<Holder>,
}
struct Holder {
    owner: Owner,
    since: Timestamp,
    run: Option<RunId>,
    lease: Duration,
    until: Until,
}
impl LockRow {
    fn current(&self, now: Timestamp) -> Option<&Holder> {
        self.holder.as_ref().filter(|h| !matches!(h.until, Until::At(end) if end <= now))
    }
}

#[derive(Default)]
struct RunRow {
    cluster: Option<ClusterName>,
    plan: Option<(Vec<u8>, String)>,
    rows: Vec<Row>,
    inbox: Vec<(Request, bool)>,
}
impl RunRow {
    fn finished(&self) -> bool {
        self.rows.iter().any(|r| r.event == "run_finished")
    }
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }
    /// With leases, as etcd has them.
    pub fn leased(clock: Arc<dyn Clock>) -> Memory {
        Memory { clock: Some(clock), ..Memory::default() }
    }
    /// Dies at the `n`-th append from now (1 is the next), before or after it is durable.
    pub fn crash_at(&self, n: u64, after: bool) {
        self.fault_at(n, if after { Script::DieAfter } else { Script::DieBefore });
    }
    pub fn fault_at(&self, n: u64, kind: Script) {
        let mut state = self.state();
        let number = state.appends + n;
        state.script.insert(number, kind);
    }
    /// Only the room reserved for giving back is left, or there is room again.
    pub fn set_short_of_room(&self, why: Option<&str>) {
        self.state().short_of_room = why.map(str::to_owned);
    }
    /// How many appends were asked for: the bound of a loop over every crash.
    pub fn appends(&self) -> u64 {
        self.state().appends
    }
    /// Resolves once the script has killed the process: drop the engine then, nothing of it may run on.
    pub async fn crashed(&self) {
        loop {
            let died = self.died.notified();
            if self.state().dead {
                return;
            }
            died.await;
        }
    }
    /// The next process: what the dead one held as a file lock is free, what it held as a lease runs out.
    pub fn restart(&self) {
        let mut state = self.state();
        state.dead = false;
        state.script.clear();
        for row in state.locks.values_mut() {
            row.holder.take_if(|h| h.until == Until::Process);
        }
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("BUG: poisoned")
    }
    fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or(Timestamp::UNIX_EPOCH, |c| c.now())
    }
    fn until(&self, lease: Duration) -> Until {
        match (&self.clock, jiff::SignedDuration::try_from(lease)) {
            (Some(clock), Ok(lease)) => Until::At(clock.now().saturating_add(lease).unwrap_or(Timestamp::MAX)),
            _ => Until::Process,
        }
    }
    /// A dead process gets no answer from anything.
    async fn alive(&self) {
        if self.state().dead {
            std::future::pending::<()>().await;
        }
    }
    async fn die(&self) {
        self.state().dead = true;
        self.died.notify_waiters();
        std::future::pending::<()>().await;
    }
    fn overtake(&self, cluster: &ClusterName) {
        let (now, mut state) = (self.now(), self.state());
        let row = state.locks.entry(cluster.clone()).or_default();
        row.token += 1;
        let owner = Owner { who: "rival@elsewhere".into(), pid: 1, id: format!("rival-{}", row.token) };
        row.holder = Some(Holder { owner, since: now, run: None, lease: Duration::ZERO, until: Until::Process });
    }
    fn write(&self, lock: &Lock, run: &RunId, after: u64, rows: Vec<Row>) -> Result<(), StoreError> {
        let (now, mut state) = (self.now(), self.state());
        let State { locks, runs, .. } = &mut *state;
        let lock_row = locks.get_mut(&lock.cluster);
        let there = runs.get(run);
        let stored = there.map(|r| r.rows.as_slice()).unwrap_or_default();
        let held = Held {
            lock: lock_row.as_ref().and_then(|r| r.current(now).map(|h| (&h.owner, r.token))),
            cluster: there.and_then(|r| r.cluster.as_ref()),
            head: stored.len() as u64,
            at: &|seq| stored.get((seq - 1) as usize).map(|r| (r.id.clone(), r.token)),
        };
        if fence::judge(&held, lock, after, &rows)? == Verdict::Write {
            let row = runs.entry(run.clone()).or_default();
            row.cluster = Some(lock.cluster.clone());
            row.rows.extend(rows);
            if let Some(holder) = lock_row.and_then(|r| r.holder.as_mut()) {
                holder.run = Some(run.clone());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Memory {
    fn describe(&self) -> String {
        "memory".into()
    }

    async fn lock(&self, cluster: &ClusterName, owner: &Owner, run: Option<&RunId>, lease: Duration) -> Result<Lock, StoreError> {
        self.alive().await;
        let (now, until, mut state) = (self.now(), self.until(lease), self.state());
        let row = state.locks.entry(cluster.clone()).or_default();
        match row.current(now) {
            Some(h) if h.owner.id != owner.id => return Err(StoreError::Locked { by: h.owner.clone(), since: h.since, run: h.run.clone() }),
            Some(_) => {}
            None => {
                row.token += 1;
                row.holder = None;
            }
        }
        let holder = row.holder.get_or_insert_with(|| Holder { owner: owner.clone(), since: now, run: None, lease, until });
        (holder.lease, holder.until) = (lease, until);
        if let Some(run) = run {
            holder.run = Some(run.clone());
        }
        Ok(Lock { cluster: cluster.clone(), owner: owner.clone(), token: row.token, until })
    }

    async fn renew(&self, lock: &Lock) -> Result<Until, StoreError> {
        self.alive().await;
        let (now, mut state) = (self.now(), self.state());
        let holder = mine(&mut state, lock, now)?;
        let until = self.until(holder.lease);
        holder.until = until;
        Ok(until)
    }

    async fn unlock(&self, lock: &Lock) -> Result<(), StoreError> {
        self.alive().await;
        let (now, mut state) = (self.now(), self.state());
        mine(&mut state, lock, now)?;
        state.locks.entry(lock.cluster.clone()).or_default().holder = None;
        Ok(())
    }

    async fn append(&self, lock: &Lock, run: &RunId, after: u64, records: &[Record]) -> Result<(), StoreError> {
        self.alive().await;
        let rows = fence::rows(run, records)?;
        let script = {
            let mut state = self.state();
            state.appends += 1;
            let number = state.appends;
            state.script.remove(&number)
        };
        match script {
            None => self.write(lock, run, after, rows),
            Some(Script::DieBefore) => {
                self.die().await;
                Ok(())
            }
            Some(Script::DieAfter) => {
                self.write(lock, run, after, rows)?;
                self.die().await;
                Ok(())
            }
            Some(Script::Unavailable) => Err(StoreError::Unavailable { cause: "no answer (scripted)".into() }),
            Some(Script::AnswerLost) => {
                self.write(lock, run, after, rows)?;
                Err(StoreError::Unavailable { cause: "no answer (scripted)".into() })
            }
            Some(Script::Overtaken) => {
                self.overtake(&lock.cluster);
                self.write(lock, run, after, rows)
            }
            Some(Script::Slow(span)) => {
                tokio::time::sleep(span).await;
                self.write(lock, run, after, rows)
            }
        }
    }

    async fn submit(&self, run: &RunId, plan: &Plan) -> Result<String, StoreError> {
        self.alive().await;
        let (bytes, digest) = contents::plan_bytes(plan)?;
        let mut state = self.state();
        let row = state.runs.entry(run.clone()).or_default();
        if let Some((_, there)) = &row.plan {
            return contents::same_plan(run, there, digest);
        }
        row.cluster.get_or_insert_with(|| plan.cluster.clone());
        row.plan = Some((bytes, digest.clone()));
        Ok(digest)
    }

    async fn plan(&self, run: &RunId) -> Result<Plan, StoreError> {
        self.alive().await;
        let state = self.state();
        let (bytes, digest) = state.runs.get(run).and_then(|r| r.plan.as_ref()).ok_or_else(|| contents::no_plan(run))?;
        contents::read_plan(bytes, digest)
    }

    async fn load(&self, run: &RunId, after: u64) -> Result<Vec<Record>, StoreError> {
        contents::read_all(after, self.lines(run, after).await?)
    }

    async fn lines(&self, run: &RunId, after: u64) -> Result<Vec<(u64, String)>, StoreError> {
        self.alive().await;
        let state = self.state();
        let row = state.runs.get(run).ok_or_else(|| contents::no_run(run))?;
        Ok(row.rows.iter().filter(|r| r.seq > after).map(|r| (r.seq, r.text.clone())).collect())
    }

    async fn short_of_room(&self) -> Option<String> {
        self.alive().await;
        self.state().short_of_room.clone()
    }

    async fn runs(&self, which: &RunFilter) -> Result<Vec<RunHead>, StoreError> {
        self.alive().await;
        let (now, state) = (self.now(), self.state());
        let heads = state.runs.iter().filter_map(|(run, row)| {
            let cluster = row.cluster.as_ref().filter(|c| which.cluster.as_ref().is_none_or(|w| w == *c))?;
            if which.unfinished && row.finished() {
                return None;
            }
            let holder = state.locks.get(cluster).and_then(|l| l.current(now)).filter(|h| h.run.as_ref() == Some(run)).map(|h| h.owner.clone());
            let (first, last) = (row.rows.first()?, row.rows.last()?);
            contents::head(run, cluster, &first.text, (last.seq, &last.text), row.finished(), holder)
        });
        let mut heads: Vec<RunHead> = heads.collect();
        heads.sort_by(|a, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
        Ok(heads)
    }

    async fn put_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.alive().await;
        let bytes = contents::check_blob(bytes.to_vec(), digest)?;
        self.state().blobs.insert(digest.to_owned(), bytes);
        Ok(())
    }

    async fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        self.alive().await;
        let bytes = self.state().blobs.get(digest).cloned();
        contents::check_blob(bytes.ok_or_else(|| contents::no_blob(digest))?, digest)
    }

    async fn ask(&self, run: &RunId, request: &Request) -> Result<(), StoreError> {
        self.alive().await;
        let mut state = self.state();
        let inbox = &mut state.runs.get_mut(run).ok_or_else(|| contents::no_run(run))?.inbox;
        if inbox.iter().all(|(r, _)| r.id != request.id) {
            inbox.push((request.clone(), false));
        }
        Ok(())
    }

    async fn asked(&self, run: &RunId) -> Result<Vec<Request>, StoreError> {
        self.alive().await;
        let state = self.state();
        let row = state.runs.get(run).ok_or_else(|| contents::no_run(run))?;
        Ok(row.inbox.iter().filter(|(_, answered)| !answered).map(|(r, _)| r.clone()).collect())
    }

    async fn answered(&self, run: &RunId, request: &str) -> Result<(), StoreError> {
        self.alive().await;
        let mut state = self.state();
        let row = state.runs.get_mut(run).ok_or_else(|| contents::no_run(run))?;
        let entry = row.inbox.iter_mut().find(|(r, _)| r.id == request);
        entry.ok_or_else(|| StoreError::NotFound { what: format!("request {request}") })?.1 = true;
        Ok(())
    }

    async fn forget(&self, run: &RunId) -> Result<(), StoreError> {
        self.alive().await;
        let mut state = self.state();
        let row = state.runs.get(run).ok_or_else(|| contents::no_run(run))?;
        if !row.finished() {
            return Err(contents::not_finished(run));
        }
        state.runs.remove(run);
        Ok(())
    }
}

/// The holder's row, if it is still this lock's.
fn mine<'a>(state: &'a mut State, lock: &Lock, now: Timestamp) -> Result<&'a mut Holder, StoreError> {
    let row = state.locks.get_mut(&lock.cluster).ok_or(StoreError::LostLock { by: None })?;
    let current = row.current(now).map(|h| h.owner.clone());
    match (&current, row.holder.as_mut()) {
        (Some(owner), Some(holder)) if owner.id == lock.owner.id && row.token == lock.token => Ok(holder),
        _ => Err(StoreError::LostLock { by: current.filter(|o| o.id != lock.owner.id) }),
    }
}
