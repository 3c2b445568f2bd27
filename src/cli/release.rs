//! `pitstop release`: a person decides about a held node. The engine at work hears of it; without one, this process resumes the run.
use super::{
    args::{DecisionArg, Release},
    context::Context,
    failure::{Failure, USAGE},
    from_marks, history, machine, resume,
};
use crate::{
    engine::{
        node::{Node, Phase},
        store::{Request, RunFilter},
    },
    event::Event,
    model::NodeName,
};

pub async fn run(cx: &Context, args: Release) -> Result<u8, Failure> {
    let node = match (args.from_marks, args.node) {
        (false, Some(node)) => node,
        (_, node) => return from_marks::run(cx, node.as_deref()).await,
    };
    let store = cx.store().await?;
    let name = NodeName(node);
    let mut found = None;
    for head in store.runs(&RunFilter { unfinished: true, ..RunFilter::default() }).await? {
        let fleet = history::fold(&*store, &head.run).await?;
        if let Some(node) = fleet.nodes.get(&name)
            && let Phase::Held { fault, .. } = &node.phase
        {
            found = Some((head, node.clone(), fault.clone()));
        }
    }
    let Some((head, node, fault)) = found else {
        return Err(Failure::new(USAGE, format!("{name} is not held by any run")).next("pitstop status"));
    };
    let plan = store.plan(&head.run).await?;
    let decision = match args.decision {
        Some(decision) => decision,
        // It waits for nothing but this word.
        None if node.paused() => DecisionArg::Retry,
        None => {
            let what = format!("{name} is held, so somebody has to say how it goes on: {fault}");
            return Err(Failure::new(USAGE, what).next(format!("pitstop release {name} retry, verify, return or keep-out")));
        }
    };
    match decision {
        DecisionArg::Return if !node.may_turn_back() => {
            let why = match node.past.power_touched() {
                true => "its power was already touched",
                false => "an earlier run left it out of service",
            };
            return Err(Failure::new(USAGE, format!("{name} cannot be returned: {why}, so it has to go through verify"))
                .next(format!("pitstop release {name} verify, retry or keep-out")));
        }
        DecisionArg::Verify if plan.verify_at.is_none() => {
            return Err(Failure::new(USAGE, format!("playbook {} has no verify step", plan.playbook)).next(format!("pitstop release {name} retry or keep-out")));
        }
        DecisionArg::Verify if !plan.verify_at.is_some_and(|verify| held_at(&node).is_some_and(|at| node.may_verify(at, verify))) => {
            return Err(Failure::new(USAGE, format!("{name} cannot go on from verify: it has not been serviced yet"))
                .next(format!("pitstop release {name} retry or return")));
        }
        _ => {}
    }
    let ask = Event::NodeReleased {
        node: name.clone(),
        by: machine::who(),
        decision: decision.into(),
        to: None,
        accepted: args.accept.clone(),
        reason: cx.global.reason.clone(),
    };
    let request = Request { id: uuid::Uuid::new_v4().to_string(), at: cx.clock.now(), by: machine::who(), ask };
    store.ask(&head.run, &request).await?;
    cx.say(&format!("{name} was {}: {fault}", if node.paused() { "paused" } else { "held" }));
    match &head.holder {
        Some(holder) => {
            cx.say(&format!("told {holder}, who works on run {}", head.run));
            Ok(0)
        }
        None => resume::take_up(cx, store, vec![head], &args.test).await,
    }
}

fn held_at(node: &Node) -> Option<u32> {
    match node.phase {
        Phase::Held { step, .. } => Some(step),
        _ => None,
    }
}
