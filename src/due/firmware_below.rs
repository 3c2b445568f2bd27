//! Due `firmware-below`: a component runs an older version than the playbook wants for this model.
use super::{Due, DueAnswer, DueProbe};
use crate::{
    kinds,
    model::{Fault, FaultKind, Target, validate_targets},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Bare, it takes the targets of the playbook's own step `firmware`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub targets: Vec<Target>,
}

impl kinds::Config<dyn Due> for Config {
    const NAME: &'static str = "firmware-below";
    const ABOUT: &'static str = "firmware of the node is older than the targets of its model";
    fn validate(&self) -> Result<(), String> {
        validate_targets(&self.targets)
    }
    fn make(self) -> Box<dyn Due> {
        Box::new(self)
    }
}

#[async_trait]
impl Due for Config {
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        let node = probe.node;
        let none = || Fault::new(FaultKind::Unable, format!("{node}: only a BMC can say which firmware runs, and none answers"));
        let bmc = probe.bmc.ok_or_else(none)?;
        let view = bmc.look().await?;
        if view.protocol == "ipmi" {
            return Err(Fault::new(FaultKind::Unable, format!("{node}: IPMI does not say which firmware runs, and Redfish does not answer")));
        }
        let product = view.product.unwrap_or_default();
        let wanted: Vec<&Target> = self.targets.iter().filter(|t| t.is_for(&product)).collect();
        if wanted.is_empty() {
            return Ok(DueAnswer::NotDue(format!("no firmware target is for `{product}`")));
        }
        let seen = bmc.firmware().await?;
        let (mut below, mut at) = (Vec::new(), Vec::new());
        for target in wanted {
            let (version, is_below) = target.below(&seen).map_err(|f| Fault { what: format!("{node}: {}", f.what), ..f })?;
            match is_below {
                true => below.push(format!("{} {version} is below {}", target.id, target.version)),
                false => at.push(format!("{} is {version}", target.id)),
            }
        }
        Ok(if below.is_empty() { DueAnswer::NotDue(at.join(", ")) } else { DueAnswer::Due(below.join(", ")) })
    }
}
