//! Due `reboot-required`: the distribution's own package system says that a reboot is needed.
use super::{Due, DueAnswer, DueProbe};
use crate::{
    kinds,
    model::{Command, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl kinds::Config<dyn Due> for Config {
    const NAME: &'static str = "reboot-required";
    const ABOUT: &'static str = "the distribution says that a reboot is required (Debian, Ubuntu, RHEL and kin, SUSE)";
    fn make(self) -> Box<dyn Due> {
        Box::new(self)
    }
}

/// needs-restarting reads the whole package database.
const LIMIT: Span = Span::seconds(90);

/// Answers in its first line, `answer yes|no|unknown`, and gives its evidence in those that follow.
///
/// A flag file counts wherever it is found; that it is *missing* only where something on the host would have written it. `needs-restarting` ends
/// with 1 both for "reboot" and for its own failures, so its words are read too; both locale variables are set because `LC_ALL` wins over `LANG`.
/// `root` is empty outside tests.
fn script(root: &str) -> String {
    const SCRIPT: &str = r#"LC_ALL=C; LANG=C; export LC_ALL LANG
say() { echo "answer $1"; shift; for line in "$@"; do echo "$line"; done; exit 0; }
for flag in %%/run/reboot-required %%/var/run/reboot-required %%/run/reboot-needed; do
  if ls "$flag" >/dev/null 2>&1; then
    packages=$(cat "$flag.pkgs" 2>/dev/null | sort -u | head -n 20 | tr '\n' ' ')
    say yes "$flag exists" "$packages"
  fi
done
family=$( eval "$(cat %%/etc/os-release 2>/dev/null)" && echo " $ID $ID_LIKE " )
case "$family" in
*\ debian\ *|*\ ubuntu\ *)
  for writer in %%/usr/share/update-notifier/notify-reboot-required %%/etc/kernel/postinst.d/unattended-upgrades %%/etc/kernel/postinst.d/update-notifier; do
    if ls "$writer" >/dev/null 2>&1; then say no "no /run/reboot-required"; fi
  done
  say unknown "nothing on this host writes /run/reboot-required: install unattended-upgrades, or use kernel-outdated" ;;
*\ suse\ *|*\ opensuse\ *|*\ sles\ *)
  command -v zypper >/dev/null 2>&1 || say unknown "there is no zypper"
  said=$(zypper --non-interactive needs-rebooting 2>&1); status=$?
  case $status in
  102) say yes "zypper needs-rebooting ended with 102" "$said" ;;
  0) say no "zypper needs-rebooting ended with 0" ;;
  *) say unknown "zypper needs-rebooting ended with $status" "$said" ;;
  esac ;;
*\ rhel\ *|*\ fedora\ *|*\ centos\ *)
  if command -v needs-restarting >/dev/null 2>&1; then said=$(needs-restarting -r 2>&1); status=$?
  elif command -v dnf >/dev/null 2>&1; then said=$(dnf -q needs-restarting -r 2>&1); status=$?
  else say unknown "there is no needs-restarting: install yum-utils or dnf-utils"; fi
  case "$status $said" in
  1\ *[Rr]eboot\ is\ required*) say yes "$said" ;;
  0\ *) say no "needs-restarting -r ended with 0" ;;
  *) say unknown "needs-restarting -r ended with $status" "$said" ;;
  esac ;;
esac
say unknown "no package system that could say: ID and ID_LIKE are '$family'""#;
    SCRIPT.replace("%%", root)
}

#[async_trait]
impl Due for Config {
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        ask(probe, script("")).await
    }
}

async fn ask(probe: &DueProbe<'_>, line: String) -> Result<DueAnswer, Fault> {
    let node = probe.node;
    let host = probe
        .host
        .ok_or_else(|| Fault::new(FaultKind::Unable, format!("{node}: only a host can say whether it needs a reboot, and the inventory names none")))?;
    let out = host.exec(&Command { line, limit: LIMIT, stdin: None }).await?;
    let mut lines = out.stdout.lines().map(str::trim).filter(|l| !l.is_empty());
    let answer = lines.next().filter(|_| out.status == 0).and_then(|l| l.strip_prefix("answer "));
    let evidence: String = lines.collect::<Vec<_>>().join("; ").chars().take(400).collect();
    match answer {
        Some("yes") => Ok(DueAnswer::Due(format!("reboot required: {evidence}"))),
        Some("no") => Ok(DueAnswer::NotDue(evidence)),
        Some("unknown") => Err(Fault::new(FaultKind::Unable, format!("{node}: cannot tell whether a reboot is required")).cause(evidence)),
        _ => Err(Fault::new(FaultKind::Invalid, format!("{node}: the question for a required reboot ended with status {} and made no sense", out.status))
            .cause(out.stderr.lines().next().or(out.stdout.lines().next()).unwrap_or("no output").chars().take(200).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drivers::host::{Host, fake},
        model::NodeName,
    };
    use std::{fs, path::Path};

    /// A host in a directory: files, and programs before the real ones in `PATH`.
    struct Root(tempfile::TempDir);
    impl Root {
        fn of(release: &str) -> Root {
            let root = Root(tempfile::tempdir().unwrap());
            root.file("etc/os-release", release);
            root
        }
        fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fn program(&self, name: &str, body: &str) {
            fs::create_dir_all(self.0.path().join("bin")).unwrap();
            fake::program(&self.0.path().join("bin").join(name), body);
        }
        async fn asked(&self) -> Result<DueAnswer, Fault> {
            let root: &Path = self.0.path();
            let host = fake::Sh { path: format!("{}/bin:/usr/bin:/bin", root.display()) };
            look(Some(&host), script(&root.display().to_string())).await
        }
    }
    async fn look(host: Option<&dyn Host>, line: String) -> Result<DueAnswer, Fault> {
        ask(&DueProbe { node: &NodeName("edge-01".into()), host, view: None, bmc: None, served: None }, line).await
    }
    fn due(answer: Result<DueAnswer, Fault>) -> String {
        match answer {
            Ok(DueAnswer::Due(why)) => why,
            other => panic!("not due: {other:?}"),
        }
    }
    fn unknown(answer: Result<DueAnswer, Fault>) -> String {
        answer.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn debian_says_it_by_a_flag_file() {
        let root = Root::of("ID=debian\n");
        assert!(unknown(root.asked().await).contains("unattended-upgrades"), "a missing flag that nobody writes proves nothing");
        root.file("etc/kernel/postinst.d/unattended-upgrades", "");
        assert_eq!(root.asked().await, Ok(DueAnswer::NotDue("no /run/reboot-required".into())));
        root.file("run/reboot-required", "*** System restart required ***\n");
        root.file("run/reboot-required.pkgs", "linux-image-amd64\nlibc6\nlibc6\n");
        assert!(due(root.asked().await).ends_with("libc6 linux-image-amd64"));
    }

    #[tokio::test]
    async fn rhel_says_it_by_needs_restarting() {
        let root = Root::of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n");
        root.program("needs-restarting", "echo 'Reboot is required to fully utilize these updates.'; exit 1");
        assert!(due(root.asked().await).contains("Reboot is required"));
        root.program("needs-restarting", "echo 'Reboot should not be necessary.'");
        assert!(matches!(root.asked().await, Ok(DueAnswer::NotDue(_))));
        root.program("needs-restarting", "echo 'Traceback (most recent call last):' >&2; exit 1");
        assert!(unknown(root.asked().await).contains("Traceback"), "its own failure is not a yes");
    }

    #[tokio::test]
    async fn suse_says_it_by_zypper() {
        let root = Root::of("ID=\"sles\"\nID_LIKE=\"suse\"\n");
        root.program("zypper", "echo 'Reboot is suggested.'; exit 102");
        assert!(due(root.asked().await).contains("102"));
        root.program("zypper", "exit 0");
        assert!(matches!(root.asked().await, Ok(DueAnswer::NotDue(_))));
        root.program("zypper", "echo 'System management is locked' >&2; exit 7");
        assert!(unknown(root.asked().await).contains("locked"));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_a_fault() {
        assert!(unknown(Root::of("ID=alpine\n").asked().await).contains("alpine"));
        assert!(Root(tempfile::tempdir().unwrap()).asked().await.is_err());
        for (status, said) in [(0, ""), (0, "yes"), (0, "answer maybe"), (1, "answer no"), (127, "")] {
            assert_eq!(look(Some(&fake::Canned::says(status, said, "")), script("")).await.unwrap_err().kind, FaultKind::Invalid, "{said}");
        }
        assert_eq!(look(None, script("")).await.unwrap_err().kind, FaultKind::Unable);
    }

    #[test]
    fn without_a_root_the_script_asks_the_real_one() {
        let text = script("");
        assert!(text.contains("in /run/reboot-required /var/run/reboot-required") && text.contains("$(cat /etc/os-release ") && !text.contains("%%"), "{text}");
    }
}
