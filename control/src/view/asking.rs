//! Which requests make no sense for a release as it stands, said before they are made.
//!
//! The engine decides in the end, by what it sees when the request reaches it; this only spares a
//! person the wait for a refusal that is certain.

use super::kept::Kept;
use crate::engine::request::Verb;
use crate::engine::status::{Exposure, PauseReason, Phase, WaitReason};

/// Why a request makes no sense now, and what would; nothing if it may be made.
pub fn refusal(verb: Verb, kept: &Kept) -> Option<String> {
    if kept.deleting && verb != Verb::Abort {
        return Some("it is being deleted; what it has in lanes returns to stable".into());
    }
    match verb {
        Verb::Promote | Verb::PromoteFull => promote(verb, kept),
        Verb::Pause => pause(kept),
        Verb::Resume => resume(kept),
        Verb::Abort => abort(kept),
        Verb::Retry => retry(kept),
        Verb::Undo => undo(kept),
    }
}

fn promote(verb: Verb, kept: &Kept) -> Option<String> {
    let status = &kept.status;
    let waits_for_word = status.waiting.as_ref().is_some_and(|w| w.reason == WaitReason::ManualHandover);
    match status.phase {
        Phase::Promoting if verb == Verb::Promote && waits_for_word => None,
        Phase::Promoting => Some("its last step is done and stable is being given the new version".into()),
        Phase::Pending => Some(format!("it has not begun{}", because(kept))),
        _ => over(kept),
    }
}

fn pause(kept: &Kept) -> Option<String> {
    let asked = kept.status.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Asked);
    if kept.status.phase == Phase::Paused && asked {
        return Some("somebody has paused it already; `resume` lets it go on".into());
    }
    over(kept)
}

fn resume(kept: &Kept) -> Option<String> {
    if kept.spec.as_ref().is_some_and(|spec| spec.paused) {
        return Some("`spec.paused` holds it; take that out of the release".into());
    }
    match kept.status.phase {
        Phase::Paused => None,
        _ => over(kept).or_else(|| Some("it is not paused".into())),
    }
}

fn abort(kept: &Kept) -> Option<String> {
    match kept.status.phase {
        Phase::Invalid if kept.status.exposure != Exposure::Absent => None,
        Phase::Invalid => Some("nothing of it is in the proxies".into()),
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
    match (kept.status.phase, &kept.status.handover) {
        (Phase::Succeeded, Some(handover)) if !handover.revisions.is_empty() => None,
        (Phase::Succeeded, _) => {
            Some("it did not give stable its version, so it cannot take it back; whoever did can".into())
        }
        (Phase::Invalid, _) => abort(kept),
        _ => over(kept),
    }
}

/// What no request but `retry` can change.
fn over(kept: &Kept) -> Option<String> {
    match kept.status.phase {
        Phase::Succeeded => Some("it has succeeded: stable runs the new version; `retry` begins again".into()),
        Phase::RolledBack => Some("it was rolled back; `retry` begins again".into()),
        Phase::RollingBack => Some("it is returning to stable".into()),
        Phase::Invalid => Some(format!("it is refused{}", because(kept))),
        Phase::Pending | Phase::Progressing | Phase::Paused | Phase::Promoting => None,
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
        let all = ["promote", "promote --full", "pause", "abort", "undo"];
        assert_eq!(open(json!({"phase": "Progressing"})), all);
        assert_eq!(open(json!({"phase": "Pending"})), ["pause", "abort", "undo"]);
        assert_eq!(open(json!({"phase": "Promoting"})), ["pause", "abort", "undo"]);
        assert_eq!(open(json!({"phase": "RolledBack"})), ["retry"]);
        assert_eq!(open(json!({"phase": "Succeeded"})), ["retry"]);
        assert!(open(json!({"phase": "RollingBack"})).is_empty());
        assert!(open(json!({"phase": "Invalid"})).is_empty());
        assert_eq!(open(json!({"phase": "Invalid", "exposure": "Full"})), ["abort", "undo"]);
    }

    #[test]
    fn a_pause_is_resumed_and_not_asked_for_twice() {
        let pause = |reason| json!({"reason": reason, "message": "", "sinceMs": 1});
        let step = open(json!({"phase": "Paused", "pause": pause("Step")}));
        assert_eq!(step, ["promote", "promote --full", "pause", "resume", "abort", "undo"]);
        let asked = open(json!({"phase": "Paused", "pause": pause("Asked")}));
        assert_eq!(asked, ["promote", "promote --full", "resume", "abort", "undo"]);
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

    #[test]
    fn a_release_that_waits_for_the_word_takes_a_promotion() {
        let waiting = json!({"reason": "ManualHandover", "message": "", "sinceMs": 1});
        let status = json!({"phase": "Promoting", "waiting": waiting});
        assert!(open(status).contains(&"promote"));
    }
}
