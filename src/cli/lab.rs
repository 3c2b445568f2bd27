//! `pitstop lab`: keeps the simulated rack up, for every other command to be tried against from a second terminal.
use super::{
    args::Lab,
    context::Context,
    failure::{CONFIGURATION, Failure, INTERNAL, USAGE},
};
use crate::lab::{
    clusters::{self, Kind},
    faults::{FAULTS, Fault},
    rack::Pace,
    setup::{self, Order},
};

/// The faults by name; `list` prints them.
pub fn faults(names: &[String]) -> Result<Option<Vec<Fault>>, Failure> {
    if names.iter().any(|n| n == "list") {
        FAULTS.iter().for_each(|(name, _, about)| outln!("{name:16} {about}"));
        return Ok(None);
    }
    names.iter().map(|n| n.parse()).collect::<Result<_, _>>().map(Some).map_err(|e| Failure::new(USAGE, e).next("--fault list"))
}

/// The kind of cluster that `--cluster` names.
pub fn cluster(name: Option<&str>) -> Result<Option<&'static Kind>, Failure> {
    name.map(clusters::kind).transpose().map_err(|e| Failure::new(USAGE, e))
}

pub async fn run(cx: &Context, args: Lab) -> Result<u8, Failure> {
    let Some(faults) = faults(&args.fault)? else { return Ok(0) };
    if args.nodes == 0 || args.nodes > 5000 {
        return Err(Failure::new(USAGE, "--nodes takes a number from 1 to 5000"));
    }
    let order = Order { nodes: args.nodes, faults, only: cluster(args.cluster.as_deref())?, pace: Pace::default() };
    let mut lab =
        setup::start(&args.dir, &order).await.map_err(|e| Failure::new(CONFIGURATION, format!("the lab cannot start in {}: {e}", args.dir.display())))?;
    if cx.json {
        cx.data(&serde_json::json!({ "inventory": lab.inventory, "record": lab.record, "nodes": lab.nodes.iter().map(|(n, _)| n).collect::<Vec<_>>() }))?;
    }
    cx.say(&format!("a rack of {} simulated machines is up, a hundred times as fast as life; its own record is {}", lab.nodes.len(), lab.record.display()));
    cx.say(&format!("next, in a second terminal: pitstop -i {} check", lab.inventory.display()));
    tokio::select! {
        error = lab.broken() => Err(Failure::new(INTERNAL, format!("a server of the lab ended: {error}"))),
        () = ended() => Ok(0),
    }
}

async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
