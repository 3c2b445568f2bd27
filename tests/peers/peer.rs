//! Peers as child processes on free loopback ports: started, waited for, killed when dropped.
use std::{
    future::Future,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub struct Peer {
    child: Child,
    /// Its files; gone with it.
    pub dir: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Peer {
    /// Output goes to `peer.log` in its directory.
    pub fn start(command: &mut Command, dir: tempfile::TempDir) -> Peer {
        let log = std::fs::File::create(dir.path().join("peer.log")).unwrap();
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Peer { child, dir }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("peer.log")).unwrap_or_default()
    }

    /// Until `answers` says so, or the peer ends, or 30 seconds are over.
    pub async fn ready<F: Future<Output = bool>>(&mut self, mut answers: impl FnMut() -> F) {
        let end = Instant::now() + Duration::from_secs(30);
        while !answers().await {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the peer ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < end, "the peer does not answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A program of the system, or the test fails.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/sbin"]);
    let found = places.map(|dir| Path::new(dir).join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: run tests/setup"))
}

/// A program of the peers' Python environment, or the test fails.
pub fn python(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers-venv/bin").join(name);
    assert!(file.is_file(), "{} is not there: run tests/setup", file.display());
    file
}

/// Free a moment ago.
pub fn udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
pub fn tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
