//! Kubeconfig as people have it: credential plugins, token files, contexts, the service account of a pod.
use super::*;
use pitstop::model::FaultKind;
use std::{fs, os::unix::fs::PermissionsExt};

/// The lab's kubeconfig with another user, in a directory of its own.
fn with_user(lab: &Lab, user: impl Fn(&Path) -> Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let read = kube::config::Kubeconfig::read_from(lab.dir.path().join("kubeconfig")).unwrap();
    let mut config = serde_json::to_value(&read).unwrap();
    config["users"][0]["user"] = user(dir.path());
    fs::write(dir.path().join("kubeconfig"), config.to_string()).unwrap();
    dir
}
/// A credential plugin: a script that does this.
fn plugin(dir: &Path, script: &str) -> Value {
    let path = dir.join("login");
    fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{script}\n", dir.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": path, "args": ["token"], "interactiveMode": "Never", "env": [{ "name": "SITE", "value": "edge" }] } })
}
const PRINTS: &str = r#"[ "$1" = token ] && [ "$SITE" = edge ] || exit 9
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat token)""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_plugin_logs_us_in_and_is_asked_again_when_its_token_has_run_out() {
    let lab = Lab::new(1, 0).await;
    let dir = with_user(&lab, |dir| plugin(dir, PRINTS));
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    let cluster = connect(dir.path(), json!({}));
    assert_eq!(cluster.members().await.unwrap().len(), 1);
    // The server does not know this one any more: refused, and asked for anew at the next call.
    fs::write(dir.path().join("token"), "expired").unwrap();
    let late = connect(dir.path(), json!({}));
    assert_eq!(late.members().await.unwrap_err().kind, FaultKind::Denied);
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    assert_eq!(late.members().await.unwrap().len(), 1, "nothing has to be restarted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_plugin_that_fails_is_named_and_what_it_printed_is_not() {
    let lab = Lab::new(1, 0).await;
    for (script, says) in [("echo hunter2; echo hunter2 >&2; exit 3", "exit status: 3"), ("echo '{\"token\": hunter2'", "makes no sense")] {
        let dir = with_user(&lab, |dir| plugin(dir, script));
        let fault = connect(dir.path(), json!({})).members().await.unwrap_err();
        let told = format!("{fault} {:?} {:?}", fault.causes, fault.next);
        assert!(fault.kind == FaultKind::Denied && told.contains(says) && !told.contains("hunter2"), "{told}");
    }
    let dir = with_user(
        &lab,
        |_| json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": "/nonexistent/login", "interactiveMode": "Never" } }),
    );
    let fault = connect(dir.path(), json!({})).members().await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied || fault.kind == FaultKind::Invalid, "{fault:?}");
}

#[tokio::test]
async fn a_token_file_is_read_and_a_context_is_chosen_by_name() {
    let lab = Lab::new(1, 0).await;
    let dir = with_user(&lab, |dir| json!({ "tokenFile": dir.join("token") }));
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    assert_eq!(connect(dir.path(), json!({})).members().await.unwrap().len(), 1);
    // Another context, and it is the current one: ours is named.
    let mut config: Value = serde_json::from_str(&fs::read_to_string(dir.path().join("kubeconfig")).unwrap()).unwrap();
    let dead = json!({ "name": "dead", "cluster": { "server": "http://127.0.0.1:9" } });
    config["clusters"].as_array_mut().unwrap().push(dead);
    let user = config["users"][0]["name"].clone();
    config["contexts"].as_array_mut().unwrap().push(json!({ "name": "dead", "context": { "cluster": "dead", "user": user } }));
    config["current-context"] = json!("dead");
    fs::write(dir.path().join("kubeconfig"), config.to_string()).unwrap();
    assert_eq!(connect(dir.path(), json!({})).members().await.unwrap_err().kind, FaultKind::Unreachable);
    assert_eq!(connect(dir.path(), json!({ "context": "edge" })).members().await.unwrap().len(), 1);
}

/// In a mount namespace whose /run holds what a pod finds there. Where none may be made, only the refusal outside of a pod is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_cluster_is_the_service_account_of_the_pod() {
    let lab = Lab::new(1, 0).await;
    let fault = connect(lab.dir.path().join("none").as_path(), json!({ "kubeconfig": "in-cluster" })).members().await.unwrap_err();
    assert!(fault.kind == FaultKind::Invalid && !fault.causes.is_empty(), "{fault:?}");

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("inventory")).unwrap();
    fs::write(
        dir.path().join("inventory/a.toml"),
        "[clusters.edge.kubernetes]\nkubeconfig = \"in-cluster\"\n\n[[nodes]]\nname = \"edge-01\"\ncluster = \"edge\"\nbmc.redfish = { url = \"https://127.0.0.1:9\", username = { env = \"U\" }, password = { env = \"P\" } }\n",
    )
    .unwrap();
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    fs::write(dir.path().join("ca.crt"), lab.tls.ca_pem()).unwrap();
    lab.http().patch_node("edge-01", json!({ "spec": { "unschedulable": true } })).await;
    let there = "/run/secrets/kubernetes.io/serviceaccount";
    let script = format!("mount -t tmpfs tmpfs /run && mkdir -p {there} && cp token ca.crt {there}/ && echo default > {there}/namespace && exec \"$@\"");
    let mut command = std::process::Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_pitstop"), "-i", "inventory", "--store", "sqlite:s/pitstop.db", "--json", "status"]);
    let address = lab.url.trim_start_matches("https://").split_once(':').unwrap();
    command.current_dir(dir.path()).env("KUBERNETES_SERVICE_HOST", address.0).env("KUBERNETES_SERVICE_PORT", address.1).env("U", "u").env("P", "p");
    let out = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Ok(out) = out else {
        eprintln!("SKIPPED: no unshare(1) here");
        return;
    };
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if said.contains("unshare:") || said.contains("mount:") {
        eprintln!("SKIPPED: no mount namespace may be made here: {said}");
        return;
    }
    assert!(said.contains("edge-01") && said.contains("SchedulingDisabled"), "{said}");
}
