//! Check `smart`: every disk says of itself that it is healthy (smartmontools, SATA, SAS and NVMe).
use super::{
    Check, Probe, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `/dev/sda`; without it every disk that smartctl finds.
    #[serde(default)]
    pub devices: Vec<String>,
    /// NVMe: percent of its written life that may be used up.
    #[serde(default = "hundred")]
    pub used: u32,
    /// Without smartctl on the host.
    #[serde(default)]
    pub missing: Missing,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn hundred() -> u32 {
    100
}
fn limit() -> Span {
    Span::minutes(1)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "smart";
    const ABOUT: &'static str = "disks say by SMART or NVMe health that they are well";
    fn validate(&self) -> Result<(), String> {
        let plain = |d: &String| d.starts_with("/dev/") && d.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.:".contains(c));
        match self.devices.iter().find(|d| !plain(d)) {
            Some(d) => Err(format!("`{d}` is no device: such as /dev/sda")),
            None if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        format!("smart: {}", if self.devices.is_empty() { "every disk".to_owned() } else { self.devices.join(", ") })
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        kinds::Config::validate(self).map_err(|why| Fault::new(FaultKind::Invalid, why))?;
        let list = match self.devices.is_empty() {
            true => "smartctl --scan".to_owned(),
            false => format!("printf '%s\\n' {}", self.devices.join(" ")),
        };
        // `--scan` says `/dev/sda -d scsi # a comment`.
        let line = format!(
            "{list} | while read -r d rest; do rest=${{rest%%#*}}; printf '@@%s\\n' \"$d${{rest:+ }}$rest\"; smartctl -H -A $rest \"$d\"; printf '@=%s\\n' $?; done; echo @@end"
        );
        let out = match tool::ask(probe, "smartctl", &line, true, self.limit, self.missing).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "smartctl", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        let Some((_, body)) = out.stdout.trim_end().strip_suffix("@@end").map(|b| ("", b)) else {
            return Err(tool::garbage(probe, "smartctl", &out.stdout));
        };
        let (mut wrong, mut seen) = (Vec::new(), Vec::new());
        for block in body.split("@@").filter(|b| !b.trim().is_empty()) {
            let (disk, said) = block.split_once('\n').unwrap_or((block, ""));
            seen.push(disk.trim().to_owned());
            wrong.extend(judge(said, self.used).into_iter().map(|why| Blocker::new(disk.trim(), why)));
        }
        if seen.is_empty() {
            return Err(Fault::new(FaultKind::Unable, format!("{}: smartctl finds no disk", probe.node))
                .next("name them in `devices`; behind a RAID controller each needs its own"));
        }
        Ok(if wrong.is_empty() { Verdict::Healthy(json!({ "disks": seen })) } else { Verdict::Unhealthy(wrong) })
    }
}

fn judge(said: &str, most_used: u32) -> Vec<String> {
    let value = |key: &str| said.lines().find_map(|l| l.trim().strip_prefix(key)).map(|v| v.trim_start_matches([':', ' ', '=']).trim());
    let health = value("SMART overall-health self-assessment test result").or(value("SMART Health Status"));
    let status: u32 = value("@=").and_then(|s| s.parse().ok()).unwrap_or(u32::MAX);
    let mut wrong = Vec::new();
    match health {
        Some("PASSED" | "OK") => {}
        Some(other) => wrong.push(format!("says {other}")),
        None => wrong.push(format!(
            "does not say whether it is healthy (smartctl ended with {status}): {}",
            tool::last_line(said.split("@=").next().unwrap_or_default())
        )),
    }
    // smartctl(8): bit 3 disk failing, bit 4 prefail attributes at their threshold now.
    if health.is_some() && status != u32::MAX && status & 0b1_1000 != 0 && wrong.is_empty() {
        wrong.push("an attribute is at its threshold".to_owned());
    }
    if let Some(warning) = value("Critical Warning").filter(|w| *w != "0x00") {
        wrong.push(format!("critical warning {warning}"));
    }
    let used = value("Percentage Used").and_then(|v| v.trim_end_matches('%').parse::<u32>().ok());
    if let Some(used) = used.filter(|u| *u > most_used) {
        wrong.push(format!("{used} % of its life is used, at most {most_used} %"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::kinds::Config as _;

    fn config(missing: Missing) -> Config {
        Config { devices: vec![], used: 90, missing, limit: limit() }
    }
    // smartctl 7.3, Debian 12; shortened.
    const SATA: &str = "@@/dev/sda -d sat \nsmartctl 7.3 2022-02-28 r5338 [x86_64-linux-6.1.0-18-amd64] (local build)\n\n=== START OF READ SMART DATA SECTION ===\n\
        SMART overall-health self-assessment test result: PASSED\n\nID# ATTRIBUTE_NAME          FLAG     VALUE WORST THRESH TYPE      UPDATED  WHEN_FAILED RAW_VALUE\n\
        \x20 5 Reallocated_Sector_Ct   0x0033   100   100   010    Pre-fail  Always       -       0\n@=0\n";
    const NVME: &str = "@@/dev/nvme0 -d nvme \n=== START OF SMART DATA SECTION ===\nSMART overall-health self-assessment test result: PASSED\n\n\
        SMART/Health Information (NVMe Log 0x02)\nCritical Warning:                   0x00\nAvailable Spare:                    100%\nPercentage Used:                    3%\n@=0\n";
    const SAS: &str = "@@/dev/sdb -d scsi \nSMART Health Status: OK\n@=0\n";

    #[tokio::test]
    async fn disks_are_well_or_named() {
        let all = format!("{SATA}{NVME}{SAS}@@end\n");
        assert_eq!(well(of(&config(Missing::Fail), 0, &all).await)["disks"].as_array().unwrap().len(), 3);
        let failing = all.replacen("result: PASSED", "result: FAILED!", 1).replacen("@=0", "@=8", 1);
        assert_eq!(wrong(of(&config(Missing::Fail), 0, &failing).await), ["/dev/sda -d sat: says FAILED!"]);
        assert_eq!(wrong(of(&config(Missing::Fail), 0, &all.replacen("@=0", "@=16", 1)).await), ["/dev/sda -d sat: an attribute is at its threshold"]);
        assert_eq!(wrong(of(&config(Missing::Fail), 0, &all.replace("0x00", "0x04")).await), ["/dev/nvme0 -d nvme: critical warning 0x04"]);
        assert_eq!(wrong(of(&config(Missing::Fail), 0, &all.replace("3%", "97%")).await), ["/dev/nvme0 -d nvme: 97 % of its life is used, at most 90 %"]);
        let dead = "@@/dev/sdc \nSmartctl open device: /dev/sdc failed: No such device\n@=2\n@@end\n";
        assert!(
            wrong(of(&config(Missing::Fail), 0, dead).await)[0].contains("does not say whether it is healthy (smartctl ended with 2): Smartctl open device")
        );
    }
    #[tokio::test]
    async fn nonsense() {
        never_silently_healthy(
            &config(Missing::Fail),
            Some(&config(Missing::Skip)),
            &[(0, ""), (0, "@@end\n"), (0, SATA), (1, "sudo: a password is required")],
        )
        .await;
        for bad in ["sda", "/dev/sd a", "/dev/$(reboot)", "/dev/sda;x"] {
            assert!(Config { devices: vec![bad.into()], ..config(Missing::Fail) }.validate().is_err(), "{bad}");
        }
    }
}
