//! Check `mounts`: what is to be mounted is mounted, and writable where fstab says so.
use super::{
    Check, Probe, Repair, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Command, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Mount points that must be there.
    #[serde(default)]
    pub targets: Vec<String>,
    /// And every entry of `/etc/fstab` without `noauto`.
    #[serde(default)]
    pub fstab: bool,
    /// What is missing is mounted, as fstab says; once per boot.
    #[serde(default)]
    pub repair: bool,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn limit() -> Span {
    Span::seconds(30)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "mounts";
    const ABOUT: &'static str = "file systems are mounted, and writable where they should be";
    fn validate(&self) -> Result<(), String> {
        let odd = |t: &&String| !t.starts_with('/') || t.contains(['\n', '\0']) || t.len() > 1 && t.ends_with('/');
        match self.targets.iter().find(odd) {
            Some(t) => Err(format!("`{t}` is no mount point: an absolute path without a slash at its end")),
            None if self.targets.is_empty() && !self.fstab => Err("nothing to check: name `targets`, or set `fstab = true`".into()),
            None if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

const MISSING: &str = "is not mounted";

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        let mut what = self.targets.clone();
        what.extend(self.fstab.then(|| "all of fstab".to_owned()));
        format!("mounts: {}", what.join(", "))
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let line = "cat /proc/mounts || exit 1\necho @@fstab\ncat /etc/fstab 2>/dev/null\necho @@end";
        let out = match tool::ask(probe, "cat", line, false, self.limit, Missing::Fail).await? {
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "cat /proc/mounts", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        let Some((mounted, fstab)) = out.stdout.split_once("@@fstab\n").and_then(|(m, f)| Some((m, f.split_once("@@end")?.0))) else {
            return Err(tool::garbage(probe, "cat /proc/mounts", &out.stdout));
        };
        // The last one on a mount point is the one that is seen.
        let mounted: BTreeMap<String, bool> = fields(mounted).map(|f| (target(f[1]), read_only(&f))).collect();
        if !mounted.contains_key("/") {
            return Err(tool::garbage(probe, "cat /proc/mounts", &out.stdout));
        }
        // (mount point, read-only is wanted)
        let entries: BTreeMap<String, bool> = fields(fstab)
            .filter(|f| f[1].starts_with('/') && !f.get(3).is_some_and(|o| o.split(',').any(|o| o == "noauto")))
            .map(|f| (target(f[1]), read_only(&f)))
            .collect();
        if self.fstab && entries.is_empty() {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: /etc/fstab names nothing to mount", probe.node)));
        }
        let mut wanted: BTreeMap<String, bool> = self.targets.iter().map(|t| (t.clone(), entries.get(t).copied().unwrap_or(false))).collect();
        if self.fstab {
            wanted.extend(entries);
        }
        let wrong: Vec<Blocker> = wanted
            .iter()
            .filter_map(|(target, may_ro)| match mounted.get(target) {
                None => Some(Blocker::new(target.clone(), MISSING)),
                Some(true) if !may_ro => Some(Blocker::new(target.clone(), "is mounted read-only")),
                Some(_) => None,
            })
            .collect();
        let names: Vec<&String> = wanted.keys().collect();
        Ok(tool::verdict(wrong, json!({ "mounted": names })))
    }
    fn repair(&self, wrong: &[Blocker]) -> Option<Repair> {
        // Read-only after an error is for a person: mounting it again could finish what the error began.
        let targets: Vec<&str> = wrong.iter().filter(|b| b.why == MISSING).map(|b| b.object.as_str()).collect();
        (self.repair && !targets.is_empty()).then(|| Repair { what: format!("mount {}", targets.join(", ")), args: json!({ "targets": targets }) })
    }
    async fn mend(&self, probe: &Probe<'_>, repair: &Repair) -> Result<(), Fault> {
        let targets: Vec<String> = serde_json::from_value(repair.args["targets"].clone()).unwrap_or_default();
        if targets.is_empty() || !targets.iter().all(|t| t.starts_with('/')) {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: `{}` names no mount point", probe.node, repair.what)));
        }
        let host = tool::host(probe, "mount")?;
        let line: Vec<String> = targets.iter().map(|t| format!("mount {} || failed=1", tool::quoted(t))).collect();
        let out = host.exec(&Command::as_root(&format!("failed=0\n{}\nexit $failed", line.join("\n")), self.limit)).await?;
        if out.status == 0 { Ok(()) } else { Err(tool::failed(probe, "mount", &out)) }
    }
}

/// Lines of fstab and of /proc/mounts: source, target, type, and options, which fstab may leave out.
fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|l| !l.trim_start().starts_with('#')).map(|l| l.split_whitespace().collect::<Vec<_>>()).filter(|f| f.len() >= 3)
}
/// As the kernel says it: fstab may have a slash at its end.
fn target(field: &str) -> String {
    let path = tool::unescaped(field);
    if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path }
}
fn read_only(fields: &[&str]) -> bool {
    fields.get(3).is_some_and(|options| options.split(',').any(|o| o == "ro"))
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};
    use crate::kinds::Config as _;

    fn config(targets: &[&str], fstab: bool) -> Config {
        Config { targets: targets.iter().map(|t| t.to_string()).collect(), fstab, repair: true, limit: limit() }
    }
    // Debian 12.
    const FSTAB: &str = "# /etc/fstab: static file system information.\nUUID=1f0c / ext4 errors=remount-ro 0 1\n/dev/sdb1 /var/lib/data xfs defaults 0 2\n\
        /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\nUUID=2a none swap sw 0 0\n/dev/sdc1 /archive ext4 ro 0 2\n";
    const ROOT: &str = "/dev/sda1 / ext4 rw,relatime,errors=remount-ro 0 0\n";
    fn said(mounts: &str) -> String {
        format!("{ROOT}{mounts}@@fstab\n{FSTAB}@@end\n")
    }

    #[tokio::test]
    async fn all_mounted_or_named() {
        let all = said("/dev/sdb1 /var/lib/data xfs rw 0 0\n/dev/sdc1 /archive ext4 ro 0 0\n");
        well(of(&config(&[], true), 0, &all).await);
        well(of(&config(&["/var/lib/data"], false), 0, &all).await);
        assert_eq!(wrong(of(&config(&[], true), 0, &said("/dev/sdc1 /archive ext4 ro 0 0\n")).await), ["/var/lib/data: is not mounted"]);
        let ro = said("/dev/sdb1 /var/lib/data xfs ro 0 0\n/dev/sdc1 /archive ext4 ro 0 0\n");
        assert_eq!(wrong(of(&config(&[], true), 0, &ro).await), ["/var/lib/data: is mounted read-only"]);
        assert_eq!(wrong(of(&config(&["/srv"], false), 0, &all).await), ["/srv: is not mounted"]);
    }
    #[tokio::test]
    async fn a_missing_one_is_mounted_a_read_only_one_is_left_alone() {
        let mends = config(&[], true);
        let ill = [Blocker::new("/var/lib/it's", MISSING), Blocker::new("/", "is mounted read-only")];
        let repair = mends.repair(&ill).unwrap();
        assert_eq!(repair.args, json!({ "targets": ["/var/lib/it's"] }));
        assert_eq!(mends.repair(&ill[1..]), None);
        assert_eq!(Config { repair: false, ..mends.clone() }.repair(&ill), None);
        let sent = mended(&mends, &repair, 0, "").await.unwrap();
        assert!(sent[0].contains("mount ") && sent[0].contains("/var/lib/it"), "{sent:?}");
        let fault = mended(&mends, &repair, 32, "mount: /var: can't find in /etc/fstab.\n").await.unwrap_err();
        assert!(fault.to_string().contains("can't find in /etc/fstab"), "{fault}");
        for forged in [json!(null), json!({ "targets": [] }), json!({ "targets": ["--all"] })] {
            let fault = mended(&mends, &Repair { what: "x".into(), args: forged }, 0, "").await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Invalid);
        }
    }
    #[tokio::test]
    async fn odd_lines_of_fstab() {
        // No options, a slash at the end, a blank in the name, a bind mount, one that systemd mounts when it is used, and what is mounted over it.
        let fstab = "/dev/sda1 / ext4\n/dev/sdb1 /srv/ xfs\nLABEL=my\\040data /mnt/my\\040data ext4 nofail 0 2\n/srv /export none bind,ro\n\
            nas.example:/h /home nfs4 x-systemd.automount,_netdev 0 0\n";
        let mounts = "/dev/sdb1 /srv xfs rw 0 0\n/dev/sdc1 /mnt/my\\040data ext4 rw 0 0\n/dev/sdb1 /export xfs ro 0 0\nsystemd-1 /home autofs rw 0 0\n";
        let said = |mounts: &str| format!("{ROOT}{mounts}@@fstab\n{fstab}@@end\n");
        well(of(&config(&[], true), 0, &said(mounts)).await);
        assert_eq!(wrong(of(&config(&[], true), 0, &said("")).await).len(), 4);
        let over = format!("{mounts}/dev/sdz1 /srv xfs ro 0 0\n");
        assert_eq!(wrong(of(&config(&[], true), 0, &said(&over)).await), ["/srv: is mounted read-only"], "the last one is the one that is seen");
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let garbage = [(0, ""), (0, "hello"), (0, "@@fstab\n@@end\n"), (0, ROOT), (1, ""), (0, "/dev/sda1 / ext4 rw 0 0\n@@fstab\n\n@@end\n")];
        never_silently_healthy(&config(&[], true), None, &garbage).await;
        for bad in [config(&["var"], false), config(&["/var/"], false), config(&[], false)] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
