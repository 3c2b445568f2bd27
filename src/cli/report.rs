//! `pitstop report`: what a run did. Needs no inventory.
use super::{
    args::ReportArgs,
    context::Context,
    failure::{Failure, USAGE},
    resume,
};
use crate::{
    engine::store::{RunFilter, RunHead},
    report::{fold::fold_lines, summary},
};

pub async fn run(cx: &Context, args: ReportArgs) -> Result<u8, Failure> {
    let store = cx.store().await?;
    let heads = match &args.run {
        Some(typed) => vec![resume::one(&*store, typed).await?],
        None => last_command(store.runs(&RunFilter::default()).await?),
    };
    if heads.is_empty() {
        return Err(Failure::new(USAGE, "no runs yet").next("pitstop run PLAYBOOK NODES"));
    }
    for head in heads {
        if args.events {
            // As stored: events of a newer program too.
            for (_, line) in store.lines(&head.run, 0).await? {
                outln!("{line}");
            }
            continue;
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
    }
    Ok(0)
}

/// A command over several clusters starts a run in each: together they are what was last done.
fn last_command(mut all: Vec<RunHead>) -> Vec<RunHead> {
    let Some(last) = all.pop() else { return Vec::new() };
    let mut same: Vec<RunHead> = all.into_iter().filter(|r| last.group.is_some() && r.group == last.group).collect();
    same.push(last);
    same
}
