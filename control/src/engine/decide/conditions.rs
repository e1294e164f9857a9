//! Conditions in the manner of Kubernetes, for `kubectl wait` and for whoever knows no phases. All are
//! positive: true is good.

use crate::engine::Millis;
use crate::engine::status::{Condition, Phase, Status, WaitReason};
use crate::release::Release;
use crate::release::finding::Findings;

/// Sets every condition; the time of one that stays the same is kept.
pub(super) fn set(status: &mut Status, spec: &Result<Release, Findings>, now: Millis) {
    let valid = match (spec, status.phase) {
        (Err(findings), _) => ("False", "Refused", findings.to_string()),
        (Ok(_), Phase::Invalid) => ("False", "Refused", status.message.clone()),
        (Ok(_), _) => ("True", "Checked", String::new()),
    };
    let (expected, acknowledged) = (status.proxies.expected, status.proxies.acknowledged);
    let share = format!("{acknowledged} of {expected} proxies run the last change");
    let all = if expected > 0 && acknowledged == expected { ("True", "Confirmed") } else { ("False", "Missing") };
    let moving = match (status.phase, &status.waiting) {
        (_, Some(waiting)) if waiting.reason == WaitReason::GroupBusy => ("False", "GroupBusy"),
        (Phase::Progressing | Phase::Promoting, _) => ("True", "Moving"),
        (Phase::RollingBack, _) => ("True", "RollingBack"),
        (Phase::Paused, _) => ("False", "Paused"),
        (Phase::Pending | Phase::Invalid, _) => ("False", "NotBegun"),
        (Phase::RolledBack | Phase::Succeeded, _) => ("False", "Ended"),
    };
    let ready = match status.phase {
        Phase::Succeeded => ("True", "Succeeded"),
        Phase::RolledBack => ("False", "RolledBack"),
        _ => ("False", "NotYet"),
    };
    let message = status.message.clone();
    let wanted = [
        ("Valid", valid.0, valid.1, valid.2),
        ("Acknowledged", all.0, all.1, share),
        ("Progressing", moving.0, moving.1, message.clone()),
        ("Ready", ready.0, ready.1, message),
    ];
    let old = std::mem::take(&mut status.conditions);
    let observed_generation = status.observed_generation;
    status.conditions = wanted
        .into_iter()
        .map(|(name, value, reason, message)| {
            let same = old.iter().find(|condition| condition.r#type == name && condition.status == value);
            let last_transition_time = same.map_or_else(|| time(now), |found| found.last_transition_time.clone());
            Condition {
                r#type: name.into(),
                status: value.into(),
                reason: reason.into(),
                message,
                last_transition_time,
                observed_generation,
            }
        })
        .collect();
}

/// RFC 3339 in whole seconds, as Kubernetes writes times.
fn time(now: Millis) -> String {
    let seconds = i64::try_from(now / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
