//! Asks the Envoys of a folder what they run and the versions whether they can serve, over and over, so
//! that the engine finds the answers at hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::proxies::{Probe, Proxies, Proxy};
use crate::build::Side;
use crate::http::{Ask, Client};
use crate::stats::Stats;

/// How often a proxy is asked while something is awaited, and otherwise.
const FAST: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_secs(1);
/// How often a version is asked.
const PROBE: Duration = Duration::from_millis(500);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Asking {
    /// What has been answered.
    pub answers: Answers,
    probes: Vec<Probe>,
    _tasks: JoinSet<()>,
}

/// What has been answered last.
#[derive(Clone, Debug)]
pub struct Answers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    told: Mutex<Told>,
    eager: AtomicBool,
    hurry: Notify,
    news: Notify,
}

#[derive(Debug, Default)]
struct Told {
    proxies: BTreeMap<String, BTreeMap<Side, Runs>>,
    probes: BTreeMap<Probe, bool>,
}

/// What a filter of a proxy runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// The generation.
    pub generation: u64,
    /// Workers that run it, the main thread included.
    pub workers: u64,
}

// === impl Asking ===

impl Asking {
    /// Begins to ask, on the tokio runtime that this runs on.
    pub fn begin(proxies: &Proxies) -> Self {
        let shared =
            Shared { told: Mutex::default(), eager: AtomicBool::new(true), hurry: Notify::new(), news: Notify::new() };
        let answers = Answers(Arc::new(shared));
        let mut tasks = JoinSet::new();
        for proxy in &proxies.proxies {
            tasks.spawn(ask_proxy(answers.clone(), proxy.clone()));
        }
        for probe in &proxies.probes {
            tasks.spawn(ask_version(answers.clone(), probe.clone()));
        }
        Self { answers, probes: proxies.probes.clone(), _tasks: tasks }
    }

    /// Waits until every version has been asked once. Who decides before would take those that can serve
    /// for those that cannot.
    pub async fn know_versions(&self) {
        let known = |probe: &Probe| self.answers.told().probes.contains_key(probe);
        while !self.probes.iter().all(known) {
            self.answers.news().await;
        }
    }
}

// === impl Answers ===

impl Answers {
    /// What a filter of a proxy runs; nothing when the proxy does not answer.
    pub fn runs(&self, proxy: &str, side: Side) -> Option<Runs> {
        self.told().proxies.get(proxy)?.get(&side).copied()
    }

    /// Whether a replica can serve; not before it has said so.
    pub fn is_ready(&self, probe: &Probe) -> bool {
        self.told().probes.get(probe).copied().unwrap_or(false)
    }

    /// Asks proxies often, or only now and then.
    pub fn be_eager(&self, eager: bool) {
        if self.0.eager.swap(eager, Ordering::Relaxed) != eager && eager {
            self.0.hurry.notify_waiters();
        }
    }

    /// Waits until an answer differs from the one before it.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // What is in there is whole after every statement.
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_proxy(&self, proxy: &str, runs: Option<BTreeMap<Side, Runs>>) {
        let mut told = self.told();
        let before = match &runs {
            Some(runs) => told.proxies.insert(proxy.into(), runs.clone()),
            None => told.proxies.remove(proxy),
        };
        if before != runs {
            self.0.news.notify_one();
        }
    }

    fn note_version(&self, probe: &Probe, ready: bool) {
        if self.told().probes.insert(probe.clone(), ready) != Some(ready) {
            self.0.news.notify_one();
        }
    }
}

async fn ask_proxy(answers: Answers, proxy: Proxy) {
    let mut client = Client::new(&proxy.admin, PATIENCE);
    loop {
        let stats = Stats::read(&mut client, "graylane.*config_").await.ok();
        let runs = |stats: &Stats| {
            let gauge = |name: &str, side: Side| stats.sum(name, &[("role", side.label())]);
            let all = proxy.filters.iter().map(|filter| {
                let generation = gauge("graylane_config_generation", filter.side);
                (filter.side, Runs { generation, workers: gauge("graylane_config_workers", filter.side) })
            });
            all.collect()
        };
        answers.note_proxy(&proxy.name, stats.as_ref().map(runs));
        let pause = if answers.0.eager.load(Ordering::Relaxed) { FAST } else { SLOW };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = answers.0.hurry.notified() => {}
        }
    }
}

async fn ask_version(answers: Answers, probe: Probe) {
    let mut client = Client::new(&probe.addr, PATIENCE);
    loop {
        let ready = match &probe.path {
            // A connection that was kept may have been closed meanwhile, which says nothing; a new one does.
            Some(path) => serves(&mut client, path).await || serves(&mut client, path).await,
            None => {
                let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(&probe.addr)).await;
                connected.is_ok_and(|connection| connection.is_ok())
            }
        };
        answers.note_version(&probe, ready);
        tokio::time::sleep(PROBE).await;
    }
}

async fn serves(client: &mut Client, path: &str) -> bool {
    client.ask(&Ask::get(path)).await.is_ok_and(|answer| !answer.status.is_server_error())
}
