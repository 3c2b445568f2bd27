//! A wrong shared password, as the BMCs themselves saw it: shown three times, whatever the size of the fleet (safety.md, 8).
use crate::rig::Lab;
use std::fs;

fn another_key() -> String {
    pitstop::lab::ssh::new_key("another").to_openssh(Default::default()).unwrap().to_string()
}

#[test]
fn inv_08_a_wrong_shared_password_is_shown_to_three_bmcs_and_no_more() {
    let lab = Lab::start(20, &[]);
    let right = fs::read_to_string(lab.path("secrets/bmc-password")).unwrap();
    fs::write(lab.path("secrets/bmc-password"), "not this one").unwrap();
    let said = lab.ask(&["check", "--json"]);
    let shown: Vec<_> = lab.rack().kind("login-refused").into_iter().filter(|l| l["via"] == "redfish").cloned().collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(!said.all().contains("not this one"));
    let nodes = said.json()["nodes"].as_array().unwrap().clone();
    let faults: Vec<_> = nodes.iter().map(|n| n["ways"][0]["fault"].clone()).collect();
    assert_eq!((nodes.len(), faults.iter().filter(|f| f["kind"] == "denied").count()), (20, 20), "{faults:?}");
    // Who was not asked says which credential, who refused it, and what to do.
    let stopped: Vec<_> = faults.iter().filter(|f| f["what"].as_str().unwrap().contains("was refused 3 times in this run and is not used any more")).collect();
    assert_eq!(stopped.len(), 17, "{faults:?}");
    for fault in &stopped {
        let credential = fault["credential"].as_str().unwrap();
        assert!(credential.starts_with("the password in file /") && credential.ends_with("secrets/bmc-username"), "{fault}");
        assert!(shown.iter().all(|l| fault["causes"].to_string().contains(l["node"].as_str().unwrap())), "{fault}");
        assert!(fault["next"].as_str().unwrap().contains("correct it"), "{fault}");
    }
    // The other way in has another password, and is used.
    assert!(nodes.iter().all(|n| n["ways"][1]["fault"].is_null()), "{nodes:?}");

    // Of two credentials each has its own count; a key that hosts refuse is one too.
    fs::write(lab.path("secrets/bmc-password"), &right).unwrap();
    fs::write(lab.path("secrets/ipmi-password"), "nor this").unwrap();
    fs::write(lab.path("secrets/ssh-key"), another_key()).unwrap();
    let before = lab.rack().kind("login-refused").len();
    let said = lab.ask(&["check", "--json"]);
    let rack = lab.rack();
    let since = &rack.kind("login-refused")[before..];
    let by = |via: &str| since.iter().filter(|l| l["via"] == via).count();
    assert_eq!((by("redfish"), by("ipmi"), by("ssh")), (0, 3, 3), "{}", said.out);
}
