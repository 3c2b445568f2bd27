//! 1, right machine: the node that was emptied = the host that answers = the system behind the BMC.
use super::Readings;
use crate::model::{
    Chain, Fault, FaultKind, Identity, NodeName,
    chain::{alone, chain},
};

pub fn judge(node: &NodeName, readings: &Readings) -> Result<Chain, Fault> {
    let bmc = readings.bmc.as_ref().map_err(|f| failed(node, "the BMC", f))?;
    let mut witnesses: Vec<(&str, &Identity)> = Vec::new();
    for (cluster, view) in &readings.clusters {
        let view = view.as_ref().map_err(|f| failed(node, &format!("cluster {cluster}"), f))?;
        // Kind `none` has nothing to say; every other cluster has, and its silence is no agreement.
        if view.witnesses() {
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

/// Keeps the kind: a witness that does not answer is a reason to wait, one that refuses us is not.
fn failed(node: &NodeName, who: &str, fault: &Fault) -> Fault {
    let kind = if fault.kind == FaultKind::Invalid { FaultKind::Unknown } else { fault.kind };
    Fault { kind, what: format!("{node}: {who} cannot be read"), causes: vec![fault.to_string()], next: fault.next.clone() }
}
