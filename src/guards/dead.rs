//! A dead node's own road (safety.md): its host is silent, its cluster calls it not ready, its BMC answers. Fenced, not evacuated.
use super::{Readings, branch, identity};
use crate::model::{Fault, FaultKind, NodeName, Power};

/// Pure. `Ok`: nobody can ask this machine to leave, and it is the one that is meant. A healthy node is refused.
pub fn judge(node: &NodeName, readings: &Readings) -> Result<(), Fault> {
    let refused = |what: String| Err(Fault::new(FaultKind::Unwilling, what).next(format!("it lives: pitstop run reboot {node}")));
    branch::judge(node, readings)?;
    match &readings.host {
        Some(Ok(host)) => return refused(format!("{node} is not dead: its host answers, up {:.0} s", host.uptime_s)),
        Some(Err(fault)) if !matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unknown) => {
            let what = format!("{node}: its host refuses us, which is not silence");
            return Err(Fault { what, causes: vec![fault.to_string()], ..fault.clone() });
        }
        _ => {}
    }
    let mut witnessed = false;
    for (cluster, view) in readings.clusters.iter().filter(|(c, _)| readings.pins.witnesses(c)) {
        let view = view.as_ref().map_err(|f| Fault { what: format!("{node}: cluster {cluster} cannot say how it is: {}", f.what), ..f.clone() })?;
        if view.ready {
            return refused(format!("{node} is not dead: cluster {cluster} calls it ready"));
        }
        witnessed = true;
    }
    if !witnessed {
        return Err(Fault::new(FaultKind::Unable, format!("{node}: no cluster can witness that it is dead")).next(format!("pitstop run power-cycle {node}")));
    }
    let bmc = readings.bmc.as_ref().map_err(|f| Fault { what: format!("{node}: its BMC does not answer: {}", f.what), ..f.clone() })?;
    if bmc.power == Power::Unknown {
        return Err(Fault::new(FaultKind::Unknown, format!("{node}: its BMC says neither On nor Off")));
    }
    // Its silence is what brought us here, and no contradiction.
    identity::judge(node, &Readings { host: None, carried_host: None, ..readings.clone() }).map(|_| ())
}
