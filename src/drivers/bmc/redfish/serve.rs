//! A BMC that takes no image, and only fetches one, fetches it from here: plain HTTP, reading only, the images that are being installed and nothing else, only while they are.
use crate::model::{Fault, FaultKind};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// By path; each with how many fetch it.
type Files = Arc<Mutex<BTreeMap<String, (Bytes, usize)>>>;

/// One address serves for every BMC of a run.
static SERVERS: tokio::sync::Mutex<BTreeMap<String, Weak<Server>>> = tokio::sync::Mutex::const_new(BTreeMap::new());

struct Server {
    files: Files,
    task: JoinHandle<()>,
}
impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// While it lives, the image is there.
pub struct Lease {
    pub url: String,
    path: String,
    server: Arc<Server>,
}
impl Drop for Lease {
    fn drop(&mut self) {
        let mut files = self.server.files.lock().expect("BUG: a holder of the files panicked");
        // Two BMCs may fetch the same image: it goes with the last of them.
        if let Some((_, leases)) = files.get_mut(&self.path) {
            *leases -= 1;
            if *leases == 0 {
                files.remove(&self.path);
            }
        }
    }
}

/// The address is the same for the same image, so that a resumed run serves what the dead one promised.
pub async fn serve(at: &str, name: &str, image: Vec<u8>) -> Result<Lease, Fault> {
    let mut servers = SERVERS.lock().await;
    let server = match servers.get(at).and_then(Weak::upgrade) {
        Some(server) => server,
        None => {
            let wrong = |e: std::io::Error| Fault::new(FaultKind::Unable, format!("images cannot be served at {at}: {e}"));
            let listener = TcpListener::bind(at).await.map_err(wrong)?;
            let files = Files::default();
            let router = Router::new().fallback(get).with_state(files.clone());
            let task = tokio::spawn(async move {
                axum::serve(listener, router).await.ok(); // never ends by itself
            });
            let server = Arc::new(Server { files, task });
            servers.insert(at.to_owned(), Arc::downgrade(&server));
            server
        }
    };
    let digest: String = Sha256::digest(&image).iter().map(|b| format!("{b:02x}")).collect();
    let path = format!("/{digest}/{name}");
    server.files.lock().expect("BUG: a holder of the files panicked").entry(path.clone()).or_insert((Bytes::from(image), 0)).1 += 1;
    Ok(Lease { url: format!("http://{at}{path}"), path, server })
}

async fn get(State(files): State<Files>, method: Method, uri: Uri) -> Response {
    let image = files.lock().expect("BUG: a holder of the files panicked").get(uri.path()).map(|(image, _)| image.clone());
    match (image, method) {
        (Some(image), Method::GET | Method::HEAD) => image.into_response(),
        (Some(_), _) => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (None, _) => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    async fn ask(at: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn that_image_alone_and_only_while_it_is_needed() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let lease = serve(&free, "bios.bin", b"image".to_vec()).await.unwrap();
        let path = lease.url.strip_prefix(&format!("http://{free}")).unwrap().to_owned();
        let again = serve(&free, "bios.bin", b"image".to_vec()).await.unwrap();
        assert_eq!(lease.url, again.url, "a resumed run keeps the promise of the dead one");
        drop(again);
        let got = ask(&free, &format!("GET {path}")).await;
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\nimage"), "{got}");
        for other in ["GET /", "GET /etc/passwd", "GET /../bios.bin"] {
            assert!(ask(&free, other).await.starts_with("HTTP/1.1 404"), "{other}");
        }
        assert!(ask(&free, &format!("PUT {path}")).await.starts_with("HTTP/1.1 405"));
        drop(lease);
        for _ in 0..100 {
            if TcpStream::connect(&free).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("it still listens");
    }
}
