//! The checks `prometheus` and `alertmanager` against the real ones, on loopback with directories of their own.
#![allow(clippy::unwrap_used, reason = "a test")]
use crate::peer::{Peer, program, tcp_port};
use pitstop::{
    checks::{self, Probe, Verdict},
    drivers::net::probe,
    kinds,
    model::{Blocker, Fault, FaultKind, NodeName, Setting},
};
use serde_json::{Value, json};
use std::{fs, process::Command, time::Duration};

/// As the inventory makes it: what is not said has its default.
async fn look(kind: &str, body: Value) -> Result<Verdict, Fault> {
    let text = toml::to_string(&json!({ kind: body })).unwrap();
    let (_, value) = toml::de::DeTable::parse(&text).unwrap().into_inner().into_iter().next().unwrap();
    let body = (checks::KINDS.iter().find(|k| k.name == kind).unwrap().check)(value).unwrap();
    let check = kinds::make(checks::KINDS, &Setting { kind: kind.into(), body }).unwrap();
    check.look(&Probe::of(&NodeName("edge-01".into()), None, &probe::Probe)).await
}
#[track_caller]
fn well(verdict: Result<Verdict, Fault>) {
    assert!(matches!(verdict, Ok(Verdict::Healthy(_))), "{verdict:?}");
}
#[track_caller]
fn wrong(verdict: Result<Verdict, Fault>) -> Vec<String> {
    let Ok(Verdict::Unhealthy(why)) = verdict else { panic!("not unhealthy: {verdict:?}") };
    why.iter().map(Blocker::to_string).collect()
}
#[track_caller]
fn fault(verdict: Result<Verdict, Fault>, kind: FaultKind, says: &str) {
    let fault = verdict.unwrap_err();
    assert!(fault.kind == kind && fault.to_string().contains(says), "{:?} {fault}", fault.kind);
}

async fn started(name: &str, config: &str, args: &[String]) -> (Peer, String) {
    // reqwest asks the process for its provider; a second installation changes nothing.
    (*pitstop::wire::tls::provider()).clone().install_default().ok();
    let port = tcp_port();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.yml"), config.replace("PORT", &port.to_string())).unwrap();
    let mut command = Command::new(program(name));
    command.args(["--config.file=config.yml", &format!("--web.listen-address=127.0.0.1:{port}"), "--log.level=warn"]).args(args);
    let url = format!("http://127.0.0.1:{port}");
    let mut peer = Peer::start(&mut command, dir);
    peer.ready(|| {
        let ready = reqwest::get(format!("{url}/-/ready"));
        async { ready.await.is_ok_and(|r| r.status().is_success()) }
    })
    .await;
    (peer, url)
}

#[tokio::test]
async fn a_real_prometheus() {
    let config = "global: { scrape_interval: 1s }\nscrape_configs:\n- job_name: self\n  static_configs: [{ targets: ['127.0.0.1:PORT'] }]\n\
        - job_name: dead\n  static_configs: [{ targets: ['127.0.0.1:1'] }]\n";
    let (peer, url) = started("prometheus", config, &["--storage.tsdb.path=data".into()]).await;
    let ask = |query: &str, more: Value| {
        let mut body = json!({ "url": url, "query": query });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        async move { look("prometheus", body).await }
    };
    // Before its first scrape a query finds nothing: `min` is not healthy then, which `empty` is. The docs say so.
    for _ in 0..200 {
        if matches!(ask("count(up)", json!({ "min": 2 })).await, Ok(Verdict::Healthy(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    well(ask("up{job=\"self\"}", json!({ "min": 1, "max": 1 })).await);
    well(ask("up{job=\"self\"} == 0", json!({ "empty": true })).await);
    well(ask("scalar(up{job=\"self\"})", json!({ "min": 1 })).await);
    assert_eq!(wrong(ask("up == 0", json!({ "empty": true })).await), ["__name__=up instance=127.0.0.1:1 job=dead: `up == 0` finds it, at 0"]);
    assert_eq!(wrong(ask("up", json!({ "min": 1 })).await), ["__name__=up instance=127.0.0.1:1 job=dead: is 0, wanted at least 1"]);
    assert_eq!(wrong(ask("up{job=\"gone\"}", json!({ "min": 1 })).await), ["up{job=\"gone\"}: finds nothing"]);
    assert_eq!(wrong(ask("up{job=\"dead\"} / 0", json!({ "min": 0 })).await).len(), 1, "NaN is within no bounds");
    assert_eq!(
        wrong(ask("up{job=\"self\"} / 0", json!({ "max": 9 })).await),
        ["instance=127.0.0.1:".to_owned() + url.rsplit(':').next().unwrap() + " job=self: is inf, wanted at most 9"]
    );
    assert!(wrong(ask("{__name__=~\"go_.+\"}", json!({ "empty": true })).await).last().unwrap().starts_with("Prometheus: and "));

    fault(ask("up{", json!({ "empty": true })).await, FaultKind::Invalid, "answered 400: invalid parameter \"query\": 1:4: parse error");
    fault(ask("up[5m]", json!({ "min": 1 })).await, FaultKind::Invalid, "its answer makes no sense");
    fault(ask("\"well\"", json!({ "min": 1 })).await, FaultKind::Invalid, "its answer makes no sense");
    let wordy = format!("label_replace({{__name__=~\".+\"}}, \"pad\", \"{}\", \"\", \"\")", "x".repeat(900));
    fault(ask(&wordy, json!({ "empty": true })).await, FaultKind::Invalid, "longer than is read");
    // Another server: it has no such API.
    fault(look("alertmanager", json!({ "url": url, "matching": ["a=b"] })).await, FaultKind::Invalid, "answered 404");
    drop(peer);
    fault(ask("up == 0", json!({ "empty": true })).await, FaultKind::Unreachable, "refused");
}

#[tokio::test]
async fn a_real_alertmanager() {
    let config = "route: { receiver: nobody, group_wait: 0s, group_interval: 1s }\nreceivers: [{ name: nobody }]\n\
        inhibit_rules:\n- { source_matchers: ['alertname=\"RackDown\"'], target_matchers: ['severity=\"warning\"'], equal: ['rack'] }\n";
    let (peer, url) = started("prometheus-alertmanager", config, &["--storage.path=data".into(), "--cluster.listen-address=".into()]).await;
    let post = |path: &'static str, body: Value| {
        let request = reqwest::Client::new().post(format!("{url}/api/v2/{path}")).header("content-type", "application/json").body(body.to_string());
        async move {
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        }
    };
    let ask = |matching: &[&str], more: Value| {
        let mut body = json!({ "url": url, "matching": matching });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        async move { look("alertmanager", body).await }
    };
    let mine = "instance=~\"edge-01(:.*)?\"";
    well(ask(&[mine], json!({})).await);

    let labels = |name: &str, severity: &str| json!({ "alertname": name, "instance": "edge-01:9100", "severity": severity, "rack": "r1" });
    let alert = |name: &str, severity: &str| json!([{ "labels": labels(name, severity), "annotations": { "summary": "the disk is full" } }]);
    post("alerts", alert("DiskFull", "critical")).await;
    for matching in [&[mine][..], &[mine, "severity=\"critical\""], &["alertname!=\"x\""], &["rack!~\"r[2-9]\""], &["alertname=DiskFull"]] {
        assert_eq!(wrong(ask(matching, json!({})).await), ["alert DiskFull: the disk is full (edge-01:9100, critical)"], "{matching:?}");
    }
    for other in ["instance=\"edge-02:9100\"", "severity=\"warning\"", "instance=~\"edge-0\"", "rack=\"\""] {
        well(ask(&[mine, other], json!({})).await);
    }
    well(ask(&[mine], json!({ "ignore": ["DiskFull"] })).await);
    fault(ask(&["severity=~\"(\""], json!({})).await, FaultKind::Invalid, "answered 400");

    // Silenced: passed over, unless the inventory wants to know of it all the same.
    let is = |name: &str, value: &str| json!({ "name": name, "value": value, "isRegex": false, "isEqual": true });
    post(
        "silences",
        json!({
            "matchers": [is("alertname", "DiskFull")], "comment": "known", "createdBy": "ops",
            "startsAt": jiff::Timestamp::now().to_string(), "endsAt": (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string(),
        }),
    )
    .await;
    well(ask(&[mine], json!({})).await);
    assert_eq!(wrong(ask(&[mine], json!({ "silenced": true })).await).len(), 1);

    // What another alert explains is passed over; the one that explains it is not.
    post("alerts", alert("Slow", "warning")).await;
    assert_eq!(wrong(ask(&[mine], json!({})).await), ["alert Slow: the disk is full (edge-01:9100, warning)"]);
    post("alerts", json!([{ "labels": { "alertname": "RackDown", "rack": "r1" } }])).await;
    for _ in 0..100 {
        if matches!(ask(&[mine], json!({})).await, Ok(Verdict::Healthy(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    well(ask(&[mine], json!({})).await);
    assert_eq!(wrong(ask(&["rack=\"r1\""], json!({})).await), ["alert RackDown: firing"]);
    // One without a name, and over when its source says so.
    let nameless = |ends: &str| json!([{ "labels": { "job": "disks" }, "endsAt": ends }]);
    post("alerts", nameless(&(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string())).await;
    assert_eq!(wrong(ask(&["job=disks"], json!({})).await), ["alert without a name: firing"]);
    post("alerts", nameless(&jiff::Timestamp::now().to_string())).await;
    well(ask(&["job=disks"], json!({})).await);

    fault(look("prometheus", json!({ "url": url, "query": "up", "min": 1 })).await, FaultKind::Invalid, "answered 404");
    drop(peer);
    fault(ask(&[mine], json!({})).await, FaultKind::Unreachable, "refused");
}
