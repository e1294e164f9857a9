//! CPU time of a process, and who runs where.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time that all threads of a process have used, from the scheduler's own books, in nanoseconds
/// (`/proc/<pid>/task/<tid>/schedstat`); `stat` would count in hundredths of a second.
///
/// # Errors
/// When the process is gone or the kernel keeps no such books.
pub fn used(process: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let file = task?.path().join("schedstat");
        // A helper thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        sum += text.split(' ').next().context("empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Keeps all threads of a process on one core, where the system has `taskset`.
pub fn pin(process: u32, core: usize) {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &process.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("warning: process {process} could not be pinned to core {core} (taskset, of util-linux): more noise");
    }
}
