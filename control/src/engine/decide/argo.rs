//! Members whose pods Argo Rollouts makes.
//!
//! Who writes what is fixed. Argo Rollouts makes replica sets, points the subsets of the DestinationRule at
//! them and says which version is stable; graylane alone sends requests to a version. Of a Rollout, graylane
//! writes what `kubectl argo rollouts` would: that it is aborted, when the release was taken back, and, where
//! graylane leads, that it is promoted. Where Argo leads, its steps give the weight.

use std::collections::BTreeMap;

use super::{Action, Machine};
use crate::engine::rollout::{Rollout, RolloutState, RolloutStatus};
use crate::engine::status::{HandoverStage, Phase, WaitReason};
use crate::release::Release;
use crate::release::plan::PromotionStrategy;

// === impl Machine ===

impl Machine<'_> {
    /// Before an attempt: whether a Rollout has no new version yet.
    pub(super) fn awaits_new_version(&mut self, release: &Release) -> bool {
        if release.plan.promotion != PromotionStrategy::Argo {
            return false;
        }
        let without = self.seen.rollouts.values().filter(|rollout| !rollout.has_new_version());
        let names: Vec<&str> = without.map(|rollout| rollout.name.as_str()).collect();
        if names.is_empty() && !self.seen.rollouts.is_empty() {
            return false;
        }
        let message = match names.as_slice() {
            [] => "there is no Rollout".into(),
            names => format!("Rollout {} has no new version beside its stable one", names.join(", ")),
        };
        self.wait(WaitReason::Rollout, message);
        true
    }

    /// Remembers which versions an attempt is about.
    pub(super) fn note_versions(&mut self) {
        let of = |(service, rollout): (&String, &Rollout)| {
            let (name, version) = (rollout.name.clone(), rollout.newest.clone());
            (service.clone(), RolloutStatus { name, version, abort: false })
        };
        self.status.rollouts = self.seen.rollouts.iter().map(of).collect();
    }

    /// Takes up what has become of the Rollouts by themselves. True when that ends the way of the release
    /// for now.
    pub(super) fn heed_rollouts(&mut self, release: &Release) -> bool {
        let is_before = self.status.handover.as_ref().is_none_or(|one| one.stage == HandoverStage::Copying);
        if !is_before || self.status.rollouts.is_empty() {
            return false;
        }
        for (service, noted) in self.status.rollouts.clone() {
            let Some(rollout) = self.seen.rollouts.get(&service) else { continue };
            let (name, message) = (&rollout.name, &rollout.message);
            match rollout.state {
                RolloutState::Unseen => continue,
                RolloutState::Aborted => {
                    self.roll_back("RolloutAborted", format!("Argo Rollouts aborted {name}: {message}"));
                }
                RolloutState::Degraded => {
                    self.roll_back("RolloutDegraded", format!("Rollout {name} is degraded: {message}"));
                }
                _ if rollout.newest == noted.version => continue,
                _ if rollout.newest == rollout.stable => {
                    self.roll_back("RolloutReverted", format!("Rollout {name} was given its stable version again"));
                }
                _ => {
                    self.note("NewVersion", format!("Rollout {name} was given another version; this begins again"));
                    self.start_attempt(release);
                }
            }
            return true;
        }
        self.status.phase != Phase::Promoting && self.heed_promotion(release)
    }

    /// Argo has promoted by itself what it leads, or what somebody told it to.
    fn heed_promotion(&mut self, release: &Release) -> bool {
        let leading = self
            .status
            .rollouts
            .iter()
            .filter(|(_, noted)| release.plan.leader.as_ref().is_none_or(|leader| *leader == noted.name));
        let mut leading = leading.peekable();
        let promoted = |(service, noted): (&String, &RolloutStatus)| {
            self.seen.rollouts.get(service).is_some_and(|rollout| rollout.has_promoted(&noted.version))
        };
        if leading.peek().is_none() || !leading.all(promoted) {
            return false;
        }
        self.begin_handover(false);
        self.note("Handover", "Argo Rollouts has made the new version stable");
        true
    }

    /// Where Argo leads: brings the weight to where its steps are.
    pub(super) fn follow(&mut self, release: &Release, leader: &str) {
        if self.is_held() {
            return;
        }
        let found = self.seen.rollouts.values().find(|rollout| rollout.name == leader);
        let Some(rollout) = found.filter(|rollout| rollout.state != RolloutState::Unseen) else {
            return self.wait(WaitReason::Rollout, format!("Argo Rollouts says nothing of Rollout {leader}"));
        };
        (self.status.step, self.status.steps) = (rollout.step, rollout.steps);
        let weights = BTreeMap::from([(release.plan.promoted.clone(), rollout.weight)]);
        if !self.is_at(release, &weights) {
            return self.weigh_to(release, &weights);
        }
        match self.status.waiting.as_ref().map(|waiting| waiting.reason) {
            Some(WaitReason::Acknowledgement) if !self.is_taken_up(release) => self.await_proxies(release),
            // Proxies come and go: only a change is waited for.
            _ => self.status.waiting = None,
        }
    }

    /// The Rollouts whose new version is not stable yet are told to make it so. True when there are any.
    pub(super) fn promote_rollouts(&mut self, release: &Release) -> bool {
        if release.plan.promotion != PromotionStrategy::Argo {
            return false;
        }
        let behind = |service: &&String, noted: &RolloutStatus| {
            self.seen.rollouts.get(*service).is_none_or(|rollout| !rollout.has_promoted(&noted.version))
        };
        let all = self.status.rollouts.iter().filter(|(service, noted)| behind(service, noted));
        let services: Vec<String> = all.map(|(service, _)| service.clone()).collect();
        if services.is_empty() {
            return false;
        }
        self.wait(WaitReason::Stable, format!("Argo Rollouts makes the new version stable: {}", services.join(", ")));
        self.actions.extend(services.into_iter().map(|service| Action::PromoteRollout { service }));
        true
    }

    /// The Rollouts that have made their new version stable and are not done with it.
    pub(super) fn unsettled_rollouts(&self) -> Vec<String> {
        let unsettled = self.status.rollouts.keys().filter(|service| {
            self.seen.rollouts.get(*service).is_none_or(|rollout| rollout.state != RolloutState::Settled)
        });
        unsettled.cloned().collect()
    }

    /// Whether the new version of a Rollout is stable, so that nothing can be taken back any more.
    pub(super) fn has_promoted_rollout(&self) -> bool {
        let promoted = |(service, noted): (&String, &RolloutStatus)| {
            self.seen.rollouts.get(service).is_some_and(|rollout| rollout.has_promoted(&noted.version))
        };
        self.status.rollouts.iter().any(promoted)
    }

    /// After a rollback nobody may promote what was taken back: the Rollouts are aborted, until it is seen.
    pub(super) fn abort_rollouts(&mut self) {
        let is_back = matches!(self.status.phase, Phase::RollingBack | Phase::RolledBack);
        for (service, noted) in self.status.rollouts.iter_mut().filter(|(_, noted)| noted.abort) {
            // What is not known now will be.
            let Some(rollout) = self.seen.rollouts.get(service) else { continue };
            if is_back && rollout.state == RolloutState::Unseen {
                continue;
            }
            let is_ours = rollout.newest == noted.version && rollout.newest != rollout.stable;
            noted.abort = is_back && is_ours && rollout.state != RolloutState::Aborted;
            if noted.abort {
                self.actions.push(Action::AbortRollout { service: service.clone() });
            }
        }
    }

    /// A release that Argo leads and that has ended begins again with what Argo begins: a new version, or
    /// one that is tried again.
    pub(super) fn begin_again(&mut self, release: &Release) {
        let Some(leader) = &release.plan.leader else { return };
        let mut noted = self.status.rollouts.iter().filter(|(_, noted)| noted.name == *leader && !noted.abort);
        let Some((service, _)) = noted.next() else { return };
        let Some(rollout) = self.seen.rollouts.get(service).filter(|rollout| rollout.has_new_version()) else { return };
        let message = format!("Rollout {} brings {}", rollout.name, rollout.newest);
        self.status.phase = Phase::Pending;
        self.status.handover = None;
        self.note("Retried", message);
    }
}
