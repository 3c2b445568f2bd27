//! Whom the client believes: the system's authorities, a file of them, one pinned certificate, or anybody.
use crate::{
    model::{Connect, Fault, FaultKind, FilePath},
    wire,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// The certificate authorities of this machine.
    #[default]
    System,
    /// The authorities in this PEM file, and no others.
    CaFile(FilePath),
    /// This certificate alone: SHA-256 of its DER, 64 hex digits, colons allowed.
    Sha256(String),
    /// Any certificate. Whoever sits between reads the password.
    Insecure,
}

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        Fingerprint(Sha256::digest(certificate).into())
    }
    pub fn parse(text: &str) -> Result<Fingerprint, String> {
        wire::pin::fingerprint(text).map(Fingerprint)
    }
}
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Travels inside rustls' own error, so that a refusal can name what was seen.
#[derive(Debug)]
pub struct Refused {
    pub seen: Fingerprint,
    pub why: String,
}
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the certificate shown has SHA-256 {}", self.why, self.seen)
    }
}
impl std::error::Error for Refused {}

impl Refused {
    /// Looks for it anywhere in a chain of errors.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Refused> {
        match tls_error(error)? {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
            _ => None,
        }
    }
}

/// The TLS error in a chain, if the chain is about TLS. It lies inside an `io::Error`, perhaps two, whose `source` steps over what it holds.
pub fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref() {
            return Some(found);
        }
        next = match e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => e.source(),
        };
    }
    None
}

/// The inventory's word, made stricter by a pin of `trust.toml` where there is one. A pin in the inventory itself wins over that.
pub fn client(tls: &Tls, cx: &Connect) -> Result<(ClientConfig, bool), Fault> {
    let believe = believe(tls, cx.trust.certificate.as_deref(), cx)?;
    let verified = !matches!(believe, Believe::Anyone);
    Ok((config(Verifier { believe, seen: None, provider: wire::tls::provider() })?, verified))
}

/// What a client met that let anybody in: the certificate, and why the inventory's word alone would have refused it.
pub type Seen = Arc<Mutex<Option<(Vec<u8>, Option<String>)>>>;

/// Lets anybody in, for as long as it takes to look at them.
pub fn looker(tls: &Tls, cx: &Connect) -> Result<(ClientConfig, Seen), Fault> {
    let seen = Seen::default();
    let verifier = Verifier { believe: believe(tls, None, cx)?, seen: Some(seen.clone()), provider: wire::tls::provider() };
    Ok((config(verifier)?, seen))
}

fn invalid(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Invalid, what)
}

fn config(verifier: Verifier) -> Result<ClientConfig, Fault> {
    Ok(ClientConfig::builder_with_provider(verifier.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| invalid("TLS cannot be set up").caused_by(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn believe(tls: &Tls, pinned: Option<&str>, cx: &Connect) -> Result<Believe, Fault> {
    let provider = wire::tls::provider();
    let pin = |text: &str| Fingerprint::parse(text).map(Believe::One).map_err(invalid);
    match (tls, pinned) {
        (Tls::Sha256(text), _) => pin(text),
        (_, Some(text)) => pin(text),
        (Tls::Insecure, None) => Ok(Believe::Anyone),
        (Tls::System, None) => {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let fault = invalid("this machine has no certificate authorities to verify a BMC with");
                return Err(found.errors.iter().fold(fault, |fault, e| fault.cause(e)).next("install ca-certificates, or set `tls = { ca_file = \"…\" }`"));
            }
            Ok(Believe::Authorities(authorities(roots, &provider)?))
        }
        (Tls::CaFile(file), None) => {
            let path = cx.path(file);
            let unusable = |e: &dyn fmt::Display| invalid(format!("read certificate authorities `{}`", path.display())).cause(e);
            let certificates = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| unusable(&e))?;
            let mut roots = RootCertStore::empty();
            certificates.into_iter().try_for_each(|c| roots.add(c)).map_err(|e| unusable(&e))?;
            if roots.is_empty() {
                return Err(unusable(&"it holds no certificate"));
            }
            Ok(Believe::Authorities(authorities(roots, &provider)?))
        }
    }
}

fn authorities(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Fault> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| Fault::new(FaultKind::Invalid, "certificate authorities cannot be used").caused_by(&e))
}

/// rustls' word in ours, where people meet it often.
fn said(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => format!("it has expired ({error})"),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("it is signed by nobody that this machine, or the `ca_file`, knows ({error})")
        }
        _ => error.to_string(),
    }
}

#[derive(Debug)]
enum Believe {
    Authorities(Arc<WebPkiServerVerifier>),
    /// Name and expiry do not matter: certificates of BMCs say `localhost`, and their clocks are wrong.
    One(Fingerprint),
    Anyone,
}

/// Judges the certificate by `believe`. The handshake's signature is verified always: a certificate is public, and only its key proves who shows it.
#[derive(Debug)]
struct Verifier {
    believe: Believe,
    /// Some: nothing is refused, what would be is noted here.
    seen: Option<Seen>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(leaf);
        let judged = match &self.believe {
            Believe::Anyone => Ok(()),
            Believe::One(pin) if *pin == shown => Ok(()),
            Believe::One(pin) => Err(format!("the pinned certificate has SHA-256 {pin}")),
            Believe::Authorities(roots) => roots.verify_server_cert(leaf, chain, name, ocsp, now).map(drop).map_err(|e| said(&e)),
        };
        if let Some(seen) = &self.seen {
            *seen.lock().expect("BUG: a holder of what was seen panicked") = Some((leaf.to_vec(), judged.err()));
            return Ok(ServerCertVerified::assertion());
        }
        let refused = |why: String| rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused { seen: shown, why }))));
        judged.map(|()| ServerCertVerified::assertion()).map_err(refused)
    }

    fn verify_tls12_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
