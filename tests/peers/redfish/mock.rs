//! A BMC that answers what a test wants, down to a connection that breaks: a few lines of HTTP over a plain socket.
use super::driver;
use pitstop::{drivers::bmc::Bmc, model::Trust};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
}
impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

pub enum Answer {
    Json(u16, Value),
    /// Status, more header lines, content type, body.
    Full(u16, Vec<String>, &'static str, Vec<u8>),
    /// The request was read; then the connection breaks.
    Drop,
    /// The request was read; then nothing.
    Hang,
    /// A status, a length, and half of the body.
    Half(u16),
}

pub struct Mock {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Requests under way now, and the most there were at once.
    at_once: Arc<Mutex<(usize, usize)>>,
}

impl Mock {
    /// `answer` is given every request but those for the usual frame (`frame`), unless it answers these as well.
    pub async fn start(answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Mock {
        Mock::start_slow(Duration::ZERO, answer).await
    }
    /// Every answer takes this long.
    pub async fn start_slow(pause: Duration, answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Mock {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let at_once = Arc::new(Mutex::new((0, 0)));
        let (log, answer, busy) = (asked.clone(), Arc::new(answer), at_once.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer, busy) = (log.clone(), answer.clone(), busy.clone());
                tokio::spawn(async move {
                    let now = busy.lock().unwrap().0 + 1;
                    let most = busy.lock().unwrap().1.max(now);
                    *busy.lock().unwrap() = (now, most);
                    serve(stream, pause, &log, &*answer).await;
                    busy.lock().unwrap().0 -= 1;
                });
            }
        });
        Mock { url, asked, at_once }
    }

    pub fn bmc(&self, more: Value) -> Arc<dyn Bmc> {
        self.bmc_with(&["secret12"], more)
    }
    pub fn bmc_with(&self, passwords: &[&str], mut more: Value) -> Arc<dyn Bmc> {
        more["tls"] = json!("insecure");
        driver(&self.url, passwords, Trust::default(), more).unwrap()
    }
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
    pub fn most_at_once(&self) -> usize {
        self.at_once.lock().unwrap().1
    }
    pub fn count(&self, line: &str) -> usize {
        self.asked().iter().filter(|a| a.line() == line).count()
    }
}

async fn serve(mut stream: TcpStream, pause: Duration, log: &Mutex<Vec<Asked>>, answer: &(dyn Fn(&Asked) -> Option<Answer> + Send + Sync)) {
    let Some(asked) = read(&mut stream).await else { return };
    log.lock().unwrap().push(asked.clone());
    tokio::time::sleep(pause).await;
    let answer = answer(&asked).or_else(|| frame(&asked)).unwrap_or(Answer::Json(404, json!({})));
    let (status, more, kind, body) = match answer {
        Answer::Json(status, body) => (status, Vec::new(), "application/json", body.to_string().into_bytes()),
        Answer::Full(status, more, kind, body) => (status, more, kind, body),
        Answer::Drop => return,
        Answer::Hang => return std::future::pending().await,
        Answer::Half(status) => {
            let half = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"half");
            stream.write_all(half.as_bytes()).await.ok();
            return;
        }
    };
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    more.iter().for_each(|line| head += &format!("{line}\r\n"));
    stream.write_all(format!("{head}\r\n").as_bytes()).await.ok();
    stream.write_all(&body).await.ok();
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked { method, path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

pub const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
pub const SYSTEMS: &str = "/redfish/v1/Systems";
pub const SYSTEM: &str = "/redfish/v1/Systems/node";
/// Not where the standard's examples have it: whoever builds addresses fails.
pub const RESET: &str = "/redfish/v1/odd/place/Reset";

/// A plain, healthy BMC whose sessions are numbered: `token-1`, `token-2`.
pub fn frame(asked: &Asked) -> Option<Answer> {
    Some(match asked.line().as_str() {
        "GET /redfish/v1/" => Answer::Json(200, json!({ "Systems": { "@odata.id": SYSTEMS }, "Links": { "Sessions": { "@odata.id": SESSIONS } } })),
        "POST /redfish/v1/SessionService/Sessions" => session(1),
        "GET /redfish/v1/Systems" => Answer::Json(200, json!({ "Members": [{ "@odata.id": SYSTEM }] })),
        "GET /redfish/v1/Systems/node" => Answer::Json(200, system()),
        "POST /redfish/v1/odd/place/Reset" => Answer::Full(204, vec![], "application/json", vec![]),
        line if line.starts_with("DELETE /redfish/v1/SessionService/Sessions/") => Answer::Full(204, vec![], "application/json", vec![]),
        _ => return None,
    })
}

pub fn session(n: u32) -> Answer {
    let headers = vec![format!("X-Auth-Token: token-{n}"), format!("Location: https://bmc.example{SESSIONS}/{n}")];
    Answer::Full(201, headers, "application/json", b"{}".to_vec())
}

pub fn system() -> Value {
    json!({
        "@odata.id": SYSTEM, "Id": "node", "UUID": "4c4c4544-0051-3010-8052-b4c04f4e4d32", "SerialNumber": "J4X12S3", "PowerState": "On",
        "Actions": { "#ComputerSystem.Reset": { "target": RESET, "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulRestart", "Nmi"] } },
    })
}
