//! The steps of a release in words, and where it is among them.

use std::collections::BTreeMap;

use super::kept::Kept;
use super::mark::Mark;
use super::times;
use crate::engine::Millis;
use crate::engine::status::{HandoverStage, Phase};
use crate::release::STABLE;
use crate::release::plan::StepSpec;
use crate::release::units::Weight;

/// One step, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How the step stands: done, being done, or nothing yet.
    pub mark: Mark,
    /// What it does.
    pub text: String,
    /// What there is to say about it now.
    pub note: String,
}

/// All steps of a release.
pub fn lines(kept: &Kept, now: Millis) -> Vec<Line> {
    let Some(spec) = &kept.spec else { return Vec::new() };
    if let Some(argo) = &spec.argo {
        let text = format!("follows Rollout {}, at its step {}", argo.rollout, progress(kept));
        return vec![Line { mark: Mark::of(kept.status.phase), text, note: note(kept, now) }];
    }
    let here = position(kept);
    let line = |(index, step): (usize, &StepSpec)| {
        let is_here = here == Some(index) && !kept.status.phase.is_finished();
        let mark = match here {
            Some(here) if index < here => Mark::Good,
            _ if is_here => Mark::of(kept.status.phase),
            _ => Mark::None,
        };
        Line { mark, text: words(step), note: if is_here { note(kept, now) } else { String::new() } }
    };
    spec.steps.iter().enumerate().map(line).collect()
}

/// What a step does, in words.
pub fn words(step: &StepSpec) -> String {
    match step {
        StepSpec { weight: Some(weight), .. } => format!("weight {}", shown(weight)),
        StepSpec { weights: Some(weights), .. } => {
            let lanes = weights.iter().map(|(lane, weight)| format!("{lane}={}", shown(weight)));
            format!("weight {}", lanes.collect::<Vec<_>>().join(","))
        }
        StepSpec { pause: Some(pause), .. } => match &pause.duration {
            Some(span) => format!("pause {}", span.0),
            None => "pause until resumed".into(),
        },
        StepSpec { gate: Some(gate), .. } => format!("gate: {}", gate.name),
        StepSpec { analysis: Some(analysis), .. } => format!("analysis {}", analysis.duration.0),
        StepSpec { auto: Some(auto), .. } => format!("auto {} to {}", shown(&auto.from), shown(&auto.to)),
        StepSpec { weight: None, weights: None, pause: None, gate: None, analysis: None, auto: None } => {
            "nothing".into()
        }
    }
}

/// How many steps are behind it and how many there are: `3/7`.
pub fn progress(kept: &Kept) -> String {
    let own = kept.spec.as_ref().filter(|spec| spec.argo.is_none());
    let all = own.map_or(kept.status.steps as usize, |spec| spec.steps.len());
    format!("{}/{all}", (kept.status.step as usize).min(all))
}

/// The weights that the steps up to the present one ask for, by lane; nothing for a lane that no step
/// has named yet.
pub fn asked_weights(kept: &Kept) -> BTreeMap<String, u32> {
    let Some(spec) = &kept.spec else { return BTreeMap::new() };
    let lanes = kept.lanes();
    let none = || lanes.iter().filter(|lane| *lane != STABLE).map(|lane| (lane.clone(), 0)).collect();
    let empties = kept.status.handover.as_ref().is_some_and(|handover| handover.stage >= HandoverStage::Emptying);
    let is_back = matches!(kept.status.phase, Phase::RollingBack | Phase::RolledBack | Phase::Succeeded);
    if empties || is_back {
        return none();
    }
    if spec.argo.is_some() {
        // What Argo asks for is not kept; what was granted of it is.
        return kept.status.weights.clone();
    }
    let mut asked: BTreeMap<String, u32> = none();
    let Some(here) = position(kept) else { return asked };
    for step in spec.steps.iter().take(here + 1) {
        if let (Some(weight), Some(lane)) = (&step.weight, lanes.first()) {
            asked.insert(lane.clone(), parts(weight));
        }
        let by_lane = step.weights.iter().flatten();
        asked.extend(by_lane.map(|(lane, weight)| (lane.clone(), parts(weight))));
    }
    asked
}

/// Index of the step that is being done; nothing before the first attempt.
fn position(kept: &Kept) -> Option<usize> {
    (kept.status.attempt > 0).then_some(kept.status.step as usize)
}

/// Bare numbers are shares of 10,000 and hard to read as such.
fn shown(weight: &Weight) -> String {
    weight.parts().map_or_else(|_| weight.0.clone(), crate::release::units::percent)
}

fn parts(weight: &Weight) -> u32 {
    weight.parts().unwrap_or_default()
}

fn note(kept: &Kept, now: Millis) -> String {
    let status = &kept.status;
    if let Some(until) = status.pause.as_ref().and_then(|pause| pause.until_ms) {
        return format!("{} left", times::span(until.saturating_sub(now)));
    }
    match times::age(Some(status.step_since_ms), now) {
        age if age.is_empty() => age,
        age => format!("for {age}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(status: serde_json::Value) -> Kept {
        let steps =
            json!([{"weight": "1%"}, {"pause": {"duration": "5m"}}, {"gate": {"name": "ask"}}, {"weight": 2500}]);
        let spec = json!({"lanes": [{"name": "canary"}], "members": [{"service": "orders"}], "steps": steps});
        Kept::of(json!({"metadata": {"name": "summer"}, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn steps_before_the_present_one_are_done_and_later_ones_are_not() {
        let paused = json!({"phase": "Paused", "attempt": 1, "step": 1, "stepSinceMs": 60_000,
            "pause": {"reason": "Step", "message": "", "sinceMs": 60_000, "untilMs": 360_000}});
        let shown: Vec<_> =
            lines(&kept(paused), 120_000).into_iter().map(|line| (line.mark, line.text, line.note)).collect();
        let line = |mark, text: &str, note: &str| (mark, text.to_owned(), note.to_owned());
        assert_eq!(shown[0], line(Mark::Good, "weight 1%", ""));
        assert_eq!(shown[1], line(Mark::Paused, "pause 5m", "4m left"));
        assert_eq!(shown[2], line(Mark::None, "gate: ask", ""));
        assert_eq!(shown[3], line(Mark::None, "weight 25%", ""));
    }

    #[test]
    fn a_weight_is_asked_for_from_its_step_on_and_until_it_goes_back() {
        let asked = |status| asked_weights(&kept(status)).get("canary").copied();
        assert_eq!(asked(json!({})), Some(0), "before it begins");
        assert_eq!(asked(json!({"phase": "Progressing", "attempt": 1, "step": 0})), Some(100));
        assert_eq!(asked(json!({"phase": "Paused", "attempt": 1, "step": 2})), Some(100));
        assert_eq!(asked(json!({"phase": "Progressing", "attempt": 1, "step": 3})), Some(2500));
        assert_eq!(asked(json!({"phase": "RollingBack", "attempt": 1, "step": 3})), Some(0));
        let handover = json!({"stage": "Updating", "revisions": {}});
        assert_eq!(asked(json!({"phase": "Promoting", "attempt": 1, "step": 4, "handover": handover})), Some(2500));
        let handover = json!({"stage": "Emptying", "revisions": {}});
        assert_eq!(asked(json!({"phase": "Promoting", "attempt": 1, "step": 4, "handover": handover})), Some(0));
    }

    #[test]
    fn a_release_that_argo_leads_shows_where_the_rollout_is() {
        let spec = json!({"lanes": [{"name": "canary"}], "members": [{"service": "orders"}],
            "argo": {"rollout": "orders"}, "promotion": {"strategy": "argo"}});
        let status = json!({"phase": "Progressing", "attempt": 1, "step": 1, "steps": 4, "weights": {"canary": 500}});
        let kept = Kept::of(json!({"metadata": {"name": "summer"}, "spec": spec, "status": status})).unwrap();
        assert_eq!(lines(&kept, 0)[0].text, "follows Rollout orders, at its step 1/4");
        assert_eq!(asked_weights(&kept), BTreeMap::from([("canary".to_owned(), 500)]));
    }

    #[test]
    fn progress_never_runs_past_the_last_step() {
        assert_eq!(progress(&kept(json!({"step": 9}))), "4/4");
    }
}
