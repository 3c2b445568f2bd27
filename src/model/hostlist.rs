//! Hostlists, as the field writes many names at once: `edge-[01-16,20],db[1-3]-[a]`. Pure: expand and compress.
use std::collections::BTreeMap;

/// No expression gives more names than this: a slip of the finger must not fill the memory.
pub const LIMIT: usize = 100_000;
/// Longer numbers are serials, not positions in a rack.
const DIGITS: usize = 9;

/// One name of a hostlist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub name: String,
    /// The number as written, padding kept: of the last range, or the last digits of a name without one.
    pub n: Option<String>,
}

/// Every name, in the order written; a name written twice comes twice.
pub fn expand(list: &str) -> Result<Vec<Listed>, String> {
    let mut out = Vec::new();
    for item in items(list)? {
        let parts = parts(item)?;
        let count = parts.iter().try_fold(1usize, |n, p| n.checked_mul(p.len())).unwrap_or(usize::MAX);
        if out.len().saturating_add(count) > LIMIT {
            return Err(format!("`{list}` means more than {LIMIT} names"));
        }
        cross(&parts, &mut out);
    }
    Ok(out)
}

/// The names alone.
pub fn names(list: &str) -> Result<Vec<String>, String> {
    Ok(expand(list)?.into_iter().map(|l| l.name).collect())
}

enum Part<'a> {
    Text(&'a str),
    Ranges(Vec<Range>),
}
struct Range {
    low: u32,
    high: u32,
    width: usize,
}
impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Part::Text(_) => 1,
            Part::Ranges(ranges) => ranges.iter().fold(0usize, |n, r| n.saturating_add((r.high - r.low) as usize + 1)),
        }
    }
}

/// Split at commas outside brackets.
fn items(list: &str) -> Result<Vec<&str>, String> {
    let (mut items, mut start, mut open) = (Vec::new(), 0, false);
    for (at, c) in list.char_indices() {
        match c {
            '[' if open => return Err(format!("`{list}` has a `[` inside brackets")),
            '[' => open = true,
            ']' if !open => return Err(format!("`{list}` has a `]` without its `[`")),
            ']' => open = false,
            ',' if !open => {
                items.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err(format!("`{list}` has a `[` without its `]`"));
    }
    items.push(list[start..].trim());
    if items.iter().any(|i| i.is_empty()) {
        return Err(if list.trim().is_empty() { "an empty name".into() } else { format!("`{list}` has an empty name between its commas") });
    }
    Ok(items)
}

fn parts(item: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = item;
    while let Some(open) = rest.find('[') {
        let close = rest.find(']').expect("BUG: brackets were counted by `items`");
        if open > 0 {
            parts.push(Part::Text(&rest[..open]));
        }
        parts.push(Part::Ranges(rest[open + 1..close].split(',').map(|r| range(r.trim(), item)).collect::<Result<_, _>>()?));
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn range(text: &str, item: &str) -> Result<Range, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let number = |digits: &str| -> Result<u32, String> {
        let fits = !digits.is_empty() && digits.len() <= DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| digits.parse().ok()).flatten().ok_or_else(|| format!("`[{text}]` in `{item}` is not a range: use [1-8], [01-16] or [01-04,07]"))
    };
    let (first, last) = (number(low)?, number(high)?);
    if last < first {
        return Err(format!("`[{text}]` in `{item}` runs backwards: use [{high}-{low}]"));
    }
    let padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let wrong = (padded(low) && high.len() < low.len()) || (padded(high) && high.len() != low.len());
    if wrong {
        let width = low.len().max(high.len());
        return Err(format!("the ends of `[{text}]` in `{item}` are padded differently: use [{first:0width$}-{last:0width$}]"));
    }
    Ok(Range { low: first, high: last, width: if padded(low) { low.len() } else { 0 } })
}

/// Every combination, the last range turning fastest.
fn cross(parts: &[Part<'_>], out: &mut Vec<Listed>) {
    let mut made = vec![Listed { name: String::new(), n: None }];
    for part in parts {
        made = match part {
            Part::Text(text) => made.into_iter().map(|l| Listed { name: l.name + text, n: l.n }).collect(),
            Part::Ranges(ranges) => {
                let numbers: Vec<String> = ranges.iter().flat_map(|r| (r.low..=r.high).map(|n| format!("{n:0width$}", width = r.width))).collect();
                made.iter().flat_map(|l| numbers.iter().map(|n| Listed { name: format!("{}{n}", l.name), n: Some(n.clone()) })).collect()
            }
        };
    }
    for listed in &mut made {
        if listed.n.is_none() {
            listed.n = last_number(&listed.name).map(|(_, n, _)| n.to_owned());
        }
    }
    out.append(&mut made);
}

/// What stands before the last digits of a name, these, and what stands behind.
fn last_number(name: &str) -> Option<(&str, &str, &str)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = name[..end].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + name[at..].chars().next().map_or(1, char::len_utf8));
    Some((&name[..start], &name[start..end], &name[end..]))
}

/// The shortest hostlist people would write for these names, in name order: `db1,edge-[01-04,06]`.
pub fn compress<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut groups: BTreeMap<(&str, &str), Vec<(u32, &str)>> = BTreeMap::new();
    let mut plain = Vec::new();
    for name in names {
        match last_number(name).and_then(|(head, n, tail)| (n.len() <= DIGITS).then(|| n.parse().ok().map(|value| (head, value, n, tail))).flatten()) {
            Some((head, value, n, tail)) => groups.entry((head, tail)).or_default().push((value, n)),
            None => plain.push(name.to_owned()),
        }
    }
    let mut out: Vec<String> = groups.into_iter().map(|((head, tail), numbers)| group(head, numbers, tail)).chain(plain).collect();
    out.sort();
    out.dedup();
    out.join(",")
}

fn group(head: &str, mut numbers: Vec<(u32, &str)>, tail: &str) -> String {
    numbers.sort_by_key(|(value, text)| (*value, text.len()));
    numbers.dedup();
    let mut runs: Vec<(&str, (u32, &str))> = Vec::new();
    for (value, text) in &numbers {
        let grows = |(was, written): (u32, &str)| was + 1 == *value && (written.len() == text.len() || !(written.starts_with('0') || text.starts_with('0')));
        match runs.last_mut() {
            Some((_, end)) if grows(*end) => *end = (*value, text),
            _ => runs.push((text, (*value, text))),
        }
    }
    let shown: Vec<String> = runs.iter().map(|(low, (_, high))| if low == high { (*low).to_owned() } else { format!("{low}-{high}") }).collect();
    match (&shown[..], numbers.len()) {
        ([only], 1) => format!("{head}{only}{tail}"),
        _ => format!("{head}[{}]{tail}", shown.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(list: &str, expect: &[&str]) {
        assert_eq!(names(list).unwrap(), expect, "{list}");
    }

    #[test]
    fn ranges_lists_and_padding() {
        check("db1", &["db1"]);
        check("edge-[08-11]", &["edge-08", "edge-09", "edge-10", "edge-11"]);
        check("e[9-10]", &["e9", "e10"]);
        check("e[99-101]x", &["e99x", "e100x", "e101x"]);
        check("e[098-100]", &["e098", "e099", "e100"]);
        check("r[1-2]n[01,03]", &["r1n01", "r1n03", "r2n01", "r2n03"]);
        check("a, b[1,3-4] ,c", &["a", "b1", "b3", "b4", "c"]);
        check("a,a", &["a", "a"]);
    }

    #[test]
    fn the_number_as_written() {
        let n = |list: &str| expand(list).unwrap().last().unwrap().n.clone();
        assert_eq!(n("edge-[01-16]"), Some("16".into()));
        assert_eq!(n("edge-[01-03]"), Some("03".into()));
        assert_eq!(n("r[1-2]n[01-04]"), Some("04".into()));
        assert_eq!(n("db-007b"), Some("007".into()));
        assert_eq!(n("spare"), None);
    }

    #[test]
    fn what_is_not_a_hostlist() {
        for list in [
            "",
            " ",
            "a,,b",
            "a,",
            "e[",
            "e]",
            "e[1",
            "e[1-2]]",
            "e[[1]]",
            "e[]",
            "e[a-b]",
            "e[3-1]",
            "e[001-16]",
            "e[1-016]",
            "e[1-2-3]",
            "e[-1]",
            "e[9999999999]",
        ] {
            assert!(expand(list).is_err(), "`{list}` {:?}", expand(list));
        }
        for list in ["e[0-100000]", "e[0-999999999]", "a[1-400]b[1-400]", "a[1-99999],b[1-2]", "a[0-999999999]b[0-999999999]c[0-999999999]"] {
            assert!(expand(list).unwrap_err().contains("more than 100000"), "{list}");
        }
        assert_eq!(expand("e[1-100000]").unwrap().len(), LIMIT);
    }

    #[test]
    fn compressed_as_people_write_it() {
        let c = |names: &[&str]| compress(names.iter().copied());
        assert_eq!(c(&["edge-02", "edge-01", "edge-04", "db1"]), "db1,edge-[01-02,04]");
        assert_eq!(c(&["e9", "e10", "e11"]), "e[9-11]");
        assert_eq!(c(&["e09", "e10"]), "e[09-10]");
        assert_eq!(c(&["e1", "e01"]), "e[1,01]");
        assert_eq!(c(&["spare", "vault-1.lan"]), "spare,vault-1.lan");
        assert_eq!(c(&[]), "");
    }

    proptest! {
        #[test]
        fn what_was_compressed_expands_to_the_same(set in proptest::collection::btree_set("[a-c]{0,1}-?[0-9]{1,4}[a-b]{0,2}", 1..60)) {
            let short = compress(set.iter().map(String::as_str));
            let back: BTreeSet<String> = names(&short).unwrap().into_iter().collect();
            prop_assert_eq!(back, set, "{}", short);
        }

        #[test]
        fn any_text_is_a_list_or_an_error(text in "[a-c0-9\\[\\],\\- é]{0,24}") {
            if let Ok(listed) = expand(&text) {
                prop_assert!(listed.len() <= LIMIT && listed.iter().all(|l| !l.name.is_empty()));
            }
        }
    }
}
