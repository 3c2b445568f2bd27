//! The faults that the lab's VergeOS and Palette know by name, and one of the rack behind VergeOS: as docs/lab.md says they end.
use crate::demo::Demo;
use std::thread;

/// What is not named here is done, with one boot.
struct Expected {
    kind: &'static str,
    fault: &'static str,
    exit: i32,
    ends: &'static [(&'static str, &'static str)],
    says: &'static [&'static str],
}

#[track_caller]
fn judge(expected: &Expected, demo: &Demo) {
    let Expected { kind, fault, exit, ends, says } = expected;
    let said = demo.said.all();
    assert_eq!(demo.said.code, *exit, "{kind} {fault}: {said}");
    assert!(!said.contains("panicked") && !said.contains("BUG"), "{said}");
    says.iter().for_each(|text| demo.said.says(text));
    demo.rack.intended(&demo.events);
    demo.rack.nothing_lost();
    let seen = demo.ends();
    for node in demo.rack.nodes() {
        let wanted = ends.iter().find(|(n, _)| node.ends_with(n)).map_or("done", |(_, end)| *end);
        assert_eq!(seen[&node], wanted, "{kind} {fault} {node}: {said}");
        match wanted {
            "done" => assert_eq!(demo.rack.boots(&node).len(), 1, "{fault} {node}"),
            // No power was asked for.
            "refused" | "returned" | "waiting" => assert_eq!((demo.rack.boots(&node).len(), demo.rack.verbs(&node).len()), (0, 0), "{fault} {node}"),
            _ => {}
        }
        match wanted {
            "refused" | "waiting" => assert_eq!(demo.rack.service(&node), None, "{fault} {node} was never taken out"),
            "held" => {}
            _ => demo.rack.in_service(&node),
        }
    }
}

fn all(expected: &'static [Expected]) {
    let demos: Vec<Demo> = thread::scope(|scope| {
        let started: Vec<_> = expected.iter().map(|e| scope.spawn(|| Demo::run(&["--cluster", e.kind, "--fault", e.fault]))).collect();
        started.into_iter().map(|demo| demo.join().unwrap()).collect()
    });
    for (expected, demo) in expected.iter().zip(&demos) {
        judge(expected, demo);
    }
}

#[test]
fn palette_that_cannot_empty_replaces_deletes_or_is_busy() {
    all(&[
        Expected {
            kind: "palette",
            fault: "maintenance-failed",
            exit: 5,
            ends: &[("-02", "returned"), ("-03", "waiting"), ("-04", "waiting"), ("-05", "waiting"), ("-06", "waiting")],
            says: &["Palette failed to empty it: cannot evict pod", "next: pitstop plan reboot dc-02"],
        },
        Expected {
            kind: "palette",
            fault: "machine-replaced",
            exit: 5,
            ends: &[("-02", "held"), ("-03", "waiting"), ("-04", "waiting"), ("-05", "waiting"), ("-06", "waiting")],
            says: &["dc-02  HELD      at verify", "maintenance was dropped", "owed: leave maintenance dc-02"],
        },
        Expected {
            kind: "palette",
            fault: "auto-remediation",
            exit: 4,
            ends: &[("-01", "refused"), ("-02", "refused"), ("-03", "refused"), ("-04", "refused"), ("-05", "refused"), ("-06", "refused")],
            says: &["auto-remediation: is on, or cannot be ruled out", "`remediation = \"disable-and-restore\"`"],
        },
        // Asked for fewer requests now and then: one refused read refuses no plan and holds no node.
        Expected { kind: "palette", fault: "too-many-requests", exit: 0, ends: &[], says: &[] },
    ]);
}

#[test]
fn vergeos_with_a_pinned_vm_and_with_rows_one_off() {
    all(&[
        Expected {
            kind: "vergeos",
            fault: "pinned-vm",
            exit: 5,
            ends: &[("-02", "refused")],
            says: &["vm pinned-vault-02: cannot be live-migrated", "unmovable = \"stop-and-restart\""],
        },
        Expected {
            kind: "vergeos",
            fault: "shifted-row",
            exit: 5,
            ends: &[("-02", "refused"), ("-03", "refused"), ("-04", "refused")],
            says: &["the BMC at 127.0.1.4 is not this machine's: cluster says BMC address 127.0.1.3", "pitstop check vault-02"],
        },
    ]);
}
