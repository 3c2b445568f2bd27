//! Which family of Linux a simulated host is of: what it says of itself, what waits to be upgraded, and the package tools that it has and has not.
use std::{fs, io, os::unix::fs::symlink, path::Path};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    #[default]
    Debian,
    RedHat,
    Suse,
}

/// The package tools of all families: on a host of one family those of the others are not found, whatever this computer has.
const PACKAGE_TOOLS: [&str; 9] = ["apt", "apt-get", "dpkg", "dnf", "dnf5", "yum", "rpm", "needs-restarting", "zypper"];
const PROGRAMS: [&str; 4] = ["/bin", "/sbin", "/usr/bin", "/usr/sbin"];

impl Family {
    /// The families one after another, for machine number `n`, counted from 1.
    pub fn of(n: usize) -> Family {
        [Family::RedHat, Family::Suse, Family::Debian][(n + 2) % 3]
    }
    /// Name and version: what a machine of a fresh lab would upgrade. A kernel asks for a reboot; zypper goes before all others.
    pub fn pending(self) -> &'static str {
        match self {
            Family::Debian => "openssl 3.0.15-1\nlinux-image-amd64 6.1.119-1\n",
            Family::RedHat => "openssl-libs 1:3.0.7-28.el9_4\nkernel-core 5.14.0-427.42.1.el9_4\n",
            Family::Suse => "zypper 1.14.77-150500.6.14.1\nkernel-default 5.14.21-150500.55.88.1\n",
        }
    }
    pub fn release(self) -> &'static str {
        match self {
            Family::Debian => "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"",
            Family::RedHat => "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"",
            Family::Suse => "NAME=\"SLES\"\nID=\"sles\"\nID_LIKE=\"suse\"\nVERSION_ID=\"15.5\"",
        }
    }
    pub fn tools(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Family::Debian => (include_str!("ssh/tools/apt.sh"), &["apt-get"]),
            Family::RedHat => (include_str!("ssh/tools/dnf.sh"), &["dnf", "needs-restarting"]),
            Family::Suse => (include_str!("ssh/tools/zypper.sh"), &["zypper"]),
        }
    }
    /// Where its other programs are found: this computer's own, for a stranger's family without the package tools. In that directory they are links.
    pub fn programs(self, beside: &Path) -> io::Result<String> {
        if self == Family::Debian {
            return Ok("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        }
        fs::create_dir_all(beside)?;
        for program in PROGRAMS.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().filter_map(Result::ok) {
            let link = beside.join(program.file_name());
            if !PACKAGE_TOOLS.iter().any(|tool| program.file_name() == *tool) && fs::symlink_metadata(&link).is_err() {
                symlink(program.path(), link)?;
            }
        }
        Ok(beside.display().to_string())
    }
}
