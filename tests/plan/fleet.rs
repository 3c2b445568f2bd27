//! A healthy fleet as a survey saw it, to be broken by a test.
use pitstop::{
    model::*,
    plan::{ClusterInput, History, Input, Limits, NodeInput, PlannedSeat, PlaybookInput, StepInput},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

pub struct Fleet {
    pub survey: Survey,
    pub clusters: BTreeMap<ClusterName, ClusterInput>,
    pub nodes: BTreeMap<NodeName, NodeInput>,
    pub playbook: PlaybookInput,
    pub history: BTreeMap<NodeName, History>,
    pub time: TimeScale,
}

pub fn name(n: usize) -> NodeName {
    NodeName(format!("edge-{n:02}"))
}
pub fn uuid(n: usize) -> String {
    format!("4c4c4544-0051-3010-8052-b4c04f4e{n:04x}")
}
pub fn identity(n: usize) -> Identity {
    Identity { uuid: Some(uuid(n)), ..Identity::default() }
}
pub fn edge() -> ClusterName {
    ClusterName("edge".into())
}
fn boot(n: usize) -> String {
    format!("b00710ad-0000-4000-8000-{n:012}")
}

/// Nodes 1 to `n` in one Kubernetes cluster: every witness answers and agrees.
pub fn fleet(n: usize) -> Fleet {
    let member = |n| Member { name: name(n).0, out: None, run: None, identity: identity(n), since: None };
    let cluster = ClusterSurvey {
        what: "kubernetes v1.31.2".into(),
        members: Ok((1..=n).map(member).collect()),
        lease: true,
        held_by: None,
        took_ms: 12,
        missing_rights: vec![],
        warnings: vec![],
    };
    let setting = Setting { kind: "kubernetes".into(), body: json!({ "context": "edge" }) };
    let step = |kind: &str, body| StepInput { step: Setting { kind: kind.into(), body }, timeout: None, attempts: None, on_failure: None };
    let limits = Limits { max_unavailable: 1, failure_budget: 0, within: vec![], max_per: BTreeMap::new(), canary: 0, window: vec![], max_resets: 2 };
    Fleet {
        survey: Survey {
            at: "2026-11-21T02:00:00Z".parse().unwrap(),
            clusters: BTreeMap::from([(edge(), cluster)]),
            nodes: (1..=n).map(|n| (name(n), seen(n))).collect(),
        },
        clusters: BTreeMap::from([(edge(), ClusterInput { setting, vouched: None })]),
        nodes: (1..=n).map(|n| (name(n), node(n))).collect(),
        playbook: PlaybookInput {
            name: "reboot".into(),
            description: "graceful reboot".into(),
            steps: vec![
                step("evacuate", json!({})),
                step("reset", json!({ "how": "graceful", "then": "force" })),
                step("verify", json!({ "hold_for": "60s" })),
                step("enable", json!({})),
                step("settle", json!({})),
            ],
            limits,
            due: false,
            reasons: vec![],
        },
        history: BTreeMap::new(),
        time: TimeScale::default(),
    }
}

fn node(n: usize) -> NodeInput {
    NodeInput {
        seats: vec![PlannedSeat { cluster: edge(), node: name(n).0 }],
        labels: BTreeMap::from([("rack".into(), if n <= 3 { "r1".into() } else { "r2".into() })]),
        bmc: vec![Setting { kind: "redfish".into(), body: json!({ "url": format!("https://192.0.2.{n}") }) }],
        host: Some(Setting { kind: "ssh".into(), body: json!({ "host": format!("{}.lan.example", name(n)) }) }),
        trust: Trust::default(),
        checks: vec![],
        carries: BTreeSet::new(),
        unlock: None,
        relaxed: BTreeSet::new(),
    }
}

pub fn way(n: usize) -> WaySeen {
    let view = BmcView {
        protocol: "redfish".into(),
        endpoint: format!("https://192.0.2.{n}"),
        identity: identity(n),
        power: Power::On,
        verbs: vec![],
        reset_marker: None,
        boot_progress: None,
        product: None,
        warnings: vec![],
    };
    WaySeen {
        protocol: "redfish".into(),
        endpoint: view.endpoint.clone(),
        loopback: false,
        hosts: vec![format!("192.0.2.{n}")],
        took_ms: 210,
        seen: Ok(view),
        tasks: None,
    }
}

pub fn seen(n: usize) -> NodeSurvey {
    let view = NodeView {
        identity: identity(n),
        boot: Some(Boot::Id(boot(n))),
        ready: true,
        not_ready: vec![],
        enabled: true,
        in_maintenance: false,
        marked_by: None,
        workloads: (0..n).map(|p| Workload { kind: "pod".into(), name: format!("shop/cart-{p}"), leaving: false, stuck: None }).collect(),
        fixed: 3,
        moves: vec![],
        blockers: vec![],
        impossible: vec![],
        notes: vec![],
    };
    let host = HostView { boot_id: boot(n), uptime_s: 9000.0, identity: identity(n), ..HostView::default() };
    NodeSurvey { bmc: vec![way(n)], clusters: vec![(edge(), Ok(view))], host: Some(Ok(host)), host_took_ms: 40, due: vec![], at_power: Default::default() }
}

impl Fleet {
    pub fn input(&self) -> Input<'_> {
        Input {
            made_at: self.survey.at,
            base: "/etc/pitstop/inventory".into(),
            time: self.time,
            clusters: self.clusters.clone(),
            nodes: self.nodes.clone(),
            playbook: self.playbook.clone(),
            survey: &self.survey,
            history: self.history.clone(),
        }
    }
    pub fn seen(&mut self, n: usize) -> &mut NodeSurvey {
        self.survey.nodes.get_mut(&name(n)).unwrap()
    }
    pub fn view(&mut self, n: usize) -> &mut NodeView {
        self.seen(n).clusters[0].1.as_mut().unwrap()
    }
    pub fn bmc(&mut self, n: usize) -> &mut BmcView {
        self.seen(n).bmc[0].seen.as_mut().unwrap()
    }
    pub fn host(&mut self, n: usize) -> &mut HostView {
        self.seen(n).host.as_mut().unwrap().as_mut().unwrap()
    }
    pub fn node(&mut self, n: usize) -> &mut NodeInput {
        self.nodes.get_mut(&name(n)).unwrap()
    }
}
