//! TOML → checked playbook: what is done to a node, within which limits, and what makes a node due. The shipped ones are built in.
use crate::{
    kinds::{Row, rows},
    model::{OnFailure, Setting, Span},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

mod parse;
mod window;

pub use crate::kinds::{
    problem::{ConfigErrors, Problem},
    reader::File,
};
pub use parse::parse;
pub use window::{Opening, Window, windows};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Playbook {
    pub name: String,
    pub description: String,
    pub limits: Limits,
    /// A node is due if any of these says so; empty: every selected node is.
    pub due: Vec<Setting>,
    pub steps: Vec<StepEntry>,
}

/// Per cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    pub max_unavailable: u32,
    pub failure_budget: u32,
    /// Nodes out at one time share one value of each of these labels.
    pub within: Vec<String>,
    /// At most so many out per value of a label.
    pub max_per: BTreeMap<String, u32>,
    /// The first so many go alone.
    pub canary: u32,
    /// Nodes are admitted inside one of these; empty: always.
    pub window: Vec<Window>,
    /// A day and node, over all runs.
    pub max_resets: u32,
}
impl Default for Limits {
    fn default() -> Limits {
        Limits { max_unavailable: 1, failure_budget: 0, within: Vec::new(), max_per: BTreeMap::new(), canary: 0, window: Vec::new(), max_resets: 2 }
    }
}

/// What is not said is the planner's to choose: it knows the whole order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepEntry {
    pub setting: Setting,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// The kinds a table may be of.
#[derive(Clone)]
pub struct Kinds {
    pub step: Vec<Row>,
    pub due: Vec<Row>,
}
impl Kinds {
    /// Of this program.
    pub fn built_in() -> Kinds {
        // Preflight comes first by itself, and is no step that a playbook could forget or move.
        let step = rows(crate::steps::KINDS).into_iter().filter(|row| row.name != "preflight" && row.name != "fence").collect();
        Kinds { step, due: rows(crate::due::KINDS) }
    }
}

/// Name and text of the playbooks that ship.
pub const BUILT_IN: [(&str, &str); 7] = [
    ("reboot", include_str!("../../playbooks/reboot.toml")),
    ("firmware", include_str!("../../playbooks/firmware.toml")),
    ("os-patch", include_str!("../../playbooks/os-patch.toml")),
    ("power-cycle", include_str!("../../playbooks/power-cycle.toml")),
    ("hands-on", include_str!("../../playbooks/hands-on.toml")),
    ("evacuate", include_str!("../../playbooks/evacuate.toml")),
    ("return", include_str!("../../playbooks/return.toml")),
];

/// A path (with a `/` or ending in `.toml`), else `NAME.toml` in the directory, else one that ships.
pub fn load(dir: Option<&Path>, name: &str) -> Result<Playbook, ConfigErrors> {
    let file = text(dir, name).map_err(|problem| ConfigErrors { problems: vec![problem] })?;
    let stem = Path::new(name).file_stem().map_or(name.into(), |s| s.to_string_lossy().into_owned());
    parse(&file, &stem, &Kinds::built_in())
}

/// The playbook as written, to show it or to start one's own from it.
pub fn text(dir: Option<&Path>, name: &str) -> Result<File, Problem> {
    if name.contains('/') || name.ends_with(".toml") {
        return read(Path::new(name));
    }
    let own = dir.map(|dir| dir.join(format!("{name}.toml"))).filter(|path| path.is_file());
    match (own, BUILT_IN.iter().find(|(shipped, _)| *shipped == name)) {
        (Some(path), _) => read(&path),
        (None, Some((_, text))) => Ok(File { name: format!("playbooks/{name}.toml"), text: (*text).to_owned() }),
        (None, None) => {
            let known = names(dir);
            let help = crate::kinds::reader::suggest(name, known.iter().map(|(name, _)| name.as_str())).unwrap_or_default();
            Err(Problem::whole(name, "no playbook of this name").with_help(help))
        }
    }
}

fn read(path: &Path) -> Result<File, Problem> {
    let bytes = std::fs::read(path).map_err(|e| Problem::whole(path.display().to_string(), format!("cannot be read: {e}")))?;
    File::from_bytes(path.display().to_string(), bytes)
}

/// Every playbook that can be named, and where one's own lies. One's own wins over one that ships.
pub fn names(dir: Option<&Path>) -> BTreeSet<(String, Option<PathBuf>)> {
    let entries = dir.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().filter_map(Result::ok);
    let own: BTreeMap<String, PathBuf> = entries
        .map(|e| e.path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml") && path.is_file())
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    let shipped = BUILT_IN.iter().filter(|(name, _)| !own.contains_key(*name)).map(|(name, _)| ((*name).to_owned(), None)).collect::<Vec<_>>();
    own.into_iter().map(|(name, path)| (name, Some(path))).chain(shipped).collect()
}
