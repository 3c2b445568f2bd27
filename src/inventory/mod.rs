//! TOML → checked inventory: clusters, nodes, how their BMCs and hosts are reached, labels, checks, trust. Nothing is contacted.
//! Every `*.toml` of a directory together is one inventory; a kind's table is checked against that kind's own config.
use crate::{
    kinds::{Row, rows},
    model::{Carried, ClusterName, Identity, NodeName, Setting, TimeScale, Trust},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

mod address;
pub mod import;
mod inherit;
mod nodes;
mod parse;
mod select;
mod trust;

pub use crate::kinds::{
    problem::{ConfigErrors, Problem},
    reader::File,
    render::Look,
};
pub use parse::parse;
pub use select::{SelectError, Selector, select};
pub use trust::{TRUST_FILE, read_trust, trust_toml};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inventory {
    /// The directory, absolute: relative paths in settings start here.
    pub base: PathBuf,
    pub clusters: BTreeMap<ClusterName, ClusterEntry>,
    pub nodes: BTreeMap<NodeName, NodeEntry>,
    pub checks: Vec<CheckRule>,
    pub time: TimeScale,
    /// What `trust.toml` says, and the identities that nodes pin in their own tables.
    pub trust: BTreeMap<NodeName, Trust>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterEntry {
    pub setting: Setting,
    /// Which worker may take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NodeEntry {
    /// In the order in which they are entered.
    pub seats: Vec<Seat>,
    /// From the node's own table and from `[labels]`.
    pub labels: BTreeMap<String, String>,
    /// Ways in, in the order in which they are tried.
    pub bmc: Vec<Setting>,
    /// Host name or address alone, of the first way in.
    pub bmc_host: String,
    /// BMC and host share a network port: no separate Off and On (safety.md, hardware that surprises).
    pub shared_nic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Setting>,
    /// What the run itself may need from this node: `dns` (safety.md, 15).
    pub carries: Vec<Carried>,
    /// How the root disk unlocks (safety.md, 16).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlock: Option<String>,
    /// Containers on the host that belong to the machine and stay (safety.md, 2); `*` stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_containers: Vec<String>,
    /// In the order of the files.
    pub checks: Vec<CheckEntry>,
    /// `inventory/edge.toml:12:1`, for messages.
    pub defined_at: String,
}

/// A cluster the node is in, and the node's name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Seat {
    pub cluster: ClusterName,
    pub node: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckEntry {
    /// `before`, `booted` or `settled`.
    pub at: String,
    pub setting: Setting,
}

/// One `[[checks]]`, for listings; the nodes carry their own copy with `{name}` and `{n}` filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckRule {
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    pub at: String,
    pub kind: String,
    pub nodes: BTreeSet<NodeName>,
}

/// The kinds a table may be of.
#[derive(Clone)]
pub struct Kinds {
    pub cluster: Vec<Row>,
    pub bmc: Vec<Row>,
    pub host: Vec<Row>,
    pub check: Vec<Row>,
}
impl Kinds {
    /// Of this program.
    pub fn built_in() -> Kinds {
        use crate::{checks, drivers};
        Kinds { cluster: rows(drivers::cluster::KINDS), bmc: rows(drivers::bmc::KINDS), host: rows(drivers::host::KINDS), check: rows(checks::KINDS) }
    }
}

impl Inventory {
    pub fn identity(&self, node: &NodeName) -> Option<&Identity> {
        self.trust.get(node)?.identity.as_ref()
    }
    pub fn cluster_nodes<'a>(&'a self, cluster: &'a ClusterName) -> impl Iterator<Item = &'a NodeName> {
        self.nodes.iter().filter(move |(_, n)| n.seats.iter().any(|s| s.cluster == *cluster)).map(|(name, _)| name)
    }
}

/// Beside the inventory's files, whether or not it is there yet.
pub fn trust_file(path: &Path) -> PathBuf {
    if path.is_file() { path.parent().unwrap_or(Path::new("")) } else { path }.join(TRUST_FILE)
}

/// Reads a directory of `*.toml`, or one file with the `trust.toml` beside it.
pub fn load(path: &Path) -> Result<Inventory, ConfigErrors> {
    let single = path.is_file();
    let base = if single { path.parent().unwrap_or(Path::new("")) } else { path };
    let mut paths = match single {
        true => vec![path.to_owned()],
        false => listed(path)?,
    };
    let trust = base.join(TRUST_FILE);
    if single && trust.is_file() && !same_name(path, &trust) {
        paths.push(trust);
    }
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match std::fs::read(&path)
            .map_err(|e| Problem::whole(path.display().to_string(), format!("cannot be read: {e}")))
            .and_then(|b| File::from_bytes(path.display().to_string(), b))
        {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    let absolute = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    parse(&files, absolute, &Kinds::built_in(), problems)
}

fn same_name(a: &Path, b: &Path) -> bool {
    a.file_name() == b.file_name()
}

/// In name order, so that problems and duplicates read the same everywhere. Editors' hidden and backup files are not part of it.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, ConfigErrors> {
    let wrong = |message: String, help: &str| ConfigErrors { problems: vec![Problem::whole(dir.display().to_string(), message).with_help(help)] };
    let entries = std::fs::read_dir(dir).map_err(|e| wrong(format!("cannot be read: {e}"), "name a directory of *.toml files with -i, or run pitstop demo"))?;
    let ours = |p: &PathBuf| p.extension().is_some_and(|e| e == "toml") && !p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) && p.is_file();
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).filter(ours).collect();
    paths.sort();
    match paths.iter().any(|p| !p.ends_with(TRUST_FILE)) {
        true => Ok(paths),
        false => Err(wrong("has no *.toml file".into(), "one file with [clusters.…] and [[nodes]] is an inventory")),
    }
}
