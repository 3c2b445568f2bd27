//! The built binary as a user types it, a lab of its own per test, and the rack's own record as the judge.
use serde_json::Value;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Far beyond what anything takes: it ends a hang, it never decides a test.
pub const LONG: Duration = Duration::from_secs(300);

/// What a process said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}
impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
    /// One object a line.
    pub fn lines(&self) -> Vec<Value> {
        lines(&self.out)
    }
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
    #[track_caller]
    pub fn ends(self, code: i32) -> Said {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
    #[track_caller]
    pub fn says(&self, wanted: &str) {
        assert!(self.all().contains(wanted), "`{wanted}` is not in:\n{}", self.all());
    }
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

/// With nothing of this machine's user in it; `home` is where it works.
pub fn pitstop(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pitstop"));
    command.args(args).current_dir(home).env("HOME", home).env("XDG_STATE_HOME", home.join("state")).env("TMPDIR", home);
    for name in ["PITSTOP_INVENTORY", "PITSTOP_STORE", "PITSTOP_PLAYBOOKS", "PITSTOP_TEST_KILL_AT", "PITSTOP_TEST_LEASE", "RUST_LOG", "COLUMNS"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Under way; killed when dropped.
pub struct Running {
    pub child: Child,
    out: PathBuf,
    err: PathBuf,
}
impl Running {
    pub fn start(mut command: Command, dir: &Path) -> Running {
        let name = uuid::Uuid::new_v4().simple().to_string();
        // Files, not pipes: nobody has to read along.
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let child = command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
        Running { child, out, err }
    }
    pub fn so_far(&self) -> (String, String) {
        (fs::read_to_string(&self.out).unwrap(), fs::read_to_string(&self.err).unwrap())
    }
    /// Until it has said so, on stdout or stderr.
    #[track_caller]
    pub fn until(&mut self, says: &str) {
        until(says, || {
            let (out, err) = self.so_far();
            if out.contains(says) || err.contains(says) {
                return true;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "ended without saying `{says}`:\n{out}\n{err}");
            false
        });
    }
    #[track_caller]
    pub fn ended(&mut self) -> Said {
        let mut code = None;
        until("the end of the process", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        let (out, err) = self.so_far();
        Said { code: code.unwrap().code().unwrap_or(-1), out, err }
    }
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }
}
impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "waited {LONG:?} for {what}");
        thread::sleep(Duration::from_millis(30));
    }
}

pub fn ask(home: &Path, args: &[&str]) -> Said {
    Running::start(pitstop(home, args), home).ended()
}

/// `pitstop lab` in the background, and a store of its own.
pub struct Lab {
    pub dir: TempDir,
    _running: Running,
}
impl Lab {
    /// Up to three machines stand in the Kubernetes cluster `edge`; of more a third, at least two, in VergeOS.
    pub fn start(nodes: usize, faults: &[&str]) -> Lab {
        let dir = TempDir::new().unwrap();
        let nodes = nodes.to_string();
        let mut args = vec!["lab", "--dir", "lab", "--nodes", &nodes];
        faults.iter().for_each(|f| args.extend(["--fault", f]));
        let mut running = Running::start(pitstop(dir.path(), &args), dir.path());
        running.until("next, in a second terminal");
        Lab { dir, _running: running }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("lab").join(name)
    }
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = pitstop(self.dir.path(), &["-i", "lab/inventory", "--store", "sqlite:pitstop.db"]);
        command.args(args);
        command
    }
    pub fn ask(&self, args: &[&str]) -> Said {
        self.start_command(args).ended()
    }
    pub fn start_command(&self, args: &[&str]) -> Running {
        Running::start(self.command(args), self.dir.path())
    }
    pub fn rack(&self) -> Rack {
        Rack::read(&self.path("rack.jsonl"))
    }
}

/// `rack.jsonl`: what the machines, their BMCs and clusters themselves saw.
pub struct Rack(pub Vec<Value>);
impl Rack {
    pub fn read(path: &Path) -> Rack {
        Rack(lines(&fs::read_to_string(path).unwrap()))
    }
    pub fn of<'a>(&'a self, node: &'a str, kind: &'a str) -> Vec<&'a Value> {
        self.0.iter().filter(|l| l["node"] == node && l["kind"] == kind).collect()
    }
    pub fn kind(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|l| l["kind"] == kind).collect()
    }
    pub fn nodes(&self) -> Vec<String> {
        let mut names: Vec<String> = self.kind("up").iter().map(|l| text(&l["node"])).collect();
        names.sort();
        names.dedup();
        names
    }
    /// Boots while the lab was up.
    pub fn boots(&self, node: &str) -> Vec<String> {
        self.of(node, "boot").iter().filter_map(|l| l["boot_id"].as_str().map(str::to_owned)).collect()
    }
    pub fn verbs(&self, node: &str) -> Vec<String> {
        self.of(node, "power").iter().map(|l| text(&l["verb"])).collect()
    }
    /// What its cluster was last told about its service: `cordon`, `uncordon`, `enter maintenance`, `leave maintenance`.
    pub fn service(&self, node: &str) -> Option<String> {
        // The operator itself uncordons when its NodeMaintenance goes: that is no write of a client.
        let words = ["cordon ", "uncordon ", "enter maintenance ", "leave maintenance ", "create nodemaintenance ", "delete nodemaintenance "];
        let said = self.of(node, "api-write").into_iter().map(|l| text(&l["what"])).filter(|w| words.iter().any(|word| w.starts_with(word)));
        said.collect::<Vec<_>>().pop().map(|w| w.rsplit_once(' ').unwrap().0.to_owned())
    }
    #[track_caller]
    pub fn in_service(&self, node: &str) {
        let last = self.service(node);
        assert!(last.as_deref().is_none_or(|l| ["uncordon", "leave maintenance", "delete nodemaintenance"].contains(&l)), "{node}: {last:?}");
    }
    #[track_caller]
    pub fn nothing_lost(&self) {
        assert_eq!(self.kind("lost-workload"), Vec::<&Value>::new());
    }
    /// Safety: nothing reaches a BMC that the journal did not announce: every power line has an earlier intent of the same verb, one each.
    #[track_caller]
    pub fn intended(&self, events: &[Value]) {
        let mut intents: Vec<(String, String, jiff::Timestamp)> = events
            .iter()
            .filter(|e| e["event"] == "act_intended" && e["act"]["power"] == true)
            .map(|e| (text(&e["node"]), text(&e["act"]["what"]), time(&e["at"])))
            .collect();
        for line in self.kind("power") {
            let (node, verb, at) = (text(&line["node"]), text(&line["verb"]), time(&line["t"]));
            let found = intents.iter().position(|(n, what, when)| *n == node && what.split_whitespace().any(|w| w == verb) && *when <= at);
            intents.remove(found.unwrap_or_else(|| panic!("no intent for {line}; of {intents:?}")));
        }
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
pub fn time(value: &Value) -> jiff::Timestamp {
    text(value).parse().unwrap()
}
