//! Through jump hosts: one connection to each, with a thread of its own, carries all that goes through it (`direct-tcpip`).
//! libssh2 opens one channel of a connection at a time, and an opening cannot be taken back: a connection whose opening hangs gets no more of them,
//! and ends with the last that rides on it.
use super::{
    bridge::{Bridge, Lost},
    connection::{Kept, reach},
    dial::{Heard, Stream},
    login::{number, words},
    ready::Ready,
    target::{Route, Target},
};
use crate::model::{Connect, Fault, FaultKind};
use ssh2::BlockDirections;
use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::{
    io::Interest,
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Connections to one jump host that open something at the same time: one is enough while everybody answers.
const AT_ONCE: usize = 8;
/// How long to wait for one that opens something before another is made.
const PATIENCE: Duration = Duration::from_millis(500);
/// A connection on which nothing rides.
const IDLE: Duration = Duration::from_secs(60);
/// A belt, as in `connection`.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

struct Open {
    host: String,
    port: u16,
    answer: oneshot::Sender<Result<Stream, Fault>>,
}
/// A connection to a jump host that can open something. Dropped, it opens nothing more.
type Line = mpsc::UnboundedSender<Open>;

/// All connections to one jump host.
#[derive(Default)]
struct Lines {
    state: Mutex<State>,
    moved: Condvar,
}
#[derive(Default)]
struct State {
    free: Vec<Line>,
    busy: usize,
    making: bool,
    /// When something last moved: then nobody needs another connection.
    moved_at: Option<Instant>,
    /// Why the last could not be made, and when: whoever waited for it need not try as well.
    failed: Option<(Instant, Fault)>,
}

static JUMPS: Mutex<Option<HashMap<String, Arc<Lines>>>> = Mutex::new(None);

fn lines(key: String) -> Arc<Lines> {
    let mut jumps = JUMPS.lock().unwrap_or_else(|e| e.into_inner());
    Arc::clone(jumps.get_or_insert_default().entry(key).or_default())
}

/// A way to the SSH server of `to` behind these jump hosts. Blocks the thread of a call, within limits.
pub fn through(jumps: &[Target], cx: &Connect, runtime: &Runtime, to: &Target) -> Result<Stream, Fault> {
    let Some((last, before)) = jumps.split_last() else { return Err(Fault::new(FaultKind::Invalid, "BUG: no jump host")) };
    // Who logs in how, not only where: another inventory in this process has other keys.
    let lines = lines(format!("{jumps:?} {}", cx.base.display()));
    let make = || {
        let route = Route { jumps: before.to_vec(), host: last.clone() };
        start(last, Kept::log_in(last, cx, reach(&route, cx, runtime)?, runtime)?)
    };
    // To reach the jump host and log in there; once more to reach the target from it.
    let wait = last.connect_timeout.0;
    let line = lines.take(&last.whom, wait * 2, make)?;
    let opened = ask(&line, runtime, last, to, wait);
    // After an answer the line is as good as before. Without one its opening is still under way: nobody may come after it.
    lines.give(matches!(opened, Some(Ok(_)) | Some(Err(_))).then_some(line));
    opened.unwrap_or_else(|| Err(unreachable(last, &format!("no connection to {}:{} within {wait:?}", to.host, to.port))))
}

fn unreachable(jump: &Target, what: &str) -> Fault {
    Fault::new(FaultKind::Unreachable, format!("{}: {what}", jump.whom))
}

/// `None`: no answer in time.
fn ask(line: &Line, runtime: &Runtime, jump: &Target, to: &Target, wait: Duration) -> Option<Result<Stream, Fault>> {
    let (answer, opened) = oneshot::channel();
    let lost = || Some(Err(unreachable(jump, "its connection was lost")));
    if line.send(Open { host: to.host.clone(), port: to.port, answer }).is_err() {
        return lost();
    }
    match runtime.block_on(async { timeout(wait, opened).await }) {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(_)) => lost(),
        Err(_) => None,
    }
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn take(&self, whom: &str, wait: Duration, make: impl FnOnce() -> Result<Line, Fault>) -> Result<Line, Fault> {
        let began = Instant::now();
        let mut state = self.state();
        loop {
            state.free.retain(|line| !line.is_closed());
            if let Some(line) = state.free.pop() {
                state.busy += 1;
                return Ok(line);
            }
            if let Some((at, fault)) = &state.failed
                && *at > began
            {
                return Err(fault.clone());
            }
            let waited = began.elapsed();
            let still = state.moved_at.map_or(waited, |at| at.elapsed().min(waited));
            if !state.making && state.busy < AT_ONCE && (state.busy == 0 || still >= PATIENCE) {
                break;
            }
            if waited >= wait {
                return Err(Fault::new(FaultKind::Unreachable, format!("{whom}: busy with other connections for {wait:?}")));
            }
            state = self.moved.wait_timeout(state, LOOK_AGAIN.min(wait - waited)).unwrap_or_else(|e| e.into_inner()).0;
        }
        state.making = true;
        drop(state);
        let made = make();
        let mut state = self.state();
        (state.making, state.moved_at) = (false, Some(Instant::now()));
        match &made {
            Ok(_) => state.busy += 1,
            Err(fault) => state.failed = Some((Instant::now(), fault.clone())),
        }
        self.moved.notify_all();
        made
    }

    fn give(&self, line: Option<Line>) {
        let mut state = self.state();
        (state.busy, state.moved_at) = (state.busy - 1, Some(Instant::now()));
        state.free.extend(line);
        self.moved.notify_all();
    }
}

fn start(jump: &Target, kept: Kept) -> Result<Line, Fault> {
    let failed = |e: io::Error| unreachable(jump, "cannot set up the connection").cause(e);
    let (line, asked) = mpsc::unbounded_channel();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let inside = runtime.enter();
    let socket = Ready::of(&kept.socket).map_err(failed)?;
    drop(inside);
    let carrier = Carrier { whom: jump.whom.clone(), kept, socket, asked, asking: None, bridges: Vec::new(), no_more: false, outbound: false };
    std::thread::Builder::new().name("ssh-jump".to_owned()).spawn(move || runtime.block_on(carrier.run())).map_err(failed)?;
    Ok(line)
}

/// The thread's own: the connection to the jump host and what rides on it.
struct Carrier {
    whom: String,
    kept: Kept,
    socket: Ready,
    asked: mpsc::UnboundedReceiver<Open>,
    /// What is being opened.
    asking: Option<Open>,
    bridges: Vec<Bridge>,
    no_more: bool,
    /// libssh2 waits for room in the socket.
    outbound: bool,
}

impl Carrier {
    async fn run(mut self) {
        let mut used = Instant::now();
        loop {
            let moved = match self.step() {
                Ok(moved) => moved,
                Err(Lost(why)) => return self.lost(&why),
            };
            if self.asking.is_some() || !self.bridges.is_empty() {
                used = Instant::now();
            }
            let over = self.no_more || used.elapsed() > IDLE;
            if over && self.bridges.is_empty() {
                // An opening that nobody waits for goes with the connection. What was asked this moment finds it closed.
                self.asked.close();
                return self.lost("closed");
            }
            if !moved {
                self.wait().await;
            }
        }
    }

    /// Everything on it ends; the socket is shut first, so that libssh2's goodbye does not wait for a peer that may be gone.
    fn lost(mut self, why: &str) {
        let asking = self.asking.take();
        let fault = || Fault::new(FaultKind::Unreachable, format!("{}: its connection was lost", self.whom)).cause(why);
        for open in asking.into_iter().chain(std::iter::from_fn(|| self.asked.try_recv().ok())) {
            open.answer.send(Err(fault())).ok(); // nobody waits any more
        }
        self.kept.socket.shutdown(std::net::Shutdown::Both).ok(); // it may be closed already
    }

    fn step(&mut self) -> Result<bool, Lost> {
        // A jump host behind another.
        if let Some(ago) = self.kept.silent() {
            return Err(Lost(format!("no sign of life for {ago:.0?}")));
        }
        let mut moved = self.open()?;
        let outbound = || matches!(self.kept.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both);
        self.outbound = outbound();
        let mut lost = None;
        self.bridges.retain_mut(|bridge| {
            let step = bridge.step();
            self.outbound |= outbound();
            match step {
                Ok(some) => {
                    moved |= some.unwrap_or(false);
                    some.is_some()
                }
                Err(e) => {
                    lost = Some(e);
                    true
                }
            }
        });
        lost.map_or(Ok(moved), Err)
    }

    /// One opening at a time, driven to its end whoever still waits for it.
    fn open(&mut self) -> Result<bool, Lost> {
        if self.asking.is_none() {
            match self.asked.try_recv() {
                Ok(open) => self.asking = Some(open),
                Err(mpsc::error::TryRecvError::Empty) => {}
                Err(mpsc::error::TryRecvError::Disconnected) => self.no_more = true,
            }
        }
        let Some(open) = &self.asking else { return Ok(false) };
        let done = match self.kept.session.channel_direct_tcpip(&open.host, open.port, None) {
            Err(e) if io::Error::from(ssh2::Error::new(e.code(), "")).kind() == io::ErrorKind::WouldBlock => {
                // Whoever asked has given up: so does this connection.
                self.no_more |= open.answer.is_closed();
                return Ok(false);
            }
            done => done,
        };
        let Some(open) = self.asking.take() else { return Ok(false) };
        let to = format!("{}:{}", open.host, open.port);
        let answer = match done {
            Ok(channel) => UnixStream::pair()
                .and_then(|(here, there)| {
                    there.set_nonblocking(true)?;
                    let heard = Arc::new(Heard::now());
                    self.bridges.push(Bridge::new(channel, tokio::net::UnixStream::from_std(there)?, Arc::clone(&heard)));
                    Ok(Stream { socket: here.into(), heard: Some(heard) })
                })
                .map_err(|e| Fault::new(FaultKind::Unreachable, format!("{}: cannot set up the connection to {to}", self.whom)).cause(e)),
            Err(e) if number(&e) == CHANNEL_REFUSED => Err(refused(&self.whom, &to, &e)),
            Err(e) => {
                self.asking = Some(open);
                return Err(Lost(words(&e)));
            }
        };
        open.answer.send(answer).ok(); // nobody waits any more: the socket's end is the bridge's
        Ok(true)
    }

    async fn wait(&mut self) {
        self.socket.stale(Interest::READABLE);
        let mut interest = Interest::READABLE;
        if self.outbound {
            self.socket.stale(Interest::WRITABLE);
            interest |= Interest::WRITABLE;
        }
        let here = self.bridges.iter().map(|bridge| Box::pin(bridge.here_moves()));
        let any = async {
            match here.len() {
                0 => std::future::pending().await,
                _ => drop(futures::future::select_all(here).await),
            }
        };
        let idle = self.asking.is_none() && !self.no_more;
        let next = async {
            tokio::select! {
                () = self.socket.moves(interest) => {}
                () = any => {}
                next = self.asked.recv(), if idle => match next {
                    Some(open) => self.asking = Some(open),
                    None => self.no_more = true,
                },
            }
        };
        tokio::time::timeout(LOOK_AGAIN, next).await.ok(); // nothing moved: it is looked at all the same
    }
}

/// `LIBSSH2_ERROR_CHANNEL_FAILURE`
const CHANNEL_REFUSED: i32 = -21;

/// It answered: there is no way from there.
fn refused(whom: &str, to: &str, e: &ssh2::Error) -> Fault {
    if e.message().contains("prohibited") {
        let fault = Fault::new(FaultKind::Denied, format!("{whom} forwards nothing to {to}")).cause(words(e));
        return fault.next("allow it there: AllowTcpForwarding and PermitOpen in sshd_config");
    }
    Fault::new(FaultKind::Unreachable, format!("{whom} reaches nobody at {to}")).cause(words(e))
}
