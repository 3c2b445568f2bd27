//! From Palette's objects to a judgement: pure.
use super::{
    OnRemediation,
    rows::{Cluster, Machine, Mode, Pod, Remediation},
    witness::Kube,
};
use crate::model::{Act, Blocker, Here, Identity, Loan, LoanId, Member, NodeView, Repeat, Workload};
use serde_json::json;

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub machine: Machine,
    pub cluster: Cluster,
    /// Only while the node is in service: what has to be known before it goes.
    pub before: Option<Before>,
    /// Palette's own list of the node's pods; none where the cluster itself is asked.
    pub pods: Vec<Pod>,
    pub kube: Option<Kube>,
    /// How often Palette has been asked, since the node was taken, to read the pods anew.
    pub refreshed: u32,
    /// The uid that we took, if this name now is another machine, or none.
    pub replaced: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Before {
    pub peers: Vec<Machine>,
    pub remediation: Result<Remediation, String>,
    pub policy: OnRemediation,
    /// We had it switched off, and that was accepted.
    pub switched_off: bool,
}

/// A request to read the pods anew is answered before that is done, and nothing says when it is. The engine puts a growing while between two of the
/// same, so that what is believed in the end was read after the node was emptied.
const REFRESHES: u32 = 3;

pub fn view(seen: &Seen) -> NodeView {
    let (machine, mode) = (&seen.machine, seen.machine.mode());
    let uncordoned = seen.kube.as_ref().is_none_or(|k| !k.cordoned);
    let enabled = mode == Mode::InService && uncordoned;
    let mut view = NodeView {
        here: Here::default(),
        identity: identity(machine, seen.kube.as_ref()),
        boot: seen.kube.as_ref().and_then(|k| k.boot.clone()),
        ready: false,
        not_ready: not_ready(machine, seen.kube.as_ref()),
        enabled,
        // Both must say so, where both are asked.
        in_maintenance: mode == Mode::In && seen.kube.as_ref().is_none_or(|k| k.cordoned),
        // Palette has no room for a mark.
        marked_by: None,
        workloads: workloads(seen),
        fixed: seen.kube.as_ref().map_or(0, |k| k.fixed),
        moves: Vec::new(),
        blockers: Vec::new(),
        impossible: Vec::new(),
        notes: seen.kube.iter().flat_map(|k| k.notes.clone()).collect(),
    };
    if enabled {
        view.not_ready.extend(cluster_not_well(&seen.cluster));
    }
    let says = format!("{} {}", machine.maintenance.action, machine.maintenance.state);
    let why = if machine.maintenance.message.is_empty() { "no reason given".to_owned() } else { machine.maintenance.message.clone() };
    let block = |view: &mut NodeView, why: String| view.blockers.push(Blocker::new(&machine.name, why));
    if let Some(uid) = &seen.replaced {
        view.impossible.push(Blocker::new(&machine.name, format!("Palette replaced it: machine {uid} is gone; stop and find out why (remediation, repave)")));
        view.not_ready.push(format!("Palette replaced machine {uid}"));
        view.in_maintenance = false;
    } else if machine.goes_away() {
        view.impossible.push(Blocker::new(&machine.name, format!("Palette takes it away (it is {}): remediation or a repave", machine.state)));
    } else {
        match mode {
            Mode::EnterFailed => view
                .impossible
                .push(Blocker::new(&machine.name, format!("Palette failed to empty it: {why} (usual: a PodDisruptionBudget, no capacity, agent offline)"))),
            Mode::LeaveFailed => view.impossible.push(Blocker::new(&machine.name, format!("Palette failed to uncordon it: {why}"))),
            Mode::Entering | Mode::Leaving => {
                let beat = machine.heartbeat.as_ref().map(|at| format!("; its agent was last heard at {at}")).unwrap_or_default();
                let message = if machine.maintenance.message.is_empty() { String::new() } else { format!(": {}", machine.maintenance.message) };
                block(&mut view, format!("{}{message}{beat}", says.trim()));
            }
            Mode::Odd => block(&mut view, format!("its maintenance says `{}`, which is not known here", says.trim())),
            Mode::In if !view.in_maintenance => block(&mut view, "Palette says cordoned, the cluster does not show SchedulingDisabled".into()),
            Mode::In => {
                view.notes.push("in maintenance: not backed up, not scanned, and add-on changes are not applied".into());
                if seen.kube.is_none() && seen.refreshed < REFRESHES {
                    view.blockers.push(Blocker::new(&machine.name, "Palette's list of its pods may be old, and is read anew"));
                    view.moves.push(refresh());
                }
            }
            Mode::InService if !uncordoned => block(&mut view, "somebody cordoned it in the cluster itself, past Palette: `kubectl uncordon` first".into()),
            Mode::InService => before_entering(seen, &mut view),
        }
    }
    view.ready = view.not_ready.is_empty();
    view
}

fn before_entering(seen: &Seen, view: &mut NodeView) {
    let machine = &seen.machine;
    let Some(before) = &seen.before else { return };
    let in_service = |m: &&Machine| m.ready && m.mode() == Mode::InService && !m.goes_away();
    let peers = |control_plane: bool| before.peers.iter().filter(|m| m.pool.control_plane == control_plane).filter(in_service).count();
    let role = |control_plane: bool| if control_plane { "control-plane" } else { "worker" };
    let own = machine.pool.control_plane;
    if peers(own) == 0 {
        view.impossible.push(Blocker::new(&machine.name, format!("no other {} node is in service to take over", role(own))));
    }
    // Written down as a prerequisite; whether it binds when the other kind is emptied is not.
    if peers(!own) < 2 {
        view.notes.push(format!("Palette asks for more than one {} node: {} in service", role(!own), peers(!own)));
    }
    let others: Vec<&str> = before.peers.iter().filter(|m| m.maintenance.action == "cordon").map(|m| m.name.as_str()).collect();
    if !others.is_empty() {
        view.notes.push(format!("also in maintenance: {}", others.join(", ")));
    }
    if let Some(upgrade) = &seen.cluster.upgraded {
        view.notes.push(format!("latest upgrade that Palette notes: {upgrade}"));
    }
    view.notes.push("Palette asks nothing about room elsewhere, and nothing moves back by itself afterwards".into());
    let hazard = "Palette deletes a node that is not ready for about 10 minutes";
    if !seen.cluster.is_never_remediated() {
        match (&before.remediation, before.policy) {
            (Ok(now), _) if now.is_off() => {}
            (Ok(_), OnRemediation::DisableAndRestore) if before.switched_off => {
                view.impossible.push(Blocker::new("auto-remediation", format!("Palette accepted that it is disabled and does not show it: {hazard}")))
            }
            (Ok(now), OnRemediation::DisableAndRestore) if view.impossible.is_empty() => return view.moves.push(disable(now)),
            (Ok(_), OnRemediation::DisableAndRestore) => {}
            (Ok(_), OnRemediation::Refuse) => view.impossible.push(Blocker::new(
                "auto-remediation",
                format!(
                    "is on, or cannot be ruled out: {hazard}; disable it in the project, or `remediation = \"disable-and-restore\"` in the cluster's table"
                ),
            )),
            (Err(why), _) => view.impossible.push(Blocker::new("auto-remediation", format!("cannot be read ({why}): {hazard}"))),
        }
    }
    if view.impossible.is_empty() && view.not_ready.is_empty() {
        view.moves.push(enter(machine));
    }
}

fn workloads(seen: &Seen) -> Vec<Workload> {
    if let Some(kube) = &seen.kube {
        return kube.workloads.clone();
    }
    let machine = &seen.machine;
    let here = |p: &&Pod| p.machine.as_deref() == Some(&machine.uid) || p.node.as_deref().is_some_and(|node| machine.names().any(|name| name == node));
    // It runs no more: nothing to lose. A DaemonSet's pod tolerates the cordon.
    let counts = |p: &&Pod| !matches!(p.phase.as_str(), "Succeeded" | "Failed") && !p.owners.iter().any(|o| o == "DaemonSet");
    let workload = |p: &Pod| Workload {
        kind: "pod".into(),
        name: format!("{}/{}", p.namespace, p.name),
        leaving: false,
        stuck: p.owners.is_empty().then(|| "Palette names no owner: a mirror pod or a bare one; only the cluster itself tells: give `kubeconfig`".into()),
    };
    seen.pods.iter().filter(here).filter(counts).map(workload).collect()
}

fn enter(machine: &Machine) -> Act {
    // Freely: it is idempotent by value, and offered only while the node is seen to be in service.
    let mut act = Act::new("cluster", format!("enter maintenance {}", machine.name), Repeat::Freely);
    let place = json!({ "machine": machine.uid, "pool": machine.pool.name, "name": machine.name });
    act.args = json!({ "do": "cordon", "at": place });
    act.borrows = Some(Loan {
        id: LoanId("maintenance".into()),
        to: "cluster".into(),
        owed: format!("leave maintenance {}", machine.name),
        before: json!({ "maintenance": place }),
        first: false,
    });
    act
}

fn disable(now: &Remediation) -> Act {
    let mut act = Act::new("cluster", "disable auto-remediation of the project", Repeat::Freely);
    act.args = json!({ "do": "remediation", "disabled": true, "enabled": true });
    act.borrows = Some(Loan {
        id: LoanId("remediation".into()),
        to: "cluster".into(),
        owed: "restore auto-remediation of the project".into(),
        before: json!({ "remediation": { "disabled": now.project.0, "enabled": now.project.1 } }),
        first: false,
    });
    act
}

fn refresh() -> Act {
    let mut act = Act::new("cluster", "have Palette read the pods anew", Repeat::Freely);
    act.args = json!({ "do": "refresh" });
    act
}

fn not_ready(machine: &Machine, kube: Option<&Kube>) -> Vec<String> {
    let mut why = Vec::new();
    if !machine.ready {
        why.push("Palette does not call it ready".into());
    }
    if machine.state != "Running" {
        why.push(format!("machine is {}", if machine.state.is_empty() { "in no known state" } else { &machine.state }));
    }
    why.extend(machine.unwell.iter().cloned());
    why.extend(kube.and_then(|k| k.not_ready.clone()));
    why
}

fn cluster_not_well(cluster: &Cluster) -> Vec<String> {
    let mut why = Vec::new();
    if !cluster.state.eq_ignore_ascii_case("running") {
        why.push(format!("the cluster is {}", if cluster.state.is_empty() { "in no known state" } else { &cluster.state }));
    }
    if matches!(cluster.repave.as_str(), "Pending" | "Approved") {
        why.push(format!("a repave is {}", cluster.repave));
    }
    why
}

fn identity(machine: &Machine, kube: Option<&Kube>) -> Identity {
    let mut identity = kube.map(|k| k.identity.clone()).unwrap_or_default();
    identity.addresses = machine.addresses.clone();
    identity
}

/// A machine in the list that limits count. `name`: what the inventory calls it.
pub fn member(machine: &Machine, name: &str) -> Member {
    let mut why = not_ready(machine, None);
    match machine.mode() {
        Mode::InService => {}
        Mode::In => why.push("in maintenance".into()),
        _ => why.push(format!("maintenance: {} {}", machine.maintenance.action, machine.maintenance.state)),
    }
    Member { name: name.into(), out: (!why.is_empty()).then(|| why.join(", ")), run: None, identity: identity(machine, None), since: None }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Maintenance, Pool};
    use super::*;

    fn machine(name: &str, action: &str, state: &str) -> Machine {
        Machine {
            pool: Pool { name: "workers".into(), control_plane: false },
            uid: format!("uid-{name}"),
            name: name.into(),
            ready: true,
            state: "Running".into(),
            addresses: vec!["192.0.2.7".into()],
            maintenance: Maintenance { action: action.into(), state: state.into(), message: String::new() },
            ..Machine::default()
        }
    }
    fn pod(name: &str, owner: Option<&str>, phase: &str) -> Pod {
        let owners = owner.into_iter().map(str::to_owned).collect();
        Pod { namespace: "shop".into(), name: name.into(), machine: Some("uid-w2".into()), owners, phase: phase.into(), ..Pod::default() }
    }
    fn seen(action: &str, state: &str) -> Seen {
        let mut control = machine("cp1", "", "");
        control.pool.control_plane = true;
        let peers = vec![machine("w1", "", ""), control.clone(), Machine { name: "cp2".into(), ..control }];
        let off = Remediation { project: (true, true), tenant: (false, false) };
        Seen {
            machine: machine("w2", action, state),
            cluster: Cluster { cloud: "maas".into(), config: "66f".into(), state: "Running".into(), ..Cluster::default() },
            before: Some(Before { peers, remediation: Ok(off), policy: OnRemediation::Refuse, switched_off: false }),
            pods: vec![pod("cart", Some("ReplicaSet"), "Running")],
            ..Seen::default()
        }
    }
    fn whats(view: &NodeView) -> Vec<&str> {
        view.moves.iter().map(|a| a.what.as_str()).collect()
    }

    #[test]
    fn only_cordon_and_completed_together_are_maintenance() {
        for (action, state, maintenance, enabled) in [
            ("", "", false, true),
            ("uncordon", "completed", false, true),
            ("cordon", "initiated", false, false),
            ("cordon", "inprogress", false, false),
            ("cordon", "completed", true, false),
            ("cordon", "failed", false, false),
            ("uncordon", "initiated", false, false),
            ("", "completed", false, false),
            ("cordon", "some-new-word", false, false),
        ] {
            let view = view(&seen(action, state));
            assert_eq!((view.in_maintenance, view.enabled), (maintenance, enabled), "{action} {state}");
            assert_eq!(view.workloads.len(), 1, "what runs is counted in every state");
            assert_eq!(whats(&view).contains(&"enter maintenance w2"), enabled, "{action} {state}");
        }
        assert!(!view(&seen("cordon", "failed")).impossible.is_empty(), "a failure is not waited for");
    }

    #[test]
    fn pods_count_unless_they_belong_to_the_node_or_run_no_more() {
        let count = |p: Pod| view(&Seen { pods: vec![p], ..seen("cordon", "completed") }).workloads.len();
        assert_eq!(count(pod("a", Some("ReplicaSet"), "Running")), 1);
        assert_eq!(count(pod("a", Some("DaemonSet"), "Running")), 0);
        assert_eq!(count(pod("a", Some("Job"), "Succeeded")), 0);
        assert_eq!(count(pod("a", None, "Running")), 1, "a mirror pod or a bare one: nobody here can tell");
        assert_eq!(count(Pod { machine: Some("uid-w1".into()), ..pod("a", None, "Running") }), 0);
        assert_eq!(count(Pod { machine: None, node: Some("w2".into()), ..pod("a", None, "Running") }), 1);
        // The cluster's own word stands above Palette's list.
        let kube = Kube { cordoned: true, ..Kube::default() };
        assert!(view(&Seen { kube: Some(kube), ..seen("cordon", "completed") }).workloads.is_empty());
    }

    #[test]
    fn both_witnesses_must_show_the_cordon() {
        let kube = |cordoned| Seen { kube: Some(Kube { cordoned, ..Kube::default() }), ..seen("cordon", "completed") };
        assert!(view(&kube(true)).in_maintenance && !view(&kube(false)).in_maintenance);
        let by_hand = Seen { kube: Some(Kube { cordoned: true, ..Kube::default() }), ..seen("", "") };
        let by_hand = view(&by_hand);
        assert!(!by_hand.enabled && by_hand.moves.is_empty() && by_hand.blockers[0].why.contains("kubectl uncordon"));
    }

    #[test]
    fn what_speaks_against_entering_is_named() {
        let with = |change: &dyn Fn(&mut Seen)| {
            let mut seen = seen("", "");
            change(&mut seen);
            view(&seen)
        };
        let before = |change: &dyn Fn(&mut Before)| with(&|s| change(s.before.as_mut().unwrap()));
        assert_eq!(whats(&with(&|_| ())), ["enter maintenance w2"]);
        let alone = before(&|b| b.peers.retain(|m| m.pool.control_plane));
        assert!(alone.impossible[0].why.contains("no other worker") && alone.moves.is_empty());
        let one_plane = before(&|b| b.peers.truncate(2));
        assert!(one_plane.impossible.is_empty() && one_plane.notes.iter().any(|n| n.contains("more than one control-plane")), "{one_plane:#?}");
        let on = before(&|b| b.remediation = Ok(Remediation::default()));
        assert!(on.impossible[0].object == "auto-remediation" && on.moves.is_empty());
        let disable = before(&|b| (b.remediation, b.policy) = (Ok(Remediation::default()), OnRemediation::DisableAndRestore));
        assert_eq!(whats(&disable), ["disable auto-remediation of the project"]);
        assert_eq!(disable.moves[0].borrows.as_ref().unwrap().before["remediation"]["disabled"], false);
        let untrue = before(&|b| (b.remediation, b.policy, b.switched_off) = (Ok(Remediation::default()), OnRemediation::DisableAndRestore, true));
        assert!(untrue.impossible[0].why.contains("does not show it") && untrue.moves.is_empty());
        let unread = before(&|b| b.remediation = Err("HTTP 403".into()));
        assert!(unread.impossible[0].why.contains("cannot be read"));
        let eks = with(&|s| {
            s.cluster.cloud = "eks".into();
            s.before.as_mut().unwrap().remediation = Ok(Remediation::default());
        });
        assert_eq!(eks.moves.len(), 1);
        for change in [&(|c: &mut Cluster| c.state = "Provisioning".into()) as &dyn Fn(&mut Cluster), &|c| c.repave = "Pending".into()] {
            let busy = with(&|s| change(&mut s.cluster));
            assert!(!busy.ready && busy.moves.is_empty(), "{busy:#?}");
        }
    }

    #[test]
    fn a_machine_that_palette_replaced_or_takes_away_stops_everything() {
        let replaced = view(&Seen { replaced: Some("67m".into()), ..seen("cordon", "completed") });
        assert!(!replaced.in_maintenance && !replaced.ready && replaced.impossible[0].why.contains("67m") && replaced.moves.is_empty());
        let mut deleting = seen("cordon", "completed");
        deleting.machine.state = "Deleting".into();
        assert!(!view(&deleting).impossible.is_empty() && member(&deleting.machine, "w2").out.is_some());
    }

    #[test]
    fn pods_are_read_anew_before_their_absence_is_believed() {
        let stale = view(&seen("cordon", "completed"));
        assert_eq!((whats(&stale), stale.blockers.len()), (vec!["have Palette read the pods anew"], 1));
        assert_eq!(whats(&view(&Seen { refreshed: 2, ..seen("cordon", "completed") })).len(), 1);
        assert!(view(&Seen { refreshed: REFRESHES, ..seen("cordon", "completed") }).moves.is_empty());
        assert!(view(&Seen { kube: Some(Kube { cordoned: true, ..Kube::default() }), ..seen("cordon", "completed") }).moves.is_empty());
    }
}
