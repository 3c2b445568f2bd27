//! Due `kernel-outdated`: a newer kernel of the running flavour is installed than the one that runs.
use super::{Due, DueAnswer, DueProbe};
use crate::{
    kinds,
    model::{Command, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl kinds::Config<dyn Due> for Config {
    const NAME: &'static str = "kernel-outdated";
    const ABOUT: &'static str = "a newer kernel is installed than the one that runs";
    fn make(self) -> Box<dyn Due> {
        Box::new(self)
    }
}

/// A kernel is installed where both its modules and its image are: packages that were removed leave one or the other behind.
/// Rescue images have no modules of their own name and fall out. `root` is empty outside tests.
fn script(root: &str) -> String {
    const SCRIPT: &str = r#"echo "running $(uname -r)"
for modules in %%/lib/modules/*/ %%/usr/lib/modules/*/; do
  version=$(basename "$modules")
  for image in "%%/boot/vmlinuz-$version" "%%/boot/vmlinux-$version" "%%/boot/Image-$version" "%%/boot/image-$version" "${modules}vmlinuz" "${modules}Image"; do
    if [ -e "$image" ]; then echo "installed $version"; break; fi
  done
done
echo end"#;
    SCRIPT.replace("%%", root)
}

#[async_trait]
impl Due for Config {
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        let node = probe.node;
        let host = probe
            .host
            .ok_or_else(|| Fault::new(FaultKind::Unable, format!("{node}: only a host can say which kernels it has, and the inventory names none")))?;
        let out = host.exec(&Command { line: script(""), limit: Span::seconds(30), stdin: None }).await?;
        if out.status != 0 {
            let first = out.stderr.lines().next().unwrap_or("no output");
            return Err(Fault::new(FaultKind::Invalid, format!("{node}: the question for installed kernels ended with status {}", out.status)).cause(first));
        }
        judge(&out.stdout).map_err(|why| Fault::new(FaultKind::Unable, format!("{node}: cannot tell whether the kernel is outdated")).cause(why))
    }
}

fn judge(text: &str) -> Result<DueAnswer, String> {
    let lines = || text.lines().map(str::trim);
    if lines().next_back() != Some("end") {
        return Err("the answer broke off".into());
    }
    let running = lines().find_map(|l| l.strip_prefix("running ")).filter(|v| v.starts_with(|c: char| c.is_ascii_digit())).ok_or("uname -r gave no version")?;
    let flavour = flavour_of(running);
    let newest = lines().filter_map(|l| l.strip_prefix("installed ")).filter(|v| flavour_of(v) == flavour).max_by(|a, b| compare(a, b));
    match newest {
        None => Err(format!("no installed kernel of the flavour of {running} was found under /boot and /lib/modules")),
        Some(newest) if compare(newest, running) == Ordering::Greater => Ok(DueAnswer::Due(format!("kernel {running} runs, {newest} is installed"))),
        Some(newest) => Ok(DueAnswer::NotDue(format!("running kernel {running} is the newest installed ({newest})"))),
    }
}

/// `6.1.0-18-rt-amd64` is `rt-amd`: another flavour's kernel is not what the next boot takes. Digits go, so that `arch1` and `arch2` are one.
fn flavour_of(version: &str) -> String {
    let (version, plus) = version.split_once('+').unwrap_or((version, ""));
    let words = version.split('-').chain([plus]).filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic()));
    // A release candidate is an age, not a flavour.
    words.map(|w| w.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()).filter(|w| w != "rc").collect::<Vec<_>>().join("-")
}

/// As package managers compare: runs of digits by number, of letters by spelling, a digit newer than a letter, longer newer; `rc` older than none.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (tokens(a), tokens(b));
    loop {
        return match (a.next(), b.next()) {
            (None, None) => Ordering::Equal,
            (Some("rc"), None) => Ordering::Less,
            (None, Some("rc")) => Ordering::Greater,
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (Some(x), Some(y)) => match by_token(x, y) {
                Ordering::Equal => continue,
                other => other,
            },
        };
    }
}

fn tokens(version: &str) -> impl Iterator<Item = &str> {
    let mut rest = version;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != digit).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token)
    })
}

fn by_token(x: &str, y: &str) -> Ordering {
    let is_number = |t: &str| t.starts_with(|c: char| c.is_ascii_digit());
    match (is_number(x), is_number(y)) {
        (true, true) => {
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        }
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => x.cmp(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drivers::host::{Host, fake},
        model::NodeName,
    };

    fn answer(running: &str, installed: &[&str]) -> Result<DueAnswer, String> {
        let lines: String = installed.iter().map(|v| format!("installed {v}\n")).collect();
        judge(&format!("running {running}\n{lines}end\n"))
    }
    fn due(running: &str, installed: &[&str]) -> bool {
        matches!(answer(running, installed).unwrap(), DueAnswer::Due(_))
    }

    #[test]
    fn versions_are_compared_by_number() {
        let rising = [
            ["6.1.0-9-amd64", "6.1.0-18-amd64"],
            ["5.15.0-91-generic", "5.15.0-100-generic"],
            ["5.14.0-362.8.1.el9_3.x86_64", "5.14.0-362.18.1.el9_3.x86_64"],
            ["5.14.0-362.8.1.el9_3.x86_64", "5.14.0-427.el9.x86_64"],
            ["5.14.21-150500.55.39-default", "5.14.21-150500.55.52-default"],
            ["6.6.8-arch1-1", "6.6.8-arch2-1"],
            ["6.5.11-7-pve", "6.5.13-1-pve"],
            ["6.8.0-rc3", "6.8.0"],
            ["6.5.0-0.deb12.1-amd64", "6.5.0-0.deb12.4-amd64"],
        ];
        for [old, new] in rising {
            assert_eq!(compare(old, new), Ordering::Less, "{old} {new}");
            assert_eq!(compare(new, old), Ordering::Greater, "{new} {old}");
            assert!(due(old, &[old, new]) && due(old, &[new, old]) && !due(new, &[new, old]), "{old} {new}");
        }
    }

    #[test]
    fn another_flavour_is_not_newer() {
        assert!(!due("6.1.0-18-amd64", &["6.1.0-18-amd64", "6.1.0-21-rt-amd64", "6.1.0-21-cloud-amd64"]));
        assert!(!due("5.14.0-362.8.1.el9_3.x86_64", &["5.14.0-362.8.1.el9_3.x86_64", "5.14.0-427.el9.x86_64+debug"]));
        assert!(!due("5.15.0-91-generic", &["5.15.0-91-generic", "5.15.0-100-lowlatency"]));
    }

    #[test]
    fn without_a_comparable_kernel_nothing_is_known() {
        assert!(answer("6.1.0-18-amd64", &[]).is_err());
        assert!(answer("6.1.0-18-amd64", &["6.1.0-21-rt-amd64"]).is_err());
        assert!(answer("", &["6.1.0-21-amd64"]).is_err());
        assert!(judge("running 6.1.0-18-amd64\ninstalled 6.1.0-18-amd64\n").is_err(), "broken off");
        assert!(judge("").is_err());
    }

    #[tokio::test]
    async fn the_script_lists_only_kernels_with_modules_and_image() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().display().to_string();
        for dir in ["boot", "lib/modules/6.1.0-18-amd64", "lib/modules/6.1.0-17-amd64", "usr/lib/modules/6.6.8-arch1-1", "bin"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        for file in ["boot/vmlinuz-6.1.0-18-amd64", "boot/vmlinuz-0-rescue-abc", "usr/lib/modules/6.6.8-arch1-1/vmlinuz"] {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        let host = fake::Sh { path: "/usr/bin:/bin".into() };
        let out = host.exec(&Command { line: script(&at), limit: Span::seconds(5), stdin: None }).await.unwrap();
        let installed: Vec<_> = out.stdout.lines().filter(|l| l.starts_with("installed")).collect();
        assert_eq!(installed, ["installed 6.1.0-18-amd64", "installed 6.6.8-arch1-1"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_a_fault() {
        let node = NodeName("edge-01".into());
        let failed = fake::Canned::says(2, "", "sh: syntax error");
        let probe = DueProbe { node: &node, host: Some(&failed), view: None, bmc: None, served: None };
        assert_eq!(Config {}.look(&probe).await.unwrap_err().kind, FaultKind::Invalid);
        assert_eq!(Config {}.look(&DueProbe { host: None, ..probe }).await.unwrap_err().kind, FaultKind::Unable);
    }
}
