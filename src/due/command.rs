//! Due `command`: a line for the host's `sh` says by its status whether the node is due.
use super::{Due, DueAnswer, DueProbe};
use crate::{
    kinds,
    model::{Command, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// `{ command = { run = "test -e /run/wants-service" } }`: 0 is due, 1 is not, anything else neither.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// It must only read.
    pub run: String,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(30)
}

impl kinds::Config<dyn Due> for Config {
    const NAME: &'static str = "command";
    const ABOUT: &'static str = "a command on the host ends with 0 (due) or 1 (not due)";
    fn validate(&self) -> Result<(), String> {
        match () {
            _ if self.run.trim().is_empty() => Err("`run` is empty".into()),
            _ if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            _ => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Due> {
        Box::new(self)
    }
}

#[async_trait]
impl Due for Config {
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        let node = probe.node;
        let no_host = || Fault::new(FaultKind::Unable, format!("{node}: commands run on the host, and the inventory names none"));
        let out = probe.host.ok_or_else(no_host)?.exec(&Command { line: self.run.clone(), limit: self.limit, stdin: None }).await?;
        let said = |text: &str| text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing").trim().chars().take(200).collect::<String>();
        match out.status {
            0 => Ok(DueAnswer::Due(format!("`{}`: {}", self.run, said(&out.stdout)))),
            1 => Ok(DueAnswer::NotDue(format!("`{}` ended with 1", self.run))),
            // 2 is what programs end with that could not look; 126 and 127 are the shell's.
            other => Err(Fault::new(FaultKind::Unable, format!("{node}: `{}` ended with {other}, which is neither due (0) nor not due (1)", self.run))
                .cause(said(&out.stderr))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{drivers::host::fake::Sh, model::NodeName};

    #[tokio::test]
    async fn the_status_decides() {
        let of = async |run: &str| {
            let config = Config { run: run.into(), limit: limit() };
            config
                .look(&DueProbe { node: &NodeName("edge-01".into()), host: Some(&Sh { path: "/usr/bin:/bin".into() }), view: None, bmc: None, served: None })
                .await
        };
        assert_eq!(of("echo wants service").await, Ok(DueAnswer::Due("`echo wants service`: wants service".into())));
        assert!(matches!(of("exit 1").await, Ok(DueAnswer::NotDue(_))));
        for odd in ["exit 2", "no-such-program-here"] {
            assert_eq!(of(odd).await.unwrap_err().kind, FaultKind::Unable, "{odd}");
        }
    }
}
