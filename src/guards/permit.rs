//! A `Permit`: the right to send one power verb to one node, or to reset its BMC, once, within 30 seconds of the readings it was made from.
use super::{Readings, boot_order, branch, dead, empty, flash, identity, storage, unlock};
use crate::model::{Fault, FaultKind, NodeName, Power, Relax, ResetType};
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Older readings prove nothing about now.
pub const FRESH: Duration = Duration::from_secs(30);

/// Cannot be copied, and made only below.
#[derive(Debug)]
pub struct Permit {
    node: NodeName,
    right: Right,
    read_at: Instant,
    spent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Power(ResetType),
    Bmc,
}
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::Power(verb) => verb.fmt(f),
            Right::Bmc => f.write_str("a reset of the BMC"),
        }
    }
}

/// Every interlock that binds a power verb, judged over readings of one node.
pub fn permit(node: &NodeName, verb: ResetType, readings: &Readings) -> Result<Permit, Fault> {
    permit_over(node, verb, readings, flash::judge(node, readings))
}

/// A reset of the BMC itself: on some boards it takes the host along, so everything binds that binds a power verb. `wedged`: its tasks have been
/// unreadable for longer than any flash that was ever seen takes, and no update of ours is open; then alone that they cannot be read does not stand in the way.
pub fn restart_of_bmc(node: &NodeName, wedged: bool, readings: &Readings) -> Result<Permit, Fault> {
    let flash = match flash::judge(node, readings) {
        Err(_) if wedged && readings.started.is_empty() && readings.tasks.is_err() => Ok(()),
        judged => judged,
    };
    Ok(Permit { right: Right::Bmc, ..permit_over(node, ResetType::ForceRestart, readings, flash)? })
}

fn permit_over(node: &NodeName, verb: ResetType, readings: &Readings, flash: Result<(), Fault>) -> Result<Permit, Fault> {
    branch::judge(node, readings)?;
    let Some(moment) = &readings.moment else {
        return Err(Fault::new(FaultKind::Unwilling, format!("BUG: {node}: what boots next and what the stores say was not read")));
    };
    let off = readings.bmc.as_ref().is_ok_and(|b| b.power == Power::Off);
    if verb == ResetType::On && off {
        // On cuts nothing off: a dropped cordon must not keep a machine dark that is owed On. What was placed there meanwhile is found at verify.
        identity::judge(node, &readings.of_machine_off())?;
    } else {
        identity::judge(node, readings)?;
        unless(readings, Relax::Empty, empty::judge(node, readings))?;
        // Once it is off, On is owed all the same: a dark machine is no better than one that waits for a passphrase.
        unless(readings, Relax::BootOrder, unlock::judge(node, readings.host_word(), readings.pins.unlock.as_deref()))?;
        unless(readings, Relax::Storage, storage::judge(node, &moment.stores, readings.host_word()))?;
    }
    flash?;
    unless(readings, Relax::BootOrder, boot_order::judge(node, &moment.boot, readings.host_word()))?;
    let permit = Permit { node: node.clone(), right: Right::Power(verb), read_at: readings.read_at, spent: false };
    permit.fresh()?;
    Ok(permit)
}

/// ForceOff for a dead node: fenced, not evacuated. Nothing that could still answer is cut off by it.
pub fn fencing(node: &NodeName, readings: &Readings) -> Result<Permit, Fault> {
    dead::judge(node, readings)?;
    // A machine that hangs may hang because it is being flashed.
    flash::judge(node, readings)?;
    let permit = Permit { node: node.clone(), right: Right::Power(ResetType::ForceOff), read_at: readings.read_at, spent: false };
    permit.fresh()?;
    Ok(permit)
}

/// A person said by name that this one does not bind, for this node in this command.
fn unless(readings: &Readings, name: Relax, judged: Result<(), Fault>) -> Result<(), Fault> {
    match judged {
        Err(_) if readings.pins.relaxed.contains(&name) => Ok(()),
        Err(fault) => {
            let next = fault.next.clone().unwrap_or_else(|| format!("or, once and for this node alone: --unsafe {name} --reason TEXT"));
            Err(fault.next(next))
        }
        Ok(()) => Ok(()),
    }
}

impl Permit {
    fn fresh(&self) -> Result<(), Fault> {
        let age = self.read_at.elapsed();
        if age <= FRESH {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Unwilling, format!("{}: what was read before {} is {} s old, limit 30 s", self.node, self.right, age.as_secs())))
    }

    /// Called by a driver as the last thing before its request is written.
    pub fn spend(&mut self, node: Option<&NodeName>, verb: ResetType) -> Result<(), Fault> {
        self.spend_as(node, Right::Power(verb))
    }
    /// The same for a reset of the BMC itself.
    pub fn spend_on_bmc(&mut self, node: Option<&NodeName>) -> Result<(), Fault> {
        self.spend_as(node, Right::Bmc)
    }
    fn spend_as(&mut self, node: Option<&NodeName>, right: Right) -> Result<(), Fault> {
        if node.is_some_and(|n| *n != self.node) || right != self.right {
            let asked = node.map_or("a BMC", |n| n.0.as_str());
            return Err(Fault::new(FaultKind::Unwilling, format!("the permit is for {} of {}, not for {right} of {asked}", self.right, self.node)));
        }
        if self.spent {
            return Err(Fault::new(FaultKind::Unwilling, format!("the permit for {} of {} is spent", self.right, self.node)));
        }
        self.fresh()?;
        self.spent = true;
        Ok(())
    }

    /// May the next way in use it? Only after a fault that proves that nothing happened (safety.md, 12).
    pub fn refund(&mut self, fault: &Fault) -> bool {
        let nothing_happened = matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unable);
        self.spent &= !nothing_happened;
        nothing_happened
    }
}
