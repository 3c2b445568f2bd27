//! Cluster `none`: machines that no cluster schedules onto.
use super::{Ask, Cluster, ClusterConfig, Reached};
use crate::{
    kinds,
    model::{Act, Connect, Fault, FaultKind, Here, Identity, LeaseAnswer, Loan, Member, NodeView, Repeat},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// In words, why nothing needs to witness that these machines are empty: `spare nodes, nothing runs here`. Printed by plan and report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<String>,
}

impl kinds::Config<dyn ClusterConfig> for Config {
    const NAME: &'static str = "none";
    const ABOUT: &'static str = "machines without a cluster";
    fn validate(&self) -> Result<(), String> {
        match &self.vouched {
            Some(words) if words.trim().is_empty() => Err("`vouched` is empty: say in words why these machines are known to be empty".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn ClusterConfig> {
        Box::new(self)
    }
}

impl ClusterConfig for Config {
    fn connect(&self, _: &Connect) -> Result<Arc<dyn Cluster>, Fault> {
        Ok(Arc::new(NoCluster))
    }
    fn vouched(&self) -> Option<&str> {
        self.vouched.as_deref()
    }
}

/// Knows nothing and changes nothing: identity, boot and emptiness have to be proven by the host, the BMC and the checks.
struct NoCluster;

#[async_trait]
impl Cluster for NoCluster {
    async fn probe(&self) -> Result<Reached, Fault> {
        Ok(Reached { what: "no cluster".into(), lease: false, missing_rights: Vec::new(), warnings: Vec::new() })
    }
    async fn members(&self) -> Result<Vec<Member>, Fault> {
        Ok(Vec::new())
    }
    async fn look(&self, _: &str, _: &Ask) -> Result<NodeView, Fault> {
        Ok(NodeView {
            here: Here::default(),
            identity: Identity::default(),
            boot: None,
            ready: true,
            not_ready: Vec::new(),
            // Both at once: nothing places work here, so there is nothing to enter and nothing to leave.
            enabled: true,
            in_maintenance: true,
            marked_by: None,
            workloads: Vec::new(),
            fixed: 0,
            moves: Vec::new(),
            blockers: Vec::new(),
            impossible: Vec::new(),
            notes: Vec::new(),
        })
    }
    async fn act(&self, node: &str, act: &Act, _: &Ask) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unable, format!("{node} is in no cluster: `{}` means nothing here", act.what)))
    }
    fn give_back(&self, _: &str, loan: &Loan) -> Act {
        Act::new(&*loan.to, &*loan.owed, Repeat::Freely)
    }
    /// It never lent anything, so nothing of it can be owed.
    async fn is_paid(&self, _: &str, _: &Loan) -> Result<bool, Fault> {
        Ok(true)
    }
    async fn lease(&self, _: &str, _: Duration) -> Result<LeaseAnswer, Fault> {
        Ok(LeaseAnswer::Unsupported)
    }
    async fn lease_holder(&self) -> Result<LeaseAnswer, Fault> {
        Ok(LeaseAnswer::Unsupported)
    }
    async fn drop_lease(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kinds::Config as _, model::LoanId};

    #[tokio::test]
    async fn it_offers_nothing_and_refuses_every_act() {
        let ask = Ask::default();
        let view = NoCluster.look("spare-01", &ask).await.unwrap();
        assert!(view.moves.is_empty() && view.workloads.is_empty() && view.in_maintenance && view.enabled && view.identity.is_empty() && view.boot.is_none());
        assert_eq!(NoCluster.act("spare-01", &Act::new("cluster", "cordon spare-01", Repeat::Freely), &ask).await.unwrap_err().kind, FaultKind::Unable);
        let loan = Loan { id: LoanId("x".into()), to: "cluster".into(), owed: "x".into(), before: serde_json::Value::Null, first: false };
        assert_eq!(NoCluster.is_paid("spare-01", &loan).await, Ok(true));
        assert_eq!(NoCluster.lease("me", Duration::from_secs(1)).await, Ok(LeaseAnswer::Unsupported));
    }

    #[test]
    fn it_vouches_only_in_words() {
        assert!(Config { vouched: Some("  ".into()) }.validate().is_err());
        let config = Config { vouched: Some("spare nodes, nothing runs here".into()) };
        assert_eq!(config.vouched(), Some("spare nodes, nothing runs here"));
        assert_eq!(Config { vouched: None }.vouched(), None);
    }
}
