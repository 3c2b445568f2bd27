//! Every fault of the table (architecture.md, 4): the end of each node, the exit code, a message that names the object and the next command.
use crate::demo::Demo;
use std::{collections::BTreeMap, thread};

/// A few at a time: most of it is waiting.
fn side_by_side(faults: &[&'static str]) -> BTreeMap<&'static str, Demo> {
    thread::scope(|scope| {
        let all: Vec<_> = faults.iter().map(|&f| (f, scope.spawn(move || Demo::run(&["--fault", f])))).collect();
        all.into_iter().map(|(f, demo)| (f, demo.join().unwrap())).collect()
    })
}

/// What holds whatever goes wrong; then the ends, `node` → `end`, all others done with one boot.
#[track_caller]
fn judge(demo: &Demo, exit: i32, other: &[(&str, &str)]) {
    let said = demo.said.all();
    assert_eq!(demo.said.code, exit, "{said}");
    assert!(!said.contains("panicked") && !said.contains("BUG"), "{said}");
    demo.rack.intended(&demo.events);
    demo.rack.nothing_lost();
    let ends = demo.ends();
    for node in demo.rack.nodes() {
        let wanted = other.iter().find(|(n, _)| *n == node).map_or("done", |(_, end)| *end);
        assert_eq!(ends[&node], wanted, "{node}\n{said}");
        match wanted {
            "done" => {
                assert_eq!(demo.rack.boots(&node).len(), 1, "{node}\n{said}");
                demo.rack.in_service(&node);
            }
            "held" => {
                assert!(demo.rack.service(&node).is_some_and(|s| s == "cordon"), "{node} stays out\n{said}");
                demo.said.says(&format!("pitstop release {node} "));
            }
            "refused" => {
                assert_eq!(demo.rack.service(&node), None, "{node} was never taken out");
                demo.said.says(&format!("pitstop check {node}"));
            }
            _ => demo.rack.in_service(&node),
        }
        if ["refused", "returned", "waiting"].contains(&wanted) {
            assert_eq!(demo.rack.verbs(&node), Vec::<String>::new(), "{node}\n{said}");
            assert_eq!(demo.rack.boots(&node).len(), 0, "{node}\n{said}");
        }
    }
    assert_eq!(ends.len(), 6);
}

const NOT_BEGUN: [(&str, &str); 2] = [("edge-03", "waiting"), ("edge-04", "waiting")];

#[test]
fn what_cannot_be_trusted_is_refused_before_anything_is_touched() {
    let vergeos = thread::spawn(|| Demo::run(&["--cluster", "vergeos", "--fault", "shifted-row"]));
    let demos = side_by_side(&["bmc-silent", "wrong-bmc", "shifted-row"]);
    let silent = &demos["bmc-silent"];
    judge(silent, 5, &[("edge-02", "refused")]);
    silent.said.says("Redfish: https://127.0.1.3:");
    silent.said.says("IPMI: ipmi://127.0.1.3:");

    // Must-show 4.
    let swapped = &demos["wrong-bmc"];
    judge(swapped, 5, &[("edge-02", "refused"), ("edge-03", "refused")]);
    swapped.said.says("the BMC at 127.0.1.4 belongs to edge-03");
    swapped.said.says("the BMC at 127.0.1.3 belongs to edge-02");

    let shifted = &demos["shifted-row"];
    judge(shifted, 5, &[("edge-02", "refused"), ("edge-03", "refused"), ("edge-04", "refused")]);
    shifted.said.says("the host and the BMC at 127.0.1.4 belong to edge-03");

    // There the cluster knows its nodes by their BMCs alone.
    let shifted = vergeos.join().unwrap();
    judge(&shifted, 5, &[("vault-02", "refused"), ("vault-03", "refused"), ("vault-04", "refused")]);
    shifted.said.says("the BMC at 127.0.1.4 is not this machine's: cluster says BMC address 127.0.1.3");
}

#[test]
fn what_is_slow_or_deaf_to_a_graceful_verb_is_done_all_the_same() {
    let demos = side_by_side(&["bmc-late", "reset-ignored", "pdb-blocked"]);
    // Six makers' BMCs, one in each machine; the fifth has no graceful restart.
    let makers = &side_by_side(&["bmc-makers"])["bmc-makers"];
    judge(makers, 0, &[]);
    assert_eq!((makers.rack.verbs("edge-01"), makers.rack.verbs("vault-01")), (vec!["GracefulRestart".into()], vec!["GracefulShutdown".into(), "On".into()]));
    judge(&demos["bmc-late"], 0, &[]);
    let ignored = &demos["reset-ignored"];
    judge(ignored, 0, &[]);
    assert_eq!(ignored.rack.verbs("edge-02"), ["GracefulRestart", "ForceRestart"]);

    let blocked = &demos["pdb-blocked"];
    judge(blocked, 5, &[&[("edge-02", "returned")][..], &NOT_BEGUN].concat());
    blocked.said.says("shop/ledger-0: 1 of 1 needed by PodDisruptionBudget shop/ledger");
    blocked.said.says("kubectl -n shop get pdb ledger");
    blocked.said.says("next: pitstop plan reboot edge-02");
}

#[test]
fn what_does_not_come_back_whole_is_held() {
    let demos = side_by_side(&["bmc-lies", "service-missing", "never-boots"]);
    let held = [&[("edge-02", "held")][..], &NOT_BEGUN].concat();
    let lies = &demos["bmc-lies"];
    judge(lies, 5, &held);
    lies.said.says("at reset: the BMC accepted GracefulRestart and ForceRestart and nothing happened");
    assert_eq!(lies.rack.boots("edge-02").len(), 0);

    let missing = &demos["service-missing"];
    judge(missing, 5, &held);
    missing.said.says("at verify");
    missing.said.says("node-agent");
    assert_eq!(missing.rack.boots("edge-02").len(), 1);

    let dark = &demos["never-boots"];
    judge(dark, 5, &held);
    dark.said.says("HELD      at reset");
    assert_eq!(dark.rack.boots("edge-02").len(), 0);
}
