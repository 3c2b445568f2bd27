//! The SSH driver against OpenSSH's sshd, and OpenSSH's client and the driver against the lab's server.
#![allow(clippy::unwrap_used, reason = "a test")]
use crate::peer::program;
use pitstop::{
    drivers::host::{self, Host},
    kinds,
    lab::{
        rack::{MachineSpec, Pace, Quirks, Rack},
        ssh as lab,
    },
    model::{Command, Connect, Fault, FaultKind, NodeName, Output, Secret, SecretRef, Secrets, Setting, Span, Trust},
};
use std::{
    any::Any,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub struct Files;
impl Secrets for Files {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        let SecretRef::File(path) = from else { panic!("only files here") };
        let text = fs::read_to_string(path).map_err(|e| Fault::new(FaultKind::Denied, format!("read {from}")).cause(e))?;
        Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
    }
}

pub fn tool(name: &str, args: &[&str]) -> String {
    let out = std::process::Command::new(program(name)).args(args).output().unwrap();
    assert!(out.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    tool("ssh-keygen", &["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path.to_str().unwrap()]);
}
pub fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "not so after 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What fills this computer runs alone: whatever uses the SSH threads of this process holds this for reading.
pub static BESIDE: RwLock<()> = RwLock::new(());
pub fn beside() -> Box<dyn Any> {
    Box::new(BESIDE.read().unwrap_or_else(|e| e.into_inner()))
}

/// A real sshd on loopback with its own host keys and one authorized key.
pub struct Sshd {
    pub dir: TempDir,
    pub port: u16,
    child: Child,
    log: Arc<Mutex<String>>,
    _beside: Box<dyn Any>,
}
impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in self.sessions() {
            signal("KILL", pid);
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn signal(name: &str, pid: u32) {
    std::process::Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

impl Sshd {
    pub fn start() -> Sshd {
        Sshd::with("")
    }
    pub fn with(more: &str) -> Sshd {
        Sshd::inside(&[], more, beside())
    }
    /// Started by these words: where another root or other namespaces are.
    pub fn inside(by: &[String], more: &str, beside: Box<dyn Any>) -> Sshd {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        keygen(&at("host_ed25519"), "ed25519", "");
        keygen(&at("host_ecdsa"), "ecdsa", "");
        keygen(&at("client"), "ed25519", "");
        fs::copy(at("client.pub"), at("authorized")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let d = dir.path().display();
        let more = more.replace("PORT", &port.to_string());
        // A home of its own: what a user's shell reads at its start is not waited for, and not killed half-way.
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {d}/host_ed25519\nHostKey {d}/host_ecdsa\nAuthorizedKeysFile {d}/authorized\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nPidFile none\nSetEnv HOME={d}\nMaxStartups 300\nLogLevel VERBOSE\n{more}\n"
        );
        fs::write(at("sshd_config"), config).unwrap();
        // Where sshd as root keeps nothing, but wants to.
        fs::create_dir_all("/run/sshd").ok();
        let words: Vec<String> = by.iter().cloned().chain([program("sshd").display().to_string()]).collect();
        let mut child =
            std::process::Command::new(&words[0]).args(&words[1..]).args(["-D", "-e", "-f"]).arg(at("sshd_config")).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|l| kept.lock().unwrap().push_str(&(l + "\n"))));
        let sshd = Sshd { dir, port, child, log, _beside: beside };
        let until = Instant::now() + Duration::from_secs(10);
        while !sshd.log.lock().unwrap().contains("Server listening") {
            assert!(Instant::now() < until, "sshd does not listen: {}", sshd.log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
        // What OpenSSH itself would write, names hashed.
        let line = format!("[127.0.0.1]:{port} {}", read(sshd.at("host_ed25519.pub")));
        fs::write(sshd.at("known_hosts"), line).unwrap();
        tool("ssh-keygen", &["-q", "-H", "-f", sshd.at("known_hosts").to_str().unwrap()]);
        assert!(read(sshd.at("known_hosts")).starts_with("|1|"));
        sshd
    }
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn logins(&self) -> usize {
        self.log.lock().unwrap().matches("Accepted publickey").count()
    }
    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().matches("Connection from").count()
    }
    pub fn sessions(&self) -> Vec<u32> {
        let out = std::process::Command::new("pgrep").args(["-P", &self.child.id().to_string()]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().map(|l| l.parse().unwrap()).collect()
    }
    pub fn host(&self) -> Arc<dyn Host> {
        self.host_with("client", "known_hosts", &[], "")
    }
    pub fn host_with(&self, key: &str, known_hosts: &str, trusted: &[&str], more: &str) -> Arc<dyn Host> {
        connect(self.port, self.dir.path(), &format!("key = {{ file = '{key}' }}\nknown_hosts = '{known_hosts}'\n{more}"), trusted)
    }
}

fn connect(port: u16, base: &Path, more: &str, trusted: &[&str]) -> Arc<dyn Host> {
    connect_as(tool("id", &["-un"]).trim(), "127.0.0.1", port, base, more, trusted)
}
/// As the inventory does it: TOML through the registry.
pub fn connect_as(user: &str, host: &str, port: u16, base: &Path, more: &str, trusted: &[&str]) -> Arc<dyn Host> {
    let text = format!("ssh = {{}}\n[it]\nhost = '{host}'\nport = {port}\nuser = '{user}'\n{more}");
    let body = serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap().remove("it").unwrap()).unwrap();
    let config = kinds::make(host::KINDS, &Setting { kind: "ssh".into(), body }).unwrap();
    let trust = Trust { host_keys: trusted.iter().map(|k| (*k).to_owned()).collect(), ..Trust::default() };
    let cx = Connect { node: Some(NodeName("edge-07".into())), secrets: Arc::new(Files), trust, base: base.to_owned(), home: base.to_owned() };
    config.connect(&cx).unwrap()
}

pub fn command(line: &str) -> Command {
    Command { line: line.to_owned(), limit: Span::seconds(20), stdin: None }
}
pub async fn exec(host: &Arc<dyn Host>, line: &str) -> Result<Output, Fault> {
    host.exec(&command(line)).await
}
/// Processes of this computer whose arguments hold `words`.
pub fn processes(words: &str) -> usize {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|e| fs::read(e.unwrap().path().join("cmdline")).ok());
    lines.filter(|l| String::from_utf8_lossy(l).replace('\0', " ").contains(words)).count()
}
/// A number of seconds that is in nobody else's command line.
pub fn long_sleep() -> String {
    format!("sleep 9{:08}", uuid::Uuid::new_v4().as_u128() % 100_000_000)
}

#[tokio::test]
async fn commands_and_their_status() {
    let sshd = Sshd::start();
    let host = sshd.host();
    let out = exec(&host, "echo out; echo err >&2").await.unwrap();
    assert_eq!((out.status, out.stdout.as_str(), out.stderr.as_str(), out.dropped), (0, "out\n", "err\n", 0));
    assert_eq!(exec(&host, "exit 3").await.unwrap().status, 3);
    let missing = exec(&host, "/no/such/program").await.unwrap();
    assert_eq!(missing.status, 127);
    assert!(missing.stderr.contains("not found"), "{missing:?}");
    // libssh2 reports 0 for these.
    assert_eq!(exec(&host, "kill -9 $$").await.unwrap().status, 137);
    assert_eq!(exec(&host, "kill -TERM $$").await.unwrap().status, 143);
    assert_eq!(exec(&host, "printf 'no newline'").await.unwrap().stdout, "no newline");
    assert_eq!(exec(&host, r#"printf '%s|' "a b" 'c"d' \\ '$HOME' "it's""#).await.unwrap().stdout, r#"a b|c"d|\|$HOME|it's|"#);
    assert_eq!(exec(&host, "cat; echo end").await.unwrap().stdout, "end\n", "stdin is empty, not open");
    for n in [0, 1, 70_000, 900_000] {
        let text = "ä\n".repeat(n / 3);
        let out = host.exec(&Command { stdin: Some(text.clone()), ..command("wc -c") }).await.unwrap();
        assert_eq!(out.stdout.trim(), text.len().to_string());
    }
    let unread = host.exec(&Command { stdin: Some("x".repeat(500_000)), ..command("exit 4") }).await.unwrap();
    assert_eq!(unread.status, 4);
    assert_eq!(sshd.logins(), 1, "one connection served all of them");
    host.close().await;
    assert_eq!(exec(&host, "true").await.unwrap().status, 0);
    assert_eq!(sshd.logins(), 2);
}

/// What makes the wrapper vanish without its proof is in doubt, whatever the peer reports.
#[tokio::test]
async fn without_proof_it_is_unknown() {
    let sshd = Sshd::start();
    let host = sshd.host();
    let wrapper = "p=$PPID; while [ \"$p\" -gt 1 ]; do a=$(tr '\\0' ' ' </proc/$p/cmdline); case $a in sh*pitstop*) kill -9 $p; break;; esac; p=$(sed 's/.*) . \\([0-9]*\\).*/\\1/' /proc/$p/stat); done";
    let fault = exec(&host, wrapper).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
    assert!(fault.to_string().contains("not proven"), "{fault}");
    assert_eq!(exec(&host, "true").await.unwrap().status, 0);
}

#[tokio::test]
async fn floods_on_both_streams_are_read_and_bounded() {
    let sshd = Sshd::start();
    let host = sshd.host();
    let out = exec(&host, "head -c 8000000 /dev/zero >&2; echo done; head -c 8000000 /dev/zero").await.unwrap();
    assert_eq!(out.status, 0);
    assert!(out.stdout.starts_with("done\n") && out.stdout.len() <= 1 << 20 && out.stderr.len() <= 1 << 20);
    assert_eq!(out.stdout.len() + out.stderr.len() + out.dropped as usize + 2 * 33, 16_000_005 + 2 * 33);
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn a_hung_command_is_cut_here_and_there() {
    let sshd = Sshd::start();
    let host = sshd.host();
    for line in ["{}", "{} & {} & wait", "trap '' TERM HUP; {}; {}", "while :; do echo drip; sleep 0.1; done # {}"] {
        let words = long_sleep();
        let started = Instant::now();
        let cut = Command { limit: Span::seconds(1), ..command(&line.replace("{}", &words)) };
        let fault = host.exec(&cut).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
        assert!(fault.to_string().contains("cut at its limit of 1s; ended on the host"), "{fault}");
        assert!(started.elapsed() < Duration::from_secs(6), "{line}: {:?}", started.elapsed());
        assert_eq!(processes(&words), 0, "{line} lives on");
    }
}

#[tokio::test]
async fn a_call_nobody_waits_for_ends_on_the_host() {
    let sshd = Sshd::start();
    let host = sshd.host();
    let words = long_sleep();
    let (h, line) = (Arc::clone(&host), words.clone());
    let call = tokio::spawn(async move { exec(&h, &line).await });
    eventually("it runs", || processes(&words) > 0).await;
    call.abort();
    eventually("it is gone", || processes(&words) == 0).await;
    // The same when the link goes: the far end needs no word from us.
    let words = long_sleep();
    let (h, line) = (Arc::clone(&host), words.clone());
    let call = tokio::spawn(async move { exec(&h, &line).await });
    eventually("it runs", || processes(&words) > 0).await;
    sshd.sessions().into_iter().for_each(|pid| signal("KILL", pid));
    let fault = call.await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
    eventually("it is gone", || processes(&words) == 0).await;
}

#[tokio::test]
async fn a_background_child_does_not_hold_the_answer() {
    let sshd = Sshd::start();
    let host = sshd.host();
    let words = long_sleep();
    let started = Instant::now();
    let out = exec(&host, &format!("{words} & echo $!; exit 5")).await.unwrap();
    assert_eq!(out.status, 5);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(processes(&words) > 0, "what a command leaves running is its own affair");
    exec(&host, &format!("kill {}", out.stdout.trim())).await.unwrap();
    assert_eq!(exec(&host, "true").await.unwrap().status, 0);
}

#[tokio::test]
async fn a_dead_connection_is_noticed_and_replaced() {
    let sshd = Sshd::start();
    let host = sshd.host_with("client", "known_hosts", &[], "connect_timeout = '2s'");
    exec(&host, "true").await.unwrap();
    // Closed by the peer while idle, as over a reboot.
    sshd.sessions().into_iter().for_each(|pid| signal("KILL", pid));
    assert_eq!(exec(&host, "exit 6").await.unwrap().status, 6);
    assert_eq!(sshd.logins(), 2);
    // Silent, as after a loss of power.
    sshd.sessions().into_iter().for_each(|pid| signal("STOP", pid));
    let started = Instant::now();
    assert_eq!(exec(&host, "exit 7").await.unwrap().status, 7);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(sshd.logins(), 3);
}

#[tokio::test]
async fn several_commands_at_once_do_not_wait_for_each_other() {
    let sshd = Sshd::start();
    let host = sshd.host();
    let started = Instant::now();
    let (a, b) = tokio::join!(exec(&host, "sleep 2"), exec(&host, "echo quick"));
    assert_eq!((a.unwrap().status, b.unwrap().stdout.as_str()), (0, "quick\n"));
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(sshd.logins(), 2);
}

#[tokio::test]
async fn host_keys_have_five_ends() {
    let sshd = Sshd::start();
    let own = read(sshd.at("host_ed25519.pub"));
    let name = format!("[127.0.0.1]:{}", sshd.port);
    keygen(&sshd.at("other"), "ed25519", "");
    let other = read(sshd.at("other.pub"));
    let fingerprint = tool("ssh-keygen", &["-l", "-f", sshd.at("host_ed25519.pub").to_str().unwrap()]);
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    let case = async |text: &str, trusted: &[&str]| {
        fs::write(sshd.at("kh"), text).unwrap();
        sshd.host_with("client", "kh", trusted, "").look().await
    };
    for good in
        [format!("{name} {own}"), format!("127.0.0.1 {own}"), format!("odd\n@cert-authority * {other}{name} {other}{name} {own}"), format!("*.0.0.1 {own}")]
    {
        let view = case(&good, &[]).await.unwrap();
        assert_eq!(view.host_key.as_deref(), Some(fingerprint));
    }
    // The type that is listed is the type that is asked for.
    case(&format!("{name} {}", read(sshd.at("host_ecdsa.pub"))), &[]).await.unwrap();
    case("", &[own.as_str()]).await.unwrap();
    let before = sshd.logins();
    for (text, trusted, words, next) in [
        ("".to_owned(), None, "is not known", "pitstop inventory trust edge-07"),
        (format!("{name} {other}"), None, "its host key changed", "ssh-keygen -l"),
        (format!("{name} {other}127.0.0.1 {own}"), None, "its host key changed", "ssh-keygen -l"),
        (format!("{name} {own}"), Some(other.as_str()), "is not what trust.toml has", "pitstop inventory trust edge-07 --replace"),
        (format!("@revoked * {own}{name} {own}"), None, "is revoked", "new key"),
        (format!("@revoked * {own}"), Some(own.as_str()), "is revoked", "new key"),
    ] {
        let fault = case(&text, trusted.as_slice()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Denied, "{text}: {fault}");
        assert!(fault.to_string().contains(words) && fault.to_string().contains(fingerprint), "{text}: {fault}");
        assert!(fault.next.as_deref().is_some_and(|n| n.contains(next)), "{fault:?}");
    }
    let fault = sshd.host_with("client", "none", &[], "").look().await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && fault.to_string().contains("cannot be read"), "{fault}");
    assert_eq!(sshd.logins(), before, "nothing was offered to a host that is not known");
}

#[tokio::test]
async fn logins() {
    let sshd = Sshd::start();
    keygen(&sshd.at("wrong"), "ed25519", "");
    keygen(&sshd.at("sealed"), "ed25519", "open sesame");
    keygen(&sshd.at("rsa"), "rsa", "");
    keygen(&sshd.at("ecdsa"), "ecdsa", "");
    fs::write(sshd.at("passphrase"), "open sesame\n").unwrap();
    fs::write(sshd.at("authorized"), ["client.pub", "sealed.pub", "rsa.pub", "ecdsa.pub"].map(|f| read(sshd.at(f))).concat()).unwrap();
    let login = async |key: &str, more: &str| exec(&sshd.host_with(key, "known_hosts", &[], more), "echo in").await.map(|o| o.stdout);
    for (key, more) in [("client", ""), ("rsa", ""), ("ecdsa", ""), ("sealed", "passphrase = { file = 'passphrase' }")] {
        assert_eq!(login(key, more).await.unwrap(), "in\n", "{key}");
    }
    let connections = sshd.connections();
    for (key, more, words) in [("sealed", "", "has a passphrase, and none is given"), ("authorized", "", "holds no private key"), ("absent", "", "read file")] {
        let fault = login(key, more).await.unwrap_err();
        assert!(fault.to_string().contains(words), "{fault}");
    }
    let fault = login("wrong", "").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied);
    assert!(fault.to_string().contains("refused the key in file"), "{fault}");
    let fault = login("sealed", "passphrase = { file = 'known_hosts' }").await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && fault.to_string().contains("cannot be opened with this passphrase"), "{fault}");
    assert!(sshd.connections() <= connections + 5, "one attempt a call");
}

#[tokio::test]
async fn an_agent_logs_in() {
    let sshd = Sshd::start();
    let socket = sshd.at("agent.sock");
    let mut agent = std::process::Command::new(program("ssh-agent")).args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    eventually("the agent's socket", || socket.exists()).await;
    let add = std::process::Command::new(program("ssh-add")).arg("-q").arg(sshd.at("client")).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    assert!(add.status.success(), "{add:?}");
    let more = format!("agent = true\nknown_hosts = 'known_hosts'\nagent_socket = '{}'", socket.display());
    let out = exec(&connect(sshd.port, sshd.dir.path(), &more, &[]), "echo in").await;
    agent.kill().ok();
    agent.wait().ok();
    assert_eq!(out.unwrap().stdout, "in\n");
    let fault = exec(&connect(sshd.port, sshd.dir.path(), &more, &[]), "echo in").await.unwrap_err();
    assert!(fault.kind == FaultKind::Denied && fault.to_string().contains("no ssh-agent answers"), "{fault}");
}

/// Ports where no SSH server answers as one should, within the limits.
#[tokio::test]
async fn silent_and_senseless_peers_are_unreachable() {
    let sshd = Sshd::start();
    let dead = {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        port.local_addr().unwrap().port()
    };
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mute_port, http_port) = (mute.local_addr().unwrap().port(), http.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = http.accept().await {
            use tokio::io::AsyncWriteExt;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    for (port, words) in [(dead, "refused"), (mute_port, "no complete handshake in time"), (http_port, "closed before it said its name")] {
        let host = connect(port, sshd.dir.path(), "key = { file = 'client' }\nknown_hosts = 'known_hosts'\nconnect_timeout = '1s'", &[]);
        let started = Instant::now();
        let fault = host.look().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
        assert!(fault.to_string().contains(words), "{fault}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    drop(mute);
}

#[tokio::test]
async fn a_look_at_this_computer() {
    let sshd = Sshd::start();
    let view = sshd.host().look().await.unwrap();
    assert_eq!(view.boot_id, read("/proc/sys/kernel/random/boot_id").trim());
    let uptime: f64 = read("/proc/uptime").split(' ').next().unwrap().parse().unwrap();
    assert!((uptime - view.uptime_s).abs() < 30.0);
    assert_eq!(view.kernel.as_deref(), Some(tool("uname", &["-r"]).trim()));
    assert!(view.root_fs.is_some());
}

/// sshd's login shell may print; none of it is the command's.
#[tokio::test]
async fn a_login_shell_that_talks() {
    let sshd = Sshd::with("ForceCommand echo noise; echo noise >&2; eval \"$SSH_ORIGINAL_COMMAND\"");
    let out = exec(&sshd.host(), "echo mine; exit 9").await.unwrap();
    assert_eq!((out.status, out.stdout.as_str(), out.stderr.as_str()), (9, "mine\n", ""));
    let lie = Sshd::with("ForceCommand echo I run what I like; exit 0");
    let fault = exec(&lie.host(), "reboot").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown, "an exit status of 0 proves nothing: {fault}");
}

/// A machine of the lab with its SSH server.
struct Lab {
    dir: TempDir,
    rack: Rack,
    port: u16,
    tasks: tokio::task::JoinSet<()>,
    _beside: Box<dyn Any>,
}

impl Lab {
    async fn start() -> Lab {
        let beside = beside();
        let dir = tempfile::tempdir().unwrap();
        let spec = MachineSpec {
            name: "edge-07".into(),
            uuid: "4c4c4544-0051-3010-8052-b4c04f4e4d32".into(),
            serial: "J4X12S3".into(),
            machine_id: "0f3a5c7e9b1d4f60a2c4e6f8091b3d5f".into(),
            services: vec!["multipathd".into(), "node-agent".into()],
            quirks: Quirks::default(),
        };
        let rack = Rack::new(vec![spec], Pace { scale: 0.02, ..Pace::default() }, Box::new(fs::File::create(dir.path().join("rack.jsonl")).unwrap()));
        let (host_key, client) = (lab::new_key("host"), lab::new_key("client"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = format!("[127.0.0.1]:{port} {}\n", host_key.public_key().to_openssh().unwrap());
        fs::write(dir.path().join("known_hosts"), line).unwrap();
        fs::write(dir.path().join("client"), client.to_openssh(Default::default()).unwrap().as_bytes()).unwrap();
        tool("chmod", &["600", dir.path().join("client").to_str().unwrap()]);
        let server = lab::Server {
            rack: rack.clone(),
            machine: "edge-07".into(),
            dir: dir.path().join("edge-07"),
            host_key,
            authorized_key: client.public_key().clone(),
            tools: &[],
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(rack.clone().keep_ticking());
        tasks.spawn(async move { lab::serve(server, listener).await.unwrap() });
        Lab { dir, rack, port, tasks, _beside: beside }
    }
    fn host(&self) -> Arc<dyn Host> {
        connect(self.port, self.dir.path(), "key = { file = 'client' }\nknown_hosts = 'known_hosts'\nconnect_timeout = '2s'", &[])
    }
    fn up(&self) -> bool {
        self.rack.seen("edge-07").unwrap().up
    }
    async fn ssh(&self, words: &str) -> std::process::Output {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let mut ssh = tokio::process::Command::new(program("ssh"));
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "ConnectTimeout=5",
            "-o",
            &format!("UserKnownHostsFile={}", at("known_hosts")),
        ]);
        ssh.args(["-i", &at("client"), "-p", &self.port.to_string(), "root@127.0.0.1", words]).stdin(Stdio::null()).kill_on_drop(true);
        tokio::time::timeout(Duration::from_secs(20), ssh.output()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn the_lab_is_looked_at_and_rebooted() {
    let lab = Lab::start().await;
    let host = lab.host();
    let before = host.look().await.unwrap();
    let seen = lab.rack.seen("edge-07").unwrap();
    assert_eq!(before.boot_id, seen.boot_id);
    assert!(before.uptime_s > 3000.0);
    assert_eq!(before.identity.uuid.as_deref(), Some("4c4c4544-0051-3010-8052-b4c04f4e4d32"));
    assert_eq!(before.identity.serial.as_deref(), Some("J4X12S3"));
    assert_eq!(before.identity.machine_id.as_deref(), Some("0f3a5c7e9b1d4f60a2c4e6f8091b3d5f"));
    assert_eq!((before.system_state.as_deref(), before.default_target.as_deref()), (Some("running"), Some("multi-user.target")));
    assert!(before.root_fs.is_some() && before.kernel.is_some() && before.guests.is_empty() && before.people.is_empty());
    lab.rack.set_running("edge-07", vec!["vm web".into(), "pod default/a".into()]);
    assert_eq!(host.look().await.unwrap().guests, ["web (pid 2000)"]);
    lab.rack.set_running("edge-07", Vec::new());

    let out = exec(&host, "systemctl show -p Id,LoadState,ActiveState,SubState multipathd nothing").await.unwrap();
    assert_eq!(
        out.stdout,
        "Id=multipathd.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\nId=nothing.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n"
    );
    assert_eq!(exec(&host, "systemctl list-units --state=failed --no-legend --plain --no-pager").await.unwrap().stdout, "");
    exec(&host, "systemctl stop node-agent").await.unwrap();
    assert_eq!(
        exec(&host, "systemctl is-active node-agent").await.unwrap(),
        Output { status: 3, stdout: "inactive\n".into(), stderr: String::new(), dropped: 0 }
    );

    let words = long_sleep();
    let (h, line) = (Arc::clone(&host), words.clone());
    let hung = tokio::spawn(async move { exec(&h, &line).await });
    eventually("it runs", || processes(&words) > 0).await;
    assert_eq!(exec(&host, "systemctl reboot").await.unwrap().status, 0);
    eventually("it goes down", || !lab.up()).await;
    assert_eq!(hung.await.unwrap().unwrap_err().kind, FaultKind::Unknown);
    eventually("what ran is gone", || processes(&words) == 0).await;
    let fault = host.look().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
    assert!(fault.to_string().contains("refused"), "{fault}");
    eventually("it comes back", || lab.up()).await;
    let mut after = host.look().await;
    if after.is_err() {
        // Up by the rack, a moment before its port opens.
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = host.look().await;
    }
    let after = after.unwrap();
    assert_eq!(after.boot_id, lab.rack.seen("edge-07").unwrap().boot_id);
    assert_ne!(after.boot_id, before.boot_id);
    assert!(after.uptime_s < 10.0);
    assert_eq!((after.identity, after.root_fs, after.host_key), (before.identity, before.root_fs, before.host_key));
    let log = read(lab.dir.path().join("rack.jsonl"));
    assert!(log.contains(r#""verb":"GracefulRestart""#) && log.contains(r#""via":"ssh""#), "{log}");
}

#[tokio::test]
async fn the_lab_bears_the_same_commands_as_sshd() {
    let mut lab = Lab::start().await;
    let host = lab.host();
    assert_eq!(exec(&host, "exit 3").await.unwrap().status, 3);
    assert_eq!(exec(&host, "kill -9 $$").await.unwrap().status, 137);
    let out = exec(&host, "head -c 8000000 /dev/zero >&2; echo done; head -c 8000000 /dev/zero").await.unwrap();
    assert_eq!((out.status, out.stdout.len() + out.stderr.len() + out.dropped as usize), (0, 16_000_005));
    let text = "line\n".repeat(100_000);
    let out = host.exec(&Command { stdin: Some(text.clone()), ..command("wc -c") }).await.unwrap();
    assert_eq!(out.stdout.trim(), text.len().to_string());
    let words = long_sleep();
    let fault = host.exec(&Command { limit: Span::seconds(1), ..command(&words) }).await.unwrap_err();
    assert!(fault.to_string().contains("ended on the host"), "{fault}");
    assert_eq!(processes(&words), 0);
    // The lab itself goes: what ran on it goes with it.
    let words = long_sleep();
    let (h, line) = (Arc::clone(&host), words.clone());
    let hung = tokio::spawn(async move { exec(&h, &line).await });
    eventually("it runs", || processes(&words) > 0).await;
    lab.tasks.shutdown().await;
    assert_eq!(hung.await.unwrap().unwrap_err().kind, FaultKind::Unknown);
    eventually("it is gone", || processes(&words) == 0).await;
}

#[tokio::test]
async fn openssh_talks_to_the_lab() {
    let lab = Lab::start().await;
    let out = lab.ssh("cat /proc/sys/kernel/random/boot_id; hostname; echo err >&2; exit 7").await;
    let seen = lab.rack.seen("edge-07").unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), format!("{}\nedge-07\n", seen.boot_id), "{out:?}");
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(7), "err\n"));
    // Another key is refused.
    keygen(&lab.dir.path().join("wrong"), "ed25519", "");
    fs::rename(lab.dir.path().join("wrong"), lab.dir.path().join("client")).unwrap();
    fs::remove_file(lab.dir.path().join("wrong.pub")).unwrap();
    let out = lab.ssh("true").await;
    assert_eq!(out.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&out.stderr).contains("Permission denied"), "{out:?}");
    let fault = lab.host().look().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
}
