//! The release of the demo, as people see it and ask things of it: by the files of the folder.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use graylane_policy::raw::RawConfig;
use graylane_policy::slots::SlotTable;
use serde_json::Value;

use super::bootstrap::ecds_file;
use super::stage::Stage;
use crate::ack::{Expected, ExpectedFilter, Report, State, Watch};
use crate::build::Side;
use crate::build::ecds::document_text;
use crate::cli::report_table;
use crate::engine::Millis;
use crate::engine::request::{Request, Verb};
use crate::engine::status::Status;
use crate::local::kept;
use crate::release::read;
use crate::view::ground::Ground;
use crate::view::kept::Kept;
use crate::view::{text, tree};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked at what is waited for.
const LOOK: Duration = Duration::from_millis(2);
/// While this file is there, graylane leaves the configs of the folder alone.
const STOPPED: &str = "stopped";

// === impl Stage ===

impl Stage {
    /// What has become of the release.
    ///
    /// # Errors
    /// When its status cannot be read.
    pub fn status(&self) -> Result<Status> {
        Ok(kept::status(&self.dir, &self.release)?.unwrap_or_default())
    }

    /// The slot table in force and its salt.
    ///
    /// # Errors
    /// When the status cannot be read.
    pub fn slots(&self) -> Result<(SlotTable, String)> {
        let status = self.status()?;
        Ok((status.table(), status.salt))
    }

    /// Asks something of the release, as `graylane promote --local` and its like do.
    ///
    /// # Errors
    /// When the request cannot be written.
    pub fn ask(&self, verb: Verb) -> Result<()> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let id = format!("demo-{}", since.as_nanos());
        Ok(kept::ask(&self.dir, &self.release, &Request { id, verb, step: None })?)
    }

    /// Puts another release in the place of the one that is there, once that has left the proxies.
    ///
    /// # Errors
    /// When it does not leave, or the new one is not begun.
    pub async fn change_release(&mut self, id: &str, text: &str) -> Result<()> {
        let file = self.dir.join("release.yaml");
        std::fs::remove_file(&file)?;
        let start = Instant::now();
        while kept::status(&self.dir, &self.release)?.is_some() {
            ensure!(start.elapsed() < PATIENCE, "{} does not leave: {}", self.release, self.status()?.message);
            tokio::time::sleep(LOOK).await;
        }
        std::fs::write(file, text)?;
        self.release = id.to_owned();
        self.until("the release to begin", |status| status.attempt > 0).await?;
        Ok(())
    }

    /// Waits until the status is as wanted.
    ///
    /// # Errors
    /// When it does not get so; with what the release says of itself.
    pub async fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Result<Status> {
        let start = Instant::now();
        loop {
            let status = self.status()?;
            if is(&status) {
                return Ok(status);
            }
            ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; the release says: {}", status.message);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The release across its services, as `graylane get` shows it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn tree(&self) -> Result<String> {
        let now = u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?;
        let source = read::read_file(&self.dir.join("release.yaml"))?.pop().context("no release in release.yaml")?;
        let (namespace, name) = self.release.split_once('/').context("no namespace")?;
        let kept = Kept {
            object: Value::Null,
            namespace: namespace.into(),
            name: name.into(),
            created_ms: None,
            generation: None,
            deleting: false,
            spec: Some(source.written.spec),
            status: self.status()?,
            asked: None,
        };
        let proxies = Ground::Proxies(kept::proxy_names(&self.dir));
        Ok(text::branches(&tree::tree(&kept, &proxies, now)))
    }

    /// The file that the gateway watches.
    pub fn gateway_file(&self) -> PathBuf {
        self.dir.join(ecds_file(Side::Gateway, self.topology.gateway.name))
    }

    /// When the file that the gateway watches was written, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is not there.
    pub fn gateway_written_ms(&self) -> Result<Millis> {
        let written = std::fs::metadata(self.gateway_file())?.modified()?;
        Ok(u64::try_from(written.duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?)
    }

    /// The highest generation in any file.
    pub fn generation(&self) -> u64 {
        self.expected().iter().flat_map(|proxy| &proxy.filters).map(|filter| filter.generation).max().unwrap_or(0)
    }

    /// Waits until every file is there and those of one side, which hold the same document, are newer than
    /// a generation.
    ///
    /// # Errors
    /// When they are not written.
    pub async fn written_after(&self, side: Side, generation: u64) -> Result<()> {
        let start = Instant::now();
        loop {
            let expected = self.expected();
            let mut filters = expected.iter().flat_map(|proxy| &proxy.filters).filter(|filter| filter.side == side);
            let are_there = expected.len() == self.topology.pods.len() + 1;
            if are_there && filters.all(|filter| filter.generation > generation) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("no config came within {PATIENCE:?}; the release says: {}", self.status()?.message);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What every proxy has to report once it runs what is in its files.
    fn expected(&self) -> Vec<Expected> {
        let (gateway, workers) = (self.topology.gateway, u64::from(super::stage::GATEWAY_WORKERS) + 1);
        let gateway = (gateway.name.to_owned(), gateway.admin, workers, &[Side::Gateway][..]);
        let pods = self.topology.pods.iter();
        let pods = pods.map(|pod| (pod.name(), pod.admin, 2, &[Side::Inbound, Side::Outbound][..]));
        let expected = std::iter::once(gateway).chain(pods).filter_map(|(proxy, admin, workers, sides)| {
            let filter = |side: &Side| Some(ExpectedFilter { side: *side, generation: self.held(*side, &proxy)? });
            let filters = sides.iter().map(filter).collect::<Option<Vec<_>>>()?;
            Some(Expected { proxy, admin: format!("127.0.0.1:{admin}"), workers, filters })
        });
        expected.collect()
    }

    fn held(&self, side: Side, proxy: &str) -> Option<u64> {
        let response = serde_json::from_slice(&std::fs::read(self.dir.join(ecds_file(side, proxy))).ok()?).ok()?;
        serde_json::from_str::<RawConfig>(document_text(&response)?).ok().map(|document| document.generation)
    }

    /// Asks every proxy that runs, past graylane, until every worker runs what is in its files.
    ///
    /// # Errors
    /// When one does not in time; with how each stands.
    pub async fn all_confirm(&self, what: &str) -> Result<()> {
        let mut expected = self.expected();
        expected.retain(|proxy| self.envoys.contains_key(&proxy.proxy));
        let reports = Watch::begin(&expected).await.wait(&expected, PATIENCE).await;
        let all = reports.iter().all(|report: &Report| report.state == State::Acknowledged);
        ensure!(all, "{what} did not reach every filter:\n{}", report_table(&reports));
        Ok(())
    }

    /// Lets somebody else write configs: graylane leaves them alone until [`Stage::hands_on`].
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub async fn hands_off(&self) -> Result<()> {
        std::fs::write(self.dir.join(STOPPED), "")?;
        self.until("graylane to let go", |status| status.waiting.is_some()).await?;
        Ok(())
    }

    /// Lets graylane put everything right; ends when every worker runs it, with the milliseconds it took.
    ///
    /// # Errors
    /// When it does not.
    pub async fn hands_on(&self) -> Result<u128> {
        let start = Instant::now();
        let generation = self.generation();
        std::fs::remove_file(self.dir.join(STOPPED))?;
        self.written_after(Side::Gateway, generation).await?;
        self.all_confirm("what puts the config right").await?;
        Ok(start.elapsed().as_millis())
    }
}
