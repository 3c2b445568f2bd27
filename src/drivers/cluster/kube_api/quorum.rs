//! May a control-plane node go? Only if the members of etcd that stay are a majority of all.
use super::{Api, KubeNode, NODES, budgets};
use crate::model::{Blocker, Fault};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::BTreeSet;

#[derive(Debug, Default, PartialEq)]
pub struct Quorum {
    /// It can never go: there are too few of its kind.
    pub never: Option<Blocker>,
    /// Not now: another one is not well.
    pub not_now: Option<Blocker>,
}

const ETCD: &str = "node-role.kubernetes.io/etcd";
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
const OPENSHIFT: &str = "openshift-etcd";

fn controls(node: &KubeNode) -> bool {
    CONTROL_PLANE.iter().any(|key| node.label(key).is_some())
}

fn is_etcd(pod: &Pod) -> bool {
    let label = |key: &str| pod.metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    label("component") == Some("etcd") && label("tier") == Some("control-plane")
}

fn pod_ready(pod: &Pod) -> bool {
    pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True")
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// `here`: what runs on the node. `outage`: the operator accepts that a single control plane is gone for a while.
pub async fn quorum(api: &Api, node: &KubeNode, here: &[Pod], outage: bool) -> Result<Quorum, Fault> {
    let stacked = here.iter().any(is_etcd);
    if !controls(node) && node.label(ETCD).is_none() && !stacked {
        return Ok(Quorum::default());
    }
    if controls(node) && api.has_group("config.openshift.io").await? {
        return openshift(api, node).await;
    }
    let (nodes, _) = api.list::<Node>("list nodes", NODES, None).await?;
    let nodes: Vec<KubeNode> = nodes.into_iter().map(KubeNode).collect();
    let (what, members): (&str, Vec<(String, bool)>) = if node.label(ETCD).is_some() {
        // k3s and RKE2 say so on the node itself.
        let members = nodes.iter().filter(|n| n.label(ETCD).is_some());
        ("etcd member", members.map(|n| (n.name().to_owned(), well(n) && n.condition("EtcdIsVoter").is_none_or(|s| s == "True"))).collect())
    } else if stacked {
        let selector = "component=etcd,tier=control-plane";
        let (pods, _) = api.select::<Pod>("list the members of etcd", "/api/v1/namespaces/kube-system/pods", selector).await?;
        // A member that is dead may have no pod, but its node still has its role.
        let with_pod = pods.iter().filter_map(node_of).map(str::to_owned);
        let names: BTreeSet<String> = with_pod.chain(nodes.iter().filter(|n| controls(n)).map(|n| n.name().to_owned())).collect();
        let fit = |name: &String| nodes.iter().any(|n| n.name() == name && well(n)) && pods.iter().any(|p| node_of(p) == Some(name) && pod_ready(p));
        ("etcd member", names.into_iter().map(|name| (name.clone(), fit(&name))).collect())
    } else {
        // etcd is elsewhere: what counts is that an API server stays.
        let (mut only, mut others) = (Quorum::default(), nodes.iter().filter(|n| controls(n) && n.name() != node.name()));
        if !others.any(well) && !outage {
            let why = "no other control-plane node is Ready; `allow_control_plane_outage = true` in the cluster's table accepts that nothing answers meanwhile";
            only.never = Some(Blocker::new(format!("control plane of {}", node.name()), why));
        }
        return Ok(only);
    };
    Ok(judge(what, node.name(), &members, outage))
}

fn well(node: &KubeNode) -> bool {
    node.not_ready().is_none()
}

fn judge(what: &str, node: &str, members: &[(String, bool)], outage: bool) -> Quorum {
    let (all, needed) = (members.len(), members.len() / 2 + 1);
    let stay = members.iter().filter(|(name, well)| name != node && *well).count();
    let object = format!("{what} {node}");
    match all {
        0 | 1 if outage => Quorum::default(),
        0 | 1 => {
            let why = "it is the only one: without it the cluster stands still; `allow_control_plane_outage = true` in the cluster's table accepts that";
            Quorum { never: Some(Blocker::new(object, why)), not_now: None }
        }
        2 => Quorum { never: Some(Blocker::new(object, "it is one of two: neither may go, the other is no majority; add a third")), not_now: None },
        _ if stay >= needed => Quorum::default(),
        _ => {
            let sick: Vec<&str> = members.iter().filter(|(name, well)| name != node && !well).map(|(name, _)| name.as_str()).collect();
            let why = format!("{stay} of {all} members would stay well, {needed} are needed; get {} well first", sick.join(", "));
            Quorum { never: None, not_now: Some(Blocker::new(object, why)) }
        }
    }
}

/// Its operator keeps exactly one budget there: what it allows is what etcd bears.
async fn openshift(api: &Api, node: &KubeNode) -> Result<Quorum, Fault> {
    let guards: Vec<_> = budgets(api).await?.into_iter().filter(|b| b.namespace == OPENSHIFT).collect();
    let object = format!("etcd member {}", node.name());
    let not_now = match guards.as_slice() {
        [guard] if guard.allowed >= 1 => None,
        [guard] => Some(format!("{}; wait until the etcd ClusterOperator is no longer degraded", guard.state())),
        guards => Some(format!("namespace {OPENSHIFT} has {} PodDisruptionBudgets, not one: whether etcd bears it cannot be told", guards.len())),
    };
    Ok(Quorum { never: None, not_now: not_now.map(|why| Blocker::new(object, why)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_must_stay() {
        let members = |well: &[bool]| -> Vec<(String, bool)> { well.iter().enumerate().map(|(i, w)| (format!("n{i}"), *w)).collect() };
        let judge = |well: &[bool], outage| judge("etcd member", "n0", &members(well), outage);
        assert!(judge(&[true], false).never.is_some() && judge(&[true], true) == Quorum::default());
        assert!(judge(&[true, true], false).never.is_some() && judge(&[true, true], true).never.is_some());
        assert_eq!(judge(&[true, true, true], false), Quorum::default());
        // It is not asked how the one that goes is.
        assert_eq!(judge(&[false, true, true], false), Quorum::default());
        let sick = judge(&[true, true, false], false).not_now.unwrap();
        assert_eq!(sick.to_string(), "etcd member n0: 1 of 3 members would stay well, 2 are needed; get n2 well first");
        assert_eq!(judge(&[true, true, true, false, true], false), Quorum::default());
        assert!(judge(&[true, true, true, false], false).not_now.is_some(), "four bear no more than three");
    }
}
