//! The `command` cluster with real scripts: a small system in a directory, and commands that hang, lie and print garbage.
use pitstop::{
    drivers::cluster::{Ask, Cluster, KINDS},
    kinds,
    model::{Connect, Fault, FaultKind, RunId, Secret, SecretRef, Secrets, Setting, Trust},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

struct Given;
impl Secrets for Given {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        match from {
            SecretRef::Env(name) => Ok(Secret::new(name.clone())),
            other => Err(Fault::new(FaultKind::Invalid, format!("no {other}"))),
        }
    }
}

/// A whole system: `state` holds the node's state, `vms` what runs there, `log` what was called and how.
const SYSTEM: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
verb=$1 node=$2
echo "$verb $node run=$PITSTOP_RUN reason=$PITSTOP_REASON token=${TOKEN:+given} leaked=${LEAKED:-no} args=$#" >>log
list() { sed 's/.*/{"kind":"vm","name":"&"}/' vms | paste -sd, -; }
case $verb in
  resolve) printf '{"nodes":[{"name":"n1","id":"17","state":"%s","identity":{"serial":"SN17"}},{"name":"n2","id":"18","state":"in-service"}]}' "$(cat state)" ;;
  status) printf '{"node":"%s","id":"17","state":"%s","ready":true,"started":"%s"}' "$node" "$(cat state)" "$(cat started)" ;;
  workloads) printf '{"node":"%s","id":"17","workloads":[%s]}' "$node" "$(list)" ;;
  enter) echo maintenance >state; (sleep 0.2; : >vms) >/dev/null 2>&1 & ;;
  leave) echo in-service >state ;;
esac
"#;

struct System {
    dir: tempfile::TempDir,
}
impl System {
    fn new() -> System {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("system.sh", SYSTEM), ("state", "in-service"), ("vms", "db\nweb\n"), ("started", "1"), ("log", "")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        System { dir }
    }
    fn script(&self, name: &str, text: &str) -> Value {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        json!(["/bin/sh", self.dir.path().join(name)])
    }
    /// Its commands, but for those given.
    fn driver(&self, other: Value) -> Arc<dyn Cluster> {
        let mut body = json!({ "timeout": "20s", "env": { "TOKEN": { "env": "s3cret" } } });
        for verb in ["resolve", "enter", "status", "leave", "workloads"] {
            body[verb] = json!(["/bin/sh", "system.sh", verb]);
        }
        body.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        made(self.dir.path(), body).unwrap()
    }
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}
fn made(dir: &Path, body: Value) -> Result<Arc<dyn Cluster>, Fault> {
    let config = kinds::make(KINDS, &Setting { kind: "command".into(), body }).unwrap();
    config.connect(&Connect { node: None, secrets: Arc::new(Given), trust: Trust::default(), base: dir.into(), home: dir.into() })
}
fn ask() -> Ask {
    Ask { run: Some(RunId("r-1".into())), reason: Some("a; rm -rf $HOME `x`".into()), ..Ask::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_and_comes_back() {
    let system = System::new();
    let driver = system.driver(json!({}));
    assert!(driver.probe().await.unwrap().what.contains("2 nodes"));
    let before = driver.look("n1", &ask()).await.unwrap();
    assert!(before.enabled && before.ready && before.workloads.len() == 2 && before.identity.serial.as_deref() == Some("SN17"), "{before:#?}");
    let enter = &before.moves[0];
    driver.act("n1", enter, &ask()).await.unwrap();
    // The state is set at once, and nothing has moved yet.
    let at_once = driver.look("n1", &ask()).await.unwrap();
    assert!(at_once.in_maintenance && !at_once.workloads.is_empty(), "{at_once:#?}");
    let began = Instant::now();
    while !driver.look("n1", &ask()).await.unwrap().workloads.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(driver.members().await.unwrap().iter().filter(|m| m.out.is_some()).count(), 1);
    let loan = enter.borrows.clone().unwrap();
    assert!(!driver.is_paid("n1", &loan).await.unwrap());
    driver.act("n1", &driver.give_back("n1", &loan), &ask()).await.unwrap();
    assert!(driver.is_paid("n1", &loan).await.unwrap() && driver.look("n1", &ask()).await.unwrap().enabled);
    let log = system.log();
    // No shell saw the reason, and the secret came by the environment that names it.
    assert!(log.contains("enter n1 run=r-1 reason=a; rm -rf $HOME `x` token=given leaked=no args=2"), "{log}");
    assert!(!log.contains("s3cret"));
    // The name passed to another machine since.
    let other = pitstop::model::Loan { before: json!({ "id": "99" }), ..loan };
    assert!(driver.is_paid("n1", &other).await.unwrap_err().to_string().contains("another node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_calls_no_command_that_changes_anything() {
    let system = System::new();
    let driver = system.driver(json!({}));
    driver.probe().await.unwrap();
    driver.members().await.unwrap();
    driver.look("n1", &ask()).await.unwrap();
    let log = system.log();
    assert!(log.lines().count() >= 5 && log.lines().all(|l| !l.starts_with("enter") && !l.starts_with("leave")), "{log}");
    let gone = driver.look("n9", &ask()).await.unwrap_err();
    assert!(gone.kind == FaultKind::Unable && gone.to_string().contains("n1, n2"), "{gone}");
}

/// It and what it left behind are gone at the limit, and a write is then in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_is_killed_with_all_its_children() {
    let system = System::new();
    let hangs =
        system.script("hang.sh", "cd \"$(dirname \"$0\")\"\n(trap '' TERM HUP INT; sleep 300 & echo $! >child; wait) &\ntrap '' TERM\nwait\nsleep 300\n");
    let driver = system.driver(json!({ "timeout": "1s", "enter": hangs, "workloads": hangs }));
    let began = Instant::now();
    let fault = driver.look("n1", &ask()).await.unwrap_err();
    assert!(fault.kind == FaultKind::Unknown && fault.to_string().contains("killed with all its children"), "{fault}");
    let ours =
        |text: String| text.trim().parse::<u32>().is_ok_and(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z ")));
    let child = || std::fs::read_to_string(system.dir.path().join("child")).unwrap();
    while ours(child()) {
        assert!(began.elapsed() < Duration::from_secs(15), "its child lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut enter = pitstop::model::Act::new("cluster", "enter maintenance n1", pitstop::model::Repeat::Freely);
    enter.args = json!({ "do": "enter" });
    assert_eq!(driver.act("n1", &enter, &ask()).await.unwrap_err().kind, FaultKind::Unknown);
    // One that ends and leaves a child which holds its output open has not ended.
    let leaves = system.script("leaves.sh", "sleep 300 &\nexit 0\n");
    let driver = system.driver(json!({ "timeout": "1s", "enter": leaves }));
    assert_eq!(driver.act("n1", &enter, &ask()).await.unwrap_err().kind, FaultKind::Unknown);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_lies_are_no_answers() {
    let system = System::new();
    let says = |text: &str| format!("cat <<'X'\n{text}\nX\n");
    for (i, text) in [
        "",
        "ok",
        "null",
        "[]",
        "{}",
        r#"{"node":"n1","id":"17","workloads":null}"#,
        r#"{"node":"n1","id":"17","workloads":[]} trailing"#,
        r#"{"node":"n1","id":"17","workloads":[{}]}"#,
    ]
    .iter()
    .enumerate()
    {
        let driver = system.driver(json!({ "workloads": system.script(&format!("g{i}.sh"), &says(text)) }));
        assert_eq!(driver.look("n1", &ask()).await.unwrap_err().kind, FaultKind::Invalid, "{text}");
    }
    // Empty, but of another node; or of a node that took its name.
    for (name, lie) in [("l1.sh", r#"{"node":"n2","id":"17","workloads":[]}"#), ("l2.sh", r#"{"node":"n1","id":"18","workloads":[]}"#)] {
        let driver = system.driver(json!({ "workloads": system.script(name, &says(lie)) }));
        assert!(driver.look("n1", &ask()).await.unwrap_err().to_string().contains("not about n1"), "{lie}");
    }
    let odd = system.script("odd.sh", &says(r#"{"node":"n1","id":"17","state":"MAINTENANCE","ready":true}"#));
    let view = system.driver(json!({ "status": odd })).look("n1", &ask()).await.unwrap();
    assert!(!view.in_maintenance && !view.enabled && view.moves.is_empty() && view.blockers[0].why.contains("not known"), "{view:#?}");
    let leaks = system.script("leaks.sh", "echo \"[$TOKEN]\"");
    let leaks = system.driver(json!({ "workloads": leaks })).look("n1", &ask()).await.unwrap_err();
    assert!(leaks.to_string().contains("(secret)") && !format!("{leaks:?}").contains("s3cret"), "{leaks}");
    let endless = system.script("endless.sh", "yes '{\"node\":\"n1\"' | head -c 8000000\n");
    assert_eq!(system.driver(json!({ "workloads": endless })).look("n1", &ask()).await.unwrap_err().kind, FaultKind::Unknown);
    let none = system.script("none.sh", &says(r#"{"nodes":[]}"#));
    assert_eq!(system.driver(json!({ "resolve": none })).members().await.unwrap_err().kind, FaultKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_command_ends_says_what_it_proves() {
    let system = System::new();
    let mut enter = pitstop::model::Act::new("cluster", "enter maintenance n1", pitstop::model::Repeat::Freely);
    enter.args = json!({ "do": "enter" });
    use FaultKind::*;
    for (end, kind) in [("exit 75", Unwilling), ("exit 77", Denied), ("exit 69", Unable), ("exit 64", Unable), ("exit 1", Unknown), ("kill -9 $$", Unknown)] {
        let script = system.script("end.sh", &format!("echo \"no: $TOKEN\" >&2\n{end}\n"));
        let fault = system.driver(json!({ "enter": script })).act("n1", &enter, &ask()).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{end}: {fault}");
        assert!(fault.to_string().contains("no: (secret)") && !format!("{fault:?}").contains("s3cret"), "{fault}");
    }
    let read = system.script("read.sh", "exit 1\n");
    assert_eq!(system.driver(json!({ "workloads": read })).look("n1", &ask()).await.unwrap_err().kind, Unwilling);
    let missing = system.driver(json!({ "enter": ["/nowhere/enter"] })).act("n1", &enter, &ask()).await.unwrap_err();
    assert_eq!(missing.kind, Unreachable, "nothing was run: {missing}");
    assert!(
        made(
            system.dir.path(),
            json!({ "resolve": ["a"], "enter": ["a"], "status": ["a"], "leave": ["a"], "workloads": ["a"], "env": { "T": { "file": "nowhere" } } })
        )
        .is_err()
    );
}
