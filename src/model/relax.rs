//! The interlocks that a person may relax by name: for one node and one command, with a reason (safety.md). Flash and lock have no name here.
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relax {
    /// 1: a witness that cannot be read. One that contradicts is never relaxed.
    Identity,
    /// 2: what still runs there is lost.
    Empty,
    /// 14: a store does not bear it, or no gate can say.
    Storage,
    /// 16: it boots something else, or nobody can say what.
    BootOrder,
}

impl Relax {
    pub const ALL: [Relax; 4] = [Relax::Identity, Relax::Empty, Relax::Storage, Relax::BootOrder];
    pub fn name(self) -> &'static str {
        match self {
            Relax::Identity => "identity",
            Relax::Empty => "empty",
            Relax::Storage => "storage",
            Relax::BootOrder => "boot-order",
        }
    }
    /// What is given up by it, for the person who asks.
    pub fn means(self) -> &'static str {
        match self {
            Relax::Identity => "a witness of who this machine is cannot be read: its power may be another machine's",
            Relax::Empty => "whatever still runs there is cut off",
            Relax::Storage => "a store may lose data or stop answering without this node",
            Relax::BootOrder => "it may boot something else, an installer too",
        }
    }
}
impl fmt::Display for Relax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
impl FromStr for Relax {
    type Err = String;
    fn from_str(name: &str) -> Result<Relax, String> {
        Relax::ALL.into_iter().find(|r| r.name() == name).ok_or_else(|| match name {
            "flash" | "lock" => format!("`{name}` cannot be relaxed by anybody"),
            _ => format!("no interlock `{name}` can be relaxed; there are {}", Relax::ALL.map(Relax::name).join(", ")),
        })
    }
}
