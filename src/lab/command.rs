//! A system that answers through commands alone: a script (`rackctl`), and files that it and the lab exchange. It stands for whatever an operator has at home.
use super::rack::Rack;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const SCRIPT: &str = include_str!("command/rackctl.sh");

/// Before scaling by the rack's pace.
const MOVE: Duration = Duration::from_secs(10);
const LEAVE: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    InService,
    Entering,
    Maintenance,
    Leaving(Instant),
}
impl State {
    fn word(self) -> &'static str {
        match self {
            State::InService => "in-service",
            State::Entering => "entering",
            State::Maintenance => "maintenance",
            State::Leaving(_) => "leaving",
        }
    }
}

struct Node {
    name: String,
    state: State,
    jobs: Vec<String>,
    reported: Vec<String>,
}

pub struct World {
    rack: Rack,
    dir: PathBuf,
    nodes: Vec<Node>,
    /// The next job may move then: one at a time.
    next_move: Instant,
    /// What the files say.
    written: BTreeMap<PathBuf, Value>,
}

impl World {
    /// Writes the script and the first answers. `token` is what it wants to see in its environment.
    pub fn new(rack: Rack, names: &[String], dir: PathBuf, token: &str) -> io::Result<World> {
        for folder in ["status", "running", "asked"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("rackctl"), SCRIPT)?;
        fs::set_permissions(dir.join("rackctl"), fs::Permissions::from_mode(0o755))?;
        super::clusters::secret(&dir.join("token"), token)?;
        let node = |name: &String| {
            let jobs = ["build", "render"].map(|job| format!("{job}-{name}")).to_vec();
            Node { name: name.clone(), state: State::InService, jobs, reported: Vec::new() }
        };
        let nodes = names.iter().map(node).collect();
        let mut world = World { rack, dir, nodes, next_move: Instant::now(), written: BTreeMap::new() };
        world.tick()?;
        Ok(world)
    }

    /// Until dropped.
    pub async fn serve(mut self) -> io::Result<()> {
        loop {
            self.tick()?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn scaled(&self, span: Duration) -> Duration {
        span.mul_f64(self.rack.pace.scale)
    }

    fn tick(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for i in 0..self.nodes.len() {
            self.obey(i, now)?;
            let up = self.rack.seen(&self.nodes[i].name).is_some_and(|m| m.up);
            let node = &mut self.nodes[i];
            match node.state {
                State::Entering if node.jobs.is_empty() => node.state = State::Maintenance,
                State::Leaving(until) if up && now >= until => node.state = State::InService,
                _ => {}
            }
            if !up && !node.jobs.is_empty() {
                // The rack has written down the loss; they begin anew elsewhere.
                let lost = std::mem::take(&mut node.jobs);
                let to = self.destination(i).unwrap_or(i);
                self.nodes[to].jobs.extend(lost);
            }
        }
        if now >= self.next_move
            && let Some(from) = self.nodes.iter().position(|n| n.state == State::Entering && !n.jobs.is_empty())
            && let Some(to) = self.destination(from)
        {
            let job = self.nodes[from].jobs.remove(0);
            self.nodes[to].jobs.push(job);
            self.next_move = now + self.scaled(MOVE);
        }
        self.report();
        self.answer()
    }

    /// What the script was told since.
    fn obey(&mut self, i: usize, now: Instant) -> io::Result<()> {
        let name = self.nodes[i].name.clone();
        let asked = self.dir.join("asked").join(&name);
        let Ok(verb) = fs::read_to_string(&asked) else { return Ok(()) };
        fs::remove_file(&asked)?;
        let (begin, left) = (now + self.scaled(MOVE), now + self.scaled(LEAVE));
        let node = &mut self.nodes[i];
        match (verb.trim(), node.state) {
            ("drain", State::InService | State::Leaving(_)) => {
                node.state = State::Entering;
                self.next_move = self.next_move.max(begin);
                self.rack.api_write(&name, &format!("enter maintenance {name}"));
            }
            ("undrain", State::Entering | State::Maintenance) => {
                node.state = State::Leaving(left);
                self.rack.api_write(&name, &format!("leave maintenance {name}"));
            }
            _ => {} // twice is once
        }
        Ok(())
    }

    /// The one in service with the fewest jobs.
    fn destination(&self, from: usize) -> Option<usize> {
        let able = |i: &usize| *i != from && self.nodes[*i].state == State::InService && self.rack.seen(&self.nodes[*i].name).is_some_and(|m| m.up);
        (0..self.nodes.len()).filter(able).min_by_key(|i| self.nodes[*i].jobs.len())
    }

    fn report(&mut self) {
        for node in &mut self.nodes {
            let running: Vec<String> = node.jobs.iter().map(|job| format!("job {job}")).collect();
            if running != node.reported {
                self.rack.set_running(&node.name, running.clone());
                node.reported = running;
            }
        }
    }

    fn answer(&mut self) -> io::Result<()> {
        let mut all = Vec::new();
        let mut answers = Vec::new();
        for node in &self.nodes {
            let Some(machine) = self.rack.seen(&node.name) else { continue };
            let (name, state) = (&node.name, node.state.word());
            let id = format!("m-{}", machine.spec.serial);
            all.push(json!({ "name": name, "id": id, "state": state, "identity": { "uuid": machine.spec.uuid, "serial": machine.spec.serial } }));
            let why = if machine.up { Value::Null } else { json!("its agent does not answer") };
            let status = json!({ "node": name, "id": id, "state": state, "ready": machine.up, "why": why, "started": machine.boot_id });
            let mut workloads: Vec<Value> = node.jobs.iter().map(|job| json!({ "kind": "job", "name": job })).collect();
            workloads.push(json!({ "kind": "agent", "name": "rackd", "fixed": true }));
            answers.push((PathBuf::from("status").join(name), status));
            answers.push((PathBuf::from("running").join(name), json!({ "node": name, "id": id, "workloads": workloads })));
        }
        answers.push(("nodes".into(), json!({ "nodes": all })));
        for (path, answer) in answers {
            if self.written.get(&path) != Some(&answer) {
                write(&self.dir.join(&path), &answer)?;
                self.written.insert(path, answer);
            }
        }
        Ok(())
    }
}

/// In one go: who reads meanwhile reads the old answer.
fn write(path: &Path, answer: &Value) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, answer.to_string())?;
    fs::rename(new, path)
}
