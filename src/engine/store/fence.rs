//! May these records be written at these numbers? Pure: every store asks it inside its own transaction.
use super::{Lock, Owner, RECORD_LIMIT, StoreError};
use crate::{
    event::Record,
    model::{ClusterName, RunId},
};

/// A record as it lies in a store, with what the fence and the listing need beside the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub seq: u64,
    pub id: String,
    pub token: u64,
    pub event: String,
    pub text: String,
}

/// Serializes, checks sizes. Done before the transaction, so that it holds the lock no longer than needed.
pub fn rows(run: &RunId, records: &[Record]) -> Result<Vec<Row>, StoreError> {
    records.iter().map(|record| row(run, record)).collect()
}

fn row(run: &RunId, record: &Record) -> Result<Row, StoreError> {
    if record.run != *run {
        return Err(StoreError::Refused { why: format!("record {} belongs to run {}, not {run}", record.seq, record.run) });
    }
    let value = serde_json::to_value(record).map_err(|e| StoreError::Refused { why: format!("record {} cannot be written: {e}", record.seq) })?;
    let text = value.to_string();
    if text.len() > RECORD_LIMIT {
        return Err(StoreError::TooLarge { limit: RECORD_LIMIT });
    }
    let event = value["event"].as_str().unwrap_or_default().to_owned();
    Ok(Row { seq: record.seq, id: record.id.clone(), token: record.token, event, text })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Write,
    /// The answer to the first try was lost.
    Already,
}

/// What the store holds now, read in the transaction that would write.
pub struct Held<'a> {
    /// Who has the cluster, under which token.
    pub lock: Option<(&'a Owner, u64)>,
    /// The cluster the run belongs to, once it has one.
    pub cluster: Option<&'a ClusterName>,
    pub head: u64,
    /// Id and token of the stored record at a number.
    pub at: &'a dyn Fn(u64) -> Option<(String, u64)>,
}

/// `LostLock` is judged before `Conflict`: who lost the cluster has nothing to go on from.
pub fn judge(held: &Held<'_>, lock: &Lock, after: u64, rows: &[Row]) -> Result<Verdict, StoreError> {
    match held.lock {
        Some((owner, token)) if owner.id == lock.owner.id && token == lock.token => {}
        other => return Err(StoreError::LostLock { by: other.map(|(owner, _)| owner.clone()).filter(|o| o.id != lock.owner.id) }),
    }
    // A record numbered under an earlier lock, or a run of another cluster: this lock does not cover it.
    if held.cluster.is_some_and(|c| *c != lock.cluster) || rows.iter().any(|r| r.token != lock.token) {
        return Err(StoreError::LostLock { by: None });
    }
    let contiguous = rows.iter().zip(after + 1..).all(|(r, seq)| r.seq == seq);
    if !contiguous || held.head < after {
        return Err(StoreError::Conflict { head: held.head });
    }
    if held.head == after {
        return Ok(Verdict::Write);
    }
    let mut all_there = true;
    for row in rows {
        match (held.at)(row.seq) {
            Some((_, token)) if token != row.token => return Err(StoreError::LostLock { by: None }),
            Some((id, _)) if id == row.id => {}
            _ => all_there = false,
        }
    }
    if all_there && !rows.is_empty() { Ok(Verdict::Already) } else { Err(StoreError::Conflict { head: held.head }) }
}
