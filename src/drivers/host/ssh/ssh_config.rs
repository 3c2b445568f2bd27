//! `~/.ssh/config`, as far as it says where a host is and as whom. Pure: texts in, words out; the first value wins, as in OpenSSH.
//! What cannot be judged here (`Match`) is refused by file, line and column, and never half applied.
use super::known_hosts::glob;
use std::fmt;

/// As deep as OpenSSH goes.
const DEPTH: usize = 16;
/// Files of all depths together.
const FILES: usize = 1000;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub at: Place,
    pub what: String,
}
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Both from one.
    pub line: usize,
    pub column: usize,
}
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value as it stands there, its `%` not yet filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub at: Place,
}

/// `ProxyJump` and `ProxyCommand` have one place between them: whichever comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    None,
    Jump(Word),
    Command(Place),
}

/// What the files say of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    /// All of them, in order.
    pub keys: Vec<Word>,
    pub identities_only: Option<bool>,
    pub agent: Option<Word>,
    pub known_hosts: Option<Vec<Word>>,
    pub host_key_alias: Option<String>,
    pub proxy: Option<Proxy>,
}

/// The files that an `Include` names, each with its text.
pub type Include<'a> = dyn Fn(&str) -> Result<Vec<(String, String)>, String> + 'a;

pub struct Reader<'a> {
    alias: &'a str,
    include: &'a Include<'a>,
    files: usize,
    said: Said,
}

/// To whom the lines belong.
#[derive(Clone)]
enum Block {
    Ours,
    Others,
    /// Under this `Match`, which is not judged.
    Undecided(Place),
}

impl<'a> Reader<'a> {
    pub fn new(alias: &'a str, include: &'a Include<'a>) -> Reader<'a> {
        Reader { alias, include, files: 0, said: Said::default() }
    }
    /// After other files: what they say comes first.
    pub fn continuing(alias: &'a str, include: &'a Include<'a>, said: Said) -> Reader<'a> {
        Reader { said, ..Reader::new(alias, include) }
    }
    pub fn read(&mut self, file: &str, text: &str) -> Result<(), Wrong> {
        self.file(file, text, &Block::Ours, 0)
    }
    pub fn said(self) -> Said {
        self.said
    }

    fn file(&mut self, file: &str, text: &str, outer: &Block, depth: usize) -> Result<(), Wrong> {
        let mut block = outer.clone();
        self.files += 1;
        for (i, line) in text.lines().enumerate() {
            let place = |column| Place { file: file.to_owned(), line: i + 1, column };
            let Some((column, keyword, rest)) = keyword(line) else { continue };
            let at = place(column);
            if depth > DEPTH || self.files > FILES {
                return Err(Wrong { at, what: format!("files include each other more than {DEPTH} deep") });
            }
            let known = KEYWORDS.iter().find(|k| keyword.eq_ignore_ascii_case(k));
            let Some(known) = known else { continue };
            let words: Vec<Word> = words(line, rest)
                .map(|words| words.into_iter().map(|(column, text)| Word { text, at: place(column) }).collect())
                .map_err(|(column, what)| Wrong { at: place(column), what })?;
            match (*known, outer) {
                ("Host" | "Match" | "Include", _) if words.is_empty() => return Err(Wrong { at, what: format!("`{known}` says nothing") }),
                // In a file that an undecided block includes, nothing is decided.
                ("Host" | "Match", Block::Undecided(_)) => {}
                ("Host", _) => block = if self.is_named(&words) { Block::Ours } else { Block::Others },
                ("Match", _) if words.len() == 1 && words[0].text.eq_ignore_ascii_case("all") => block = Block::Ours,
                ("Match", _) => block = Block::Undecided(at),
                ("Include", _) if matches!(block, Block::Others) => {}
                ("Include", _) => {
                    for word in &words {
                        let files = (self.include)(&word.text).map_err(|what| Wrong { at: word.at.clone(), what })?;
                        for (name, text) in files {
                            self.file(&name, &text, &block, depth + 1)?;
                        }
                    }
                }
                _ => match &block {
                    Block::Others => {}
                    Block::Ours => self.take(known, &at, words)?,
                    Block::Undecided(_) if self.is_said(known) => {}
                    Block::Undecided(under) => {
                        let what =
                            format!("`{known}` stands under `Match` (line {}), which is not judged: put it under `Host`, or say it in host.ssh", under.line);
                        return Err(Wrong { at, what });
                    }
                },
            }
        }
        Ok(())
    }

    /// One pattern fits, and none that begins with `!`.
    fn is_named(&self, patterns: &[Word]) -> bool {
        let fits = |pattern: &str| glob(pattern.as_bytes(), self.alias.as_bytes());
        let not = patterns.iter().filter_map(|w| w.text.strip_prefix('!')).any(fits);
        !not && patterns.iter().any(|w| !w.text.starts_with('!') && fits(&w.text))
    }

    /// A second value of these would not count.
    fn is_said(&self, keyword: &str) -> bool {
        let said = &self.said;
        match keyword {
            "HostName" => said.host.is_some(),
            "Port" => said.port.is_some(),
            "User" => said.user.is_some(),
            "IdentitiesOnly" => said.identities_only.is_some(),
            "IdentityAgent" => said.agent.is_some(),
            "UserKnownHostsFile" => said.known_hosts.is_some(),
            "HostKeyAlias" => said.host_key_alias.is_some(),
            "ProxyJump" | "ProxyCommand" => said.proxy.is_some(),
            _ => false,
        }
    }

    fn take(&mut self, keyword: &str, at: &Place, words: Vec<Word>) -> Result<(), Wrong> {
        let first = words.first().cloned().ok_or_else(|| Wrong { at: at.clone(), what: format!("`{keyword}` says nothing") })?;
        let wrong = |what: String| Err(Wrong { at: first.at.clone(), what });
        if words.len() > 1 && !matches!(keyword, "UserKnownHostsFile" | "ProxyCommand") {
            return Err(Wrong { at: words[1].at.clone(), what: format!("`{keyword}` has one value; more than one needs quotes") });
        }
        if self.is_said(keyword) {
            return Ok(());
        }
        let said = &mut self.said;
        match keyword {
            "HostName" => match filled(&first.text, |token| (token == 'h').then(|| self.alias.to_owned())) {
                Ok(host) if host.contains(super::hop::odd) || host.is_empty() => return wrong(format!("`{host}` is no host's name")),
                Ok(host) => said.host = Some(host),
                Err(what) => return wrong(what),
            },
            "Port" => match first.text.parse::<u16>() {
                Ok(port @ 1..) => said.port = Some(port),
                _ => return wrong(format!("`{}` is no port", first.text)),
            },
            "User" => said.user = Some(first.text),
            "IdentityFile" => said.keys.push(first),
            "IdentitiesOnly" => match first.text.to_ascii_lowercase().as_str() {
                "yes" | "true" => said.identities_only = Some(true),
                "no" | "false" => said.identities_only = Some(false),
                _ => return wrong(format!("`{}` is neither yes nor no", first.text)),
            },
            "IdentityAgent" => said.agent = Some(first),
            "UserKnownHostsFile" => said.known_hosts = Some(words),
            "HostKeyAlias" => said.host_key_alias = Some(first.text),
            "ProxyJump" if first.text.eq_ignore_ascii_case("none") => said.proxy = Some(Proxy::None),
            "ProxyJump" => said.proxy = Some(Proxy::Jump(first)),
            "ProxyCommand" if words.len() == 1 && first.text.eq_ignore_ascii_case("none") => said.proxy = Some(Proxy::None),
            "ProxyCommand" => said.proxy = Some(Proxy::Command(at.clone())),
            _ => {}
        }
        Ok(())
    }
}

const KEYWORDS: [&str; 13] = [
    "Host",
    "Match",
    "Include",
    "HostName",
    "Port",
    "User",
    "IdentityFile",
    "IdentitiesOnly",
    "IdentityAgent",
    "UserKnownHostsFile",
    "HostKeyAlias",
    "ProxyJump",
    "ProxyCommand",
];

/// The column of a line's keyword, the keyword, and the byte at which its values begin. `None`: an empty line or a comment.
fn keyword(line: &str) -> Option<(usize, &str, usize)> {
    let start = line.find(|c: char| !c.is_whitespace())?;
    let rest = &line[start..];
    let end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
    let word = &rest[..end];
    // Quotes around a keyword are rare, and legal.
    let bare = word.trim_matches('"');
    if word.starts_with('#') || bare.is_empty() {
        return None;
    }
    let after = &rest[end..];
    let values = after.trim_start();
    let values = values.strip_prefix('=').unwrap_or(values);
    Some((column(line, start), bare, line.len() - values.len()))
}

fn column(line: &str, byte: usize) -> usize {
    line[..byte].chars().count() + 1
}

/// The values from byte `from` on, each with its column: by blanks, `'…'` and `"…"` hold together, `\` before a quote, a backslash or a blank takes it as it is,
/// and `#` at the beginning of a word ends the line.
fn words(line: &str, from: usize) -> Result<Vec<(usize, String)>, (usize, String)> {
    let mut words = Vec::new();
    let mut chars = line[from..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        if c == '#' {
            break;
        }
        let start = column(line, from + at);
        let mut word = String::new();
        let mut quote: Option<(char, usize)> = None;
        let mut next = Some((at, c));
        while let Some((at, c)) = next {
            match (c, quote) {
                ('\\', _) if chars.peek().is_some_and(|(_, n)| matches!(n, '"' | '\'' | '\\') || (*n == ' ' && quote.is_none())) => {
                    word.extend(chars.next().map(|(_, n)| n));
                }
                (c, Some((open, _))) if c == open => quote = None,
                ('"' | '\'', None) => quote = Some((c, column(line, from + at))),
                (c, None) if c.is_whitespace() => break,
                (c, _) => word.push(c),
            }
            next = chars.next();
        }
        if let Some((open, at)) = quote {
            return Err((at, format!("the {open} is not closed")));
        }
        words.push((start, word));
    }
    Ok(words)
}

/// `%h` and its like filled in; `%%` is one `%`. What `value` does not know is refused by name: left in, it would be part of a wrong name.
pub fn filled(text: &str, value: impl Fn(char) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next() {
                Some('%') => out.push('%'),
                Some(token) => out.push_str(&value(token).ok_or_else(|| format!("%{token} cannot be filled in here"))?),
                None => return Err("a single % at its end".to_owned()),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
