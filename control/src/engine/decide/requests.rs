//! What a person asked for. Each request is handled once; one that makes no sense now is answered in the
//! history and forgotten.

use super::Machine;
use crate::engine::request::{Request, Verb};
use crate::engine::status::{Exposure, HandoverStage, PauseReason, Phase};

// === impl Machine ===

impl Machine<'_> {
    pub(super) fn answer(&mut self) {
        let Some(request) = self.new_request() else { return };
        self.status.handled_request = request.id.clone();
        if let Err(reason) = self.carry_out(&request) {
            self.note("Ignored", format!("`{}`: {reason}", request.verb.name()));
        }
    }

    /// Of a release that cannot be read, only taking it back can be asked.
    pub(super) fn answer_abort(&mut self) {
        let Some(request) = self.new_request() else { return };
        self.status.handled_request = request.id.clone();
        let moves = matches!(self.status.phase, Phase::Progressing | Phase::Paused);
        match request.verb {
            Verb::Abort | Verb::Undo if moves => self.roll_back("Aborted", "asked for by `abort`"),
            verb => self.note("Ignored", format!("`{}`: the release has to be mended first", verb.name())),
        }
    }

    fn new_request(&self) -> Option<Request> {
        let request = self.seen.request.as_ref()?;
        (request.id != self.status.handled_request).then(|| request.clone())
    }

    fn carry_out(&mut self, request: &Request) -> Result<(), String> {
        let moves = matches!(self.status.phase, Phase::Progressing | Phase::Paused);
        if let (Some(leader), true, Verb::Pause | Verb::PromoteFull) = (self.leader, moves, request.verb) {
            return Err(format!("Rollout {leader} leads; ask it by `kubectl argo rollouts`"));
        }
        match request.verb {
            Verb::Promote => self.promote(request.step),
            Verb::PromoteFull => self.promote_fully(),
            Verb::Pause => self.pause_as_asked(),
            Verb::Resume => self.resume(),
            Verb::Abort => self.abort("asked for by `abort`"),
            Verb::Retry => self.retry(),
            Verb::Undo => self.undo(),
        }
    }

    fn promote(&mut self, step: Option<u32>) -> Result<(), String> {
        if step.is_some_and(|step| step != self.status.step) {
            return Err(format!("it was meant for another step than {}", self.status.step + 1));
        }
        let reason = self.status.pause.as_ref().map(|pause| pause.reason);
        match (self.status.phase, reason) {
            (Phase::Paused, Some(PauseReason::Step | PauseReason::Gate | PauseReason::Unverified)) => {
                self.end_pause();
                if self.status.step >= self.status.steps {
                    // Unverified at its last weight: what is left is to believe the person.
                    self.status.full = true;
                }
                self.go_to_step((self.status.step + 1).min(self.status.steps));
                self.note("Promoted", "the wait was ended by `promote`");
                Ok(())
            }
            (Phase::Paused, _) => Err("it is paused; `resume` ends that".into()),
            (Phase::Promoting, _) => self.pass_stage(),
            (Phase::Progressing, _) => Err("it goes on by itself; `promote --full` goes to the end".into()),
            (phase, _) => Err(format!("it is {phase:?}")),
        }
    }

    /// A person may say that stable has the new version, or that a proxy need not be waited for.
    fn pass_stage(&mut self) -> Result<(), String> {
        let Some(handover) = &self.status.handover else { return Err("there is no handover".into()) };
        let next = match handover.stage {
            HandoverStage::Copying => HandoverStage::Updating,
            HandoverStage::Updating => return Err("stable has to be ready first".into()),
            HandoverStage::Emptying => {
                self.status.exposure = Exposure::Absent;
                HandoverStage::Retiring
            }
            HandoverStage::Retiring | HandoverStage::Done => HandoverStage::Done,
        };
        self.note("Promoted", "the handover was told to go on by `promote`");
        self.go_to_stage(next);
        Ok(())
    }

    fn promote_fully(&mut self) -> Result<(), String> {
        match self.status.phase {
            Phase::Progressing | Phase::Paused => {
                self.status.full = true;
                if self.status.phase == Phase::Paused {
                    self.end_pause();
                }
                self.note("Promoted", "goes to its last weight without further waits");
                Ok(())
            }
            phase => Err(format!("it is {phase:?}")),
        }
    }

    fn pause_as_asked(&mut self) -> Result<(), String> {
        match self.status.phase {
            Phase::Progressing | Phase::Paused => {
                // A wait of a step begins again afterwards.
                self.status.pause = None;
                self.pause(PauseReason::Asked, "asked for by `pause`", None);
                Ok(())
            }
            phase => Err(format!("it is {phase:?}")),
        }
    }

    fn resume(&mut self) -> Result<(), String> {
        let reason = self.status.pause.as_ref().map(|pause| pause.reason);
        match (self.status.phase, reason) {
            (Phase::Paused, Some(PauseReason::Gate | PauseReason::Unverified)) => {
                Err("it waits to be confirmed; `promote` does that".into())
            }
            (Phase::Paused, _) if self.seen.paused => Err("spec.paused is set; take that away".into()),
            (Phase::Paused, Some(PauseReason::Step)) => {
                self.end_pause();
                self.go_to_step(self.status.step + 1);
                self.note("Resumed", "the wait was ended by `resume`");
                Ok(())
            }
            (Phase::Paused, reason) => {
                self.end_pause();
                if matches!(reason, Some(PauseReason::Judgement | PauseReason::Failure)) {
                    // What was counted until now led here; whoever resumes has done something about it.
                    self.status.judged_since_ms = self.now;
                    self.status.analysis.clear();
                    self.status.failure = None;
                }
                self.go_to_step(self.status.step);
                self.note("Resumed", "goes on where it was");
                Ok(())
            }
            (phase, _) => Err(format!("it is {phase:?}")),
        }
    }

    fn abort(&mut self, why: &str) -> Result<(), String> {
        let begun = self.status.handover.as_ref().is_some_and(|handover| handover.stage > HandoverStage::Copying);
        match self.status.phase {
            Phase::Progressing | Phase::Paused => {
                self.roll_back("Aborted", why);
                Ok(())
            }
            // Nobody's stable has changed yet, or what has changed is told by `undo`.
            Phase::Promoting if !begun && !self.has_copied() && !self.has_promoted_rollout() => {
                self.status.handover = None;
                self.roll_back("Aborted", why);
                Ok(())
            }
            Phase::Promoting => Err("stable has the new version already; `undo` gives the old one back".into()),
            Phase::Pending | Phase::Invalid => Err("nothing has moved; delete the release".into()),
            phase => Err(format!("it is {phase:?}")),
        }
    }

    fn has_copied(&self) -> bool {
        let given = self.status.handover.as_ref().map(|handover| &handover.revisions);
        given.is_some_and(|revisions| !revisions.is_empty())
    }

    fn retry(&mut self) -> Result<(), String> {
        match self.status.phase {
            Phase::RolledBack | Phase::Succeeded => {
                self.status.phase = Phase::Pending;
                self.status.handover = None;
                self.note("Retried", "begins again");
                Ok(())
            }
            phase => Err(format!("it is {phase:?}; `retry` is for a release that has ended")),
        }
    }

    fn undo(&mut self) -> Result<(), String> {
        match self.status.phase {
            Phase::Progressing | Phase::Paused => self.abort("asked for by `undo`"),
            Phase::Promoting | Phase::Succeeded if self.has_copied() => {
                // The lane leaves with the same change: both sides are about to run the old version.
                self.status.exposure = Exposure::Absent;
                self.status.set_table(&graylane_policy::slots::SlotTable::all_stable());
                self.begin_handover(true);
                self.note("Undo", "stable workloads get their old version back");
                Ok(())
            }
            Phase::Promoting => self.abort("asked for by `undo`"),
            Phase::Succeeded => Err("it did not change the stable workloads; whoever did has to".into()),
            phase => Err(format!("it is {phase:?}")),
        }
    }
}
