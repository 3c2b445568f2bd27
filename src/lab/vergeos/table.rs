//! How VergeOS answers for a table: `fields` with joins and aliases, `filter`, `sort`, `limit`, `offset`.
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// A row with every column under its full path, joins included: `machine#status#status`.
pub type Row = Map<String, Value>;

/// What the query asks for, or the text of a 422.
pub fn answer(rows: Vec<Row>, query: &[(String, String)]) -> Result<Vec<Row>, String> {
    let of = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty());
    let mut rows = match of("filter") {
        Some(filter) => {
            let terms = terms(filter)?;
            rows.into_iter().filter(|row| holds(&terms, row)).collect()
        }
        None => rows,
    };
    if let Some(sort) = of("sort") {
        // A raw `+` in a query arrives as a space.
        let (field, down) = (sort.trim_start_matches(['+', '-', ' ']), sort.starts_with('-'));
        rows.sort_by(|a, b| {
            let by = compare(a.get(field).unwrap_or(&Value::Null), b.get(field).unwrap_or(&Value::Null)).unwrap_or(Ordering::Equal);
            if down { by.reverse() } else { by }
        });
    }
    let number = |name: &str| of(name).map(|v| v.parse::<usize>().map_err(|_| format!("invalid {name}: {v}"))).transpose();
    let limit = number("limit")?.filter(|n| *n > 0).unwrap_or(usize::MAX);
    let rows = rows.into_iter().skip(number("offset")?.unwrap_or(0)).take(limit);
    let fields = of("fields").unwrap_or("most");
    Ok(rows.map(|row| select(&row, fields)).collect())
}

fn select(row: &Row, fields: &str) -> Row {
    if matches!(fields, "all" | "most" | "summary" | "dashboard") {
        return row.iter().filter(|(name, _)| !name.contains('#')).map(|(name, value)| (name.clone(), value.clone())).collect();
    }
    fields
        .split(',')
        .map(|field| {
            let (path, alias) = field.trim().split_once(" as ").unwrap_or((field.trim(), field.trim()));
            // What is no column of the table is null, not an error.
            (alias.trim().to_owned(), row.get(path.trim()).cloned().unwrap_or(Value::Null))
        })
        .collect()
}

/// `field op value`, joined by `and` or `or`, strictly from left to right.
struct Term {
    or: bool,
    field: String,
    op: String,
    value: Value,
}

fn terms(filter: &str) -> Result<Vec<Term>, String> {
    let words = words(filter)?;
    let mut words = words.iter();
    let mut terms = Vec::new();
    let mut or = false;
    loop {
        let mut next = |what: &str| words.next().ok_or_else(|| format!("invalid filter: {what} expected at the end of {filter}"));
        let (field, op, value) = (next("a field")?.0.clone(), next("an operator")?.0.clone(), next("a value")?);
        if !["eq", "ne", "gt", "ge", "lt", "le", "bw", "ew", "cs", "ct", "rx"].contains(&op.as_str()) {
            return Err(format!("invalid filter: unknown operator {op}"));
        }
        if field.matches('#').count() > 1 {
            return Err(format!("invalid filter: {field} cannot be filtered"));
        }
        let value = match (value.1, value.0.as_str()) {
            (true, text) => Value::from(text),
            (false, "true") => Value::from(true),
            (false, "false") => Value::from(false),
            (false, "null") => Value::Null,
            (false, text) => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        };
        terms.push(Term { or, field, op, value });
        match words.next().map(|w| w.0.as_str()) {
            None => return Ok(terms),
            Some("and") => or = false,
            Some("or") => or = true,
            Some(other) => return Err(format!("invalid filter: and/or expected, not {other}")),
        }
    }
}

/// Words, and whether each was quoted. A backslash escapes the next character.
fn words(filter: &str) -> Result<Vec<(String, bool)>, String> {
    let mut words = Vec::new();
    let mut chars = filter.chars().peekable();
    while let Some(&first) = chars.peek() {
        if first == ' ' {
            chars.next();
            continue;
        }
        let quoted = first == '\'';
        if quoted {
            chars.next();
        }
        let mut word = String::new();
        loop {
            match chars.next() {
                Some('\\') => word.extend(chars.next()),
                Some('\'') if quoted => break,
                Some(' ') if !quoted => break,
                Some(c) => word.push(c),
                None if quoted => return Err("invalid filter: a quote is not closed".into()),
                None => break,
            }
        }
        words.push((word, quoted));
    }
    Ok(words)
}

fn holds(terms: &[Term], row: &Row) -> bool {
    terms.iter().enumerate().fold(false, |so_far, (i, term)| {
        let now = term.holds(row);
        match (i, term.or) {
            (0, _) => now,
            (_, true) => so_far || now,
            (_, false) => so_far && now,
        }
    })
}

impl Term {
    fn holds(&self, row: &Row) -> bool {
        let found = row.get(&self.field).unwrap_or(&Value::Null);
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned).to_lowercase();
        match self.op.as_str() {
            "eq" => compare(found, &self.value) == Some(Ordering::Equal),
            "ne" => compare(found, &self.value) != Some(Ordering::Equal),
            "gt" => compare(found, &self.value) == Some(Ordering::Greater),
            "lt" => compare(found, &self.value) == Some(Ordering::Less),
            "ge" => compare(found, &self.value).is_some_and(Ordering::is_ge),
            "le" => compare(found, &self.value).is_some_and(Ordering::is_le),
            "bw" => text(found).starts_with(&text(&self.value)),
            "ew" => text(found).ends_with(&text(&self.value)),
            _ => text(found).contains(&text(&self.value)),
        }
    }
}

/// Numbers and their text are one, as in the real tables; null equals only null.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => {
            let number = |v: &Value| v.as_i64().or_else(|| v.as_str()?.parse().ok());
            match (number(a), number(b)) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => Some(a.as_str()?.cmp(b.as_str()?)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows() -> Vec<Row> {
        let row = |key: u32, name: &str, node: Value, running: bool| {
            let row = json!({ "$key": key, "name": name, "node": node, "running": running, "machine#status#status": "running" });
            row.as_object().unwrap().clone()
        };
        vec![row(1, "db1", json!(2), true), row(2, "it's", json!(2), false), row(3, "web", json!(null), true)]
    }
    fn keys(query: &[(&str, &str)]) -> Result<Vec<u64>, String> {
        let query: Vec<_> = query.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Ok(answer(rows(), &query)?.iter().map(|r| r["$key"].as_u64().unwrap()).collect())
    }

    #[test]
    fn filters_select() {
        for (filter, found) in [
            ("node eq 2", vec![1, 2]),
            ("node eq 2 and running eq true", vec![1]),
            ("node eq null or running eq false", vec![2, 3]),
            ("name eq 'it\\'s'", vec![2]),
            ("node ne 2", vec![3]),
            ("$key ge 2", vec![2, 3]),
        ] {
            assert_eq!(keys(&[("filter", filter)]), Ok(found), "{filter}");
        }
        for bad in ["name like 'x'", "name", "name eq", "a eq 1 xor b eq 2", "machine#status#status eq 'x'", "name eq 'x"] {
            assert!(keys(&[("filter", bad)]).is_err(), "{bad}");
        }
        assert_eq!(keys(&[("sort", "-$key"), ("limit", "2")]), Ok(vec![3, 2]));
        assert_eq!(keys(&[("offset", "2"), ("limit", "0")]), Ok(vec![3]));
    }

    #[test]
    fn fields_join_and_rename() {
        let query = [("fields".to_owned(), "$key,machine#status#status as status,nonsense".to_owned())];
        let row = answer(rows(), &query).unwrap().remove(0);
        assert_eq!(Value::Object(row), json!({ "$key": 1, "status": "running", "nonsense": null }));
    }
}
