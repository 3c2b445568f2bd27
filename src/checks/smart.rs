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
        Ok(tool::verdict(wrong, json!({ "disks": seen })))
    }
}

fn judge(said: &str, most_used: u32) -> Vec<String> {
    let value = |key: &str| said.lines().find_map(|l| l.trim().strip_prefix(key)).map(|v| v.trim_start_matches([':', ' ', '=']).trim());
    let health = value("SMART overall-health self-assessment test result").or(value("SMART Health Status"));
    let ended: Option<u32> = value("@=").and_then(|s| s.parse().ok());
    let mut wrong = Vec::new();
    match health {
        Some("PASSED" | "OK") => {}
        Some(other) => wrong.push(format!("says {other}")),
        None => wrong.push(format!(
            "does not say whether it is healthy (smartctl ended with {}): {}",
            ended.map_or_else(|| "no status".to_owned(), |status| status.to_string()),
            tool::last_line(said.split("@=").next().unwrap_or_default())
        )),
    }
    // smartctl(8): bit 0 or 1 it was not asked at all, bit 3 disk failing, bit 4 prefail attributes at their threshold now.
    match ended {
        _ if !wrong.is_empty() => {}
        None => wrong.push("its answer broke off".to_owned()),
        Some(status) if status & 0b11 != 0 => wrong.push(format!("could not be asked: smartctl ended with {status}")),
        Some(status) if status & 0b1_1000 != 0 => wrong.push("an attribute is at its threshold".to_owned()),
        Some(_) => {}
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
    // In the form of smartctl 6.6 to 7.4, shortened.
    const SATA: &str = "@@/dev/sda -d sat \nsmartctl 7.3 2022-02-28 r5338 [x86_64-linux-6.1.0-18-amd64] (local build)\n\n=== START OF READ SMART DATA SECTION ===\n\
        SMART overall-health self-assessment test result: PASSED\n\nID# ATTRIBUTE_NAME          FLAG     VALUE WORST THRESH TYPE      UPDATED  WHEN_FAILED RAW_VALUE\n\
        \x20 5 Reallocated_Sector_Ct   0x0033   100   100   010    Pre-fail  Always       -       0\n@=0\n";
    const NVME: &str = "@@/dev/nvme0 -d nvme \n=== START OF SMART DATA SECTION ===\nSMART overall-health self-assessment test result: PASSED\n\n\
        SMART/Health Information (NVMe Log 0x02)\nCritical Warning:                   0x00\nAvailable Spare:                    100%\nPercentage Used:                    3%\n@=0\n";
    const SAS: &str = "@@/dev/sdb -d scsi \n=== START OF READ SMART DATA SECTION ===\nSMART Health Status: OK\n\nCurrent Drive Temperature:     31 C\n\
        Elements in grown defect list: 0\n@=0\n";
    const RAID: &str = "@@/dev/bus/0 -d megaraid,8 \n=== START OF READ SMART DATA SECTION ===\nSMART Health Status: OK\n@=0\n";

    #[tokio::test]
    async fn disks_of_every_kind_are_healthy() {
        let all = format!("{SATA}{NVME}{SAS}{RAID}@@end\n");
        assert_eq!(well(of(&config(Missing::Fail), 0, &all).await)["disks"].as_array().unwrap().len(), 4);
        // An attribute that was low once (bit 5), an old error in the log (bit 6), a self-test that failed (bit 7) and one of SMART's commands (bit 2): it still says PASSED.
        well(of(&config(Missing::Fail), 0, &all.replacen("@=0", "@=228", 1)).await);
    }
    #[tokio::test]
    async fn each_ill_disk_is_named() {
        let all = format!("{SATA}{NVME}{SAS}{RAID}@@end\n");
        for (from, to, said) in [
            ("result: PASSED", "result: FAILED!\nDrive failure expected in less than 24 hours. SAVE ALL DATA.", "/dev/sda -d sat: says FAILED!"),
            ("result: PASSED", "result: UNKNOWN!", "/dev/sda -d sat: says UNKNOWN!"),
            ("@=0", "@=16", "/dev/sda -d sat: an attribute is at its threshold"),
            ("@=0", "@=8", "/dev/sda -d sat: an attribute is at its threshold"),
            ("@=0", "@=2", "/dev/sda -d sat: could not be asked: smartctl ended with 2"),
            ("@=0\n", "", "/dev/sda -d sat: its answer broke off"),
            ("Warning:                   0x00", "Warning:                   0x04", "/dev/nvme0 -d nvme: critical warning 0x04"),
            ("3%", "97%", "/dev/nvme0 -d nvme: 97 % of its life is used, at most 90 %"),
            (
                "Status: OK",
                "Status: FAILURE PREDICTION THRESHOLD EXCEEDED [asc=5d, ascq=0]",
                "/dev/sdb -d scsi: says FAILURE PREDICTION THRESHOLD EXCEEDED [asc=5d, ascq=0]",
            ),
        ] {
            assert_eq!(wrong(of(&config(Missing::Fail), 0, &all.replacen(from, to, 1)).await), [said]);
        }
        for (text, said) in [
            ("Smartctl open device: /dev/sdc failed: No such device\n@=2", "(smartctl ended with 2): Smartctl open device: /dev/sdc failed"),
            ("SMART Disabled. Use option -s with argument 'on' to enable it.\n@=4", "(smartctl ended with 4): SMART Disabled"),
            ("/dev/sdc: Unknown USB bridge [0x0781:0x5581 (0x100)]\n@=1", "(smartctl ended with 1): /dev/sdc: Unknown USB bridge"),
            ("%$&/", "(smartctl ended with no status): %$&/"),
        ] {
            let named = wrong(of(&config(Missing::Fail), 0, &format!("@@/dev/sdc \n{text}\n@@end\n")).await);
            assert!(named[0].starts_with("/dev/sdc: does not say whether it is healthy") && named[0].contains(said), "{named:?}");
        }
    }
    /// The loop over the disks as `sh` runs it: kinds and comments of `--scan`, the status of each, none found.
    #[tokio::test]
    async fn the_line_that_is_sent() {
        let found = "/dev/sda -d sat # /dev/sda [SAT], ATA device\n/dev/bus/0 -d megaraid,8 # /dev/bus/0 [megaraid_disk_08], SCSI device\n";
        let script = |scan: &str| {
            format!(
                "case \"$*\" in --scan) printf '{scan}' ;; '-H -A -d sat /dev/sda') echo 'SMART overall-health self-assessment test result: PASSED'; exit 64 ;; \
                '-H -A /dev/sdz') echo 'SMART Health Status: OK' ;; '-H -A -d megaraid,8 /dev/bus/0') echo 'SMART Health Status: BAD' ;; *) echo \"$*?\"; exit 1 ;; esac"
            )
        };
        let host = Tools::new(&[("smartctl", &script(found))]);
        assert_eq!(wrong(host.look(&config(Missing::Fail)).await), ["/dev/bus/0 -d megaraid,8: says BAD"]);
        well(host.look(&Config { devices: vec!["/dev/sdz".into()], ..config(Missing::Fail) }).await);
        let none = Tools::new(&[("smartctl", &script(""))]).look(&config(Missing::Skip)).await.unwrap_err();
        assert!(none.to_string().contains("smartctl finds no disk"), "{none}");
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
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
