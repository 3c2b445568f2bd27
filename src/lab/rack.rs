//! The simulated rack's physics and its own record. It knows nothing of the engine: it is the judge in tests.
//! Servers of this room read and change machines only through here.
use super::{
    event_log::{Event, EventLog},
    family::Family,
    flash::Flash,
    quirks::Maker,
    record::{stamp, this_computer, write_line, write_lines},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// What a machine is told to be when the rack is built.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    pub name: String,
    /// SMBIOS system UUID, serial, machine-id of the installation.
    pub uuid: String,
    pub serial: String,
    pub machine_id: String,
    pub services: Vec<String>,
    pub quirks: Quirks,
}

/// Faults of one machine; `lab::faults` sets them by name.
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    /// The BMC answers nothing, on no protocol.
    pub bmc_silent: bool,
    /// The BMC obeys this much later than it answers (scaled).
    pub obey_late: Duration,
    /// Verbs the BMC accepts and ignores.
    pub ignored: BTreeSet<String>,
    pub never_boots: bool,
    /// What is otherwise after a boot.
    pub flaws: BTreeSet<Flaw>,
    /// A service that takes so long to start after a boot (scaled).
    pub slow: Option<(String, Duration)>,
    /// Services that do not come back after a boot.
    pub missing_after_boot: Vec<String>,
    /// Nothing on it may be evicted (the Kubernetes server reads this).
    pub pdb_blocked: bool,
    /// The BMC takes this long for every answer (not scaled).
    pub answers_after: Duration,
    /// A foreign update is being written, for a day.
    pub update_live: bool,
    /// A foreign update waits for a reset.
    pub update_staged: bool,
    /// An update ends in an error.
    pub update_fails: bool,
    /// The BMC restarts in the middle of an update.
    pub update_restarts_bmc: bool,
    /// Images are only fetched, never taken.
    pub update_pull_only: bool,
    /// Images are only taken at `HttpPushUri`, and wait there for a reset.
    pub update_push_only: bool,
    /// Once nothing runs on the machine, the BMC's web server answers nothing but 504 until the BMC is reset; IPMI works.
    pub bmc_wedges: bool,
    /// A boot override that somebody left over: PXE, once.
    pub boot_pxe: bool,
    /// `postgres` runs there, started by hand.
    pub stray_container: bool,
    /// A volume of its RAID controller rebuilds, and does not end.
    pub volume_rebuilds: bool,
    /// It has the addresses of every name server that this computer asks.
    pub carries_dns: bool,
    /// Its root disk is encrypted, and opens by this: `passphrase`, `tpm`.
    pub root: Option<&'static str>,
    /// Its mirror rebuilds, and does not end.
    pub rebuilding: bool,
    /// It runs under the boot id of the computer that the lab is on: pitstop there sits on it.
    pub is_this_computer: bool,
    /// Its OS hangs from the beginning: nothing on it answers, the power is on.
    pub hung: bool,
    /// Its BMC has a maker's ways.
    pub maker: Option<Maker>,
    /// Of its host's Linux.
    pub family: Family,
    /// The BMC says that it takes IPMI cipher suite 0: anybody, without a password.
    pub cipher_zero: bool,
}

/// What a boot may bring to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    LostDimm,
    LinkDown,
    MountMissing,
    ReadOnlyRoot,
    HostKey,
    Board,
    BootOrder,
    SecureBoot,
}

/// What a machine boots next instead of its disk, in Redfish's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOverride {
    pub enabled: String,
    pub target: String,
}
impl Default for BootOverride {
    fn default() -> BootOverride {
        BootOverride { enabled: "Disabled".into(), target: "None".into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    /// Power-on self test and boot; the OS answers at this instant, or never.
    Booting(Option<Instant>),
    Up,
    /// The OS has stopped answering for good; the power is on.
    Hung,
    /// The OS is shutting down; then off, or into a new boot.
    Stopping {
        at: Instant,
        reboot: bool,
    },
}

struct Machine {
    spec: MachineSpec,
    phase: Phase,
    boot_id: String,
    /// Number of boots since the lab began.
    boots: u32,
    up_since: Instant,
    /// Accepted verbs that take effect at an instant.
    pending: Vec<(Instant, String)>,
    running: Vec<String>,
    fixed: Vec<String>,
    last_reset: String,
    flash: Flash,
    boot_override: BootOverride,
    light: bool,
    events: EventLog,
    wedged: bool,
}

/// A machine as a server may show it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub spec: MachineSpec,
    /// Power, as the BMC measures it.
    pub on: bool,
    /// The OS runs: SSH and kubelet answer.
    pub up: bool,
    pub boot_id: String,
    pub boots: u32,
    pub uptime: Duration,
    /// RFC 3339, moves at every reset.
    pub last_reset: String,
    pub services: Vec<(String, bool)>,
    pub running: Vec<String>,
    /// What belongs to the machine itself: nothing is lost with it.
    pub fixed: Vec<String>,
    pub boot_override: BootOverride,
    pub light: bool,
    pub events: EventLog,
    pub wedged: bool,
    pub flash: Flash,
    /// How much faster time runs.
    pub scale: f64,
}
impl Seen {
    /// Something that a boot brought to light.
    pub fn flawed(&self, flaw: Flaw) -> bool {
        self.boots > 0 && self.spec.quirks.flaws.contains(&flaw)
    }
    /// Its BMC says nothing: broken, or restarting.
    pub fn silent(&self) -> bool {
        self.spec.quirks.bmc_silent || self.flash.back_at.is_some()
    }
    /// Still starting.
    pub fn slow(&self, service: &str) -> bool {
        let slow = self.spec.quirks.slow.as_ref().filter(|(name, _)| name == service);
        slow.is_some_and(|(_, takes)| self.boots > 0 && self.uptime < takes.mul_f64(self.scale))
    }
}

/// Times of a machine, before scaling.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub scale: f64,
    /// A BMC obeys this long after it answered.
    pub obey: Duration,
    /// The OS stops its services.
    pub shutdown: Duration,
    /// POST and boot.
    pub boot: Duration,
    /// Writing firmware; a BMC is away twice as long.
    pub flash: Duration,
}
impl Default for Pace {
    fn default() -> Pace {
        Pace { scale: 0.01, obey: Duration::from_secs(5), shutdown: Duration::from_secs(20), boot: Duration::from_secs(150), flash: Duration::from_secs(60) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAnswer {
    Accepted,
    /// Wrong state for this verb: On while on, anything else while off.
    WrongState,
    Unsupported,
}

struct State {
    machines: BTreeMap<String, Machine>,
    log: Box<dyn Write + Send>,
}

#[derive(Clone)]
pub struct Rack {
    state: Arc<Mutex<State>>,
    pub pace: Pace,
}

impl Rack {
    pub fn new(specs: Vec<MachineSpec>, pace: Pace, log: Box<dyn Write + Send>) -> Rack {
        let now = Instant::now();
        let machine = |spec: MachineSpec| Machine {
            flash: Flash::new(&spec.quirks),
            phase: if spec.quirks.hung { Phase::Hung } else { Phase::Up },
            boot_id: if spec.quirks.is_this_computer { this_computer() } else { uuid::Uuid::new_v4().to_string() },
            boot_override: match spec.quirks.boot_pxe {
                true => BootOverride { enabled: "Once".into(), target: "Pxe".into() },
                false => BootOverride::default(),
            },
            light: false,
            events: EventLog::default(),
            wedged: false,
            spec,
            boots: 0,
            // Up for a while already: uptime is never zero at the start.
            up_since: now.checked_sub(Duration::from_secs(3600)).unwrap_or(now),
            pending: Vec::new(),
            running: Vec::new(),
            fixed: Vec::new(),
            last_reset: stamp(),
        };
        let machines = specs.into_iter().map(|s| (s.name.clone(), machine(s))).collect();
        let rack = Rack { state: Arc::new(Mutex::new(State { machines, log })), pace };
        for name in rack.names() {
            rack.record(&name, "up", json!({})); // no boot: it ran before the lab looked
        }
        rack
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("BUG: a holder of the rack panicked")
    }

    /// Moves time on for every machine. Called by a task every few milliseconds, so that boots and losses are logged when they happen.
    pub fn tick(&self) {
        let mut state = self.state();
        let state = &mut *state;
        for machine in state.machines.values_mut() {
            machine.tick(self.pace, &mut state.log);
        }
    }

    /// Until dropped.
    pub async fn keep_ticking(self) {
        loop {
            self.tick();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// The same, as a server among servers.
    pub async fn keep_ticking_ok(self) -> std::io::Result<()> {
        self.keep_ticking().await;
        Ok(())
    }

    pub fn names(&self) -> Vec<String> {
        self.state().machines.keys().cloned().collect()
    }

    pub fn seen(&self, name: &str) -> Option<Seen> {
        self.tick();
        self.state().machines.get(name).map(|m| m.seen(self.pace.scale))
    }

    /// A power verb reaches the BMC of `name`, in Redfish's words, `via` `redfish`, `ipmi` or `ssh`. It is logged whatever the answer is.
    pub fn power(&self, name: &str, verb: &str, via: &str) -> PowerAnswer {
        self.tick();
        let pace = self.pace;
        let mut state = self.state();
        let Some(machine) = state.machines.get_mut(name) else { return PowerAnswer::Unsupported };
        let known = ["On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "PowerCycle"].contains(&verb);
        let on = machine.phase != Phase::Off;
        let answer = match () {
            _ if !known => PowerAnswer::Unsupported,
            _ if on == (verb == "On") => PowerAnswer::WrongState,
            _ => PowerAnswer::Accepted,
        };
        if answer == PowerAnswer::Accepted && !machine.spec.quirks.ignored.contains(verb) {
            let late = (pace.obey + machine.spec.quirks.obey_late).mul_f64(pace.scale);
            machine.pending.push((Instant::now() + late, verb.to_owned()));
        }
        if answer == PowerAnswer::Accepted && machine.flash.writes() {
            write_line(&mut state.log, name, "bricked", json!({ "verb": verb, "why": "power while firmware is written" }));
        }
        write_line(&mut state.log, name, "power", json!({ "verb": verb, "via": via, "answer": format!("{answer:?}") }));
        answer
    }

    pub fn set_boot_override(&self, name: &str, to: BootOverride, via: &str) {
        self.record(name, "boot-override", json!({ "enabled": to.enabled, "target": to.target, "via": via }));
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.boot_override = to;
        }
    }
    /// Somebody showed a name and a password, or a key, that are not ours: real BMCs count these, and lock.
    pub fn refused_login(&self, name: &str, via: &str) {
        self.record(name, "login-refused", json!({ "via": via }));
    }
    pub fn set_light(&self, name: &str, on: bool, via: &str) {
        self.record(name, "light", json!({ "on": on, "via": via }));
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.light = on;
        }
    }

    /// The BMC itself is reset: it forgets what it forgets, and is away for a while. The machine runs on.
    pub fn restart_bmc(&self, name: &str, via: &str) {
        let pace = self.pace;
        let mut state = self.state();
        let Some(machine) = state.machines.get_mut(name) else { return };
        if machine.flash.writes() {
            write_line(&mut state.log, name, "bricked", json!({ "verb": "BMC reset", "why": "reset while firmware is written" }));
        } else {
            machine.wedged = false;
            machine.flash.restart(pace, Instant::now());
            machine.events.note(Event::BmcRestart);
        }
        write_line(&mut state.log, name, "bmc-reset", json!({ "via": via }));
    }

    /// What a cluster server has placed on the machine: what power loss would cut off.
    pub fn set_running(&self, name: &str, what: Vec<String>) {
        let mut state = self.state();
        let Some(machine) = state.machines.get_mut(name) else { return };
        let was_empty = std::mem::replace(&mut machine.running, what).is_empty();
        if !was_empty && machine.running.is_empty() && machine.spec.quirks.bmc_wedges {
            machine.spec.quirks.bmc_wedges = false;
            machine.wedged = true;
            write_line(&mut state.log, name, "bmc-wedged", json!({}));
        }
    }

    /// What a cluster server runs there that stays.
    pub fn set_fixed(&self, name: &str, what: Vec<String>) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.fixed = what;
        }
    }

    /// A service on the host is started or stopped (over SSH).
    pub fn set_service(&self, name: &str, service: &str, active: bool) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.spec.quirks.missing_after_boot.retain(|s| s != service || !active);
        }
    }

    /// Somebody repaired it on the host.
    pub fn mend(&self, name: &str, flaw: Flaw) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.spec.quirks.flaws.remove(&flaw);
        }
    }

    /// A write to a cluster's API, in words: `cordon edge-02`.
    pub fn api_write(&self, name: &str, what: &str) {
        self.record(name, "api-write", json!({ "what": what }));
    }

    /// An update is received; its image comes with `update_arrived`. Returns the task's number.
    pub fn update(&self, name: &str, via: &str, on_reset: bool) -> u32 {
        let mut state = self.state();
        let Some(machine) = state.machines.get_mut(name) else { return 0 };
        let id = machine.flash.receive(on_reset);
        write_line(&mut state.log, name, "update", json!({ "via": via, "apply": if on_reset { "OnReset" } else { "Immediate" }, "task": id }));
        id
    }
    pub fn update_arrived(&self, name: &str, id: u32, image: Result<Vec<u8>, String>) {
        let pace = self.pace;
        let mut state = self.state();
        let Some(machine) = state.machines.get_mut(name) else { return };
        let lines = machine.flash.arrived(id, image, pace, Instant::now());
        write_lines(&mut state.log, name, lines);
    }

    fn record(&self, name: &str, kind: &str, more: Value) {
        write_line(&mut self.state().log, name, kind, more);
    }
}

impl Machine {
    fn seen(&self, scale: f64) -> Seen {
        let missing = |s: &String| self.boots > 0 && self.spec.quirks.missing_after_boot.contains(s);
        Seen {
            spec: self.spec.clone(),
            on: self.phase != Phase::Off,
            up: matches!(self.phase, Phase::Up),
            boot_id: self.boot_id.clone(),
            boots: self.boots,
            uptime: self.up_since.elapsed(),
            last_reset: self.last_reset.clone(),
            services: self.spec.services.iter().map(|s| (s.clone(), !missing(s))).collect(),
            running: self.running.clone(),
            fixed: self.fixed.clone(),
            flash: self.flash.clone(),
            scale,
            boot_override: self.boot_override.clone(),
            light: self.light,
            events: self.events.clone(),
            wedged: self.wedged,
        }
    }

    fn tick(&mut self, pace: Pace, log: &mut Box<dyn Write + Send>) {
        let now = Instant::now();
        let due: Vec<_> = self.pending.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, verb) in due {
            self.obey(&verb, pace, log);
        }
        let lines = self.flash.tick(&self.spec.quirks, pace, now);
        write_lines(log, &self.spec.name, lines);
        match self.phase {
            Phase::Stopping { at, reboot } if at <= now => {
                self.cut(log);
                if reboot { self.boot(pace, log) } else { self.phase = Phase::Off }
            }
            Phase::Booting(Some(at)) if at <= now => {
                self.phase = Phase::Up;
                self.boots += 1;
                super::faults::board(&mut self.spec);
                self.events.booted(&self.spec.quirks.flaws);
                self.up_since = now;
                let mut line = json!({ "boot_id": self.boot_id });
                if self.boot_override.enabled != "Disabled" && self.boot_override.target != "None" {
                    // The judge: whatever this brings up, it is not what it booted before.
                    line["from"] = json!(self.boot_override.target);
                    if self.boot_override.enabled == "Once" {
                        self.boot_override = BootOverride::default();
                    }
                }
                write_line(log, &self.spec.name, "boot", line);
            }
            _ => {}
        }
    }

    fn obey(&mut self, verb: &str, pace: Pace, log: &mut Box<dyn Write + Send>) {
        let stop_at = Instant::now() + pace.shutdown.mul_f64(pace.scale);
        match (verb, self.phase) {
            ("On", Phase::Off) => self.boot(pace, log),
            ("On", _) | (_, Phase::Off) => {}
            ("GracefulShutdown", Phase::Up) => self.phase = Phase::Stopping { at: stop_at, reboot: false },
            ("GracefulRestart", Phase::Up) => self.phase = Phase::Stopping { at: stop_at, reboot: true },
            // Nobody listens to the power key during POST.
            ("GracefulShutdown" | "GracefulRestart", _) => {}
            ("ForceOff", _) => {
                self.cut(log);
                self.phase = Phase::Off;
            }
            _ => {
                self.cut(log);
                self.boot(pace, log);
            }
        }
    }

    /// Power is gone, or the OS has stopped: what still ran is lost.
    fn cut(&mut self, log: &mut Box<dyn Write + Send>) {
        for what in std::mem::take(&mut self.running) {
            write_line(log, &self.spec.name, "lost-workload", json!({ "what": what }));
        }
    }

    fn boot(&mut self, pace: Pace, log: &mut Box<dyn Write + Send>) {
        self.boot_id = uuid::Uuid::new_v4().to_string();
        self.last_reset = stamp();
        let (writing, lines) = self.flash.host_boots(pace, Instant::now());
        write_lines(log, &self.spec.name, lines);
        let at = Instant::now() + pace.boot.mul_f64(pace.scale) + writing;
        self.phase = Phase::Booting((!self.spec.quirks.never_boots).then_some(at));
    }
}
