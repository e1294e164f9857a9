//! A real Envoy process.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client;
use crate::poll::{self, PATIENCE};
use crate::stats::Stats;

/// A count is there as soon as its stream has ended.
const PATIENCE_FOR_COUNTS: Duration = Duration::from_secs(10);

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

/// A running Envoy, ended by its id when dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    admin: u16,
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
        Ok(Envoy { child, admin: self.admin, log, access_log })
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
    /// Port of its admin listener.
    #[must_use]
    pub fn admin(&self) -> u16 {
        self.admin
    }

    /// Its metrics in Prometheus form.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub fn stats(&self) -> Result<Stats> {
        Stats::parse(&client::get(self.admin, "/stats/prometheus")?)
    }

    /// One of Envoy's own counters by its full dotted name; 0 when it has never been touched.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let text = client::get(self.admin, "/stats")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(line.map_or(Ok(0), str::parse)?)
    }

    /// All counters whose name contains `part`, with their values.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub fn counters_with(&self, part: &str) -> Result<Vec<(String, u64)>> {
        let text = client::get(self.admin, "/stats")?;
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        Ok(pairs
            .filter(|(name, _)| name.contains(part))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// Waits until every worker and the main thread of `role` run exactly this generation.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub fn wait_for_generation(&self, role: &str, generation: u64, threads: u32) -> Result<()> {
        let wanted = generation as f64;
        poll::until(&format!("generation {generation} of {role}"), PATIENCE, || {
            let stats = self.stats()?;
            let running = stats.sum("graylane_config_generation", &[("role", role)]);
            let workers = stats.sum("graylane_config_workers", &[("role", role)]);
            ensure!(running == wanted, "{role} runs generation {running}");
            ensure!(workers == f64::from(threads), "{workers} of {threads} threads run it");
            Ok(())
        })
    }

    /// Waits until the series of `name` with these labels add up to `wanted`.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn wait_for_sum(&self, name: &str, labels: &[(&str, &str)], wanted: f64) -> Result<()> {
        poll::until(&format!("{wanted} of {name} {labels:?}"), PATIENCE_FOR_COUNTS, || {
            let stats = self.stats()?;
            let sum = stats.sum(name, labels);
            let all: Vec<_> = stats.of(name).collect();
            ensure!(sum == wanted, "it is {sum}: {all:#?}");
            Ok(())
        })
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
        client::get(self.admin, "/ready").map(drop)
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
