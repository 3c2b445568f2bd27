//! Logging in: Open Session and the four RAKP messages (IPMI 2.0, 13.17 to 13.24), and what both sides compute from them.
use super::{
    Malformed, array,
    suite::{Algorithms, Keys, Suite},
};

/// Names are looked up alone, not together with the privilege asked for: what every common client does.
pub const NAME_ONLY: u8 = 0x10;
pub const MAX_USER: usize = 16;
pub const MAX_PASSWORD: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    pub tag: u8,
    /// 0: the highest that the account and the suite allow.
    pub privilege: u8,
    /// Chosen by the console.
    pub console: u32,
    pub algorithms: Algorithms,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAnswer {
    pub tag: u8,
    /// 0, or why not; then the rest means nothing.
    pub status: u8,
    pub privilege: u8,
    pub console: u32,
    /// Chosen by the BMC.
    pub managed: u32,
    pub algorithms: Algorithms,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rakp1 {
    pub tag: u8,
    pub managed: u32,
    pub random: [u8; 16],
    pub role: u8,
    pub user: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rakp2 {
    pub tag: u8,
    pub status: u8,
    pub console: u32,
    pub random: [u8; 16],
    pub guid: [u8; 16],
    pub code: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rakp3 {
    pub tag: u8,
    pub status: u8,
    pub managed: u32,
    pub code: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rakp4 {
    pub tag: u8,
    pub status: u8,
    pub console: u32,
    pub check: Vec<u8>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// Three records of eight bytes, one algorithm each.
fn put_algorithms(out: &mut Vec<u8>, algorithms: Algorithms) {
    for (kind, algorithm) in (0u8..).zip(algorithms) {
        out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
}
fn algorithms_at(bytes: &[u8], at: usize) -> Option<Algorithms> {
    let record = |n: usize| bytes.get(at + 8 * n..at + 8 * n + 8).filter(|r| usize::from(r[0]) == n).map(|r| r[4] & 0x3f);
    Some([record(0)?, record(1)?, record(2)?])
}

impl OpenRequest {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, self.privilege, 0, 0];
        out.extend(self.console.to_le_bytes());
        put_algorithms(&mut out, self.algorithms);
        out
    }
    pub fn parse(bytes: &[u8]) -> Result<OpenRequest, Malformed> {
        let parse =
            || Some(OpenRequest { tag: *bytes.first()?, privilege: *bytes.get(1)? & 0x0f, console: u32_at(bytes, 4)?, algorithms: algorithms_at(bytes, 8)? });
        parse().ok_or(Malformed("Open Session request"))
    }
}

impl OpenAnswer {
    pub fn refused(tag: u8, status: u8, console: u32) -> OpenAnswer {
        OpenAnswer { tag, status, privilege: 0, console, managed: 0, algorithms: [0; 3] }
    }
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, self.status, self.privilege, 0];
        out.extend(self.console.to_le_bytes());
        if self.status == status::OK {
            out.extend(self.managed.to_le_bytes());
            put_algorithms(&mut out, self.algorithms);
        }
        out
    }
    /// A refusal may be as short as tag and status.
    pub fn parse(bytes: &[u8]) -> Result<OpenAnswer, Malformed> {
        let bad = Malformed("Open Session response");
        let [tag, status, ..] = *bytes else { return Err(bad) };
        if status != status::OK {
            return Ok(OpenAnswer::refused(tag, status, u32_at(bytes, 4).unwrap_or(0)));
        }
        let parse = || {
            let (privilege, console, managed) = (*bytes.get(2)? & 0x0f, u32_at(bytes, 4)?, u32_at(bytes, 8)?);
            Some(OpenAnswer { tag, status, privilege, console, managed, algorithms: algorithms_at(bytes, 12)? })
        };
        parse().ok_or(bad)
    }
}

impl Rakp1 {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, 0, 0, 0];
        out.extend(self.managed.to_le_bytes());
        out.extend(self.random);
        out.extend([self.role, 0, 0, self.user.len() as u8]);
        out.extend(&self.user);
        out
    }
    pub fn parse(bytes: &[u8]) -> Result<Rakp1, Malformed> {
        let parse = || {
            let len = usize::from(*bytes.get(27)?);
            let user = bytes.get(28..28 + len).filter(|_| len <= MAX_USER)?.to_vec();
            Some(Rakp1 { tag: bytes[0], managed: u32_at(bytes, 4)?, random: array(bytes, 8)?, role: bytes[24], user })
        };
        parse().ok_or(Malformed("RAKP 1"))
    }
}

impl Rakp2 {
    pub fn refused(tag: u8, status: u8, console: u32) -> Rakp2 {
        Rakp2 { tag, status, console, random: [0; 16], guid: [0; 16], code: Vec::new() }
    }
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, self.status, 0, 0];
        out.extend(self.console.to_le_bytes());
        if self.status == status::OK {
            out.extend(self.random);
            out.extend(self.guid);
            out.extend(&self.code);
        }
        out
    }
    pub fn parse(bytes: &[u8]) -> Result<Rakp2, Malformed> {
        let bad = Malformed("RAKP 2");
        let [tag, status, ..] = *bytes else { return Err(bad) };
        if status != status::OK {
            return Ok(Rakp2::refused(tag, status, u32_at(bytes, 4).unwrap_or(0)));
        }
        let parse = || {
            let (random, guid) = (array(bytes, 8)?, array(bytes, 24)?);
            Some(Rakp2 { tag, status, console: u32_at(bytes, 4)?, random, guid, code: bytes.get(40..)?.to_vec() })
        };
        parse().ok_or(bad)
    }
}

impl Rakp3 {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, self.status, 0, 0];
        out.extend(self.managed.to_le_bytes());
        out.extend(&self.code);
        out
    }
    pub fn parse(bytes: &[u8]) -> Result<Rakp3, Malformed> {
        let parse = || Some(Rakp3 { tag: *bytes.first()?, status: *bytes.get(1)?, managed: u32_at(bytes, 4)?, code: bytes.get(8..)?.to_vec() });
        parse().ok_or(Malformed("RAKP 3"))
    }
}

impl Rakp4 {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.tag, self.status, 0, 0];
        out.extend(self.console.to_le_bytes());
        out.extend(&self.check);
        out
    }
    pub fn parse(bytes: &[u8]) -> Result<Rakp4, Malformed> {
        let [tag, status, ..] = *bytes else { return Err(Malformed("RAKP 4")) };
        let check = bytes.get(8..).unwrap_or_default().to_vec();
        match u32_at(bytes, 4) {
            Some(console) => Ok(Rakp4 { tag, status, console, check }),
            None if status != status::OK => Ok(Rakp4 { tag, status, console: 0, check }),
            None => Err(Malformed("RAKP 4")),
        }
    }
}

/// All that both sides know after RAKP 2.
pub struct Login<'a> {
    pub suite: Suite,
    pub console: u32,
    pub managed: u32,
    pub console_random: [u8; 16],
    pub managed_random: [u8; 16],
    pub guid: [u8; 16],
    pub role: u8,
    pub user: &'a [u8],
    pub password: &'a [u8],
}

impl Login<'_> {
    fn tail(&self) -> Vec<u8> {
        [&[self.role, self.user.len() as u8][..], self.user].concat()
    }

    /// The BMC's proof in RAKP 2 that it knows the password.
    pub fn code_2(&self) -> Vec<u8> {
        self.hmac_2(|suite, key, parts| suite.hmac(key, parts))
    }
    pub fn code_2_is(&self, code: &[u8]) -> bool {
        self.hmac_2(|suite, key, parts| suite.verify(key, parts, code, suite.hash_len()))
    }
    fn hmac_2<T>(&self, with: impl FnOnce(Suite, &[u8], &[&[u8]]) -> T) -> T {
        let (console, managed) = (self.console.to_le_bytes(), self.managed.to_le_bytes());
        let tail = self.tail();
        with(self.suite, self.password, &[&console, &managed, &self.console_random, &self.managed_random, &self.guid, &tail])
    }

    /// The console's proof in RAKP 3.
    pub fn code_3(&self) -> Vec<u8> {
        self.suite.hmac(self.password, &[&self.managed_random, &self.console.to_le_bytes(), &self.tail()])
    }
    pub fn code_3_is(&self, code: &[u8]) -> bool {
        self.suite.verify(self.password, &[&self.managed_random, &self.console.to_le_bytes(), &self.tail()], code, self.suite.hash_len())
    }

    /// The Session Integrity Key, where the BMC has no key of its own (K_G).
    fn sik(&self) -> Vec<u8> {
        self.suite.hmac(self.password, &[&self.console_random, &self.managed_random, &self.tail()])
    }
    /// The BMC's proof in RAKP 4 that it has the same keys.
    pub fn check_4(&self) -> Vec<u8> {
        let mut check = self.suite.hmac(&self.sik(), &[&self.console_random, &self.managed.to_le_bytes(), &self.guid]);
        check.truncate(self.suite.tag_len());
        check
    }
    pub fn check_4_is(&self, check: &[u8]) -> bool {
        let parts: [&[u8]; 3] = [&self.console_random, &self.managed.to_le_bytes(), &self.guid];
        self.suite.verify(&self.sik(), &parts, check, self.suite.tag_len())
    }
    pub fn keys(&self) -> Keys {
        Keys::derive(self.suite, &self.sik())
    }
}

pub mod status {
    //! Status codes of Open Session and RAKP (table 13-15).
    pub const OK: u8 = 0x00;
    pub const NO_RESOURCES: u8 = 0x01;
    pub const INVALID_SESSION: u8 = 0x02;
    pub const INVALID_PAYLOAD: u8 = 0x03;
    pub const INVALID_AUTHENTICATION: u8 = 0x04;
    pub const INVALID_INTEGRITY: u8 = 0x05;
    pub const NO_AUTHENTICATION: u8 = 0x06;
    pub const NO_INTEGRITY: u8 = 0x07;
    pub const INACTIVE_SESSION: u8 = 0x08;
    pub const INVALID_ROLE: u8 = 0x09;
    pub const UNAUTHORISED_ROLE: u8 = 0x0a;
    pub const NO_RESOURCES_AT_ROLE: u8 = 0x0b;
    pub const INVALID_NAME_LENGTH: u8 = 0x0c;
    pub const UNAUTHORISED_NAME: u8 = 0x0d;
    pub const UNAUTHORISED_GUID: u8 = 0x0e;
    pub const INVALID_CHECK: u8 = 0x0f;
    pub const INVALID_CONFIDENTIALITY: u8 = 0x10;
    pub const NO_SUITE: u8 = 0x11;
    pub const ILLEGAL_PARAMETER: u8 = 0x12;

    pub fn name(status: u8) -> &'static str {
        match status {
            OK => "no errors",
            NO_RESOURCES => "insufficient resources to create a session",
            INVALID_SESSION => "invalid session ID",
            INVALID_PAYLOAD => "invalid payload type",
            INVALID_AUTHENTICATION => "invalid authentication algorithm",
            INVALID_INTEGRITY => "invalid integrity algorithm",
            NO_AUTHENTICATION => "no matching authentication payload",
            NO_INTEGRITY => "no matching integrity payload",
            INACTIVE_SESSION => "inactive session ID",
            INVALID_ROLE => "invalid role",
            UNAUTHORISED_ROLE => "unauthorised role or privilege level requested",
            NO_RESOURCES_AT_ROLE => "insufficient resources to create a session at the requested role",
            INVALID_NAME_LENGTH => "invalid name length",
            UNAUTHORISED_NAME => "unauthorised name",
            UNAUTHORISED_GUID => "unauthorised GUID",
            INVALID_CHECK => "invalid integrity check value",
            INVALID_CONFIDENTIALITY => "invalid confidentiality algorithm",
            NO_SUITE => "no cipher suite match with proposed security algorithms",
            ILLEGAL_PARAMETER => "illegal or unrecognised parameter",
            _ => "unknown status",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_messages_come_back() {
        let open = OpenRequest { tag: 1, privilege: 4, console: 0xa1b2_c3d4, algorithms: Suite::Seventeen.algorithms() };
        assert_eq!(open.encode().len(), 32);
        assert_eq!(OpenRequest::parse(&open.encode()), Ok(open.clone()));
        let answer = OpenAnswer { tag: 1, status: 0, privilege: 4, console: 1, managed: 2, algorithms: [3, 4, 1] };
        assert_eq!(answer.encode().len(), 36);
        assert_eq!(OpenAnswer::parse(&answer.encode()), Ok(answer.clone()));
        assert_eq!(OpenAnswer::parse(&[1, 4]), Ok(OpenAnswer::refused(1, 4, 0)));
        assert!(OpenAnswer::parse(&answer.encode()[..35]).is_err());
        let one = Rakp1 { tag: 2, managed: 9, random: [3; 16], role: 0x14, user: b"ADMIN".to_vec() };
        assert_eq!(Rakp1::parse(&one.encode()), Ok(one.clone()));
        assert!(Rakp1::parse(&one.encode()[..32]).is_err());
        let two = Rakp2 { tag: 2, status: 0, console: 9, random: [3; 16], guid: [4; 16], code: vec![5; 20] };
        assert_eq!(Rakp2::parse(&two.encode()), Ok(two));
        let three = Rakp3 { tag: 3, status: 0, managed: 9, code: vec![5; 32] };
        assert_eq!(Rakp3::parse(&three.encode()), Ok(three));
        let four = Rakp4 { tag: 3, status: 0, console: 9, check: vec![5; 12] };
        assert_eq!(Rakp4::parse(&four.encode()), Ok(four));
        assert!(Rakp4::parse(&[3, 0]).is_err());
    }

    #[test]
    fn both_sides_compute_the_same_and_another_password_does_not() {
        for suite in Suite::ALL {
            let login = |password: &'static [u8]| Login {
                suite,
                console: 1,
                managed: 2,
                console_random: [3; 16],
                managed_random: [4; 16],
                guid: [5; 16],
                role: 0x14,
                user: b"ADMIN",
                password,
            };
            let (us, them, other) = (login(b"secret12"), login(b"secret12"), login(b"secret13"));
            assert!(us.code_2_is(&them.code_2()) && us.code_3_is(&them.code_3()) && us.check_4_is(&them.check_4()));
            assert!(!us.code_2_is(&other.code_2()) && !us.code_3_is(&other.code_3()) && !us.check_4_is(&other.check_4()));
            assert!(!us.code_2_is(&[]) && !us.code_2_is(&them.code_2()[..12]));
            // A NUL-padded field on the BMC's side is the same key.
            assert!(us.code_2_is(&login(b"secret12\0\0\0\0").code_2()));
        }
    }
}
