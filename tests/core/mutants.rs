//! tests/mutants.patch takes safeguards out of a copy of the tree (`tests/mutate`, minutes): here only that it still fits.
use std::{fs, path::Path};

#[test]
fn the_mutants_still_fit_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patch = fs::read_to_string(root.join("tests/mutants.patch")).unwrap();
    let mut source = String::new();
    let (mut file, mut hunks, mut wrong) = (String::new(), 0, Vec::new());
    // What a hunk wants to find: its context and what it takes away.
    let mut wanted: Option<String> = None;
    for line in patch.lines().chain(["diff --git"]) {
        let ended = line.starts_with("@@") || line.starts_with("diff --git");
        if let Some(text) = wanted.take_if(|_| ended) {
            hunks += 1;
            if !source.contains(&text) {
                wrong.push(format!("{file}:\n{text}"));
            }
        }
        if let Some(path) = line.strip_prefix("+++ b/") {
            file = path.to_owned();
            source = fs::read_to_string(root.join(path)).unwrap();
        } else if line.starts_with("@@") {
            wanted = Some(String::new());
        } else if let Some(text) = &mut wanted
            && let Some(kept) = line.strip_prefix(' ').or_else(|| line.strip_prefix('-'))
        {
            text.push_str(kept);
            text.push('\n');
        }
    }
    assert!(hunks > 10, "only {hunks} hunks were read");
    assert!(wrong.is_empty(), "carry these over by hand, docs/testing.md says how:\n{}", wrong.join("\n"));
}
