//! Handshake, host key, authentication: from a TCP connection to a session that may run commands. Blocking, each call with a limit.
use super::{
    dial::Stream,
    known_hosts::{self, KnownHosts, Verdict},
    target::{Agent, Target},
};
use crate::model::{Connect, Credential, Fault, FaultKind, HostKey, Secret, SecretRef, Turn};
use base64::{Engine, engine::general_purpose::STANDARD};
use ssh2::{ErrorCode, KeyboardInteractivePrompt, MethodType, Prompt, Session};
use std::{
    io,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

// libssh2's numbers; the crate has no names for them.
const TIMEOUT: i32 = -9;
const NO_COMMON_ALGORITHM: [i32; 2] = [-5, -8];
const KEY_UNREADABLE: [i32; 2] = [-16, -48];
const REFUSED: [i32; 2] = [-18, -19];

/// What a login ended with, beside the session: the fingerprint of the key that answered.
pub struct LoggedIn {
    pub session: Session,
    pub host_key: String,
}

/// Handshake with host key check, and authentication, each within `connect_timeout`.
pub fn log_in(to: &Target, cx: &Connect, stream: Stream, runtime: &Runtime) -> Result<LoggedIn, Fault> {
    let whom = &to.whom;
    let until = Instant::now() + to.connect_timeout.0;
    let keys = HostKeys::read(to)?;
    // Before the handshake: a key file that cannot be read must not cost the host a failed login.
    let offer = Offer::read(to, cx)?;
    let unreachable = |what: &str, e: &ssh2::Error| Fault::new(FaultKind::Unreachable, format!("{whom}: {what}")).cause(words(e));

    let mut session = Session::new().map_err(|e| unreachable("cannot make a session", &e))?;
    session.set_tcp_stream(stream.socket);
    let wanted = keys.files.preferred(&to.known_as, to.port, &keys.pinned);
    session
        .method_pref(MethodType::HostKey, &wanted)
        .map_err(|e| Fault::new(FaultKind::Invalid, format!("{whom}: host key types {wanted}")).cause(words(&e)))?;
    bound(&session, until, whom)?;
    session.handshake().map_err(|e| match number(&e) {
        n if NO_COMMON_ALGORITHM.contains(&n) => {
            Fault::new(FaultKind::Denied, format!("{whom} has no algorithm in common with us, or no host key of the types we know of it ({wanted})"))
                .cause(words(&e))
                .next(format!("ssh-keyscan -p {} {}", to.port, to.host))
        }
        TIMEOUT => unreachable("no complete handshake in time", &e),
        _ => unreachable("closed before it said its name: still starting, too many connections, or we are shut out for a while", &e),
    })?;
    let host_key = keys.check(to, &session)?;

    offer.authenticate(to, cx, &session, runtime)?;
    Ok(LoggedIn { session, host_key })
}

/// A handshake and no more: the key that answers, whoever knows it. Offered in libssh2's own order of preference, so that the same key is shown each time.
pub fn shown(to: &Target, stream: Stream) -> Result<HostKey, Fault> {
    let whom = &to.whom;
    let unreachable = |what: &str, e: &ssh2::Error| Fault::new(FaultKind::Unreachable, format!("{whom}: {what}")).cause(words(e));
    let mut session = Session::new().map_err(|e| unreachable("cannot make a session", &e))?;
    session.set_tcp_stream(stream.socket);
    bound(&session, Instant::now() + to.connect_timeout.0, whom)?;
    session.handshake().map_err(|e| unreachable("no complete handshake", &e))?;
    let (key, _) = session.host_key().ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{whom} showed no host key")))?;
    Ok(HostKey { line: known_hosts::written(key), fingerprint: known_hosts::fingerprint(key) })
}

/// Each blocking call ends at `until`. Zero would mean never.
fn bound(session: &Session, until: Instant, whom: &str) -> Result<(), Fault> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Fault::new(FaultKind::Unreachable, format!("{whom}: no time left to log in")));
    }
    session.set_timeout(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1));
    Ok(())
}

struct HostKeys {
    pinned: Vec<Vec<u8>>,
    files: KnownHosts,
}

impl HostKeys {
    fn read(to: &Target) -> Result<HostKeys, Fault> {
        let mut pinned = Vec::new();
        for line in &to.pinned {
            let what = || format!("{}: trust.toml has a host key that is none: {line:?}", to.whom);
            pinned.push(known_hosts::key(line).ok_or_else(|| Fault::new(FaultKind::Invalid, what()))?);
        }
        let mut files = KnownHosts::default();
        for path in &to.known_hosts {
            match std::fs::read(path) {
                Ok(bytes) => files.add(KnownHosts::read(&String::from_utf8_lossy(&bytes))),
                Err(e) if e.kind() == io::ErrorKind::NotFound && !to.known_hosts_named => {}
                Err(e) => {
                    let what = format!("{}: known_hosts file {} cannot be read, so no host key can be checked", to.whom, path.display());
                    return Err(Fault::new(FaultKind::Denied, what).cause(e));
                }
            }
        }
        Ok(HostKeys { pinned, files })
    }

    fn check(&self, to: &Target, session: &Session) -> Result<String, Fault> {
        let whom = &to.whom;
        let (key, _) = session.host_key().ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{whom} showed no host key")))?;
        let fingerprint = known_hosts::fingerprint(key);
        let kind = known_hosts::kind(key).unwrap_or_default();
        let (pin, replace) = match &to.trust {
            Some(node) => (
                format!("`pitstop inventory trust {node}`, or write it into known_hosts"),
                format!("`pitstop inventory trust {node} --replace` (a key in known_hosts stays there)"),
            ),
            None => ("write it into known_hosts".to_owned(), "take the old line out of known_hosts".to_owned()),
        };
        let by = if self.pinned.is_empty() { "known_hosts" } else { "trust.toml" };
        let denied = |what: String| Err(Fault::new(FaultKind::Denied, what).cause(format!("it shows {}", known_hosts::written(key))));
        match self.files.judge(&to.known_as, to.port, &self.pinned, key) {
            Verdict::Known => Ok(fingerprint),
            Verdict::Unknown => denied(format!("{whom}: its host key {kind} {fingerprint} is not known"))
                .map_err(|f| f.next(format!("compare with `ssh-keygen -l` on the host itself, then {pin}"))),
            Verdict::Changed => {
                denied(format!("{whom}: its host key changed: {kind} {fingerprint} is not what {by} has; something else answers, or it was installed anew"))
                    .map_err(|f| f.next(format!("compare with `ssh-keygen -l` on the host itself; if it is right, {replace}")))
            }
            Verdict::Revoked => {
                denied(format!("{whom}: its host key {kind} {fingerprint} is revoked in known_hosts")).map_err(|f| f.next("give the host a new key"))
            }
        }
    }
}

/// A host hangs up after six tries by default.
const TRIES: usize = 5;

/// What is offered to the host, read anew at every login so that a rotated key or password is found.
struct Offer {
    keys: Vec<Opened>,
    /// Keys, in wire form, that only the agent can use: their files are sealed.
    sealed: Vec<Vec<u8>>,
    password: Option<Secret>,
}
struct Opened {
    from: SecretRef,
    key: Secret,
    passphrase: Option<Secret>,
    /// One of those that ssh_config names: that this host does not take it is no wonder.
    optional: bool,
}

impl Offer {
    fn read(to: &Target, cx: &Connect) -> Result<Offer, Fault> {
        let whom = &to.whom;
        let mut offer = Offer { keys: Vec::new(), sealed: Vec::new(), password: None };
        for key in &to.keys {
            let from = &key.from;
            let passphrase = key.passphrase.as_ref().map(|from| cx.secret(from)).transpose()?;
            if key.optional && !matches!(from, SecretRef::File(path) if std::fs::exists(path).unwrap_or(true)) {
                offer.sealed.extend(beside(from));
                continue;
            }
            let text = cx.secret(from)?;
            // `IdentityFile key.pub`: the agent has the other half.
            if let (true, Some(public)) = (key.optional, known_hosts::key(text.expose())) {
                offer.sealed.push(public);
                continue;
            }
            let locked = sealed(text.expose()).ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{whom}: {from} holds no private key")))?;
            match (locked && passphrase.is_none(), &to.agent) {
                (false, _) => offer.keys.push(Opened { from: from.clone(), key: text, passphrase, optional: key.optional }),
                (true, Some(_)) if key.optional => offer.sealed.extend(public(text.expose()).or_else(|| beside(from))),
                (true, _) => {
                    return Err(Fault::new(FaultKind::Denied, format!("{whom}: the key in {from} has a passphrase, and none is given"))
                        .next("set host.ssh.passphrase, or use agent = true"));
                }
            }
        }
        offer.password = to.password.as_ref().map(|from| cx.secret(from)).transpose()?;
        Ok(offer)
    }

    /// Whatever was offered was taken once the host lets us in: some want two proofs, and call the first one alone a failure.
    fn authenticate(&self, to: &Target, cx: &Connect, session: &Session, runtime: &Runtime) -> Result<(), Fault> {
        let mut offered = Vec::new();
        let done = self.offer(to, cx, session, runtime, &mut offered);
        if session.authenticated() {
            offered.into_iter().for_each(|(turn, _)| turn.taken());
            return Ok(());
        }
        // Each credential that the host refused counts; the last word is the answer.
        let told = |(turn, refusal): (Turn, Option<Refusal>)| refusal.map(|r| if r.by_host { turn.refused(r.fault) } else { r.fault });
        let last = offered.into_iter().filter_map(told).last();
        // Not every failure of libssh2 is an error: an agent without keys ends well and logs nobody in.
        done.and(Err(last.unwrap_or_else(|| Fault::new(FaultKind::Denied, format!("{}: not logged in", to.whom)))))
    }

    /// Keys, the agent, then the password where those did not do. Every credential has its own leave; `bound` begins after it.
    fn offer(&self, to: &Target, cx: &Connect, session: &Session, runtime: &Runtime, offered: &mut Vec<(Turn, Option<Refusal>)>) -> Result<(), Fault> {
        let (whom, user) = (&to.whom, &to.user);
        let turn = |credential: Credential, shown: Vec<Secret>| -> Result<Turn, Fault> {
            let turn = runtime.block_on(cx.turn(&Credential(format!("{credential} for {user}")), whom, shown))?;
            bound(session, Instant::now() + to.connect_timeout.0, whom)?;
            Ok(turn)
        };
        let goes_on = |offered: &[(Turn, Option<Refusal>)]| {
            let last = offered.last().and_then(|(_, refusal)| refusal.as_ref());
            !session.authenticated() && last.is_none_or(|r| r.fault.kind == FaultKind::Denied)
        };
        for Opened { from, key, passphrase, optional } in self.keys.iter().take(TRIES) {
            if !goes_on(offered) {
                break;
            }
            let turn = turn(cx.credential("key", from, None), vec![key.clone()])?;
            // A file's last newline was taken off with the secret.
            let pem = Secret::new(format!("{}\n", key.expose()));
            let refusal = session.userauth_pubkey_memory(user, None, pem.expose(), passphrase.as_ref().map(Secret::expose)).err();
            let refusal = refusal.map(|e| refused(whom, &format!("the key in {from}"), passphrase.is_some(), &e));
            offered.push((turn, refusal.map(|r| Refusal { by_host: r.by_host && !optional, ..r })));
        }
        if let Some(agent) = &to.agent
            && goes_on(offered)
        {
            let turn = turn(Credential("the keys of the ssh-agent".into()), Vec::new())?;
            match self.by_agent(agent, to, session) {
                // Nobody asked for an agent: that a key was refused says more than its absence.
                Err(_) | Ok(Some(Refusal { by_host: false, .. })) if agent.optional && !offered.is_empty() => {}
                Err(fault) => return Err(fault),
                Ok(refusal) => offered.push((turn, refusal.map(|r| Refusal { by_host: r.by_host && !agent.optional, ..r }))),
            }
        }
        if let (Some(password), Some(at)) = (&self.password, &to.password)
            && goes_on(offered)
        {
            let turn = turn(cx.credential("password", at, None), vec![password.clone()])?;
            let mut refusal = session.userauth_password(user, password.expose()).err().map(|e| refused(whom, "the password", false, &e));
            if !session.authenticated() && refusal.as_ref().is_none_or(|r| r.fault.kind == FaultKind::Denied) {
                bound(session, Instant::now() + to.connect_timeout.0, whom)?;
                let mut answer = Typed { password };
                let asked = session.userauth_keyboard_interactive(user, &mut answer);
                refusal = asked.err().map(|e| refused(whom, "the password", false, &e)).or(refusal);
            }
            offered.push((turn, refusal));
        }
        Ok(())
    }

    /// Walks the agent's keys: libssh2's own call offers only the first. Those whose sealed file is named come first.
    fn by_agent(&self, by: &Agent, to: &Target, session: &Session) -> Result<Option<Refusal>, Fault> {
        let whom = &to.whom;
        let none = |e: ssh2::Error| {
            Fault::new(FaultKind::Denied, format!("{whom}: no ssh-agent answers")).cause(words(&e)).next("start one and set SSH_AUTH_SOCK, or name a key")
        };
        let mut agent = session.agent().map_err(none)?;
        if let Some(socket) = &by.socket {
            agent.set_identity_path(socket).map_err(none)?;
        }
        agent.connect().map_err(none)?;
        agent.list_identities().map_err(none)?;
        let empty = Fault::new(FaultKind::Denied, format!("{whom}: the ssh-agent has no keys for it")).next("ssh-add");
        let mut last = Some(Refusal { fault: empty, by_host: false });
        let mut keys = agent.identities().map_err(none)?;
        let named = |key: &ssh2::PublicKey| self.sealed.iter().any(|blob| blob == key.blob());
        keys.retain(|key| !by.only || named(key));
        keys.sort_by_key(|key| !named(key));
        let until = Instant::now() + to.connect_timeout.0;
        for key in keys.iter().take(TRIES.saturating_sub(self.keys.len())) {
            bound(session, until, whom)?;
            match agent.userauth(&to.user, key) {
                Ok(()) => return Ok(None),
                Err(e) => last = Some(refused(whom, &format!("the agent's key {}", key.comment()), false, &e)),
            }
        }
        Ok(last)
    }
}

fn refused(whom: &str, what: &str, opened: bool, e: &ssh2::Error) -> Refusal {
    let mut by_host = false;
    let (kind, text) = match number(e) {
        // The number of a refusal, but the peer hung up.
        _ if e.message().contains("Waiting for") => {
            (FaultKind::Unreachable, format!("{whom} closed the link while {what} was offered: too many tries, or users may not log in yet"))
        }
        n if KEY_UNREADABLE.contains(&n) && opened => (FaultKind::Denied, format!("{whom}: {what} cannot be opened with this passphrase")),
        n if KEY_UNREADABLE.contains(&n) => (FaultKind::Denied, format!("{whom}: {what} cannot be used")),
        n if REFUSED.contains(&n) => {
            by_host = true;
            (FaultKind::Denied, format!("{whom} refused {what}"))
        }
        TIMEOUT => (FaultKind::Unreachable, format!("{whom} did not answer to {what} in time")),
        _ => (FaultKind::Unreachable, format!("{whom}: the link failed while {what} was offered")),
    };
    Refusal { fault: Fault::new(kind, text).cause(words(e)), by_host }
}

/// Why a proof did not do.
struct Refusal {
    fault: Fault,
    /// The host looked at it and said no; else nobody did.
    by_host: bool,
}

/// The public half of a sealed key in OpenSSH's own format, which stands in it unsealed.
fn public(pem: &str) -> Option<Vec<u8>> {
    let (_, body) = pem.split_once("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let (body, _) = body.split_once("-----END ")?;
    let blob = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    let mut rest = blob.strip_prefix(b"openssh-key-v1\0")?;
    let string = |from: &mut &[u8]| -> Option<Vec<u8>> {
        let length = u32::from_be_bytes(from.get(..4)?.try_into().ok()?) as usize;
        let (value, after) = from.get(4..)?.split_at_checked(length)?;
        let value = value.to_vec();
        *from = &from[from.len() - after.len()..];
        Some(value)
    };
    // Cipher, key derivation and its options; then how many keys.
    for _ in 0..3 {
        string(&mut rest)?;
    }
    rest = rest.get(4..)?;
    string(&mut rest)
}

/// The key in the `.pub` file beside it.
fn beside(from: &SecretRef) -> Option<Vec<u8>> {
    let SecretRef::File(path) = from else { return None };
    known_hosts::key(&std::fs::read_to_string(format!("{path}.pub")).ok()?)
}

/// Is this private key encrypted? `None`: it is no private key.
fn sealed(pem: &str) -> Option<bool> {
    let body = pem.trim().strip_prefix("-----BEGIN ")?;
    let (kind, rest) = body.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    if kind != "OPENSSH PRIVATE KEY" {
        return kind.ends_with("PRIVATE KEY").then(|| kind.starts_with("ENCRYPTED") || body.contains("ENCRYPTED"));
    }
    let blob = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    let rest = blob.strip_prefix(b"openssh-key-v1\0")?;
    known_hosts::kind(rest).map(|cipher| cipher != "none")
}

struct Typed<'a> {
    password: &'a Secret,
}
impl KeyboardInteractivePrompt for Typed<'_> {
    /// Only a question that hides what is typed gets the password.
    fn prompt(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt]) -> Vec<String> {
        prompts.iter().map(|p| if p.echo { String::new() } else { self.password.expose().to_owned() }).collect()
    }
}

pub fn number(e: &ssh2::Error) -> i32 {
    match e.code() {
        ErrorCode::Session(n) | ErrorCode::SFTP(n) => n,
    }
}
pub fn words(e: &ssh2::Error) -> String {
    format!("{} ({})", e.message(), number(e))
}

/// Long enough for a goodbye, never longer.
pub const FAREWELL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_sealed_keys_from_open_ones_and_from_none() {
        let openssh = |cipher: &str| {
            let mut blob = b"openssh-key-v1\0".to_vec();
            blob.extend((cipher.len() as u32).to_be_bytes());
            blob.extend(cipher.as_bytes());
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----", STANDARD.encode(blob))
        };
        assert_eq!(sealed(&openssh("none")), Some(false));
        assert_eq!(sealed(&openssh("aes256-ctr")), Some(true));
        assert_eq!(sealed("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nxx\n-----END RSA PRIVATE KEY-----\n"), Some(true));
        assert_eq!(sealed("-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n"), Some(false));
        assert_eq!(sealed("-----BEGIN ENCRYPTED PRIVATE KEY-----\nxx\n-----END ENCRYPTED PRIVATE KEY-----\n"), Some(true));
        for text in [
            "",
            "ssh-ed25519 AAAA",
            "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n*\n-----END OPENSSH PRIVATE KEY-----",
        ] {
            assert_eq!(sealed(text), None, "{text}");
        }
    }
}
