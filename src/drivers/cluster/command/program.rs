//! One command of the operator's: run without a shell, in a process group of its own, killed with all its children at its limit.
use crate::model::{Connect, Fault, FaultKind, SecretRef};
use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

pub struct Programs {
    pub cx: Connect,
    /// For each command.
    pub limit: Duration,
    /// By the names the commands know; read for every one of them, so that a rotated secret is found.
    pub env: BTreeMap<String, SecretRef>,
}

/// More than any list of nodes or workloads.
const LARGEST: usize = 4 << 20;
/// What is kept of its complaints.
const COMPLAINT: usize = 64 << 10;

/// How it ended, if it did.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    /// Its last words; both without the secrets it was given.
    pub complaint: String,
}

/// Ends the whole group when dropped: at the limit, and where whoever waited has gone.
struct Group(Option<u32>);
impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.0 else { return };
        // The shell's own `kill` (`-s`: dash reads `-KILL --` as a number): the only way to a group without a dependency or unsafe code. Whoever is gone already needs no signal.
        let kill = std::process::Command::new("/bin/sh").args(["-c", "kill -s KILL -- \"-$1\"", "sh", &leader.to_string()]).stderr(Stdio::null()).status();
        if let Err(error) = kill {
            tracing::error!(leader, %error, "a command's process group could not be killed");
        }
    }
}

impl Programs {
    pub async fn run(&self, argv: &[String], node: Option<&str>, more: &[(&str, &str)], what: &str) -> Result<Ended, Fault> {
        let program = match argv[0].contains('/') {
            true => self.cx.path(&crate::model::FilePath(argv[0].clone())),
            false => PathBuf::from(&argv[0]),
        };
        let mut secrets = Vec::new();
        let mut command = Command::new(&program);
        command.args(&argv[1..]).args(node).current_dir(&self.cx.base).env_clear();
        for name in ["PATH", "HOME", "LANG", "TZ"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, from) in &self.env {
            let secret = self.cx.secret(from)?;
            command.env(name, secret.expose());
            secrets.push(secret);
        }
        command.envs(more.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| {
            let fault = Fault::new(FaultKind::Unreachable, what).cause(format!("{} cannot be started", program.display()));
            fault.caused_by(&e)
        })?;
        let mut group = Group(child.id());
        let (out, err) = (child.stdout.take().expect("BUG: stdout is piped"), child.stderr.take().expect("BUG: stderr is piped"));
        // Until both ends of its output are closed: a child left behind in the background is part of the command. Only then is the leader
        // reaped: until it is, no other process can get its number, which is the group's.
        let finished = async {
            let (stdout, stderr) = tokio::join!(all(out, LARGEST), all(err, COMPLAINT));
            (stdout, stderr, child.wait().await)
        };
        let (stdout, stderr, status) = match timeout(self.limit, finished).await {
            Ok((stdout, stderr, status)) => (stdout, stderr, status),
            Err(_) => {
                let fault = Fault::new(FaultKind::Unknown, what).cause(format!("killed with all its children after {:?}", self.limit));
                return Err(fault);
            }
        };
        group.0 = None;
        let lost = |e: std::io::Error| Fault::new(FaultKind::Unknown, what).caused_by(&e);
        let stdout = stdout.map_err(lost)?;
        if stdout.len() > LARGEST {
            return Err(Fault::new(FaultKind::Unknown, what).cause(format!("it printed more than {} MiB", LARGEST >> 20)));
        }
        let without_secrets = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            secrets.iter().filter(|s| !s.expose().is_empty()).fold(text, |text, secret| text.replace(secret.expose(), "(secret)"))
        };
        let complaint = without_secrets(stderr.map_err(lost)?).trim().to_owned();
        let from = complaint.char_indices().rev().nth(299).map_or(0, |(at, _)| at);
        // What it answers is shown where it makes no sense.
        let stdout = without_secrets(stdout);
        Ok(Ended { code: status.map_err(lost)?.code(), stdout, complaint: complaint[from..].to_owned() })
    }
}

/// All of it is read, so that nobody blocks on a full pipe; what is too much is not kept.
async fn all(mut from: impl AsyncRead + Unpin, most: usize) -> std::io::Result<Vec<u8>> {
    let (mut kept, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        match from.read(&mut chunk).await? {
            0 => return Ok(kept),
            n if kept.len() <= most => kept.extend_from_slice(&chunk[..n]),
            _ => {}
        }
    }
}
