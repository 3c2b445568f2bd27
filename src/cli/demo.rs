//! `pitstop demo`: the whole job on the embedded lab and a private store.
use super::{
    args::{Demo, RunArgs, Selection, TestHooks},
    context::Context,
    failure::{CONFIGURATION, Failure},
    lab, run,
};
use crate::lab::{
    rack::Pace,
    setup::{self, Order},
};
use std::path::PathBuf;

const NODES: usize = 6;

pub async fn run(cx: &Context, args: Demo) -> Result<u8, Failure> {
    let Some(faults) = lab::faults(&args.fault)? else { return Ok(0) };
    let only = lab::cluster(args.cluster.as_deref())?;
    let dir = private_dir()?;
    let order = Order { nodes: NODES, faults, only, pace: Pace::default() };
    let lab = setup::start(&dir, &order).await.map_err(|e| Failure::new(CONFIGURATION, format!("the lab cannot start in {}: {e}", dir.display())))?;
    cx.say(&format!("Simulated: a rack of {NODES} machines in this process, a hundred times as fast as life."));
    let clusters = only.map_or("Kubernetes, VergeOS", |kind| kind.name);
    let by_commands = if clusters == "command" { "; the cluster is asked by real commands" } else { "" };
    let clusters = if by_commands.is_empty() { format!(", {clusters}") } else { String::new() };
    cx.say(&format!("Real: every byte between pitstop and them, over HTTPS (Redfish{clusters}), RMCP+ and SSH on loopback sockets{by_commands}."));
    let mut global = cx.global.clone();
    global.inventory = Some(lab.inventory.clone());
    global.store = Some(format!("sqlite:{}", dir.join("pitstop.db").display()));
    let inner = Context::new(global);
    let everything = Selection { all: true, ..Selection::default() };
    let run_args = RunArgs {
        playbook: Some("reboot".into()),
        selection: everything,
        plan: None,
        resume_first: false,
        relax: Vec::new(),
        ask: false,
        pause_after_canary: false,
        test: TestHooks::default(),
    };
    let code = run::run(&inner, run_args).await?;
    cx.say(&format!("The rack's own record: {}   all runs: pitstop --store sqlite:{} report", lab.record.display(), dir.join("pitstop.db").display()));
    cx.say("next: pitstop demo --fault list   what pitstop does when things go wrong");
    cx.say("      pitstop lab --dir lab       the same rack, kept up, for every other command");
    Ok(code)
}

/// Of this demo alone; left behind, because the report in it is what one wants to read afterwards.
fn private_dir() -> Result<PathBuf, Failure> {
    let dir = std::env::temp_dir().join(format!("pitstop-demo-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&dir).map_err(|e| Failure::new(CONFIGURATION, format!("cannot make {}: {e}", dir.display())))?;
    Ok(dir)
}
