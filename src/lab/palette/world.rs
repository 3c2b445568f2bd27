//! What Palette and its agent in the cluster do: cordon and drain, pods that find another node, an inventory of pods that lags behind.
use super::{CLUSTER, CONFIG, Faults, NodeSpec};
use crate::lab::rack::Rack;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Before scaling by the rack's pace.
const TAKE_UP: Duration = Duration::from_secs(5);
const EVICT: Duration = Duration::from_secs(10);
const STALE: Duration = Duration::from_secs(8);
const REFRESH: Duration = Duration::from_secs(3);
/// Palette's own default is 10 minutes; the lab's machines boot in under four.
const REMEDIATE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Accepted; the agent takes it up at an instant, or never.
    Initiated(Option<Instant>),
    InProgress,
    Completed,
    Failed,
}

struct Machine {
    spec: NodeSpec,
    /// Replaced machines get another.
    uid: String,
    control_plane: bool,
    up: bool,
    boot_id: String,
    down_since: Option<Instant>,
    /// Before the first request there is none.
    action: Option<&'static str>,
    phase: Phase,
    /// What is shown is older than what is: the state before, until then.
    stale: Option<(&'static str, Instant)>,
    next_eviction: Option<Instant>,
    reported: Vec<String>,
}

impl Machine {
    fn cordoned(&self) -> bool {
        // From the moment the agent takes it up until it has undone it.
        match (self.action, self.phase) {
            (Some("cordon"), Phase::Initiated(_)) | (None, _) => false,
            (Some("cordon"), _) => true,
            (_, phase) => phase != Phase::Completed,
        }
    }
    fn takes_work(&self) -> bool {
        self.up && !self.cordoned() && !self.control_plane
    }
    fn state(&self) -> &'static str {
        match self.phase {
            Phase::Initiated(_) => "Initiated",
            Phase::InProgress => "InProgress",
            Phase::Completed => "Completed",
            Phase::Failed => "Failed",
        }
    }
}

#[derive(Debug, Clone)]
struct Pod {
    name: String,
    owner: Option<&'static str>,
    phase: &'static str,
    /// uid of its machine.
    machine: String,
    node: String,
}

pub struct World {
    rack: Rack,
    faults: Faults,
    machines: Vec<Machine>,
    pods: Vec<Pod>,
    /// As Palette last read them.
    listed: Vec<Pod>,
    refresh_at: Option<Instant>,
    remediation: (bool, bool),
    born: u32,
}

impl World {
    pub fn new(rack: Rack, specs: &[NodeSpec], faults: Faults) -> World {
        let control = ["dc1-cp-01", "dc1-cp-02"]
            .iter()
            .enumerate()
            .map(|(i, name)| (NodeSpec { name: name.to_string(), machine: String::new(), address: format!("192.0.2.{}", 240 + i) }, true));
        let mut world =
            World { rack, faults, machines: Vec::new(), pods: Vec::new(), listed: Vec::new(), refresh_at: None, remediation: (true, true), born: 0 };
        world.remediation = (!world.faults.has("auto-remediation"), true);
        for (spec, control_plane) in control.chain(specs.iter().map(|s| (s.clone(), false))) {
            let boot_id = world.rack.seen(&spec.machine).map(|m| m.boot_id).unwrap_or_default();
            let uid = world.next_uid();
            let pod = |name: String, owner, phase| Pod { name, owner, phase, machine: uid.clone(), node: spec.name.clone() };
            world.pods.push(pod(format!("node-agent-{}", spec.name), Some("DaemonSet"), "Running"));
            if control_plane {
                world.pods.push(pod(format!("etcd-{}", spec.name), None, "Running"));
            } else {
                world.pods.push(pod(format!("web-{}", spec.name), Some("ReplicaSet"), "Running"));
                world.pods.push(pod(format!("db-{}", spec.name), Some("StatefulSet"), "Running"));
                world.pods.push(pod(format!("report-{}", spec.name), Some("Job"), "Succeeded"));
            }
            world.machines.push(Machine {
                spec,
                uid,
                control_plane,
                up: true,
                boot_id,
                down_since: None,
                action: None,
                phase: Phase::Completed,
                stale: None,
                next_eviction: None,
                reported: Vec::new(),
            });
        }
        world.listed = world.pods.clone();
        world.tick();
        world
    }

    fn next_uid(&mut self) -> String {
        self.born += 1;
        format!("67{:022x}", self.born)
    }
    fn scaled(&self, span: Duration) -> Duration {
        span.mul_f64(self.rack.pace.scale)
    }
    /// The second worker, which most faults hit.
    fn second(&self) -> Option<String> {
        self.machines.iter().filter(|m| !m.control_plane).nth(1).map(|m| m.spec.name.clone())
    }

    pub fn tick(&mut self) {
        let now = Instant::now();
        self.follow_machines(now);
        self.run_agent(now);
        if self.refresh_at.is_some_and(|at| now >= at) {
            (self.refresh_at, self.listed) = (None, self.pods.clone());
        }
        for machine in &mut self.machines {
            let here = self.pods.iter().filter(|p| p.machine == machine.uid && p.phase == "Running" && !matches!(p.owner, Some("DaemonSet") | None));
            let running: Vec<String> = here.map(|p| format!("pod shop/{}", p.name)).collect();
            if running != machine.reported && !machine.control_plane {
                self.rack.set_running(&machine.spec.machine, running.clone());
                machine.reported = running;
            }
        }
    }

    /// A node is what its machine is. Pods of one that went down are started elsewhere, where there is anywhere.
    fn follow_machines(&mut self, now: Instant) {
        let second = self.second();
        for i in 0..self.machines.len() {
            let Some(seen) = self.rack.seen(&self.machines[i].spec.machine) else { continue };
            let machine = &mut self.machines[i];
            let rebooted = seen.boot_id != machine.boot_id;
            let went = machine.up && (!seen.up || rebooted);
            machine.up = seen.up;
            machine.boot_id = seen.boot_id;
            machine.down_since = if seen.up { None } else { machine.down_since.or(Some(now)) };
            if went {
                let (uid, name) = (machine.uid.clone(), machine.spec.name.clone());
                machine.reported.clear(); // the rack has noted the loss and forgotten them
                let lost: Vec<usize> = self.movable(&uid);
                lost.into_iter().for_each(|p| self.elsewhere(p, &uid));
                if self.faults.has("machine-replaced") && second.as_deref() == Some(name.as_str()) {
                    self.replace(i);
                }
            }
            let away = self.machines[i].down_since.is_some_and(|since| now.duration_since(since) > self.scaled(REMEDIATE));
            if away && !self.remediation.0 {
                self.replace(i);
            }
        }
    }

    /// Remediation: a new machine takes the name, and knows nothing of the old one's maintenance.
    fn replace(&mut self, i: usize) {
        let uid = self.next_uid();
        let machine = &mut self.machines[i];
        self.pods.retain(|p| p.machine != machine.uid);
        (machine.uid, machine.action, machine.phase, machine.down_since) = (uid, None, Phase::Completed, None);
        let (machine, name) = (machine.spec.machine.clone(), machine.spec.name.clone());
        self.rack.api_write(&machine, &format!("palette replaced {name}"));
    }

    /// Pods that a drain evicts, by place.
    fn movable(&self, uid: &str) -> Vec<usize> {
        let evicted = |p: &Pod| p.machine == uid && p.phase == "Running" && !matches!(p.owner, Some("DaemonSet") | None);
        (0..self.pods.len()).filter(|i| evicted(&self.pods[*i])).collect()
    }
    fn elsewhere(&mut self, pod: usize, from: &str) {
        let load = |uid: &str| self.pods.iter().filter(|p| p.machine == uid).count();
        let to = self.machines.iter().filter(|m| m.uid != from && m.takes_work()).min_by_key(|m| load(&m.uid));
        if let Some((uid, name)) = to.map(|m| (m.uid.clone(), m.spec.name.clone())) {
            (self.pods[pod].machine, self.pods[pod].node) = (uid, name);
        }
    }

    fn run_agent(&mut self, now: Instant) {
        let (second, evict) = (self.second(), self.scaled(EVICT));
        for i in 0..self.machines.len() {
            let uid = self.machines[i].uid.clone();
            let hit = second.as_deref() == Some(self.machines[i].spec.name.as_str());
            match (self.machines[i].action, self.machines[i].phase) {
                (_, Phase::Initiated(Some(at))) if now >= at => {
                    (self.machines[i].phase, self.machines[i].next_eviction) = (Phase::InProgress, Some(now + evict));
                }
                (Some("uncordon"), Phase::InProgress) => self.machines[i].phase = Phase::Completed,
                (Some("cordon"), Phase::InProgress) if self.machines[i].next_eviction.is_some_and(|at| now >= at) => {
                    self.machines[i].next_eviction = Some(now + evict);
                    let fails = hit && self.faults.has("maintenance-failed");
                    match self.movable(&uid).first() {
                        Some(_) if fails => self.machines[i].phase = Phase::Failed,
                        None => self.machines[i].phase = Phase::Completed,
                        Some(pod) => self.elsewhere(*pod, &uid),
                    }
                }
                _ => {}
            }
        }
    }

    /// False: no such machine.
    pub fn maintenance(&mut self, pool: &str, uid: &str, cordon: bool) -> bool {
        self.tick();
        let now = Instant::now();
        let (take_up, stale) = (now + self.scaled(TAKE_UP), now + self.scaled(STALE));
        let second = self.second();
        let (offline, late) = (self.faults.has("agent-offline"), self.faults.has("stale-completed"));
        let Some(machine) = self.machines.iter_mut().find(|m| m.uid == uid && (m.control_plane == (pool == "cp-pool"))) else { return false };
        let action = if cordon { "cordon" } else { "uncordon" };
        if machine.action != Some(action) || machine.phase == Phase::Failed {
            // With the fault the new action carries the old state for a while.
            machine.stale = late.then_some(("Completed", stale));
            machine.action = Some(action);
            let never = offline && cordon && second.as_deref() == Some(machine.spec.name.as_str());
            machine.phase = Phase::Initiated((!never).then_some(take_up));
        }
        let (name, on) = (machine.spec.name.clone(), machine.spec.machine.clone());
        self.rack.api_write(&on, &format!("{} maintenance {name}", if cordon { "enter" } else { "leave" }));
        true
    }

    pub fn refresh(&mut self) {
        self.refresh_at = self.refresh_at.or(Some(Instant::now() + self.scaled(REFRESH)));
    }

    pub fn set_remediation(&mut self, body: &Value) {
        self.remediation = (body["disableNodesAutoRemediation"] == true, body["isEnabled"] == true);
        self.rack.api_write("", if self.remediation.0 { "disable auto-remediation" } else { "enable auto-remediation" });
    }

    pub fn settings(&self) -> Value {
        let mut setting = json!({});
        // False fields are left out.
        for (name, value) in [("disableNodesAutoRemediation", self.remediation.0), ("isEnabled", self.remediation.1)] {
            if value {
                setting[name] = json!(true);
            }
        }
        json!({ "nodesAutoRemediationSetting": setting, "tenantClusterSettings": { "nodesAutoRemediationSetting": {} } })
    }

    pub fn cluster(&self) -> Value {
        json!({ "metadata": { "name": "dc1", "uid": CLUSTER }, "spec": { "cloudType": "maas", "cloudConfigRef": { "kind": "maas", "uid": CONFIG } }, "status": { "state": "Running" } })
    }

    pub fn machines(&self, pool: &str) -> Vec<Value> {
        let offline = self.second().filter(|_| self.faults.has("agent-offline"));
        let row = |m: &Machine| {
            let silent = offline.as_deref() == Some(m.spec.name.as_str());
            let beat = if silent { "2026-01-01T00:00:00Z".into() } else { jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string() };
            machine_row(m, &beat)
        };
        self.machines.iter().filter(|m| m.control_plane == (pool == "cp-pool")).map(row).collect()
    }

    pub fn pods(&self) -> Value {
        let pod = |p: &Pod| {
            let refs: Vec<Value> = p.owner.iter().map(|kind| json!({ "kind": kind, "name": p.name, "uid": "" })).collect();
            let mut row = json!({ "metadata": { "entity": { "kind": "pod", "name": p.name }, "namespace": "shop", "nodename": p.node, "machineUid": p.machine }, "status": { "phase": p.phase } });
            if !refs.is_empty() {
                row["metadata"]["associatedRefs"] = json!(refs);
            }
            row
        };
        json!({ "pods": self.listed.iter().map(pod).collect::<Vec<_>>() })
    }
}

fn machine_row(m: &Machine, heartbeat: &str) -> Value {
    let mut status = json!({
        "instanceState": "Running",
        "addresses": [{ "address": m.spec.address, "type": "InternalIP" }],
        "health": { "state": if m.up { "healthy" } else { "unhealthy" }, "lastHeartBeatTimestamp": heartbeat,
            "conditions": [{ "type": "Ready", "status": if m.up { "True" } else { "Unknown" }, "reason": "", "message": "" }] },
    });
    if m.up {
        status["ready"] = json!(true);
    }
    if let Some(action) = m.action {
        let stale = m.stale.filter(|(_, until)| Instant::now() < *until).map(|(state, _)| state);
        let failed = m.phase == Phase::Failed;
        let message = if failed { "cannot evict pod as it would violate the pod's disruption budget" } else { "" };
        status["maintenanceStatus"] = json!({ "action": action, "state": stale.unwrap_or(m.state()), "message": message });
    }
    json!({ "metadata": { "name": m.spec.name, "uid": m.uid }, "spec": { "hostname": m.spec.name }, "status": status })
}
