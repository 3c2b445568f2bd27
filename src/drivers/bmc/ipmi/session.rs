//! One RMCP+ session over UDP: login, requests, logout. What gets lost is repeated only where the caller says that it may be.
use super::faults::{Lost, completion, refused};
use crate::{
    model::{Connect, Credential, Fault, FaultKind, Secret, Turn},
    wire::{
        ipmi::{self, Command},
        lan::{Request, Response, code},
        rakp::{self, Login, OpenAnswer, OpenRequest, Rakp1, Rakp2, Rakp3, Rakp4, status},
        rmcp::{self, Packet, Window},
        suite::{Keys, Suite},
    },
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout, timeout_at},
};

/// A datagram that got no answer is sent this often within its limit, where it may be.
const TRIES: u32 = 5;
/// Nobody waits longer for the answer to a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// A name may stand for several addresses; nobody gives a BMC more.
const MAX_ADDRESSES: usize = 4;

/// Whom to log in to, and how.
pub struct Target {
    /// For people: `ipmi://192.0.2.11`.
    pub endpoint: String,
    pub host: String,
    pub port: u16,
    pub user: Secret,
    pub password: Secret,
    /// As the specification numbers them.
    pub privilege: u8,
    /// Of one exchange.
    pub timeout: Duration,
    pub cx: Connect,
    pub credential: Credential,
}
impl Target {
    /// Leave to log in once.
    pub async fn turn(&self) -> Result<Turn, Fault> {
        self.cx.turn(&self.credential, &self.endpoint, vec![self.user.clone(), self.password.clone()]).await
    }
    pub fn shows_the_same(&self, other: &Target) -> bool {
        self.user.expose() == other.user.expose() && self.password.expose() == other.password.expose()
    }
}

/// A connected socket: only the BMC's datagrams come in, and a closed port is told at once.
struct Pipe {
    socket: UdpSocket,
    timeout: Duration,
}

impl Pipe {
    async fn to(address: SocketAddr, timeout: Duration) -> io::Result<Pipe> {
        let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(Pipe { socket, timeout })
    }

    /// Sends what `datagram` makes, waits for what `accept` takes. Everything else that comes in is ignored.
    async fn exchange<T>(
        &self,
        repeat: bool,
        mut datagram: impl FnMut() -> Vec<u8> + Send,
        mut accept: impl FnMut(&[u8]) -> Option<T> + Send,
    ) -> Result<T, Lost> {
        let end = Instant::now() + self.timeout;
        let mut buffer = vec![0; rmcp::MAX];
        loop {
            self.socket.send(&datagram()).await.map_err(Lost::Unsent)?;
            let again = if repeat { end.min(Instant::now() + self.timeout / TRIES) } else { end };
            loop {
                match timeout_at(again, self.socket.recv(&mut buffer)).await {
                    Ok(Ok(len)) => {
                        if let Some(taken) = accept(&buffer[..len]) {
                            return Ok(taken);
                        }
                    }
                    Ok(Err(error)) => return Err(Lost::Broken(error)),
                    Err(_) => break,
                }
            }
            if again >= end {
                return Err(Lost::Silent(self.timeout));
            }
        }
    }
}

/// Why one suite did not lead to a session, and whether the next one may.
enum Refusal {
    Next(Fault),
    Final(Fault),
    /// It does not know this user name and password.
    Login(Fault),
}

pub struct Session {
    pipe: Pipe,
    endpoint: String,
    keys: Keys,
    console: u32,
    managed: u32,
    sequence: u32,
    message: u8,
    window: Window,
    /// Nothing came back: no use in waiting for more.
    lost: bool,
    closed: bool,
}

/// Opens a session with the first of `suites` that the BMC takes, and raises its privilege. `proved`: the first suite has worked before.
pub async fn open(target: &Target, suites: &[Suite], proved: bool) -> Result<Session, Fault> {
    let unreachable = || Fault::new(FaultKind::Unreachable, format!("{} cannot be reached", target.endpoint));
    let found = timeout(target.timeout, tokio::net::lookup_host((target.host.as_str(), target.port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect(),
        Ok(Err(e)) => return Err(unreachable().caused_by(&e)),
        Err(_) => return Err(unreachable().cause("its name is not resolved in time")),
    };
    let mut last = unreachable().cause("its name has no address");
    for address in addresses {
        match open_at(target, address, suites, proved).await {
            Err(fault) if fault.kind == FaultKind::Unreachable => last = fault,
            opened => return opened,
        }
    }
    Err(last)
}

async fn open_at(target: &Target, address: SocketAddr, suites: &[Suite], proved: bool) -> Result<Session, Fault> {
    let lost = |doing: &str| {
        let doing = doing.to_owned();
        move |lost: Lost| lost.before_anything(&target.endpoint, &doing)
    };
    let connect = || Pipe::to(address, target.timeout);
    let mut pipe = connect().await.map_err(|e| lost("connect")(Lost::Unsent(e)))?;
    let mut own_key = false;
    if !proved {
        let asked = capabilities(&pipe).await.map_err(lost("Get Channel Authentication Capabilities"))?;
        if let Some(said) = asked {
            own_key = said.own_key;
            if !said.ipmi_2 {
                return Err(Fault::new(FaultKind::Unable, format!("{} speaks IPMI 1.5 only, RMCP+ is needed", target.endpoint)));
            }
        }
    }
    let mut faults: Vec<Fault> = Vec::new();
    // It answers: from here on the account is shown. Those that are dead keep nobody waiting.
    let turn = target.turn().await?;
    for suite in suites {
        match log_in(target, pipe, *suite, own_key).await {
            Ok(mut session) => {
                turn.taken();
                return match session.raise(target.privilege).await {
                    Ok(()) => Ok(session),
                    Err(fault) => {
                        session.close().await;
                        Err(fault)
                    }
                };
            }
            Err(Refusal::Final(fault)) => return Err(fault),
            Err(Refusal::Login(fault)) => return Err(turn.refused(fault)),
            Err(Refusal::Next(fault)) => {
                let silent = fault.kind == FaultKind::Unreachable;
                faults.push(fault);
                // A suite that worked before and now draws no answer: it is not the suite.
                if proved && silent {
                    break;
                }
            }
        }
        // Late answers to the refused login must not meet the next one.
        pipe = connect().await.map_err(|e| lost("connect")(Lost::Unsent(e)))?;
    }
    let kind = if faults.iter().all(|f| f.kind == FaultKind::Unable) { FaultKind::Unable } else { FaultKind::Unreachable };
    let tried = suites.iter().map(|s| s.id().to_string()).collect::<Vec<_>>().join(", ");
    let what = match kind {
        FaultKind::Unable => format!("{} takes none of the cipher suites {tried}", target.endpoint),
        _ => format!("{} lets nobody log in with cipher suites {tried}", target.endpoint),
    };
    Err(faults.into_iter().fold(Fault::new(kind, what), |fault, cause| fault.cause(cause)))
}

/// Needs no login. Nothing: the BMC answers, but not this.
async fn capabilities(pipe: &Pipe) -> Result<Option<ipmi::Capabilities>, Lost> {
    let (net_fn, command) = ipmi::AUTH_CAPABILITIES;
    // Bit 7 of the channel asks for what is new in IPMI 2.0.
    let request = Request { net_fn, command, sequence: 1, data: vec![0x80 | ipmi::THIS_CHANNEL, ipmi::ADMINISTRATOR] };
    let accept = |datagram: &[u8]| match rmcp::parse(datagram) {
        Ok(Packet::Lan(message)) => Response::parse(message).ok().filter(|r| r.answers(&request)),
        _ => None,
    };
    let response = pipe.exchange(true, || rmcp::before_session(&request.encode()), accept).await?;
    Ok(if response.code == code::OK { ipmi::capabilities(&response.data).ok() } else { None })
}

/// The payload of an answer outside a session.
fn payload(datagram: &[u8], kind: u8) -> Option<&[u8]> {
    match rmcp::parse(datagram) {
        Ok(Packet::Plus(plus)) if plus.kind == kind && !plus.authenticated && !plus.encrypted && plus.session == 0 => Some(plus.payload),
        _ => None,
    }
}

/// Once a name was said, what is denied is the account.
fn named(fault: Fault) -> Refusal {
    if fault.kind == FaultKind::Denied { Refusal::Login(fault) } else { Refusal::Final(fault) }
}

async fn log_in(target: &Target, pipe: Pipe, suite: Suite, own_key: bool) -> Result<Session, Refusal> {
    let with = || format!("{} with cipher suite {}", target.endpoint, suite.id());
    let lost = |doing: &'static str| move |lost: Lost| Refusal::Next(lost.before_anything(&target.endpoint, &format!("{doing}, cipher suite {}", suite.id())));
    let random = || *uuid::Uuid::new_v4().as_bytes();
    let seed = random();
    // 0 means no session; the low bit keeps ours away from it.
    let console = u32::from_le_bytes([seed[0] | 1, seed[1], seed[2], seed[3]]);
    let tag = seed[4];
    // A refusal need not carry the id: some firmware puts zeros or its own there. The tag must fit.
    let mine = |tag: (u8, u8), status: u8, id: u32| tag.0 == tag.1 && (id == console || status != status::OK);

    let request = OpenRequest { tag, privilege: 0, console, algorithms: suite.algorithms() };
    let accept = |d: &[u8]| payload(d, rmcp::OPEN_ANSWER).and_then(|p| OpenAnswer::parse(p).ok()).filter(|a| mine((a.tag, tag), a.status, a.console));
    let answer = pipe.exchange(true, || rmcp::plain(rmcp::OPEN_REQUEST, &request.encode()), accept).await.map_err(lost("Open Session"))?;
    if answer.status != status::OK {
        let fault = refused(&with(), "Open Session", answer.status);
        // In an answer to Open Session a role is refused for the suite, not for the account: nobody has said who they are yet.
        let next = fault.kind == FaultKind::Unable || answer.status == status::INVALID_ROLE;
        return Err(if next { Refusal::Next(Fault { kind: FaultKind::Unable, ..fault }) } else { Refusal::Final(fault) });
    }
    if answer.algorithms != suite.algorithms() || answer.managed == 0 {
        let said = format!("{}: it answers with algorithms {:?} instead of {:?}", with(), answer.algorithms, suite.algorithms());
        return Err(Refusal::Next(Fault::new(FaultKind::Unable, said)));
    }

    let managed = answer.managed;
    let tag = tag.wrapping_add(1);
    let (user, password) = (target.user.expose().as_bytes(), target.password.expose().as_bytes());
    let first = Rakp1 { tag, managed, random: random(), role: target.privilege | rakp::NAME_ONLY, user: user.to_vec() };
    let accept = |d: &[u8]| payload(d, rmcp::RAKP_2).and_then(|p| Rakp2::parse(p).ok()).filter(|a| mine((a.tag, tag), a.status, a.console));
    let second = pipe.exchange(true, || rmcp::plain(rmcp::RAKP_1, &first.encode()), accept).await.map_err(lost("RAKP 1"))?;
    if second.status != status::OK {
        return Err(named(refused(&with(), "RAKP 2", second.status)));
    }
    let login =
        Login { suite, console, managed, console_random: first.random, managed_random: second.random, guid: second.guid, role: first.role, user, password };
    let tag = tag.wrapping_add(1);
    if !login.code_2_is(&second.code) {
        // Gives the BMC its slot back; nobody waits for an answer to it.
        let goodbye = Rakp3 { tag, status: status::INVALID_CHECK, managed, code: Vec::new() };
        pipe.socket.send(&rmcp::plain(rmcp::RAKP_3, &goodbye.encode())).await.ok();
        let what = format!("{} does not know this user name and password", target.endpoint);
        let fault = Fault::new(FaultKind::Denied, what).cause("its code in RAKP 2 is not made with this password");
        return Err(Refusal::Login(fault.next("check user name, password and privilege of bmc.ipmi")));
    }

    let third = Rakp3 { tag, status: status::OK, managed, code: login.code_3() };
    let accept = |d: &[u8]| payload(d, rmcp::RAKP_4).and_then(|p| Rakp4::parse(p).ok()).filter(|a| mine((a.tag, tag), a.status, a.console));
    let fourth = pipe.exchange(true, || rmcp::plain(rmcp::RAKP_3, &third.encode()), accept).await.map_err(lost("RAKP 3"))?;
    if fourth.status != status::OK {
        return Err(named(refused(&with(), "RAKP 4", fourth.status)));
    }
    if !login.check_4_is(&fourth.check) {
        let fault = Fault::new(FaultKind::Denied, format!("{}: the check value in RAKP 4 is not made with our keys", with()));
        return Err(Refusal::Final(if own_key { fault.cause("the BMC has a key of its own (K_G), which pitstop does not support") } else { fault }));
    }
    Ok(Session {
        pipe,
        endpoint: target.endpoint.clone(),
        keys: login.keys(),
        console,
        managed,
        sequence: 0,
        message: 0,
        window: Window::default(),
        lost: false,
        closed: false,
    })
}

impl Session {
    pub fn suite(&self) -> Suite {
        self.keys.suite
    }

    /// One request and its answer. A repetition has the same message number, so that the BMC can tell, and a new session sequence number, without which it must be dropped.
    pub async fn request(&mut self, (net_fn, command): Command, data: &[u8], repeat: bool) -> Result<Response, Lost> {
        self.message = (self.message + 1) & 0x3f;
        let request = Request { net_fn, command, sequence: self.message, data: data.to_vec() };
        let message = request.encode();
        let Session { pipe, keys, console, managed, sequence, window, lost, .. } = self;
        let datagram = || {
            *sequence = sequence.wrapping_add(1);
            rmcp::seal(keys, *managed, *sequence, &message, *uuid::Uuid::new_v4().as_bytes())
        };
        let accept = |datagram: &[u8]| {
            let Ok(Packet::Plus(plus)) = rmcp::parse(datagram) else { return None };
            if plus.session != *console || plus.kind != rmcp::IPMI {
                return None;
            }
            let message = plus.open(keys).ok()?;
            if !window.take(plus.sequence) {
                return None;
            }
            Response::parse(&message).ok().filter(|r| r.answers(&request))
        };
        let answer = pipe.exchange(repeat, datagram, accept).await;
        *lost |= answer.is_err();
        answer
    }

    /// A read: may be repeated, changes nothing.
    pub async fn read(&mut self, command: Command, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let doing = format!("command {:02x} {:02x}", command.0, command.1);
        let response = self.request(command, data, true).await.map_err(|lost| lost.before_anything(&self.endpoint, &doing))?;
        match response.code {
            code::OK => Ok(response.data),
            code => Err(completion(&self.endpoint, &doing, code)),
        }
    }

    /// A new session has the rights of a user, whatever the account may.
    async fn raise(&mut self, privilege: u8) -> Result<(), Fault> {
        let response = self.request(ipmi::SET_PRIVILEGE, &[privilege], true).await;
        let response = response.map_err(|lost| lost.before_anything(&self.endpoint, "Set Session Privilege Level"))?;
        match response.code {
            code::OK => Ok(()),
            // 80h to 82h: above the account's, above the channel's, or cannot be given.
            0x80..=0x82 | code::PRIVILEGE => {
                Err(Fault::new(FaultKind::Denied, format!("{} does not give this account the privilege asked for", self.endpoint))
                    .cause(format!("completion code {:02x}h", response.code))
                    .next("give the account more rights, or set bmc.ipmi.privilege to what it has"))
            }
            code => Err(completion(&self.endpoint, "Set Session Privilege Level", code)),
        }
    }

    /// Gives the slot back. What cannot be closed expires.
    pub async fn close(mut self) {
        if self.lost {
            return; // dropped: says goodbye without waiting
        }
        self.pipe.timeout = self.pipe.timeout.min(GOODBYE);
        let managed = self.managed.to_le_bytes();
        self.request(ipmi::CLOSE_SESSION, &managed, false).await.ok();
        self.closed = true;
    }
}

impl Drop for Session {
    /// Also where the future that held it was dropped: BMCs have few slots, and a leaked one stays taken for minutes.
    fn drop(&mut self) {
        if !self.closed {
            let (net_fn, command) = ipmi::CLOSE_SESSION;
            let request = Request { net_fn, command, sequence: (self.message + 1) & 0x3f, data: self.managed.to_le_bytes().to_vec() };
            let sealed = rmcp::seal(&self.keys, self.managed, self.sequence.wrapping_add(1), &request.encode(), *uuid::Uuid::new_v4().as_bytes());
            self.pipe.socket.try_send(&sealed).ok(); // nobody left to tell
        }
    }
}
