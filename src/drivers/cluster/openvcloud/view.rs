//! From rows to a judgement: pure. MAINTENANCE is written before anything moves, and its failures are swallowed: only what is still placed on the stack counts.
use super::{
    acts,
    rows::{Firewall, Node, Stack, Vm},
};
use crate::{
    drivers::cluster::Ask,
    model::{Act, Blocker, Here, How, Identity, Member, NodeView, Unmovable, Workload},
};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// 2.1 to 2.3, and 3.0: maintenance of a stack.
    Stack,
    /// From 2.4.4: maintenance of a node.
    Node,
}

/// One look.
#[derive(Debug, Clone)]
pub struct Seen {
    pub generation: Generation,
    pub node: Node,
    pub stack: Stack,
    /// Every other node of its grid, with its stack where it has one.
    pub peers: Vec<(Node, Option<Stack>)>,
    pub vms: Vec<Vm>,
    pub firewalls: Vec<Firewall>,
    /// Disks of type P: their VM cannot leave its node.
    pub physical: BTreeSet<i64>,
    /// What the portal wrote down about a failure in the background.
    pub eco: Option<String>,
    /// Has this version a way to ask for a firewall's state (from 2.3)?
    pub asks_firewalls: bool,
    /// What the last looks have found left behind, unchanged: it may be moved one by one, because nothing else is moving.
    pub left_behind: bool,
}

impl Seen {
    pub fn entered(&self) -> bool {
        let node = self.node.status.as_deref();
        self.stack.status == "MAINTENANCE" && (self.generation == Generation::Stack || node.is_none_or(|s| s == "MAINTENANCE"))
    }
    pub fn enabled(&self) -> bool {
        is_enabled(&self.node, Some(&self.stack))
    }
    fn pinned(&self, vm: &Vm) -> bool {
        vm.disks.iter().any(|d| self.physical.contains(d))
    }
    /// The firewall of a VM that cannot leave stays with it.
    fn firewall_pinned(&self, fw: &Firewall) -> bool {
        self.vms.iter().any(|vm| !vm.gone() && vm.cloudspace == Some(fw.space) && self.pinned(vm))
    }
    /// What `move` should have taken away and did not, by one name each.
    pub fn left(&self) -> BTreeSet<String> {
        let vms = self.vms.iter().filter(|vm| !vm.gone()).map(|vm| format!("{} {}", vm.id, vm.status));
        vms.chain(self.firewalls.iter().map(|fw| format!("fw {}", fw.space))).collect()
    }
}

pub fn is_enabled(node: &Node, stack: Option<&Stack>) -> bool {
    stack.is_none_or(|s| s.status == "ENABLED") && node.status.as_deref().is_none_or(|s| s == "ENABLED") && node.active != Some(false)
}

pub fn view(seen: &Seen, ask: &Ask, leftovers: bool) -> NodeView {
    let stop = ask.how == How::Stop;
    let entered = seen.entered();
    let mut view = NodeView {
        here: Here::default(),
        identity: identity(&seen.node),
        // OpenvCloud keeps no mark of a boot: the host's own boot id is the proof.
        boot: None,
        ready: false,
        not_ready: not_ready(seen),
        enabled: seen.enabled(),
        in_maintenance: entered,
        // It has room for a message of 29 characters, which nobody can read back.
        marked_by: None,
        workloads: Vec::new(),
        fixed: 0,
        moves: Vec::new(),
        blockers: Vec::new(),
        impossible: Vec::new(),
        notes: notes(seen, ask),
    };
    view.ready = view.not_ready.is_empty();
    for vm in seen.vms.iter().filter(|vm| vm.runs()) {
        let stuck = (!stop && seen.pinned(vm)).then(|| "has a physical disk in this node: it is never moved".to_owned());
        view.here.guest_uuids.extend(vm.uuid.clone());
        view.workloads.push(Workload { kind: "vm".into(), name: vm.name.clone(), leaving: vm.status == "MIGRATING", stuck });
    }
    for fw in seen.firewalls.iter().filter(|fw| fw.live.as_deref() != Some("HALTED")) {
        let name = format!("{} of cloud space {}", fw.domain(), fw.space_shown());
        let stuck = fw.live.as_deref().filter(|s| *s == "UNKNOWN").map(|_| "its state is UNKNOWN: that is no proof that it has stopped".to_owned());
        view.workloads.push(Workload { kind: "firewall".into(), name, leaving: false, stuck });
    }
    match () {
        () if entered => after_entering(seen, ask, leftovers, &mut view),
        () if seen.stack.status == "ERROR" || seen.node.status.as_deref() == Some("ERROR") => {
            let why = seen.eco.clone().unwrap_or_else(|| "the portal does not say why".into());
            view.impossible.push(Blocker::new(format!("stack {}", seen.stack.name), format!("is in ERROR: {why}; it is left as it is")));
        }
        () if seen.stack.status != "ENABLED" || !seen.enabled() => {
            view.blockers.push(Blocker::new(format!("stack {}", seen.stack.name), format!("is {}", shown(&seen.node, &seen.stack))));
        }
        () => before_entering(seen, ask, &mut view),
    }
    view
}

fn before_entering(seen: &Seen, ask: &Ask, view: &mut NodeView) {
    elsewhere(seen, ask, view);
    let (stop, restart) = (ask.how == How::Stop, ask.unmovable == Unmovable::StopAndRestart);
    let mut stops = Vec::new();
    for vm in seen.vms.iter().filter(|vm| !vm.gone()) {
        let object = format!("vm {}", vm.name);
        let pinned = seen.pinned(vm);
        match () {
            () if !stop && !pinned => {}
            () if vm.rests() && vm.tags.iter().any(|t| t == "start") => {
                view.impossible.push(Blocker::new(object, "is halted and carries the label `start`: enabling the node would start it; take the label away"));
            }
            () if vm.rests() => {}
            () if !stop && !restart => view.impossible.push(Blocker::new(object, "has a physical disk in this node: it is never moved")),
            () if vm.status == "PAUSED" => {
                view.impossible.push(Blocker::new(object, "is paused: stopping it would lose its memory; resume or stop it by hand"));
            }
            () if vm.status == "RUNNING" => stops.push(acts::stop_vm(vm)),
            () => view.blockers.push(Blocker::new(object, format!("is {}", vm.status))),
        }
    }
    let vms_stopped = stops.is_empty();
    for fw in seen.firewalls.iter().filter(|fw| stop || seen.firewall_pinned(fw)) {
        let object = format!("firewall {} of cloud space {}", fw.domain(), fw.space_shown());
        let named = ask.cloudspaces.iter().any(|name| Some(name) == fw.space_name.as_ref() || *name == fw.space.to_string());
        match fw.live.as_deref() {
            Some("HALTED") => {}
            _ if !stop && !restart => view.impossible.push(Blocker::new(object, "belongs to a VM with a physical disk in this node: it is never moved")),
            _ if !named => {
                let why = format!("goes dark when the node is stopped; agree to it by name: cloudspaces = [\"{}\"]", fw.space_shown());
                view.impossible.push(Blocker::new(object, why));
            }
            _ if !seen.asks_firewalls => {
                view.impossible.push(Blocker::new(object, "this version of OpenvCloud has no way to show that a firewall has stopped; use how = \"move\""));
            }
            // After the machines behind it: they may have something to say on their way down.
            _ if vms_stopped => stops.push(acts::stop_firewall(fw)),
            _ => {}
        }
    }
    let placed = placed(seen, ask, view);
    if !view.impossible.is_empty() || !view.blockers.is_empty() {
        return;
    }
    view.moves = match () {
        () if !placed.is_empty() => placed,
        () if !stops.is_empty() => stops,
        () => vec![acts::enter(seen, ask)],
    };
}

/// Is there anywhere to go, and is nobody else under way?
fn elsewhere(seen: &Seen, ask: &Ask, view: &mut NodeView) {
    let open: Vec<&Node> = seen.peers.iter().filter(|(n, s)| s.is_some() && is_enabled(n, s.as_ref())).map(|(n, _)| n).collect();
    let mut nowhere = |object: String, why: &str, for_ever: bool| {
        let blocker = Blocker::new(object, why);
        if for_ever { view.impossible.push(blocker) } else { view.blockers.push(blocker) }
    };
    let moving = ask.how == How::Move;
    if let Some(vm) = seen.vms.iter().find(|vm| moving && !vm.gone() && !seen.pinned(vm))
        && open.is_empty()
    {
        let alone = !seen.peers.iter().any(|(_, s)| s.is_some());
        nowhere(format!("vm {}", vm.name), if alone { "there is no other stack to move it to" } else { "no other stack is ENABLED" }, alone);
    }
    if let Some(fw) = seen.firewalls.iter().find(|fw| moving && !seen.firewall_pinned(fw))
        && !seen.peers.iter().any(|(n, s)| n.has("fw") && is_enabled(n, s.as_ref()))
    {
        let alone = !seen.peers.iter().any(|(n, _)| n.has("fw"));
        let object = format!("firewall {} of cloud space {}", fw.domain(), fw.space_shown());
        nowhere(object, if alone { "there is no other firewall node" } else { "no other firewall node is ENABLED" }, alone);
    }
    if seen.node.has("storagedriver")
        && let Some((other, _)) = seen.peers.iter().find(|(n, s)| n.has("storagedriver") && !is_enabled(n, s.as_ref()))
    {
        nowhere(other.name.clone(), "is out of service, and only one storage router may be at a time", false);
    }
}

/// What the playbook places by name goes first.
fn placed(seen: &Seen, ask: &Ask, view: &mut NodeView) -> Vec<Act> {
    let mut acts = Vec::new();
    for (what, to) in &ask.place {
        let vms: Vec<&Vm> = seen.vms.iter().filter(|vm| !vm.gone() && (vm.name == *what || vm.id.to_string() == *what)).collect();
        let fws: Vec<&Firewall> = seen.firewalls.iter().filter(|fw| fw.domain() == *what || fw.space_name.as_ref() == Some(what)).collect();
        if vms.len() + fws.len() == 0 {
            continue;
        }
        let object = format!("place {what}");
        let target = seen.peers.iter().find(|(n, s)| n.name == *to || s.as_ref().is_some_and(|s| s.name == *to));
        let problem = match target {
            _ if vms.len() + fws.len() > 1 => Some("several here have this name: use its number".to_owned()),
            _ if vms.iter().any(|vm| seen.pinned(vm)) => Some("has a physical disk in this node".to_owned()),
            None => Some(format!("there is no other node {to}")),
            Some((node, stack)) if !is_enabled(node, stack.as_ref()) => {
                view.blockers.push(Blocker::new(object.clone(), format!("{to} is not ENABLED")));
                continue;
            }
            Some((_, None)) if !vms.is_empty() => Some(format!("{to} has no stack")),
            Some((node, _)) if !fws.is_empty() && !node.has("fw") => Some(format!("{to} is no firewall node")),
            Some((node, stack)) => {
                acts.extend(vms.iter().filter_map(|vm| stack.as_ref().map(|s| acts::move_vm(vm, Some(s)))));
                acts.extend(fws.iter().map(|fw| acts::move_firewall(fw, node)));
                None
            }
        };
        view.impossible.extend(problem.map(|why| Blocker::new(object, why)));
    }
    acts
}

/// The flag is set. What is still here is either under way or was silently given up.
fn after_entering(seen: &Seen, ask: &Ask, leftovers: bool, view: &mut NodeView) {
    if ask.how == How::Stop {
        return;
    }
    for vm in seen.vms.iter().filter(|vm| vm.rests() && !seen.pinned(vm)) {
        view.blockers.push(Blocker::new(format!("vm {}", vm.name), format!("is {} and still placed here: `move` takes it along", vm.status)));
    }
    for fw in seen.firewalls.iter().filter(|fw| fw.live.as_deref() == Some("HALTED") && !seen.firewall_pinned(fw)) {
        view.blockers.push(Blocker::new(format!("firewall {}", fw.domain()), "is HALTED and still placed here"));
    }
    if !seen.left_behind {
        return;
    }
    if !leftovers {
        let all = view.workloads.iter().map(|w| format!("{} {}", w.kind, w.name)).collect::<Vec<_>>();
        let why = "left behind without a word: move it by hand, or let the cluster say leftovers = \"move\"";
        view.blockers.extend(all.into_iter().map(|object| Blocker::new(object, why)));
        return;
    }
    let target = |fw: &Firewall| {
        let open: Vec<&Node> = seen.peers.iter().filter(|(n, s)| n.has("fw") && is_enabled(n, s.as_ref())).map(|(n, _)| n).collect();
        // Spread, and the same again when asked again.
        usize::try_from(fw.space).ok().and_then(|n| open.get(n % open.len().max(1)).copied())
    };
    view.moves.extend(seen.vms.iter().filter(|vm| !vm.gone() && !seen.pinned(vm)).map(|vm| acts::move_vm(vm, None)));
    view.moves.extend(seen.firewalls.iter().filter(|fw| !seen.firewall_pinned(fw)).filter_map(|fw| Some(acts::move_firewall(fw, target(fw)?))));
}

pub fn shown(node: &Node, stack: &Stack) -> String {
    let word = |s: &str| if s.is_empty() { "(no status)".to_owned() } else { s.to_owned() };
    match &node.status {
        Some(status) if *status != stack.status => format!("{}, its node {}", word(&stack.status), word(status)),
        _ => word(&stack.status),
    }
}

fn not_ready(seen: &Seen) -> Vec<String> {
    let mut why = Vec::new();
    if seen.node.active == Some(false) {
        why.push("its node is not active".to_owned());
    }
    let known = ["ENABLED", "MAINTENANCE"];
    let odd = !known.contains(&seen.stack.status.as_str()) || seen.node.status.as_deref().is_some_and(|s| !known.contains(&s));
    if odd {
        let eco = seen.eco.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        why.push(format!("stack {} is {}{eco}", seen.stack.name, shown(&seen.node, &seen.stack)));
    }
    why
}

fn notes(seen: &Seen, ask: &Ask) -> Vec<String> {
    let mut notes = Vec::new();
    let running = seen.vms.iter().filter(|vm| vm.runs()).count();
    let (vms, fws) = (format!("{running} VMs"), format!("{} virtual firewalls", seen.firewalls.len()));
    if running + seen.firewalls.len() > 0 {
        notes.push(match ask.how {
            How::Move => format!("{vms} and {fws} will move; where a live migration fails OpenvCloud restarts the VM elsewhere without a word"),
            How::Stop => format!("{vms} and {fws} will be stopped, and started again when the node is back"),
        });
    }
    let broken: Vec<&str> = seen.vms.iter().filter(|vm| vm.status == "ERROR").map(|vm| vm.name.as_str()).collect();
    if !broken.is_empty() {
        notes.push(format!("in state ERROR and not counted as running: {}", broken.join(", ")));
    }
    notes
}

fn identity(node: &Node) -> Identity {
    Identity { addresses: node.addresses.clone(), ..Identity::default() }
}

/// A node in the list that limits count, with or without a stack.
pub fn member(node: &Node, stack: Option<&Stack>) -> Member {
    let out = (!is_enabled(node, stack)).then(|| match (stack, node.active) {
        (_, Some(false)) => "not active".to_owned(),
        (Some(stack), _) => format!("status {}", shown(node, stack)),
        (None, _) => format!("status {}", node.status.as_deref().unwrap_or("(none)")),
    });
    Member { name: node.name.clone(), out, run: None, identity: identity(node), since: None }
}
