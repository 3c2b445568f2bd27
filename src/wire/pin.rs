//! Trust in one certificate, named by its SHA-256 fingerprint. Name and expiry do not matter then: appliances say `localhost` and sign themselves.
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// 64 hex digits, colons allowed.
pub fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("`{text}` is not a SHA-256 fingerprint: 64 hex digits");
    let digits: Vec<u8> = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>().ok_or_else(wrong)?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() == 64 { bytes.try_into().map_err(|_| wrong()) } else { Err(wrong()) }
}

/// A client that believes this certificate alone.
pub fn client(pin: [u8; 32]) -> Result<ClientConfig, Error> {
    let provider = super::tls::provider();
    let verifier = Arc::new(One { pin, provider: provider.clone() });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

#[derive(Debug)]
struct One {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// The signature of the handshake is verified all the same: a certificate is public, and only its key proves who shows it.
impl ServerCertVerifier for One {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Sha256::digest(leaf).as_slice() == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }
    fn verify_tls12_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        assert_eq!(fingerprint(&"9f".repeat(32)), Ok([0x9f; 32]));
        assert_eq!(fingerprint(&vec!["9F"; 32].join(":")), Ok([0x9f; 32]));
        for wrong in ["", "9f", &"9g".repeat(32), &"9f".repeat(33), &"9f".repeat(31)] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
    }
}
