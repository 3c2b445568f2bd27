//! One logged-in connection, and waiting on its socket: libssh2 is asked again when the kernel says that something moved.
use super::{
    dial::{Heard, Stream, dial},
    jump,
    login::{self, words},
    ready::Ready,
    target::{Route, Target},
};
use crate::model::{Connect, Fault, FaultKind};
use socket2::Socket;
use ssh2::{BlockDirections, Channel, Session};
use std::{
    fmt, io,
    net::Shutdown,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::Interest, runtime::Runtime, sync::oneshot, time::timeout_at};

/// A belt: a wake-up lost between two layers costs this long, not the command's limit.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Whoever waits for a call went away. Dropping the other end asks.
pub struct Stop(Option<oneshot::Receiver<()>>);
impl Stop {
    pub fn new() -> (oneshot::Sender<()>, Stop) {
        let (hold, gone) = oneshot::channel();
        (hold, Stop(Some(gone)))
    }
    pub fn never() -> Stop {
        Stop(None)
    }
    pub fn asked(&mut self) -> bool {
        self.0.as_mut().is_some_and(|gone| !matches!(gone.try_recv(), Err(oneshot::error::TryRecvError::Empty)))
    }
    async fn wait(&mut self) {
        match &mut self.0 {
            Some(gone) => drop(gone.await),
            None => std::future::pending().await,
        }
    }
}

/// Why a call did not come to its end.
#[derive(Debug)]
pub struct Broken {
    pub text: String,
    pub raw: Option<ssh2::Error>,
}
impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Kept between calls; belongs to one thread at a time.
pub struct Kept {
    pub session: Session,
    pub host_key: String,
    /// The same socket as the session's.
    pub socket: Socket,
    alive: Option<Alive>,
}
/// Behind a jump host: who asks, and who hears.
struct Alive {
    heard: Arc<Heard>,
    every: Duration,
}
impl Kept {
    pub fn log_in(to: &Target, cx: &Connect, stream: Stream, runtime: &Runtime) -> Result<Kept, Fault> {
        let again = |e: io::Error| Fault::new(FaultKind::Unreachable, format!("{}: cannot set up the connection", to.whom)).cause(e);
        let socket = stream.socket.try_clone().map_err(again)?;
        let alive = stream.heard.clone().map(|heard| Alive { heard, every: to.keepalive.0 });
        let logged_in = login::log_in(to, cx, stream, runtime)?;
        logged_in.session.set_blocking(false);
        if alive.is_some() {
            // Nothing by itself: how often `keepalive_send` asks at most. One second would be taken for two.
            logged_in.session.set_keepalive(true, u32::try_from(to.keepalive.0.as_secs() / 3).unwrap_or(u32::MAX).max(2));
        }
        Ok(Kept { session: logged_in.session, host_key: logged_in.host_key, socket, alive })
    }

    /// Behind a jump host: asks the far end for a sign of life, and says since when there was none.
    pub fn silent(&self) -> Option<Duration> {
        let alive = self.alive.as_ref()?;
        let ago = alive.heard.ago();
        if ago > alive.every {
            // A link that is gone shows at the next read.
            self.session.keepalive_send().ok();
        }
        (ago > alive.every * 2).then_some(ago)
    }
}

/// A way to the host's SSH server: over TCP, or through its jump hosts.
pub fn reach(route: &Route, cx: &Connect, runtime: &Runtime) -> Result<Stream, Fault> {
    let host = &route.host;
    if route.jumps.is_empty() {
        runtime.block_on(dial(&host.host, host.port, host.connect_timeout.0, host.keepalive.0))
    } else {
        jump::through(&route.jumps, cx, runtime, host)
    }
}

impl Drop for Kept {
    /// Before libssh2 says goodbye: its drop would wait for a peer that may be gone.
    fn drop(&mut self) {
        self.socket.shutdown(Shutdown::Both).ok(); // it may be closed already
    }
}

/// A kept connection on the thread of a call, with its socket known to the runtime there.
pub struct Connection<'a> {
    pub whom: String,
    kept: Kept,
    ready: Ready,
    /// Itself and no handle: only the runtime drives its timers and its poll.
    runtime: &'a Runtime,
}

impl<'a> Connection<'a> {
    /// One attempt, through the jump hosts where there are any.
    pub fn open(route: &Route, cx: &Connect, runtime: &Runtime) -> Result<Kept, Fault> {
        let host = &route.host;
        Kept::log_in(host, cx, reach(route, cx, runtime)?, runtime)
    }

    pub fn new(whom: String, kept: Kept, runtime: &'a Runtime) -> io::Result<Connection<'a>> {
        let _inside = runtime.enter();
        // What came while nobody used it was noted by nobody.
        if let Some(alive) = &kept.alive {
            alive.heard.again();
        }
        Ok(Connection { whom, ready: Ready::of(&kept.socket)?, kept, runtime })
    }

    pub fn keep(self) -> Kept {
        self.kept
    }
    pub fn host_key(&self) -> &str {
        &self.kept.host_key
    }

    pub fn channel(&self, until: Instant, stop: &mut Stop) -> Result<Channel, Broken> {
        self.drive(until, stop, || self.kept.session.channel_session())
    }

    /// Calls until libssh2 stops answering "would block".
    pub fn drive<T>(&self, until: Instant, stop: &mut Stop, mut call: impl FnMut() -> Result<T, ssh2::Error>) -> Result<T, Broken> {
        loop {
            match call() {
                Ok(done) => return Ok(done),
                Err(e) if io::Error::from(ssh2::Error::new(e.code(), "")).kind() != io::ErrorKind::WouldBlock => {
                    return Err(Broken { text: words(&e), raw: Some(e) });
                }
                Err(_) if stop.asked() => return Err(Broken { text: "cancelled".to_owned(), raw: None }),
                Err(_) if Instant::now() >= until => return Err(Broken { text: "no answer in time".to_owned(), raw: None }),
                Err(_) => self.wait(false, until, stop),
            }
        }
    }

    pub fn silent(&self) -> Option<Duration> {
        self.kept.silent()
    }

    /// Until the socket moves, `until`, or nobody waits any more. May return early.
    pub fn wait(&self, writing: bool, until: Instant, stop: &mut Stop) {
        let mut interest = Interest::READABLE;
        self.ready.stale(Interest::READABLE);
        if writing || matches!(self.kept.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both) {
            self.ready.stale(Interest::WRITABLE);
            interest |= Interest::WRITABLE;
        }
        let until = until.min(Instant::now() + LOOK_AGAIN);
        self.runtime.block_on(async {
            tokio::select! {
                moved = timeout_at(until.into(), self.ready.moves(interest)) => drop(moved), // looked at again either way
                () = stop.wait() => {}
            }
        });
    }
}
