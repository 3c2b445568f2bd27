//! Right machine (safety.md, 1): do the witnesses of one node speak of one machine? Pure; planner, preflight and guards judge by it.
use super::{Chain, Fault, FaultKind, Identity};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The witness whose word is about the machine that loses power.
pub const BMC: &str = "BMC";

/// The node that was emptied (`cluster`) = the host that answers (`host`) = the system behind the BMC (`BMC`).
///
/// The caller leaves out a witness that by its kind has nothing to say (a cluster of kind `none`), never one that was asked and failed.
/// `bmc_host`: the BMC's host in the inventory and, where resolved, its addresses, separated by blanks; a cluster may know the BMC by it.
/// A contradiction is `Unwilling`, what could not be proven is `Unable`.
/// Values in `shared` prove nothing. What contradicts is refused even where `pinned` agrees with one side; a pin only stands in for silence.
pub fn chain(witnesses: &[(&str, &Identity)], shared: &[String], pinned: Option<&Identity>, bmc_host: &str) -> Result<Chain, Fault> {
    let said: Vec<(&str, Identity)> = witnesses.iter().map(|(who, identity)| (*who, identity.without(shared))).collect();
    let Some(bmc) = said.iter().position(|(who, _)| *who == BMC) else {
        return Err(Fault::new(FaultKind::Unable, "identity: the BMC said nothing of the system behind it"));
    };
    // The pin is one more witness, last.
    let pin = pinned.map(|pin| pin.without(shared)).filter(|pin| !pin.is_empty());
    let all: Vec<(&str, &Identity)> = said.iter().map(|(who, i)| (*who, i)).chain(pin.iter().map(|pin| ("trust.toml", pin))).collect();

    let mut group: Vec<usize> = (0..all.len()).collect();
    let mut evidence = BTreeSet::new();
    let mut against = Vec::new();
    let mut pin_alone = true;
    for a in 0..all.len() {
        for b in a + 1..all.len() {
            match verdict(all[a], all[b], bmc_host, shared) {
                None => {}
                Some(Ok(by)) => {
                    evidence.extend(by);
                    let (from, to) = (group[b], group[a]);
                    group.iter_mut().filter(|g| **g == from).for_each(|g| *g = to);
                }
                Some(Err(why)) => {
                    pin_alone &= b == said.len();
                    against.push(format!("{} and {}: {why}", all[a].0, all[b].0));
                }
            }
        }
    }
    if !against.is_empty() {
        let fault = contradiction(&all, bmc, bmc_host, &against);
        return Err(if pin_alone { replaced(fault, bmc_host) } else { fault });
    }
    let names = all.iter().map(|(who, _)| *who).collect::<Vec<_>>().join(" = ");
    let closed = |evidence: BTreeSet<&str>| Ok(Chain { closed_by: names.clone(), evidence: evidence.into_iter().map(String::from).collect() });
    // With a pin the rest must agree with it, or be silent.
    let anchor = if pin.is_some() { said.len() } else { bmc };
    let apart: Vec<usize> = (0..said.len()).filter(|i| group[*i] != group[anchor]).collect();
    if pin.is_some() && apart.iter().all(|i| said[*i].1.is_empty()) {
        evidence.extend((!apart.is_empty()).then_some("pinned"));
        return closed(evidence);
    }
    if !apart.is_empty() {
        return Err(unreadable(witnesses, &said, &apart.into_iter().map(|i| said[i].0).collect::<Vec<_>>()));
    }
    if said.len() < 2 {
        return Err(Fault::new(FaultKind::Unable, "identity: nothing but the BMC says which machine this is")
            .cause("no host and no cluster to compare it with")
            .next("name a host in the inventory, or pin it there: identity = { uuid = \"…\" }"));
    }
    closed(evidence)
}

/// A node of kind `none` without a host, for whose emptiness the inventory vouches: its BMC is all there is, so what it says must be its own.
pub fn alone(bmc: &Identity, shared: &[String], pinned: Option<&Identity>, bmc_host: &str) -> Result<Chain, Fault> {
    if pinned.is_some_and(|pin| !pin.without(shared).is_empty()) {
        return chain(&[(BMC, bmc)], shared, pinned, bmc_host);
    }
    let own = bmc.without(shared);
    let evidence = [own.uuid_key().map(|_| "uuid"), own.serial_key().map(|_| "serial")].into_iter().flatten().next();
    match evidence {
        Some(by) => Ok(Chain { closed_by: "BMC alone, unique".into(), evidence: vec![by.into()] }),
        None => Err(unreadable(&[(BMC, bmc)], &[(BMC, own)], &[BMC])),
    }
}

/// Do these two agree, and by what? What one witness knows of the BMC's address is compared with where the BMC answers.
fn verdict<'a>(a: (&str, &Identity), b: (&str, &Identity), bmc_host: &str, shared: &[String]) -> Option<Result<Vec<&'a str>, String>> {
    let address = match (a.0 == BMC, b.0 == BMC) {
        (true, false) => b.1.bmc_address_key(),
        (false, true) => a.1.bmc_address_key(),
        _ => None,
    };
    let known_to_both = match (a.0 == BMC || b.0 == BMC, a.1.bmc_address_key(), b.1.bmc_address_key()) {
        (false, Some(one), Some(other)) => same_address(&one, &[other.as_str()]),
        _ => None,
    };
    // One machine in front of several BMCs (a port forwarder): its address proves nothing.
    let hosts: Vec<&str> = bmc_host.split_whitespace().filter(|host| !shared.iter().any(|s| s.eq_ignore_ascii_case(host))).collect();
    let by_address = address.and_then(|address| same_address(&address, &hosts)).or(known_to_both);
    let bare = |i: &Identity| Identity { bmc_address: None, ..i.clone() };
    match (bare(a.1).same(&bare(b.1)), by_address) {
        (Some(Err(why)), _) | (_, Some(Err(why))) => Some(Err(why)),
        (None, None) => None,
        (by, address) => Some(Ok(by.into_iter().chain(address).flatten().collect())),
    }
}

/// A name and an address cannot be compared here, and two names may be one host.
fn same_address<'a>(address: &str, hosts: &[&str]) -> Option<Result<&'a str, String>> {
    if hosts.iter().any(|host| host.eq_ignore_ascii_case(address)) {
        return Some(Ok("bmc address"));
    }
    let ip = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let address = ip(address)?;
    let known: Vec<IpAddr> = hosts.iter().filter_map(|host| ip(host)).collect();
    if known.is_empty() {
        return None;
    }
    Some(if known.contains(&address) { Ok("bmc address") } else { Err(format!("bmc address {address} is not {}", hosts.join(" "))) })
}

fn contradiction(all: &[(&str, &Identity)], bmc: usize, bmc_host: &str, against: &[String]) -> Fault {
    // The same value in the other byte order is the same value.
    let value = |i: usize| {
        let identity = all[i].1;
        let first = all[..i].iter().find(|(_, earlier)| matches!(identity.same(earlier), Some(Ok("uuid" | "serial"))));
        first.map_or(identity, |(_, earlier)| earlier).shown()
    };
    let mut says: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    (0..all.len()).for_each(|i| says.entry(value(i)).or_default().push(all[i].0));
    // The BMC's word last: it is the one whose machine would lose power.
    let by_bmc = value(bmc);
    let (last, first): (Vec<_>, Vec<_>) = says.iter().partition(|(value, _)| **value == by_bmc);
    let sides: Vec<String> = first.into_iter().chain(last).map(|(value, who)| side(who, value)).collect();
    // Equal values, and still a contradiction: only the address differs.
    let cause = if says.len() > 1 { sides.join(", ") } else { against.join(", ") };
    let host = bmc_host.split_whitespace().next().unwrap_or("this address");
    Fault::new(FaultKind::Unwilling, format!("identity: the BMC at {host} is not this machine's")).cause(format!("{cause}; swapped cables or rows?"))
}

/// Whoever answers agrees with the others, and is not the machine that was pinned. `NODE`: whoever knows its name puts it there.
fn replaced(fault: Fault, bmc_host: &str) -> Fault {
    let host = bmc_host.split_whitespace().next().unwrap_or("this address");
    let causes = fault.causes.iter().map(|c| c.replace("; swapped cables or rows?", "")).collect();
    let next = "if its board was replaced: pitstop inventory trust NODE --new-identity --reason TEXT; else find out which machine answers there";
    Fault { what: format!("identity: the machine at {host} is not the one that was pinned"), causes, ..fault.next(next) }
}

fn side(who: &[&str], value: &str) -> String {
    let who: Vec<String> = who.iter().map(|w| if *w == BMC { "the BMC".into() } else { (*w).to_string() }).collect();
    let verb = if who.len() == 1 { "says" } else { "say" };
    format!("{} {verb} {value}", who.join(" and "))
}

fn unreadable(read: &[(&str, &Identity)], said: &[(&str, Identity)], open: &[&str]) -> Fault {
    let word = |(who, raw): &(&str, &Identity), own: &Identity| {
        let shown = raw.shown();
        match (raw.is_empty(), own.is_empty()) {
            (true, _) => format!("{who} says nothing that names one machine"),
            (false, true) => format!("{who} says {shown}, which other nodes say too"),
            (false, false) => format!("{who} says {shown}"),
        }
    };
    let words = read.iter().zip(said).map(|(raw, (_, own))| word(raw, own)).collect::<Vec<_>>().join(", ");
    let open = if open.is_empty() { String::new() } else { format!(" for {}", open.join(" and ")) };
    Fault::new(FaultKind::Unable, format!("identity: not proven{open}: nothing that one machine alone has could be compared"))
        .cause(words)
        .next("pin it in the inventory, as the machine itself shows it: identity = { uuid = \"…\" }")
}

/// Values that the witnesses of two machines claim at once: they prove nothing. One map per kind of witness (all hosts, all BMCs, one cluster's
/// nodes), because the same value from another kind of witness of another node is a swapped cable, not a shared value.
pub fn shared<'a>(kinds: impl IntoIterator<Item = BTreeMap<String, Vec<&'a Identity>>>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for kind in kinds {
        let mut claimed: BTreeMap<String, &String> = BTreeMap::new();
        for (machine, identities) in &kind {
            for value in identities.iter().flat_map(|i| i.values()) {
                if claimed.insert(value.clone(), machine).is_some_and(|other| other != machine) {
                    found.insert(value);
                }
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "4c4c4544-0051-3010-8052-b4c04f4e4d32";
    const A_SWAPPED: &str = "44454c4c-5100-1030-8052-b4c04f4e4d32";
    const B: &str = "4c4c4544-0038-3010-8052-b4c04f4e4d32";
    const PLACEHOLDER: &str = "03000200-0400-0500-0006-000700080009";
    const HOST: &str = "edge-01-bmc.mgmt.example 192.0.2.11";

    fn uuid(text: &str) -> Identity {
        Identity { uuid: Some(text.into()), ..Identity::default() }
    }
    fn serial(text: &str) -> Identity {
        Identity { serial: Some(text.into()), ..Identity::default() }
    }
    fn three(cluster: &Identity, host: &Identity, bmc: &Identity) -> Result<Chain, Fault> {
        chain(&[("cluster", cluster), ("host", host), (BMC, bmc)], &[], None, HOST)
    }

    #[test]
    fn three_that_agree_close_the_chain_in_either_byte_order() {
        let seen = three(&uuid(A), &uuid(A), &uuid(A_SWAPPED)).unwrap();
        assert_eq!((seen.closed_by.as_str(), seen.evidence.as_slice()), ("cluster = host = BMC", &["uuid".to_string()][..]));
    }

    #[test]
    fn a_shifted_row_is_refused_although_host_and_bmc_agree() {
        let fault = three(&uuid(A), &uuid(B), &uuid(B)).unwrap_err();
        assert!(fault.what.contains("edge-01-bmc.mgmt.example"), "{fault}");
        assert_eq!(fault.causes, [format!("cluster says {A}, host and the BMC say {B}; swapped cables or rows?")]);
    }

    #[test]
    fn a_swapped_bmc_is_refused_and_both_sides_are_told() {
        let fault = three(&uuid(A), &uuid(A_SWAPPED), &uuid(B)).unwrap_err();
        assert_eq!(fault.causes, [format!("cluster and host say {A}, the BMC says {B}; swapped cables or rows?")]);
        assert_eq!(
            three(&uuid(B), &uuid(A), &uuid(A_SWAPPED)).unwrap_err().causes,
            [format!("cluster says {B}, host and the BMC say {A}; swapped cables or rows?")]
        );
        // A pin that agrees with one side does not heal it.
        assert!(chain(&[("cluster", &uuid(A)), (BMC, &uuid(B))], &[], Some(&uuid(A)), HOST).is_err());
    }

    #[test]
    fn placeholders_and_shared_values_prove_nothing() {
        assert!(three(&uuid(PLACEHOLDER), &uuid(PLACEHOLDER), &uuid(PLACEHOLDER)).is_err());
        let all = [("cluster", &uuid(A)), ("host", &uuid(A)), (BMC, &uuid(A))];
        for form in [A.to_string(), A_SWAPPED.to_uppercase(), A.replace('-', "")] {
            let fault = chain(&all, &[form], None, HOST).unwrap_err();
            assert!(fault.to_string().contains("which other nodes say too"), "{fault}");
        }
        assert!(chain(&all, &[B.to_string()], None, HOST).is_ok());
    }

    #[test]
    fn a_chain_may_close_over_two_kinds_of_value() {
        let id = Some("0123456789abcdef0123456789abcde0".to_string());
        let cluster = Identity { machine_id: id.clone(), ..uuid(PLACEHOLDER) };
        let host = Identity { machine_id: id, serial: Some("J4X12S3".into()), ..uuid(PLACEHOLDER) };
        assert_eq!(three(&cluster, &host, &serial("j4x12s3")).unwrap().evidence, ["machine-id", "serial"]);
        // The cluster's half is missing: host = BMC alone proves nothing.
        let fault = three(&uuid(PLACEHOLDER), &host, &serial("j4x12s3")).unwrap_err();
        assert!(fault.what.contains("cluster"), "{fault}");
    }

    #[test]
    fn a_cluster_may_know_the_bmc_by_its_address() {
        let at = |address: &str| Identity { bmc_address: Some(address.into()), ..Identity::default() };
        let seen = |cluster: &Identity, shared: &[String], host: &str| chain(&[("cluster", cluster), ("host", &uuid(A)), (BMC, &uuid(A))], shared, None, host);
        assert_eq!(seen(&at("192.0.2.11"), &[], HOST).unwrap().evidence, ["bmc address", "uuid"]);
        assert_eq!(seen(&at("EDGE-01-bmc.mgmt.example"), &[], HOST).unwrap().evidence, ["bmc address", "uuid"]);
        let fault = seen(&at("192.0.2.12"), &[], HOST).unwrap_err();
        assert!(fault.to_string().contains("192.0.2.12"), "{fault}");
        // Also where the cluster's uuid agrees.
        assert!(seen(&Identity { bmc_address: Some("192.0.2.12".into()), ..uuid(A) }, &[], HOST).is_err());
        // An unresolved name, and an address in front of several BMCs: nothing to compare.
        for (address, shared, host) in [("192.0.2.11", vec![], "edge-01-bmc.mgmt.example"), ("192.0.2.11", vec!["192.0.2.11".to_string()], "192.0.2.11")] {
            let fault = seen(&at(address), &shared, host).unwrap_err();
            assert!(fault.what.contains("not proven for cluster"), "{fault}");
        }
    }

    #[test]
    fn a_pin_stands_in_for_silence_only() {
        let mute = Identity::default();
        let seen = chain(&[("cluster", &uuid(A)), (BMC, &mute)], &[], Some(&uuid(A)), HOST).unwrap();
        assert_eq!((seen.closed_by.as_str(), seen.evidence), ("cluster = BMC = trust.toml", vec!["pinned".to_string(), "uuid".into()]));
        assert!(chain(&[("cluster", &uuid(B)), (BMC, &mute)], &[], Some(&uuid(A)), HOST).is_err());
        assert!(chain(&[("cluster", &uuid(A)), (BMC, &mute)], &[], Some(&mute), HOST).is_err());
        assert!(chain(&[("cluster", &uuid(A)), (BMC, &mute)], &[], None, HOST).is_err());
        // The BMC does say something, only nothing that the pin could be compared with.
        assert!(chain(&[("cluster", &uuid(A)), (BMC, &serial("J4X12S3"))], &[], Some(&uuid(A)), HOST).is_err());
    }

    #[test]
    fn a_bmc_alone_proves_nothing_unless_it_is_all_there_is() {
        assert!(chain(&[(BMC, &uuid(A))], &[], None, HOST).is_err());
        assert_eq!(chain(&[(BMC, &uuid(A))], &[], Some(&uuid(A)), HOST).unwrap().evidence, ["uuid"]);
        assert!(chain(&[(BMC, &uuid(A))], &[], Some(&uuid(B)), HOST).is_err());
        assert!(chain(&[("cluster", &uuid(A)), ("host", &uuid(A))], &[], None, HOST).is_err());
        assert!(alone(&uuid(A), &[], None, HOST).is_ok());
        assert!(alone(&uuid(A), &[A.to_string()], None, HOST).is_err());
        assert!(alone(&uuid(PLACEHOLDER), &[], None, HOST).is_err());
        assert!(alone(&uuid(A), &[], Some(&uuid(B)), HOST).is_err());
    }

    #[test]
    fn a_value_is_shared_by_two_of_a_kind_not_by_two_kinds() {
        let kind = |of: [(&str, &str); 2]| of.map(|(node, value)| (node.to_string(), uuid(value)));
        fn view(kind: &[(String, Identity)]) -> BTreeMap<String, Vec<&Identity>> {
            kind.iter().map(|(node, identity)| (node.clone(), vec![identity])).collect()
        }
        assert!(shared([view(&kind([("n2", A), ("n3", B)])), view(&kind([("n2", B), ("n3", A)]))]).is_empty());
        assert_eq!(shared([view(&kind([("n2", A), ("n3", A_SWAPPED)]))]).len(), 1);
        // One machine that says it twice (two ways in) does not share it with anyone.
        assert!(shared([BTreeMap::from([("n2".to_string(), vec![&uuid(A), &uuid(A_SWAPPED)])])]).is_empty());
    }
}
