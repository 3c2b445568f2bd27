//! Our own reader of known_hosts: libssh2's accepts revoked keys, knows no patterns and stops at the first odd line.
//! Pure: text in, verdict out.
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Types we ask for, best first; never a `-cert-v01` name: without checking the authority a certificate looks like a changed key.
const TYPES: [&str; 4] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];
const RSA: &str = "rsa-sha2-512,rsa-sha2-256";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// Nothing is listed for this host.
    Unknown,
    /// Other keys are listed, none is this one.
    Changed,
    /// Listed as `@revoked`, whatever else is listed.
    Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    revoked: bool,
    names: String,
    key: Vec<u8>,
}

/// The lines of all files that can be used. Odd ones, and `@cert-authority`, are passed over.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

impl KnownHosts {
    pub fn read(text: &str) -> KnownHosts {
        KnownHosts { lines: text.lines().filter_map(line).collect() }
    }
    pub fn add(&mut self, other: KnownHosts) {
        self.lines.extend(other.lines);
    }

    fn revoked(&self, host: &Asked, key: &[u8]) -> bool {
        self.lines.iter().any(|l| l.revoked && l.key == key && (host.is(&l.names) || host.is_plain(&l.names)))
    }

    /// Keys listed for this host and port; where none is, those listed for the plain name on another port's behalf.
    fn listed(&self, host: &Asked) -> (Vec<&[u8]>, bool) {
        let keys = |by: &dyn Fn(&str) -> bool| -> Vec<&[u8]> { self.lines.iter().filter(|l| !l.revoked && by(&l.names)).map(|l| l.key.as_slice()).collect() };
        let exact = keys(&|names| host.is(names));
        if exact.is_empty() { (keys(&|names| host.is_plain(names)), false) } else { (exact, true) }
    }

    /// `pinned`: the keys of the node's line in `trust.toml`; where there are any, they alone decide, except that revoked stays revoked.
    pub fn judge(&self, host: &str, port: u16, pinned: &[Vec<u8>], key: &[u8]) -> Verdict {
        let asked = Asked::new(host, port);
        let (listed, exact) = if pinned.is_empty() { self.listed(&asked) } else { (pinned.iter().map(Vec::as_slice).collect(), true) };
        match () {
            _ if self.revoked(&asked, key) => Verdict::Revoked,
            _ if listed.contains(&key) => Verdict::Known,
            // A plain entry for another port says nothing against this key.
            _ if listed.is_empty() || !exact => Verdict::Unknown,
            _ => Verdict::Changed,
        }
    }

    /// The list for libssh2's `HostKey` preference: the types we know a key of, else all.
    pub fn preferred(&self, host: &str, port: u16, pinned: &[Vec<u8>]) -> String {
        let asked = Asked::new(host, port);
        let listed = if pinned.is_empty() { self.listed(&asked).0 } else { pinned.iter().map(Vec::as_slice).collect() };
        let kinds: Vec<String> = listed.iter().filter_map(|key| kind(key)).collect();
        let mut asked_for: Vec<&str> = TYPES.into_iter().filter(|t| kinds.iter().any(|k| k == t)).collect();
        if kinds.iter().any(|k| k == "ssh-rsa") {
            asked_for.push(RSA);
        }
        if asked_for.is_empty() {
            asked_for = TYPES.into_iter().chain([RSA]).collect();
        }
        asked_for.join(",")
    }
}

/// A host as it is looked up.
struct Asked {
    plain: String,
    /// `host`, or `[host]:port` off the default port.
    full: String,
    default_port: bool,
}
impl Asked {
    fn new(host: &str, port: u16) -> Asked {
        let plain = host.to_ascii_lowercase();
        let default_port = port == 22;
        let full = if default_port { plain.clone() } else { format!("[{plain}]:{port}") };
        Asked { plain, full, default_port }
    }
    fn is(&self, names: &str) -> bool {
        // `[host]:22` is written by hand now and then.
        matches(names, &self.full) || (self.default_port && matches(names, &format!("[{}]:22", self.plain)))
    }
    fn is_plain(&self, names: &str) -> bool {
        !self.default_port && matches(names, &self.plain)
    }
}

/// A key as trust.toml and known_hosts write it: `ssh-ed25519 AAAA…`.
pub fn key(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_whitespace();
    let (name, data) = (words.next()?, words.next()?);
    let blob = STANDARD.decode(data).ok()?;
    // The type inside must be the type outside: a line put together from two is odd.
    (kind(&blob)? == name && blob.len() > 4 + name.len() + 4).then_some(blob)
}

/// The type of a key in wire form: its first string.
pub fn kind(blob: &[u8]) -> Option<String> {
    let length = u32::from_be_bytes(blob.get(..4)?.try_into().ok()?) as usize;
    let name = blob.get(4..4usize.checked_add(length)?)?;
    (!name.is_empty() && name.len() < 64).then(|| String::from_utf8(name.to_vec()).ok())?
}

/// As `ssh-keygen -l` shows it.
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD.encode(Sha256::digest(blob)).trim_end_matches('='))
}

/// As trust.toml takes it.
pub fn written(blob: &[u8]) -> String {
    format!("{} {}", kind(blob).unwrap_or_default(), STANDARD.encode(blob))
}

fn line(text: &str) -> Option<Line> {
    let text = text.trim();
    let (marker, rest) = if text.starts_with('@') { text.split_once(char::is_whitespace)? } else { ("", text) };
    if text.is_empty() || text.starts_with('#') || !matches!(marker, "" | "@revoked") {
        return None;
    }
    let (names, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    Some(Line { revoked: !marker.is_empty(), names: names.to_owned(), key: key(rest)? })
}

/// One names field: hashed, or a list of patterns of which no `!` one may match.
fn matches(names: &str, host: &str) -> bool {
    if let Some(hashed) = names.strip_prefix("|1|") {
        let same = || {
            let (salt, hash) = hashed.split_once('|')?;
            let mut mac = Hmac::<Sha1>::new_from_slice(&STANDARD.decode(salt).ok()?).ok()?;
            mac.update(host.as_bytes());
            mac.verify_slice(&STANDARD.decode(hash).ok()?).ok()
        };
        return same().is_some();
    }
    let mut found = false;
    for name in names.split(',') {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix('!') {
            Some(not) if glob(not.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None => found |= glob(name.as_bytes(), host.as_bytes()),
        }
    }
    found
}

/// `*` any number of characters, `?` one. Goes back only to the last `*`, so no pattern can make it slow.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(kind: &str, body: u8) -> Vec<u8> {
        let mut blob = (kind.len() as u32).to_be_bytes().to_vec();
        blob.extend(kind.as_bytes());
        blob.extend([0, 0, 0, 32]);
        blob.extend([body; 32]);
        blob
    }
    fn ed(body: u8) -> Vec<u8> {
        blob("ssh-ed25519", body)
    }
    /// `A` and `B` stand for two ed25519 keys, `E` and `R` for an ecdsa and an rsa one.
    fn hosts(text: &str) -> KnownHosts {
        let keys = [(" A", ed(1)), (" B", ed(2)), (" E", blob("ecdsa-sha2-nistp256", 3)), (" R", blob("ssh-rsa", 4))];
        let text = keys.iter().fold(text.to_owned(), |text, (mark, key)| text.replace(mark, &format!(" {}", written(key))));
        KnownHosts::read(&text)
    }
    /// The server is `h.example` on port 2201 and shows key `A`.
    fn check(text: &str, expect: Verdict) {
        assert_eq!(hosts(text).judge("h.example", 2201, &[], &ed(1)), expect, "{text}");
    }

    #[test]
    fn the_rows_of_real_files() {
        check("", Verdict::Unknown);
        check("# nothing\n\n  \n", Verdict::Unknown);
        check("[h.example]:2201 A", Verdict::Known);
        check("[H.Example]:2201 A a comment\r\n", Verdict::Known);
        check("a.example,[h.example]:2201,b.example A", Verdict::Known);
        check("[h.example]:2201 E\n[h.example]:2201 R\n[h.example]:2201 A", Verdict::Known);
        check("[h.example]:2201 B\n[h.example]:2201 A", Verdict::Known);
        check("h.example A", Verdict::Known);
        check("h.example B", Verdict::Unknown);
        check("[h.example]:2201 B", Verdict::Changed);
        check("[h.example]:2201 E", Verdict::Changed);
        check("[h.example]:2201 B\nh.example A", Verdict::Changed);
        check("[h.example]:22 A", Verdict::Unknown);
        check("@revoked * A\n[h.example]:2201 A", Verdict::Revoked);
        check("[h.example]:2201 A\n@revoked h.example A", Verdict::Revoked);
        check("@revoked other.example A\n[h.example]:2201 A", Verdict::Known);
        check("@revoked * B\n[h.example]:2201 A", Verdict::Known);
        check("@cert-authority * B\n[h.example]:2201 A", Verdict::Known);
        check("*.example A", Verdict::Known);
        check("[h.exam*]:22?? A", Verdict::Known);
        check("[h.exam*]:23?? A", Verdict::Unknown);
        check("!h.example,!\\[h.example]:2201,![h.example]:2201,* A", Verdict::Unknown);
        check("!a.example,* A", Verdict::Known);
    }

    #[test]
    fn odd_lines_do_not_hide_the_good_ones() {
        let long = format!("x{} A\n", ",y".repeat(4000));
        for odd in [
            "[h.example]:2201 ssh-ed25519 !!!!\n",
            "[h.example]:2201 ssh-ed25519 AAAA\n",
            "word\n",
            "@\n",
            "@revoked\n",
            "\u{fffd}\n",
            "[h.example]:2201 ssh-rsa AAAAC3\n",
            &long,
        ] {
            check(&format!("{odd}[h.example]:2201 A"), Verdict::Known);
            check(odd, Verdict::Unknown);
        }
    }

    #[test]
    fn hashed_names() {
        let hashed = |name: &str| {
            let mut mac = Hmac::<Sha1>::new_from_slice(b"12345678901234567890").unwrap();
            mac.update(name.as_bytes());
            format!("|1|{}|{}", STANDARD.encode(b"12345678901234567890"), STANDARD.encode(mac.finalize().into_bytes()))
        };
        check(&format!("{} A", hashed("[h.example]:2201")), Verdict::Known);
        check(&format!("{} B", hashed("[h.example]:2201")), Verdict::Changed);
        check(&format!("{} A", hashed("h.example")), Verdict::Known);
        check(&format!("{} A", hashed("i.example")), Verdict::Unknown);
        check("|1|x|y A\n|1|\u{e4} A\n|2|a|b A", Verdict::Unknown);
    }

    #[test]
    fn pinned_keys_decide_alone() {
        let files = hosts("[h.example]:2201 A\n@revoked * E");
        assert_eq!(files.judge("h.example", 2201, &[ed(2)], &ed(1)), Verdict::Changed);
        assert_eq!(files.judge("h.example", 2201, &[ed(2)], &ed(2)), Verdict::Known);
        let revoked = blob("ecdsa-sha2-nistp256", 3);
        assert_eq!(files.judge("h.example", 2201, std::slice::from_ref(&revoked), &revoked), Verdict::Revoked);
    }

    #[test]
    fn asks_for_what_is_listed_and_never_for_certificates() {
        let asked = |text: &str| hosts(text).preferred("h.example", 2201, &[]);
        assert_eq!(asked("[h.example]:2201 E\n[h.example]:2201 R"), "ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256");
        assert_eq!(asked("h.example A"), "ssh-ed25519");
        assert!(asked("").starts_with("ssh-ed25519,ecdsa") && !asked("").contains("cert"));
        assert_eq!(hosts("[h.example]:2201 E").preferred("h.example", 2201, &[ed(1)]), "ssh-ed25519");
    }

    #[test]
    fn patterns() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**a", "bbba", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        }
        // Exponential in a naive matcher.
        assert!(!glob(format!("{}b", "a*".repeat(40)).as_bytes(), "a".repeat(4000).as_bytes()));
    }
}
