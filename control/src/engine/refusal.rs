//! Which requests make no sense for a release as it stands, and what would.
//!
//! The engine answers by this. Whoever asks on behalf of a person looks here first, which spares the wait
//! for a refusal that is certain.

use super::request::Verb;
use super::status::{HandoverStage, PauseReason, Phase, Status};

/// What decides whether a request makes sense.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// What the release has come to.
    pub status: &'a Status,
    /// `spec.paused`.
    pub paused: bool,
    /// The Rollout that leads, if one does.
    pub leader: Option<&'a str>,
}

// === impl Standing ===

impl Standing<'_> {
    /// Why a request makes no sense now, and what would; nothing if it may be made.
    pub fn refusal(&self, verb: Verb) -> Option<String> {
        match verb {
            Verb::Promote => self.promote(),
            Verb::PromoteFull => self.led().or_else(|| self.promote_fully()),
            Verb::Pause => self.led().or_else(|| self.pause()),
            Verb::Resume => self.resume(),
            Verb::Abort => self.abort(),
            Verb::Retry => self.retry(),
            Verb::Undo => self.undo(),
        }
    }

    /// Argo Rollouts would go on by itself whatever is said here.
    fn led(&self) -> Option<String> {
        let leader = self.leader.filter(|_| matches!(self.status.phase, Phase::Progressing | Phase::Paused))?;
        Some(format!("Rollout {leader} leads; ask it by `kubectl argo rollouts`"))
    }

    fn promote(&self) -> Option<String> {
        match (self.status.phase, self.reason()) {
            (Phase::Paused, Some(PauseReason::Step | PauseReason::Gate | PauseReason::Unverified)) => None,
            (Phase::Paused, _) => Some("it is paused; `resume` ends that".into()),
            (Phase::Progressing, _) => Some("it goes on by itself; `promote --full` goes to the end".into()),
            (Phase::Promoting, _) if self.stage() == HandoverStage::Updating => {
                Some(format!("stable has to be ready first{}", self.because()))
            }
            _ => self.over(),
        }
    }

    fn promote_fully(&self) -> Option<String> {
        match self.status.phase {
            Phase::Promoting => Some("it is past its last step".into()),
            _ => self.over(),
        }
    }

    fn pause(&self) -> Option<String> {
        match (self.status.phase, self.reason()) {
            (Phase::Paused, Some(PauseReason::Asked)) => {
                Some("somebody has paused it already; `resume` lets it go on".into())
            }
            (Phase::Promoting, _) => Some("it is past its last step, and the handover does not pause".into()),
            _ => self.over(),
        }
    }

    fn resume(&self) -> Option<String> {
        match (self.status.phase, self.reason()) {
            (Phase::Paused, Some(PauseReason::Gate | PauseReason::Unverified)) => {
                Some("it waits to be confirmed; `promote` does that".into())
            }
            (Phase::Paused, _) if self.paused => Some("`spec.paused` holds it; take that out of the release".into()),
            (Phase::Paused, _) => None,
            _ => self.over().or_else(|| Some("it is not paused".into())),
        }
    }

    /// Until stable has been given anything, everything can be taken back at once.
    fn abort(&self) -> Option<String> {
        match self.status.phase {
            Phase::Promoting if self.stage() > HandoverStage::Copying || self.status.has_given() => {
                Some("stable has the new version already; `undo` gives the old one back".into())
            }
            _ => self.over(),
        }
    }

    fn retry(&self) -> Option<String> {
        match self.status.phase {
            Phase::RolledBack | Phase::Succeeded => None,
            Phase::RollingBack => Some("it is still returning to stable; `status` waits for the end".into()),
            _ => Some("it has not come to an end; `abort` ends it".into()),
        }
    }

    fn undo(&self) -> Option<String> {
        match self.status.phase {
            Phase::Promoting | Phase::Succeeded if self.status.has_given() => None,
            Phase::Succeeded => Some("it did not change the stable workloads; whoever did has to".into()),
            Phase::Promoting if self.stage() > HandoverStage::Copying => {
                Some("it did not change the stable workloads; whoever did has to".into())
            }
            _ => self.over(),
        }
    }

    fn reason(&self) -> Option<PauseReason> {
        self.status.pause.as_ref().map(|pause| pause.reason)
    }

    fn stage(&self) -> HandoverStage {
        self.status.handover.as_ref().map(|handover| handover.stage).unwrap_or_default()
    }

    /// What no request but `retry` can change.
    fn over(&self) -> Option<String> {
        match self.status.phase {
            Phase::Succeeded => Some("it has succeeded: stable runs the new version; `retry` begins again".into()),
            Phase::RolledBack => Some("it was rolled back; `retry` begins again".into()),
            Phase::RollingBack => Some("it is returning to stable".into()),
            Phase::Invalid => Some(format!("it is refused{}", self.because())),
            Phase::Pending => Some(format!("nothing has moved yet{}", self.because())),
            Phase::Progressing | Phase::Paused | Phase::Promoting => None,
        }
    }

    fn because(&self) -> String {
        let waiting = self.status.waiting.as_ref().map(|waiting| waiting.message.as_str());
        match waiting.unwrap_or(&self.status.message) {
            "" => String::new(),
            message => format!(": {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(status: Value) -> Status {
        serde_json::from_value(status).unwrap()
    }

    /// The verbs that may be asked, by name.
    fn open(phase: Value) -> Vec<&'static str> {
        open_if_led(phase, None)
    }

    fn open_if_led(phase: Value, leader: Option<&str>) -> Vec<&'static str> {
        let all = [Verb::Promote, Verb::PromoteFull, Verb::Pause, Verb::Resume, Verb::Abort, Verb::Retry, Verb::Undo];
        let standing = Standing { status: &status(phase), paused: false, leader };
        all.into_iter().filter(|verb| standing.refusal(*verb).is_none()).map(Verb::name).collect()
    }

    fn paused(reason: &str) -> Value {
        json!({"phase": "Paused", "pause": {"reason": reason, "message": "", "sinceMs": 1}})
    }

    #[test]
    fn each_phase_takes_what_makes_sense_there() {
        assert_eq!(open(json!({"phase": "Progressing"})), ["promote --full", "pause", "abort", "undo"]);
        assert_eq!(open(json!({"phase": "RolledBack"})), ["retry"]);
        assert_eq!(open(json!({"phase": "Succeeded"})), ["retry"]);
        for phase in ["Pending", "Invalid", "RollingBack"] {
            assert!(open(json!({"phase": phase})).is_empty(), "{phase}");
        }
    }

    #[test]
    fn a_pause_is_ended_by_what_ends_its_reason() {
        let of = |reason| open(paused(reason));
        assert_eq!(of("Step"), ["promote", "promote --full", "pause", "resume", "abort", "undo"]);
        assert_eq!(of("Gate"), ["promote", "promote --full", "pause", "abort", "undo"]);
        assert_eq!(of("Asked"), ["promote --full", "resume", "abort", "undo"]);
        for reason in ["Failure", "Judgement"] {
            assert_eq!(of(reason), ["promote --full", "pause", "resume", "abort", "undo"], "{reason}");
        }
    }

    #[test]
    fn what_a_rollout_leads_is_asked_of_the_rollout() {
        assert_eq!(open_if_led(json!({"phase": "Progressing"}), Some("orders")), ["abort", "undo"]);
        let led = Standing { status: &status(json!({"phase": "Paused"})), paused: false, leader: Some("orders") };
        assert!(led.refusal(Verb::Pause).unwrap().contains("Rollout orders leads"));
    }

    #[test]
    fn a_handover_is_told_to_go_on_and_taken_back_once_stable_was_changed() {
        let of = |stage, revisions: Value| {
            let handover = json!({"stage": stage, "revisions": revisions});
            open(json!({"phase": "Promoting", "handover": handover}))
        };
        assert_eq!(of("Copying", json!({})), ["promote", "abort", "undo"]);
        assert_eq!(of("Copying", json!({"orders": "5d4"})), ["promote", "undo"]);
        assert_eq!(of("Updating", json!({"orders": "5d4"})), ["undo"]);
        assert!(of("Updating", json!({})).is_empty());
        assert_eq!(of("Emptying", json!({})), ["promote"]);
    }

    #[test]
    fn only_a_version_that_it_gave_can_be_taken_back() {
        let handover = json!({"stage": "Done", "revisions": {"orders": "4"}});
        assert_eq!(open(json!({"phase": "Succeeded", "handover": handover})), ["retry", "undo"]);
    }

    #[test]
    fn a_pause_of_the_spec_is_not_resumed_by_a_request() {
        let held = Standing { status: &status(paused("Asked")), paused: true, leader: None };
        let reason = held.refusal(Verb::Resume).unwrap();
        assert!(reason.contains("spec.paused"), "{reason}");
    }
}
