//! Other people in the lab's world: an administrator at the Kubernetes API, one on a host over SSH.
use crate::rig::{Lab, text};
use serde_json::Value;
use std::{fs, io::Read, net::TcpStream};

/// From the kubeconfig, by its indented keys.
pub fn field(kubeconfig: &str, key: &str) -> String {
    let line = kubeconfig.lines().find_map(|l| l.trim().strip_prefix(&format!("{key}: "))).unwrap_or_else(|| panic!("no {key}"));
    line.trim().to_owned()
}

pub fn client(ca_pem: &[u8]) -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok(); // another test may have been first
    reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(ca_pem).unwrap()]).no_proxy().build().unwrap()
}

pub fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// As `kubectl cordon` does.
pub fn cordon(lab: &Lab, node: &str, cordoned: bool) {
    let config = fs::read_to_string(lab.path("kubeconfig")).unwrap();
    let url = format!("{}/api/v1/nodes/{node}", field(&config, "server"));
    let client = client(&fs::read(lab.path("ca.pem")).unwrap());
    block(async {
        let patch = client.patch(url).bearer_auth(field(&config, "token")).header("content-type", "application/merge-patch+json");
        let answer = patch.body(format!("{{\"spec\":{{\"unschedulable\":{cordoned}}}}}")).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    });
}

/// As if the time of the lock had passed that a dead run left in the cluster.
pub fn expire_lock(lab: &Lab) {
    let config = fs::read_to_string(lab.path("kubeconfig")).unwrap();
    let leases = get(lab, "/apis/coordination.k8s.io/v1/leases");
    let ours = leases["items"].as_array().unwrap().iter().find(|l| l["metadata"]["name"] == "pitstop").unwrap();
    let url = format!("{}/apis/coordination.k8s.io/v1/namespaces/{}/leases/pitstop", field(&config, "server"), text(&ours["metadata"]["namespace"]));
    let client = client(&fs::read(lab.path("ca.pem")).unwrap());
    block(async {
        let patch = client.patch(url).bearer_auth(field(&config, "token")).header("content-type", "application/merge-patch+json");
        let answer = patch.body("{\"spec\":{\"renewTime\":\"2001-01-01T00:00:00.000000Z\"}}").send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    });
}

/// What the API server shows.
pub fn get(lab: &Lab, path: &str) -> Value {
    let config = fs::read_to_string(lab.path("kubeconfig")).unwrap();
    let url = format!("{}{path}", field(&config, "server"));
    let client = client(&fs::read(lab.path("ca.pem")).unwrap());
    block(async { client.get(url).bearer_auth(field(&config, "token")).send().await.unwrap().json().await.unwrap() })
}

/// Pods that may run anywhere: uid and node.
pub fn movable(lab: &Lab) -> Vec<(String, String)> {
    let pods = get(lab, "/api/v1/pods");
    let bound = |p: &&Value| {
        let owner = p["metadata"]["ownerReferences"][0]["kind"].as_str();
        ["ReplicaSet", "StatefulSet"].iter().any(|kind| owner == Some(kind))
    };
    let row = |p: &Value| (text(&p["metadata"]["uid"]), p["spec"]["nodeName"].as_str().unwrap_or_default().to_owned());
    pods["items"].as_array().unwrap().iter().filter(bound).map(row).collect()
}

/// Until its kubelet has been silent long enough.
pub fn until_not_ready(lab: &Lab, node: &str) {
    let ready = |n: &Value| n["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    crate::rig::until("the node controller", || !ready(&get(lab, &format!("/api/v1/nodes/{node}"))));
}

/// At its BMC, by somebody who asks nobody.
pub fn reset(lab: &Lab, node: &str) {
    let listed = lab.ask(&["inventory", node, "--json"]).ends(0).json();
    let url = format!("{}/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", text(&listed["nodes"][node]["bmc"][0]["body"]["url"]));
    let client = client(&fs::read(lab.path("ca.pem")).unwrap());
    let [user, password] = ["bmc-username", "bmc-password"].map(|s| fs::read_to_string(lab.path("secrets").join(s)).unwrap());
    block(async {
        let post = client.post(url).basic_auth(user, Some(password)).header("content-type", "application/json");
        let answer = post.body("{\"ResetType\":\"ForceRestart\"}").send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    });
}

/// As root on the host.
pub fn on_host(lab: &Lab, node: &str, command: &str) -> String {
    let listed = lab.ask(&["inventory", node, "--json"]).ends(0).json();
    let setting = &listed["nodes"][node]["host"]["body"];
    let address = (text(&setting["host"]), setting["port"].as_u64().unwrap() as u16);
    let mut session = ssh2::Session::new().unwrap();
    session.set_tcp_stream(TcpStream::connect(address).unwrap());
    session.handshake().unwrap();
    session.userauth_pubkey_memory("root", None, &fs::read_to_string(lab.path("secrets/ssh-key")).unwrap(), None).unwrap();
    let mut channel = session.channel_session().unwrap();
    channel.exec(command).unwrap();
    let mut said = String::new();
    channel.read_to_string(&mut said).unwrap();
    channel.wait_close().unwrap();
    said
}

#[test]
fn the_world_can_be_moved_from_outside() {
    let lab = Lab::start(1, &[]);
    cordon(&lab, "edge-01", true);
    let out = lab.ask(&["status", "--json"]).ends(0).json();
    assert_eq!((&out["out"][0]["node"], &out["out"][0]["state"]), (&Value::from("edge-01"), &Value::from("foreign")));
    assert_eq!(on_host(&lab, "edge-01", "hostname").trim(), "edge-01");
}
