//! Notices when somebody else changes or deletes what we wrote, and bounds how often it is put right.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;

use super::super::Wake;
use super::super::cache::{Listener, id, lock};
use super::super::events::{Bucket, Events};
use super::super::metrics::Metrics;
use crate::istio::config::Emitter;
use crate::istio::object::{annotation, digest, spec};
use crate::istio::{GENERATION, STOPPED};

/// After the first time, an object is put right at most this often. A second writer that keeps fighting
/// would otherwise make istiod push to every proxy as often as it likes.
const PERIOD: Duration = Duration::from_secs(5);

/// What we wrote, and what became of it. Time is passed in.
#[derive(Debug)]
pub(super) struct Drift {
    emitter: Emitter,
    written: HashMap<String, Written>,
    buckets: HashMap<String, Bucket>,
    due: BTreeMap<String, Instant>,
}

#[derive(Debug, Default)]
struct Written {
    version: u64,
    content: Content,
    /// What was sent and not answered yet: the watch may be faster than the answer.
    intended: Option<Content>,
}

/// What matters of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    digest: String,
    generation: Option<String>,
    stopped: bool,
}

// === impl Drift ===

impl Drift {
    pub(super) fn new(emitter: Emitter) -> Self {
        Self { emitter, written: HashMap::new(), buckets: HashMap::new(), due: BTreeMap::new() }
    }

    /// Something is about to be sent.
    pub(super) fn intend(&mut self, object: &DynamicObject) {
        self.written.entry(id(object)).or_default().intended = Some(content(object));
    }

    /// Something was written.
    pub(super) fn written(&mut self, object: &DynamicObject) {
        let written = Written { version: version(object), content: content(object), intended: None };
        self.written.insert(id(object), written);
    }

    /// A namespace has to be looked at.
    pub(super) fn disturb(&mut self, namespace: &str, at: Instant) {
        let due = self.due.entry(namespace.into()).or_insert(at);
        *due = (*due).min(at);
    }

    /// Namespaces that have to be looked at now. Each is named once.
    pub(super) fn due(&mut self, now: Instant) -> Vec<String> {
        let due: Vec<String> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(namespace, _)| namespace.clone()).collect();
        self.due.retain(|_, at| *at > now);
        due
    }

    /// Hears of an object as it is now. Returns how long to wait before it is put right, if it was
    /// changed by somebody else.
    pub(super) fn saw(&mut self, object: &DynamicObject, now: Instant) -> Option<Duration> {
        let key = id(object);
        let known = self.written.get_mut(&key)?;
        let seen = content(object);
        if version(object) <= known.version {
            return None;
        }
        // A write that was given up may have happened all the same.
        if seen == known.content || known.intended.as_ref() == Some(&seen) {
            known.version = version(object);
            known.content = seen;
            return None;
        }
        Some(self.put_right(&key, now))
    }

    /// Hears that an object is gone.
    pub(super) fn lost(&mut self, key: &str, now: Instant) -> Option<Duration> {
        self.written.remove(key).map(|_| self.put_right(key, now))
    }

    /// Hears of all objects of a namespace, or of all namespaces: whoever is missing was deleted while
    /// nobody watched.
    pub(super) fn listed(
        &mut self,
        namespace: Option<&str>,
        seen: &BTreeSet<String>,
        now: Instant,
    ) -> Vec<(String, Duration)> {
        let in_scope = |key: &&String| namespace.is_none_or(|one| key.split('/').next() == Some(one));
        let is_missing = |key: &&String| !seen.contains(*key);
        let missing: Vec<String> = self.written.keys().filter(in_scope).filter(is_missing).cloned().collect();
        missing.into_iter().filter_map(|key| Some((key.clone(), self.lost(&key, now)?))).collect()
    }

    fn put_right(&mut self, key: &str, now: Instant) -> Duration {
        let bucket = self.buckets.entry(key.into()).or_insert_with(|| Bucket::new(1.0, PERIOD, now));
        let wait = if bucket.take(now) { Duration::ZERO } else { bucket.wait(now) };
        let namespace = key.split('/').next().unwrap_or_default().to_owned();
        // One that waits already is not put off by every further change.
        self.disturb(&namespace, now + wait);
        wait
    }

    fn owns(&self, object: &DynamicObject) -> bool {
        object.metadata.name.as_deref().is_some_and(|name| self.emitter.owns(name))
    }
}

fn content(object: &DynamicObject) -> Content {
    Content {
        digest: digest(spec(object)),
        generation: annotation(object, GENERATION).map(str::to_owned),
        stopped: annotation(object, STOPPED).is_some(),
    }
}

fn version(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Listens to the watch of one namespace, or of all.
pub(super) struct Ear {
    drift: Arc<Mutex<Drift>>,
    namespace: Option<String>,
    listing: BTreeSet<String>,
    report: Report,
}

/// Where drift is told.
pub(super) struct Report {
    pub(super) kind: ApiResource,
    pub(super) wake: Wake,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
}

// === impl Report ===

impl Report {
    fn tell(&self, key: &str, how: &str, wait: Duration) {
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
        if !wait.is_zero() {
            let wake = self.wake.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                wake.up();
            });
        }
    }
}

// === impl Ear ===

impl Ear {
    pub(super) fn new(drift: Arc<Mutex<Drift>>, namespace: Option<String>, report: Report) -> Self {
        Self { drift, namespace, listing: BTreeSet::new(), report }
    }
}

impl Listener<DynamicObject> for Ear {
    fn hear(&mut self, event: &Event<DynamicObject>) {
        let now = Instant::now();
        let mut drift = lock(&self.drift);
        let found: Vec<(String, &str, Duration)> = match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::Apply(object) | Event::InitApply(object) if drift.owns(object) => {
                if matches!(event, Event::InitApply(_)) {
                    self.listing.insert(id(object));
                }
                drift.saw(object, now).map(|wait| (id(object), "changed", wait)).into_iter().collect()
            }
            Event::Delete(object) if drift.owns(object) => {
                drift.lost(&id(object), now).map(|wait| (id(object), "deleted", wait)).into_iter().collect()
            }
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                let missing = drift.listed(self.namespace.as_deref(), &listing, now);
                missing.into_iter().map(|(key, wait)| (key, "deleted", wait)).collect()
            }
            _ => Vec::new(),
        };
        drop(drift);
        for (key, how, wait) in found {
            self.report.tell(&key, how, wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::object::{envoy_filter, managed};
    use serde_json::json;

    fn object(priority: u32, version: u64) -> DynamicObject {
        let spec = json!({"priority": priority});
        let mut object = managed(&envoy_filter(), "shop", "graylane-entry", spec, Some(3));
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    fn drift() -> (Drift, Instant) {
        let mut drift = Drift::new(Emitter::EnvoyFilter);
        drift.written(&object(1, 10));
        (drift, Instant::now())
    }

    #[test]
    fn our_own_writes_are_no_drift_in_whatever_order_they_are_heard() {
        let (mut drift, now) = drift();
        drift.intend(&object(2, 10));
        assert_eq!(drift.saw(&object(2, 11), now), None, "the watch is faster than the answer");
        assert_eq!(drift.saw(&object(1, 10), now), None, "an older write of ours comes late");
        drift.written(&object(2, 11));
        assert_eq!(drift.saw(&object(2, 11), now), None);
        assert_eq!(drift.due(now), Vec::<String>::new());
    }

    #[test]
    fn the_first_change_of_somebody_else_is_put_right_at_once_and_the_next_ones_at_a_bounded_rate() {
        let (mut drift, now) = drift();
        assert_eq!(drift.saw(&object(9, 11), now), Some(Duration::ZERO));
        assert_eq!(drift.due(now), ["shop"]);
        assert_eq!(drift.due(now), Vec::<String>::new(), "each is named once");
        drift.written(&object(1, 12));
        let wait = drift.saw(&object(9, 13), now).unwrap();
        assert_eq!(wait, PERIOD);
        assert_eq!(drift.due(now), Vec::<String>::new());
        assert!(drift.saw(&object(8, 14), now + Duration::from_secs(1)).unwrap() < PERIOD, "waiting is not begun anew");
        assert_eq!(drift.due(now + PERIOD), ["shop"]);
    }

    #[test]
    fn a_stop_by_hand_and_its_end_are_looked_at() {
        let (mut drift, now) = drift();
        let mut stopped = object(1, 11);
        stopped.metadata.annotations.get_or_insert_default().insert(STOPPED.into(), "me".into());
        assert!(drift.saw(&stopped, now).is_some());
    }

    #[test]
    fn a_deleted_object_is_noticed_also_when_nobody_watched() {
        let (mut drift, now) = drift();
        assert_eq!(drift.lost("shop/graylane-entry", now), Some(Duration::ZERO));
        assert_eq!(drift.lost("shop/graylane-entry", now), None);
        drift.written(&object(1, 20));
        assert_eq!(drift.listed(Some("pay"), &BTreeSet::new(), now), Vec::new());
        assert_eq!(drift.listed(None, &BTreeSet::from(["shop/graylane-entry".into()]), now), Vec::new());
        assert_eq!(drift.listed(None, &BTreeSet::new(), now).len(), 1);
    }

    #[test]
    fn objects_that_we_never_wrote_are_not_ours_to_put_right() {
        let mut drift = Drift::new(Emitter::EnvoyFilter);
        assert_eq!(drift.saw(&object(9, 11), Instant::now()), None);
    }
}
