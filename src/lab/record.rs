//! The rack's own record, one object a line: who judges a run reads it.
use super::flash::Line;
use serde_json::{Value, json};
use std::io::Write;

pub fn write_lines(log: &mut Box<dyn Write + Send>, node: &str, lines: Vec<Line>) {
    lines.into_iter().for_each(|(kind, more)| write_line(log, node, kind, more));
}

pub fn this_computer() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

pub fn stamp() -> String {
    jiff::Timestamp::now().to_string()
}

/// One object a line: `{"t": …, "node": …, "kind": …}`. A record that cannot be written is a broken judge: better none.
pub fn write_line(log: &mut Box<dyn Write + Send>, node: &str, kind: &str, more: Value) {
    let mut line = json!({ "t": stamp(), "node": node, "kind": kind });
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    writeln!(log, "{line}").and_then(|()| log.flush()).expect("the rack's record cannot be written");
}
