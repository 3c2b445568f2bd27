//! Check `zfs`: every pool is online, has no errors and resilvers nothing.
use super::{
    Check, Probe, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Fault, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

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
        if found.is_empty() && self.pools.is_empty() {
            return match self.missing {
                Missing::Skip => Ok(Verdict::Healthy(json!({ "skipped": "no pool, and the check says missing = \"skip\"" }))),
                Missing::Fail => Ok(Verdict::Unhealthy(vec![Blocker::new("zfs", "there is no pool")])),
            };
        }
        let absent = self.pools.iter().filter(|p| !found.iter().any(|(name, _)| name == *p)).map(|p| Blocker::new(p.clone(), "is not imported"));
        let wrong: Vec<Blocker> = absent.chain(found.iter().flat_map(|(name, why)| why.iter().map(|w| Blocker::new(name.clone(), w.clone())))).collect();
        let names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
        Ok(if wrong.is_empty() { Verdict::Healthy(json!({ "pools": names })) } else { Verdict::Unhealthy(wrong) })
    }
}

/// Every pool with what is wrong with it. One that does not state its state is not well.
fn pools(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for block in text.split("pool: ").skip(1) {
        let value = |key: &str| block.lines().find_map(|l| l.trim().strip_prefix(key)).map(str::trim);
        let name = block.lines().next().unwrap_or_default().trim().to_owned();
        let mut wrong = Vec::new();
        match value("state:") {
            Some("ONLINE") => {}
            Some(state) => wrong.push(format!("is {state}")),
            None => wrong.push("does not say its state".to_owned()),
        }
        if value("scan:").is_some_and(|scan| scan.starts_with("resilver in progress")) {
            wrong.push("resilvers".to_owned());
        }
        match value("errors:") {
            Some("No known data errors") | None => {}
            Some(errors) => wrong.push(errors.to_owned()),
        }
        // A member that is away in a pool that still calls itself online (a spare took over).
        let bad = ["FAULTED", "UNAVAIL", "OFFLINE", "REMOVED"];
        let members = block.lines().filter(|l| l.starts_with('\t')).filter_map(|l| {
            let mut words = l.split_whitespace();
            let (member, state) = (words.next()?, words.next()?);
            bad.contains(&state).then(|| format!("{member} is {state}"))
        });
        wrong.extend(members);
        found.push((name, wrong));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};

    fn config(missing: Missing) -> Config {
        Config { pools: vec!["tank".into()], missing, limit: limit() }
    }
    // zfs 2.1, Debian 12.
    const WELL: &str = "  pool: tank\n state: ONLINE\n  scan: scrub repaired 0B in 00:01:12 with 0 errors on Sun Nov  9 00:25:13 2026\nconfig:\n\n\
        \tNAME        STATE     READ WRITE CKSUM\n\ttank        ONLINE       0     0     0\n\t  mirror-0  ONLINE       0     0     0\n\
        \t    sda     ONLINE       0     0     0\n\t    sdb     ONLINE       0     0     0\n\nerrors: No known data errors\n";

    #[tokio::test]
    async fn online_degraded_resilvering_absent() {
        assert_eq!(well(of(&config(Missing::Fail), 0, WELL).await)["pools"], json!(["tank"]));
        let degraded = WELL.replace("state: ONLINE", "state: DEGRADED").replace("sdb     ONLINE ", "sdb     FAULTED");
        assert_eq!(wrong(of(&config(Missing::Fail), 0, &degraded).await), ["tank: is DEGRADED", "tank: sdb is FAULTED"]);
        let resilvers = WELL.replace("scrub repaired 0B in 00:01:12 with 0 errors on", "resilver in progress since");
        assert_eq!(wrong(of(&config(Missing::Fail), 0, &resilvers).await), ["tank: resilvers"]);
        let errors = WELL.replace("No known data errors", "3 data errors, use '-v' for a list");
        assert_eq!(wrong(of(&config(Missing::Fail), 0, &errors).await), ["tank: 3 data errors, use '-v' for a list"]);
        assert_eq!(wrong(of(&config(Missing::Fail), 0, "no pools available\n").await), ["tank: is not imported"]);
        let any = Config { pools: vec![], ..config(Missing::Skip) };
        assert!(well(of(&any, 0, "no pools available\n").await)["skipped"].is_string());
    }
    #[tokio::test]
    async fn nonsense() {
        never_silently_healthy(&config(Missing::Fail), Some(&config(Missing::Skip)), &[(0, ""), (0, "state: ONLINE"), (1, "sudo: a password is required")])
            .await;
        assert_eq!(wrong(of(&config(Missing::Fail), 0, "  pool: tank\n").await), ["tank: does not say its state"]);
    }
}
