//! Update service and task service of the lab's BMC: three ways in for an image, and tasks that say how far it is.
use crate::lab::{
    flash::{self, State},
    rack::{Rack, Seen},
};
use axum::{
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SERVICE: &str = "/redfish/v1/UpdateService";
const PARTS: &str = "/redfish/v1/UpdateService/FirmwareInventory";
const TASKS: &str = "/redfish/v1/TaskService/Tasks";
// Not where the standard's examples have them: whoever builds addresses fails.
const SIMPLE: &str = "/redfish/v1/UpdateService/Actions/Oem/Lab.SimpleUpdate";
const PUSH: &str = "/redfish/v1/UpdateService/push";
const MULTIPART: &str = "/redfish/v1/UpdateService/push-multipart";

pub const WAYS: [&str; 3] = [SIMPLE, PUSH, MULTIPART];
pub const IMAGE_LIMIT: usize = 8 << 20;

pub fn resource(path: &str, seen: &Seen) -> Option<Value> {
    let links = |of: &str, ids: Vec<String>| {
        json!({ "Name": of, "Members@odata.count": ids.len(),
            "Members": ids.iter().map(|id| json!({ "@odata.id": format!("{of}/{id}") })).collect::<Vec<_>>() })
    };
    let flash = &seen.flash;
    Some(match path {
        SERVICE => {
            let mut service = json!({
                "@odata.type": "#UpdateService.v1_11_3.UpdateService", "Id": "UpdateService", "Name": "Update Service", "ServiceEnabled": true,
                "FirmwareInventory": { "@odata.id": PARTS },
                "Actions": { "#UpdateService.SimpleUpdate": { "target": SIMPLE,
                    "TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"],
                    "@Redfish.OperationApplyTimeSupport": { "SupportedValues": ["Immediate", "OnReset"] } } },
            });
            if seen.spec.quirks.update_push_only {
                service["HttpPushUri"] = json!(PUSH);
                service["HttpPushUriOptions"] = json!({ "HttpPushUriApplyTime": { "ApplyTime": "OnReset" } });
                service["Actions"] = json!({});
            } else if !seen.spec.quirks.update_pull_only {
                service["HttpPushUri"] = json!(PUSH);
                service["MultipartHttpPushUri"] = json!(MULTIPART);
            }
            service
        }
        PARTS => links(PARTS, flash.parts.iter().map(|p| p.id.to_owned()).collect()),
        "/redfish/v1/TaskService" => json!({
            "@odata.type": "#TaskService.v1_2_0.TaskService", "Id": "TaskService", "Name": "Task Service", "ServiceEnabled": true, "Tasks": { "@odata.id": TASKS },
        }),
        TASKS => links(TASKS, flash.tasks.iter().map(|t| t.id.to_string()).collect()),
        _ => match (path.strip_prefix(PARTS), path.strip_prefix(TASKS)) {
            (Some(rest), _) => {
                let part = flash.parts.iter().find(|p| rest.strip_prefix('/') == Some(p.id))?;
                json!({ "@odata.type": "#SoftwareInventory.v1_9_0.SoftwareInventory", "Id": part.id, "Name": part.name, "Version": part.version,
                    "Updateable": true, "ReleaseDate": "00:00:00Z", "Status": { "State": "Enabled", "Health": "OK" } })
            }
            (_, Some(rest)) => {
                let id = rest.strip_prefix('/')?.trim_end_matches("/Monitor");
                task(flash.tasks.iter().find(|t| t.id.to_string() == id)?)
            }
            _ => return None,
        },
    })
}

fn task(task: &flash::Task) -> Value {
    let message = match &task.state {
        State::Downloading => "The image is being transferred.",
        State::Staged => "A reset of the system is required to begin the update.",
        State::Writing { .. } => "The image is being written.",
        State::Completed => "The update is complete.",
        State::Failed(why) => why,
    };
    let ended = matches!(task.state, State::Completed | State::Failed(_));
    json!({ "@odata.type": "#Task.v1_7_1.Task", "Id": task.id.to_string(), "Name": format!("Update {}", task.part).trim(),
        "TaskState": task.word(), "TaskStatus": if matches!(task.state, State::Failed(_)) { "Critical" } else { "OK" },
        "PercentComplete": task.percent(Instant::now()), "EndTime": ended.then_some("1970-01-01T00:00:00Z"),
        "Messages": [{ "MessageId": "Lab.1.0.Update", "Message": message }] })
}

/// An update is asked for. Answers at once; an image that has to be fetched is fetched meanwhile.
pub fn receive(rack: &Rack, machine: &str, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let bad = |why: &str| super::refuse(StatusCode::BAD_REQUEST, "PropertyValueError", why, &[]);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let on_reset = |asked: &Value| asked.get("@Redfish.OperationApplyTime").and_then(Value::as_str) == Some("OnReset");
    let id = match path {
        SIMPLE => {
            let Ok(asked) = serde_json::from_slice::<Value>(body) else { return bad("not JSON") };
            let Some(uri) = asked.get("ImageURI").and_then(Value::as_str).map(str::to_owned) else { return bad("ImageURI is missing") };
            let id = rack.update(machine, "SimpleUpdate", on_reset(&asked));
            let (rack, machine) = (rack.clone(), machine.to_owned());
            tokio::spawn(async move { rack.update_arrived(&machine, id, fetch(&uri).await) });
            id
        }
        PUSH if kind.starts_with("application/octet-stream") => {
            let waits = rack.seen(machine).is_some_and(|seen| seen.spec.quirks.update_push_only);
            let id = rack.update(machine, "HttpPushUri", waits);
            rack.update_arrived(machine, id, Ok(body.to_vec()));
            id
        }
        MULTIPART => {
            let Some((parameters, image)) = parts(kind, body) else { return bad("UpdateParameters, then UpdateFile, as multipart/form-data") };
            let id = rack.update(machine, "MultipartHttpPush", on_reset(&parameters));
            rack.update_arrived(machine, id, Ok(image));
            id
        }
        _ => return bad("application/octet-stream only"),
    };
    let mut response =
        super::json(StatusCode::ACCEPTED, &json!({ "@odata.id": format!("{TASKS}/{id}"), "@odata.type": "#Task.v1_7_1.Task", "TaskState": "New" }));
    response.headers_mut().insert(header::LOCATION, format!("{TASKS}/{id}/Monitor").parse().expect("BUG: a number in a path"));
    response
}

/// In the order of the standard: parameters as JSON, then the file.
fn parts(kind: &str, body: &[u8]) -> Option<(Value, Vec<u8>)> {
    let boundary = kind.strip_prefix("multipart/form-data").and_then(|rest| rest.split("boundary=").nth(1))?.trim_matches('"');
    let find = |from: usize, sought: &[u8]| body[from..].windows(sought.len()).position(|w| w == sought).map(|at| from + at);
    let (mut at, mut found) = (find(0, format!("--{boundary}\r\n").as_bytes())?, Vec::new());
    for name in ["UpdateParameters", "UpdateFile"] {
        let begin = find(at, b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&body[at..begin]).into_owned();
        let end = find(begin, format!("\r\n--{boundary}").as_bytes())?;
        if !head.contains(&format!("name=\"{name}\"")) {
            return None;
        }
        found.push(body[begin..end].to_vec());
        at = end + 2;
    }
    let image = found.pop()?;
    Some((serde_json::from_slice(&found.pop()?).ok()?, image))
}

/// Plain HTTP, as old BMCs fetch.
async fn fetch(uri: &str) -> Result<Vec<u8>, String> {
    let rest = uri.strip_prefix("http://").ok_or("only http is spoken here")?;
    let (host, path) = rest.split_once('/').ok_or("no path")?;
    let get = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(IMAGE_LIMIT as u64).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = tokio::time::timeout(Duration::from_secs(5), get).await.map_err(|_| "no answer".to_owned())?.map_err(|e| e.to_string())?;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("no HTTP")?;
    if !bytes.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&bytes[..end.min(40)]).into_owned());
    }
    Ok(bytes[end + 4..].to_vec())
}
