//! Tasks and jobs: what the BMC is doing that no power verb may interrupt (safety.md, 13). Read tolerantly, judged cautiously: what is not clearly at its end is live.
use super::{Redfish, client::ROOT, quirks, read};
use crate::model::{Fault, FaultKind, LiveTask, Task};
use serde_json::Value;

/// A task list that is longer than this is a log.
const PAGES: usize = 16;
const MEMBERS: usize = 512;

/// A `Task`, or a maker's `Job`. None: it is neither.
pub fn task(uri: &str, doc: &Value) -> Option<Task> {
    let said = read::text(doc.get("TaskState")).or_else(|| read::text(doc.get("JobState")));
    let kind = read::text(doc.get("@odata.type")).unwrap_or_default();
    if said.is_none() && !kind.contains("Task.") && !kind.contains("Job.") {
        return None;
    }
    let percent = [doc.get("PercentComplete"), quirks::job_percent(doc)].into_iter().flatten().find_map(Value::as_f64);
    let percent = percent.filter(|p| (0.0..=100.0).contains(p)).map(|p| p as u8);
    let state = said.clone().unwrap_or_else(|| "without a state".into());
    let texts = messages(doc);
    let health = read::text(doc.get("TaskStatus")).or_else(|| read::text(doc.pointer("/Status/Health")));
    let ended = match state.as_str() {
        // Done, says the state; failed, says the status: seen on several makers.
        "Completed" if matches!(health.as_deref(), Some("Critical")) => Some(Err(told(&state, &texts))),
        "Completed" => Some(Ok(())),
        "Exception" | "Killed" | "Cancelled" => Some(Err(told(&state, &texts))),
        // It runs on as a service, and is no update.
        "Service" => Some(Ok(())),
        other => quirks::job_ended(other).map(|well| if well { Ok(()) } else { Err(told(other, &texts)) }),
    };
    let early = matches!(state.as_str(), "New" | "Pending" | "Starting") || quirks::JOB_WAITS.contains(&state.as_str());
    let begun = percent.is_some_and(|p| p > 0 && p < 100);
    let waits_for_reset = ended.is_none()
        && (quirks::JOB_WAITS.contains(&state.as_str()) || early && !begun && (state == "Pending" || on_reset(doc) || texts.iter().any(|t| asks_for_reset(t))));
    let name = read::text(doc.get("Name")).or_else(|| read::text(doc.get("Id"))).map_or_else(|| uri.to_owned(), |n| read::shown(&n));
    Some(Task { task: LiveTask { id: uri.to_owned(), name, state: read::shown(&state), percent, waits_for_reset }, ended })
}

fn told(state: &str, texts: &[String]) -> String {
    if texts.is_empty() { format!("{}, no reason given", read::shown(state)) } else { format!("{}: {}", read::shown(state), texts.join("; ")) }
}

fn messages(doc: &Value) -> Vec<String> {
    let one = doc.get("Message").into_iter();
    let many = doc.get("Messages").and_then(Value::as_array).into_iter().flatten();
    let text = |m: &Value| read::text(m.get("Message")).or_else(|| read::text(m.get("MessageId"))).or_else(|| read::text(Some(m)));
    one.chain(many.take(20)).filter_map(text).map(|t| read::shown(&t)).collect()
}

/// The request that made the task is in it where the BMC keeps it.
fn on_reset(doc: &Value) -> bool {
    let body = read::text(doc.pointer("/Payload/JsonBody")).unwrap_or_default();
    body.contains("OperationApplyTime") && body.contains("OnReset")
}

fn asks_for_reset(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    (text.contains("reset") || text.contains("reboot")) && (text.contains("require") || text.contains("pending") || text.contains("next"))
}

impl Redfish {
    pub async fn service_root(&self) -> Result<Value, Fault> {
        match self.client.root().await? {
            Some(root) => Ok(root),
            None => self.client.get(ROOT).await,
        }
    }

    /// Every task the BMC lists, ended ones too.
    pub async fn every_task(&self) -> Result<Vec<Task>, Fault> {
        let lists = self.task_lists().await?;
        let mut found: Vec<Task> = self.known().system_busy.clone().into_iter().collect();
        let flashing = lists.update_service.as_deref();
        if let Some(uri) = flashing {
            found.extend(quirks::flashing(uri, &self.client.get(uri).await?));
        }
        if lists.tasks.is_empty() && flashing.is_none() && found.is_empty() {
            return Err(Fault::new(FaultKind::Unable, format!("{}: it has no task service", self.endpoint)));
        }
        for list in &lists.tasks {
            for uri in self.members_of(list, PAGES, MEMBERS).await? {
                let known = self.known().ended.get(&uri).cloned();
                if let Some(ended) = known {
                    found.push(ended);
                    continue;
                }
                let seen = match self.client.get(&uri).await {
                    Ok(doc) => task(&uri, &doc),
                    // Listed and gone: finished tasks are purged, by some while we read.
                    Err(fault) if fault.kind == FaultKind::Unable => None,
                    Err(fault) => return Err(fault),
                };
                if let Some(seen) = seen {
                    // What has ended stays so; a long list is read once.
                    if seen.ended.is_some() {
                        self.known().ended.insert(uri, seen.clone());
                    }
                    found.push(seen);
                }
            }
        }
        Ok(found)
    }

    /// Where tasks are told of: found once.
    async fn task_lists(&self) -> Result<Lists, Fault> {
        let known = self.known().lists.clone();
        if let Some(lists) = known {
            return Ok(lists);
        }
        let root = self.service_root().await?;
        if self.known().system.is_none() {
            self.system().await?;
        }
        let manager = self.known().manager.clone();
        let mut lists = Lists::default();
        if let Some(service) = read::link(root.get("Tasks")) {
            match self.client.get(&service).await {
                // The list itself, or the service that has it.
                Ok(doc) if doc.get("Members").is_some() => lists.tasks.push(service),
                Ok(doc) => lists.tasks.extend(read::link(doc.get("Tasks"))),
                Err(fault) if fault.kind == FaultKind::Unable => {}
                Err(fault) => return Err(fault),
            }
        }
        if let (Some(manager), true) = (manager, quirks::may_have_jobs(&root)) {
            lists.tasks.extend(quirks::jobs(&self.client.get(&manager).await?));
        }
        if quirks::flashes_without_task(&root) {
            lists.update_service = read::link(root.get("UpdateService"));
        }
        self.known().lists = Some(lists.clone());
        Ok(lists)
    }

    /// The links of a collection, over its pages.
    pub async fn members_of(&self, collection: &str, pages: usize, most: usize) -> Result<Vec<String>, Fault> {
        let mut page = Some(collection.to_owned());
        let mut all = Vec::new();
        for _ in 0..pages {
            let Some(uri) = page.take() else { break };
            let (members, next) = read::members(&self.client.get(&uri).await?);
            all.extend(members);
            page = next;
        }
        // The newest come last on some, first on others: a list that is cut proves nothing.
        if page.is_some() || all.len() > most {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: {collection} has more than {most} members", self.endpoint)));
        }
        Ok(all)
    }
}

/// Where tasks are told of, besides the system itself.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    tasks: Vec<String>,
    /// Of a maker whose updates show in no task.
    update_service: Option<String>,
}

/// `Status.State` of the system itself.
pub fn busy(uri: &str, system: &Value) -> Option<Task> {
    let state = read::text(system.pointer("/Status/State")).filter(|state| state == "Updating")?;
    let task = LiveTask { id: uri.to_owned(), name: "the system itself".into(), state, percent: None, waits_for_reset: false };
    Some(Task { task, ended: None })
}
