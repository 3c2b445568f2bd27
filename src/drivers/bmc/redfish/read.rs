//! What a Redfish service says, read so that no odd field spoils the rest: what is missing, null or of the wrong type is absent.
use super::quirks;
use crate::model::{Identity, Power, ResetType};
use serde_json::Value;

/// A string that says something; numbers where makers forgot the quotes.
pub fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// `{ "@odata.id": … }`
pub fn link(value: Option<&Value>) -> Option<String> {
    text(value?.get("@odata.id"))
}

/// The links of a collection, and its next page.
pub fn members(collection: &Value) -> (Vec<String>, Option<String>) {
    let members = collection.get("Members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    (members.iter().filter_map(|m| link(Some(m))).collect(), text(collection.get("Members@odata.nextLink")))
}

/// How to reset a system, in the service's own words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reset {
    pub target: String,
    /// None: not said in the resource itself.
    pub verbs: Option<Vec<String>>,
    /// Where else it may be said.
    pub info: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// For people and `system_id`.
    pub id: Option<String>,
    pub identity: Identity,
    pub power: Power,
    pub reset: Option<Reset>,
    pub marker: Option<String>,
    pub product: Option<String>,
    pub manager: Option<String>,
    pub boot_progress: Option<String>,
}

impl Reset {
    /// An action of a resource, by its name: `#Manager.Reset`.
    pub fn read(doc: &Value, action: &str) -> Option<Reset> {
        doc.get("Actions")?.get(action).and_then(reset)
    }
}

impl System {
    pub fn read(doc: &Value) -> System {
        let product: Vec<_> = [text(doc.get("Manufacturer")), text(doc.get("Model"))].into_iter().flatten().collect();
        // A clock that was never set always says the same.
        let last_reset = text(doc.get("LastResetTime")).filter(|t| !t.starts_with("0000"));
        System {
            id: text(doc.get("Id")),
            identity: Identity { uuid: text(doc.get("UUID")), serial: text(quirks::serial(doc)), ..Identity::default() },
            power: match doc.get("PowerState").and_then(Value::as_str) {
                Some("On") => Power::On,
                Some("Off") => Power::Off,
                // `PoweringOff`, `Paused`, null and what we never heard of are neither.
                _ => Power::Unknown,
            },
            reset: Reset::read(doc, "#ComputerSystem.Reset"),
            marker: last_reset.or_else(|| quirks::reset_counter(doc)),
            product: (!product.is_empty()).then(|| product.join(" ")),
            manager: link(doc.pointer("/Links/ManagedBy/0")),
            // `None` is said between boots, and by BMCs that never say more.
            boot_progress: text(doc.pointer("/BootProgress/LastState")).filter(|state| state != "None").map(|state| shown(&state)),
        }
    }

    /// The id, or the last part of its address.
    pub fn is(&self, uri: &str, wanted: &str) -> bool {
        self.id.as_deref() == Some(wanted) || uri.trim_end_matches('/').rsplit('/').next() == Some(wanted)
    }
}

fn reset(action: &Value) -> Option<Reset> {
    Some(Reset {
        target: text(action.get("target"))?,
        verbs: action.get("ResetType@Redfish.AllowableValues").and_then(verbs),
        info: text(action.get("@Redfish.ActionInfo")),
    })
}

/// The values of `ResetType` in an ActionInfo.
pub fn action_info(doc: &Value) -> Option<Vec<String>> {
    let parameters = doc.get("Parameters")?.as_array()?;
    let parameter = parameters.iter().find(|p| p.get("Name").and_then(Value::as_str) == Some("ResetType"))?;
    parameter.get("AllowableValues").and_then(verbs)
}

/// An empty list says nothing.
fn verbs(list: &Value) -> Option<Vec<String>> {
    let verbs: Vec<String> = list.as_array()?.iter().filter_map(|v| text(Some(v))).collect();
    (!verbs.is_empty()).then_some(verbs)
}

/// Those of the verbs that pitstop sends.
pub fn known(verbs: &[String]) -> Vec<ResetType> {
    verbs.iter().filter_map(|v| ResetType::parse(v)).collect()
}

/// The body of a refusal: ids of its messages (without their registry), and its text for people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refusal {
    pub ids: Vec<String>,
    pub texts: Vec<String>,
}

impl Refusal {
    pub fn read(doc: &Value) -> Refusal {
        let error = doc.get("error").unwrap_or(doc);
        // One object instead of a list has been seen.
        let infos = match error.get("@Message.ExtendedInfo") {
            Some(Value::Array(infos)) => infos.iter().collect(),
            Some(info @ Value::Object(_)) => vec![info],
            _ => Vec::new(),
        };
        let all: Vec<&Value> = infos.into_iter().chain([error]).collect();
        let mut refusal = Refusal::default();
        for info in all {
            let id = text(info.get("MessageId")).or_else(|| text(info.get("code")));
            refusal.ids.extend(id.and_then(|id| id.rsplit('.').next().map(str::to_owned)));
            let said = text(info.get("Message")).or_else(|| text(info.get("message"))).map(|t| shown(&t));
            refusal.texts.extend(said.filter(|t| !refusal.texts.contains(t)));
        }
        refusal
    }
    pub fn says(&self, ids: &[&str]) -> bool {
        self.ids.iter().any(|id| ids.contains(&id.as_str()))
    }
}

/// What a stranger wrote, safe and short enough for a line of ours.
pub fn shown(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}
