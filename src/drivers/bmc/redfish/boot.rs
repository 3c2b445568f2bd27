//! What the system boots next, and its locating light: properties of the system itself, changed by one PATCH.
use super::{Redfish, read};
use crate::model::{BootOverride, Fault, FaultKind};
use serde_json::{Value, json};

impl Redfish {
    /// The system's whole document, from the address that was found, and its ETag.
    async fn document(&self) -> Result<(String, Value, Option<String>), Fault> {
        let (uri, _) = self.system().await?;
        let (doc, tag) = self.client.get_tagged(&uri).await?;
        Ok((uri, doc, tag))
    }

    pub async fn read_boot(&self) -> Result<BootOverride, Fault> {
        let (_, doc, _) = self.document().await?;
        boot(&doc).ok_or_else(|| self.no_boot())
    }

    pub fn no_boot(&self) -> Fault {
        self.fault(FaultKind::Unable, "its system has no boot override")
    }

    pub async fn write_boot(&self, to: &BootOverride) -> Result<(), Fault> {
        let (uri, doc, tag) = self.document().await.map_err(super::nothing_sent)?;
        if boot(&doc).is_none() {
            return Err(self.no_boot());
        }
        // `Disabled` alone: many refuse a target, or any other property, beside it.
        let mut body = json!({ "BootSourceOverrideEnabled": to.enabled });
        if to.enabled != "Disabled" {
            body["BootSourceOverrideTarget"] = json!(to.target);
            if let Some(mode) = &to.mode {
                body["BootSourceOverrideMode"] = json!(mode);
            }
        }
        self.client.patch(&self.client.url(&uri)?, tag, json!({ "Boot": body })).await
    }

    pub async fn read_light(&self) -> Result<bool, Fault> {
        let (uri, doc, _) = self.document().await?;
        light(&doc).map(|(_, on)| on).ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: {uri} has no locating light", self.endpoint)))
    }

    pub async fn write_light(&self, on: bool) -> Result<(), Fault> {
        let (uri, doc, tag) = self.document().await.map_err(super::nothing_sent)?;
        let body = match light(&doc) {
            Some((NEW, _)) => json!({ NEW: on }),
            Some((old, _)) => json!({ old: if on { "Blinking" } else { "Off" } }),
            None => return Err(Fault::new(FaultKind::Unable, format!("{}: {uri} has no locating light", self.endpoint))),
        };
        self.client.patch(&self.client.url(&uri)?, tag, body).await
    }
}

const NEW: &str = "LocationIndicatorActive";

pub fn boot(doc: &Value) -> Option<BootOverride> {
    let boot = doc.get("Boot")?;
    let (enabled, target) = (read::text(boot.get("BootSourceOverrideEnabled")), read::text(boot.get("BootSourceOverrideTarget")));
    if enabled.is_none() && target.is_none() {
        return None;
    }
    Some(BootOverride {
        // Old firmware leaves one of the two out: a target alone is in force.
        enabled: enabled.unwrap_or_else(|| "Once".into()),
        target: target.unwrap_or_else(|| "None".into()),
        mode: read::text(boot.get("BootSourceOverrideMode")),
    })
}

/// Which property it is, and whether it is lit. `Lit` is the old word for a steady light.
fn light(doc: &Value) -> Option<(&'static str, bool)> {
    match (doc.get(NEW).and_then(Value::as_bool), read::text(doc.get("IndicatorLED"))) {
        (Some(on), _) => Some((NEW, on)),
        (None, Some(led)) => Some(("IndicatorLED", led == "Lit" || led == "Blinking")),
        (None, None) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn odd_services_are_read_for_what_they_say() {
        let of = |boot: Value| super::boot(&json!({ "Boot": boot }));
        let both = of(json!({ "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe", "BootSourceOverrideMode": "UEFI" })).unwrap();
        assert!(!both.is_off() && both.mode.as_deref() == Some("UEFI"));
        assert!(!of(json!({ "BootSourceOverrideTarget": "Pxe" })).unwrap().is_off(), "a target alone is in force");
        assert!(of(json!({ "BootSourceOverrideEnabled": "Disabled" })).unwrap().is_off());
        assert!(of(json!({ "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": null })).unwrap().is_off());
        assert_eq!(of(json!({ "BootOptions": {} })), None);
        assert_eq!(super::boot(&json!({})), None);
        assert_eq!(light(&json!({ "IndicatorLED": "Off" })), Some(("IndicatorLED", false)));
        assert_eq!(light(&json!({ "IndicatorLED": "Off", "LocationIndicatorActive": true })), Some((NEW, true)));
    }
}
