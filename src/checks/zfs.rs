//! Check `zfs`: every pool is online, has no errors and resilvers nothing.
use super::{
    Check, Probe, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Fault, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pools that must be there; without it those that are.
    #[serde(default)]
    pub pools: Vec<String>,
    /// A host without ZFS.
    #[serde(default)]
    pub missing: Missing,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(30)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "zfs";
    const ABOUT: &'static str = "ZFS pools are online, without errors, and resilver nothing";
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("zfs: {}", if self.pools.is_empty() { "every pool".to_owned() } else { self.pools.join(", ") })
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let out = match tool::ask(probe, "zpool", "LC_ALL=C zpool status", true, self.limit, self.missing).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "zpool", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        let found = pools(&out.stdout);
        if found.is_empty() && !format!("{}{}", out.stdout, out.stderr).contains("no pools available") {
            return Err(tool::garbage(probe, "zpool status", &out.stdout));
        }
        Ok(tool::each("zfs", "pool", &self.pools, &found, self.missing))
    }
}

/// Every pool with what is wrong with it. One that does not say its state, or that it has no errors, is not well.
fn pools(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.trim().strip_prefix("pool:"), found.last_mut()) {
            (Some(name), _) => found.push((name.trim().to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    found.into_iter().map(|(name, lines)| (name, judge(&lines))).collect()
}

fn judge(lines: &[&str]) -> Vec<String> {
    let value = |key: &str| lines.iter().find_map(|l| l.trim().strip_prefix(key)).map(str::trim);
    let mut wrong = Vec::new();
    match value("state:") {
        Some("ONLINE") => {}
        Some(state) => wrong.push(format!("is {state}")),
        None => wrong.push("does not say its state".to_owned()),
    }
    // `resilver in progress since …`, and of a sequential one `resilver (mirror-0) in progress since …`, a line of its own beside the last scrub's.
    let scan = |l: &&&str| l.trim().trim_start_matches("scan:").trim_start().starts_with("resilver") && l.contains(" in progress");
    if lines.iter().any(|l| scan(&l)) {
        wrong.push("resilvers".to_owned());
    }
    match value("errors:") {
        Some("No known data errors") => {}
        Some(errors) => wrong.push(errors.to_owned()),
        None => wrong.push("does not say whether it has errors".to_owned()),
    }
    // A member that is away in a pool that still calls itself online (a spare took over), and errors that redundancy has healed so far.
    for line in lines.iter().filter(|l| l.starts_with('\t')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [member, state, counts @ ..] = words.as_slice() else { continue };
        if ["FAULTED", "UNAVAIL", "OFFLINE", "REMOVED"].contains(state) {
            wrong.push(format!("{member} is {state}"));
        }
        // Large counts are written `1.2K`.
        let counted = |n: &&str| n.starts_with(|c: char| c.is_ascii_digit()) && n.trim_end_matches(|c: char| c.is_ascii_uppercase()).parse::<f64>().is_ok();
        if let [read, write, cksum, ..] = counts
            && [read, write, cksum].into_iter().all(counted)
            && [read, write, cksum].into_iter().any(|n| *n != "0")
        {
            wrong.push(format!("{member} has errors: read {read}, write {write}, checksum {cksum}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};

    fn config(pools: &[&str], missing: Missing) -> Config {
        Config { pools: pools.iter().map(|p| p.to_string()).collect(), missing, limit: limit() }
    }
    /// As OpenZFS 2.1 writes it.
    const WELL: &str = "  pool: tank\n state: ONLINE\n  scan: scrub repaired 0B in 00:01:12 with 0 errors on Sun Nov  9 00:25:13 2026\nconfig:\n\n\
        \tNAME        STATE     READ WRITE CKSUM\n\ttank        ONLINE       0     0     0\n\t  mirror-0  ONLINE       0     0     0\n\
        \t    sda     ONLINE       0     0     0\n\t    sdb     ONLINE       0     0     0\n\nerrors: No known data errors\n";
    async fn tank(text: &str) -> Result<Verdict, Fault> {
        of(&config(&["tank"], Missing::Fail), 0, text).await
    }

    #[tokio::test]
    async fn online_pools_are_healthy() {
        assert_eq!(well(tank(WELL).await)["found"][0], "tank");
        // OpenZFS 0.8 before the first scrub; 2.2 with features off, a spare, a log and a cache; two pools.
        let new = WELL.replace("  scan: scrub repaired 0B in 00:01:12 with 0 errors on Sun Nov  9 00:25:13 2026\n", "  scan: none requested\n");
        let old = "status: Some supported and requested features are not enabled on the pool.\n\tThe pool can still be used, but some features are unavailable.\n\
            action: Enable all features using 'zpool upgrade'. Once this is done,\n\tthe pool may no longer be accessible by software that does not support\n\tthe features. See zpool-features(7) for details.\n";
        let rest = "\tlogs\n\t  nvme0n1   ONLINE       0     0     0\n\tcache\n\t  nvme1n1   ONLINE       0     0     0\n\tspares\n\t  sdc       AVAIL\n";
        let more = WELL.replace("  scan:", &format!("{old}  scan:")).replace("\n\nerrors:", &format!("\n{rest}\nerrors:"));
        let scrubs = WELL.replace("scrub repaired 0B in 00:01:12 with 0 errors on", "scrub in progress since");
        for text in [new, more, scrubs, format!("{WELL}\n{}", WELL.replace("tank", "rpool"))] {
            well(tank(&text).await);
        }
    }
    #[tokio::test]
    async fn degraded_resilvering_erring_and_absent_ones_are_named() {
        let degraded = WELL.replace("state: ONLINE", "state: DEGRADED").replace("sdb     ONLINE ", "sdb     FAULTED");
        assert_eq!(wrong(tank(&degraded).await), ["tank: is DEGRADED", "tank: sdb is FAULTED"]);
        let scrub = "scrub repaired 0B in 00:01:12 with 0 errors on Sun Nov  9 00:25:13 2026";
        for (from, to, said) in [
            (scrub, "resilver in progress since Sun Nov  9 00:25:13 2026\n\t1.02G scanned at 348M/s", "tank: resilvers"),
            (scrub, "resilver (mirror-0) in progress since Sun Nov  9 00:25:13 2026", "tank: resilvers"),
            ("No known data errors", "3 data errors, use '-v' for a list", "tank: 3 data errors, use '-v' for a list"),
            ("No known data errors", "List of errors unavailable: permission denied", "tank: List of errors unavailable: permission denied"),
            ("state: ONLINE", "state: SUSPENDED", "tank: is SUSPENDED"),
            ("sdb     ONLINE       0     0     0", "sdb     ONLINE       0     0    12", "tank: sdb has errors: read 0, write 0, checksum 12"),
            ("sdb     ONLINE       0     0     0", "sdb     ONLINE       3  1.2K     0", "tank: sdb has errors: read 3, write 1.2K, checksum 0"),
            ("sdb     ONLINE ", "sdb     REMOVED", "tank: sdb is REMOVED"),
        ] {
            assert_eq!(wrong(tank(&WELL.replace(from, to)).await), [said]);
        }
        assert_eq!(wrong(of(&config(&["rpool"], Missing::Fail), 0, WELL).await), ["rpool: there is no such pool"]);
        assert_eq!(wrong(tank("no pools available\n").await), ["tank: there is no such pool"]);
    }
    #[tokio::test]
    async fn no_pool_is_a_question_of_policy() {
        assert_eq!(wrong(of(&config(&[], Missing::Fail), 0, "no pools available\n").await), ["zfs: there is no pool"]);
        assert!(well(of(&config(&[], Missing::Skip), 0, "no pools available\n").await)["skipped"].is_string());
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let no_module = "The ZFS modules cannot be auto-loaded.\nTry running 'modprobe zfs' as root to manually load them.\n";
        let garbage = [(0, ""), (0, "state: ONLINE"), (1, "sudo: a password is required"), (1, no_module)];
        never_silently_healthy(&config(&[], Missing::Fail), Some(&config(&[], Missing::Skip)), &garbage).await;
        assert_eq!(wrong(tank("  pool: tank\n").await), ["tank: does not say its state", "tank: does not say whether it has errors"]);
        for at in (16..WELL.len() - 1).step_by(7) {
            assert!(!matches!(tank(&WELL[..at]).await, Ok(Verdict::Healthy(_))), "broke off after {at} bytes");
        }
    }
}
