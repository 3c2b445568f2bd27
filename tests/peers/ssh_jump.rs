//! Hosts behind jump hosts, and hosts by the names of ssh_config: against OpenSSH's sshd at every end.
use crate::{
    peer::program,
    ssh::{Files, Sshd, beside, command, connect_as, eventually, exec, keygen, long_sleep, processes, read, signal, tool},
};
use pitstop::{
    drivers::host::{self, Host},
    kinds,
    model::{Command, Connect, Fault, FaultKind, Setting, Span, Trust},
};
use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

fn me() -> String {
    tool("id", &["-un"]).trim().to_owned()
}
/// What the way to `target` through `jump` needs: the jump host's key in known_hosts, and a key of its own.
fn through(jump: &Sshd, target: &Sshd) -> String {
    let known = read(target.at("known_hosts"));
    fs::write(target.at("known_both"), format!("{known}[127.0.0.1]:{} {}", jump.port, read(jump.at("host_ed25519.pub")))).unwrap();
    format!(
        "key = {{ file = 'client' }}\nknown_hosts = 'known_both'\nconnect_timeout = '5s'\njump = '{}@127.0.0.1:{}'\njump_key = {{ file = '{}' }}",
        me(),
        jump.port,
        jump.at("client").display()
    )
}
fn behind(jump: &Sshd, target: &Sshd, more: &str) -> Arc<dyn Host> {
    connect_as(&me(), "127.0.0.1", target.port, target.dir.path(), &format!("{}\n{more}", through(jump, target)), &[])
}
fn try_config(home: &Path, name: &str, more: &str) -> Result<Arc<dyn Host>, Fault> {
    let body = serde_json::to_value(toml::from_str::<toml::Table>(&format!("host = '{name}'\n{more}")).unwrap()).unwrap();
    let config = kinds::make(host::KINDS, &Setting { kind: "ssh".into(), body }).unwrap();
    let cx = Connect { node: None, secrets: Arc::new(Files), trust: Trust::default(), base: home.join("elsewhere"), home: home.to_owned() };
    config.connect(&cx)
}
fn by_config(home: &Path, name: &str, more: &str) -> Arc<dyn Host> {
    try_config(home, name, more).unwrap()
}
fn refused(home: &Path, name: &str) -> String {
    let fault = try_config(home, name, "config = true").err().unwrap();
    assert_eq!(fault.kind, FaultKind::Invalid, "{fault}");
    fault.to_string()
}
fn jump_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    tasks.filter(|t| fs::read_to_string(t.path().join("comm")).is_ok_and(|name| name.trim() == "ssh-jump")).count()
}

#[tokio::test]
async fn a_host_behind_a_jump_host() {
    let (jump, target) = (Sshd::start(), Sshd::start());
    let host = behind(&jump, &target, "");
    let out = exec(&host, "echo out; echo err >&2; exit 3").await.unwrap();
    assert_eq!((out.status, out.stdout.as_str(), out.stderr.as_str()), (3, "out\n", "err\n"));
    let view = host.look().await.unwrap();
    assert_eq!(view.boot_id, read("/proc/sys/kernel/random/boot_id").trim());
    let fingerprint = tool("ssh-keygen", &["-l", "-f", target.at("host_ed25519.pub").to_str().unwrap()]);
    assert_eq!(view.host_key.as_deref(), fingerprint.split(' ').nth(1), "the target's key, not the jump host's");
    // Both directions, more than any buffer on the way holds.
    let text = "line\n".repeat(600_000);
    let out = host.exec(&Command { stdin: Some(text.clone()), ..command("wc -c; head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero") }).await.unwrap();
    assert_eq!((out.status, out.stdout.starts_with(&format!("{}\n", text.len()))), (0, true));
    assert!(out.stdout.len() as u64 + out.stderr.len() as u64 + out.dropped > 10_000_000);
    let (a, b) = tokio::join!(exec(&host, "sleep 1"), exec(&host, "echo quick"));
    assert_eq!((a.unwrap().status, b.unwrap().stdout.as_str()), (0, "quick\n"));
    assert_eq!((jump.logins(), target.logins()), (1, 2), "one connection to the jump host carries all");
    host.close().await;
    eventually("the jump host has no channel left", || {
        jump.sessions().iter().all(|pid| {
            fs::read_dir(format!("/proc/{pid}/fd")).map_or(true, |fds| {
                fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).filter(|to| to.to_string_lossy().starts_with("socket")).count() < 5
            })
        })
    })
    .await;
}

/// Each end of the way is judged for itself, under its own name, before anything is offered to it.
#[tokio::test]
async fn keys_of_both_ends_are_checked() {
    let (jump, target) = (Sshd::start(), Sshd::start());
    let good = through(&jump, &target);
    let host = |known: &str, trusted: &[&str]| {
        fs::write(target.at("known"), known).unwrap();
        connect_as(&me(), "127.0.0.1", target.port, target.dir.path(), &good.replace("known_both", "known"), trusted)
    };
    let line = |port: u16, key: &str| format!("[127.0.0.1]:{port} {key}");
    let (theirs, own) = (read(jump.at("host_ed25519.pub")), read(target.at("host_ed25519.pub")));
    keygen(&target.at("other"), "ed25519", "");
    let other = read(target.at("other.pub"));

    let fault = host(&line(target.port, &own), &[]).look().await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && fault.to_string().contains("jump host") && fault.to_string().contains("is not known"), "{fault}");
    assert!(fault.next.as_deref().is_some_and(|n| n.contains("known_hosts") && !n.contains("trust")), "a jump host is no node: {fault:?}");
    let fault = host(&(line(target.port, &own) + &line(jump.port, &other)), &[]).look().await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && fault.to_string().contains("jump host") && fault.to_string().contains("changed"), "{fault}");
    assert_eq!((jump.logins(), target.connections()), (0, 0), "nothing was offered");

    let fault = host(&(line(target.port, &other) + &line(jump.port, &theirs)), &[]).look().await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && !fault.to_string().contains("jump host") && fault.to_string().contains("changed"), "{fault}");
    let fault = host(&line(jump.port, &theirs), &[]).look().await.unwrap_err();
    assert!(fault.next.as_deref().is_some_and(|n| n.contains("pitstop inventory trust edge-07")), "{fault:?}");
    assert_eq!((jump.logins(), target.logins()), (1, 0));
    // trust.toml pins the node; its key does not vouch for the jump host.
    host(&line(jump.port, &theirs), &[own.as_str()]).look().await.unwrap();
    let fault = host(&line(jump.port, &theirs), &[theirs.as_str()]).look().await.unwrap_err();
    assert!(fault.to_string().contains("is not what trust.toml has"), "{fault}");
}

#[tokio::test]
async fn a_jump_host_that_dies_under_a_command() {
    let (jump, target) = (Sshd::start(), Sshd::start());
    let host = behind(&jump, &target, "");
    let words = long_sleep();
    let (h, line) = (Arc::clone(&host), words.clone());
    let hung = tokio::spawn(async move { exec(&h, &line).await });
    eventually("it runs", || processes(&words) > 0).await;
    let started = Instant::now();
    jump.sessions().into_iter().for_each(|pid| signal("KILL", pid));
    let fault = hung.await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
    assert!(fault.to_string().contains("link was lost") && started.elapsed() < Duration::from_secs(10), "{fault}");
    eventually("what ran is gone", || processes(&words) == 0).await;
    assert_eq!(exec(&host, "exit 6").await.unwrap().status, 6, "by a new connection");
    assert_eq!((jump.logins(), target.logins()), (2, 2));
    // And before anything was sent it is only unreachable.
    let port = jump.port;
    drop(jump);
    let fault = exec(&host, "true").await.unwrap_err();
    assert!(fault.kind == FaultKind::Unreachable && fault.to_string().contains(&port.to_string()), "{fault}");
}

/// The kernel here speaks to the jump host, which lives: the target itself must be asked.
#[tokio::test]
async fn a_target_that_falls_silent_behind_its_jump_host() {
    let (jump, target) = (Sshd::start(), Sshd::start());
    let host = behind(&jump, &target, "keepalive = '2s'");
    // Slower than the keepalive, and alive.
    assert_eq!(host.exec(&Command { limit: Span::seconds(60), ..command("sleep 7; exit 5") }).await.unwrap().status, 5);
    let words = long_sleep();
    let (h, line) = (Arc::clone(&host), words.clone());
    let hung = tokio::spawn(async move { h.exec(&Command { limit: Span::seconds(120), ..command(&line) }).await });
    eventually("it runs", || processes(&words) > 0).await;
    target.sessions().into_iter().for_each(|pid| signal("STOP", pid));
    let started = Instant::now();
    let fault = hung.await.unwrap().unwrap_err();
    assert!(fault.kind == FaultKind::Unknown && fault.to_string().contains("no sign of life"), "{fault}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    target.sessions().into_iter().for_each(|pid| signal("KILL", pid));
    eventually("what ran is gone", || processes(&words) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_hosts_through_one_jump_host() {
    const HOSTS: usize = 20;
    let listen: String = (2..17).map(|i| format!("ListenAddress 127.0.0.{i}:PORT\n")).collect();
    let (jump, target) = (Sshd::start(), Sshd::inside(&[], &listen, beside()));
    let more = through(&jump, &target).replace("'5s'", "'60s'");
    let key = read(target.at("host_ed25519.pub"));
    let addresses: Vec<String> = (0..HOSTS).map(|i| format!("127.0.0.{}", 2 + i % 15)).collect();
    let hosts: Vec<_> = addresses.iter().map(|a| connect_as(&me(), a, target.port, target.dir.path(), &more, &[key.as_str()])).collect();
    let line = Command { line: "echo $SSH_CONNECTION; sleep 0.5".into(), limit: Span::seconds(120), stdin: None };
    let began = Instant::now();
    let answers = futures::future::join_all(hosts.iter().map(|host| host.exec(&line))).await;
    let (took, threads) = (began.elapsed(), jump_threads());
    for (address, answer) in addresses.iter().zip(&answers) {
        let out = answer.as_ref().unwrap_or_else(|fault| panic!("{address}: {fault}"));
        assert_eq!(out.stdout.split(' ').nth(2), Some(address.as_str()), "the answer of another host: {out:?}");
    }
    eprintln!(
        "{HOSTS} hosts through one jump host: {:.1} s, {} connections to it, {threads} threads for all jump hosts of this process",
        took.as_secs_f64(),
        jump.logins()
    );
    assert_eq!(target.logins(), HOSTS);
    // One, unless this computer was too busy to open anything for half a second.
    assert!((1..=8).contains(&jump.logins()), "{}", jump.logins());
}

/// An opening that hangs cannot be taken back: it must neither block the others nor be handed to them.
#[tokio::test]
async fn a_target_that_never_answers_does_not_block_the_others() {
    let (jump, target) = (Sshd::start(), Sshd::start());
    // Its queue is full: the kernel drops what knocks, as a firewall does.
    let mute = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    mute.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    mute.listen(0).unwrap();
    let at = mute.local_addr().unwrap().as_socket().unwrap();
    let _fill: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect_timeout(&at, Duration::from_millis(200))).collect();
    let more = through(&jump, &target).replace("'5s'", "'3s'");
    let silent = connect_as(&me(), "127.0.0.1", at.port(), target.dir.path(), &more, &[]);
    let host = connect_as(&me(), "127.0.0.1", target.port, target.dir.path(), &more.replace("connect_timeout = '3s'", "connect_timeout = '20s'"), &[]);
    // One and the same jump host to both.
    let same = connect_as(&me(), "127.0.0.1", target.port, target.dir.path(), &more, &[]);
    let waits = tokio::spawn(async move { exec(&silent, "true").await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(exec(&same, "exit 4").await.unwrap().status, 4);
    assert_eq!(exec(&host, "exit 5").await.unwrap().status, 5);
    let fault = waits.await.unwrap().unwrap_err();
    assert!(fault.kind == FaultKind::Unreachable && fault.to_string().contains("no connection to") && fault.to_string().contains("within 3s"), "{fault}");
    assert_eq!(exec(&same, "exit 4").await.unwrap().status, 4);
    // Nobody there at all is said at once; and a jump host may forbid it.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fault = exec(&connect_as(&me(), "127.0.0.1", closed, target.dir.path(), &more, &[]), "true").await.unwrap_err();
    assert!(fault.kind == FaultKind::Unreachable && fault.to_string().contains("reaches nobody at"), "{fault}");
    let strict = Sshd::with("AllowTcpForwarding no");
    let fault = exec(&behind(&strict, &target, ""), "true").await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && fault.to_string().contains("forwards nothing"), "{fault}");
}

/// One file for both: what OpenSSH's client does with it, we do.
#[tokio::test]
async fn names_and_ways_of_ssh_config() {
    let (outer, inner, target) = (Sshd::start(), Sshd::start(), Sshd::start());
    let line = |s: &Sshd| format!("[127.0.0.1]:{} {}", s.port, read(s.at("host_ed25519.pub")));
    fs::write(target.at("all known"), line(&outer) + &line(&inner) + &format!("edge-key {}", read(target.at("host_ed25519.pub")))).unwrap();
    let home = target.dir.path().join("home");
    fs::create_dir_all(home.join(".ssh/conf.d")).unwrap();
    let d = target.dir.path().display();
    let config = format!(
        "Include conf.d/*.conf\nHost edge-* !edge-99\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump inner\n  IdentityFile \"{d}/client\"\n  HostKeyAlias edge-key\n\
         Host inner\n  HostName=127.0.0.1\n  Port {}\n  IdentityFile {}\n  ProxyJump outer\nHost *\n  Port 1\n  UserKnownHostsFile \"{d}/all known\"\n  User {}\n  IdentitiesOnly yes\n",
        target.port,
        inner.port,
        inner.at("client").display(),
        me()
    );
    fs::write(home.join(".ssh/config"), &config).unwrap();
    fs::write(
        home.join(".ssh/conf.d/10-outer.conf"),
        format!("Host outer\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n", outer.port, outer.at("client").display()),
    )
    .unwrap();
    fs::write(home.join(".ssh/conf.d/.hidden.conf"), "Port nonsense\n").unwrap();
    let host = |name: &str, more: &str| by_config(&home, name, more);
    let out = exec(&host("edge-07", "config = true"), "echo $SSH_CONNECTION").await.unwrap();
    assert_eq!(out.stdout.trim().rsplit(' ').next(), Some(target.port.to_string().as_str()));
    assert_eq!((outer.logins(), inner.logins(), target.logins()), (1, 1, 1));

    // OpenSSH, with the same file: its own jumps need to be told of it by -F, which it hands on.
    let copy = target.at("copy");
    fs::write(&copy, config.replace("Include conf.d/*.conf", &format!("Include {}/.ssh/conf.d/*.conf", home.display()))).unwrap();
    let mut ssh = tokio::process::Command::new(program("ssh"));
    ssh.args(["-F", copy.to_str().unwrap(), "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "edge-07", "echo in"]).kill_on_drop(true);
    let out = tokio::time::timeout(Duration::from_secs(60), ssh.output()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "in\n", "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!((outer.logins(), inner.logins(), target.logins()), (2, 2, 2));
    assert_eq!(exec(&host("edge-07", &format!("config = '{}'", copy.display())), "echo file").await.unwrap().stdout, "file\n");

    // The inventory's words win; a name of no block has only the last one.
    let direct = host("edge-07", &format!("config = true\njump = 'none'\nport = {}", target.port));
    assert_eq!(exec(&direct, "echo direct").await.unwrap().stdout, "direct\n");
    let fault = exec(&host("edge-99", "config = true\nconnect_timeout = '2s'"), "true").await.unwrap_err();
    assert!(fault.to_string().contains("edge-99"), "{fault}");
    let logins = (outer.logins(), inner.logins());
    fs::write(home.join(".ssh/config"), format!("Match host edge-07\n  ProxyJump none\n{config}")).unwrap();
    let fault = refused(&home, "edge-07");
    assert!(fault.contains("config:2:3: `ProxyJump` stands under `Match` (line 1)"), "{fault}");
    fs::write(home.join(".ssh/config"), format!("Host edge-07\n  ProxyCommand nc %h %p\n{config}")).unwrap();
    assert!(refused(&home, "edge-07").contains("config:2:3: `ProxyCommand` is not run"));
    fs::write(home.join(".ssh/config"), "Host a\nProxyJump b\nHost b\nProxyJump a\n").unwrap();
    assert!(refused(&home, "a").contains("a circle?"));
    assert_eq!((outer.logins(), inner.logins()), logins);
}
