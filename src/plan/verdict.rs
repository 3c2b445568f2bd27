//! Preflight's verdict on one node, over a survey: may a run touch it? `plan` and `check` show it; the preflight step and the guards ask again.
mod power;

use super::{ClusterInput, History, Input, NO_CLUSTER, NodeInput, Note};
use crate::model::{
    BmcView, Boot, Chain, ClusterName, Fault, FaultKind, Identity, NodeName, NodeSurvey, NodeView, Power, Relax, Setting, Survey, WaySeen,
    chain::{self, BMC},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A node that may be worked on: how its chain closed, and what people should read first.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub chain: Chain,
    pub notes: Vec<Note>,
}

/// What only shows over all nodes of the survey at once.
#[derive(Debug)]
pub struct World<'a> {
    pub(super) survey: &'a Survey,
    clusters: &'a BTreeMap<ClusterName, ClusterInput>,
    /// Identity values that two machines claim.
    shared: Vec<String>,
    /// The playbook changes power, or nobody said (check): what stands against that is judged.
    powers: bool,
    /// A boot override is put aside by the run itself.
    clears_boot: bool,
    /// The run is for a node that is off or dead: silence of its host and its cluster's "not ready" are why.
    dark: bool,
    /// It is cut off without being asked to leave: only a dead one.
    fences: bool,
    /// It installs firmware and does not say how a root disk that is sealed to the TPM opens after that.
    breaks_seals: bool,
    /// Nothing in it empties a node or touches power: what cannot leave may stay.
    stays: bool,
}

pub(super) fn empties(step: &Setting) -> bool {
    ["evacuate", "reset", "firmware", "fence"].contains(&step.kind.as_str())
}
/// A step that is for such nodes.
pub(super) fn dark(step: &Setting) -> bool {
    step.kind == "fence" || (step.kind == "reset" && step.body.get("verb").is_some_and(|v| v == "On"))
}

impl<'a> World<'a> {
    pub fn of(input: &'a Input<'_>) -> World<'a> {
        let steps = || input.playbook.steps.iter().map(|s| &s.step);
        World {
            survey: input.survey,
            clusters: &input.clusters,
            shared: shared(input.survey),
            powers: input.playbook.name.is_empty() || steps().any(|s| ["reset", "firmware", "pause"].contains(&s.kind.as_str())),
            breaks_seals: steps().any(|s| s.kind == "firmware" && s.body.get("reseal").is_none_or(Value::is_null)),
            dark: steps().any(dark),
            fences: steps().any(|s| s.kind == "fence"),
            stays: !input.playbook.name.is_empty() && !steps().any(empties),
            clears_boot: steps().any(|s| s.body.get("boot_override").is_some_and(|v| v == "clear")),
        }
    }

    /// Those of the shared values that concern this node.
    pub fn shared_with(&self, name: &NodeName) -> Vec<String> {
        let Some(seen) = self.survey.nodes.get(name) else { return Vec::new() };
        let said: Vec<String> = said(seen).into_iter().flat_map(|i| i.values()).chain(hosts(seen)).collect();
        self.shared.iter().filter(|value| said.iter().any(|s| s.eq_ignore_ascii_case(value))).cloned().collect()
    }

    /// Every reason against it is told: the first leads, the others are its causes.
    pub fn verdict(&self, name: &NodeName, node: &NodeInput, history: &History) -> Result<Verdict, Fault> {
        let Some(seen) = self.survey.nodes.get(name) else {
            return Err(Fault::new(FaultKind::Unable, format!("{name} was not surveyed")));
        };
        let mut notes = Vec::new();
        let mut faults = Vec::new();
        faults.extend(self.way_in(seen, name, &mut notes));
        faults.extend(self.in_clusters(seen, name, node, history, &mut notes));
        if !left_off(seen, history) && (!self.dark || matches!(&seen.host, Some(Ok(_)))) {
            faults.extend(self.host(seen, name, node, &mut notes));
        }
        faults.extend(self.alive(seen, name, history));
        // Nobody's word is judged while a witness is missing: that one is named already.
        let chain = match faults.is_empty() {
            true => self.chain(seen, name, node, &mut notes).map_err(|fault| faults.push(fault)).ok(),
            false => None,
        };
        if let Some(chain) = chain {
            let power = disagreement(seen).or_else(|| if self.dark { None } else { power::powered(seen, name, history, &mut notes) });
            faults.extend(power.or_else(|| power::flash(seen, name, history, &mut notes)));
            faults.extend(self.strays(seen, name, node, &mut notes));
            faults.extend(self.at_power(seen, name, node, &mut notes));
            if faults.is_empty() {
                return Ok(Verdict { chain, notes });
            }
        }
        let mut faults = faults.into_iter();
        let first = faults.next().unwrap_or_else(|| Fault::new(FaultKind::Invalid, format!("BUG: {name} was refused without a reason")));
        Err(faults.fold(first, |first, also| first.cause(format!("also {also}"))))
    }

    /// A node that can still be asked to leave is never fenced.
    fn alive(&self, seen: &NodeSurvey, name: &NodeName, history: &History) -> Option<Fault> {
        // An earlier run cut it off already: this one only goes on from there.
        if history.inherits.iter().any(|loan| loan.first) {
            return None;
        }
        let ready = seen.clusters.iter().find(|(c, v)| self.clusters.get(c).is_some_and(|c| c.setting.kind != NO_CLUSTER) && v.as_ref().is_ok_and(|v| v.ready));
        let why = match (&seen.host, ready) {
            _ if !self.fences => return None,
            (Some(Ok(_)), _) => "its host answers".to_owned(),
            (_, Some((cluster, _))) => format!("cluster {cluster} calls it ready"),
            _ => return None,
        };
        Some(Fault::new(FaultKind::Unwilling, format!("{name} is not dead: {why}")).next(format!("pitstop run reboot {name}")))
    }

    /// One proven way in; the other is checked where the inventory names it.
    fn way_in(&self, seen: &NodeSurvey, name: &NodeName, notes: &mut Vec<Note>) -> Option<Fault> {
        let failed: Vec<String> = seen.bmc.iter().filter_map(|way| way.seen.as_ref().err().map(|fault| told(way, fault))).collect();
        for way in &seen.bmc {
            if let Ok(view) = &way.seen {
                notes.extend(view.warnings.iter().map(|warning| note(name, format!("{} at {}: {warning}", spoken(&way.protocol), way.endpoint))));
            }
        }
        // Power never falls back from a way that refuses us or answers nonsense (safety.md, 12): an emptied node would be held at its reset.
        let first = seen.bmc.iter().find(|way| way.seen.as_ref().err().is_none_or(|f| !matches!(f.kind, FaultKind::Unreachable | FaultKind::Unable)));
        if failed.len() < seen.bmc.len()
            && let Some((way, fault)) = first.and_then(|way| Some((way, way.seen.as_ref().err()?)))
        {
            let next = format!("correct it, or take this way in out of the inventory, then pitstop check {name}");
            return Some(about("BMC: power would not fall back to the second way in", &Fault::new(fault.kind, told(way, fault))).next(next));
        }
        if failed.len() < seen.bmc.len() {
            notes.extend(failed.into_iter().map(|why| note(name, format!("second way in to the BMC does not work: {why}"))));
            return None;
        }
        // What the BMC's own refusal calls for is better advice than the general one.
        let own = seen.bmc.iter().find_map(|way| way.seen.as_ref().err()?.next.clone());
        let next = own.unwrap_or_else(|| format!("look at the BMC's power, network and credentials, then pitstop check {name}"));
        let Some(kind) = seen.bmc.last().and_then(|way| way.seen.as_ref().err()).map(|f| f.kind) else {
            return Some(
                Fault::new(FaultKind::Unable, "BMC: the inventory names no way in").next(format!("give {name} a bmc.redfish or bmc.ipmi in the inventory")),
            );
        };
        Some(failed.into_iter().fold(Fault::new(kind, "BMC: no way in works"), Fault::cause).next(next))
    }

    fn in_clusters(&self, seen: &NodeSurvey, name: &NodeName, node: &NodeInput, history: &History, notes: &mut Vec<Note>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for seat in &node.seats {
            let cluster = &seat.cluster;
            let (Some(input), Some(survey)) = (self.clusters.get(cluster), self.survey.clusters.get(cluster)) else {
                faults.push(Fault::new(FaultKind::Unable, format!("cluster {cluster} was not surveyed")));
                continue;
            };
            let shown = format!("{}/{cluster}", input.setting.kind);
            let members = match &survey.members {
                Ok(members) => members,
                Err(fault) => {
                    let next = format!("look at the cluster's API and credentials, then pitstop check {name}");
                    faults.push(Fault { next: fault.next.clone().or(Some(next)), ..about(&format!("{shown}: its nodes cannot be listed"), fault) });
                    continue;
                }
            };
            if !survey.missing_rights.is_empty() {
                let what = format!("{shown}: this account lacks rights: {}", survey.missing_rights.join(", "));
                faults.push(Fault::new(FaultKind::Denied, what).next(format!("grant them, then pitstop check {name}")));
            }
            let view = match seen.clusters.iter().find(|(c, _)| c == cluster) {
                Some((_, Ok(view))) => view,
                Some((_, Err(fault))) => {
                    let next = format!("look at the cluster's API and at {}'s name there, then pitstop check {name}", seat.node);
                    faults.push(Fault { next: fault.next.clone().or(Some(next)), ..about(&format!("{shown} says nothing of {}", seat.node), fault) });
                    continue;
                }
                None => {
                    faults.push(Fault::new(FaultKind::Unable, format!("{shown} was not asked about {}", seat.node)));
                    continue;
                }
            };
            let member = members.iter().find(|m| m.name == seat.node);
            if member.is_none() && input.setting.kind != NO_CLUSTER {
                let what = format!("{} is not a node of {shown}", seat.node);
                faults.push(Fault::new(FaultKind::Invalid, what).next("correct its cluster or its name there in the inventory"));
            }
            if !view.ready && history.inherits.is_empty() && !self.dark {
                let why = if view.not_ready.is_empty() { String::new() } else { format!(": {}", view.not_ready.join(", ")) };
                let next = format!("pitstop node {name}    (a dead one has its own road: pitstop node {name} rescue --reason TEXT)");
                faults.push(Fault::new(FaultKind::Unwilling, format!("{shown} calls {} not ready{why}; a dead node is not evacuated", seat.node)).next(next));
            }
            if !view.enabled {
                let run = member.and_then(|m| m.run.clone()).filter(|_| history.inherits.is_empty());
                match run {
                    Some(run) => {
                        let what = format!("{} is out of service by run {run}, which is not settled", seat.node);
                        let next = format!("pitstop resume {run}, or where its store is gone: pitstop release --from-marks");
                        faults.push(Fault::new(FaultKind::Unwilling, what).next(next));
                    }
                    None if history.inherits.is_empty() => {
                        let by = view.marked_by.as_ref().or(member.and_then(|m| m.out.as_ref())).map(|by| format!(" ({by})")).unwrap_or_default();
                        notes.push(note(name, format!("out of service in {shown} before we came{by}: stays so afterwards")));
                    }
                    None => {
                        let owed: Vec<&str> = history.inherits.iter().map(|loan| loan.owed.as_str()).collect();
                        notes.push(note(name, format!("an earlier run left it out of service; this one takes that over: {}", owed.join(", "))));
                    }
                }
            }
            if !view.impossible.is_empty() && !self.fences && !self.stays {
                let fault = Fault::new(FaultKind::Unwilling, format!("{} cannot be emptied", seat.node));
                let vms = view.impossible.iter().any(|b| b.object.starts_with("vm "));
                let next = match vms {
                    true => "move or stop these by hand, or let the playbook say unmovable = \"stop-and-restart\"",
                    false => "do what is said of each, then plan again",
                };
                faults.push(view.impossible.iter().fold(fault, Fault::cause).next(next));
            }
            notes.extend(stops_tonight(name, view));
        }
        faults
    }

    fn host(&self, seen: &NodeSurvey, name: &NodeName, node: &NodeInput, notes: &mut Vec<Note>) -> Vec<Fault> {
        let bare: Vec<&ClusterInput> = node.seats.iter().filter_map(|seat| self.clusters.get(&seat.cluster)).filter(|c| c.setting.kind == NO_CLUSTER).collect();
        let only_bare = bare.len() == node.seats.len();
        match &seen.host {
            Some(Err(fault)) => {
                let next = format!("look at the host's network, SSH and host key, then pitstop check {name}");
                vec![Fault { next: fault.next.clone().or(Some(next)), ..about("the host does not answer", fault) }]
            }
            Some(Ok(view)) => {
                if !view.people.is_empty() {
                    notes.push(Note {
                        remedy: Some("they log out before the reset".into()),
                        stops: true,
                        ..note(name, format!("logged in: {}", view.people.join(", ")))
                    });
                }
                if only_bare && !view.guests.is_empty() {
                    let what = format!("{name} is not empty, and no cluster can empty it: {}", view.guests.join(", "));
                    return vec![Fault::new(FaultKind::Unwilling, what).next("stop or move these by hand")];
                }
                Vec::new()
            }
            None if only_bare && bare.iter().all(|c| c.vouched.is_none()) => {
                let what = format!("nothing can witness that {name} is empty: no cluster, no host");
                let next = "name its host in the inventory, or vouch for the cluster: vouched = \"spare nodes, nothing runs here\"";
                vec![Fault::new(FaultKind::Unable, what).next(next)]
            }
            None => Vec::new(),
        }
    }

    /// safety.md, 1. Each way in that answers is held against the others: a second way that leads to another machine would be used in a fallback.
    pub(super) fn chain(&self, seen: &NodeSurvey, name: &NodeName, node: &NodeInput, notes: &mut Vec<Note>) -> Result<Chain, Fault> {
        let several = node.seats.len() > 1;
        let clusters: Vec<(String, &Identity)> = (node.seats.iter())
            .filter(|seat| self.clusters.get(&seat.cluster).is_some_and(|c| c.setting.kind != NO_CLUSTER))
            .filter_map(|seat| seen.clusters.iter().find(|(c, _)| *c == seat.cluster))
            .filter_map(|(cluster, view)| view.as_ref().ok().map(|v| (if several { format!("cluster {cluster}") } else { "cluster".into() }, &v.identity)))
            .collect();
        let host = seen.host.as_ref().and_then(|h| h.as_ref().ok()).map(|h| ("host", &h.identity));
        let others: Vec<(&str, &Identity)> = clusters.iter().map(|(who, i)| (who.as_str(), *i)).chain(host).collect();
        let bmc_host = bmc_host(seen);
        let shared = self.shared_with(name);
        let pinned = node.trust.identity.as_ref();
        let judge = |bmc: &Identity| match others.is_empty() {
            true => chain::alone(bmc, &shared, pinned, &bmc_host),
            false => {
                let witnesses: Vec<_> = others.iter().copied().chain([(BMC, bmc)]).collect();
                chain::chain(&witnesses, &shared, pinned, &bmc_host)
            }
        };
        let ways: Vec<(&WaySeen, &BmcView)> = seen.bmc.iter().filter_map(|way| way.seen.as_ref().ok().map(|view| (way, view))).collect();
        if let Some((twin, value)) = self.bmc_twin(name, &ways) {
            let what = format!("identity: the BMCs of {name} and {twin} say that they are one machine");
            let fault = Fault::new(FaultKind::Unwilling, what).cause(format!("both say {value}"));
            return Err(fault.next(format!("correct the BMC of one of them in the inventory, then pitstop check {name} {twin}")));
        }
        let mut closed = None;
        let mut open = None;
        for (way, view) in ways {
            match judge(&view.identity) {
                Ok(chain) => closed = closed.or(Some(chain)),
                Err(fault) if fault.kind == FaultKind::Unwilling => return Err(self.whose(fault, name, seen, way, view)),
                Err(fault) => {
                    notes.push(note(name, format!("{} at {}: {fault}", spoken(&way.protocol), way.endpoint)));
                    open = open.or(Some(fault));
                }
            }
        }
        match (closed, open) {
            (Some(chain), _) => Ok(chain),
            // As the guard judges it (guards/identity.rs): only what cannot be read, never what contradicts.
            (None, Some(fault)) if fault.kind == FaultKind::Unable && node.relaxed.contains(&Relax::Identity) => {
                notes.push(note(name, format!("relaxed by name ({}): {fault}", Relax::Identity)));
                Ok(Chain { closed_by: "relaxed by name".into(), evidence: vec![fault.to_string()] })
            }
            (None, open) => Err(open.unwrap_or_else(|| Fault::new(FaultKind::Unable, "identity: no BMC answered"))),
        }
    }

    /// Another node whose BMC claims the same value.
    fn bmc_twin(&self, name: &NodeName, ways: &[(&WaySeen, &BmcView)]) -> Option<(NodeName, String)> {
        let mine: Vec<&Identity> = ways.iter().map(|(_, view)| &view.identity).collect();
        let theirs = self.survey.nodes.iter().filter(|(other, _)| *other != name);
        theirs.flat_map(|(other, seen)| seen.bmc.iter().filter_map(move |way| way.seen.as_ref().ok().map(|view| (other, view)))).find_map(|(other, view)| {
            let same = mine.iter().find(|i| i.same(&view.identity) == Some(Ok("uuid")));
            same.map(|identity| (other.clone(), identity.shown()))
        })
    }

    /// Whose machine it is instead, where the survey saw that one.
    fn whose(&self, fault: Fault, name: &NodeName, seen: &NodeSurvey, way: &WaySeen, bmc: &BmcView) -> Fault {
        let place = way.hosts.first().unwrap_or(&way.endpoint);
        let by_bmc = self.owner(&bmc.identity, name);
        let by_host = seen.host.as_ref().and_then(|h| h.as_ref().ok()).and_then(|host| self.owner(&host.identity, name));
        let what = match (&by_bmc, &by_host) {
            (Some(bmc), Some(host)) if bmc == host => format!("identity: the host and the BMC at {place} belong to {bmc}"),
            (Some(bmc), Some(host)) => format!("identity: the BMC at {place} belongs to {bmc}, the host to {host}"),
            (Some(bmc), None) => format!("identity: the BMC at {place} belongs to {bmc}"),
            (None, Some(host)) => format!("identity: the host belongs to {host}"),
            (None, None) => fault.what.clone(),
        };
        let other = by_bmc.or(by_host).filter(|other| self.survey.nodes.contains_key(&NodeName(other.clone()))).map(|o| format!(" {o}")).unwrap_or_default();
        let rows = format!("correct the rows in the inventory (or the cables), then pitstop check {name}{other}");
        // Nobody else's machine: perhaps its own, with another board.
        let pinned = fault.next.as_ref().filter(|_| what == fault.what).map(|next| next.replace("NODE", &name.0));
        Fault { what, next: Some(pinned.unwrap_or(rows)), ..fault }
    }

    fn owner(&self, identity: &Identity, except: &NodeName) -> Option<String> {
        let identity = identity.without(&self.shared);
        let is = |other: &Identity| matches!(identity.same(&other.without(&self.shared)), Some(Ok(_)));
        let others = || self.survey.nodes.iter().filter(|(name, _)| *name != except);
        let mine: Vec<&NodeView> = self.survey.nodes.get(except).into_iter().flat_map(|s| &s.clusters).filter_map(|(_, v)| v.as_ref().ok()).collect();
        if mine.iter().any(|view| is(&view.identity)) {
            return None;
        }
        let by_cluster = others().find(|(_, seen)| seen.clusters.iter().any(|(_, view)| view.as_ref().is_ok_and(|v| is(&v.identity))));
        let members = || self.survey.clusters.values().filter_map(|c| c.members.as_ref().ok()).flatten();
        let by_host = || others().find(|(_, seen)| seen.host.as_ref().is_some_and(|host| host.as_ref().is_ok_and(|h| is(&h.identity))));
        let node = |(name, _): (&NodeName, &NodeSurvey)| name.0.clone();
        by_cluster.map(node).or_else(|| members().find(|m| is(&m.identity)).map(|m| m.name.clone())).or_else(|| by_host().map(node))
    }
}

/// As `model::chain` reads it.
pub fn bmc_host(seen: &NodeSurvey) -> String {
    let mut names: Vec<String> = Vec::new();
    for host in hosts(seen) {
        if !names.contains(&host) {
            names.push(host);
        }
    }
    names.join(" ")
}

fn hosts(seen: &NodeSurvey) -> impl Iterator<Item = String> {
    seen.bmc.iter().flat_map(|way| way.hosts.iter().cloned())
}

fn said(seen: &NodeSurvey) -> Vec<&Identity> {
    let clusters = seen.clusters.iter().filter_map(|(_, view)| view.as_ref().ok()).map(|v| &v.identity);
    let host = seen.host.iter().filter_map(|h| h.as_ref().ok()).map(|h| &h.identity);
    let bmc = seen.bmc.iter().filter_map(|way| way.seen.as_ref().ok()).map(|v| &v.identity);
    clusters.chain(host).chain(bmc).collect()
}

fn shared(survey: &Survey) -> Vec<String> {
    let addresses: BTreeMap<&NodeName, Vec<Identity>> = (survey.nodes.iter())
        .map(|(name, seen)| (name, hosts(seen).map(|host| Identity { bmc_address: Some(host), ..Identity::default() }).collect()))
        .collect();
    let per_node = |of: fn(&NodeSurvey) -> Vec<&Identity>| survey.nodes.iter().map(|(name, seen)| (name.0.clone(), of(seen))).collect::<BTreeMap<_, _>>();
    let mut kinds = vec![
        per_node(|seen| seen.host.iter().filter_map(|h| h.as_ref().ok()).map(|h| &h.identity).collect()),
        per_node(|seen| seen.bmc.iter().filter_map(|way| way.seen.as_ref().ok()).map(|v| &v.identity).collect()),
        addresses.iter().map(|(name, all)| (name.0.clone(), all.iter().collect())).collect(),
    ];
    for (cluster, seen) in &survey.clusters {
        let looks = survey.nodes.iter().map(|(name, node)| {
            let here = node.clusters.iter().filter(|(c, _)| c == cluster).filter_map(|(_, view)| view.as_ref().ok());
            (name.0.clone(), here.map(|v| &v.identity).collect())
        });
        kinds.push(looks.collect());
        kinds.push(seen.members.iter().flatten().map(|m| (m.name.clone(), vec![&m.identity])).collect());
    }
    chain::shared(kinds)
}

/// Witnesses of one machine that contradict each other in something other than who it is.
fn disagreement(seen: &NodeSurvey) -> Option<Fault> {
    let host = seen.host.as_ref().and_then(|h| h.as_ref().ok());
    let views = || seen.clusters.iter().filter_map(|(_, view)| view.as_ref().ok());
    let off = seen.bmc.iter().find(|way| way.seen.as_ref().is_ok_and(|view| view.power == Power::Off));
    if let (Some(way), Some(host)) = (off, host) {
        let what = format!("{} at {} says that power is Off, and the host answers (up {:.0} s)", spoken(&way.protocol), way.endpoint, host.uptime_s);
        return Some(Fault::new(FaultKind::Unwilling, what).next("find out which of the two is right; a BMC that is wrong about power proves no reset"));
    }
    let boot = host.map(|h| h.boot_id.as_str()).filter(|id| !id.is_empty())?;
    views().find_map(|view| match &view.boot {
        Some(Boot::Id(id)) if !id.eq_ignore_ascii_case(boot) => {
            let what = format!("cluster and host speak of different boots ({id}, {boot}): it has just rebooted, or one of them is not this machine");
            Some(Fault::new(FaultKind::Unwilling, what).next("wait until the cluster has noticed the reboot, then ask again"))
        }
        _ => None,
    })
}

/// An earlier run of ours switched it off and owes it On: its host cannot answer, and that is no reason to leave it dark.
fn left_off(seen: &NodeSurvey, history: &History) -> bool {
    let off = seen.bmc.iter().any(|way| way.seen.as_ref().is_ok_and(|view| view.power == Power::Off));
    off && history.inherits.iter().any(|loan| loan.first) && !matches!(&seen.host, Some(Ok(_)))
}

/// What keeps workloads from leaving now: it may be gone by tonight, so it is no refusal.
fn stops_tonight(name: &NodeName, view: &NodeView) -> Vec<Note> {
    let stuck = view.workloads.iter().filter_map(|w| w.stuck.as_ref().map(|why| (w.name.clone(), why.clone())));
    let mut all: Vec<(String, String)> = view.blockers.iter().map(|b| (b.object.clone(), b.why.clone())).collect();
    let named: Vec<String> = all.iter().map(|(object, _)| object.clone()).collect();
    all.extend(stuck.filter(|(workload, _)| !named.iter().any(|object| object.contains(workload.as_str()))));
    all.into_iter().map(|(object, why)| Note { stops: true, ..note(name, format!("{object}: {why}")) }).collect()
}

fn note(name: &NodeName, text: String) -> Note {
    Note { node: Some(name.clone()), text, remedy: None, stops: false }
}

fn told(way: &WaySeen, fault: &Fault) -> String {
    match fault.what.contains(&way.endpoint) {
        true => format!("{}: {fault}", spoken(&way.protocol)),
        false => format!("{} at {}: {fault}", spoken(&way.protocol), way.endpoint),
    }
}

/// The same fault, with what it means for the node in front.
fn about(what: &str, fault: &Fault) -> Fault {
    Fault { what: format!("{what}: {}", fault.what), ..fault.clone() }
}

/// A protocol as people write it.
pub fn spoken(protocol: &str) -> String {
    match protocol {
        "ipmi" => "IPMI".into(),
        other => {
            let mut letters = other.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        }
    }
}
