//! The one crypto provider of the program: every TLS client and server of ours is built from it, and `main` installs it for those that ask for a default.
use rustls::crypto::CryptoProvider;
use std::sync::Arc;

#[cfg(not(feature = "ring"))]
compile_error!("exactly one crypto provider is linked: build with the feature `ring`");

/// Makes the provider; changes nothing in the process.
#[cfg(feature = "ring")]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
