//! `pitstop stop`: asks the engine that works on a run. With no engine there is nothing to stop.
use super::{
    args::StopArgs,
    context::Context,
    failure::{Failure, UNFINISHED, USAGE},
    machine, resume,
};
use crate::{
    engine::store::{Request, RunFilter, Store},
    event::{Event, Stop},
};

pub async fn run(cx: &Context, args: StopArgs) -> Result<u8, Failure> {
    let store = cx.store().await?;
    let head = match &args.run {
        Some(typed) => resume::one(&*store, typed).await?,
        None => {
            let mut at_work: Vec<_> = store.runs(&RunFilter { unfinished: true, ..RunFilter::default() }).await?.into_iter().filter(|h| h.holder.is_some()).collect();
            match (at_work.len(), at_work.pop()) {
                (1, Some(head)) => head,
                (0, _) => return Err(Failure::new(USAGE, "no run is at work: nothing to stop").next("pitstop runs")),
                (n, _) => return Err(Failure::new(USAGE, format!("{n} runs are at work: name one")).next("pitstop runs --unfinished")),
            }
        }
    };
    if head.finished {
        return Err(Failure::new(USAGE, format!("run {} is finished: nothing to stop", head.run)).next(format!("pitstop report {}", head.run)));
    }
    let Some(holder) = &head.holder else {
        return Err(Failure::new(UNFINISHED, format!("no engine works on run {}: there is nothing to stop, its nodes stay as they are", head.run))
            .next(format!("pitstop resume {}", head.run)));
    };
    let how = match (args.give_back, args.settle) {
        (true, _) => Stop::GiveBack,
        (_, true) => Stop::Settle,
        _ => Stop::Drain,
    };
    let what = match how {
        Stop::Drain => "admits no further node and takes those in work through",
        Stop::Settle => "ends after its running steps",
        Stop::GiveBack => "returns the nodes that are not yet reset",
    };
    let ask = Event::StopRequested { how, by: machine::who() };
    let request = Request { id: uuid::Uuid::new_v4().to_string(), at: cx.clock.now(), by: machine::who(), ask };
    store.ask(&head.run, &request).await?;
    if cx.json {
        cx.data(&serde_json::json!({ "run": head.run, "asked": holder.to_string(), "will": what }))?;
    }
    cx.say(&format!("asked {holder}: run {} {what}", head.run));
    Ok(0)
}
