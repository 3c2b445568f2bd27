//! 2, empty machine: proven by looking at what runs there; a flag or an accepted request proves nothing.
use super::Readings;
use crate::model::{Fault, FaultKind, NodeName};

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

fn refused(what: String) -> Fault {
    Fault::new(FaultKind::Unwilling, what)
}
