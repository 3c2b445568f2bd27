//! Kept bodies (`tests/corpus/redfish`) and seeded mutations of them, through everything that reads one: nothing panics, and no text of a stranger moves a terminal's cursor.
use crate::{ipmi::seeded, rmcp_replay::mutated};
use pitstop::drivers::bmc::redfish::read_anything;

#[test]
fn no_body_panics_the_reader() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/redfish");
    let bodies: Vec<Vec<u8>> = std::fs::read_dir(dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(bodies.len() >= 6, "the corpus is gone");
    let (mut pick, mut read) = (seeded(0xb0d1e5), 0);
    for body in &bodies {
        read_anything(body);
        for _ in 0..4000 {
            let bent = mutated(body, &mut pick);
            read += usize::from(serde_json::from_slice::<serde_json::Value>(&bent).is_ok());
            read_anything(&bent);
        }
    }
    assert!(read > 300, "{read}: the mutations are no bodies any more");
}
