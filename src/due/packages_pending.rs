//! Due `packages-pending`: the distribution's package system would upgrade something.
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
    const NAME: &'static str = "packages-pending";
    const ABOUT: &'static str = "packages wait to be upgraded (apt, dnf, zypper), by the lists that the host last fetched";
    fn make(self) -> Box<dyn Due> {
        Box::new(self)
    }
}

const LIMIT: Span = Span::seconds(120);
/// Reads only: fetching new lists is a change, and the playbook's to do. First line `answer yes|no|unknown`, then the evidence.
const SCRIPT: &str = r#"LC_ALL=C; LANG=C; export LC_ALL LANG
say() { echo "answer $1"; shift; for line in "$@"; do echo "$line"; done; exit 0; }
if command -v apt-get >/dev/null 2>&1; then
  said=$(apt-get -s -o Debug::NoLocking=true --with-new-pkgs upgrade 2>&1); status=$?
  [ "$status" = 0 ] || say unknown "apt-get -s upgrade ended with $status" "$(echo "$said" | tail -n 1)"
  pending=$(echo "$said" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
  [ -n "$pending" ] || say no "apt-get would upgrade nothing"
  say yes "$(echo "$pending" | wc -l | tr -d ' ') packages:" "$(echo "$pending" | head -n 10 | tr '\n' ' ')"
fi
for dnf in dnf yum; do
  command -v $dnf >/dev/null 2>&1 || continue
  said=$($dnf -q check-update 2>&1); status=$?
  case $status in
  100) say yes "$(echo "$said" | sed -n 's/^\([^ ]*\.[^ ]*\) .*/\1/p' | head -n 10 | tr '\n' ' ')" ;;
  0) say no "$dnf check-update ended with 0" ;;
  *) say unknown "$dnf check-update ended with $status" "$(echo "$said" | tail -n 1)" ;;
  esac
done
if command -v zypper >/dev/null 2>&1; then
  said=$(zypper --non-interactive patch-check 2>&1); status=$?
  case $status in
  100|101) say yes "$(echo "$said" | tail -n 1)" ;;
  0) say no "zypper patch-check ended with 0" ;;
  *) say unknown "zypper patch-check ended with $status" "$(echo "$said" | tail -n 1)" ;;
  esac
fi
say unknown "there is neither apt-get nor dnf, yum or zypper""#;

#[async_trait]
impl Due for Config {
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        let node = probe.node;
        let no_host = || Fault::new(FaultKind::Unable, format!("{node}: only a host can say which packages are pending, and the inventory names none"));
        let out = probe.host.ok_or_else(no_host)?.exec(&Command { line: SCRIPT.into(), limit: LIMIT, stdin: None }).await?;
        let mut lines = out.stdout.lines().map(str::trim).filter(|l| !l.is_empty());
        let answer = lines.next().filter(|_| out.status == 0).and_then(|l| l.strip_prefix("answer "));
        let evidence: String = lines.collect::<Vec<_>>().join(" ").chars().take(400).collect();
        match answer {
            Some("yes") => Ok(DueAnswer::Due(format!("pending: {evidence}"))),
            Some("no") => Ok(DueAnswer::NotDue(evidence)),
            Some("unknown") => Err(Fault::new(FaultKind::Unable, format!("{node}: cannot tell whether packages are pending")).cause(evidence)),
            _ => Err(Fault::new(FaultKind::Invalid, format!("{node}: the question for pending packages ended with status {} and made no sense", out.status))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drivers::host::fake::{Sh, program},
        model::NodeName,
    };

    /// A host with these programs before a few real ones.
    async fn of(programs: &[(&str, &str)]) -> Result<DueAnswer, Fault> {
        let dir = tempfile::tempdir().unwrap();
        for (name, script) in programs {
            program(&dir.path().join(name), script);
        }
        for tool in ["sed", "wc", "tr", "head", "tail", "sh"] {
            let real = ["/usr/bin", "/bin"].iter().map(|d| format!("{d}/{tool}")).find(|p| std::path::Path::new(p).exists()).unwrap();
            std::os::unix::fs::symlink(real, dir.path().join(tool)).unwrap();
        }
        let host = Sh { path: dir.path().display().to_string() };
        Config {}.look(&DueProbe { node: &NodeName("edge-01".into()), host: Some(&host), view: None, bmc: None, served: None }).await
    }

    #[tokio::test]
    async fn three_families() {
        // What apt 2.6, dnf 4.14 and zypper 1.14 print.
        let apt = "echo 'Reading package lists...'\necho 'Inst openssl [3.0.14] (3.0.15 Debian:12 [amd64])'\necho 'Conf openssl (3.0.15 Debian:12 [amd64])'";
        assert_eq!(of(&[("apt-get", apt)]).await, Ok(DueAnswer::Due("pending: 1 packages: openssl".into())));
        assert!(matches!(of(&[("apt-get", "echo 'Reading package lists...'")]).await, Ok(DueAnswer::NotDue(_))));
        let dnf = "echo; echo 'openssl.x86_64   1:3.0.7-28.el9   baseos'; exit 100";
        assert_eq!(of(&[("dnf", dnf)]).await, Ok(DueAnswer::Due("pending: openssl.x86_64".into())));
        assert!(matches!(of(&[("dnf", "exit 0")]).await, Ok(DueAnswer::NotDue(_))));
        assert!(
            matches!(of(&[("zypper", "echo '3 patches needed (1 security patch)'; exit 101")]).await, Ok(DueAnswer::Due(why)) if why.contains("3 patches"))
        );
        assert!(matches!(of(&[("zypper", "exit 0")]).await, Ok(DueAnswer::NotDue(_))));
    }
    #[tokio::test]
    async fn neither_yes_nor_no() {
        for programs in [&[("apt-get", "echo 'E: broken' >&2; exit 100")][..], &[("dnf", "exit 1")], &[("zypper", "exit 7")], &[]] {
            assert_eq!(of(programs).await.unwrap_err().kind, FaultKind::Unable, "{programs:?}");
        }
        let none = Config {}.look(&DueProbe { node: &NodeName("edge-01".into()), host: None, view: None, bmc: None, served: None }).await;
        assert_eq!(none.unwrap_err().kind, FaultKind::Unable);
    }
}
