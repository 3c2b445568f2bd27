//! `pitstop check`: can every node be reached, and may we act? Reads only.
use super::{args::Selection, connect::Wiring, context::Context, failure::Failure, history, plan};
use crate::{
    plan::{Input, PlaybookInput},
    report::check_screen,
    survey::{self, Doors},
};
use std::{
    collections::BTreeMap,
    future::Future,
    io::IsTerminal,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

pub async fn run(cx: &Context, selection: Selection) -> Result<u8, Failure> {
    let inventory = cx.inventory()?;
    // To look at everything harms nobody: an empty selection means all, here alone.
    let all = selection.nodes.is_empty() && selection.filter.is_none();
    let nodes = cx.selected(&inventory, &Selection { all: selection.all || all, ..selection })?;
    let begun = Instant::now();
    let doors = Wiring::of_inventory(&inventory, &nodes).doors(cx).await;
    let survey = watched(&doors, survey::take(cx.clock.now(), &doors, &[], &cx.ask())).await;
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

/// With a bar on a terminal, where there is enough to wait for.
async fn watched<T>(doors: &Doors, taking: impl Future<Output = T>) -> T {
    if doors.nodes.len() < FEW || !std::io::stderr().is_terminal() {
        return taking.await;
    }
    let bar = indicatif::ProgressBar::new(doors.nodes.len() as u64);
    bar.set_style(indicatif::ProgressStyle::with_template("check {bar:40} {pos} of {len} nodes, {eta} left").expect("BUG: a fixed template"));
    let counting = async {
        loop {
            bar.set_position(doors.looked_at.load(Ordering::Relaxed) as u64);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let taken = tokio::select! {
        taken = taking => taken,
        () = counting => unreachable!("BUG: counting has no end"),
    };
    bar.finish_and_clear();
    taken
}
/// Looked at before anybody could read the bar.
const FEW: usize = 20;
