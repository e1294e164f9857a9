//! What the controller says about itself, for Prometheus.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::cache::lock;
use crate::engine::seams::Object;
use crate::engine::status::Phase;

/// The controller's metrics. Series of releases that are gone are dropped.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    leader: Gauge,
    writes: Family<OfKind, Counter>,
    failures: Family<OfCategory, Counter>,
    drift: Family<OfObject, Counter>,
    healed: Family<OfNamespace, Counter>,
    pass: Histogram,
    push: Histogram,
    weight: Family<OfLane, Gauge<f64, AtomicU64>>,
    phase: Family<OfPhase, Gauge>,
    step: Family<OfRelease, Gauge>,
    acknowledged: Family<OfRelease, Gauge<f64, AtomicU64>>,
    expected: Family<OfRelease, Gauge<i64, AtomicI64>>,
    streams: Family<OfRelease, Gauge>,
    /// The releases that series were made of, by id.
    known: Mutex<HashMap<String, Arc<Object>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCategory {
    category: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfObject {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfNamespace {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRelease {
    rollout: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    rollout: String,
    lane: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    rollout: String,
    phase: String,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that nobody has touched.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("graylane"),
            leader: Gauge::default(),
            writes: Family::default(),
            failures: Family::default(),
            drift: Family::default(),
            healed: Family::default(),
            pass: Histogram::new(exponential_buckets(0.000_1, 4.0, 9)),
            push: Histogram::new([0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]),
            weight: Family::default(),
            phase: Family::default(),
            step: Family::default(),
            acknowledged: Family::default(),
            expected: Family::default(),
            streams: Family::default(),
            known: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("controller_leader", "1 while this instance leads", self.leader.clone());
        registry.register("controller_writes", "Objects written, by kind", self.writes.clone());
        registry.register("controller_failures", "Changes that failed and are tried again", self.failures.clone());
        registry.register("controller_drift", "Changes by somebody else that were noticed", self.drift.clone());
        let healed = "Generations given only to bring filters back, by namespace";
        registry.register("controller_healed", healed, self.healed.clone());
        let pass = "Time to look at every release once";
        registry.register_with_unit("controller_pass", pass, Unit::Seconds, self.pass.clone());
        let push = "From a written change to the last proxy that runs it";
        registry.register_with_unit("push", push, Unit::Seconds, self.push.clone());
        registry.register("release_weight_ratio", "Share of the units in a lane", self.weight.clone());
        registry.register("release_phase", "1 for the phase a release is in", self.phase.clone());
        registry.register("release_step", "Index of the step that is being done", self.step.clone());
        let share = "Share of the expected proxies that run the last change";
        registry.register("release_acknowledged_ratio", share, self.acknowledged.clone());
        registry.register("release_proxies", "Proxies that shall run a release", self.expected.clone());
        let streams = "Streams that are still open in lanes that were withdrawn";
        registry.register("release_withdrawn_streams", streams, self.streams.clone());
    }

    /// The exposition in OpenMetrics text.
    ///
    /// # Errors
    /// Never in practice: a text can be written to a string.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Whether this instance leads. Who does not tells nothing of releases: it would go on for ever with what it knew
    /// last, beside what the leader tells.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        if !leads {
            self.releases(&[]);
        }
    }

    /// An object was written.
    pub fn wrote(&self, kind: &str) {
        self.writes.get_or_create(&OfKind { kind: kind.into() }).inc();
    }

    /// A change failed.
    pub fn failed(&self, category: &'static str) {
        self.failures.get_or_create(&OfCategory { category }).inc();
    }

    /// Somebody else changed an object of ours.
    pub fn drifted(&self, namespace: &str, name: &str) {
        self.drift.get_or_create(&OfObject { namespace: namespace.into(), name: name.into() }).inc();
    }

    /// A namespace got new generations only to bring filters back.
    pub fn healed(&self, namespace: &str) {
        self.healed.get_or_create(&OfNamespace { namespace: namespace.into() }).inc();
    }

    /// A pass took this long.
    pub fn passed(&self, time: Duration) {
        self.pass.observe(time.as_secs_f64());
    }

    /// A push took this long to reach the last proxy.
    pub fn pushed(&self, time: Duration) {
        self.push.observe(time.as_secs_f64());
    }

    /// How the releases stand. Only the series of those that are not the same objects as before are touched.
    pub fn releases(&self, objects: &[Arc<Object>]) {
        let mut known = lock(&self.known);
        for object in objects {
            let before = known.get(&object.id);
            if before.is_some_and(|before| Arc::ptr_eq(before, object)) {
                continue;
            }
            if let Some(before) = before {
                self.forget_labels(before);
            }
            self.show(object);
            known.insert(object.id.clone(), Arc::clone(object));
        }
        if known.len() > objects.len() {
            let here: HashSet<&str> = objects.iter().map(|object| object.id.as_str()).collect();
            for (_, gone) in known.extract_if(|id, _| !here.contains(id.as_str())) {
                self.forget_labels(&gone);
                let of_release = OfRelease { rollout: gone.id.clone() };
                self.step.remove(&of_release);
                self.acknowledged.remove(&of_release);
                self.expected.remove(&of_release);
                self.streams.remove(&of_release);
            }
        }
    }

    fn show(&self, object: &Object) {
        let (status, rollout) = (&object.status, object.id.clone());
        for (lane, weight) in &status.weights {
            let of_lane = OfLane { rollout: rollout.clone(), lane: lane.clone() };
            self.weight.get_or_create(&of_lane).set(f64::from(*weight) / 10_000.0);
        }
        self.phase.get_or_create(&OfPhase { rollout: rollout.clone(), phase: name(status.phase) }).set(1);
        let of_release = OfRelease { rollout };
        self.step.get_or_create(&of_release).set(i64::from(status.step));
        let (acknowledged, expected) = (status.proxies.acknowledged, status.proxies.expected);
        let share = f64::from(acknowledged) / f64::from(expected.max(1));
        self.acknowledged.get_or_create(&of_release).set(share);
        self.expected.get_or_create(&of_release).set(i64::from(expected));
        let left = status.streams.as_ref().and_then(|streams| streams.left);
        if let Some(left) = left.and_then(|left| i64::try_from(left).ok()) {
            self.streams.get_or_create(&of_release).set(left);
        } else {
            self.streams.remove(&of_release);
        }
    }

    /// Series whose labels tell of the state: there must be none of a state that is over.
    fn forget_labels(&self, object: &Object) {
        for lane in object.status.weights.keys() {
            self.weight.remove(&OfLane { rollout: object.id.clone(), lane: lane.clone() });
        }
        self.phase.remove(&OfPhase { rollout: object.id.clone(), phase: name(object.status.phase) });
    }
}

fn name(phase: Phase) -> String {
    serde_json::to_value(phase).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::status::Status;
    use crate::release::finding::Findings;

    fn object(id: &str, phase: Phase) -> Arc<Object> {
        let status = Status { phase, step: 2, weights: [("canary".to_owned(), 500)].into(), ..Status::default() };
        Arc::new(Object {
            id: id.into(),
            uid: String::new(),
            fence: String::new(),
            generation: 1,
            created_ms: 0,
            deleting: false,
            held: false,
            spec: Err(Findings::of("f", "m", "")),
            paused: false,
            request: None,
            status,
        })
    }

    #[test]
    fn a_release_shows_only_the_phase_it_is_in_and_goes_with_its_object() {
        let metrics = Metrics::new();
        metrics.releases(&[object("shop/a", Phase::Paused)]);
        metrics.releases(&[object("shop/a", Phase::Progressing)]);
        let text = metrics.text().unwrap();
        assert!(text.contains("graylane_release_phase{rollout=\"shop/a\",phase=\"Progressing\"} 1"), "{text}");
        assert!(!text.contains("Paused"), "{text}");
        assert!(text.contains("graylane_release_weight_ratio{rollout=\"shop/a\",lane=\"canary\"} 0.05"), "{text}");
        metrics.releases(&[]);
        assert!(!metrics.text().unwrap().contains("shop/a"));
    }

    #[test]
    fn who_leads_no_more_tells_nothing_of_releases_until_it_leads_again() {
        let (metrics, release) = (Metrics::new(), object("shop/a", Phase::Paused));
        let series = || metrics.text().unwrap().lines().filter(|line| line.contains("shop/a")).count();
        metrics.leads(true);
        metrics.releases(std::slice::from_ref(&release));
        let all = series();
        assert_eq!(all, 5, "weight, phase, step, share and proxies");
        metrics.leads(false);
        assert_eq!(series(), 0);
        // The object has not changed meanwhile.
        metrics.leads(true);
        metrics.releases(&[release]);
        assert_eq!(series(), all);
    }
}
