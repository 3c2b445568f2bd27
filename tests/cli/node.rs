//! `pitstop node`: one screen that ends in what to type, single actions through the guards, and the dead node's own road.
use crate::{
    rig::{Lab, text},
    world,
};
use std::{fs, thread};

#[test]
fn one_screen_of_a_node_and_single_actions_through_the_same_guards() {
    let lab = Lab::start(3, &[]);
    let screen = lab.ask(&["node", "edge-02"]).ends(0);
    for says in ["power", "boot override: none", "cluster = host = BMC", "edge: ready", "mdraid md0: bears it", "next      pitstop plan reboot edge-02"] {
        screen.says(says);
    }
    let json = lab.ask(&["node", "edge-02", "--json"]).ends(0).json();
    assert_eq!((json["node"].as_str(), json["check"]["ready"].as_bool()), (Some("edge-02"), Some(true)));
    lab.ask(&["node", "edge-09"]).ends(2).says("the inventory has no node edge-09");

    // Nobody there to ask, and no --yes: nothing.
    lab.ask(&["node", "edge-02", "evacuate"]).ends(2).says("--yes");
    // It is in service: its power is not cut, and nothing is left behind of the try.
    lab.ask(&["node", "edge-02", "power", "ForceOff", "--yes"]).ends(4).says("edge-02 is not empty");
    lab.ask(&["status"]).ends(0).says("every node is in service");
    lab.ask(&["node", "edge-02", "power", "Nmi", "--yes"]).ends(2).says("no power verb `Nmi`");
    let rack = lab.rack();
    assert_eq!((rack.verbs("edge-02"), rack.service("edge-02")), (vec![], None));

    lab.ask(&["node", "edge-02", "evacuate", "--yes", "--reason", "fan"]).ends(0);
    lab.ask(&["node", "edge-02"]).ends(0).says("pitstop run return edge-02");
    lab.ask(&["node", "edge-02", "power", "ForceOff", "--yes"]).ends(0);
    let off = lab.ask(&["node", "edge-02"]).ends(0);
    off.says("Off by Redfish");
    off.says("power On");
    lab.ask(&["node", "edge-02", "power", "On", "--yes"]).ends(0);
    lab.ask(&["node", "edge-02", "enable", "--yes"]).ends(0);
    let rack = lab.rack();
    assert_eq!((rack.verbs("edge-02"), rack.boots("edge-02").len()), (vec!["ForceOff".into(), "On".into()], 1));
    rack.in_service("edge-02");
    rack.nothing_lost();

    lab.ask(&["node", "edge-02", "identify", "--yes"]).ends(0).says("light is on");
    lab.ask(&["node", "edge-02"]).ends(0).says("light on");
    lab.ask(&["node", "edge-02", "identify", "--off", "--yes"]).ends(0);
    assert_eq!(lab.rack().of("edge-02", "light").len(), 2);
}

#[test]
fn relaxing_is_by_name_for_one_node_with_a_reason_and_is_printed() {
    let lab = Lab::start(3, &["raid-rebuilding"]);
    lab.ask(&["run", "reboot", "edge-02", "--unsafe", "flash", "--reason", "x"]).ends(2).says("cannot be relaxed by anybody");
    lab.ask(&["run", "reboot", "edge-02", "--unsafe", "storage"]).ends(2).says("--reason");
    lab.ask(&["run", "reboot", "--all", "--unsafe", "storage", "--reason", "x"]).ends(2).says("one node");
    // Another name does not help.
    lab.ask(&["run", "reboot", "edge-02", "--unsafe", "empty", "--reason", "x"]).ends(4).says("mdraid md0");
    assert_eq!(lab.rack().verbs("edge-02"), Vec::<String>::new());
    let said = lab.ask(&["run", "reboot", "edge-02", "--unsafe", "storage", "--reason", "spare disk comes tomorrow"]);
    said.says("UNSAFE, relaxed by name for this one command: storage");
    let report = lab.ask(&["report"]).ends(0);
    report.says("spare disk comes tomorrow");
    report.says("relaxed for edge-02: storage");
    said.ends(0);
}

#[test]
fn a_dead_node_is_fenced_its_work_starts_elsewhere_and_it_comes_back() {
    let lab = Lab::start(3, &["hung"]);
    world::until_not_ready(&lab, "edge-02");
    lab.ask(&["node", "edge-02"]).ends(0).says("next      pitstop node edge-02 rescue --reason TEXT");
    // One named node, and a reason.
    lab.ask(&["node", "edge-02", "rescue", "--yes"]).ends(2).says("--reason");
    // A healthy one is refused by what it says of itself; nothing is touched.
    let healthy = lab.ask(&["node", "edge-01", "rescue", "--yes", "--reason", "x"]);
    healthy.says("edge-01 is not dead: its host answers");
    assert!([4, 5].contains(&healthy.code), "{}", healthy.code);
    assert_eq!((lab.rack().verbs("edge-01"), lab.rack().service("edge-01")), (vec![], None));

    let before = world::movable(&lab);
    lab.ask(&["node", "edge-02", "rescue", "--yes", "--reason", "kernel hangs"]).ends(0);
    let rack = lab.rack();
    assert_eq!((rack.verbs("edge-02"), rack.boots("edge-02").len()), (vec!["ForceOff".into(), "On".into()], 1), "one each");
    let writes: Vec<String> = rack.of("edge-02", "api-write").iter().map(|l| text(&l["what"])).collect();
    assert_eq!(writes, ["cordon edge-02", "update node edge-02", "update node edge-02", "uncordon edge-02"], "the taint between, and taken back");
    // What ran there before was given up by the cluster and runs elsewhere, or anew after the way back.
    let now = world::movable(&lab);
    assert!(before.iter().any(|(_, node)| node == "edge-02"));
    for (uid, _) in before.iter().filter(|(_, node)| node == "edge-02") {
        assert!(!now.iter().any(|(u, _)| u == uid), "{uid} was never given up");
    }
    assert!(now.len() >= before.len(), "{now:?}");
    rack.in_service("edge-02");
    let node = world::get(&lab, "/api/v1/nodes/edge-02");
    assert!(node["spec"]["taints"].is_null() && node["metadata"]["annotations"]["pitstop/run"].is_null(), "{node}");
    lab.ask(&["status"]).ends(0).says("every node is in service");
}

#[test]
fn imported_lists_go_round_through_inventory_and_init_leaves_gaps_that_are_reported() {
    let lab = Lab::start(2, &[]);
    let dir = lab.dir.path();
    fs::write(dir.join("list.csv"), "name,bmc,ip,rack\na1,192.0.2.11,192.0.2.21,r1\na2,,192.0.2.22,r1\n").unwrap();
    lab.ask(&["inventory", "import", "csv", "list.csv", "-o", "imported/machines.toml"]).ends(0).says("2 nodes imported, 2 gaps");
    let read = crate::rig::ask(dir, &["-i", "imported", "inventory"]).ends(3);
    read.says("a2: bmc.redfish is a gap");
    read.says("2 nodes");
    lab.ask(&["inventory", "import", "csv", "list.csv", "-o", "imported/machines.toml"]).ends(3).says("nothing was overwritten");
    lab.ask(&["inventory", "import", "tarot", "list.csv"]).ends(2).says("ansible-yaml");

    // The lab's own cluster, by its kubeconfig.
    lab.ask(&["inventory", "import", "kubeconfig", "lab/kubeconfig", "--cluster", "edge", "-o", "nodes/edge.toml"]).ends(0);
    crate::rig::ask(dir, &["-i", "nodes", "inventory", "edge-[01-02]"]).ends(3).says("edge-02: bmc.redfish is a gap");
    // The lab's machines as other people's lists have them: imported, completed by hand, listed and reached.
    let listed = lab.ask(&["inventory", "--json"]).ends(0).json();
    let urls = ["edge-01", "edge-02"].map(|n| text(&listed["nodes"][n]["bmc"][0]["body"]["url"]));
    let hosts = urls.clone().map(|u| u.trim_start_matches("https://").split(':').next().unwrap().to_owned());
    let [u1, u2] = &urls;
    let [h1, h2] = &hosts;
    let samples = [
        ("csv", format!("Name;Redfish URL;Rack\r\nedge-01;{u1};r1\r\nedge-02;{u2};r2\r\n")),
        ("ansible-ini", format!("[metal]\nedge-01 bmc_address={u1} rack=r1\nedge-02 bmc_address={u2}\n[metal:vars]\nsite=fra1\n")),
        (
            "ansible-yaml",
            format!(
                "all:\n  children:\n    metal:\n      hosts:\n        edge-01: {{ bmc_address: \"{u1}\" }}\n        edge-02: {{ bmc_address: \"{u2}\" }}\n"
            ),
        ),
        (
            "metal3",
            [("edge-01", u1), ("edge-02", u2)]
                .map(|(n, u)| {
                    format!("---\nkind: BareMetalHost\nmetadata: {{ name: {n} }}\nspec: {{ bmc: {{ address: \"redfish+{u}/redfish/v1/Systems/1\" }} }}\n")
                })
                .concat(),
        ),
        ("netbox", format!("name,status,rack,oob_ip\nedge-01,active,R1,{h1}/8\nedge-02,active,R2,{h2}/8\n")),
    ];
    let secrets = "{ file = \"../lab/secrets/bmc-username\" }\npassword = { file = \"../lab/secrets/bmc-password\" }\ntls = { ca_file = \"../lab/ca.pem\" }";
    for (source, sample) in &samples {
        let (list, file) = (format!("sample.{source}"), format!("round-{source}/lab.toml"));
        fs::write(dir.join(&list), sample).unwrap();
        lab.ask(&["inventory", "import", source, &list, "-o", &file]).ends(0).says("2 nodes imported");
        let mut toml = fs::read_to_string(dir.join(&file)).unwrap();
        // An address without a port, as some lists have it: its owner writes the lab's in.
        for (host, url) in hosts.iter().zip(&urls) {
            toml = toml.replace(&format!("\"https://{host}\""), &format!("\"{url}\""));
        }
        let toml = toml
            .replace("{ env = \"BMC_USER\" }\npassword = { env = \"BMC_PASSWORD\" }", secrets)
            .replace("[clusters.imported.none]", "[clusters.imported.none]\nvouched = \"a test\"");
        fs::write(dir.join(&file), toml).unwrap();
        let from = format!("round-{source}");
        crate::rig::ask(dir, &["-i", &from, "inventory"]).ends(0).says("2 nodes");
        crate::rig::ask(dir, &["-i", &from, "check"]).ends(0).says("2 ready, 0 refused");
    }

    let init = thread::scope(|s| s.spawn(|| crate::rig::ask(dir, &["init", "first"])).join().unwrap());
    init.ends(0).says("first/inventory.toml");
    crate::rig::ask(dir, &["-i", "first", "inventory"]).ends(3).says("edge-01: bmc.redfish and host.ssh is a gap");
}
