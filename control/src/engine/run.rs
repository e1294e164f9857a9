//! The loop around the pure middle: look, decide, write down, deliver, act.
//!
//! What is decided is kept before it is delivered, and both are refused by the world when somebody else
//! has changed the same thing, so a controller that is killed, or that has lost its lease without knowing
//! it, leaves nothing half done that the next one would not finish.

use std::collections::{BTreeMap, BTreeSet};

use super::Millis;
use super::decide::{Action, Decision, decide};
use super::documents::{self, Basis};
use super::healing::Healing;
use super::news::{News, news};
use super::owners::{Owner, owner, owners, rivals};
use super::seams::{Delivery, Ground, Object, Place, SeamError, Store, Template};
use super::seen::{Arrival, Seen};
use super::status::{Exposure, Phase, Status};
use crate::release::finding::Finding;
use crate::release::overlap;

/// A status in which only counts have changed is kept at most this often.
const COUNTS_EVERY_MS: Millis = 2_000;
/// A release in which nothing happens is looked at this often all the same.
const REST_MS: Millis = 5_000;
/// What failed is tried again after this.
const AGAIN_MS: Millis = 1_000;

/// The engine. All of its memory can be lost at any time.
#[derive(Debug)]
pub struct Engine<S, D, G> {
    store: S,
    delivery: D,
    ground: G,
    memory: BTreeMap<String, Memory>,
    generations: BTreeMap<Place, u64>,
    dirty: BTreeSet<String>,
    /// Namespaces to which nothing was delivered because their config was stopped by hand.
    stopped: BTreeSet<String>,
    /// Namespaces that do not exist.
    gone: BTreeSet<String>,
    healing: Healing,
    first: bool,
}

#[derive(Debug, Default)]
struct Memory {
    basis: Option<Basis>,
    namespaces: BTreeSet<String>,
    /// Namespaces to which what the status says has not been delivered yet.
    undelivered: BTreeSet<String>,
    /// The generations by which it was delivered. Later ones hold it too: where many releases meet, some
    /// other moves all the time, and whoever waited for the newest would wait for ever.
    generations: BTreeMap<Place, u64>,
    saved_ms: Millis,
    rest: Option<Rest>,
}

/// A look at a release that found nothing to do, and what it depended on.
#[derive(Debug)]
struct Rest {
    fence: String,
    owner: Option<String>,
    stamp: u64,
    until: Millis,
}

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// When to look again even if nothing is heard; the caller also looks when something is.
    pub wake_at: Option<Millis>,
    /// True when something was changed, so that looking again at once may find more to do.
    pub changed: bool,
    /// True while proxies are waited for, so that asking them often is worth it.
    pub awaits_proxies: bool,
    /// Namespaces whose proxies got their config again because some had crashed.
    pub healed: Vec<String>,
    /// What went wrong; it will be tried again.
    pub errors: Vec<(String, SeamError)>,
}

/// What is wrong with a release beside those of other groups that come before it.
fn overlaps(object: &Object, rivals: &[&crate::release::Release]) -> Vec<Finding> {
    let release = object.spec.as_ref().ok().filter(|_| !object.status.phase.is_finished());
    release.map(|release| overlap::problems(release, rivals)).unwrap_or_default()
}

// === impl Engine ===

impl<S: Store, D: Delivery, G: Ground> Engine<S, D, G> {
    /// An engine that knows nothing yet.
    pub fn new(store: S, delivery: D, ground: G) -> Self {
        Self {
            store,
            delivery,
            ground,
            memory: BTreeMap::new(),
            generations: BTreeMap::new(),
            dirty: BTreeSet::new(),
            stopped: BTreeSet::new(),
            gone: BTreeSet::new(),
            healing: Healing::default(),
            first: true,
        }
    }

    /// Looks at every release once and does what has to be done now.
    pub async fn pass(&mut self, now: Millis) -> Pass {
        let mut pass = Pass::default();
        let mut objects = self.store.releases();
        objects.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        let owners = owners(&objects);
        let mut later = Vec::new();
        for index in 0..objects.len() {
            let object = &objects[index];
            let busy = owner(&owners, object);
            if let Some(until) = self.rests(object, busy, now) {
                pass.wake(Some(until));
                continue;
            }
            let mut seen = self.see(object, busy.map(|owner| owner.id.clone()));
            seen.problems.extend(overlaps(object, &rivals(&objects, &owners, index)));
            let object = &mut objects[index];
            let decision = decide(&object.spec, &object.status, &seen, now);
            let rest = self.rest(object, busy, &decision, now);
            pass.awaits_proxies |= awaits_proxies(&decision.status);
            pass.wake(decision.wake_at);
            let actions = decision.actions.clone();
            if self.keep(object, decision, now, &mut pass).await {
                later.extend(actions.into_iter().map(|action| (index, action)));
            }
            self.memory.entry(object.uid.clone()).or_default().rest = rest;
        }
        self.find_dirty(&objects);
        self.heal(&objects, now, &mut pass);
        self.deliver(&objects, now, &mut pass).await;
        for (index, action) in later {
            self.act(&objects[index], action, &mut pass).await;
        }
        pass
    }

    /// Until when a release needs no look, if nothing that it depends on has changed since the last one.
    fn rests(&self, object: &Object, busy: Option<&Owner>, now: Millis) -> Option<Millis> {
        let rest = self.memory.get(&object.uid)?.rest.as_ref()?;
        let same = rest.fence == object.fence
            && rest.owner.as_deref() == busy.map(|owner| owner.id.as_str())
            && self.ground.stamp() == Some(rest.stamp);
        (same && now < rest.until).then_some(rest.until)
    }

    /// A look that changed nothing, and waits for no proxy, holds for a while.
    fn rest(&self, object: &Object, busy: Option<&Owner>, decision: &Decision, now: Millis) -> Option<Rest> {
        let stamp = self.ground.stamp()?;
        let quiet = decision.status == object.status && decision.actions.is_empty();
        let until = decision.wake_at.unwrap_or(Millis::MAX).min(now.saturating_add(REST_MS));
        (quiet && !awaits_proxies(&decision.status)).then(|| Rest {
            fence: object.fence.clone(),
            owner: busy.map(|owner| owner.id.clone()),
            stamp,
            until,
        })
    }

    fn see(&self, object: &Object, busy: Option<String>) -> Seen {
        let mut seen = Seen {
            generation: object.generation,
            paused: object.paused,
            request: object.request.clone(),
            deleting: object.deleting,
            ..Seen::default()
        };
        let Ok(release) = &object.spec else { return seen };
        let places = self.delivery.places_of(release);
        seen.busy = busy;
        seen.stopped = places.iter().any(|place| self.delivery.is_stopped(&place.namespace));
        seen.versions = self.ground.versions(release);
        seen.stable = self.ground.stable(release);
        if !object.status.phase.is_finished() {
            seen.problems = self.ground.problems(release);
            seen.arrival = self.arrival(object, release, &places);
        }
        if object.status.phase == Phase::Promoting {
            let handover = object.status.handover.clone().unwrap_or_default();
            let template = if handover.undo {
                Template::Revisions(&handover.revisions)
            } else {
                Template::Lane(&release.plan.promoted)
            };
            seen.workloads = self.ground.workloads(release, template);
        }
        seen
    }

    /// How the proxies stand with what the status says; nothing is known while that is not delivered.
    fn arrival(&self, object: &Object, release: &crate::release::Release, places: &BTreeSet<Place>) -> Arrival {
        let delivered = self.memory.get(&object.uid).filter(|memory| {
            memory.undelivered.is_empty() && memory.basis.as_ref().is_some_and(|basis| basis.is_of(object))
        });
        let Some(memory) = delivered else { return Arrival::default() };
        let here = memory.generations.iter().filter(|(place, _)| places.contains(place));
        let generations = here.map(|(place, generation)| (place.clone(), *generation)).collect();
        self.ground.arrival(release, &generations)
    }

    /// Keeps a decision. Returns whether what was decided may be acted upon.
    async fn keep(&mut self, object: &mut Object, decision: Decision, now: Millis, pass: &mut Pass) -> bool {
        if decision.actions.contains(&Action::Hold) && !object.held {
            match self.store.hold(object).await {
                Ok(held) => *object = held,
                Err(error) => return pass.fail(&object.id, error, now),
            }
        }
        let mut status = decision.status;
        status.generation = status.generation.max(self.highest(object));
        let saved_ms = self.memory.get(&object.uid).map_or(0, |memory| memory.saved_ms);
        match news(&object.status, &status) {
            News::None => return true,
            News::Counts if now < saved_ms.saturating_add(COUNTS_EVERY_MS) => {
                pass.wake(Some(saved_ms.saturating_add(COUNTS_EVERY_MS)));
                return true;
            }
            News::Counts | News::State => {}
        }
        let result = self.store.save(object, &status).await;
        match result {
            Ok(saved) => {
                self.memory.entry(object.uid.clone()).or_default().saved_ms = now;
                *object = saved;
                pass.changed = true;
                true
            }
            // Taking back must not depend on being able to write it down.
            Err(error) if withdraws(&object.status, &status) && !matches!(error, SeamError::Conflict { .. }) => {
                object.status = status;
                pass.fail(&object.id, error, now)
            }
            Err(error) => pass.fail(&object.id, error, now),
        }
    }

    fn highest(&self, object: &Object) -> u64 {
        let Some(memory) = self.memory.get(&object.uid) else { return 0 };
        let mine = self.generations.iter().filter(|(place, _)| memory.namespaces.contains(&place.namespace));
        mine.map(|(_, generation)| *generation).max().unwrap_or(0)
    }

    /// Finds the namespaces whose documents may have changed.
    fn find_dirty(&mut self, objects: &[Object]) {
        let mut gone: BTreeSet<String> = self.memory.keys().cloned().collect();
        for object in objects {
            gone.remove(&object.uid);
            let namespaces: BTreeSet<String> = match &object.spec {
                Ok(release) => self.delivery.places_of(release).into_iter().map(|place| place.namespace).collect(),
                Err(_) => self.delivery.places().into_iter().map(|place| place.namespace).collect(),
            };
            let memory = self.memory.entry(object.uid.clone()).or_default();
            let same = memory.basis.as_ref().is_some_and(|basis| basis.is_of(object));
            if !same || memory.namespaces != namespaces {
                self.dirty.extend(memory.namespaces.iter().chain(&namespaces).cloned());
                memory.basis = Some(Basis::of(object));
                memory.undelivered = namespaces.clone();
                memory.generations.clear();
                memory.namespaces = namespaces;
            }
        }
        for uid in gone {
            if let Some(memory) = self.memory.remove(&uid) {
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

    /// Filters that crashed get their config again, as often as is safe.
    fn heal(&mut self, objects: &[Object], now: Millis, pass: &mut Pass) {
        let shown = objects.iter().filter(|object| object.status.exposure != Exposure::Absent);
        let wounded = shown.filter_map(|object| object.spec.as_ref().ok()).flat_map(|one| self.ground.wounded(one));
        for namespace in self.healing.due(&wounded.collect(), now) {
            self.delivery.renew(&namespace);
            pass.healed.push(namespace.clone());
            self.dirty.insert(namespace);
        }
    }

    async fn deliver(&mut self, objects: &[Object], now: Millis, pass: &mut Pass) {
        self.find_renewals(now, pass);
        for namespace in std::mem::take(&mut self.dirty) {
            if self.delivery.is_stopped(&namespace) {
                self.generations.retain(|place, _| place.namespace != namespace);
                self.stopped.insert(namespace);
                continue;
            }
            let places = self.delivery.places().into_iter().filter(|place| place.namespace == namespace);
            let held = places.map(|place| (place.clone(), self.delivery.held(&place))).collect();
            let wanted =
                documents::wanted(&namespace, objects, &|release| self.delivery.places_of(release), &held, now);
            let floor = objects.iter().map(|object| object.status.generation).max().unwrap_or(0);
            match self.delivery.deliver(&namespace, &wanted, floor).await {
                Ok(generations) => {
                    self.gone.remove(&namespace);
                    self.note_delivery(&namespace, &generations);
                    let before = self.generations.len();
                    self.generations.retain(|place, _| place.namespace != namespace);
                    pass.changed |= before != self.generations.len() + generations.len();
                    self.generations.extend(generations);
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

    fn note_delivery(&mut self, namespace: &str, generations: &BTreeMap<Place, u64>) {
        for memory in self.memory.values_mut().filter(|memory| memory.undelivered.contains(namespace)) {
            memory.undelivered.remove(namespace);
            memory.generations.extend(generations.iter().map(|(place, generation)| (place.clone(), *generation)));
        }
    }

    /// Slots that are about to expire are renewed by making their documents again.
    fn find_renewals(&mut self, now: Millis, pass: &mut Pass) {
        for place in self.generations.keys().filter(|place| place.side.chooses()) {
            let Some(at) = self.delivery.held(place).as_ref().and_then(documents::renewal) else { continue };
            if at <= now {
                self.dirty.insert(place.namespace.clone());
            } else {
                pass.wake(Some(at));
            }
        }
    }

    async fn act(&self, object: &Object, action: Action, pass: &mut Pass) {
        let Ok(release) = &object.spec else {
            if action == Action::LetGo {
                self.let_go(object, pass).await;
            }
            return;
        };
        let result = match &action {
            Action::Hold => return,
            Action::LetGo => return self.let_go(object, pass).await,
            Action::CopyTemplate { service } => {
                self.ground.copy_template(release, service, &release.plan.promoted).await
            }
            Action::Restore { service, revision } => self.ground.restore(release, service, revision).await,
        };
        if let Err(error) = result {
            pass.errors.push((object.id.clone(), error));
        }
    }

    /// Lets a deleted object go, unless what shall replace its lanes could not be delivered.
    async fn let_go(&self, object: &Object, pass: &mut Pass) {
        let namespaces = self.memory.get(&object.uid).map(|memory| memory.namespaces.clone()).unwrap_or_default();
        // Where there is no namespace, there is no proxy that could still use a lane.
        let undelivered = namespaces.intersection(&self.dirty).any(|namespace| !self.gone.contains(namespace));
        if !object.held || undelivered {
            return;
        }
        match self.store.let_go(object).await {
            Ok(()) => pass.changed = true,
            Err(error) => pass.errors.push((object.id.clone(), error)),
        }
    }
}

fn awaits_proxies(status: &Status) -> bool {
    use super::status::WaitReason;
    status.waiting.as_ref().is_some_and(|waiting| waiting.reason == WaitReason::Acknowledgement)
}

/// Whether a status takes lanes back.
fn withdraws(before: &Status, after: &Status) -> bool {
    after.phase == Phase::RollingBack && before.phase != Phase::RollingBack
}

// === impl Pass ===

impl Pass {
    fn wake(&mut self, at: Option<Millis>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    fn fail(&mut self, what: &str, error: SeamError, now: Millis) -> bool {
        self.wake(Some(now.saturating_add(AGAIN_MS)));
        self.errors.push((what.into(), error));
        false
    }
}
