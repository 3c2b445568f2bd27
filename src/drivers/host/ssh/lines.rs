//! Cuts what is kept of a stream into lines, for whoever listens while the command runs. Blank lines are left out.
use super::exec::find;

/// Longer ones are told in pieces: a program that never ends its line is heard too.
const PIECE: usize = 4 << 10;

#[derive(Debug, Default)]
pub struct Lines {
    told: usize,
    begun: bool,
}

impl Lines {
    /// `bytes`: all that is kept so far. It grows; only what comes after the last told line may be taken back. `over`: no more comes.
    pub fn tell(&mut self, start: &[u8], bytes: &[u8], over: bool, hear: &dyn Fn(&str)) {
        if !self.begun {
            // What a login shell says before it is not the command's.
            let Some(at) = find(bytes, start) else { return };
            (self.begun, self.told) = (true, at + start.len());
        }
        while let Some(rest) = bytes.get(self.told..).filter(|rest| !rest.is_empty()) {
            let end = rest.iter().position(|b| *b == b'\n');
            let (line, next) = match end {
                Some(end) if end <= PIECE => (&rest[..end], end + 1),
                _ if rest.len() > PIECE => (&rest[..PIECE], PIECE),
                _ if over => (rest, rest.len()),
                _ => return,
            };
            self.told += next;
            let text = String::from_utf8_lossy(line);
            if !text.trim().is_empty() {
                hear(text.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// However it arrives, the same lines are told, each once.
    #[test]
    fn lines_of_pieces() {
        let long = "x".repeat(PIECE + 3);
        let text = format!("noise\nW\nfirst\r\n\n  second\n{long}\nlast");
        for size in [1, 2, 3, 7, 100, 100_000] {
            let (mut lines, heard) = (Lines::default(), RefCell::new(Vec::new()));
            let hear = |line: &str| heard.borrow_mut().push(line.to_owned());
            let mut seen = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                seen.extend(piece);
                lines.tell(b"W\n", &seen, false, &hear);
            }
            assert!(!heard.borrow().iter().any(|l| l == "last"), "it has not ended yet");
            lines.tell(b"W\n", &seen, true, &hear);
            lines.tell(b"W\n", &seen, true, &hear);
            assert_eq!(heard.into_inner(), ["first", "  second", &long[..PIECE], "xxx", "last"], "{size}");
        }
    }

    #[test]
    fn what_is_taken_back_was_not_told() {
        let (mut lines, heard) = (Lines::default(), RefCell::new(Vec::new()));
        let hear = |line: &str| heard.borrow_mut().push(line.to_owned());
        lines.tell(b"W\n", b"W\nmore\nW", false, &hear);
        lines.tell(b"W\n", b"W\nmore", true, &hear);
        assert_eq!(heard.into_inner(), ["more"]);
    }
}
