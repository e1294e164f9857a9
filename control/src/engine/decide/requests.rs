//! What a person asked for. Each request is handled once; one that makes no sense now is answered in the
//! history and forgotten.

use super::Machine;
use crate::engine::refusal::Standing;
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
        // Whether Argo Rollouts has made the new version stable, only who can read the spec can see.
        let is_untouched = self.status.may_take_back_handover() && self.status.rollouts.is_empty();
        let moves = matches!(self.status.phase, Phase::Progressing | Phase::Paused);
        match request.verb {
            Verb::Abort | Verb::Undo if moves || is_untouched => self.roll_back("Aborted", "asked for by `abort`"),
            verb => self.note("Ignored", format!("`{}`: the release has to be mended first", verb.name())),
        }
    }

    fn new_request(&self) -> Option<Request> {
        let request = self.seen.request.as_ref()?;
        (request.id != self.status.handled_request).then(|| request.clone())
    }

    fn carry_out(&mut self, request: &Request) -> Result<(), String> {
        let step = self.status.step;
        if request.verb == Verb::Promote && request.step.is_some_and(|seen| seen != step) {
            return Err(format!("it was meant for another step than {}", step + 1));
        }
        let standing = Standing { status: &self.status, paused: self.seen.paused, leader: self.leader };
        if let Some(reason) = standing.refusal(request.verb) {
            return Err(reason);
        }
        match request.verb {
            Verb::Promote if self.status.phase == Phase::Promoting => self.pass_stage(),
            Verb::Promote => self.promote(),
            Verb::PromoteFull => self.promote_fully(),
            Verb::Pause => self.pause_as_asked(),
            Verb::Resume => self.resume(),
            Verb::Retry => self.retry(),
            Verb::Undo if self.status.has_given() => self.undo(),
            Verb::Abort | Verb::Undo => return self.abort(request.verb),
        }
        Ok(())
    }

    fn promote(&mut self) {
        self.end_pause();
        if self.status.step >= self.status.steps {
            // Unverified at its last weight: what is left is to believe the person.
            self.status.full = true;
        }
        self.go_to_step((self.status.step + 1).min(self.status.steps));
        self.note("Promoted", "the wait was ended by `promote`");
    }

    /// A person may say that stable has the new version, or that a proxy need not be waited for.
    fn pass_stage(&mut self) {
        let stage = self.status.handover.as_ref().map(|handover| handover.stage).unwrap_or_default();
        let next = match stage {
            HandoverStage::Copying => HandoverStage::Updating,
            // Refused: stable has to be ready first.
            HandoverStage::Updating => return,
            HandoverStage::Emptying => {
                self.status.exposure = Exposure::Absent;
                HandoverStage::Retiring
            }
            HandoverStage::Retiring | HandoverStage::Done => HandoverStage::Done,
        };
        self.note("Promoted", "the handover was told to go on by `promote`");
        self.go_to_stage(next);
    }

    fn promote_fully(&mut self) {
        self.status.full = true;
        if self.status.phase == Phase::Paused {
            self.end_pause();
        }
        self.note("Promoted", "goes to its last weight without further waits");
    }

    fn pause_as_asked(&mut self) {
        // A wait of a step begins again afterwards.
        self.status.pause = None;
        self.pause(PauseReason::Asked, "asked for by `pause`", None);
    }

    fn resume(&mut self) {
        let reason = self.status.pause.as_ref().map(|pause| pause.reason);
        self.end_pause();
        if reason == Some(PauseReason::Step) {
            self.go_to_step(self.status.step + 1);
            return self.note("Resumed", "the wait was ended by `resume`");
        }
        if matches!(reason, Some(PauseReason::Judgement | PauseReason::Failure)) {
            // What was counted until now led here; whoever resumes has done something about it.
            self.status.judged_since_ms = self.now;
            self.status.analysis.clear();
            self.status.failure = None;
        }
        self.go_to_step(self.status.step);
        self.note("Resumed", "goes on where it was");
    }

    /// A Rollout that Argo has promoted cannot be given back by us, and no status says so.
    fn abort(&mut self, verb: Verb) -> Result<(), String> {
        if self.status.phase == Phase::Promoting && self.has_promoted_rollout() {
            let mend = "`kubectl argo rollouts undo` gives the old one back";
            return Err(format!("Argo Rollouts has made the new version stable; {mend}"));
        }
        self.roll_back("Aborted", format!("asked for by `{}`", verb.name()));
        Ok(())
    }

    fn retry(&mut self) {
        self.status.phase = Phase::Pending;
        self.status.handover = None;
        self.note("Retried", "begins again");
    }

    fn undo(&mut self) {
        // The lane leaves with the same change: both sides are about to run the old version.
        self.status.exposure = Exposure::Absent;
        self.status.set_table(&graylane_policy::slots::SlotTable::all_stable());
        self.begin_handover(true);
        self.note("Undo", "stable workloads get their old version back");
    }
}
