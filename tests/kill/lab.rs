//! The real binary: a rack that it keeps up in a process of its own, and commands against it.
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub struct Lab {
    process: Child,
    dir: TempDir,
}
impl Lab {
    pub fn start(nodes: usize) -> Lab {
        Lab::start_with(nodes, &[])
    }

    pub fn start_with(nodes: usize, faults: &[&str]) -> Lab {
        Lab::put_up(nodes, faults, &[])
    }

    /// One cluster of this kind alone.
    pub fn start_of(kind: &str, nodes: usize, faults: &[&str]) -> Lab {
        Lab::put_up(nodes, faults, &["--cluster", kind])
    }

    fn put_up(nodes: usize, faults: &[&str], more: &[&str]) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_pitstop"))
            .args(["lab", "--nodes", &nodes.to_string(), "--dir"])
            .arg(dir.path().join("lab"))
            .args(faults.iter().flat_map(|fault| ["--fault", fault]))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lab = Lab { process, dir };
        let begun = Instant::now();
        while !lab.path("lab/inventory/rack.toml").exists() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the lab does not come up");
            thread::sleep(Duration::from_millis(50));
        }
        lab
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// What the rack itself has written down, from line `from` on.
    pub fn record(&self, from: usize) -> Vec<Value> {
        let text = fs::read_to_string(self.path("lab/rack.jsonl")).unwrap();
        // A line that is being written is none yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().skip(from).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn store(&self, name: &str) -> Store<'_> {
        Store { lab: self, url: format!("sqlite:{}", self.path(name).join("pitstop.db").display()) }
    }
}
impl Drop for Lab {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Where one machine keeps its journals and locks.
pub struct Store<'a> {
    pub lab: &'a Lab,
    url: String,
}

/// How a command ended. `code` is none where a signal ended it.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}
impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended { code: output.status.code(), stdout: String::from_utf8(output.stdout).unwrap(), stderr: String::from_utf8(output.stderr).unwrap() }
    }
}
impl Ended {
    pub fn said(&self) -> String {
        format!("exit {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

/// When a command is made to die.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kill {
    Never,
    /// By its own hand, around an append of the journal.
    At(u64, &'static str),
    /// By ours, this long after it began.
    After(Duration),
}

impl Store<'_> {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pitstop"));
        command.arg("-i").arg(self.lab.path("lab/inventory")).args(["--store", &self.url]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn pitstop(&self, args: &[&str]) -> Ended {
        self.killed(args, Kill::Never)
    }

    pub fn killed(&self, args: &[&str], kill: Kill) -> Ended {
        let mut command = self.command(args);
        match kill {
            Kill::Never => {}
            Kill::At(n, when) => {
                command.env("PITSTOP_TEST_KILL_AT", format!("{n}:{when}"));
            }
            Kill::After(time) => {
                // Its output may fill no pipe: nobody reads before it ends.
                let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                let begun = Instant::now();
                while begun.elapsed() < time && process.try_wait().unwrap().is_none() {
                    thread::sleep(Duration::from_millis(5));
                }
                process.kill().ok(); // SIGKILL
                let code = process.wait().unwrap().code();
                return Ended { code, stdout: String::new(), stderr: String::new() };
            }
        }
        command.output().unwrap().into()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let ended = self.pitstop(args);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", ended.said()))
    }

    /// Every record of the last run.
    pub fn journal(&self) -> Vec<Value> {
        let ended = self.pitstop(&["report", "--events"]);
        match ended.code {
            Some(0) => ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            _ => Vec::new(),
        }
    }
}
