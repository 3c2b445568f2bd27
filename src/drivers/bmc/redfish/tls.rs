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
use std::{fmt, sync::Arc};

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
    let provider = wire::tls::provider();
    let invalid = |what: String| Fault::new(FaultKind::Invalid, what);
    let pin = |text: &str| Fingerprint::parse(text).map(Believe::One).map_err(invalid);
    let believe = match (tls, &cx.trust.certificate) {
        (Tls::Sha256(text), _) | (_, Some(text)) => pin(text)?,
        (Tls::Insecure, None) => Believe::Anyone,
        (Tls::System, None) => {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let fault = invalid("this machine has no certificate authorities to verify a BMC with".into());
                return Err(found.errors.iter().fold(fault, |fault, e| fault.cause(e)).next("install ca-certificates, or set `tls = { ca_file = \"…\" }`"));
            }
            Believe::Authorities(authorities(roots, &provider)?)
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
            Believe::Authorities(authorities(roots, &provider)?)
        }
    };
    let verified = !matches!(believe, Believe::Anyone);
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| invalid("TLS cannot be set up".into()).caused_by(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { believe, provider }))
        .with_no_client_auth();
    Ok((config, verified))
}

fn authorities(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Fault> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| Fault::new(FaultKind::Invalid, "certificate authorities cannot be used").caused_by(&e))
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
        let seen = Fingerprint::of(leaf);
        let refused = |why: String| rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused { seen, why }))));
        match &self.believe {
            Believe::Anyone => Ok(ServerCertVerified::assertion()),
            Believe::One(pin) if *pin == seen => Ok(ServerCertVerified::assertion()),
            Believe::One(pin) => Err(refused(format!("the pinned certificate has SHA-256 {pin}"))),
            Believe::Authorities(roots) => roots.verify_server_cert(leaf, chain, name, ocsp, now).map_err(|e| refused(e.to_string())),
        }
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
