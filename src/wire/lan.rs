//! IPMI messages between a console and a BMC (IPMI 2.0, 13.8), and the completion codes by name (table 5-2).
use super::Malformed;

const BMC: u8 = 0x20;
const CONSOLE: u8 = 0x81;

/// From the console, to LUN 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub net_fn: u8,
    pub command: u8,
    /// Six bits; the response repeats it.
    pub sequence: u8,
    pub data: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Of the request: even.
    pub net_fn: u8,
    pub command: u8,
    pub sequence: u8,
    pub code: u8,
    pub data: Vec<u8>,
}

impl Request {
    pub fn encode(&self) -> Vec<u8> {
        message([BMC, self.net_fn << 2], [CONSOLE, self.sequence << 2, self.command], &self.data)
    }
    pub fn parse(bytes: &[u8]) -> Result<Request, Malformed> {
        let (head, body) = checked(bytes)?;
        let [_, lun_sequence, command, ref data @ ..] = *body else { return Err(Malformed("IPMI message")) };
        if head[0] != BMC || head[1] >> 2 & 1 != 0 {
            return Err(Malformed("IPMI request"));
        }
        Ok(Request { net_fn: head[1] >> 2, command, sequence: lun_sequence >> 2, data: data.to_vec() })
    }
    pub fn answer(&self, code: u8, data: &[u8]) -> Response {
        Response { net_fn: self.net_fn, command: self.command, sequence: self.sequence, code, data: data.to_vec() }
    }
}

impl Response {
    pub fn encode(&self) -> Vec<u8> {
        let data = [&[self.code][..], &self.data].concat();
        message([CONSOLE, (self.net_fn | 1) << 2], [BMC, self.sequence << 2, self.command], &data)
    }
    /// Addresses are not compared: BMCs behind a chassis manager answer with their own.
    pub fn parse(bytes: &[u8]) -> Result<Response, Malformed> {
        let (head, body) = checked(bytes)?;
        let [_, lun_sequence, command, code, ref data @ ..] = *body else { return Err(Malformed("IPMI message")) };
        if head[1] >> 2 & 1 != 1 {
            return Err(Malformed("IPMI response"));
        }
        Ok(Response { net_fn: head[1] >> 2 & !1, command, sequence: lun_sequence >> 2, code, data: data.to_vec() })
    }
    pub fn answers(&self, request: &Request) -> bool {
        (self.net_fn, self.command, self.sequence) == (request.net_fn, request.command, request.sequence)
    }
}

fn message(head: [u8; 2], body: [u8; 3], data: &[u8]) -> Vec<u8> {
    let mut out = head.to_vec();
    out.push(checksum(&head));
    out.extend(body);
    out.extend(data);
    let sum = checksum(&out[3..]);
    out.push(sum);
    out
}

/// Address and NetFn/LUN; then everything between the two checksums, which are right.
fn checked(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let bad = Malformed("IPMI message");
    let (head, rest) = bytes.split_at_checked(2).ok_or(bad)?;
    let [first, body @ .., last] = rest else { return Err(bad) };
    if *first != checksum(head) || *last != checksum(body) {
        return Err(Malformed("checksum of an IPMI message"));
    }
    Ok((head, body))
}

/// Two's complement: all bytes and their checksum add up to zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)).wrapping_neg()
}

pub mod code {
    //! Generic completion codes.
    pub const OK: u8 = 0x00;
    pub const BUSY: u8 = 0xc0;
    pub const INVALID_COMMAND: u8 = 0xc1;
    pub const INVALID_FOR_LUN: u8 = 0xc2;
    pub const TIMEOUT: u8 = 0xc3;
    pub const OUT_OF_SPACE: u8 = 0xc4;
    pub const RESERVATION_LOST: u8 = 0xc5;
    pub const TRUNCATED: u8 = 0xc6;
    pub const LENGTH_INVALID: u8 = 0xc7;
    pub const LENGTH_EXCEEDED: u8 = 0xc8;
    pub const OUT_OF_RANGE: u8 = 0xc9;
    pub const TOO_MANY_BYTES: u8 = 0xca;
    pub const NOT_PRESENT: u8 = 0xcb;
    pub const INVALID_FIELD: u8 = 0xcc;
    pub const ILLEGAL_FOR_SENSOR: u8 = 0xcd;
    pub const NO_RESPONSE: u8 = 0xce;
    pub const DUPLICATED: u8 = 0xcf;
    pub const SDR_UPDATE: u8 = 0xd0;
    pub const FIRMWARE_UPDATE: u8 = 0xd1;
    pub const INITIALISING: u8 = 0xd2;
    pub const DESTINATION_UNAVAILABLE: u8 = 0xd3;
    pub const PRIVILEGE: u8 = 0xd4;
    pub const WRONG_STATE: u8 = 0xd5;
    pub const DISABLED: u8 = 0xd6;
    pub const UNSPECIFIED: u8 = 0xff;

    pub fn name(code: u8) -> &'static str {
        match code {
            OK => "completed",
            BUSY => "node busy",
            INVALID_COMMAND => "invalid command",
            INVALID_FOR_LUN => "command invalid for this LUN",
            TIMEOUT => "timeout while processing",
            OUT_OF_SPACE => "out of space",
            RESERVATION_LOST => "reservation cancelled or invalid",
            TRUNCATED => "request data truncated",
            LENGTH_INVALID => "request data length invalid",
            LENGTH_EXCEEDED => "request data field length limit exceeded",
            OUT_OF_RANGE => "parameter out of range",
            TOO_MANY_BYTES => "cannot return the requested number of bytes",
            NOT_PRESENT => "requested data not present",
            INVALID_FIELD => "invalid data field in request",
            ILLEGAL_FOR_SENSOR => "command illegal for this sensor or record",
            NO_RESPONSE => "response could not be provided",
            DUPLICATED => "duplicated request",
            SDR_UPDATE => "SDR repository in update mode",
            FIRMWARE_UPDATE => "device in firmware update mode",
            INITIALISING => "BMC initialisation in progress",
            DESTINATION_UNAVAILABLE => "destination unavailable",
            PRIVILEGE => "insufficient privilege",
            WRONG_STATE => "not supported in present state",
            DISABLED => "sub-function disabled or unavailable",
            UNSPECIFIED => "unspecified error",
            0x01..=0x7e => "device-specific code",
            0x80..=0xbe => "command-specific code",
            _ => "reserved code",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_answers_match() {
        let request = Request { net_fn: 0, command: 2, sequence: 63, data: vec![5] };
        assert_eq!(Request::parse(&request.encode()), Ok(request.clone()));
        let response = request.answer(code::WRONG_STATE, &[1, 2]);
        assert_eq!(Response::parse(&response.encode()), Ok(response.clone()));
        assert!(response.answers(&request));
        assert!(!response.answers(&Request { sequence: 1, ..request.clone() }));
        assert!(Response::parse(&request.encode()).is_err());
        assert!(Request::parse(&response.encode()).is_err());
        for len in 0..8 {
            assert!(Response::parse(&response.encode()[..len]).is_err());
        }
    }
}
