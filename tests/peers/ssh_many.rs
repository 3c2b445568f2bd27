//! Two hundred hosts at once against OpenSSH's sshd: all of them served, by a bounded number of threads. Times and sizes are printed and decide nothing.
use crate::ssh::{BESIDE, Sshd, connect_as, read, tool};
use pitstop::model::{Command, Span};
use std::{
    fs,
    sync::{
        Arc, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const HOSTS: usize = 200;
/// sshd listens on no more.
const ADDRESSES: usize = 15;

/// Threads of the SSH driver in this process, whichever test they work for.
fn ssh_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    tasks.filter(|t| fs::read_to_string(t.path().join("comm")).is_ok_and(|name| name.trim() == "ssh")).count()
}
/// The limit is of the wait for a thread too, and this computer may be busy.
fn patient(line: &str) -> Command {
    Command { line: line.to_owned(), limit: Span::seconds(300), stdin: None }
}
fn status(key: &str) -> u64 {
    let text = read("/proc/self/status");
    text.lines().find_map(|l| l.strip_prefix(key)?.split_whitespace().next()?.parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_hosts_at_once() {
    let listen: String = (2..2 + ADDRESSES).map(|i| format!("ListenAddress 127.0.0.{i}:PORT\n")).collect();
    // Writing waits until the others are done, without keeping anybody out.
    let alone = loop {
        match BESIDE.try_write() {
            Ok(alone) => break alone,
            Err(TryLockError::Poisoned(e)) => break e.into_inner(),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let sshd = Sshd::inside(&[], &listen, Box::new(alone));
    let key = read(sshd.at("host_ed25519.pub"));
    let user = tool("id", &["-un"]);
    let addresses: Vec<String> = (0..HOSTS).map(|i| format!("127.0.0.{}", 2 + i % ADDRESSES)).collect();
    let more = "key = { file = 'client' }\nconnect_timeout = '120s'";
    let hosts: Vec<_> = addresses.iter().map(|a| connect_as(user.trim(), a, sshd.port, sshd.dir.path(), more, &[key.as_str()])).collect();
    let before = status("VmRSS:");

    let over = Arc::new(AtomicBool::new(false));
    let watch = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let (mut ours, mut all, mut resident) = (0, 0, 0);
            while !over.load(Ordering::SeqCst) {
                (ours, all, resident) = (ours.max(ssh_threads()), all.max(status("Threads:")), resident.max(status("VmRSS:")));
                std::thread::sleep(Duration::from_millis(10));
            }
            (ours, all, resident)
        }
    });
    let began = Instant::now();
    let answers =
        futures::future::join_all(hosts.iter().map(|host| async move { host.exec(&patient("sleep 0.2; echo $SSH_CONNECTION; echo err >&2")).await })).await;
    let took = began.elapsed();
    // Each connection is kept for what comes next.
    let logins = sshd.logins();
    let again = futures::future::join_all(hosts.iter().map(|host| async { host.exec(&patient("exit 4")).await })).await;
    over.store(true, Ordering::SeqCst);
    let (ours, all, resident) = watch.join().unwrap();
    eprintln!(
        "{HOSTS} hosts at once: {:.1} s; at most {ours} SSH threads, {all} threads in this process; {} kB resident, {} kB more than before",
        took.as_secs_f64(),
        resident,
        resident.saturating_sub(before)
    );
    for (address, answer) in addresses.iter().zip(&answers) {
        let out = answer.as_ref().unwrap_or_else(|fault| panic!("{address}: {fault}"));
        assert_eq!((out.status, out.stderr.as_str()), (0, "err\n"));
        // client address, client port, server address, server port
        assert_eq!(out.stdout.split(' ').nth(2), Some(address.as_str()), "the answer of another host: {out:?}");
    }
    assert!(again.iter().all(|a| a.as_ref().is_ok_and(|out| out.status == 4)), "{again:?}");
    assert_eq!((logins, sshd.logins()), (HOSTS, HOSTS), "one connection a host, used again");
    // Those that are just ending are seen too.
    assert!((2..=64 + 8).contains(&ours), "{ours} threads for {HOSTS} hosts: the bound is 64");
}
