//! Makers' ways, as the lab's BMCs show them over Redfish: which verbs and where, at which addresses, and how a refusal looks.
use super::rack::PowerAnswer;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    Dell,
    Hpe,
    Supermicro,
    Lenovo,
    Ami,
    OpenBmc,
}
use Maker::*;

const SYSTEM: &str = "/redfish/v1/Systems/1";
const MANAGER: &str = "/redfish/v1/Managers/1";
/// A tray of accelerators behind the same BMC: a system that nobody can reset.
const TRAY: &str = "/redfish/v1/Systems/HGX_Baseboard_0";

/// What becomes of a request for a reset: a status and a body, before the machine is asked.
pub type Said = (u16, Value);

impl Maker {
    /// Machine `n` of the rack, counted from 1: one after another.
    pub fn of(n: usize) -> Maker {
        [Dell, Hpe, Supermicro, Lenovo, Ami, OpenBmc][(n + 5) % 6]
    }

    /// Of those the rack knows.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Dell | Supermicro | OpenBmc => &["On", "ForceOff", "ForceRestart", "GracefulRestart", "GracefulShutdown", "PowerCycle"],
            Hpe | Lenovo => &["On", "ForceOff", "GracefulShutdown", "ForceRestart", "GracefulRestart"],
            Ami => &["ForceOff", "ForceRestart", "GracefulShutdown", "On"],
        }
    }

    /// System and manager.
    fn ids(self) -> (&'static str, &'static str) {
        match self {
            Dell => ("System.Embedded.1", "iDRAC.Embedded.1"),
            Ami => ("DGX", "BMC"),
            OpenBmc => ("system", "bmc"),
            Hpe | Supermicro | Lenovo => ("1", "1"),
        }
    }

    /// A path as the rest of the lab knows it.
    pub fn inbound(self, path: &str) -> String {
        let (system, manager) = self.ids();
        let own = [(format!("/redfish/v1/Systems/{system}"), SYSTEM), (format!("/redfish/v1/Managers/{manager}"), MANAGER)];
        for (own, known) in &own {
            match path.strip_prefix(own.as_str()) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => return format!("{known}{rest}"),
                _ if own != known && path.starts_with(known) => return "/redfish/v1/nothing".into(),
                _ => {}
            }
        }
        path.to_owned()
    }

    /// The same in everything that is answered.
    pub fn outbound(self, text: &str) -> String {
        let (system, manager) = self.ids();
        let mut text = text.to_owned();
        for (known, own) in [(SYSTEM, format!("/redfish/v1/Systems/{system}")), (MANAGER, format!("/redfish/v1/Managers/{manager}"))] {
            text = text.replace(&format!("{known}\""), &format!("{own}\"")).replace(&format!("{known}/"), &format!("{own}/"));
        }
        text
    }

    /// A document that only this maker has.
    pub fn more(self, path: &str) -> Option<Value> {
        (self == Ami && path == TRAY).then(|| {
            json!({ "@odata.id": TRAY, "@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem", "Id": "HGX_Baseboard_0", "Name": "Baseboard", "SystemType": "Physical",
                    "PowerState": "On", "Status": { "State": "Enabled", "Health": "OK" } })
        })
    }

    pub fn dress(self, path: &str, document: &mut Value) {
        match path {
            SYSTEM => self.dress_system(document),
            "/redfish/v1/Systems/1/ResetActionInfo" => document["Parameters"][0]["AllowableValues"] = json!(self.verbs()),
            "/redfish/v1/Systems" if self == Ami => {
                document["Members@odata.count"] = json!(2);
                document["Members"] = json!([{ "@odata.id": TRAY }, { "@odata.id": SYSTEM }]);
            }
            MANAGER => document["Id"] = json!(self.ids().1),
            _ => {}
        }
    }

    fn dress_system(self, system: &mut Value) {
        system["Id"] = json!(self.ids().0);
        let reset = &mut system["Actions"]["#ComputerSystem.Reset"];
        match self {
            Dell | Hpe => drop(reset.as_object_mut().and_then(|r| r.remove("@Redfish.ActionInfo"))),
            Supermicro | Ami | OpenBmc => drop(reset.as_object_mut().and_then(|r| r.remove("ResetType@Redfish.AllowableValues"))),
            Lenovo => {}
        }
        if reset.get("ResetType@Redfish.AllowableValues").is_some() {
            reset["ResetType@Redfish.AllowableValues"] = json!(self.verbs());
        }
        system["Manufacturer"] = json!(match self {
            Dell => "Dell Inc.",
            Hpe => "HPE",
            Supermicro => "Supermicro",
            Lenovo => "Lenovo",
            Ami => "NVIDIA",
            OpenBmc => "OpenBMC",
        });
        match self {
            Dell => {
                // The service tag is what SMBIOS shows as serial.
                system["SKU"] = system["SerialNumber"].take();
                system["SerialNumber"] = json!("CNFCP0012345678");
                drop(system.as_object_mut().and_then(|s| s.remove("BootProgress")));
            }
            Hpe => {
                system["UUID"] = json!(system["UUID"].as_str().map(str::to_ascii_uppercase));
                drop(system.as_object_mut().and_then(|s| s.remove("BootProgress")));
            }
            Lenovo => {
                system["LastResetTime"] = json!("0000-00-00T00:00:00Z");
                system["BootProgress"] = Value::Null;
            }
            Supermicro => system["Status"]["Health"] = Value::Null,
            Ami => system["Members"] = Value::Null,
            OpenBmc => system["LastResetTime"] = json!("1970-01-01T00:00:12Z"),
        }
    }

    /// What is said to a verb; `None`: as every BMC says it.
    pub fn answer(self, answer: PowerAnswer) -> Option<Said> {
        let success = |code: &str| json!({ "error": { "code": code, "message": "See @Message.ExtendedInfo.", "@Message.ExtendedInfo": [{ "MessageId": "Base.1.4.Success" }] } });
        let refused = |info: Value| json!({ "error": { "code": "Base.1.12.GeneralError", "message": "See ExtendedInfo.", "@Message.ExtendedInfo": info } });
        match (self, answer) {
            (Hpe, PowerAnswer::Accepted) => Some((200, success("iLO.0.10.ExtendedInfo"))),
            (Supermicro, PowerAnswer::Accepted) => Some((200, success("Base.1.4.Success"))),
            // An object where the standard has a list.
            (Dell, PowerAnswer::WrongState) => Some((
                409,
                refused(json!({ "MessageId": "IDRAC.2.8.PSU501", "Message": "Unable to complete the operation because the server is already in that state." })),
            )),
            (Hpe, PowerAnswer::WrongState) => Some((400, refused(json!([{ "MessageId": "iLO.2.15.InvalidOperationForSystemState" }])))),
            (Lenovo, PowerAnswer::WrongState) => Some((204, Value::Null)),
            _ => None,
        }
    }

    /// Of a write to a resource whose tag is `current`: the status of the refusal, where its condition is not taken.
    pub fn condition(self, asked: Option<&str>, current: &str) -> Option<u16> {
        match (self, asked) {
            (Lenovo, None) => Some(428),
            (Ami, Some("*")) => None,
            (Ami, _) => Some(412),
            (Hpe, Some("*")) => Some(412),
            (_, None | Some("*")) => None,
            (_, Some(tag)) => (tag != current).then_some(412),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_there_and_back() {
        for maker in (1..=6).map(Maker::of) {
            let shown = maker.outbound("{\"@odata.id\":\"/redfish/v1/Systems/1/ResetActionInfo\"}");
            let path = shown.split('"').nth(3).unwrap_or_default();
            assert_eq!(maker.inbound(path), "/redfish/v1/Systems/1/ResetActionInfo", "{maker:?}");
            assert_eq!(maker.inbound("/redfish/v1/SessionService/Sessions/7"), "/redfish/v1/SessionService/Sessions/7");
        }
        assert_eq!(Dell.inbound("/redfish/v1/Systems/1"), "/redfish/v1/nothing", "only its own");
        assert_eq!((Maker::of(1), Maker::of(6), Maker::of(7)), (Dell, OpenBmc, Dell));
    }
}
