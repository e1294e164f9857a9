//! From decisions to the config of proxies: what may have changed is made again, checked, and written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::Millis;
use super::super::documents::{self, Basis};
use super::super::seams::{Delivery, Ground, Object, Place, SeamError, Store};
use super::super::status::{Exposure, Phase, Status};
use super::{Engine, Pass};

/// What was checked, by namespace, and the namespaces of which something was refused.
type Checks<C> = (Vec<(String, C)>, BTreeSet<String>);

// === impl Engine ===

impl<S: Store, D: Delivery, G: Ground> Engine<S, D, G> {
    /// Finds the namespaces whose documents may have changed.
    pub(super) fn find_dirty(&mut self, objects: &[Arc<Object>]) {
        for object in objects {
            self.compare(object);
        }
        if self.memory.len() > objects.len() {
            let here: BTreeSet<&str> = objects.iter().map(|object| object.uid.as_str()).collect();
            for (_, memory) in self.memory.extract_if(.., |uid, _| !here.contains(uid.as_str())) {
                self.dirty.extend(memory.namespaces);
            }
        }
        if std::mem::take(&mut self.first) {
            self.dirty.extend(self.delivery.places().into_iter().map(|place| place.namespace));
        }
        self.dirty.extend(self.delivery.disturbed());
        let lifted = self.stopped.extract_if(.., |namespace| !self.delivery.is_stopped(namespace));
        self.dirty.extend(lifted);
    }

    /// Compares a release with what its documents were made of last. Most are the very same object.
    fn compare(&mut self, object: &Arc<Object>) {
        let memory = self.memory.entry(object.uid.clone()).or_default();
        if memory.known.as_ref().is_some_and(|known| Arc::ptr_eq(known, object)) && object.spec.is_ok() {
            return;
        }
        let namespaces: BTreeSet<String> = match &object.spec {
            Ok(release) => self.delivery.places_of(release).into_iter().map(|place| place.namespace).collect(),
            Err(_) => self.delivery.places().into_iter().map(|place| place.namespace).collect(),
        };
        let same = memory.basis.as_ref().is_some_and(|basis| basis.is_of(object));
        if !same || memory.namespaces != namespaces {
            self.dirty.extend(memory.namespaces.iter().chain(&namespaces).cloned());
            memory.basis = Some(Basis::of(object));
            memory.undelivered = namespaces.clone();
            memory.generations.clear();
            memory.namespaces = namespaces;
        }
        memory.known = Some(Arc::clone(object));
    }

    /// Filters that crashed get their config again, as often as is safe: also one that stayed behind when lanes were
    /// taken away, and may use them still.
    pub(super) fn heal(&mut self, objects: &[Arc<Object>], now: Millis, pass: &mut Pass) {
        let waits = |status: &Status| status.phase == Phase::RollingBack || status.is_leaving();
        let shown = objects.iter().filter(|one| one.status.exposure != Exposure::Absent || waits(&one.status));
        let wounded = shown.filter_map(|object| object.spec.as_ref().ok()).flat_map(|one| self.ground.wounded(one));
        for namespace in self.healing.due(&wounded.collect(), now) {
            self.delivery.renew(&namespace);
            pass.healed.push(namespace.clone());
            self.dirty.insert(namespace);
        }
    }

    /// Brings every namespace that may have changed to what it shall run. All of them are checked before any is
    /// written.
    pub(super) async fn deliver(&mut self, objects: &[Arc<Object>], now: Millis, pass: &mut Pass) {
        self.find_renewals(now, pass);
        let (checked, refused) = self.check(objects, now, pass);
        let waiting = self.waiting_for(&refused, objects);
        for (namespace, one) in checked {
            if waiting.contains(&namespace) {
                self.dirty.insert(namespace);
                continue;
            }
            match self.delivery.deliver(one).await {
                Ok(generations) => {
                    self.gone.remove(&namespace);
                    self.note_delivery(&namespace, &generations);
                    let before = self.generations.len();
                    self.generations.retain(|place, _| place.namespace != namespace);
                    pass.changed |= before != self.generations.len() + generations.len();
                    self.generations.extend(generations);
                    self.note_renewals(&namespace);
                }
                Err(error) => {
                    if matches!(error, SeamError::Gone { .. }) {
                        self.gone.insert(namespace.clone());
                    }
                    pass.fail(&namespace, error, now);
                    self.dirty.insert(namespace);
                }
            }
        }
    }

    /// What is to be written, by namespace, and the namespaces whose documents are refused.
    fn check(&mut self, objects: &[Arc<Object>], now: Millis, pass: &mut Pass) -> Checks<D::Checked> {
        let (mut checked, mut refused) = (Vec::new(), BTreeSet::new());
        for namespace in std::mem::take(&mut self.dirty) {
            if self.delivery.is_stopped(&namespace) {
                self.generations.retain(|place, _| place.namespace != namespace);
                self.renewals.retain(|place, _| place.namespace != namespace);
                self.stopped.insert(namespace);
                continue;
            }
            let places = self.delivery.places().into_iter().filter(|place| place.namespace == namespace);
            let held = places.map(|place| (place.clone(), self.delivery.held(&place))).collect();
            let wanted =
                documents::wanted(&namespace, objects, &|release| self.delivery.places_of(release), &held, now);
            let floor = objects.iter().map(|object| object.status.generation).max().unwrap_or(0);
            match self.delivery.check(&namespace, &wanted, floor) {
                Ok(one) => checked.push((namespace, one)),
                Err(error) => {
                    pass.fail(&namespace, error, now);
                    self.dirty.insert(namespace.clone());
                    refused.insert(namespace);
                }
            }
        }
        (checked, refused)
    }

    /// The namespaces that are not written while documents of others are refused: a release that is in one of
    /// those changes everywhere or nowhere. What takes lanes back waits for nobody.
    fn waiting_for(&self, refused: &BTreeSet<String>, objects: &[Arc<Object>]) -> BTreeSet<String> {
        if refused.is_empty() {
            return BTreeSet::new();
        }
        let of = |object: &Arc<Object>| self.memory.get(&object.uid).map(|memory| &memory.namespaces);
        let meets = |namespaces: &&BTreeSet<String>| !namespaces.is_disjoint(refused);
        let mut waiting: BTreeSet<String> = objects.iter().filter_map(of).filter(meets).flatten().cloned().collect();
        for object in objects.iter().filter(|object| object.status.phase == Phase::RollingBack) {
            waiting.retain(|namespace| of(object).is_none_or(|mine| !mine.contains(namespace)));
        }
        waiting
    }

    fn note_delivery(&mut self, namespace: &str, generations: &BTreeMap<Place, u64>) {
        for memory in self.memory.values_mut().filter(|memory| memory.undelivered.contains(namespace)) {
            memory.undelivered.remove(namespace);
            memory.generations.extend(generations.iter().map(|(place, generation)| (place.clone(), *generation)));
        }
    }

    fn note_renewals(&mut self, namespace: &str) {
        self.renewals.retain(|place, _| place.namespace != namespace);
        let here = self.generations.keys().filter(|place| place.namespace == namespace && place.side.chooses());
        let renewal = |place: &Place| Some((place.clone(), documents::renewal(&self.delivery.held(place)?)?));
        self.renewals.extend(here.filter_map(renewal));
    }

    /// Slots that are about to expire are renewed by making their documents again.
    fn find_renewals(&mut self, now: Millis, pass: &mut Pass) {
        for (place, at) in &self.renewals {
            if *at <= now {
                self.dirty.insert(place.namespace.clone());
            } else {
                pass.wake(Some(*at));
            }
        }
    }
}
