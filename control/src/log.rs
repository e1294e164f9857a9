//! The log is written by a thread of its own: a pipe that nobody reads must not hold up an answer, or a rollback.

use std::io::Write;

pub use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

/// A writer for a subscriber that never waits: lines that `to` does not take are kept, and beyond 128,000 of them new
/// ones are dropped. What is kept is written before the guard is gone, within a second.
pub fn unblocking(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    tracing_appender::non_blocking(to)
}
