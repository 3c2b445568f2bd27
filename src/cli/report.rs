//! `pitstop report`: what a run did. Needs no inventory.
use super::{
    args::ReportArgs,
    context::Context,
    failure::{Failure, USAGE},
    resume,
};
use crate::{
    engine::store::RunFilter,
    report::{fold::fold_lines, summary},
};

pub async fn run(cx: &Context, args: ReportArgs) -> Result<u8, Failure> {
    let store = cx.store().await?;
    let head = match &args.run {
        Some(typed) => resume::one(&*store, typed).await?,
        None => store.runs(&RunFilter::default()).await?.pop().ok_or_else(|| Failure::new(USAGE, "no runs yet").next("pitstop run PLAYBOOK NODES"))?,
    };
    if args.events {
        // As stored: events of a newer program too.
        for (_, line) in store.lines(&head.run, 0).await? {
            outln!("{line}");
        }
        return Ok(0);
    }
    let plan = store.plan(&head.run).await.ok();
    let empty = || Failure::new(USAGE, format!("run {} has not begun", head.run)).next(format!("pitstop resume {}", head.run));
    let lines = store.lines(&head.run, 0).await?;
    let report = fold_lines(lines.iter().map(|(_, line)| line.as_str()), plan.as_ref()).ok_or_else(empty)?;
    if cx.json {
        cx.data(&report)?;
    } else {
        out!("{}", summary::text(&report, cx.paint()));
    }
    Ok(0)
}
