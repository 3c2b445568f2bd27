//! `pitstop plan`: survey, plan, show. Writes nothing but the file of `-o`.
use super::{
    args::PlanArgs,
    connect::{self, Wiring},
    context::Context,
    failure::{CONFIGURATION, Failure, INTERNAL},
    history,
};
use crate::{
    due,
    engine::store::{Store, digest},
    inventory::Inventory,
    kinds,
    model::{ClusterName, NodeName, Setting, Survey},
    plan::{
        Limits, Plan, PlannedCheck, PlannedSeat, Refusal, Window,
        input::{ClusterInput, Input, NodeInput, PlaybookInput, StepInput},
        make,
    },
    playbook::{self, Playbook},
    report::plan_screen,
    survey::{self, Reason},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fs};

/// What `-o` writes and `run --plan` reads.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanFile {
    pub plans: Vec<Plan>,
}

pub async fn run(cx: &Context, args: PlanArgs) -> Result<u8, Failure> {
    let inventory = cx.inventory()?;
    let playbook = cx.playbook(&args.playbook)?;
    let nodes = cx.selected(&inventory, &args.selection)?;
    // A store that is not there yet has no history, and a plan makes none.
    let store = match cx.store_url()?.exists() {
        true => Some(cx.store().await?),
        false => None,
    };
    let plans = make_plans(cx, &inventory, &playbook, &nodes, store.as_deref()).await?;
    let with_digests: Vec<(Plan, String)> = plans.iter().map(|p| (p.clone(), digest_of(p))).collect();
    if let Some(path) = &args.output {
        let text = serde_json::to_vec_pretty(&PlanFile { plans: plans.clone() }).map_err(|e| Failure::new(INTERNAL, e.to_string()))?;
        fs::write(path, text).map_err(|e| Failure::new(CONFIGURATION, format!("cannot write {}: {e}", path.display())))?;
    }
    if cx.json {
        cx.data(&plan_screen::shown(&with_digests))?;
    } else {
        let selection = spoken(&args.selection);
        let command = format!("pitstop plan {} {selection}", args.playbook);
        let asked = plan_screen::Asked { selection: if args.selection.nodes.is_empty() { &selection } else { "" }, command: command.trim_end() };
        print!("{}", plan_screen::text(&with_digests, asked, cx.screen));
    }
    Ok(plan_screen::exit_code(&with_digests))
}

pub fn digest_of(plan: &Plan) -> String {
    serde_json::to_vec(plan).map(|bytes| digest(&bytes)).unwrap_or_default()
}

fn spoken(selection: &super::args::Selection) -> String {
    let filter = selection.filter.iter().map(|f| format!("--where {f}"));
    selection.nodes.iter().cloned().chain(filter).chain(selection.all.then(|| "--all".to_owned())).collect::<Vec<_>>().join(" ")
}

pub fn clusters_of(inventory: &Inventory, nodes: &BTreeSet<NodeName>) -> BTreeSet<ClusterName> {
    inventory.nodes.iter().filter(|(name, _)| nodes.contains(*name)).flat_map(|(_, n)| n.seats.iter().map(|s| s.cluster.clone())).collect()
}

/// The playbook's `[due]`, made.
pub fn reasons(playbook: &Playbook) -> Result<Vec<Reason>, Failure> {
    let made = |s: &Setting| kinds::make(due::KINDS, s).map(|driver| Reason { kind: s.kind.clone(), driver });
    playbook.due.iter().map(made).collect::<Result<_, _>>().map_err(|e| Failure::new(CONFIGURATION, e))
}

/// Survey and plan for the selected nodes. Reads only.
pub async fn make_plans(cx: &Context, inventory: &Inventory, playbook: &Playbook, nodes: &BTreeSet<NodeName>, store: Option<&dyn Store>) -> Result<Vec<Plan>, Failure> {
    let reasons = reasons(playbook)?;
    let doors = Wiring::of_inventory(inventory, nodes).doors(cx).await;
    let survey = survey::take(cx.clock.now(), &doors, &reasons, &cx.ask()).await;
    let history = match store {
        Some(store) => history::of(store, &clusters_of(inventory, nodes), cx.clock.now()).await?,
        None => Default::default(),
    };
    let mut input = input(inventory, playbook, nodes, &survey);
    input.history = history;
    make::make(&input).map_err(refused)
}

pub fn refused(refusals: Vec<Refusal>) -> Failure {
    let all: Vec<String> = refusals.iter().map(|r| r.0.to_string()).collect();
    let next = refusals.into_iter().find_map(|r| r.0.next);
    Failure { code: CONFIGURATION, what: format!("no plan: {}", all.join("; ")), next }
}

/// The files' words in the planner's.
pub fn input<'a>(inventory: &Inventory, playbook: &Playbook, nodes: &BTreeSet<NodeName>, survey: &'a Survey) -> Input<'a> {
    let clusters = inventory.clusters.iter().map(|(name, c)| (name.clone(), ClusterInput { setting: c.setting.clone(), vouched: connect::vouched(&c.setting) }));
    let node = |name: &NodeName| {
        let n = &inventory.nodes[name];
        NodeInput {
            seats: n.seats.iter().map(|s| PlannedSeat { cluster: s.cluster.clone(), node: s.node.clone() }).collect(),
            labels: n.labels.clone(),
            bmc: n.bmc.clone(),
            host: n.host.clone(),
            trust: inventory.trust.get(name).cloned().unwrap_or_default(),
            checks: n.checks.iter().map(|c| PlannedCheck { at: c.at.clone(), check: c.setting.clone() }).collect(),
            carries: n.carries.iter().cloned().collect(),
        }
    };
    let limits = &playbook.limits;
    let window = playbook::windows(&limits.window, survey.at).into_iter().map(|o| Window { text: o.text, open: o.open }).collect();
    Input {
        made_at: survey.at,
        base: inventory.base.display().to_string(),
        time: inventory.time,
        clusters: clusters.collect(),
        nodes: nodes.iter().filter(|n| inventory.nodes.contains_key(*n)).map(|n| (n.clone(), node(n))).collect(),
        playbook: PlaybookInput {
            name: playbook.name.clone(),
            description: playbook.description.clone(),
            steps: playbook
                .steps
                .iter()
                .map(|s| StepInput { step: s.setting.clone(), timeout: s.timeout, attempts: s.attempts, on_failure: s.on_failure })
                .collect(),
            limits: Limits {
                max_unavailable: limits.max_unavailable,
                failure_budget: limits.failure_budget,
                within: limits.within.clone(),
                max_per: limits.max_per.clone(),
                canary: limits.canary,
                window,
                max_resets: limits.max_resets,
            },
            due: !playbook.due.is_empty(),
        },
        survey,
        history: Default::default(),
    }
}
