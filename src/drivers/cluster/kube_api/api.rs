//! One exchange with a Kubernetes API server: kubeconfig, credentials, a limit on every call, answers turned into faults.
use super::{answer, watch::Listed};
use crate::model::{Connect, Credential, Fault, FaultKind, Timestamp, Turn, marks::PROGRAM};
use futures::Stream;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
    core::{
        Request, WatchEvent,
        params::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchParams},
        response::Status,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    error::Error as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Mutex, OnceCell},
    time::timeout,
};

/// Where the API server is and who we are there.
#[derive(Debug, Clone)]
pub struct Access {
    pub kubeconfig: PathBuf,
    pub context: Option<String>,
    pub limit: Duration,
}

/// kubectl's chunk: a list of more is read in pages.
const PAGE: u32 = 500;

pub struct Api {
    access: Access,
    /// Made at the first call (an exec plugin runs then) and again after a refusal, so that rotated credentials are found.
    made: Mutex<Option<Made>>,
    /// The API groups of the server: which custom resources it has.
    groups: Mutex<Option<(Instant, Vec<String>)>>,
    /// `policy/v1`: what evictions are written in here.
    evictions: OnceCell<String>,
    /// Refusals of our credentials since the last answer that was none.
    refusals: AtomicU32,
    cx: Connect,
}

/// Somebody may install an operator while we run; nobody does so twice a minute.
const GROUPS_KNOWN_FOR: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Made {
    client: Client,
    url: String,
    verified: bool,
    /// Its credential was taken once: a refusal then says that it expired, and another is fetched.
    taken: Arc<AtomicBool>,
}

/// One request. Paths are collections (`/api/v1/nodes`); `name` is the object in it.
#[derive(Debug)]
pub enum Call<'a> {
    Get {
        path: &'a str,
        name: &'a str,
    },
    List {
        path: &'a str,
        params: ListParams,
    },
    Create {
        path: &'a str,
        body: Value,
    },
    CreateSub {
        path: &'a str,
        name: &'a str,
        sub: &'static str,
        body: Value,
    },
    Replace {
        path: &'a str,
        name: &'a str,
        body: Value,
    },
    /// What would be answered? The server judges, and changes nothing.
    DryRun {
        path: &'a str,
        name: &'a str,
        sub: &'static str,
        body: Value,
    },
    /// A verb of an object: `start`, `evacuate/cancel`.
    PutSub {
        path: &'a str,
        name: &'a str,
        sub: &'static str,
        body: Value,
    },
    Delete {
        path: &'a str,
        name: &'a str,
        /// The one that was seen; another of its name stays.
        uid: &'a str,
    },
    /// Merge patch: all that custom resources take.
    Merge {
        path: &'a str,
        name: &'a str,
        body: Value,
    },
    /// Strategic merge.
    Patch {
        path: &'a str,
        name: &'a str,
        body: Value,
    },
}

impl Call<'_> {
    /// What happens to a write that was sent and not answered is not known; a read changes nothing.
    pub fn writes(&self) -> bool {
        match self {
            Call::Get { .. } | Call::List { .. } | Call::DryRun { .. } => false,
            // A review is a question: nothing is stored.
            Call::Create { path, .. } => !path.ends_with("selfsubjectaccessreviews"),
            _ => true,
        }
    }
}

pub struct Reply {
    pub code: u16,
    /// The server's own clock, from its `Date` header.
    pub date: Option<Timestamp>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.code)
    }
    /// What a refusal says. Overload and shutdown answer in plain text: the text then is the message, and there are no details.
    pub fn status(&self) -> Status {
        let plain = || Status::failure(String::from_utf8_lossy(&self.body).trim(), "").with_code(self.code);
        let mut status = serde_json::from_slice::<Status>(&self.body).unwrap_or_else(|_| plain());
        status.code = self.code;
        status
    }
    pub fn parse<T: DeserializeOwned>(&self, what: &str) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|e| Fault::new(FaultKind::Invalid, format!("{what}: an answer that makes no sense")).caused_by(&e))
    }
}

impl Api {
    /// Reads the kubeconfig, so that its faults are known at once; contacts nothing.
    pub fn new(access: Access, cx: &Connect) -> Result<Api, Fault> {
        if in_cluster(&access) {
            return Ok(Api::closed(access, cx));
        }
        let config = read(&access)?;
        let context = access.context.clone().or(config.current_context.clone()).unwrap_or_default();
        if !config.contexts.iter().any(|c| c.name == context) {
            let known: Vec<_> = config.contexts.iter().map(|c| c.name.as_str()).collect();
            let what = format!("kubeconfig {}: no context `{context}`", access.kubeconfig.display());
            return Err(Fault::new(FaultKind::Invalid, what).cause(format!("it has {}", known.join(", "))));
        }
        Ok(Api::closed(access, cx))
    }

    fn closed(access: Access, cx: &Connect) -> Api {
        Api { access, made: Mutex::new(None), groups: Mutex::new(None), evictions: OnceCell::new(), refusals: AtomicU32::new(0), cx: cx.clone() }
    }

    pub async fn url(&self) -> Result<String, Fault> {
        Ok(self.made().await?.url)
    }
    /// Is the server's certificate verified?
    pub async fn verified(&self) -> Result<bool, Fault> {
        Ok(self.made().await?.verified)
    }

    async fn made(&self) -> Result<Made, Fault> {
        let mut made = self.made.lock().await;
        if let Some(made) = &*made {
            return Ok(made.clone());
        }
        let fresh = timeout(self.access.limit, make(self.access.clone()))
            .await
            .unwrap_or_else(|_| Err(Fault::new(FaultKind::Unreachable, "the kubeconfig's credential plugin does not answer")))?;
        *made = Some(fresh.clone());
        Ok(fresh)
    }

    /// Sends `call` and returns the answer, whatever it is. Only what kept an answer from coming is a fault.
    pub async fn send(&self, what: &str, call: Call<'_>) -> Result<Reply, Fault> {
        let writes = call.writes();
        let made = self.made().await?;
        let post = PostParams { field_manager: Some(PROGRAM.into()), ..PostParams::default() };
        let patch = PatchParams { field_manager: Some(PROGRAM.into()), ..PatchParams::default() };
        let bytes = |body: Value| body.to_string().into_bytes();
        let request = match call {
            Call::Get { path, name } => Request::new(path).get(name, &GetParams::default()),
            Call::List { path, params } => Request::new(path).list(&params),
            Call::Create { path, body } => Request::new(path).create(&post, bytes(body)),
            Call::CreateSub { path, name, sub, body } => Request::new(path).create_subresource(sub, name, &post, bytes(body)),
            Call::DryRun { path, name, sub, body } => Request::new(path).create_subresource(sub, name, &PostParams { dry_run: true, ..post }, bytes(body)),
            Call::Replace { path, name, body } => Request::new(path).replace(name, &post, bytes(body)),
            Call::PutSub { path, name, sub, body } => Request::new(path).replace_subresource(sub, name, &PostParams::default(), bytes(body)),
            Call::Delete { path, name, uid } => {
                let precondition = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
                Request::new(path).delete(name, &DeleteParams { preconditions: Some(precondition), ..DeleteParams::default() })
            }
            Call::Merge { path, name, body } => Request::new(path).patch(name, &patch, &Patch::Merge(body)),
            Call::Patch { path, name, body } => Request::new(path).patch(name, &patch, &Patch::Strategic(body)),
        };
        let request = request.map_err(|e| Fault::new(FaultKind::Invalid, format!("{what}: not a request")).caused_by(&e))?.map(Body::from);
        let turn = self.turn(&made).await?;
        let exchange = async {
            let response = made.client.send(request).await?;
            let code = response.status().as_u16();
            let date = response.headers().get("date").and_then(|d| d.to_str().ok()).and_then(http_date);
            let body = response.into_body().collect_bytes().await?.to_vec();
            Ok(Reply { code, date, body })
        };
        let reply = match timeout(self.access.limit, exchange).await {
            Err(_) => return Err(Fault::new(FaultKind::Unknown, format!("{what}: no answer within {:?}", self.access.limit))),
            Ok(Err(error)) => {
                if matches!(error, kube::Error::Auth(_)) {
                    self.made.lock().await.take();
                }
                return Err(broken(what, &made.url, error));
            }
            Ok(Ok(reply)) => reply,
        };
        if reply.code == 401 {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            // The next call reads kubeconfig and token anew.
            self.made.lock().await.take();
            turn.refused(Fault::new(FaultKind::Denied, what));
        } else {
            self.refusals.store(0, Ordering::Relaxed);
            if reply.code < 500 {
                made.taken.store(true, Ordering::Relaxed);
                turn.taken();
            }
        }
        tracing::debug!(op = what, code = reply.code, writes, "kubernetes call");
        Ok(reply)
    }

    /// Leave to show what was just read from the kubeconfig. A token that had worked and has expired is no refused credential.
    async fn turn(&self, made: &Made) -> Result<Turn, Fault> {
        if made.taken.load(Ordering::Relaxed) {
            return Ok(Turn::free());
        }
        let context = self.access.context.as_ref().map(|c| format!(", context {c}")).unwrap_or_default();
        let credential = Credential(format!("the account of kubeconfig {}{context}", self.access.kubeconfig.display()));
        self.cx.turn(&credential, &made.url, Vec::new()).await
    }

    /// The same, and a refusal is a fault.
    pub async fn ask(&self, what: &str, call: Call<'_>) -> Result<Reply, Fault> {
        let writes = call.writes();
        let reply = self.send(what, call).await?;
        if reply.ok() { Ok(reply) } else { Err(answer::refused(what, &reply.status(), writes)) }
    }

    /// The last answer was a refusal of our credentials, the one before was not: they have just expired, and are read anew.
    pub fn refused_once(&self) -> bool {
        self.refusals.load(Ordering::Relaxed) == 1
    }

    /// `policy/v1`, or `policy/v1beta1` before 1.22: the server's own list says, and does not change while it runs.
    pub async fn evictions(&self) -> Result<&str, Fault> {
        let ask = async {
            let what = "read what the API server can do";
            let resources: Value = self.ask(what, Call::Get { path: "/api", name: "v1" }).await?.parse(what)?;
            let row = resources["resources"].as_array().into_iter().flatten().find(|r| r["name"] == "pods/eviction");
            let row = row.ok_or_else(|| Fault::new(FaultKind::Unable, "this API server cannot evict pods"))?;
            Ok(format!("{}/{}", row["group"].as_str().unwrap_or("policy"), row["version"].as_str().unwrap_or("v1")))
        };
        self.evictions.get_or_try_init(|| ask).await.map(String::as_str)
    }

    /// Does the server have this API group (`ceph.rook.io`)? Absent means that what it is for is not installed.
    pub async fn has_group(&self, group: &str) -> Result<bool, Fault> {
        let mut known = self.groups.lock().await;
        if let Some((at, groups)) = &*known
            && at.elapsed() < GROUPS_KNOWN_FOR
        {
            return Ok(groups.iter().any(|g| g == group));
        }
        let what = "list the API groups";
        let list: Value = self.ask(what, Call::Get { path: "", name: "apis" }).await?.parse(what)?;
        let names = list["groups"].as_array().into_iter().flatten().filter_map(|g| g["name"].as_str().map(str::to_owned));
        let (_, groups) = known.insert((Instant::now(), names.collect()));
        Ok(groups.iter().any(|g| g == group))
    }

    /// One object, or none.
    pub async fn get<T: DeserializeOwned>(&self, what: &str, path: &str, name: &str) -> Result<Option<(T, Option<Timestamp>)>, Fault> {
        let reply = self.send(what, Call::Get { path, name }).await?;
        match reply.code {
            404 => Ok(None),
            _ if reply.ok() => Ok(Some((reply.parse(what)?, reply.date))),
            _ => Err(answer::refused(what, &reply.status(), false)),
        }
    }

    /// A whole list, read in pages. A list that expired between two pages is a fault like any other: the next look reads it again.
    pub async fn list<T: DeserializeOwned>(&self, what: &str, path: &str, fields: Option<&str>) -> Result<(Vec<T>, Option<Timestamp>), Fault> {
        let params = ListParams { field_selector: fields.map(str::to_owned), ..ListParams::default() };
        self.whole(what, path, params).await
    }

    /// The same, chosen by labels.
    pub async fn select<T: DeserializeOwned>(&self, what: &str, path: &str, labels: &str) -> Result<(Vec<T>, Option<Timestamp>), Fault> {
        self.whole(what, path, ListParams::default().labels(labels)).await
    }

    async fn whole<T: DeserializeOwned>(&self, what: &str, path: &str, params: ListParams) -> Result<(Vec<T>, Option<Timestamp>), Fault> {
        let Listed { items, date, .. } = self.paged(what, path, params).await?;
        let parse =
            |item| serde_json::from_value(item).map_err(|e| Fault::new(FaultKind::Invalid, format!("{what}: an item that makes no sense")).caused_by(&e));
        Ok((items.into_iter().map(parse).collect::<Result<_, _>>()?, date))
    }

    /// A whole list as it came, with the version from which a watch goes on.
    pub async fn listed(&self, what: &str, path: &str, fields: Option<&str>) -> Result<Listed, Fault> {
        self.paged(what, path, ListParams { field_selector: fields.map(str::to_owned), ..ListParams::default() }).await
    }

    /// What happens to such objects from `version` on. Only that the server begins to answer has a limit here.
    pub async fn watch(&self, path: &str, fields: Option<&str>, version: &str) -> Result<impl Stream<Item = kube::Result<WatchEvent<Value>>> + use<>, Fault> {
        let what = format!("watch {path}");
        let params = WatchParams { field_selector: fields.map(str::to_owned), ..WatchParams::default() };
        let request = Request::new(path).watch(&params, version).map_err(|e| Fault::new(FaultKind::Invalid, format!("{what}: not a request")).caused_by(&e))?;
        let made = self.made().await?;
        match timeout(self.access.limit, made.client.request_events::<Value>(request)).await {
            Err(_) => Err(Fault::new(FaultKind::Unreachable, format!("{what}: no answer within {:?}", self.access.limit))),
            Ok(Err(error)) => Err(broken(&what, &made.url, error)),
            Ok(Ok(events)) => Ok(events),
        }
    }

    async fn paged(&self, what: &str, path: &str, params: ListParams) -> Result<Listed, Fault> {
        let mut params = params.limit(PAGE);
        let mut all = Vec::new();
        loop {
            let reply = self.ask(what, Call::List { path, params: params.clone() }).await?;
            let mut page: Value = reply.parse(what)?;
            match page["items"].take() {
                Value::Array(items) => all.extend(items),
                Value::Null => {}
                _ => return Err(Fault::new(FaultKind::Invalid, format!("{what}: a list without items"))),
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => params = params.continue_token(token),
                _ => {
                    let version = page["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
                    return Ok(Listed { items: all, date: reply.date, version });
                }
            }
        }
    }
}

/// `kubeconfig = "in-cluster"`: the service account of the pod that we run in.
fn in_cluster(access: &Access) -> bool {
    access.kubeconfig.file_name().is_some_and(|n| n == "in-cluster") && !access.kubeconfig.exists()
}

fn read(access: &Access) -> Result<Kubeconfig, Fault> {
    let what = || format!("read kubeconfig {}", access.kubeconfig.display());
    Kubeconfig::read_from(&access.kubeconfig).map_err(|e| Fault::new(FaultKind::Invalid, what()).caused_by(&e))
}

async fn make(access: Access) -> Result<Made, Fault> {
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let invalid = |e: &dyn std::error::Error| Fault::new(FaultKind::Invalid, format!("kubeconfig {}", access.kubeconfig.display())).caused_by(e);
    let mut config = match in_cluster(&access) {
        true => Config::incluster().map_err(|e| invalid(&e))?,
        false => Config::from_custom_kubeconfig(read(&access)?, &options).await.map_err(|e| invalid(&e))?,
    };
    // kube would repeat a refused eviction by itself, invisibly; who repeats is the engine.
    config.default_retry = false;
    config.connect_timeout = Some(access.limit.min(Duration::from_secs(10)));
    config.write_timeout = Some(access.limit);
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let verified = !config.accept_invalid_certs;
    // Runs the exec plugin and waits for it: not on a thread that others wait for.
    let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await.map_err(|e| invalid(&e))?;
    let client = made.map_err(|e| broken("log in", &url, e))?;
    Ok(Made { client, url, verified, taken: Arc::default() })
}

/// No answer came: was anything sent?
fn broken(what: &str, url: &str, error: kube::Error) -> Fault {
    let mut chain = Vec::new();
    let mut next = error.source();
    while let Some(e) = next {
        let text = e.to_string();
        if chain.last() != Some(&text) {
            chain.push(text);
        }
        next = e.source();
    }
    let kind = match &error {
        // The HTTP client under kube says so in words only.
        kube::Error::Service(e) if e.to_string().contains("(Connect)") => FaultKind::Unreachable,
        kube::Error::Service(_) if chain.iter().any(|t| t.contains("(Connect)")) => FaultKind::Unreachable,
        kube::Error::Auth(_) => FaultKind::Denied,
        kube::Error::Service(_) | kube::Error::HyperError(_) => FaultKind::Unknown,
        _ => FaultKind::Invalid,
    };
    let fault = match kind {
        FaultKind::Unreachable => Fault::new(kind, format!("{what}: nothing answers at {url}")),
        FaultKind::Unknown => Fault::new(kind, format!("{what}: the connection to {url} was lost")),
        _ => Fault::new(kind, what),
    };
    if let kube::Error::Auth(e) = &error {
        // What a plugin printed may be a token: only its name and status are told.
        return match e {
            kube::client::AuthError::AuthExecRun { cmd, out } => fault.cause(format!("credential plugin `{cmd}` failed: {}", out.status)),
            kube::client::AuthError::AuthExecParse(_) => fault.cause("the credential plugin's output makes no sense"),
            e => fault.cause(e),
        };
    }
    chain.into_iter().fold(fault, |f, text| f.cause(text))
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}
