//! 2, empty machine: proven by looking at what runs there; a flag or an accepted request proves nothing.
use super::Readings;
use crate::model::{ClusterName, Fault, FaultKind, HostView, NodeName, NodeView, matches_word};

pub fn judge(node: &NodeName, readings: &Readings) -> Result<(), Fault> {
    let mut witnessed = false;
    for (cluster, view) in &readings.clusters {
        let view = view.as_ref().map_err(|f| Fault { what: format!("{node}: cluster {cluster} cannot say what runs there: {}", f.what), ..f.clone() })?;
        if let Some(first) = view.workloads.first() {
            let more = if view.workloads.len() > 1 { format!(" and {} more", view.workloads.len() - 1) } else { String::new() };
            return Err(refused(format!("{node} is not empty: {} {}{more} in cluster {cluster}", first.kind, first.name)));
        }
        if !view.in_maintenance {
            return Err(refused(format!("{node} takes new work in cluster {cluster}")));
        }
        witnessed |= readings.pins.witnesses(cluster);
    }
    match (&readings.host, readings.host_word()) {
        (None, _) => {}
        (Some(_), Some(host)) => {
            witnessed = true;
            // The second witness: where it and the cluster disagree nobody knows what would be lost.
            if let Some(guest) = host.guests.first() {
                return Err(refused(format!("{node}: the host still runs {guest}, the cluster says that the node is empty"))
                    .next(format!("look at {node} before anything else: pitstop release cannot settle this")));
            }
            let unknown = strays(host, &readings.clusters, &readings.pins.containers);
            if let Some(stray) = unknown.first() {
                // A pod that the cluster has just forgotten may be ending; whatever else runs there will not end by itself.
                let kind = if unknown.iter().all(|s| s.starts_with("pod ")) { FaultKind::Unknown } else { FaultKind::Unwilling };
                let more = if unknown.len() > 1 { format!(" and {} more", unknown.len() - 1) } else { String::new() };
                let what = format!("{node}: the host still runs {stray}{more}, which no cluster knows");
                return Err(Fault::new(kind, what).next(named(node, stray)));
            }
            if let Some(person) = host.people.first() {
                return Err(refused(format!("{node}: {person} is logged in")).next("ask them to leave, or to finish"));
            }
        }
        (Some(Err(fault)), None) => return Err(Fault { what: format!("{node}: the host cannot say what runs there: {}", fault.what), ..fault.clone() }),
        (Some(Ok(_)), None) => {}
    }
    if witnessed || readings.pins.vouched.is_some() {
        return Ok(());
    }
    Err(refused(format!("nothing can witness that {node} is empty: no cluster, no host"))
        .next("name its host in the inventory, or vouch for the cluster: vouched = \"…\""))
}

/// Containers beyond the known ones: what a cluster lists there, to leave or to stay, and what the inventory names.
pub fn strays(host: &HostView, clusters: &[(ClusterName, Result<NodeView, Fault>)], named: &[String]) -> Vec<String> {
    let views = || clusters.iter().filter_map(|(_, view)| view.as_ref().ok());
    let listed = |pod: &str| views().any(|v| v.here.stays.iter().any(|s| s == pod) || v.workloads.iter().any(|w| w.name == pod));
    // A launcher pod carries a VM, and is listed as that.
    let carries = |pod: &str| views().flat_map(|v| &v.workloads).filter(|w| w.kind == "vm").any(|w| launcher_of(pod, &w.name));
    let known = |container: &&String| {
        let (kind, name) = container.split_once(' ').unwrap_or(("", container.as_str()));
        kind == "pod" && (listed(name) || carries(name)) || named.iter().any(|pattern| matches_word(pattern, name))
    };
    host.containers.iter().filter(|container| !known(container)).cloned().collect()
}
fn launcher_of(pod: &str, vm: &str) -> bool {
    let (pod, vm) = (pod.split_once('/'), vm.split_once('/'));
    pod.zip(vm).is_some_and(|((a, pod), (b, vm))| a == b && pod.starts_with("virt-launcher-") && pod.contains(vm))
}
pub fn named(node: &NodeName, stray: &str) -> String {
    let name = stray.split_once(' ').map_or(stray, |(_, name)| name);
    format!("look at {node} before anything else; if it belongs to the machine, name it in the inventory: known_containers = [\"{name}\"]")
}

fn refused(what: String) -> Fault {
    Fault::new(FaultKind::Unwilling, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Here, Workload};

    #[test]
    fn inv_02_only_what_a_cluster_lists_or_the_inventory_names_is_known() {
        let text = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let host = HostView {
            containers: text(&[
                "pod kube-system/cni-1",
                "pod shop/cart-1",
                "pod vms/virt-launcher-db-x7",
                "pod shop/ghost-1",
                "container postgres",
                "container ceph-osd-3",
            ]),
            ..HostView::default()
        };
        let work = |kind: &str, name: &str| Workload { kind: kind.into(), name: name.into(), leaving: false, stuck: None };
        let mut view = view();
        view.here.stays = text(&["kube-system/cni-1"]);
        view.workloads = vec![work("pod", "shop/cart-1"), work("vm", "vms/db")];
        let edge = |view: &NodeView| [(ClusterName("edge".into()), Ok(view.clone()))];
        assert_eq!(strays(&host, &edge(&view), &[]), ["pod shop/ghost-1", "container postgres", "container ceph-osd-3"]);
        assert_eq!(strays(&host, &edge(&view), &text(&["ceph-*", "postgres"])), ["pod shop/ghost-1"]);
        assert_eq!(strays(&host, &[], &[]).len(), 6, "without a cluster nobody knows any of them");
        assert!(strays(&HostView::default(), &edge(&view), &[]).is_empty());
        assert!(named(&NodeName("edge-02".into()), "container postgres").contains("known_containers = [\"postgres\"]"));
    }

    fn view() -> NodeView {
        NodeView {
            here: Here::default(),
            identity: Default::default(),
            boot: None,
            ready: true,
            not_ready: vec![],
            enabled: false,
            in_maintenance: true,
            marked_by: None,
            workloads: vec![],
            fixed: 0,
            moves: vec![],
            blockers: vec![],
            impossible: vec![],
            notes: vec![],
        }
    }
}
