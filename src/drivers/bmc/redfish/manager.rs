//! The BMC itself: how it is told to start anew, and whether that is this machine's own affair.
use super::Redfish;
use super::read::{self, Reset};
use crate::model::{Fault, FaultKind};
use reqwest::Url;
use serde_json::{Value, json};

impl Redfish {
    /// Where the reset goes, and its body. Reading the manager just before also proves that the session is alive.
    pub async fn restart_target(&self) -> Result<(Url, Vec<u8>), Fault> {
        let (_, system) = self.system().await?;
        let uri = system.manager.ok_or_else(|| self.fault(FaultKind::Unable, "its system names no manager"))?;
        let doc = self.client.get(&uri).await?;
        if let Some(others) = shared(&doc) {
            // A power action on every machine behind it (safety.md, 2), and only this one is known to be empty.
            let what = format!("{uri} manages {others} systems: its reset would touch them all");
            return Err(self.fault(FaultKind::Unwilling, &what));
        }
        let reset = Reset::read(&doc, "#Manager.Reset").ok_or_else(|| self.fault(FaultKind::Unable, &format!("{uri} offers no reset of itself")))?;
        let verbs = self.verbs(&reset).await?;
        let verb = verb(verbs.as_deref()).ok_or_else(|| {
            let fault = self.fault(FaultKind::Unable, &format!("{uri} takes neither GracefulRestart nor ForceRestart"));
            fault.cause(format!("it takes {}", verbs.unwrap_or_default().join(", ")))
        })?;
        Ok((self.client.url(&reset.target)?, json!({ "ResetType": verb }).to_string().into_bytes()))
    }
}

/// How many systems it manages, if more than one.
fn shared(manager: &Value) -> Option<usize> {
    let systems = manager.pointer("/Links/ManagerForServers").and_then(Value::as_array).map_or(0, Vec::len);
    (systems > 1).then_some(systems)
}

/// The gentle one, unless it is not offered; where nothing is said, the gentle one is tried.
fn verb(offered: Option<&[String]>) -> Option<&'static str> {
    let takes = |v: &str| offered.is_none_or(|all| all.is_empty() || all.iter().any(|o| o == v));
    ["GracefulRestart", "ForceRestart"].into_iter().find(|v| takes(v))
}

/// For fuzzers: what one document says.
pub fn read(doc: &Value) {
    shared(doc);
    Reset::read(doc, "#Manager.Reset");
    read::link(doc.pointer("/Links/ManagedBy/0"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_manages_several_machines_is_nobodys_own() {
        let of = |n: usize| json!({ "Links": { "ManagerForServers": vec![json!({ "@odata.id": "/s" }); n] } });
        assert_eq!((shared(&of(0)), shared(&of(1)), shared(&of(4)), shared(&json!({}))), (None, None, Some(4), None));
    }

    #[test]
    fn the_gentle_reset_goes_first_and_some_have_only_the_other() {
        let some = |v: &[&str]| Some(v.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (offered, sent) in [
            (None, Some("GracefulRestart")),
            (some(&["ForceRestart"]), Some("ForceRestart")),
            (some(&["ForceRestart", "GracefulRestart"]), Some("GracefulRestart")),
            (some(&["ResetAll"]), None),
        ] {
            assert_eq!(verb(offered.as_deref()), sent);
        }
    }
}
