//! A table named after its kind, already checked against that kind's own config type.
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `{ kind = "kubernetes", body = {…} }`. Inventory, playbook and plan carry only this; whoever connects makes the typed config again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub kind: String,
    #[serde(default)]
    pub body: Value,
}
