//! Bad TOML of ten kinds: every problem of every file with line and column, exit 3, and nothing is contacted.
use crate::rig::{Said, ask};
use std::{
    fs,
    net::{TcpListener, UdpSocket},
};
use tempfile::TempDir;

/// What is wrong, its text (`{tcp}`, `{udp}`: where contact would be noticed), and the place and words of each problem.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const BASE: &str = "[clusters.edge.kubernetes]\nkubeconfig = '{kube}'\n[defaults.bmc.redfish]\nusername = { env = 'U' }\npassword = { env = 'P' }\n";
const CASES: [Case; 10] = [
    ("not TOML", "[[nodes]\nname = 'a'\n", &[("1:", "")]),
    ("unknown key", "[[nodes]]\nname = 'a'\ncluster = 'edge'\nlables = { rack = 'r' }\nbmc.redfish.url = 'https://{tcp}'\n", &[("4:1", "labels")]),
    ("unknown kind", "[[nodes]]\nname = 'a'\ncluster = 'edge'\nbmc.redfsh = { url = 'https://{tcp}' }\n", &[("4:5", "redfish")]),
    ("unknown cluster", "[[nodes]]\nname = 'a'\ncluster = 'egde'\nbmc.redfish.url = 'https://{tcp}'\n", &[("3:11", "edge")]),
    ("bad time span", "[[nodes]]\nname = 'a'\ncluster = 'edge'\nbmc.redfish = { url = 'https://{tcp}', timeout = '10x' }\n", &[("4:", "time span")]),
    ("bad range", "[[nodes]]\nname = 'a[3-'\ncluster = 'edge'\nbmc.redfish.url = 'https://{tcp}'\n", &[("2:8", "")]),
    (
        "same name twice",
        "[[nodes]]\nname = 'a'\ncluster = 'edge'\nbmc.redfish.url = 'https://{tcp}'\n[[nodes]]\nname = 'a'\ncluster = 'edge'\nbmc.redfish.url = 'https://{tcp}/x'\n",
        &[("6:8", "a")],
    ),
    ("wrong type", "[[nodes]]\nname = 'a'\ncluster = 7\nbmc.redfish.url = 'https://{tcp}'\n", &[("3:11", "")]),
    (
        "plain secret",
        "[[nodes]]\nname = 'a'\ncluster = 'edge'\nbmc.ipmi = { host = '127.0.0.1', port = {udp}, username = { env = 'U' }, password = 'hunter2' }\n",
        &[("4:", "")],
    ),
    (
        "several at once",
        "[[nodes]]\nnme = 'a'\ncluster = 'edge'\nbmc.redfish.url = 'https://{tcp}'\n[[checks]]\nat = 'bootd'\nsystemd.active = ['a']\n[[checks]]\nat = 'booted'\nsystmd.active = ['a']\n",
        &[("2:1", "name"), ("6:6", "booted"), ("10:1", "systemd")],
    ),
];

#[test]
fn ten_kinds_of_bad_toml_are_told_by_place_and_nothing_is_contacted() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let place = |text: &str| {
        let text = text.replace("{tcp}", &tcp.local_addr().unwrap().to_string()).replace("{udp}", &udp.local_addr().unwrap().port().to_string());
        text.replace("{kube}", "kubeconfig")
    };
    let home = TempDir::new().unwrap();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: e\nclusters:\n- name: e\n  cluster:\n    server: https://{}\nusers:\n- name: u\n  user:\n    token: t\ncontexts:\n- name: e\n  context:\n    cluster: e\n    user: u\n",
        tcp.local_addr().unwrap()
    );
    fs::create_dir(home.path().join("inventory")).unwrap();
    fs::write(home.path().join("inventory/kubeconfig"), kubeconfig).unwrap();
    fs::write(home.path().join("inventory/base.toml"), place(BASE)).unwrap();
    for (what, text, problems) in CASES {
        fs::write(home.path().join("inventory/bad.toml"), place(text)).unwrap();
        for command in [&["inventory"][..], &["check"], &["plan", "reboot", "--all"], &["run", "reboot", "--all"]] {
            let said = ask(home.path(), command).ends(3);
            told(what, &said, problems);
        }
        let json = ask(home.path(), &["inventory", "--json"]).ends(3);
        assert!(json.out.contains("\"line\"") && json.out.contains("\"column\""), "{what}: {}", json.out);
    }
    // The same for a playbook.
    fs::write(home.path().join("inventory/bad.toml"), place("[[nodes]]\nname = 'a'\ncluster = 'edge'\nbmc.redfish.url = 'https://{tcp}'\n")).unwrap();
    ask(home.path(), &["inventory"]).ends(0);
    fs::create_dir(home.path().join("mine")).unwrap();
    fs::write(home.path().join("mine/bad.toml"), "[[steps]]\nevacuat = {}\ntimeout = '10x'\n[[steps]]\nreset = { how = 'gently' }\n").unwrap();
    for command in ["plan", "run"] {
        let said = ask(home.path(), &["--playbooks", "mine", command, "bad", "--all"]).ends(3);
        told("playbook", &said, &[("2:1", "evacuate"), ("3:11", "time span"), ("5:", "graceful")]);
    }
    assert!(tcp.accept().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "something connected");
    assert!(udp.recv_from(&mut [0; 64]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "something sent a datagram");
    // What is right is contacted: the listener does count.
    ask(home.path(), &["check"]);
    assert!(tcp.accept().is_ok());
}

#[track_caller]
fn told(what: &str, said: &Said, problems: &[(&str, &str)]) {
    for (place, words) in problems {
        let wanted = format!("bad.toml:{place}");
        let found = said.err.lines().any(|line| line.contains(&wanted));
        assert!(found && said.err.contains(words), "{what}: `{wanted}` … `{words}` is not in:\n{}", said.err);
    }
    said.says("nothing was contacted");
}
