//! A command's output is heard while it runs, against OpenSSH's sshd.
use crate::ssh::{Sshd, command, eventually};
use pitstop::drivers::host::Hear;
use std::{
    fs,
    sync::{Arc, Mutex},
};

#[tokio::test]
async fn lines_are_heard_before_the_command_ends() {
    // A login shell that talks is not the command.
    let sshd = Sshd::with("ForceCommand echo noise; echo noise >&2; eval \"$SSH_ORIGINAL_COMMAND\"");
    let host = sshd.host_with("client", "known_hosts", &[], "");
    let (heard, gate) = (Arc::new(Mutex::new(Vec::new())), sshd.at("gate"));
    let hear: Hear = {
        let heard = heard.clone();
        Arc::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()))
    };
    let line = format!("echo one; echo two >&2; while [ ! -e {} ]; do sleep 0.1; done; printf 'three\\n\\nlast'; exit 3", gate.display());
    let call = tokio::spawn({
        let (host, line, hear) = (host.clone(), line.clone(), hear.clone());
        async move { host.exec_heard(&command(&line), hear).await }
    });
    eventually("both streams are heard", || heard.lock().unwrap().len() == 2).await;
    assert!(!call.is_finished());
    fs::write(&gate, "").unwrap();
    let out = call.await.unwrap().unwrap();
    assert_eq!((out.status, out.stdout.as_str(), out.stderr.as_str()), (3, "one\nthree\n\nlast", "two\n"));
    let mut all = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(all.split_off(2), ["three", "last"]);
    all.sort();
    assert_eq!(all, ["one", "two"]);

    // More than is kept is counted once, and ends.
    let out = host.exec_heard(&command("head -c 3000000 /dev/zero | tr '\\0' x"), hear.clone()).await.unwrap();
    let lines = std::mem::take(&mut *heard.lock().unwrap());
    let told: usize = lines.iter().filter(|l| l.starts_with('x')).map(String::len).sum();
    assert_eq!(told, out.stdout.len());
    assert!(lines.last().unwrap().contains("more bytes of this stream are not shown"), "{:?}", lines.last());
    // What ran until it was cut is heard too.
    let cut = pitstop::model::Command { limit: pitstop::model::Span::seconds(1), ..command("echo before; sleep 60") };
    host.exec_heard(&cut, hear).await.unwrap_err();
    assert_eq!(*heard.lock().unwrap(), ["before"]);
}
