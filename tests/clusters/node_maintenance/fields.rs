//! reference §9, "Status field": a test per row. The operator is dead, and its words are written by hand: each is weighed, none believed.
use super::*;

/// A node in our NodeMaintenance, whose status says this.
async fn saying(status: Value) -> (Lab, pitstop::model::NodeView) {
    let lab = lab(2).await;
    lab.begin(Trouble::OperatorDead);
    let (cluster, run) = (lab.driver("node_maintenance", json!({ "watch_after": "500ms", "operator_timeout": "60s" })), ask("run-1"));
    work(&*cluster, "edge-01", &run, |v| v.moves.is_empty() && v.marked_by.is_some()).await;
    let (code, said) = lab.send("PATCH", &format!("{PATH}/pitstop-edge-01"), json!({ "status": status })).await;
    assert_eq!(code, 200, "{said}");
    let view = cluster.look("edge-01", &run).await.unwrap();
    (lab, view)
}
fn ago(seconds: u64) -> String {
    (jiff::Timestamp::now() - Duration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn field_phase_succeeded_with_pods_here_is_no_empty_node() {
    let (_lab, view) = saying(json!({ "phase": "Succeeded", "drainProgress": 100 })).await;
    assert!(!view.workloads.is_empty() && blocked(&view).contains("still here, though its NodeMaintenance says Succeeded"), "{view:#?}");
}

#[tokio::test]
async fn field_phase_running_again_after_a_reconcile_is_waited_for() {
    let (_lab, view) = saying(json!({ "phase": "Running", "drainProgress": 100, "lastUpdate": ago(1) })).await;
    assert!(blocked(&view).contains("the operator drains: 100 % done, 0 pods pending") && !view.in_maintenance, "{view:#?}");
}

#[tokio::test]
async fn field_drain_progress_below_zero_says_nothing() {
    let (_lab, view) = saying(json!({ "phase": "Running", "drainProgress": -20, "evictionPods": 5, "pendingPods": ["a", "b"], "lastUpdate": ago(1) })).await;
    assert!(blocked(&view).contains("the operator drains: 2 pods pending, more than when it began"), "{}", blocked(&view));
}

#[tokio::test]
async fn field_eviction_pods_and_totalpods_are_counts_at_its_start_and_decide_nothing() {
    let (_lab, view) = saying(json!({ "phase": "Running", "evictionPods": 0, "totalpods": 0, "lastUpdate": ago(1) })).await;
    assert!(view.workloads.len() >= 3 && !view.in_maintenance, "our own list counts: {view:#?}");
}

#[tokio::test]
async fn field_pending_pods_refs_are_preferred_to_the_names() {
    let refs = json!([{ "namespace": "shop", "name": "web-0" }]);
    let (_lab, view) =
        saying(json!({ "phase": "Running", "drainProgress": 40, "pendingPods": ["web-0", "web-0"], "pendingPodsRefs": refs, "lastUpdate": ago(1) })).await;
    assert!(blocked(&view).contains("40 % done, 1 pods pending"), "{}", blocked(&view));
    let (_lab, view) = saying(json!({ "phase": "Running", "drainProgress": 40, "pendingPods": ["web-0", "web-0"], "lastUpdate": ago(1) })).await;
    assert!(blocked(&view).contains("40 % done, 2 pods pending"), "{}", blocked(&view));
}

#[tokio::test]
async fn field_last_error_is_told_while_it_runs_and_means_nothing_after() {
    let error = "error when evicting pods/\"web-0\" -n \"shop\": global timeout reached: 30s";
    let (lab, view) = saying(json!({ "phase": "Running", "lastError": error, "lastUpdate": ago(1) })).await;
    assert!(blocked(&view).contains("its last error: error when evicting") && view.impossible.is_empty(), "{}", blocked(&view));
    lab.send("PATCH", &format!("{PATH}/pitstop-edge-01"), json!({ "status": { "phase": "Succeeded" } })).await;
    let view = driver(&lab).look("edge-01", &ask("run-1")).await.unwrap();
    assert!(!blocked(&view).contains("global timeout") && view.impossible.is_empty(), "{}", blocked(&view));
}

#[tokio::test]
async fn field_last_update_that_is_old_while_running_is_an_operator_that_is_gone() {
    let (_lab, view) = saying(json!({ "phase": "Running", "lastUpdate": ago(150) })).await;
    assert!(blocked(&view).contains("the operator has not said anything for 15"), "{}", blocked(&view));
    let (_lab, view) = saying(json!({ "phase": "Running", "lastUpdate": ago(60) })).await;
    assert!(!blocked(&view).contains("has not said anything"), "{}", blocked(&view));
}

#[tokio::test]
async fn field_error_on_lease_count_above_three_with_failed_is_an_open_node() {
    let (_lab, view) = saying(json!({ "phase": "Failed", "errorOnLeaseCount": 4, "lastError": "failed to extend lease" })).await;
    assert!(blocked(&view).contains("the operator lost the node's lease") && !view.impossible.is_empty() && !view.in_maintenance, "{view:#?}");
}
