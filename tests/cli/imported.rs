//! The nodes of a cluster as five kinds of kubeconfig lead to it, and other people's lists of machines: imported, completed and checked on the lab. What each list says: `config::imports`.
use crate::{
    rig::{Lab, ask, text},
    world::field,
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

#[test]
fn five_kubeconfigs_lead_to_the_nodes_of_their_cluster() {
    let lab = Lab::start(3, &[]);
    let dir = lab.dir.path();
    let plain = fs::read_to_string(lab.path("kubeconfig")).unwrap();
    let (server, token, ca) = (field(&plain, "server"), field(&plain, "token"), lab.path("ca.pem").display().to_string());
    fs::write(dir.join("token"), &token).unwrap();
    let plugin = dir.join("login.sh");
    let said = format!("{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}}}");
    fs::write(&plugin, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let whole = |user: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: prod\n\
             clusters:\n- name: prod-cluster\n  cluster:\n    server: {server}\n    certificate-authority: {ca}\n{more}\
             users:\n- name: ops\n  user:\n{user}\
             contexts:\n- name: prod\n  context:\n    cluster: prod-cluster\n    namespace: shop\n    user: ops\n"
        )
    };
    let other = "- name: far-away\n  cluster:\n    server: https://192.0.2.1:6443\n    insecure-skip-tls-verify: true\n";
    let far = "- name: far\n  context:\n    cluster: far-away\n    user: ops\n";
    let several = format!("{}{far}", whole(&format!("    token: {token}\n"), other)).replace("current-context: prod", "current-context: far");
    let samples = [
        ("as-it-is", plain.clone(), None),
        ("token-file", whole(&format!("    tokenFile: {}\n", dir.join("token").display()), ""), None),
        (
            "plugin",
            whole(
                &format!("    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: {}\n      interactiveMode: Never\n", plugin.display()),
                "",
            ),
            None,
        ),
        ("several", several, Some("prod")),
        (
            "json",
            format!(
                "{{\"apiVersion\":\"v1\",\"kind\":\"Config\",\"current-context\":\"c\",\"clusters\":[{{\"name\":\"k\",\"cluster\":{{\"server\":\"{server}\",\"certificate-authority\":\"{ca}\"}}}}],\"users\":[{{\"name\":\"u\",\"user\":{{\"token\":\"{token}\"}}}}],\"contexts\":[{{\"name\":\"c\",\"context\":{{\"cluster\":\"k\",\"user\":\"u\"}}}}]}}"
            ),
            None,
        ),
    ];
    let listed = lab.ask(&["inventory", "--json"]).ends(0).json();
    for (name, kubeconfig, context) in samples {
        let (file, out) = (format!("{name}.kubeconfig"), format!("from-{name}/edge.toml"));
        fs::write(dir.join(&file), kubeconfig).unwrap();
        let mut args = vec!["inventory", "import", "kubeconfig", &file, "--cluster", "edge", "-o", &out];
        args.extend(context.iter().flat_map(|c| ["--context", c]));
        lab.ask(&args).ends(0).says("3 nodes imported");
        let from = format!("from-{name}");
        let gaps = ask(dir, &["-i", &from, "inventory"]).ends(3);
        ["edge-01", "edge-02", "edge-03"].iter().for_each(|n| gaps.says(&format!("{n}: bmc.redfish is a gap")));
        // Its owner fills them in.
        let mut toml = fs::read_to_string(dir.join(&out)).unwrap();
        assert!(!toml.contains(&token), "{toml}");
        for node in ["edge-01", "edge-02", "edge-03"] {
            let url = text(&listed["nodes"][node]["bmc"][0]["body"]["url"]);
            toml = toml.replacen("https://{name}.gap.invalid", &url, 1);
        }
        let secrets =
            "{ file = \"../lab/secrets/bmc-username\" }\npassword = { file = \"../lab/secrets/bmc-password\" }\ntls = { ca_file = \"../lab/ca.pem\" }";
        fs::write(dir.join(&out), toml.replace("{ env = \"BMC_USER\" }\npassword = { env = \"BMC_PASSWORD\" }", secrets)).unwrap();
        ask(dir, &["-i", &from, "inventory"]).ends(0).says("3 nodes");
        ask(dir, &["-i", &from, "check"]).ends(0).says("3 ready, 0 refused");
    }
}

/// Every list of `tests/corpus/lists`: the addresses that it names become those of the lab's machines, as if those stood there; all else stays as it was imported.
#[test]
fn every_list_is_listed_and_checked_once_its_addresses_are_the_labs() {
    let lab = Lab::start(15, &[]);
    let dir = lab.dir.path();
    let listed = lab.ask(&["inventory", "--json"]).ends(0).out.replace("\"../", "\"../lab/");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let machines: Vec<&Value> = listed["nodes"].as_object().unwrap().values().collect();
    let mut checked = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/lists")).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), e.file_name().into_string().unwrap())).unwrap();
        let source = name.rsplit_once('-').unwrap().0;
        let (from, out) = (format!("of-{name}"), format!("of-{name}/machines.toml"));
        lab.ask(&["inventory", "import", source, path.to_str().unwrap(), "-o", &out]).ends(0);
        let mut toml: toml::Table = toml::from_str(&fs::read_to_string(dir.join(&out)).unwrap()).unwrap();
        toml.remove("defaults");
        toml["clusters"]["imported"]["none"].as_table_mut().unwrap().insert("vouched".into(), "a test".into());
        let nodes = toml["nodes"].as_array_mut().unwrap();
        let count = nodes.len();
        for (node, machine) in nodes.iter_mut().zip(&machines) {
            let node = node.as_table_mut().unwrap();
            for (kind, way) in node["bmc"].as_table_mut().unwrap().iter_mut() {
                let theirs = machine["bmc"].as_array().unwrap().iter().find(|b| b["kind"] == kind.as_str()).unwrap();
                *way = toml::Value::try_from(&theirs["body"]).unwrap();
            }
            // What runs on the lab's hosts is known to the lab's clusters alone, and these lists have none.
            node.remove("host");
        }
        fs::write(dir.join(&out), toml::to_string(&toml).unwrap()).unwrap();
        ask(dir, &["-i", &from, "inventory"]).ends(0).says(&format!("{count} node"));
        ask(dir, &["-i", &from, "check"]).ends(0).says(&format!("{count} ready, 0 refused"));
        checked += 1;
    }
    assert_eq!(checked, 25);
}
