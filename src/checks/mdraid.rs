//! Check `mdraid`: every Linux software RAID array is whole and at rest.
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
        let line = "[ -e /proc/mdstat ] || absent\ncat /proc/mdstat";
        let out = match tool::run(probe, "/proc/mdstat", line, false, self.limit, self.missing).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "cat /proc/mdstat", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        // Its first line and its last: between them nothing is missing.
        if !out.stdout.starts_with("Personalities") || !out.stdout.lines().any(|l| l.starts_with("unused devices:")) {
            return Err(tool::garbage(probe, "/proc/mdstat", &out.stdout));
        }
        Ok(tool::each("mdraid", "array", &self.arrays, &arrays(&out.stdout), self.missing))
    }
}

/// Every array, and what is wrong with it. A periodic check of a whole array is no fault; a rebuild is one: another member lost now would be data lost.
fn arrays(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(" : ").filter(|(name, _)| name.starts_with("md")) {
            let mut wrong = Vec::new();
            let failed: Vec<&str> = rest.split_whitespace().filter(|w| w.ends_with("(F)")).collect();
            match rest.split_whitespace().next() {
                Some("active") => {}
                state => wrong.push(format!("is {}", state.unwrap_or("unreadable"))),
            }
            if !failed.is_empty() {
                wrong.push(format!("failed members: {}", failed.join(", ")));
            }
            if rest.contains("(read-only)") {
                wrong.push("is read-only".to_owned());
            }
            found.push((name.trim().to_owned(), wrong));
        } else if let Some((_, wrong)) = found.last_mut() {
            let words: Vec<&str> = line.split_whitespace().collect();
            // What firmware RAID (IMSM, DDF) keeps its arrays in is never active itself; those name it: `external:/md127/0`.
            if words.iter().any(|w| w.strip_prefix("external:").is_some_and(|of| !of.starts_with('/'))) {
                found.pop();
                continue;
            }
            // `[2/1] [U_]`: wanted, there; one letter each.
            let map = words.iter().find_map(|w| w.strip_prefix('[')?.strip_suffix(']').filter(|m| !m.is_empty() && m.chars().all(|c| "U_".contains(c))));
            wrong.extend(map.filter(|m| m.contains('_')).map(|m| format!("degraded [{m}]")));
            for word in ["recovery", "resync", "reshape"] {
                let at = line.split(&format!("{word} = ")).nth(1).or_else(|| line.split(&format!("{word}=")).nth(1));
                wrong.extend(at.map(|rest| format!("{word} {}", rest.split_whitespace().next().unwrap_or_default())));
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
    /// As the kernel's md driver writes it, bitmap and periodic check included.
    const WHOLE: &str = "Personalities : [raid1] [raid6] [raid5] [raid4] \nmd1 : active raid1 sdb2[1] sda2[0]\n      467713024 blocks super 1.2 [2/2] [UU]\n\
        \x20     [===>.................]  check = 17.4% (81591808/467713024) finish=32.1min speed=200152K/sec\n      bitmap: 1/4 pages [4KB], 65536KB chunk\n\n\
        md0 : active raid1 sdb1[1] sda1[0]\n      1046528 blocks super 1.2 [2/2] [UU]\n      \nunused devices: <none>\n";
    fn one(array: &str) -> String {
        format!("Personalities : [raid1] [raid10] [raid6] [raid5] [raid4] [raid0] \n{array}\nunused devices: <none>\n")
    }
    async fn any(text: &str) -> Result<Verdict, Fault> {
        of(&config(&[], Missing::Fail), 0, text).await
    }

    #[tokio::test]
    async fn whole_ones_are_healthy() {
        assert_eq!(well(of(&config(&["md0"], Missing::Fail), 0, WHOLE).await)["found"].as_array().unwrap().len(), 2, "a periodic check is no fault");
        for array in [
            "md127 : active (auto-read-only) raid1 sdb3[1] sda3[0]\n      1046528 blocks super 1.2 [2/2] [UU]\n",
            "md0 : active raid0 nvme1n1[1] nvme0n1[0]\n      1046528 blocks super 1.2 512k chunks\n",
            "md2 : active raid10 sdd1[3] sdc1[2] sdb1[1] sda1[0]\n      7813771264 blocks super 1.2 512K chunks 2 near-copies [4/4] [UUUU]\n      bitmap: 0/59 pages [0KB], 65536KB chunk\n",
            "md5 : active raid5 sdd1[4](S) sdc1[3] sdb1[1] sda1[0]\n      2095104 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/3] [UUU]\n",
            // Intel VROC: the array, then the container that holds it.
            "md126 : active raid1 sda[1] sdb[0]\n      976759808 blocks super external:/md127/0 [2/2] [UU]\n\nmd127 : inactive sda[1](S) sdb[0](S)\n      5928 blocks super external:imsm\n       \n",
        ] {
            assert_eq!(well(any(&one(array)).await)["found"].as_array().unwrap().len(), 1, "{array}");
        }
    }
    #[tokio::test]
    async fn degraded_rebuilding_stopped_and_absent_ones_are_named() {
        for (from, to, said) in [
            ("[2/2] [UU]", "[2/1] [U_]", "md1: degraded [U_]"),
            ("check =", "recovery =", "md1: recovery 17.4%"),
            ("check =", "reshape =", "md1: reshape 17.4%"),
            ("[===>.................]  check = 17.4%", "resync=DELAYED", "md1: resync DELAYED"),
            ("[===>.................]  check = 17.4%", "resync=PENDING", "md1: resync PENDING"),
            ("sdb2[1]", "sdb2[1](F)", "md1: failed members: sdb2[1](F)"),
            ("md1 : active raid1", "md1 : active (read-only) raid1", "md1: is read-only"),
            ("md0 : active raid1 sdb1[1] sda1[0]", "md0 : inactive sda1[0](S)", "md0: is inactive"),
            ("md0 : active raid1", "md0 : broken raid0", "md0: is broken"),
        ] {
            assert_eq!(wrong(any(&WHOLE.replacen(from, to, 1)).await), [said]);
        }
        let both = WHOLE.replacen("[2/2] [UU]", "[2/1] [U_]", 1).replace("check =", "recovery =");
        assert_eq!(wrong(any(&both).await), ["md1: degraded [U_]", "md1: recovery 17.4%"]);
        assert_eq!(wrong(of(&config(&["md7"], Missing::Fail), 0, WHOLE).await), ["md7: there is no such array"]);
    }
    #[tokio::test]
    async fn no_array_is_a_question_of_policy() {
        let none = "Personalities : \nunused devices: <none>\n";
        assert_eq!(wrong(any(none).await), ["mdraid: there is no array"]);
        assert!(well(of(&config(&[], Missing::Skip), 0, none).await)["skipped"].is_string());
        assert_eq!(wrong(of(&config(&["md0"], Missing::Skip), 0, none).await), ["md0: there is no such array"], "what is named has to be there");
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let garbage = [(0, ""), (0, "md0 : active raid1"), (0, &WHOLE[..300]), (0, "Personalities : [raid1] \n"), (1, ""), (127, "cat: not found")];
        for missing in [Missing::Fail, Missing::Skip] {
            never_silently_healthy(&config(&[], Missing::Fail), Some(&config(&[], Missing::Skip)), &garbage).await;
            for (status, said) in garbage {
                assert!(of(&config(&[], missing), status, said).await.is_err(), "{said}");
            }
        }
    }
}
