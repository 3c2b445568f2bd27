//! 1, right machine: the node that was emptied = the host that answers = the system behind the BMC.
use super::Readings;
use crate::model::{
    Chain, Fault, FaultKind, Identity, NodeName, Relax,
    chain::{alone, chain},
};

/// What contradicts is never relaxed; what only cannot be read, by name.
pub fn judge(node: &NodeName, readings: &Readings) -> Result<Chain, Fault> {
    match closed(node, readings) {
        Err(fault) if fault.kind == FaultKind::Unable && readings.pins.relaxed.contains(&Relax::Identity) && readings.bmc.is_ok() => {
            Ok(Chain { closed_by: "relaxed by name".into(), evidence: vec![fault.to_string()] })
        }
        judged => judged,
    }
}

fn closed(node: &NodeName, readings: &Readings) -> Result<Chain, Fault> {
    let bmc = readings.bmc.as_ref().map_err(|f| failed(node, "the BMC", f))?;
    let mut witnesses: Vec<(&str, &Identity)> = Vec::new();
    for (cluster, view) in &readings.clusters {
        let view = view.as_ref().map_err(|f| failed(node, &format!("cluster {cluster}"), f))?;
        // Kind `none` has nothing to say; every other cluster has, and its silence is no agreement.
        if readings.pins.witnesses(cluster) {
            witnesses.push(("cluster", &view.identity));
        }
    }
    if let Some(host) = &readings.host {
        match (host, readings.host_word()) {
            (_, Some(word)) => witnesses.push(("host", &word.identity)),
            (Err(fault), None) => return Err(failed(node, "the host", fault)),
            (Ok(_), None) => {}
        }
    }
    witnesses.push(("BMC", &bmc.identity));
    if witnesses.len() == 1 && readings.pins.identity.is_none() && readings.pins.vouched.is_some() {
        return alone(&bmc.identity, &readings.pins.shared, None, &readings.pins.bmc_host).map_err(|f| Fault { what: format!("{node}: {}", f.what), ..f });
    }
    chain(&witnesses, &readings.pins.shared, readings.pins.identity.as_ref(), &readings.pins.bmc_host)
        .map_err(|f| Fault { what: format!("{node}: {}", f.what), ..f })
}

/// Keeps the kind: a witness that does not answer, or would not just now (429, 503), is a reason to wait; one that refuses us is not.
fn failed(node: &NodeName, who: &str, fault: &Fault) -> Fault {
    let kind = if matches!(fault.kind, FaultKind::Invalid | FaultKind::Unwilling) { FaultKind::Unknown } else { fault.kind };
    Fault {
        kind,
        what: format!("{node}: {who} cannot be read"),
        causes: vec![fault.to_string()],
        next: fault.next.clone(),
        credential: fault.credential.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        guards::{Pins, empty},
        model::{BmcView, ClusterName, HostView, NodeView, Power},
    };

    const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f4e3732";

    /// A cluster that says neither who the node is nor when it booted.
    fn silent() -> (ClusterName, Result<NodeView, Fault>) {
        let view = serde_json::from_value(serde_json::json!({
            "identity": {}, "boot": null, "ready": true, "enabled": false, "in_maintenance": true, "workloads": []
        }));
        (ClusterName("edge".into()), Ok(view.unwrap()))
    }
    fn readings(clusterless: bool, host: bool) -> Readings {
        let identity = Identity { uuid: Some(UUID.into()), ..Identity::default() };
        Readings {
            read_at: tokio::time::Instant::now(),
            bmc: Ok(BmcView {
                protocol: "redfish".into(),
                endpoint: "https://bmc.example".into(),
                identity: identity.clone(),
                power: Power::On,
                verbs: vec![],
                reset_marker: None,
                boot_progress: None,
                product: None,
                warnings: vec![],
            }),
            clusters: vec![silent()],
            host: host.then(|| Ok(HostView { identity, ..HostView::default() })),
            carried_host: None,
            tasks: Ok(vec![]),
            started: vec![],
            pins: Pins { clusterless: clusterless.then(|| silent().0).into_iter().collect(), ..Pins::default() },
            moment: None,
        }
    }

    #[test]
    fn a_silent_cluster_is_no_agreement_unless_its_kind_has_nothing_to_say() {
        let node = NodeName("edge-01".into());
        // Host = BMC alone proves nothing of the node that was emptied: in a shifted inventory both are wrong together.
        let refused = judge(&node, &readings(false, true)).unwrap_err();
        assert_eq!(refused.kind, FaultKind::Unable, "{refused}");
        assert!(refused.to_string().contains("cluster"), "{refused}");
        judge(&node, &readings(true, true)).unwrap();
        // Vouching is for clusterless machines: it does not speak for a cluster that says nothing.
        let vouched = |clusterless| {
            let mut r = readings(clusterless, false);
            r.pins.vouched = Some("spare".into());
            r
        };
        assert!(judge(&node, &vouched(false)).is_err());
        judge(&node, &vouched(true)).unwrap();
    }

    #[test]
    fn a_witness_that_is_busy_is_waited_for_and_one_that_refuses_us_is_not() {
        let node = NodeName("edge-01".into());
        for (said, judged) in [
            (FaultKind::Unwilling, FaultKind::Unknown),
            (FaultKind::Unreachable, FaultKind::Unreachable),
            (FaultKind::Unknown, FaultKind::Unknown),
            (FaultKind::Denied, FaultKind::Denied),
        ] {
            let mut r = readings(false, true);
            r.clusters[0].1 = Err(Fault::new(said, "HTTP 429"));
            assert_eq!(judge(&node, &r).unwrap_err().kind, judged);
            let mut r = readings(true, true);
            r.bmc = Err(Fault::new(said, "HTTP 503"));
            assert_eq!(judge(&node, &r).unwrap_err().kind, judged);
        }
    }

    #[test]
    fn inv_01_unreadable_may_be_relaxed_by_name_and_a_contradiction_never() {
        let node = NodeName("edge-01".into());
        let relaxed = |mut r: Readings| {
            r.pins.relaxed = [Relax::Identity].into();
            r
        };
        // The cluster does not say who its node is.
        assert_eq!(judge(&node, &readings(false, true)).unwrap_err().kind, FaultKind::Unable);
        assert_eq!(judge(&node, &relaxed(readings(false, true))).unwrap().closed_by, "relaxed by name");
        let mut swapped = relaxed(readings(false, true));
        swapped.host = Some(Ok(HostView { identity: Identity { uuid: Some(UUID.replace('4', "5")), ..Identity::default() }, ..HostView::default() }));
        assert_eq!(judge(&node, &swapped).unwrap_err().kind, FaultKind::Unwilling);
        let mut silent = relaxed(readings(false, true));
        silent.bmc = Err(Fault::new(FaultKind::Unknown, "no answer"));
        assert!(judge(&node, &silent).is_err(), "whose power it is must be said by somebody");
    }

    #[test]
    fn only_a_cluster_that_schedules_witnesses_emptiness() {
        let node = NodeName("edge-01".into());
        empty::judge(&node, &readings(false, false)).unwrap();
        let refused = empty::judge(&node, &readings(true, false)).unwrap_err();
        assert!(refused.what.contains("nothing can witness"), "{refused}");
    }
}
