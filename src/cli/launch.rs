//! From plans to the end of their runs: locks, engines side by side, signals, progress, the summary and the exit code.
use super::{
    args::TestHooks,
    confirm, connect,
    context::Context,
    failure::{Failure, INTERNAL, LOCKED, UNFINISHED},
    inhibit::Inhibitor,
    listen::Listening,
    machine,
};
use crate::{
    drivers::cluster::Cluster,
    engine::{
        fleet::Fleet,
        run::{Ended, Engine, LEASE},
        store::{Lock, Owner, Store, crash::Crash},
    },
    event::{Event, Record, Stop},
    model::{ClusterName, LeaseAnswer, RunId},
    plan::{FORMAT, Plan},
    report::{
        exit,
        fold::fold,
        progress::{JsonLines, Observer, Plain, Terminal},
        summary,
    },
};
use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;

/// A run to work on: new, or taken up again.
pub struct Job {
    pub run: RunId,
    pub plan: Plan,
    pub digest: String,
    pub lock: Lock,
}

pub async fn locked(store: &dyn Store, cluster: &ClusterName, owner: &Owner, run: &RunId) -> Result<Lock, Failure> {
    use crate::engine::store::StoreError;
    match store.lock(cluster, owner, Some(run), LEASE).await {
        Ok(lock) => Ok(lock),
        Err(StoreError::Locked { by, since, run }) => {
            let of = run.map(|r| format!(", run {r}")).unwrap_or_default();
            Err(Failure::new(LOCKED, format!("{cluster} is held by {by} since {since}{of}")).next("pitstop status --watch, or wait for it"))
        }
        Err(other) => Err(other.into()),
    }
}

pub fn new_run() -> RunId {
    RunId(uuid::Uuid::now_v7().simple().to_string())
}

/// Test hook: the process dies at an append of its journal.
pub fn with_crash(store: Arc<dyn Store>, test: &TestHooks) -> Result<Arc<dyn Store>, Failure> {
    match &test.kill_at {
        None => Ok(store),
        Some(at) => Ok(Arc::new(Crash::new(store, at.parse().map_err(|e| Failure::new(super::failure::USAGE, format!("--kill-at: {e}")))?))),
    }
}

pub async fn all(cx: &Context, store: Arc<dyn Store>, jobs: Vec<Job>, test: &TestHooks) -> Result<u8, Failure> {
    let store = with_crash(store, test)?;
    let observer: Arc<Mutex<Box<dyn Observer>>> = Arc::new(Mutex::new(observer(cx, jobs.iter().any(|job| job.plan.ask))));
    let group = (jobs.len() > 1).then(|| new_run().0);
    let lease = test.lease.map_or(LEASE, |span| span.0);
    let mut engines = Vec::new();
    let mut held: Vec<(Arc<dyn Cluster>, String)> = Vec::new();
    for job in &jobs {
        let listener = Arc::new(Listening::new(cx, &job.run, observer.clone()));
        let (nodes, clusters) = connect::for_run(cx, &job.run, &job.plan, listener).await?;
        let leases = match leases(&*store, &clusters, &job.lock, &job.run, lease).await {
            Ok(leases) => leases,
            Err(failure) => {
                for (cluster, owner) in held {
                    cluster.drop_lease(&owner).await.ok(); // it expires by itself
                }
                // A run that has begun is still there, whatever its cluster says now.
                let begun = !store.load(&job.run, 0).await?.is_empty() && failure.code != LOCKED;
                return Err(if begun {
                    Failure { code: UNFINISHED, ..failure }.next(format!("look at cluster {}, then pitstop resume {}", job.plan.cluster, job.run))
                } else {
                    failure
                });
            }
        };
        held.extend(leases.iter().cloned().map(|c| (c, job.lock.owner.with(&job.run))));
        let cluster = clusters.get(&job.plan.cluster).cloned().ok_or_else(|| Failure::new(INTERNAL, "BUG: the plan does not hold its own cluster"))?;
        let told = observer.clone();
        engines.push(Engine {
            run: job.run.clone(),
            nodes,
            cluster,
            leases,
            lease,
            store: store.clone(),
            lock: job.lock.clone(),
            clock: cx.clock.clone(),
            publish: Box::new(move |record: &Record| told.lock().expect("BUG: poisoned").record(record)),
            start: Event::RunStarted {
                cluster: job.plan.cluster.clone(),
                group: group.clone(),
                playbook: job.plan.playbook.clone(),
                plan: job.digest.clone(),
                format: FORMAT,
                program: machine::program(),
                by: job.lock.owner.to_string(),
                reason: cx.global.reason.clone(),
                nodes: job.plan.nodes.keys().chain(job.plan.skipped.keys()).cloned().collect(),
            },
            program: machine::program(),
            confirm: Arc::new(confirm::node),
            lost: {
                let logins = cx.secrets.logins.clone();
                Arc::new(move || logins.lost())
            },
            plan: Arc::new(job.plan.clone()),
        });
    }
    for job in &jobs {
        let earlier = store.load(&job.run, 0).await?;
        observer.lock().expect("BUG: poisoned").earlier(&earlier);
    }

    let runs: Vec<&str> = jobs.iter().map(|job| job.run.short()).collect();
    let awake = Inhibitor::take(&format!("servers are out of service, run {}", runs.join(", ")));
    let (senders, receivers): (Vec<_>, Vec<_>) = engines.iter().map(|_| mpsc::channel(8)).unzip();
    let signals = tokio::spawn(listen(senders, machine::who()));
    let ends: Vec<Result<Fleet, Ended>> = futures::future::join_all(engines.iter().zip(receivers).map(|(engine, requests)| engine.run(requests))).await;
    signals.abort();
    drop(awake);
    for engine in &engines {
        for node in engine.nodes.values() {
            node.bmc.close().await;
            if let Some(host) = &node.host {
                host.close().await;
            }
        }
    }
    for (cluster, owner) in held {
        cluster.drop_lease(&owner).await.ok(); // it expires by itself
    }
    observer.lock().expect("BUG: poisoned").finish();

    let mut reports = Vec::new();
    let mut codes = Vec::new();
    for (job, end) in jobs.iter().zip(ends) {
        store.unlock(&job.lock).await.ok(); // freed with the process at the latest
        if let Err(error) = end {
            let failure = ended(&job.run, error);
            eprintln!("pitstop: {}", failure.what);
            failure.next.iter().for_each(|next| eprintln!("next: {next}"));
            codes.push(failure.code);
        }
        reports.extend(fold(&store.load(&job.run, 0).await?, Some(&job.plan)));
    }
    if !cx.json {
        reports.iter().for_each(|report| print!("{}", summary::text(report, cx.paint())));
    }
    codes.push(exit::code(&reports));
    Ok(codes.into_iter().fold(0, exit::worst))
}

/// Records as JSON on stdout, bars on a terminal, one line per change elsewhere.
/// Bars would be drawn over a question.
fn observer(cx: &Context, asks: bool) -> Box<dyn Observer> {
    match (cx.json, std::io::stderr().is_terminal() && !asks) {
        (true, _) => Box::new(JsonLines::new(std::io::stdout())),
        (false, true) => Box::new(Terminal::new(cx.paint())),
        (false, false) => Box::new(Plain::new(std::io::stderr())),
    }
}

/// Renewals under way when a process died: one, and what it repeated.
const DROPS: u32 = 3;

/// The cluster's own lock, where it can carry one: a current one of another owner is exit 8 whatever our store says.
/// One that a process of our own store left behind is taken over: we hold that store's lock, so its holder is dead.
async fn leases(
    store: &dyn Store,
    clusters: &BTreeMap<ClusterName, Arc<dyn Cluster>>,
    lock: &Lock,
    ours: &RunId,
    lease: Duration,
) -> Result<Vec<Arc<dyn Cluster>>, Failure> {
    let us = lock.owner.with(ours);
    let mut taken = Vec::new();
    for (name, cluster) in clusters {
        let mut answer = cluster.lease(&us, lease).await?;
        // Again, because the last word of a process that was killed may reach a busy API server after ours.
        for _ in 0..DROPS {
            let LeaseAnswer::Held { by, .. } = &answer else { break };
            let Some(run) = predecessor(&us, by).filter(|run| *name == lock.cluster || run == ours) else { break };
            if store.plan(&run).await.is_err() {
                break;
            }
            cluster.drop_lease(by).await?;
            answer = cluster.lease(&us, lease).await?;
        }
        match answer {
            LeaseAnswer::Ours => taken.push(cluster.clone()),
            LeaseAnswer::Unsupported => {}
            LeaseAnswer::Held { by, since } => {
                return Err(Failure::new(LOCKED, format!("{name} is held by {by} since {since}, says the lock in the cluster itself"))
                    .next("pitstop status, or wait for it"));
            }
        }
    }
    Ok(taken)
}

/// The run of `by`, if it may have been a process on this machine. On another one the store may be a copy, and the holder alive.
fn predecessor(us: &str, by: &str) -> Option<RunId> {
    fn parts(owner: &str) -> Option<(&str, &str)> {
        let (process, run) = owner.rsplit_once(", run ")?;
        let (who, _) = process.rsplit_once(" (pid ")?;
        Some((who.rsplit_once('@')?.1, run))
    }
    let ((here, _), (there, run)) = (parts(us)?, parts(by)?);
    (here == there).then(|| RunId(run.to_owned()))
}

fn ended(run: &RunId, error: Ended) -> Failure {
    let code = match &error {
        Ended::Store(crate::engine::store::StoreError::LostLock { .. }) | Ended::LeaseLost { .. } => UNFINISHED,
        _ => INTERNAL,
    };
    Failure::new(code, format!("run {run} ended early: {error}")).next(format!("pitstop resume {run}"))
}

/// First Ctrl-C: admit no more. Second, and SIGTERM: let running steps settle. Third: now; safe, intents are on disk.
async fn listen(engines: Vec<mpsc::Sender<Event>>, by: String) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
    let mut asked = 0;
    loop {
        let terminated = tokio::select! {
            _ = interrupt.recv() => false,
            _ = terminate.recv() => true,
        };
        // SIGTERM begins where the second Ctrl-C stands.
        asked = if terminated { (asked + 1).max(2) } else { asked + 1 };
        let (how, told) = match asked {
            1 => (Stop::Drain, "stopping: no further node is admitted, nodes in work go through; Ctrl-C again to end after the running steps"),
            2 => (Stop::Settle, "stopping after the running steps; the rest waits for pitstop resume; once more to end now"),
            _ => {
                eprintln!("ended; nothing is lost: pitstop resume");
                std::process::exit(i32::from(UNFINISHED));
            }
        };
        eprintln!("{told}");
        for engine in &engines {
            engine.send(Event::StopRequested { how: how.clone(), by: by.clone() }).await.ok(); // one that is done needs no telling
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_is_a_predecessor() {
        let us = "ops@deploy-1 (pid 7), run new";
        assert_eq!(predecessor(us, "root@deploy-1 (pid 4), run old"), Some(RunId("old".into())));
        assert_eq!(predecessor(us, "ops@deploy-2 (pid 4), run old"), None);
        assert_eq!(predecessor(us, "ops@deploy-1 (pid 4)"), None, "names no run");
        assert_eq!(predecessor(us, "kube-controller-manager"), None);
    }
}
