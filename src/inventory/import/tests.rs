//! A sample of each source as its users have them, and the whole way: sample → our TOML → our own parser.
use super::*;
use crate::{
    inventory::{File, Kinds, parse},
    model::NodeName,
};

const YAML: &str = "all:\n  vars: { ansible_user: admin }\n  children:\n    workers:\n      vars: { rack: r7 }\n      hosts:\n        w01.lan.example: { bmc_address: 192.0.2.21 }\n        w[02:03].lan.example:\n    masters:\n      hosts:\n        m1: { ansible_host: 192.0.2.5, ansible_port: 2222, ipmi_host: 192.0.2.6, bmc_password: \"s3cret\" }\n";
const INI: &str = "# ours\nlone ansible_host=192.0.2.9\n\n[storage]\ns[1:2] bmc_address=https://{{ inventory_hostname }}-bmc.example rack=r1\ns3 ansible_host=\"192.0.2.33\" idrac_ip=192.0.2.34   # new\n\n[storage:vars]\nansible_user = ops\n\n[metal:children]\nstorage\n\n[metal:vars]\nsite=fra1\n";
const CSV: &str =
    "\u{feff}Hostname;BMC IP;IP Address;Rack;BMC Password\r\nedge-01;192.0.2.11;192.0.2.111;r1;hunter2\r\nedge-02;;192.0.2.112;\"r 2; left\";\r\n";
const METAL3: &str = "apiVersion: metal3.io/v1alpha1\nkind: BareMetalHost\nmetadata: { name: bmh-1, labels: { topology.example/rack: r3 } }\nspec:\n  bmc: { address: \"idrac-virtualmedia+https://192.0.2.41/redfish/v1/Systems/1\", credentialsName: x }\n  consumerRef: { name: worker-1 }\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: x }\n---\nkind: BareMetalHost\nmetadata: { name: bmh-2 }\nspec: { bmc: { address: \"ipmi://192.0.2.42:6230\" } }\n";
const NETBOX: &str = r#"{"count":2,"results":[{"id":1,"name":"nb-1","site":{"slug":"fra1"},"rack":{"name":"R 12"},"role":{"slug":"compute"},"oob_ip":{"address":"192.0.2.51/24"},"primary_ip":{"address":"2001:db8::51/64"}},{"id":2,"name":"nb-2","rack":null,"oob_ip":null,"primary_ip":null}]}"#;

/// Through our own parser, as a file of an inventory.
fn round(source: Source, text: &str) -> (Vec<Found>, crate::inventory::Inventory, String) {
    let listed = read(source, text).unwrap();
    let table = "[clusters.lab.none]\nvouched = \"a sample\"\n";
    let toml = toml("a sample", "lab", table, &listed);
    let found = listed.found;
    let file = File::from_bytes("sample.toml".into(), toml.clone().into_bytes()).unwrap();
    let inventory =
        parse(&[file], "/nowhere".into(), &Kinds::built_in(), vec![]).unwrap_or_else(|e| panic!("{}\n{toml}", e.render(crate::inventory::Look::Plain)));
    assert_eq!(inventory.nodes.len(), found.len(), "{toml}");
    assert!(!toml.contains("s3cret") && !toml.contains("hunter2"), "no secret of a source goes into an inventory");
    (found, inventory, toml)
}

#[test]
fn five_sources_become_inventories_that_our_own_parser_takes() {
    let (found, inventory, _) = round(Source::AnsibleYaml, YAML);
    assert_eq!(found.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["m1", "w01.lan.example", "w02.lan.example", "w03.lan.example"]);
    assert_eq!(found[0].ssh, Some(("192.0.2.5".into(), Some("admin".into()), Some(2222))));
    assert_eq!((found[0].ipmi.clone(), found[1].redfish.as_deref()), (Some(("192.0.2.6".into(), None)), Some("https://192.0.2.21")));
    let worker = &inventory.nodes[&NodeName("w01.lan.example".into())];
    assert_eq!(
        (worker.labels["rack"].as_str(), worker.labels["role"].as_str(), worker.host.as_ref().unwrap().body["user"].as_str()),
        ("r7", "workers", Some("admin"))
    );

    let (found, _, toml) = round(Source::AnsibleIni, INI);
    assert_eq!(found.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["lone", "s1", "s2", "s3"]);
    assert_eq!((found[1].redfish.as_ref(), found[3].redfish.as_deref()), (None, Some("https://192.0.2.34")), "a template says nothing");
    assert_eq!((found[3].labels["site"].as_str(), found[3].ssh.clone()), ("fra1", Some(("192.0.2.33".into(), Some("ops".into()), None))));
    assert_eq!(toml.matches("# GAP: where its BMC is").count(), 3);

    let (found, inventory, toml) = round(Source::Csv, CSV);
    assert_eq!((found[1].labels["rack"].as_str(), found[0].redfish.as_deref()), ("r 2; left", Some("https://192.0.2.11")));
    assert_eq!(inventory.nodes[&NodeName("edge-02".into())].bmc_host, format!("edge-02.{GAP}"));
    assert_eq!(toml.matches("# GAP").count(), 1);

    let (found, inventory, _) = round(Source::Metal3, METAL3);
    assert_eq!((found[0].redfish.as_deref(), found[1].ipmi.clone()), (Some("https://192.0.2.41"), Some(("192.0.2.42".into(), Some(6230)))));
    assert_eq!((found[0].labels["rack"].as_str(), inventory.nodes[&NodeName("bmh-1".into())].seats[0].node.as_str()), ("r3", "worker-1"));

    let (found, _, _) = round(Source::Netbox, NETBOX);
    assert_eq!((found[0].redfish.as_deref(), found[0].ssh.clone()), (Some("https://192.0.2.51"), Some(("2001:db8::51".into(), None, None))));
    assert_eq!(found[0].labels["rack"], "R 12");
    let (found, _, _) = round(Source::Netbox, "name,status,site,rack,primary_ip4,oob_ip\nnb-1,active,fra1,R12,192.0.2.61/24,192.0.2.62/24\n");
    assert_eq!((found[0].redfish.as_deref(), found[0].ssh.as_ref().unwrap().0.as_str()), (Some("https://192.0.2.62"), "192.0.2.61"));
}

#[test]
fn what_is_no_list_of_machines_is_said_in_its_own_words() {
    for (source, text, says) in [
        (Source::Csv, "a,b\n1,2\n", "no column is called name"),
        (Source::Csv, "name,bmc\n\"edge-01,x\n", "no end"),
        (Source::Csv, "name\nedge-01\nedge-01\n", "edge-01 is in it twice"),
        (Source::Csv, "name\n", "no machine"),
        (Source::Csv, "name\nedge 01\n", "cannot be a node's name"),
        (Source::Netbox, "{\"detail\":\"Invalid token\"}", "list of devices"),
        (Source::AnsibleYaml, "- a\n- b\n", "table of groups"),
        (Source::AnsibleIni, "[a:vars]\nnonsense\n", "KEY=VALUE"),
        (Source::Metal3, "kind: Secret\n", "no machine"),
    ] {
        let said = read(source, text).unwrap_err();
        assert!(said.contains(says), "{text}: {said}");
    }
}
