//! A real Envoy process.

use std::fs::{self, File};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::admin::Admin;
use crate::poll::{self, PATIENCE};

/// How to start one.
#[derive(Clone, Debug)]
pub struct Start {
    /// The binary.
    pub binary: PathBuf,
    /// The bootstrap; relative paths in it are seen from its folder.
    pub config: PathBuf,
    /// Port of the admin listener the bootstrap names.
    pub admin: u16,
    /// Worker threads.
    pub concurrency: u32,
}

/// A running Envoy, ended by its id when dropped. What it says of itself is asked of its [`Admin`].
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    admin: Admin,
    log: PathBuf,
    access_log: PathBuf,
}

// === impl Start ===

impl Start {
    /// Starts the process and waits until it is ready to serve.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready in time; its log is part of the message.
    pub fn ready(&self) -> Result<Envoy> {
        let mut envoy = self.spawn()?;
        poll::until("Envoy to be ready", PATIENCE, || envoy.check_ready()).with_context(|| envoy.log_text())?;
        Ok(envoy)
    }

    /// Checks the bootstrap as `envoy --mode validate` does.
    ///
    /// # Errors
    /// When Envoy cannot be run or refuses the bootstrap.
    pub fn validate(&self) -> Result<()> {
        let output = self.command()?.args(["--mode", "validate"]).output()?;
        ensure!(output.status.success(), "{}: {}", self.config.display(), said(&output));
        Ok(())
    }

    fn spawn(&self) -> Result<Envoy> {
        let (log, access_log) = (self.beside("log"), self.beside("access.log"));
        let child = self
            .command()?
            .stdin(Stdio::null())
            .stdout(File::create(&access_log)?)
            .stderr(File::create(&log)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        Ok(Envoy { child, admin: Admin { at: self.admin.into() }, log, access_log })
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(self.config.parent().context("the config has no folder")?)
            .arg("-c")
            .arg(&self.config)
            .args(["--concurrency", &self.concurrency.to_string()])
            .args(["--log-level", "warning", "--component-log-level", "wasm:info"])
            .arg("--disable-hot-restart");
        Ok(command)
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.config.with_extension(extension)
    }
}

// === impl Envoy ===

impl Envoy {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it keeps in RAM, in kB, as the kernel counts it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resident_kb(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// What it wrote to its own log.
    #[must_use]
    pub fn log_text(&self) -> String {
        read_lossy(&self.log)
    }

    /// The access log, which the scenarios write to standard output.
    #[must_use]
    pub fn access_log(&self) -> String {
        read_lossy(&self.access_log)
    }

    fn check_ready(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("Envoy ended: {status}");
        }
        self.admin.ready()
    }
}

impl Deref for Envoy {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        &self.admin
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Killing a process that has ended, or waiting for it twice, only gives an error to ignore.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a file written by somebody else has some text.
///
/// # Errors
/// When it does not in time.
pub fn wait_for_text(what: &str, text: impl Fn() -> String, wanted: &str) -> Result<()> {
    poll::until(what, Duration::from_secs(15), || {
        let text = text();
        ensure!(text.contains(wanted), "no {wanted:?} in {text}");
        Ok(())
    })
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
