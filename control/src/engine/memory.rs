//! What the loop remembers of each release between passes: when it need not be looked at, and how far its
//! documents have got. All of it can be lost.
//!
//! A pass over many releases in which nothing happens has to cost next to nothing, since one is made
//! whenever anything in the cluster changes. So a release that came out of a look as it went in is only
//! looked at again when something that the look depended on has changed: see [`Rest`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Millis;
use super::decide::Decision;
use super::documents::Basis;
use super::owners::Owner;
use super::seams::{Object, Place};
use super::status::{Exposure, Status, WaitReason};
use super::streams::Streams;

/// A release that has begun and in which nothing happens is looked at this often all the same.
const REST_MS: Millis = 5_000;
/// One that waits for its group is looked at this often for what would refuse it anyway; the end of the
/// release that has the group is noticed at once.
const QUEUE_MS: Millis = 30_000;

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) basis: Option<Basis>,
    pub(super) namespaces: BTreeSet<String>,
    /// Namespaces to which what the status says has not been delivered yet.
    pub(super) undelivered: BTreeSet<String>,
    /// The generations by which it was delivered. Later ones hold it too: where many releases meet, some
    /// other moves all the time, and whoever waited for the newest would wait for ever.
    pub(super) generations: BTreeMap<Place, u64>,
    pub(super) saved_ms: Millis,
    pub(super) rest: Option<Rest>,
    /// The object that `basis` and `namespaces` were made of.
    pub(super) known: Option<Arc<Object>>,
}

/// A look at a release that found nothing to do, and what it depended on.
#[derive(Debug)]
pub(super) struct Rest {
    fence: String,
    owner: Option<String>,
    /// The state of the ground, for a release that depends on it.
    stamp: Option<u64>,
    since: Millis,
    until: Millis,
}

// === impl Memory ===

impl Memory {
    /// Until when a release needs no look, if nothing that it depends on has changed since the last one.
    pub(super) fn rests(
        &self,
        object: &Object,
        busy: Option<&Owner>,
        stamp: Option<u64>,
        now: Millis,
    ) -> Option<Millis> {
        let rest = self.rest.as_ref()?;
        let same = rest.fence == object.fence
            && rest.owner.as_deref() == busy.map(|owner| owner.id.as_str())
            && (rest.stamp.is_none() || rest.stamp == stamp);
        // Before `since`, the clock has been turned back.
        (same && (rest.since..rest.until).contains(&now)).then_some(rest.until)
    }
}

// === impl Rest ===

impl Rest {
    /// A look that changed nothing, and waits for no proxy, holds for a while. Without a stamp nobody can
    /// say what has changed, and nothing rests.
    pub(super) fn after(
        object: &Object,
        busy: Option<&Owner>,
        stamp: Option<u64>,
        decision: &Decision,
        now: Millis,
    ) -> Option<Self> {
        let status = &decision.status;
        let quiet = *status == object.status && decision.actions.is_empty() && !awaits_proxies(status);
        let longest = match lasts(object, status) {
            Lasts::UntilAsked => Millis::MAX,
            Lasts::InQueue => now.saturating_add(QUEUE_MS),
            Lasts::WhileTheGroundDoes => now.saturating_add(REST_MS),
        };
        let depends = lasts(object, status) == Lasts::WhileTheGroundDoes;
        let stamp = stamp?;
        quiet.then(|| Self {
            fence: object.fence.clone(),
            owner: busy.map(|owner| owner.id.clone()),
            stamp: depends.then_some(stamp),
            since: now,
            until: decision.wake_at.unwrap_or(Millis::MAX).min(longest),
        })
    }
}

/// How long a release stays at rest.
#[derive(PartialEq, Eq)]
enum Lasts {
    /// It has ended: until its object changes.
    UntilAsked,
    /// It waits for its group: nothing of it is in any document.
    InQueue,
    /// It begins, goes on or stops with what is seen.
    WhileTheGroundDoes,
}

fn lasts(object: &Object, status: &Status) -> Lasts {
    let waits = status.waiting.as_ref().is_some_and(|waiting| waiting.reason == WaitReason::GroupBusy);
    let leader = object.spec.as_ref().ok().and_then(|release| release.plan.leader.as_ref());
    let heeds_rollouts = leader.is_some() || status.rollouts.values().any(|rollout| rollout.abort);
    let counts_streams = status.streams.as_ref().is_some_and(Streams::is_counted);
    if object.deleting || heeds_rollouts || counts_streams || status.exposure != Exposure::Absent {
        Lasts::WhileTheGroundDoes
    } else if status.phase.is_finished() {
        Lasts::UntilAsked
    } else if waits {
        Lasts::InQueue
    } else {
        Lasts::WhileTheGroundDoes
    }
}

pub(super) fn awaits_proxies(status: &Status) -> bool {
    status.waiting.as_ref().is_some_and(|waiting| waiting.reason == WaitReason::Acknowledgement)
}
