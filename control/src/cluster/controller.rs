//! The loop of a controller: it looks whenever something is heard, and does what the engine says while it
//! leads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::{Client, Config};
use tracing::Instrument;

use super::badge::Badge;
use super::cache::lock;
use super::delivery::Delivered;
use super::events::Events;
use super::ground::Grounds;
use super::health::{Check, Health};
use super::lease::Leadership;
use super::metrics::Metrics;
use super::store::Releases;
use super::{Wake, call};
use crate::api::auth::Auth;
use crate::api::record::Record;
use crate::causes::chain;
use crate::clock::now_ms;
use crate::engine::run::{Engine, Pass};
use crate::engine::seams::{SeamError, Store};
use crate::istio::config::Emitter;
use crate::istio::module::Module;
use crate::notify::Notices;
use crate::traces;

/// What is heard within this time is looked at together.
const TOGETHER: Duration = Duration::from_millis(10);
/// Looked at least so often, whatever is heard.
const AT_LEAST: Duration = Duration::from_secs(5);
/// A pass that has begun may take so long to end when the process is asked to.
const FAREWELL: Duration = Duration::from_secs(15);

/// What a controller is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces it looks after; all, if none is named.
    pub namespaces: Vec<String>,
    /// The root namespace of the mesh, to which no release may write; empty if they may.
    pub root_namespace: String,
    /// The filter module.
    pub module: Module,
    /// By which kind of object documents travel.
    pub emitter: Emitter,
    /// Namespace of the lease.
    pub lease_namespace: String,
    /// Name of the lease.
    pub lease_name: String,
    /// Name of this instance among all.
    pub identity: String,
    /// Who is told what becomes of releases.
    pub notices: Option<Notices>,
}

/// A controller.
pub struct Controller {
    wake: Wake,
    store: Releases,
    delivery: Delivered,
    ground: Grounds,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    looked: Arc<AtomicU64>,
    /// The last refusal that was told, by release.
    told: Mutex<HashMap<String, String>>,
    record: Record,
    notices: Option<Notices>,
    calls: Client,
    badge: Badge,
}

// === impl Controller ===

impl Controller {
    /// Starts the watches and takes part in the election. Nothing is changed before [`Controller::run`].
    ///
    /// # Errors
    /// When the configuration of the client cannot be used.
    pub fn start(config: Config, settings: &Settings) -> Result<Self, kube::Error> {
        let (calls, watches) = call::clients(config)?;
        let both = (&calls, &watches);
        let (wake, metrics) = (Wake::default(), Arc::new(Metrics::new()));
        let events = Events::start(calls.clone(), settings.identity.clone());
        let namespaces = settings.namespaces.as_slice();
        let lease = (settings.lease_namespace.as_str(), settings.lease_name.as_str());
        let leadership = Leadership::start(both, lease, settings.identity.clone(), &wake);
        let store = Releases::start(both, namespaces, events.clone(), &wake, &metrics);
        let with = (settings.emitter, settings.module.clone());
        let stops = wake.counting();
        let delivery = Delivered::start(both, namespaces, with, (&stops, leadership.term()), &metrics, &events);
        let places = (namespaces, settings.root_namespace.as_str());
        let ground = Grounds::start(both, places, (&wake, &stops), leadership.term(), &metrics);
        let badge = Badge::start(calls.clone(), &settings.lease_namespace, settings.identity.clone());
        Ok(Self {
            wake,
            store,
            delivery,
            ground,
            leadership,
            metrics,
            looked: Arc::default(),
            told: Mutex::default(),
            record: Record::default(),
            notices: settings.notices.clone(),
            calls,
            badge,
        })
    }

    /// Its metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// What it counts, while it leads.
    pub fn record(&self) -> Record {
        self.record.clone()
    }

    /// Lets in whoever the cluster knows by a token that is meant for an audience.
    pub fn reviews(&self, audience: &str) -> Auth {
        Auth::review(self.calls.clone(), audience)
    }

    /// Answers how it stands, for the health endpoints.
    pub fn health(&self) -> Health {
        let (store, delivery, caches) = (self.store.clone(), self.delivery.clone(), self.ground.clone());
        let checks = move || {
            let ground = caches.caches();
            vec![
                Check::of(store.cache()),
                Check::of(delivery.cache()),
                Check::of(&ground.pods),
                Check::of(&ground.services),
                Check::of(&ground.slices),
                Check::of(&ground.deployments),
                Check::of(&ground.sets),
                Check::of(&ground.routes),
                Check::of(&ground.rules),
            ]
        };
        Health::new(Arc::clone(&self.looked), checks)
    }

    /// Runs until `end`, then finishes what it has begun and gives the lease back.
    pub async fn run(self, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        self.record.leave();
        let health = self.health();
        let mut engine = None;
        let mut next = AT_LEAST;
        loop {
            tokio::select! {
                () = self.wake.wait() => {}
                () = tokio::time::sleep(next) => {}
                () = &mut end => break,
            }
            tokio::time::sleep(TOGETHER).await;
            self.looked.store(seconds(), Ordering::Relaxed);
            let leads = self.leadership.leads_until(Timestamp::now()).is_some();
            self.metrics.leads(leads);
            if !leads {
                // What it remembers is of no use to a later term.
                engine = None;
                self.delivery.step_down();
                self.record.leave();
                self.badge.wear(false);
                next = AT_LEAST;
                continue;
            }
            if !health.may_act() {
                next = AT_LEAST;
                continue;
            }
            if !self.delivery.has_taken_over() {
                // The lease had run out, if only for a moment: somebody else may have led.
                engine = None;
            }
            let new = || {
                self.delivery.take_over();
                let engine = Engine::new(self.store.clone(), self.delivery.clone(), self.ground.clone());
                engine.recording(self.record.clone()).telling(self.notices.clone())
            };
            let pass = self.pass(engine.get_or_insert_with(new));
            tokio::pin!(pass);
            tokio::select! {
                wait = &mut pass => {
                    next = wait;
                    self.open_counter();
                }
                () = &mut end => {
                    if tokio::time::timeout(FAREWELL, pass).await.is_err() {
                        tracing::warn!("a change was still on its way when this instance had to end");
                    }
                    break;
                }
            }
        }
        self.metrics.leads(false);
        self.record.leave();
        self.badge.take_off().await;
        self.leadership.resign().await;
    }

    /// Lets others ask what has been counted, after a pass and for as long as the lease holds: a pass that hangs
    /// must not keep a verdict in force which another leader may have changed.
    fn open_counter(&self) {
        if let Some(end) = self.leadership.leads_until(Timestamp::now()) {
            self.record.counts_until(u64::try_from(end.as_millisecond()).unwrap_or(0));
            self.badge.wear(true);
        }
    }

    /// One pass. Returns how long there is nothing to do unless something is heard.
    async fn pass(&self, engine: &mut Engine<Releases, Delivered, Grounds>) -> Duration {
        let started = Instant::now();
        let span = tracing::info_span!("pass", trace_id = tracing::field::Empty);
        // Where traces are sent, the log names the same trace.
        span.record("trace_id", traces::id_of(&span).unwrap_or_else(traces::fresh_id));
        let pass = engine.pass(now_ms()).instrument(span.clone()).await;
        span.in_scope(|| self.report(&pass));
        self.metrics.passed(started.elapsed());
        self.metrics.releases(&self.store.releases());
        if pass.changed {
            self.wake.up();
        }
        let until = pass.wake_at.map_or(AT_LEAST, |at| Duration::from_millis(at.saturating_sub(now_ms())));
        until.min(AT_LEAST)
    }

    /// Tells of a refusal in an event of the release: somebody has to do something. Once for each text.
    fn tell_once(&self, release: &str, why: String) {
        let mut told = lock(&self.told);
        if told.get(release) != Some(&why) {
            self.store.tell(release, "Refused", &why);
            told.insert(release.to_owned(), why);
        }
    }

    fn report(&self, pass: &Pass) {
        for (what, error) in &pass.errors {
            let category = category(error);
            self.metrics.failed(category);
            let why = chain(error);
            tracing::warn!(what, category, why, "a change failed");
            if category == "refused" {
                self.tell_once(what, why);
            }
        }
        for namespace in &pass.healed {
            self.metrics.healed(namespace);
            tracing::warn!(namespace, "filters are missing on some workers; all documents get a new generation");
        }
    }
}

/// A stable name of a failure.
fn category(error: &SeamError) -> &'static str {
    match error {
        SeamError::Conflict { .. } => "conflict",
        SeamError::Deposed { .. } => "deposed",
        SeamError::Gone { .. } => "gone",
        SeamError::Refused { .. } => "refused",
        SeamError::Away { .. } => "away",
    }
}

fn seconds() -> u64 {
    now_ms() / 1000
}
