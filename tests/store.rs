//! One contract for every store, and what only a real file can show: death by `kill -9` and other processes at the lock.
#![allow(clippy::unwrap_used)]
use pitstop::{
    engine::store::{
        Lock, OpenError, Owner, Request, RunFilter, Store, StoreError, Until, digest,
        memory::{Memory, Script},
        sqlite::Sqlite,
    },
    event::{Event, Record, Stop},
    model::{Clock, ClusterName, NodeName, RunId, TimeScale, Timestamp},
    plan::{FORMAT, Limits, Plan},
};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

const LEASE: Duration = Duration::from_secs(30);

/// A clock that moves only when told.
struct Hand(AtomicI64);
impl Hand {
    fn new() -> Arc<Hand> {
        Arc::new(Hand(AtomicI64::new(1_700_000_000)))
    }
    fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

fn edge() -> ClusterName {
    ClusterName("edge".into())
}
fn run(n: u32) -> RunId {
    RunId(format!("0190-{n:04}"))
}
fn owner(id: &str) -> Owner {
    Owner { who: format!("ops@{id}"), pid: std::process::id(), id: id.into() }
}
fn record(run: &RunId, seq: u64, lock: &Lock, event: Event) -> Record {
    let at = Timestamp::from_second(1_700_000_000 + seq as i64).unwrap();
    Record { run: run.clone(), seq, id: format!("{}-{}-{seq}", lock.owner.id, lock.token), token: lock.token, at, event }
}
fn started(run: &RunId, lock: &Lock) -> Record {
    let event = Event::RunStarted {
        cluster: lock.cluster.clone(),
        group: Some("g1".into()),
        playbook: "reboot".into(),
        plan: "5be0".into(),
        format: FORMAT,
        program: "pitstop test".into(),
        by: lock.owner.who.clone(),
        reason: None,
        nodes: vec![NodeName("edge-01".into()), NodeName("edge-02".into())],
    };
    record(run, 1, lock, event)
}
fn resumed(run: &RunId, seq: u64, lock: &Lock) -> Record {
    record(run, seq, lock, Event::RunResumed { program: "pitstop test".into(), by: lock.owner.who.clone() })
}
fn plan(cluster: ClusterName, playbook: &str) -> Plan {
    let limits = Limits { max_unavailable: 1, failure_budget: 0, within: vec![], max_per: Default::default(), canary: 0, window: vec![], max_resets: 2 };
    Plan {
        format: FORMAT,
        made_at: Timestamp::from_second(1_700_000_000).unwrap(),
        playbook: playbook.into(),
        description: String::new(),
        cluster,
        clusters: Default::default(),
        vouched: None,
        base: "inventory".into(),
        time: TimeScale(1.0),
        steps: vec![],
        forward: 0,
        verify_at: None,
        ask: false,
        pause_after_canary: false,
        due: vec![],
        limits,
        nodes: Default::default(),
        skipped: Default::default(),
        notes: vec![],
    }
}

// The contract

/// Everything `Store` promises; `store` is empty.
async fn contract(store: &dyn Store) {
    locks(store).await;
    appends(store).await;
    plans_and_blobs(store).await;
    heads(store).await;
    inbox_and_forget(store).await;
}

async fn locks(store: &dyn Store) {
    let cluster = ClusterName("locks".into());
    let first = store.lock(&cluster, &owner("a"), Some(&run(1)), LEASE).await.unwrap();
    let again = store.lock(&cluster, &owner("a"), None, LEASE).await.unwrap();
    assert_eq!(first.token, again.token, "the same owner asks twice and gets the same lock");
    match store.lock(&cluster, &owner("b"), Some(&run(2)), LEASE).await {
        Err(StoreError::Locked { by, run: whose, .. }) => assert_eq!((by, whose), (owner("a"), Some(run(1)))),
        other => panic!("{other:?}"),
    }
    store.lock(&ClusterName("elsewhere".into()), &owner("b"), None, LEASE).await.expect("another cluster is free");
    store.renew(&first).await.unwrap();
    store.unlock(&first).await.unwrap();
    assert_eq!(store.renew(&first).await, Err(StoreError::LostLock { by: None }));
    assert_eq!(store.unlock(&first).await, Err(StoreError::LostLock { by: None }), "unlocked twice");
    let second = store.lock(&cluster, &owner("b"), None, LEASE).await.unwrap();
    assert!(second.token > first.token, "tokens only grow");
    assert_eq!(store.renew(&first).await, Err(StoreError::LostLock { by: Some(owner("b")) }));
    assert_eq!(store.unlock(&first).await, Err(StoreError::LostLock { by: Some(owner("b")) }), "an old lock frees nothing");
    store.renew(&second).await.expect("still b's");
}

async fn appends(store: &dyn Store) {
    let id = run(10);
    assert_eq!(store.load(&id, 0).await, Err(StoreError::NotFound { what: format!("run {id}") }));
    let a = store.lock(&edge(), &owner("a"), Some(&id), LEASE).await.unwrap();
    let first = [started(&id, &a), resumed(&id, 2, &a)];
    store.append(&a, &id, 0, &first).await.unwrap();
    store.append(&a, &id, 0, &first).await.expect("the same records again");
    store.append(&a, &id, 1, &first[1..]).await.expect("a part of them again");
    assert_eq!(store.load(&id, 0).await.unwrap(), first);
    assert_eq!(store.load(&id, 1).await.unwrap(), first[1..]);
    assert_eq!(store.load(&id, 2).await.unwrap(), []);

    let conflict = Err(StoreError::Conflict { head: 2 });
    let third = resumed(&id, 3, &a);
    let other_second = Record { id: "other".into(), ..resumed(&id, 2, &a) };
    assert_eq!(store.append(&a, &id, 1, &[other_second]).await, conflict, "ours, but the log is longer");
    assert_eq!(store.append(&a, &id, 1, &[first[1].clone(), third.clone()]).await, conflict, "all or none: the new one is not slipped in");
    assert_eq!(store.append(&a, &id, 3, &[resumed(&id, 4, &a)]).await, conflict, "a gap");
    assert_eq!(store.append(&a, &id, 2, &[resumed(&id, 4, &a)]).await, conflict, "not numbered from `after` on");
    assert_eq!(store.append(&a, &id, 0, &[]).await, conflict, "nothing, at a place that is taken");
    let strange = resumed(&run(11), 3, &a);
    assert!(matches!(store.append(&a, &id, 2, &[strange]).await, Err(StoreError::Refused { .. })), "a record of another run");
    assert_eq!(store.load(&id, 0).await.unwrap(), first, "none of that was written");

    let long = Record { event: Event::RunResumed { program: "x".repeat(2 << 20), by: "x".into() }, ..third.clone() };
    assert!(matches!(store.append(&a, &id, 2, &[third.clone(), long]).await, Err(StoreError::TooLarge { .. })));
    assert_eq!(store.load(&id, 2).await.unwrap(), [], "all or none");

    // A lock on another cluster does not cover this run.
    let elsewhere = store.lock(&ClusterName("far".into()), &owner("a"), None, LEASE).await.unwrap();
    let foreign = Record { token: elsewhere.token, ..third.clone() };
    assert_eq!(store.append(&elsewhere, &id, 2, &[foreign]).await, Err(StoreError::LostLock { by: None }));

    store.unlock(&a).await.unwrap();
    assert_eq!(store.append(&a, &id, 2, std::slice::from_ref(&third)).await, Err(StoreError::LostLock { by: None }), "unlocked");
    let b = store.lock(&edge(), &owner("b"), Some(&id), LEASE).await.unwrap();
    // LostLock is judged before Conflict, also for what is already there.
    for (after, records) in [(2, std::slice::from_ref(&third)), (0, &first[..])] {
        assert_eq!(store.append(&a, &id, after, records).await, Err(StoreError::LostLock { by: Some(owner("b")) }));
    }
    assert_eq!(store.append(&b, &id, 2, &[third]).await, Err(StoreError::LostLock { by: None }), "numbered under an earlier lock");
    let over = resumed(&id, 2, &b);
    assert_eq!(store.append(&b, &id, 1, &[over]).await, Err(StoreError::LostLock { by: None }), "another token's record is at our number");
    store.append(&b, &id, 2, &[resumed(&id, 3, &b)]).await.unwrap();
    let tokens: Vec<u64> = store.load(&id, 0).await.unwrap().iter().map(|r| r.token).collect();
    assert_eq!(tokens, [a.token, a.token, b.token], "the log shows who wrote what");
    let lines = store.lines(&id, 2).await.unwrap();
    assert_eq!(serde_json::from_str::<Record>(&lines[0].1).unwrap(), resumed(&id, 3, &b));
    store.unlock(&b).await.unwrap();
}

async fn plans_and_blobs(store: &dyn Store) {
    let (id, mine) = (run(20), plan(edge(), "reboot"));
    assert!(matches!(store.plan(&id).await, Err(StoreError::NotFound { .. })));
    let filed = store.submit(&id, &mine).await.unwrap();
    assert_eq!(filed, digest(&serde_json::to_vec(&mine).unwrap()), "the digest is over the stored bytes");
    assert_eq!(store.submit(&id, &mine).await.unwrap(), filed, "the same plan again");
    assert!(matches!(store.submit(&id, &plan(edge(), "evacuate")).await, Err(StoreError::Refused { .. })), "never overwrites");
    assert_eq!(store.plan(&id).await.unwrap(), mine);
    assert_eq!(store.load(&id, 0).await.unwrap(), [], "filed, not started");
    let newer = Plan { format: FORMAT + 1, ..mine };
    store.submit(&run(21), &newer).await.unwrap();
    match store.plan(&run(21)).await {
        Err(StoreError::Unreadable { cause, .. }) => assert!(cause.contains(&format!("format {}", FORMAT + 1)), "{cause}"),
        other => panic!("{other:?}"),
    }
    let name = digest(b"picture");
    assert!(matches!(store.get_blob(&name).await, Err(StoreError::NotFound { .. })));
    store.put_blob(&name, b"picture").await.unwrap();
    store.put_blob(&name, b"picture").await.expect("the same again");
    assert_eq!(store.get_blob(&name).await.unwrap(), b"picture");
    assert!(matches!(store.put_blob(&name, b"another").await, Err(StoreError::Refused { .. })));
}

async fn heads(store: &dyn Store) {
    let cluster = ClusterName("heads".into());
    let of = async |unfinished| store.runs(&RunFilter { cluster: Some(cluster.clone()), unfinished }).await.unwrap();
    store.submit(&run(30), &plan(cluster.clone(), "reboot")).await.unwrap();
    assert_eq!(of(false).await, [], "a plan alone is no run");
    let lock = store.lock(&cluster, &owner("a"), None, LEASE).await.unwrap();
    for id in [run(31), run(32)] {
        store.append(&lock, &id, 0, &[started(&id, &lock)]).await.unwrap();
    }
    store.append(&lock, &run(31), 1, &[record(&run(31), 2, &lock, Event::RunFinished)]).await.unwrap();
    let heads = of(false).await;
    assert_eq!(heads.iter().map(|h| (h.run.clone(), h.finished, h.seq)).collect::<Vec<_>>(), [(run(31), true, 2), (run(32), false, 1)]);
    let open = of(true).await;
    assert_eq!(open.len(), 1);
    store.append(&lock, &run(32), 1, &[resumed(&run(32), 2, &lock)]).await.unwrap();
    let head = &of(true).await[0];
    assert_eq!((&head.run, &head.cluster, head.group.as_deref(), head.playbook.as_str()), (&run(32), &cluster, Some("g1"), "reboot"));
    assert_eq!((head.holder.as_ref(), head.nodes.len(), head.seq), (Some(&owner("a")), 2, 2));
    assert_eq!((head.started.as_second(), head.last.as_second()), (1_700_000_001, 1_700_000_002));
    assert_eq!(of(false).await[0].holder, None, "the holder works on one run");
    store.unlock(&lock).await.unwrap();
    assert_eq!(of(true).await[0].holder, None);
    assert!(store.runs(&RunFilter::default()).await.unwrap().len() > 2, "no filter: all clusters");
}

async fn inbox_and_forget(store: &dyn Store) {
    let (cluster, id) = (ClusterName("inbox".into()), run(40));
    let request =
        |id: &str| Request { id: id.into(), at: Timestamp::UNIX_EPOCH, by: "ops".into(), ask: Event::StopRequested { how: Stop::Drain, by: "ops".into() } };
    assert!(matches!(store.ask(&id, &request("q")).await, Err(StoreError::NotFound { .. })));
    let lock = store.lock(&cluster, &owner("a"), None, LEASE).await.unwrap();
    store.append(&lock, &id, 0, &[started(&id, &lock)]).await.unwrap();
    for name in ["q1", "q2", "q1"] {
        store.ask(&id, &request(name)).await.unwrap();
    }
    assert_eq!(store.asked(&id).await.unwrap(), [request("q1"), request("q2")], "in order, each once");
    store.answered(&id, "q1").await.unwrap();
    assert_eq!(store.asked(&id).await.unwrap(), [request("q2")]);
    assert!(matches!(store.answered(&id, "q9").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.forget(&id).await, Err(StoreError::Refused { .. })), "not finished");
    store.append(&lock, &id, 1, &[record(&id, 2, &lock, Event::RunFinished)]).await.unwrap();
    store.forget(&id).await.unwrap();
    assert!(matches!(store.load(&id, 0).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.asked(&id).await, Err(StoreError::NotFound { .. })));
    store.unlock(&lock).await.unwrap();
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(&Memory::new()).await;
    contract(&Memory::leased(Hand::new())).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&Sqlite::open(&dir.path().join("pitstop.db"), Hand::new()).await.unwrap()).await;
}

// The memory store's faults

#[tokio::test]
async fn scripted_faults() {
    let memory = Memory::new();
    let (store, id) = (&memory as &dyn Store, run(1));
    let lock = store.lock(&edge(), &owner("a"), Some(&id), LEASE).await.unwrap();
    store.append(&lock, &id, 0, &[started(&id, &lock)]).await.unwrap();
    let second = [resumed(&id, 2, &lock)];
    memory.fault_at(1, Script::Unavailable);
    memory.fault_at(2, Script::AnswerLost);
    for length in [1, 2] {
        assert!(matches!(store.append(&lock, &id, 1, &second).await, Err(StoreError::Unavailable { .. })));
        assert_eq!(store.load(&id, 0).await.unwrap().len(), length);
    }
    store.append(&lock, &id, 1, &second).await.expect("the same again after a lost answer");
    memory.fault_at(1, Script::Overtaken);
    match store.append(&lock, &id, 2, &[resumed(&id, 3, &lock)]).await {
        Err(StoreError::LostLock { by: Some(by) }) => assert_eq!(by.who, "rival@elsewhere"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.load(&id, 0).await.unwrap().len(), 2);
    assert_eq!(memory.appends(), 5);
}

#[tokio::test]
async fn scripted_crashes() {
    for (after, length) in [(false, 1), (true, 2)] {
        let memory = Memory::new();
        let id = run(1);
        let lock = memory.lock(&edge(), &owner("a"), Some(&id), LEASE).await.unwrap();
        memory.crash_at(2, after);
        memory.append(&lock, &id, 0, &[started(&id, &lock)]).await.unwrap();
        let second = [resumed(&id, 2, &lock)];
        tokio::select! {
            biased;
            answer = memory.append(&lock, &id, 1, &second) => panic!("the dead get no answer: {answer:?}"),
            () = memory.crashed() => {}
        }
        let hangs = tokio::time::timeout(Duration::from_millis(20), memory.renew(&lock)).await;
        assert!(hangs.is_err(), "nor to anything else");
        memory.restart();
        assert_eq!(memory.load(&id, 0).await.unwrap().len(), length);
        let next = memory.lock(&edge(), &owner("b"), Some(&id), LEASE).await.expect("a dead process holds no file lock");
        assert!(next.token > lock.token);
    }
}

#[tokio::test]
async fn a_lease_ends_by_the_clock() {
    let hand = Hand::new();
    let memory = Memory::leased(hand.clone());
    let id = run(1);
    let lock = memory.lock(&edge(), &owner("a"), Some(&id), LEASE).await.unwrap();
    hand.forward(29);
    let Until::At(end) = memory.renew(&lock).await.unwrap() else { panic!("a lease") };
    assert_eq!(end.as_second() - hand.now().as_second(), 30);
    hand.forward(29);
    assert!(matches!(memory.lock(&edge(), &owner("b"), None, LEASE).await, Err(StoreError::Locked { .. })));
    hand.forward(1);
    assert_eq!(memory.append(&lock, &id, 0, &[started(&id, &lock)]).await, Err(StoreError::LostLock { by: None }), "over, though nobody took it");
    memory.lock(&edge(), &owner("b"), None, LEASE).await.unwrap();
    assert_eq!(memory.renew(&lock).await, Err(StoreError::LostLock { by: Some(owner("b")) }));
}

// What lies in the file

#[tokio::test]
async fn what_cannot_be_read_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pitstop.db");
    let store = Sqlite::open(&path, Hand::new()).await.unwrap();
    let id = run(1);
    store.submit(&id, &plan(edge(), "reboot")).await.unwrap();
    let lock = store.lock(&edge(), &owner("a"), Some(&id), LEASE).await.unwrap();
    store.append(&lock, &id, 0, &[started(&id, &lock), resumed(&id, 2, &lock), resumed(&id, 3, &lock)]).await.unwrap();
    let behind = rusqlite::Connection::open(&path).unwrap();

    behind.execute("UPDATE records SET record = replace(record, 'run_resumed', 'run_levitated') WHERE seq = 2", []).unwrap();
    match store.load(&id, 0).await {
        Err(StoreError::Unreadable { seq: 2, cause }) => assert!(cause.contains("run_levitated"), "{cause}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.lines(&id, 0).await.unwrap().len(), 3, "report still sees all of it");
    assert_eq!(store.runs(&RunFilter::default()).await.unwrap().len(), 1, "and the run is still listed");
    assert_eq!(store.load(&id, 2).await.unwrap().len(), 1);
    behind.execute("DELETE FROM records WHERE seq = 2", []).unwrap();
    assert!(matches!(store.load(&id, 0).await, Err(StoreError::Unreadable { seq: 2, .. })), "a missing record");
    behind.execute("UPDATE runs SET plan = CAST(replace(CAST(plan AS TEXT), 'reboot', 'rebaat') AS BLOB)", []).unwrap();
    match store.plan(&id).await {
        Err(StoreError::Unreadable { cause, .. }) => assert!(cause.contains("digest"), "{cause}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_is_recognised_before_it_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let open = async |name: &str| Sqlite::open(&dir.path().join(name), Hand::new()).await.map(|_| ());
    open("new/deeper/pitstop.db").await.expect("directories are made");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(dir.path().join("new/deeper")).unwrap().permissions().mode() & 0o777, 0o700);
    open("new/deeper/pitstop.db").await.expect("and found again");

    let newer = rusqlite::Connection::open(dir.path().join("new/deeper/pitstop.db")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let error = open("new/deeper/pitstop.db").await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { has: 99, knows: 1, .. }), "{error}");

    rusqlite::Connection::open(dir.path().join("foreign.db")).unwrap().execute_batch("CREATE TABLE shop(x)").unwrap();
    assert!(matches!(open("foreign.db").await, Err(OpenError::Foreign { .. })));
    std::fs::write(dir.path().join("text.db"), "not a database at all, but long enough to look at".repeat(50)).unwrap();
    assert!(matches!(open("text.db").await, Err(OpenError::Foreign { .. })));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(open("file/pitstop.db").await, Err(OpenError::Io { .. })));
}

#[tokio::test]
async fn a_full_disk_takes_the_reserve_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pitstop.db");
    let store = Sqlite::open(&path, Hand::new()).await.unwrap();
    let id = run(1);
    let lock = store.lock(&edge(), &owner("a"), Some(&id), LEASE).await.unwrap();
    let reserve = dir.path().join("pitstop.db.reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 1 << 20, "room is reserved with the lock");
    assert_eq!(store.short_of_room().await, None);
    // A page limit stands in for a full disk; it is SQLite's own `SQLITE_FULL`.
    let limited = rusqlite::Connection::open(&path).unwrap();
    let pages: i64 = limited.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.limit_pages(pages).await;
    let long = Record { event: Event::RunResumed { program: "x".repeat(100_000), by: "x".into() }, ..resumed(&id, 2, &lock) };
    let answer = store.append(&lock, &id, 0, &[started(&id, &lock), long.clone()]).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    assert!(!reserve.exists(), "given up before the append failed");
    store.limit_pages(1 << 30).await;
    store.append(&lock, &id, 0, &[started(&id, &lock), long]).await.expect("nothing of the failed one is left");
    assert_eq!(store.short_of_room().await, None, "and the reserve is held again");
    assert!(reserve.exists());
}

// Other processes: this binary again, as `child`

/// A child: what the environment says. As a test of its own it shows that it does nothing unless told.
#[tokio::test]
async fn child() {
    let Ok(task) = std::env::var("STORE_TEST_TASK") else {
        assert!(std::env::var("STORE_TEST_PATH").is_err());
        return;
    };
    let path = std::env::var("STORE_TEST_PATH").unwrap();
    let store = Sqlite::open(Path::new(&path), Hand::new()).await.unwrap();
    let me = owner(&format!("child-{}", std::process::id()));
    match task.as_str() {
        // Takes the lock and appends until it is killed; each number is printed once it is durable.
        "append" => {
            let lock = store.lock(&edge(), &me, Some(&run(1)), LEASE).await.unwrap();
            let mut head = store.load(&run(1), 0).await.map_or(0, |r| r.len() as u64);
            println!("child from {head}");
            // Far more than a round has time for: an end, should nobody kill it.
            for _ in 0..100_000 {
                let next = if head == 0 { started(&run(1), &lock) } else { resumed(&run(1), head + 1, &lock) };
                store.append(&lock, &run(1), head, &[next]).await.unwrap();
                head += 1;
                println!("child wrote {head}");
            }
        }
        // Tries for the lock until it has worked `rounds` times; in the lock it alone may hold the token file.
        "contend" => {
            let alone = Path::new(&path).with_extension("alone");
            for _ in 0..20 {
                let lock = loop {
                    match store.lock(&edge(), &me, Some(&run(1)), LEASE).await {
                        Ok(lock) => break lock,
                        Err(StoreError::Locked { by, .. }) => assert!(by.id.starts_with("child-") && by.id != me.id, "names the other: {by:?}"),
                        Err(e) => panic!("{e}"),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                };
                std::fs::File::create_new(&alone).expect("alone in the lock");
                let head = store.load(&run(1), 0).await.map_or(0, |r| r.len() as u64);
                let next = if head == 0 { started(&run(1), &lock) } else { resumed(&run(1), head + 1, &lock) };
                store.append(&lock, &run(1), head, &[next]).await.unwrap();
                std::fs::remove_file(&alone).unwrap();
                store.unlock(&lock).await.unwrap();
            }
            println!("child done");
        }
        other => panic!("{other}"),
    }
}

fn spawn(task: &str, path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env("STORE_TEST_TASK", task).env("STORE_TEST_PATH", path).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// The number of its last line that was whole when it died.
fn acknowledged(lines: impl Iterator<Item = std::io::Result<String>>) -> u64 {
    lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("child wrote ").and_then(|n| n.parse().ok())).last().unwrap_or(0)
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let rounds: u64 = std::env::var("PITSTOP_STORE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pitstop.db");
    let mut length = 0;
    for round in 0..rounds {
        let mut child = spawn("append", &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let from = lines.by_ref().map_while(Result::ok).find_map(|l| l.split_once("child from ").map(|(_, n)| n.parse::<u64>().unwrap()));
        assert_eq!(from, Some(length), "round {round}: the next process begins where the log ends");
        // At another point of an append each time.
        std::thread::sleep(Duration::from_micros(3_000 + round * 1_370 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let durable = acknowledged(lines).max(length);
        let store = Sqlite::open(&path, Hand::new()).await.unwrap();
        let records = store.load(&run(1), 0).await.map_or(0, |r| r.len() as u64);
        assert!(records == durable || records == durable + 1, "round {round}: {durable} acknowledged, {records} there");
        length = records;
    }
    assert!(length > rounds, "{length} records in {rounds} rounds: nothing was tried");
    let check: String = rusqlite::Connection::open(&path).unwrap().pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let store = Sqlite::open(&path, Hand::new()).await.unwrap();
    let head = &store.runs(&RunFilter::default()).await.unwrap()[0];
    assert_eq!(head.holder, None, "the row names a dead process, and the kernel knows better");
    let lock = store.lock(&edge(), &owner("next"), Some(&run(1)), LEASE).await.expect("free");
    assert_eq!(lock.token, rounds + 1, "one more with every owner");
}

#[tokio::test]
async fn the_living_holder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pitstop.db");
    let mut child = spawn("append", &path);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.by_ref().map_while(Result::ok).find(|l| l.starts_with("child wrote 1")).unwrap();
    // The pipe fills up and the child waits: alive, and still the owner.
    let store = Sqlite::open(&path, Hand::new()).await.unwrap();
    match store.lock(&edge(), &owner("me"), None, LEASE).await {
        Err(StoreError::Locked { by, run: whose, .. }) => assert_eq!((by.pid, whose), (child.id(), Some(run(1)))),
        other => panic!("{other:?}"),
    }
    let holder = store.runs(&RunFilter::default()).await.unwrap()[0].holder.clone();
    assert_eq!(holder.map(|h| h.pid), Some(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(store.runs(&RunFilter::default()).await.unwrap()[0].holder, None);
    store.lock(&edge(), &owner("me"), None, LEASE).await.expect("free with its death");
}

#[tokio::test]
async fn processes_at_one_lock_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pitstop.db");
    let begun = Instant::now();
    let children: Vec<Child> = (0..3).map(|_| spawn("contend", &path)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("child done"));
    }
    let store = Sqlite::open(&path, Hand::new()).await.unwrap();
    let records = store.load(&run(1), 0).await.unwrap();
    assert_eq!(records.len(), 60, "after {:?}", begun.elapsed());
    assert!(records.windows(2).all(|w| w[0].token < w[1].token), "each turn under its own token");
}
