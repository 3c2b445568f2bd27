//! Pure code that a driver and the lab both need: no sockets, no clock, no randomness of its own.
//! `dns`: one question to a name server. RMCP+ (IPMI 2.0 over LAN), from the outside in: `rmcp` (datagrams), `rakp` (login), `suite` (cryptography), `lan` (messages), `ipmi` (what commands say).
pub mod boot_flags;
pub mod dns;
pub mod ipmi;
pub mod lan;
pub mod pin;
pub mod rakp;
pub mod rmcp;
pub mod sel;
pub mod suite;
pub mod tls;
pub mod x509;

/// A datagram or a field of it that cannot be what it claims. Names the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// The `N` bytes at `at`, or nothing where there are too few.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
