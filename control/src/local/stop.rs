//! Stops a folder without anybody's help: every ECDS file becomes the switch that needs no module.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{LocalError, PROXIES, proxies, write};
use crate::build::ecds::inert_response;

/// While this file is there, `graylane run --local` leaves configs as they are.
pub const STOPPED: &str = "stopped";
/// A run may be about to write what it decided before; it looks at the file before each change.
const ROUNDS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(50);

/// Sends everybody to stable; `who` says to whoever finds it who did, and why. Returns how many files were
/// changed.
///
/// # Errors
/// When `proxies.yaml` makes no sense, or a file cannot be written. What could be stopped is.
pub fn stop(dir: &Path, who: &str) -> Result<usize, LocalError> {
    let proxies = proxies::read(&dir.join(PROXIES))?;
    write::json(&dir.join(STOPPED), &who)?;
    let (mut count, mut result) = (0, Ok(()));
    for round in 0..ROUNDS {
        if round > 0 {
            std::thread::sleep(BETWEEN);
        }
        for filter in proxies.proxies.iter().flat_map(|proxy| &proxy.filters) {
            let wanted = inert_response(filter.side, 0);
            if read(&filter.ecds).as_ref() != Some(&wanted) {
                match write::json(&filter.ecds, &wanted) {
                    Ok(()) => count += 1,
                    Err(error) => result = Err(error),
                }
            }
        }
    }
    result.map(|()| count)
}

/// Lets `graylane run --local` write again. Returns whether the folder was stopped.
///
/// # Errors
/// When the file that says so cannot be removed.
pub fn lift(dir: &Path) -> Result<bool, LocalError> {
    let file = dir.join(STOPPED);
    match std::fs::remove_file(&file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(LocalError::Write { file, source }),
    }
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
