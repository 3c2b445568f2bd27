//! What a VergeOS system does: nodes enter and leave maintenance, VMs migrate one by one, a node follows the machine under it.
use super::table::Row;
use crate::lab::rack::Rack;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A node as the lab is told to have it.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    pub name: String,
    /// The machine of the rack it runs on.
    pub machine: String,
    /// What the system knows as `ipmi_address`.
    pub bmc_address: String,
    pub vms: Vec<VmSpec>,
}
impl NodeSpec {
    /// With two VMs that can move.
    pub fn new(name: &str, machine: &str, bmc_address: &str) -> NodeSpec {
        let vms = ["app", "db"].map(|role| VmSpec::new(&format!("{role}-{name}"))).to_vec();
        NodeSpec { name: name.into(), machine: machine.into(), bmc_address: bmc_address.into(), vms }
    }
}

#[derive(Debug, Clone)]
pub struct VmSpec {
    pub name: String,
    pub movable: bool,
    pub running: bool,
    /// `auto`: entering maintenance powers it off if it cannot move; `live`: it blocks.
    pub method: &'static str,
}
impl VmSpec {
    pub fn new(name: &str) -> VmSpec {
        VmSpec { name: name.into(), movable: true, running: true, method: "auto" }
    }
}

/// Before scaling by the rack's pace.
const MIGRATION: Duration = Duration::from_secs(20);
const BEGIN: Duration = Duration::from_secs(4);
const LEAVE: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(15);
const REPAIR: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    InService,
    /// The flag is set at once; the work begins a little later.
    Entering(Instant),
    In,
    Leaving(Instant),
}

struct Node {
    spec: NodeSpec,
    key: u32,
    mode: Mode,
    on: bool,
    up: bool,
    boot_id: String,
    started: i64,
    reported: Vec<String>,
}
impl Node {
    fn machine_key(&self) -> u32 {
        100 + self.key
    }
    fn takes_work(&self) -> bool {
        self.up && self.mode == Mode::InService
    }
    fn maintenance(&self) -> bool {
        self.mode != Mode::InService
    }
    fn status(&self) -> &'static str {
        match (self.on, self.up, self.mode) {
            (false, ..) => "stopped",
            (true, false, _) => "initializing",
            (_, _, Mode::InService) => "running",
            (_, _, Mode::Entering(begin)) => {
                if Instant::now() < begin {
                    "running"
                } else {
                    "migrating"
                }
            }
            (_, _, Mode::In) => "maintenance",
            (_, _, Mode::Leaving(_)) => "leavingmaintenance",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Run {
    Running,
    Migrating { to: u32, until: Instant },
    Stopping(Instant),
    Stopped,
}

struct Vm {
    spec: VmSpec,
    key: u32,
    /// Where it goes back to when its node leaves maintenance.
    home: u32,
    node: Option<u32>,
    run: Run,
}
impl Vm {
    fn machine_key(&self) -> u32 {
        1000 + self.key
    }
    fn status(&self) -> &'static str {
        match self.run {
            Run::Running => "running",
            Run::Migrating { .. } => "migrating",
            Run::Stopping(_) => "stopping",
            Run::Stopped => "stopped",
        }
    }
}

pub struct World {
    rack: Rack,
    nodes: Vec<Node>,
    vms: Vec<Vm>,
    logs: Vec<Row>,
    repaired: Instant,
}

/// A write that the system refuses: HTTP status and text.
pub type Refusal = (u16, String);

impl World {
    pub fn new(rack: Rack, specs: Vec<NodeSpec>) -> World {
        let now = jiff::Timestamp::now().as_second();
        let mut vms = Vec::new();
        let mut nodes = Vec::new();
        for (key, spec) in (1..).zip(specs) {
            for vm in &spec.vms {
                vms.push(Vm {
                    spec: vm.clone(),
                    key: vms.len() as u32 + 1,
                    home: key,
                    node: Some(key),
                    run: if vm.running { Run::Running } else { Run::Stopped },
                });
            }
            let boot_id = rack.seen(&spec.machine).map(|m| m.boot_id).unwrap_or_default();
            // Up for a while already, not all since the same second.
            nodes.push(Node { spec, key, mode: Mode::InService, on: true, up: true, boot_id, started: now - 3600 - i64::from(key), reported: Vec::new() });
        }
        let mut world = World { rack, nodes, vms, logs: Vec::new(), repaired: Instant::now() };
        world.tick();
        world
    }

    fn scaled(&self, span: Duration) -> Duration {
        span.mul_f64(self.rack.pace.scale)
    }

    pub fn tick(&mut self) {
        let now = Instant::now();
        self.follow_machines(now);
        self.finish_runs(now);
        self.next_migration(now);
        for i in 0..self.nodes.len() {
            let key = self.nodes[i].key;
            let left = self.vms.iter().any(|vm| vm.node == Some(key) && vm.run != Run::Stopped);
            let node = &mut self.nodes[i];
            match node.mode {
                Mode::Entering(begin) if node.up && now >= begin && !left => {
                    node.mode = Mode::In;
                    self.log(key + 100, "message", "Maintenance mode enabled".into());
                }
                Mode::Leaving(done) if node.up && now >= done => {
                    node.mode = Mode::InService;
                    self.log(key + 100, "message", "Maintenance mode disabled".into());
                }
                _ => {}
            }
        }
        self.report();
    }

    /// A node is what its machine is. What ran on one that went down is started elsewhere, as far as there is anywhere.
    fn follow_machines(&mut self, now: Instant) {
        for i in 0..self.nodes.len() {
            let Some(machine) = self.rack.seen(&self.nodes[i].spec.machine) else { continue };
            let node = &mut self.nodes[i];
            let came = machine.up && (!node.up || machine.boot_id != node.boot_id);
            let went = node.up && (!machine.up || came);
            (node.on, node.up) = (machine.on, machine.up);
            if came {
                node.boot_id = machine.boot_id;
                node.started = (node.started + 1).max(jiff::Timestamp::now().as_second());
                self.repaired = now + REPAIR.mul_f64(self.rack.pace.scale);
            }
            if went {
                let key = self.nodes[i].key;
                self.nodes[i].reported.clear(); // the rack has noted the loss and forgotten them
                let elsewhere = self.destination(key);
                for vm in self.vms.iter_mut().filter(|vm| vm.node == Some(key) && vm.run != Run::Stopped) {
                    vm.node = elsewhere;
                    vm.run = if elsewhere.is_some() { Run::Running } else { Run::Stopped };
                }
            }
        }
    }

    fn finish_runs(&mut self, now: Instant) {
        for vm in &mut self.vms {
            match vm.run {
                Run::Migrating { to, until } if now >= until => (vm.node, vm.run) = (Some(to), Run::Running),
                Run::Stopping(until) if now >= until => vm.run = Run::Stopped,
                _ => {}
            }
        }
    }

    /// One at a time in the whole system, those of entering nodes first.
    fn next_migration(&mut self, now: Instant) {
        if self.vms.iter().any(|vm| matches!(vm.run, Run::Migrating { .. })) {
            return;
        }
        let entering: Vec<u32> = self.nodes.iter().filter(|n| n.up && matches!(n.mode, Mode::Entering(begin) if now >= begin)).map(|n| n.key).collect();
        let stop = now + self.scaled(STOP);
        let mut stopped = Vec::new();
        for vm in self.vms.iter_mut().filter(|vm| vm.run == Run::Running && !vm.spec.movable && vm.spec.method == "auto") {
            if vm.node.is_some_and(|node| entering.contains(&node)) {
                vm.run = Run::Stopping(stop);
                stopped.push((vm.machine_key(), format!("VM {} cannot be migrated, powering off", vm.spec.name)));
            }
        }
        stopped.into_iter().for_each(|(machine, text)| self.log(machine, "warning", text));
        let until = now + self.scaled(MIGRATION);
        let movable = |vm: &Vm| vm.run == Run::Running && vm.spec.movable;
        for &from in &entering {
            let Some(i) = self.vms.iter().position(|vm| movable(vm) && vm.node == Some(from)) else { continue };
            let Some(to) = self.destination(from) else { continue };
            self.vms[i].run = Run::Migrating { to, until };
            return;
        }
        let home = |vm: &Vm| self.nodes.iter().any(|n| n.key == vm.home && n.takes_work()) && vm.node != Some(vm.home);
        if let Some(i) = self.vms.iter().position(|vm| movable(vm) && home(vm)) {
            self.vms[i].run = Run::Migrating { to: self.vms[i].home, until };
        }
    }

    /// The node in service with the fewest VMs.
    fn destination(&self, from: u32) -> Option<u32> {
        let load = |key: u32| self.vms.iter().filter(|vm| vm.node == Some(key) && vm.run != Run::Stopped).count();
        self.nodes.iter().filter(|n| n.key != from && n.takes_work()).map(|n| n.key).min_by_key(|key| load(*key))
    }

    fn report(&mut self) {
        for node in &mut self.nodes {
            let here = self.vms.iter().filter(|vm| vm.node == Some(node.key) && vm.run != Run::Stopped);
            let running: Vec<String> = here.map(|vm| format!("vm {}", vm.spec.name)).collect();
            if running != node.reported {
                self.rack.set_running(&node.spec.machine, running.clone());
                node.reported = running;
            }
        }
    }

    fn log(&mut self, machine: u32, level: &str, text: String) {
        let key = self.logs.len() + 1;
        let row =
            json!({ "$key": key, "machine": machine, "level": level, "text": text, "user": "system", "timestamp": jiff::Timestamp::now().as_microsecond() });
        self.logs.extend(row.as_object().cloned());
    }

    pub fn maintenance(&mut self, key: &str, enter: bool) -> Result<(), Refusal> {
        self.tick();
        let redundant = self.redundant();
        let (begin, done) = (Instant::now() + self.scaled(BEGIN), Instant::now() + self.scaled(LEAVE));
        let Some(node) = self.nodes.iter_mut().find(|n| n.key.to_string() == key) else { return Err((404, "row not found".into())) };
        let name = node.spec.name.clone();
        match (enter, node.mode) {
            (true, Mode::Leaving(_)) => return Err((409, format!("{name} is leaving maintenance mode"))),
            (true, _) if !node.up => return Err((422, format!("{name} is not running"))),
            (true, Mode::InService) if !redundant => return Err((422, "vSAN tier 1 is not redundant".into())),
            (true, Mode::InService) => node.mode = Mode::Entering(begin),
            (true, _) => return Err((409, format!("{name} is already in maintenance mode"))),
            (false, Mode::InService | Mode::Leaving(_)) => return Err((409, format!("{name} is not in maintenance mode"))),
            (false, _) => node.mode = Mode::Leaving(done),
        }
        self.rack.api_write(&node.spec.machine, &format!("{} maintenance {name}", if enter { "enter" } else { "leave" }));
        let text = if enter { "Enabling maintenance mode" } else { "Disabling maintenance mode" };
        self.log(100 + key.parse::<u32>().unwrap_or(0), "audit", text.into());
        Ok(())
    }

    pub fn vm_action(&mut self, key: &str, action: &str) -> Result<(), Refusal> {
        self.tick();
        let stop = Instant::now() + self.scaled(STOP);
        let until = Instant::now() + self.scaled(MIGRATION);
        let Some(i) = self.vms.iter().position(|vm| vm.key.to_string() == key) else { return Err((404, "row not found".into())) };
        let on = self.vms[i].node;
        let name = self.vms[i].spec.name.clone();
        match (action, self.vms[i].run) {
            ("poweroff", Run::Running) => self.vms[i].run = Run::Stopping(stop),
            ("kill", Run::Running | Run::Stopping(_)) => self.vms[i].run = Run::Stopped,
            ("poweron", Run::Stopped) => {
                let home = self.vms[i].home;
                let at = if self.nodes.iter().any(|n| n.key == home && n.takes_work()) { Some(home) } else { self.destination(0) };
                let Some(at) = at else { return Err((507, "not enough resources".into())) };
                (self.vms[i].node, self.vms[i].run) = (Some(at), Run::Running);
            }
            ("migrate", Run::Running) if self.vms[i].spec.movable => {
                let Some(to) = self.destination(on.unwrap_or(0)) else { return Err((507, "not enough resources".into())) };
                self.vms[i].run = Run::Migrating { to, until };
            }
            ("poweroff" | "kill" | "poweron" | "migrate", _) => return Err((409, format!("VM {name} is {}", self.vms[i].status()))),
            _ => return Err((422, format!("unknown action {action}"))),
        }
        let at = self.vms[i].node.or(on).and_then(|key| self.nodes.iter().find(|n| n.key == key));
        if let Some(node) = at {
            self.rack.api_write(&node.spec.machine, &format!("{action} vm {name}"));
        }
        self.report();
        Ok(())
    }

    fn redundant(&self) -> bool {
        self.nodes.iter().all(|n| n.up) && Instant::now() >= self.repaired
    }

    /// None: no such table.
    pub fn table(&self, name: &str) -> Option<Vec<Row>> {
        let rows: Vec<Value> = match name {
            "system" => vec![json!({ "$key": 1, "yb_version": "26.1.5", "os_version": "26.1.5", "cloud_name": "pitstop-lab" })],
            "nodes" => self.nodes.iter().map(|n| self.node_row(n)).collect(),
            "vms" => self.vms.iter().map(vm_row).collect(),
            "machine_status" => self.nodes.iter().map(|n| self.node_machine_row(n)).chain(self.vms.iter().map(machine_row)).collect(),
            "machine_logs" => self.logs.iter().cloned().map(Value::Object).collect(),
            "cluster_tiers" => {
                let status = if self.redundant() { "online" } else { "repairing" };
                vec![json!({
                    "$key": 1, "tier": 1, "cluster": 1, "status#status": status, "status#state": if self.redundant() { "online" } else { "warning" },
                    "status#redundant": self.redundant(), "status#working": true
                })]
            }
            _ => return None,
        };
        Some(rows.into_iter().filter_map(|row| row.as_object().cloned()).collect())
    }

    fn node_row(&self, n: &Node) -> Value {
        // Keys arrive as strings or as numbers; this one has them as the older clients saw them.
        json!({
            "$key": n.key.to_string(), "name": n.spec.name, "machine": n.machine_key(), "cluster": 1, "cluster#name": "cluster1", "physical": true,
            "maintenance": n.maintenance(), "need_restart": false, "restart_reason": "", "reload_drivers_required": false,
            "vsan_nodeid": n.key - 1, "vsan_connected": n.up, "ipmi_address": n.spec.bmc_address, "ipmi_status": "ready", "ipmi_status_info": "",
            "yb_version": "26.1.5", "verify_maintenance": "", "maintenance_reset": false,
            "machine#status#status": n.status(), "machine#status#status_info": "", "machine#status#running": n.up,
            "machine#status#started": if n.up { json!(n.started) } else { Value::Null },
        })
    }

    fn node_machine_row(&self, n: &Node) -> Value {
        json!({
            "$key": n.machine_key(), "machine": n.machine_key(), "machine#name": n.spec.name, "node": n.key, "running": n.up, "powerstate": n.on, "migratable": false,
            "status": n.status(), "status_info": "", "state": if n.up { "online" } else { "offline" }, "migration_destination": null,
        })
    }
}

fn machine_row(vm: &Vm) -> Value {
    let destination = if let Run::Migrating { to, .. } = vm.run { json!(to) } else { Value::Null };
    let running = vm.run != Run::Stopped;
    json!({
        "$key": vm.machine_key(), "machine": vm.machine_key(), "machine#name": vm.spec.name, "node": vm.node, "running": running, "powerstate": running,
        "migratable": vm.spec.movable, "status": vm.status(), "status_info": "", "state": if running { "online" } else { "offline" },
        "migration_destination": destination,
    })
}

fn vm_row(vm: &Vm) -> Value {
    json!({
        "$key": vm.key, "name": vm.spec.name, "machine": vm.machine_key(), "is_snapshot": false, "migration_method": vm.spec.method,
        "cpu_type": if vm.spec.movable { "qemu64" } else { "host" }, "preferred_node": vm.home,
        "machine#status#status": vm.status(), "machine#status#running": vm.run != Run::Stopped, "machine#status#node": vm.node,
    })
}
