//! `--store`: which store, where it lies, and why it cannot be opened.
use super::{Store, mounts, sqlite::Sqlite};
use crate::model::Clock;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// For everyone on this machine, wherever the package made it.
const SHARED: &str = "/var/lib/pitstop";
const FILE: &str = "pitstop.db";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    Sqlite(PathBuf),
}

/// All of these are the operator's to mend: exit 3.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("store `{0}`: etcd is not in this release; use sqlite:PATH")]
    EtcdLater(String),
    #[error("store `{0}` is neither sqlite:PATH nor etcd://HOST,…")]
    NoSuchKind(String),
    #[error("store `{0}` names no file; use sqlite:PATH")]
    NoPath(String),
    #[error("there is no place for the store: neither /var/lib/pitstop nor $XDG_STATE_HOME nor $HOME exists; use --store sqlite:PATH")]
    NoDefault,
    #[error("store `{}` lies on {} at {}, a network file system: its locks do not keep two machines apart; use --store sqlite:PATH on a local disk", path.display(), mount.kind, mount.point.display())]
    Network { path: PathBuf, mount: mounts::Mount },
    #[error("store `{}` was written by a newer pitstop (schema {has}, this program knows {knows}); use that program", path.display())]
    Newer { path: PathBuf, has: i64, knows: i64 },
    #[error("`{}` is a database, but not a pitstop store", path.display())]
    Foreign { path: PathBuf },
    #[error("open the store `{}`: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("open the store `{}`: {source}", path.display())]
    Sqlite {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
}

impl FromStr for StoreUrl {
    type Err = OpenError;
    fn from_str(text: &str) -> Result<StoreUrl, OpenError> {
        match text.split_once(':') {
            Some(("sqlite", "" | "//")) => Err(OpenError::NoPath(text.to_owned())),
            // sqlite:///path is what people from other programs write; sqlite://path would be a host.
            Some(("sqlite", path)) if path.starts_with("//") && !path.starts_with("///") => Err(OpenError::NoPath(text.to_owned())),
            Some(("sqlite", path)) => Ok(StoreUrl::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))),
            Some(("etcd", _)) => Err(OpenError::EtcdLater(text.to_owned())),
            _ => Err(OpenError::NoSuchKind(text.to_owned())),
        }
    }
}
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl StoreUrl {
    /// Looking must not make one: a plan writes nothing.
    pub fn exists(&self) -> bool {
        match self {
            StoreUrl::Sqlite(path) => path.exists(),
        }
    }

    /// Where it lies when nobody said so. The environment is an argument, so that it can be tested.
    pub fn default_for(shared_exists: bool, env: &dyn Fn(&str) -> Option<String>) -> Result<StoreUrl, OpenError> {
        if shared_exists {
            return Ok(StoreUrl::Sqlite(Path::new(SHARED).join(FILE)));
        }
        // The XDG specification: an unset, empty or relative value does not count.
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.map(|dir| StoreUrl::Sqlite(dir.join("pitstop").join(FILE))).ok_or(OpenError::NoDefault)
    }
    pub fn default_here() -> Result<StoreUrl, OpenError> {
        StoreUrl::default_for(Path::new(SHARED).is_dir(), &|name| std::env::var(name).ok())
    }
}

pub async fn open(url: &StoreUrl, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, OpenError> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(Sqlite::open(path, clock).await?)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let path = |text: &str| match text.parse::<StoreUrl>() {
            Ok(StoreUrl::Sqlite(path)) => path.display().to_string(),
            Err(e) => e.to_string(),
        };
        assert_eq!(path("sqlite:/a/b.db"), "/a/b.db");
        assert_eq!(path("sqlite:///a/b.db"), "/a/b.db");
        assert_eq!(path("sqlite:b.db"), "b.db");
        assert!(path("sqlite:").contains("names no file"));
        assert!(path("sqlite://host/b.db").contains("names no file"));
        assert_eq!(path("etcd://a,b,c"), "store `etcd://a,b,c`: etcd is not in this release; use sqlite:PATH");
        assert!(path("postgres://x").contains("neither sqlite:PATH nor etcd://"));
        assert!(path("/a/b.db").contains("neither"));
    }

    #[test]
    fn default_place() {
        let env = |name: &str| (name == "HOME").then(|| "/home/ops".to_owned());
        let place = |shared, env: &dyn Fn(&str) -> Option<String>| StoreUrl::default_for(shared, env).map(|u| u.to_string()).map_err(|e| e.to_string());
        assert_eq!(place(true, &env).unwrap(), "sqlite:/var/lib/pitstop/pitstop.db");
        assert_eq!(place(false, &env).unwrap(), "sqlite:/home/ops/.local/state/pitstop/pitstop.db");
        let xdg = |name: &str| Some(if name == "XDG_STATE_HOME" { "/state" } else { "/home/ops" }.to_owned());
        assert_eq!(place(false, &xdg).unwrap(), "sqlite:/state/pitstop/pitstop.db");
        let relative = |name: &str| Some(if name == "XDG_STATE_HOME" { "state" } else { "/home/ops" }.to_owned());
        assert_eq!(place(false, &relative).unwrap(), "sqlite:/home/ops/.local/state/pitstop/pitstop.db");
        assert!(place(false, &|_| None).unwrap_err().contains("no place for the store"));
    }
}
