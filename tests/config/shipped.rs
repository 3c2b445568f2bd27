//! The files that ship, against the real kinds; and mutations of them, which must never panic.
use super::file;
use pitstop::{
    inventory::{self, Look},
    playbook::{self, File},
};
use std::path::Path;

fn shipped(dir: &str) -> Vec<File> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut files: Vec<File> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|path| file(path.file_name().unwrap().to_str().unwrap(), &std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

#[test]
fn the_inventories_that_ship_are_one_valid_inventory() {
    let made = inventory::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory")).unwrap_or_else(|e| panic!("{e}"));
    let kinds: Vec<_> = made.clusters.values().map(|c| c.setting.kind.as_str()).collect();
    for kind in inventory::Kinds::built_in().cluster {
        assert!(kinds.contains(&kind.name), "no example shows cluster kind {}", kind.name);
    }
    assert!(made.nodes.values().all(|n| !n.bmc.is_empty()) && made.nodes.len() > 10);
    // Reserved names only: an example that is run by mistake must reach nobody.
    for file in shipped("inventory") {
        let urls = file.text.split(['"', ' ']).filter(|w| w.contains("://") || w.contains(".example") || w.contains("192.0.2."));
        assert!(urls.clone().count() > 0 && urls.into_iter().all(|w| w.contains("example") || w.contains("192.0.2.")), "{}", file.name);
    }
}

/// What a slip of the hand does to a file: a piece lost, doubled, swapped, or replaced by something with a meaning of its own.
fn mutate(text: &str, random: &mut impl FnMut(usize) -> usize) -> String {
    const PIECES: [&str; 16] = ["[", "]", "{", "}", "\"", "'", "=", ",", "\n", "[[nodes]]\n", "{n}", "-1", "1e400", "\u{feff}ä", "\"\"\"", "edge-[01-99999]"];
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random(4) {
        let at = random(chars.len() + 1);
        let to = (at + random(12)).min(chars.len());
        match random(5) {
            0 => drop(chars.drain(at..to)),
            1 => drop(chars.splice(at..at, PIECES[random(PIECES.len())].chars())),
            2 => drop(chars.splice(at..to, PIECES[random(PIECES.len())].chars())),
            3 => {
                let copy = chars[at..to].to_vec();
                let other = random(chars.len() + 1);
                chars.splice(other..other, copy);
            }
            _ => chars.truncate(at.max(chars.len() / 2)),
        }
    }
    chars.into_iter().collect()
}

/// `PITSTOP_SEED` reproduces one case, `PITSTOP_CASES` makes it longer.
#[test]
fn no_mutated_file_makes_the_parser_panic() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"));
    let seeds = number("PITSTOP_SEED").map_or(0..number("PITSTOP_CASES").unwrap_or(600), |seed| seed..seed + 1);
    let (inventories, playbooks) = (shipped("inventory"), shipped("playbooks"));
    let mut refused = 0;
    for seed in seeds {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below.max(1) as u64) as usize
        };
        let mut files = inventories.clone();
        let victim = random(files.len());
        files[victim].text = mutate(&files[victim].text, &mut random);
        let book = &playbooks[random(playbooks.len())];
        let book = file(&book.name, &mutate(&book.text, &mut random));
        let cases = std::panic::catch_unwind(|| {
            let inventory = inventory::parse(&files, "/".into(), &inventory::Kinds::built_in(), Vec::new()).err();
            let playbook = playbook::parse(&book, "mutated", &playbook::Kinds::built_in()).err();
            inventory.into_iter().chain(playbook).map(|e| (e.render(Look::Drawn { colour: false, width: 60 }), e)).collect::<Vec<_>>()
        });
        for (drawn, errors) in cases.unwrap_or_else(|_| panic!("PITSTOP_SEED={seed}:\n{}\n{}", files[victim].text, book.text)) {
            refused += 1;
            assert!(!errors.problems.is_empty(), "PITSTOP_SEED={seed}: refused without a reason");
            for p in &errors.problems {
                let lines = files.iter().chain([&book]).find(|f| f.name == p.file).map_or(0, |f| f.text.split('\n').count());
                assert!(p.line >= 1 && p.line <= lines && p.column >= 1 && !p.message.is_empty(), "PITSTOP_SEED={seed}: {p:?}");
                assert!(drawn.contains(&format!("{}:{}:{}", p.file, p.line, p.column)), "PITSTOP_SEED={seed}: {p}\n{drawn}");
            }
        }
    }
    assert!(number("PITSTOP_SEED").is_some() || refused > 100, "the mutations hit nothing: {refused}");
}

#[test]
fn the_playbooks_that_ship_load() {
    for (name, _) in playbook::BUILT_IN {
        let made = playbook::load(None, name).unwrap_or_else(|e| panic!("{e}"));
        assert!(!made.description.is_empty() && made.name == name);
    }
    let kinds = |name: &str| playbook::load(None, name).unwrap().steps.into_iter().map(|s| s.setting.kind).collect::<Vec<_>>();
    assert_eq!(kinds("reboot"), ["baseline", "evacuate", "reset", "verify", "enable", "settle"]);
    assert_eq!(kinds("power-cycle"), kinds("reboot"));
    assert_eq!(kinds("firmware"), ["baseline", "evacuate", "firmware", "reset", "verify", "enable", "settle"]);
    assert_eq!(kinds("evacuate"), ["evacuate"]);
    assert_eq!(kinds("return"), ["verify", "enable", "settle"]);
}
