//! Datagrams of port 623: RMCP header, ASF ping and pong, the IPMI 1.5 wrapper (before a session only) and the RMCP+ wrapper with its trailer (IPMI 2.0, 13.6 and 13.28).
use super::{Malformed, array, suite::Keys};

const VERSION: u8 = 6;
/// No RMCP acknowledgement is wanted.
const NO_ACK: u8 = 0xff;
const CLASS_ASF: u8 = 6;
const CLASS_IPMI: u8 = 7;
const AUTH_NONE: u8 = 0;
const AUTH_RMCP_PLUS: u8 = 6;
/// Of the Alerting Standard Forum, in pings.
const ASF_IANA: [u8; 4] = [0, 0, 0x11, 0xbe];

/// Payload types of RMCP+.
pub const IPMI: u8 = 0x00;
pub const OPEN_REQUEST: u8 = 0x10;
pub const OPEN_ANSWER: u8 = 0x11;
pub const RAKP_1: u8 = 0x12;
pub const RAKP_2: u8 = 0x13;
pub const RAKP_3: u8 = 0x14;
pub const RAKP_4: u8 = 0x15;

/// Larger than any datagram of these protocols.
pub const MAX: usize = 2048;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// ASF presence ping, with its tag.
    Ping(u8),
    Pong(u8),
    /// IPMI 1.5 wrapper without authentication: one message.
    Lan(&'a [u8]),
    Plus(Plus<'a>),
}

/// An RMCP+ datagram as it lies on the wire. Nothing in it is proven before `open`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plus<'a> {
    pub kind: u8,
    pub encrypted: bool,
    pub authenticated: bool,
    /// Of the receiver. 0 outside a session.
    pub session: u32,
    pub sequence: u32,
    pub payload: &'a [u8],
    /// From the authentication type to the end: what the AuthCode covers, and the AuthCode.
    covered: &'a [u8],
}

pub fn parse(datagram: &[u8]) -> Result<Packet<'_>, Malformed> {
    let [version, _, _, class, body @ ..] = datagram else { return Err(Malformed("RMCP header")) };
    match (*version, *class) {
        (VERSION, CLASS_ASF) => asf(body),
        (VERSION, CLASS_IPMI) => match body.first() {
            Some(&AUTH_NONE) => lan(body),
            Some(&AUTH_RMCP_PLUS) => plus(body).map(Packet::Plus),
            _ => Err(Malformed("authentication type")),
        },
        _ => Err(Malformed("RMCP header")),
    }
}

fn asf(body: &[u8]) -> Result<Packet<'_>, Malformed> {
    if array(body, 0) != Some(ASF_IANA) {
        return Err(Malformed("ASF message"));
    }
    match body[4..] {
        [0x80, tag, ..] => Ok(Packet::Ping(tag)),
        [0x40, tag, ..] => Ok(Packet::Pong(tag)),
        _ => Err(Malformed("ASF message")),
    }
}

fn lan(body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let len = usize::from(*body.get(9).ok_or(Malformed("IPMI 1.5 header"))?);
    // A legacy pad byte may follow: some lengths upset old network chips (13.6).
    body.get(10..10 + len).map(Packet::Lan).ok_or(Malformed("IPMI 1.5 header"))
}

fn plus(body: &[u8]) -> Result<Plus<'_>, Malformed> {
    let bad = Malformed("RMCP+ header");
    let kind = *body.get(1).ok_or(bad)?;
    if kind & 0x3f == 2 {
        return Err(Malformed("payload type (OEM)"));
    }
    let session = u32::from_le_bytes(array(body, 2).ok_or(bad)?);
    let sequence = u32::from_le_bytes(array(body, 6).ok_or(bad)?);
    let len = usize::from(u16::from_le_bytes(array(body, 10).ok_or(bad)?));
    let payload = body.get(12..12 + len).ok_or(bad)?;
    Ok(Plus { kind: kind & 0x3f, encrypted: kind & 0x80 != 0, authenticated: kind & 0x40 != 0, session, sequence, payload, covered: body })
}

impl Plus<'_> {
    /// The payload, once the AuthCode proves it. Unencrypted is fine, unauthenticated never: a peer may have suspended encryption, but nobody else can forge the code.
    pub fn open(&self, keys: &Keys) -> Result<Vec<u8>, Malformed> {
        let bad = Malformed("session trailer");
        if !self.authenticated {
            return Err(Malformed("datagram of a session: it is not authenticated"));
        }
        let end = self.covered.len().checked_sub(keys.suite.tag_len()).ok_or(bad)?;
        let (covered, tag) = self.covered.split_at(end);
        // Payload, pad, pad length, next header, AuthCode.
        if covered.len() < 12 + self.payload.len() + 2 || !keys.tag_is(covered, tag) {
            return Err(bad);
        }
        if self.encrypted { keys.decrypt(self.payload) } else { Ok(self.payload.to_vec()) }
    }
}

pub fn ping(tag: u8) -> Vec<u8> {
    let mut out = vec![VERSION, 0, NO_ACK, CLASS_ASF];
    out.extend(ASF_IANA);
    out.extend([0x80, tag, 0, 0]);
    out
}

/// Says that IPMI is spoken here.
pub fn pong(tag: u8) -> Vec<u8> {
    let mut out = vec![VERSION, 0, NO_ACK, CLASS_ASF];
    out.extend(ASF_IANA);
    out.extend([0x40, tag, 0, 16]);
    out.extend(ASF_IANA);
    out.extend([0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0]);
    out
}

/// The IPMI 1.5 wrapper, outside a session.
pub fn before_session(message: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION, 0, NO_ACK, CLASS_IPMI, AUTH_NONE, 0, 0, 0, 0, 0, 0, 0, 0];
    out.push(u8::try_from(message.len()).expect("BUG: a message outside a session is short"));
    out.extend(message);
    out
}

fn head(kind: u8, session: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("BUG: a payload is short");
    let mut out = vec![VERSION, 0, NO_ACK, CLASS_IPMI, AUTH_RMCP_PLUS, kind];
    out.extend(session.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(len.to_le_bytes());
    out.extend(payload);
    out
}

/// The RMCP+ wrapper outside a session: login messages.
pub fn plain(kind: u8, payload: &[u8]) -> Vec<u8> {
    head(kind, 0, 0, payload)
}

/// The RMCP+ wrapper inside a session: encrypted and authenticated.
pub fn seal(keys: &Keys, session: u32, sequence: u32, message: &[u8], iv: [u8; 16]) -> Vec<u8> {
    let mut out = head(IPMI | 0xc0, session, sequence, &keys.encrypt(message, iv));
    // What the AuthCode covers, pad length and next header included, is a multiple of four.
    let pad = (4 - (out.len() - 4 + 2) % 4) % 4;
    out.extend(std::iter::repeat_n(0xff, pad));
    out.extend([pad as u8, 0x07]);
    let tag = keys.tag(&out[4..]);
    out.extend(tag);
    out
}

/// Which sequence numbers of a session were seen: a datagram counts once, and not when it is older than the last 32 (13.28.6).
#[derive(Debug, Clone, Default)]
pub struct Window {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u32,
}
impl Window {
    /// Asked only about authenticated datagrams: a forged number must not move the window.
    pub fn take(&mut self, sequence: u32) -> bool {
        if sequence > self.highest {
            self.seen = self.seen.checked_shl(sequence - self.highest).unwrap_or(0) | 1;
            self.highest = sequence;
            return true;
        }
        let bit = 1u32.checked_shl(self.highest - sequence).unwrap_or(0);
        // 0 is outside a session; past the window nobody can tell.
        let new = sequence != 0 && bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::suite::Suite;

    #[test]
    fn what_is_sealed_opens_with_the_same_keys_only() {
        for suite in Suite::ALL {
            let keys = Keys::derive(suite, b"one");
            for len in 0..40 {
                let message: Vec<u8> = (0..len).collect();
                let datagram = seal(&keys, 0x0102_0304, 7, &message, [5; 16]);
                assert_eq!((datagram.len() - 4 - suite.tag_len()) % 4, 0);
                let Ok(Packet::Plus(plus)) = parse(&datagram) else { panic!("not RMCP+") };
                assert_eq!((plus.session, plus.sequence, plus.kind), (0x0102_0304, 7, IPMI));
                assert_eq!(plus.open(&keys), Ok(message));
                assert!(plus.open(&Keys::derive(suite, b"two")).is_err());
                for at in 4..datagram.len() {
                    let mut forged = datagram.clone();
                    forged[at] ^= 1;
                    let opened = matches!(parse(&forged), Ok(Packet::Plus(p)) if p.open(&keys).is_ok());
                    assert!(!opened, "byte {at} is not covered");
                }
            }
        }
    }

    #[test]
    fn the_unauthenticated_probe_is_the_known_one() {
        let message = crate::wire::lan::Request { net_fn: 6, command: 0x38, sequence: 1, data: vec![0x8e, 4] }.encode();
        let want = [&[6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0x18, 0xc8, 0x81][..], &[4, 0x38, 0x8e, 4, 0xb1]].concat();
        assert_eq!(before_session(&message), want);
        assert_eq!(parse(&want), Ok(Packet::Lan(&want[14..])));
        assert_eq!(parse(&ping(9)), Ok(Packet::Ping(9)));
        assert_eq!(parse(&pong(9)), Ok(Packet::Pong(9)));
    }

    #[test]
    fn a_window_takes_each_number_once() {
        let mut window = Window::default();
        let takes: Vec<bool> = [1, 1, 3, 2, 2, 40, 8, 9, 9, 0, 39, u32::MAX, 40].into_iter().map(|n| window.take(n)).collect();
        assert_eq!(takes, [true, false, true, true, false, true, false, true, false, false, true, true, false]);
    }
}
