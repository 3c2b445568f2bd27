//! What a command on a host prints is on the screen while it runs, and in the log; no secret of ours is in either, nor in the journal.
use crate::rig::Lab;
use std::fs;

#[test]
fn exec_is_heard_while_it_runs_and_without_secrets() {
    let lab = Lab::start(2, &[]);
    let (gate, secret) = (lab.dir.path().join("gate"), lab.path("secrets/bmc-password"));
    let password = fs::read_to_string(&secret).unwrap().trim().to_owned();
    assert!(password.len() >= 8, "{password}");
    let book = lab.dir.path().join("heard.toml");
    let run = format!(
        "echo begins; echo \"BMC_PASSWORD=$(cat {})\" >&2; while [ ! -e {} ]; do sleep 0.1; done; seq 1 5000; printf '\\033[31mends\\033[0m\\n'",
        secret.display(),
        gate.display()
    );
    let text = format!("description = \"x\"\n[[steps]]\nevacuate = {{}}\n[[steps]]\nexec = {{ run = '''{run}''' }}\n[[steps]]\nenable = {{}}\n");
    fs::write(&book, text).unwrap();
    let mut running = lab.start_command(&["-v", "run", book.to_str().unwrap(), "edge-01"]);
    // It cannot end before the gate is there: what is heard now was heard while it ran.
    running.until("edge-01 exec: | BMC_PASSWORD=[secret]");
    running.until("edge-01 exec: | begins");
    assert!(!running.so_far().1.contains("| ends"));
    fs::write(&gate, "").unwrap();
    let said = running.ended().ends(0);
    let log: Vec<&str> = said.err.lines().filter(|l| l.contains("INFO") && l.contains("pitstop::cli::listen")).collect();
    assert_eq!(log.len(), 5003, "each line once in the log: {log:?}");
    assert!(log.iter().all(|l| l.contains("node=edge-01") && l.contains("step=\"exec\"")), "{}", log[0]);
    let shown = said.err.lines().filter(|l| l.contains("edge-01 exec: | ")).count();
    assert!((3..2000).contains(&shown), "a flood does not fill the screen: {shown} lines");
    assert!(said.err.contains("lines more; pitstop -v shows them)"), "what is not shown is counted");
    assert!(said.err.lines().any(|l| l.ends_with("edge-01 exec: | ends")), "its last line is shown, without colour");

    let events = lab.ask(&["report", "--events"]).ends(0);
    events.says("BMC_PASSWORD=[secret]");
    for text in [said.all(), events.all(), lab.ask(&["report"]).all(), lab.ask(&["report", "--json"]).all()] {
        assert!(!text.contains(&password), "the password is in: {text}");
    }
}
