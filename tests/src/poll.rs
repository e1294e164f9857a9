//! Waiting for something to become true, with a deadline instead of a sleep.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Long enough for an Envoy that compiles the module on a busy two-core machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(20);

/// Calls `probe` until it gives a value, at most for `patience`.
///
/// # Errors
/// What `probe` said last, when the deadline passes first.
pub fn until<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() >= deadline => {
                return Err(last.context(anyhow!("waited {patience:?} for {what}")));
            }
            Err(_) => thread::sleep(STEP),
        }
    }
}

/// The same for a condition that needs no explanation.
///
/// # Errors
/// When the deadline passes first.
pub fn until_true(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    until(what, patience, || if holds() { Ok(()) } else { Err(anyhow!("it does not hold yet")) })
}
