//! The handover: stable becomes the new version, then the lane goes.
//!
//! Until the stable workloads are ready with it, requests stay in the lane, which has the capacity. From
//! then on both sides run the same version, and it no longer matters which one serves.

use std::collections::BTreeMap;

use graylane_policy::slots::SlotTable;

use super::leave::Leave;
use super::{Action, Machine, gates};
use crate::engine::seen::Workload;
use crate::engine::status::{Exposure, HandoverStage, Phase, WaitReason};
use crate::release::Release;
use crate::release::plan::PromotionStrategy;
use crate::release::units::WHOLE;

// === impl Machine ===

impl Machine<'_> {
    pub(super) fn hand_over(&mut self, release: &Release) {
        if self.seen.stopped {
            return self.wait_for_stop();
        }
        match self.stage() {
            HandoverStage::Copying => self.copy(release),
            HandoverStage::Updating => self.update(release),
            HandoverStage::Emptying => self.empty(),
            HandoverStage::Retiring => self.retire(),
            HandoverStage::Done => self.succeed(),
        }
    }

    fn stage(&self) -> HandoverStage {
        self.status.handover.as_ref().map(|handover| handover.stage).unwrap_or_default()
    }

    pub(super) fn go_to_stage(&mut self, stage: HandoverStage) {
        if let Some(handover) = &mut self.status.handover {
            handover.stage = stage;
        }
        self.status.waiting = None;
        self.status.step_since_ms = self.now;
    }

    fn copy(&mut self, release: &Release) {
        if !self.is_undo() && self.promote_rollouts(release) {
            return;
        }
        let services = self.copied_services(release);
        let workload = |service: &String| Some((service.clone(), self.seen.workloads.get(service)?.clone()));
        let workloads: BTreeMap<String, Workload> = services.iter().filter_map(workload).collect();
        if let Some(unknown) = services.iter().find(|service| !workloads.contains_key(*service)) {
            let message = format!("the stable workload of {unknown} cannot be found");
            return self.wait(WaitReason::Stable, message);
        }
        if workloads.values().all(|workload| workload.has_template) {
            self.note("Copied", "every stable workload has the new template");
            self.go_to_stage(HandoverStage::Updating);
            return self.update(release);
        }
        if self.is_undo() {
            return self.restore_revisions(&workloads);
        }
        if release.plan.promotion != PromotionStrategy::CopyTemplate {
            let message = "bring the new version to the stable workloads, or say by `promote` that they have it";
            return self.wait(WaitReason::ManualHandover, message.into());
        }
        // What stable had is kept before it is changed, so that `undo` finds it whatever happens.
        let Some(handover) = &mut self.status.handover else { return };
        for (service, workload) in &workloads {
            if !workload.has_template && !workload.revision.is_empty() {
                handover.revisions.entry(service.clone()).or_insert_with(|| workload.revision.clone());
            }
        }
        let missing = workloads.iter().filter(|(_, workload)| !workload.has_template);
        let actions = missing.map(|(service, _)| Action::CopyTemplate { service: service.clone() });
        self.actions.extend(actions);
        self.wait(WaitReason::Stable, "stable workloads are given the new version".into());
    }

    fn restore_revisions(&mut self, workloads: &BTreeMap<String, Workload>) {
        let Some(handover) = &self.status.handover else { return };
        let wrong = handover
            .revisions
            .iter()
            .filter(|(service, _)| workloads.get(*service).is_some_and(|workload| !workload.has_template));
        let actions: Vec<Action> = wrong
            .map(|(service, revision)| Action::Restore { service: service.clone(), revision: revision.clone() })
            .collect();
        self.actions.extend(actions);
        self.wait(WaitReason::Stable, "stable workloads get their old version back".into());
    }

    pub(super) fn is_undo(&self) -> bool {
        self.status.handover.as_ref().is_some_and(|handover| handover.undo)
    }

    fn update(&mut self, release: &Release) {
        let mut behind = self.unsettled_rollouts();
        let copied = self.copied_services(release).into_iter();
        behind.extend(
            copied.filter(|service| self.seen.workloads.get(service).is_none_or(|workload| !workload.rolled_out)),
        );
        let short = gates::short_stable(self.seen);
        if !behind.is_empty() {
            return self.wait(WaitReason::Stable, format!("stable is being updated: {}", behind.join(", ")));
        }
        if !short.is_empty() {
            return self.wait(WaitReason::Stable, short);
        }
        if self.is_undo() {
            return self.end_undo(release);
        }
        self.note("Updated", "stable runs the new version and is ready");
        self.status.exposure = Exposure::Draining;
        self.status.set_table(&SlotTable::all_stable());
        self.go_to_stage(HandoverStage::Emptying);
        self.wait(WaitReason::Acknowledgement, "the change is on its way to the proxies".into());
    }

    /// An undo in the middle of a handover has taken users out of the lanes, so it ends as an abort does. After a
    /// handover nobody was in one.
    fn end_undo(&mut self, release: &Release) {
        let left_ms = self.status.handover.as_ref().map_or(0, |handover| handover.lanes_left_ms);
        let leave = if left_ms == 0 { Leave::Confirmed } else { self.leave(left_ms, Some(release)) };
        let message = "stable has its old version again";
        let message = match leave {
            Leave::Awaited => return,
            Leave::Confirmed => message.into(),
            Leave::Unconfirmed(missing) => format!("{message}; that the lanes are gone was {missing}"),
        };
        self.status.phase = Phase::RolledBack;
        self.status.handover = None;
        self.status.waiting = None;
        self.note("Undone", message);
    }

    fn empty(&mut self) {
        if !self.has_arrived() {
            return;
        }
        self.note("Emptied", "no request is put in a lane any more");
        self.status.exposure = Exposure::Absent;
        self.go_to_stage(HandoverStage::Retiring);
        self.wait(WaitReason::Acknowledgement, "the change is on its way to the proxies".into());
    }

    fn retire(&mut self) {
        if self.has_arrived() {
            self.go_to_stage(HandoverStage::Done);
            self.succeed();
        }
    }

    /// A proxy that has not heard of it may still use the lane, so this waits, and a person can pass it.
    fn has_arrived(&mut self) -> bool {
        let arrived = self.seen.arrival.reaches(WHOLE);
        if !arrived {
            self.wait(WaitReason::Acknowledgement, gates::missing(&self.seen.arrival));
        }
        arrived
    }

    pub(super) fn succeed(&mut self) {
        self.status.phase = Phase::Succeeded;
        self.status.waiting = None;
        self.note("Succeeded", "stable runs the new version, the lane can be removed");
    }

    /// The services that have a version in the promoted lane, without those whose Rollout makes it stable.
    fn copied_services(&self, release: &Release) -> Vec<String> {
        let members = release.members.iter().filter(|member| member.lanes.contains(&release.plan.promoted));
        let services = members.map(|member| &member.service);
        services.filter(|service| !self.status.rollouts.contains_key(*service)).cloned().collect()
    }
}
