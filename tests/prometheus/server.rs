//! A Prometheus process.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use graylane_tests::{paths, ports};
use serde_json::{Value, json};

/// A running Prometheus, ended when dropped. What it has stored outlives its process.
pub struct Prometheus {
    /// Where it answers.
    pub port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

/// What is scraped each second, and the labels that its series get.
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The path of its page.
    pub path: &'static str,
    /// Labels.
    pub labels: BTreeMap<&'static str, String>,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.end();
    }
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one that scrapes these.
    pub fn start(targets: &[Target]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // What is JSON is YAML too.
        std::fs::write(folder.path().join("prometheus.yml"), config(targets)?.to_string())?;
        let port = ports::free();
        Ok(Self { port, child: spawn(&folder, port)?, folder })
    }

    /// Ends it at once.
    pub fn end(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, on its port and with what it has stored.
    pub fn again(&mut self) -> Result<()> {
        self.child = spawn(&self.folder, self.port)?;
        Ok(())
    }
}

/// The lane of a pod becomes a label of its series by the lines that `docs/analysis-api.md` has.
fn config(targets: &[Target]) -> Result<Value> {
    let documented = std::fs::read_to_string(paths::root().join("docs/analysis-api.md"))?;
    let mut blocks = documented.split("```yaml").filter_map(|rest| rest.split("```").next());
    let lines = blocks.find(|block| block.contains("relabel_configs")).context("no relabelling is documented")?;
    let job: Value = serde_saphyr::from_str(lines)?;
    let jobs = targets.iter().enumerate().map(|(at, target)| {
        let mut job = job.clone();
        job["job_name"] = format!("target-{at}").into();
        job["metrics_path"] = target.path.into();
        job["static_configs"] = json!([{"targets": [target.address], "labels": target.labels}]);
        job
    });
    Ok(json!({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs.collect::<Vec<_>>()}))
}

fn spawn(folder: &tempfile::TempDir, port: u16) -> Result<Child> {
    let binary =
        std::env::var("PROMETHEUS_BIN").context("PROMETHEUS_BIN is not set; `make test STAGE=prometheus` sets it")?;
    Command::new(&binary)
        .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{binary} does not start"))
}
