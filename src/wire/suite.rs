//! The two cipher suites that are safe enough to speak: 3 (SHA-1) and 17 (SHA-256), both with AES-CBC-128 (IPMI 2.0, 13.28 and 22.15.2).
//! 0 to 2 leave out authentication or encryption and are deliberately absent.
use super::{Malformed, array};
use aes::Aes128;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    Three,
    /// RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Seventeen,
}

/// Authentication, integrity and confidentiality algorithm, as Open Session numbers them.
pub type Algorithms = [u8; 3];

impl Suite {
    pub const ALL: [Suite; 2] = [Suite::Seventeen, Suite::Three];

    pub fn id(self) -> u8 {
        match self {
            Suite::Three => 3,
            Suite::Seventeen => 17,
        }
    }
    pub fn from_id(id: u8) -> Option<Suite> {
        Suite::ALL.into_iter().find(|s| s.id() == id)
    }
    pub fn algorithms(self) -> Algorithms {
        match self {
            Suite::Three => [1, 1, 1],
            Suite::Seventeen => [3, 4, 1],
        }
    }
    pub fn from_algorithms(algorithms: Algorithms) -> Option<Suite> {
        Suite::ALL.into_iter().find(|s| s.algorithms() == algorithms)
    }
    /// Bytes of an AuthCode, and of the check value in RAKP 4: the hash is cut.
    pub fn tag_len(self) -> usize {
        match self {
            Suite::Three => 12,
            Suite::Seventeen => 16,
        }
    }
    /// Bytes of an uncut hash: the code in RAKP 2 and 3.
    pub fn hash_len(self) -> usize {
        match self {
            Suite::Three => 20,
            Suite::Seventeen => 32,
        }
    }

    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
            fed::<M>(key, parts).finalize().into_bytes().to_vec()
        }
        match self {
            Suite::Three => run::<Hmac<Sha1>>(key, parts),
            Suite::Seventeen => run::<Hmac<Sha256>>(key, parts),
        }
    }

    /// In constant time. `tag` has exactly `len` bytes, or it is wrong.
    pub fn verify(self, key: &[u8], parts: &[&[u8]], tag: &[u8], len: usize) -> bool {
        fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
            fed::<M>(key, parts).verify_truncated_left(tag).is_ok()
        }
        tag.len() == len
            && match self {
                Suite::Three => run::<Hmac<Sha1>>(key, parts, tag),
                Suite::Seventeen => run::<Hmac<Sha256>>(key, parts, tag),
            }
    }
}

fn fed<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("BUG: HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// What a session's datagrams are sealed with.
#[derive(Clone)]
pub struct Keys {
    pub suite: Suite,
    k1: Vec<u8>,
    k2: [u8; 16],
}
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?})", self.suite)
    }
}

impl Keys {
    /// From the Session Integrity Key (13.32).
    pub fn derive(suite: Suite, sik: &[u8]) -> Keys {
        let k1 = suite.hmac(sik, &[&[1; 20]]);
        let k2 = suite.hmac(sik, &[&[2; 20]]);
        Keys { suite, k1, k2: array(&k2, 0).expect("BUG: both hashes are longer than an AES key") }
    }
    pub fn tag(&self, covered: &[u8]) -> Vec<u8> {
        let mut tag = self.suite.hmac(&self.k1, &[covered]);
        tag.truncate(self.suite.tag_len());
        tag
    }
    pub fn tag_is(&self, covered: &[u8], tag: &[u8]) -> bool {
        self.suite.verify(&self.k1, &[covered], tag, self.suite.tag_len())
    }

    /// Initialisation vector, then the payload with its confidentiality trailer: pad 1, 2, 3 … and the pad's length (13.29).
    pub fn encrypt(&self, payload: &[u8], iv: [u8; 16]) -> Vec<u8> {
        let mut plain = payload.to_vec();
        let pad = (16 - (payload.len() + 1) % 16) % 16;
        plain.extend((1..=15).take(pad));
        plain.push(pad as u8);
        let sealed = cbc::Encryptor::<Aes128>::new(&self.k2.into(), &iv.into()).encrypt_padded_vec::<NoPadding>(&plain);
        [&iv[..], &sealed].concat()
    }

    /// The pad's bytes are not compared: some firmware fills them with zeros, and the AuthCode vouches for them.
    pub fn decrypt(&self, sealed: &[u8]) -> Result<Vec<u8>, Malformed> {
        let iv: [u8; 16] = array(sealed, 0).ok_or(Malformed("encrypted payload"))?;
        let cipher = cbc::Decryptor::<Aes128>::new(&self.k2.into(), &iv.into());
        let mut plain = cipher.decrypt_padded_vec::<NoPadding>(&sealed[16..]).map_err(|_| Malformed("encrypted payload"))?;
        let pad = usize::from(plain.pop().ok_or(Malformed("encrypted payload"))?);
        let len = plain.len().checked_sub(pad).filter(|_| pad < 16).ok_or(Malformed("confidentiality pad"))?;
        plain.truncate(len);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_from_encryption() {
        for suite in Suite::ALL {
            let keys = Keys::derive(suite, &[7; 20]);
            for len in 0..70 {
                let payload: Vec<u8> = (0..len).collect();
                let sealed = keys.encrypt(&payload, [9; 16]);
                assert_eq!(sealed.len() % 16, 0);
                assert_eq!(keys.decrypt(&sealed), Ok(payload));
                assert!(keys.decrypt(&sealed[1..]).is_err());
            }
            assert!(keys.decrypt(&[]).is_err());
            assert!(keys.decrypt(&[0; 16]).is_err());
        }
    }

    /// RFC 2202 case 2 and RFC 4231 case 2.
    #[test]
    fn hmac_is_the_published_one() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let parts: &[&[u8]] = &[b"what do ya want ", b"for nothing?"];
        assert_eq!(hex(Suite::Three.hmac(b"Jefe", parts)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(hex(Suite::Seventeen.hmac(b"Jefe", parts)), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_tag_must_be_whole_and_right() {
        let keys = Keys::derive(Suite::Three, &[7; 20]);
        let tag = keys.tag(b"covered");
        assert_eq!(tag.len(), 12);
        assert!(keys.tag_is(b"covered", &tag));
        assert!(!keys.tag_is(b"covereD", &tag));
        assert!(!keys.tag_is(b"covered", &tag[..11]));
        assert!(!keys.tag_is(b"covered", &[]));
    }
}
