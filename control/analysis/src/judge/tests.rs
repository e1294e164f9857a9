//! Stories of releases, second by second.

use super::*;
use crate::ServicePlan;

fn plan() -> Plan {
    let objective = Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least: 0.99 } };
    Plan::new("canary", vec![ServicePlan { service: "cart".into(), objectives: vec![objective] }]).unwrap()
}

/// One second in which the lane and stable had so many requests and failures.
fn second(at: u64, lane: (u64, u64), stable: (u64, u64)) -> Interval {
    let mut interval =
        Interval { from_ms: at * 1000, to_ms: (at + 1) * 1000, expected: 2, reporting: 2, ..Default::default() };
    for (name, (requests, failures)) in [("canary", lane), (STABLE, stable)] {
        let cell = Cell { service: "cart".into(), lane: name.into(), cohort: Cohort::Slot };
        interval.cells.insert(cell, Tally { requests, failures, ..Tally::default() });
        interval.entered.insert(name.into(), requests);
    }
    interval
}

fn told(seconds: u64, lane: (u64, u64), stable: (u64, u64)) -> (Evidence, Verdict) {
    let (plan, mut evidence) = (plan(), Evidence::default());
    (0..seconds).for_each(|at| evidence.observe(&plan, &second(at, lane, stable)));
    let verdict = evidence.verdict(&plan, seconds * 1000);
    (evidence, verdict)
}

#[test]
fn a_lane_that_fails_is_taken_back_within_seconds_and_named() {
    let (_, verdict) = told(4, (10, 10), (90, 0));
    assert_eq!(verdict.outcome, Outcome::Fail, "{verdict:?}");
    assert_eq!(verdict.allowed_weight, 0);
    let fault = verdict.fault.unwrap();
    assert_eq!((fault.service.as_str(), fault.lane.as_str(), fault.first_bad_ms), ("cart", "canary", 0));
}

#[test]
fn one_burst_alone_is_no_reason_to_take_a_lane_back() {
    let (_, verdict) = told(1, (1_000, 900), (9_000, 0));
    assert_eq!(verdict.outcome, Outcome::Wait, "{verdict:?}");
}

#[test]
fn a_good_lane_passes_only_with_enough_traffic() {
    assert_eq!(told(30, (10, 0), (90, 0)).1.outcome, Outcome::Wait);
    assert_eq!(told(120, (10, 0), (90, 0)).1.outcome, Outcome::Pass);
}

#[test]
fn too_little_traffic_ends_unverified_and_never_passes() {
    let plan = Plan { horizon_ms: 60_000, ..plan() };
    let (evidence, _) = told(60, (1, 0), (9, 0));
    assert_eq!(evidence.verdict(&plan, 60_000).outcome, Outcome::Unverified);
}

#[test]
fn what_breaks_both_sides_pauses() {
    let (_, verdict) = told(10, (10, 5), (90, 45));
    assert_eq!((verdict.outcome, verdict.pause), (Outcome::Pause, Some(PauseCause::SharedOutage)), "{verdict:?}");
}

#[test]
fn without_reports_the_verdict_waits_and_says_since_when() {
    let (mut evidence, _) = told(120, (10, 0), (90, 0));
    let silent = Interval { from_ms: 120_000, to_ms: 125_000, expected: 2, reporting: 0, ..Interval::default() };
    evidence.observe(&plan(), &silent);
    let verdict = evidence.verdict(&plan(), 125_000);
    assert_eq!((verdict.outcome, verdict.no_data_since_ms), (Outcome::Wait, Some(120_000)));
}

#[test]
fn evidence_that_went_through_json_is_the_same_evidence() {
    let (evidence, _) = told(7, (10, 1), (90, 1));
    let text = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    assert!(text.len() < 2_000, "{} bytes: {text}", text.len());
}
