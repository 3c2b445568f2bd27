//! The registry: how a TOML table named after its kind becomes a checked `Setting`, and a `Setting` the thing itself.
use crate::model::Setting;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use toml::{Spanned, de::DeValue};

pub mod problem;
pub mod reader;
pub mod render;

/// One row of a folder's table. `T` is what the folder makes: `dyn Step`, `dyn ClusterConfig`, …
pub struct Kind<T: ?Sized + 'static> {
    pub name: &'static str,
    /// First line of its documentation, for `pitstop playbook --kinds` and the schema.
    pub about: &'static str,
    pub check: fn(Spanned<DeValue<'_>>) -> Result<Value, toml::de::Error>,
    pub make: fn(&Value) -> Result<Box<T>, serde_json::Error>,
}

/// What one file of a folder provides: its configuration, and how that becomes the thing.
pub trait Config<T: ?Sized>: Serialize + DeserializeOwned + 'static {
    const NAME: &'static str;
    const ABOUT: &'static str;
    fn make(self) -> Box<T>;
    /// What serde's types cannot say: ranges, keys that exclude each other.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
}

impl<T: ?Sized + 'static> Kind<T> {
    pub const fn of<C: Config<T>>() -> Kind<T> {
        Kind { name: C::NAME, about: C::ABOUT, check: check::<T, C>, make: |body| C::deserialize(body).map(C::make) }
    }
}

fn check<T: ?Sized, C: Config<T>>(table: Spanned<DeValue<'_>>) -> Result<Value, toml::de::Error> {
    let config = C::deserialize(serde::de::IntoDeserializer::into_deserializer(table))?;
    config.validate().map_err(serde::de::Error::custom)?;
    serde_json::to_value(config).map_err(serde::de::Error::custom)
}

pub fn make<T: ?Sized>(kinds: &[Kind<T>], setting: &Setting) -> Result<Box<T>, String> {
    let kind = kinds.iter().find(|k| k.name == setting.kind).ok_or_else(|| format!("unknown kind `{}`", setting.kind))?;
    (kind.make)(&setting.body).map_err(|e| format!("{}: {e}", setting.kind))
}

/// A row without its type: all that inventory and playbook need to check a table, whatever the folder makes of it.
#[derive(Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub check: Check,
}
pub type Check = fn(Spanned<DeValue<'_>>) -> Result<Value, toml::de::Error>;

pub fn rows<T: ?Sized + 'static>(kinds: &[Kind<T>]) -> Vec<Row> {
    kinds.iter().map(|k| Row { name: k.name, about: k.about, check: k.check }).collect()
}
