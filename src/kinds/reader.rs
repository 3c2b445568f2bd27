//! Checks the spanned tree of TOML files table by table, so that all problems are found at once, each with its place.
use super::{
    Row,
    problem::{ConfigErrors, Problem, Sources, secretive},
};
use crate::model::Setting;
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::{collections::HashSet, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

/// One file, read. Who reads it chooses the name that problems show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub text: String,
}

impl File {
    /// TOML is UTF-8; what is not is shown where it begins.
    pub fn from_bytes(name: String, bytes: Vec<u8>) -> Result<File, Problem> {
        String::from_utf8(bytes).map(|text| File { name: name.clone(), text }).map_err(|e| {
            let before = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]).into_owned();
            let (line, last) = (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default());
            Problem { line, column: last.chars().count() + 1, ..Problem::whole(name, "is not UTF-8 from here on") }
        })
    }
}

pub type Value<'s> = Spanned<DeValue<'s>>;
pub type At = Range<usize>;

#[derive(Debug)]
struct Found {
    at: At,
    message: String,
    help: Option<String>,
    /// Something is missing, or not where it belongs: not believed where a syntax error may have swallowed a part.
    absence: bool,
}

/// Collects problems while trees are read.
#[derive(Debug, Default)]
pub struct Reader<'s> {
    pub sources: Sources<'s>,
    found: Vec<Found>,
    syntax: Vec<At>,
    /// A whole file could not be read.
    gaps: bool,
    /// Problems before this one are of tables already read in full.
    mark: usize,
    seen: HashSet<(usize, usize)>,
}

impl<'s> Reader<'s> {
    /// The file's tree, as far as it can be read; its offsets are those of `sources`.
    pub fn parse(&mut self, file: &'s File) -> DeTable<'s> {
        let base = self.sources.add(&file.name, &file.text);
        let (tree, errors) = DeTable::parse_recoverable(&file.text);
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            let at = base + at.start..base + at.end;
            // One slip makes a parser stumble more than once: the first place is where to look.
            if !self.syntax.iter().any(|s| self.sources.same_line(s.start, at.start)) {
                self.found.push(Found { at: at.clone(), message: error.message().trim_end().to_owned(), help: None, absence: false });
            }
            self.syntax.push(at);
        }
        shift_table(tree.into_inner(), base)
    }

    pub fn problem(&mut self, at: &At, message: impl Into<String>) {
        self.found.push(Found { at: at.clone(), message: message.into(), help: None, absence: false });
    }
    pub fn problem_with(&mut self, at: &At, message: impl Into<String>, help: impl Into<String>) {
        self.found.push(Found { at: at.clone(), message: message.into(), help: Some(help.into()), absence: false });
    }
    /// Something that should be there is not, here or in another file.
    pub fn missing(&mut self, at: &At, message: impl Into<String>, help: Option<String>) {
        self.found.push(Found { at: at.clone(), message: message.into(), help, absence: true });
    }

    /// One table gives many nodes: between `mark`s a place is named once only, by the first node that found it wrong.
    pub fn mark(&mut self) {
        let fresh = self.found.split_off(self.mark);
        self.found.extend(fresh.into_iter().filter(|f| !self.seen.contains(&(f.at.start, f.at.end))));
        self.seen.extend(self.found[self.mark..].iter().map(|f| (f.at.start, f.at.end)));
        self.mark = self.found.len();
    }

    /// What a file that cannot be read defines is unknown: what seems to be missing may be there.
    pub fn distrust_absence(&mut self, gaps: bool) {
        self.gaps = gaps;
    }

    pub fn finish(mut self, whole: Vec<Problem>) -> Result<(), ConfigErrors> {
        self.mark();
        let Reader { sources, mut found, syntax, gaps, .. } = self;
        // What could not be read may have said what seems to be missing; and what stands on a broken line was guessed.
        let guess = |f: &Found| !syntax.contains(&f.at) && syntax.iter().any(|s| sources.same_line(s.start, f.at.start));
        let lenient = gaps || !syntax.is_empty();
        found.retain(|f| !(guess(f) || (lenient && f.absence)));
        found.sort_by_key(|f| (f.at.start, f.at.end));
        found.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        let mut problems = whole;
        problems.extend(found.into_iter().map(|f| sources.problem(&f.at, f.message, f.help)));
        if problems.is_empty() { Ok(()) } else { Err(ConfigErrors { problems }) }
    }

    /// A table whose one key that is not a sibling names its kind. All problems of all its tables are found.
    pub fn setting(&mut self, header: &At, table: DeTable<'s>, what: &str, kinds: &[Row]) -> Option<Setting> {
        if table.is_empty() {
            self.missing(header, format!("names no kind of {what}"), expected(kinds.iter().map(|k| k.name)));
        }
        let mut made: Option<Setting> = None;
        for (key, value) in table {
            let Some(setting) = self.of_kind(&key.span(), key.get_ref(), value, what, kinds) else { continue };
            match &made {
                Some(first) => self.problem(&key.span(), format!("`{}` is a second kind of {what} in one table, after `{}`", setting.kind, first.kind)),
                None => made = Some(setting),
            }
        }
        made
    }

    /// The value of a key that names a kind.
    pub fn of_kind(&mut self, key_at: &At, key: &str, value: Value<'s>, what: &str, kinds: &[Row]) -> Option<Setting> {
        let Some(row) = kinds.iter().find(|k| k.name == key) else {
            self.problem_help(key_at, format!("unknown kind of {what} `{key}`"), suggest(key, kinds.iter().map(|k| k.name)));
            return None;
        };
        self.exhaust(value, false, row.check).map(|body| Setting { kind: row.name.into(), body })
    }

    fn problem_help(&mut self, at: &At, message: String, help: Option<String>) {
        self.found.push(Found { at: at.clone(), message, help, absence: false });
    }

    /// A table or value that serde reads as it stands.
    pub fn typed<T: DeserializeOwned>(&mut self, value: Value<'s>) -> Option<T> {
        self.exhaust(value, false, |v| T::deserialize(v.into_deserializer()))
    }

    /// serde stops at the first error. Its span names the culprit: report it, take it out, ask again.
    /// `partial`: what is missing is given elsewhere.
    pub fn exhaust<T>(&mut self, mut value: Value<'s>, partial: bool, read: impl Fn(Value<'s>) -> Result<T, Error>) -> Option<T> {
        let mut doubt = Doubt::default();
        let mut clean = true;
        loop {
            let error = match read(value.clone()) {
                Ok(made) => return clean.then_some(made),
                Err(error) => error,
            };
            clean = false;
            let whole = value.span();
            let at = error.span().unwrap_or(whole.clone());
            if at == whole && value.get_ref().is_table() {
                match error.message().strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                    _ if partial => return None,
                    Some(key) => {
                        if !doubt.explains(key) {
                            self.explain(&error, &at, &value);
                        }
                        doubt.filled = true;
                        value = fill_in(value, key, &read)?;
                    }
                    None => {
                        // A config's own `validate` knows no places, but begins by naming the key or value it means.
                        let at = named(&value, error.message()).filter(|at| *at != NOWHERE).unwrap_or(at);
                        let quotes = |v: &Value<'_>| v.get_ref().as_str().is_some_and(|text| !text.is_empty() && error.message().contains(text));
                        // What was taken out or put in may be why; not where the message quotes a value that stands there.
                        if !doubt.any() || value.get_ref().as_table().is_some_and(|t| t.values().any(|v| v.span() == at && quotes(v))) {
                            self.explain(&error, &at, &value);
                        }
                        return None;
                    }
                }
            } else if at == NOWHERE {
                return None;
            } else {
                // An entry out of which something was taken may now be wrong for that alone.
                if !doubt.places.iter().any(|taken| holds(&at, taken)) {
                    self.explain(&error, &at, &value);
                }
                match unknown_field(error.message()) {
                    Some((key, known)) => doubt.keys.extend(nearest(key, known).map(str::to_owned)),
                    None => doubt.keys.extend(top_key(&value, &at)),
                }
                doubt.places.push(at.clone());
                if !remove(value.get_mut(), &at) {
                    return None;
                }
            }
        }
    }

    /// serde's words in ours, and never a secret's value.
    fn explain(&mut self, error: &Error, at: &At, root: &Value<'s>) {
        let message = error.message().trim_end();
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let culprit = find(root.get_ref(), at);
        let text = culprit.and_then(|(_, v)| v.get_ref().as_str());
        let known = quoted.get(1..).unwrap_or_default();
        let reference = ["env", "file", "credential"];
        // What a `SecretRef` says to a bare string: as an enum it knows units and newtypes.
        let wants_secret = known == reference || message.contains("unit variant");
        if text.is_some() && wants_secret {
            let help = "write { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";
            return self.problem_with(at, "a secret in plain text: a reference is expected here", help);
        }
        let hidden = culprit.is_some_and(|(key, _)| secretive(key)) && text.is_some_and(|t| !t.is_empty() && message.contains(t));
        if hidden {
            return self.problem(at, "not what is expected here (the value is not shown)");
        }
        if let Some((key, known)) = unknown_field(message) {
            return self.problem_help(at, format!("unknown key `{key}`"), suggest(key, known));
        }
        match quoted.first() {
            Some(key) if message.starts_with("missing field") => self.missing(at, format!("missing key `{key}`"), None),
            Some(word) if message.starts_with("unknown variant") => {
                self.problem_help(at, format!("`{word}` is not possible here"), suggest(word, known.iter().copied()));
            }
            _ => {
                self.problem(at, in_toml_words(message));
            }
        }
    }

    /// Keys that nobody took: unknown.
    pub fn leftover(&mut self, table: &DeTable<'s>, known: &[&str]) {
        self.unknown_keys(table, known, false);
    }
    /// The same at the top of a file, where the keys below a broken header seem to belong.
    pub fn leftover_at_top(&mut self, table: &DeTable<'s>, known: &[&str]) {
        self.unknown_keys(table, known, true);
    }
    fn unknown_keys(&mut self, table: &DeTable<'s>, known: &[&str], top: bool) {
        for key in table.keys() {
            let (message, help) = (format!("unknown key `{}`", key.get_ref()), suggest(key.get_ref(), known.iter().copied()));
            let file = |at: &At| self.sources.position(at.start).0;
            let absence = top && self.syntax.iter().any(|s| file(s) == file(&key.span()));
            self.found.push(Found { at: key.span(), message, help, absence });
        }
    }

    pub fn table(&mut self, value: Value<'s>, what: &str) -> Option<(At, DeTable<'s>)> {
        let at = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some((at, table)),
            other => {
                self.problem(&at, format!("{what} is a table, not {}", article(other.type_str())));
                None
            }
        }
    }

    pub fn array(&mut self, value: Value<'s>, what: &str) -> Vec<Value<'s>> {
        let at = value.span();
        match value.into_inner() {
            DeValue::Array(array) => array.into_iter().collect(),
            other => {
                self.problem(&at, format!("{what} is an array, not {}", article(other.type_str())));
                Vec::new()
            }
        }
    }

    pub fn string(&mut self, value: &Value<'s>, what: &str) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Some(text.to_string()),
            DeValue::String(_) => {
                self.problem(&value.span(), format!("{what} is empty"));
                None
            }
            other => {
                self.problem(&value.span(), format!("{what} is a string, not {}", article(other.type_str())));
                None
            }
        }
    }

    /// One string, or an array of them.
    pub fn strings(&mut self, value: Value<'s>, what: &str) -> Vec<(At, String)> {
        let list = match value.get_ref() {
            DeValue::Array(_) => self.array(value, what),
            _ => vec![value],
        };
        list.iter().filter_map(|v| self.string(v, what).map(|s| (v.span(), s))).collect()
    }
}

/// Takes a key out of a table, with the key's place.
pub fn take<'s>(table: &mut DeTable<'s>, key: &str) -> Option<(At, Value<'s>)> {
    let (key, value) = table.remove_entry(key)?;
    Some((key.span(), value))
}

/// The known word nearest to what was written.
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase();
    let near = |k: &&str| {
        let slips = strsim::damerau_levenshtein(&word, &k.to_lowercase());
        slips <= (word.chars().count().max(k.chars().count()) / 3).clamp(1, 3)
    };
    known.into_iter().filter(near).min_by_key(|k| strsim::damerau_levenshtein(&word, &k.to_lowercase()))
}

/// `did you mean …?` where one is near, else what is known.
pub fn suggest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    nearest(word, known.iter().copied()).map(|near| format!("did you mean `{near}`?")).or_else(|| expected(known))
}

/// More than this nobody reads.
const SHOWN: usize = 12;

pub fn expected<'w>(known: impl IntoIterator<Item = &'w str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let more = known.len().saturating_sub(SHOWN);
    let shown = known[..known.len() - more].join(", ");
    match (known.len(), more) {
        (0, _) => None,
        (_, 0) => Some(format!("known: {shown}")),
        _ => Some(format!("known: {shown} and {more} more")),
    }
}

fn article(what: &str) -> String {
    format!("{} {what}", if what.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" })
}

/// What was already reported of one table, and must not be reported again as its consequence.
#[derive(Default)]
struct Doubt {
    /// Keys that are not missing: taken out for a wrong value, or misspelt.
    keys: Vec<String>,
    places: Vec<At>,
    /// Something stands in for a missing key.
    filled: bool,
}
impl Doubt {
    fn any(&self) -> bool {
        self.filled || !self.keys.is_empty()
    }
    fn explains(&self, missing: &str) -> bool {
        self.keys.iter().any(|k| k == missing)
    }
}

/// The key of the table under which the culprit lies.
fn top_key(table: &Value<'_>, culprit: &At) -> Option<String> {
    let inside = |v: &Value<'_>| holds(&v.span(), culprit) || find(v.get_ref(), culprit).is_some();
    table.get_ref().as_table()?.iter().find(|(k, v)| k.span() == *culprit || inside(v)).map(|(k, _)| k.get_ref().to_string())
}

/// Where what we put in ourselves stands.
const NOWHERE: At = usize::MAX - 1..usize::MAX;

/// serde names one missing key only: something in its place lets it go on to the next.
fn fill_in<'s, T>(value: Value<'s>, key: &str, read: &impl Fn(Value<'s>) -> Result<T, Error>) -> Option<Value<'s>> {
    let put = |inner: DeValue<'s>| Spanned::new(NOWHERE, inner);
    let text = |t: &'static str| DeValue::String(t.into());
    let reference = DeTable::from_iter([(Spanned::new(NOWHERE, "env".into()), put(text("X")))]);
    let candidates = [text("1s"), DeValue::Table(reference), DeValue::Boolean(true), DeValue::Array(Default::default()), DeValue::Table(DeTable::new())];
    candidates.into_iter().find_map(|candidate| {
        let mut filled = value.clone();
        let DeValue::Table(table) = filled.get_mut() else { return None };
        table.insert(Spanned::new(NOWHERE, key.to_owned().into()), put(candidate));
        let span = read(filled.clone()).err()?.span();
        (span != Some(NOWHERE)).then_some(filled)
    })
}

/// A Rust type's name says nothing to who writes TOML.
fn in_toml_words(message: &str) -> String {
    const WORDS: [(&str, &str); 10] = [
        ("u8", "a whole number from 0 to 255"),
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 on"),
        ("u64", "a whole number from 0 on"),
        ("usize", "a whole number from 0 on"),
        ("i64", "a whole number"),
        ("f64", "a number"),
        ("a boolean", "true or false"),
        ("a sequence", "an array"),
        ("a map", "a table"),
    ];
    let Some((said, wanted)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let found = said.replace("invalid type: map", "invalid type: table").replace("invalid type: sequence", "invalid type: array");
    let wanted = match WORDS.iter().find(|(rust, _)| *rust == wanted) {
        Some((_, toml)) => toml,
        None if wanted.starts_with("struct ") => "a table",
        None => wanted,
    };
    format!("{found}, expected {wanted}")
}

/// The key that serde does not know, and those it does.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

/// The entry that a message names first: by its key, or by its value in backticks.
fn named(table: &Value<'_>, message: &str) -> Option<At> {
    let table = table.get_ref().as_table()?;
    let plain = |word: &str| word.trim_matches(['`', ':', ',', '"']).to_owned();
    let words = message.split_whitespace().next().into_iter().chain(message.split('`').nth(1).and_then(|q| q.split([' ', '=']).next()));
    let by_key = words.map(plain).find_map(|word| table.get(word.as_str()));
    let quoted = message.split('`').nth(1);
    by_key.or_else(|| table.values().find(|v| quoted.is_some() && v.get_ref().as_str() == quoted)).map(Spanned::span)
}

/// The innermost entry that holds the culprit: its key and its value.
fn find<'a, 's>(value: &'a DeValue<'s>, culprit: &At) -> Option<(&'a str, &'a Value<'s>)> {
    let DeValue::Table(table) = value else { return None };
    match table.iter().find(|(_, v)| holds(&v.span(), culprit)) {
        Some((key, inner)) => find(inner.get_ref(), culprit).or(Some((key.get_ref(), inner))),
        // A table made by dotted keys or several headers does not enclose its entries: look inside all of them.
        None => table.values().find_map(|v| find(v.get_ref(), culprit)),
    }
}
fn remove(value: &mut DeValue<'_>, culprit: &At) -> bool {
    let DeValue::Table(table) = value else { return false };
    let hit = table.iter().find(|(k, v)| k.span() == *culprit || holds(&v.span(), culprit)).map(|(k, v)| (k.clone(), v.span() == *culprit));
    // As in `find`.
    let Some((key, whole)) = hit else { return table.iter_mut().any(|(_, v)| remove(v.get_mut(), culprit)) };
    if !whole
        && let Some(inner) = table.get_mut(&key)
        && remove(inner.get_mut(), culprit)
    {
        return true;
    }
    table.remove(&key).is_some()
}
fn holds(outer: &At, inner: &At) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn shift_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let moved = |at: At| at.start + by..at.end + by;
    table.into_iter().map(|(k, v)| (Spanned::new(moved(k.span()), k.into_inner()), shift(v, by))).collect()
}
fn shift(value: Value<'_>, by: usize) -> Value<'_> {
    let at = value.span();
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift_table(table, by)),
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|v| shift(v, by)).collect()),
        plain => plain,
    };
    Spanned::new(at.start + by..at.end + by, inner)
}
