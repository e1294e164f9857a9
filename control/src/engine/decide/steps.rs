//! The steps of a release.

use std::collections::BTreeMap;

use graylane_policy::slots::{SlotTable, evolve};

use super::{Machine, gates};
use crate::engine::status::{PauseReason, Phase, WaitReason};
use crate::release::Release;
use crate::release::plan::{OnFailure, PromotionStrategy, Step};
use crate::release::units::WHOLE;

// === impl Machine ===

impl Machine<'_> {
    /// Goes through the steps until one has to wait.
    pub(super) fn progress(&mut self, release: &Release) {
        if let Some(leader) = &release.plan.leader {
            return self.follow(release, leader);
        }
        if self.is_held() {
            return;
        }
        // Each turn ends a step or returns, so there are at most as many as steps.
        loop {
            let before = self.status.step;
            match release.plan.steps.get(before as usize) {
                Some(Step::Weight(weights)) => self.weigh(release, weights),
                Some(Step::Pause(millis)) => self.rest(*millis),
                Some(Step::Gate(name)) => self.ask(name),
                Some(Step::Analysis(millis)) => self.verify(release, *millis),
                Some(Step::Auto(auto)) => self.ramp(release, auto),
                None => self.bake(release),
            }
            if self.status.step == before || self.status.phase != Phase::Progressing {
                return;
            }
        }
    }

    /// Whether somebody or something holds the release where it is.
    pub(super) fn is_held(&mut self) -> bool {
        if self.seen.stopped {
            self.wait_for_stop();
            return true;
        }
        let reason = self.status.pause.as_ref().map(|pause| pause.reason);
        match reason {
            Some(PauseReason::Failure | PauseReason::Asked | PauseReason::Judgement) => true,
            _ if self.seen.paused => {
                self.pause(PauseReason::Spec, "spec.paused is set", None);
                true
            }
            Some(PauseReason::Spec) => {
                self.end_pause();
                self.go_to_step(self.status.step);
                self.note("Resumed", "spec.paused is no longer set");
                false
            }
            _ => false,
        }
    }

    fn weigh(&mut self, release: &Release, step: &BTreeMap<String, u32>) {
        if self.status.full && self.has_later_weight(release) {
            return self.go_to_step(self.status.step + 1);
        }
        let now = self.status.table();
        let target = target(release, &now, step);
        if target == now {
            return self.await_arrival(release);
        }
        self.weigh_to(release, step);
    }

    /// Whether the weights are these already.
    pub(super) fn is_at(&self, release: &Release, weights: &BTreeMap<String, u32>) -> bool {
        let now = self.status.table();
        target(release, &now, weights) == now
    }

    /// Asks for other weights, if nothing is in the way of those that grow.
    pub(super) fn weigh_to(&mut self, release: &Release, weights: &BTreeMap<String, u32>) {
        let now = self.status.table();
        let target = target(release, &now, weights);
        let wanted = target.weights();
        let raised = raised(&now, &wanted);
        if !raised.is_empty()
            && let Some((reason, message)) = gates::closed(release, self.seen, &raised)
        {
            return self.hold_at(release, reason, message);
        }
        self.status.set_table(&target);
        self.status.waiting = None;
        let weight = self.status.weight.clone();
        self.note("Weight", if weight.is_empty() { "everybody on stable".into() } else { weight });
        // Nobody can have confirmed yet what is only being decided.
        self.wait(WaitReason::Acknowledgement, "the change is on its way to the proxies".into());
        self.wake_by(self.now.saturating_add(release.plan.ack_timeout_ms));
    }

    fn has_later_weight(&self, release: &Release) -> bool {
        let later = release.plan.steps.iter().skip(self.status.step as usize + 1);
        later.into_iter().any(|step| matches!(step, Step::Weight(_)))
    }

    /// The weight is decided; the step is done once enough proxies run it.
    fn await_arrival(&mut self, release: &Release) {
        if self.seen.arrival.reaches(release.plan.quorum) {
            return self.go_to_step(self.status.step + 1);
        }
        self.await_proxies(release);
    }

    /// Whether enough proxies run what is wanted.
    pub(super) fn is_taken_up(&self, release: &Release) -> bool {
        self.seen.arrival.reaches(release.plan.quorum)
    }

    pub(super) fn await_proxies(&mut self, release: &Release) {
        let message = gates::missing(&self.seen.arrival);
        self.hold_at(release, WaitReason::Acknowledgement, message);
    }

    /// Waits at a closed gate; proxies that do not answer are not waited for without end.
    fn hold_at(&mut self, release: &Release, reason: WaitReason, message: String) {
        self.wait(reason, message.clone());
        let since = self.status.waiting.as_ref().map_or(self.now, |waiting| waiting.since_ms);
        let deadline = since.saturating_add(release.plan.ack_timeout_ms);
        if reason != WaitReason::Acknowledgement {
            return;
        }
        if self.now < deadline {
            self.wake_by(deadline);
            return;
        }
        match release.plan.on_failure {
            OnFailure::Rollback => self.roll_back("AcknowledgementTimeout", message),
            OnFailure::Pause => self.pause(PauseReason::Failure, message, None),
        }
    }

    fn rest(&mut self, millis: Option<u64>) {
        let until = millis.map(|millis| self.status.step_since_ms.saturating_add(millis));
        if self.status.full || until.is_some_and(|until| self.now >= until) {
            self.end_pause();
            return self.go_to_step(self.status.step + 1);
        }
        self.pause(PauseReason::Step, "a step of the release", until);
        until.into_iter().for_each(|until| self.wake_by(until));
    }

    fn ask(&mut self, name: &str) {
        if self.status.full {
            self.end_pause();
            return self.go_to_step(self.status.step + 1);
        }
        self.pause(PauseReason::Gate, format!("`{name}` waits to be confirmed by `promote`"), None);
    }

    /// Stays at the last weight for a while, then hands over.
    fn bake(&mut self, release: &Release) {
        let until = self.status.step_since_ms.saturating_add(release.plan.bake_ms);
        if !self.status.full && self.now < until {
            self.wake_by(until);
            return;
        }
        if let Some(analysis) = &release.plan.analysis
            && !self.is_verified()
        {
            return self.await_verdict(release, until.saturating_add(analysis.deadline_ms));
        }
        self.begin_handover(false);
        let who = match release.plan.promotion {
            PromotionStrategy::CopyTemplate => "stable workloads get the new version",
            PromotionStrategy::Manual => "somebody brings the new version to the stable workloads",
            PromotionStrategy::Argo => "Argo Rollouts brings the new version to the stable workloads",
        };
        self.note("Handover", who);
    }
}

/// The table of a step: lanes that it does not name keep theirs, lanes that the release no longer has
/// lose theirs, and what is held back stays on stable. When the lanes together want more than is there,
/// the one with most gives way.
fn target(release: &Release, now: &SlotTable, step: &BTreeMap<String, u32>) -> SlotTable {
    let mut weights = now.weights();
    weights.retain(|lane, _| release.lanes.contains(lane));
    weights.extend(step.iter().map(|(lane, weight)| (lane.clone(), *weight)));
    let most = WHOLE.saturating_sub(release.plan.holdback);
    while let Some(surplus) = weights.values().sum::<u32>().checked_sub(most).filter(|surplus| *surplus > 0) {
        let Some(largest) = weights.values_mut().max() else { break };
        *largest -= surplus.min(*largest);
    }
    weights.retain(|_, weight| *weight > 0);
    // The weights leave stable what is held back, so a table always exists.
    evolve(now, &weights).unwrap_or_else(|_| now.clone())
}

/// The lanes that would get more than they have, with what they would get.
fn raised(now: &SlotTable, wanted: &BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    let have = now.weights();
    let lanes = wanted.iter().filter(|(lane, weight)| {
        *lane != graylane_policy::slots::STABLE && have.get(*lane).copied().unwrap_or(0) < **weight
    });
    lanes.map(|(lane, weight)| (lane.clone(), *weight)).collect()
}
