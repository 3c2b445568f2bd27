//! Inventories and playbooks: every problem at once, each with file, line and column; nothing is contacted, nothing panics.
use pitstop::{
    inventory::{self, Inventory, Look},
    kinds::{self, Kind},
    model::{ClusterName, FilePath, NodeName, OnFailure, SecretRef, Span},
    playbook::{self, File, Playbook},
};
use serde::{Deserialize, Serialize};
use std::{any::Any, collections::BTreeMap, path::Path};

/// Kinds as drivers write them, so that these tests hold whatever the real ones become.
macro_rules! kind {
    ($kind:ident, $name:literal, { $($(#[$meta:meta])* $field:ident: $type:ty,)* } $(, $check:expr)?) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $kind { $($(#[$meta])* $field: $type,)* }
        impl kinds::Config<dyn Any> for $kind {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = $name;
            fn make(self) -> Box<dyn Any> { Box::new(self) }
            $(fn validate(&self) -> Result<(), String> { let check: fn(&$kind) -> Result<(), String> = $check; check(self) })?
        }
    };
}
kind!(Kubernetes, "kubernetes", { kubeconfig: FilePath, #[serde(default)] context: Option<String>, #[serde(default)] request_timeout: Option<Span>, });
kind!(Vergeos, "vergeos", { url: String, api_key: SecretRef, });
kind!(NoCluster, "none", { #[serde(default)] vouched: Option<String>, }, |c| match &c.vouched {
    Some(words) if words.is_empty() => Err("`vouched` is empty".into()),
    _ => Ok(()),
});
kind!(Redfish, "redfish", { url: String, username: SecretRef, password: SecretRef, #[serde(default)] system_id: Option<String>, }, |c| {
    if c.url.starts_with("https://") { Ok(()) } else { Err(format!("`url = \"{}\"`: Redfish needs https", c.url)) }
});
kind!(Ipmi, "ipmi", { host: String, #[serde(default)] port: Option<u16>, username: SecretRef, password: SecretRef, });
kind!(Ssh, "ssh", { host: String, #[serde(default)] port: Option<u16>, #[serde(default)] user: Option<String>, #[serde(default)] key: Option<SecretRef>, });
kind!(Systemd, "systemd", { active: Vec<String>, });
kind!(Http, "http", { url: String, #[serde(default)] status: Option<u16>, });
kind!(Evacuate, "evacuate", { #[serde(default)] unmovable: Option<Unmovable>, });
kind!(Reset, "reset", { #[serde(default)] how: Option<String>, #[serde(default)] quiet: Option<Span>, });
kind!(Verify, "verify", { #[serde(default)] hold_for: Option<Span>, });
kind!(Enable, "enable", {});
kind!(Settle, "settle", {});
kind!(RebootRequired, "reboot-required", {});

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unmovable {
    Refuse,
    StopAndRestart,
}
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct UptimeOver(Span);
impl kinds::Config<dyn Any> for UptimeOver {
    const NAME: &'static str = "uptime-over";
    const ABOUT: &'static str = "up for longer than this";
    fn make(self) -> Box<dyn Any> {
        Box::new(self.0)
    }
}

fn inventory_kinds() -> inventory::Kinds {
    inventory::Kinds {
        cluster: kinds::rows(&[Kind::of::<Kubernetes>(), Kind::of::<Vergeos>(), Kind::of::<NoCluster>()]),
        bmc: kinds::rows(&[Kind::of::<Redfish>(), Kind::of::<Ipmi>()]),
        host: kinds::rows(&[Kind::of::<Ssh>()]),
        check: kinds::rows(&[Kind::of::<Systemd>(), Kind::of::<Http>()]),
    }
}
fn playbook_kinds() -> playbook::Kinds {
    let step = [Kind::of::<Evacuate>(), Kind::of::<Reset>(), Kind::of::<Verify>(), Kind::of::<Enable>(), Kind::of::<Settle>()];
    playbook::Kinds { step: kinds::rows(&step), due: kinds::rows(&[Kind::of::<RebootRequired>(), Kind::of::<UptimeOver>()]) }
}

fn file(name: &str, text: &str) -> File {
    File { name: name.into(), text: text.into() }
}
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
fn shown(errors: inventory::ConfigErrors) -> Vec<String> {
    let drawn = errors.render(Look::Drawn { colour: false, width: 100 });
    for p in errors.problems.iter().filter(|p| p.line > 0) {
        assert!(drawn.contains(&format!("[{}:{}:{}]", p.file, p.line, p.column)), "{drawn}");
    }
    errors.problems.iter().map(|p| p.to_string().replacen("a.toml:", "", 1)).collect()
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
    assert_eq!((node.carries.as_slice(), node.unlock.as_deref(), node.defined_at.as_str()), (&["dns".to_string()][..], Some("tang"), "a.toml:20:1"));
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
            "10:1: unknown key `colour`; known: name, cluster, cluster_node, labels, bmc, host, carries, unlock, identity",
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
        &["2:1: unknown key `name`; known: cluster, cluster_node, labels, carries, unlock, bmc, host", "4:7: [defaults.host.ssh] is a table, not an integer"],
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
        file(
            "a.toml",
            &with_node(&format!("{NODE}"))
                .replace("[01-02]", "01")
                .replace("[[nodes]]\n", "[[nodes]]\nidentity.uuid = '4c4c4544-0038-3010-8052-b4c04f4e4d32'\n"),
        ),
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

fn playbook(text: &str) -> Result<Playbook, playbook::ConfigErrors> {
    playbook::parse(&file("a.toml", text), "mine", &playbook_kinds())
}
fn check_playbook(text: &str, expect: &[&str]) {
    assert_eq!(playbook(text).err().map(shown).unwrap_or_default(), expect, "\n{text}");
}

#[test]
fn a_playbook_with_everything() {
    let text = "
description = 'one rack at a time'
[limits]
max_unavailable = 2
failure_budget = 1
within = ['rack']
max_per = { chassis = 1 }
canary = 1
window = ['Sun 02:00-05:00 Europe/Berlin', 'Mon-Fri 22:00-02:00 UTC']
max_resets = 3
[due]
any = ['reboot-required', { uptime-over = '90d' }]
[[steps]]
evacuate = { unmovable = 'stop-and-restart' }
timeout = '45m'
attempts = 2
on_failure = 'hold'
[[steps]]
reset = { how = 'graceful' }
[[steps]]
enable = {}
";
    let made = playbook(text).unwrap();
    assert_eq!(
        (made.name.as_str(), made.limits.max_unavailable, made.limits.max_per["chassis"], made.limits.canary, made.limits.max_resets),
        ("mine", 2, 1, 1, 3)
    );
    assert_eq!(made.limits.window.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), ["Sun 02:00-05:00 Europe/Berlin", "Mon-Fri 22:00-02:00 UTC"]);
    assert_eq!(made.due[1].body, serde_json::json!("90d"));
    let first = &made.steps[0];
    assert_eq!((first.timeout, first.attempts, first.on_failure), (Some(Span::minutes(45)), Some(2), Some(OnFailure::Hold)));
    assert_eq!((made.steps.len(), made.steps[1].timeout, made.steps[1].on_failure), (3, None, None));
    let bare = playbook("[[steps]]\nevacuate = {}\n").unwrap();
    assert_eq!((bare.limits, bare.due.len()), (playbook::Limits::default(), 0));
}

#[test]
fn what_is_wrong_in_playbooks() {
    let text = "
descripton = 'x'
[limits]
max_unavailable = 0
failure_budget = -1
witin = ['rack']
max_per = { chassis = 'one' }
window = ['Son 02:00-05:00 Europe/Berlin', 'Sun 02:00-05:00 Europe/Berlni', 'Sun 2-5']
[due]
any = ['reboot-requird', { uptime-over = '90x' }, 'uptime-over', 7]
[[steps]]
evacuate = { unmovable = 'stop-and-restrat' }
timeout = '10x'
[[steps]]
evacute = {}
[[steps]]
reset = {}
timout = '1m'
attempts = 0
[[steps]]
timeout = '1m'
[[steps]]
enable = {}
settle = {}
on_failure = 'returns'
";
    check_playbook(
        text,
        &[
            "2:1: unknown key `descripton`; did you mean `description`?",
            "4:19: max_unavailable is at least 1",
            "5:18: invalid value: integer `-1`, expected a whole number from 0 on",
            "6:1: unknown key `witin`; did you mean `within`?",
            "7:23: invalid type: string \"one\", expected a whole number from 0 on",
            "8:11: `Son` is not a weekday: use Mon, Tue, Wed, Thu, Fri, Sat, Sun; such as \"Sun 02:00-05:00 Europe/Berlin\" or \"Mon-Fri 22:00-04:00 UTC\"",
            "8:44: no time zone is called `Europe/Berlni`; such as \"Sun 02:00-05:00 Europe/Berlin\" or \"Mon-Fri 22:00-04:00 UTC\"",
            "8:77: `2` is not a time of day: use 02:00 to 23:59; such as \"Sun 02:00-05:00 Europe/Berlin\" or \"Mon-Fri 22:00-04:00 UTC\"",
            "10:8: unknown kind of reason `reboot-requird`; did you mean `reboot-required`?",
            "10:42: `90x` is not a time span: use \"10m\", \"90s\", \"1h30m\"",
            "10:51: `uptime-over` does not stand alone; write { uptime-over = … }: up for longer than this",
            "10:66: a reason is a name or a table with one, not integer",
            "12:26: `stop-and-restrat` is not possible here; did you mean `stop-and-restart`?",
            "13:11: `10x` is not a time span: use \"10m\", \"90s\", \"1h30m\"",
            "15:1: unknown kind of step `evacute`; did you mean `evacuate`?",
            "18:1: unknown key `timout`; did you mean `timeout`?",
            "19:12: attempts is at least 1",
            "20:1: names no kind of step; known: evacuate, reset, verify, enable, settle",
            "24:1: `settle` is a second kind of step in one table, after `enable`",
            "25:14: `returns` is not possible here; did you mean `return`?",
        ],
    );
}

#[test]
fn steps_that_make_no_sense_in_their_order() {
    let steps = |kinds: &[&str]| kinds.iter().map(|k| format!("[[steps]]\n{k} = {{}}\n")).collect::<String>();
    for fine in
        [&["evacuate"][..], &["verify", "enable", "settle"], &["evacuate", "reset"], &["evacuate", "reset", "verify", "reset", "verify", "enable", "settle"]]
    {
        assert!(playbook(&steps(fine)).is_ok(), "{fine:?}");
    }
    check_playbook(&steps(&["enable", "evacuate"]), &["2:1: `enable` comes before `evacuate`"]);
    check_playbook(&steps(&["evacuate", "enable", "reset", "settle"]), &["4:1: `enable` comes before `reset`"]);
    check_playbook(&steps(&["settle", "enable"]), &["2:1: `settle` comes before `enable`"]);
    check_playbook(&steps(&["evacuate", "enable", "enable"]), &["6:1: a second `enable`: a node goes out and comes back once in a run"]);
    check_playbook(&steps(&["reset", "enable"]), &["2:1: `reset` without an `evacuate` before it: a machine that is not proven empty keeps its power"]);
    check_playbook(
        &format!("{}on_failure = 'return'\n", steps(&["evacuate", "reset", "verify"])),
        &["7:14: after the reset a node that fails is held, never returned; use \"hold\", or leave it out"],
    );
    check_playbook("description = 'x'\n", &["1:1: has no steps; such as [[steps]] with evacuate = {}"]);
    check_playbook("", &["1:1: has no steps; such as [[steps]] with evacuate = {}"]);
    check_playbook("steps = []\n[due]\n", &["1:1: has no steps", "2:2: missing key `any`; without [due] every selected node is due"]);
}

#[test]
fn playbooks_by_name_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("reboot.toml");
    std::fs::write(&mine, "description = 'mine'\n[[steps]]\nevacuate = {}\n").unwrap();
    std::fs::write(dir.path().join("other.toml"), "x").unwrap();
    let description = |dir: Option<&Path>, name: &str| playbook::load(dir, name).map(|p| (p.name, p.description));
    // One's own wins over the one that ships; a path needs no directory.
    assert_eq!(description(Some(dir.path()), "reboot").unwrap(), ("reboot".into(), "mine".into()));
    assert_eq!(description(None, mine.to_str().unwrap()).unwrap(), ("reboot".into(), "mine".into()));
    let errors = playbook::load(Some(dir.path()), "othr").unwrap_err();
    assert_eq!(errors.to_string(), "othr: no playbook of this name; did you mean `other`?\n");
    assert!(playbook::load(None, "./nowhere.toml").unwrap_err().to_string().contains("cannot be read"));
    let names: BTreeMap<_, _> = playbook::names(Some(dir.path())).into_iter().collect();
    assert_eq!(names.keys().map(String::as_str).collect::<Vec<_>>(), ["evacuate", "other", "power-cycle", "reboot", "return"]);
    assert_eq!((names["reboot"].as_deref(), names["return"].as_deref()), (Some(mine.as_path()), None));
}

#[test]
fn the_playbooks_that_ship_load() {
    for (name, _) in playbook::BUILT_IN {
        let made = playbook::load(None, name).unwrap_or_else(|e| panic!("{e}"));
        assert!(!made.description.is_empty() && made.name == name);
    }
    let kinds = |name: &str| playbook::load(None, name).unwrap().steps.into_iter().map(|s| s.setting.kind).collect::<Vec<_>>();
    assert_eq!(kinds("reboot"), ["evacuate", "reset", "verify", "enable", "settle"]);
    assert_eq!(kinds("power-cycle"), kinds("reboot"));
    assert_eq!(kinds("evacuate"), ["evacuate"]);
    assert_eq!(kinds("return"), ["verify", "enable", "settle"]);
}

fn shipped(dir: &str) -> Vec<File> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut files: Vec<File> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|path| file(path.file_name().unwrap().to_str().unwrap(), &std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

#[test]
fn the_inventories_that_ship_are_one_valid_inventory() {
    let made = inventory::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory")).unwrap_or_else(|e| panic!("{e}"));
    let kinds: Vec<_> = made.clusters.values().map(|c| c.setting.kind.as_str()).collect();
    for kind in inventory::Kinds::built_in().cluster {
        assert!(kinds.contains(&kind.name), "no example shows cluster kind {}", kind.name);
    }
    assert!(made.nodes.values().all(|n| !n.bmc.is_empty()) && made.nodes.len() > 10);
    // Reserved names only: an example that is run by mistake must reach nobody.
    for file in shipped("inventory") {
        let urls = file.text.split(['"', ' ']).filter(|w| w.contains("://") || w.contains(".example") || w.contains("192.0.2."));
        assert!(urls.clone().count() > 0 && urls.into_iter().all(|w| w.contains("example") || w.contains("192.0.2.")), "{}", file.name);
    }
}

/// What a slip of the hand does to a file: a piece lost, doubled, swapped, or replaced by something with a meaning of its own.
fn mutate(text: &str, random: &mut impl FnMut(usize) -> usize) -> String {
    const PIECES: [&str; 16] = ["[", "]", "{", "}", "\"", "'", "=", ",", "\n", "[[nodes]]\n", "{n}", "-1", "1e400", "\u{feff}ä", "\"\"\"", "edge-[01-99999]"];
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random(4) {
        let at = random(chars.len() + 1);
        let to = (at + random(12)).min(chars.len());
        match random(5) {
            0 => drop(chars.drain(at..to)),
            1 => drop(chars.splice(at..at, PIECES[random(PIECES.len())].chars())),
            2 => drop(chars.splice(at..to, PIECES[random(PIECES.len())].chars())),
            3 => {
                let copy = chars[at..to].to_vec();
                let other = random(chars.len() + 1);
                chars.splice(other..other, copy);
            }
            _ => chars.truncate(at.max(chars.len() / 2)),
        }
    }
    chars.into_iter().collect()
}

/// `PITSTOP_SEED` reproduces one case, `PITSTOP_CASES` makes it longer.
#[test]
fn no_mutated_file_makes_the_parser_panic() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"));
    let seeds = number("PITSTOP_SEED").map_or(0..number("PITSTOP_CASES").unwrap_or(600), |seed| seed..seed + 1);
    let (inventories, playbooks) = (shipped("inventory"), shipped("playbooks"));
    let mut refused = 0;
    for seed in seeds {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below.max(1) as u64) as usize
        };
        let mut files = inventories.clone();
        let victim = random(files.len());
        files[victim].text = mutate(&files[victim].text, &mut random);
        let book = &playbooks[random(playbooks.len())];
        let book = file(&book.name, &mutate(&book.text, &mut random));
        let cases = std::panic::catch_unwind(|| {
            let inventory = inventory::parse(&files, "/".into(), &inventory::Kinds::built_in(), Vec::new()).err();
            let playbook = playbook::parse(&book, "mutated", &playbook::Kinds::built_in()).err();
            inventory.into_iter().chain(playbook).map(|e| (e.render(Look::Drawn { colour: false, width: 60 }), e)).collect::<Vec<_>>()
        });
        for (drawn, errors) in cases.unwrap_or_else(|_| panic!("PITSTOP_SEED={seed}:\n{}\n{}", files[victim].text, book.text)) {
            refused += 1;
            assert!(!errors.problems.is_empty(), "PITSTOP_SEED={seed}: refused without a reason");
            for p in &errors.problems {
                let lines = files.iter().chain([&book]).find(|f| f.name == p.file).map_or(0, |f| f.text.split('\n').count());
                assert!(p.line >= 1 && p.line <= lines && p.column >= 1 && !p.message.is_empty(), "PITSTOP_SEED={seed}: {p:?}");
                assert!(drawn.contains(&format!("{}:{}:{}", p.file, p.line, p.column)), "PITSTOP_SEED={seed}: {p}\n{drawn}");
            }
        }
    }
    assert!(number("PITSTOP_SEED").is_some() || refused > 100, "the mutations hit nothing: {refused}");
}
