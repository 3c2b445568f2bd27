//! From a name to a TCP connection that notices a dead peer.
use crate::model::{Fault, FaultKind};
use socket2::{Socket, TcpKeepalive};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::time::{timeout, timeout_at};

/// A way to one SSH server.
pub struct Stream {
    pub socket: Socket,
    /// Behind a jump host the kernel asks nobody whether the far end lives.
    pub heard: Option<Arc<Heard>>,
}

/// When the far end behind a jump host last sent anything.
#[derive(Debug)]
pub struct Heard(Mutex<Instant>);
impl Heard {
    pub fn now() -> Heard {
        Heard(Mutex::new(Instant::now()))
    }
    pub fn again(&self) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Instant::now();
    }
    pub fn ago(&self) -> Duration {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).elapsed()
    }
}

/// Every address of `host` is tried once, all within `limit`.
pub async fn dial(host: &str, port: u16, limit: Duration, keepalive: Duration) -> Result<Stream, Fault> {
    let whom = format!("{host}:{port}");
    let until = Instant::now() + limit;
    let unreachable = |what: String| Fault::new(FaultKind::Unreachable, what);
    let addresses: Vec<SocketAddr> = match timeout(limit, tokio::net::lookup_host((host, port))).await {
        Err(_) => return Err(unreachable(format!("the name {host} was not answered within {limit:?}"))),
        Ok(Err(e)) => return Err(unreachable(format!("the name {host} cannot be resolved")).cause(e)),
        Ok(Ok(found)) => found.collect(),
    };
    let mut causes = Vec::new();
    for (i, address) in addresses.iter().enumerate() {
        // A dead first address must leave time for the second.
        let left = until.saturating_duration_since(Instant::now()) / u32::try_from(addresses.len() - i).unwrap_or(1);
        match timeout_at((Instant::now() + left).into(), tokio::net::TcpStream::connect(address)).await {
            Err(_) => causes.push(format!("{address}: no answer within {left:.1?}")),
            Ok(Err(e)) => causes.push(format!("{address}: {e}")),
            Ok(Ok(stream)) => {
                let prepared = stream.into_std().and_then(|stream| prepare(stream.into(), keepalive));
                return prepared.map_err(|e| unreachable(format!("cannot set up the connection to {whom}")).cause(e));
            }
        }
    }
    let fault = unreachable(format!("cannot connect to {whom}"));
    Err(causes.into_iter().fold(fault, Fault::cause))
}

/// Before libssh2 sees the socket: its own keepalive makes blocking reads fail and does not notice a dead peer.
/// One that lost its power is noticed after twice `keepalive`, also while we only read.
fn prepare(socket: Socket, keepalive: Duration) -> io::Result<Stream> {
    let ask = (keepalive / 3).max(Duration::from_secs(1));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive).with_interval(ask).with_retries(3))?;
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(keepalive * 2))?;
    Ok(Stream { socket, heard: None })
}
