//! The way out for odd BMCs: `ipmitool` as a child process, raw commands, one login each. Held to the same classification as our own client.
use super::{faults::completion, read::Ask, session::Target};
use crate::{
    model::{Fault, FaultKind},
    wire::{
        ipmi::{self, Command},
        suite::Suite,
    },
};
use async_trait::async_trait;
use std::{process::Stdio, time::Duration};
use tokio::{process, time::timeout};

const PROGRAM: &str = "ipmitool";

pub struct Tool<'a> {
    pub target: &'a Target,
    /// Still to be tried, the most promising first; a look leaves the one that works in front.
    pub suites: Vec<Suite>,
}

/// A command may be lost in two places.
enum Failure {
    /// No session, so nothing was sent. `true`: another suite may do.
    Login(Fault, bool),
    Answer(Fault),
    /// In the session, or nobody knows where.
    Lost(String),
}

#[async_trait]
impl Ask for Tool<'_> {
    async fn ask(&mut self, command: Command, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let doing = format!("command {:02x} {:02x}", command.0, command.1);
        let mut refused: Vec<Fault> = Vec::new();
        while let Some(suite) = self.suites.first().copied() {
            match self.run(suite, command, data, 2).await {
                Ok(data) => return Ok(data),
                Err(Failure::Login(fault, true)) => {
                    refused.push(fault);
                    self.suites.remove(0);
                }
                Err(Failure::Login(fault, false) | Failure::Answer(fault)) => return Err(fault),
                Err(Failure::Lost(why)) => {
                    return Err(Fault::new(FaultKind::Unreachable, format!("{} does not answer {doing} through {PROGRAM}", self.target.endpoint)).cause(why));
                }
            }
        }
        let what = format!("{} takes none of the cipher suites allowed", self.target.endpoint);
        Err(refused.into_iter().fold(Fault::new(FaultKind::Unable, what), |fault, cause| fault.cause(cause)))
    }
}

impl Tool<'_> {
    /// Finds a suite that works, by a read.
    pub async fn prove(&mut self) -> Result<Suite, Fault> {
        self.ask(ipmi::CHASSIS_STATUS, &[]).await?;
        Ok(*self.suites.first().expect("BUG: an answer without a suite"))
    }

    /// Chassis Control, once: one suite, one datagram.
    pub async fn control(&self, suite: Suite, verb: u8, doing: &str) -> Result<(), Fault> {
        self.write(suite, ipmi::CHASSIS_CONTROL, &[verb], doing).await
    }

    /// Any command that changes something, once.
    pub async fn write(&self, suite: Suite, command: Command, data: &[u8], doing: &str) -> Result<(), Fault> {
        match self.run(suite, command, data, 1).await {
            Ok(_) => Ok(()),
            Err(Failure::Login(fault, _) | Failure::Answer(fault)) => Err(fault),
            Err(Failure::Lost(why)) => {
                let what = format!("{} got {doing} through {PROGRAM} and did not answer: it may have happened", self.target.endpoint);
                Err(Fault::new(FaultKind::Unknown, what).cause(why))
            }
        }
    }

    async fn run(&self, suite: Suite, command: Command, data: &[u8], tries: u8) -> Result<Vec<u8>, Failure> {
        let target = self.target;
        let turn = target.turn().await.map_err(|fault| Failure::Login(fault, false))?;
        let level = if target.privilege == ipmi::OPERATOR { "OPERATOR" } else { "ADMINISTRATOR" };
        let mut child = process::Command::new(PROGRAM);
        child.args(["-I", "lanplus", "-H", &target.host, "-p", &target.port.to_string(), "-U", target.user.expose(), "-L", level]);
        // The password by environment alone: arguments are everyone's to read. Without -v one sentence stands for four causes.
        child.args(["-C", &suite.id().to_string(), "-N", "1", "-R", &tries.to_string(), "-E", "-v", "raw"]);
        child.args([command.0, command.1].iter().chain(data).map(|b| format!("0x{b:02x}")));
        child.env("IPMITOOL_PASSWORD", target.password.expose()).env_remove("IPMI_PASSWORD").env("LC_ALL", "C");
        child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = match child.spawn() {
            Ok(child) => child,
            Err(e) => {
                let fault = Fault::new(FaultKind::Unable, format!("{PROGRAM} cannot be started for {}", target.endpoint)).caused_by(&e);
                return Err(Failure::Login(fault.next("install ipmitool, or take `via` away"), false));
            }
        };
        // A login is four exchanges and the command one more.
        let limit = self.limit();
        let output = match timeout(limit, child.wait_with_output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(e)) => return Err(Failure::Lost(e.to_string())),
            Err(_) => return Err(Failure::Lost(format!("{PROGRAM} was killed after {limit:?}"))),
        };
        if output.status.success() {
            turn.taken();
            let text = String::from_utf8_lossy(&output.stdout);
            return hex(&text).ok_or_else(|| Failure::Lost(format!("{PROGRAM} printed {:?}", head(&text))));
        }
        Err(match failure(&target.endpoint, command, &String::from_utf8_lossy(&output.stderr), output.status) {
            Failure::Login(fault, more) if fault.kind == FaultKind::Denied => Failure::Login(turn.refused(fault), more),
            Failure::Answer(fault) => {
                turn.taken();
                Failure::Answer(fault)
            }
            other => other,
        })
    }

    fn limit(&self) -> Duration {
        self.target.timeout * 4
    }
}

/// ` 01 00 00`, over several lines. Under -v lines with words come before it.
fn hex(text: &str) -> Option<Vec<u8>> {
    let byte = |word: &str| Some(word).filter(|w| w.len() == 2).and_then(|w| u8::from_str_radix(w, 16).ok());
    let data = text.lines().filter(|line| !line.contains(':') && !line.contains("RAW"));
    data.flat_map(str::split_whitespace).map(byte).collect()
}

/// Without the credentials, which ipmitool does not print, and short.
fn head(text: &str) -> String {
    text.trim().chars().take(400).collect()
}

fn failure(endpoint: &str, command: Command, said: &str, status: std::process::ExitStatus) -> Failure {
    const SUITE: [&str; 8] = [
        "invalid authentication algorithm",
        "invalid integrity algorithm",
        "invalid confidentiality algorithm",
        "no matching",
        "no cipher suite match",
        "invalid role",
        "is not what we requested",
        "unsupported cipher suite",
    ];
    const DENIED: [&str; 6] =
        ["hmac is invalid", "unauthorized name", "unauthorized role", "invalid integrity check", "invalid name length", "set session privilege level to"];
    let lower = said.to_ascii_lowercase();
    let has = |any: &[&str]| any.iter().any(|part| lower.contains(part));
    let fault = |kind, what: &str| Fault::new(kind, format!("{endpoint} {what}")).cause(head(said));
    if let Some(code) = lower.split("rsp=0x").nth(1).and_then(|rest| u8::from_str_radix(rest.get(..2)?.trim_end_matches(')'), 16).ok()) {
        return Failure::Answer(completion(endpoint, &format!("command {:02x} {:02x}", command.0, command.1), code));
    }
    if has(&["insufficient resources"]) {
        return Failure::Login(fault(FaultKind::Unreachable, "has no free session"), false);
    }
    if has(&SUITE) {
        return Failure::Login(fault(FaultKind::Unable, "refuses this cipher suite"), true);
    }
    if has(&DENIED) {
        return Failure::Login(fault(FaultKind::Denied, "refuses the login"), false);
    }
    if has(&["get auth capabilities error", "address lookup", "could not open socket", "unable to establish"]) {
        return Failure::Login(fault(FaultKind::Unreachable, "does not answer"), false);
    }
    Failure::Lost(format!("{PROGRAM} ended with {status}: {}", head(said)))
}
