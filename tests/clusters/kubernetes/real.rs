//! One life of a node that any API server can stand: on a namespace of its own, evicting only its own pods.
use super::*;
use pitstop::model::marks;

/// What the test needs besides the driver: kube itself, as another client.
struct Place {
    client: kube::Client,
    namespace: String,
}

impl Place {
    async fn new(kubeconfig: &Path, real: bool) -> Place {
        rustls::crypto::ring::default_provider().install_default().ok(); // another test was first
        let read = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap();
        let place = Place { client: kube::Client::try_from(config).unwrap(), namespace: format!("pitstop-test-{}", std::process::id()) };
        place.create("/api/v1/namespaces", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": place.namespace } })).await;
        let labels = json!({ "app": "pause" });
        let mut pod = json!({ "metadata": { "labels": labels }, "spec": { "terminationGracePeriodSeconds": 5, "containers": [{ "name": "pause", "image": "registry.k8s.io/pause:3.9" }] } });
        if let (Ok(node), true) = (std::env::var("PITSTOP_TEST_NODE"), real) {
            pod["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
        }
        let set = json!({ "replicas": 1, "selector": { "matchLabels": labels }, "template": pod });
        let meta = json!({ "name": "pause", "namespace": place.namespace });
        place
            .create(
                &format!("/apis/apps/v1/namespaces/{}/deployments", place.namespace),
                json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": set }),
            )
            .await;
        place
    }
    async fn create(&self, path: &str, body: Value) {
        let request = kube::core::Request::new(path).create(&Default::default(), body.to_string().into_bytes()).unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }
    /// The ready pod of the deployment, and its node; none where nothing makes it so.
    async fn pod(&self) -> Option<(String, String)> {
        let start = Instant::now();
        loop {
            let request = kube::core::Request::new(format!("/api/v1/namespaces/{}/pods", self.namespace)).list(&Default::default()).unwrap();
            let list = self.client.request::<Value>(request).await.unwrap();
            let ready = |p: &Value| {
                p["metadata"]["deletionTimestamp"].is_null()
                    && p["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
            };
            if let Some(p) = list["items"].as_array().unwrap().iter().find(|p| ready(p)) {
                return Some((p["metadata"]["name"].as_str().unwrap().to_owned(), p["spec"]["nodeName"].as_str().unwrap().to_owned()));
            }
            // Without a controller there is not even a pod.
            let patience = if list["items"].as_array().unwrap().is_empty() { 15 } else { 120 };
            if start.elapsed() > Duration::from_secs(patience) {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    async fn forbid_evictions(&self) {
        let body = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "pause", "namespace": self.namespace },
            "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "pause" } } } });
        self.create(&format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", self.namespace), body).await;
    }
    async fn delete(&self, path: &str, name: &str) {
        let request = kube::core::Request::new(path).delete(name, &Default::default()).unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }
}

/// Cordon, a budget that says no, eviction, restore: everything the driver writes.
async fn life(dir: &Path, real: bool) {
    let place = Place::new(&dir.join("kubeconfig"), real).await;
    let cluster = connect(dir, json!({}));
    let reached = cluster.probe().await.unwrap();
    assert!(reached.missing_rights.is_empty(), "{:?}", reached.missing_rights);
    let run = ask(&format!("test-{}", std::process::id()));
    let Some((pod, node)) = place.pod().await else {
        place.delete("/api/v1/namespaces", &place.namespace).await;
        assert!(real, "the lab runs what it is given");
        eprintln!("a life: SKIPPED, no Deployment's pod becomes Ready here (no controller, scheduler or kubelet); the rows need none of them");
        return;
    };
    let mine = format!("{}/{pod}", place.namespace);

    let view = cluster.look(&node, &run).await.unwrap();
    assert!(view.ready && view.enabled && view.boot.is_some() && !view.identity.is_empty(), "{view:#?}");
    let loan = take(&*cluster, &node, &run).await.borrows.unwrap();
    // From here on the node is given back whatever happens.
    let rest = async {
        let evict = eviction(&until(&*cluster, &node, &run, "the pod's eviction", |v| v.moves.iter().any(|a| a.what == format!("evict {mine}"))).await, &mine);
        place.forbid_evictions().await;
        let view = until(&*cluster, &node, &run, "the budget in force", |v| v.blockers.iter().any(|b| b.object == format!("pod {mine}"))).await;
        assert!(view.in_maintenance && view.marked_by == run.run.as_ref().map(|r| r.0.clone()));
        assert!(view.moves.iter().all(|a| a.what != evict.what), "what its budget forbids is not asked for");
        let fault = cluster.act(&node, &evict, &run).await.unwrap_err();
        assert_eq!(fault.kind, pitstop::model::FaultKind::Unwilling, "{fault:?}");
        assert!(fault.what.contains(&format!("PodDisruptionBudget {}/pause", place.namespace)), "{fault}");
        place.delete(&format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", place.namespace), "pause").await;
        let mut stale = evict.clone();
        stale.args["uid"] = json!("00000000-0000-4000-8000-000000000000");
        cluster.act(&node, &stale, &run).await.expect("that pod is not there: done, and nothing happened");
        let view = cluster.look(&node, &run).await.unwrap();
        assert!(view.workloads.iter().any(|w| w.name == mine && !w.leaving), "{view:#?}");
        cluster.act(&node, &evict, &run).await.unwrap();
        until(&*cluster, &node, &run, "the pod's end", |v| v.workloads.iter().all(|w| w.name != mine)).await;
    };
    let result = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(rest)).await;
    cluster.act(&node, &cluster.give_back(&node, &loan), &run).await.unwrap();
    place.delete("/api/v1/namespaces", &place.namespace).await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    assert!(cluster.is_paid(&node, &loan).await.unwrap());
    let view = until(&*cluster, &node, &run, "the node back in service", |v| v.enabled).await;
    assert!(view.marked_by.is_none());

    let (owner, other) = (format!("test-{}", std::process::id()), connect(dir, json!({})));
    let hour = Duration::from_secs(3600);
    assert_eq!(cluster.lease(&owner, hour).await.unwrap(), pitstop::model::LeaseAnswer::Ours);
    assert!(matches!(other.lease("somebody else", hour).await.unwrap(), pitstop::model::LeaseAnswer::Held { by, .. } if by == owner));
    cluster.drop_lease(&owner).await.unwrap();
    place.delete("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", marks::PROGRAM).await;
}

#[tokio::test]
async fn a_life_against_the_lab() {
    let lab = Lab::new(2, 0).await;
    life(lab.dir.path(), false).await;
}

#[tokio::test]
async fn a_life_against_a_real_api_server() {
    let Ok(named) = std::env::var("PITSTOP_TEST_KUBECONFIG") else {
        eprintln!("PITSTOP_TEST_KUBECONFIG names no kubeconfig: only the lab was tried");
        return;
    };
    // Beside it lie the files it names: it is read where it is.
    let path = std::fs::canonicalize(named).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&path, dir.path().join("kubeconfig")).unwrap();
    life(dir.path(), true).await;
}
