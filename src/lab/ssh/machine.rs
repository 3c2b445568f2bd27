//! What a command on a simulated machine sees: a tree of the files that say which machine this is, tools that answer from it, and processes that die with it.
use super::hardware;
use crate::lab::rack::{Flaw, Rack, Seen};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};
use tokio::process::{Child, Command};

const TOOLS: [(&str, &[&str]); 3] = [
    (include_str!("tools/paths.sh"), &["cat", "grep", "ls"]),
    (include_str!("tools/answer.sh"), &["hostname", "uname", "who", "pgrep", "findmnt", "zpool"]),
    (include_str!("tools/systemctl.sh"), &["systemctl", "reboot", "poweroff", "halt", "shutdown"]),
];
/// From `systemctl reboot` to the first thing that stops.
const ANSWERED: Duration = Duration::from_millis(150);
const KERNEL: &str = "6.1.0-lab-amd64";

pub struct Machine {
    rack: Rack,
    name: String,
    root: PathBuf,
    /// Its own tools, then this computer's.
    path: String,
    /// One writer of the tree at a time; what it wrote last.
    writing: Mutex<BTreeMap<PathBuf, String>>,
    /// How much of what tools appended to a file has been obeyed.
    taken: Mutex<BTreeMap<&'static str, usize>>,
    /// Services that were stopped on the host since it booted.
    stopped: Mutex<(String, Vec<String>)>,
}

impl Machine {
    pub fn prepare(rack: Rack, name: String, dir: &Path, more: &[(&str, &[&str])]) -> io::Result<Machine> {
        // Commands may change their directory.
        let dir = std::path::absolute(dir)?;
        let (root, bin) = (dir.join("root"), dir.join("bin"));
        fs::create_dir_all(&root)?;
        fs::create_dir_all(&bin)?;
        let family = rack.seen(&name).map(|seen| seen.spec.quirks.family).unwrap_or_default();
        for (script, names) in TOOLS.iter().chain(&hardware::TOOLS).chain([&family.tools()]).chain(more) {
            for tool in *names {
                let path = bin.join(tool);
                fs::write(&path, script)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        }
        let path = format!("{}:{}", bin.display(), family.programs(&dir.join("programs"))?);
        let machine = Machine { rack, name, root, path, writing: Mutex::default(), taken: Mutex::default(), stopped: Mutex::default() };
        machine.write()?;
        fs::write(machine.root.join("packages"), family.pending())?;
        Ok(machine)
    }

    pub fn refused_login(&self) {
        self.rack.refused_login(&self.name, "ssh");
    }
    /// The boot id of the OS that runs now. What was asked for on the host is passed to the rack on the way.
    pub fn boot(&self) -> Option<String> {
        let seen = self.rack.seen(&self.name).filter(|seen| seen.up)?;
        self.obey(&seen);
        Some(seen.boot_id)
    }

    fn obey(&self, seen: &Seen) {
        // systemctl returns before sshd is stopped: its answer is to arrive.
        let age = fs::metadata(self.root.join("power")).and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age >= ANSWERED) {
            for verb in self.take("power") {
                let verb = if verb == "reboot" { "GracefulRestart" } else { "GracefulShutdown" };
                self.rack.power(&self.name, verb, "ssh");
            }
        }
        for ask in self.take("asks") {
            if ask.starts_with("mount ") {
                self.rack.mend(&self.name, Flaw::MountMissing);
                continue;
            }
            let (verb, unit) = ask.split_once(' ').unwrap_or((&ask, ""));
            self.service(seen, unit.trim_end_matches(".service"), verb != "stop");
        }
    }

    /// What tools have appended to a file since it was last asked for. It is never truncated: a tool may append at this moment.
    fn take(&self, file: &'static str) -> Vec<String> {
        let text = fs::read_to_string(self.root.join(file)).unwrap_or_default();
        let mut taken = self.taken.lock().unwrap_or_else(|e| e.into_inner());
        let from = taken.entry(file).or_default();
        let new = text.get(*from..).unwrap_or_default();
        // Half a line is for the next time.
        let whole = new.rfind('\n').map_or(0, |end| end + 1);
        *from += whole;
        new[..whole].lines().map(str::to_owned).collect()
    }

    /// Something with another key answers since it booted.
    pub fn other_host_key(&self) -> bool {
        self.rack.seen(&self.name).is_some_and(|seen| seen.boots > 0 && seen.spec.quirks.flaws.contains(&Flaw::HostKey))
    }

    fn service(&self, seen: &Seen, service: &str, active: bool) {
        self.rack.set_service(&self.name, service, active);
        let mut stopped = self.stopped(seen);
        stopped.1.retain(|s| s != service);
        if !active {
            stopped.1.push(service.to_owned());
        }
    }

    /// Forgotten at the next boot.
    fn stopped(&self, seen: &Seen) -> std::sync::MutexGuard<'_, (String, Vec<String>)> {
        let mut stopped = self.stopped.lock().unwrap_or_else(|e| e.into_inner());
        if stopped.0 != seen.boot_id {
            // Both live in memory on a real machine.
            for flag in ["run/reboot-required", "run/reboot-required.pkgs", "run/needs-reboot"] {
                fs::remove_file(self.root.join(flag)).ok(); // most often there is none
            }
            *stopped = (seen.boot_id.clone(), Vec::new());
        }
        stopped
    }

    /// The tree as of now.
    fn write(&self) -> io::Result<()> {
        let mut written = self.writing.lock().unwrap_or_else(|e| e.into_inner());
        let seen = self.rack.seen(&self.name).ok_or_else(|| io::Error::other(format!("the rack has no machine {}", self.name)))?;
        let uptime = seen.uptime.as_secs_f64();
        let stopped = self.stopped(&seen).1.clone();
        let mut units = String::new();
        for (service, active) in &seen.services {
            let state = if stopped.contains(service) {
                "inactive"
            } else if *active {
                if seen.slow(service) { "activating" } else { "active" }
            } else {
                "failed"
            };
            let unit = if service.contains('.') { service.clone() } else { format!("{service}.service") };
            writeln!(units, "{unit} {state}").map_err(io::Error::other)?;
        }
        // A cluster server writes VMs as `vm NAME`: on the host they are processes.
        let vms = seen.running.iter().filter_map(|what| what.strip_prefix("vm "));
        let guests: String = vms.enumerate().map(|(i, vm)| format!("{} /usr/bin/qemu-system-x86_64 -name guest={vm}\n", 2000 + i)).collect();
        let spec = &seen.spec;
        let hardware = hardware::files(&seen, KERNEL);
        let own = [
            ("proc/sys/kernel/random/boot_id", &seen.boot_id),
            ("proc/sys/kernel/hostname", &self.name),
            ("proc/uptime", &format!("{uptime:.2} {uptime:.2}")),
            ("etc/machine-id", &spec.machine_id),
            ("etc/hostname", &self.name),
            ("sys/class/dmi/id/product_uuid", &spec.uuid),
            ("sys/class/dmi/id/product_serial", &spec.serial),
            // The file system belongs to the installation, as its machine-id does.
            ("root_fs", &format!("{}-root", spec.machine_id.get(..8).unwrap_or(&spec.machine_id))),
            ("kernel", &KERNEL.to_owned()),
            ("name", &self.name),
            ("people", &String::new()),
            ("keeps", &String::new()),
            ("proc/mdstat", &mdstat(&seen)),
            ("guests", &guests),
            ("units", &units),
        ];
        for (path, text) in own.into_iter().chain(hardware.iter().map(|(path, text)| (*path, text))) {
            let path = self.root.join(path);
            if written.get(&path) == Some(text) {
                continue;
            }
            written.insert(path.clone(), text.clone());
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let text = if text.is_empty() || text.ends_with('\n') { text.clone() } else { format!("{text}\n") };
            // Renamed into place: a command may be reading.
            let new = path.with_extension("new");
            fs::write(&new, text)?;
            fs::rename(&new, &path)?;
        }
        Ok(())
    }

    /// `None`: a shell that reads its commands.
    pub fn start(&self, line: Option<&str>) -> io::Result<Run> {
        self.boot();
        self.write()?;
        let mut command = Command::new("/bin/sh");
        if let Some(line) = line {
            command.args(["-c", line]);
        }
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("LAB_ROOT", &self.root)
            .env("HOME", &self.root)
            .env("USER", "root")
            .env("LOGNAME", "root")
            .env("SHELL", "/bin/sh");
        command.current_dir(&self.root).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(Run { child: command.spawn()?, over: false })
    }
}

/// One mirror on every machine, as the kernel prints it.
fn mdstat(seen: &Seen) -> String {
    let rebuild = match seen.spec.quirks.rebuilding {
        true => "[2/1] [U_]\n      [==>..................]  recovery = 12.6% (131072/1046528) finish=9.1min speed=65536K/sec",
        false => "[2/2] [UU]",
    };
    format!("Personalities : [raid1]\nmd0 : active raid1 nvme1n1p1[1] nvme0n1p1[0]\n      1046528 blocks super 1.2 {rebuild}\n\nunused devices: <none>")
}

/// A command under way. Dropped before it is over, as when the link or the power is cut, it dies with everything it started.
pub struct Run {
    pub child: Child,
    pub over: bool,
}
impl Drop for Run {
    fn drop(&mut self) {
        let Some(pid) = self.child.id().filter(|_| !self.over) else { return };
        // Stopped first, until no new one turns up: what is killed while it forks leaves a child nobody finds.
        let mut doomed = vec![pid];
        signal("STOP", &doomed);
        loop {
            let new: Vec<u32> =
                parents().into_iter().filter(|(child, parent)| doomed.contains(parent) && !doomed.contains(child)).map(|(child, _)| child).collect();
            if new.is_empty() {
                break;
            }
            signal("STOP", &new);
            doomed.extend(new);
        }
        signal("KILL", &doomed);
    }
}

/// By the shell's `kill`: there is no other without unsafe code.
fn signal(name: &str, pids: &[u32]) {
    let list: String = pids.iter().map(|pid| format!(" {pid}")).collect();
    std::process::Command::new("/bin/sh").args(["-c", &format!("kill -s {name}{list} 2>/dev/null")]).status().ok(); // some have ended by themselves
}

/// (process, parent) of every process.
fn parents() -> Vec<(u32, u32)> {
    let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
    let parent = |pid: u32| -> Option<(u32, u32)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything: what follows the last bracket is `state parent`.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    dir.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter_map(parent).collect()
}
