//! What lies in a store, read back: records, plans and blobs checked, run heads lenient. Shared by every store.
use super::{Owner, RunHead, StoreError, digest};
use crate::{
    event::Record,
    model::{ClusterName, NodeName, RunId, Timestamp},
    plan::{FORMAT, Plan},
};
use serde_json::Value;

/// A stored text as a record; an event this program does not know stops the resume.
pub fn read(seq: u64, text: &str) -> Result<Record, StoreError> {
    let unreadable = |cause: String| StoreError::Unreadable { seq, cause };
    let record: Record = serde_json::from_str(text).map_err(|e| unreadable(e.to_string()))?;
    if record.seq == seq { Ok(record) } else { Err(unreadable(format!("it calls itself record {}", record.seq))) }
}

/// The records after `after`, and none missing between them.
pub fn read_all(after: u64, lines: Vec<(u64, String)>) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::with_capacity(lines.len());
    for ((seq, text), expected) in lines.into_iter().zip(after + 1..) {
        if seq != expected {
            return Err(StoreError::Unreadable { seq: expected, cause: "it is missing".into() });
        }
        records.push(read(seq, &text)?);
    }
    Ok(records)
}

/// Read leniently, so that a run of a newer program is listed too. None: the run has no first record yet.
pub fn head(run: &RunId, cluster: &ClusterName, first: &str, last: (u64, &str), finished: bool, holder: Option<Owner>) -> Option<RunHead> {
    let first: Value = serde_json::from_str(first).ok()?;
    let text = |key: &str| first[key].as_str().map(str::to_owned);
    let at = |value: &Value| value["at"].as_str().and_then(|t| t.parse::<Timestamp>().ok());
    let started = at(&first)?;
    Some(RunHead {
        run: run.clone(),
        cluster: cluster.clone(),
        group: text("group"),
        playbook: text("playbook").unwrap_or_default(),
        started,
        finished,
        seq: last.0,
        last: serde_json::from_str(last.1).ok().as_ref().and_then(at).unwrap_or(started),
        holder,
        nodes: first["nodes"].as_array().into_iter().flatten().filter_map(Value::as_str).map(|n| NodeName(n.to_owned())).collect(),
    })
}

/// The bytes that a plan is stored as, and their digest.
pub fn plan_bytes(plan: &Plan) -> Result<(Vec<u8>, String), StoreError> {
    let bytes = serde_json::to_vec(plan).map_err(|e| StoreError::Refused { why: format!("the plan cannot be written: {e}") })?;
    let digest = digest(&bytes);
    Ok((bytes, digest))
}

pub fn read_plan(bytes: &[u8], stored_digest: &str) -> Result<Plan, StoreError> {
    let unreadable = |cause: String| StoreError::Unreadable { seq: 0, cause };
    if digest(bytes) != stored_digest {
        return Err(unreadable("the stored plan does not match its digest: the store is damaged".into()));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| unreadable(format!("the stored plan: {e}")))?;
    // Said before the fields are read: a newer format may not even parse.
    match value["format"].as_u64() {
        Some(format) if format <= u64::from(FORMAT) => serde_json::from_value(value).map_err(|e| unreadable(format!("the stored plan: {e}"))),
        Some(format) => Err(unreadable(format!("the plan has format {format}, this program knows {FORMAT}: use the program that made it"))),
        None => Err(unreadable("the stored plan has no format".into())),
    }
}

pub fn check_blob(bytes: Vec<u8>, name: &str) -> Result<Vec<u8>, StoreError> {
    if digest(&bytes) == name { Ok(bytes) } else { Err(StoreError::Refused { why: format!("blob {name} does not match its digest") }) }
}

/// For `submit` over a plan that is there.
pub fn same_plan(run: &RunId, there: &str, new: String) -> Result<String, StoreError> {
    if there == new { Ok(new) } else { Err(StoreError::Refused { why: format!("run {run} already has another plan") }) }
}

pub fn no_run(run: &RunId) -> StoreError {
    StoreError::NotFound { what: format!("run {run}") }
}
pub fn no_plan(run: &RunId) -> StoreError {
    StoreError::NotFound { what: format!("the plan of run {run}") }
}
pub fn no_blob(digest: &str) -> StoreError {
    StoreError::NotFound { what: format!("blob {digest}") }
}
pub fn not_finished(run: &RunId) -> StoreError {
    StoreError::Refused { why: format!("run {run} is not finished: it may still owe something") }
}
