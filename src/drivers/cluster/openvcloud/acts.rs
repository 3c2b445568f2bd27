//! The changes OpenvCloud is asked for, as data.
use super::{
    rows::{Firewall, Node, Stack, Vm},
    view::Seen,
};
use crate::{
    drivers::cluster::Ask,
    model::{Act, How, Loan, LoanId, Repeat},
};
use serde_json::{Value, json};

/// Each is offered only while the portal shows that it is still to be done: sending it twice is sending it once.
fn act(what: String, args: Value) -> Act {
    Act { args, ..Act::new("cluster", what, Repeat::Freely) }
}

fn loan(id: String, owed: String, before: Value) -> Option<Loan> {
    Some(Loan { id: LoanId(id), to: "cluster".into(), owed, before, first: false })
}

/// `before` holds who ran: those that moved have to run afterwards as well, wherever they are.
pub fn enter(seen: &Seen, ask: &Ask) -> Act {
    let (node, stack) = (&seen.node, &seen.stack);
    let how = if ask.how == How::Stop { "stop" } else { "move" };
    let mut act =
        act(format!("enter maintenance {}", node.name), json!({ "do": "enter", "stack": stack.id, "grid": stack.gid, "node": node.id, "vmaction": how }));
    let vms: Vec<Value> = seen.vms.iter().filter(|vm| vm.status == "RUNNING").map(|vm| json!([vm.id, vm.name])).collect();
    let spaces: Vec<Value> = seen.firewalls.iter().filter(|fw| fw.live.as_deref() != Some("HALTED")).map(|fw| json!([fw.space, fw.space_shown()])).collect();
    let before = json!({ "status": stack.status, "stack": stack.id, "grid": stack.gid, "node": node.id, "ran": vms, "firewalls": spaces });
    act.borrows = loan("maintenance".into(), format!("leave maintenance {}", node.name), before);
    act
}

pub fn stop_vm(vm: &Vm) -> Act {
    let mut act = act(format!("stop vm {}", vm.name), json!({ "do": "stop-vm", "vm": vm.id }));
    act.borrows = loan(format!("vm-{}", vm.id), format!("start vm {}", vm.name), json!({ "vm": vm.id, "name": vm.name }));
    act
}

pub fn stop_firewall(fw: &Firewall) -> Act {
    let name = fw.space_shown();
    let mut act = act(format!("stop firewall of cloud space {name}"), json!({ "do": "stop-firewall", "space": fw.space }));
    act.borrows = loan(format!("firewall-{}", fw.space), format!("start firewall of cloud space {name}"), json!({ "space": fw.space, "name": name }));
    act
}

/// Never by force: that destroys what cannot be migrated and starts it anew elsewhere.
pub fn move_vm(vm: &Vm, to: Option<&Stack>) -> Act {
    let target = to.map(|s| format!(" to {}", s.name)).unwrap_or_default();
    act(format!("move vm {}{target}", vm.name), json!({ "do": "move-vm", "vm": vm.id, "stack": to.map(|s| s.id) }))
}

pub fn move_firewall(fw: &Firewall, to: &Node) -> Act {
    act(format!("move firewall of cloud space {} to {}", fw.space_shown(), to.name), json!({ "do": "move-firewall", "space": fw.space, "node": to.id }))
}

pub fn give_back(loan: &Loan) -> Act {
    let before = &loan.before;
    let args = match (&before["vm"], &before["space"]) {
        (vm, _) if !vm.is_null() => json!({ "do": "start-vm", "vm": vm }),
        (_, space) if !space.is_null() => json!({ "do": "start-firewall", "space": space }),
        _ => json!({ "do": "enable", "stack": before["stack"], "grid": before["grid"], "node": before["node"] }),
    };
    act(loan.owed.clone(), args)
}
