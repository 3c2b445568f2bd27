//! Where makers differ from the standard, each with its sign. Nothing else in this driver knows a maker's name.
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
