//! What one look reads: the node and its stack first, then what is placed there. If it was in maintenance before the lists were read, nothing has come since.
use super::{
    OpenvCloud,
    portal::Failure,
    rows::{Firewall, Node, Stack, Vm, number},
    stack_of,
    view::{Generation, Seen},
};
use crate::{
    drivers::cluster::Ask,
    model::{Fault, FaultKind, How, Loan, Unmovable},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// So many looks in a row that find the same left behind, and nothing moving: it was given up.
const GIVEN_UP: u32 = 6;
/// Every state a VM may be in on its stack. Asked one by one where a list of all would be cut off.
const STATES: [&str; 11] = ["RUNNING", "PAUSED", "MIGRATING", "HALTED", "VIRTUAL", "DEPLOYING", "STARTING", "STOPPING", "PAUSING", "RESUMING", "DESTROYING"];

impl OpenvCloud {
    /// Detected, not assumed: only generations with maintenance of stacks can list them.
    pub async fn generation(&self, grid: &Value) -> Result<Generation, Fault> {
        let known = self.said.or(*self.found.lock().expect("BUG: poisoned"));
        if let Some(known) = known {
            return Ok(known);
        }
        let found = match self.portal.read("cloudbroker/computenode/list", &json!({ "gid": grid })).await {
            Ok(_) => Generation::Stack,
            Err(Failure { no_method: true, .. }) => Generation::Node,
            Err(failure) => return Err(failure.fault),
        };
        *self.found.lock().expect("BUG: poisoned") = Some(found);
        Ok(found)
    }

    pub async fn nodes(&self) -> Result<Vec<Node>, Fault> {
        let what = format!("nodes at {}", self.portal.base);
        let Value::Array(rows) = self.portal.get("system/gridmanager/getNodes", &[]).await? else {
            return Err(Fault::new(FaultKind::Invalid, format!("list {what}")).cause("not a list of rows"));
        };
        let rows = super::portal::Rows::of(rows).whole(&what)?;
        rows.iter().map(Node::of).collect()
    }

    pub async fn all(&self) -> Result<(Vec<Node>, Vec<Stack>), Fault> {
        let nodes = self.nodes().await?;
        let mut stacks = Vec::new();
        for grid in nodes.iter().map(|n| n.gid).collect::<BTreeSet<_>>() {
            let rows = self.portal.find("cloudbroker/stack", &[("gid", &grid.to_string())]).await?.whole(&format!("stacks of grid {grid}"))?;
            for row in &rows {
                stacks.push(Stack::of(row)?);
            }
        }
        Ok((nodes, stacks))
    }

    pub async fn see(&self, name: &str, ask: &Ask) -> Result<Seen, Fault> {
        let (nodes, stacks) = self.all().await?;
        let (mut found, others): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(|n| n.name == name);
        let base = &self.portal.base;
        let node = match (found.pop(), found.is_empty()) {
            (Some(node), true) => node,
            (Some(_), false) => return Err(Fault::new(FaultKind::Invalid, format!("{base} has several nodes named {name}"))),
            (None, _) => {
                let known: Vec<&str> = others.iter().map(|n| n.name.as_str()).collect();
                return Err(Fault::new(FaultKind::Unable, format!("{base} has no node {name}")).cause(format!("it has {}", known.join(", "))));
            }
        };
        let generation = self.generation(&node.gid.into()).await?;
        if generation == Generation::Node && others.iter().any(|n| n.id == node.id) {
            let why = format!("node {name}: its number {} is used in another grid too, and maintenance is asked for by the number alone", node.id);
            return Err(Fault::new(FaultKind::Invalid, why));
        }
        let stack = stack_of(&node, &stacks).cloned().ok_or_else(|| Fault::new(FaultKind::Unable, format!("no stack at {base} refers to node {name}")))?;
        let peers: Vec<(Node, Option<Stack>)> = others
            .into_iter()
            .filter(|n| n.gid == node.gid)
            .map(|n| {
                let s = stack_of(&n, &stacks).cloned();
                (n, s)
            })
            .collect();
        let vms = self.vms(stack.id).await?;
        let mut firewalls = self.firewalls(&node).await?;
        let mut seen =
            Seen { generation, physical: BTreeSet::new(), eco: None, asks_firewalls: true, left_behind: false, peers, vms, firewalls: Vec::new(), node, stack };
        if seen.vms.iter().any(|vm| !vm.disks.is_empty()) {
            seen.physical = self.physical_disks().await?;
        }
        for fw in &mut firewalls {
            fw.space_name = self.space_name(fw.space).await?;
        }
        // On a node in service every firewall counts as running; asking each takes its time.
        if seen.stack.status != "ENABLED" || ask.how == How::Stop || ask.unmovable == Unmovable::StopAndRestart {
            for fw in &mut firewalls {
                match self.firewall_state(fw.space).await {
                    Ok(state) => fw.live = Some(state),
                    Err(Failure { no_method: true, .. }) => seen.asks_firewalls = false,
                    Err(failure) => return Err(failure.fault),
                }
            }
        }
        seen.firewalls = firewalls;
        if let Some(eco) = seen.stack.eco.clone().filter(|_| seen.stack.status == "ERROR") {
            seen.eco = Some(self.eco(&eco).await);
        }
        seen.left_behind = self.watch(&seen);
        Ok(seen)
    }

    /// One list where it is whole; else one per state, so that two hundred destroyed VMs hide none that runs.
    async fn vms(&self, stack: i64) -> Result<Vec<Vm>, Fault> {
        let stack = stack.to_string();
        let all = self.portal.find("cloudbroker/vmachine", &[("stackId", &stack)]).await?;
        let mut rows = all.rows;
        if all.cut {
            rows.clear();
            for state in STATES {
                let some = self.portal.find("cloudbroker/vmachine", &[("stackId", &stack), ("status", state)]).await?;
                rows.extend(some.whole(&format!("VMs in state {state} on stack {stack}"))?);
            }
        }
        let vms: Result<Vec<Vm>, Fault> = rows.iter().map(Vm::of).collect();
        // What the portal's filter let through is judged again.
        Ok(vms?.into_iter().filter(|vm| vm.stack.is_none_or(|s| s.to_string() == stack)).collect())
    }

    async fn firewalls(&self, node: &Node) -> Result<Vec<Firewall>, Fault> {
        let (gid, nid) = (node.gid.to_string(), node.id.to_string());
        let rows = self.portal.find("vfw/virtualfirewall", &[("gid", &gid), ("nid", &nid)]).await?.whole(&format!("virtual firewalls of {}", node.name))?;
        let all: Result<Vec<Firewall>, Fault> = rows.iter().map(Firewall::of).collect();
        Ok(all?.into_iter().filter(|fw| fw.nid.is_none_or(|nid| nid == node.id)).collect())
    }

    async fn physical_disks(&self) -> Result<BTreeSet<i64>, Fault> {
        let rows = self.portal.find("cloudbroker/disk", &[("type", "P")]).await?.whole("physical disks")?;
        Ok(rows.iter().filter(|row| row["type"].as_str().is_none_or(|t| t == "P")).filter_map(|row| number(&row["id"])).collect())
    }

    /// The row's own `state` stays what it was when the maintenance stops a firewall: only this asks.
    async fn firewall_state(&self, space: i64) -> Result<String, Failure> {
        let row = self.portal.read("cloudbroker/cloudspace/getVFW", &json!({ "cloudspaceId": space })).await?;
        Ok(row["status"].as_str().map_or_else(|| "UNKNOWN".into(), str::to_ascii_uppercase))
    }

    async fn space_name(&self, space: i64) -> Result<Option<String>, Fault> {
        if let Some(name) = self.names.lock().expect("BUG: poisoned").get(&space) {
            return Ok(name.clone());
        }
        let found = self.portal.find("cloudbroker/cloudspace", &[("id", &space.to_string())]).await?;
        let name = found.rows.iter().find(|row| number(&row["id"]) == Some(space)).and_then(|row| row["name"].as_str().map(str::to_owned));
        self.names.lock().expect("BUG: poisoned").insert(space, name.clone());
        Ok(name)
    }

    /// What went wrong in the background, as far as it can be read.
    async fn eco(&self, guid: &str) -> String {
        let text = match self.portal.find("system/eco", &[("guid", guid)]).await {
            Ok(found) => found.rows.first().and_then(|row| ["errormessagePub", "errormessage"].iter().find_map(|k| row[*k].as_str().map(str::to_owned))),
            Err(_) => None,
        };
        text.filter(|t| !t.is_empty()).map_or_else(|| format!("error record {guid}"), |text| format!("{text} (error record {guid})"))
    }

    /// A VM that moves is MIGRATING; where the same is left in look after look and nothing is, the mover has given up or gone by.
    fn watch(&self, seen: &Seen) -> bool {
        let mut watched = self.watched.lock().expect("BUG: poisoned");
        let left = seen.left();
        let under_way = seen.vms.iter().any(|vm| matches!(vm.status.as_str(), "MIGRATING" | "STARTING" | "STOPPING"));
        if !seen.entered() || under_way || left.is_empty() {
            watched.remove(&seen.node.id);
            return false;
        }
        let entry = watched.entry(seen.node.id).or_default();
        *entry = if entry.0 == left { (left, entry.1.saturating_add(1)) } else { (left, 1) };
        entry.1 >= GIVEN_UP
    }

    /// Settled only when it shows: by number, because what was stopped starts wherever the scheduler likes.
    pub async fn paid(&self, node: &str, loan: &Loan) -> Result<bool, Fault> {
        let before = &loan.before;
        if let Some(id) = number(&before["vm"]) {
            return Ok(self.vm(id).await?.is_none_or(|vm| vm.gone() || vm.status == "RUNNING"));
        }
        if let Some(space) = number(&before["space"]) {
            return self.firewall_runs(space).await;
        }
        let (nodes, stacks) = self.all().await?;
        let Some(node) = nodes.iter().find(|n| n.name == node) else {
            return Err(Fault::new(FaultKind::Unable, format!("{} has no node {node} any more", self.portal.base)));
        };
        let stack = stack_of(node, &stacks);
        if stack.is_none() || !super::view::is_enabled(node, stack) {
            return Ok(false);
        }
        self.all_run(before).await.map(|()| true)
    }

    /// Those that moved away have to run as well, here or elsewhere.
    async fn all_run(&self, before: &Value) -> Result<(), Fault> {
        let pairs = |key: &str| -> Vec<(i64, String)> {
            let pair = |p: &Value| Some((number(&p[0])?, p[1].as_str().unwrap_or_default().to_owned()));
            before[key].as_array().into_iter().flatten().filter_map(pair).collect()
        };
        let mut wrong = Vec::new();
        for (id, name) in pairs("ran") {
            if let Some(vm) = self.vm(id).await?.filter(|vm| vm.status != "RUNNING" && !(vm.gone() && vm.status != "ERROR")) {
                wrong.push(format!("vm {name} ran before and is {} now", vm.status));
            }
        }
        for (space, name) in pairs("firewalls") {
            if !self.firewall_runs(space).await? {
                wrong.push(format!("the firewall of cloud space {name} ran before and does not now"));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let fault = Fault::new(FaultKind::Unwilling, "not all that ran before runs again");
        Err(wrong.into_iter().fold(fault, Fault::cause).next("start it, or take it away, in the portal"))
    }

    async fn vm(&self, id: i64) -> Result<Option<Vm>, Fault> {
        let found = self.portal.find("cloudbroker/vmachine", &[("id", &id.to_string())]).await?;
        let vms: Result<Vec<Vm>, Fault> = found.rows.iter().map(Vm::of).collect();
        Ok(vms?.into_iter().find(|vm| vm.id == id))
    }

    /// Where this version cannot be asked, its word on the stack is all there is.
    async fn firewall_runs(&self, space: i64) -> Result<bool, Fault> {
        match self.firewall_state(space).await {
            Ok(state) => Ok(state == "RUNNING"),
            Err(Failure { no_method: true, .. }) => Ok(true),
            // Its cloud space was deleted meanwhile.
            Err(Failure { status: Some(404), .. }) => Ok(true),
            Err(failure) => Err(failure.fault),
        }
    }

    /// May this account enter maintenance? None: nobody says.
    pub async fn level(&self) -> Result<Option<bool>, Fault> {
        let Some(user) = self.portal.login.user(&self.portal).await? else { return Ok(None) };
        let found = self.portal.find("system/user", &[("id", &user)]).await?;
        let row = found.rows.iter().find(|row| row["id"].as_str() == Some(&user));
        let Some(groups) = row.and_then(|row| row["groups"].as_array()) else { return Ok(None) };
        Ok(Some(groups.iter().filter_map(Value::as_str).any(|g| ["level2", "level3", "admin"].contains(&g))))
    }
}
