//! The node's operating system. To add a way to reach it: write `<name>.rs` here, then the two lines marked below.
use crate::{
    kinds::Kind,
    model::{Command, Connect, Fault, HostKey, HostView, Output, Raid},
};
use async_trait::async_trait;
use std::sync::Arc;

#[cfg(test)]
pub mod fake;
pub mod ssh;
// line 1 of a new way: `pub mod <name>;`

pub const KINDS: &[Kind<dyn HostConfig>] = &[
    Kind::of::<ssh::Config>(),
    // line 2: `Kind::of::<<name>::Config>(),`
];

/// Hears a command while it runs: a line of its output at a time, without the line's end.
pub type Hear = Arc<dyn Fn(&str) + Send + Sync>;

#[async_trait]
pub trait HostConfig: Send + Sync + std::fmt::Debug {
    /// Reads key files; contacts nothing.
    fn connect(&self, cx: &Connect) -> Result<Arc<dyn Host>, Fault>;
    /// For people: `root@192.0.2.21:22`.
    fn endpoint(&self) -> String;
    /// What it shows before any login, whoever knows it. None: this way has no host keys.
    async fn host_key(&self, _cx: &Connect) -> Result<Option<HostKey>, Fault> {
        Ok(None)
    }
    /// Names or addresses of the machines without which this host cannot be reached: jump hosts. Contacts nothing.
    fn carried_by(&self, _cx: &Connect) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}

#[async_trait]
pub trait Host: Send + Sync {
    fn endpoint(&self) -> String;
    /// One command that reads everything of `HostView`. Reads only.
    async fn look(&self) -> Result<HostView, Fault>;
    /// Volumes of its RAID controllers, as their makers' tools tell them, and controllers that no tool reads. Reads only.
    async fn raid(&self) -> Result<Raid, Fault> {
        Ok(Raid::default())
    }
    /// `Ok` only with a proven exit status.
    async fn exec(&self, command: &Command) -> Result<Output, Fault>;
    /// The same, heard while it runs. A way that cannot do that is heard at its end.
    async fn exec_heard(&self, command: &Command, hear: Hear) -> Result<Output, Fault> {
        let output = self.exec(command).await?;
        output.stdout.lines().chain(output.stderr.lines()).for_each(|line| hear(line));
        Ok(output)
    }
    async fn close(&self);
}
