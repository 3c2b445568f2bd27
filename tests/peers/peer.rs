//! A peer as a child process: where it is found, a port for it, ready before it is used, killed when dropped.
use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

pub struct Peer {
    child: Child,
    name: String,
    talk: PathBuf,
}

impl Peer {
    /// What it says goes to a file in `dir`, and is shown when it does not come up.
    pub fn spawn(command: &mut Command, dir: &Path) -> Peer {
        let name = Path::new(command.get_program()).file_name().unwrap().to_string_lossy().into_owned();
        let talk = dir.join(format!("{name}.log"));
        let file = File::create(&talk).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} cannot be started ({e}): run tests/setup"));
        Peer { child, name, talk }
    }

    /// Asks until it says yes, for half a minute: the first start on a cold disk is slow.
    pub async fn ready(mut self, mut asked: impl AsyncFnMut() -> bool) -> Peer {
        for _ in 0..300 {
            if asked().await {
                return self;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended at once, {status}:\n{}", self.name, std::fs::read_to_string(&self.talk).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} is not ready after 30 s:\n{}", self.name, std::fs::read_to_string(&self.talk).unwrap_or_default());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok(); // it may have ended by itself
        self.child.wait().ok();
    }
}

/// A TCP port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of the pinned Python environment.
pub fn from_venv(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers-venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run tests/setup", path.display());
    path
}

/// A program of the system.
pub fn from_path(program: &str) -> PathBuf {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&dirs).chain(["/usr/sbin".into(), "/sbin".into()]).map(|dir| dir.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is missing: run tests/setup"))
}
