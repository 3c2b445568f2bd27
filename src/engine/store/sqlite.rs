//! The embedded store: one SQLite file, and one kernel file lock per cluster that ends with its process.
use super::{
    Lock, OpenError, Owner, Request, RunFilter, RunHead, Store, StoreError, Until, contents,
    fence::{self, Held, Row, Verdict},
    tables::{self, Reserve},
};
use crate::{
    event::Record,
    model::{Clock, ClusterName, RunId, Timestamp},
    plan::Plan,
};
use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

pub struct Sqlite {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    connection: Connection,
    path: PathBuf,
    reserve: Reserve,
    /// The clusters this process holds. Dropping the file frees the lock, and so does every kind of death.
    held: HashMap<ClusterName, Mine>,
}
struct Mine {
    file: File,
    owner: Owner,
    token: u64,
    run: Option<RunId>,
}

/// The `locks` row. Its owner counts only while somebody holds the file.
struct LockRow {
    token: u64,
    owner: Option<Owner>,
    since: Option<Timestamp>,
    run: Option<RunId>,
}

impl Sqlite {
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Sqlite, OpenError> {
        let asked = path.to_owned();
        let (connection, path) = tokio::task::spawn_blocking(move || tables::open(&asked)).await.expect("BUG: opening the store panicked")?;
        let inner = Inner { connection, reserve: Reserve::of(&path), path: path.clone(), held: HashMap::new() };
        Ok(Sqlite { path, clock, inner: Arc::new(Mutex::new(inner)) })
    }

    /// For tests of a full disk: SQLite refuses to grow beyond so many pages.
    #[doc(hidden)]
    pub async fn limit_pages(&self, pages: i64) {
        let set = self.with(move |inner| inner.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(unavailable));
        set.await.expect("BUG: a limit that SQLite does not take");
    }

    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Inner) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut inner.lock().expect("BUG: poisoned"))).await;
        // Only when the runtime is going down: nobody is left to be told.
        done.unwrap_or_else(|e| Err(StoreError::Unavailable { cause: e.to_string() }))
    }
}

fn unavailable(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::TooBig) => StoreError::TooLarge { limit: super::RECORD_LIMIT },
        _ => StoreError::Unavailable { cause: error.to_string() },
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Refused { why: e.to_string() })
}

/// A disk without room, which SQLite reports in more than one way.
fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

impl Inner {
    /// One transaction that has the file to itself. On a full disk the reserve is given up and everything tried once more: it was all undone.
    fn write<T>(&mut self, work: impl Fn(&Transaction<'_>) -> Result<T, Failed>) -> Result<T, StoreError> {
        match self.transact(&work) {
            Err(Failed::Sqlite(e)) if is_full(&e) && self.reserve.give_up() => {
                tracing::warn!(store = %self.path.display(), "the disk is full: the room reserved for giving back is now in use");
                self.transact(&work)
            }
            other => other,
        }
        .map_err(StoreError::from)
    }
    fn transact<T>(&mut self, work: &impl Fn(&Transaction<'_>) -> Result<T, Failed>) -> Result<T, Failed> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&tx)?;
        tx.commit()?;
        Ok(value)
    }
    fn holds(&self, lock: &Lock) -> bool {
        self.held.get(&lock.cluster).is_some_and(|m| m.owner.id == lock.owner.id && m.token == lock.token)
    }
    fn holder_now(&self, cluster: &ClusterName) -> Result<Option<Owner>, StoreError> {
        Ok(lock_row(&self.connection, cluster).map_err(unavailable)?.and_then(|row| row.owner))
    }
}

/// What a transaction ended on: the contract, or the database.
enum Failed {
    Store(StoreError),
    Sqlite(rusqlite::Error),
}
impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Failed {
        Failed::Sqlite(error)
    }
}
impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Store(error)
    }
}
impl From<Failed> for StoreError {
    fn from(failed: Failed) -> StoreError {
        match failed {
            Failed::Store(error) => error,
            Failed::Sqlite(error) => unavailable(error),
        }
    }
}

fn lock_row(connection: &Connection, cluster: &ClusterName) -> rusqlite::Result<Option<LockRow>> {
    let mut query = connection.prepare("SELECT token, owner, since, run FROM locks WHERE cluster = ?1")?;
    let row = query.query_row([&cluster.0], |row| {
        let (owner, since): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
        Ok(LockRow {
            token: row.get::<_, i64>(0)? as u64,
            owner: owner.and_then(|text| serde_json::from_str(&text).ok()),
            since: since.and_then(|text| text.parse().ok()),
            run: row.get::<_, Option<String>>(3)?.map(RunId),
        })
    });
    row.optional()
}

fn head(connection: &Connection, run: &RunId) -> rusqlite::Result<u64> {
    let mut query = connection.prepare("SELECT coalesce(max(seq), 0) FROM records WHERE run = ?1")?;
    query.query_row([&run.0], |row| row.get::<_, i64>(0)).map(|n| n as u64)
}

fn at(connection: &Connection, run: &RunId, seq: u64) -> rusqlite::Result<Option<(String, u64)>> {
    let mut query = connection.prepare("SELECT id, token FROM records WHERE run = ?1 AND seq = ?2")?;
    query.query_row(params![run.0, seq as i64], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))).optional()
}

fn cluster_of(connection: &Connection, run: &RunId) -> rusqlite::Result<Option<ClusterName>> {
    connection.prepare("SELECT cluster FROM runs WHERE run = ?1")?.query_row([&run.0], |row| row.get(0).map(ClusterName)).optional()
}

fn known(connection: &Connection, run: &RunId) -> Result<(), StoreError> {
    cluster_of(connection, run).map_err(unavailable)?.map(|_| ()).ok_or_else(|| contents::no_run(run))
}

fn insert(tx: &Transaction<'_>, lock: &Lock, run: &RunId, rows: &[Row]) -> rusqlite::Result<()> {
    tx.prepare("INSERT INTO runs(run, cluster) VALUES(?1, ?2) ON CONFLICT DO NOTHING")?.execute(params![run.0, lock.cluster.0])?;
    let mut record = tx.prepare("INSERT INTO records(run, seq, id, token, event, record) VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?;
    for row in rows {
        record.execute(params![run.0, row.seq as i64, row.id, row.token as i64, row.event, row.text])?;
    }
    Ok(())
}

/// True while some process holds the cluster's file. Only inside a write transaction: there no `lock` can be under way, so the probe disturbs nobody.
fn file_is_held(path: &Path, cluster: &ClusterName) -> bool {
    let Ok(file) = tables::lock_file(path, cluster) else { return false };
    match file.try_lock() {
        Ok(()) => {
            release(&file);
            false
        }
        Err(e) => matches!(e, TryLockError::WouldBlock),
    }
}

/// Closing alone would not do: a child between `fork` and `exec` (a command check) still has the file open, and with it the lock.
fn release(file: &File) {
    // It cannot fail on a file that is open; then closing must do.
    file.unlock().ok();
}

#[async_trait]
impl Store for Sqlite {
    fn describe(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    async fn lock(&self, cluster: &ClusterName, owner: &Owner, run: Option<&RunId>, _lease: Duration) -> Result<Lock, StoreError> {
        let (cluster, owner, run, now) = (cluster.clone(), owner.clone(), run.cloned(), self.clock.now());
        self.with(move |inner| {
            let mine = inner.held.get(&cluster).map(|m| (m.owner.id == owner.id, m.token));
            if let Some((true, token)) = mine {
                inner.write(|tx| {
                    tx.execute("UPDATE locks SET run = coalesce(?2, run) WHERE cluster = ?1", params![cluster.0, run.as_ref().map(|r| &r.0)])?;
                    Ok(())
                })?;
                return Ok(Lock { cluster, owner, token, until: Until::Process });
            }
            // Room for giving back is taken before anything is begun. What is already begun goes on without.
            let begun = run.as_ref().map_or(Ok(0), |run| head(&inner.connection, run)).map_err(unavailable)? > 0;
            match inner.reserve.hold() {
                Err(e) if !begun => {
                    return Err(StoreError::Unavailable { cause: format!("no room to reserve for giving back beside {}: {e}", inner.path.display()) });
                }
                Err(e) => tracing::warn!(store = %inner.path.display(), error = %e, "no room to reserve for giving back"),
                Ok(()) => {}
            }
            let path = inner.path.clone();
            // File and row change together, under the database's write lock: whoever finds the file taken also finds whose it is.
            let (file, token) = inner.write(|tx| {
                let row = lock_row(tx, &cluster)?;
                let file = tables::lock_file(&path, &cluster).map_err(|e| StoreError::Unavailable { cause: format!("lock file of {cluster}: {e}") })?;
                match file.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => {
                        let (by, since, run) = row.map_or((None, None, None), |r| (r.owner, r.since, r.run));
                        let by = by.unwrap_or_else(|| Owner { who: "a process that is not pitstop".into(), pid: 0, id: String::new() });
                        return Err(StoreError::Locked { by, since: since.unwrap_or(now), run }.into());
                    }
                    Err(TryLockError::Error(e)) => return Err(StoreError::Unavailable { cause: format!("lock file of {cluster}: {e}") }.into()),
                }
                let token = row.map_or(0, |r| r.token) + 1;
                tx.execute(
                    "INSERT OR REPLACE INTO locks(cluster, token, owner, since, run) VALUES(?1, ?2, ?3, ?4, ?5)",
                    params![cluster.0, token as i64, json(&owner)?, now.to_string(), run.as_ref().map(|r| &r.0)],
                )?;
                Ok((file, token))
            })?;
            inner.held.insert(cluster.clone(), Mine { file, owner: owner.clone(), token, run });
            Ok(Lock { cluster, owner, token, until: Until::Process })
        })
        .await
    }

    async fn renew(&self, lock: &Lock) -> Result<Until, StoreError> {
        let lock = lock.clone();
        self.with(move |inner| {
            let row = lock_row(&inner.connection, &lock.cluster).map_err(unavailable)?;
            match row {
                Some(row) if inner.holds(&lock) && row.token == lock.token => Ok(Until::Process),
                row => Err(StoreError::LostLock { by: row.and_then(|r| r.owner).filter(|o| o.id != lock.owner.id) }),
            }
        })
        .await
    }

    async fn unlock(&self, lock: &Lock) -> Result<(), StoreError> {
        let lock = lock.clone();
        self.with(move |inner| {
            if !inner.holds(&lock) {
                return Err(StoreError::LostLock { by: inner.holder_now(&lock.cluster)?.filter(|o| o.id != lock.owner.id) });
            }
            let Inner { connection, held, .. } = inner;
            // Freed inside the transaction, so that nobody finds the file taken and the row empty. A row that could not be cleared harms nobody.
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            if let Some(mine) = held.remove(&lock.cluster) {
                release(&mine.file);
            }
            let cleared = tx.and_then(|tx| {
                tx.execute(
                    "UPDATE locks SET owner = NULL, since = NULL, run = NULL WHERE cluster = ?1 AND token = ?2",
                    params![lock.cluster.0, lock.token as i64],
                )?;
                tx.commit()
            });
            if let Err(error) = cleared {
                tracing::warn!(cluster = %lock.cluster, %error, "the lock is free, but its row still names us");
            }
            Ok(())
        })
        .await
    }

    async fn append(&self, lock: &Lock, run: &RunId, after: u64, records: &[Record]) -> Result<(), StoreError> {
        let rows = fence::rows(run, records)?;
        let (lock, run) = (lock.clone(), run.clone());
        self.with(move |inner| {
            if !inner.holds(&lock) {
                return Err(StoreError::LostLock { by: inner.holder_now(&lock.cluster)?.filter(|o| o.id != lock.owner.id) });
            }
            let noted = inner.held.get(&lock.cluster).is_some_and(|m| m.run.as_ref() == Some(&run));
            inner.write(|tx| {
                let row = lock_row(tx, &lock.cluster)?;
                let cluster = cluster_of(tx, &run)?;
                let held = Held {
                    lock: row.as_ref().and_then(|r| r.owner.as_ref().map(|o| (o, r.token))),
                    cluster: cluster.as_ref(),
                    head: head(tx, &run)?,
                    // A record that cannot be looked up counts as absent: the answer is then Conflict, never Ok.
                    at: &|seq| at(tx, &run, seq).ok().flatten(),
                };
                if fence::judge(&held, &lock, after, &rows)? == Verdict::Write {
                    insert(tx, &lock, &run, &rows)?;
                    if !noted {
                        tx.execute("UPDATE locks SET run = ?2 WHERE cluster = ?1", params![lock.cluster.0, run.0])?;
                    }
                }
                Ok(())
            })?;
            if let Some(mine) = inner.held.get_mut(&lock.cluster) {
                mine.run = Some(run);
            }
            Ok(())
        })
        .await
    }

    async fn submit(&self, run: &RunId, plan: &Plan) -> Result<String, StoreError> {
        let (bytes, digest) = contents::plan_bytes(plan)?;
        let (run, cluster) = (run.clone(), plan.cluster.clone());
        self.with(move |inner| {
            inner.write(|tx| {
                let there: Option<Option<String>> = tx.query_row("SELECT digest FROM runs WHERE run = ?1", [&run.0], |row| row.get(0)).optional()?;
                if let Some(Some(there)) = there {
                    return Ok(contents::same_plan(&run, &there, digest.clone())?);
                }
                tx.execute(
                    "INSERT INTO runs(run, cluster, plan, digest) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(run) DO UPDATE SET plan = excluded.plan, digest = excluded.digest",
                    params![run.0, cluster.0, bytes, digest],
                )?;
                Ok(digest.clone())
            })
        })
        .await
    }

    async fn plan(&self, run: &RunId) -> Result<Plan, StoreError> {
        let run = run.clone();
        self.with(move |inner| {
            let stored =
                inner.connection.query_row("SELECT plan, digest FROM runs WHERE run = ?1 AND plan IS NOT NULL", [&run.0], |row| Ok((row.get(0)?, row.get(1)?)));
            let (bytes, digest): (Vec<u8>, String) = stored.optional().map_err(unavailable)?.ok_or_else(|| contents::no_plan(&run))?;
            contents::read_plan(&bytes, &digest)
        })
        .await
    }

    async fn load(&self, run: &RunId, after: u64) -> Result<Vec<Record>, StoreError> {
        contents::read_all(after, self.lines(run, after).await?)
    }

    async fn lines(&self, run: &RunId, after: u64) -> Result<Vec<(u64, String)>, StoreError> {
        let run = run.clone();
        self.with(move |inner| {
            known(&inner.connection, &run)?;
            let mut query = inner.connection.prepare("SELECT seq, record FROM records WHERE run = ?1 AND seq > ?2 ORDER BY seq").map_err(unavailable)?;
            let lines = query.query_map(params![run.0, after as i64], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))).map_err(unavailable)?;
            lines.collect::<rusqlite::Result<_>>().map_err(unavailable)
        })
        .await
    }

    async fn short_of_room(&self) -> Option<String> {
        let full = self.with(|inner| {
            let why = format!("the disk of {} is full: the room reserved for giving back is in use", inner.path.display());
            Ok((!inner.held.is_empty() && inner.reserve.hold().is_err()).then_some(why))
        });
        full.await.unwrap_or_else(|e| Some(e.to_string()))
    }

    async fn runs(&self, which: &RunFilter) -> Result<Vec<RunHead>, StoreError> {
        let which = which.clone();
        self.with(move |inner| {
            let path = inner.path.clone();
            inner.write(|tx| {
                let mut query = tx.prepare(
                    "SELECT r.run, r.cluster, f.record, l.seq, l.record,
                            EXISTS(SELECT 1 FROM records e WHERE e.run = r.run AND e.event = 'run_finished')
                     FROM runs r
                     JOIN records f ON f.run = r.run AND f.seq = 1
                     JOIN records l ON l.run = r.run AND l.seq = (SELECT max(seq) FROM records WHERE run = r.run)
                     WHERE ?1 IS NULL OR r.cluster = ?1",
                )?;
                let mut rows = query.query([which.cluster.as_ref().map(|c| &c.0)])?;
                let mut holders: HashMap<ClusterName, Option<LockRow>> = HashMap::new();
                let mut heads = Vec::new();
                while let Some(row) = rows.next()? {
                    let (run, cluster) = (RunId(row.get(0)?), ClusterName(row.get(1)?));
                    let (first, last): (String, String) = (row.get(2)?, row.get(4)?);
                    let finished: bool = row.get(5)?;
                    if which.unfinished && finished {
                        continue;
                    }
                    if !holders.contains_key(&cluster) {
                        // The row outlives its process; only the kernel knows whether that still lives.
                        let holder = lock_row(tx, &cluster)?.filter(|_| file_is_held(&path, &cluster));
                        holders.insert(cluster.clone(), holder);
                    }
                    let holder = holders[&cluster].as_ref().filter(|h| h.run.as_ref() == Some(&run)).and_then(|h| h.owner.clone());
                    heads.extend(contents::head(&run, &cluster, &first, (row.get::<_, i64>(3)? as u64, &last), finished, holder));
                }
                heads.sort_by(|a: &RunHead, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
                Ok(heads)
            })
        })
        .await
    }

    async fn put_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (digest, bytes) = (digest.to_owned(), contents::check_blob(bytes.to_vec(), digest)?);
        self.with(move |inner| {
            inner.write(|tx| {
                tx.execute("INSERT INTO blobs(digest, bytes) VALUES(?1, ?2) ON CONFLICT DO NOTHING", params![digest, bytes])?;
                Ok(())
            })
        })
        .await
    }

    async fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        let digest = digest.to_owned();
        self.with(move |inner| {
            let bytes: Option<Vec<u8>> =
                inner.connection.query_row("SELECT bytes FROM blobs WHERE digest = ?1", [&digest], |row| row.get(0)).optional().map_err(unavailable)?;
            contents::check_blob(bytes.ok_or_else(|| contents::no_blob(&digest))?, &digest)
        })
        .await
    }

    async fn ask(&self, run: &RunId, request: &Request) -> Result<(), StoreError> {
        let (run, id, text) = (run.clone(), request.id.clone(), json(request)?);
        self.with(move |inner| {
            inner.write(|tx| {
                known(tx, &run)?;
                tx.execute("INSERT INTO inbox(run, id, request) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING", params![run.0, id, text])?;
                Ok(())
            })
        })
        .await
    }

    async fn asked(&self, run: &RunId) -> Result<Vec<Request>, StoreError> {
        let run = run.clone();
        self.with(move |inner| {
            known(&inner.connection, &run)?;
            let mut query = inner.connection.prepare("SELECT request FROM inbox WHERE run = ?1 AND answered = 0 ORDER BY number").map_err(unavailable)?;
            let texts = query.query_map([&run.0], |row| row.get::<_, String>(0)).map_err(unavailable)?;
            let texts: Vec<String> = texts.collect::<rusqlite::Result<_>>().map_err(unavailable)?;
            let read =
                |text: String| serde_json::from_str(&text).map_err(|e| StoreError::Refused { why: format!("a request to run {run} cannot be read: {e}") });
            texts.into_iter().map(read).collect()
        })
        .await
    }

    async fn answered(&self, run: &RunId, request: &str) -> Result<(), StoreError> {
        let (run, request) = (run.clone(), request.to_owned());
        self.with(move |inner| {
            let changed = inner.write(|tx| Ok(tx.execute("UPDATE inbox SET answered = 1 WHERE run = ?1 AND id = ?2", params![run.0, request])?))?;
            if changed == 1 { Ok(()) } else { Err(StoreError::NotFound { what: format!("request {request}") }) }
        })
        .await
    }

    async fn forget(&self, run: &RunId) -> Result<(), StoreError> {
        let run = run.clone();
        self.with(move |inner| {
            inner.write(|tx| {
                known(tx, &run)?;
                let finished: bool =
                    tx.query_row("SELECT EXISTS(SELECT 1 FROM records WHERE run = ?1 AND event = 'run_finished')", [&run.0], |row| row.get(0))?;
                if !finished {
                    return Err(contents::not_finished(&run).into());
                }
                for table in ["inbox", "records", "runs"] {
                    tx.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [&run.0])?;
                }
                Ok(())
            })
        })
        .await
    }
}
