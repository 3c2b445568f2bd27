//! Programs of the peers: found, or the test fails and says how to get them.
use std::path::PathBuf;

/// Debian keeps servers out of an ordinary user's PATH.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/sbin"]);
    places.map(|dir| PathBuf::from(dir).join(name)).find(|p| p.is_file()).unwrap_or_else(|| panic!("`{name}` is not installed: run tests/setup"))
}
