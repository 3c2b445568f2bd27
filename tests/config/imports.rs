//! Other people's lists of machines, five of each source as its users have them (`tests/corpus/lists`): imported, read by our own parser, and what they do not
//! say is a gap that is reported. Must-show 7 of the first inventory.
use pitstop::{
    inventory::{
        File, Inventory, Kinds, Look,
        import::{self, GAP, Listed, Source},
        parse,
    },
    model::NodeName,
};
use std::{collections::BTreeMap, fs, path::PathBuf};

fn sample(name: &str) -> (Source, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/lists").join(name);
    let source = Source::ALL.iter().find(|(kind, _)| name.starts_with(kind)).unwrap().1;
    (source, fs::read_to_string(path).unwrap())
}

/// The whole way: the list, our TOML, our parser.
fn round(name: &str) -> (Listed, Inventory, String) {
    let (source, text) = sample(name);
    let listed = import::read(source, &text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let toml = import::toml(name, "lab", "[clusters.lab.none]\nvouched = \"a sample\"\n", &listed);
    let file = File::from_bytes(format!("{name}.toml"), toml.clone().into_bytes()).unwrap();
    let inventory = parse(&[file], "/nowhere".into(), &Kinds::built_in(), vec![]).unwrap_or_else(|e| panic!("{name}\n{}\n{toml}", e.render(Look::Plain)));
    for secret in ["hunter2", "calvin", "66386439", "aHVudGVyMg"] {
        assert!(!toml.contains(secret), "{name}: no secret of a list goes into an inventory");
    }
    (listed, inventory, toml)
}

#[test]
fn five_lists_of_each_source_are_imported_and_what_they_lack_is_a_gap() {
    // Nodes, gaps of BMCs, gaps of hosts, left out.
    let expected = [
        ("ansible-yaml-1.yaml", 7, 4, 0, 0),
        ("ansible-yaml-2.yaml", 3, 1, 1, 0),
        ("ansible-yaml-3.yaml", 3, 2, 2, 0),
        ("ansible-yaml-4.yaml", 2, 0, 0, 1),
        ("ansible-yaml-5.yaml", 3, 3, 3, 0),
        ("ansible-ini-1.ini", 15, 15, 0, 0),
        ("ansible-ini-2.ini", 2, 0, 1, 1),
        ("ansible-ini-3.ini", 8, 8, 4, 0),
        ("ansible-ini-4.ini", 2, 0, 0, 0),
        ("ansible-ini-5.ini", 3, 3, 2, 0),
        ("csv-1.csv", 3, 1, 0, 0),
        ("csv-2.csv", 2, 0, 0, 0),
        ("csv-3.csv", 2, 0, 0, 0),
        ("csv-4.csv", 2, 0, 2, 0),
        ("csv-5.csv", 2, 0, 0, 1),
        ("metal3-1.yaml", 1, 0, 1, 0),
        ("metal3-2.yaml", 2, 0, 2, 0),
        ("metal3-3.yaml", 2, 0, 2, 0),
        ("metal3-4.yaml", 2, 0, 2, 0),
        ("metal3-5.yaml", 2, 1, 2, 0),
        ("netbox-1.json", 2, 0, 1, 1),
        ("netbox-2.csv", 2, 0, 0, 1),
        ("netbox-3.json", 2, 1, 1, 0),
        ("netbox-4.csv", 2, 0, 0, 0),
        ("netbox-5.json", 2, 1, 0, 0),
    ];
    let mut of_source: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, nodes, bmcs, hosts, left_out) in expected {
        *of_source.entry(name.rsplit_once('-').unwrap().0).or_default() += 1;
        let (listed, inventory, toml) = round(name);
        let gaps = |what: &str| toml.matches(what).count();
        assert_eq!(
            (inventory.nodes.len(), gaps("# GAP: where its BMC is"), gaps("# GAP: host.ssh"), listed.left_out.len()),
            (nodes, bmcs, hosts, left_out),
            "{name}: {:?}\n{toml}",
            listed.left_out
        );
        // Nothing is made up: without an address there is the gap, and nothing else.
        let without = inventory.nodes.values().filter(|n| n.bmc.iter().any(|b| b.body.to_string().contains(GAP))).count();
        assert_eq!(without, bmcs, "{name}\n{toml}");
    }
    assert_eq!(of_source.values().collect::<Vec<_>>(), [&5; 5], "{of_source:?}");
}

#[test]
fn each_source_keeps_what_it_says() {
    let node = |inventory: &Inventory, name: &str| inventory.nodes.get(&NodeName(name.into())).unwrap_or_else(|| panic!("no {name}")).clone();
    let body = |name: &str, of: &str, way: usize, key: &str| node(&round(name).1, of).bmc[way].body[key].clone();
    let ssh = |name: &str, of: &str, key: &str| node(&round(name).1, of).host.unwrap().body[key].clone();

    assert_eq!(body("ansible-yaml-1.yaml", "ctl-02.fra1.example", 0, "url"), "https://192.0.2.12");
    assert_eq!(
        (ssh("ansible-yaml-1.yaml", "wrk-03.fra1.example", "host"), ssh("ansible-yaml-1.yaml", "wrk-03.fra1.example", "user")),
        ("wrk-03.fra1.example".into(), "deploy".into())
    );
    assert_eq!(body("ansible-yaml-2.yaml", "ceph-b", 0, "host"), "198.51.100.132");
    let hv01 = node(&round("ansible-yaml-3.yaml").1, "hv01");
    assert_eq!((hv01.labels["row"].as_str(), hv01.labels["site"].as_str(), hv01.labels["group-hypervisors"].as_str()), ("7", "hel1", "yes"));
    assert_eq!(hv01.host.unwrap().body["port"], 2222);
    assert_eq!(body("ansible-yaml-4.yaml", "edge-07", 0, "url"), "https://[2001:db8:b::7]:8443");

    let ini = round("ansible-ini-1.ini").1;
    assert!(ini.nodes.contains_key(&NodeName("w001.cluster.example".into())) && ini.nodes.contains_key(&NodeName("w012.cluster.example".into())));
    assert_eq!(node(&ini, "m2.cluster.example").labels["site"], "fra1");
    assert_eq!((ssh("ansible-ini-2.ini", "db-a", "port"), node(&round("ansible-ini-2.ini").1, "db-a").labels["rack"].as_str()), (2200.into(), "R 4"));
    let letters: Vec<String> = round("ansible-ini-3.ini").1.nodes.keys().map(|n| n.0.clone()).collect();
    assert_eq!(letters[..4], ["blade-a.rack.example", "blade-b.rack.example", "blade-c.rack.example", "blade-d.rack.example"]);
    assert_eq!(letters[4..], ["even-02", "even-04", "even-06", "even-08"]);
    assert_eq!(node(&round("ansible-ini-4.ini").1, "cmp02").labels["role"], "compute", "a child's value is stronger than its parent's");

    assert_eq!(node(&round("csv-2.csv").1, "edge-02").labels["rack"], "say \"two\"");
    assert_eq!((body("csv-3.csv", "n2", 0, "url"), ssh("csv-3.csv", "n1", "user")), ("https://n2-bmc.mgmt.example:8443".into(), "ops".into()));
    assert_eq!(body("csv-4.csv", "cn-002", 0, "host"), "203.0.113.2");
    assert_eq!(body("csv-5.csv", "k1.example", 0, "url"), "https://[2001:db8::b1]");

    assert_eq!((body("metal3-1.yaml", "node-0", 0, "host"), body("metal3-1.yaml", "node-0", 0, "port")), ("192.168.111.1".into(), 6230.into()));
    let (_, ocp, toml) = round("metal3-2.yaml");
    assert_eq!(node(&ocp, "openshift-worker-0").seats[0].node, "worker-0.ocp.example", "the node's name, not its Machine's");
    assert!(toml.contains("its certificate was never checked"), "{toml}");
    assert_eq!(body("metal3-2.yaml", "openshift-worker-1", 0, "system_id"), "System.Embedded.1");
    assert_eq!(body("metal3-3.yaml", "vm-2", 0, "system_id"), "0c9ac5b3-7c4e-4d25-a9a9-9cd0a2a9aa02");
    assert_eq!((body("metal3-4.yaml", "six", 0, "url"), body("metal3-4.yaml", "six-ipmi", 0, "port")), ("https://[2001:db8::10]:8443".into(), 6231.into()));

    assert_eq!(
        (body("netbox-1.json", "ams-cmp-02", 0, "url"), ssh("netbox-1.json", "ams-cmp-01", "host")),
        ("https://198.51.100.66".into(), "192.0.2.65".into())
    );
    assert_eq!(
        (body("netbox-2.csv", "sto-01", 0, "url"), round("netbox-2.csv").0.left_out[0].contains("core switch 1")),
        ("https://198.51.100.71".into(), true)
    );
    assert_eq!(body("netbox-3.json", "lab-1", 0, "url"), "https://lab-1-ilo.example");
    assert_eq!(
        (body("netbox-4.csv", "gpu-01", 0, "url"), node(&round("netbox-4.csv").1, "gpu-02").labels["rack"].as_str()),
        ("https://198.51.100.41".into(), "G1")
    );
    assert_eq!(ssh("netbox-5.json", "v6-2", "host"), "2001:db8:9::2");
}
