//! The nodes of a cluster as five kinds of kubeconfig lead to it, imported, completed and checked on the lab. The other sources' samples: `config::imports`.
use crate::{
    rig::{Lab, ask, text},
    world::field,
};
use std::{fs, os::unix::fs::PermissionsExt};

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
