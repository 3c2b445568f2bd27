//! What is wrong in the user's files: every problem at once, each with file, line and column.
use serde::Serialize;
use std::{fmt, ops::Range};

/// One problem, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: String,
    /// From 1; 0 where the whole file or directory is meant.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The culprit's line for people, secrets masked, and where in it the culprit stands.
    #[serde(skip)]
    pub(crate) excerpt: Option<Box<Excerpt>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub line: String,
    /// Bytes of `line`.
    pub culprit: Range<usize>,
}

impl Problem {
    /// About a file or directory as a whole.
    pub fn whole(file: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { file: file.into(), line: 0, column: 0, message: message.into(), help: None, excerpt: None }
    }
    pub fn with_help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            _ => write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?,
        }
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

/// All problems of all files, in the order of the files. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    pub problems: Vec<Problem>,
}
impl ConfigErrors {
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(&self.problems).expect("BUG: a problem is text and numbers")
    }
    /// `3 problems in 2 files`.
    pub fn count(&self) -> String {
        let mut files: Vec<_> = self.problems.iter().map(|p| &p.file).collect();
        files.sort();
        files.dedup();
        let s = |n: usize| if n == 1 { "" } else { "s" };
        format!("{} problem{} in {} file{}", self.problems.len(), s(self.problems.len()), files.len(), s(files.len()))
    }
}
/// One line a problem: what a pipe, a log or an editor reads.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().try_for_each(|p| writeln!(f, "{p}"))
    }
}
impl std::error::Error for ConfigErrors {}

/// The files under one roof of offsets, so that a span alone names its file: tables of different files are merged.
#[derive(Debug, Default)]
pub struct Sources<'s> {
    files: Vec<(&'s str, &'s str, usize)>,
    end: usize,
}
impl<'s> Sources<'s> {
    /// Where the file's offsets begin.
    pub fn add(&mut self, name: &'s str, text: &'s str) -> usize {
        let base = self.end;
        self.files.push((name, text, base));
        // One more, so that the end of a file is not the begin of the next.
        self.end = base + text.len() + 1;
        base
    }
    fn file(&self, offset: usize) -> (&'s str, &'s str, usize) {
        *self.files.iter().rev().find(|(_, _, base)| *base <= offset).unwrap_or(&("", "", 0))
    }
    /// Are both in one file, on one line?
    pub fn same_line(&self, a: usize, b: usize) -> bool {
        let place = |offset| self.position(offset);
        let (one, other) = (place(a), place(b));
        one.0 == other.0 && one.1 == other.1
    }
    pub fn position(&self, offset: usize) -> (&'s str, usize, usize) {
        let (name, text, base) = self.file(offset);
        let upto = &text[..boundary(text, offset - base)];
        let line = upto.rfind('\n').map_or(0, |at| at + 1);
        (name, upto.matches('\n').count() + 1, upto[line..].chars().count() + 1)
    }
    /// `inventory/edge.toml:4:1`, to point from one problem to another place.
    pub fn place(&self, span: &Range<usize>) -> String {
        let (name, line, column) = self.position(span.start);
        format!("{name}:{line}:{column}")
    }
    pub fn problem(&self, span: &Range<usize>, message: String, help: Option<String>) -> Problem {
        let (name, text, base) = self.file(span.start);
        let (_, line, column) = self.position(span.start);
        let (start, end) = (boundary(text, span.start - base), boundary(text, span.end.saturating_sub(base)));
        let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = text[start..].find(['\n', '\r']).map_or(text.len(), |at| start + at);
        let excerpt = Excerpt { line: masked(text)[from..to.max(from)].to_owned(), culprit: start - from..end.clamp(start, to.max(start)) - from };
        Problem { file: name.into(), line, column, message, help, excerpt: Some(Box::new(excerpt)) }
    }
}

/// A span comes from a parser, which may point past the end or, after an error, into a character.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Does a key's name say that its value is secret?
pub(crate) fn secretive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let says = ["pass", "pwd", "secret", "token"].iter().any(|word| key.contains(word));
    says || key == "key" || key.ends_with("_key") || strsim::jaro_winkler(&key, "password") > 0.9
}

/// The text with every value of a secret-sounding key starred out, byte for byte: a wrong file may hold a password in plain text, and
/// a drawn excerpt must not show it (safety.md, 11). Works on broken TOML too.
fn masked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let key_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let mut at = 0;
    while let Some(equals) = text[at..].find('=').map(|i| at + i) {
        let before = text[..equals].trim_end_matches([' ', '\t', '"', '\'']);
        let start = before.bytes().rposition(|b| !key_byte(b)).map_or(0, |i| i + 1);
        at = equals + 1;
        if secretive(&before[start..]) {
            let value = equals + 1 + (text[equals + 1..].len() - text[equals + 1..].trim_start_matches([' ', '\t']).len());
            let end = value_end(bytes, value);
            out[value..end].iter_mut().filter(|b| !b"\r\n".contains(b)).for_each(|b| *b = b'*');
            at = end.max(at);
        }
    }
    String::from_utf8(out).expect("BUG: values begin and end at ASCII characters")
}
fn value_end(bytes: &[u8], start: usize) -> usize {
    let line_end = |from: usize| bytes[from..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| from + i);
    match bytes.get(start..).unwrap_or_default() {
        // A reference, as it should be.
        [b'{', ..] | [] => start,
        [q @ (b'"' | b'\''), b, c, ..] if q == b && q == c => {
            let close = [*q; 3];
            bytes[start + 3..].windows(3).position(|w| w == close).map_or(bytes.len(), |i| start + 6 + i)
        }
        [q @ (b'"' | b'\''), ..] => {
            let mut at = start + 1;
            while at < bytes.len() && bytes[at] != *q && bytes[at] != b'\n' {
                at += if *q == b'"' && bytes[at] == b'\\' { 2 } else { 1 };
            }
            // Behind an escape `at` may stand inside a character or past the end: the line's end is a safe place.
            if bytes.get(at) == Some(q) { at + 1 } else { line_end(at.min(bytes.len())) }
        }
        _ => line_end(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_span_names_its_file_line_and_column_in_characters() {
        let mut sources = Sources::default();
        assert_eq!(sources.add("a.toml", "x = 1\nö = 2"), 0);
        let base = sources.add("b.toml", "y = 3\r\nz = 'ß' # ä\n");
        assert_eq!(sources.place(&(0..1)), "a.toml:1:1");
        assert_eq!(sources.place(&(9..10)), "a.toml:2:3");
        assert_eq!(sources.place(&(base + 7..base + 8)), "b.toml:2:1");
        assert_eq!(sources.place(&(base + 15..base + 16)), "b.toml:2:8");
        let problem = sources.problem(&(base + 11..base + 15), "no".into(), Some("yes".into()));
        assert_eq!(problem.to_string(), "b.toml:2:5: no; yes");
        assert_eq!(problem.excerpt, Some(Box::new(Excerpt { line: "z = 'ß' # ä".into(), culprit: 4..8 })));
    }

    #[test]
    fn secrets_are_starred_out() {
        let check = |text: &str, expect: &str| assert_eq!(masked(text), expect);
        check("user = 'root'\npassword = \"hunter2\" # x\n", "user = 'root'\npassword = ********* # x\n");
        check("bmc = { pasword = 'a,b', n = 1 }", "bmc = { pasword = *****, n = 1 }");
        check("password = { env = \"X\" }", "password = { env = \"X\" }");
        check("password = \"open\nuser = 1", "password = *****\nuser = 1");
        check("password = hunter2\nuser = 1", "password = *******\nuser = 1");
        check("\"api-token\" = 'x'\npw = 1", "\"api-token\" = ***\npw = 1");
        check("token = '''a\nb''' \nx = 1", "token = ****\n**** \nx = 1");
        check("password = \"a\\\"b\" # c", "password = ****** # c");
    }

    proptest! {
        #[test]
        fn masking_never_panics_and_keeps_every_line(text in "(password|user|token)( =|=|= )?[\"'{}ä\\\\\n a-c]{0,20}") {
            let shown = masked(&text);
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
        }
    }
}
