//! A list that a watch keeps up to date: looks amid a drain then cost no requests. Never the proof of anything: what ends a drain is read anew.
use super::Api;
use crate::model::{Fault, Timestamp};
use futures::TryStreamExt;
use kube::core::WatchEvent;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// A silent connection may be a dead one: after this the list is read again.
const TRUSTED_FOR: Duration = Duration::from_secs(120);

/// What was read, and from which version on a watch goes on.
#[derive(Debug, Default)]
pub struct Listed {
    pub items: Vec<Value>,
    pub date: Option<Timestamp>,
    pub version: String,
}

pub struct Watched {
    seen: Arc<Mutex<Seen>>,
    reader: tokio::task::JoinHandle<()>,
    begun: Instant,
    date: Option<Timestamp>,
}

struct Seen {
    items: BTreeMap<(String, String), Value>,
    /// The server has begun to answer, and has not ended.
    live: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

impl Watched {
    /// Goes on from what was listed. A server that does not let us watch is one that is asked again and again.
    pub fn begin(api: &Arc<Api>, path: &'static str, fields: Option<String>, listed: &Listed) -> Watched {
        let items = listed.items.iter().map(|item| (key(item), item.clone())).collect();
        let seen = Arc::new(Mutex::new(Seen { items, live: false }));
        let (api, told, version) = (api.clone(), seen.clone(), listed.version.clone());
        let reader = tokio::spawn(async move {
            if let Ok(events) = api.watch(path, fields.as_deref(), &version).await {
                let seen = || told.lock().expect("BUG: poisoned");
                seen().live = true;
                let mut events = std::pin::pin!(events);
                while let Ok(Some(event)) = events.try_next().await {
                    match event {
                        WatchEvent::Added(item) | WatchEvent::Modified(item) => drop(seen().items.insert(key(&item), item)),
                        WatchEvent::Deleted(item) => drop(seen().items.remove(&key(&item))),
                        WatchEvent::Bookmark(_) => {}
                        // 410: too old to go on from. Whatever it is, the list is read again.
                        WatchEvent::Error(_) => break,
                    }
                }
                seen().live = false;
            }
        });
        Watched { seen, reader, begun: Instant::now(), date: listed.date }
    }

    /// What there is now, and the server's clock; none where that has to be read.
    pub fn now(&self) -> Option<(Vec<Value>, Option<Timestamp>)> {
        let age = self.begun.elapsed();
        let seen = self.seen.lock().expect("BUG: poisoned");
        (seen.live && age < TRUSTED_FOR).then(|| (seen.items.values().cloned().collect(), self.date.map(|date| date + age)))
    }

    /// It was refused, or broke off, a moment ago: not tried again yet.
    pub fn rests(&self) -> bool {
        self.begun.elapsed() < TRUSTED_FOR
    }
}

/// The list, kept in `slot`; `path` serves a watch, too.
pub async fn kept(api: &Arc<Api>, what: &str, path: &'static str, slot: &tokio::sync::Mutex<Option<Watched>>) -> Result<Vec<Value>, Fault> {
    let mut slot = slot.lock().await;
    if let Some((items, _)) = slot.as_ref().and_then(Watched::now) {
        return Ok(items);
    }
    let listed = api.listed(what, path, None).await?;
    if !slot.as_ref().is_some_and(Watched::rests) {
        *slot = Some(Watched::begin(api, path, None, &listed));
    }
    Ok(listed.items)
}
