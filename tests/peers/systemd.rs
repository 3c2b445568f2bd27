//! Checks against a real systemd, which boots as the first process of namespaces of its own and is asked over SSH by a real sshd in there;
//! and sudo without a terminal, beside it. Needs root for the namespaces: without it the tests say so and end.
use crate::{
    peer::program,
    ssh::{Sshd, beside, connect_as, eventually, exec, tool},
};
use pitstop::{
    checks::{self, Check, Probe, Verdict},
    drivers::{
        host::Host,
        net::{HttpAsk, HttpSeen, Net},
    },
    kinds,
    model::{Blocker, Command, Fault, FaultKind, NodeName, Setting, Span},
};
use serde_json::{Value, json};
use std::{
    fs,
    process::{Child, Stdio},
    sync::Arc,
};

struct NoNet;
#[async_trait::async_trait]
impl Net for NoNet {
    async fn http(&self, _: &HttpAsk) -> Result<HttpSeen, Fault> {
        Err(Fault::new(FaultKind::Unable, "no network here"))
    }
    async fn tcp(&self, _: &str, _: u16, _: Span) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unable, "no network here"))
    }
}

/// In namespaces of its own: another /run, another set of units, a user `ops`, and what sudo lets whom do.
const INIT: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/rig
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /etc/systemd/system
cd /etc/systemd/system
printf '[Unit]\nDefaultDependencies=no\nWants=well.service broken.service mendable.service starting.service\n' >rig.target
unit() { printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=%s\nExecStart=%s\n' "$2" "$3" >"$1.service"; }
unit well simple '/bin/sleep 100000'
unit idle simple '/bin/sleep 100000'
unit broken simple /bin/false
unit mendable simple "/bin/sh -c 'test -e /run/rig/mended && exec sleep 100000'"
unit starting oneshot '/bin/sleep 100000'
ln -s /dev/null masked.service
cp /etc/passwd /etc/shadow /run/rig
printf 'ops:x:4711:4711::/:/bin/sh\nguest:x:4712:4712::/:/bin/sh\n' >>/run/rig/passwd
printf 'ops:*:19000:0:99999:7:::\nguest:*:19000:0:99999:7:::\n' >>/run/rig/shadow
printf 'Defaults:guest requiretty\nops ALL=(ALL) NOPASSWD: ALL\nguest ALL=(ALL) NOPASSWD: ALL\n' >/run/rig/sudoers
chmod 440 /run/rig/sudoers
mount --bind /run/rig/passwd /etc/passwd
mount --bind /run/rig/shadow /etc/shadow
mount --bind /run/rig/sudoers /etc/sudoers
export container=rig
exec "$0" --system --unit=rig.target --log-target=console --log-level=warning
"#;

/// A booted systemd with an sshd beside it.
struct Rig {
    /// Stands outside, and takes everything inside with it.
    outside: Child,
    sshd: Option<Sshd>,
}
impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.sshd.take());
        self.outside.kill().ok();
        self.outside.wait().ok();
    }
}

fn namespaces() -> std::process::Command {
    let mut unshare = std::process::Command::new(program("unshare"));
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--cgroup", "--uts", "--ipc"]);
    unshare.stdin(Stdio::null());
    unshare
}

impl Rig {
    /// None, and said aloud: this computer lets nobody make such namespaces.
    async fn boot() -> Option<Rig> {
        let probe =
            namespaces().args(["sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t cgroup2 none /sys/fs/cgroup"]).output().unwrap();
        if !probe.status.success() {
            eprintln!("SKIPPED: no namespaces with a cgroup of their own here (not root?): {}", String::from_utf8_lossy(&probe.stderr).trim());
            return None;
        }
        let systemd = ["/lib/systemd/systemd", "/usr/lib/systemd/systemd"].into_iter().find(|p| fs::exists(p).unwrap()).expect("systemd: run tests/setup");
        program("sudo");
        let outside = namespaces().args(["sh", "-c", INIT, systemd]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut rig = Rig { outside, sshd: None };
        let children = format!("/proc/{0}/task/{0}/children", rig.outside.id());
        let first = || fs::read_to_string(&children).ok().and_then(|t| t.split_whitespace().next().map(str::to_owned));
        eventually("systemd is the first process", || {
            first().is_some_and(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "systemd"))
        })
        .await;
        let enter = ["nsenter", "-t", &first().unwrap(), "-m", "-p", "-u", "-i", "-C"].map(str::to_owned);
        let within = |words: &[&str]| std::process::Command::new(&enter[0]).args(&enter[1..]).args(words).stderr(Stdio::null()).output().unwrap();
        // Both have run by then: one is up, one has failed.
        let state = |unit: &str| String::from_utf8(within(&["systemctl", "is-active", unit]).stdout).unwrap().trim().to_owned();
        eventually("the units are where they end up", || state("well") == "active" && state("broken") == "failed" && state("mendable") == "failed").await;
        rig.sshd = Some(Sshd::inside(&enter, "", beside()));
        Some(rig)
    }
    fn host(&self, user: &str) -> Arc<dyn Host> {
        let sshd = self.sshd.as_ref().unwrap();
        connect_as(user, "127.0.0.1", sshd.port, sshd.dir.path(), "key = { file = 'client' }\nknown_hosts = 'known_hosts'", &[])
    }
}

fn check(body: Value) -> Box<dyn Check> {
    // As an inventory's table would be read: what is not said has its default.
    let text = toml::to_string(&json!({ "systemd": body })).unwrap();
    let table = toml::de::DeTable::parse(&text).unwrap();
    let (_, value) = table.into_inner().into_iter().next().unwrap();
    let kind = checks::KINDS.iter().find(|k| k.name == "systemd").unwrap();
    let body = (kind.check)(value).unwrap();
    kinds::make(checks::KINDS, &Setting { kind: "systemd".into(), body }).unwrap()
}
async fn look(check: &dyn Check, host: &Arc<dyn Host>) -> Result<Verdict, Fault> {
    check.look(&Probe::of(&NodeName("edge-07".into()), Some(host.as_ref()), &NoNet)).await
}
async fn wrong(check: &dyn Check, host: &Arc<dyn Host>) -> Vec<Blocker> {
    match look(check, host).await.unwrap() {
        Verdict::Unhealthy(wrong) => wrong,
        Verdict::Healthy(seen) => panic!("healthy: {seen}"),
    }
}

#[tokio::test]
async fn real_units_of_a_real_systemd() {
    let Some(rig) = Rig::boot().await else { return };
    let host = rig.host("root");
    let seen = look(&*check(json!({ "active": ["well", "init.scope"] })), &host).await;
    assert!(matches!(seen, Ok(Verdict::Healthy(_))), "{seen:?}");
    let all = check(json!({ "active": ["well", "broken", "starting", "idle", "masked", "absent"], "no_failed": true }));
    let expected = [
        ("broken", "failed (failed)"),
        ("starting", "activating (start)"),
        ("idle", "inactive (dead)"),
        ("masked", "inactive (dead), unit is masked"),
        ("absent", "there is no such unit"),
        ("mendable.service", "failed"),
    ];
    assert_eq!(wrong(&*all, &host).await, expected.map(|(unit, why)| Blocker::new(unit, why)));

    // Repaired: while its cause is there it fails again, afterwards it holds.
    let mends = check(json!({ "active": ["mendable", "idle"], "repair": true }));
    let name = NodeName("edge-07".into());
    let probe = Probe::of(&name, Some(host.as_ref()), &NoNet);
    let repair = mends.repair(&wrong(&*mends, &host).await).unwrap();
    assert_eq!(repair.what, "restart mendable, idle");
    mends.mend(&probe, &repair).await.unwrap();
    for _ in 0..100 {
        if wrong(&*mends, &host).await == [Blocker::new("mendable", "failed (failed)")] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(wrong(&*mends, &host).await, [Blocker::new("mendable", "failed (failed)")]);
    exec(&host, "touch /run/rig/mended").await.unwrap();
    mends.mend(&probe, &repair).await.unwrap();
    let mut seen = look(&*mends, &host).await;
    for _ in 0..100 {
        if matches!(seen, Ok(Verdict::Healthy(_))) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        seen = look(&*mends, &host).await;
    }
    assert!(matches!(seen, Ok(Verdict::Healthy(_))), "{seen:?}");

    // What the look at a host says of it: `initializing` (here without basic.target) while a unit is on its way, `degraded` while one has failed.
    assert_eq!(host.look().await.unwrap().system_state.as_deref(), Some("initializing"));
    exec(&host, "systemctl stop starting").await.unwrap();
    assert_eq!(host.look().await.unwrap().system_state.as_deref(), Some("degraded"));
    exec(&host, "systemctl reset-failed").await.unwrap();
    let seen = look(&*check(json!({ "no_failed": true })), &host).await;
    assert!(matches!(seen, Ok(Verdict::Healthy(_))), "{seen:?}");
    assert_eq!(host.look().await.unwrap().system_state.as_deref(), Some("running"));
    // Nobody else may talk to systemd there without a bus: that is a fault, and never "no failed unit".
    let fault = look(&*check(json!({ "no_failed": true })), &rig.host("ops")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unable, "{fault}");
}

#[tokio::test]
async fn sudo_without_a_terminal() {
    let Some(rig) = Rig::boot().await else { return };
    let limit = Span::seconds(20);
    let asks = |user: &'static str, line: &'static str| {
        let host = rig.host(user);
        async move { host.exec(&Command::as_root(line, limit)).await.unwrap() }
    };
    let out = asks("ops", "id -u; echo \"it's $HOME\" >/dev/null; exit 7").await;
    assert_eq!((out.status, out.stdout.trim()), (7, "0"), "{out:?}");
    assert_eq!(asks("root", "id -u").await.stdout.trim(), "0");
    // sudo's own refusals are told as it says them.
    let tty = asks("guest", "id -u").await;
    assert!(tty.status == 1 && tty.stderr.contains("you must have a tty to run sudo"), "{tty:?}");
    exec(&rig.host("root"), "mount -o remount,rw /etc/sudoers 2>/dev/null; echo 'ops ALL=(ALL) ALL' >/run/rig/sudoers").await.unwrap();
    let password = asks("ops", "id -u").await;
    assert!(password.status == 1 && password.stderr.contains("a password is required"), "{password:?}");
    // Cut at its limit, the command under sudo ends too.
    exec(&rig.host("root"), "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/run/rig/sudoers").await.unwrap();
    let words = format!("sleep 8{:08}", uuid::Uuid::new_v4().as_u128() % 100_000_000);
    let cut = Command::as_root(&words, Span::seconds(1));
    let fault = rig.host("ops").exec(&cut).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
    let lives = || std::process::Command::new("pgrep").args(["-f", &words]).output().unwrap().status.success();
    eventually("what ran under sudo is gone", || !lives()).await;
    assert_eq!(tool("id", &["-un"]).trim(), "root", "nothing of this reaches the computer itself");
}
