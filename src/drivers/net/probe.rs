//! The real network: one GET, one connection, each with its limit.
use super::{HttpAsk, HttpSeen, Net};
use crate::{
    model::{Fault, FaultKind, Span},
    wire::{self, dns},
};
use async_trait::async_trait;
use reqwest::{Client, redirect};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::net::{TcpStream, UdpSocket};

/// What a check may look for stands at the front; a server that never stops talking is left.
const LARGEST: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Probe;

#[async_trait]
impl Net for Probe {
    async fn http(&self, ask: &HttpAsk) -> Result<HttpSeen, Fault> {
        let fault = |kind| Fault::new(kind, format!("GET {}", ask.url));
        let lost = |e: reqwest::Error| {
            let kind = match () {
                () if e.is_builder() => FaultKind::Invalid,
                () if e.is_connect() => FaultKind::Unreachable,
                () => FaultKind::Unknown,
            };
            fault(kind).caused_by(&e.without_url())
        };
        // reqwest asks the process for its provider; a second installation changes nothing.
        (*wire::tls::provider()).clone().install_default().ok();
        // No redirects and no proxy: the check is about this address, not about another one that answers for it.
        let client = Client::builder().timeout(ask.limit.0).redirect(redirect::Policy::none()).no_proxy().retry(reqwest::retry::never());
        let client = client.tls_danger_accept_invalid_certs(ask.insecure).build().map_err(lost)?;
        let request = ask.headers.iter().fold(client.get(&ask.url), |request, (name, value)| request.header(name, value));
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while body.len() < LARGEST
            && let Some(chunk) = response.chunk().await.map_err(lost)?
        {
            body.extend_from_slice(&chunk[..chunk.len().min(LARGEST - body.len())]);
        }
        Ok(HttpSeen { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    async fn tcp(&self, host: &str, port: u16, limit: Span) -> Result<(), Fault> {
        let fault = || Fault::new(FaultKind::Unreachable, format!("connect to {host}:{port}"));
        let host = host.trim_matches(['[', ']']);
        match tokio::time::timeout(limit.0, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(fault().caused_by(&e)),
            Err(_) => Err(fault().cause(format!("no answer within {limit}"))),
        }
    }

    async fn addresses(&self, host: &str, limit: Span) -> Result<Vec<IpAddr>, Fault> {
        let fault = || Fault::new(FaultKind::Unreachable, format!("look up {host}"));
        match tokio::time::timeout(limit.0, tokio::net::lookup_host((host.trim_matches(['[', ']']), 0))).await {
            Ok(Ok(all)) => Ok(all.map(|a| a.ip().to_canonical()).collect()),
            Ok(Err(e)) => Err(fault().caused_by(&e)),
            Err(_) => Err(fault().cause(format!("no answer within {limit}"))),
        }
    }

    async fn dns(&self, server: IpAddr, name: &str, limit: Span) -> Result<(), Fault> {
        let fault = |why: String| Fault::new(FaultKind::Unreachable, format!("ask the name server {server} for {name}")).cause(why);
        let id = uuid::Uuid::new_v4().into_bytes();
        let question = dns::question([id[0], id[1]], name).ok_or_else(|| fault("not a name".into()))?;
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let asked = async {
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect((server, DNS_PORT)).await?;
            socket.send(&question).await?;
            let mut answer = [0; 512];
            loop {
                let length = socket.recv(&mut answer).await?;
                if let Some(code) = dns::answered(&question, &answer[..length]) {
                    return Ok::<u8, std::io::Error>(code);
                }
            }
        };
        match tokio::time::timeout(limit.0, asked).await {
            Ok(Ok(dns::NO_ERROR | dns::NO_SUCH_NAME)) => Ok(()),
            Ok(Ok(code)) => Err(fault(format!("it answers with error {code}"))),
            Ok(Err(e)) => Err(fault(e.to_string())),
            Err(_) => Err(fault(format!("no answer within {limit}"))),
        }
    }
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, time::Instant};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Answers every connection with these bytes after it has read a request, then closes or waits.
    async fn serve(answer: Vec<u8>, close: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_ok() {
                    stream.write_all(&answer).await.ok();
                }
                if !close {
                    held.push(stream);
                }
            }
        });
        url
    }
    async fn get(url: String, limit: &str) -> Result<HttpSeen, Fault> {
        Probe.http(&HttpAsk { url, limit: limit.parse().unwrap(), insecure: false, headers: BTreeMap::new() }).await
    }

    #[tokio::test]
    async fn an_answer_is_what_was_said() {
        let url = serve(b"HTTP/1.1 503 no\r\ncontent-length: 5\r\n\r\nsorry".to_vec(), true).await;
        assert_eq!(get(url, "5s").await, Ok(HttpSeen { status: 503, body: "sorry".into() }));
        let url = serve(b"HTTP/1.1 302 there\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec(), true).await;
        assert_eq!(get(url, "5s").await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn a_long_answer_is_cut_and_a_slow_one_given_up() {
        let mut endless = b"HTTP/1.1 200 ok\r\n\r\n".to_vec();
        endless.extend(vec![b'x'; 200_000]);
        assert_eq!(get(serve(endless, false).await, "5s").await.unwrap().body.len(), LARGEST);
        let began = Instant::now();
        assert_eq!(get(serve(Vec::new(), false).await, "200ms").await.unwrap_err().kind, FaultKind::Unknown);
        assert!(began.elapsed().as_secs() < 4);
    }

    #[tokio::test]
    async fn nobody_there_and_garbage() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(get(format!("http://{closed}/"), "2s").await.unwrap_err().kind, FaultKind::Unreachable);
        assert_eq!(get(serve(b"hello\r\n\r\n".to_vec(), true).await, "2s").await.unwrap_err().kind, FaultKind::Unknown);
        assert_eq!(get("not a url".into(), "2s").await.unwrap_err().kind, FaultKind::Invalid);
        let refused = Probe.tcp("127.0.0.1", closed.port(), Span::seconds(2)).await.unwrap_err();
        assert!(refused.kind == FaultKind::Unreachable && refused.to_string().to_lowercase().contains("refused"), "{refused}");
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(Probe.tcp("127.0.0.1", open.local_addr().unwrap().port(), Span::seconds(2)).await, Ok(()));
    }
}
