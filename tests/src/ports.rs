//! Free TCP ports on the loopback address.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux's ephemeral range (32,768 up), so that no outgoing connection ever takes one of ours.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port nobody listens on, never given twice by this process. Envoy binds with `SO_REUSEPORT`: two
/// that were given one port would share its connections instead of failing, so each must be unique.
///
/// # Panics
/// When no port of the range is free.
#[must_use]
pub fn free() -> u16 {
    let start = u16::try_from(process::id() % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
