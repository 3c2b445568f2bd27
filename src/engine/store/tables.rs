//! The SQLite file itself: opened durable, its schema made or recognised, its lock files and its reserve beside it.
use super::{OpenError, mounts};
use crate::model::ClusterName;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// `user_version`; a newer one is refused. Grows when a table changes its meaning, not when one is added.
pub const SCHEMA: i64 = 1;
/// `pits`: tells our file from any other database.
const APPLICATION: i64 = 0x7069_7473;
/// How long another process may keep the file busy: appends take milliseconds.
const BUSY: Duration = Duration::from_secs(10);
/// Room for some two thousand records: enough to give everything back on a full disk.
const RESERVE: usize = 1 << 20;

const TABLES: &str = "
CREATE TABLE runs(
    run TEXT PRIMARY KEY,
    cluster TEXT NOT NULL,
    plan BLOB,
    digest TEXT
) STRICT;
CREATE TABLE records(
    run TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    token INTEGER NOT NULL,
    event TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY(run, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX finished ON records(run) WHERE event = 'run_finished';
CREATE TABLE locks(
    cluster TEXT PRIMARY KEY,
    token INTEGER NOT NULL,
    owner TEXT,
    since TEXT,
    run TEXT
) STRICT;
CREATE TABLE inbox(
    number INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    id TEXT NOT NULL,
    request TEXT NOT NULL,
    answered INTEGER NOT NULL DEFAULT 0,
    UNIQUE(run, id)
) STRICT;
CREATE TABLE blobs(digest TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// Opens or makes the store; blocking. The path comes back absolute.
pub fn open(path: &Path) -> Result<(Connection, PathBuf), OpenError> {
    let io = |source: io::Error| OpenError::Io { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(io)?;
    let dir = absolute.parent().ok_or_else(|| OpenError::NoPath(path.display().to_string()))?;
    let name = absolute.file_name().ok_or_else(|| OpenError::NoPath(path.display().to_string()))?;
    refuse_network(dir)?;
    // Plans name endpoints and people: nobody else's business.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    let dir = dir.canonicalize().map_err(io)?;
    refuse_network(&dir)?;
    let path = dir.join(name);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let started = Instant::now();
    loop {
        match prepare(&path, flags) {
            // The change to WAL needs the file alone, and SQLite does not wait for that by itself.
            Err(OpenError::Sqlite { source, .. }) if is_busy(&source) && started.elapsed() < BUSY => std::thread::sleep(Duration::from_millis(20)),
            Err(e) => return Err(e),
            Ok(connection) => return Ok((connection, path)),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn prepare(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY).map_err(sqlite)?;
    recognise(&mut connection, path)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(sqlite)?;
    if mode != "wal" {
        let source = io::Error::other(format!("the file system cannot carry a write-ahead log (journal mode is {mode})"));
        return Err(OpenError::Io { path: path.to_owned(), source });
    }
    // FULL: an append is on the platter when it returns. NORMAL lost hundreds of records in a power cut.
    connection.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
    Ok(connection)
}

/// Our schema, an empty file, or a refusal before anything is changed.
fn recognise(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
        _ => OpenError::Sqlite { path: path.to_owned(), source },
    };
    // In one transaction: two processes may make the store at the same moment.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
    let number = |what: &str| tx.pragma_query_value(None, what, |row| row.get::<_, i64>(0)).map_err(sqlite);
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(sqlite)?;
    match (application, version) {
        (APPLICATION, SCHEMA) => Ok(()),
        (APPLICATION, has) if has > SCHEMA => Err(OpenError::Newer { path: path.to_owned(), has, knows: SCHEMA }),
        (0, 0) if tables == 0 => {
            tx.execute_batch(TABLES).map_err(sqlite)?;
            tx.pragma_update(None, "application_id", APPLICATION).map_err(sqlite)?;
            tx.pragma_update(None, "user_version", SCHEMA).map_err(sqlite)?;
            tx.commit().map_err(sqlite)
        }
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

/// Asked before the directory is made, too: nothing is written to such a file system.
fn refuse_network(dir: &Path) -> Result<(), OpenError> {
    let exists = dir.ancestors().find_map(|d| d.canonicalize().ok());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    match exists.and_then(|d| mounts::of(&d, &mounts)) {
        Some(mount) if mount.is_network() => Err(OpenError::Network { path: dir.to_owned(), mount }),
        _ => Ok(()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// `pitstop.db.edge.lock`. What a file name cannot carry is escaped, and no two clusters share one.
pub fn lock_file(path: &Path, cluster: &ClusterName) -> io::Result<fs::File> {
    let mut name = String::new();
    for byte in cluster.0.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(byte as char),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    fs::OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, &format!(".{name}.lock")))
}

/// Room that other programs cannot take: a file of real blocks, given up when the disk is full.
pub struct Reserve(PathBuf);
impl Reserve {
    pub fn of(path: &Path) -> Reserve {
        Reserve(beside(path, ".reserve"))
    }
    pub fn held(&self) -> bool {
        fs::metadata(&self.0).is_ok_and(|m| m.len() == RESERVE as u64)
    }
    pub fn hold(&self) -> io::Result<()> {
        if self.held() {
            return Ok(());
        }
        // Not zeros: a file system may keep those as a hole.
        let bytes: Vec<u8> = (0..RESERVE).map(|n| (n * 31 % 251) as u8).collect();
        let written = fs::File::create(&self.0).and_then(|mut file| {
            io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()
        });
        written.inspect_err(|_| {
            // A torn reserve is none, and its blocks are needed.
            fs::remove_file(&self.0).ok();
        })
    }
    /// True when there was room to give up.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}
