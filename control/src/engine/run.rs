//! The loop around the pure middle: look, decide, write down, deliver, act.
//!
//! What is decided is kept before it is delivered, and both are refused by the world when somebody else
//! has changed the same thing, so a controller that is killed, or that has lost its lease without knowing
//! it, leaves nothing half done that the next one would not finish.
//!
//! What a pass costs: a release at rest, a comparison of pointers and of a few numbers (see
//! `memory`); one that is looked at, its questions to the ground, and its rivals; a delivery, the
//! groups of the releases that are in the config of proxies. Releases that wait or have ended are in none.

mod delivering;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Millis;
use super::decide::{Action, decide};
use super::healing::Healing;
use super::judging::{Judgement, Judging};
use super::keep::Decided;
use super::memory::{Memory, Rest, awaits_proxies};
use super::owners::{has_begun, owner, owners, rivals};
pub use super::pass::Pass;
use super::seams::{Delivery, Ground, Object, Place, Store, Template};
use super::seen::{Arrival, Seen};
use super::status::Phase;
use super::streams::told_since;
use crate::api::record::Record;
use crate::build::Version;
use crate::counts::question::Asked;
use crate::notify::Notices;
use crate::release::finding::Finding;
use crate::release::overlap;
use crate::release::plan::PromotionStrategy;

/// The engine. All of its memory can be lost at any time.
#[derive(Debug)]
pub struct Engine<S, D, G> {
    pub(super) store: S,
    delivery: D,
    ground: G,
    pub(super) memory: BTreeMap<String, Memory>,
    pub(super) generations: BTreeMap<Place, u64>,
    dirty: BTreeSet<String>,
    /// Namespaces to which nothing was delivered because their config was stopped by hand.
    stopped: BTreeSet<String>,
    /// Namespaces that do not exist.
    gone: BTreeSet<String>,
    healing: Healing,
    /// When the slots of a place have to be renewed, of what was delivered there.
    renewals: BTreeMap<Place, Millis>,
    judging: Judging,
    /// True while what takes back goes alone.
    pub(super) hurries: bool,
    pub(super) notices: Option<Notices>,
    first: bool,
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
            renewals: BTreeMap::new(),
            judging: Judging::default(),
            hurries: false,
            notices: None,
            first: true,
        }
    }

    /// The same with a place where it keeps what it counts, for others to ask.
    #[must_use]
    pub fn recording(mut self, record: Record) -> Self {
        self.judging = Judging::with(record);
        self
    }

    /// The same, telling others what becomes of releases.
    #[must_use]
    pub fn telling(mut self, notices: Option<Notices>) -> Self {
        self.notices = notices;
        self
    }

    /// Looks at every release once and does what has to be done now.
    pub async fn pass(&mut self, now: Millis) -> Pass {
        let mut pass = Pass::default();
        let mut objects = self.store.releases();
        objects.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        let (owners, stamp) = (owners(&objects), self.ground.stamp());
        let mut decided = Vec::new();
        for index in 0..objects.len() {
            let object = &objects[index];
            let busy = owner(&owners, object);
            let memory = self.memory.get(&object.uid);
            if let Some(until) = memory.and_then(|memory| memory.rests(object, busy, stamp, now)) {
                pass.wake(Some(until));
                continue;
            }
            self.judging.begin(object);
            let mut seen = self.see(object, busy.map(|owner| owner.id.clone()));
            let asked = self.ask(object, &mut seen);
            seen.judgement = self.judge(object, &asked, &seen, now);
            seen.problems.extend(overlaps(object, &rivals(&objects, &owners, index)));
            let decision = decide(&object.spec, &object.status, &seen, now);
            let rest = Rest::after(object, busy, stamp, &decision, now);
            pass.awaits_proxies |= awaits_proxies(&decision.status);
            pass.wake(decision.wake_at);
            decided.push(Decided { index, object: Arc::clone(object), decision, rest });
        }
        self.judging.retain(&objects.iter().map(|object| object.uid.as_str()).collect());
        let later = self.keep_all(&mut objects, decided, now, &mut pass).await;
        self.find_dirty(&objects);
        self.heal(&objects, now, &mut pass);
        self.deliver(&objects, now, &mut pass).await;
        for (index, action) in later {
            self.act(&objects[index], action, &mut pass).await;
        }
        pass
    }

    /// What the counts of a release say, where it is judged.
    fn judge(&mut self, object: &Object, asked: &Asked, seen: &Seen, now: Millis) -> Option<Judgement> {
        let release = object.spec.as_ref().ok()?;
        if !Judging::applies(release, &object.status) {
            return None;
        }
        let counted = self.ground.counts(release);
        self.judging.note_pods(&object.uid, seen);
        self.judging.look(object, release, (counted, asked), now)
    }

    /// What Prometheus says. Before anything moves, a question of which nothing can come is a problem.
    fn ask(&self, object: &Object, seen: &mut Seen) -> Asked {
        let Ok(release) = &object.spec else { return Asked::default() };
        if object.status.phase.is_finished() {
            return Asked::default();
        }
        let asked = self.ground.asked(release);
        if matches!(object.status.phase, Phase::Pending | Phase::Invalid) {
            seen.problems.extend(asked.problems.iter().cloned());
            seen.unasked.clone_from(&asked.unknown);
        }
        asked
    }

    fn see(&self, object: &Object, busy: Option<String>) -> Seen {
        let mut seen = Seen {
            generation: object.generation,
            paused: object.paused,
            request: object.request.clone(),
            deleting: object.deleting,
            ..Seen::default()
        };
        let Ok(release) = &object.spec else {
            if has_begun(object) {
                seen.versions = self.ground.replicas(&self.last_versions(object));
            }
            return seen;
        };
        let places = self.delivery.places_of(release);
        seen.busy = busy;
        seen.stopped = places.iter().any(|place| self.delivery.is_stopped(&place.namespace));
        seen.versions = self.ground.versions(release);
        seen.probed = self.ground.probes();
        seen.stable = self.ground.stable(release);
        if release.plan.promotion == PromotionStrategy::Argo {
            seen.rollouts = self.ground.rollouts(release);
        }
        if !object.status.phase.is_finished() {
            seen.problems = self.ground.problems(release);
            if has_begun(object) {
                // Before that no proxy runs anything of it: there is nothing to tell, and nothing to write.
                seen.arrival = self.arrival(object, release, &places);
            }
        }
        if let Some(streams) = object.status.streams.as_ref().filter(|streams| streams.is_counted()) {
            seen.streams = told_since(&self.ground.counts(release), streams.since_ms);
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

    /// The versions of a release whose spec cannot be read any more: its documents still name those that could
    /// serve, and its status those that could not.
    fn last_versions(&self, object: &Object) -> BTreeSet<Version> {
        let status = &object.status;
        if !status.last_versions.is_empty() {
            return status.last_versions.clone();
        }
        let documents = self.delivery.places().into_iter().filter_map(|place| self.delivery.held(&place));
        let groups = documents.flat_map(|document| document.groups).filter(|group| group.rollout == object.id);
        let ready = groups.flat_map(|group| group.lanes.destinations).flat_map(|destination| {
            let service = destination.service;
            destination.ready.into_iter().map(move |lane| Version { service: service.clone(), lane })
        });
        ready.chain(status.not_ready.iter().cloned()).collect()
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
            Action::PromoteRollout { service } => self.ground.promote_rollout(release, service).await,
            Action::AbortRollout { service } => self.ground.abort_rollout(release, service).await,
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
