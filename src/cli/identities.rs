//! The identities half of `inventory trust`: who answers as each node now, held against what is pinned. Reads through the drivers, with the pins as they stand:
//! no password goes to a BMC or host that is not trusted yet.
use super::{connect::Wiring, context::Context};
use crate::{
    inventory::Inventory,
    model::{Fault, FaultKind, Identity, NodeName, Trust},
    plan::{Input, PlaybookInput, Who, who},
    survey,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One node's identity as it is seen, and how it stands to the pin.
#[derive(Debug, Serialize)]
pub struct SeenIdentity {
    pub node: NodeName,
    #[serde(flatten)]
    pub state: State,
}

#[derive(Debug, Serialize)]
#[serde(tag = "identity", rename_all = "snake_case")]
pub enum State {
    Pinned {
        seen: Identity,
    },
    New {
        seen: Identity,
        closed_by: String,
    },
    Changed {
        seen: Identity,
        pinned: Identity,
        differs: String,
        witnesses: Option<Fault>,
    },
    /// Not to be pinned: nothing that its witnesses say could be compared.
    Unproven {
        seen: Identity,
        fault: Fault,
    },
    Failed {
        fault: Fault,
    },
}

pub async fn read(cx: &Context, inventory: &Inventory, nodes: &BTreeSet<NodeName>, pinned: &BTreeMap<NodeName, Trust>) -> Vec<SeenIdentity> {
    let doors = Wiring::of_inventory(inventory, nodes).doors(cx).await;
    let survey = survey::take(cx.clock.now(), &doors, &[], &cx.ask()).await;
    let input = Input::new(inventory, nodes.iter().cloned(), PlaybookInput::none(), &survey, BTreeMap::new(), cx.clock.now());
    let judged = |name: &NodeName| state(who(&input, name), pinned.get(name).and_then(|trust| trust.identity.as_ref()));
    nodes.iter().map(|name| SeenIdentity { node: name.clone(), state: judged(name) }).collect()
}

fn state(who: Result<Who, Fault>, pinned: Option<&Identity>) -> State {
    let Who { identity: seen, chain } = match who {
        Ok(who) => who,
        Err(fault) => return State::Failed { fault },
    };
    match (pinned, chain) {
        (Some(pinned), chain) => match differs(pinned, &seen) {
            Some(differs) => State::Changed { seen, pinned: pinned.clone(), differs, witnesses: chain.err() },
            None => State::Pinned { seen },
        },
        (None, Ok(chain)) => State::New { seen, closed_by: chain.closed_by },
        // A witness that is missing or that contradicts: not a matter of pinning.
        (None, Err(fault)) if fault.kind == FaultKind::Unable => State::Unproven { seen, fault },
        (None, Err(fault)) => State::Failed { fault },
    }
}

/// The strongest value that is another now. What is not seen now, or was not pinned, differs in nothing.
fn differs(pinned: &Identity, seen: &Identity) -> Option<String> {
    let only = |uuid: bool, serial: bool, i: &Identity| Identity {
        uuid: i.uuid.clone().filter(|_| uuid),
        serial: i.serial.clone().filter(|_| serial),
        machine_id: i.machine_id.clone().filter(|_| !uuid && !serial),
        ..Identity::default()
    };
    let parts = [(true, false), (false, true), (false, false)];
    parts.into_iter().find_map(|(uuid, serial)| only(uuid, serial, pinned).same(&only(uuid, serial, seen)).and_then(Result::err))
}

impl SeenIdentity {
    /// What would be pinned: one that is new and proven, or whatever answers where a person said that it is another machine.
    pub fn pins(&self, new_identity: bool) -> Option<&Identity> {
        match &self.state {
            State::New { seen, .. } => Some(seen),
            State::Changed { seen, witnesses, .. } if new_identity && !witnesses.as_ref().is_some_and(contradict) => Some(seen),
            State::Unproven { seen, .. } if new_identity && !seen.is_empty() => Some(seen),
            _ => None,
        }
    }
    pub fn changed(&self) -> bool {
        matches!(self.state, State::Changed { .. })
    }
    /// The command is not done with it.
    pub fn open(&self, new_identity: bool) -> bool {
        matches!(self.state, State::Changed { .. } | State::Failed { .. }) && self.pins(new_identity).is_none()
    }

    pub fn text(&self) -> String {
        let lines = |seen: &Identity| {
            let parts = [("uuid", &seen.uuid), ("serial", &seen.serial), ("machine-id", &seen.machine_id)];
            let said: Vec<String> = parts.iter().filter_map(|(what, value)| value.as_ref().map(|v| format!("{what} {v}"))).collect();
            if said.is_empty() { "nothing that names one machine".to_owned() } else { said.join(", ") }
        };
        let node = &self.node;
        match &self.state {
            State::Pinned { seen } => format!("{node}\n  identity: as pinned\n    {}\n", lines(seen)),
            State::New { seen, closed_by } => format!("{node}\n  identity: not pinned yet ({closed_by})\n    {}\n", lines(seen)),
            State::Changed { seen, pinned, differs, witnesses } => {
                let more = witnesses.iter().map(|f| format!("    {f}\n")).collect::<String>();
                format!("{node}\n  identity: CHANGED, {differs}\n    {}\n    pinned   {}\n{more}", lines(seen), lines(pinned))
            }
            State::Unproven { seen, fault } => format!("{node}\n  identity: not pinned, {}\n    {}\n", fault, lines(seen)),
            State::Failed { fault } => format!("{node}\n  identity: FAILED     {fault}\n"),
        }
    }
}

/// Two machines answer for one node: no pin heals that.
fn contradict(fault: &Fault) -> bool {
    fault.kind != FaultKind::Unable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Chain;

    const A: &str = "4c4c4544-0051-3010-8052-b4c04f4e4d32";
    const B: &str = "4c4c4544-0038-3010-8052-b4c04f4e4d32";

    fn machine(uuid: &str, serial: &str, id: &str) -> Identity {
        Identity { uuid: Some(uuid.into()), serial: Some(serial.into()), machine_id: Some(id.into()), ..Identity::default() }
    }
    fn seen(identity: Identity, chain: Result<(), FaultKind>, pinned: Option<&Identity>) -> SeenIdentity {
        let chain = chain.map(|()| Chain { closed_by: "cluster = host = BMC".into(), evidence: vec![] }).map_err(|kind| Fault::new(kind, "identity"));
        SeenIdentity { node: NodeName("edge-07".into()), state: state(Ok(Who { identity, chain }), pinned) }
    }

    #[test]
    fn inv_01_a_new_board_is_shown_with_both_values_and_taken_only_when_said() {
        let (old, new) = (machine(A, "J4X12S3", "0123456789abcdef0123456789abcde0"), machine(B, "J4X99S9", "0123456789abcdef0123456789abcde0"));
        let swapped = seen(new.clone(), Ok(()), Some(&old));
        assert!(swapped.text().contains("CHANGED") && swapped.text().contains(A) && swapped.text().contains(B), "{}", swapped.text());
        assert_eq!((swapped.pins(false), swapped.pins(true), swapped.open(false), swapped.open(true)), (None, Some(&new), true, false));
        // Two machines answer for one node: that is no new board.
        assert_eq!(seen(new.clone(), Err(FaultKind::Unwilling), Some(&old)).pins(true), None);
        // Installed anew on the same board: seen too.
        let reinstalled = seen(machine(A, "J4X12S3", "0123456789abcdef0123456789abcde1"), Ok(()), Some(&old));
        assert!(reinstalled.text().contains("machine-id") && reinstalled.open(false), "{}", reinstalled.text());
    }

    #[test]
    fn what_nobody_could_compare_is_pinned_for_one_node_by_name_only() {
        let unproven = seen(machine(A, "J4X12S3", ""), Err(FaultKind::Unable), None);
        assert_eq!((unproven.pins(false), unproven.open(false)), (None, false));
        assert!(unproven.pins(true).is_some());
        assert!(seen(machine(A, "", ""), Err(FaultKind::Unwilling), None).open(true));
        assert!(!seen(machine(A, "J4X12S3", ""), Ok(()), Some(&Identity { uuid: Some(A.to_uppercase()), ..Identity::default() })).open(false));
    }
}
