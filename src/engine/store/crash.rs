//! Kills this very process at a chosen append, as `kill -9` would: the tests' way to every crash there is.
use super::{Lock, Owner, Request, RunFilter, RunHead, Store, StoreError, Until};
use crate::{
    event::{Event, Record},
    model::{ClusterName, RunId},
    plan::Plan,
};
use async_trait::async_trait;
use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// `3:before`, `3:after`: at the third append, before or after it is durable. `1:after:power`: only intents to change power count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KillAt {
    pub append: u64,
    pub after: bool,
    pub power: bool,
}
impl FromStr for KillAt {
    type Err = String;
    fn from_str(text: &str) -> Result<KillAt, String> {
        let wrong = || format!("`{text}` is not N:before or N:after with N from 1, and :power behind it or not");
        let (text, power) = text.strip_suffix(":power").map_or((text, false), |rest| (rest, true));
        let (n, when) = text.split_once(':').ok_or_else(wrong)?;
        let append = n.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        match when {
            "before" => Ok(KillAt { append, after: false, power }),
            "after" => Ok(KillAt { append, after: true, power }),
            _ => Err(wrong()),
        }
    }
}

pub struct Crash {
    inner: Arc<dyn Store>,
    at: KillAt,
    appends: AtomicU64,
}
impl Crash {
    pub fn new(inner: Arc<dyn Store>, at: KillAt) -> Crash {
        Crash { inner, at, appends: AtomicU64::new(0) }
    }
}

/// SIGKILL, so that neither a destructor nor an exit handler runs. Never returns.
async fn die() {
    let killed = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
    if killed.is_err() {
        // No `kill` here: abort runs no destructor either.
        std::process::abort();
    }
    std::future::pending().await
}

#[async_trait]
impl Store for Crash {
    async fn append(&self, lock: &Lock, run: &RunId, after: u64, records: &[Record]) -> Result<(), StoreError> {
        let counts = !self.at.power || records.iter().any(|r| matches!(&r.event, Event::ActIntended { act, .. } if act.power));
        let this = counts && self.appends.fetch_add(1, Ordering::SeqCst) + 1 == self.at.append;
        if this && !self.at.after {
            die().await;
        }
        self.inner.append(lock, run, after, records).await?;
        if this {
            die().await;
        }
        Ok(())
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
    async fn lock(&self, cluster: &ClusterName, owner: &Owner, run: Option<&RunId>, lease: Duration) -> Result<Lock, StoreError> {
        self.inner.lock(cluster, owner, run, lease).await
    }
    async fn renew(&self, lock: &Lock) -> Result<Until, StoreError> {
        self.inner.renew(lock).await
    }
    async fn unlock(&self, lock: &Lock) -> Result<(), StoreError> {
        self.inner.unlock(lock).await
    }
    async fn submit(&self, run: &RunId, plan: &Plan) -> Result<String, StoreError> {
        self.inner.submit(run, plan).await
    }
    async fn plan(&self, run: &RunId) -> Result<Plan, StoreError> {
        self.inner.plan(run).await
    }
    async fn load(&self, run: &RunId, after: u64) -> Result<Vec<Record>, StoreError> {
        self.inner.load(run, after).await
    }
    async fn lines(&self, run: &RunId, after: u64) -> Result<Vec<(u64, String)>, StoreError> {
        self.inner.lines(run, after).await
    }
    async fn short_of_room(&self) -> Option<String> {
        self.inner.short_of_room().await
    }
    async fn runs(&self, which: &RunFilter) -> Result<Vec<RunHead>, StoreError> {
        self.inner.runs(which).await
    }
    async fn put_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.put_blob(digest, bytes).await
    }
    async fn get_blob(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        self.inner.get_blob(digest).await
    }
    async fn ask(&self, run: &RunId, request: &Request) -> Result<(), StoreError> {
        self.inner.ask(run, request).await
    }
    async fn asked(&self, run: &RunId) -> Result<Vec<Request>, StoreError> {
        self.inner.asked(run).await
    }
    async fn answered(&self, run: &RunId, request: &str) -> Result<(), StoreError> {
        self.inner.answered(run, request).await
    }
    async fn forget(&self, run: &RunId) -> Result<(), StoreError> {
        self.inner.forget(run).await
    }
}
