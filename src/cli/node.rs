//! `pitstop node NODE`: all of it on one screen, read-only; and single actions for whoever is on call, through the same engine and guards.
use super::{
    args::{NodeAct, NodeArgs, NodeCommand},
    connect::{self, Wiring},
    context::Context,
    failure::{CONFIGURATION, Failure, USAGE},
    history, plan, run, status,
};
use crate::{
    drivers::bmc::{Bmc, ways::Ways},
    engine::node::Phase,
    inventory::{Inventory, NodeEntry},
    model::{Fault, FaultKind, NodeName, OnFailure, ResetType, Setting},
    plan::{Input, PlaybookInput},
    playbook::{Limits, Playbook, StepEntry},
    report::{
        check_screen,
        fold::fold_lines,
        node_screen::NodeScreen,
        status::{State, StatusRow},
    },
    survey,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, IsTerminal},
    time::Instant,
};

pub async fn run(cx: &Context, args: NodeArgs) -> Result<u8, Failure> {
    let inventory = cx.inventory()?;
    let name = NodeName(args.node.clone());
    let Some(entry) = inventory.nodes.get(&name) else {
        return Err(Failure::new(USAGE, format!("the inventory has no node {name}")).next("pitstop inventory"));
    };
    match args.what {
        None => show(cx, &inventory, &name).await,
        Some(NodeCommand::Evacuate(act)) => {
            single(cx, &inventory, &name, cx.playbook("evacuate")?, act, "takes it out of service and empties it; it stays so").await
        }
        Some(NodeCommand::Enable(act)) => {
            single(cx, &inventory, &name, cx.playbook("return")?, act, "proves that it is healthy, then gives everything back and enables it").await
        }
        Some(NodeCommand::Power { verb, clear_boot_override, act }) => {
            let body = json!({ "verb": verb, "then": "hold", "boot_override": if clear_boot_override { "clear" } else { "refuse" } });
            let book = one_step(&format!("power {verb}"), vec![("reset", body, true)]);
            single(cx, &inventory, &name, book, act, &format!("sends {verb} to its BMC, once")).await
        }
        Some(NodeCommand::Rescue(act)) => {
            if cx.global.reason.is_none() {
                return Err(
                    Failure::new(USAGE, format!("why is {name} cut off? --reason TEXT is needed")).next(format!("pitstop node {name} rescue --reason TEXT"))
                );
            }
            single(
                cx,
                &inventory,
                &name,
                rescue(),
                act,
                "cuts its power without emptying it, lets its cluster start its work elsewhere, boots it, verifies it and enables it",
            )
            .await
        }
        Some(NodeCommand::Identify { off, yes }) => identify(cx, &inventory, &name, entry, !off, yes).await,
    }
}

/// The dead node's own road; also how one whose run is lost in the middle of it comes back.
pub fn rescue() -> Playbook {
    one_step("rescue", vec![("fence", json!({}), true), ("verify", json!({}), false), ("enable", json!({}), false), ("settle", json!({}), false)])
}

/// `careful`: before power is touched a refusal gives back, and a node that was not touched is refused, not held.
fn one_step(name: &str, steps: Vec<(&str, serde_json::Value, bool)>) -> Playbook {
    let step = |(kind, body, careful): (&str, serde_json::Value, bool)| StepEntry {
        setting: Setting { kind: kind.into(), body },
        timeout: None,
        attempts: None,
        on_failure: careful.then_some(OnFailure::Return),
    };
    Playbook {
        name: name.into(),
        description: format!("one node: {name}"),
        limits: Limits::default(),
        due: Vec::new(),
        steps: steps.into_iter().map(step).collect(),
    }
}

async fn single(cx: &Context, inventory: &Inventory, name: &NodeName, book: Playbook, act: NodeAct, does: &str) -> Result<u8, Failure> {
    let relaxed: BTreeSet<_> = act.relax.iter().copied().collect();
    run::relaxing(cx, &relaxed)?;
    let nodes = BTreeSet::from([name.clone()]);
    // What is unsafe is named before anybody is asked.
    let store = match cx.store_url()?.exists() {
        true => Some(cx.store().await?),
        false => None,
    };
    if let Some(store) = &store {
        history::refuse_unfinished(&history::unfinished(&**store, &plan::clusters_of(inventory, &nodes), &nodes).await?)?;
    }
    let plans = plan::make_plans(cx, inventory, &book, &nodes, store.as_deref(), &relaxed, BTreeMap::new()).await?;
    cx.say(&format!("{name}: {} {does}", book.name));
    for plan in &plans {
        for note in &plan.notes {
            cx.say(&format!("  {} {}", if note.stops { "UNSAFE:" } else { "note:" }, note.text));
        }
        let load = plan.nodes.get(name).map(|n| n.expect.load.join(" · ")).filter(|load| !load.is_empty());
        load.into_iter().for_each(|load| cx.say(&format!("  it has: {load}")));
    }
    let refused = plans.iter().find_map(|p| p.skipped.get(name));
    if let Some(crate::model::Skip::Refused { fault }) = refused {
        return Err(Failure {
            code: 4,
            what: format!("{name} is refused, nothing was touched: {fault}"),
            next: fault.next.clone().or(Some(format!("pitstop node {name}"))),
        });
    }
    confirmed(cx, name, act.yes)?;
    run::these(cx, inventory, &book, &nodes, &relaxed, &act.test).await
}

fn confirmed(cx: &Context, name: &NodeName, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(USAGE, format!("nobody is there to ask about {name}, nothing was touched")).next("the same command with --yes"));
    }
    cx.say(&format!("type the node's name to go on ({name}):"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok(); // nothing typed is no
    match line.trim() == name.0 {
        true => Ok(()),
        false => Err(Failure::new(USAGE, "not confirmed, nothing was touched")),
    }
}

fn ways(cx: &Context, inventory: &Inventory, name: &NodeName, entry: &NodeEntry) -> Result<Ways, Failure> {
    let trust = inventory.trust.get(name).cloned().unwrap_or_default();
    let made: Vec<_> = entry.bmc.iter().map(|s| connect::bmc_of(cx, &inventory.base, name, s, &trust)).collect();
    if let (true, Some(Err(fault))) = (made.iter().all(Result::is_err), made.first()) {
        return Err(fault.clone().into());
    }
    Ok(Ways(made.into_iter().filter_map(Result::ok).collect()))
}

/// The light borrows nothing from anybody's service: it stands in no ledger, and this very command turns it off.
async fn identify(cx: &Context, inventory: &Inventory, name: &NodeName, entry: &NodeEntry, on: bool, yes: bool) -> Result<u8, Failure> {
    confirmed(cx, name, yes)?;
    let bmc = ways(cx, inventory, name, entry)?;
    let set = bmc.set_identify_light(on).await;
    let seen = bmc.identify_light().await;
    bmc.close().await;
    set.map_err(|f| Failure { code: CONFIGURATION, what: format!("{name}: its locating light: {f}"), next: f.next.or(Some(format!("pitstop check {name}"))) })?;
    let word = if on { "on" } else { "off" };
    match &seen {
        Ok(now) if *now != on => {
            return Err(Failure::new(5, format!("{name}: its BMC took the order, and the light is not {word}")).next(format!("pitstop node {name}")));
        }
        Ok(_) => cx.say(&format!("{name}: its locating light is {word}")),
        Err(fault) => cx.say(&format!("{name}: its locating light was set {word}; whether it is cannot be read: {fault}")),
    }
    if on {
        cx.say(&format!("next: pitstop node {name} identify --off"));
    }
    if cx.json {
        cx.data(&json!({ "node": name, "light": seen.ok() }))?;
    }
    Ok(0)
}

async fn show(cx: &Context, inventory: &Inventory, name: &NodeName) -> Result<u8, Failure> {
    let begun = Instant::now();
    let nodes = BTreeSet::from([name.clone()]);
    let entry = &inventory.nodes[name];
    let doors = Wiring::of_inventory(inventory, &nodes).doors(cx).await;
    let survey = survey::take(cx.clock.now(), &doors, &[], &cx.ask()).await;
    let mut history = BTreeMap::new();
    let mut row = None;
    let mut owed = Vec::new();
    let mut typed = None;
    if cx.store_url()?.exists() {
        let store = cx.store().await?;
        history = history::of(&*store, &plan::clusters_of(inventory, &nodes), cx.clock.now()).await?;
        if let Some((head, _, node)) = status::ours(&*store).await?.into_iter().find(|(_, n, _)| n == name) {
            owed = node.past.loans.clone();
            row = Some(status::row(&head, name, &node));
            if let Phase::Held { .. } = node.phase {
                let lines = store.lines(&head.run, 0).await?;
                let report = fold_lines(lines.iter().map(|(_, line)| line.as_str()), store.plan(&head.run).await.ok().as_ref());
                typed = report.and_then(|r| r.nodes.into_iter().find(|n| n.name == *name)).and_then(|n| n.next);
            }
        }
    }
    let input = Input::new(inventory, nodes.iter().cloned(), PlaybookInput::none(), &survey, history, cx.clock.now());
    let checked = check_screen::check(&input, begun.elapsed());
    let seen = survey.nodes.get(name).cloned().ok_or_else(|| Failure::new(super::failure::INTERNAL, format!("BUG: {name} was not surveyed")))?;
    let check = checked.nodes.into_iter().next().ok_or_else(|| Failure::new(super::failure::INTERNAL, format!("BUG: {name} was not checked")))?;
    let (mut tasks, mut log, mut light) = (None, None, None);
    // A BMC that did not answer just now is not waited for three times more.
    if seen.bmc.iter().any(|w| w.seen.is_ok()) {
        let bmc = ways(cx, inventory, name, entry)?;
        (tasks, log) = (known(bmc.live_tasks().await), known(bmc.log_since(None).await));
        light = bmc.identify_light().await.ok();
        bmc.close().await;
    }
    let next = next(name, row.as_ref(), typed, &check, &seen);
    let screen = NodeScreen { node: name.clone(), status: row, check, seen, tasks, log, light, owed, next };
    if cx.json {
        cx.data(&screen)?;
    } else {
        out!("{}", screen.text(cx.screen));
    }
    Ok(0)
}

/// A protocol without such a thing has nothing to say about it.
fn known<T>(answer: Result<T, Fault>) -> Option<Result<T, Fault>> {
    match answer {
        Err(fault) if fault.kind == FaultKind::Unable => None,
        other => Some(other),
    }
}

/// One command to type, for where the node stands.
fn next(name: &NodeName, row: Option<&StatusRow>, typed: Option<String>, check: &check_screen::CheckedNode, seen: &crate::model::NodeSurvey) -> String {
    let silent = seen.host.as_ref().is_none_or(|h| h.as_ref().is_err_and(|f| matches!(f.kind, FaultKind::Unreachable | FaultKind::Unknown)));
    let views = || seen.clusters.iter().filter_map(|(_, v)| v.as_ref().ok());
    let dead = silent && views().next().is_some() && views().all(|v| !v.ready && !v.not_ready.is_empty()) && seen.bmc.iter().any(|w| w.seen.is_ok());
    match row {
        Some(row) if row.state == State::Held => typed.unwrap_or_else(|| format!("pitstop release {name} retry, or pitstop release {name} keep-out")),
        Some(StatusRow { state: State::Lost | State::Out | State::Ours | State::Paused, next: Some(next), .. }) => next.clone(),
        None if views().any(|v| v.marked_by.as_ref().is_some_and(|run| uuid::Uuid::parse_str(run).is_ok())) => {
            format!("pitstop release {name} --from-marks    (its run is of another store, or of one that is gone)")
        }
        _ if dead => format!("pitstop node {name} rescue --reason TEXT"),
        _ => match &check.fault {
            Some(fault) => fault.next.clone().unwrap_or_else(|| format!("pitstop check {name}")),
            None if views().any(|v| !v.enabled) => format!("pitstop status    (someone took {name} out of service)"),
            None => format!("pitstop plan reboot {name}"),
        },
    }
}

/// For clap: as Redfish spells it.
pub fn reset_type(text: &str) -> Result<ResetType, String> {
    let known = || ResetType::ALL.map(ResetType::name).join(", ");
    ResetType::ALL.into_iter().find(|t| t.name().eq_ignore_ascii_case(text)).ok_or_else(|| format!("no power verb `{text}`; there are {}", known()))
}
