//! What a BMC knows beside power, as makers serve it: health and its parts, event logs and their orders, boot progress; and how long it asks to be left alone.
use super::mock::{Answer, Mock, SYSTEM, system};
use pitstop::model::FaultKind;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

/// A BMC of documents: those of the frame, with more in the system.
async fn serving(more: Value, docs: Value) -> Mock {
    Mock::start(move |a| {
        if a.path == SYSTEM {
            let mut doc = system();
            doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            return Some(Answer::Json(200, doc));
        }
        docs.get(&a.path).map(|doc| Answer::Json(200, doc.clone()))
    })
    .await
}
fn at(uri: &str) -> Value {
    json!({ "@odata.id": uri })
}

#[tokio::test]
async fn ill_parts_are_named_and_a_healthy_machine_costs_one_request() {
    let healthy = serving(json!({ "Status": { "HealthRollup": "OK" }, "Memory": at("/mem") }), json!({})).await;
    let health = healthy.bmc(json!({})).health().await.unwrap();
    assert_eq!((health.rollup.as_deref(), health.not_ok.len()), (Some("OK"), 0));
    assert_eq!(healthy.count("GET /mem"), 0);

    let more = json!({
        "Status": { "HealthRollup": "Critical", "Health": "OK" }, "MemorySummary": { "Status": { "HealthRollup": "Critical" } },
        "Memory": at("/mem"), "Processors": at("/cpu"), "Storage": at("/gone"), "Links": { "Chassis": [at("/chassis")] },
    });
    let docs = json!({
        "/mem": { "Members": [at("/mem/1"), at("/mem/2"), at("/mem/3"), at("/mem/404")] },
        "/mem/1": { "Name": "DIMM A1", "Status": { "State": "Enabled", "Health": "OK" } },
        "/mem/2": { "Name": "DIMM A2", "Status": { "State": "Enabled", "Health": "Critical" } },
        "/mem/3": { "Name": "DIMM A3", "Status": { "State": "Absent", "Health": "Critical" } },
        // One maker: `Members: null`.
        "/cpu": { "Members": null },
        "/chassis": { "Power": at("/power"), "Thermal": at("/thermal") },
        "/power": { "PowerSupplies": [{ "Name": "PSU 1", "Status": { "Health": "Warning" } }, { "Name": "PSU 2", "Status": null }, 7], "Redundancy": "[]" },
        "/thermal": { "Fans": [{ "MemberId": "Fan 4", "Status": { "Health": "OK", "HealthRollup": "Critical" } }], "Temperatures": {} },
    });
    let health = serving(more, docs).await.bmc(json!({})).health().await.unwrap();
    assert_eq!(health.rollup.as_deref(), Some("Critical"));
    assert_eq!(health.not_ok, ["DIMM A2: Critical", "PSU 1: Warning", "Fan 4: Critical"]);

    // It does not say: no word is made up.
    let silent = serving(json!({ "Status": { "State": "Enabled" } }), json!({})).await;
    assert_eq!(silent.bmc(json!({})).health().await.unwrap().rollup, None);
}

/// Records as members, as links, newest first, over pages, with ids like 9, 10 and 1603233216_1; of several logs the event log.
#[tokio::test]
async fn the_event_log_is_read_by_record_id_whatever_its_order() {
    let record = |id: &str, message: &str| json!({ "Id": id, "Created": "1970-01-01T00:00:00Z", "Severity": "Warning", "Message": message });
    let logs = json!({
        "/logs": { "Members": [at("/logs/Journal"), at("/logs/SEL"), at("/logs/gone")] },
        "/logs/Journal": { "Id": "Journal", "Entries": at("/journal") },
        "/logs/SEL": { "Id": "SEL", "LogEntryType": "SEL", "Entries": at("/sel") },
        // Newest first, and in pages, the second one linked.
        "/sel": { "Members": [record("10", "ten"), record("9", "nine")], "Members@odata.nextLink": "/sel?skip=2" },
        "/sel?skip=2": { "Members": [at("/sel/8"), record("2", "two"), at("/sel/404"), null, 7] },
        "/sel/8": record("8", "eight"),
    });
    let mock = serving(json!({ "LogServices": at("/logs") }), logs).await;
    let bmc = mock.bmc(json!({}));
    let messages = |entries: Vec<pitstop::model::LogEntry>| entries.into_iter().map(|e| e.message).collect::<Vec<_>>();
    let all = bmc.log_since(None).await.unwrap();
    assert_eq!((all[0].id.as_str(), all[0].severity.as_str(), all[0].at.as_deref()), ("redfish:2", "Warning", Some("1970-01-01T00:00:00Z")));
    assert_eq!(messages(all), ["two", "eight", "nine", "ten"]);
    assert_eq!(messages(bmc.log_since(Some("redfish:8")).await.unwrap()), ["nine", "ten"]);
    assert_eq!(messages(bmc.log_since(Some("redfish:10")).await.unwrap()), [""; 0]);
    // Only what is new is fetched one by one.
    assert_eq!(mock.count("GET /sel/8"), 1);
    // Cleared meanwhile, counting from 1 again: all of it is new.
    assert_eq!(messages(bmc.log_since(Some("redfish:777")).await.unwrap()), ["two", "eight", "nine", "ten"]);
    assert_eq!(bmc.log_since(Some("ipmi:0007")).await.unwrap_err().kind, FaultKind::Unable);
    assert_eq!((mock.count("GET /logs"), mock.count("GET /journal")), (1, 0));

    // At the manager where the system has none; and none at all is said so.
    let manager = json!({ "/bmc": { "LogServices": at("/logs") }, "/logs": { "Members": [at("/logs/iml")] }, "/logs/iml": { "Id": "IML", "Entries": at("/iml") },
        "/iml": { "Members": [record("1603233216_1", "b"), record("1603233216", "a")] } });
    let mock = serving(json!({ "Links": { "ManagedBy": [at("/bmc")] } }), manager).await;
    assert_eq!(messages(mock.bmc(json!({})).log_since(None).await.unwrap()), ["a", "b"]);
    let none = serving(json!({}), json!({})).await;
    assert_eq!(none.bmc(json!({})).log_since(None).await.unwrap_err().kind, FaultKind::Unable);
    // A journal without end is refused, not read for ever.
    let endless = Mock::start(|a| match a.path.split('?').next() {
        Some(SYSTEM) => {
            let mut doc = system();
            doc["LogServices"] = at("/logs");
            Some(Answer::Json(200, doc))
        }
        Some("/logs") => Some(Answer::Json(200, json!({ "Members": [at("/logs/1")] }))),
        Some("/logs/1") => Some(Answer::Json(200, json!({ "Entries": at("/e?0") }))),
        Some("/e") => {
            let n: u32 = a.path.split('?').nth(1).unwrap().parse().unwrap();
            let members: Vec<_> = (0..100).map(|i| json!({ "Id": (n * 100 + i).to_string(), "Message": "x" })).collect();
            Some(Answer::Json(200, json!({ "Members": members, "Members@odata.nextLink": format!("/e?{}", n + 1) })))
        }
        _ => None,
    })
    .await;
    let fault = endless.bmc(json!({})).log_since(None).await.unwrap_err();
    assert!(fault.kind == FaultKind::Unable && endless.asked().len() < 120, "{fault}: {}", endless.asked().len());
}

#[tokio::test]
async fn boot_progress_is_told_where_it_is_said() {
    for (said, seen) in
        [(json!({ "LastState": "OSRunning" }), Some("OSRunning")), (json!({ "LastState": "None" }), None), (json!(null), None), (json!("x"), None)]
    {
        let mock = serving(json!({ "BootProgress": said }), json!({})).await;
        assert_eq!(mock.bmc(json!({})).look().await.unwrap().boot_progress.as_deref(), seen);
    }
}

/// `Retry-After` in seconds, or as a date by the BMC's own clock: until then nothing more is sent, reads and resets alike, and then all is well.
#[tokio::test]
async fn a_bmc_that_asks_for_time_gets_it() {
    for header in ["Retry-After: 1", "Date: Thu, 01 Jan 1970 00:00:10 GMT\r\nRetry-After: Thu, 01 Jan 1970 00:00:11 GMT"] {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let mock = Mock::start(move |a| {
            (a.path == SYSTEM && count.fetch_add(1, SeqCst) == 1).then(|| Answer::Full(503, vec![header.into()], "application/json", b"{}".to_vec()))
        })
        .await;
        let bmc = mock.bmc(json!({}));
        bmc.look().await.unwrap();
        assert_eq!(bmc.look().await.unwrap_err().kind, FaultKind::Unwilling);
        let before = mock.asked().len();
        let fault = bmc.look().await.unwrap_err();
        assert!(fault.kind == FaultKind::Unwilling && fault.what.contains("asked for"), "{fault}");
        assert_eq!(mock.asked().len(), before, "nothing is sent meanwhile");
        tokio::time::sleep(Duration::from_millis(1300)).await;
        bmc.look().await.unwrap();
    }
}

/// Whatever is asked at once, a BMC sees two requests at a time.
#[tokio::test]
async fn at_most_two_requests_are_in_flight() {
    let mock = Mock::start_slow(Duration::from_millis(40), |_| None).await;
    let bmc = mock.bmc(json!({}));
    bmc.look().await.unwrap();
    futures::future::join_all((0..12).map(|_| bmc.look())).await.into_iter().for_each(|seen| drop(seen.unwrap()));
    assert_eq!(mock.most_at_once(), 2);
}
