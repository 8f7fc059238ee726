//! Ports to listen on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that systems give to outgoing connections, so that none of those takes it meanwhile.
const FIRST: u16 = 20_000;
/// How many are tried.
const COUNT: u16 = 10_000;

/// A port on which nobody listens, and that no other test of this process gets.
///
/// # Panics
/// When all are taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test runs on one machine begin at different places.
    let begin = u16::from_le_bytes([std::process::id().to_le_bytes()[0], std::process::id().to_le_bytes()[1]]);
    for _ in 0..COUNT {
        let offset = begin
            .wrapping_mul(37)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + offset % COUNT;
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT)
}

/// Whether nobody listens on it.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
