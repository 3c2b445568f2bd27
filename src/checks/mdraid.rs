//! Check `mdraid`: every Linux software RAID array is whole and at rest.
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
    /// Arrays that must be there: `md0`. Without it those that are.
    #[serde(default)]
    pub arrays: Vec<String>,
    /// A host without software RAID.
    #[serde(default)]
    pub missing: Missing,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(15)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "mdraid";
    const ABOUT: &'static str = "Linux software RAID arrays have all their members and rebuild nothing";
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("mdraid: {}", if self.arrays.is_empty() { "every array".to_owned() } else { self.arrays.join(", ") })
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let line = "cat /proc/mdstat || exit 127";
        let out = match tool::ask(probe, "cat", line, false, self.limit, self.missing).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "cat /proc/mdstat", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        if !out.stdout.starts_with("Personalities") {
            return Err(tool::garbage(probe, "/proc/mdstat", &out.stdout));
        }
        let found = arrays(&out.stdout);
        let mut wrong: Vec<Blocker> =
            self.arrays.iter().filter(|a| !found.iter().any(|f| f.0 == **a)).map(|a| Blocker::new(a.clone(), "there is no such array")).collect();
        // Nothing to look at is nothing learnt, unless the inventory says that it may be so.
        if found.is_empty() && self.arrays.is_empty() {
            return match self.missing {
                Missing::Skip => Ok(Verdict::Healthy(json!({ "skipped": "no array, and the check says missing = \"skip\"" }))),
                Missing::Fail => Ok(Verdict::Unhealthy(vec![Blocker::new("mdraid", "there is no array")])),
            };
        }
        wrong.extend(found.iter().filter_map(|(name, why)| why.as_ref().map(|why| Blocker::new(name.clone(), why.clone()))));
        let names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
        Ok(if wrong.is_empty() { Verdict::Healthy(json!({ "arrays": names })) } else { Verdict::Unhealthy(wrong) })
    }
}

/// Every array, and what is wrong with it. A periodic check of a whole array is no fault; a rebuild is one: another member lost now would be data lost.
fn arrays(text: &str) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(" : ")
            && name.starts_with("md")
        {
            let failed: Vec<&str> = rest.split_whitespace().filter(|w| w.ends_with("(F)")).collect();
            let why = match () {
                _ if !rest.starts_with("active") => Some(rest.split_whitespace().next().unwrap_or("unreadable").to_owned()),
                _ if !failed.is_empty() => Some(format!("failed members: {}", failed.join(", "))),
                _ if rest.contains("(read-only)") => Some("read-only".to_owned()),
                _ => None,
            };
            found.push((name.trim().to_owned(), why));
        } else if let Some((_, why)) = found.last_mut() {
            // `[2/1] [U_]`: wanted, there; one letter each.
            let member_map =
                line.split_whitespace().find(|w| w.starts_with('[') && w.ends_with(']') && w.len() > 2 && w[1..w.len() - 1].chars().all(|c| "U_".contains(c)));
            if let Some(map) = member_map.filter(|m| m.contains('_')) {
                *why = Some(format!("degraded {map}{}", why.as_ref().map(|w| format!(", {w}")).unwrap_or_default()));
            }
            for word in ["recovery", "resync", "reshape"] {
                if let Some(rest) = line.split(&format!("{word} = ")).nth(1).or_else(|| line.split(&format!("{word}=")).nth(1)) {
                    let how = format!("{word} {}", rest.split_whitespace().next().unwrap_or_default());
                    *why = Some(why.as_ref().map_or_else(|| how.clone(), |w| format!("{w}, {how}")));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};

    fn config(arrays: &[&str], missing: Missing) -> Config {
        Config { arrays: arrays.iter().map(|a| a.to_string()).collect(), missing, limit: limit() }
    }
    const WHOLE: &str = "Personalities : [raid1] [raid6] [raid5] [raid4] \nmd1 : active raid1 sdb2[1] sda2[0]\n      467713024 blocks super 1.2 [2/2] [UU]\n\
        \x20     [===>.................]  check = 17.4% (81591808/467713024) finish=32.1min speed=200152K/sec\n      bitmap: 1/4 pages [4KB], 65536KB chunk\n\n\
        md0 : active raid1 sdb1[1] sda1[0]\n      1046528 blocks super 1.2 [2/2] [UU]\n      \nunused devices: <none>\n";

    #[tokio::test]
    async fn whole_degraded_rebuilding_absent() {
        assert_eq!(well(of(&config(&["md0"], Missing::Fail), 0, WHOLE).await)["arrays"], json!(["md1", "md0"]), "a periodic check is no fault");
        let degraded = WHOLE.replacen("[2/2] [UU]", "[2/1] [U_]", 1).replacen("sdb2[1]", "sdb2[1](F)", 1);
        assert_eq!(wrong(of(&config(&[], Missing::Fail), 0, &degraded).await), ["md1: degraded [U_], failed members: sdb2[1](F)"]);
        let rebuilds = WHOLE.replacen("[2/2] [UU]", "[2/1] [U_]", 1).replace("check =", "recovery =");
        assert_eq!(wrong(of(&config(&[], Missing::Fail), 0, &rebuilds).await), ["md1: degraded [U_], recovery 17.4%"]);
        assert_eq!(wrong(of(&config(&["md7"], Missing::Fail), 0, WHOLE).await), ["md7: there is no such array"]);
        let inactive = WHOLE.replacen("md0 : active raid1 sdb1[1] sda1[0]", "md0 : inactive sda1[0](S)", 1);
        assert_eq!(wrong(of(&config(&[], Missing::Fail), 0, &inactive).await), ["md0: inactive"]);
        let none = "Personalities : \nunused devices: <none>\n";
        assert_eq!(wrong(of(&config(&[], Missing::Fail), 0, none).await), ["mdraid: there is no array"]);
        assert!(well(of(&config(&[], Missing::Skip), 0, none).await)["skipped"].is_string());
    }
    #[tokio::test]
    async fn nonsense() {
        never_silently_healthy(&config(&[], Missing::Fail), Some(&config(&[], Missing::Skip)), &[(0, ""), (0, "md0 : active raid1"), (1, "")]).await;
    }
}
