//! The workload cluster's own word, where the inventory gives its kubeconfig: is the node really cordoned, and what still runs there?
use super::super::kube_api::{Access, Api, KubeNode, NODES, Policy, classify, list_pods, pod_name, stuck};
use super::rows::Machine;
use crate::model::{Boot, Connect, Fault, FaultKind, Identity, Workload};
use k8s_openapi::api::core::v1::Node;

pub struct Witness(Api);

/// One node, as Kubernetes sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kube {
    pub cordoned: bool,
    pub not_ready: Option<String>,
    pub identity: Identity,
    pub boot: Option<Boot>,
    pub workloads: Vec<Workload>,
    pub fixed: usize,
    pub notes: Vec<String>,
}

impl Witness {
    pub fn new(access: Access, cx: &Connect) -> Result<Witness, Fault> {
        Ok(Witness(Api::new(access, cx)?))
    }

    pub async fn look(&self, machine: &Machine) -> Result<Kube, Fault> {
        let node = self.node(machine).await?;
        let (pods, now) = list_pods(&self.0, node.name()).await?;
        // It is Palette that drains, in a way of its own: here it only counts what is left.
        let left = classify(&pods, Policy { delete_emptydir_data: true, force: true });
        let workload = |pod: &&k8s_openapi::api::core::v1::Pod| Workload {
            kind: "pod".into(),
            name: pod_name(pod),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            stuck: stuck(pod, &[], now),
        };
        Ok(Kube {
            cordoned: node.unschedulable(),
            not_ready: node.not_ready().map(|(why, _)| why),
            identity: node.identity(),
            boot: node.boot(),
            workloads: left.must.iter().map(workload).collect(),
            fixed: left.fixed,
            notes: left.notes,
        })
    }

    /// How a machine's name becomes a node's differs from cloud to cloud: by its own name, its host's, else by its address.
    async fn node(&self, machine: &Machine) -> Result<KubeNode, Fault> {
        for name in machine.names() {
            if let Some((node, _)) = KubeNode::read(&self.0, name).await? {
                return Ok(node);
            }
        }
        let (nodes, _) = self.0.list::<Node>("list nodes", NODES, None).await?;
        let addresses = |n: &Node| n.status.iter().flat_map(|s| s.addresses.iter().flatten()).map(|a| a.address.clone()).collect::<Vec<_>>();
        let mut found = nodes.into_iter().filter(|n| addresses(n).iter().any(|a| machine.addresses.contains(a)));
        match (found.next(), found.next()) {
            (Some(node), None) => Ok(KubeNode(node)),
            (None, _) => Err(Fault::new(FaultKind::Unable, format!("the workload cluster has no node for machine {}", machine.name)).cause(format!(
                "neither named {} nor at {}",
                machine.names().collect::<Vec<_>>().join(" or "),
                machine.addresses.join(", ")
            ))),
            (Some(_), Some(_)) => Err(Fault::new(FaultKind::Invalid, format!("the workload cluster has several nodes at {}", machine.addresses.join(", ")))),
        }
    }
}
