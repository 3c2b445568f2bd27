//! From rows to a judgement: pure.
use super::{
    rows::{Key, Line, Machine, Node, Tier, Vm, runs},
    tiers::tiers_not_well,
};
use crate::model::{Act, Blocker, Boot, Here, Identity, Loan, LoanId, Member, NodeView, Repeat, Unmovable, Workload};
use serde_json::json;

/// One look: the node, and what the other tables say.
#[derive(Debug, Clone)]
pub struct Seen {
    pub node: Node,
    /// Every other node of the system.
    pub peers: Vec<Node>,
    /// Rows of machines that the cluster places on the node.
    pub machines: Vec<Machine>,
    /// Every VM of the system.
    pub vms: Vec<Vm>,
    /// Err: this version has no such table.
    pub tiers: Result<Vec<Tier>, String>,
    /// The machines' logs, newest first: read while it is on its way only.
    pub lines: Vec<Line>,
}

/// Something that runs on the node, by every table that says so.
struct Guest<'a> {
    kind: &'static str,
    name: String,
    machine: Option<Key>,
    vm: Option<&'a Vm>,
    leaving: bool,
    stuck: Option<String>,
}

const MOVING: [&str; 4] = ["initmigrate", "startmigrate", "migrating", "migratecomplete"];
/// The node does not run, or not yet: what it last said about maintenance still holds.
const DOWN: [&str; 6] = ["stopping", "stopped", "unresponsive", "initializing", "starting", "needsrestart"];

/// Two witnesses: the table of machines and the table of VMs. What either shows is there.
fn guests(seen: &Seen) -> Vec<Guest<'_>> {
    let here = Some(seen.node.key());
    let vm_of = |machine: &Option<Key>| seen.vms.iter().find(|vm| vm.machine.is_some() && vm.machine == *machine);
    // Physical nodes have rows among the machines too.
    let is_node = |m: &Machine| m.machine.is_some() && seen.peers.iter().chain([&seen.node]).any(|n| n.machine == m.machine);
    let rows = seen.machines.iter().filter(|m| !is_node(m)).filter(|m| runs(m.running, &m.status));
    let mut guests: Vec<Guest> = rows
        .map(|m| {
            let vm = vm_of(&m.machine);
            let unnamed = || m.machine.as_ref().map_or("without a name".into(), |k| format!("number {}", k.0));
            let leaving = MOVING.contains(&m.status.as_str()) || m.destination.as_ref().is_some_and(|d| Some(d) != here);
            Guest {
                kind: if vm.is_some() { "vm" } else { "machine" },
                name: vm.map(|vm| vm.name.clone()).or_else(|| m.name.clone()).unwrap_or_else(unnamed),
                leaving: leaving || matches!(m.status.as_str(), "stopping" | "hibernating"),
                stuck: (m.migratable == Some(false)).then(|| why_stuck(vm)),
                machine: m.machine.clone(),
                vm,
            }
        })
        .collect();
    // By machine, not by name: two VMs may share a name.
    let known = |vm: &Vm| seen.machines.iter().any(|m| m.machine.is_some() && m.machine == vm.machine && runs(m.running, &m.status));
    for vm in seen.vms.iter().filter(|vm| vm.node.as_ref() == here && runs(None, &vm.status) && !known(vm)) {
        guests.push(Guest {
            kind: "vm",
            name: vm.name.clone(),
            machine: vm.machine.clone(),
            vm: Some(vm),
            leaving: MOVING.contains(&vm.status.as_str()),
            stuck: None,
        });
    }
    guests
}

fn why_stuck(vm: Option<&Vm>) -> String {
    let known = vm.map(|vm| {
        let cpu = vm.cpu.as_deref().filter(|cpu| *cpu == "host").map(|_| "CPU type host".to_owned());
        let method = vm
            .method
            .as_deref()
            .map(|m| if m == "auto" { "migration method auto: VergeOS would power it off".into() } else { format!("migration method {m}") });
        [cpu, method].into_iter().flatten().collect::<Vec<_>>().join(", ")
    });
    match known.filter(|k| !k.is_empty()) {
        Some(known) => format!("cannot be live-migrated ({known})"),
        None => "cannot be live-migrated".into(),
    }
}

pub fn view(seen: &Seen, unmovable: Unmovable) -> NodeView {
    let node = &seen.node;
    let status = node.status.as_str();
    let guests = guests(seen);
    let under_way = MOVING.contains(&status);
    let in_maintenance = node.maintenance && (status == "maintenance" || DOWN.contains(&status));
    let entering = node.maintenance && !in_maintenance && status != "leavingmaintenance";
    let enabled = !node.maintenance && status != "leavingmaintenance";
    let tiers = tiers_not_well(&seen.tiers);
    let mut view = NodeView {
        here: Here::default(),
        identity: identity(node),
        boot: node.started.clone().map(Boot::Started),
        ready: false,
        not_ready: not_ready(node),
        enabled,
        in_maintenance,
        // VergeOS has no room for a mark.
        marked_by: None,
        workloads: guests.iter().map(|g| Workload { kind: g.kind.into(), name: g.name.clone(), leaving: g.leaving, stuck: g.stuck.clone() }).collect(),
        fixed: 0,
        moves: Vec::new(),
        blockers: Vec::new(),
        impossible: Vec::new(),
        notes: notes(seen, &guests),
    };
    // In maintenance the vSAN may lack this node's copies without a fault; back in service it may not.
    if enabled {
        view.not_ready.extend(tiers.iter().map(Blocker::to_string));
    }
    view.ready = view.not_ready.is_empty();
    if in_maintenance {
        return view;
    }
    if under_way || entering {
        let log = said(seen, node.machine.as_ref()).map(|line| format!("; {line}")).unwrap_or_default();
        view.blockers.push(Blocker::new(&node.name, format!("is entering maintenance (status {}){log}", shown(node))));
        let why = |g: &Guest| g.stuck.clone().into_iter().chain(said(seen, g.machine.as_ref())).collect::<Vec<_>>().join("; ");
        let told = guests.iter().map(|g| (g, why(g))).filter(|(_, why)| !why.is_empty());
        view.blockers.extend(told.map(|(g, why)| Blocker::new(format!("{} {}", g.kind, g.name), why)));
        return view;
    }
    if status != "running" {
        view.blockers.push(Blocker::new(&node.name, format!("cannot enter maintenance while its status is {}", shown(node))));
        return view;
    }
    before_entering(seen, &guests, unmovable, tiers, &mut view);
    view
}

/// Its last line, or its last complaint where there is one.
fn said(seen: &Seen, machine: Option<&Key>) -> Option<String> {
    let mut own = seen.lines.iter().filter(|l| Some(&l.machine) == machine);
    let complaint = own.clone().find(|l| matches!(l.level.as_str(), "error" | "critical" | "warning"));
    complaint.or_else(|| own.next()).map(|l| format!("{}: {}", l.level, l.text))
}

/// On its way into maintenance.
pub fn moving(node: &Node) -> bool {
    node.maintenance && node.status != "maintenance" || MOVING.contains(&node.status.as_str())
}

/// In service: may it enter, and what has to go first?
fn before_entering(seen: &Seen, guests: &[Guest<'_>], unmovable: Unmovable, tiers: Vec<Blocker>, view: &mut NodeView) {
    let node = &seen.node;
    let mut stops = Vec::new();
    for guest in guests {
        let object = format!("{} {}", guest.kind, guest.name);
        match (&guest.stuck, unmovable, guest.vm.and_then(|vm| vm.key.as_ref())) {
            (None, ..) => {}
            (Some(why), Unmovable::Refuse, _) => view.impossible.push(Blocker::new(object, why)),
            (Some(why), Unmovable::StopAndStartElsewhere, _) => {
                view.impossible.push(Blocker::new(object, format!("{why}, and stop-and-start-elsewhere is not offered for VergeOS: use stop-and-restart")));
            }
            (Some(why), Unmovable::StopAndRestart, None) => {
                view.impossible.push(Blocker::new(object, format!("{why}, and only VMs can be stopped and started again")))
            }
            (Some(_), Unmovable::StopAndRestart, Some(key)) => {
                view.blockers
                    .push(Blocker::new(object, if guest.leaving { "is shutting down" } else { "has to be stopped before the node can enter maintenance" }));
                stops.extend((!guest.leaving).then(|| stop(&guest.name, key)));
            }
        }
    }
    let same_cluster = |peer: &&Node| peer.physical != Some(false) && (peer.cluster.is_none() || node.cluster.is_none() || peer.cluster == node.cluster);
    let peers: Vec<&Node> = seen.peers.iter().filter(same_cluster).collect();
    if !guests.is_empty() && !peers.iter().any(|p| p.status == "running" && !p.maintenance) {
        // Entering would then stop what runs here instead of moving it.
        let object = format!("{} {}", guests[0].kind, guests[0].name);
        if peers.is_empty() {
            view.impossible.push(Blocker::new(object, "there is no other node to move it to"));
        } else {
            let others: Vec<String> = peers.iter().map(|p| format!("{} is {}", p.name, shown(p))).collect();
            view.blockers.push(Blocker::new(object, format!("no other node is in service: {}", others.join(", "))));
        }
    }
    view.blockers.extend(tiers);
    if !view.impossible.is_empty() {
        return;
    }
    // First what has to stop: with migration method `auto` VergeOS would power it off itself, with `live` it would never finish.
    if !stops.is_empty() {
        view.moves = stops;
    } else if view.blockers.is_empty() {
        view.moves.push(enter(node));
    }
}

fn enter(node: &Node) -> Act {
    let what = format!("enter maintenance {}", node.name);
    // Freely: entering twice is entering once, and it is offered only while the node is seen to be in service.
    let mut act = Act::new("cluster", what, Repeat::Freely);
    act.args = json!({ "do": "enter", "node": node.key().0 });
    act.borrows = Some(Loan {
        id: LoanId("maintenance".into()),
        to: "cluster".into(),
        owed: format!("leave maintenance {}", node.name),
        before: json!({ "maintenance": node.maintenance, "node": node.key().0 }),
        first: false,
    });
    act
}

fn stop(name: &str, key: &Key) -> Act {
    let mut act = Act::new("cluster", format!("stop vm {name}"), Repeat::Freely);
    act.args = json!({ "do": "poweroff", "vm": key.0 });
    act.borrows = Some(Loan {
        id: LoanId(format!("vm-{}", key.0)),
        to: "cluster".into(),
        owed: format!("start vm {name}"),
        before: json!({ "vm": key.0, "name": name }),
        first: false,
    });
    act
}

/// The cluster calls it healthy: in service, or in maintenance and up.
fn not_ready(node: &Node) -> Vec<String> {
    let mut why = Vec::new();
    let up = matches!(node.status.as_str(), "running" | "maintenance" | "leavingmaintenance") || MOVING.contains(&node.status.as_str());
    if !up {
        why.push(format!("status {}", shown(node)));
    } else if node.status == "running" && node.running == Some(false) {
        why.push("status running, but not running".into());
    }
    if node.vsan_connected == Some(false) {
        why.push("not connected to the vSAN".into());
    }
    why
}

fn shown(node: &Node) -> String {
    let status = if node.status.is_empty() { "unknown" } else { &node.status };
    match &node.status_info {
        Some(info) => format!("{status}: {info}"),
        None => status.to_owned(),
    }
}

fn notes(seen: &Seen, guests: &[Guest<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    let moving = guests.iter().filter(|g| g.stuck.is_none()).count();
    if moving > 0 {
        notes.push(format!("{moving} {} will migrate, by default one at a time", if moving == 1 { "machine" } else { "machines" }));
    }
    if let Some(why) = &seen.node.restart {
        notes.push(format!("VergeOS asks for a restart of {}: {why}", seen.node.name));
    }
    if seen.node.maintenance {
        notes.push(format!("{} is in maintenance; VergeOS keeps no mark of who did that", seen.node.name));
    }
    if let Err(why) = &seen.tiers {
        notes.push(format!("vSAN redundancy cannot be read: {why}"));
    }
    notes
}

fn identity(node: &Node) -> Identity {
    Identity { bmc_address: node.ipmi_address.clone(), ..Identity::default() }
}

/// A node in the list that limits count.
pub fn member(node: &Node) -> Member {
    let out = match node.status.as_str() {
        "running" if !node.maintenance => (node.vsan_connected == Some(false)).then(|| "not connected to the vSAN".to_owned()),
        "running" => Some("entering maintenance".to_owned()),
        "maintenance" => Some("in maintenance".to_owned()),
        _ if node.maintenance => Some(format!("in maintenance, status {}", shown(node))),
        _ => Some(format!("status {}", shown(node))),
    };
    Member { name: node.name.clone(), out, run: None, identity: identity(node), since: None }
}

/// Has the node left maintenance? The flag may fall before the node takes work again.
pub fn has_left(node: &Node) -> bool {
    !node.maintenance && !matches!(node.status.as_str(), "maintenance" | "leavingmaintenance")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Option<Key> {
        Some(Key(n.to_string()))
    }
    fn node(n: u32, status: &str, maintenance: bool) -> Node {
        Node {
            key: key(n),
            name: format!("node{n}"),
            machine: key(100 + n),
            cluster: key(1),
            maintenance,
            status: status.into(),
            started: Some("1730000000".into()),
            ipmi_address: Some(format!("192.0.2.{n}")),
            ..Node::default()
        }
    }
    fn machine(n: u32, status: &str, migratable: bool) -> Machine {
        Machine {
            machine: key(n),
            name: Some(format!("m{n}")),
            node: key(2),
            running: Some(status != "stopped"),
            status: status.into(),
            migratable: Some(migratable),
            ..Machine::default()
        }
    }
    fn vm(n: u32, on: u32, status: &str) -> Vm {
        Vm { key: key(n + 1000), name: format!("vm{n}"), machine: key(n), node: key(on), status: status.into(), method: Some("auto".into()), cpu: None }
    }
    fn tier(status: &str, redundant: Option<bool>) -> Tier {
        Tier { name: "1".into(), cluster: key(1), status: status.into(), redundant }
    }
    fn online() -> Result<Vec<Tier>, String> {
        Ok(vec![tier("online", Some(true))])
    }
    /// Node 2 in service beside node 1, with a VM on each and the nodes' own rows.
    fn in_service() -> Seen {
        Seen {
            node: node(2, "running", false),
            peers: vec![node(1, "running", false)],
            machines: vec![machine(31, "running", true), machine(102, "running", false)],
            vms: vec![vm(31, 2, "running"), vm(32, 1, "running"), vm(33, 2, "stopped")],
            tiers: online(),
            lines: vec![],
        }
    }
    fn objects(blockers: &[Blocker]) -> Vec<&str> {
        blockers.iter().map(|b| b.object.as_str()).collect()
    }
    fn whats(view: &NodeView) -> Vec<&str> {
        view.moves.iter().map(|a| a.what.as_str()).collect()
    }

    #[test]
    fn in_service_it_offers_to_enter() {
        let view = view(&in_service(), Unmovable::Refuse);
        assert!(view.ready && view.enabled && !view.in_maintenance);
        assert_eq!(view.workloads.iter().map(|w| (w.kind.as_str(), w.name.as_str())).collect::<Vec<_>>(), [("vm", "vm31")]);
        assert_eq!(whats(&view), ["enter maintenance node2"]);
        let loan = view.moves[0].borrows.clone().unwrap();
        assert_eq!((loan.to.as_str(), loan.before["maintenance"].as_bool()), ("cluster", Some(false)));
        assert_eq!(view.boot, Some(Boot::Started("1730000000".into())));
        assert_eq!(view.identity.bmc_address.as_deref(), Some("192.0.2.2"));
    }

    #[test]
    fn the_flag_alone_is_not_maintenance_and_proves_no_emptiness() {
        for (status, flag, expected) in [
            ("running", true, false),
            ("migrating", true, false),
            ("maintenance", true, true),
            ("maintenance", false, false),
            ("leavingmaintenance", false, false),
            ("leavingmaintenance", true, false),
            // It was in maintenance and is rebooting: still in force.
            ("unresponsive", true, true),
            ("initializing", true, true),
            ("unresponsive", false, false),
            ("error", true, false),
            ("unlicensed", true, false),
        ] {
            let seen = Seen { node: node(2, status, flag), ..in_service() };
            let view = view(&seen, Unmovable::Refuse);
            assert_eq!(view.in_maintenance, expected, "{status} {flag}");
            assert_eq!(view.workloads.len(), 1, "{status}: what runs is counted in every state");
            assert!(view.moves.is_empty(), "{status} {flag}");
        }
    }

    #[test]
    fn either_table_is_a_witness() {
        let only_vms = Seen { machines: vec![], ..in_service() };
        assert_eq!(view(&only_vms, Unmovable::Refuse).workloads[0].name, "vm31");
        let only_machines = Seen { vms: vec![], ..in_service() };
        assert_eq!(view(&only_machines, Unmovable::Refuse).workloads[0].name, "m31");
        // A VM on a node that does not answer is not gone.
        let silent = Seen { machines: vec![], vms: vec![vm(31, 2, "unresponsive")], ..in_service() };
        assert_eq!(view(&silent, Unmovable::Refuse).workloads.len(), 1);
        let moving = Seen { machines: vec![machine(31, "migrating", true)], ..in_service() };
        assert!(view(&moving, Unmovable::Refuse).workloads[0].leaving);
        let empty = Seen { machines: vec![machine(102, "maintenance", false)], vms: vec![vm(31, 1, "running")], ..in_service() };
        assert!(view(&empty, Unmovable::Refuse).workloads.is_empty());
        let twins = Seen { machines: vec![], vms: vec![vm(31, 2, "running"), Vm { name: "vm31".into(), ..vm(34, 2, "running") }], ..in_service() };
        assert_eq!(view(&twins, Unmovable::Refuse).workloads.len(), 2);
    }

    #[test]
    fn what_cannot_move_is_named_before_entering() {
        let seen = Seen { machines: vec![machine(31, "running", false), machine(40, "running", false)], ..in_service() };
        let refused = view(&seen, Unmovable::Refuse);
        assert_eq!(objects(&refused.impossible), ["vm vm31", "machine m40"]);
        assert!(refused.impossible[0].why.contains("power it off") && refused.moves.is_empty());
        let elsewhere = view(&seen, Unmovable::StopAndStartElsewhere);
        assert!(elsewhere.impossible[0].why.contains("not offered") && elsewhere.moves.is_empty());
        // A tenant node or a network is nothing this driver could start again.
        let stop = view(&seen, Unmovable::StopAndRestart);
        assert_eq!((objects(&stop.impossible), stop.moves.len()), (vec!["machine m40"], 0));
        // Once it is entering, nothing is judged impossible any more, only named.
        let late = view(&Seen { node: node(2, "migrating", true), ..seen }, Unmovable::Refuse);
        assert!(late.impossible.is_empty());
        assert_eq!(objects(&late.blockers), ["node2", "vm vm31", "machine m40"]);
    }

    #[test]
    fn stop_and_restart_stops_first_and_enters_after() {
        let seen = Seen { machines: vec![machine(31, "running", false)], ..in_service() };
        let first = view(&seen, Unmovable::StopAndRestart);
        assert_eq!(whats(&first), ["stop vm vm31"]);
        let loan = first.moves[0].borrows.clone().unwrap();
        assert_eq!((loan.id.0.as_str(), loan.owed.as_str(), loan.before["vm"].as_str()), ("vm-1031", "start vm vm31", Some("1031")));
        let stopping = view(&Seen { machines: vec![machine(31, "stopping", false)], ..in_service() }, Unmovable::StopAndRestart);
        assert_eq!((whats(&stopping).len(), objects(&stopping.blockers)), (0, vec!["vm vm31"]));
        let stopped = Seen { machines: vec![machine(31, "stopped", false)], vms: vec![vm(31, 2, "stopped")], ..in_service() };
        assert_eq!(whats(&view(&stopped, Unmovable::StopAndRestart)), ["enter maintenance node2"]);
    }

    #[test]
    fn without_another_node_or_redundancy_it_is_not_entered() {
        let alone = view(&Seen { peers: vec![], ..in_service() }, Unmovable::Refuse);
        assert_eq!((objects(&alone.impossible), alone.moves.len()), (vec!["vm vm31"], 0));
        let out = view(&Seen { peers: vec![node(1, "maintenance", true)], ..in_service() }, Unmovable::Refuse);
        assert!(out.impossible.is_empty() && out.moves.is_empty() && out.blockers[0].why.contains("node1 is maintenance"));
        let elsewhere = Node { cluster: key(9), ..node(1, "running", false) };
        assert_eq!(view(&Seen { peers: vec![elsewhere], ..in_service() }, Unmovable::Refuse).impossible.len(), 1);
        for (status, redundant) in [("online", Some(false)), ("repairing", Some(true)), ("noredundant", None), ("", None)] {
            let tiers = Ok(vec![tier(status, redundant)]);
            let seen = view(&Seen { tiers, ..in_service() }, Unmovable::Refuse);
            assert!(!seen.ready && seen.moves.is_empty() && objects(&seen.blockers) == ["vSAN tier 1"], "{status}");
        }
        // In maintenance the node's own copies are away: that must not keep it from being enabled.
        let tiers = Ok(vec![tier("repairing", Some(false))]);
        assert!(view(&Seen { node: node(2, "maintenance", true), tiers, ..in_service() }, Unmovable::Refuse).ready);
        let unread = view(&Seen { tiers: Err("404".into()), ..in_service() }, Unmovable::Refuse);
        assert!(unread.notes.iter().any(|n| n.contains("cannot be read")) && unread.moves.len() == 1);
    }

    #[test]
    fn limits_count_what_is_out() {
        assert_eq!(member(&node(1, "running", false)).out, None);
        for (status, flag) in
            [("maintenance", true), ("running", true), ("migrating", true), ("unresponsive", false), ("leavingmaintenance", false), ("", false)]
        {
            assert!(member(&node(1, status, flag)).out.is_some(), "{status} {flag}");
        }
        assert!(has_left(&node(1, "running", false)));
        for (status, flag) in [("running", true), ("leavingmaintenance", false), ("maintenance", false)] {
            assert!(!has_left(&node(1, status, flag)), "{status} {flag}");
        }
    }
}
