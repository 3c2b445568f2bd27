//! `pitstop check`: can every node be reached, and may we act? Reads only.
use super::{args::Selection, connect::Wiring, context::Context, failure::Failure, history, plan};
use crate::{
    plan::{Input, PlaybookInput},
    report::check_screen,
    survey,
};
use std::{collections::BTreeMap, time::Instant};

pub async fn run(cx: &Context, selection: Selection) -> Result<u8, Failure> {
    let inventory = cx.inventory()?;
    // To look at everything harms nobody: an empty selection means all, here alone.
    let all = selection.nodes.is_empty() && selection.filter.is_none();
    let nodes = cx.selected(&inventory, &Selection { all: selection.all || all, ..selection })?;
    let begun = Instant::now();
    let doors = Wiring::of_inventory(&inventory, &nodes).doors(cx).await;
    let survey = survey::take(cx.clock.now(), &doors, &[], &cx.ask()).await;
    let history = match cx.store_url()?.exists() {
        true => history::of(&*cx.store().await?, &plan::clusters_of(&inventory, &nodes), cx.clock.now()).await?,
        false => BTreeMap::new(),
    };
    // The planner's verdict, under a playbook that asks for nothing.
    let input = Input::new(&inventory, nodes.iter().cloned(), PlaybookInput::none(), &survey, history, cx.clock.now());
    let checked = check_screen::check(&input, begun.elapsed());
    if cx.json {
        cx.data(&checked)?;
    } else {
        out!("{}", checked.text(cx.screen));
    }
    Ok(checked.exit_code())
}
