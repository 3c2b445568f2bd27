//! VergeOS's own public client, pyvergeos, against the lab's server: what it can do there pitstop's driver was not built around.
use crate::peer::python;
use pitstop::lab::{
    rack::{MachineSpec, Pace, Quirks, Rack},
    tls::Tls,
    vergeos::{self, Creds, Faults, NodeSpec, Setup, Shape},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
};
use tokio::net::TcpListener;

const KEY: &str = "lab-key-0123456789";

#[tokio::test(flavor = "multi_thread")]
async fn pyvergeos_lists_the_nodes_and_puts_one_into_maintenance() {
    let machine = |n: u32| MachineSpec {
        name: format!("m{n}"),
        uuid: format!("4c4c4544-0051-3010-8052-b4c04f4e4d3{n}"),
        serial: format!("LAB000{n}"),
        machine_id: format!("{n}f3a5c7d").repeat(4),
        services: vec![],
        quirks: Quirks::default(),
    };
    let record = tempfile::NamedTempFile::new().unwrap();
    let rack = Rack::new((1..=3).map(machine).collect(), Pace { scale: 0.005, ..Pace::default() }, Box::new(record.reopen().unwrap()));
    let nodes = (1..=3).map(|n| NodeSpec::new(&format!("node{n}"), &format!("m{n}"), &format!("192.0.2.1{n}"))).collect();
    let creds = Creds { api_key: KEY.into(), username: "admin".into(), password: "pw".into() };
    let setup = Setup { nodes, creds, shape: Shape::default(), faults: Faults::default(), asked: Default::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let tls = Tls::new();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, tls.ca_pem()).unwrap();
    tokio::spawn(rack.clone().keep_ticking());
    tokio::spawn(vergeos::serve(rack.clone(), setup, listener, Some(tls)));

    let output = tokio::task::spawn_blocking(move || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/vergeos_client.py");
        let mut client = Command::new(python("python"));
        // Its certificate is verified: by the lab's own authority.
        client.args([script, &address.to_string()]).env("REQUESTS_CA_BUNDLE", ca).env("NO_PROXY", "*");
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        client.stdin.take().unwrap().write_all(KEY.as_bytes()).unwrap();
        client.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "is pyvergeos missing? run tests/setup\n{complaint}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {complaint}"));
    let node = |n: u32| json!([format!("node{n}"), format!("192.0.2.1{n}"), false, true]);
    assert_eq!(said["nodes"], json!([node(1), node(2), node(3)]));
    assert_eq!((&said["version"], &said["vms"], &said["flag_at_once"]), (&json!("26.1.5"), &json!(6), &json!(true)));
    assert_eq!((&said["in"], &said["back"]), (&json!(["node1", true]), &json!(["node1", false])));
    let lines = std::fs::read_to_string(record.path()).unwrap();
    assert!(lines.contains("enter maintenance node1") && lines.contains("leave maintenance node1") && !lines.contains("lost-workload"), "{lines}");
}
