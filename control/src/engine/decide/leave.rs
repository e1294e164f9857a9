//! How the lanes leave the proxies when a release is taken back or deleted.

use graylane_policy::slots::SlotTable;

use super::{Action, Machine, gates};
use crate::engine::Millis;
use crate::engine::status::{Exposure, Phase, WaitReason};
use crate::release::Release;
use crate::release::units::WHOLE;

/// How long proxies are waited for when the spec that says so cannot be read.
const UNREADABLE_MS: Millis = 60_000;

/// How the proxies stand with lanes that are no longer in their config.
pub(super) enum Leave {
    /// Some may still use them, and are waited for.
    Awaited,
    /// Every proxy runs without them.
    Confirmed,
    /// Some may still use them, and are waited for no longer: which, in words.
    Unconfirmed(String),
}

// === impl Machine ===

impl Machine<'_> {
    /// Takes everything back. This never waits for anything, and one change of config does it.
    pub(super) fn roll_back(&mut self, reason: &str, message: impl Into<String>) {
        let message = message.into();
        self.status.exposure = Exposure::Absent;
        self.status.set_table(&SlotTable::all_stable());
        self.status.phase = Phase::RollingBack;
        self.begins_rollback = true;
        self.status.rollouts.values_mut().for_each(|rollout| rollout.abort = true);
        self.status.pause = None;
        self.status.waiting = None;
        self.status.handover = None;
        self.status.full = false;
        self.status.step_since_ms = self.now;
        let short = gates::short_stable(self.seen);
        self.note(reason, if short.is_empty() { message } else { format!("{message}; {short}") });
    }

    /// `release` is what the spec says, if it can be read.
    pub(super) fn finish_rollback(&mut self, release: Option<&Release>) {
        match self.leave(self.status.step_since_ms, release) {
            Leave::Awaited => {}
            Leave::Confirmed if self.await_last_requests() => {
                self.wait(WaitReason::Evidence, "the lane's last requests are being counted".into());
            }
            Leave::Confirmed => self.end_rollback("every proxy runs without the lanes".into()),
            Leave::Unconfirmed(missing) => self.end_rollback(missing),
        }
    }

    fn end_rollback(&mut self, message: String) {
        self.status.phase = Phase::RolledBack;
        self.status.waiting = None;
        let times = self.times();
        self.note("RolledBack", if times.is_empty() { message } else { format!("{message}; {times}") });
    }

    /// A release that is being deleted: its lanes leave the proxies before it goes.
    pub(super) fn withdraw(&mut self, release: Option<&Release>) {
        if self.status.exposure != Exposure::Absent || self.status.is_leaving() {
            self.roll_back("Withdrawn", "the release is being deleted");
            return;
        }
        if self.status.phase == Phase::RollingBack {
            self.finish_rollback(release);
        }
        if self.status.phase != Phase::RollingBack {
            self.actions.push(Action::LetGo);
        }
    }

    /// Waits for the proxies to run without lanes that left their config at a time, for as long as the release
    /// says.
    pub(super) fn leave(&mut self, since_ms: Millis, release: Option<&Release>) -> Leave {
        let arrival = &self.seen.arrival;
        // Where no proxy runs anything, there is nobody to wait for.
        if arrival.reaches(WHOLE) || arrival.known && arrival.expected == 0 {
            return Leave::Confirmed;
        }
        let missing = gates::missing(arrival);
        let timeout = release.map_or(UNREADABLE_MS, |release| release.plan.ack_timeout_ms);
        let deadline = since_ms.saturating_add(timeout);
        if self.now >= deadline {
            return Leave::Unconfirmed(format!("not confirmed by every proxy in time: {missing}"));
        }
        self.wait(WaitReason::Acknowledgement, missing);
        self.wake_by(deadline);
        Leave::Awaited
    }
}
