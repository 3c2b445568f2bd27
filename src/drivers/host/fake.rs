//! Hosts for unit tests: one with a canned answer, one that really runs the line in this machine's `sh`.
use super::Host;
use crate::model::{Command, Fault, HostView, Output};
use async_trait::async_trait;
use std::sync::Mutex;

/// Answers every command the same, and remembers what it was asked.
pub struct Canned {
    pub answer: Result<Output, Fault>,
    pub view: Result<HostView, Fault>,
    pub asked: Mutex<Vec<Command>>,
}

impl Canned {
    pub fn says(status: i32, stdout: &str, stderr: &str) -> Canned {
        Canned::answers(Ok(Output { status, stdout: stdout.into(), stderr: stderr.into(), dropped: 0 }))
    }
    pub fn answers(answer: Result<Output, Fault>) -> Canned {
        Canned { answer, view: Ok(HostView::default()), asked: Mutex::default() }
    }
    pub fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|c| c.line.clone()).collect()
    }
}

#[async_trait]
impl Host for Canned {
    fn endpoint(&self) -> String {
        "canned".into()
    }
    async fn look(&self) -> Result<HostView, Fault> {
        self.view.clone()
    }
    async fn exec(&self, command: &Command) -> Result<Output, Fault> {
        self.asked.lock().unwrap().push(command.clone());
        self.answer.clone()
    }
    async fn close(&self) {}
}

/// Puts a program for `Sh` there. Another process writes it: a fork elsewhere in ours, at that moment, would hold it open and make it "Text file busy".
pub fn program(path: &std::path::Path, script: &str) {
    let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
    let done = std::process::Command::new("/bin/sh").args(["-c", write, "sh"]).arg(path).arg(script).status().unwrap();
    assert!(done.success(), "{}", path.display());
}

/// Runs lines for real, with nothing but `path` to find programs in.
pub struct Sh {
    pub path: String,
}

#[async_trait]
impl Host for Sh {
    fn endpoint(&self) -> String {
        "sh".into()
    }
    async fn look(&self) -> Result<HostView, Fault> {
        Ok(HostView::default())
    }
    async fn exec(&self, command: &Command) -> Result<Output, Fault> {
        let out = std::process::Command::new("/bin/sh").arg("-c").arg(&command.line).env_clear().env("PATH", &self.path).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok(Output { status: out.status.code().unwrap(), stdout: text(out.stdout), stderr: text(out.stderr), dropped: 0 })
    }
    async fn close(&self) {}
}
