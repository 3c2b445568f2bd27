//! Firmware of one simulated machine: what runs, what is staged, what is being written. Physics only; `rack` tells it of time and of power.
use super::rack::{Pace, Quirks};
use serde_json::{Value, json};
use std::{
    fs, io,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

/// First word of an image that the rack takes: `pitstop-lab-firmware BIOS 2.0.0`.
pub const MAGIC: &str = "pitstop-lab-firmware";

pub fn image(part: &str, version: &str) -> String {
    format!("{MAGIC} {part} {version}\n")
}

#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub id: &'static str,
    pub name: &'static str,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// The image is not here yet.
    Downloading,
    /// Waits for the host's next reset.
    Staged,
    Writing {
        from: Instant,
        until: Instant,
    },
    Completed,
    Failed(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: u32,
    pub part: String,
    pub version: String,
    pub on_reset: bool,
    pub state: State,
}
impl Task {
    pub fn percent(&self, now: Instant) -> u8 {
        match self.state {
            State::Writing { from, until } => {
                let whole = until.duration_since(from).as_secs_f64().max(0.001);
                (now.saturating_duration_since(from).as_secs_f64() / whole * 100.0).clamp(1.0, 99.0) as u8
            }
            State::Completed => 100,
            _ => 0,
        }
    }
    /// As `TaskState` says it.
    pub fn word(&self) -> &'static str {
        match self.state {
            State::Downloading => "Running",
            State::Staged => "Pending",
            State::Writing { .. } => "Running",
            State::Completed => "Completed",
            State::Failed(_) => "Exception",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Flash {
    pub parts: Vec<Part>,
    pub tasks: Vec<Task>,
    /// The BMC restarts and says nothing before.
    pub back_at: Option<Instant>,
    /// How often it has restarted: it forgets its sessions each time.
    pub starts: u32,
    restart_at: Option<Instant>,
}

/// What the record says of it: kind, and more.
pub type Line = (&'static str, Value);

impl Flash {
    pub fn new(quirks: &Quirks) -> Flash {
        let part = |id, name, version: &str| Part { id, name, version: version.into() };
        let parts =
            vec![part("BIOS", "System BIOS", "1.0.0"), part("BMC", "Baseboard management controller", "1.0.0"), part("NIC.1", "Network adapter", "14.2")];
        let now = Instant::now();
        let foreign = |id, state| Task { id, part: "NIC.1".into(), version: "15.0".into(), on_reset: false, state };
        let mut tasks = Vec::new();
        if quirks.update_live {
            tasks.push(foreign(1, State::Writing { from: now, until: now + Duration::from_secs(86_400) }));
        }
        if quirks.update_staged {
            tasks.push(Task { on_reset: true, ..foreign(1, State::Staged) });
        }
        Flash { parts, tasks, back_at: None, starts: 0, restart_at: None }
    }

    pub fn writes(&self) -> bool {
        self.tasks.iter().any(|t| matches!(t.state, State::Writing { .. }))
    }

    pub fn receive(&mut self, on_reset: bool) -> u32 {
        let id = self.tasks.iter().map(|t| t.id).max().unwrap_or(0) + 1;
        self.tasks.push(Task { id, part: String::new(), version: String::new(), on_reset, state: State::Downloading });
        id
    }

    /// The image of a task has come, or has not.
    pub fn arrived(&mut self, id: u32, image: Result<Vec<u8>, String>, pace: Pace, now: Instant) -> Vec<Line> {
        let known: Vec<&str> = self.parts.iter().map(|p| p.id).collect();
        let Some(task) = self.tasks.iter_mut().find(|t| t.id == id && t.state == State::Downloading) else { return Vec::new() };
        let text = image.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let words = text.as_ref().map(|t| t.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
        match (&text, words.as_slice()) {
            (Ok(_), [magic, part, version]) if *magic == MAGIC && known.contains(part) => {
                (task.part, task.version) = ((*part).into(), (*version).into());
                task.state = if task.on_reset { State::Staged } else { State::Writing { from: now, until: now + pace.flash.mul_f64(pace.scale) } };
                let kind = if task.on_reset { "staged" } else { "flash" };
                vec![(kind, json!({ "part": part, "version": version, "task": id }))]
            }
            (Err(why), _) => {
                task.state = State::Failed(format!("The image could not be fetched: {why}."));
                vec![("update-failed", json!({ "task": id, "why": why }))]
            }
            _ => {
                task.state = State::Failed("The image is not for this system.".into());
                vec![("update-failed", json!({ "task": id, "why": "not an image" }))]
            }
        }
    }

    /// The host is powered up: what was staged is written before it boots. Returns how much later it boots.
    pub fn host_boots(&mut self, pace: Pace, now: Instant) -> (Duration, Vec<Line>) {
        let mut lines = Vec::new();
        let took = pace.flash.mul_f64(pace.scale);
        for task in self.tasks.iter_mut().filter(|t| t.state == State::Staged) {
            task.state = State::Writing { from: now, until: now + took };
            lines.push(("flash", json!({ "part": task.part, "version": task.version, "task": task.id })));
        }
        (if lines.is_empty() { Duration::ZERO } else { took }, lines)
    }

    /// Reset by somebody: sessions are gone, and nothing is said meanwhile.
    pub fn restart(&mut self, pace: Pace, now: Instant) {
        self.starts += 1;
        self.back_at = Some(now + pace.flash.mul_f64(pace.scale));
    }

    pub fn tick(&mut self, quirks: &Quirks, pace: Pace, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.back_at.is_some_and(|at| at <= now) {
            self.back_at = None;
        }
        for task in &mut self.tasks {
            let State::Writing { from, until } = task.state else { continue };
            let half = from + until.duration_since(from) / 2;
            // Once in an update, in its middle.
            if quirks.update_restarts_bmc && half <= now && self.restart_at != Some(from) {
                self.restart_at = Some(from);
                self.starts += 1;
                self.back_at = Some(now + pace.flash.mul_f64(pace.scale * 2.0));
                lines.push(("bmc-restart", json!({})));
            }
            if until > now {
                continue;
            }
            if quirks.update_fails {
                task.state = State::Failed("The image could not be verified.".into());
                lines.push(("update-failed", json!({ "part": task.part, "task": task.id })));
                continue;
            }
            task.state = State::Completed;
            if let Some(part) = self.parts.iter_mut().find(|p| p.id == task.part) {
                part.version = task.version.clone();
            }
            lines.push(("flashed", json!({ "part": task.part, "version": task.version, "task": task.id })));
            // A BMC restarts into its own new firmware.
            if task.part == "BMC" {
                self.starts += 1;
                self.back_at = Some(now + pace.flash.mul_f64(pace.scale));
                lines.push(("bmc-restart", json!({})));
            }
        }
        lines
    }
}

/// An image for these machines, and a playbook that installs it.
pub fn files(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir.join("firmware"))?;
    let (path, image) = (dir.join("firmware/bios-2.0.0.bin"), image("BIOS", "2.0.0"));
    fs::write(&path, &image)?;
    let digest: String = <sha2::Sha256 as sha2::Digest>::digest(&image).iter().map(|b| format!("{b:02x}")).collect();
    // A port that was free a moment ago, for the BMCs that only fetch.
    let serve = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let shipped = format!(
        "# Written by the lab for its simulated machines: BIOS 1.0.0 to 2.0.0.\ndescription = \"Firmware of the simulated rack\"\n\n[due]\nany = [\"firmware-below\"]\n\n\
         [[steps]]\nbaseline = {{ expect = [\"firmware:BIOS\"] }}\n\n[[steps]]\nevacuate = {{}}\n\n[[steps]]\nfirmware = {{ serve = \"{serve}\", targets = [\n    {{ model = \"Simulated machine\", id = \"BIOS\", version = \"2.0.0\", \
         image = {{ file = \"{}\" }}, sha256 = \"{digest}\" }},\n] }}\n\n[[steps]]\nreset = {{ how = \"power-cycle\", then = \"force\" }}\ntimeout = \"90m\"\n\n\
         [[steps]]\nverify = {{ hold_for = \"60s\" }}\ntimeout = \"45m\"\n\n[[steps]]\nenable = {{}}\n\n[[steps]]\nsettle = {{}}\n",
        path.display()
    );
    fs::write(dir.join("firmware/lab-firmware.toml"), shipped)
}
