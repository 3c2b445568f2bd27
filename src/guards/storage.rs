//! 14, storage bears it: every store that keeps data on the node says that it survives without it, and nothing rebuilds.
use crate::model::{ClusterName, DataStore, Fault, FaultKind, HostView, NodeName};

/// What each cluster says of the stores it knows there.
pub type Stores = [(ClusterName, Result<Vec<DataStore>, Fault>)];

pub fn judge(node: &NodeName, stores: &Stores, host: Option<&HostView>) -> Result<(), Fault> {
    for (cluster, said) in stores {
        if let Err(fault) = said {
            let kind = if fault.kind == FaultKind::Invalid { FaultKind::Unknown } else { fault.kind };
            let what = format!("{node}: cluster {cluster} cannot say whether its stores bear losing the node");
            return Err(Fault {
                kind,
                what,
                causes: vec![fault.to_string()],
                next: fault.next.clone().or(Some(format!("pitstop node {node}"))),
                credential: fault.credential.clone(),
            });
        }
    }
    if let Some(store) = seen(stores, host).into_iter().find(|s| !s.bears_it()) {
        let (word, why) = match store.refuses.is_empty() {
            true => ("rebuilds", &store.rebuilding),
            false => ("does not bear losing", &store.refuses),
        };
        let tail = if word == "rebuilds" { String::new() } else { format!(" {node}") };
        let fault = Fault::new(FaultKind::Unwilling, format!("{node}: {} {} {word}{tail}", store.kind, store.name));
        return Err(why.iter().fold(fault, Fault::cause).next(format!("wait until it is redundant, then pitstop node {node}")));
    }
    match ungated(stores, host).first() {
        None => Ok(()),
        Some(kind) => {
            let what = format!("{node} keeps data of {kind}, and no gate can say whether that bears losing the node");
            Err(Fault::new(FaultKind::Unable, what)
                .next(format!("name the cluster that runs {kind} in the inventory, or say --unsafe storage for this node once")))
        }
    }
}

/// Nothing stands against it but a rebuild, which ends by itself: worth waiting for.
pub fn only_rebuilds(stores: &Stores, host: Option<&HostView>) -> bool {
    let seen = seen(stores, host);
    stores.iter().all(|(_, said)| said.is_ok())
        && ungated(stores, host).is_empty()
        && seen.iter().all(|s| s.refuses.is_empty())
        && seen.iter().any(|s| !s.rebuilding.is_empty())
}

/// Every store that anybody sees on the node.
pub fn seen<'a>(stores: &'a Stores, host: Option<&'a HostView>) -> Vec<&'a DataStore> {
    let told = stores.iter().filter_map(|(_, said)| said.as_ref().ok()).flatten();
    told.chain(host.into_iter().flat_map(|h| &h.arrays)).collect()
}

/// Daemons of a distributed store that the host sees, and that no cluster speaks for.
pub fn ungated(stores: &Stores, host: Option<&HostView>) -> Vec<String> {
    let covered = |kind: &str| stores.iter().filter_map(|(_, said)| said.as_ref().ok()).flatten().any(|s| s.kind == kind);
    host.into_iter().flat_map(|h| &h.keeps).filter(|kind| !covered(kind)).cloned().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn inv_14_a_store_that_refuses_rebuilds_or_has_no_gate_stops_power() {
        let node = NodeName("edge-02".into());
        let store = |kind: &str, refuses: &[&str], rebuilding: &[&str]| DataStore {
            kind: kind.into(),
            name: "one".into(),
            refuses: refuses.iter().map(ToString::to_string).collect(),
            rebuilding: rebuilding.iter().map(ToString::to_string).collect(),
        };
        let of = |store: DataStore| [(ClusterName("edge".into()), Ok(vec![store]))];
        judge(&node, &[], None).unwrap();
        judge(&node, &of(store("ceph", &[], &[])), None).unwrap();
        let refused = judge(&node, &of(store("ceph", &["osd.3 is not ok to stop"], &[])), None).unwrap_err();
        assert!(refused.to_string().contains("ceph one does not bear losing edge-02: osd.3"), "{refused}");
        assert!(judge(&node, &of(store("vsan", &[], &["tier 1: 12 %"])), None).unwrap_err().to_string().contains("rebuilds: tier 1"));
        let host = HostView { keeps: vec!["ceph".into()], ..HostView::default() };
        assert!(judge(&node, &[], Some(&host)).unwrap_err().what.contains("keeps data of ceph, and no gate"));
        judge(&node, &of(store("ceph", &[], &[])), Some(&host)).unwrap();
        let host = HostView { arrays: vec![store("mdraid", &[], &["recovery 12 %"])], ..HostView::default() };
        assert!(judge(&node, &[], Some(&host)).unwrap_err().what.contains("mdraid one rebuilds"));
        let silent = [(ClusterName("edge".into()), Err(Fault::new(FaultKind::Unreachable, "no answer")))];
        assert_eq!(judge(&node, &silent, None).unwrap_err().kind, FaultKind::Unreachable, "silence is no consent");
    }
}
