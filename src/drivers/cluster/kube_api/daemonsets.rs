//! The DaemonSets of a cluster, read once for all that ask at the same time.
use super::Api;
use crate::model::Fault;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Default)]
pub struct DaemonSets(tokio::sync::Mutex<Option<(Instant, Arc<Vec<Value>>)>>);

/// They come and go with installations.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// Nodes that are entered together.
const TOGETHER: Duration = Duration::from_secs(2);

impl DaemonSets {
    async fn younger_than(&self, api: &Api, age: Duration, enough: impl Fn(&[Value]) -> bool) -> Result<Arc<Vec<Value>>, Fault> {
        let mut known = self.0.lock().await;
        if let Some((at, sets)) = &*known
            && at.elapsed() < age
            && enough(sets)
        {
            return Ok(sets.clone());
        }
        let (list, _) = api.list::<Value>("list DaemonSets", "/apis/apps/v1/daemonsets", None).await?;
        let list = Arc::new(list);
        *known = Some((Instant::now(), list.clone()));
        Ok(list)
    }

    /// As they are now.
    pub async fn fresh(&self, api: &Api) -> Result<Arc<Vec<Value>>, Fault> {
        self.younger_than(api, TOGETHER, |_| true).await
    }

    /// `NAMESPACE/NAME` of all; read anew where one of `wanted` is not among the known.
    pub async fn names<'a>(&self, api: &Api, wanted: impl Iterator<Item = &'a str> + Clone) -> Result<BTreeSet<String>, Fault> {
        let name = |v: &Value| format!("{}/{}", v["metadata"]["namespace"].as_str().unwrap_or_default(), v["metadata"]["name"].as_str().unwrap_or_default());
        let enough = |sets: &[Value]| wanted.clone().all(|w| sets.iter().any(|s| name(s) == w));
        Ok(self.younger_than(api, KNOWN_FOR, enough).await?.iter().map(name).collect())
    }
}
