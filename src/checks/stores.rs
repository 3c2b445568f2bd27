//! Check `stores`: what keeps data on the node, as its clusters know it (Rook, Longhorn, …), bears losing the node, and nothing rebuilds.
use super::{Check, Probe, Verdict};
use crate::{
    kinds,
    model::{Blocker, Fault, FaultKind},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Kinds that must be found (`ceph`, `longhorn`): one that has vanished is not healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<String>,
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "stores";
    const ABOUT: &'static str = "the stores that the node's clusters know to keep data on it are redundant without it";
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        if self.expect.is_empty() { "stores".into() } else { format!("stores: {}", self.expect.join(", ")) }
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        if probe.clusters.is_empty() {
            return Err(Fault::new(FaultKind::Unable, format!("{}: it is in no cluster that could say which stores keep data on it", probe.node)));
        }
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        for (node, driver) in probe.clusters {
            for store in driver.stores(node).await? {
                let object = format!("{} {}", store.kind, store.name);
                wrong.extend(store.refuses.iter().chain(&store.rebuilding).map(|why| Blocker::new(object.clone(), why.clone())));
                found.push(store);
            }
        }
        let missing = self.expect.iter().filter(|kind| !found.iter().any(|s| s.kind == **kind));
        wrong.extend(missing.map(|kind| Blocker::new(kind.clone(), format!("no such store keeps data on {}", probe.node))));
        Ok(if wrong.is_empty() { Verdict::Healthy(json!(found)) } else { Verdict::Unhealthy(wrong) })
    }
}
