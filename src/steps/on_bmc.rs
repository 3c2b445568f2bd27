//! What is borrowed from a BMC besides power: what it would boot next, and its locating light. In the ledger like everything else, and given back as it was.
use super::{Cx, reset::BMC};
use crate::model::{Act, BootOverride, Fault, FaultKind, Loan, LoanId, Repeat};
use serde_json::json;

const BOOT: &str = "boot_override";
const LIGHT: &str = "identify_light";

pub fn is_power(loan: &Loan) -> bool {
    loan.to == BMC && loan.id.0 == format!("{BMC}/power")
}

fn sets(what: String, to: &BootOverride) -> Act {
    let mut act = Act::new(BMC, what, Repeat::Freely);
    act.args = json!({ BOOT: to });
    act
}

/// Takes the override off, and remembers it.
pub fn put_aside(seen: &BootOverride) -> Act {
    let off = BootOverride { enabled: "Disabled".into(), target: "None".into(), mode: seen.mode.clone() };
    let mut act = sets(format!("put the boot override {} ({}) aside", seen.target, seen.enabled), &off);
    let owed = format!("boot override {} ({})", seen.target, seen.enabled);
    act.borrows = Some(Loan { id: LoanId(format!("{BMC}/boot-override")), to: BMC.into(), owed, before: json!(seen), first: false });
    act
}

fn shines(what: &str, on: bool) -> Act {
    let mut act = Act::new(BMC, what, Repeat::Freely);
    act.args = json!({ LIGHT: on });
    act
}

/// Lights it for whoever comes with the screwdriver.
pub fn light() -> Act {
    let mut act = shines("light the locating light", true);
    act.borrows =
        Some(Loan { id: LoanId(format!("{BMC}/identify-light")), to: BMC.into(), owed: "locating light off".into(), before: json!(false), first: false });
    act
}
pub fn is_light(loan: &Loan) -> bool {
    loan.to == BMC && loan.id.0 == format!("{BMC}/identify-light")
}
pub fn lights(act: &Act) -> bool {
    act.args.get(LIGHT) == Some(&json!(true))
}

fn before(loan: &Loan) -> Result<BootOverride, Fault> {
    serde_json::from_value(loan.before.clone())
        .map_err(|e| Fault::new(FaultKind::Invalid, format!("BUG: what `{}` was before cannot be read", loan.owed)).caused_by(&e))
}

pub fn give_back(loan: &Loan) -> Result<Act, Fault> {
    match is_light(loan) {
        true => Ok(shines("put the locating light out", loan.before == json!(true))),
        false => Ok(sets(format!("set the {} again", loan.owed), &before(loan)?)),
    }
}

pub async fn is_paid(cx: &Cx, loan: &Loan) -> Result<bool, Fault> {
    if is_light(loan) {
        return Ok(json!(cx.bmc.identify_light().await?) == loan.before);
    }
    let (now, was) = (cx.bmc.boot_override().await?, before(loan)?);
    Ok(now.enabled == was.enabled && now.target == was.target)
}

/// Is this act one of these? Then it is sent.
pub async fn act(cx: &Cx, act: &Act) -> Option<Result<(), Fault>> {
    if let Some(on) = act.args.get(LIGHT).and_then(serde_json::Value::as_bool) {
        return Some(cx.bmc.set_identify_light(on).await);
    }
    let to: BootOverride = serde_json::from_value(act.args.get(BOOT)?.clone()).ok()?;
    Some(cx.bmc.set_boot_override(&to).await)
}
