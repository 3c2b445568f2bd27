//! From a name to a TCP connection that notices a dead peer.
use crate::model::{Fault, FaultKind};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use tokio::time::{timeout, timeout_at};

/// A peer that lost its power is noticed after about 15 + 3 × 5 seconds, also while we only read.
const IDLE: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Every address of `host` is tried once, all within `limit`.
pub async fn dial(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Fault> {
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
            Ok(Ok(stream)) => return stream.into_std().and_then(prepare).map_err(|e| unreachable(format!("cannot set up the connection to {whom}")).cause(e)),
        }
    }
    let fault = unreachable(format!("cannot connect to {whom}"));
    Err(causes.into_iter().fold(fault, Fault::cause))
}

/// Before libssh2 sees the socket: its own keepalive makes blocking reads fail and does not notice a dead peer.
fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES))?;
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}
