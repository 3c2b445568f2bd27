//! How a node stands: in whose hands, what still runs there, what keeps it there, and what would bring it closer to empty.
use super::{
    NodeMaintenance, order,
    resource::{self, Maintenance, State},
};
use crate::{
    drivers::cluster::{Ask, kube_api::*},
    model::{Blocker, Fault, FaultKind, Here, Member, NodeView, Unmovable, Workload, marks},
};
use k8s_openapi::api::core::v1::Pod;

pub fn is_ours(mark: Option<&str>, ask: &Ask) -> bool {
    // What an earlier run left and this one has taken over is ours, mark and all.
    mark.is_some_and(|mark| ask.run.iter().chain(&ask.inherited).any(|run| run.0 == mark))
}

/// So many pods are asked about one by one, why they stay.
const ASKED_WHY: usize = 10;

impl NodeMaintenance {
    pub async fn view(&self, node: &str, ask: &Ask) -> Result<NodeView, Fault> {
        let (kube, _) = KubeNode::read(&self.api, node).await?.ok_or_else(|| KubeNode::missing(node))?;
        let (heartbeat, (pods, server_now), (held, _)) =
            futures::try_join!(self.heartbeats.stale(&self.api, node), list_pods(&self.api, node), resource::all(&self.api))?;
        let (launchers, pods) = kubevirt::split(pods);
        let mut left = classify(&pods, Policy { delete_emptydir_data: self.config.delete_emptydir_data, force: self.config.force });
        let mine: Vec<&Maintenance> = held.iter().filter(|m| m.node() == node).collect();
        let ours = mine.iter().find(|m| is_ours(m.run(), ask));
        let state = ours.map(|m| m.state(server_now, self.config.operator_timeout.0));

        let sets = self.around.orphans(&self.api, &pods, self.config.force, &mut left).await?;
        let (mut blockers, mut moves, mut impossible, mut notes) =
            (Vec::new(), Vec::new(), std::mem::take(&mut left.impossible), std::mem::take(&mut left.notes));
        if ask.unmovable != Unmovable::Refuse && !impossible.is_empty() {
            notes.push("the operator cannot stop a pod and start it again: `unmovable` speaks of VMs here".into());
        }
        let budgets = match left.must.iter().all(|p| leaving(p)) {
            true => Vec::new(),
            false => match budgets(&self.api).await {
                Ok(budgets) => budgets,
                Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Unable) => {
                    notes.push(format!("PodDisruptionBudgets were not looked at: {f}"));
                    Vec::new()
                }
                Err(f) => return Err(f),
            },
        };
        let mut workloads: Vec<Workload> = left
            .must
            .iter()
            .map(|pod| Workload { kind: "pod".into(), name: name(pod), leaving: leaving(pod), stuck: stuck(pod, &budgets, server_now) })
            .collect();
        if matches!(state, Some(State::Draining(_) | State::SaysDone)) {
            self.ask_why(&left.must, &mut workloads).await;
        }
        blockers.extend(workloads.iter().filter_map(|w| w.stuck.as_ref().map(|why| Blocker::new(format!("pod {}", w.name), why))));

        let foreign = match (&ours, &state) {
            (Some(_), Some(State::Leaving)) | (None, _) => None,
            _ => resource::foreign_holder(&self.api, &self.config.operator_lease_namespace, node).await?,
        };
        let quorum = quorum(&self.api, &kube, &pods, self.config.allow_control_plane_outage).await?;
        // The operator looks at it on OpenShift alone. Without a majority nothing is begun.
        let open = quorum.not_now.is_none();
        blockers.extend(quorum.not_now);
        let scene = Scene { api: &self.api, kube: &kube, pods: &pods, budgets: &budgets };
        if ours.is_none() && !is_ours(kube.run(), ask) {
            impossible.extend(quorum.never);
            self.around.entering(scene, By::Operator, &mut left, &mut blockers, ask).await?;
            impossible.append(&mut left.impossible);
            notes.append(&mut left.notes);
        }
        let contested = foreign.is_some() || matches!(state, Some(State::Contested(_) | State::Failed(_)));
        let marked = is_ours(kube.run(), ask);
        let taken = marked && kube.unschedulable() && !contested;
        let guests = kubevirt::look(&self.api, node, &launchers, ask, kubevirt::Hold { taken, evicts: false }).await?;
        // The operator would shut some of them down, and nobody would start those again: what has to be stopped is stopped before it comes.
        let stopping = !guests.moves.is_empty() || launchers.iter().any(leaving);
        let mut in_force = false;
        match (ours, state) {
            _ if kube.run().is_some() && !marked => {
                let run = kube.run().unwrap_or_default();
                blockers.push(Blocker::new(format!("node {node}"), format!("marked by pitstop run {run}: finish or release that one first")));
            }
            (None, _) if !mine.is_empty() => {
                let told: Vec<String> = mine.iter().map(|m| m.told()).collect();
                impossible.push(Blocker::new(
                    format!("node {node}"),
                    format!("held by {}, which is not ours: whoever made it must end it first", told.join(" and ")),
                ));
            }
            (None, _) if marked && !kube.unschedulable() => moves.push(order::mark(node, &kube, Vec::new(), ask)),
            (None, _) if marked && !stopping => moves.push(order::create(node, ask)),
            (None, _) if marked => {}
            (None, _) if !open => {}
            (None, _) => {
                let evacuating = kubevirt::evacuating(&self.api, node).await?;
                moves.push(order::mark(node, &kube, evacuating, ask));
            }
            (Some(_), _) if foreign.is_some() => {
                let holder = foreign.unwrap_or_default();
                let why = format!("its maintenance lease is held by {holder}, who fences this node: its power must be left alone");
                impossible.push(Blocker::new(format!("node {node}"), why));
            }
            (Some(ours), Some(State::Contested(why) | State::Failed(why))) => {
                impossible.push(Blocker::new(ours.told(), format!("{why}; it must be deleted and asked for anew")));
            }
            (Some(ours), Some(State::Leaving)) => blockers.push(Blocker::new(ours.told(), "is being deleted")),
            (Some(ours), Some(State::Silent(why))) => {
                blockers.push(Blocker::new(ours.told(), format!("{why}: see to the operator, kubectl get pods -A | grep node-maintenance")));
            }
            (Some(ours), Some(State::Draining(how))) => {
                let error = ours.last_error().filter(|_| workloads.iter().any(|w| w.stuck.is_none()));
                blockers.push(Blocker::new(ours.told(), error.map_or(how.clone(), |e| format!("{how}; its last error: {e}"))));
            }
            // It corrects nothing any more, not even an uncordon.
            (Some(_), Some(State::SaysDone)) if !kube.unschedulable() => {
                moves.push(order::mark(node, &kube, Vec::new(), ask));
            }
            (Some(ours), Some(State::SaysDone)) => {
                in_force = true;
                if workloads.iter().any(|w| !w.leaving) || !launchers.is_empty() {
                    notes.push(format!("{} says Succeeded, and pods are still here: it is not believed", ours.told()));
                    blockers.extend(
                        workloads
                            .iter()
                            .filter(|w| w.stuck.is_none())
                            .map(|w| Blocker::new(format!("pod {}", w.name), "still here, though its NodeMaintenance says Succeeded")),
                    );
                }
            }
            (Some(_), None) => {}
        }

        moves.extend(guests.moves.into_iter().map(order::guest));
        workloads.extend(guests.workloads);
        blockers.extend(guests.blockers);
        impossible.extend(guests.impossible);
        notes.extend(guests.notes);

        let mut not_ready: Vec<String> = kube.not_ready().map(|(why, _)| why).into_iter().collect();
        not_ready.extend(heartbeat);
        if marked {
            let empty = in_force && left.must.is_empty() && launchers.is_empty();
            let (lacks, attached) = self.around.taken(scene, &mut left, empty, sets.as_ref()).await?;
            not_ready.extend(lacks);
            blockers.extend(attached);
            notes.append(&mut left.notes);
        }
        Ok(NodeView {
            here: Here { addresses: kube.reached_at(), guest_uuids: guests.uuids, stays: left.stays },
            identity: kube.identity(),
            boot: kube.boot(),
            ready: not_ready.is_empty(),
            not_ready,
            enabled: !kube.unschedulable() && kube.maintenance_taint().is_none() && mine.is_empty(),
            in_maintenance: in_force && kube.unschedulable(),
            marked_by: ours.and_then(|m| m.run()).or(kube.run()).map(str::to_owned),
            workloads,
            fixed: left.fixed,
            moves,
            blockers,
            impossible,
            notes,
        })
    }

    /// The operator says only that a pass has ended: the API server itself is asked, without doing it, why a pod may not go.
    async fn ask_why(&self, pods: &[&Pod], workloads: &mut [Workload]) {
        let silent = pods.iter().zip(workloads).filter(|(_, w)| !w.leaving && w.stuck.is_none());
        for (pod, workload) in silent.take(ASKED_WHY) {
            // Only words hang on it.
            if let Ok(reply) = dry_run_eviction(&self.api, pod).await
                && !reply.ok()
                && reply.code != 404
            {
                workload.stuck = Some(reply.status().message);
            }
        }
    }
}

pub fn member(kube: &KubeNode, held: &[Maintenance]) -> Member {
    let mine: Vec<&Maintenance> = held.iter().filter(|m| m.node() == kube.name()).collect();
    let run = mine.iter().find_map(|m| m.run()).or(kube.run());
    let maintained = mine.iter().map(|m| m.told()).reduce(|a, b| format!("{a}, {b}"));
    let reason = kube.annotation(marks::REASON).map(|r| format!(" ({r})")).unwrap_or_default();
    let cordoned = (mine.is_empty() && kube.unschedulable()).then(|| match kube.run() {
        Some(run) => format!("SchedulingDisabled by pitstop run {run}{reason}"),
        None => "SchedulingDisabled".into(),
    });
    let tainted = kube.maintenance_taint().filter(|_| mine.is_empty() && !kube.unschedulable()).map(|taint| format!("tainted {taint}"));
    let (not_ready, since) = kube.not_ready().unzip();
    let why: Vec<String> = [not_ready, maintained, cordoned, tainted].into_iter().flatten().collect();
    Member {
        name: kube.name().to_owned(),
        out: (!why.is_empty()).then(|| why.join(", ")),
        run: run.map(str::to_owned),
        identity: kube.identity(),
        since: since.flatten().or_else(|| mine.iter().find_map(|m| m.created().map(str::to_owned))).or_else(|| kube.cordoned_since()),
    }
}
