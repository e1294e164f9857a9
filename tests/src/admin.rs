//! What a proxy says of itself on its admin listener.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::client::{self, At};
use crate::poll::{self, PATIENCE};
use crate::stats::Stats;

/// A count is there as soon as its stream has ended.
const PATIENCE_FOR_COUNTS: Duration = Duration::from_secs(10);

/// The admin listener of an Envoy.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// Where it listens.
    pub at: At,
}

// === impl Admin ===

impl Admin {
    /// Asks whether the proxy is ready to serve.
    ///
    /// # Errors
    /// When it is not.
    pub fn ready(&self) -> Result<()> {
        client::get(self.at, "/ready").map(drop)
    }

    /// Its metrics in Prometheus form.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub fn stats(&self) -> Result<Stats> {
        Stats::parse(&client::get(self.at, "/stats/prometheus")?)
    }

    /// One of Envoy's own counters by its full dotted name.
    ///
    /// # Errors
    /// When the admin listener does not answer, or Envoy has no counter of that name.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let text = client::get(self.at, "/stats")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(line.with_context(|| format!("this Envoy has no counter {name}"))?.parse()?)
    }

    /// All counters whose name contains `part`, with their values.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub fn counters_with(&self, part: &str) -> Result<Vec<(String, u64)>> {
        let text = client::get(self.at, "/stats")?;
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        Ok(pairs
            .filter(|(name, _)| name.contains(part))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// What its allocator has given out, now; the gauge of that name is five seconds old.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub fn allocated_kb(&self) -> Result<u64> {
        let memory: serde_json::Value = serde_json::from_str(&client::get(self.at, "/memory")?)?;
        let bytes = memory["allocated"].as_str().context("no `allocated` in /memory")?;
        Ok(bytes.parse::<u64>()? / 1024)
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
}
