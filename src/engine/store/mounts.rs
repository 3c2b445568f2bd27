//! Does a path lie on a network file system? File locks there are advisory at best, and SQLite's shared memory does not cross machines.
use std::path::{Path, PathBuf};

/// File systems another machine may change under us. `fuse.*` is judged by what follows the dot.
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "glusterfs",
    "9p",
    "afs",
    "lustre",
    "beegfs",
    "gpfs",
    "orangefs",
    "ocfs2",
    "gfs2",
    "coda",
    "ncpfs",
    "sshfs",
    "s3fs",
    "rclone",
    "davfs",
    "cephfs",
    "ceph-fuse",
    "juicefs",
    "moosefs",
    "curlftpfs",
    "goofys",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    pub kind: String,
}
impl Mount {
    pub fn is_network(&self) -> bool {
        let kind = self.kind.strip_prefix("fuse.").unwrap_or(&self.kind);
        NETWORK.contains(&kind)
    }
}

/// The mount that `path` (absolute, links resolved) lies on, from the text of `/proc/self/mounts`.
pub fn of(path: &Path, mounts: &str) -> Option<Mount> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let point = PathBuf::from(unescape(words.next()?));
            let kind = words.next()?.to_owned();
            path.starts_with(&point).then_some(Mount { point, kind })
        })
        // The longest mount point wins; of two mounts on one point the later hides the earlier.
        .max_by_key(|m| m.point.components().count())
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
fn unescape(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| word_octal(tail)).flatten();
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn word_octal(tail: &[u8]) -> Option<u8> {
    std::str::from_utf8(tail.get(..3)?).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
/dev/vda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
filer:/export /srv nfs4 rw,vers=4.2 0 0
/dev/vdb /srv/local xfs rw 0 0
//filer/share /mnt/with\\040blank cifs rw 0 0
user@host:/ /home/ops/far fuse.sshfs rw 0 0
/dev/sdc1 /media/stick fuse.ntfs rw 0 0
/dev/vdd /over ext4 rw 0 0
filer:/over /over nfs rw 0 0
";

    #[test]
    fn the_nearest_mount_decides() {
        let network = |path: &str| of(Path::new(path), MOUNTS).expect("/ is mounted").is_network();
        for path in ["/srv", "/srv/pitstop", "/mnt/with blank/x", "/home/ops/far/state", "/over/x"] {
            assert!(network(path), "{path}");
        }
        for path in ["/", "/var/lib/pitstop", "/srv/local/pitstop", "/srvx", "/home/ops", "/media/stick/x"] {
            assert!(!network(path), "{path}");
        }
    }
}
