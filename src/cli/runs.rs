//! `pitstop runs`: what the store knows.
use super::{args::RunsArgs, context::Context, failure::Failure};
use crate::{
    engine::store::RunFilter,
    report::{
        fold::fold_lines,
        runs::{self, RunRow},
    },
};

pub async fn run(cx: &Context, args: RunsArgs) -> Result<u8, Failure> {
    let mut rows = Vec::new();
    if cx.store_url()?.exists() {
        let store = cx.store().await?;
        for head in store.runs(&RunFilter { unfinished: args.unfinished, ..RunFilter::default() }).await? {
            let lines = store.lines(&head.run, 0).await?;
            let report = fold_lines(lines.iter().map(|(_, line)| line.as_str()), None);
            rows.extend(report.map(|r| RunRow::of(&r, head.holder.map(|h| h.to_string()))));
        }
    }
    if cx.json {
        cx.data(&rows)?;
    } else if rows.is_empty() {
        cx.say(&format!("no runs in {}", cx.store_url()?));
    } else {
        out!("{}", runs::text(&rows, cx.clock.now()));
    }
    Ok(0)
}
