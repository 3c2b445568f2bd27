//! The documents of the lab's BMC: pure functions of one machine as it is seen now.
use super::sessions::{LIMIT, TIMEOUT};
use crate::lab::rack::{Flaw, Seen};
use serde_json::{Value, json};

/// What the rack knows how to do. `Nmi` and the rest are refused.
pub const VERBS: [&str; 6] = ["On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "PowerCycle"];
pub const TARGETS: [&str; 5] = ["None", "Pxe", "Hdd", "Cd", "BiosSetup"];
pub const SYSTEM: &str = "/redfish/v1/Systems/1";
pub const RESET: &str = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
pub const MANAGER_RESET: &str = "/redfish/v1/Managers/1/Actions/Manager.Reset";
pub const MANAGER_VERBS: [&str; 2] = ["GracefulRestart", "ForceRestart"];
pub const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// The resource at this path, without a slash at its end. `open`: ids of the open sessions.
pub fn resource(path: &str, seen: &Seen, username: &str, open: &[u64]) -> Option<Value> {
    let links = |paths: &[&str]| json!(paths.iter().map(|p| json!({ "@odata.id": p })).collect::<Vec<_>>());
    let collection = |kind: &str, name: &str, members: &[&str]| json!({ "@odata.type": format!("#{kind}.{kind}"), "Name": name, "Members@odata.count": members.len(), "Members": links(members) });
    let singletons = ["Systems", "Managers", "Chassis", "SessionService"].map(|n| json!({ "name": n, "kind": "Singleton", "url": format!("/redfish/v1/{n}") }));
    let healthy = json!({ "State": "Enabled", "Health": "OK" });
    let mut document = match path {
        "/redfish" => return Some(json!({ "v1": "/redfish/v1/" })),
        "/redfish/v1" => json!({
            "@odata.type": "#ServiceRoot.v1_16_0.ServiceRoot", "Id": "RootService", "Name": "Root Service", "RedfishVersion": "1.18.0",
            "UUID": service_uuid(&seen.spec.uuid), "Vendor": "pitstop lab", "Product": "Simulated BMC",
            "ProtocolFeaturesSupported": { "FilterQuery": false, "SelectQuery": false, "ExcerptQuery": false, "OnlyMemberQuery": false },
            "Systems": { "@odata.id": "/redfish/v1/Systems" }, "Managers": { "@odata.id": "/redfish/v1/Managers" }, "Chassis": { "@odata.id": "/redfish/v1/Chassis" },
            "SessionService": { "@odata.id": "/redfish/v1/SessionService" }, "UpdateService": { "@odata.id": "/redfish/v1/UpdateService" },
            "Tasks": { "@odata.id": "/redfish/v1/TaskService" }, "Links": { "Sessions": { "@odata.id": SESSIONS } },
        }),
        "/redfish/v1/odata" => json!({
            "@odata.context": "/redfish/v1/$metadata",
            "value": singletons,
        }),
        "/redfish/v1/SessionService" => json!({
            "@odata.type": "#SessionService.v1_1_8.SessionService", "Id": "SessionService", "Name": "Session Service", "ServiceEnabled": true,
            "SessionTimeout": TIMEOUT.as_secs(), "Status": healthy, "Sessions": { "@odata.id": SESSIONS },
        }),
        SESSIONS => {
            let paths: Vec<_> = open.iter().map(|id| format!("{SESSIONS}/{id}")).collect();
            let mut all = collection("SessionCollection", "Sessions", &paths.iter().map(String::as_str).collect::<Vec<_>>());
            all["Description"] = json!(format!("at most {LIMIT}"));
            all
        }
        "/redfish/v1/Systems" => collection("ComputerSystemCollection", "Systems", &["/redfish/v1/Systems/1"]),
        "/redfish/v1/Systems/1" => json!({
            "@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem", "Id": "1", "Name": seen.spec.name, "SystemType": "Physical",
            "Manufacturer": "pitstop lab", "Model": "Simulated machine", "SerialNumber": seen.spec.serial, "UUID": seen.spec.uuid,
            "PowerState": if seen.on { "On" } else { "Off" }, "LastResetTime": seen.last_reset, "BootProgress": { "LastState": progress(seen) },
            "Boot": {
                "BootSourceOverrideEnabled": seen.boot_override.enabled, "BootSourceOverrideTarget": seen.boot_override.target, "BootSourceOverrideMode": "UEFI",
                "BootSourceOverrideTarget@Redfish.AllowableValues": TARGETS,
                "BootOrder": if seen.flawed(Flaw::BootOrder) { ["Boot0000", "Boot0001"] } else { ["Boot0001", "Boot0000"] },
            },
            "SecureBoot": { "@odata.id": "/redfish/v1/Systems/1/SecureBoot" }, "Bios": { "@odata.id": "/redfish/v1/Systems/1/Bios" },
            "LocationIndicatorActive": seen.light,
            "LogServices": { "@odata.id": "/redfish/v1/Systems/1/LogServices" },
            "Status": { "State": if seen.on { "Enabled" } else { "StandbyOffline" }, "Health": "OK" },
            "Links": { "ManagedBy": links(&["/redfish/v1/Managers/1"]), "Chassis": links(&["/redfish/v1/Chassis/1"]) },
            "Actions": { "#ComputerSystem.Reset": {
                "target": RESET, "ResetType@Redfish.AllowableValues": VERBS, "@Redfish.ActionInfo": "/redfish/v1/Systems/1/ResetActionInfo",
            } },
        }),
        "/redfish/v1/Systems/1/ResetActionInfo" => json!({
            "@odata.type": "#ActionInfo.v1_3_0.ActionInfo", "Id": "ResetActionInfo", "Name": "Reset Action Info",
            "Parameters": [{ "Name": "ResetType", "Required": true, "DataType": "String", "AllowableValues": VERBS }],
        }),
        "/redfish/v1/Systems/1/SecureBoot" => {
            let on = !seen.flawed(Flaw::SecureBoot);
            json!({
                "@odata.type": "#SecureBoot.v1_1_0.SecureBoot", "Id": "SecureBoot", "Name": "UEFI Secure Boot",
                "SecureBootCurrentBoot": if on { "Enabled" } else { "Disabled" }, "SecureBootEnable": on, "SecureBootMode": "UserMode",
            })
        }
        "/redfish/v1/Systems/1/Bios" => json!({
            "@odata.type": "#Bios.v1_2_0.Bios", "Id": "BIOS", "Name": "BIOS Configuration", "AttributeRegistry": "BiosAttributeRegistry.v1_0_0",
            "Attributes": { "BootMode": "Uefi", "ProcCores": 32, "SriovGlobalEnable": "Enabled", "AdminPassword": Value::Null, "AcPwrRecovery": "Last" },
        }),
        "/redfish/v1/Managers" => collection("ManagerCollection", "Managers", &["/redfish/v1/Managers/1"]),
        "/redfish/v1/Managers/1" => json!({
            "@odata.type": "#Manager.v1_18_0.Manager", "Id": "1", "Name": "Simulated BMC", "ManagerType": "BMC", "Model": "pitstop lab",
            "FirmwareVersion": env!("CARGO_PKG_VERSION"), "PowerState": "On", "Status": healthy,
            "Links": { "ManagerForServers": links(&["/redfish/v1/Systems/1"]), "ManagerForChassis": links(&["/redfish/v1/Chassis/1"]) },
            "Actions": { "#Manager.Reset": { "target": MANAGER_RESET, "ResetType@Redfish.AllowableValues": MANAGER_VERBS } },
        }),
        "/redfish/v1/Chassis" => collection("ChassisCollection", "Chassis", &["/redfish/v1/Chassis/1"]),
        "/redfish/v1/Chassis/1" => json!({
            "@odata.type": "#Chassis.v1_23_0.Chassis", "Id": "1", "Name": seen.spec.name, "ChassisType": "RackMount", "SerialNumber": seen.spec.serial,
            "PowerState": if seen.on { "On" } else { "Off" }, "Status": healthy,
            "Links": { "ComputerSystems": links(&["/redfish/v1/Systems/1"]), "ManagedBy": links(&["/redfish/v1/Managers/1"]) },
        }),
        _ => {
            let id = path.strip_prefix(SESSIONS)?.strip_prefix('/')?.parse().ok().filter(|id| open.contains(id))?;
            session(id, username)
        }
    };
    let id = if path == "/redfish/v1" { "/redfish/v1/" } else { path };
    document["@odata.id"] = json!(id);
    Some(document)
}

pub fn session(id: u64, username: &str) -> Value {
    json!({
        "@odata.id": format!("{SESSIONS}/{id}"), "@odata.type": "#Session.v1_6_0.Session", "Id": id.to_string(), "Name": "User Session",
        "UserName": username, "Password": Value::Null,
    })
}

/// Where the boot stands, as far as a BMC can see it.
fn progress(seen: &Seen) -> &'static str {
    match (seen.on, seen.up) {
        (false, _) => "None",
        (true, false) => "SystemHardwareInitializationComplete",
        (true, true) => "OSRunning",
    }
}

/// Of the BMC itself. Never the system's: whoever takes the one for the other must fail in the lab, too.
fn service_uuid(system: &str) -> String {
    let swapped: String = system.chars().map(|c| c.to_digit(16).and_then(|d| char::from_digit(15 - d, 16)).unwrap_or(c)).collect();
    swapped.to_ascii_lowercase()
}

/// A refusal in Redfish's form. `id` is a message of the Base registry.
pub fn error(id: &str, message: &str, arguments: &[&str], severity: &str, resolution: &str) -> Value {
    let id = format!("Base.1.16.{id}");
    json!({ "error": {
        "code": id, "message": message,
        "@Message.ExtendedInfo": [{
            "@odata.type": "#Message.v1_1_2.Message", "MessageId": id, "Message": message, "MessageArgs": arguments, "MessageSeverity": severity, "Resolution": resolution,
        }],
    } })
}
