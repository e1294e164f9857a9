//! Everything that runs in the demo: a folder, the Envoys, the apps. What it started ends with it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use graylane_policy::raw::Role;
use graylane_policy::slots::SlotTable;
use tokio::net::TcpListener;

use super::bootstrap;
use super::envoy::Envoy;
use super::topology::{Pod, Topology};
use crate::ack::{Expected, Report, State, Watch};
use crate::app::{App, Next, Setup};
use crate::build::Side;
use crate::http::Client;
use crate::local::Folder;
use crate::local::proxies::{FilterSpec, ProxiesFile, ProxySpec};
use crate::local::push::{Wish, plan};
use crate::stats::Stats;

/// Name of the release as it stands in the state.
const RELEASE: &str = "shop/summer";
/// How long proxies may take to run a push.
const ACK: Duration = Duration::from_secs(30);
/// Workers of the gateways, so that "every worker" is more than one; sidecars have one.
const GATEWAY_WORKERS: u32 = 2;

/// The running demo.
#[derive(Debug)]
pub struct Stage {
    /// Its folder: release, proxies, state, ECDS files, bootstraps, logs.
    pub dir: PathBuf,
    /// Names and ports.
    pub topology: Topology,
    program: PathBuf,
    envoys: BTreeMap<String, Envoy>,
    apps: BTreeMap<String, App>,
}

/// A push that was carried out.
#[derive(Debug)]
pub struct Pushed {
    /// How every filter stands.
    pub reports: Vec<Report>,
    /// How many files changed.
    pub files: usize,
}

/// A push that is being carried out.
#[derive(Debug)]
pub struct Pushing {
    written: Instant,
    files: usize,
    watch: Watch,
    expected: Vec<Expected>,
}

// === impl Stage ===

impl Stage {
    /// Writes the folder and starts everything in it.
    ///
    /// # Errors
    /// When a program, a file or a port is missing, or an Envoy does not get ready.
    pub async fn start(dir: &Path, envoy: &Path, filter: &Path) -> Result<Self> {
        // Different demos on one machine begin their search at different ports.
        let first = 15_000 + u16::try_from(std::process::id() % 100)? * 100;
        let topology = Topology::on_free_ports(first).context("there are not enough free ports above 15000")?;
        let mut stage =
            Self { dir: dir.into(), topology, program: envoy.into(), envoys: BTreeMap::new(), apps: BTreeMap::new() };
        stage.write_folder(filter)?;
        stage.start_apps().await?;
        // The configs are there before the Envoys, so that these begin with them.
        let folder = Folder::open(dir)?;
        plan(&folder, &Wish::default())?.carry_out(&folder)?;
        drop(folder);
        stage.start_envoys().await?;
        let pushed = stage.push(&Wish::default()).await?;
        pushed.require_acknowledged("the first config")?;
        Ok(stage)
    }

    fn write_folder(&self, filter: &Path) -> Result<()> {
        for sub in ["ecds", "envoy", "logs"] {
            std::fs::create_dir_all(self.dir.join(sub))?;
        }
        std::fs::write(self.dir.join("release.yaml"), include_str!("release.yaml"))?;
        let proxies = serde_saphyr::to_string(&self.proxies(filter))?;
        std::fs::write(self.dir.join("proxies.yaml"), proxies)?;
        let Topology { pods, gateway, plain } = &self.topology;
        let mut bootstraps = vec![
            (gateway.name.to_owned(), bootstrap::gateway(&self.topology, *gateway, true)),
            (plain.name.to_owned(), bootstrap::gateway(&self.topology, *plain, false)),
        ];
        bootstraps.extend(pods.iter().map(|pod| (pod.name(), bootstrap::sidecar(&self.topology, pod))));
        for (name, bootstrap) in bootstraps {
            let text = serde_json::to_string_pretty(&bootstrap)?;
            std::fs::write(self.dir.join(format!("envoy/{name}.json")), text)?;
        }
        Ok(())
    }

    fn proxies(&self, filter: &Path) -> ProxiesFile {
        let spec = |side: Side, name: &str| FilterSpec {
            role: side.role(),
            entry: side.role() == Role::Gateway,
            ecds: bootstrap::ecds_file(side, name).into(),
        };
        let gateway = self.topology.gateway;
        let mut proxies = vec![ProxySpec {
            name: gateway.name.into(),
            admin: format!("127.0.0.1:{}", gateway.admin),
            concurrency: GATEWAY_WORKERS,
            filters: vec![spec(Side::Gateway, gateway.name)],
        }];
        proxies.extend(self.topology.pods.iter().map(|pod| ProxySpec {
            name: pod.name(),
            admin: format!("127.0.0.1:{}", pod.admin),
            concurrency: 1,
            filters: vec![spec(Side::Inbound, &pod.name()), spec(Side::Outbound, &pod.name())],
        }));
        ProxiesFile { module: filter.into(), proxies, versions: Vec::new() }
    }

    async fn start_apps(&mut self) -> Result<()> {
        for pod in &self.topology.pods {
            let app = start_app(pod).await?;
            self.apps.insert(pod.name(), app);
        }
        Ok(())
    }

    async fn start_envoys(&mut self) -> Result<()> {
        let Topology { pods, gateway, plain } = &self.topology;
        let gateways = [gateway, plain].map(|one| (one.name.to_owned(), one.admin, GATEWAY_WORKERS));
        let sidecars = pods.iter().map(|pod| (pod.name(), pod.admin, 1));
        for (name, admin, workers) in gateways.into_iter().chain(sidecars) {
            let envoy = Envoy::start(&self.program, &self.dir, &name, admin, workers)?;
            self.envoys.insert(name, envoy);
        }
        for envoy in self.envoys.values_mut() {
            envoy.ready().await?;
        }
        Ok(())
    }

    /// Does what `graylane push --local` does, and waits for all proxies that still run.
    ///
    /// # Errors
    /// When the push is refused or a file cannot be written.
    pub async fn push(&self, wish: &Wish) -> Result<Pushed> {
        Ok(self.begin_push(wish).await?.finish().await)
    }

    /// The same in two steps, for those who watch the traffic in between.
    ///
    /// # Errors
    /// As for [`Stage::push`].
    pub async fn begin_push(&self, wish: &Wish) -> Result<Pushing> {
        let folder = Folder::open(&self.dir)?;
        let plan = plan(&folder, wish)?;
        let runs = |expected: &&Expected| self.envoys.contains_key(&expected.proxy);
        let expected: Vec<_> = plan.expected().iter().filter(runs).cloned().collect();
        let watch = Watch::begin(&expected).await;
        let written = Instant::now();
        plan.carry_out(&folder)?;
        Ok(Pushing { written, files: plan.changes(), watch, expected })
    }

    /// The slot table in force and its salt.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn slots(&self) -> Result<(SlotTable, String)> {
        let state = Folder::open(&self.dir)?.state()?;
        let release = state.releases.get(RELEASE).context("the state does not hold the release")?;
        Ok((SlotTable::from_runs(&release.runs)?, release.salt.clone()))
    }

    /// Ends a version: its Envoy and its app, at once and with all their connections.
    ///
    /// # Errors
    /// When there is no such version.
    pub async fn stop(&mut self, name: &str) -> Result<()> {
        self.apps.remove(name);
        match self.envoys.remove(name) {
            Some(mut envoy) => envoy.stop().await,
            None => bail!("`{name}` does not run"),
        }
    }

    /// Starts a version again that was stopped.
    ///
    /// # Errors
    /// When there is no such version, or it does not get ready.
    pub async fn revive(&mut self, name: &str) -> Result<()> {
        let pod = self.topology.pods.iter().find(|pod| pod.name() == name);
        let pod = pod.with_context(|| format!("there is no `{name}`"))?;
        self.apps.insert(name.into(), start_app(pod).await?);
        let mut envoy = Envoy::start(&self.program, &self.dir, name, pod.admin, 1)?;
        envoy.ready().await?;
        self.envoys.insert(name.into(), envoy);
        Ok(())
    }

    /// Address of the gateway's clients, with the filter or without.
    pub fn entry(&self, with_filter: bool) -> String {
        let gateway = if with_filter { self.topology.gateway } else { self.topology.plain };
        format!("127.0.0.1:{}", gateway.listen)
    }

    /// Metrics of an Envoy whose names match `filter`.
    ///
    /// # Errors
    /// When the Envoy does not run or answer.
    pub async fn stats(&self, name: &str, filter: &str) -> Result<Stats> {
        let envoy = self.envoys.get(name).with_context(|| format!("`{name}` does not run"))?;
        Ok(Stats::read(&mut Client::new(envoy.admin(), Duration::from_secs(5)), filter).await?)
    }

    /// The Envoys that run.
    pub fn running(&self) -> Vec<String> {
        self.envoys.keys().cloned().collect()
    }
}

async fn start_app(pod: &Pod) -> Result<App> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, pod.app)).await;
    let listener = listener.with_context(|| format!("port {} was taken meanwhile", pod.app))?;
    let call = pod.next.map(|host| Next { host: host.into(), addr: format!("127.0.0.1:{}", pod.outbound) });
    Ok(App::start(listener, Setup { name: pod.name(), call })?)
}

// === impl Pushing ===

impl Pushing {
    /// When the first file was about to be written.
    pub fn written(&self) -> Instant {
        self.written
    }

    /// Waits until every filter runs the push, or the time is over.
    pub async fn finish(self) -> Pushed {
        let reports = self.watch.wait(&self.expected, ACK).await;
        Pushed { reports, files: self.files }
    }
}

// === impl Pushed ===

impl Pushed {
    /// Whether every worker of every proxy runs it.
    pub fn acknowledged(&self) -> bool {
        self.reports.iter().all(|report| report.state == State::Acknowledged)
    }

    /// An error that shows how every filter stands, unless every worker of every proxy runs the push.
    ///
    /// # Errors
    /// That one.
    pub fn require_acknowledged(&self, what: &str) -> Result<()> {
        ensure!(self.acknowledged(), "{what} did not reach every filter:\n{}", crate::cli::report_table(&self.reports));
        Ok(())
    }

    /// Milliseconds until the last one did.
    pub fn millis(&self) -> u64 {
        self.reports.iter().map(|report| report.millis).max().unwrap_or(0)
    }
}
