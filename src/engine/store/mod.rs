//! The journal and the lock, behind one trait: SQLite embedded, etcd when shared (shared by one contract test).
use crate::{
    event::Record,
    model::{ClusterName, NodeName, RunId, Timestamp},
    plan::Plan,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

mod contents;
pub mod crash;
mod fence;
pub mod memory;
pub mod mounts;
pub mod sqlite;
mod tables;
pub mod url;

pub use url::{OpenError, StoreUrl, open};

/// No record is larger, in any store: etcd's own limit is just above it.
pub const RECORD_LIMIT: usize = 1 << 20;

/// What plans and blobs are filed under: SHA-256 in lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Who holds a lock: shown to people, compared for equality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// `ops@deploy-1`.
    pub who: String,
    pub pid: u32,
    /// Random, so that a reused process id is not us.
    pub id: String,
}
impl Owner {
    /// As a lock outside of our store names it: with the run, so that whoever has that run in his store knows whose it is.
    pub fn mark(&self, run: &RunId) -> String {
        format!("{self} run {}", run.0)
    }
    /// The run that such a mark names.
    pub fn run_of(mark: &str) -> Option<RunId> {
        mark.rsplit_once(" run ").map(|(_, run)| RunId(run.to_owned()))
    }
}
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.who, self.pid)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Lock {
    pub cluster: ClusterName,
    pub owner: Owner,
    /// Only grows; stands in every record written under it.
    pub token: u64,
    pub until: Until,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    /// As long as we live (a kernel file lock).
    Process,
    At(Timestamp),
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// `lock` only: exit code 8.
    #[error("the cluster is held by {by} since {since}")]
    Locked { by: Owner, since: Timestamp, run: Option<RunId> },
    /// No longer ours, or another writer's record stands at our number: stop at once, never retry.
    #[error("the lock is no longer ours{}", .by.as_ref().map_or(String::new(), |b| format!(": {b} has it")))]
    LostLock { by: Option<Owner> },
    /// Ours, but the log is longer: load, compare ids, go on.
    #[error("the log already has {head} records")]
    Conflict { head: u64 },
    /// No answer: written or not, unknown.
    #[error("the store does not answer: {cause}")]
    Unavailable { cause: String },
    #[error("the record is larger than {limit} bytes")]
    TooLarge { limit: usize },
    /// Stops the resume.
    #[error("record {seq} cannot be read: {cause}")]
    Unreadable { seq: u64, cause: String },
    #[error("{what} is not in the store")]
    NotFound { what: String },
    /// The store could, but must not: overwrite a plan, forget a run that is not finished.
    #[error("{why}")]
    Refused { why: String },
}

/// A request of another process; only the engine turns it into an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub id: String,
    pub at: Timestamp,
    pub by: String,
    pub ask: crate::event::Event,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHead {
    pub run: RunId,
    pub cluster: ClusterName,
    pub group: Option<String>,
    pub playbook: String,
    pub started: Timestamp,
    pub finished: bool,
    /// Last record's number and time.
    pub seq: u64,
    pub last: Timestamp,
    /// Who works on it now, if anyone.
    pub holder: Option<Owner>,
    pub nodes: Vec<NodeName>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFilter {
    pub cluster: Option<ClusterName>,
    /// Only runs without `run_finished`.
    pub unfinished: bool,
}

#[async_trait]
pub trait Store: Send + Sync {
    /// For people: `sqlite:/var/lib/pitstop/pitstop.db`.
    fn describe(&self) -> String;
    /// Takes the cluster for `owner`, or says who has it. Idempotent for the same owner. `run` is shown to others.
    async fn lock(&self, cluster: &ClusterName, owner: &Owner, run: Option<&RunId>, lease: Duration) -> Result<Lock, StoreError>;
    /// Prolongs it. The new end counts from before the question was sent.
    async fn renew(&self, lock: &Lock) -> Result<Until, StoreError>;
    async fn unlock(&self, lock: &Lock) -> Result<(), StoreError>;
    /// Durable on return. Only while `lock` is current and the run's last record is `after`. All or none. The same records again: fine.
    async fn append(&self, lock: &Lock, run: &RunId, after: u64, records: &[Record]) -> Result<(), StoreError>;
    /// Files a frozen plan; never overwrites. Returns the digest of the stored bytes.
    async fn submit(&self, run: &RunId, plan: &Plan) -> Result<String, StoreError>;
    /// The stored plan, digest checked.
    async fn plan(&self, run: &RunId) -> Result<Plan, StoreError>;
    /// Records with a number above `after`, in order. An unknown event is `Unreadable`.
    async fn load(&self, run: &RunId, after: u64) -> Result<Vec<Record>, StoreError>;
    /// The same as stored, one JSON text per record: `report` must show a run that holds events it does not know.
    async fn lines(&self, run: &RunId, after: u64) -> Result<Vec<(u64, String)>, StoreError>;
    /// Why nothing new should be started although appends still succeed: the room reserved for giving back is in use.
    async fn short_of_room(&self) -> Option<String> {
        None
    }
    /// By start, oldest first.
    async fn runs(&self, which: &RunFilter) -> Result<Vec<RunHead>, StoreError>;
    async fn put_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError>;
    async fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError>;
    /// The inbox.
    async fn ask(&self, run: &RunId, request: &Request) -> Result<(), StoreError>;
    /// What is not yet an event.
    async fn asked(&self, run: &RunId) -> Result<Vec<Request>, StoreError>;
    async fn answered(&self, run: &RunId, request: &str) -> Result<(), StoreError>;
    /// Finished runs only.
    async fn forget(&self, run: &RunId) -> Result<(), StoreError>;
}
