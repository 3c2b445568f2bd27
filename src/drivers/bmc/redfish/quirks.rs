//! Where makers differ from the standard, each with its sign. Nothing else in this driver knows a maker's name.
use crate::model::{LiveTask, Task};
use serde_json::Value;

/// Message ids of makers' own registries (the part after the last dot) that mean: it could, but will not now.
pub const NOT_NOW: [&str; 4] = [
    "PSU501",                         // Dell: the server is already in that state
    "SYS518",                         // Dell: the lifecycle controller is not ready
    "InvalidOperationForSystemState", // HPE: the server is off, or on already
    "UnableToModifyDuringSystemPOST", // HPE
];

/// Message ids that mean: no session is free, whatever the status says.
pub const NO_SESSION_FREE: [&str; 1] = ["RAC0218"]; // Dell

/// Ids, in lower case, of logs that are the system's event log under a maker's own name.
pub const EVENT_LOGS: [&str; 2] = [
    "iml",  // HPE: Integrated Management Log
    "log1", // Supermicro
];

/// The serial that the machine's own SMBIOS table shows. Dell keeps the board's number in `SerialNumber` and the service tag, which SMBIOS shows, in `SKU`.
pub fn serial(system: &Value) -> Option<&Value> {
    let dell = system.get("Manufacturer").and_then(Value::as_str).is_some_and(|maker| maker.starts_with("Dell"));
    system.get(if dell { "SKU" } else { "SerialNumber" })
}

/// A counter of resets where `LastResetTime` is missing. Lenovo's XCC has one.
pub fn reset_counter(system: &Value) -> Option<String> {
    system.pointer("/Oem/Lenovo/NumberOfReboots").and_then(Value::as_u64).map(|n| format!("reboot {n}"))
}

/// States of a maker's job that mean: staged, begins with the next reset of the host. Dell's words.
pub const JOB_WAITS: [&str; 4] = ["Scheduled", "ReadyForExecution", "RebootPending", "NewReboot"];

/// Is a job in this state at its end, and well? None: it is not, or the word is not known. Dell's words.
pub fn job_ended(state: &str) -> Option<bool> {
    match state {
        "RebootCompleted" => Some(true),
        "CompletedWithErrors" | "Failed" | "RebootFailed" => Some(false),
        _ => None,
    }
}

/// Lenovo's XCC keeps the percentage of a task in its own corner.
pub fn job_percent(task: &Value) -> Option<&Value> {
    task.pointer("/Oem/Lenovo/PercentComplete")
}

/// A queue of jobs beside the standard's tasks. Dell's finished tasks vanish, its jobs stay.
pub fn may_have_jobs(root: &Value) -> bool {
    root.get("Vendor").and_then(Value::as_str) == Some("Dell") || root.pointer("/Oem/Dell").is_some()
}
pub fn jobs(manager: &Value) -> Option<String> {
    super::read::link(manager.pointer("/Links/Oem/Dell/Jobs"))
}

/// HPE's iLO says in its update service, and in no task, that it writes.
pub fn flashes_without_task(root: &Value) -> bool {
    root.pointer("/Oem/Hpe").is_some()
}
pub fn flashing(uri: &str, update_service: &Value) -> Option<Task> {
    let hpe = update_service.pointer("/Oem/Hpe")?;
    let state = hpe.get("State").and_then(Value::as_str)?;
    let percent = hpe.get("FlashProgressPercent").and_then(Value::as_u64).and_then(|p| u8::try_from(p).ok());
    let live = ["Uploading", "Verifying", "Writing", "Updating"].contains(&state);
    let task = LiveTask { id: uri.to_owned(), name: "update service".into(), state: state.to_owned(), percent, waits_for_reset: false };
    live.then_some(Task { task, ended: None })
}

/// Dell names an entry after its version, `Installed-159-2.18.1__BIOS.Setup.1-1`: after an update nothing would be found again. What stays is the part behind it.
pub fn part_id(id: &str) -> &str {
    let of_version = ["Installed-", "Current-"].iter().any(|s| id.starts_with(s));
    id.split_once("__").filter(|(_, part)| of_version && !part.is_empty()).map_or(id, |(_, part)| part)
}

/// Entries of a firmware inventory that are not what runs now: Dell's `Previous-*` and `Available-*`, Lenovo's `*-Pending` and backups, OpenBMC's and AMI's staged and golden images.
pub fn not_running(id: &str) -> bool {
    let starts = ["Previous-", "Available-", "Staging_", "Golden_", "Backup_"];
    let ends = ["-Pending", "-Backup", "_Staging", "_Golden"];
    starts.iter().any(|s| id.starts_with(s)) || ends.iter().any(|e| id.ends_with(e))
}
