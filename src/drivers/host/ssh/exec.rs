//! One command on one connection: both streams drained, bounded output, an absolute deadline, an end that reaches the host, a proven status.
use super::{
    super::Hear,
    connection::{Connection, Stop},
    lines::Lines,
    login::words,
};
use crate::model::{Command, Fault, FaultKind, Output};
use ssh2::Channel;
use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

/// Kept of each stream; the rest is read and counted.
pub const KEPT: usize = 1 << 20;
/// One argument of a program is 128 KiB on Linux.
const LINE: usize = 100 << 10;
/// Our end comes first; the host's own is for when it never learns of ours.
const LATER: Duration = Duration::from_secs(5);
/// How long a host may take to end the command: TERM, a second, KILL.
const ENDING: Duration = Duration::from_secs(4);
/// A background child may hold the streams open after the command has ended; what it prints is not the command's.
const GRACE: Duration = Duration::from_millis(500);

/// A script as it is sent: without the lines that explain it.
pub fn sent(script: &str) -> String {
    script.lines().filter(|l| !l.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub fn check(command: &Command) -> Result<(), Fault> {
    let invalid = |what: &str| Err(Fault::new(FaultKind::Invalid, format!("command `{}`: {what}", shown(&command.line))));
    match () {
        _ if command.line.len() > LINE => invalid("longer than 100 KiB; send it as stdin"),
        _ if command.line.contains('\0') || command.stdin.as_ref().is_some_and(|s| s.contains('\0')) => invalid("holds a NUL"),
        _ if command.limit.0.is_zero() => invalid("its limit is zero"),
        _ => Ok(()),
    }
}

/// For messages: one line, not long.
pub fn shown(line: &str) -> String {
    let first = line.lines().next().unwrap_or_default();
    let short: String = first.chars().take(60).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

/// From here on the command may have run: every failure is `Unknown`, except that the host refuses to run anything.
/// The flag says whether the connection can serve another command.
pub fn run(conn: &Connection, mut channel: Channel, command: &Command, hear: Option<&Hear>, stop: &mut Stop) -> (Result<Output, Fault>, bool) {
    let until = Instant::now() + command.limit.0;
    let word = uuid::Uuid::new_v4().simple().to_string();
    let input = format!("{}{word}", command.stdin.as_deref().unwrap_or_default()).into_bytes();
    let seconds = (command.limit.0 + LATER).as_secs_f64().ceil();
    let wrapper = quoted(&sent(include_str!("lifeline.sh")));
    let request = format!("exec sh -c {wrapper} pitstop {word} {seconds} {} {}", input.len(), quoted(&command.line));
    let what = format!("{}: command `{}`", conn.whom, shown(&command.line));

    if let Err(e) = conn.drive(until, stop, || channel.exec(&request)) {
        let refused = e.raw.as_ref().is_some_and(|e| super::login::number(e) == -22);
        let kind = if refused { FaultKind::Denied } else { FaultKind::Unknown };
        let text = if refused { "the host does not run commands for this user" } else { "sent, and no answer" };
        return (Err(Fault::new(kind, format!("{what}: {text}")).cause(e)), false);
    }

    let mut seen = Seen::new(&word);
    seen.hear = hear.cloned();
    let end = pump(conn, &mut channel, &input, &mut seen, until, stop);
    if let End::Streams | End::Trailer = end {
        seen.tell(true);
        return finish(conn, channel, &seen, &what, end, stop);
    }
    // The lifeline: the end of its stdin makes the host end the command. Then the link is given up, so that nothing here waits for it again.
    let ending = Instant::now() + ENDING;
    let mut deaf = Stop::never();
    let mut over = false;
    if !matches!(end, End::Lost(_)) && conn.drive(ending, &mut deaf, || channel.send_eof()).is_ok() {
        over = matches!(pump(conn, &mut channel, &[], &mut seen, ending, &mut deaf), End::Streams | End::Trailer) && seen.status().is_some();
    }
    seen.tell(true);
    let fault = match end {
        End::Limit if over => Fault::new(FaultKind::Unknown, format!("{what}: cut at its limit of {}; ended on the host", command.limit)),
        End::Limit => Fault::new(FaultKind::Unknown, format!("{what}: cut at its limit of {}; the host did not confirm that it ended", command.limit)),
        End::Stopped => Fault::new(FaultKind::Unknown, format!("{what}: cancelled")),
        End::Lost(e) => Fault::new(FaultKind::Unknown, format!("{what}: the link was lost while it ran")).cause(e),
        End::Streams | End::Trailer => unreachable!("BUG: handled above"),
    };
    (Err(fault), false)
}

enum End {
    /// Both streams ended.
    Streams,
    /// The status is proven; something else still holds a stream.
    Trailer,
    Limit,
    Stopped,
    Lost(io::Error),
}

/// Writes stdin and reads both streams until one of the ends. A stream that is not read fills the window of both.
fn pump(conn: &Connection, channel: &mut Channel, input: &[u8], seen: &mut Seen, until: Instant, stop: &mut Stop) -> End {
    let mut buffer = vec![0; 64 << 10];
    let mut written = 0;
    let mut proven: Option<Instant> = None;
    loop {
        let mut moved = false;
        let mut writing = false;
        if written < input.len() {
            match channel.write(&input[written..]) {
                Ok(n) => (written, moved) = (written + n, n > 0),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => writing = true,
                // The far end may close its stdin early; what it printed still counts.
                Err(_) if channel.eof() => written = input.len(),
                Err(e) => return End::Lost(e),
            }
        }
        for (id, kept) in [(0, &mut seen.out), (1, &mut seen.err)] {
            match channel.stream(id).read(&mut buffer) {
                Ok(n) => {
                    kept.push(&buffer[..n]);
                    moved |= n > 0;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return End::Lost(e),
            }
        }
        if moved {
            seen.tell(false);
        }
        if channel.eof() {
            return End::Streams;
        }
        if proven.is_none() && seen.status().is_some() {
            proven = Some(Instant::now() + GRACE);
        }
        // Checked also while data flows: a command that drips for ever has no other end.
        let now = Instant::now();
        let next = proven.map_or(until, |at| at.min(until));
        let silent = conn.silent();
        match () {
            _ if proven.is_some() && now >= next => return End::Trailer,
            _ if now >= until => return End::Limit,
            _ if stop.asked() => return End::Stopped,
            _ if silent.is_some() => {
                let ago = silent.unwrap_or_default();
                return End::Lost(io::Error::new(io::ErrorKind::TimedOut, format!("no sign of life from it for {ago:.0?}")));
            }
            _ if moved => {}
            _ => conn.wait(writing, next, stop),
        }
    }
}

/// The streams are read; now the peer's own word, and a channel that is really closed.
fn finish(conn: &Connection, mut channel: Channel, seen: &Seen, what: &str, end: End, stop: &mut Stop) -> (Result<Output, Fault>, bool) {
    let until = Instant::now() + super::login::FAREWELL;
    let closed =
        matches!(end, End::Streams) && conn.drive(until, stop, || channel.close()).and_then(|()| conn.drive(until, stop, || channel.wait_close())).is_ok();
    let unknown = |text: &str| Fault::new(FaultKind::Unknown, format!("{what}: {text}"));
    let Some(status) = seen.status() else {
        let fault = unknown("its exit status is not proven");
        let reported = channel.exit_status().unwrap_or_default();
        let signal = channel.exit_signal().ok().and_then(|s| s.exit_signal);
        let fault = match signal {
            Some(signal) => fault.cause(format!("the host says it was killed by SIG{signal}")),
            None if reported != 0 => fault.cause(format!("the host's shell ended with {reported}")),
            None => fault.cause("the host closed the command's streams without a word"),
        };
        return (Err(seen.err.head().lines().last().map_or(fault.clone(), |l| fault.cause(shown(l)))), closed);
    };
    // A zero proves nothing, any other number must agree.
    if closed
        && let Ok(reported @ 1..) = channel.exit_status().map_err(|e| words(&e))
        && reported != status
    {
        return (Err(unknown(&format!("two exit statuses, {status} and {reported}"))), closed);
    }
    match seen.output(status) {
        Some(output) => (Ok(output), closed),
        None => (Err(unknown("its output lost its beginning")), closed),
    }
}

/// What was read of both streams, between the word at the start and the word with the status at the end.
struct Seen {
    word: String,
    out: Kept,
    err: Kept,
    /// Who listens, and how far he has heard each stream.
    hear: Option<Hear>,
    told: [Lines; 2],
}

impl Seen {
    fn new(word: &str) -> Seen {
        Seen { word: word.to_owned(), out: Kept::new(None), err: Kept::new(Some(format!("\n{word} "))), hear: None, told: Default::default() }
    }
    /// Bounded by what is kept.
    fn tell(&mut self, over: bool) {
        let Some(hear) = &self.hear else { return };
        let start = format!("{}\n", self.word);
        for (lines, kept) in self.told.iter_mut().zip([&self.out, &self.err]) {
            lines.tell(start.as_bytes(), &kept.bytes, over, &**hear);
            if over && kept.dropped > 0 {
                hear(&format!("({} more bytes of this stream are not shown)", kept.dropped));
            }
        }
    }
    fn status(&self) -> Option<i32> {
        let text = std::str::from_utf8(self.err.after.as_deref()?).ok()?;
        let (digits, _) = text.split_once('\n')?;
        digits.parse().ok().filter(|n| (0..=255).contains(n))
    }
    fn output(&self, status: i32) -> Option<Output> {
        let start = format!("{}\n", self.word);
        let body = |kept: &Kept| {
            let at = find(&kept.bytes, start.as_bytes())? + start.len();
            Some(String::from_utf8_lossy(&kept.bytes[at..]).into_owned())
        };
        Some(Output { status, stdout: body(&self.out)?, stderr: body(&self.err)?, dropped: self.out.dropped + self.err.dropped })
    }
}

/// The first bytes of a stream, the number of the others, and what follows a mark wherever it comes.
struct Kept {
    bytes: Vec<u8>,
    dropped: u64,
    mark: Option<Vec<u8>>,
    /// The last bytes before the mark was seen: it may come in two pieces.
    carry: Vec<u8>,
    after: Option<Vec<u8>>,
}

/// Longer than any mark, and than a status.
const CARRY: usize = 64;

impl Kept {
    fn new(mark: Option<String>) -> Kept {
        Kept { bytes: Vec::new(), dropped: 0, mark: mark.map(String::into_bytes), carry: Vec::new(), after: None }
    }

    fn push(&mut self, new: &[u8]) {
        if let Some(after) = &mut self.after {
            // A background child goes on: only the status is of interest.
            after.extend(&new[..new.len().min(CARRY.saturating_sub(after.len()))]);
            return;
        }
        let mut own = new.len();
        if let Some(mark) = &self.mark {
            let held = self.carry.len();
            self.carry.extend(new);
            if let Some(at) = find(&self.carry, mark) {
                let rest = &self.carry[at + mark.len()..];
                self.after = Some(rest[..rest.len().min(CARRY)].to_vec());
                // The mark may have begun in what was kept already.
                own = at.saturating_sub(held);
                self.forget(held.saturating_sub(at));
            } else {
                self.carry.drain(..self.carry.len().saturating_sub(CARRY));
            }
        }
        let room = KEPT.saturating_sub(self.bytes.len()).min(own);
        self.bytes.extend(&new[..room]);
        self.dropped += (own - room) as u64;
    }

    /// Takes back the last `n` bytes.
    fn forget(&mut self, n: usize) {
        let counted = self.dropped.min(n as u64);
        self.dropped -= counted;
        self.bytes.truncate(self.bytes.len() - (n - counted as usize).min(self.bytes.len()));
    }

    fn head(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(4096)]).into_owned()
    }
}

pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = hay.get(from..)?.iter().position(|b| *b == first) {
        if hay[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the pieces in which a stream arrives, the output is the same.
    #[test]
    fn pieces_of_any_size() {
        let out = b"noise of a login shell\nW\nhello\n";
        let err = b"W\nwarning\nmore\nW 3\nfrom a child";
        for size in 1..40 {
            let mut seen = Seen::new("W");
            out.chunks(size).for_each(|c| seen.out.push(c));
            err.chunks(size).for_each(|c| seen.err.push(c));
            assert_eq!(seen.status(), Some(3), "{size}");
            let output = seen.output(3).unwrap();
            assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.dropped), ("hello\n", "warning\nmore", 0), "{size}");
        }
    }

    #[test]
    fn a_flood_keeps_its_head_and_its_proof() {
        let mut seen = Seen::new("W");
        seen.out.push(b"W\n");
        seen.err.push(b"W\n");
        for _ in 0..100 {
            seen.err.push(&[0; 65000]);
        }
        seen.err.push(b"\nW ");
        assert_eq!(seen.status(), None);
        seen.err.push(b"0");
        assert_eq!(seen.status(), None);
        seen.err.push(b"\n");
        assert_eq!(seen.status(), Some(0));
        let output = seen.output(0).unwrap();
        assert_eq!(output.stderr.len() + output.dropped as usize, 6_500_000);
    }

    #[test]
    fn a_status_without_proof_is_none() {
        for err in ["", "W\n", "W\nW 0", "W\n\nV 0\n", "W\n\nW x\n", "W\n\nW 256\n", "W\n\nW -1\n"] {
            let mut seen = Seen::new("W");
            seen.err.push(err.as_bytes());
            assert_eq!(seen.status(), None, "{err:?}");
        }
    }

    #[test]
    fn quoting() {
        assert_eq!(quoted("echo 'a b'"), r"'echo '\''a b'\'''");
        assert_eq!(sent("# a\nb # c\n  # d\ne"), "b # c\ne");
    }
}
