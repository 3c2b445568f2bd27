//! Starting an update: by the way in that the update service offers, in one write, never repeated here. What became of it is told by tasks and by the version.
use super::{Redfish, nothing_sent, read, serve};
use crate::model::{Apply, Fault, FaultKind, Update};
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{path::Path, time::Duration};

/// For an upload: images are large and BMCs are slow.
const UPLOAD: Duration = Duration::from_secs(15 * 60);

/// How an image gets there.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// The BMC fetches it: from a URL of the playbook's, or from us.
    Pull(String),
    Multipart(String),
    Push(String),
}

/// Pure. The service's own words decide; a file is sent where it can be.
pub fn way(service: &Value, ask: &Update) -> Result<Way, Fault> {
    let unable = |what: String| Err(Fault::new(FaultKind::Unable, what));
    let simple = service.pointer("/Actions/#UpdateService.SimpleUpdate");
    let target = simple.and_then(|action| read::text(action.get("target")));
    let pull = || -> Result<Option<Way>, Fault> {
        let (Some(simple), Some(target)) = (simple, &target) else { return Ok(None) };
        // Asked for and not understood, some reset the host at once.
        if ask.apply == Apply::OnReset && !offers(simple, "OnReset") && !offers(service, "OnReset") {
            return Err(Fault::new(FaultKind::Unable, "its SimpleUpdate does not say that it can wait for a reset (OperationApplyTimeSupport)"));
        }
        Ok(Some(Way::Pull(target.clone())))
    };
    if ask.image.url.is_some() {
        return match pull()? {
            Some(way) => Ok(way),
            None => unable("it fetches no images (no SimpleUpdate): give the image as a file".into()),
        };
    }
    if let Some(uri) = read::text(service.get("MultipartHttpPushUri")) {
        return Ok(Way::Multipart(uri));
    }
    if let Some(uri) = read::text(service.get("HttpPushUri")) {
        let when = read::text(service.pointer("/HttpPushUriOptions/HttpPushUriApplyTime/ApplyTime"));
        let on_reset = when.as_deref() == Some("OnReset");
        if on_reset == (ask.apply == Apply::OnReset) {
            return Ok(Way::Push(uri));
        }
        if target.is_none() || ask.serve.is_none() {
            let when = when.unwrap_or("at once".into());
            return unable(format!("what is pushed to it takes effect {when}, and the playbook asks for another time"));
        }
    }
    match (pull()?, &ask.serve) {
        (Some(way), Some(_)) => Ok(way),
        (Some(_), None) => unable("it only fetches images: say in the playbook where it may fetch this one from us, serve = \"ADDRESS:PORT\"".into()),
        (None, _) => unable("its update service offers no way in for an image".into()),
    }
}

fn offers(of: &Value, time: &str) -> bool {
    let values = of.pointer("/@Redfish.OperationApplyTimeSupport/SupportedValues").and_then(Value::as_array);
    values.is_some_and(|v| v.iter().any(|v| v.as_str() == Some(time)))
}

fn spelt(apply: Apply) -> &'static str {
    match apply {
        Apply::Immediate => "Immediate",
        Apply::OnReset => "OnReset",
    }
}

/// Body of SimpleUpdate.
pub fn pull_body(service: &Value, ask: &Update, uri: &str) -> Value {
    let simple = service.pointer("/Actions/#UpdateService.SimpleUpdate").unwrap_or(&Value::Null);
    let mut body = json!({ "ImageURI": uri });
    let protocol = uri.split("://").next().unwrap_or_default().to_ascii_uppercase();
    let allowed = simple.get("TransferProtocol@Redfish.AllowableValues").and_then(Value::as_array);
    if allowed.is_some_and(|v| v.iter().any(|v| v.as_str() == Some(&protocol))) {
        body["TransferProtocol"] = json!(protocol);
    }
    if offers(simple, spelt(ask.apply)) || offers(service, spelt(ask.apply)) {
        body["@Redfish.OperationApplyTime"] = json!(spelt(ask.apply));
    }
    body
}

/// Parameters first, then the file, as the standard has it; in one piece, because some take no chunks.
pub fn multipart(ask: &Update, name: &str, image: &[u8], boundary: &str) -> Vec<u8> {
    let mut parameters = json!({ "Targets": [] });
    if ask.apply == Apply::OnReset {
        parameters["@Redfish.OperationApplyTime"] = json!(spelt(ask.apply));
    }
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"UpdateParameters\"\r\nContent-Type: application/json\r\n\r\n{parameters}\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"UpdateFile\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(image);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}

/// A name that needs no quoting anywhere.
pub fn plain_name(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    if plain.is_empty() { "image.bin".into() } else { plain }
}

/// The file, if it is the one that was meant.
async fn image(ask: &Update) -> Result<(String, Vec<u8>), Fault> {
    let path = Path::new(ask.image.file.as_deref().unwrap_or_default());
    let unable = |what: String| Fault::new(FaultKind::Unable, what);
    let bytes = tokio::fs::read(path).await.map_err(|e| unable(format!("firmware image {} cannot be read: {e}", path.display())))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    match &ask.sha256 {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&digest) => {
            Err(unable(format!("firmware image {} is not the one that was meant: its SHA-256 is {digest}, the playbook says {wanted}", path.display())))
        }
        _ => Ok((plain_name(path), bytes)),
    }
}

impl Redfish {
    /// One write. Whatever fails before it has sent nothing.
    pub async fn start_update(&self, ask: &Update) -> Result<(), Fault> {
        let not_begun = |f: Fault| nothing_sent(Fault { what: format!("{}: no update was begun: {}", self.endpoint, f.what), ..f });
        let (_, service) = self.update_service().await.map_err(not_begun)?;
        let way = way(&service, ask).map_err(not_begun)?;
        let (target, kind, body) = match &way {
            Way::Pull(target) => {
                let uri = match &ask.image.url {
                    Some(url) => url.clone(),
                    None => self.serve_image(ask).await.map_err(not_begun)?,
                };
                (target, "application/json".to_owned(), pull_body(&service, ask, &uri).to_string().into_bytes())
            }
            Way::Multipart(uri) => {
                let (name, bytes) = image(ask).await.map_err(not_begun)?;
                let boundary = format!("pitstop-{}", uuid::Uuid::new_v4().simple());
                (uri, format!("multipart/form-data; boundary={boundary}"), multipart(ask, &name, &bytes, &boundary))
            }
            Way::Push(uri) => (uri, "application/octet-stream".to_owned(), image(ask).await.map_err(not_begun)?.1),
        };
        let target: Url = self.client.url(target).map_err(not_begun)?;
        // Also proves that the session is alive: the write is never sent a second time.
        self.system().await.map_err(not_begun)?;
        self.client.post_as(&target, &kind, body, Some(UPLOAD), || Ok(())).await
    }

    /// Kept while this client lives, or until it is no longer needed.
    async fn serve_image(&self, ask: &Update) -> Result<String, Fault> {
        let (_, bytes) = image(ask).await?;
        let path = Path::new(ask.image.file.as_deref().unwrap_or_default());
        let at = ask.serve.as_deref().unwrap_or_default();
        let lease = serve::serve(at, &plain_name(path), bytes).await?;
        let url = lease.url.clone();
        *self.image.lock().expect("BUG: poisoned") = Some(lease);
        Ok(url)
    }

    /// A BMC that still fetches must find it, also after this process took over from one that died.
    pub async fn keep(&self, ask: &Update, needed: bool) -> Result<(), Fault> {
        let held = self.image.lock().expect("BUG: poisoned").is_some();
        match (needed, held) {
            (false, _) => {
                self.image.lock().expect("BUG: poisoned").take();
                Ok(())
            }
            (true, true) => Ok(()),
            (true, false) if ask.image.file.is_none() || ask.serve.is_none() => Ok(()),
            (true, false) => {
                let (_, service) = self.update_service().await?;
                match way(&service, ask) {
                    Ok(Way::Pull(_)) => self.serve_image(ask).await.map(|_| ()),
                    _ => Ok(()),
                }
            }
        }
    }
}
