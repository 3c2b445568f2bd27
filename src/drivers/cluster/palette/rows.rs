//! Palette's objects, read leniently where clients differ and strictly where a guess could lose a workload.
//! Empty and false fields are left out of its answers: what is missing is false, and never a proof.
use crate::model::{Fault, FaultKind};
use serde_json::Value;

/// A cluster, as far as maintenance goes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cluster {
    pub cloud: String,
    pub config: String,
    pub state: String,
    /// `Pending`, `Approved`, `Reverted`.
    pub repave: String,
    /// When the latest upgrade was noted, and why.
    pub upgraded: Option<String>,
}

impl Cluster {
    /// `cloud`: the inventory's own word for the cloud type.
    pub fn of(row: &Value, cloud: Option<&str>) -> Result<Cluster, Fault> {
        let reference = &row["spec"]["cloudConfigRef"];
        let cloud = cloud.map(str::to_owned).or_else(|| text(&row["spec"], "cloudType")).or_else(|| text(reference, "kind"));
        let latest = row["status"]["upgrades"].as_array().and_then(|all| all.last());
        let reasons = |u: &Value| u["reason"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        Ok(Cluster {
            cloud: segment(cloud.ok_or_else(|| lacks("cluster", "spec.cloudType"))?)?,
            config: segment(text(reference, "uid").ok_or_else(|| lacks("cluster", "spec.cloudConfigRef.uid"))?)?,
            state: text(&row["status"], "state").unwrap_or_default(),
            repave: text(&row["status"]["repave"], "state").unwrap_or_default(),
            upgraded: latest.map(|u| format!("{} {}", text(u, "timestamp").unwrap_or_default(), reasons(u)).trim().to_owned()),
        })
    }

    /// Where its machines are asked for.
    pub fn path(&self) -> String {
        const BUILT_IN: [&str; 12] =
            ["aks", "apache-cloudstack", "aws", "azure", "edge-native", "eks", "gcp", "generic", "gke", "maas", "openstack", "vsphere"];
        let own = BUILT_IN.contains(&self.cloud.as_str()) || self.cloud == "virtual";
        if own { format!("/v1/cloudconfigs/{}/{}", self.cloud, self.config) } else { format!("/v1/cloudconfigs/cloudTypes/{}/{}", self.cloud, self.config) }
    }
    /// Auto-remediation leaves these alone.
    pub fn is_never_remediated(&self) -> bool {
        matches!(self.cloud.as_str(), "eks" | "aks")
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pool {
    pub name: String,
    pub control_plane: bool,
}

pub fn pools(row: &Value) -> Result<Vec<Pool>, Fault> {
    let list = row["spec"]["machinePoolConfig"].as_array().filter(|l| !l.is_empty()).ok_or_else(|| lacks("cloud config", "spec.machinePoolConfig"))?;
    let pool = |p: &Value| {
        let name = segment(text(p, "name").ok_or_else(|| lacks("machine pool", "name"))?)?;
        Ok(Pool { name, control_plane: p["isControlPlane"] == true || p["isMaster"] == true })
    };
    list.iter().map(pool).collect()
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Machine {
    pub pool: Pool,
    pub uid: String,
    pub name: String,
    pub hostname: Option<String>,
    pub addresses: Vec<String>,
    pub ready: bool,
    /// `Running`, `Deleting`, …
    pub state: String,
    /// Health conditions that are not as they should be.
    pub unwell: Vec<String>,
    pub heartbeat: Option<String>,
    pub maintenance: Maintenance,
}

/// What the agent last said about maintenance: the action that was asked for, and how far that one is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintenance {
    pub action: String,
    pub state: String,
    pub message: String,
}

/// Action *and* state: `Completed` alone may be that of the action before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    InService,
    Entering,
    In,
    EnterFailed,
    Leaving,
    LeaveFailed,
    /// A word that nobody here knows.
    Odd,
}

impl Maintenance {
    pub fn mode(&self) -> Mode {
        match (self.action.as_str(), self.state.as_str()) {
            ("", "") => Mode::InService,
            ("cordon", "complete" | "completed") => Mode::In,
            ("cordon", "failed") => Mode::EnterFailed,
            ("cordon", "" | "initiated" | "inprogress" | "in progress") => Mode::Entering,
            ("uncordon", "complete" | "completed") => Mode::InService,
            ("uncordon", "failed") => Mode::LeaveFailed,
            ("uncordon", "" | "initiated" | "inprogress" | "in progress") => Mode::Leaving,
            _ => Mode::Odd,
        }
    }
}

impl Machine {
    pub fn of(row: &Value, pool: &Pool) -> Result<Machine, Fault> {
        let uid = segment(text(&row["metadata"], "uid").ok_or_else(|| lacks("machine", "metadata.uid"))?)?;
        let status = &row["status"];
        let maintenance = &status["maintenanceStatus"];
        let word = |key: &str| text(maintenance, key).unwrap_or_default().to_ascii_lowercase();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let unwell = |c: &Value| {
            let (kind, is) = (text(c, "type")?, text(c, "status")?);
            // Ready should be true; every pressure and unavailability false.
            let well = if kind.eq_ignore_ascii_case("ready") { "true" } else { "false" };
            (!is.eq_ignore_ascii_case(well) && (kind.eq_ignore_ascii_case("ready") || kind.ends_with("Pressure") || kind.ends_with("Unavailable")))
                .then(|| format!("{kind} is {is}: {}", text(c, "message").or_else(|| text(c, "reason")).unwrap_or_default()))
        };
        Ok(Machine {
            pool: pool.clone(),
            name: text(&row["metadata"], "name").unwrap_or_else(|| uid.clone()),
            uid,
            hostname: ["hostname", "hostName"].iter().find_map(|key| text(&row["spec"], key)),
            addresses: list(&status["addresses"]).iter().filter(|a| a["type"] == "InternalIP").filter_map(|a| text(a, "address")).collect(),
            ready: status["ready"] == true,
            state: text(status, "instanceState").unwrap_or_default(),
            unwell: list(&status["health"]["conditions"]).iter().filter_map(unwell).collect(),
            heartbeat: text(&status["health"], "lastHeartBeatTimestamp"),
            maintenance: Maintenance { action: word("action"), state: word("state"), message: text(maintenance, "message").unwrap_or_default() },
        })
    }
    pub fn mode(&self) -> Mode {
        self.maintenance.mode()
    }
    /// Remediation or repave is taking it away.
    pub fn goes_away(&self) -> bool {
        matches!(self.state.as_str(), "Deleting" | "Deleted")
    }
    /// The names it has in Kubernetes, the likeliest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [Some(self.name.as_str()), self.hostname.as_deref()].into_iter().flatten()
    }
}

/// By the name in the inventory: the machine's own, else its host's, else its address; and of each kind one alone.
pub fn find<'a>(machines: &'a [Machine], name: &str) -> Result<Option<&'a Machine>, Fault> {
    let by: [fn(&Machine, &str) -> bool; 3] = [|m, n| m.name == n, |m, n| m.hostname.as_deref() == Some(n), |m, n| m.addresses.iter().any(|a| a == n)];
    for matches in by {
        let found: Vec<&Machine> = machines.iter().filter(|m| matches(m, name)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(Some(one)),
            many => {
                let uids: Vec<&str> = many.iter().map(|m| m.uid.as_str()).collect();
                return Err(Fault::new(FaultKind::Invalid, format!("Palette has several machines {name}")).cause(format!("uids {}", uids.join(", "))));
            }
        }
    }
    Ok(None)
}

/// A pod in Palette's own inventory of the cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub node: Option<String>,
    pub machine: Option<String>,
    pub owners: Vec<String>,
    pub phase: String,
}

/// None: not an object that could be a pod.
pub fn pods(answer: &Value) -> Option<Vec<Pod>> {
    let list = match &answer["pods"] {
        Value::Array(list) => list.as_slice(),
        // Empty fields are left out.
        Value::Null if answer.as_object().is_some_and(|o| !o.contains_key("code")) => &[],
        _ => return None,
    };
    let pod = |p: &Value| {
        let meta = &p["metadata"];
        Pod {
            namespace: text(meta, "namespace").unwrap_or_else(|| "default".into()),
            name: text(&meta["entity"], "name").or_else(|| text(meta, "name")).unwrap_or_else(|| "?".into()),
            node: text(meta, "nodename"),
            machine: text(meta, "machineUid"),
            owners: meta["associatedRefs"].as_array().into_iter().flatten().filter_map(|r| text(r, "kind")).collect(),
            phase: text(&p["status"], "phase").unwrap_or_default(),
        }
    };
    Some(list.iter().map(pod).collect())
}

/// The two booleans of auto-remediation, at project and at tenant. What they mean together is nowhere written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remediation {
    pub project: (bool, bool),
    pub tenant: (bool, bool),
}
impl Remediation {
    pub fn of(row: &Value) -> Remediation {
        let pair = |v: &Value| {
            let setting = &v["nodesAutoRemediationSetting"];
            (setting["disableNodesAutoRemediation"] == true, setting["isEnabled"] == true)
        };
        Remediation { project: pair(row), tenant: pair(&row["tenantClusterSettings"]) }
    }
    /// Proven: the setting in force says in so many words that it is disabled.
    pub fn is_off(&self) -> bool {
        let (disabled, _) = if self.project.1 { self.project } else { self.tenant };
        disabled
    }
}

/// What goes into a path must need no escaping there.
pub fn segment(text: String) -> Result<String, Fault> {
    let plain = !text.is_empty() && !text.starts_with('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if plain { Ok(text) } else { Err(Fault::new(FaultKind::Invalid, format!("Palette: `{text}` is no identifier"))) }
}
pub fn text(row: &Value, field: &str) -> Option<String> {
    row[field].as_str().map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned)
}
pub fn lacks(what: &str, field: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("Palette: a {what} without `{field}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn action_and_state_together_say_where_it_stands() {
        let mode = |action: &str, state: &str| Maintenance { action: action.into(), state: state.into(), message: String::new() }.mode();
        for (action, state, expected) in [
            ("", "", Mode::InService),
            ("cordon", "", Mode::Entering),
            ("cordon", "initiated", Mode::Entering),
            ("cordon", "inprogress", Mode::Entering),
            ("cordon", "completed", Mode::In),
            ("cordon", "complete", Mode::In),
            ("cordon", "failed", Mode::EnterFailed),
            ("uncordon", "completed", Mode::InService),
            ("uncordon", "initiated", Mode::Leaving),
            ("uncordon", "failed", Mode::LeaveFailed),
            // A state without its action is nobody's.
            ("", "completed", Mode::Odd),
            ("cordon", "paused", Mode::Odd),
            ("drain", "completed", Mode::Odd),
        ] {
            assert_eq!(mode(action, state), expected, "{action} {state}");
        }
    }

    #[test]
    fn machines_are_found_by_name_host_or_address_and_never_twice() {
        let machine = |uid: &str, name: &str, host: &str, ip: &str| {
            let row = json!({ "metadata": { "uid": uid, "name": name }, "spec": { "hostName": host },
                "status": { "ready": true, "instanceState": "Running", "addresses": [{ "address": ip, "type": "InternalIP" }, { "address": "198.51.100.1", "type": "ExternalIP" }] } });
            Machine::of(&row, &Pool::default()).unwrap()
        };
        let all = [machine("1", "dc1-w-01", "w-01", "192.0.2.1"), machine("2", "dc1-w-02", "w-02", "192.0.2.2"), machine("3", "w-01", "w-09", "192.0.2.2")];
        let uid = |name: &str| find(&all, name).map(|m| m.map(|m| m.uid.clone()));
        assert_eq!(uid("dc1-w-02").unwrap().as_deref(), Some("2"));
        assert_eq!(uid("w-01").unwrap().as_deref(), Some("3"), "the machine's own name comes first");
        assert_eq!(uid("w-02").unwrap().as_deref(), Some("2"));
        assert_eq!(uid("192.0.2.1").unwrap().as_deref(), Some("1"));
        assert_eq!(uid("198.51.100.1").unwrap(), None);
        assert_eq!(uid("192.0.2.2").unwrap_err().kind, FaultKind::Invalid);
        assert_eq!(uid("w-07").unwrap(), None);
    }

    #[test]
    fn what_is_missing_is_false_and_what_names_a_path_is_plain() {
        let bare = Machine::of(&json!({ "metadata": { "uid": "67m" } }), &Pool::default()).unwrap();
        assert!(!bare.ready && bare.mode() == Mode::InService && bare.name == "67m");
        for uid in ["", "../67m", "a/b", "a b", "."] {
            assert!(Machine::of(&json!({ "metadata": { "uid": uid } }), &Pool::default()).is_err(), "{uid}");
        }
        let cluster = |cloud: &str| Cluster::of(&json!({ "spec": { "cloudType": cloud, "cloudConfigRef": { "uid": "66f" } } }), None).unwrap().path();
        assert_eq!(cluster("maas"), "/v1/cloudconfigs/maas/66f");
        assert_eq!(cluster("acme-metal"), "/v1/cloudconfigs/cloudTypes/acme-metal/66f");
    }

    #[test]
    fn remediation_is_off_only_where_the_setting_in_force_says_so() {
        let pair = |disabled: bool, enabled: bool| json!({ "disableNodesAutoRemediation": disabled, "isEnabled": enabled });
        for (project, tenant, off) in [
            (json!({}), json!({}), false),
            (pair(true, true), json!({}), true),
            (pair(true, false), json!({}), false),
            (json!({}), pair(true, true), true),
            (pair(false, true), pair(true, true), false),
            (json!({}), pair(false, true), false),
        ] {
            let row = json!({ "nodesAutoRemediationSetting": project, "tenantClusterSettings": { "nodesAutoRemediationSetting": tenant } });
            assert_eq!(Remediation::of(&row).is_off(), off, "{row}");
        }
    }
}
