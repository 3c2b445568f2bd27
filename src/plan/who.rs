//! Who a node is by the word of those that answer now, whatever is pinned: what `inventory trust` shows and pins.
use super::{Input, NodeInput, verdict::World};
use crate::model::{Chain, Fault, FaultKind, Identity, NodeName, NodeSurvey, Trust};
use std::collections::BTreeSet;

/// What it says of itself, and how its witnesses agree on it; `Err` within: they could not be compared, or contradict each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Who {
    pub identity: Identity,
    pub chain: Result<Chain, Fault>,
}

/// `Err`: its BMC said nothing, so nobody knows which machine loses power there.
pub fn who(input: &Input<'_>, name: &NodeName) -> Result<Who, Fault> {
    let world = World::of(input);
    let unread = || Fault::new(FaultKind::Unable, format!("{name} was not looked at"));
    let (node, seen) = (input.nodes.get(name).ok_or_else(unread)?, world.survey.nodes.get(name).ok_or_else(unread)?);
    let bare = NodeInput { trust: Trust { identity: None, ..node.trust.clone() }, relaxed: BTreeSet::new(), ..node.clone() };
    let chain = world.chain(seen, name, &bare, &mut Vec::new());
    let answered = seen.bmc.iter().find_map(|way| way.seen.as_ref().ok()).map(|view| &view.identity);
    let silent = || seen.bmc.iter().find_map(|way| way.seen.as_ref().err().cloned()).unwrap_or_else(unread);
    let bmc = answered.ok_or_else(silent)?.without(&world.shared_with(name));
    // The board by its BMC; the installation by whoever runs on it. What is no machine's own is pinned by nobody.
    let others: Vec<Identity> = others(seen).map(|i| i.without(&world.shared_with(name))).collect();
    let first =
        |of: fn(&Identity) -> Option<String>, key: fn(&Identity) -> Option<String>| [&bmc].into_iter().chain(&others).find(|i| key(i).is_some()).and_then(of);
    let identity = Identity {
        uuid: first(|i| i.uuid.clone(), Identity::uuid_key),
        serial: first(|i| i.serial.clone(), Identity::serial_key),
        machine_id: first(|i| i.machine_id.clone(), Identity::machine_id_key),
        ..Identity::default()
    };
    Ok(Who { identity, chain })
}

fn others(seen: &NodeSurvey) -> impl Iterator<Item = &Identity> {
    let host = seen.host.iter().filter_map(|h| h.as_ref().ok()).map(|h| &h.identity);
    host.chain(seen.clusters.iter().filter_map(|(_, view)| view.as_ref().ok()).map(|v| &v.identity))
}
