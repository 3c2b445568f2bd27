//! `inventory trust`: what is shown is pinned when somebody says so, a pin holds against another certificate, and the rest of the file stays.
use crate::{
    rig::{Lab, text, until},
    world,
};
use std::fs;

#[test]
fn certificates_are_shown_pinned_and_held() {
    let lab = Lab::start(2, &[]);
    let file = lab.path("inventory/trust.toml");
    // By omission nothing is meant.
    assert_eq!(lab.ask(&["inventory", "trust"]).code, 2);

    let shown = lab.ask(&["inventory", "trust", "edge-01"]);
    assert!(shown.out.contains("sha256") && shown.out.contains("subject  CN=localhost") && shown.out.contains("pitstop lab CA"), "{}", shown.all());
    assert!(shown.out.contains("host key of root@127.0.0.1") && shown.out.contains("SHA256:"), "{}", shown.all());
    // Nobody at a terminal, and no --yes: nothing is written, and the exit code says that something is open.
    assert_eq!((shown.code, file.exists()), (4, false), "{}", shown.all());

    let written = lab.ask(&["inventory", "trust", "--all", "--yes"]);
    assert_eq!(written.code, 0, "{}", written.all());
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().filter(|l| l.starts_with("\"edge-0") && l.contains("certificate = \"") && l.contains("host_keys = [")).count(), 2, "{text}");
    let again = lab.ask(&["inventory", "trust", "--all", "--yes"]);
    assert_eq!((again.code, fs::read_to_string(&file).unwrap()), (0, text.clone()), "{}", again.all());
    assert_eq!(lab.ask(&["check"]).code, 0);

    // Somebody else's certificate: refused before any password leaves, with what was seen and what to type.
    let right = text.split("certificate = \"").nth(1).unwrap()[..64].to_owned();
    let wrong = text.replacen(&right, &"ab".repeat(32), 1);
    fs::write(&file, &wrong).unwrap();
    let refused = lab.ask(&["check", "edge-01", "--json"]).json();
    let fault = &refused["nodes"][0]["ways"][0]["fault"];
    assert_eq!(fault["kind"], "denied", "{refused}");
    assert!(fault["causes"].to_string().contains(&right) && fault["next"].as_str().unwrap().contains("pitstop inventory trust edge-01 --replace"), "{fault}");

    let kept = lab.ask(&["inventory", "trust", "edge-01", "--yes"]);
    assert_eq!((kept.code, fs::read_to_string(&file).unwrap()), (4, wrong), "{}", kept.all());
    assert!(kept.out.contains("CHANGED") && kept.out.contains("--replace"), "{}", kept.all());
    let replaced = lab.ask(&["inventory", "trust", "edge-01", "--yes", "--replace"]);
    assert_eq!((replaced.code, fs::read_to_string(&file).unwrap()), (0, text), "{}", replaced.all());
}

/// A board that was replaced: refused with both values, and taken only when a person says so, of one node, with the reason.
#[test]
fn inv_01_a_replaced_board_is_refused_until_its_new_identity_is_taken() {
    let lab = Lab::start(3, &["board-swapped"]);
    let file = lab.path("inventory/trust.toml");
    lab.ask(&["inventory", "trust", "--all", "--yes"]).ends(0);
    let line = |text: &str, node: &str| text.lines().find(|l| l.starts_with(&format!("\"{node}\"")) || l.starts_with(&format!("{node} "))).unwrap().to_owned();
    let uuid = |line: &str| line.split("uuid = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let before = fs::read_to_string(&file).unwrap();
    let old = uuid(&line(&before, "edge-02"));
    assert!(line(&before, "edge-02").contains("serial = \"LAB") && line(&before, "edge-02").contains("machine_id = \""), "{before}");

    // Somebody replaces its board, and switches it on again.
    world::reset(&lab, "edge-02");
    let info = || text(&world::get(&lab, "/api/v1/nodes/edge-02")["status"]["nodeInfo"]["systemUUID"]);
    until("the cluster to see the new board", || info() != old);
    for command in [&["check", "edge-02"][..], &["run", "reboot", "edge-02"]] {
        let refused = lab.ask(command).ends(4);
        refused.says("is not the one that was pinned");
        let told = refused.all().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(&format!("trust.toml says {old}, cluster and host and the BMC say {}", info())), "{told}");
        assert!(told.contains("pitstop inventory trust edge-02 --new-identity --reason TEXT"), "{told}");
    }
    assert_eq!(lab.rack().service("edge-02"), None, "never touched");

    // By itself nothing changes, and never for many or without a reason.
    let kept = lab.ask(&["inventory", "trust", "edge-02", "--yes", "--replace"]).ends(4);
    kept.says("CHANGED");
    kept.says(&old);
    kept.says("--new-identity --reason TEXT");
    lab.ask(&["inventory", "trust", "edge-02", "--yes", "--new-identity"]).ends(2).says("--reason");
    lab.ask(&["inventory", "trust", "--all", "--yes", "--new-identity", "--reason", "a new board"]).ends(2).says("one node");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    lab.ask(&["inventory", "trust", "edge-02", "--yes", "--new-identity", "--reason", "a new board, case 4711"]).ends(0);
    let after = fs::read_to_string(&file).unwrap();
    let now = line(&after, "edge-02");
    assert!(uuid(&now) != old && now.contains(&format!("a new board, case 4711 (was {old})")), "{now}");
    let others = |text: &str| text.lines().filter(|l| !l.contains("edge-02")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(others(&before), others(&after), "nobody else's line");

    lab.ask(&["run", "reboot", "edge-02"]).ends(0);
    lab.rack().in_service("edge-02");
    lab.ask(&["check", "edge-02"]).ends(0);
}

#[test]
fn inv_01_what_a_node_pins_in_its_own_table_is_changed_there() {
    let lab = Lab::start(2, &[]);
    let rack = lab.path("inventory/rack.toml");
    let text = fs::read_to_string(&rack).unwrap();
    let pin = "name = \"edge-01\"\nidentity = { uuid = \"4c4c4544-0051-3010-8052-b4c04f4e4d32\" }";
    fs::write(&rack, text.replace("name = \"edge-01\"", pin)).unwrap();
    let refused = lab.ask(&["check", "edge-01"]).ends(4);
    refused.says("4c4c4544-0051-3010-8052-b4c04f4e4d32");
    let said = lab.ask(&["inventory", "trust", "edge-01", "--yes", "--new-identity", "--reason", "x"]).ends(3);
    said.says("in its own table, at ");
    said.says("rack.toml");
}
