//! `pitstop plan`: survey, plan, show. Writes nothing but the file of `-o`.
use super::{
    args::PlanArgs,
    connect::Wiring,
    context::Context,
    failure::{CONFIGURATION, Failure, INTERNAL},
    history,
};
use crate::{
    due,
    engine::store::{Store, digest},
    inventory::Inventory,
    kinds,
    model::{ClusterName, NodeName, Relax, Setting},
    plan::{History, Input, Plan, PlaybookInput, Refusal, make},
    playbook::Playbook,
    report::plan_screen,
    survey::{self, Reason},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

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
    let plans = make_plans(cx, &inventory, &playbook, &nodes, store.as_deref(), &BTreeSet::new(), BTreeMap::new()).await?;
    let with_digests: Vec<(Plan, String)> = plans.iter().map(|p| (p.clone(), digest_of(p))).collect();
    if let Some(path) = &args.output {
        let text = serde_json::to_vec_pretty(&PlanFile { plans: plans.clone() }).map_err(|e| Failure::new(INTERNAL, e.to_string()))?;
        fs::write(path, text).map_err(|e| Failure::new(CONFIGURATION, format!("cannot write {}: {e}", path.display())))?;
    }
    if cx.json {
        cx.data(&plan_screen::shown(&with_digests))?;
    } else {
        let asked = plan_screen::Asked { playbook: &args.playbook, selection: &spoken(&args.selection), output: args.output.as_deref() };
        out!("{}", plan_screen::text(&with_digests, asked, cx.screen));
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
pub async fn make_plans(
    cx: &Context,
    inventory: &Inventory,
    playbook: &Playbook,
    nodes: &BTreeSet<NodeName>,
    store: Option<&dyn Store>,
    relaxed: &BTreeSet<Relax>,
    owed: BTreeMap<NodeName, History>,
) -> Result<Vec<Plan>, Failure> {
    let reasons = reasons(playbook)?;
    let wanted = PlaybookInput::of(playbook, cx.clock.now());
    let mut history = match store {
        Some(store) => history::of(store, &clusters_of(inventory, nodes), cx.clock.now()).await?,
        None => Default::default(),
    };
    let mut doors = Wiring::of_inventory(inventory, nodes).doors(cx).await;
    doors.served = Some(history.iter().filter_map(|(name, h)| Some((name.clone(), h.served?))).collect());
    doors.raids = wanted.steps.iter().any(|s| touches_power(&s.step.kind));
    let ask = cx.ask().to_evacuate(&wanted.evacuate());
    let survey = survey::take(cx.clock.now(), &doors, &reasons, &ask).await;
    history.extend(owed);
    let mut input = Input::new(inventory, nodes.iter().cloned(), wanted, &survey, history, cx.clock.now());
    // One named node: held by whoever takes the option.
    input.nodes.values_mut().for_each(|n| n.relaxed = relaxed.clone());
    make(&input).map_err(refused)
}

/// A sweep that resets nothing does not ask small BMCs for their storage.
pub fn touches_power(step: &str) -> bool {
    ["reset", "firmware", "pause"].contains(&step)
}

pub fn refused(refusals: Vec<Refusal>) -> Failure {
    let all: Vec<String> = refusals.iter().map(|r| r.0.to_string()).collect();
    let next = refusals.into_iter().find_map(|r| r.0.next);
    Failure { code: CONFIGURATION, what: format!("no plan: {}", all.join("; ")), next }
}
