//! A virtual machine as KubeVirt shows it: where it runs, whether it can move, what its owner wants when it stops, and its migrations.
use crate::{
    drivers::cluster::kube_api::{Api, Call},
    model::{Fault, FaultKind},
};
use k8s_openapi::api::core::v1::Pod;
use kube::core::params::ListParams;
use serde_json::Value;

pub const GROUP: &str = "kubevirt.io";
pub const ALL: &str = "/apis/kubevirt.io/v1";

pub fn path(namespace: &str, plural: &str) -> String {
    format!("{ALL}/namespaces/{namespace}/{plural}")
}

/// Whether it runs again after KubeVirt has shut it down, and why.
#[derive(Debug, Clone, PartialEq)]
pub enum Back {
    Elsewhere(String),
    Never(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Vm {
    pub namespace: String,
    pub name: String,
    /// Where it runs now: a launcher elsewhere is the target of its migration.
    pub node: String,
    pub phase: String,
    /// Evicted from this node, and on its way.
    pub evacuated_from: Option<String>,
    /// Its own; the cluster's where it has none and that could be read.
    pub strategy: Option<String>,
    /// None: it has only just started.
    pub migratable: Option<bool>,
    pub why_not: Option<String>,
    pub back: Back,
    /// The VirtualMachine over it, with its runStrategy: what can be stopped and started.
    pub owner: Option<Owner>,
    pub failure: Option<String>,
    /// Disks are copied: slow.
    pub copies_disks: bool,
    /// What its DMI says inside.
    pub uuid: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Owner {
    pub strategy: String,
}

impl Vm {
    pub fn told(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn text(v: &Value) -> Option<String> {
    v.as_str().filter(|t| !t.is_empty()).map(str::to_owned)
}

/// `Always`, from either field it may stand in.
pub fn run_strategy(vm: &Value) -> String {
    match (vm["spec"]["runStrategy"].as_str(), vm["spec"]["running"].as_bool()) {
        (Some(strategy), _) => strategy.to_owned(),
        (None, Some(true)) => "Always".into(),
        _ => "Halted".into(),
    }
}

/// The VMI that a virt-launcher (or a hotplug) pod belongs to.
pub fn vmi_of(pod: &Pod) -> Option<(String, String)> {
    let namespace = pod.metadata.namespace.clone()?;
    let owner = pod.metadata.owner_references.iter().flatten().find(|o| o.kind == "VirtualMachineInstance").map(|o| o.name.clone());
    let marked = pod.metadata.annotations.iter().flatten().find(|(k, _)| *k == "kubevirt.io/domain").map(|(_, v)| v.clone());
    Some((namespace, owner.or(marked)?))
}

pub async fn read(api: &Api, namespace: &str, name: &str, default: Option<&str>) -> Result<Option<Vm>, Fault> {
    let what = format!("read VMI {namespace}/{name}");
    let Some((vmi, _)) = api.get::<Value>(&what, &path(namespace, "virtualmachineinstances"), name).await? else { return Ok(None) };
    let controller = vmi["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true);
    let owner = match controller.and_then(|o| o["kind"].as_str()) {
        Some("VirtualMachine") => {
            let vm = api.get::<Value>(&format!("read VM {namespace}/{name}"), &path(namespace, "virtualmachines"), name).await?;
            vm.map(|(vm, _)| Owner { strategy: run_strategy(&vm) })
        }
        _ => None,
    };
    let back = match (&owner, controller.and_then(|o| o["kind"].as_str())) {
        (Some(owner), _) => match owner.strategy.as_str() {
            "Always" => Back::Elsewhere("runStrategy Always".into()),
            "RerunOnFailure" => Back::Never("runStrategy RerunOnFailure starts it again only if it fails".into()),
            other => Back::Never(format!("runStrategy {other}")),
        },
        (None, Some(kind)) => Back::Elsewhere(format!("replaced by its {kind}")),
        (None, None) => Back::Never("no VirtualMachine owns it".into()),
    };
    let condition = vmi["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "LiveMigratable");
    let said = |c: &Value| [text(&c["reason"]), text(&c["message"])].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let state = &vmi["status"]["migrationState"];
    Ok(Some(Vm {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        node: text(&vmi["status"]["nodeName"]).unwrap_or_default(),
        phase: text(&vmi["status"]["phase"]).unwrap_or_default(),
        evacuated_from: text(&vmi["status"]["evacuationNodeName"]),
        strategy: text(&vmi["spec"]["evictionStrategy"]).or(default.map(str::to_owned)),
        migratable: condition.map(|c| c["status"] == "True"),
        why_not: condition.filter(|c| c["status"] != "True").map(said),
        back,
        owner,
        failure: Some(state).filter(|s| s["failed"] == true).and_then(|s| text(&s["failureReason"])),
        copies_disks: vmi["status"]["migrationMethod"] == "BlockMigration",
        uuid: text(&vmi["spec"]["domain"]["firmware"]["uuid"]),
    }))
}

/// The evictionStrategy of VMs that name none.
pub async fn cluster_strategy(api: &Api) -> Option<String> {
    // Only words hang on it: what really happens the webhook says.
    let (all, _) = api.list::<Value>("list KubeVirts", &format!("{ALL}/kubevirts"), None).await.ok()?;
    all.iter().find_map(|kv| text(&kv["spec"]["configuration"]["evictionStrategy"]))
}

/// VMIs running on the node, as JSON.
pub async fn on_node(api: &Api, node: &str) -> Result<Vec<Value>, Fault> {
    let params = ListParams::default().labels(&format!("kubevirt.io/nodeName={node}"));
    items(api, &format!("list the VMs of {node}"), "virtualmachineinstances", params).await
}

async fn items(api: &Api, what: &str, plural: &str, params: ListParams) -> Result<Vec<Value>, Fault> {
    let mut list: Value = api.ask(what, Call::List { path: &format!("{ALL}/{plural}"), params }).await?.parse(what)?;
    match list["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(Fault::new(FaultKind::Invalid, format!("{what}: a list without items"))),
    }
}

/// A migration that an evacuation of `node` made.
#[derive(Debug, Clone)]
pub struct Migration {
    pub name: String,
    pub uid: String,
    pub vmi: (String, String),
    pub phase: String,
    created: String,
    /// `migrationRejectedByResourceQuota`: why it does not go on.
    pub held: Option<String>,
}
impl Migration {
    pub fn ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

pub async fn migrations(api: &Api, node: &str) -> Result<Vec<Migration>, Fault> {
    let all = items(api, "list live migrations", "virtualmachineinstancemigrations", ListParams::default()).await?;
    let mine = all.iter().filter(|m| m["metadata"]["annotations"]["kubevirt.io/evacuationMigration"] == node);
    let mut mine: Vec<Migration> = mine
        .map(|m| {
            let meta = &m["metadata"];
            let stops = |c: &&Value| {
                c["status"] == "True" && c["type"].as_str().is_some_and(|t| t.starts_with("migrationRejected") || t.starts_with("migrationBlocked"))
            };
            let held = m["status"]["conditions"].as_array().into_iter().flatten().find(stops).and_then(|c| text(&c["type"]));
            Migration {
                name: text(&meta["name"]).unwrap_or_default(),
                uid: text(&meta["uid"]).unwrap_or_default(),
                vmi: (text(&meta["namespace"]).unwrap_or_default(), text(&m["spec"]["vmiName"]).unwrap_or_default()),
                phase: text(&m["status"]["phase"]).unwrap_or_else(|| "Pending".into()),
                created: text(&meta["creationTimestamp"]).unwrap_or_default(),
                held,
            }
        })
        .collect();
    mine.sort_by(|a, b| a.created.cmp(&b.created));
    Ok(mine)
}

/// After so many failures in a row somebody has to look: KubeVirt itself would go on for ever.
pub const PATIENCE: usize = 3;

/// How far a VM that was told to leave is: words, and whether it is stuck.
pub fn progress(vm: &Vm, migrations: &[Migration]) -> (String, bool) {
    let mine: Vec<&Migration> = migrations.iter().filter(|m| m.vmi == (vm.namespace.clone(), vm.name.clone())).collect();
    let failed = mine.iter().rev().filter(|m| m.ended()).take_while(|m| m.phase == "Failed").count();
    let why = vm.failure.as_deref().map(|f| format!(": {f}")).unwrap_or_default();
    let slow = if vm.copies_disks { ", its disks are copied" } else { "" };
    let active = mine.iter().find(|m| !m.ended());
    let held = active.and_then(|m| m.held.as_deref()).map(|h| format!(", held by {h}")).unwrap_or_default();
    match (failed, active) {
        (n, _) if n >= PATIENCE => (format!("blocked: its live migration failed {n} times{why}"), true),
        (0, Some(m)) => (format!("live migration {} is {}{slow}{held}", m.name, m.phase), false),
        (n, Some(m)) => (format!("live migration {} is {}{slow}{held}, after {n} that failed{why}", m.name, m.phase), false),
        (0, None) => ("waits for its live migration to begin".into(), false),
        (n, None) => (format!("waits for its next live migration, after {n} that failed{why}"), false),
    }
}
