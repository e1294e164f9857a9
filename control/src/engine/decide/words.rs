//! A status in one sentence.

use crate::engine::status::{HandoverStage, Phase, Status};
use crate::release::Release;
use crate::release::plan::Step;
use crate::release::units::percent;

/// What the release is doing and what it waits for.
pub(super) fn message(release: Option<&Release>, status: &Status) -> String {
    let doing = doing(release, status);
    match (&status.pause, &status.waiting) {
        (Some(pause), _) if status.phase == Phase::Paused => format!("{doing}: {}", pause.message),
        (_, Some(waiting)) => format!("{doing}; waits: {}", waiting.message),
        _ => doing,
    }
}

fn doing(release: Option<&Release>, status: &Status) -> String {
    let last = |reason: &str| {
        let found = status.history.iter().rev().find(|entry| entry.reason == reason);
        found.map_or_else(String::new, |entry| format!(": {}", entry.message))
    };
    match status.phase {
        Phase::Pending => "nothing has moved yet".into(),
        Phase::Invalid => format!("invalid{}", last("Invalid")),
        Phase::Progressing => step(release, status),
        Phase::Paused => format!("paused at step {} of {}", (status.step + 1).min(status.steps), status.steps),
        Phase::Promoting => handover(status).into(),
        Phase::RollingBack => "everything returns to stable".into(),
        Phase::RolledBack => format!("everything is on stable, the old version{}", cause(status)),
        Phase::Succeeded => "everything is on stable, the new version".into(),
    }
}

fn step(release: Option<&Release>, status: &Status) -> String {
    let Some(release) = release else { return "keeps its weights until the release is mended".into() };
    if let Some(leader) = &release.plan.leader {
        let weight = if status.weight.is_empty() { "everybody on stable" } else { &status.weight };
        return format!("follows Rollout {leader} at its step {} of {}: {weight}", status.step, status.steps);
    }
    match release.plan.steps.get(status.step as usize) {
        Some(Step::Weight(weights)) => {
            let texts = weights.iter().map(|(lane, weight)| format!("{lane} to {}", percent(*weight)));
            format!("step {} of {}: {}", status.step + 1, status.steps, texts.collect::<Vec<_>>().join(", "))
        }
        Some(Step::Auto(auto)) => {
            let weight = status.weights.get(&auto.lane).copied().unwrap_or(0);
            let (lane, to) = (&auto.lane, percent(auto.to));
            format!("step {} of {}: {lane} at {} on its way to {to}", status.step + 1, status.steps, percent(weight))
        }
        Some(_) => format!("step {} of {}", status.step + 1, status.steps),
        None => "all steps are done; stays at the last weight for a while".into(),
    }
}

fn handover(status: &Status) -> &'static str {
    match status.handover.as_ref().map(|handover| (handover.stage, handover.undo)).unwrap_or_default() {
        (_, true) => "stable gets its old version back",
        (HandoverStage::Copying, _) => "handover: the new version goes to stable",
        (HandoverStage::Updating, _) => "handover: stable becomes ready with the new version",
        (HandoverStage::Emptying, _) => "handover: no more requests are put in the lane",
        (HandoverStage::Retiring | HandoverStage::Done, _) => "handover: the lane leaves the proxies",
    }
}

/// Why it was rolled back: what was noted when that began.
fn cause(status: &Status) -> String {
    const CAUSES: [&str; 8] = [
        "AnalysisFailed",
        "Aborted",
        "AcknowledgementTimeout",
        "Withdrawn",
        "Undone",
        "RolloutAborted",
        "RolloutDegraded",
        "RolloutReverted",
    ];
    let found = status.history.iter().rev().find(|entry| CAUSES.contains(&entry.reason.as_str()));
    found.map_or_else(String::new, |entry| format!("; {}", entry.message))
}
