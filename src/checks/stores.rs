//! Check `stores`: what keeps data on the node, as its clusters know it (Rook, Longhorn, …), bears losing the node, and nothing rebuilds.
use super::{Check, Probe, Verdict, tool};
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
        Ok(tool::verdict(wrong, json!(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::{
        drivers::{
            cluster::{Ask, Cluster, Reached},
            net,
        },
        model::{Act, DataStore, LeaseAnswer, Loan, Member, NodeName, NodeView},
    };
    use std::{sync::Arc, time::Duration};

    /// Asked for its stores, and for nothing else.
    struct Fake(Result<Vec<DataStore>, Fault>);
    #[async_trait]
    impl Cluster for Fake {
        async fn stores(&self, node: &str) -> Result<Vec<DataStore>, Fault> {
            assert_eq!(node, "edge-01.k8s", "by its name in the cluster");
            self.0.clone()
        }
        async fn probe(&self) -> Result<Reached, Fault> {
            unreachable!()
        }
        async fn members(&self) -> Result<Vec<Member>, Fault> {
            unreachable!()
        }
        async fn look(&self, _: &str, _: &Ask) -> Result<NodeView, Fault> {
            unreachable!()
        }
        async fn act(&self, _: &str, _: &Act, _: &Ask) -> Result<(), Fault> {
            unreachable!()
        }
        fn give_back(&self, _: &str, _: &Loan) -> Act {
            unreachable!()
        }
        async fn is_paid(&self, _: &str, _: &Loan) -> Result<bool, Fault> {
            unreachable!()
        }
        async fn lease(&self, _: &str, _: Duration) -> Result<LeaseAnswer, Fault> {
            unreachable!()
        }
        async fn lease_holder(&self) -> Result<LeaseAnswer, Fault> {
            unreachable!()
        }
        async fn drop_lease(&self, _: &str) -> Result<(), Fault> {
            unreachable!()
        }
    }

    async fn look(expect: &[&str], says: Vec<Result<Vec<DataStore>, Fault>>) -> Result<Verdict, Fault> {
        let clusters: Vec<(String, Arc<dyn Cluster>)> =
            says.into_iter().map(|said| ("edge-01.k8s".to_owned(), Arc::new(Fake(said)) as Arc<dyn Cluster>)).collect();
        let net = net::fake::Canned { http: Err(Fault::new(FaultKind::Unable, "no")), tcp: Ok(()) };
        let config = Config { expect: expect.iter().map(|kind| kind.to_string()).collect() };
        config.look(&Probe { clusters: &clusters, ..Probe::of(&NodeName("edge-01".into()), None, &net) }).await
    }
    fn store(kind: &str, refuses: &[&str], rebuilding: &[&str]) -> DataStore {
        let own = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
        DataStore { kind: kind.into(), name: format!("{kind}-system"), refuses: own(refuses), rebuilding: own(rebuilding) }
    }

    #[tokio::test]
    async fn redundant_stores_are_healthy_and_the_others_named() {
        let whole = || Ok(vec![store("ceph", &[], &[])]);
        assert_eq!(well(look(&["ceph"], vec![whole()]).await)[0]["kind"], "ceph");
        well(look(&[], vec![Ok(vec![])]).await);
        let ill = Ok(vec![store("longhorn", &["volume pvc-1 has its only replica here"], &["volume pvc-2: 40 %"])]);
        let named = wrong(look(&[], vec![whole(), ill]).await);
        assert_eq!(named, ["longhorn longhorn-system: volume pvc-1 has its only replica here", "longhorn longhorn-system: volume pvc-2: 40 %"]);
    }
    #[tokio::test]
    async fn a_store_that_is_missing_and_a_cluster_that_cannot_say_are_never_healthy() {
        assert_eq!(wrong(look(&["ceph", "longhorn"], vec![Ok(vec![store("longhorn", &[], &[])])]).await), ["ceph: no such store keeps data on edge-01"]);
        assert_eq!(look(&[], vec![]).await.unwrap_err().kind, FaultKind::Unable, "in no cluster");
        for kind in [FaultKind::Unknown, FaultKind::Denied, FaultKind::Invalid] {
            let one_of_two = vec![Ok(vec![store("ceph", &[], &[])]), Err(Fault::new(kind, "no answer"))];
            assert_eq!(look(&["ceph"], one_of_two).await.unwrap_err().kind, kind, "half an answer");
        }
    }
}
