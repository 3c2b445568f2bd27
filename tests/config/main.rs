//! Inventories and playbooks: every problem at once, each with file, line and column; nothing is contacted, nothing panics.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]
use pitstop::{
    inventory::{ConfigErrors, Look},
    playbook::File,
};

mod imports;
mod inventories;
mod kinds;
mod playbooks;
mod shipped;

fn file(name: &str, text: &str) -> File {
    File { name: name.into(), text: text.into() }
}
/// As `line:column: message; help`, in order; and both ways of showing them name every place.
fn shown(errors: ConfigErrors) -> Vec<String> {
    let drawn = errors.render(Look::Drawn { colour: false, width: 100 });
    for p in errors.problems.iter().filter(|p| p.line > 0) {
        assert!(drawn.contains(&format!("[{}:{}:{}]", p.file, p.line, p.column)), "{drawn}");
    }
    errors.problems.iter().map(|p| p.to_string().replacen("a.toml:", "", 1)).collect()
}
