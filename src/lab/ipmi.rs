//! The BMC of one simulated machine over RMCP+: one UDP socket, cipher suites 17 and 3, a small session table that fills up and expires like a real one.
use super::rack::{BootOverride, PowerAnswer, Rack, Seen};
use crate::wire::{
    boot_flags::BootFlags,
    ipmi::{self, control},
    lan::{Request, code},
    rakp::{Login, OpenAnswer, OpenRequest, Rakp1, Rakp2, Rakp3, Rakp4, status},
    rmcp::{self, Packet, Plus, Window},
    suite::{Keys, Suite},
};
use std::{
    io,
    time::{Duration, Instant},
};
use tokio::net::UdpSocket;

/// Slots for sessions and for logins under way: few, as on real BMCs.
pub const SLOTS: usize = 8;
/// A login that is not finished gives its slot back.
const LOGIN: Duration = Duration::from_secs(10);
/// A session without traffic does (IPMI 2.0, 6.12.15).
const IDLE: Duration = Duration::from_secs(60);

/// Until dropped, or until the socket breaks. `account`: user name and password; there is one, an administrator.
pub async fn serve(rack: Rack, machine: String, socket: UdpSocket, account: (String, String)) -> io::Result<()> {
    let mut bmc = Bmc { rack, machine, account, slots: Vec::new() };
    let mut buffer = vec![0; rmcp::MAX];
    loop {
        let (len, from) = match socket.recv_from(&mut buffer).await {
            Ok(got) => got,
            // A client that closed its port before our answer came.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(e) => return Err(e),
        };
        if let Some(answer) = bmc.receive(&buffer[..len]) {
            // One question at a time, as on real BMCs.
            tokio::time::sleep(bmc.rack.seen(&bmc.machine).map_or(Duration::ZERO, |seen| seen.spec.quirks.answers_after)).await;
            socket.send_to(&answer, from).await.ok(); // lost, like any datagram
        }
    }
}

struct Bmc {
    rack: Rack,
    machine: String,
    account: (String, String),
    slots: Vec<Slot>,
}

struct Slot {
    console: u32,
    managed: u32,
    suite: Suite,
    used: Instant,
    phase: Phase,
}

enum Phase {
    Opened,
    /// RAKP 2 was sent.
    Challenged {
        rakp_1: Rakp1,
        random: [u8; 16],
    },
    Active(Active),
}

struct Active {
    keys: Keys,
    limit: u8,
    privilege: u8,
    /// RAKP 3 that opened it and our answer, for one that comes twice.
    opened_by: (Rakp3, Vec<u8>),
    sequence: u32,
    window: Window,
    /// The last request and its answer: a repetition is answered, not carried out again.
    last: Option<(Request, Vec<u8>)>,
}

fn random() -> [u8; 16] {
    *uuid::Uuid::new_v4().as_bytes()
}

impl Bmc {
    fn receive(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let seen = self.rack.seen(&self.machine)?;
        if seen.silent() {
            return None;
        }
        self.slots.retain(|slot| slot.used.elapsed() < if matches!(slot.phase, Phase::Active(_)) { IDLE } else { LOGIN });
        match rmcp::parse(datagram).ok()? {
            Packet::Ping(tag) => Some(rmcp::pong(tag)),
            Packet::Pong(_) => None,
            Packet::Lan(message) => Some(rmcp::before_session(&outside(&seen, message)?)),
            Packet::Plus(plus) if plus.session != 0 => self.inside(&seen, &plus),
            Packet::Plus(plus) => {
                let (kind, payload) = match plus.kind {
                    rmcp::OPEN_REQUEST => (rmcp::OPEN_ANSWER, self.open(&OpenRequest::parse(plus.payload).ok()?).encode()),
                    rmcp::RAKP_1 => (rmcp::RAKP_2, self.challenge(&seen, Rakp1::parse(plus.payload).ok()?).encode()),
                    rmcp::RAKP_3 => (rmcp::RAKP_4, self.activate(&seen, Rakp3::parse(plus.payload).ok()?)?),
                    rmcp::IPMI => (rmcp::IPMI, outside(&seen, plus.payload)?),
                    _ => return None,
                };
                Some(rmcp::plain(kind, &payload))
            }
        }
    }

    fn open(&mut self, request: &OpenRequest) -> OpenAnswer {
        let refused = |status| OpenAnswer::refused(request.tag, status, request.console);
        let Some(suite) = Suite::from_algorithms(request.algorithms) else {
            let known = |nth: usize| Suite::ALL.iter().any(|s| s.algorithms()[nth] == request.algorithms[nth]);
            return refused(match (known(0), known(1), known(2)) {
                (false, _, _) => status::INVALID_AUTHENTICATION,
                (_, false, _) => status::INVALID_INTEGRITY,
                (_, _, false) => status::INVALID_CONFIDENTIALITY,
                _ => status::NO_SUITE,
            });
        };
        if request.privilege > ipmi::ADMINISTRATOR {
            return refused(status::UNAUTHORISED_ROLE);
        }
        if request.console == 0 {
            return refused(status::INVALID_SESSION);
        }
        let answer = |managed| OpenAnswer {
            tag: request.tag,
            status: status::OK,
            privilege: if request.privilege == 0 { ipmi::ADMINISTRATOR } else { request.privilege },
            console: request.console,
            managed,
            algorithms: suite.algorithms(),
        };
        // The same request again, its answer was lost or is late: the same login.
        let again = |slot: &&Slot| slot.console == request.console && slot.suite == suite && matches!(slot.phase, Phase::Opened);
        if let Some(slot) = self.slots.iter().find(again) {
            return answer(slot.managed);
        }
        if self.slots.len() >= SLOTS {
            return refused(status::NO_RESOURCES);
        }
        let managed = loop {
            let [a, b, c, d, ..] = random();
            let id = u32::from_le_bytes([a | 1, b, c, d]);
            if self.slots.iter().all(|slot| slot.managed != id) {
                break id;
            }
        };
        self.slots.push(Slot { console: request.console, managed, suite, used: Instant::now(), phase: Phase::Opened });
        answer(managed)
    }

    fn challenge(&mut self, seen: &Seen, rakp_1: Rakp1) -> Rakp2 {
        let tag = rakp_1.tag;
        let Some(slot) = self.slots.iter_mut().find(|s| s.managed == rakp_1.managed && !matches!(s.phase, Phase::Active(_))) else {
            return Rakp2::refused(tag, status::INVALID_SESSION, 0);
        };
        let console = slot.console;
        let refusal = match rakp_1.role & 0x0f {
            _ if rakp_1.user != self.account.0.as_bytes() => Some(status::UNAUTHORISED_NAME),
            0..=ipmi::ADMINISTRATOR => None,
            _ => Some(status::UNAUTHORISED_ROLE),
        };
        if let Some(status) = refusal {
            self.rack.refused_login(&self.machine, "ipmi");
            let managed = slot.managed;
            self.slots.retain(|s| s.managed != managed);
            return Rakp2::refused(tag, status, console);
        }
        // A repeated RAKP 1 gets the same challenge: its answer was lost, or will arrive late.
        let random = match &slot.phase {
            Phase::Challenged { rakp_1: before, random } if *before == rakp_1 => *random,
            _ => random(),
        };
        let login = login(slot, &rakp_1, random, seen, &self.account);
        let code = login.code_2();
        slot.phase = Phase::Challenged { rakp_1, random };
        slot.used = Instant::now();
        Rakp2 { tag, status: status::OK, console, random, guid: guid(seen), code }
    }

    /// RAKP 4, or silence after a client's goodbye.
    fn activate(&mut self, seen: &Seen, rakp_3: Rakp3) -> Option<Vec<u8>> {
        let at = self.slots.iter().position(|s| s.managed == rakp_3.managed);
        let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) else {
            return Some(Rakp4 { tag: rakp_3.tag, status: status::INVALID_SESSION, console: 0, check: Vec::new() }.encode());
        };
        let refused = |status, console| Some(Rakp4 { tag: rakp_3.tag, status, console, check: Vec::new() }.encode());
        match &slot.phase {
            Phase::Opened => refused(status::INACTIVE_SESSION, slot.console),
            Phase::Active(active) if active.opened_by.0 == rakp_3 => Some(active.opened_by.1.clone()),
            Phase::Active(_) => refused(status::INVALID_SESSION, slot.console),
            Phase::Challenged { rakp_1, random } => {
                let login = login(slot, rakp_1, *random, seen, &self.account);
                if rakp_3.status != status::OK || !login.code_3_is(&rakp_3.code) {
                    let (managed, console, left) = (slot.managed, slot.console, rakp_3.status != status::OK);
                    self.slots.retain(|s| s.managed != managed);
                    self.rack.refused_login(&self.machine, "ipmi");
                    return if left { None } else { refused(status::INVALID_CHECK, console) };
                }
                let answer = Rakp4 { tag: rakp_3.tag, status: status::OK, console: slot.console, check: login.check_4() }.encode();
                let limit = match rakp_1.role & 0x0f {
                    0 => ipmi::ADMINISTRATOR,
                    asked => asked,
                };
                let keys = login.keys();
                let opened_by = (rakp_3, answer.clone());
                let privilege = ipmi::USER.min(limit);
                slot.phase = Phase::Active(Active { keys, limit, privilege, opened_by, sequence: 0, window: Window::default(), last: None });
                slot.used = Instant::now();
                Some(answer)
            }
        }
    }

    /// A request in a session. What is not proven, not encrypted or not new is dropped without a word.
    fn inside(&mut self, seen: &Seen, plus: &Plus<'_>) -> Option<Vec<u8>> {
        let at = self.slots.iter().position(|s| s.managed == plus.session)?;
        let slot = &mut self.slots[at];
        let (console, managed) = (slot.console, slot.managed);
        let Phase::Active(active) = &mut slot.phase else { return None };
        let message = plus.open(&active.keys).ok()?;
        if !plus.encrypted || plus.kind != rmcp::IPMI || !active.window.take(plus.sequence) {
            return None;
        }
        let request = Request::parse(&message).ok()?;
        slot.used = Instant::now();
        let (message, over) = match &active.last {
            Some((last, answer)) if *last == request => (answer.clone(), false),
            _ => {
                let asked = Asked { rack: &self.rack, machine: &self.machine, seen, managed };
                let (code, data, over) = asked.answer(active, &request);
                let answer = request.answer(code, &data).encode();
                active.last = Some((request, answer.clone()));
                (answer, over)
            }
        };
        active.sequence = active.sequence.wrapping_add(1).max(1);
        let answer = rmcp::seal(&active.keys, console, active.sequence, &message, random());
        if over {
            self.slots.remove(at);
        }
        Some(answer)
    }
}

fn login<'a>(slot: &Slot, rakp_1: &'a Rakp1, random: [u8; 16], seen: &Seen, account: &'a (String, String)) -> Login<'a> {
    Login {
        suite: slot.suite,
        console: slot.console,
        managed: slot.managed,
        console_random: rakp_1.random,
        managed_random: random,
        guid: guid(seen),
        role: rakp_1.role,
        user: &rakp_1.user,
        password: account.1.as_bytes(),
    }
}

/// As printed. A machine without a valid UUID says so with zeros.
fn guid(seen: &Seen) -> [u8; 16] {
    uuid::Uuid::parse_str(&seen.spec.uuid).map(uuid::Uuid::into_bytes).unwrap_or_default()
}

/// What a client may ask before it logs in.
fn outside(seen: &Seen, message: &[u8]) -> Option<Vec<u8>> {
    let request = Request::parse(message).ok()?;
    let (code, data) = match (request.net_fn, request.command) {
        ipmi::AUTH_CAPABILITIES => auth_capabilities(&request.data),
        ipmi::CIPHER_SUITES => cipher_suites(seen, &request.data),
        ipmi::SYSTEM_GUID => (code::OK, guid(seen).to_vec()),
        _ => (code::PRIVILEGE, Vec::new()),
    };
    Some(request.answer(code, &data).encode())
}

/// One LAN channel, 1.
fn this_channel(byte: u8) -> bool {
    matches!(byte & 0x0f, 1 | ipmi::THIS_CHANNEL)
}

fn auth_capabilities(data: &[u8]) -> (u8, Vec<u8>) {
    match *data {
        [channel, privilege] if this_channel(channel) && (1..=5).contains(&(privilege & 0x0f)) => {
            // No IPMI 1.5 authentication type at all; named users only; with bit 7 asked for, IPMI 2.0 is told.
            let (types, extended) = if channel & 0x80 != 0 { (0x80, 0x02) } else { (0, 0) };
            (code::OK, vec![1, types, 0x04, extended, 0, 0, 0, 0])
        }
        [_, _] => (code::INVALID_FIELD, Vec::new()),
        _ => (code::LENGTH_INVALID, Vec::new()),
    }
}

fn cipher_suites(seen: &Seen, data: &[u8]) -> (u8, Vec<u8>) {
    let [channel, _, index] = *data else { return (code::LENGTH_INVALID, Vec::new()) };
    if !this_channel(channel) {
        return (code::INVALID_FIELD, Vec::new());
    }
    let record = |suite: &Suite| {
        let [auth, integrity, confidentiality] = suite.algorithms();
        [0xc0, suite.id(), auth, 0x40 | integrity, 0x80 | confidentiality]
    };
    // It only says so: this BMC opens no session with it.
    let zero = seen.spec.quirks.cipher_zero.then_some([0xc0, 0, 0, 0x40, 0x80]);
    let records: Vec<u8> = zero.into_iter().chain(Suite::ALL.iter().rev().map(record)).flatten().collect();
    let from = usize::from(index & 0x3f) * 16;
    let part = records.iter().skip(from).take(16).copied();
    (code::OK, std::iter::once(1).chain(part).collect())
}

/// One request in a session.
struct Asked<'a> {
    rack: &'a Rack,
    machine: &'a str,
    seen: &'a Seen,
    managed: u32,
}

impl Asked<'_> {
    /// Completion code, data, and whether the session is over.
    fn answer(&self, active: &mut Active, request: &Request) -> (u8, Vec<u8>, bool) {
        let data = request.data.as_slice();
        let (code, data) = match ((request.net_fn, request.command), data) {
            (ipmi::SET_PRIVILEGE, [level]) => match level & 0x0f {
                0 => (code::OK, vec![active.privilege]),
                level if level > active.limit => (0x81, Vec::new()),
                1 => (code::INVALID_FIELD, Vec::new()),
                level => {
                    active.privilege = level;
                    (code::OK, vec![level])
                }
            },
            (ipmi::CLOSE_SESSION, [a, b, c, d]) => match u32::from_le_bytes([*a, *b, *c, *d]) == self.managed {
                true => return (code::OK, Vec::new(), true),
                false => (0x87, Vec::new()),
            },
            (ipmi::CHASSIS_CONTROL, _) if active.privilege < ipmi::OPERATOR => (code::PRIVILEGE, Vec::new()),
            (ipmi::CHASSIS_CONTROL, [verb]) => (self.control(*verb & 0x0f), Vec::new()),
            // Restore policy "previous"; nothing intrudes, nothing fails.
            (ipmi::CHASSIS_STATUS, []) => (code::OK, vec![0x20 | u8::from(self.seen.on), 0, 0x40 | if self.seen.light { 0x20 } else { 0 }]),
            (ipmi::CHASSIS_IDENTIFY | ipmi::SET_BOOT_OPTIONS, _) if active.privilege < ipmi::OPERATOR => (code::PRIVILEGE, Vec::new()),
            (ipmi::CHASSIS_IDENTIFY, [interval, force @ ..]) if force.len() < 2 => {
                self.rack.set_light(self.machine, *interval > 0 || force.first().is_some_and(|f| f & 1 != 0), "ipmi");
                (code::OK, Vec::new())
            }
            (ipmi::SET_BOOT_OPTIONS, [5, rest @ ..]) => match BootFlags::parse(&[&[1, 5], rest].concat()) {
                Ok(flags) => {
                    let enabled = if flags.persistent { "Continuous" } else { "Once" };
                    let to = match flags.valid && flags.device != 0 {
                        true => BootOverride { enabled: enabled.into(), target: flags.target() },
                        false => BootOverride::default(),
                    };
                    self.rack.set_boot_override(self.machine, to, "ipmi");
                    (code::OK, Vec::new())
                }
                Err(_) => (code::LENGTH_INVALID, Vec::new()),
            },
            // Other parameters (set in progress, acknowledge) are taken and do nothing.
            (ipmi::SET_BOOT_OPTIONS, [_, ..]) => (code::OK, Vec::new()),
            (ipmi::GET_BOOT_OPTIONS, [5, _, _]) => {
                let now = &self.seen.boot_override;
                let device = BootFlags::device_of(&now.target).unwrap_or_default();
                let flags = BootFlags { valid: now.enabled != "Disabled", persistent: now.enabled == "Continuous", efi: false, device };
                (code::OK, [&[1], &flags.encode()[..]].concat())
            }
            (ipmi::GET_BOOT_OPTIONS, [_, _, _]) => (0x80, Vec::new()),
            // Chassis, SEL and FRU; maker and product 0: nobody's.
            (ipmi::DEVICE_ID, []) => (code::OK, vec![0x20, 0, 1, 0, 2, 0x8c, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (ipmi::SYSTEM_GUID, []) => (code::OK, guid(self.seen).to_vec()),
            (ipmi::AUTH_CAPABILITIES, data) => auth_capabilities(data),
            (ipmi::CIPHER_SUITES, data) => cipher_suites(self.seen, data),
            (ipmi::SDR_INFO, []) => (code::OK, vec![0x51, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            // Version 1.5, much room; reservations are taken.
            (ipmi::SEL_INFO, []) => {
                let [low, high] = (self.seen.events.len() as u16).to_le_bytes();
                (code::OK, vec![0x51, low, high, 0xff, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 2])
            }
            (ipmi::SEL_RESERVE, []) => (code::OK, vec![1, 0]),
            // Whole records alone are told.
            (ipmi::SEL_ENTRY, [_, _, low, high, 0, _]) => match self.seen.events.entry(u16::from_le_bytes([*low, *high])) {
                Some(data) => (code::OK, data),
                None => (code::NOT_PRESENT, Vec::new()),
            },
            (ipmi::SEL_ENTRY, _) => (code::INVALID_FIELD, Vec::new()),
            (ipmi::COLD_RESET, _) if active.privilege < ipmi::ADMINISTRATOR => (code::PRIVILEGE, Vec::new()),
            (ipmi::COLD_RESET, []) => {
                self.rack.restart_bmc(self.machine, "ipmi");
                (code::OK, Vec::new())
            }
            (ipmi::SEL_TIME, []) => (code::OK, u32::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default().to_le_bytes().to_vec()),
            (ipmi::FRU_AREA, [0]) => {
                let [low, high] = (self.fru().len() as u16).to_le_bytes();
                (code::OK, vec![low, high, 0])
            }
            (ipmi::FRU_READ, [0, low, high, count]) => self.fru_read(u16::from_le_bytes([*low, *high]), *count),
            (ipmi::FRU_AREA, [_]) | (ipmi::FRU_READ, [_, _, _, _]) => (code::NOT_PRESENT, Vec::new()),
            (
                ipmi::SET_PRIVILEGE
                | ipmi::CLOSE_SESSION
                | ipmi::CHASSIS_CONTROL
                | ipmi::CHASSIS_STATUS
                | ipmi::GET_BOOT_OPTIONS
                | ipmi::DEVICE_ID
                | ipmi::SYSTEM_GUID
                | ipmi::SDR_INFO
                | ipmi::SEL_INFO
                | ipmi::SEL_RESERVE
                | ipmi::SEL_TIME
                | ipmi::FRU_AREA
                | ipmi::FRU_READ,
                _,
            ) => (code::LENGTH_INVALID, Vec::new()),
            _ => (code::INVALID_COMMAND, Vec::new()),
        };
        (code, data, false)
    }

    fn control(&self, verb: u8) -> u8 {
        let verb = match verb {
            control::OFF => "ForceOff",
            control::ON => "On",
            control::CYCLE => "PowerCycle",
            control::RESET => "ForceRestart",
            control::SOFT => "GracefulShutdown",
            _ => return code::INVALID_FIELD,
        };
        match self.rack.power(self.machine, verb, "ipmi") {
            PowerAnswer::Accepted => code::OK,
            PowerAnswer::WrongState => code::WRONG_STATE,
            PowerAnswer::Unsupported => code::INVALID_FIELD,
        }
    }

    fn fru(&self) -> Vec<u8> {
        ipmi::fru("pitstop", "lab", &self.seen.spec.serial)
    }
    fn fru_read(&self, from: u16, count: u8) -> (u8, Vec<u8>) {
        let fru = self.fru();
        let Some(rest) = fru.get(usize::from(from)..).filter(|rest| !rest.is_empty()) else { return (code::OUT_OF_RANGE, Vec::new()) };
        let part = &rest[..rest.len().min(usize::from(count)).min(32)];
        (code::OK, std::iter::once(part.len() as u8).chain(part.iter().copied()).collect())
    }
}
