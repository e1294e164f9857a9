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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The conditions of a status, as `status reason`, in their order.
    fn conditions(status: Value, spec: &Result<Release, Findings>) -> [(String, String); 4] {
        let mut status: Status = serde_json::from_value(status).unwrap();
        set(&mut status, spec, 1_800_000_000_000);
        let told = status.conditions.into_iter().map(|one| (one.r#type, format!("{} {}", one.status, one.reason)));
        told.collect::<Vec<_>>().try_into().unwrap()
    }

    fn named(texts: [&str; 4]) -> [(String, String); 4] {
        let names = ["Valid", "Acknowledged", "Progressing", "Ready"];
        std::array::from_fn(|at| (names[at].to_owned(), texts[at].to_owned()))
    }

    fn release() -> Release {
        let text = "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {name: summer, namespace: shop}\n\
                    spec: {lanes: [{name: canary}], members: [{service: orders}]}";
        let sources = crate::release::read::read_text("release.yaml", text).unwrap();
        crate::release::validate::check(sources, &[crate::build::Side::Gateway]).unwrap().remove(0).release
    }

    #[test]
    fn each_phase_has_its_conditions_whatever_it_waits_for() {
        let (checked, missing) = ("True Checked", "False Missing");
        let (not_begun, not_yet) = ("False NotBegun", "False NotYet");
        let table = [
            ("Pending", None, [checked, missing, not_begun, not_yet]),
            ("Pending", Some("GroupBusy"), [checked, missing, "False GroupBusy", not_yet]),
            ("Pending", Some("Evidence"), [checked, missing, not_begun, not_yet]),
            ("Invalid", None, ["False Refused", missing, not_begun, not_yet]),
            ("Progressing", None, [checked, missing, "True Moving", not_yet]),
            ("Progressing", Some("Acknowledgement"), [checked, missing, "True Moving", not_yet]),
            ("Progressing", Some("Endpoints"), [checked, missing, "True Moving", not_yet]),
            ("Progressing", Some("Stopped"), [checked, missing, "True Moving", not_yet]),
            ("Paused", None, [checked, missing, "False Paused", not_yet]),
            ("Promoting", None, [checked, missing, "True Moving", not_yet]),
            ("Promoting", Some("ManualHandover"), [checked, missing, "True Moving", not_yet]),
            ("RollingBack", Some("Acknowledgement"), [checked, missing, "True RollingBack", not_yet]),
            ("RolledBack", None, [checked, missing, "False Ended", "False RolledBack"]),
            ("Succeeded", None, [checked, missing, "False Ended", "True Succeeded"]),
        ];
        for (phase, waits, expected) in table {
            let mut status = json!({"phase": phase, "proxies": {"expected": 3, "acknowledged": 2}});
            if let Some(reason) = waits {
                status["waiting"] = json!({"reason": reason, "message": "", "sinceMs": 1});
            }
            assert_eq!(conditions(status, &Ok(release())), named(expected), "{phase}, waiting for {waits:?}");
        }
    }

    #[test]
    fn a_change_is_acknowledged_once_every_proxy_runs_it_and_never_where_there_is_none() {
        for (expected, acknowledged, told) in
            [(3, 3, "True Confirmed"), (3, 2, "False Missing"), (3, 0, "False Missing"), (0, 0, "False Missing")]
        {
            let proxies = json!({"expected": expected, "acknowledged": acknowledged});
            let [_, acknowledgement, ..] = conditions(json!({"phase": "Paused", "proxies": proxies}), &Ok(release()));
            assert_eq!(acknowledgement.1, told, "{acknowledged} of {expected}");
        }
    }

    #[test]
    fn a_spec_that_cannot_be_read_is_invalid_in_every_phase() {
        let spec = Err(Findings::of("release.yaml", "no lane", "name one"));
        for (phase, moves) in
            [("Pending", "False NotBegun"), ("Progressing", "True Moving"), ("Succeeded", "False Ended")]
        {
            let [valid, _, progressing, _] = conditions(json!({"phase": phase}), &spec);
            assert_eq!((valid.1.as_str(), progressing.1.as_str()), ("False Refused", moves), "{phase}");
        }
    }

    #[test]
    fn every_reason_is_in_the_page_about_them() {
        let page = crate::crd::reference();
        let about = |condition: &str| {
            let row =
                page.lines().find(|line| line.starts_with(&format!("| `{condition}` | ")) && line.contains("`, `"));
            row.unwrap_or_else(|| panic!("{condition} is not in the page")).to_owned()
        };
        for phase in
            ["Pending", "Invalid", "Progressing", "Paused", "Promoting", "RollingBack", "RolledBack", "Succeeded"]
        {
            for (name, told) in conditions(json!({"phase": phase}), &Ok(release())) {
                let (_, reason) = told.split_once(' ').unwrap();
                assert!(about(&name).contains(&format!("`{reason}`")), "{name} {reason}");
            }
        }
    }

    #[test]
    fn the_time_of_a_condition_is_when_it_changed_last() {
        let mut status: Status = serde_json::from_value(json!({"phase": "Progressing"})).unwrap();
        let spec = Ok(release());
        let times =
            |status: &Status| status.conditions.iter().map(|one| one.last_transition_time.clone()).collect::<Vec<_>>();
        let (before, after) = ("2027-01-15T08:00:00Z", "2027-01-15T08:01:00Z");
        set(&mut status, &spec, 1_800_000_000_000);
        assert_eq!(times(&status), [before; 4]);
        status.phase = Phase::Succeeded;
        set(&mut status, &spec, 1_800_000_060_000);
        // It stays valid, and the proxies still have to confirm it.
        assert_eq!(times(&status), [before, before, after, after]);
    }
}
