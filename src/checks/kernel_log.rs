//! Check `kernel-log`: the kernel has logged no error since it booted, but for those that the inventory knows.
use super::{
    Check, Probe, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Regular expressions of lines that mean nothing here.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Without dmesg on the host.
    #[serde(default)]
    pub missing: Missing,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(30)
}

impl Config {
    fn patterns(&self) -> Result<Vec<Regex>, String> {
        self.ignore.iter().map(|p| Regex::new(p).map_err(|e| format!("`{p}` is no regular expression: {e}"))).collect()
    }
}
impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "kernel-log";
    const ABOUT: &'static str = "the kernel has logged no error since it booted";
    fn validate(&self) -> Result<(), String> {
        if let Some(all) = self.patterns()?.iter().find(|p| p.is_match("")) {
            return Err(format!("`{all}` matches every line, also an empty one: nothing would be an error"));
        }
        if self.limit.0.is_zero() { Err("`limit` must be longer than nothing".into()) } else { Ok(()) }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        "kernel-log: no error since boot".to_owned()
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let ignore = self.patterns().map_err(|why| Fault::new(FaultKind::Invalid, why))?;
        // The mark proves that it was read: an empty log is what healthy looks like.
        let line = "dmesg --level=emerg,alert,crit,err && echo @@end";
        let out = match tool::ask(probe, "dmesg", line, true, self.limit, self.missing).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "dmesg", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        let Some(said) = out.stdout.trim_end().strip_suffix("@@end") else { return Err(tool::garbage(probe, "dmesg", &out.stdout)) };
        let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
        let errors: Vec<&&str> = lines.iter().filter(|l| !ignore.iter().any(|p| p.is_match(l))).collect();
        let wrong: Vec<Blocker> = errors.iter().map(|l| Blocker::new("kernel", l.chars().take(200).collect::<String>())).collect();
        Ok(tool::verdict(tool::few(wrong, "kernel"), json!({ "ignored": lines.len() })))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::kinds::Config as _;

    fn config(ignore: &[&str], missing: Missing) -> Config {
        Config { ignore: ignore.iter().map(|p| p.to_string()).collect(), missing, limit: limit() }
    }
    const MCE: &str = "[    2.104233] mce: [Hardware Error]: Machine check events logged\n[   11.480277] EXT4-fs error (device sda1): ext4_lookup:1855: inode #131: comm ls\n";

    #[tokio::test]
    async fn errors_are_named_but_for_the_known_ones() {
        well(of(&config(&[], Missing::Fail), 0, "@@end\n").await);
        let said = format!("{MCE}@@end\n");
        let all = wrong(of(&config(&[], Missing::Fail), 0, &said).await);
        assert_eq!((all.len(), all[1].contains("EXT4-fs error (device sda1)")), (2, true));
        assert_eq!(wrong(of(&config(&["mce: .* logged$"], Missing::Fail), 0, &said).await).len(), 1);
        assert_eq!(well(of(&config(&["mce:", "EXT4"], Missing::Fail), 0, &said).await)["ignored"], 2);
        let flood = format!("{}@@end\n", "[1.0] oops\n".repeat(500));
        assert_eq!(wrong(of(&config(&[], Missing::Fail), 0, &flood).await).last().unwrap(), "kernel: and 492 more");
    }
    /// The line as `sh` runs it: an empty log, a full one, a tool that fails after it wrote half.
    #[tokio::test]
    async fn the_line_that_is_sent() {
        let dmesg = |script: &str| Tools::new(&[("dmesg", script)]);
        let check = config(&[], Missing::Fail);
        well(dmesg("[ \"$1\" = --level=emerg,alert,crit,err ]").look(&check).await);
        assert_eq!(wrong(dmesg("echo '[1.0] EDAC MC0: 1 UE'").look(&check).await), ["kernel: [1.0] EDAC MC0: 1 UE"]);
        assert_eq!(dmesg("echo '[1.0] half'; exit 1").look(&check).await.unwrap_err().kind, FaultKind::Unable);
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let denied = (1, "dmesg: read kernel buffer failed: Operation not permitted");
        let busybox = (1, "dmesg: unrecognized option '--level=emerg,alert,crit,err'\nBusyBox v1.36.1 multi-call binary.");
        never_silently_healthy(&config(&[], Missing::Fail), Some(&config(&[], Missing::Skip)), &[(0, ""), (0, "hello"), (0, MCE), denied, busybox]).await;
        for bad in ["(", "", ".*", "a?"] {
            assert!(config(&[bad], Missing::Fail).validate().is_err(), "{bad}");
        }
        assert!(config(&["mce:"], Missing::Fail).validate().is_ok());
    }
}
