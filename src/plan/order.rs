//! Who goes when: canaries first, then wave by wave, and last what carries something the run itself needs.
use super::{Input, Limits, NodeInput, Refusal};
use crate::model::{Fault, FaultKind, NodeName};
use std::collections::{BTreeMap, BTreeSet};

/// Every selected node has each label of `within`: without it nobody knows with whom it may be out.
pub fn labelled(input: &Input<'_>) -> Vec<Refusal> {
    let limits = &input.playbook.limits;
    let missing = |label: &String| {
        let without: Vec<&str> = input.nodes.iter().filter(|(_, n)| !n.labels.contains_key(label)).map(|(name, _)| name.0.as_str()).collect();
        (!without.is_empty()).then(|| {
            let fault = Fault::new(FaultKind::Invalid, format!("within = [\"{label}\"]: no label {label} on {}", without.join(", ")));
            Refusal(fault.next(format!("give them a label {label} in the inventory, or leave them out of the selection")))
        })
    };
    limits.within.iter().filter_map(missing).collect()
}

/// The wave of each node, from 1. Nodes that may not be out at one time are never in one wave.
pub fn waves(nodes: &BTreeMap<NodeName, &NodeInput>, last: &BTreeSet<NodeName>, limits: &Limits) -> BTreeMap<NodeName, u32> {
    let group = |node: &NodeInput| limits.within.iter().map(|label| node.labels.get(label).cloned()).collect::<Vec<_>>();
    let mut order: Vec<_> = nodes.iter().map(|(name, node)| ((last.contains(name), group(node)), name)).collect();
    order.sort();
    let canaries = limits.canary as usize;
    let mut wave = 0;
    let mut last = None;
    let mut waves = BTreeMap::new();
    for (i, (group, name)) in order.into_iter().enumerate() {
        if i <= canaries || last.as_ref() != Some(&group) {
            wave += 1;
        }
        last = Some(group);
        waves.insert(name.clone(), wave);
    }
    waves
}
