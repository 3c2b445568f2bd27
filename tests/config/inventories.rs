//! Inventories: what a good one means, and every problem of bad ones.
use super::{file, kinds::inventory_kinds, shown};
use pitstop::{
    inventory::{self, Inventory, Look},
    model::{ClusterName, NodeName},
    playbook::File,
};
use std::path::Path;

fn read(files: &[File]) -> Result<Inventory, inventory::ConfigErrors> {
    inventory::parse(files, "/etc/pitstop/inventory".into(), &inventory_kinds(), Vec::new())
}
fn good(text: &str) -> Inventory {
    read(&[file("a.toml", text)]).unwrap_or_else(|e| panic!("{e}\n{text}"))
}
/// All problems as `line:column message; help`, in order.
fn check(text: &str, expect: &[&str]) {
    let got = read(&[file("a.toml", text)]).err().map(shown).unwrap_or_default();
    assert_eq!(got, expect, "\n{text}");
}

const CLUSTER: &str = "[clusters.edge.kubernetes]\nkubeconfig = 'k'\n";
const DEFAULTS: &str = "[defaults.bmc.redfish]\nusername = { env = 'U' }\npassword = { env = 'P' }\n";
/// Six lines, then the node's table.
fn with_node(node: &str) -> String {
    format!("{CLUSTER}{DEFAULTS}[[nodes]]\n{node}")
}
const NODE: &str = "name = 'edge-[01-02]'\ncluster = 'edge'\nbmc.redfish.url = 'https://{name}-bmc.example'\n";

#[test]
fn a_rack_with_everything() {
    let text = "
[defaults.bmc.redfish]
username = { env = 'U' }
password = { credential = 'p' }
[defaults.bmc.ipmi]
username = { env = 'IU' }
password = { file = 'ip' }
[defaults.host.ssh]
user = 'root'
key = { file = '~/.ssh/id' }
[clusters.edge.kubernetes]
kubeconfig = 'k'
site = 'fra1'
[clusters.ceph]
site = 'ams'
none = { vouched = 'v' }
[labels.rack]
r1 = 'edge-[01-02]'
r2 = ['edge-03', 'edge-04']
[[nodes]]
name = 'edge-[01-04]'
cluster = ['edge', 'ceph']
cluster_node = { edge = '{name}.k8s.example', ceph = 'osd{n}' }
labels = { role = 'storage' }
bmc.redfish = { url = 'https://{name}-bmc.example', password = { env = 'OWN' } }
bmc.ipmi = { host = '{name}-bmc.example' }
bmc.shared_nic = true
host.ssh = { host = '192.0.2.{n}', user = 'ops' }
carries = ['dns']
unlock = 'tang'
[[nodes]]
name = 'spare'
cluster = 'ceph'
bmc.redfish.url = 'https://192.0.2.99'
identity = { serial = 'J4X12S3' }
[[checks]]
where = 'rack=r1'
at = 'booted'
http = { url = 'http://{name}.example/{n}' }
[[checks]]
at = 'settled'
systemd.active = ['a', 'b']
";
    let made = good(text);
    assert_eq!(made.clusters[&ClusterName("edge".into())].site.as_deref(), Some("fra1"));
    assert_eq!(made.clusters[&ClusterName("ceph".into())].site.as_deref(), Some("ams"));
    let node = &made.nodes[&NodeName("edge-02".into())];
    let seats: Vec<_> = node.seats.iter().map(|s| (s.cluster.0.as_str(), s.node.as_str())).collect();
    assert_eq!(seats, [("edge", "edge-02.k8s.example"), ("ceph", "osd02")]);
    assert_eq!((node.labels["rack"].as_str(), node.labels["role"].as_str()), ("r1", "storage"));
    assert_eq!(made.nodes[&NodeName("edge-03".into())].labels["rack"], "r2");
    // In the order of the kinds, each with what it inherits and what it overrides.
    assert_eq!(node.bmc[0].kind, "redfish");
    assert_eq!(node.bmc[0].body["url"], "https://edge-02-bmc.example");
    assert_eq!((&node.bmc[0].body["username"]["env"], &node.bmc[0].body["password"]["env"]), (&"U".into(), &"OWN".into()));
    assert_eq!((node.bmc[1].kind.as_str(), &node.bmc[1].body["username"]["env"]), ("ipmi", &"IU".into()));
    assert_eq!((node.bmc_host.as_str(), node.shared_nic), ("edge-02-bmc.example", true));
    let host = &node.host.as_ref().unwrap().body;
    assert_eq!((&host["host"], &host["user"], &host["key"]["file"]), (&"192.0.2.02".into(), &"ops".into(), &"~/.ssh/id".into()));
    assert_eq!((node.carries.as_slice(), node.unlock.as_deref(), node.defined_at.as_str()), (&["dns".to_string().into()][..], Some("tang"), "a.toml:20:1"));
    let checks: Vec<_> = node.checks.iter().map(|c| (c.at.as_str(), c.setting.kind.as_str())).collect();
    assert_eq!(checks, [("booted", "http"), ("settled", "systemd")]);
    assert_eq!(node.checks[0].setting.body["url"], "http://edge-02.example/02");
    // Names no IPMI and no host, so it has none.
    let spare = &made.nodes[&NodeName("spare".into())];
    assert_eq!((spare.bmc.len(), &spare.host, spare.checks.len()), (1, &None, 1));
    assert_eq!(made.identity(&NodeName("spare".into())).unwrap().serial.as_deref(), Some("J4X12S3"));
    assert_eq!(made.cluster_nodes(&ClusterName("edge".into())).count(), 4);
}

#[test]
fn ten_kinds_of_problems_in_one_file() {
    let text = "
[clusters.edge.kubernetes]
kubconfig = 'k'
request_timeout = '10x'
[clusters.cloud.kubernets]
url = 1
[labels.rack]
r1 = 'egde-[01-02]'
[[nodes]]
name = 'edge-[02-01]'
cluster = 'egde'
bmc.redfish = { url = 7, username = { env = 'U' }, password = 'hunter2' }
host.ssh = { host = 'h', prt = 22 }
[[nodes]]
name = 'edge-[01-02]'
cluster = 'edge'
bmc.redfish = { url = 'https://{nmae}.example', username = { env = 'U' }, password = { env = 'P' } }
[[checks]]
at = 'boted'
systemd = {}
[time]
scale = 0
[cluster.x]
";
    check(
        text,
        &[
            "3:1: unknown key `kubconfig`; did you mean `kubeconfig`?",
            "4:19: `10x` is not a time span: use \"10m\", \"90s\", \"1h30m\"",
            "5:17: unknown kind of cluster `kubernets`; did you mean `kubernetes`?",
            "8:6: no node is called egde-[01-02]; did you mean `edge-01`?",
            "10:8: `[02-01]` in `edge-[02-01]` runs backwards: use [01-02]",
            "11:11: no cluster is called `egde`; did you mean `edge`?",
            "12:23: invalid type: integer `7`, expected a string",
            "12:63: a secret in plain text: a reference is expected here; write { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }",
            "13:26: unknown key `prt`; did you mean `port`?",
            "17:23: nothing is filled in for {nmae}; known: {name} and {n}",
            "19:6: `boted` is no moment of a check; did you mean `booted`?",
            "20:11: missing key `active`",
            "22:9: scale is a number above 0 and at most 1",
            "23:2: unknown key `cluster`; did you mean `clusters`?",
        ],
    );
}

#[test]
fn secrets_in_plain_text_are_never_shown() {
    let text = with_node(&NODE.replace("\nbmc.redfish.url", "\nbmc.redfish.password = \"hunter2\"\nbmc.redfish.url"));
    let errors = read(&[file("a.toml", &text)]).unwrap_err();
    let all = [errors.render(Look::Plain), errors.render(Look::Drawn { colour: true, width: 80 }), errors.json().to_string(), format!("{errors:?}")];
    assert!(all.iter().all(|s| !s.contains("hunter2")), "{all:?}");
    assert!(all[0].starts_with("a.toml:9:24: a secret in plain text"), "{}", all[0]);
    for wrong in ["7", "['hunter2']", "{ env = 'P', file = 'hunter2' }", "{ evn = 'hunter2' }", "'env'"] {
        let errors = read(&[file("a.toml", &text.replace("\"hunter2\"", wrong))]).unwrap_err();
        assert!(errors.problems.len() == 1 && errors.problems[0].line == 9 && !errors.render(Look::Plain).contains("hunter2"), "{wrong}: {errors}");
    }
}

#[test]
fn syntax_errors_do_not_hide_the_rest() {
    let broken = file("a.toml", "[clusters.edge.kubernetes]\nkubeconfig = 'k\nsite = 'fra1'\n[clusters.cloud.kubernets]\n");
    let other =
        file("b.toml", "[[nodes]]\nname = 'edge-01'\ncluster = 'edge'\nbmc.redfish = { url = 'https://b.example', username = 1, password = { env = 'P' } }\n");
    let got: Vec<_> = read(&[broken, other]).unwrap_err().problems.iter().map(|p| (p.file.clone(), p.line, p.column)).collect();
    assert_eq!(got, [("a.toml".into(), 2, 16), ("a.toml".into(), 4, 17), ("b.toml".into(), 4, 55)]);
    // What cannot be read may define what seems to be missing, and its keys seem to stand elsewhere: no guesses.
    let other = file("b.toml", &format!("{DEFAULTS}[[nodes]]\n{NODE}"));
    let errors = read(&[file("a.toml", "[clusters.edge.kubernetes\nkubeconfig = 'k'\n"), other]).unwrap_err();
    assert_eq!(errors.problems.iter().map(|p| (p.line, p.column)).collect::<Vec<_>>(), [(1, 26)], "{errors}");
}

#[test]
fn nodes() {
    check(&with_node("cluster = 'edge'\nbmc.redfish.url = 'https://b.example'\n"), &["6:1: missing key `name`; such as name = \"edge-[01-16]\""]);
    check(
        &with_node("name = 'a b'\n"),
        &[
            "6:1: names no cluster; a machine without one belongs to a cluster of kind `none`",
            "6:1: names no BMC; such as bmc.redfish = { url = \"https://{name}-bmc.mgmt.example\" }",
            "7:8: `a b` is not a node's name; letters, digits, `.`, `-` and `_`",
        ],
    );
    check(&with_node(&NODE.replace("[01-02]", "[01-200000]")), &["7:8: `edge-[01-200000]` means more than 100000 names"]);
    check(&with_node(&NODE.replace("'edge'", "['edge', 'edge']")), &["8:20: cluster `edge` is named twice"]);
    check(&with_node(&NODE.replace("'edge'", "[]")), &["8:1: names no cluster"]);
    check(&with_node(&NODE.replace("https", "http")), &["9:19: `url = \"http://edge-01-bmc.example\"`: Redfish needs https"]);
    check(
        &with_node(&format!("{NODE}colour = 'red'\nlabels = {{ rack = 1, name = 'x' }}\ncarries = 'dns'\n")),
        &[
            "10:1: unknown key `colour`; known: name, cluster, cluster_node, labels, bmc, host, carries, unlock, known_containers, identity",
            "11:19: a label is a string, not an integer",
            "11:22: `name` cannot be a label: every node has a name that selectors know",
        ],
    );
    check(
        &with_node(&format!("{NODE}identity.uuid = '03000200-0400-0500-0006-000700080009'\n")),
        &["10:1: this pins no identity: a uuid, serial, machine_id or bmc_address that is no placeholder is needed"],
    );
    check(
        &with_node("name = 'spare'\ncluster = 'edge'\nbmc.redfish.url = 'https://b{n}.example'\n"),
        &["9:19: {n} is the number in a node's name, and `spare` has none"],
    );
    check(
        &with_node("name = 'a'\ncluster = 'edge'\nbmc = {}\nhost = {}\n"),
        &["9:1: names no kind of bmc; known: redfish, ipmi", "10:1: names no kind of host; known: ssh"],
    );
    check(
        &with_node("name = 'a'\ncluster = 'edge'\nbmc.ipmi = {}\n"),
        &["9:12: missing key `host`", "9:12: missing key `username`", "9:12: missing key `password`"],
    );
    // Neither what is missing nor the rule is hidden by what is wrong, and nothing is said twice.
    check(
        &with_node("name = 'a'\ncluster = 'edge'\nbmc.ipmi = { hots = 'h', port = 'x', username = { evn = 'U' } }\n"),
        &[
            "9:12: missing key `password`",
            "9:14: unknown key `hots`; did you mean `host`?",
            "9:33: invalid type: string \"x\", expected a whole number from 0 to 65535",
            "9:51: `evn` is not possible here; did you mean `env`?",
        ],
    );
    // A config's own rule is asked too, where another key is wrong, unless that may be why.
    check(
        &with_node("name = 'a'\ncluster = 'edge'\nbmc.redfish = { url = 'ftp://x.example', system_id = 7 }\n"),
        &["9:23: `url = \"ftp://x.example\"`: Redfish needs https", "9:54: invalid type: integer `7`, expected a string"],
    );
    check("[nodes]\nname = 'a'\n", &["1:1: [[nodes]] is an array, not a table"]);
}

#[test]
fn defaults() {
    // Wrong for everyone is said once, where it stands, also where no node uses it; what is missing is the node's to say.
    check(&with_node(NODE).replace("username = {", "usrname = 1\nusername = {"), &["4:1: unknown key `usrname`; did you mean `username`?"]);
    check(
        "[defaults.bmc.ipmi]\nport = 'x'\n[defaults.bmc.redfsh]\n",
        &["2:8: invalid type: string \"x\", expected a whole number from 0 to 65535", "3:15: unknown kind of bmc `redfsh`; did you mean `redfish`?"],
    );
    check(
        "[defaults]\nname = 'x'\n[defaults.host]\nssh = 7\n",
        &[
            "2:1: unknown key `name`; known: cluster, cluster_node, labels, carries, unlock, known_containers, bmc, host",
            "4:7: [defaults.host.ssh] is a table, not an integer",
        ],
    );
    let made = good(
        "[clusters.x.none]\n[defaults]\ncluster = 'x'\nlabels = { a = '1', b = '2' }\n[defaults.bmc]\nshared_nic = true\nipmi = { host = '{name}.example', username = { env = 'U' }, password = { env = 'P' } }\n[[nodes]]\nname = 'n[1-2]'\nbmc.ipmi = {}\nlabels.b = '3'\n",
    );
    let node = &made.nodes[&NodeName("n2".into())];
    assert_eq!((node.bmc_host.as_str(), node.shared_nic, node.labels["a"].as_str(), node.labels["b"].as_str()), ("n2.example", true, "1", "3"));
}

#[test]
fn twins() {
    let more = |table: &str| format!("{}[[nodes]]\n{table}", with_node(NODE));
    check(&more(NODE), &["11:8: node edge-[01-02] is already defined at a.toml:7:8"]);
    check(&with_node(&NODE.replace("[01-02]", "01,edge-01")), &["7:8: node edge-01 is in this list twice"]);
    check(
        &with_node(&NODE.replace("{name}-", "")),
        &["9:19: edge-01 and edge-02 have one BMC address, `bmc.example`; two machines never do; {name} and {n} make it differ"],
    );
    // One address is one machine, whatever is spoken to it.
    check(
        &more("name = 'db1'\ncluster = 'edge'\nbmc.ipmi = { host = 'EDGE-02-bmc.example.', username = { env = 'U' }, password = { env = 'P' } }\n"),
        &["13:21: edge-02 and db1 have one BMC address, `edge-02-bmc.example`; two machines never do; {name} and {n} make it differ"],
    );
    // Ports tell emulators apart, and systems the blades of a chassis.
    good(&with_node("name = 'n[1-3]'\ncluster = 'edge'\nbmc.redfish.url = 'https://127.0.0.1:800{n}'\n"));
    good(&with_node("name = 'n[1-3]'\ncluster = 'edge'\nbmc.redfish = { url = 'https://cmc.example', system_id = 'Blade{n}' }\n"));
    check(
        &with_node(&format!("{NODE}host.ssh.host = 'h.example'\n")),
        &["10:17: edge-01 and edge-02 have one host address, `h.example`; two machines never do; {name} and {n} make it differ"],
    );
    check(&with_node(&format!("{NODE}cluster_node = 'x'\n")), &["10:16: edge-01 and edge-02 are both `x` in cluster edge"]);
    check(&with_node(&format!("{NODE}identity.serial = 'J4X12S3'\n")), &["10:1: edge-01 and edge-02 are pinned to one serial"]);
}

#[test]
fn labels_and_checks() {
    let and = |more: &str| with_node(&format!("{NODE}{more}"));
    check(
        &and("[labels.rack]\nr1 = 'edge-[01-02]'\nr2 = 'edge-[02-04]'\n"),
        &["12:6: no node is called edge-[03-04]; known: edge-[01-02]", "12:6: edge-02 already has rack = \"r1\""],
    );
    check(&and("[labels.cluster]\na = 'edge-01'\n"), &["10:9: `cluster` cannot be a label: every node has a cluster that selectors know"]);
    check(&and("[labels]\nrack = 'r1'\n"), &["11:8: [labels.rack] is a table, not a string"]);
    check(
        &and("[[checks]]\nwhere = 'rakc=r1'\nat = 'booted'\nsystemd = { active = 'x' }\n"),
        &["11:9: no node has a label `rakc`; known: cluster, name", "13:22: invalid type: string \"x\", expected an array"],
    );
    check(&and("[[checks]]\nwhere = 'name=edge-01,name=edge-02'\nat = 'booted'\nsystemd.active = []\n"), &["11:9: no node is meant by this"]);
    check(
        &and("[[checks]]\nwhere = 'x'\n"),
        &[
            "10:1: missing key `at`; one of before, booted, settled",
            "10:1: names no kind of check; known: systemd, http",
            "11:9: `x` is not KEY=VALUE or KEY!=VALUE; such as rack=r2,role!=storage",
        ],
    );
    check(&and("[[checks]]\nat = 'before'\nhttp.url = 'x'\nsystemd.active = []\n"), &["13:1: `systemd` is a second kind of check in one table, after `http`"]);
}

#[test]
fn several_files_are_one_inventory() {
    let (a, b) = (file("a.toml", &format!("{CLUSTER}{DEFAULTS}[time]\n")), file("b.toml", &format!("[[nodes]]\n{NODE}")));
    assert_eq!(read(&[a.clone(), b.clone()]).unwrap().nodes.len(), 2);
    let again = file("c.toml", &format!("{CLUSTER}{DEFAULTS}[time]\nscale = 0.5\n[[nodes]]\n{NODE}"));
    let got: Vec<String> = read(&[a, b, again]).unwrap_err().problems.iter().map(|p| p.to_string()).collect();
    assert_eq!(
        got,
        [
            "c.toml:1:11: cluster `edge` is already defined at a.toml:1:11",
            "c.toml:4:1: `username` is already given at a.toml:4:1",
            "c.toml:5:1: `password` is already given at a.toml:5:1",
            "c.toml:6:2: [time] is already given at a.toml:6:2",
            "c.toml:9:8: node edge-[01-02] is already defined at b.toml:2:8",
        ]
    );
    // A default of one file that is wrong for the node of another is shown where it stands.
    let wrong = file("a.toml", &format!("{CLUSTER}{}", DEFAULTS.replace("{ env = 'P' }", "1")));
    let node = file("b.toml", &format!("# longer than the other file, so that offsets would mix\n# {}\n[[nodes]]\n{NODE}", "x".repeat(200)));
    let got: Vec<_> = read(&[wrong, node]).unwrap_err().problems.iter().map(|p| (p.file.clone(), p.line, p.column)).collect();
    assert_eq!(got, [("a.toml".to_string(), 5, 12)]);
}

#[test]
fn time_is_scaled_on_loopback_only() {
    let lab = |host: &str| {
        format!("[time]\nscale = 0.01\n{}", with_node(&format!("name = 'n[1-2]'\ncluster = 'edge'\nbmc.redfish.url = 'https://{host}:800{{n}}'\n")))
    };
    assert_eq!(good(&lab("127.0.0.1")).time.0, 0.01);
    check(&lab("n{n}.mgmt.example"), &["2:9: time is scaled, but the BMC of n1 is not on loopback; [time] is for the lab; leave it out for real machines"]);
    check("[time]\nscale = 'fast'\nspeed = 1\n", &["2:9: invalid type: string \"fast\", expected a number", "3:1: unknown key `speed`; known: scale"]);
}

#[test]
fn trust_is_read_and_written_line_by_line() {
    let pin = "a".repeat(64);
    let text = format!(
        "edge-01 = {{ certificate = '{pin}', host_keys = ['ssh-ed25519 AAAA'], identity = {{ uuid = '4c4c4544-0051-3010-8052-b4c04f4e4d32' }} }}\n\"gone.example\" = {{ certificate = '{pin}' }}\n"
    );
    let made = read(&[file("a.toml", &with_node(NODE)), file("inventory/trust.toml", &text)]).unwrap();
    assert_eq!(made.trust.len(), 2);
    let written = inventory::trust_toml(&made.trust);
    assert_eq!(written.lines().filter(|l| !l.starts_with('#')).count(), 2);
    let again = read(&[file("a.toml", &with_node(NODE)), file("trust.toml", &written)]).unwrap();
    assert_eq!(again.trust, made.trust);
    let got = read(&[
        file("a.toml", &with_node(NODE).replace("[01-02]", "01").replace("[[nodes]]\n", "[[nodes]]\nidentity.uuid = '4c4c4544-0038-3010-8052-b4c04f4e4d32'\n")),
        file("trust.toml", &format!("{text}edge-03 = {{ certificate = 'x', pin = 1 }}\nedge-04 = {{ certificate = 'x' }}\n")),
    ]);
    let got: Vec<String> = got.unwrap_err().problems.iter().map(|p| p.to_string().chars().take(60).collect()).collect();
    assert_eq!(
        got,
        [
            "a.toml:7:1: trust.toml pins edge-01 to another machine: uuid",
            "trust.toml:3:32: unknown key `pin`; known: certificate, host",
            "trust.toml:4:11: edge-04: a certificate pin is a SHA-256 of "
        ]
    );
}

#[test]
fn the_loader_reads_a_directory_or_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let refused = |path: &Path, what: &str| {
        let errors = inventory::load(path).unwrap_err();
        assert!(errors.to_string().contains(what), "{errors}");
    };
    refused(&dir.path().join("nowhere"), "cannot be read");
    put("README.md", "not TOML");
    put(".hidden.toml", "not = = TOML");
    put("trust.toml", "");
    refused(dir.path(), "has no *.toml file");
    put("a.toml", "[clusters.spare.none]\nvouched = 'nothing runs here'\n");
    let made = inventory::load(dir.path()).unwrap();
    assert_eq!((made.clusters.len(), made.base.as_path()), (1, std::path::absolute(dir.path()).unwrap().as_path()));
    put("trust.toml", &format!("n = {{ certificate = '{}' }}\n", "0".repeat(64)));
    assert_eq!(inventory::load(&dir.path().join("a.toml")).unwrap().trust.len(), 1);
    std::fs::write(dir.path().join("b.toml"), b"[clusters.x]\nsite = '\xff'\n").unwrap();
    refused(dir.path(), "b.toml:2:9: is not UTF-8 from here on");
}
