//! What would stand against a power verb, told before anything begins: as the guards judge it at that moment (safety.md, 13 to 16).
use super::{History, NodeInput, Note, World, about, note};
use crate::model::{Fault, FaultKind, LiveTask, NodeName, NodeSurvey, Power, Relax, Started};

impl World<'_> {
    /// Containers on the host that nobody knows: only of a machine that is proven to be this one, or all of another's would be strays.
    pub(super) fn strays(&self, seen: &NodeSurvey, name: &NodeName, node: &NodeInput, notes: &mut Vec<Note>) -> Option<Fault> {
        let stray = seen.at_power.strays.first().filter(|_| self.powers)?;
        let what = format!("{} runs on {name}, and no cluster knows it", seen.at_power.strays.join(", "));
        if node.relaxed.contains(&Relax::Empty) {
            notes.push(note(name, format!("relaxed by name ({}): {what}", Relax::Empty)));
            return None;
        }
        let word = stray.split_once(' ').map_or(stray.as_str(), |(_, word)| word);
        let next = format!("stop it, or, if it belongs to the machine, name it in the inventory: known_containers = [\"{word}\"]");
        Some(Fault::new(FaultKind::Unwilling, what).next(next))
    }

    /// What would stand against power now (safety.md, 14 to 16). A person may have relaxed it by name; a node that power is not asked of bears it.
    pub(super) fn at_power(&self, seen: &NodeSurvey, name: &NodeName, node: &NodeInput, notes: &mut Vec<Note>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let locks = || seen.host.iter().filter_map(|h| h.as_ref().ok()).flat_map(|h| &h.locks);
        for lock in locks() {
            let said = node.unlock.as_ref().map(|words| format!("; the inventory says unlock = \"{words}\"")).unwrap_or_default();
            notes.push(note(name, format!("its root disk is encrypted: {lock}{said}")));
        }
        if let Some(lock) = locks().find(|lock| self.breaks_seals && lock.sealed()) {
            faults.push(lock.unsealed_by_firmware(name));
        }
        notes.extend(seen.at_power.unread.iter().map(|what| note(name, format!("hardware RAID: {what}: how its volumes are is not looked at"))));
        for refused in &seen.at_power.refused {
            match refused.relax {
                _ if !self.powers => notes.push(note(name, format!("power would be refused: {}", refused.fault))),
                Some(relax) if node.relaxed.contains(&relax) => {
                    notes.push(note(name, format!("relaxed by name ({relax}): {}", refused.fault)));
                }
                Some(Relax::BootOrder) if self.clears_boot && refused.clears => {
                    notes.push(note(name, format!("{}; it is put aside and given back", refused.fault.what)));
                }
                _ => faults.push(refused.fault.clone()),
            }
        }
        faults
    }
}

/// As the preflight step judges it, told before anything begins.
pub(super) fn powered(seen: &NodeSurvey, name: &NodeName, history: &History, notes: &mut Vec<Note>) -> Option<Fault> {
    let power: Vec<Power> = seen.bmc.iter().filter_map(|way| way.seen.as_ref().ok()).map(|view| view.power).collect();
    if power.contains(&Power::Off) && history.inherits.is_empty() {
        let fault = Fault::new(FaultKind::Unwilling, format!("{name} is powered off"));
        return Some(fault.next(format!("switch it on first: nobody knows why {name} is off")));
    }
    if !power.contains(&Power::On) {
        notes.push(note(name, "its BMC does not say On".into()));
    }
    None
}

/// safety.md, 13, as the guard before each verb judges it. One way that tells of tasks is enough; where none does, that is said.
pub(super) fn flash(seen: &NodeSurvey, name: &NodeName, history: &History, notes: &mut Vec<Note>) -> Option<Fault> {
    let started: Vec<Started> = history.inherits.iter().filter_map(Started::of).collect();
    let told: Vec<&Result<Vec<LiveTask>, Fault>> = seen.bmc.iter().filter_map(|way| way.tasks.as_ref()).collect();
    let live = told.iter().filter_map(|tasks| tasks.as_ref().ok()).flatten().find(|task| !started.iter().any(|s| s.waits(task)));
    if let Some(task) = live {
        return Some(task.refusal(name));
    }
    if told.iter().any(|tasks| tasks.is_ok()) || told.is_empty() {
        return None;
    }
    let able = told.iter().filter_map(|tasks| tasks.as_ref().err()).find(|fault| fault.kind != FaultKind::Unable);
    match (able, started.first()) {
        (Some(fault), _) => Some(about("flash: its BMC's tasks cannot be read", fault))
            .map(|f| Fault { next: Some(format!("look at the BMC, then pitstop check {name}")), ..f }),
        (None, Some(open)) => Some(
            Fault::new(FaultKind::Unable, format!("flash: an earlier run started the {}, and the BMC cannot say whether it is at its end", open.named(name)))
                .next(format!("give {name} a bmc.redfish in the inventory, or look at the machine")),
        ),
        (None, None) => {
            notes.push(note(name, "its BMC cannot tell of live firmware tasks: not looked at".into()));
            None
        }
    }
}
