//! §4.6: every answer to an eviction, row by row: what it means, what is said of it, and that it is sent once.
use super::{
    answers::{budget, evict, pod, status},
    *,
};
use pitstop::model::FaultKind::{self, *};

/// What the answer comes to: gone or going, or a fault of this kind that says this and, where a person can do something, what.
async fn comes_to(code: u16, body: String, means: Option<(FaultKind, &str, &str)>) {
    let budgets = if body.contains("more than one") { vec![budget("web"), budget("web-too")] } else { vec![budget("web")] };
    let (answer, posted) = evict(code, body.clone(), Some(pod("u1")), budgets).await;
    assert_eq!(posted.len(), 1, "who repeats is the engine: {code} {body}");
    match (means, answer) {
        (None, Ok(())) => {}
        (Some((kind, says, next)), Err(fault)) => {
            assert_eq!(fault.kind, kind, "{fault}");
            assert!(fault.what.starts_with("evict shop/web-0: ") && fault.to_string().contains(says), "{fault}");
            assert!(fault.next.as_deref().unwrap_or_default().contains(next), "{:?}", fault.next);
        }
        (means, answer) => panic!("{code} {body}: {means:?}, but {answer:?}"),
    }
}

const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
fn because(message: &str) -> Value {
    json!([{ "reason": "DisruptionBudget", "message": message }])
}
const NONE: fn() -> Value = || json!([]);

macro_rules! rows {
    ($($name:ident: $code:literal, $body:expr => $means:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            comes_to($code, $body, $means).await;
        })*
    };
}

rows! {
    row_4_6_201_success: 201, json!({ "kind": "Status", "status": "Success" }).to_string() => None;
    row_4_6_404: 404, status("NotFound", "pods \"web-0\" not found", NONE()) => None;
    row_4_6_429_pdb: 429, status("TooManyRequests", VIOLATES, because("The disruption budget web needs 2 healthy pods and has 2 currently"))
        => Some((Unwilling, "2 of 2 needed by PodDisruptionBudget shop/web, 0 may be evicted", "scale the application up, or lift the budget"));
    row_4_6_429_pdb_not_yet_observed: 429, status("TooManyRequests", VIOLATES, because("The disruption budget web is still being processed by the server."))
        => Some((Unwilling, "has only just been changed, the API server still counts", ""));
    row_4_6_429_pdb_failed_sync: 429, status("TooManyRequests", VIOLATES, because("The disruption budget web does not allow evicting pods currently because it failed sync: jobs.batch does not implement the scale subresource"))
        => Some((Unwilling, "cannot be computed", "integer minAvailable"));
    row_4_6_429_from_a_webhook: 429, status("", "admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: Eviction triggered evacuation of VMI \"shop/vm\"", NONE())
        => Some((Unwilling, "admission webhook virt-launcher-eviction-interceptor.kubevirt.io refuses it", ""));
    row_4_6_429_overload: 429, "Too many requests, please try again later.\n".into() => Some((Unwilling, "overloaded or stopping", ""));
    row_4_6_429_api_server_stopping: 429, "The apiserver is shutting down, please try again later.\n".into() => Some((Unwilling, "overloaded or stopping", ""));
    row_4_6_403_namespace_terminating: 403, status("Forbidden", "shop is terminating", json!([{ "reason": "NamespaceTerminating" }]))
        => Some((Unwilling, "namespace shop is being deleted", ""));
    row_4_6_403_disruptions_allowed_is_negative: 403, status("Forbidden", "pdb disruptions allowed is negative", NONE()) => Some((Unwilling, "lags behind", ""));
    row_4_6_403_disrupted_pods_map_too_big: 403, status("Forbidden", "DisruptedPods map too big - too many evictions not confirmed by PDB controller", NONE())
        => Some((Unwilling, "lags behind", ""));
    // Denied ends the whole evacuation at the first one (steps::evacuate).
    row_4_6_403_other: 403, status("Forbidden", "User \"u\" cannot create resource \"pods/eviction\"", NONE()) => Some((Denied, "not allowed", "give the account the rights"));
    row_4_6_400: 400, status("BadRequest", "name in URL does not match name in Eviction object", NONE()) => Some((Unable, "400", ""));
    row_4_6_500_more_than_one_pdb: 500, status("", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.", NONE())
        => Some((Unwilling, "shop/web and shop/web-too", "one budget per pod"));
    row_4_6_500_failed_calling_webhook: 500, status("InternalError", "Internal error occurred: failed calling webhook \"guard.example\": Post \"https://guard.example\": connection refused", NONE())
        => Some((Unwilling, "admission webhook guard.example does not answer", "get the pods behind it Ready again"));
    row_4_6_500_other: 500, status("InternalError", "etcdserver: request timed out", NONE()) => Some((Unknown, "500", ""));
    row_4_6_504_timeout: 504, status("Timeout", "couldn't update PodDisruptionBudget \"web\" due to conflicts", NONE()) => Some((Unknown, "ran out of time", ""));
    row_4_6_503: 503, "apiserver is shutting down".into() => Some((Unwilling, "not available", ""));
    // A first refusal may be a token that has run out: it is read anew, and only the second one is meant.
    row_4_6_401: 401, status("Unauthorized", "Unauthorized", NONE()) => Some((Unwilling, "our credentials have expired, they are read anew", ""));
}

#[tokio::test]
async fn row_4_6_401_twice_is_meant() {
    let lab = Lab::new(1, 0).await;
    let path = lab.dir.path().join("kubeconfig");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, good.replace(TOKEN, "expired")).unwrap();
    let cluster = lab.cluster();
    let mut act = Act::new("cluster", "evict shop/web-0", pitstop::model::Repeat::Freely);
    act.args = json!({ "do": "evict", "namespace": "shop", "name": "web-0", "uid": "u1" });
    // What finds out how evictions are written is refused first; then the eviction itself.
    let kinds = [cluster.act("edge-01", &act, &ask("run-1")).await.unwrap_err().kind, cluster.act("edge-01", &act, &ask("run-1")).await.unwrap_err().kind];
    assert_eq!(kinds[1], Denied);
    // The file is right again: nothing has to be restarted.
    std::fs::write(&path, good).unwrap();
    assert_eq!(cluster.members().await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_answer_by_connection_is_tried_again_and_is_no_success() {
    let mut act = Act::new("cluster", "evict shop/web-0", pitstop::model::Repeat::Freely);
    act.args = json!({ "do": "evict", "namespace": "shop", "name": "web-0", "uid": "u1" });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dir = answers::for_address(address);
    assert_eq!(connect(dir.path(), json!({})).act("n1", &act, &ask("run-1")).await.unwrap_err().kind, Unreachable);
}
