//! What a certificate says of itself, for a person to compare: subject, issuer, validity. Judges nothing: that is the verifier's.
use super::Malformed;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// `CN=bmc-07.mgmt.example, O=Example`.
    pub subject: String,
    pub issuer: String,
    /// RFC 3339.
    pub not_before: String,
    pub not_after: String,
    /// Byte for byte: signed by itself, or by somebody of the same name.
    pub self_issued: bool,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const VERSION: u8 = 0xa0;

/// RFC 5280, 4.1, as far as the subject.
pub fn names(certificate: &[u8]) -> Result<Names, Malformed> {
    let body = Der(Der(certificate).expect(SEQUENCE, "certificate")?).expect(SEQUENCE, "certificate body")?;
    let mut rest = Der(body);
    if rest.0.first() == Some(&VERSION) {
        rest.next("version")?;
    }
    rest.next("serial number")?;
    rest.next("signature algorithm")?;
    let issuer = rest.expect(SEQUENCE, "issuer")?;
    let mut validity = Der(rest.expect(SEQUENCE, "validity")?);
    let (not_before, not_after) = (time(validity.next("validity")?)?, time(validity.next("validity")?)?);
    let subject = rest.expect(SEQUENCE, "subject")?;
    Ok(Names { subject: name(subject)?, issuer: name(issuer)?, not_before, not_after, self_issued: subject == issuer })
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self, what: &'static str) -> Result<(u8, &'a [u8]), Malformed> {
        let bad = Malformed(what);
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>().ok_or(bad)?;
        let (length, rest) = match first {
            ..=0x7f => (usize::from(first), rest),
            // More than four bytes of length is no certificate, and 0x80 (without end) is not DER.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(bad)?;
                (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
            }
            _ => return Err(bad),
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(bad)?;
        self.0 = rest;
        Ok((tag, value))
    }

    fn expect(&mut self, tag: u8, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self.next(what)? {
            (found, value) if found == tag => Ok(value),
            _ => Err(Malformed(what)),
        }
    }
}

/// Most specific last, as it lies there.
fn name(sequence: &[u8]) -> Result<String, Malformed> {
    let mut parts = Vec::new();
    let mut sets = Der(sequence);
    while !sets.0.is_empty() {
        let mut set = Der(sets.expect(SET, "name")?);
        while !set.0.is_empty() {
            let mut pair = Der(set.expect(SEQUENCE, "name")?);
            let key = pair.expect(OID, "name")?;
            let (tag, value) = pair.next("name")?;
            parts.push(format!("{}={}", key_text(key), value_text(tag, value)));
        }
    }
    Ok(if parts.is_empty() { "(empty)".into() } else { parts.join(", ") })
}

fn key_text(oid: &[u8]) -> String {
    match oid {
        [0x55, 4, 3] => "CN".into(),
        [0x55, 4, 5] => "serialNumber".into(),
        [0x55, 4, 6] => "C".into(),
        [0x55, 4, 7] => "L".into(),
        [0x55, 4, 8] => "ST".into(),
        [0x55, 4, 10] => "O".into(),
        [0x55, 4, 11] => "OU".into(),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress".into(),
        other => other.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

/// A stranger's text: nothing in it may move a terminal's cursor.
fn value_text(tag: u8, value: &[u8]) -> String {
    let text = match tag {
        BMP_STRING => String::from_utf16_lossy(&value.as_chunks::<2>().0.iter().map(|b| u16::from_be_bytes(*b)).collect::<Vec<_>>()),
        _ => String::from_utf8_lossy(value).into_owned(),
    };
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time((tag, value): (u8, &[u8])) -> Result<String, Malformed> {
    let bad = Malformed("time");
    let text = std::str::from_utf8(value).map_err(|_| bad)?;
    let digits = text.strip_suffix('Z').filter(|d| d.bytes().all(|b| b.is_ascii_digit())).ok_or(bad)?;
    let full = match (tag, digits.len()) {
        // RFC 5280: 50 and above is the last century.
        (UTC_TIME, 12) => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return Err(bad),
    };
    Ok(format!("{}-{}-{}T{}:{}:{}Z", &full[..4], &full[4..6], &full[6..8], &full[8..10], &full[10..12], &full[12..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair, date_time_ymd};

    fn made() -> Vec<u8> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name = rcgen::DistinguishedName::new();
        ca.distinguished_name.push(DnType::OrganizationName, "Example Ltd");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = CertificateParams::new(["bmc.example".to_owned()]).unwrap();
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, "bmc\u{1b}[2J.example");
        (leaf.not_before, leaf.not_after) = (date_time_ymd(1999, 1, 2), date_time_ymd(2061, 11, 30));
        leaf.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_who_it_is() {
        let seen = names(&made()).unwrap();
        assert_eq!((seen.subject.as_str(), seen.issuer.as_str()), ("CN=bmc?[2J.example", "O=Example Ltd"));
        assert_eq!((seen.not_before.as_str(), seen.not_after.as_str()), ("1999-01-02T00:00:00Z", "2061-11-30T00:00:00Z"));
        assert!(!seen.self_issued);
    }

    #[test]
    fn cut_and_bent_ones_are_malformed_or_read_but_never_a_panic() {
        let good = made();
        for end in 0..good.len() {
            assert!(names(&good[..end]).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            for bit in [1, 0x20, 0x80, 0xff] {
                let mut bent = good.clone();
                bent[at] ^= bit;
                names(&bent).ok();
            }
        }
    }
}
