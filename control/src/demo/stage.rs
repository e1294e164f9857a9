//! Everything that runs in the demo: a folder, the engine on it, the Envoys, the apps. What it started
//! ends with it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use graylane_policy::raw::Role;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::bootstrap;
use super::envoy::Envoy;
use super::topology::{Pod, Topology};
use crate::app::{App, Next, Setup};
use crate::build::Side;
use crate::http::Client;
use crate::local::proxies::{FilterSpec, ProxiesFile, ProxySpec, VersionSpec};
use crate::local::run::Run;
use crate::stats::Stats;

/// Workers of the gateways, so that "every worker" is more than one; sidecars have one.
pub(super) const GATEWAY_WORKERS: u32 = 2;

/// The release that is there at first.
pub(super) const SUMMER: &str = include_str!("release.yaml");

/// The running demo.
#[derive(Debug)]
pub struct Stage {
    /// Its folder: release, proxies, state, ECDS files, bootstraps, logs.
    pub dir: PathBuf,
    /// Names and ports.
    pub topology: Topology,
    /// `namespace/name` of the release that is there.
    pub release: String,
    program: PathBuf,
    pub(super) envoys: BTreeMap<String, Envoy>,
    apps: BTreeMap<String, App>,
    /// The engine; ends when dropped.
    run: JoinSet<()>,
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
        let mut stage = Self {
            dir: dir.into(),
            topology,
            release: "shop/summer".into(),
            program: envoy.into(),
            envoys: BTreeMap::new(),
            apps: BTreeMap::new(),
            run: JoinSet::new(),
        };
        stage.write_folder(filter)?;
        stage.start_apps().await?;
        // The configs are there before the Envoys, so that these begin with them.
        let mut run = Run::open(dir)?;
        stage.run.spawn(async move { run.go().await });
        stage.written_after(Side::Outbound, 0).await.context("graylane wrote no config")?;
        stage.start_envoys().await?;
        stage.all_confirm("the first config").await?;
        Ok(stage)
    }

    fn write_folder(&self, filter: &Path) -> Result<()> {
        for sub in ["ecds", "envoy", "logs"] {
            std::fs::create_dir_all(self.dir.join(sub))?;
        }
        std::fs::write(self.dir.join("release.yaml"), SUMMER)?;
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
            service: None,
            name: gateway.name.into(),
            admin: format!("127.0.0.1:{}", gateway.admin),
            concurrency: GATEWAY_WORKERS,
            filters: vec![spec(Side::Gateway, gateway.name)],
        }];
        proxies.extend(self.topology.pods.iter().map(|pod| ProxySpec {
            service: Some(pod.service.into()),
            name: pod.name(),
            admin: format!("127.0.0.1:{}", pod.admin),
            concurrency: 1,
            filters: vec![spec(Side::Inbound, &pod.name()), spec(Side::Outbound, &pod.name())],
        }));
        let versions = self.topology.pods.iter().map(|pod| VersionSpec {
            service: pod.service.into(),
            lane: pod.lane.into(),
            probe: format!("127.0.0.1:{}/healthz", pod.app),
        });
        ProxiesFile { module: filter.into(), proxies, versions: versions.collect() }
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

    /// Lets a version say that it is ready, or that it is not. It serves all the same.
    ///
    /// # Errors
    /// When there is no such version.
    pub fn set_ready(&self, name: &str, ready: bool) -> Result<()> {
        self.apps.get(name).with_context(|| format!("`{name}` does not run"))?.set_ready(ready);
        Ok(())
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

    /// Gives the pods of a lane another version of their services, as a rolling update does that loses no request.
    ///
    /// # Errors
    /// When a pod does not run.
    pub fn roll_out(&self, lane: &str, services: &[&str], version: &str) -> Result<()> {
        let pods = self.topology.pods.iter();
        for pod in pods.filter(|pod| pod.lane == lane && services.contains(&pod.service)) {
            let name = pod.name();
            let app = self.apps.get(&name).with_context(|| format!("`{name}` does not run"))?;
            app.replace(setup(pod, format!("{}-{version}", pod.service)));
        }
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
    Ok(App::start(listener, setup(pod, pod.name()))?)
}

fn setup(pod: &Pod, name: String) -> Setup {
    let call = pod.next.map(|host| Next { host: host.into(), addr: format!("127.0.0.1:{}", pod.outbound) });
    Setup { name, call }
}
