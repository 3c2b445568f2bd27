//! 14, storage bears it: every store that keeps data on the node says that it survives without it, and nothing rebuilds.
use crate::model::{ClusterName, DataStore, Fault, FaultKind, HostView, NodeName, Raid};

/// What each cluster says of the stores it knows there.
pub type Stores = [(ClusterName, Result<Vec<DataStore>, Fault>)];

/// What BMC and host, each for itself, tell of hardware RAID.
#[derive(Debug, Clone, Default)]
pub struct Raids {
    /// None: it was not asked, or knows no storage.
    pub bmc: Option<Result<Raid, Fault>>,
    pub host: Option<Result<Raid, Fault>>,
}
impl Raids {
    fn volumes(&self) -> impl Iterator<Item = &DataStore> {
        [&self.bmc, &self.host].into_iter().flatten().filter_map(|said| said.as_ref().ok()).flat_map(|raid| &raid.volumes)
    }
    /// Controllers of which nobody can say how their volumes are.
    pub fn unread(&self) -> Vec<String> {
        let ok = |said: &Option<Result<Raid, Fault>>| said.as_ref().and_then(|s| s.as_ref().ok()).cloned().unwrap_or_default();
        let (bmc, host) = (ok(&self.bmc), ok(&self.host));
        match (bmc.told, host.told) {
            // Their own tool sees every one of them.
            (_, 1..) => Vec::new(),
            (1.., 0) => bmc.unread,
            (0, 0) => [bmc.unread, host.unread].concat(),
        }
    }
}

pub fn judge(node: &NodeName, stores: &Stores, host: Option<&HostView>, raids: &Raids) -> Result<(), Fault> {
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
    // A BMC that told before may tell again; where the host's own tool tells, nobody needs it.
    if let (Some(Err(fault)), false) = (&raids.bmc, raids.host.as_ref().is_some_and(|h| h.as_ref().is_ok_and(|raid| raid.told > 0))) {
        let what = format!("{node}: its BMC does not say how its RAID volumes are");
        return Err(Fault { what, causes: vec![fault.to_string()], ..fault.clone() });
    }
    if let Some(store) = seen(stores, host, raids).into_iter().find(|s| !s.bears_it()) {
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
pub fn only_rebuilds(stores: &Stores, host: Option<&HostView>, raids: &Raids) -> bool {
    let seen = seen(stores, host, raids);
    stores.iter().all(|(_, said)| said.is_ok())
        && ungated(stores, host).is_empty()
        && seen.iter().all(|s| s.refuses.is_empty())
        && seen.iter().any(|s| !s.rebuilding.is_empty())
}

/// Every store that anybody sees on the node.
pub fn seen<'a>(stores: &'a Stores, host: Option<&'a HostView>, raids: &'a Raids) -> Vec<&'a DataStore> {
    let told = stores.iter().filter_map(|(_, said)| said.as_ref().ok()).flatten();
    told.chain(host.into_iter().flat_map(|h| &h.arrays)).chain(raids.volumes()).collect()
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
        let none = Raids::default();
        judge(&node, &[], None, &none).unwrap();
        judge(&node, &of(store("ceph", &[], &[])), None, &none).unwrap();
        let refused = judge(&node, &of(store("ceph", &["osd.3 is not ok to stop"], &[])), None, &none).unwrap_err();
        assert!(refused.to_string().contains("ceph one does not bear losing edge-02: osd.3"), "{refused}");
        assert!(judge(&node, &of(store("vsan", &[], &["tier 1: 12 %"])), None, &none).unwrap_err().to_string().contains("rebuilds: tier 1"));
        let host = HostView { keeps: vec!["ceph".into()], ..HostView::default() };
        assert!(judge(&node, &[], Some(&host), &none).unwrap_err().what.contains("keeps data of ceph, and no gate"));
        judge(&node, &of(store("ceph", &[], &[])), Some(&host), &none).unwrap();
        let host = HostView { arrays: vec![store("mdraid", &[], &["recovery 12 %"])], ..HostView::default() };
        assert!(judge(&node, &[], Some(&host), &none).unwrap_err().what.contains("mdraid one rebuilds"));
        let silent = [(ClusterName("edge".into()), Err(Fault::new(FaultKind::Unreachable, "no answer")))];
        assert_eq!(judge(&node, &silent, None, &none).unwrap_err().kind, FaultKind::Unreachable, "silence is no consent");
    }

    #[test]
    fn inv_14_a_volume_of_a_raid_controller_that_is_not_well_stops_power() {
        let node = NodeName("edge-02".into());
        let told = |refuses: &[&str], rebuilding: &[&str]| {
            let text = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            let volume = DataStore { kind: "hardware raid".into(), name: "OS".into(), refuses: text(refuses), rebuilding: text(rebuilding) };
            Some(Ok(Raid { volumes: vec![volume], told: 1, unread: vec![] }))
        };
        let silent = || Some(Err(Fault::new(FaultKind::Unreachable, "no answer")));
        judge(&node, &[], None, &Raids { bmc: told(&[], &[]), host: None }).unwrap();
        for raids in [Raids { bmc: told(&["its health is Warning"], &[]), host: None }, Raids { bmc: None, host: told(&["it is degraded"], &[]) }] {
            assert!(judge(&node, &[], None, &raids).unwrap_err().what.contains("hardware raid OS does not bear losing edge-02"));
            assert!(!only_rebuilds(&[], None, &raids));
        }
        let rebuilds = Raids { bmc: told(&[], &["Rebuild 42 %"]), host: told(&[], &[]) };
        assert!(judge(&node, &[], None, &rebuilds).unwrap_err().to_string().contains("hardware raid OS rebuilds: Rebuild 42 %"));
        assert!(only_rebuilds(&[], None, &rebuilds));
        assert_eq!(judge(&node, &[], None, &Raids { bmc: silent(), host: None }).unwrap_err().kind, FaultKind::Unreachable, "silence is no consent");
        judge(&node, &[], None, &Raids { bmc: silent(), host: told(&[], &[]) }).unwrap();
        let unread = |told| Some(Ok(Raid { told, unread: vec!["RAID controller at 0000:3b:00.0".into()], ..Raid::default() }));
        assert_eq!(Raids { bmc: None, host: unread(0) }.unread().len(), 1);
        assert_eq!(Raids { bmc: told(&[], &[]), host: unread(0) }.unread().len(), 0);
        judge(&node, &[], None, &Raids { bmc: None, host: unread(0) }).unwrap();
    }
}
