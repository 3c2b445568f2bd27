//! docs/kubernetes-tests.md and the tests name the same rows.
use std::{collections::BTreeSet, fs, path::Path};

fn tests(dir: &Path, into: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => tests(&path, into),
            false => *into += &fs::read_to_string(&path).unwrap(),
        }
    }
}
fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn the_page_of_rows_and_the_tests_are_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/kubernetes-tests.md")).unwrap();
    let mut source = String::new();
    for part in ["kubernetes", "kubevirt", "node_maintenance"] {
        tests(&root.join("tests/clusters").join(part), &mut source);
        source += &fs::read_to_string(root.join(format!("tests/clusters/{part}.rs"))).unwrap();
    }
    const KINDS: [&str; 7] = ["row_", "server_", "field_", "text_", "fault_", "blocked_for_", "shared_"];
    let is_row = |name: &&str| KINDS.iter().any(|k| name.starts_with(k));
    let listed: BTreeSet<&str> = page.split('`').map(word).filter(is_row).filter(|n| n.len() > 12 || n.contains("_4_6_")).collect();
    // Some are a macro's: `row_4_6_404: 404, …`.
    let of_macro = source.lines().map(str::trim_start).filter(|l| l.starts_with("row_") && l.contains(": ")).map(word);
    let there: BTreeSet<&str> = source.split("async fn ").skip(1).map(word).chain(of_macro).filter(is_row).collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    let invented: Vec<_> = listed.difference(&there).filter(|n| !n.ends_with('_')).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not on the page: {missing:?}; on the page alone: {invented:?}");
    assert!(listed.len() > 70, "{}", listed.len());
}
