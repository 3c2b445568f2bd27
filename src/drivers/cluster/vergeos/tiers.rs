//! The vSAN's tiers: whether they would bear the loss of a node. Pure.
use super::rows::{Node, Tier};
use crate::model::{Blocker, DataStore};

/// Why the tier would not bear the loss of a node. A status that says more than `online` and nothing of redundancy is not taken for redundant.
fn not_well(tier: &Tier) -> Option<String> {
    match (tier.status.as_str(), tier.redundant) {
        ("online" | "", Some(true)) => None,
        ("" | "online", Some(false)) => Some("not redundant".to_owned()),
        ("online" | "", None) => Some("does not say whether it is redundant".to_owned()),
        (status, _) => Some(status.to_owned()),
    }
}

/// Why the node may not be taken out now.
pub fn tiers_not_well(tiers: &Result<Vec<Tier>, String>) -> Vec<Blocker> {
    tiers.iter().flatten().filter_map(|tier| not_well(tier).map(|why| Blocker::new(format!("vSAN tier {}", tier.name), why))).collect()
}

/// What the tiers say about losing this node. Every tier of its cluster keeps a part of its data here.
pub fn stores(node: &Node, tiers: &Result<Vec<Tier>, String>) -> Vec<DataStore> {
    let store = |name: String, refuses: Vec<String>, rebuilding: Vec<String>| DataStore { kind: "vsan".into(), name, refuses, rebuilding };
    let tiers = match tiers {
        Ok(tiers) => tiers,
        Err(why) => return vec![store("tiers".into(), vec![format!("its redundancy cannot be read: {why}")], Vec::new())],
    };
    let here = tiers.iter().filter(|t| t.cluster.is_none() || node.cluster.is_none() || t.cluster == node.cluster);
    here.map(|tier| {
        let why: Vec<String> = not_well(tier).into_iter().collect();
        let rebuilds = matches!(tier.status.as_str(), "repairing" | "verifying" | "initializing");
        let name = format!("tier {}", tier.name);
        if rebuilds { store(name, Vec::new(), why) } else { store(name, why, Vec::new()) }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::rows::Key, *};

    fn node() -> Node {
        Node { cluster: Some(Key("1".into())), ..Node::default() }
    }
    fn tier(status: &str, redundant: Option<bool>) -> Tier {
        Tier { name: "1".into(), cluster: Some(Key("1".into())), status: status.into(), redundant }
    }

    #[test]
    fn every_tier_of_its_cluster_is_a_store() {
        for (status, redundant, bears, rebuilds) in [
            ("online", Some(true), true, false),
            ("", Some(true), true, false),
            ("online", Some(false), false, false),
            ("online", None, false, false),
            ("", None, false, false),
            ("repairing", Some(true), false, true),
            ("verifying", Some(true), false, true),
            ("outofspace", Some(true), false, false),
            ("noredundant", None, false, false),
            ("some-new-word", Some(true), false, false),
        ] {
            let all = stores(&node(), &Ok(vec![tier(status, redundant), Tier { cluster: Some(Key("9".into())), ..tier("offline", None) }]));
            assert_eq!(all.len(), 1, "the tiers of another cluster keep nothing here");
            assert_eq!((all[0].bears_it(), !all[0].rebuilding.is_empty()), (bears, rebuilds), "{status} {redundant:?} {all:?}");
        }
        assert!(!stores(&node(), &Err("404".into()))[0].bears_it(), "unread is not redundant");
    }
}
