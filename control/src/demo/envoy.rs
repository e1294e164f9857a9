//! An Envoy process of the demo, in its own process group and ended with the value that stands for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::http::{Ask, Client};

/// How long an Envoy may take to get ready; a gateway waits up to 15 s for its filter's config.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    /// Its name.
    pub name: String,
    admin: u16,
    log: PathBuf,
    child: Child,
}

// === impl Envoy ===

impl Envoy {
    /// Starts an Envoy in a folder, with the bootstrap at `envoy/<name>.json` there.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(program: &Path, dir: &Path, name: &str, admin: u16, concurrency: u32) -> Result<Self> {
        let log = dir.join(format!("logs/{name}.log"));
        let output = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let child = Command::new(program)
            .current_dir(dir)
            .args(["-c", &format!("envoy/{name}.json"), "--concurrency", &concurrency.to_string()])
            .args(["--disable-hot-restart", "-l", "info"])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // An interrupt of the terminal reaches the demo alone, which then ends its Envoys.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started; name another with --envoy", program.display()))?;
        Ok(Self { name: name.into(), admin, log, child })
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// When it ends instead, or takes too long; with the last words of its log.
    pub async fn ready(&mut self) -> Result<()> {
        let mut client = Client::new(self.admin(), Duration::from_secs(2));
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("Envoy `{}` ended with {status}; its log says:\n{}", self.name, self.last_words());
            }
            if client.ask(&Ask::get("/ready")).await.is_ok_and(|answer| answer.status.is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("Envoy `{}` was not ready in {PATIENCE:?}; its log says:\n{}", self.name, self.last_words())
    }

    /// Ends it at once and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub async fn stop(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("Envoy `{}` cannot be ended", self.name))
    }

    /// Its admin address.
    pub fn admin(&self) -> String {
        format!("127.0.0.1:{}", self.admin)
    }

    /// The lines that say what went wrong, or else the last ones.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let bad = |line: &&&str| line.contains("[critical]") || line.contains("[error]") || line.contains("error:");
        let mut words: Vec<&str> = lines.iter().filter(bad).take(5).copied().collect();
        if words.is_empty() {
            words = lines.iter().rev().take(5).rev().copied().collect();
        }
        words.join("\n")
    }
}

impl Drop for Envoy {
    /// Ends the process and takes its exit status, so that not even a zombie is left.
    fn drop(&mut self) {
        let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        if ended(&mut self.child) || self.child.start_kill().is_err() {
            return;
        }
        let start = Instant::now();
        while !ended(&mut self.child) && start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
