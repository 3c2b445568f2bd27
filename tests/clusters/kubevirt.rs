//! reference §10: VMs over both kinds of cluster, a test per row of its tables, against the lab's KubeVirt.
mod texts;

use super::operators::{Lab, ask, blocked, empty, give_back, until, work};
use pitstop::{
    drivers::cluster::{Ask, Cluster},
    lab::kubernetes::addons::{Addons, Trouble},
    model::{FaultKind, NodeView, Unmovable},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const VMS: &str = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines";
const VMIS: &str = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances";
const MIGRATIONS: &str = "/apis/kubevirt.io/v1/virtualmachineinstancemigrations";

async fn lab(n: usize) -> Lab {
    Lab::new(n, Addons { node_maintenance: true, kubevirt: true, ..Addons::default() }).await
}
fn plain(lab: &Lab) -> Arc<dyn Cluster> {
    lab.driver("kubernetes", json!({}))
}
fn operated(lab: &Lab) -> Arc<dyn Cluster> {
    lab.driver("node_maintenance", json!({ "watch_after": "300ms" }))
}
fn policy(run: &str, unmovable: Unmovable) -> Ask {
    Ask { unmovable, ..ask(run) }
}

/// A VM, running; returns the node it runs on.
async fn vm(lab: &Lab, name: &str, run_strategy: &str, eviction: Option<&str>, more: Value) -> String {
    let mut spec = json!({ "domain": { "devices": {} } });
    if let Some(strategy) = eviction {
        spec["evictionStrategy"] = json!(strategy);
    }
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let body = json!({ "metadata": { "name": name }, "spec": { "runStrategy": run_strategy, "template": { "spec": spec } } });
    assert_eq!(lab.send("POST", VMS, body).await.0, 201);
    if run_strategy == "Manual" {
        let start = format!("/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/{name}/start");
        assert_eq!(lab.send("PUT", &start, json!({})).await.0, 202);
    }
    running(lab, name).await
}
fn local_disk() -> Value {
    json!({ "volumes": [{ "name": "disk", "hostDisk": { "path": "/data/disk.img", "type": "Disk" } }] })
}
async fn running(lab: &Lab, name: &str) -> String {
    let vmi = lab.until(&format!("{VMIS}/{name}"), "a running VM", |v| v["status"]["phase"] == "Running" && v["metadata"]["deletionTimestamp"].is_null()).await;
    vmi["status"]["nodeName"].as_str().unwrap().to_owned()
}
async fn vmi(lab: &Lab, name: &str) -> Value {
    lab.get(&format!("{VMIS}/{name}")).await
}
fn note<'a>(view: &'a NodeView, vm: &str) -> &'a str {
    let object = format!("vm default/{vm}: ");
    view.notes.iter().find_map(|n| n.strip_prefix(&object)).unwrap_or_else(|| panic!("nothing about {vm} in {view:#?}"))
}
/// What `plan` says of a VM that was just made.
async fn foretold(lab: &Lab, name: &str, node: &str) -> String {
    note(&plain(lab).look(node, &Ask::default()).await.unwrap(), name).to_owned()
}

#[tokio::test]
async fn row_strategy_none_is_shut_down_whatever_its_migratability() {
    let lab = lab(2).await;
    let node = vm(&lab, "a", "Always", Some("None"), json!({})).await;
    assert_eq!(foretold(&lab, "a", &node).await, "will be shut down and started elsewhere (runStrategy Always)");
    let node = vm(&lab, "b", "Manual", Some("None"), local_disk()).await;
    assert_eq!(foretold(&lab, "b", &node).await, "will be shut down and will not come back (runStrategy Manual)");
    let view = plain(&lab).look(&node, &Ask::default()).await.unwrap();
    assert!(view.impossible.iter().any(|b| b.object == "vm default/b"), "not without a word from the playbook: {view:#?}");
    assert!(lab.writes().iter().all(|w| !w.starts_with("evict")), "asked, not done");
    assert_eq!(vmi(&lab, "b").await["status"]["evacuationNodeName"], Value::Null);
}

#[tokio::test]
async fn row_live_migrate_and_migratable_moves_and_is_followed() {
    let lab = lab(3).await;
    let node = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
    assert_eq!(foretold(&lab, "db", &node).await, "will migrate");
    let uid = vmi(&lab, "db").await["metadata"]["uid"].clone();
    let (cluster, run) = (plain(&lab), ask("run-1"));
    let view = until(&*cluster, &node, &run, "the cordon's offer", |v| v.moves.len() == 1).await;
    cluster.act(&node, &view.moves[0], &run).await.unwrap();
    let loans = work(&*cluster, &node, &run, |v| blocked(v).contains("live migration kubevirt-evacuation-")).await;
    assert!(loans.iter().any(|l| l.owed == "cancel what still evacuates vm default/db"), "{loans:#?}");
    until(&*cluster, &node, &run, "empty", |v| empty(v) && v.moves.is_empty()).await;
    let moved = vmi(&lab, "db").await;
    assert_eq!(moved["metadata"]["uid"], uid, "the same VM, never stopped");
    assert_ne!(moved["status"]["nodeName"], node.as_str());
    // Its evacuation is over: that loan closes without an act.
    for loan in &loans {
        assert!(cluster.is_paid(&node, loan).await.unwrap(), "{}", loan.owed);
    }
}

#[tokio::test]
async fn row_live_migrate_and_not_migratable_blocks_with_its_reason() {
    let lab = lab(2).await;
    let node = vm(&lab, "disk", "Always", Some("LiveMigrate"), local_disk()).await;
    let view = plain(&lab).look(&node, &Ask::default()).await.unwrap();
    assert_eq!(note(&view, "disk"), "blocks: cannot be live-migrated: DisksNotLiveMigratable: cannot migrate VMI with non-shared HostDisk");
    assert_eq!(
        view.impossible[0].to_string(),
        "vm default/disk: blocks: cannot be live-migrated: DisksNotLiveMigratable: cannot migrate VMI with non-shared HostDisk; it can be stopped for the while: unmovable = \"stop-and-restart\""
    );
    let gpu = json!({ "domain": { "devices": { "hostDevices": [{ "deviceName": "gpu", "name": "g" }] } } });
    let node = vm(&lab, "gpu", "Always", Some("LiveMigrate"), gpu).await;
    assert!(foretold(&lab, "gpu", &node).await.contains("HostDeviceNotLiveMigratable"));
    let bridge = json!({ "domain": { "devices": { "interfaces": [{ "name": "default", "bridge": {} }] } } });
    let node = vm(&lab, "bridge", "Always", Some("LiveMigrate"), bridge).await;
    assert!(foretold(&lab, "bridge", &node).await.contains("InterfaceNotLiveMigratable"));
}

#[tokio::test]
async fn row_live_migrate_if_possible_moves_or_is_shut_down() {
    let lab = lab(2).await;
    let node = vm(&lab, "can", "Always", Some("LiveMigrateIfPossible"), json!({})).await;
    assert_eq!(foretold(&lab, "can", &node).await, "will migrate");
    let node = vm(&lab, "cannot", "Always", Some("LiveMigrateIfPossible"), local_disk()).await;
    assert_eq!(foretold(&lab, "cannot", &node).await, "will be shut down and started elsewhere (runStrategy Always)");
}

#[tokio::test]
async fn row_external_blocks_unless_somebody_outside_acts() {
    let lab = lab(2).await;
    let node = vm(&lab, "ext", "Always", Some("External"), json!({})).await;
    assert!(foretold(&lab, "ext", &node).await.starts_with("blocks: evictionStrategy External"));
}

#[tokio::test]
async fn a_vm_without_a_strategy_follows_the_clusters() {
    let lab = lab(2).await;
    let node = vm(&lab, "plain", "Always", None, json!({})).await;
    assert_eq!(foretold(&lab, "plain", &node).await, "will migrate", "the lab's KubeVirt says LiveMigrate");
}

#[tokio::test]
async fn run_strategies_say_whether_it_comes_back() {
    let lab = lab(2).await;
    let node = vm(&lab, "rerun", "RerunOnFailure", Some("None"), json!({})).await;
    assert!(foretold(&lab, "rerun", &node).await.contains("will not come back (runStrategy RerunOnFailure starts it again only if it fails)"));
    let node = vm(&lab, "once", "Once", Some("None"), json!({})).await;
    assert!(foretold(&lab, "once", &node).await.contains("will not come back (runStrategy Once)"));
    // A bare VMI: nothing would make it again, under no policy.
    let bare = json!({ "metadata": { "name": "bare" }, "spec": { "evictionStrategy": "None", "domain": {} } });
    assert_eq!(lab.send("POST", VMIS, bare).await.0, 201);
    let node = running(&lab, "bare").await;
    assert!(foretold(&lab, "bare", &node).await.contains("will not come back (no VirtualMachine owns it)"));
    let view = plain(&lab).look(&node, &policy("run-1", Unmovable::StopAndRestart)).await.unwrap();
    assert!(view.impossible.iter().any(|b| b.object == "vm default/bare" && b.why.contains("nothing could start it again")), "{view:#?}");
}

#[tokio::test]
async fn text_target_pod_waits_until_the_migration_has_arrived() {
    let lab = lab(2).await;
    let from = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
    lab.begin(Trouble::MigrationHangs);
    work(&*plain(&lab), &from, &ask("run-1"), |v| blocked(v).contains("is Running")).await;
    let to = if from == "edge-01" { "edge-02" } else { "edge-01" };
    let view = plain(&lab).look(to, &Ask::default()).await.unwrap();
    assert!(blocked(&view).contains("vm default/db: arrives here by a live migration: it ends first, then leaves"), "{}", blocked(&view));
    assert!(view.impossible.is_empty());
}

#[tokio::test]
async fn text_failed_calling_webhook_is_transient_and_no_vm_dies() {
    let lab = lab(2).await;
    let node = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
    lab.begin(Trouble::VirtApiDown);
    let view = plain(&lab).look(&node, &Ask::default()).await.unwrap();
    assert!(note(&view, "db").starts_with("KubeVirt cannot say now: ") && note(&view, "db").contains("failed calling webhook"), "{view:#?}");
    assert!(view.impossible.is_empty(), "it will answer again");
}

#[tokio::test]
async fn a_migration_that_failed_three_times_is_blocked_with_its_reason() {
    let lab = lab(2).await;
    let node = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
    lab.begin(Trouble::MigrationFails);
    let (cluster, run) = (plain(&lab), ask("run-1"));
    let loans =
        work(&*cluster, &node, &run, |v| v.workloads.iter().any(|w| w.stuck.as_deref().is_some_and(|s| s.starts_with("blocked: its live migration failed"))))
            .await;
    let said = blocked(&cluster.look(&node, &run).await.unwrap());
    assert!(said.contains("Live migration stuck for 150 seconds and has been aborted"), "{said}");
    // KubeVirt tries for ever; when it works at last, so does the drain.
    lab.end(Trouble::MigrationFails);
    until(&*cluster, &node, &run, "empty", empty).await;
    give_back(&*cluster, &node, &loans, &run).await;
}

#[tokio::test]
async fn giving_back_really_cancels_an_evacuation() {
    for driver in [plain, operated] {
        let lab = lab(2).await;
        let node = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
        lab.begin(Trouble::MigrationHangs);
        let (cluster, run) = (driver(&lab), ask("run-1"));
        let loans = work(&*cluster, &node, &run, |v| blocked(v).contains("is Running")).await;
        assert_eq!(vmi(&lab, "db").await["status"]["evacuationNodeName"], node.as_str());
        // The process died: another one, with nothing remembered, gives back.
        let cluster = driver(&lab);
        give_back(&*cluster, &node, &loans, &run).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let after = vmi(&lab, "db").await;
        assert_eq!((&after["status"]["nodeName"], &after["status"]["evacuationNodeName"]), (&json!(node), &Value::Null));
        let going: Vec<Value> = lab.get(MIGRATIONS).await["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|m| !matches!(m["status"]["phase"].as_str(), Some("Succeeded" | "Failed")))
            .cloned()
            .collect();
        assert!(going.is_empty(), "{going:#?}");
        assert_eq!(lab.node(&node).await["spec"]["unschedulable"], Value::Null);
    }
}

#[tokio::test]
async fn a_kubevirt_that_cannot_cancel_is_named() {
    let lab = lab(2).await;
    let node = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
    lab.begin(Trouble::MigrationHangs);
    lab.begin(Trouble::NoEvacuateCancel);
    let (cluster, run) = (plain(&lab), ask("run-1"));
    let loans = work(&*cluster, &node, &run, |v| blocked(v).contains("is Running")).await;
    let evacuation = loans.iter().find(|l| l.id.0.starts_with("evacuation/")).unwrap();
    let fault = cluster.act(&node, &cluster.give_back(&node, evacuation), &run).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unable);
    assert!(fault.what.contains("before 1.7") && fault.next.unwrap().contains("virtctl"), "{}", fault.what);
    lab.end(Trouble::MigrationHangs);
    until(&*cluster, &node, &run, "empty", empty).await;
    assert!(cluster.is_paid(&node, evacuation).await.unwrap(), "it has moved: nothing is left to cancel");
}

#[tokio::test]
async fn stop_and_restart_leaves_none_stopped_that_ran_and_none_started_that_did_not() {
    for driver in [plain, operated] {
        let lab = lab(2).await;
        // Three that cannot move, on one node, and one that its owner has stopped.
        let here = json!({ "nodeSelector": { "kubernetes.io/hostname": "edge-01" } });
        for strategy in ["Always", "Manual", "RerunOnFailure"] {
            assert_eq!(vm(&lab, &strategy.to_lowercase(), strategy, Some("None"), here.clone()).await, "edge-01");
        }
        let off = json!({ "metadata": { "name": "off" }, "spec": { "runStrategy": "Halted", "template": { "spec": here } } });
        assert_eq!(lab.send("POST", VMS, off).await.0, 201);
        let run = policy("run-1", Unmovable::StopAndRestart);
        let cluster = driver(&lab);
        let view = cluster.look("edge-01", &run).await.unwrap();
        assert!(view.notes.iter().any(|n| n == "vm default/manual: is stopped by pitstop, and started again when the node is back"), "{view:#?}");
        let loans = work(&*cluster, "edge-01", &run, empty).await;
        let owed: Vec<&str> = loans.iter().map(|l| l.owed.as_str()).filter(|o| o.starts_with("start vm")).collect();
        assert_eq!(owed.len(), 3, "in the ledger by name: {owed:?}");
        let stopped = lab.get(&format!("{VMS}/manual")).await;
        assert_eq!((&stopped["spec"]["runStrategy"], &stopped["metadata"]["annotations"]["pitstop/was-run-strategy"]), (&json!("Halted"), &json!("Manual")));

        // The process died, and it gives back twice over.
        let cluster = driver(&lab);
        for loan in loans.iter().filter(|l| l.id.0.starts_with("vm/")) {
            let start = cluster.give_back("edge-01", loan);
            cluster.act("edge-01", &start, &run).await.unwrap();
            cluster.act("edge-01", &start, &run).await.expect("twice is once");
        }
        give_back(&*cluster, "edge-01", &loans, &run).await;
        for strategy in ["Always", "Manual", "RerunOnFailure"] {
            running(&lab, &strategy.to_lowercase()).await;
            let vm = lab.get(&format!("{VMS}/{}", strategy.to_lowercase())).await;
            assert_eq!((&vm["spec"]["runStrategy"], &vm["metadata"]["annotations"]), (&json!(strategy), &json!({})));
        }
        let off = lab.get(&format!("{VMS}/off")).await;
        assert_eq!((&off["spec"]["runStrategy"], &off["metadata"]["annotations"]), (&json!("Halted"), &Value::Null));
        assert_eq!(vmi(&lab, "off").await["code"], 404);
    }
}

#[tokio::test]
async fn what_somebody_decides_about_a_stopped_vm_meanwhile_stays() {
    let lab = lab(2).await;
    let node = vm(&lab, "disk", "Always", Some("LiveMigrate"), local_disk()).await;
    let (cluster, run) = (plain(&lab), policy("run-1", Unmovable::StopAndRestart));
    let loans = work(&*cluster, &node, &run, empty).await;
    lab.send("PATCH", &format!("{VMS}/disk"), json!({ "spec": { "runStrategy": "Manual" } })).await;
    let stop = loans.iter().find(|l| l.id.0 == "vm/default/disk").unwrap();
    lab.send("PATCH", &format!("{VMS}/disk"), json!({ "metadata": { "annotations": null } })).await;
    lab.send("PATCH", &format!("{VMS}/disk"), json!({ "spec": { "runStrategy": "Halted" } })).await;
    assert!(cluster.is_paid(&node, stop).await.unwrap(), "stopped for good, by its owner");
    give_back(&*cluster, &node, &loans, &run).await;
    assert_eq!(lab.get(&format!("{VMS}/disk")).await["spec"]["runStrategy"], "Halted");
}

#[tokio::test]
async fn stop_and_start_elsewhere_runs_it_on_another_node() {
    let lab = lab(2).await;
    let node = vm(&lab, "disk", "Always", Some("LiveMigrate"), local_disk()).await;
    let (cluster, run) = (plain(&lab), policy("run-1", Unmovable::StopAndStartElsewhere));
    let loans = work(&*cluster, &node, &run, empty).await;
    assert_ne!(running(&lab, "disk").await, node);
    give_back(&*cluster, &node, &loans, &run).await;
    // Once cannot be restarted: said before anything is touched.
    let node = vm(&lab, "once", "Once", Some("LiveMigrate"), local_disk()).await;
    let view = cluster.look(&node, &policy("run-2", Unmovable::StopAndStartElsewhere)).await.unwrap();
    assert!(view.impossible.iter().any(|b| b.object == "vm default/once" && b.why.contains("runStrategy Once cannot be restarted elsewhere")), "{view:#?}");
}

#[tokio::test]
async fn the_operator_drains_and_the_vm_migrates() {
    let lab = lab(3).await;
    let node = vm(&lab, "db", "Always", Some("LiveMigrate"), json!({})).await;
    let (cluster, run) = (operated(&lab), ask("run-1"));
    let loans = work(&*cluster, &node, &run, empty).await;
    assert_ne!(running(&lab, "db").await, node);
    give_back(&*cluster, &node, &loans, &run).await;
    assert_eq!(lab.node(&node).await["spec"]["unschedulable"], Value::Null);
}
