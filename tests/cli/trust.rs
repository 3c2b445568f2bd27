//! `inventory trust`: what is shown is pinned when somebody says so, a pin holds against another certificate, and the rest of the file stays.
use crate::rig::Lab;
use std::fs;

#[test]
fn certificates_are_shown_pinned_and_held() {
    let lab = Lab::start(2, &[]);
    let file = lab.path("inventory/trust.toml");
    // By omission nothing is meant.
    assert_eq!(lab.ask(&["inventory", "trust"]).code, 2);

    let shown = lab.ask(&["inventory", "trust", "edge-01"]);
    assert!(shown.out.contains("sha256") && shown.out.contains("subject  CN=localhost") && shown.out.contains("pitstop lab CA"), "{}", shown.all());
    assert!(shown.out.contains("host key of root@127.0.0.1") && shown.out.contains("SHA256:"), "{}", shown.all());
    // Nobody at a terminal, and no --yes: nothing is written, and the exit code says that something is open.
    assert_eq!((shown.code, file.exists()), (4, false), "{}", shown.all());

    let written = lab.ask(&["inventory", "trust", "--all", "--yes"]);
    assert_eq!(written.code, 0, "{}", written.all());
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().filter(|l| l.starts_with("\"edge-0") && l.contains("certificate = \"") && l.contains("host_keys = [")).count(), 2, "{text}");
    let again = lab.ask(&["inventory", "trust", "--all", "--yes"]);
    assert_eq!((again.code, fs::read_to_string(&file).unwrap()), (0, text.clone()), "{}", again.all());
    assert_eq!(lab.ask(&["check"]).code, 0);

    // Somebody else's certificate: refused before any password leaves, with what was seen and what to type.
    let right = text.split("certificate = \"").nth(1).unwrap()[..64].to_owned();
    let wrong = text.replacen(&right, &"ab".repeat(32), 1);
    fs::write(&file, &wrong).unwrap();
    let refused = lab.ask(&["check", "edge-01", "--json"]).json();
    let fault = &refused["nodes"][0]["ways"][0]["fault"];
    assert_eq!(fault["kind"], "denied", "{refused}");
    assert!(fault["causes"].to_string().contains(&right) && fault["next"].as_str().unwrap().contains("pitstop inventory trust edge-01 --replace"), "{fault}");

    let kept = lab.ask(&["inventory", "trust", "edge-01", "--yes"]);
    assert_eq!((kept.code, fs::read_to_string(&file).unwrap()), (4, wrong), "{}", kept.all());
    assert!(kept.out.contains("CHANGED") && kept.out.contains("--replace"), "{}", kept.all());
    let replaced = lab.ask(&["inventory", "trust", "edge-01", "--yes", "--replace"]);
    assert_eq!((replaced.code, fs::read_to_string(&file).unwrap()), (0, text), "{}", replaced.all());
}
