//! Keeps what was decided: the writing of statuses, several at a time and no more often than needed.

use std::sync::Arc;

use futures::StreamExt;

use super::Millis;
use super::decide::{Action, Decision};
use super::memory::Rest;
use super::news::{News, news};
use super::pass::Pass;
use super::run::Engine;
use super::seams::{Object, SeamError, Store};
use super::status::{Exposure, Phase, Status};

/// A status in which only counts have changed is kept at most this often.
const COUNTS_EVERY_MS: Millis = 2_000;
/// So many releases are kept at the same time.
const AT_ONCE: usize = 8;

/// A decision about the release at an index.
pub(super) struct Decided {
    pub(super) index: usize,
    pub(super) object: Arc<Object>,
    pub(super) decision: Decision,
    pub(super) rest: Option<Rest>,
}

/// What came of keeping it.
struct Kept {
    index: usize,
    object: Arc<Object>,
    /// What is still to be done.
    actions: Vec<Action>,
    rest: Option<Rest>,
    is_saved: bool,
    wake_at: Option<Millis>,
    error: Option<SeamError>,
}

// === impl Engine ===

impl<S: Store, D, G> Engine<S, D, G> {
    /// Keeps what was decided, several at a time: most of it is waiting for answers. What takes back goes
    /// alone, so that the proxies are told of it at once; all else is decided again right after.
    pub(super) async fn keep_all(
        &mut self,
        objects: &mut [Arc<Object>],
        mut decided: Vec<Decided>,
        now: Millis,
        pass: &mut Pass,
    ) -> Vec<(usize, Action)> {
        let goes_alone = |one: &Decided| withdraws(&one.object.status, &one.decision.status);
        // Never twice in a row: one that cannot be kept must not hold up all others.
        self.hurries = !self.hurries && decided.len() > AT_ONCE && decided.iter().any(goes_alone);
        if self.hurries {
            decided.retain(goes_alone);
            pass.changed = true;
        }
        let keeping: Vec<_> = decided.into_iter().map(|one| self.keep(one, now)).collect();
        let mut kept: Vec<Kept> = futures::stream::iter(keeping).buffer_unordered(AT_ONCE).collect().await;
        kept.sort_by_key(|kept| kept.index);
        let mut later = Vec::new();
        for kept in kept {
            pass.changed |= kept.is_saved;
            pass.wake(kept.wake_at);
            let memory = self.memory.entry(kept.object.uid.clone()).or_default();
            memory.rest = kept.rest;
            if kept.is_saved {
                memory.saved_ms = now;
            }
            match kept.error {
                Some(error) => pass.fail(&kept.object.id, error, now),
                None => later.extend(kept.actions.into_iter().map(|action| (kept.index, action))),
            }
            if let Some(object) = objects.get_mut(kept.index) {
                *object = kept.object;
            }
        }
        later
    }

    /// Keeps a decision. What was decided may be acted upon unless that failed.
    async fn keep(&self, decided: Decided, now: Millis) -> Kept {
        let Decided { index, object, decision, rest } = decided;
        let Decision { mut status, actions, .. } = decision;
        let mut kept = Kept { index, object, actions, rest, is_saved: false, wake_at: None, error: None };
        if kept.actions.contains(&Action::Hold) && !kept.object.held {
            match self.store.hold(&kept.object).await {
                Ok(held) => kept.object = Arc::new(held),
                Err(error) => return Kept { error: Some(error), ..kept },
            }
        }
        // A release that is in no document remembers none: it would be written with every delivery.
        let before = &kept.object.status;
        let in_force = |status: &Status| status.exposure != Exposure::Absent || status.phase == Phase::RollingBack;
        if in_force(&status) || in_force(before) {
            status.generation = status.generation.max(self.highest(&kept.object));
        }
        let again_ms = self.memory.get(&kept.object.uid).map_or(0, |memory| memory.saved_ms + COUNTS_EVERY_MS);
        match news(before, &status) {
            News::None => return kept,
            News::Counts if now < again_ms => return Kept { wake_at: Some(again_ms), ..kept },
            News::Counts | News::State => {}
        }
        match self.store.save(&kept.object, &status).await {
            Ok(saved) => {
                self.notices.iter().for_each(|notices| notices.tell(&kept.object, &status));
                Kept { object: Arc::new(saved), is_saved: true, ..kept }
            }
            Err(error) => {
                // Taking back must not depend on being able to write it down.
                if withdraws(before, &status) && !matches!(error, SeamError::Conflict { .. }) {
                    Arc::make_mut(&mut kept.object).status = status;
                }
                Kept { error: Some(error), ..kept }
            }
        }
    }

    fn highest(&self, object: &Object) -> u64 {
        let Some(memory) = self.memory.get(&object.uid) else { return 0 };
        let mine = self.generations.iter().filter(|(place, _)| memory.namespaces.contains(&place.namespace));
        mine.map(|(_, generation)| *generation).max().unwrap_or(0)
    }
}

/// Whether a status takes lanes back.
fn withdraws(before: &Status, after: &Status) -> bool {
    after.phase == Phase::RollingBack && before.phase != Phase::RollingBack
}
