//! Hears by the watch what becomes of our objects, and tells what is drift.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;

use super::super::Wake;
use super::super::cache::{Listener, id, lock};
use super::super::events::Events;
use super::super::lease::Term;
use super::super::metrics::Metrics;
use super::drift::{Drift, Heard};

/// Listens to the watch of one namespace, or of all.
pub(super) struct Ear {
    drift: Arc<Mutex<Drift>>,
    term: Term,
    namespace: Option<String>,
    listing: BTreeSet<String>,
    report: Report,
}

/// Where drift is told.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) kind: ApiResource,
    pub(super) wake: Wake,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
}

// === impl Report ===

impl Report {
    /// Tells that somebody has `how` an object.
    pub(super) fn tell(&self, key: &str, how: &str, wait: Duration) {
        let (namespace, name) = key.split_once('/').unwrap_or_default();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(namespace, name, how, wait_ms, "somebody else changed the config of proxies; it is put right");
        self.metrics.drifted(namespace, name);
        let about = ObjectReference {
            api_version: Some(self.kind.api_version.clone()),
            kind: Some(self.kind.kind.clone()),
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            ..ObjectReference::default()
        };
        let note = format!("somebody else has {how} it; graylane puts it right");
        self.events.tell(about, "Drift", &note);
    }

    fn wake_after(&self, wait: Duration) {
        if wait.is_zero() {
            // The watch itself wakes whoever has to look.
            return;
        }
        let wake = self.wake.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            wake.up();
        });
    }
}

// === impl Ear ===

impl Ear {
    pub(super) fn new(drift: Arc<Mutex<Drift>>, term: Term, namespace: Option<String>, report: Report) -> Self {
        Self { drift, term, namespace, listing: BTreeSet::new(), report }
    }

    fn find(
        &mut self,
        drift: &mut Drift,
        event: &Event<DynamicObject>,
        now: Instant,
    ) -> Vec<(String, &'static str, Heard)> {
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::Apply(object) | Event::InitApply(object) if drift.owns(object) => {
                if matches!(event, Event::InitApply(_)) {
                    self.listing.insert(id(object));
                }
                drift.saw(object, now).map(|heard| (id(object), "changed", heard)).into_iter().collect()
            }
            Event::Delete(object) if drift.owns(object) => {
                drift.lost(&id(object), now).map(|heard| (id(object), "deleted", heard)).into_iter().collect()
            }
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                let missing = drift.listed(self.namespace.as_deref(), &listing, now);
                missing.into_iter().map(|(key, heard)| (key, "deleted", heard)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Listener<DynamicObject> for Ear {
    fn hear(&mut self, event: &Event<DynamicObject>) {
        let shared = Arc::clone(&self.drift);
        let mut drift = lock(&shared);
        let found = self.find(&mut drift, event, Instant::now());
        if found.is_empty() {
            return;
        }
        if !self.term.holds() {
            // It may be the new leader's write, which the loop has not noticed yet.
            return drift.step_down();
        }
        drop(drift);
        for (key, how, heard) in found {
            if heard.is_drift {
                self.report.tell(&key, how, heard.wait);
            }
            self.report.wake_after(heard.wait);
        }
    }
}
