//! Notices when somebody else changes or deletes what we wrote, and bounds how often it is put right.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use kube::core::DynamicObject;

use super::super::cache::id;
use super::super::events::Bucket;
use crate::istio::config::Emitter;
use crate::istio::object::{annotation, digest, is_as_written, spec};
use crate::istio::{GENERATION, STOPPED};

/// After the first time, an object is put right at most this often. A second writer that keeps fighting
/// would otherwise make istiod push to every proxy as often as it likes.
const PERIOD: Duration = Duration::from_secs(5);

/// What we wrote, and what became of it. Time is passed in.
///
/// Only a leader has anything in it: what others write is for it to judge.
#[derive(Debug)]
pub(super) struct Drift {
    emitter: Emitter,
    /// True from when this instance took over until somebody else may have.
    leads: bool,
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
    /// True while it is what another instance wrote, which may have been followed by one more write of its own.
    adopted: bool,
}

/// What matters of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    digest: String,
    generation: Option<u64>,
    stopped: bool,
}

/// What follows from what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// How long to wait before it is looked at.
    pub(super) wait: Duration,
    /// Whether it is to be told: nobody did it who may.
    pub(super) is_drift: bool,
}

// === impl Drift ===

impl Drift {
    pub(super) fn new(emitter: Emitter) -> Self {
        Self { emitter, leads: false, written: HashMap::new(), buckets: HashMap::new(), due: BTreeMap::new() }
    }

    /// Begins to watch over what is there, as far as it is what an instance of graylane wrote. Returns the objects
    /// that somebody else has changed while nobody led.
    pub(super) fn take_over<'o>(&mut self, objects: impl IntoIterator<Item = &'o DynamicObject>) -> Vec<String> {
        self.step_down();
        self.leads = true;
        let mut changed = Vec::new();
        for object in objects {
            if !self.owns(object) {
                continue;
            }
            if is_as_written(object) {
                let (version, content) = (version(object), content(object));
                let written = Written { version, content, adopted: true, ..Written::default() };
                self.written.insert(id(object), written);
            } else if annotation(object, STOPPED).is_none() {
                changed.push(id(object));
            }
        }
        changed
    }

    /// Forgets everything: somebody else may write from now on.
    pub(super) fn step_down(&mut self) {
        self.leads = false;
        self.written.clear();
        self.due.clear();
    }

    /// Whether it watches over anything.
    pub(super) fn leads(&self) -> bool {
        self.leads
    }

    /// Something is about to be sent.
    pub(super) fn intend(&mut self, object: &DynamicObject) {
        self.written.entry(id(object)).or_default().intended = Some(content(object));
    }

    /// Something was written.
    pub(super) fn written(&mut self, object: &DynamicObject) {
        let written = Written { version: version(object), content: content(object), ..Written::default() };
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

    /// Hears of an object as it is now.
    pub(super) fn saw(&mut self, object: &DynamicObject, now: Instant) -> Option<Heard> {
        let key = id(object);
        let known = self.written.get_mut(&key)?;
        let seen = content(object);
        if version(object) <= known.version {
            return None;
        }
        // A write that was given up may have happened all the same.
        let is_ours = seen == known.content || known.intended.as_ref() == Some(&seen);
        // Whoever stops a namespace, or frees it, is heeded and not put right.
        let is_switch = seen.stopped || known.content.stopped;
        // Its watch was behind when this instance took over.
        let is_before_us = known.adopted && is_as_written(object) && seen.generation >= known.content.generation;
        if !(is_ours || is_switch || is_before_us) {
            return Some(self.put_right(&key, now, true));
        }
        known.version = version(object);
        known.content = seen;
        (!is_ours).then(|| self.put_right(&key, now, false))
    }

    /// Hears that an object is gone.
    pub(super) fn lost(&mut self, key: &str, now: Instant) -> Option<Heard> {
        let known = self.written.remove(key)?;
        Some(self.put_right(key, now, !known.content.stopped))
    }

    /// Hears of all objects of a namespace, or of all namespaces: whoever is missing was deleted while
    /// nobody watched.
    pub(super) fn listed(
        &mut self,
        namespace: Option<&str>,
        seen: &BTreeSet<String>,
        now: Instant,
    ) -> Vec<(String, Heard)> {
        let in_scope = |key: &&String| namespace.is_none_or(|one| key.split('/').next() == Some(one));
        let is_missing = |key: &&String| !seen.contains(*key);
        let missing: Vec<String> = self.written.keys().filter(in_scope).filter(is_missing).cloned().collect();
        missing.into_iter().filter_map(|key| Some((key.clone(), self.lost(&key, now)?))).collect()
    }

    fn put_right(&mut self, key: &str, now: Instant, is_drift: bool) -> Heard {
        let bucket = self.buckets.entry(key.into()).or_insert_with(|| Bucket::new(1.0, PERIOD, now));
        let wait = if bucket.take(now) { Duration::ZERO } else { bucket.wait(now) };
        let namespace = key.split('/').next().unwrap_or_default().to_owned();
        // One that waits already is not put off by every further change.
        self.disturb(&namespace, now + wait);
        Heard { wait, is_drift }
    }

    pub(super) fn owns(&self, object: &DynamicObject) -> bool {
        object.metadata.name.as_deref().is_some_and(|name| self.emitter.owns(name))
    }
}

fn content(object: &DynamicObject) -> Content {
    Content {
        digest: digest(spec(object)),
        generation: annotation(object, GENERATION).and_then(|text| text.parse().ok()),
        stopped: annotation(object, STOPPED).is_some(),
    }
}

fn version(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::object::{envoy_filter, managed};
    use serde_json::json;

    const AT_ONCE: Option<Heard> = Some(Heard { wait: Duration::ZERO, is_drift: true });
    const QUIETLY: Option<Heard> = Some(Heard { wait: Duration::ZERO, is_drift: false });

    fn object(priority: u32, version: u64) -> DynamicObject {
        of_generation(3, priority, version)
    }

    fn of_generation(generation: u64, priority: u32, version: u64) -> DynamicObject {
        let spec = json!({"priority": priority});
        let mut object = managed(&envoy_filter(), "shop", "graylane-entry", spec, Some(generation));
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    /// The same with a spec that is not the one of its digest.
    fn edited(version: u64) -> DynamicObject {
        DynamicObject { data: json!({"spec": {"priority": 9}}), ..object(1, version) }
    }

    fn stopped(version: u64) -> DynamicObject {
        let mut stopped = object(1, version);
        stopped.metadata.annotations.get_or_insert_default().insert(STOPPED.into(), "me".into());
        stopped
    }

    fn drift() -> (Drift, Instant) {
        let mut drift = Drift::new(Emitter::EnvoyFilter);
        drift.take_over([]);
        drift.written(&object(1, 10));
        (drift, Instant::now())
    }

    fn successor() -> (Drift, Instant) {
        let mut drift = Drift::new(Emitter::EnvoyFilter);
        assert_eq!(drift.take_over([&object(1, 10)]), Vec::<String>::new());
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
        assert_eq!(drift.saw(&object(9, 11), now), AT_ONCE);
        assert_eq!(drift.due(now), ["shop"]);
        assert_eq!(drift.due(now), Vec::<String>::new(), "each is named once");
        drift.written(&object(1, 12));
        let wait = drift.saw(&object(9, 13), now).unwrap().wait;
        assert_eq!(wait, PERIOD);
        assert_eq!(drift.due(now), Vec::<String>::new());
        let later = drift.saw(&object(8, 14), now + Duration::from_secs(1)).unwrap();
        assert!(later.wait < PERIOD, "waiting is not begun anew");
        assert_eq!(drift.due(now + PERIOD), ["shop"]);
    }

    #[test]
    fn a_stop_by_hand_and_its_end_are_looked_at_and_not_told_as_drift() {
        let (mut drift, now) = drift();
        assert_eq!(drift.saw(&stopped(11), now), QUIETLY);
        let later = now + PERIOD;
        assert_eq!(drift.saw(&object(1, 12), later), QUIETLY, "it has just been freed");
        assert_eq!(drift.due(later), ["shop"]);
        assert!(drift.saw(&edited(13), later + PERIOD).unwrap().is_drift, "a change after that is a change");
    }

    #[test]
    fn what_is_deleted_after_a_stop_was_not_ours_any_more() {
        let (mut drift, now) = drift();
        drift.saw(&stopped(11), now);
        assert_eq!(drift.lost("shop/graylane-entry", now + PERIOD), QUIETLY);
    }

    #[test]
    fn a_deleted_object_is_noticed_also_when_nobody_watched() {
        let (mut drift, now) = drift();
        assert_eq!(drift.lost("shop/graylane-entry", now), AT_ONCE);
        assert_eq!(drift.lost("shop/graylane-entry", now), None);
        drift.written(&object(1, 20));
        assert_eq!(drift.listed(Some("pay"), &BTreeSet::new(), now), Vec::new());
        assert_eq!(drift.listed(None, &BTreeSet::from(["shop/graylane-entry".into()]), now), Vec::new());
        assert_eq!(drift.listed(None, &BTreeSet::new(), now).len(), 1);
    }

    #[test]
    fn objects_that_nobody_of_us_wrote_are_not_ours_to_put_right() {
        let (mut drift, now) = drift();
        let mut other = object(9, 11);
        other.metadata.name = Some("of-others".into());
        drift.take_over([&other]);
        assert_eq!(drift.saw(&other, now), None);
        assert_eq!(drift.saw(&object(9, 12), now), None, "not there when this instance took over");
    }

    #[test]
    fn a_new_leader_watches_over_what_the_one_before_it_wrote() {
        let (mut drift, now) = successor();
        assert_eq!(drift.saw(&object(1, 10), now), None, "its watch tells it what it knows");
        assert_eq!(drift.saw(&edited(11), now), AT_ONCE);
        let (mut drift, now) = successor();
        assert_eq!(drift.lost("shop/graylane-entry", now), AT_ONCE);
    }

    #[test]
    fn what_was_changed_while_nobody_led_is_told_by_the_new_leader() {
        let mut drift = Drift::new(Emitter::EnvoyFilter);
        assert_eq!(drift.take_over([&edited(11)]), ["shop/graylane-entry"]);
        let switched = DynamicObject { data: edited(11).data, ..stopped(11) };
        assert_eq!(drift.take_over([&switched]), Vec::<String>::new());
    }

    #[test]
    fn the_last_write_of_the_leader_before_is_no_drift_and_a_second_controller_is() {
        let (mut drift, now) = successor();
        assert_eq!(drift.saw(&of_generation(4, 2, 11), now), QUIETLY);
        drift.written(&of_generation(5, 1, 12));
        let later = now + PERIOD;
        assert_eq!(drift.saw(&of_generation(6, 2, 13), later), AT_ONCE, "each would fight the other unheard");
        let (mut drift, now) = successor();
        assert_eq!(drift.saw(&of_generation(2, 2, 11), now), AT_ONCE, "somebody has restored an old one");
    }

    #[test]
    fn who_leads_no_more_takes_the_writes_of_the_new_leader_for_what_they_are() {
        let (mut drift, now) = drift();
        drift.step_down();
        assert!(!drift.leads());
        assert_eq!(drift.saw(&object(9, 11), now), None);
        assert_eq!(drift.lost("shop/graylane-entry", now), None);
        assert_eq!(drift.due(now), Vec::<String>::new());
    }
}
