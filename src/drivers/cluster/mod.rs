//! A cluster system. To add one: write `<name>.rs` here, then the two lines marked below.
use crate::{
    kinds::Kind,
    model::{Act, Connect, DataStore, Fault, How, LeaseAnswer, Loan, Member, NodeView, RunId, Span, Unmovable},
};
use async_trait::async_trait;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub mod command;
mod https;
mod kube_api;
pub mod kubernetes;
pub mod node_maintenance;
pub mod none;
pub mod openvcloud;
pub mod palette;
mod pause;
pub mod vergeos;
// line 1 of a new cluster system: `pub mod <name>;`

pub const KINDS: &[Kind<dyn ClusterConfig>] = &[
    Kind::of::<kubernetes::Config>(),
    Kind::of::<node_maintenance::Config>(),
    Kind::of::<vergeos::Config>(),
    Kind::of::<palette::Config>(),
    Kind::of::<openvcloud::Config>(),
    Kind::of::<command::Config>(),
    Kind::of::<none::Config>(),
    // line 2: `Kind::of::<<name>::Config>(),`
];

pub trait ClusterConfig: Send + Sync + std::fmt::Debug {
    /// Reads files and makes clients; contacts nothing.
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Cluster>, Fault>;
    /// Why nothing needs to witness that a node of this cluster is empty: kind `none` only.
    fn vouched(&self) -> Option<&str> {
        None
    }
}

/// What a look or an act is for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// Earlier runs whose loans on this node this run has taken over: their marks are ours too.
    pub inherited: Vec<RunId>,
    /// Which run asks: written into marks, and how our own mark is told from a foreign one. None for check, plan and status.
    pub run: Option<RunId>,
    /// The operator's `--reason`, where the system has room for it.
    pub reason: Option<String>,
    pub unmovable: Unmovable,
    pub how: How,
    /// OpenvCloud, `how = "stop"`: the cloud spaces that may go dark, by name or number.
    pub cloudspaces: Vec<String>,
    /// Where single machines are to go, by name or number; these move first.
    pub place: BTreeMap<String, String>,
}
impl Ask {
    /// What the playbook's `evacuate` says, as the plan holds it.
    pub fn to_evacuate(self, said: &Value) -> Ask {
        let word = |key: &str| said.get(key).cloned().unwrap_or(Value::Null);
        Ask {
            unmovable: serde_json::from_value(word("unmovable")).unwrap_or_default(),
            how: serde_json::from_value(word("how")).unwrap_or_default(),
            cloudspaces: serde_json::from_value(word("cloudspaces")).unwrap_or_default(),
            place: serde_json::from_value(word("place")).unwrap_or_default(),
            ..self
        }
    }
}

pub struct Reached {
    /// `kubernetes v1.31.2 at https://192.0.2.1:6443`.
    pub what: String,
    /// Can it carry a lock that other operators see?
    pub lease: bool,
    /// Rights that this account lacks for the whole job, each in the system's words.
    pub missing_rights: Vec<String>,
    pub warnings: Vec<String>,
}

/// Level-triggered and stateless: `look` says how things stand and which acts would bring the node closer to empty; `act` does exactly one.
/// `node` is always the node's name in the cluster.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Reach, version, rights. Reads only.
    async fn probe(&self) -> Result<Reached, Fault>;
    /// Every node the cluster knows, in the inventory or not. Reads only.
    async fn members(&self) -> Result<Vec<Member>, Fault>;
    /// Reads only (server dry-runs are reads). `NodeView::moves` holds acts of this driver with `to` set to `cluster`.
    async fn look(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault>;
    /// One exchange.
    async fn act(&self, node: &str, act: &Act, ask: &Ask) -> Result<(), Fault>;
    /// Has it a way to empty a node by `evacuate.how = "stop"`?
    fn can_stop(&self) -> bool {
        false
    }
    /// How long an emptied node is left alone before its power may be touched: OpenvCloud's uptime monitor would act on what it last knew.
    fn settles_for(&self) -> Span {
        Span::default()
    }
    /// How long to leave it in peace between two looks at a node: longer where the system counts requests.
    fn look_every(&self) -> Span {
        Span::seconds(2)
    }
    /// The stores the cluster itself knows that keep data on this node (Rook, Longhorn, vSAN, ALBA), with their own word on losing it. Reads only.
    async fn stores(&self, _node: &str) -> Result<Vec<DataStore>, Fault> {
        Ok(Vec::new())
    }
    /// The URL of its API. None: it has none. Contacts nothing.
    async fn api(&self) -> Option<String> {
        None
    }
    /// Addresses on other nodes than this one where the same API may answer too. Reads only.
    async fn api_elsewhere(&self, _node: &str) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
    /// The act that tells the cluster that a node is off for good, so that its work starts elsewhere; with a loan called `fence`.
    /// None: this system cannot be told.
    fn fenced(&self, _node: &str) -> Option<Act> {
        None
    }
    /// What our marks on this node say is owed, without our store. None: this system has no room for marks. Reads only.
    async fn marked(&self, _node: &str) -> Result<Option<Vec<Loan>>, Fault> {
        Ok(None)
    }
    /// The act that pays back a loan this driver handed out in a move; `returns` is set by the caller.
    fn give_back(&self, node: &str, loan: &Loan) -> Act;
    /// Is the loan already paid, as the world stands (someone else uncordoned, we died after the write)? Reads only.
    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault>;
    /// Takes or renews the cluster's own lock for `owner`. A write: never called by check or plan.
    async fn lease(&self, owner: &str, ttl: Duration) -> Result<LeaseAnswer, Fault>;
    /// Who holds the lock now? Reads only.
    async fn lease_holder(&self) -> Result<LeaseAnswer, Fault>;
    async fn drop_lease(&self, owner: &str) -> Result<(), Fault>;
}
