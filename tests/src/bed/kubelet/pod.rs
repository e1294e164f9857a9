//! The life of one pod.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Error, ResourceExt};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, timeout};

use super::containers::Container;
use super::status::Report;
use super::{Table, Yard};
use crate::admin::Admin;
use crate::bed::network::Place;
use crate::bed::part::Part;
use crate::bed::proxy;
use crate::client::{self, Answer, Ask, At};
use crate::stats::Stats;

/// How often a pod is looked after.
const STEP: Duration = Duration::from_millis(100);

/// How often one that is ready is asked whether it still is.
const BETWEEN_PROBES: Duration = Duration::from_secs(1);

/// What is to be done with a pod now.
enum Turn {
    GoOn,
    /// Take it down, within this time.
    End(Duration),
    /// Its object is gone.
    Gone,
}

/// A pod that runs.
#[derive(Debug)]
pub struct Running {
    pod: Pod,
    /// Its network.
    pub place: Place,
    containers: Vec<Container>,
    ending: AtomicBool,
}

/// Runs a pod from its first appearance to its end.
pub(super) async fn live(yard: Arc<Yard>, table: &Table, uid: String, mut newest: Receiver<Option<Pod>>) {
    let mut report = Report::default();
    loop {
        let running = table.all().get(&uid).cloned();
        match turn(&newest) {
            Turn::Gone => break running.iter().for_each(|pod| pod.kill()),
            Turn::End(grace) => {
                if let Some(pod) = running {
                    pod.end(grace).await;
                }
                break delete(&yard, &newest).await;
            }
            Turn::GoOn => match running {
                Some(pod) => pod.tend(&yard, &mut report).await,
                None => begin(&yard, table, &uid, &newest).await,
            },
        }
        tokio::select! {
            () = sleep(STEP) => {}
            _ = newest.changed() => {}
        }
    }
    table.all().remove(&uid);
}

fn turn(newest: &Receiver<Option<Pod>>) -> Turn {
    let newest = newest.borrow();
    let Some(pod) = newest.as_ref() else { return Turn::Gone };
    if pod.metadata.deletion_timestamp.is_none() {
        return Turn::GoOn;
    }
    let grace = pod.metadata.deletion_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
    Turn::End(Duration::from_secs(grace.unwrap_or(30)))
}

/// Makes what a pod runs in; it is tried again when that fails, as with an image that cannot be pulled.
async fn begin(yard: &Yard, table: &Table, uid: &str, newest: &Receiver<Option<Pod>>) {
    let Some(pod) = newest.borrow().clone() else { return };
    let name = pod.name_any();
    let started = match yard.accept(&pod).await {
        Ok(()) => Running::start(yard, pod),
        Err(error) => Err(error),
    };
    match started {
        Ok(running) => drop(table.all().insert(uid.to_owned(), Arc::new(running))),
        Err(error) => {
            eprintln!("the bed cannot run pod {name}: {error:#}");
            sleep(STEP * 5).await;
        }
    }
}

/// Deletes the object; the pod has ended, so it must go, however long the API server is away.
async fn delete(yard: &Yard, newest: &Receiver<Option<Pod>>) {
    let Some(pod) = newest.borrow().clone() else { return };
    let api: Api<Pod> = Api::namespaced(yard.client.clone(), &pod.namespace().unwrap_or_default());
    let this = Preconditions { uid: pod.uid(), resource_version: None };
    let how = DeleteParams { preconditions: Some(this), ..DeleteParams::default() }.grace_period(0);
    loop {
        match api.delete(&pod.name_any(), &how).await {
            // Gone, or another one of the same name.
            Ok(_) | Err(Error::Api(_)) => return,
            Err(_) => sleep(STEP).await,
        }
    }
}

// === impl Running ===

impl Running {
    fn start(yard: &Yard, pod: Pod) -> Result<Self> {
        let place = yard.network.place()?;
        let folder: PathBuf = yard.folder.join(format!("{}.{}", pod.namespace().unwrap_or_default(), pod.name_any()));
        fs::create_dir_all(&folder)?;
        let spec = pod.spec.clone().context("a pod has a spec")?;
        let containers =
            spec.containers.into_iter().map(|container| Container::new(yard, &pod, container, &place, &folder));
        let containers = containers.collect::<Result<_>>().with_context(|| pod.name_any())?;
        Ok(Self { pod, place, containers, ending: AtomicBool::new(false) })
    }

    /// Starts what does not run, and reports.
    async fn tend(&self, yard: &Yard, report: &mut Report) {
        if !self.is_ending() {
            self.containers.iter().for_each(Container::keep_running);
            report.send(yard, self).await;
        }
    }

    /// Ends apps before proxies, as native sidecars do.
    async fn end(&self, grace: Duration) {
        self.ending.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + grace;
        let waits = self.containers.iter().map(Container::pre_stop).max().unwrap_or_default();
        sleep(waits.min(grace)).await;
        for proxies in [false, true] {
            let of_turn = || self.containers.iter().filter(|container| container.is_proxy() == proxies);
            of_turn().for_each(Container::ask_to_end);
            while of_turn().any(Container::is_up) && Instant::now() < deadline {
                sleep(STEP / 5).await;
            }
        }
        self.kill();
    }

    /// Ends everything at once, for good.
    pub(super) fn kill(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.containers.iter().for_each(Container::kill);
    }

    pub(super) fn pod(&self) -> &Pod {
        &self.pod
    }

    pub(super) fn containers(&self) -> &[Container] {
        &self.containers
    }

    /// Asks every container whether it is ready; `None` when it gives no answer in time.
    pub(super) async fn readiness(&self) -> Vec<Option<bool>> {
        let mut ready = Vec::new();
        for container in &self.containers {
            ready.push(timeout(Duration::from_secs(1), container.is_ready()).await.ok());
        }
        ready
    }

    /// How long until it is asked again.
    pub(super) fn between_probes(all_ready: bool) -> Duration {
        if all_ready { BETWEEN_PROBES } else { STEP }
    }

    /// True once it is being taken down.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.pod.name_any()
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.pod.namespace().unwrap_or_default()
    }

    /// The Deployment it belongs to.
    #[must_use]
    pub fn deployment(&self) -> String {
        proxy::workload_of(&self.pod)
    }

    /// The admin listener of its proxy, which in the bed can be reached from outside.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin { at: At::from((self.place.ip, super::containers::ADMIN)) }
    }

    /// The metrics of its proxy, from the port that Prometheus scrapes.
    ///
    /// # Errors
    /// When the port does not answer.
    pub fn stats(&self) -> Result<Stats> {
        Stats::parse(&client::get((self.place.ip, super::containers::PROMETHEUS), "/stats/prometheus")?)
    }

    /// The answer of one of its ports, on a connection of its own.
    ///
    /// # Errors
    /// When there is none.
    pub fn answer(&self, port: u16, ask: &Ask) -> Result<Answer> {
        client::once((self.place.ip, port), ask)
    }

    /// The process of its proxy. What is stopped or killed is started again.
    ///
    /// # Errors
    /// When it has none.
    pub fn proxy(&self) -> Result<&Part> {
        self.part(true)
    }

    /// The process of its app. What is stopped or killed is started again.
    ///
    /// # Errors
    /// When it has none.
    pub fn app(&self) -> Result<&Part> {
        self.part(false)
    }

    fn part(&self, proxy: bool) -> Result<&Part> {
        let container = self.containers.iter().find(|container| container.is_proxy() == proxy);
        Ok(container.with_context(|| format!("{} has no such container", self.name()))?.part())
    }
}
