//! What an OpenvCloud grid does: the flag of a maintenance is set at once, and a greenlet in the background then moves or stops, one after another.
use super::Faults;
use crate::lab::rack::Rack;
use std::time::{Duration, Instant};

/// A node as the lab is told to have it.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// In the grid, and of the machine in the rack.
    pub name: String,
    pub roles: Vec<&'static str>,
    pub address: String,
    pub vms: Vec<VmSpec>,
    /// Names of cloud spaces whose firewall is here.
    pub spaces: Vec<String>,
}
impl NodeSpec {
    /// Two VMs that run, one that does not, and the firewall of their cloud space.
    pub fn new(name: &str, address: &str) -> NodeSpec {
        let vm = |role: &str, status: &'static str| VmSpec { name: format!("{role}-{name}"), status, physical: false, tags: String::new() };
        NodeSpec {
            name: name.into(),
            roles: vec!["cpunode", "fw"],
            address: address.into(),
            vms: vec![vm("web", "RUNNING"), vm("db", "RUNNING"), vm("old", "HALTED")],
            spaces: vec![format!("space-{name}")],
        }
    }
}

#[derive(Debug, Clone)]
pub struct VmSpec {
    pub name: String,
    pub status: &'static str,
    /// Has a disk of type P.
    pub physical: bool,
    pub tags: String,
}

/// Before scaling by the rack's pace.
const BEGIN: Duration = Duration::from_secs(5);
const ONE: Duration = Duration::from_secs(10);
/// For so long the uptime monitor believes what it last knew of a node's status.
const CACHED: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Job {
    Move,
    Stop,
    Start,
}

pub struct Node {
    pub spec: NodeSpec,
    pub id: i64,
    pub stack: i64,
    pub stack_status: &'static str,
    pub status: &'static str,
    pub eco: Option<String>,
    job: Option<(Job, Instant)>,
    entered: Option<Instant>,
    up: bool,
}
impl Node {
    pub fn takes_work(&self) -> bool {
        self.stack_status == "ENABLED" && self.status == "ENABLED" && self.up
    }
    pub fn fw(&self) -> bool {
        self.spec.roles.contains(&"fw")
    }
    pub fn up(&self) -> bool {
        self.up
    }
}

pub struct Vm {
    pub spec: VmSpec,
    pub id: i64,
    pub stack: i64,
    pub space: i64,
    pub status: &'static str,
    pub tags: Vec<String>,
    /// On its way: where to, until when, and what it is then.
    going: Option<(i64, Instant, &'static str)>,
    skipped: bool,
}

pub struct Firewall {
    pub id: i64,
    pub nid: i64,
    pub space: i64,
    pub name: String,
    pub running: bool,
    /// What the row says: only startVFW and stopVFW change it.
    pub state: &'static str,
    skipped: bool,
}

pub struct World {
    rack: Rack,
    faults: Faults,
    pub nodes: Vec<Node>,
    pub vms: Vec<Vm>,
    pub firewalls: Vec<Firewall>,
    /// Rows of VMs that are long gone, before all others: a list that ends at 200 shows nothing else.
    pub destroyed: usize,
    pub events: Vec<(String, &'static str)>,
}

/// HTTP status and text.
pub type Refusal = (u16, String);

impl World {
    pub fn new(rack: Rack, specs: Vec<NodeSpec>, faults: Faults, destroyed: usize) -> World {
        let mut world = World { rack, faults, nodes: Vec::new(), vms: Vec::new(), firewalls: Vec::new(), destroyed, events: Vec::new() };
        for (n, spec) in (1..).zip(specs) {
            let (id, stack) = (10 + n, 3 + n);
            for name in &spec.spaces {
                let space = 100 + world.firewalls.len() as i64;
                world.firewalls.push(Firewall { id: space + 100, nid: id, space, name: name.clone(), running: true, state: "RUNNING", skipped: false });
            }
            let space = world.firewalls.iter().find(|fw| fw.nid == id).map_or(99, |fw| fw.space);
            for vm in &spec.vms {
                let tags = vm.tags.split_whitespace().map(str::to_owned).collect();
                world.vms.push(Vm { spec: vm.clone(), id: 1000 + world.vms.len() as i64, stack, space, status: vm.status, tags, going: None, skipped: false });
            }
            world.nodes.push(Node { spec, id, stack, stack_status: "ENABLED", status: "ENABLED", eco: None, job: None, entered: None, up: true });
        }
        world.report();
        world
    }

    fn scaled(&self, span: Duration) -> Duration {
        span.mul_f64(self.rack.pace.scale)
    }
    fn say(&mut self, text: String, kind: &'static str) {
        self.events.push((text, kind));
    }
    pub fn node(&mut self, found: impl Fn(&Node) -> bool) -> Result<&mut Node, Refusal> {
        self.nodes.iter_mut().find(|n| found(n)).ok_or((404, "ComputeNode with id not found".into()))
    }

    pub fn tick(&mut self) {
        let now = Instant::now();
        for vm in &mut self.vms {
            if let Some((stack, until, status)) = vm.going
                && now >= until
            {
                (vm.stack, vm.status, vm.going) = (stack, status, None);
            }
        }
        self.follow_machines(now);
        for i in 0..self.nodes.len() {
            if let Some((job, next)) = self.nodes[i].job
                && now >= next
            {
                self.work(i, job, now);
            }
        }
        self.report();
    }

    fn follow_machines(&mut self, now: Instant) {
        for i in 0..self.nodes.len() {
            let name = self.nodes[i].spec.name.clone();
            let Some(machine) = self.rack.seen(&name) else { continue };
            let went = self.nodes[i].up && !machine.up;
            self.nodes[i].up = machine.up;
            if !went {
                continue;
            }
            let (stack, nid) = (self.nodes[i].stack, self.nodes[i].id);
            self.vms.iter_mut().filter(|vm| vm.stack == stack && vm.going.is_none() && vm.status != "HALTED").for_each(|vm| vm.status = "HALTED");
            self.firewalls.iter_mut().filter(|fw| fw.nid == nid).for_each(|fw| fw.running = false);
            // The uptime monitor still takes it for ENABLED: it shuts down over IPMI what it finds silent.
            let cached = self.scaled(CACHED);
            if self.nodes[i].entered.is_none_or(|since| now.duration_since(since) < cached) {
                self.rack.power(&name, "ForceOff", "uptime-monitor");
            }
        }
    }

    /// One thing, then the next.
    fn work(&mut self, i: usize, job: Job, now: Instant) {
        let (stack, nid, name) = (self.nodes[i].stack, self.nodes[i].id, self.nodes[i].spec.name.clone());
        let later = now + self.scaled(ONE);
        self.nodes[i].job = Some((job, later));
        if self.vms.iter().any(|vm| vm.stack == stack && vm.going.is_some()) {
            return;
        }
        let faults = self.faults.clone();
        let more = match job {
            Job::Move => self.move_one(stack, nid, &name, later, &faults),
            Job::Stop => {
                let vm = self.vms.iter_mut().find(|vm| vm.stack == stack && ["RUNNING", "PAUSED"].contains(&vm.status));
                match vm {
                    Some(vm) => {
                        if vm.status == "RUNNING" {
                            vm.tags.push("start".into());
                        }
                        (vm.status, vm.going) = ("STOPPING", Some((stack, later, "HALTED")));
                        true
                    }
                    None => self.firewalls.iter_mut().find(|fw| fw.nid == nid && fw.running).map(|fw| fw.running = false).is_some(),
                }
            }
            Job::Start => {
                let to = self.nodes.iter().find(|n| n.takes_work()).map_or(stack, |n| n.stack);
                let vm = self.vms.iter_mut().find(|vm| vm.stack == stack && vm.status == "HALTED" && vm.tags.iter().any(|t| t == "start"));
                match vm {
                    // The label goes first: a start that fails has lost it.
                    Some(vm) => {
                        vm.tags.retain(|t| t != "start");
                        (vm.status, vm.going) = ("STARTING", Some((to, later, "RUNNING")));
                        true
                    }
                    None => self.firewalls.iter_mut().find(|fw| fw.nid == nid && !fw.running).map(|fw| fw.running = true).is_some(),
                }
            }
        };
        if !more {
            self.nodes[i].job = None;
            self.say(format!("{name}: done"), "success");
        }
    }

    fn move_one(&mut self, stack: i64, nid: i64, name: &str, later: Instant, faults: &Faults) -> bool {
        let to = self.nodes.iter().filter(|n| n.stack != stack && n.takes_work()).map(|n| n.stack).collect::<Vec<_>>();
        let left = self.vms.iter().position(|vm| vm.stack == stack && !vm.skipped && !vm.spec.physical && vm.status != "DESTROYED");
        if let Some(at) = left {
            if faults.on("failing-move") {
                let node = self.nodes.iter_mut().find(|n| n.stack == stack);
                if let Some(node) = node {
                    (node.stack_status, node.eco) = ("ERROR", Some("5b6c7d8e".into()));
                }
                return false;
            }
            let vm = &mut self.vms[at];
            let text = format!("Moving Virtual Machine {}", vm.spec.name);
            match to.get(at % to.len().max(1)) {
                // Swallowed: nothing but this VM is different afterwards.
                Some(_) if faults.on("left-behind") && vm.spec.name.starts_with("db-") => vm.skipped = true,
                Some(to) => {
                    let after = vm.status;
                    (vm.status, vm.going) = ("MIGRATING", Some((*to, later, after)));
                }
                None => vm.skipped = true,
            }
            self.say(text, "info");
            return true;
        }
        let stays: Vec<i64> = self.vms.iter().filter(|vm| vm.stack == stack && vm.spec.physical).map(|vm| vm.space).collect();
        let target = self.nodes.iter().find(|n| n.id != nid && n.fw() && n.takes_work()).map(|n| n.id);
        let fw = self.firewalls.iter_mut().find(|fw| fw.nid == nid && !fw.skipped && !stays.contains(&fw.space));
        match (fw, target) {
            (Some(fw), Some(to)) if !faults.on("firewall-left-behind") => {
                fw.nid = to;
                true
            }
            (Some(fw), _) => {
                fw.skipped = true;
                self.say(format!("{name}: no other Firewall node"), "error");
                true
            }
            (None, _) => false,
        }
    }

    pub fn enter(&mut self, found: impl Fn(&Node) -> bool, how: Job, both: bool) -> Result<(), Refusal> {
        let begin = Instant::now() + self.scaled(BEGIN);
        let late = self.faults.on("node-flag-first");
        let node = self.node(found)?;
        // Written first; not refused where it is MAINTENANCE already.
        node.stack_status = if late { "ENABLED" } else { "MAINTENANCE" };
        if both {
            node.status = "MAINTENANCE";
        }
        (node.job, node.entered) = (Some((how, begin)), Some(Instant::now()));
        let name = node.spec.name.clone();
        self.rack.api_write(&name, &format!("enter maintenance {name}"));
        Ok(())
    }

    pub fn enable(&mut self, found: impl Fn(&Node) -> bool) -> Result<(), Refusal> {
        let begin = Instant::now();
        let node = self.node(found)?;
        (node.stack_status, node.status, node.eco, node.entered) = ("ENABLED", "ENABLED", None, None);
        node.job = Some((Job::Start, begin));
        let (name, stack, nid) = (node.spec.name.clone(), node.stack, node.id);
        self.vms.iter_mut().filter(|vm| vm.stack == stack).for_each(|vm| vm.skipped = false);
        self.firewalls.iter_mut().filter(|fw| fw.nid == nid).for_each(|fw| fw.skipped = false);
        self.rack.api_write(&name, &format!("leave maintenance {name}"));
        Ok(())
    }

    fn vm(&mut self, id: i64) -> Result<&mut Vm, Refusal> {
        self.vms.iter_mut().find(|vm| vm.id == id).ok_or((404, format!("Machine with id {id} not found")))
    }

    pub fn power(&mut self, id: i64, on: bool) -> Result<(), Refusal> {
        let done = Instant::now() + self.scaled(ONE);
        let open: Vec<i64> = self.nodes.iter().filter(|n| n.takes_work()).map(|n| n.stack).collect();
        let at = {
            let vm = self.vm(id)?;
            match (on, vm.status) {
                (false, "RUNNING" | "PAUSED") => (vm.status, vm.going) = ("STOPPING", Some((vm.stack, done, "HALTED"))),
                (true, "HALTED" | "VIRTUAL") => {
                    let to = if open.contains(&vm.stack) { vm.stack } else { *open.first().ok_or((400, "No stack available".to_owned()))? };
                    (vm.status, vm.going) = ("STARTING", Some((to, done, "RUNNING")));
                }
                _ => return Ok(()),
            }
            (vm.stack, vm.spec.name.clone())
        };
        let verb = if on { "start" } else { "stop" };
        let name = self.node(|n| n.stack == at.0)?.spec.name.clone();
        self.rack.api_write(&name, &format!("{verb} vm {}", at.1));
        Ok(())
    }

    pub fn move_vm(&mut self, id: i64, to: Option<i64>) -> Result<(), Refusal> {
        let done = Instant::now() + self.scaled(ONE);
        let from = self.vm(id)?.stack;
        let open: Vec<i64> = self.nodes.iter().filter(|n| n.takes_work() && n.stack != from).map(|n| n.stack).collect();
        let target = to.or(open.first().copied()).filter(|t| open.contains(t)).ok_or((400, "Target Stack is not active".to_owned()))?;
        let vm = self.vm(id)?;
        if vm.going.is_none() {
            let after = vm.status;
            (vm.status, vm.going) = ("MIGRATING", Some((target, done, after)));
        }
        let text = format!("move vm {}", vm.spec.name);
        let name = self.node(|n| n.stack == from)?.spec.name.clone();
        self.rack.api_write(&name, &text);
        Ok(())
    }

    pub fn firewall(&mut self, space: i64) -> Result<&mut Firewall, Refusal> {
        self.firewalls.iter_mut().find(|fw| fw.space == space).ok_or((404, format!("cloudspace with id {space} not found")))
    }

    pub fn power_firewall(&mut self, space: i64, on: bool) -> Result<(), Refusal> {
        let fw = self.firewall(space)?;
        (fw.running, fw.state) = (on, if on { "RUNNING" } else { "HALTED" });
        let (nid, text) = (fw.nid, format!("{} firewall {}", if on { "start" } else { "stop" }, fw.name));
        let name = self.node(|n| n.id == nid)?.spec.name.clone();
        self.rack.api_write(&name, &text);
        Ok(())
    }

    pub fn move_firewall(&mut self, space: i64, to: i64) -> Result<(), Refusal> {
        let ok = self.nodes.iter().any(|n| n.id == to && n.fw() && n.takes_work());
        let fw = self.firewall(space)?;
        if !ok || fw.nid == to {
            return Err((400, "Target node is not an enabled firewall node".into()));
        }
        let from = std::mem::replace(&mut fw.nid, to);
        let text = format!("move firewall {}", fw.name);
        let name = self.node(|n| n.id == from)?.spec.name.clone();
        self.rack.api_write(&name, &text);
        Ok(())
    }

    /// What the rack would lose with the machine's power.
    fn report(&self) {
        for node in self.nodes.iter().filter(|n| n.up) {
            let vms = self.vms.iter().filter(|vm| vm.stack == node.stack && !["HALTED", "VIRTUAL", "DESTROYED"].contains(&vm.status));
            let fws = self.firewalls.iter().filter(|fw| fw.nid == node.id && fw.running).map(|fw| format!("vm routeros_{:04x}", fw.id));
            self.rack.set_running(&node.spec.name, vms.map(|vm| format!("vm vm-{}", vm.id)).chain(fws).collect());
        }
    }
}
