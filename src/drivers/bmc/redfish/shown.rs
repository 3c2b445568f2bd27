//! The certificate that a BMC shows: a TLS handshake and not one byte of HTTP, so that no password can leave for a machine that nobody knows yet.
use super::{Config, tls};
use crate::{
    model::{Certificate, Connect, Fault, FaultKind},
    wire::x509,
};
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

pub async fn certificate(config: &Config, cx: &Connect) -> Result<Option<Certificate>, Fault> {
    let base = config.base().map_err(|what| Fault::new(FaultKind::Invalid, what))?;
    if base.scheme() == "http" {
        return Ok(None);
    }
    let endpoint = base.as_str().trim_end_matches('/').to_owned();
    let fault = |kind: FaultKind, what: &str| Fault::new(kind, format!("{endpoint}: {what}"));
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = base.port_or_known_default().unwrap_or(443);
    let name = ServerName::try_from(host.clone()).map_err(|e| fault(FaultKind::Invalid, "its name is none").caused_by(&e))?;
    let (tls, seen) = tls::looker(&config.tls, cx)?;
    let handshake = async {
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|e| fault(FaultKind::Unreachable, "no connection").caused_by(&e))?;
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(|e| match e.kind() {
            // The certificate was shown, and its key does not belong to it: nothing to pin.
            std::io::ErrorKind::InvalidData => fault(FaultKind::Denied, "its TLS handshake is wrong").caused_by(&e),
            _ => fault(FaultKind::Unreachable, "no TLS handshake").caused_by(&e),
        })
    };
    match timeout(config.connect_timeout.0 * 2, handshake).await {
        Ok(done) => drop(done?),
        Err(_) => return Err(fault(FaultKind::Unreachable, "no TLS handshake in time")),
    }
    let (der, not_believed) =
        seen.lock().expect("BUG: a holder of what was seen panicked").take().ok_or_else(|| fault(FaultKind::Invalid, "it showed no certificate"))?;
    let names = x509::names(&der).map_err(|e| fault(FaultKind::Invalid, "its certificate cannot be read").caused_by(&e))?;
    let sha256 = tls::Fingerprint::of(&CertificateDer::from(der)).to_string();
    let x509::Names { subject, issuer, not_before, not_after, self_issued } = names;
    Ok(Some(Certificate { sha256, subject, issuer, not_before, not_after, self_issued, not_believed }))
}
