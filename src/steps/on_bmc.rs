//! What is borrowed from a BMC besides power: what it would boot next. In the ledger like everything else, and given back as it was.
use super::{Cx, reset::BMC};
use crate::model::{Act, BootOverride, Fault, FaultKind, Loan, LoanId, Repeat};
use serde_json::json;

const BOOT: &str = "boot_override";

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

fn before(loan: &Loan) -> Result<BootOverride, Fault> {
    serde_json::from_value(loan.before.clone())
        .map_err(|e| Fault::new(FaultKind::Invalid, format!("BUG: what `{}` was before cannot be read", loan.owed)).caused_by(&e))
}

pub fn give_back(loan: &Loan) -> Result<Act, Fault> {
    Ok(sets(format!("set the {} again", loan.owed), &before(loan)?))
}

pub async fn is_paid(cx: &Cx, loan: &Loan) -> Result<bool, Fault> {
    let (now, was) = (cx.bmc.boot_override().await?, before(loan)?);
    Ok(now.enabled == was.enabled && now.target == was.target)
}

/// Is this act one of these? Then it is sent.
pub async fn act(cx: &Cx, act: &Act) -> Option<Result<(), Fault>> {
    let to: BootOverride = serde_json::from_value(act.args.get(BOOT)?.clone()).ok()?;
    Some(cx.bmc.set_boot_override(&to).await)
}
