//! The world of the simulation: machines, their cluster, BMCs and hosts in memory, on tokio's paused clock, with a fault script per call.
use async_trait::async_trait;
use pitstop::{
    drivers::{
        bmc::Bmc,
        cluster::{Ask, Cluster, Reached},
        host::Host,
        net::{HttpAsk, HttpSeen, Net},
    },
    engine::store::{Store, memory::Memory},
    event::Event,
    guards::Permit,
    model::*,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::Instant;

/// The wall clock of the simulation follows the paused one.
pub struct Virtual(pub Instant);
impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + self.0.elapsed()
    }
}

/// A seed reproduces everything.
#[derive(Clone, Copy)]
pub struct Dice(pub u64);
impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Debug, Clone, Default)]
pub struct Temper {
    /// One call in so many goes wrong; 0: none.
    pub faulty: u64,
    /// Looks too, not only changes.
    pub looks: bool,
    /// The BMC of node 1 obeys this late.
    pub lag: Duration,
    /// Verbs that the BMC of node 1 accepts and ignores.
    pub ignores: Vec<ResetType>,
    pub never_boots: bool,
    /// Node 1's pods may not be evicted.
    pub stuck: bool,
    /// A booted check of node 1 never gets well.
    pub sick: bool,
    /// A repair makes that check well.
    pub mends: bool,
    /// After its boot node 1 boots a second time by itself.
    pub boots_twice: bool,
    /// Node 1 was cordoned by somebody before we came.
    pub cordoned_before: bool,
    /// The BMC of node 1 is wired to node 2.
    pub miswired: bool,
    /// Another installation comes up on node 1.
    pub other_system: bool,
    /// Somebody else's update is live at the BMC of node 1, from and until these seconds of the simulation.
    pub foreign_update: Option<(u64, u64)>,
    /// What opens node 1's root disk at boot; empty: it is not encrypted.
    pub root_opens_by: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Up,
    Off,
    Booting(Instant),
    Stopping(Instant, bool),
}

#[derive(Debug)]
pub struct Machine {
    phase: Phase,
    pub boots: u32,
    up_since: Instant,
    pending: Vec<(Instant, ResetType)>,
    pub cordoned: bool,
    pub cordoned_at_start: bool,
    pub mark: Option<String>,
    pub pods: Vec<String>,
    /// Pods that ran when power went.
    pub lost: u32,
    /// Verbs as the BMC received them.
    pub verbs: Vec<ResetType>,
    /// A verb arrived that no durable intent precedes.
    pub unjournalled: u32,
    /// A verb arrived while firmware was written.
    pub bricked: u32,
    /// The foreign update: live from, until.
    foreign: Option<(Instant, Instant)>,
    pub version: &'static str,
    /// Cold starts, as the BMC counts them.
    resets: u32,
    /// Updates as the BMC received them.
    pub updates: u32,
    /// Ours: what asked for it, and what became of it.
    job: Option<(Apply, Job)>,
    /// At which boot a repair arrived.
    pub mended: Vec<u32>,
    /// The locating light.
    pub light: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Job {
    Fetching(Instant),
    Staged,
    /// Until then; the BMC is away for half a minute in its middle.
    Writing(Instant),
    Done,
}
/// Writing firmware.
const WRITE: Duration = Duration::from_secs(100);

pub struct World {
    pub machines: Mutex<BTreeMap<String, Machine>>,
    pub temper: Temper,
    pub dice: Mutex<Dice>,
    pub store: Memory,
    pub run: RunId,
    /// The most machines that were out at one time, whoever took them out.
    pub most_out: Mutex<usize>,
    /// From then on BMCs do not know our password any more.
    pub password_lost: Mutex<Option<Instant>>,
}

const BOOT: Duration = Duration::from_secs(90);

impl World {
    pub fn new(nodes: usize, temper: Temper, seed: u64, store: Memory, run: RunId) -> Arc<World> {
        let machine = |i: usize| Machine {
            phase: Phase::Up,
            boots: 0,
            up_since: Instant::now(),
            pending: Vec::new(),
            cordoned: i == 1 && temper.cordoned_before,
            cordoned_at_start: i == 1 && temper.cordoned_before,
            mark: None,
            pods: (0..3).map(|p| format!("shop/n{i}-{p}")).collect(),
            lost: 0,
            verbs: Vec::new(),
            unjournalled: 0,
            bricked: 0,
            version: "1.0",
            resets: 0,
            updates: 0,
            job: None,
            foreign: temper
                .foreign_update
                .filter(|_| i == 1)
                .map(|(from, to)| (Instant::now() + Duration::from_secs(from), Instant::now() + Duration::from_secs(to))),
            mended: vec![],
            light: false,
        };
        let machines = (0..nodes).map(|i| (format!("n{i}"), machine(i))).collect();
        Arc::new(World {
            machines: Mutex::new(machines),
            temper,
            dice: Mutex::new(Dice(seed)),
            store,
            run,
            most_out: Mutex::new(0),
            password_lost: Mutex::default(),
        })
    }

    /// As the process counts it: refused often enough.
    pub fn lost(self: &Arc<Self>) -> pitstop::engine::run::Lost {
        let world = self.clone();
        Arc::new(move || world.lets_nobody_in().err())
    }
    fn lets_nobody_in(&self) -> Result<(), Fault> {
        let lost = self.password_lost.lock().unwrap().is_some_and(|at| Instant::now() >= at);
        let credential = Some("the password in file /bmc".to_owned());
        if lost { Err(Fault { credential, ..Fault::new(FaultKind::Denied, "the password in file /bmc was refused 3 times") }) } else { Ok(()) }
    }

    fn with<T>(&self, node: &str, f: impl FnOnce(&mut Machine, &Temper) -> T) -> T {
        let mut machines: MutexGuard<'_, BTreeMap<String, Machine>> = self.machines.lock().unwrap();
        for (name, machine) in machines.iter_mut() {
            machine.tick(&self.temper, name == "n1");
        }
        let answer = f(machines.get_mut(node).unwrap(), &self.temper);
        let out = machines.values().filter(|m| m.cordoned || m.phase != Phase::Up).count();
        let mut most = self.most_out.lock().unwrap();
        *most = (*most).max(out);
        answer
    }

    /// What becomes of this call.
    fn fate(&self, is_look: bool) -> Fate {
        let mut dice = self.dice.lock().unwrap();
        if self.temper.faulty == 0 || (is_look && !self.temper.looks) || dice.roll(self.temper.faulty) != 0 {
            return Fate::Fine;
        }
        match dice.roll(5) {
            0 => Fate::RequestLost,
            1 if !is_look => Fate::ReplyLost,
            2 => Fate::Slow(Duration::from_millis(500 + 1000 * dice.roll(15))),
            3 if !is_look => Fate::Refused,
            4 if !is_look => Fate::NotSent,
            _ => Fate::RequestLost,
        }
    }

    async fn look<T>(&self, node: &str, f: impl FnOnce(&mut Machine, &Temper) -> Result<T, Fault>) -> Result<T, Fault> {
        tokio::time::sleep(Duration::from_millis(40)).await;
        match self.fate(true) {
            Fate::Slow(d) => tokio::time::sleep(d).await,
            Fate::Fine => {}
            _ => return Err(Fault::new(FaultKind::Unreachable, format!("{node}: no answer to a look"))),
        }
        self.with(node, f)
    }

    async fn change(&self, node: &str, f: impl FnOnce(&mut Machine, &Temper) -> Result<(), Fault>) -> Result<(), Fault> {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let fate = self.fate(false);
        let lost = || Err(Fault::new(FaultKind::Unknown, format!("{node}: no answer")));
        match fate {
            Fate::NotSent => return Err(Fault::new(FaultKind::Unreachable, format!("{node}: connection refused"))),
            Fate::Refused => return Err(Fault::new(FaultKind::Unwilling, format!("{node}: busy"))),
            Fate::RequestLost => return lost(),
            Fate::Slow(d) => tokio::time::sleep(d).await,
            Fate::Fine | Fate::ReplyLost => {}
        }
        let answer = self.with(node, f);
        tokio::time::sleep(Duration::from_millis(200)).await;
        if matches!(fate, Fate::ReplyLost) && answer.is_ok() { lost() } else { answer }
    }
}

enum Fate {
    Fine,
    RequestLost,
    ReplyLost,
    Refused,
    NotSent,
    Slow(Duration),
}

impl Machine {
    fn tick(&mut self, temper: &Temper, first: bool) {
        let now = Instant::now();
        let due: Vec<_> = self.pending.extract_if(.., |(at, _)| *at <= now).collect();
        for (at, verb) in due {
            self.obey(at, verb, temper, first);
        }
        if let Phase::Stopping(at, reboot) = self.phase
            && at <= now
        {
            self.cut();
            if reboot { self.boot(at) } else { self.phase = Phase::Off }
        }
        match self.job {
            Some((apply, Job::Fetching(at))) if at <= now => {
                self.job = Some((apply, if apply == Apply::OnReset { Job::Staged } else { Job::Writing(at + WRITE) }))
            }
            Some((apply, Job::Writing(at))) if at <= now => {
                self.version = "2.0";
                self.job = Some((apply, Job::Done));
            }
            _ => {}
        }
        if let Phase::Booting(at) = self.phase
            && at <= now
            && !(temper.never_boots && first)
        {
            self.boots += 1;
            self.up_since = at;
            self.phase = Phase::Up;
            if temper.boots_twice && first && self.boots == 1 {
                self.pending.push((at + Duration::from_secs(20), ResetType::ForceRestart));
            }
        }
    }
    fn obey(&mut self, at: Instant, verb: ResetType, temper: &Temper, first: bool) {
        use ResetType::*;
        if first && temper.ignores.contains(&verb) {
            return;
        }
        match (verb, &self.phase) {
            (On, Phase::Off) => self.boot(at),
            (On, _) | (_, Phase::Off) => {}
            (GracefulRestart, Phase::Up) => self.phase = Phase::Stopping(at + Duration::from_secs(15), true),
            (GracefulShutdown, Phase::Up) => self.phase = Phase::Stopping(at + Duration::from_secs(15), false),
            (GracefulRestart | GracefulShutdown, _) => {}
            (ForceOff, _) => {
                self.cut();
                self.phase = Phase::Off;
            }
            _ => {
                self.cut();
                self.boot(at);
            }
        }
    }
    /// What is staged is written first.
    fn boot(&mut self, at: Instant) {
        self.resets += 1;
        let staged = matches!(self.job, Some((_, Job::Staged)));
        if staged {
            self.job = Some((Apply::OnReset, Job::Writing(at + WRITE)));
        }
        self.phase = Phase::Booting(at + BOOT + if staged { WRITE } else { Duration::ZERO });
    }
    /// In the middle of an update the BMC restarts.
    fn away(&self) -> bool {
        matches!(self.job, Some((_, Job::Writing(until))) if (30..60).contains(&until.saturating_duration_since(Instant::now()).as_secs()))
    }
    pub fn writes(&self) -> bool {
        matches!(self.job, Some((_, Job::Writing(_)))) || self.foreign.is_some_and(|(from, to)| (from..to).contains(&Instant::now()))
    }
    fn cut(&mut self) {
        self.lost += self.pods.len() as u32;
    }
    pub fn off(&self) -> bool {
        self.phase == Phase::Off
    }
    pub fn up(&self) -> bool {
        self.phase == Phase::Up
    }
    fn all_tasks(&self) -> Vec<Task> {
        let foreign = self.foreign_tasks().into_iter().map(|task| Task { task, ended: None });
        let ours = self.job.map(|(_, job)| {
            let (state, percent, waits_for_reset, ended) = match job {
                Job::Fetching(_) => ("Running", Some(0), false, None),
                Job::Staged => ("Pending", None, true, None),
                Job::Writing(_) => ("Running", Some(30), false, None),
                Job::Done => ("Completed", Some(100), false, Some(Ok(()))),
            };
            Task { task: LiveTask { id: format!("/tasks/{}", self.updates), name: "Update".into(), state: state.into(), percent, waits_for_reset }, ended }
        });
        foreign.chain(ours).collect()
    }
    fn foreign_tasks(&self) -> Vec<LiveTask> {
        let now = Instant::now();
        let foreign = self.foreign.filter(|(from, to)| (*from..*to).contains(&now));
        let task = |id: &str| LiveTask { id: id.into(), name: "Update".into(), state: "Running".into(), percent: Some(40), waits_for_reset: false };
        foreign.into_iter().map(|_| task("/tasks/foreign")).collect()
    }
    fn boot_id(&self, name: &str) -> String {
        format!("{name}-boot-{}", self.boots)
    }
}

fn identity(name: &str) -> Identity {
    let n: u32 = name[1..].parse().unwrap();
    Identity { uuid: Some(format!("4c4c4544-0051-3010-8052-b4c04f4e4d{n:02x}")), serial: Some(format!("SN-000{n}")), ..Identity::default() }
}

pub struct FakeCluster(pub Arc<World>);
#[async_trait]
impl Cluster for FakeCluster {
    async fn probe(&self) -> Result<Reached, Fault> {
        Ok(Reached { what: "simulated".into(), lease: false, missing_rights: Vec::new(), warnings: Vec::new() })
    }
    async fn members(&self) -> Result<Vec<Member>, Fault> {
        self.0.look("n0", |_, _| Ok(())).await.map(|()| {
            let names: Vec<String> = self.0.machines.lock().unwrap().keys().cloned().collect();
            let member = |name: String| {
                let (out, run) = self.0.with(&name, |m, _| {
                    (
                        if !m.up() {
                            Some("NotReady")
                        } else if m.cordoned {
                            Some("SchedulingDisabled")
                        } else {
                            None
                        },
                        m.mark.clone(),
                    )
                });
                Member { identity: identity(&name), name, out: out.map(String::from), run, since: None }
            };
            names.into_iter().map(member).collect()
        })
    }
    async fn look(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        self.0
            .look(node, |m, temper| {
                let mut moves = Vec::new();
                let ours = m.mark.is_some() && m.mark == ask.run.as_ref().map(|r| r.0.clone());
                if !ours {
                    let mut act = Act::new("cluster", format!("cordon {node}"), Repeat::Freely);
                    act.borrows = Some(Loan {
                        id: LoanId("cordon".into()),
                        to: "cluster".into(),
                        owed: format!("uncordon {node}"),
                        before: json!({ "unschedulable": m.cordoned }),
                        first: false,
                    });
                    moves.push(act);
                } else {
                    for pod in &m.pods {
                        let mut act = Act::new("cluster", format!("evict {pod}"), Repeat::Freely);
                        act.args = json!({ "pod": pod });
                        moves.push(act);
                    }
                }
                let workloads = m.pods.iter().map(|p| Workload { kind: "pod".into(), name: p.clone(), leaving: false, stuck: None }).collect();
                let blockers =
                    if temper.stuck && node == "n1" && ours { vec![Blocker::new("shop/n1-0", "PodDisruptionBudget shop/n1 allows none")] } else { vec![] };
                Ok(NodeView {
                    identity: identity(node),
                    boot: Some(Boot::Id(m.boot_id(node))),
                    ready: m.up(),
                    not_ready: if m.up() { vec![] } else { vec!["kubelet is silent".into()] },
                    enabled: !m.cordoned,
                    in_maintenance: m.cordoned,
                    marked_by: m.mark.clone(),
                    workloads,
                    fixed: 0,
                    moves,
                    blockers,
                    impossible: vec![],
                    notes: vec![],
                })
            })
            .await
    }
    async fn act(&self, node: &str, act: &Act, ask: &Ask) -> Result<(), Fault> {
        self.0
            .change(node, |m, temper| {
                match act.what.split(' ').next() {
                    Some("cordon") => (m.cordoned, m.mark) = (true, ask.run.as_ref().map(|r| r.0.clone())),
                    Some("restore") => (m.cordoned, m.mark) = (act.args["unschedulable"] == json!(true), None),
                    Some("evict") if temper.stuck && node == "n1" => return Err(Fault::new(FaultKind::Unwilling, "429 PodDisruptionBudget shop/n1")),
                    Some("evict") => m.pods.retain(|p| json!(p) != act.args["pod"]),
                    other => panic!("unknown act {other:?}"),
                }
                Ok(())
            })
            .await
    }
    fn give_back(&self, node: &str, loan: &Loan) -> Act {
        Act { args: loan.before.clone(), ..Act::new("cluster", format!("restore {node}"), Repeat::Freely) }
    }
    async fn is_paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        self.0.look(node, |m, _| Ok(m.mark.is_none() && json!({ "unschedulable": m.cordoned }) == loan.before)).await
    }
    async fn lease(&self, _: &str, _: Duration) -> Result<LeaseAnswer, Fault> {
        Ok(LeaseAnswer::Unsupported)
    }
    async fn lease_holder(&self) -> Result<LeaseAnswer, Fault> {
        Ok(LeaseAnswer::Unsupported)
    }
    async fn drop_lease(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }
}

/// `node` is what the inventory says, `wired` what the cable says.
pub struct FakeBmc {
    pub world: Arc<World>,
    pub node: NodeName,
    pub wired: String,
}
#[async_trait]
impl Bmc for FakeBmc {
    fn protocol(&self) -> &'static str {
        "fake"
    }
    fn endpoint(&self) -> String {
        format!("fake://{}", self.node)
    }
    async fn look(&self) -> Result<BmcView, Fault> {
        self.world.lets_nobody_in()?;
        self.world
            .look(&self.wired, |m, _| {
                if m.away() {
                    return Err(silent());
                }
                let power = if m.phase == Phase::Off { Power::Off } else { Power::On };
                Ok(BmcView {
                    protocol: "fake".into(),
                    endpoint: self.endpoint(),
                    identity: identity(&self.wired),
                    power,
                    verbs: vec![],
                    reset_marker: Some(format!("reset {}", m.resets)),
                    boot_progress: None,
                    product: Some("Sim 1".into()),
                    warnings: vec![],
                })
            })
            .await
    }
    async fn live_tasks(&self) -> Result<Vec<LiveTask>, Fault> {
        self.tasks().await.map(|all| all.into_iter().filter(|t| t.ended.is_none()).map(|t| t.task).collect())
    }
    async fn tasks(&self) -> Result<Vec<Task>, Fault> {
        self.world.lets_nobody_in()?;
        self.world.look(&self.wired, |m, _| if m.away() { Err(silent()) } else { Ok(m.all_tasks()) }).await
    }
    async fn firmware(&self) -> Result<Vec<Firmware>, Fault> {
        let part = |m: &Machine| Firmware { id: "BIOS".into(), name: "BIOS".into(), version: Some(m.version.into()), updateable: true };
        self.world.look(&self.wired, |m, _| if m.away() { Err(silent()) } else { Ok(vec![part(m)]) }).await
    }
    async fn update(&self, ask: &Update) -> Result<(), Fault> {
        self.world
            .change(&self.wired, |m, _| {
                m.updates += 1;
                m.job = Some((ask.apply, Job::Fetching(Instant::now() + Duration::from_secs(20))));
                Ok(())
            })
            .await
    }
    async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault> {
        self.world.lets_nobody_in()?;
        permit.spend(Some(&self.node), verb)?;
        self.world.with(&self.wired, |m, _| m.bricked += u32::from(m.writes()));
        let intended = {
            let records = self.world.store.load(&self.world.run, 0).await.unwrap();
            records.iter().rev().find_map(|r| match &r.event {
                Event::ActIntended { node, act, .. } if *node == self.node => Some(act.args["verb"] == json!(verb)),
                Event::ActSettled { node, .. } if *node == self.node => Some(false),
                _ => None,
            }) == Some(true)
        };
        self.world
            .change(&self.wired, |m, temper| {
                m.unjournalled += u32::from(!intended);
                let lag = if self.wired == "n1" { temper.lag } else { Duration::from_secs(2) };
                m.verbs.push(verb);
                m.pending.push((Instant::now() + lag, verb));
                Ok(())
            })
            .await
    }
    async fn identify_light(&self) -> Result<bool, Fault> {
        self.world.look(&self.wired, |m, _| Ok(m.light)).await
    }
    async fn set_identify_light(&self, on: bool) -> Result<(), Fault> {
        self.world
            .change(&self.wired, |m, _| {
                m.light = on;
                Ok(())
            })
            .await
    }
    async fn close(&self) {}
}

fn silent() -> Fault {
    Fault::new(FaultKind::Unreachable, "the BMC restarts")
}

pub struct FakeHost(pub Arc<World>, pub String);
#[async_trait]
impl Host for FakeHost {
    fn endpoint(&self) -> String {
        format!("fake://{}", self.1)
    }
    async fn look(&self) -> Result<HostView, Fault> {
        let name = &self.1;
        self.0
            .look(name, |m, temper| {
                if !m.up() {
                    return Err(Fault::new(FaultKind::Unreachable, format!("{name}: no route to host")));
                }
                let other = temper.other_system && name == "n1" && m.boots > 0;
                Ok(HostView {
                    boot_id: m.boot_id(name),
                    uptime_s: m.up_since.elapsed().as_secs_f64(),
                    identity: Identity { machine_id: Some(format!("{:032x}", 1 + name.len() + usize::from(other))), ..identity(name) },
                    root_fs: Some(if other { "live".into() } else { "root".into() }),
                    system_state: Some("running".into()),
                    locks: match name == "n1" && !temper.root_opens_by.is_empty() {
                        true => vec![Lock { device: "/dev/sda3".into(), by: temper.root_opens_by.clone() }],
                        false => vec![],
                    },
                    ..HostView::default()
                })
            })
            .await
    }
    async fn exec(&self, command: &Command) -> Result<Output, Fault> {
        let down = || Fault::new(FaultKind::Unreachable, "down");
        if command.line == "mend" {
            let mend = |m: &mut Machine, _: &Temper| {
                m.mended.extend(m.up().then_some(m.boots));
                if m.up() { Ok(()) } else { Err(down()) }
            };
            self.0.change(&self.1, mend).await?;
            return Ok(Output { status: 0, stdout: String::new(), stderr: String::new(), dropped: 0 });
        }
        self.0
            .look(&self.1, |m, temper| {
                let well = temper.mends && m.mended.contains(&m.boots);
                let sick = temper.sick && self.1 == "n1" && !well;
                if m.up() { Ok(Output { status: i32::from(sick), stdout: String::new(), stderr: String::new(), dropped: 0 }) } else { Err(down()) }
            })
            .await
    }
    async fn close(&self) {}
}

pub struct FakeNet;
#[async_trait]
impl Net for FakeNet {
    async fn http(&self, _: &HttpAsk) -> Result<HttpSeen, Fault> {
        Err(Fault::new(FaultKind::Unreachable, "no network in the simulation"))
    }
    async fn tcp(&self, _: &str, _: u16, _: Span) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unreachable, "no network in the simulation"))
    }
}

/// Gets well or not, as the world wants.
pub struct Service;
#[async_trait]
impl pitstop::checks::Check for Service {
    fn describe(&self) -> String {
        "service: agent".into()
    }
    async fn look(&self, probe: &pitstop::checks::Probe<'_>) -> Result<pitstop::checks::Verdict, Fault> {
        let host = probe.host.unwrap();
        let output = host.exec(&Command { line: "true".into(), limit: Span::seconds(5), stdin: None }).await?;
        Ok(match output.status {
            0 => pitstop::checks::Verdict::Healthy(json!("active")),
            _ => pitstop::checks::Verdict::Unhealthy(vec![Blocker::new("agent", "inactive")]),
        })
    }
    fn repair(&self, _: &[Blocker]) -> Option<pitstop::checks::Repair> {
        Some(pitstop::checks::Repair { what: "mend agent".into(), args: json!(null) })
    }
    async fn mend(&self, probe: &pitstop::checks::Probe<'_>, _: &pitstop::checks::Repair) -> Result<(), Fault> {
        probe.host.unwrap().exec(&Command { line: "mend".into(), limit: Span::seconds(5), stdin: None }).await.map(drop)
    }
}
