//! `trust.toml` on disk: read, changed and put in place in one go, one writer at a time.
use super::failure::{CONFIGURATION, Failure};
use crate::{
    inventory::{read_trust, trust_toml},
    model::{NodeName, Trust},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

/// What it says now; nothing where there is none.
pub fn read(path: &Path) -> Result<BTreeMap<NodeName, Trust>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => read_trust(&text).map_err(|e| Failure::new(CONFIGURATION, format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(cannot("read", path)(e)),
    }
}

/// Reads it anew under a lock on its directory, so that two who pin at once lose nothing of each other, and replaces it as a whole: a reader sees the old file or the new one.
pub fn change(path: &Path, edit: impl FnOnce(&mut BTreeMap<NodeName, Trust>)) -> Result<(), Failure> {
    // The file itself may be a link into a checkout: what it points to is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(dir).map_err(cannot("open", dir))?;
    lock.lock().map_err(cannot("lock", dir))?;
    let mut trust = read(path)?;
    edit(&mut trust);
    let new: PathBuf = dir.join(".trust.toml.new");
    put(&new, path, &trust_toml(&trust)).map_err(cannot("write", path))?;
    // The rename itself is durable only with its directory.
    lock.sync_all().map_err(cannot("sync", dir))
}

fn put(new: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(new)?;
    file.write_all(text.as_bytes())?;
    if let Ok(before) = fs::metadata(path) {
        file.set_permissions(before.permissions())?;
    }
    file.sync_all()?;
    fs::rename(new, path)
}

fn cannot(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |e| Failure::new(CONFIGURATION, format!("cannot {verb} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_pinned_stays_and_a_change_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        let pin = |n: u8| Trust { certificate: Some(format!("{n:02x}").repeat(32)), ..Trust::default() };
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let path = path.clone();
                std::thread::spawn(move || change(&path, |all| drop(all.insert(NodeName(format!("edge-{n}")), pin(n)))).unwrap())
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let before = fs::read_to_string(&path).unwrap();
        assert_eq!(read(&path).unwrap().len(), 8);
        change(&path, |all| drop(all.insert(NodeName("edge-3".into()), pin(99)))).unwrap();
        let after = fs::read_to_string(&path).unwrap();
        let differ: Vec<_> = before.lines().zip(after.lines()).filter(|(a, b)| a != b).collect();
        assert_eq!((differ.len(), before.lines().count()), (1, after.lines().count()), "{differ:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
        // Broken by hand: refused, and left as it is.
        fs::write(&path, "edge-1 = { certificate = \"9f\" }").unwrap();
        assert!(change(&path, |all| all.clear()).unwrap_err().what.contains("64 hex digits"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "edge-1 = { certificate = \"9f\" }");
    }
}
