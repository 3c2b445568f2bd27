//! Which ssh_config is read: `config = true` or `config = "path"`.
use crate::model::FilePath;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Aliases {
    #[default]
    Unread,
    /// `~/.ssh/config`, then `/etc/ssh/ssh_config`.
    Own,
    /// This one alone.
    File(FilePath),
}

impl Aliases {
    pub fn unread(&self) -> bool {
        *self == Aliases::Unread
    }
}

impl Serialize for Aliases {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Aliases::File(path) => path.serialize(to),
            other => to.serialize_bool(*other == Aliases::Own),
        }
    }
}

impl<'de> Deserialize<'de> for Aliases {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Aliases, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Aliases;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true for ~/.ssh/config, or the path of a file")
            }
            fn visit_bool<E: de::Error>(self, own: bool) -> Result<Aliases, E> {
                Ok(if own { Aliases::Own } else { Aliases::Unread })
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<Aliases, E> {
                if path.is_empty() { Err(E::custom("the path is empty")) } else { Ok(Aliases::File(FilePath(path.to_owned()))) }
            }
        }
        from.deserialize_any(Visitor)
    }
}
