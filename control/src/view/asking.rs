//! Which requests make no sense for a release as it stands, said before they are made.
//!
//! The engine decides in the end, by what it sees when the request reaches it; this only spares a
//! person the wait for a refusal that is certain.

use super::kept::Kept;
use crate::engine::request::Verb;
use crate::engine::status::{HandoverStage, PauseReason, Phase};

/// Why a request makes no sense now, and what would; nothing if it may be made.
pub fn refusal(verb: Verb, kept: &Kept) -> Option<String> {
    if kept.deleting {
        return Some("it is being deleted; what it has in lanes returns to stable".into());
    }
    match verb {
        Verb::Promote => promote(kept),
        Verb::PromoteFull => promote_fully(kept),
        Verb::Pause => pause(kept),
        Verb::Resume => resume(kept),
        Verb::Abort => abort(kept),
        Verb::Retry => retry(kept),
        Verb::Undo => undo(kept),
    }
}

fn promote(kept: &Kept) -> Option<String> {
    match (kept.status.phase, reason(kept)) {
        (Phase::Paused, Some(PauseReason::Asked | PauseReason::Failure)) => {
            Some("it is paused; `resume` ends that".into())
        }
        (Phase::Progressing, _) => Some("it goes on by itself; `promote --full` goes to the end".into()),
        (Phase::Promoting, _) if stage(kept) == HandoverStage::Updating => {
            Some(format!("stable has to be ready first{}", because(kept)))
        }
        _ => over(kept),
    }
}

fn promote_fully(kept: &Kept) -> Option<String> {
    match kept.status.phase {
        Phase::Promoting => Some("it is past its last step".into()),
        _ => over(kept),
    }
}

fn pause(kept: &Kept) -> Option<String> {
    match (kept.status.phase, reason(kept)) {
        (Phase::Paused, Some(PauseReason::Asked)) => {
            Some("somebody has paused it already; `resume` lets it go on".into())
        }
        (Phase::Promoting, _) => Some("it is past its last step, and the handover does not pause".into()),
        _ => over(kept),
    }
}

fn resume(kept: &Kept) -> Option<String> {
    match (kept.status.phase, reason(kept)) {
        (Phase::Paused, Some(PauseReason::Gate | PauseReason::Unverified)) => {
            Some("it waits to be confirmed; `promote` does that".into())
        }
        (Phase::Paused, _) if kept.spec.as_ref().is_some_and(|spec| spec.paused) => {
            Some("`spec.paused` holds it; take that out of the release".into())
        }
        (Phase::Paused, _) => None,
        _ => over(kept).or_else(|| Some("it is not paused".into())),
    }
}

/// Until stable has been given anything, everything can be taken back at once.
fn abort(kept: &Kept) -> Option<String> {
    match kept.status.phase {
        Phase::Promoting if stage(kept) > HandoverStage::Copying || has_given(kept) => {
            Some("stable has the new version already; `undo` gives the old one back".into())
        }
        _ => over(kept),
    }
}

fn retry(kept: &Kept) -> Option<String> {
    match kept.status.phase {
        Phase::RolledBack | Phase::Succeeded => None,
        Phase::RollingBack => Some("it is still returning to stable; `status` waits for the end".into()),
        _ => Some("it has not come to an end; `abort` ends it".into()),
    }
}

fn undo(kept: &Kept) -> Option<String> {
    match kept.status.phase {
        Phase::Promoting | Phase::Succeeded if has_given(kept) => None,
        Phase::Succeeded => Some("it did not change the stable workloads; whoever did has to".into()),
        Phase::Promoting if stage(kept) > HandoverStage::Copying => {
            Some("it did not change the stable workloads; whoever did has to".into())
        }
        _ => over(kept),
    }
}

fn reason(kept: &Kept) -> Option<PauseReason> {
    kept.status.pause.as_ref().map(|pause| pause.reason)
}

fn stage(kept: &Kept) -> HandoverStage {
    kept.status.handover.as_ref().map(|handover| handover.stage).unwrap_or_default()
}

/// Whether the controller has given stable a version, so that it knows what was there before.
fn has_given(kept: &Kept) -> bool {
    kept.status.handover.as_ref().is_some_and(|handover| !handover.revisions.is_empty())
}

/// What no request but `retry` can change.
fn over(kept: &Kept) -> Option<String> {
    match kept.status.phase {
        Phase::Succeeded => Some("it has succeeded: stable runs the new version; `retry` begins again".into()),
        Phase::RolledBack => Some("it was rolled back; `retry` begins again".into()),
        Phase::RollingBack => Some("it is returning to stable".into()),
        Phase::Invalid => Some(format!("it is refused{}", because(kept))),
        Phase::Pending => Some(format!("nothing has moved yet{}", because(kept))),
        Phase::Progressing | Phase::Paused | Phase::Promoting => None,
    }
}

fn because(kept: &Kept) -> String {
    let status = &kept.status;
    let waiting = status.waiting.as_ref().map(|waiting| waiting.message.as_str());
    match waiting.unwrap_or(&status.message) {
        "" => String::new(),
        message => format!(": {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kept(status: Value) -> Kept {
        Kept::of(json!({"metadata": {"name": "summer"}, "status": status})).unwrap()
    }

    /// The verbs that may be asked, by name.
    fn open(status: Value) -> Vec<&'static str> {
        let all = [Verb::Promote, Verb::PromoteFull, Verb::Pause, Verb::Resume, Verb::Abort, Verb::Retry, Verb::Undo];
        let kept = kept(status);
        all.into_iter().filter(|verb| refusal(*verb, &kept).is_none()).map(Verb::name).collect()
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
        let of = |reason| {
            let pause = json!({"reason": reason, "message": "", "sinceMs": 1});
            open(json!({"phase": "Paused", "pause": pause}))
        };
        assert_eq!(of("Step"), ["promote", "promote --full", "pause", "resume", "abort", "undo"]);
        assert_eq!(of("Gate"), ["promote", "promote --full", "pause", "abort", "undo"]);
        assert_eq!(of("Asked"), ["promote --full", "resume", "abort", "undo"]);
        assert_eq!(of("Failure"), ["promote --full", "pause", "resume", "abort", "undo"]);
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
        let spec = json!({"lanes": [], "members": [], "paused": true});
        let object = json!({"metadata": {"name": "summer"}, "spec": spec, "status": {"phase": "Paused"}});
        let reason = refusal(Verb::Resume, &Kept::of(object).unwrap()).unwrap();
        assert!(reason.contains("spec.paused"), "{reason}");
    }
}
