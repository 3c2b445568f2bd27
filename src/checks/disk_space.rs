//! Check `disk-space`: file systems have room and inodes left, and none went read-only.
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
    /// Only these paths; without it every local file system.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Percent that must be free.
    #[serde(default = "ten")]
    pub free: u32,
    /// Percent of the inodes that must be free.
    #[serde(default = "five")]
    pub inodes: u32,
    /// Mount points that may be read-only.
    #[serde(default)]
    pub read_only: Vec<String>,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn ten() -> u32 {
    10
}
fn five() -> u32 {
    5
}
fn limit() -> Span {
    Span::seconds(30)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "disk-space";
    const ABOUT: &'static str = "file systems have room left, and none of them went read-only";
    fn validate(&self) -> Result<(), String> {
        match self.paths.iter().chain(&self.read_only).find(|p| !p.starts_with('/') || p.contains(['\n', '\0'])) {
            Some(p) => Err(format!("`{p}` is not an absolute path")),
            None if self.free > 100 || self.inodes > 100 => Err("`free` and `inodes` are percent: 0 to 100".into()),
            None if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

/// Never writable, and none of anybody's business.
const PASSING: [&str; 12] = ["squashfs", "iso9660", "udf", "overlay", "tmpfs", "devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "ramfs", "autofs"];

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        let of = if self.paths.is_empty() { "every local file system".to_owned() } else { self.paths.join(", ") };
        format!("disk-space: {of}, {} % free", self.free)
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        // A network file system whose server is away would hang df.
        let of = match self.paths.is_empty() {
            true => "-l -x tmpfs -x devtmpfs -x overlay -x squashfs".to_owned(),
            false => format!("-- {}", self.paths.iter().map(|p| tool::quoted(p)).collect::<Vec<_>>().join(" ")),
        };
        let line =
            format!("export LC_ALL=C\ndf -P -k {of} || exit 1\necho @@inodes\ndf -P -i {of} || exit 1\necho @@mounts\ncat /proc/mounts || exit 1\necho @@end");
        let out = match tool::ask(probe, "df", &line, false, self.limit, Missing::Fail).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "df", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        let garbage = || tool::garbage(probe, "df", &out.stdout);
        let (space, rest) = out.stdout.split_once("@@inodes\n").ok_or_else(garbage)?;
        let (inodes, rest) = rest.split_once("@@mounts\n").ok_or_else(garbage)?;
        let (mounts, _) = rest.split_once("@@end").ok_or_else(garbage)?;
        let (space, inodes) = (rows(space).ok_or_else(garbage)?, rows(inodes).ok_or_else(garbage)?);
        let mounts: Vec<Vec<&str>> = mounts.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).filter(|f| f.len() >= 4).collect();
        // Every host has a root: without it this is no list of mounts, and nothing in it would be read-only.
        if !mounts.iter().any(|f| f[1] == "/") {
            return Err(garbage());
        }
        let mut wrong = Vec::new();
        for (what, rows, wanted) in [("of its room", &space, self.free), ("of its inodes", &inodes, self.inodes)] {
            for row in rows.iter().filter(|r| r.total > 0) {
                // As df counts: what is reserved for root is not free.
                let free = row.free.saturating_mul(100) / (row.free + row.used).max(1);
                if free < u64::from(wanted) {
                    wrong.push(Blocker::new(row.target.clone(), format!("{free} % {what} is free, wanted {wanted} %")));
                }
            }
        }
        let mine = |target: &str| self.paths.is_empty() || space.iter().any(|r| r.target == target);
        for fields in mounts {
            let target = tool::unescaped(fields[1]);
            let on_disk = fields[0].starts_with('/') || fields[2] == "zfs";
            if on_disk && !PASSING.contains(&fields[2]) && fields[3].split(',').any(|o| o == "ro") && mine(&target) && !self.read_only.contains(&target) {
                wrong.push(Blocker::new(target, "is read-only"));
            }
        }
        let seen: Vec<_> = space.iter().map(|r| format!("{} {} KiB free", r.target, r.free)).collect();
        Ok(tool::verdict(wrong, json!({ "free": seen })))
    }
}

struct Row {
    total: u64,
    used: u64,
    free: u64,
    target: String,
}
/// POSIX df: source, total, used, free, percent, target. None: not a single row, or one that is none. `-` stands for not known (btrfs inodes).
fn rows(text: &str) -> Option<Vec<Row>> {
    let rows: Option<Vec<Row>> = text
        .lines()
        .skip(1)
        .map(|line| {
            // The source may hold spaces, and so may the target: the numbers stand between them.
            let fields: Vec<&str> = line.split_whitespace().collect();
            let percent = fields.iter().skip(4).position(|f| f.ends_with('%') || *f == "-")? + 4;
            let number = |i: usize| fields.get(i).and_then(|f| if *f == "-" { Some(0) } else { f.parse().ok() });
            let target = fields.get(percent + 1..)?.join(" ");
            (target.starts_with('/')).then_some(Row { total: number(percent - 3)?, used: number(percent - 2)?, free: number(percent - 1)?, target })
        })
        .collect();
    rows.filter(|r| !r.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::{kinds::Config as _, model::FaultKind};

    fn config() -> Config {
        Config { paths: vec![], free: 10, inodes: 5, read_only: vec![], limit: limit() }
    }
    fn said(used: u64, free: u64, inodes_free: u64, root: &str) -> String {
        format!(
            "Filesystem     1024-blocks     Used Available Capacity Mounted on\n/dev/sda1 {} {used} {free} 50% /\n/dev/sdb1 1000 1 999 1% /srv/my data\n@@inodes\n\
             Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/sda1 1000 {} {inodes_free} 1% /\n/dev/sdb1 0 0 0 - /srv/my data\n@@mounts\n\
             /dev/sda1 / ext4 {root},relatime 0 0\n/dev/loop3 /snap/core squashfs ro 0 0\n/dev/sdb1 /srv/my\\040data btrfs rw 0 0\nproc /proc proc ro 0 0\n@@end\n",
            used + free,
            1000 - inodes_free
        )
    }
    #[tokio::test]
    async fn room_inodes_and_read_only() {
        well(of(&config(), 0, &said(500, 500, 900, "rw")).await);
        assert_eq!(wrong(of(&config(), 0, &said(950, 50, 900, "rw")).await), ["/: 5 % of its room is free, wanted 10 %"]);
        assert_eq!(wrong(of(&config(), 0, &said(500, 500, 10, "rw")).await), ["/: 1 % of its inodes is free, wanted 5 %"]);
        assert_eq!(wrong(of(&config(), 0, &said(500, 500, 900, "ro")).await), ["/: is read-only"]);
        well(of(&Config { read_only: vec!["/".into()], ..config() }, 0, &said(500, 500, 900, "ro")).await);
    }
    /// GNU df, and busybox's: a source with a space, a long one, btrfs and vfat without inodes, an automounted one that is not there yet.
    #[test]
    fn rows_of_df() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/mapper/vg0-root 102400 51200 51200 50% /\n\
            //nas.example/my share 1000 10 990 2% /mnt/my share\n/dev/sda1 523248 6 523242 1% /boot/efi\nsystemd-1 0 0 0 - /proc/sys/fs/binfmt_misc\n";
        let rows = rows(text).unwrap();
        let told: Vec<(&str, u64)> = rows.iter().map(|r| (r.target.as_str(), r.free)).collect();
        assert_eq!(told, [("/", 51200), ("/mnt/my share", 990), ("/boot/efi", 523242), ("/proc/sys/fs/binfmt_misc", 0)]);
        for bad in ["", "Filesystem\n", "Filesystem\n/dev/sda1 1 2\n", "x\n/dev/sda1 1 1 1 1% var\n", "x\n/dev/sda1 one 1 1 1% /\n"] {
            assert!(super::rows(bad).is_none(), "{bad:?}");
        }
    }
    /// Against this computer's own df and mounts: an answer that can be read, whatever it says.
    #[tokio::test]
    async fn the_line_that_is_sent() {
        let all = Config { free: 0, inodes: 0, ..config() };
        for check in [Config { paths: vec!["/".into(), "/tmp".into()], ..all.clone() }, all] {
            let said = Tools::new(&[]).look(&check).await;
            // Some machines of the tests have no local disk at all, or one that is read-only.
            assert!(said.is_ok() || said.as_ref().unwrap_err().to_string().contains("no file systems processed"), "{said:?}");
        }
        let gone = Config { paths: vec!["/no/such/place".into()], ..config() };
        assert_eq!(Tools::new(&[]).look(&gone).await.unwrap_err().kind, FaultKind::Unable);
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let no_mounts = said(500, 500, 900, "rw").replace("/dev/sda1 / ext4 rw,relatime 0 0\n", "");
        assert_eq!(of(&config(), 0, &no_mounts).await.unwrap_err().kind, FaultKind::Invalid, "no root among the mounts");
        let broken = said(1, 1, 1, "rw").replace("/dev/sda1 2", "/dev/sda1 x");
        let headless = "Filesystem\n@@inodes\nFilesystem\n@@mounts\n@@end\n";
        never_silently_healthy(&config(), None, &[(0, ""), (0, "hello\n"), (0, &broken), (0, headless), (1, "df: /x: No such file or directory")]).await;
        for bad in [Config { paths: vec!["var".into()], ..config() }, Config { free: 101, ..config() }] {
            assert!(bad.validate().is_err());
        }
    }
}
