//! Recorded conversations (`tests/corpus/rmcp`: `>` to the BMC, `<` from it) read again by our codecs, and seeded mutations of every datagram: nothing panics, nothing forged opens.
use crate::ipmi::{lab, seeded};
use pitstop::wire::{
    boot_flags::BootFlags,
    ipmi, lan,
    rakp::{Login, OpenAnswer, OpenRequest, Rakp1, Rakp2, Rakp3, Rakp4},
    rmcp::{self, Packet, Plus},
    sel,
    suite::{Keys, Suite},
};
use std::path::Path;
use tokio::net::UdpSocket;

/// Per datagram of the corpus.
const MUTATIONS: u64 = 3000;

/// Datagrams with their direction: to the BMC?
type Conversation = Vec<(bool, Vec<u8>)>;

/// By name.
fn corpus() -> Vec<(String, Conversation)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/rmcp");
    let bytes = |hex: &str| (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect();
    let read = |file: std::fs::DirEntry| {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let lines = text.lines().map(|line| (line.starts_with('>'), bytes(&line[2..]))).collect();
        (file.file_name().into_string().unwrap(), lines)
    };
    let found: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| read(file.unwrap())).collect();
    assert!(found.len() >= 3, "the corpus is gone");
    found
}

fn plus(datagram: &[u8]) -> Option<Plus<'_>> {
    match rmcp::parse(datagram) {
        Ok(Packet::Plus(plus)) => Some(plus),
        _ => None,
    }
}
/// The payload of the first login message of this kind.
fn first(conversation: &[(bool, Vec<u8>)], kind: u8) -> &[u8] {
    let of_kind = conversation.iter().filter_map(|(_, d)| plus(d)).find(|p| p.kind == kind && p.session == 0);
    of_kind.unwrap_or_else(|| panic!("no payload {kind:02x}")).payload
}

/// Every proof of a recorded login is checked on the way.
fn keys_of(conversation: &[(bool, Vec<u8>)]) -> Keys {
    let request = OpenRequest::parse(first(conversation, rmcp::OPEN_REQUEST)).unwrap();
    let answer = OpenAnswer::parse(first(conversation, rmcp::OPEN_ANSWER)).unwrap();
    let one = Rakp1::parse(first(conversation, rmcp::RAKP_1)).unwrap();
    let two = Rakp2::parse(first(conversation, rmcp::RAKP_2)).unwrap();
    let three = Rakp3::parse(first(conversation, rmcp::RAKP_3)).unwrap();
    let four = Rakp4::parse(first(conversation, rmcp::RAKP_4)).unwrap();
    assert_eq!((answer.console, one.managed, two.console), (request.console, answer.managed, request.console));
    let login = Login {
        suite: Suite::from_algorithms(answer.algorithms).unwrap(),
        console: request.console,
        managed: answer.managed,
        console_random: one.random,
        managed_random: two.random,
        guid: two.guid,
        role: one.role,
        user: &one.user,
        password: b"secret12",
    };
    assert!(login.code_2_is(&two.code) && login.code_3_is(&three.code) && login.check_4_is(&four.check));
    login.keys()
}

#[test]
fn what_others_said_to_each_other_is_understood() {
    for (name, conversation) in corpus() {
        let keys = keys_of(&conversation);
        let mut commands = Vec::new();
        for (to_bmc, datagram) in &conversation {
            let Some(plus) = plus(datagram).filter(|p| p.session != 0) else { continue };
            let message = plus.open(&keys).unwrap_or_else(|e| panic!("{name}: {e}"));
            if *to_bmc {
                let request = lan::Request::parse(&message).unwrap();
                commands.push((request.net_fn, request.command));
            } else {
                let response = lan::Response::parse(&message).unwrap();
                if (response.net_fn, response.command) == ipmi::CHASSIS_STATUS {
                    assert_eq!(ipmi::power_is_on(&response.data), Ok(true), "{name}");
                }
            }
        }
        for command in [ipmi::SET_PRIVILEGE, ipmi::CHASSIS_STATUS, ipmi::CLOSE_SESSION] {
            assert!(commands.contains(&command), "{name}: {commands:?}");
        }
    }
}

pub fn mutated(datagram: &[u8], pick: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
    let mut out = datagram.to_vec();
    for _ in 0..=pick(3) {
        let at = pick(out.len().max(1) as u64) as usize;
        match pick(6) {
            _ if out.is_empty() => out.push(pick(256) as u8),
            0 => out.truncate(at),
            1 => out[at] = pick(256) as u8,
            2 => out[at] ^= 1 << pick(8),
            3 => out.insert(at, pick(256) as u8),
            4 => {
                let copied = out[at..].to_vec();
                out.extend(copied);
            }
            _ => out[at] = [0, 0xff, 0x7f, 0x80][pick(4) as usize],
        }
    }
    out
}

/// All that reads bytes from the network reads these.
fn read_all(bytes: &[u8]) {
    if let Some(plus) = plus(bytes) {
        for payload in [plus.payload, bytes] {
            OpenRequest::parse(payload).ok();
            OpenAnswer::parse(payload).ok();
            Rakp1::parse(payload).ok();
            Rakp2::parse(payload).ok();
            Rakp3::parse(payload).ok();
            Rakp4::parse(payload).ok();
        }
    }
    lan::Request::parse(bytes).ok();
    lan::Response::parse(bytes).ok();
    ipmi::power_is_on(bytes).ok();
    ipmi::capabilities(bytes).ok();
    ipmi::device(bytes).ok();
    sel::answer(bytes).ok();
    BootFlags::parse(bytes).map(|flags| flags.target()).ok();
    ipmi::cipher_suites(bytes);
    ipmi::fru_product_at(bytes);
    ipmi::fru_product_serial(bytes);
    if let Some(guid) = bytes.first_chunk::<16>() {
        ipmi::guid_text(*guid, ipmi::guid_order(*guid));
    }
}

#[test]
fn no_mutation_panics_and_none_opens() {
    let mut pick = seeded(0x5eed);
    for (name, conversation) in corpus() {
        let keys = keys_of(&conversation);
        for (_, datagram) in &conversation {
            let inner = plus(datagram).and_then(|p| p.open(&keys).ok());
            for _ in 0..MUTATIONS {
                let forged = mutated(datagram, &mut pick);
                read_all(&forged);
                // The first four bytes are RMCP's and covered by nothing.
                if let Some(opened) = plus(&forged).filter(|_| forged.get(4..) != datagram.get(4..)).map(|p| p.open(&keys)) {
                    assert!(opened.is_err(), "{name}: {forged:02x?}");
                }
                // What a peer with the right keys may send.
                if let Some(inner) = &inner {
                    let payload = mutated(inner, &mut pick);
                    read_all(&payload);
                    keys.decrypt(&payload).ok();
                    let sealed = rmcp::seal(&keys, 1, 1, &payload, [7; 16]);
                    assert_eq!(plus(&sealed).unwrap().open(&keys), Ok(payload));
                }
            }
        }
    }
}

#[tokio::test]
async fn the_lab_survives_what_it_is_sent() {
    let lab = lab(Default::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.1", lab.port)).await.unwrap();
    let mut pick = seeded(0xbad5eed);
    for (_, conversation) in corpus() {
        for (_, datagram) in &conversation {
            for _ in 0..50 {
                socket.send(&mutated(datagram, &mut pick)).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }
    let mut buffer = [0; 2048];
    let answered = async {
        loop {
            socket.send(&rmcp::ping(0x5a)).await.unwrap();
            let len = socket.recv(&mut buffer).await.unwrap();
            if rmcp::parse(&buffer[..len]) == Ok(Packet::Pong(0x5a)) {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), answered).await.expect("the lab answers no more");
}
