//! The configuration, and reading as makers write: what is odd is absent, and spoils nothing else.
use super::{
    Config, inventory,
    read::{self, Refusal, System},
    tasks,
};
use crate::{
    kinds::{Config as _, Kind},
    model::{Power, ResetType},
};
use serde_json::{Value, json};
use toml::{Spanned, de::DeValue};

fn checked(more: &str) -> Result<Value, String> {
    let text = format!("username = {{ env = \"U\" }}\npassword = {{ env = \"P\" }}\n{more}");
    let table = toml::de::DeTable::parse(&text).unwrap();
    let span = table.span();
    (Kind::<dyn super::BmcConfig>::of::<Config>().check)(Spanned::new(span, DeValue::Table(table.into_inner()))).map_err(|e| e.to_string())
}

#[test]
fn what_a_config_may_say() {
    let check = |more: &str, problem: &str| match checked(more) {
        Ok(_) => assert_eq!(problem, "", "{more} is taken"),
        Err(e) => assert!(!problem.is_empty() && e.contains(problem), "{more}: {e}"),
    };
    check("url = \"https://192.0.2.11\"", "");
    check("url = \"https://[2001:db8::11]:8443/\"", "");
    check("url = \"https://bmc.example\"\ntls = { ca_file = \"ca.pem\" }\nauth = \"basic\"\nsystem_id = \"1\"", "");
    check(&format!("url = \"https://bmc.example\"\ntls = {{ sha256 = \"{}\" }}", ["9F"; 32].join(":")), "");
    check("url = \"http://127.0.0.1:8000\"\ntls = \"insecure\"", "");
    check("url = \"http://127.0.0.1:8000\"", "in the clear");
    check("url = \"ftp://bmc.example\"", "needs https");
    check("url = \"bmc.example\"", "`url = \"bmc.example\"`");
    check("url = \"https://root:calvin@bmc.example\"", "holds credentials");
    check("url = \"https://bmc.example/redfish/v1\"", "scheme, address and port only");
    check("url = \"https://bmc.example\"\ntls = { sha256 = \"9f\" }", "64 hex digits");
    check("url = \"https://bmc.example\"\ntls = \"none\"", "unknown variant `none`");
    check("url = \"https://bmc.example\"\ntimeout = \"5s\"", "must be shorter");
    check("url = \"https://bmc.example\"\ntimout = \"5s\"", "unknown field `timout`");
    // A secret that was put into an address is not shown.
    assert!(!checked("url = \"https://root:calvin@bmc.example\"").unwrap_err().lines().next_back().unwrap().contains("calvin"));
}

#[test]
fn host_and_endpoint_carry_no_decoration() {
    let config = |url: &str| serde_json::from_value::<Config>(json!({ "url": url, "username": { "env": "U" }, "password": { "env": "P" } })).unwrap().make();
    assert_eq!(config("https://[2001:db8::11]:8443/").host(), "2001:db8::11");
    assert_eq!(config("https://192.0.2.11/").endpoint(), "https://192.0.2.11");
    assert_eq!(config("https://bmc.example:444").host(), "bmc.example");
}

/// Shapes as makers serve them, written from memory of their documents' form.
fn corpus() -> Vec<Value> {
    vec![
        json!({ "Id": "System.Embedded.1", "Manufacturer": "Dell Inc.", "Model": "PowerEdge R750", "SKU": "J4X12S3", "SerialNumber": "CNIVC0012345",
            "UUID": "4c4c4544-0051-3010-8052-b4c04f4e4d32", "PowerState": "On", "LastResetTime": "2026-01-02T03:04:05-06:00",
            "Links": { "ManagedBy": [{ "@odata.id": "/redfish/v1/Managers/iDRAC.Embedded.1" }], "ManagedBy@odata.count": 1 },
            "Actions": { "#ComputerSystem.Reset": { "target": "/redfish/v1/Systems/System.Embedded.1/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart", "GracefulRestart", "GracefulShutdown", "PushPowerButton", "Nmi", "PowerCycle"] } } }),
        json!({ "Id": "1", "Manufacturer": "Lenovo", "SerialNumber": 1234567, "UUID": null, "PowerState": "PoweringOff", "Oem": { "Lenovo": { "NumberOfReboots": 41 } },
            "Actions": { "#ComputerSystem.Reset": { "target": "/r", "@Redfish.ActionInfo": "/i", "ResetType@Redfish.AllowableValues": null } } }),
        json!({ "Id": null, "Actions": "none", "Links": [], "PowerState": { "State": "On" }, "LastResetTime": "0000-00-00T00:00:00Z", "SerialNumber": " " }),
        json!({ "Members": [{ "@odata.id": "/a" }, { "@odata.id": 7 }, {}, null], "Members@odata.nextLink": "/b" }),
        json!({ "Parameters": [{ "Name": "Other" }, { "Name": "ResetType", "AllowableValues": ["On", 5, "ForceOff"] }] }),
        json!({ "error": { "code": "iLO.0.10.ExtendedInfo", "message": "See @Message.ExtendedInfo for more information.",
            "@Message.ExtendedInfo": [{ "MessageId": "iLO.2.14.InvalidOperationForSystemState", "MessageArgs": null }] } }),
        json!({ "@odata.type": "#Task.v1_4_3.Task", "Id": "7", "Name": "Update", "TaskState": "Running", "TaskStatus": "OK", "PercentComplete": 41, "EndTime": null,
            "Messages": [{ "MessageId": "Update.1.0.TransferringToComponent", "Message": "Transferring." }], "Payload": { "JsonBody": "{}" } }),
        json!({ "@odata.type": "#DellJob.v1_4_0.DellJob", "Id": "JID_1", "JobState": "Scheduled", "Message": "Task successfully scheduled.", "PercentComplete": 0 }),
        json!({ "@odata.type": "#SoftwareInventory.v1_2_3.SoftwareInventory", "Id": "BIOS", "Version": "2.19.0", "Updateable": true, "ReleaseDate": "T00:00:00Z" }),
        json!({ "error": { "@Message.ExtendedInfo": { "MessageId": "IDRAC.2.8.PSU501", "Message": "Unable to perform\nthe operation." } } }),
    ]
}

#[test]
fn makers_read() {
    let docs = corpus();
    let dell = System::read(&docs[0]);
    assert_eq!((dell.identity.serial.as_deref(), dell.power, dell.product.as_deref()), (Some("J4X12S3"), Power::On, Some("Dell Inc. PowerEdge R750")));
    assert_eq!(dell.manager.as_deref(), Some("/redfish/v1/Managers/iDRAC.Embedded.1"));
    let verbs = dell.reset.unwrap().verbs.unwrap();
    assert_eq!((verbs.len(), read::known(&verbs).len()), (8, 6));
    assert!(read::known(&verbs).contains(&ResetType::PowerCycle));

    let lenovo = System::read(&docs[1]);
    assert_eq!((lenovo.identity.uuid, lenovo.identity.serial.as_deref(), lenovo.power), (None, Some("1234567"), Power::Unknown));
    assert_eq!(lenovo.marker.as_deref(), Some("reboot 41"));
    assert_eq!(lenovo.reset.map(|r| (r.verbs, r.info)), Some((None, Some("/i".into()))));

    let nothing = System::read(&docs[2]);
    assert_eq!((nothing.reset, nothing.marker, nothing.power, nothing.identity.is_empty()), (None, None, Power::Unknown, true));
    assert_eq!(read::members(&docs[3]), (vec!["/a".into(), "7".into()], Some("/b".into())));
    assert_eq!(read::action_info(&docs[4]), Some(vec!["On".into(), "5".into(), "ForceOff".into()]));
    assert!(Refusal::read(&docs[5]).says(&["InvalidOperationForSystemState"]));
    assert_eq!(Refusal::read(docs.last().unwrap()).texts, ["Unable to perform the operation"]);
}

/// What is not clearly at its end is live, and only what says so waits for a reset.
#[test]
fn tasks_read() {
    let read = |doc: Value| tasks::task("/t/1", &doc);
    let live = |doc: Value| read(doc.clone()).is_some_and(|t| t.ended.is_none() && t.task.id == "/t/1") && !read(doc).unwrap().task.waits_for_reset;
    for state in ["New", "Starting", "Running", "Suspended", "Interrupted", "Stopping", "Cancelling", "Downloading", "Vendor word"] {
        assert!(live(json!({ "TaskState": state, "PercentComplete": 3 })), "{state}");
    }
    assert!(live(json!({ "@odata.type": "#Task.v1_7_1.Task", "TaskState": null })), "a task that does not say is live");
    let waits = |doc: Value| read(doc).is_some_and(|t| t.ended.is_none() && t.task.waits_for_reset);
    assert!(waits(json!({ "TaskState": "Pending" })));
    assert!(waits(json!({ "JobState": "Scheduled", "JobType": "FirmwareUpdate" })));
    assert!(waits(json!({ "TaskState": "Starting", "Payload": { "JsonBody": "{\"@Redfish.OperationApplyTime\":\"OnReset\"}" } })));
    assert!(waits(json!({ "TaskState": "New", "Messages": [{ "Message": "A reset is required." }] })));
    assert!(!waits(json!({ "TaskState": "Running", "Messages": [{ "Message": "A reset is required." }] })));
    let ended = |doc: Value| read(doc).unwrap().ended;
    assert_eq!(ended(json!({ "TaskState": "Completed", "TaskStatus": "OK" })), Some(Ok(())));
    assert_eq!(ended(json!({ "TaskState": "Completed", "TaskStatus": "Warning" })), Some(Ok(())));
    // Done, and failed: seen on several makers.
    assert!(
        matches!(ended(json!({ "TaskState": "Completed", "TaskStatus": "Critical", "Messages": [{ "Message": "Bad image" }] })), Some(Err(why)) if why.contains("Bad image"))
    );
    for state in ["Exception", "Killed", "Cancelled"] {
        assert!(matches!(ended(json!({ "TaskState": state })), Some(Err(_))), "{state}");
    }
    assert!(matches!(ended(json!({ "JobState": "CompletedWithErrors", "Message": "x" })), Some(Err(_))));
    assert_eq!(read(json!({ "Members": [] })), None, "no task at all");
    assert!(
        tasks::busy("/s", &json!({ "Status": { "State": "Updating" } })).is_some() && tasks::busy("/s", &json!({ "Status": { "State": "Enabled" } })).is_none()
    );
}

#[test]
fn firmware_reads() {
    let one = inventory::firmware("/f/Installed-1", &json!({ "Version": "2.19.0", "ReleaseDate": "00:00:00Z", "Updateable": "yes", "Name": null })).unwrap();
    assert_eq!((one.id.as_str(), one.name.as_str(), one.version.as_deref(), one.updateable), ("Installed-1", "Installed-1", Some("2.19.0"), false));
    assert_eq!(inventory::firmware("/f/b/", &json!({ "Id": "BIOS", "Version": null })).unwrap().version, None);
    for (id, part) in [
        ("Installed-159-2.18.1__BIOS.Setup.1-1", "BIOS.Setup.1-1"),
        ("Current-159-2.19.0__BIOS.Setup.1-1", "BIOS.Setup.1-1"),
        ("Installed-0-22.31.6__NIC.Slot.1-1-1", "NIC.Slot.1-1-1"),
        ("Installed-1__", "Installed-1__"),
        ("A__B", "A__B"),
    ] {
        let seen = inventory::firmware("/f/x", &json!({ "Id": id, "Version": "1" })).unwrap();
        assert_eq!(seen.id, part, "the same before and after an update");
    }
    for id in ["Previous-159-2.18", "BMC-Pending", "Golden_BMC", "Staging_x"] {
        assert_eq!(inventory::firmware("/f/x", &json!({ "Id": id })), None, "{id} is not what runs");
    }
}

/// Replays seeded mutations of the corpus: nothing panics, and what was not said is never read.
#[test]
fn mutated_documents_are_read_as_far_as_they_go() {
    let corpus = corpus();
    for seed in 0..20_000u64 {
        let mut random = Random(seed);
        let mut doc = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut doc, &corpus, &mut random);
        }
        let system = System::read(&doc);
        let said = doc.get("PowerState").and_then(Value::as_str);
        assert_eq!(system.power == Power::On, said == Some("On"), "seed {seed}: {doc}");
        assert_eq!(system.power == Power::Off, said == Some("Off"), "seed {seed}: {doc}");
        let target = doc.pointer("/Actions/#ComputerSystem.Reset/target");
        assert_eq!(system.reset.is_some(), read::text(target).is_some(), "seed {seed}: {doc}");
        let (members, _) = read::members(&doc);
        assert!(members.len() <= doc.get("Members").and_then(Value::as_array).map_or(0, Vec::len), "seed {seed}: {doc}");
        read::action_info(&doc);
        // Only what says that it is at its end, or is no task, is not live.
        if let Some(task) = tasks::task("/t", &doc) {
            assert!(task.ended.is_none() || doc.get("TaskState").or(doc.get("JobState")).is_some(), "seed {seed}: {doc}");
            assert!(task.task.percent.is_none_or(|p| p <= 100) && !task.task.name.contains(char::is_control), "seed {seed}: {doc}");
        }
        inventory::firmware("/f", &doc);
        tasks::busy("/s", &doc);
        let refusal = Refusal::read(&doc);
        assert!(refusal.texts.iter().all(|t| t.chars().count() <= 400 && !t.contains(char::is_control)), "seed {seed}: {doc}");
    }
}

fn mutate(doc: &mut Value, corpus: &[Value], random: &mut Random) {
    // Down to some node, then something else in its place.
    let mut path = String::new();
    for _ in 0..random.below(6) {
        let step = match doc.pointer(&path) {
            Some(Value::Object(map)) if !map.is_empty() => map.keys().nth(random.below(map.len())).cloned(),
            Some(Value::Array(list)) if !list.is_empty() => Some(random.below(list.len()).to_string()),
            _ => break,
        };
        path = format!("{path}/{}", step.unwrap_or_default());
    }
    let at = doc.pointer_mut(&path).expect("BUG: a path that was walked");
    *at = match random.below(9) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!("[]"),
        4 => json!(-1.5e300),
        5 => json!(true),
        6 => json!("\u{0}\u{1b}[31m\u{202e}…".repeat(200)),
        7 => json!([at.take(), null]),
        _ => corpus[random.below(corpus.len())].clone(),
    };
}

/// splitmix64
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}
