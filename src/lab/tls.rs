//! HTTPS for the servers of the lab: one certificate authority per lab, one leaf for 127.0.0.1 and localhost, and an axum router behind them.
//!
//! ```no_run
//! # async fn lab() -> std::io::Result<()> {
//! use pitstop::lab::tls::{self, Tls};
//! let tls = Tls::new();                                                   // once per lab; cheap to clone, keys stay in memory
//! std::fs::write("ca.pem", tls.ca_pem())?;                                // for `tls = { ca_file = "ca.pem" }`, `curl --cacert`
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;     // ask it for its port
//! tls::serve(listener, axum::Router::new(), &tls).await                   // until dropped: put it into a task of yours
//! # }
//! ```
use crate::wire;
use axum::{Router, serve::Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{fmt::Write, io, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A client that does not finish its handshake is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Tls {
    ca_pem: String,
    fingerprint: String,
    config: Arc<ServerConfig>,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls::new()
    }
}

impl Tls {
    /// New keys and certificates, in memory only.
    pub fn new() -> Tls {
        Tls::for_addresses(&[])
    }
    /// Good for these addresses too.
    pub fn for_addresses(more: &[IpAddr]) -> Tls {
        Tls::make(more).expect("BUG: a certificate for loopback addresses cannot be made")
    }

    fn make(more: &[IpAddr]) -> Result<Tls, Box<dyn std::error::Error>> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "pitstop lab CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut leaf =
            CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()].into_iter().chain(more.iter().map(IpAddr::to_string)).collect::<Vec<_>>())?;
        leaf.distinguished_name.push(DnType::CommonName, "localhost");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Strict verifiers want to find the issuer by its key.
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&key, &ca)?;

        let mut fingerprint = String::new();
        for byte in <sha2::Sha256 as sha2::Digest>::digest(leaf.der()) {
            write!(fingerprint, "{byte:02x}")?;
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(wire::tls::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone(), ca.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { ca_pem: ca.pem(), fingerprint, config: Arc::new(config) })
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// SHA-256 of the leaf's DER in hex: what a pin names.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, router: Router, tls: &Tls) -> io::Result<()> {
    serve_unless(listener, router, tls, || false).await
}

/// Serves until dropped. While `silent` says so, connections are accepted and held, and nothing is ever answered.
pub async fn serve_unless(listener: TcpListener, router: Router, tls: &Tls, silent: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    let (ready, incoming) = mpsc::channel(16);
    let local = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(tls.config.clone());
    let accepting = accept(listener, acceptor, ready, silent);
    tokio::select! {
        served = axum::serve(Handshaken { incoming, local }, router) => served,
        () = accepting => Ok(()),
    }
}

/// Each handshake runs in a task of its own: one client that says nothing keeps nobody else waiting.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>, silent: impl Fn() -> bool) {
    let mut handshakes = JoinSet::new();
    let mut held = Vec::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if silent() => held.push(stream),
                Ok((stream, peer)) => {
                    let (acceptor, ready) = (acceptor.clone(), ready.clone());
                    handshakes.spawn(async move {
                        stream.set_nodelay(true).ok(); // slower without, not wrong
                        if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                            ready.send((stream, peer)).await.ok(); // the server is gone
                        }
                    });
                }
                // Out of descriptors, most likely: others must close first.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = handshakes.join_next() => {}
        }
    }
}

struct Handshaken {
    incoming: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: SocketAddr,
}

impl Listener for Handshaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.incoming.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}
