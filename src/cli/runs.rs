//! `pitstop runs`: what the store knows.
use super::{args::RunsArgs, context::Context, failure::Failure};
use crate::{engine::store::RunFilter, report::runs};

pub async fn run(cx: &Context, args: RunsArgs) -> Result<u8, Failure> {
    let heads = match cx.store_url()?.exists() {
        true => cx.store().await?.runs(&RunFilter { unfinished: args.unfinished, ..RunFilter::default() }).await?,
        false => Vec::new(),
    };
    if cx.json {
        cx.data(&heads)?;
    } else if heads.is_empty() {
        cx.say(&format!("no runs in {}", cx.store_url()?));
    } else {
        print!("{}", runs::text(&heads, cx.screen, cx.clock.now()));
    }
    Ok(0)
}
