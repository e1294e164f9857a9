//! A script and everything it started.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A process group, ended as a whole when dropped.
#[derive(Debug)]
pub struct Group {
    leader: Child,
}

// === impl Group ===

impl Group {
    /// Starts a command in a group of its own; what it says goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::create(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let leader = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { leader })
    }

    /// True while the script itself runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.leader.try_wait()?.is_none())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The standard library ends one process; `kill` takes the negative id of a whole group.
        let group = format!("-{}", self.leader.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.leader.wait();
    }
}
