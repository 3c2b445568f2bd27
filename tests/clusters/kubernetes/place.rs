//! Where a row is tried: the API server that `PITSTOP_TEST_KUBECONFIG` names, else a lab of its own. The same code for both.
//!
//! A row works in a namespace of its own, on a Node object of its own: nobody's work is touched, no kubelet is needed, and none interferes. What a kubelet would do for the
//! row's pods (run them, end them) the row does through the API; what the disruption controller would compute it computes where the server has none.
//! `PITSTOP_TEST_NODE` names a real node to be cordoned instead; it is given back as it was.
use super::*;

pub const MERGE: &str = "application/merge-patch+json";
pub const JSON: &str = "application/json";

#[derive(Clone)]
pub struct Client(kube::Client);
impl Client {
    pub async fn new(kubeconfig: &Path) -> Client {
        rustls::crypto::ring::default_provider().install_default().ok(); // another test was first
        let read = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap();
        config.default_retry = false;
        Client(kube::Client::try_from(config).unwrap())
    }
    pub async fn send(&self, method: &str, path: &str, content: &str, body: Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = axum::http::Request::builder().method(method).uri(path).header("content-type", content).body(kube::client::Body::from(bytes)).unwrap();
        let answer = self.0.send(request).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }
    pub async fn get(&self, path: &str) -> Value {
        self.send("GET", path, JSON, Value::Null).await.1
    }
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, JSON, body).await
    }
}

pub struct Place {
    pub api: Client,
    /// Where `kubeconfig` lies.
    pub dir: std::path::PathBuf,
    pub namespace: String,
    pub node: String,
    /// The controller that owns the row's pods: one that starts nothing.
    owner: Value,
    /// How `PITSTOP_TEST_NODE` stood.
    was: Option<Value>,
    /// Its pods are run by a kubelet.
    kubelet: bool,
    pub real: bool,
    lab: Option<Lab>,
    _dir: Option<tempfile::TempDir>,
    _alone: Option<tokio::sync::MutexGuard<'static, ()>>,
    stand_in: tokio::task::JoinHandle<()>,
}

/// Rows that share a named node take turns.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Why a row cannot be tried here.
pub type Tried = Result<(), String>;

/// Runs a row, and tidies up whatever came of it. Only a real server may lack what a row needs.
pub async fn row(name: &str, body: impl AsyncFnOnce(&Place) -> Tried) {
    let place = Place::new(name).await;
    let tried = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(body(&place))).await;
    let real = place.real;
    place.end().await;
    match tried {
        Ok(Ok(())) => {}
        Ok(Err(why)) if real || why.starts_with("the lab") => eprintln!("{name}: SKIPPED, {why}"),
        Ok(Err(why)) => panic!("{name}: the lab has everything a row needs, but: {why}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Place {
    async fn new(name: &str) -> Place {
        let named = std::env::var("PITSTOP_TEST_KUBECONFIG").ok();
        let (lab, own) = match &named {
            None => (Some(Lab::new(2, 0).await), None),
            Some(named) => {
                // Beside it lie the files it names: it is read where it is.
                let own = tempfile::tempdir().unwrap();
                let path = std::fs::canonicalize(named).unwrap_or_else(|e| panic!("PITSTOP_TEST_KUBECONFIG: {named}: {e}"));
                std::os::unix::fs::symlink(path, own.path().join("kubeconfig")).unwrap();
                (None, Some(own))
            }
        };
        let dir = lab.as_ref().map_or_else(|| own.as_ref().unwrap().path().to_owned(), |lab| lab.dir.path().to_owned());
        let api = Client::new(&dir.join("kubeconfig")).await;
        let short: String = name.replace('_', "-").chars().take(36).collect();
        let namespace = format!("pitstop-{}-{}", short.trim_end_matches('-'), &uuid()[..6]);
        let (code, said) = api.post("/api/v1/namespaces", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })).await;
        assert_eq!(code, 201, "{said}");
        // The work of a controller that may not be there, and whose admission may be.
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
        api.post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), account).await;
        let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "owner" } });
        let (code, owner) = api.post(&format!("/api/v1/namespaces/{namespace}/configmaps"), body).await;
        assert_eq!(code, 201, "{owner}");
        let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": true });

        let given = std::env::var("PITSTOP_TEST_NODE").ok().filter(|_| named.is_some());
        let alone = match given {
            Some(_) => Some(ALONE.lock().await),
            None => None,
        };
        let (mut was, mut kubelet) = (None, false);
        let node = given.clone().unwrap_or_else(|| namespace.clone());
        match given {
            Some(given) => {
                let (code, found) = api.send("GET", &format!("/api/v1/nodes/{given}"), JSON, Value::Null).await;
                assert_eq!(code, 200, "PITSTOP_TEST_NODE: {found}");
                was = Some(found);
                kubelet = beats(&api, &given).await;
            }
            None => own_node(&api, &node).await,
        }
        let stand_in = tokio::spawn(stand_in(api.clone(), namespace.clone(), (!kubelet).then(|| node.clone()), was.is_none()));
        Place { api, dir, namespace, node, owner, was, kubelet, real: named.is_some(), lab, _dir: own, _alone: alone, stand_in }
    }

    async fn end(self) {
        let ns = format!("/api/v1/namespaces/{}", self.namespace);
        for kind in ["pods", "configmaps", "serviceaccounts"] {
            let list = self.api.get(&format!("{ns}/{kind}")).await;
            for name in list["items"].as_array().into_iter().flatten().filter_map(|o| o["metadata"]["name"].as_str()) {
                if kind == "pods" {
                    self.api.send("PATCH", &format!("{ns}/pods/{name}"), MERGE, json!({ "metadata": { "finalizers": null } })).await;
                }
                self.api.send("DELETE", &format!("{ns}/{kind}/{name}"), JSON, json!({ "gracePeriodSeconds": 0 })).await;
            }
        }
        for path in ["apis/policy/v1", "apis/apps/v1"].map(|group| format!("/{group}/namespaces/{}", self.namespace)) {
            for kind in ["poddisruptionbudgets", "daemonsets", "deployments"] {
                self.api.send("DELETE", &format!("{path}/{kind}"), JSON, Value::Null).await;
            }
        }
        self.api.send("DELETE", &ns, JSON, Value::Null).await;
        match &self.was {
            None => drop(self.api.send("DELETE", &format!("/api/v1/nodes/{}", self.node), JSON, Value::Null).await),
            Some(was) => {
                let gone = json!({ "pitstop/run": null, "pitstop/was-unschedulable": null, "pitstop/was-fit": null, "pitstop/reason": null });
                let body = json!({ "metadata": { "annotations": gone }, "spec": { "unschedulable": was["spec"]["unschedulable"] } });
                let (code, said) = self.api.send("PATCH", &format!("/api/v1/nodes/{}", self.node), MERGE, body).await;
                assert_eq!(code, 200, "PITSTOP_TEST_NODE is not as it was: {said}");
            }
        }
        if self.real {
            // A server without the controller that empties namespaces would keep it for ever.
            let begun = Instant::now();
            loop {
                let (code, mut found) = self.api.send("GET", &ns, JSON, Value::Null).await;
                if code == 404 {
                    break;
                }
                if begun.elapsed() > Duration::from_secs(3) && found["status"]["conditions"].is_null() {
                    found["spec"]["finalizers"] = json!([]);
                    self.api.send("PUT", &format!("{ns}/finalize"), JSON, found).await;
                    break;
                }
                if begun.elapsed() > Duration::from_secs(20) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        self.stand_in.abort();
        drop(self.lab);
    }

    pub fn cluster(&self, config: Value) -> Arc<dyn Cluster> {
        connect(&self.dir, config)
    }
    pub fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }
    pub fn told(&self, pod: &str) -> String {
        format!("{}/{pod}", self.namespace)
    }

    /// A pod on the row's node, as given over one that runs, is Ready and belongs to a controller.
    pub async fn put(&self, name: &str, more: Value) -> Result<Value, String> {
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": self.namespace, "labels": { "app": name }, "ownerReferences": [self.owner] },
            "spec": { "nodeName": self.node, "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": false,
                "containers": [{ "name": "c", "image": "registry.k8s.io/pause:3.9" }] } });
        filters::merge(&mut pod, more.clone());
        drop(pod.as_object_mut().unwrap().remove("status"));
        if pod["metadata"]["ownerReferences"].is_null() {
            drop(pod["metadata"].as_object_mut().unwrap().remove("ownerReferences"));
        }
        let (code, made) = self.api.post(&self.pods(), pod).await;
        assert_eq!(code, 201, "{made}");
        let path = format!("{}/{name}", self.pods());
        if self.kubelet {
            if !more["status"].is_null() {
                return Err("it needs a pod whose status no kubelet writes: without PITSTOP_TEST_NODE the row makes a node of its own".into());
            }
            let begun = Instant::now();
            while !ready(&self.api.get(&path).await) {
                if begun.elapsed() > Duration::from_secs(90) {
                    return Err(format!("no pod becomes Ready on {}", self.node));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            return Ok(self.api.get(&path).await);
        }
        let mut status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        filters::merge(&mut status, more["status"].clone());
        let (code, made) = self.api.send("PATCH", &format!("{path}/status"), MERGE, json!({ "status": status })).await;
        assert_eq!(code, 200, "{made}");
        Ok(made)
    }

    /// A budget over the pods labelled `app`, with what a controller that is there has computed, else with `computed`. Says whether one is there.
    pub async fn budget(&self, name: &str, app: &str, spec: Value, computed: Value) -> bool {
        let path = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", self.namespace);
        let mut all = json!({ "selector": { "matchLabels": { "app": app } } });
        filters::merge(&mut all, spec);
        let body = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": name }, "spec": all });
        let (code, made) = self.api.post(&path, body).await;
        assert_eq!(code, 201, "{made}");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            if !self.api.get(&format!("{path}/{name}")).await["status"]["observedGeneration"].is_null() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut status = json!({ "observedGeneration": made["metadata"]["generation"], "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0 });
        if !computed.is_null() {
            filters::merge(&mut status, computed);
            let (code, said) = self.api.send("PATCH", &format!("{path}/{name}/status"), MERGE, json!({ "status": status })).await;
            assert_eq!(code, 200, "{said}");
        }
        false
    }
}

pub fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn heartbeat() -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "Test", "message": "", "lastHeartbeatTime": now });
    json!([condition("Ready", "True"), condition("MemoryPressure", "False"), condition("DiskPressure", "False"), condition("PIDPressure", "False")])
}

async fn own_node(api: &Client, name: &str) {
    let labels = json!({ "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "pitstop-test": "own" });
    // The scheduler shall put nobody's work on it.
    let taints = json!([{ "key": "pitstop-test", "effect": "NoSchedule" }]);
    let body = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels }, "spec": { "taints": taints } });
    let (code, said) = api.post("/api/v1/nodes", body).await;
    assert_eq!(code, 201, "{said}");
    let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
    let info = json!({ "bootID": uuid(), "machineID": uuid().replace('-', ""), "systemUUID": uuid(), "kernelVersion": "6.1.0", "osImage": "test",
        "containerRuntimeVersion": "test://1", "kubeletVersion": "v1.31.2", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64" });
    let status = json!({ "status": { "conditions": heartbeat(), "capacity": room, "allocatable": room, "nodeInfo": info } });
    let (code, said) = api.send("PATCH", &format!("/api/v1/nodes/{name}/status"), MERGE, status).await;
    assert_eq!(code, 200, "{said}");
}

/// Does a kubelet renew the node's Lease?
async fn beats(api: &Client, node: &str) -> bool {
    let lease = api.get(&format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")).await;
    let renewed = lease["spec"]["renewTime"].as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    renewed.is_some_and(|at| jiff::Timestamp::now().as_second() - at.as_second() < 60)
}

/// What a kubelet does: ends pods that were asked to go, and says that it lives.
async fn stand_in(api: Client, namespace: String, node: Option<String>, own: bool) {
    let Some(node) = node else { return };
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    for turn in 0_u64.. {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if own && turn % 50 == 49 {
            api.send(
                "PATCH",
                &format!("/api/v1/nodes/{node}/status"),
                "application/strategic-merge-patch+json",
                json!({ "status": { "conditions": heartbeat() } }),
            )
            .await;
        }
        let list = api.get(&path).await;
        for pod in list["items"].as_array().into_iter().flatten() {
            let held = pod["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
            if !pod["metadata"]["deletionTimestamp"].is_null() && !held {
                let now = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": pod["metadata"]["uid"] } });
                api.send("DELETE", &format!("{path}/{}", pod["metadata"]["name"].as_str().unwrap_or_default()), JSON, now).await;
            }
        }
    }
}
