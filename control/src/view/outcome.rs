//! What a program that waits for a release wants to hear.

use super::kept::Kept;
use crate::engine::status::{Phase, WaitReason};

/// How a release stands for somebody who waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stable runs the new version.
    Succeeded,
    /// It has been taken back, or what it says is refused: nothing moves until somebody acts.
    Failed,
    /// It waits for a person, however long that takes.
    NeedsAPerson,
    /// It is on its way; waiting makes sense.
    OnItsWay,
}

/// How a release stands. A status that is about an older spec or an older request says nothing yet.
pub fn outcome(kept: &Kept) -> Outcome {
    if !kept.is_current() {
        return Outcome::OnItsWay;
    }
    let status = &kept.status;
    let waits_for = |reason| status.waiting.as_ref().is_some_and(|waiting| waiting.reason == reason);
    match status.phase {
        Phase::Succeeded => Outcome::Succeeded,
        Phase::RolledBack | Phase::Invalid => Outcome::Failed,
        Phase::Paused if status.pause.as_ref().is_none_or(|pause| pause.until_ms.is_none()) => Outcome::NeedsAPerson,
        _ if waits_for(WaitReason::ManualHandover) || waits_for(WaitReason::Stopped) => Outcome::NeedsAPerson,
        _ => Outcome::OnItsWay,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: Value) -> Outcome {
        outcome(&Kept::of(json!({"metadata": {"name": "summer", "generation": 1}, "status": status})).unwrap())
    }

    #[test]
    fn each_phase_has_its_outcome() {
        for (phase, expected) in [
            ("Pending", Outcome::OnItsWay),
            ("Invalid", Outcome::Failed),
            ("Progressing", Outcome::OnItsWay),
            ("Promoting", Outcome::OnItsWay),
            ("RollingBack", Outcome::OnItsWay),
            ("RolledBack", Outcome::Failed),
            ("Succeeded", Outcome::Succeeded),
        ] {
            assert_eq!(of(json!({"phase": phase, "observedGeneration": 1})), expected, "{phase}");
        }
    }

    #[test]
    fn a_pause_with_an_end_needs_nobody() {
        let mut pause = json!({"reason": "Step", "message": "", "sinceMs": 1});
        let status = |pause: &Value| json!({"phase": "Paused", "observedGeneration": 1, "pause": pause});
        assert_eq!(of(status(&pause)), Outcome::NeedsAPerson);
        pause["untilMs"] = json!(2);
        assert_eq!(of(status(&pause)), Outcome::OnItsWay);
    }

    #[test]
    fn waiting_for_the_word_that_stable_is_new_needs_a_person() {
        let waiting = |reason| json!({"reason": reason, "message": "", "sinceMs": 1});
        let status = |reason| json!({"phase": "Promoting", "observedGeneration": 1, "waiting": waiting(reason)});
        assert_eq!(of(status("ManualHandover")), Outcome::NeedsAPerson);
        assert_eq!(of(status("Stable")), Outcome::OnItsWay);
    }

    #[test]
    fn the_end_of_an_older_spec_is_no_end() {
        assert_eq!(of(json!({"phase": "Succeeded", "observedGeneration": 0})), Outcome::OnItsWay);
    }
}
